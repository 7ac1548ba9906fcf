# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by every script here: messages, the cache, and the way into the tool root.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-${HOME:?}/.cache}/ip_vs_lblc_rs
LOGS=$TOP/build/log
PATH=$PATH:/usr/sbin:/sbin # where chroot is, also for ordinary users
export LBLC_START=${LBLC_START:-$(date +%s)}

say() { printf '[%4ds] %s\n' $(($(date +%s) - LBLC_START)) "$*" >&2; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# follow TITLE LOG [REGEX]: says each half minute how far a log has come, and its last line like that, until killed.
follow() {
	local never last
	exec {never}<> <(:) # nothing ever comes from here; a sleep would outlive us
	while ! read -rt 30 -u "$never" && kill -0 $$; do
		last=$(grep -aE "${3:-}" "$2" | tail -n 1 | cut -c1-70) || true # none yet
		say "$1 ... $(wc -l <"$2") lines${last:+: $last}"
	done
}

# step TITLE COMMAND...: runs a long command with its output in a log, and says how far it is. (A shell
# function as COMMAND sees these locals, hence their names.)
step() {
	local step_title=$1 step_log step_reporter step_status=0
	shift
	mkdir -p "$LOGS"
	step_log=$LOGS/${step_title//[^A-Za-z0-9.+-]/-}.log
	say "$step_title ... (log: ${step_log#"$PWD"/})"
	: >"$step_log"
	follow "$step_title" "$step_log" &
	step_reporter=$!
	# In the foreground, so that Ctrl-C ends it; in a subshell, so that its die() is heard of here.
	("$@") >"$step_log" 2>&1 || step_status=$?
	kill "$step_reporter"
	wait "$step_reporter" 2>/dev/null || true
	if [[ $step_status != 0 ]]; then
		tail -n 20 "$step_log" >&2
		die "$step_title failed; the whole log is $step_log"
	fi
}

# cached DIR BUILDER...: makes DIR once, by "BUILDER... TEMPORARY_DIR". An interrupted build leaves
# nothing that is taken for a whole one, and of two at once the second waits for the first.
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

# The key of what the named files and words say: twelve digits.
key() {
	local what
	for what; do
		if [[ -f $what ]]; then cat "$what"; else echo "$what"; fi
	done | sha256sum | cut -c1-12
}

# Is the kernel of that name User Mode Linux?
is_um() { [[ $1 == um || $1 == kasan ]]; }

# as_root COMMAND...: runs it as root in a mount and a pid namespace of its own; as an ordinary user,
# as root of a user namespace that has the user's subordinate ids. With LBLC_EXEC=exec it takes the place
# of the shell: who kills that kills all of it.
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
# everything is built and run; Debian packages and whole machines have roots of their own. (`make matrix` puts
# others in the place of the tool root, for kernels of other kinds.)
debian_root() { # LIST
	[[ $1 == root && -n ${LBLC_ROOT:-} ]] && echo "$LBLC_ROOT" && return
	echo "$CACHE/$1-$(key "$TOP/scripts/$1.packages" "$TOP/scripts/lib/make-root")"
}
# shellcheck disable=SC2034 # for who sources this
ROOT=$(debian_root root)

# make-root knows one list only, and cannot change without all that was built in the tool root being built
# anew: so it sees the list that is asked for in the place of that one.
make_root() { # LIST DIR
	if [[ $1 == root ]]; then
		"$TOP/scripts/lib/make-root" "$2"
		return
	fi
	as_root sh -c 'mount --bind "$1" "$2" && exec "$3" "$4"' sh \
		"$TOP/scripts/$1.packages" "$TOP/scripts/root.packages" "$TOP/scripts/lib/make-root" "$2"
}

# in_debian LIST [FROM:TO]... -- COMMAND...: runs it in that Debian root, as root, with the checkout at
# /work (where it also starts) and each FROM mounted at TO.
in_debian() {
	local list=$1 root binds=()
	root=$(debian_root "$list")
	shift
	while [[ $1 != -- ]]; do
		binds+=("$1")
		shift
	done
	shift
	cached "$root" make_root "$list"
	as_root "$TOP/scripts/lib/enter-root" "$root" "$TOP:/work" "${binds[@]}" -- "$@"
}

# in_root [FROM:TO]... -- COMMAND...: the same in the tool root.
in_root() { in_debian root "$@"; }
