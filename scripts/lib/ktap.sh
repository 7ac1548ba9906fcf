# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by the scripts that run cases in guests: runs them, derives the results, and prints them as KTAP. Counts in
# `number`, `passed` and `failed`. A skipped case counts as failed.

number=0 passed=0 failed=0

result() { # ok|"not ok" NAME
	number=$((number + 1))
	if [[ $1 == ok ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	printf '%s %d %s\n' "$1" "$number" "$2"
}

# Prints the results in one KTAP file, under a title. If there are more or fewer cases than planned, that is a failure.
report() { # TITLE FILE
	local title=$1 line plan='' seen=0
	while IFS= read -r line; do
		case $line in
		1..*) plan=${line#1..} ;;
		ok\ *SKIP*) result "not ok" "$title: $(cut -d' ' -f3 <<<"$line") (skipped)" && seen=$((seen + 1)) ;;
		ok\ *) result ok "$title: $(cut -d' ' -f3 <<<"$line")" && seen=$((seen + 1)) ;;
		not\ ok\ *) result "not ok" "$title: $(cut -d' ' -f4 <<<"$line")" && seen=$((seen + 1)) ;;
		'# '*\ s | '# '*' so far') ;; # progress and times are only in the saved console
		'# Totals'*) ;;
		'# '*) echo "$line" ;;
		esac
	done <"$2"
	[[ $plan == "$seen" ]] || result "not ok" "$title: $seen of ${plan:-?} cases ended"
}

# Builds the module for a kernel, once for all files of cases.
declare -A modules=()
prepare() { # KERNEL
	[[ ${modules[$1]:-} ]] || modules[$1]=$("$TOP/scripts/kernel" module "$1")
}

console_of() { # KERNEL TITLE
	echo "$LOGS/$1-${2// /-}.console"
}

# Runs a file of cases in a guest, and saves the console and the exit status.
run_guest() { # KERNEL TITLE [OPTION]... FILE [ARG]...
	local kernel=$1 log status=0
	log=$(console_of "$1" "$2")
	shift 2
	mkdir -p "$LOGS"
	prepare "$kernel"
	LBLC_MODULE=${modules[$kernel]} "$TOP/scripts/vm" run --kernel "$kernel" "$@" >"$log" || status=$?
	echo $status >"$log.status"
}

# run_guest() with reports of progress.
run_guest_verbose() {
	local follower
	mkdir -p "$LOGS"
	prepare "$1"
	: >"$(console_of "$1" "$2")"
	follow "$1: $2" "$(console_of "$1" "$2")" '^(# .* so far|ok |not ok )' &
	follower=$!
	run_guest "$@"
	kill $follower
	wait $follower 2>/dev/null || true
}

# Prints the results of a run: each case, the plan, the guest's exit status, and complaints of its kernel.
verdict() { # KERNEL TITLE
	local kernel=$1 title=$2 log said status before=$failed
	log=$(console_of "$1" "$2")
	status=$(<"$log.status")
	report "$kernel: $title" "$log"
	[[ $status == 0 || $status == 1 && $failed != "$before" ]] ||
		result "not ok" "$kernel: $title: the guest ended with status $status"
	if ! said=$("$TOP/scripts/scan-console" "$log" 2>&1); then
		awk '{ print "# " $0 }' <<<"$said"
		result "not ok" "$kernel: $title: the kernel complained"
	fi
	[[ $failed == "$before" ]] || echo "# console: $log"
}

# run_guest() and verdict().
judge() { # KERNEL TITLE [OPTION]... FILE [ARG]...
	run_guest "$@"
	verdict "$1" "$2"
}
