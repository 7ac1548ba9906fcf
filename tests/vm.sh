#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The exit status of scripts/vm for each way in which a guest can end. KTAP. KERNEL chooses (default stock).
cd "$(dirname "$0")/.." || exit 1

script=$(mktemp)
chmod +x "$script"
trap 'rm -f "$script"' EXIT
number=0

ends() { # NAME STATUS OUTPUT_PATTERN BODY [OPTION]...
	local name=$1 wanted=$2 pattern=$3 body=$4 status=0 said
	shift 4
	number=$((number + 1))
	printf '#!/bin/bash\n%s\n' "$body" >"$script"
	said=$(scripts/vm run --kernel "${KERNEL:-stock}" "$@" "$script" "one word" two 2>/dev/null) || status=$?
	if [[ $status == "$wanted" ]] && grep -qE "$pattern" <<<"$said"; then
		echo "ok $number $name"
	else
		while IFS= read -r line; do echo "# $line"; done <<<"$said"
		echo "# status $status, not $wanted, or no line with $pattern"
		echo "not ok $number $name"
	fi
}

echo "TAP version 13"
echo "1..6"
ends vm_passes_status_and_arguments 7 '^one word,two$' 'echo "$1,$2"; exit 7'
ends vm_has_the_tools 0 'all here' 'for tool in bash ip ipvsadm iptables nft curl socat python3 sysctl modprobe keepalived
	do command -v $tool >/dev/null || exit 1; done; echo all here'
ends vm_has_the_module_but_not_loaded 0 'ip_vs_lblc_rs.ko' \
	'grep ip_vs_lblc_rs /proc/modules && exit 1; modinfo -n ip_vs_lblc_rs'
ends vm_panic_is_125 125 '' 'echo c >/proc/sysrq-trigger; sleep 60'
ends vm_lost_guest_is_125 125 '' 'busybox poweroff -f; sleep 60'
ends vm_hang_is_125 125 '' 'sleep 1000' --timeout 20
