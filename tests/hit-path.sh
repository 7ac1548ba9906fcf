#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# hit-path.sh MODULE, in the tool root: schedule() of an x86-64 module must have no calls but tail calls, no atomic
# instructions and no panics. KTAP.
module=$1
number=0

none() { # NAME WHAT: fails if there is anything on stdin
	local found
	found=$(head -n 5)
	number=$((number + 1))
	if [[ $found ]]; then
		awk '{ print "# " $0 }' <<<"$found"
		echo "not ok $number $1"
	else
		echo "ok $number $1"
	fi
}

symbol=$(nm "$module" | awk '$3 ~ /^_R.*VTable.*Lblc.*8scheduleB/ { print $3 }')
code=$(objdump --disassemble="$symbol" --no-show-raw-insn --reloc "$module")
[[ $(wc -l <<<"$code") -gt 40 ]] || code="call schedule() was not found in $module"

echo "TAP version 13"
echo "1..3"
# A jump to a thunk or a function is a tail call, off the hit path.
none schedule_calls_nothing < <(grep -w call <<<"$code")
none schedule_has_no_atomic_instruction < <(grep -wE 'lock|xchg|cmpxchg|mfence' <<<"$code")
none the_module_cannot_panic < <(nm -u "$module" | grep -E 'panicking|panic_')
