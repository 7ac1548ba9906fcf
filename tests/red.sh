#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The must-fail tests: each has one deliberate fault, is judged by the code that judges all files of cases, and must
# fail for that reason. KTAP. CASE (a regular expression) chooses; FULL=1 adds more, and KERNEL="red kcsan" those that
# only kcsan detects.
. "$(dirname "$0")/../scripts/lib/lib.sh"
. "$TOP/scripts/lib/ktap.sh"
cd "$TOP"
wanted=${CASE:-.*}
unset CASE # it chooses here, not in the files of cases

red() { # KERNEL WHAT PATTERN...: the output on WHAT must match each pattern; vm_options are those of scripts/vm
	local kernel=$1 what=$2 pattern said missing=''
	shift 2
	[[ $what == nothing ]] && set -- '^failed: 0$' || set -- '^failed: [1-9]' "$@"
	[[ red_$what =~ ^($wanted)$ ]] || return 0
	total=$((total + 1))
	prepare "$kernel"
	said=$(judge "$kernel" "red-$what" "${vm_options[@]}" tests/red.py "$what" 2>&1 && echo "failed: $failed")
	for pattern; do
		grep -qE -- "$pattern" <<<"$said" || missing+=" \"$pattern\""
	done
	if [[ $missing ]]; then
		awk '{ print "# " $0 }' <<<"$said"
		echo "# not in the output:$missing"
		echo "not ok $total red_$what"
	else
		echo "ok $total red_$what"
	fi
}

total=0
echo "TAP version 13"

# This must pass, or the others could fail for another reason than their own.
vm_options=()
red kasan nothing

red um failing_case 'not ok .* failing_case'
red um skipped_case 'not ok .* skipped_case \(skipped\)'
red um end_before_the_plan 'not ok .* 0 of 2 cases ended'
red um status_that_nobody_explains 'not ok .* ended with status 3'
red um setting_that_stays 'not ok .* the_kernel_is_unharmed' "machine's .*: drop_entry: .*'0'.* before, .*'1'.* now"
red um sysctl_of_another 'not ok .* the_kernel_is_unharmed' "machine's .*/vs: am_droprate: .* before, nothing now"
red um file_that_stays 'not ok .* the_kernel_is_unharmed' "machine's /proc/net: lblc_red: nothing before, there now"
red um thread_that_stays 'not ok .* the_kernel_is_unharmed' "threads of the kernel: .*lblc_red.* nothing before, there now"
red um warn 'not ok .* the_kernel_is_unharmed' 'tainted is' 'not ok .* complained' 'console:.* WARNING'
red um panic 'not ok .* ended with status 125' 'not ok .* complained' 'console:.* panic'
red um bug 'not ok .* ended with status 125' 'not ok .* complained'
vm_options=(--timeout 10)
red um hang 'not ok .* ended with status 125'
vm_options=()
red kasan lock_order 'not ok .* the_kernel_is_unharmed' 'lockdep does not watch' 'console:.* lockdep'
red kasan rcu_usage 'not ok .* complained' 'console:.* RCU usage'
red kasan leak 'not ok .* the_kernel_is_unharmed' 'unreferenced object .*size 64' 'kmem_cache_alloc' 'kmalloc'
red kasan use_after_free 'not ok .* the_kernel_is_unharmed' 'tainted is' 'console:.* KASAN'
red kasan cache_in_use 'not ok .* the_kernel_is_unharmed' 'console:.* slab'
if [[ ${FULL:-} ]]; then
	red kasan out_of_bounds 'not ok .* the_kernel_is_unharmed' 'console:.* KASAN'
	red kasan sleep_in_section 'not ok .* the_kernel_is_unharmed' 'console:.* atomic context'
	red kasan free_running_timer 'not ok .* the_kernel_is_unharmed' 'console:.* debug objects'
	red kasan delete_twice 'not ok .* complained' 'console:.* list'
	red kasan refcount 'not ok .* the_kernel_is_unharmed' 'console:.* reference count'
	red kasan shift 'not ok .* complained' 'console:.* UBSAN'
	red kasan null_pointer 'not ok .* ended with status 125' 'not ok .* complained'
	vm_options=(--timeout 20)
	red kasan wait_forever 'not ok .* complained' 'console:.* hung task'
fi
vm_options=()
if [[ ${KERNEL:-} == *kcsan* ]]; then
	red kcsan lost_counts 'not ok .* complained' 'console:.* KCSAN'
fi
echo "1..$total"
