# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by scripts/test-install and scripts/test-signed: whole Debian 13 machines with systemd. A machine is
# a folder, in which commands can run under chroot, and from which a disk is made to boot it with its own kernel.

MACHINES=$TOP/build/machines

# Creates a machine.
machine_new() { # NAME
	local dir=$MACHINES/$1 root
	in_debian machine -- true
	root=$(debian_root machine)
	as_root rm -rf "$dir"
	mkdir -p "$dir"
	# Unlike the roots, the machine keeps documentation. With a machine-id systemd does not treat its boot as the
	# first one, which would ask questions.
	as_root sh -c 'cp -a "$1" "$2/root" && cd "$2/root" && rm -f etc/dpkg/dpkg.cfg.d/99mmdebstrap &&
		cp -r "$3/tests/install/etc/." etc/ && ln -sf ../lblc-proof.service etc/systemd/system/multi-user.target.wants/ &&
		echo director >etc/hostname && tr -d - </proc/sys/kernel/random/uuid >etc/machine-id &&
		printf "%s\n" ext4 virtio_blk virtio_pci >>etc/initramfs-tools/modules &&
		sed -i s/^MODULES=.*/MODULES=list/ etc/initramfs-tools/initramfs.conf' sh "$root" "$dir" "$TOP"
}

# Runs a command in the machine's folder, while the machine is not booted.
machine_do() { # NAME COMMAND...
	as_root "$TOP/scripts/lib/enter-root" "$MACHINES/$1/root" "$TOP:/work" -- \
		env DEBIAN_FRONTEND=noninteractive "${@:2}"
}

# Makes the machine's disk from its folder.
machine_disk() { # NAME
	local proof=$MACHINES/$1/root/proof source
	read -r _ source _ < <("$TOP/scripts/kernel" tree stock)
	as_root rm -rf "$proof"
	# The documents and packages lie in /proof as in a checkout. /proof is also a repository of apt's.
	as_root sh -c 'mkdir -p "$1/build/deb" "$1/next" && cd "$2" && cp README.md tests/install/*.py "$1/" && cp -r docs "$1/" &&
		for name in lab harness verdict documents; do cp tests/selftest/$name.py "$1/"; done &&
		cp build/deb/*.deb "$1/build/deb/" && cp -r "$3/tools/testing/selftests/kselftest" "$1/" &&
		if [ -d build/next ]; then cp build/next/build/deb/*.deb "$1/next/"; fi' \
		sh "$proof" "$TOP" "$source"
	in_debian packaging "$MACHINES/$1:/machine" -- sh -ec '
		cd /machine/root/proof && dpkg-scanpackages --multiversion . >Packages
		rm -f /machine/disk
		size=$(du --summarize --block-size=1M /machine/root | cut -f1)
		mke2fs -q -t ext4 -L machine -d /machine/root /machine/disk $((size * 5 / 4 + 512))M'
}

# Boots the machine, and prints the results of the cases of one step (tests/install/proof.py). PARAMETERs are for the kernel.
machine_boot() { # NAME RELEASE STEP [PARAMETER]...
	local dir=$MACHINES/$1 title="$*" log said
	log=$LOGS/machine-${title// /-}.console
	say "boot $title"
	rm -f "$dir/verdict"
	in_debian packaging "$dir:/machine" -- scripts/root/boot-machine "${@:2}" >"$log" || true
	tr -d '\r' <"$dir/verdict" >"$dir/ktap" || true
	report "$title" "$dir/ktap"
	if ! said=$("$TOP/scripts/scan-console" "$log" 2>&1); then
		awk '{ print "# " $0 }' <<<"$said"
		result "not ok" "$title: the kernel complained"
	fi
}
