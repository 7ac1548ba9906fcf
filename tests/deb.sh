#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The Debian packages of `make deb` pass lintian, are reproducible, and have one version. KTAP.
. "$(dirname "$0")/../scripts/lib/lib.sh"
cd "$TOP"
export KERNEL=stock

number=0
check() { # NAME: runs the function of that name in a shell that stops at the first failure
	local said status
	number=$((number + 1))
	set +e
	said=$(set -e; "$1" 2>&1)
	status=$?
	set -e
	[[ $status == 0 ]] || awk '{ print "# " $0 }' <<<"$said"
	echo "$([[ $status == 0 ]] && echo ok || echo not ok) $number $1"
}
packaging() { in_debian packaging -- "$@"; }
field() { packaging dpkg-deb --field "$1" "$2"; }

deb_packages_are_built() {
	[[ -f $common && -f $dkms && -f $lblctop && -f $lblcctl && -f $(modules) ]]
}

deb_lintian_is_silent() {
	local said
	said=$(packaging lintian --allow-root --display-info --pedantic --fail-on warning,info,pedantic \
		"$(echo build/deb/*.changes)")
	echo "$said"
	[[ -z $said ]]
}

deb_version_is_the_same_everywhere() {
	local package
	for package in build/deb/*.deb; do [[ $(field "$package" Version) == "$version" ]]; done
	rm -rf build/deb/unpacked
	packaging sh -c "for package in build/deb/*.deb; do dpkg-deb --extract \$package build/deb/unpacked; done"
	grep -q "^PACKAGE_VERSION=\"$version\"" "build/deb/unpacked/usr/src/ip-vs-lblc-rs-$version/dkms.conf"
	[[ $(in_root -- modinfo --field version "build/deb/unpacked/usr/lib/modules/$release/updates/ip_vs_lblc_rs.ko") == "$version" ]]
	[[ $(sed -n 's/^## //p' CHANGELOG.md | head -n 1) == "$version" ]]
	[[ $(packaging build/deb/unpacked/usr/sbin/lblctop --version) == *" $version" ]]
	[[ $(packaging build/deb/unpacked/usr/sbin/lblcctl --version) == *" $version" ]]
	zcat build/deb/unpacked/usr/share/doc/ip-vs-lblc-rs-common/changelog.gz | head -n 1 | grep -qF "($version)"
}

deb_modules_need_exactly_their_kernel() {
	[[ $(field "$(modules)" Depends) == *"linux-image-$release (= $kernel_version)"* ]]
	in_root -- modinfo --field vermagic "build/deb/unpacked/usr/lib/modules/$release/updates/ip_vs_lblc_rs.ko" |
		grep -qF "$release "
}

# What docs/monitoring.md names is there.
deb_lblctop_has_the_monitoring() {
	local file
	for file in usr/share/ip_vs_lblc_rs/lblc-rules.yml usr/share/ip_vs_lblc_rs/grafana-dashboard.json \
		usr/lib/systemd/system/lblctop-textfile.service usr/lib/systemd/system/lblctop-textfile.timer; do
		cmp "monitoring/$(basename "$file")" "build/deb/unpacked/$file"
	done
	[[ -x build/deb/unpacked$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' monitoring/lblctop-textfile.service) ]]
}

# The package has all files that `make modules` reads.
deb_dkms_has_the_whole_source() {
	local file folders
	# The folders are the crate's modules.
	folders=$(sed -n 's/^mod \(.*\);/\1/p' ip_vs_lblc_rs.rs | while read -r name; do ls -d "$name" 2>/dev/null || true; done)
	[[ $folders == *lblc* ]]
	# shellcheck disable=SC2086 # words
	for file in Kbuild Makefile VERSION *.rs $(find $folders -type f); do
		cmp "$file" "build/deb/unpacked/usr/src/ip-vs-lblc-rs-$version/$file"
	done
}

deb_two_builds_are_the_same() {
	local copy package
	copy=$(mktemp -d)
	tar --create --exclude=./.git --exclude=./build --exclude=target . | tar --extract --directory="$copy"
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) "$copy/scripts/deb"
	for package in build/deb/*.deb; do cmp "$package" "$copy/$package"; done
	as_root rm -rf "$copy"
}

version=$(sed 1d VERSION)
read -r release kernel_version < <(in_root -- scripts/root/find-kernel stock)
common=build/deb/ip-vs-lblc-rs-common_${version}_all.deb
dkms=build/deb/ip-vs-lblc-rs-dkms_${version}_all.deb
lblctop=build/deb/lblctop_${version}_amd64.deb
lblcctl=build/deb/lblcctl_${version}_amd64.deb
modules() { echo "build/deb/ip-vs-lblc-rs-modules-${release}_${version}_amd64.deb"; }

scripts/deb >/dev/null # for any choice of cases: older packages must not be tested
cases=$(declare -F | sed -n 's/^declare -f \(deb_.*\)/\1/p')
order=$(grep -oE '^deb_[a-z_]+' "$0" | grep -xF "$cases" | grep -xE "${CASE:-.*}")
echo "TAP version 13"
echo "1..$(wc -w <<<"$order")"
for case in $order; do check "$case"; done
