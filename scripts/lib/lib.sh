# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by the scripts that run outside the tool root: messages, the cache, and running commands in the tool root.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-${HOME:?}/.cache}/ip_vs_lblc_rs
LOGS=$TOP/build/log
PATH=$PATH:/usr/sbin:/sbin # chroot is there; ordinary users lack them in PATH
export LBLC_START=${LBLC_START:-$(date +%s)}

say() { printf '[%4ds] %s\n' $(($(date +%s) - LBLC_START)) "$*" >&2; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# follow TITLE LOG [REGEX]: until killed, prints every half minute the number of lines in LOG and the last line that
# matches REGEX.
follow() {
	local never last
	exec {never}<> <(:) # never readable; a sleep(1) would outlive this shell
	while ! read -rt 30 -u "$never" && kill -0 $$; do
		last=$(grep -aE "${3:-}" "$2" | tail -n 1 | cut -c1-70) || true # none yet
		say "$1 ... $(wc -l <"$2") lines${last:+: $last}"
	done
}

# step TITLE COMMAND...: runs a long command with its output in a log, and reports progress. (If COMMAND is a shell
# function, it sees these local variables, hence their names.)
step() {
	local step_title=$1 step_log step_reporter step_status=0
	shift
	mkdir -p "$LOGS"
	step_log=$LOGS/${step_title//[^A-Za-z0-9.+-]/-}.log
	say "$step_title ... (log: ${step_log#"$PWD"/})"
	: >"$step_log"
	follow "$step_title" "$step_log" &
	step_reporter=$!
	# In the foreground, so that Ctrl-C ends it; in a subshell, so that die() within it ends only the subshell.
	("$@") >"$step_log" 2>&1 || step_status=$?
	kill "$step_reporter"
	wait "$step_reporter" 2>/dev/null || true
	if [[ $step_status != 0 ]]; then
		tail -n 20 "$step_log" >&2
		die "$step_title failed; the whole log is $step_log"
	fi
}

# cached DIR BUILDER...: makes DIR with "BUILDER... TEMPORARY_DIR" unless it exists. An interrupted build does not
# leave a DIR, and if two run at the same time, the second waits for the first.
cached() {
	local dir=$1 lock
	shift
	[[ -d $dir ]] && return
	mkdir -p "$(dirname "$dir")"
	exec {lock}>"$dir.lock"
	flock "$lock"
	if [[ ! -d $dir ]]; then
		as_root rm -rf "$dir.tmp"
		mkdir "$dir.tmp"
		"$@" "$dir.tmp"
		mv "$dir.tmp" "$dir"
	fi
	exec {lock}>&-
}

# key FILE_OR_WORD...: prints a hash of the contents of the files and of the words, in twelve digits.
key() {
	local what
	for what; do
		if [[ -f $what ]]; then cat "$what"; else echo "$what"; fi
	done | sha256sum | cut -c1-12
}

# is_um NAME: whether the kernel of that name is User Mode Linux.
is_um() { [[ $1 == um || $1 == smp || $1 == kasan ]]; }

# is_cross NAME: whether the kernel of that name is for another architecture.
is_cross() { [[ $1 == arm64 || $1 == armhf ]]; }

# as_root COMMAND...: runs COMMAND as root in new mount and pid namespaces. Started by an ordinary user, it is root
# of a user namespace that has the user's subordinate ids. With LBLC_EXEC=exec it replaces the shell, so that a
# signal that kills the shell's process kills COMMAND and all its children.
as_root() {
	local flags=(--mount --pid --fork --kill-child)
	if [[ $(id -u) != 0 ]]; then
		flags+=(--user --map-root-user --map-auto)
	fi
	if [[ ${LBLC_NAMESPACES:-} != ok ]]; then
		unshare "${flags[@]}" true 2>/dev/null ||
			die "this needs root, or an ordinary user with user namespaces and a range in" \
				"/etc/subuid and /etc/subgid (packages uidmap and util-linux >= 2.38)"
		export LBLC_NAMESPACES=ok
	fi
	${LBLC_EXEC:-} unshare "${flags[@]}" "$@"
}

# Debian 13 roots, each with the packages of scripts/LIST.packages: `root` is the tool root, in which
# everything is built and run; there are others for guests, Debian packages and whole machines. (`make matrix` replaces
# the tool root by another one for some kernels, with LBLC_ROOT.)
debian_root() { # LIST
	[[ $1 == root && -n ${LBLC_ROOT:-} ]] && echo "$LBLC_ROOT" && return
	echo "$CACHE/$1-$(key "$TOP/scripts/$1.packages" "$TOP/scripts/lib/make-root")"
}
# shellcheck disable=SC2034 # used by the scripts that source this file
ROOT=$(debian_root root)

make_debian_root() { # LIST
	cached "$(debian_root "$1")" "$TOP/scripts/lib/make-root" "$1"
}

# in_debian LIST [FROM:TO]... -- COMMAND...: runs COMMAND in the Debian root LIST, as root, with the checkout at
# /work, which is also the working directory, and each FROM mounted at TO.
in_debian() {
	local list=$1 root binds=()
	root=$(debian_root "$list")
	shift
	while [[ $1 != -- ]]; do
		binds+=("$1")
		shift
	done
	shift
	make_debian_root "$list"
	as_root "$TOP/scripts/lib/enter-root" "$root" "$TOP:/work" "${binds[@]}" -- "$@"
}

# in_root [FROM:TO]... -- COMMAND...: runs COMMAND in the tool root in the same way.
in_root() { in_debian root "$@"; }
