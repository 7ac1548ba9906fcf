#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The paths in the file of `make rust-project.json` are valid outside of the tool root. KTAP.
cd "$(dirname "$0")/.." || exit 1
. scripts/lib/lib.sh
set +e

number=0
case_() { # NAME COMMAND...
	number=$((number + 1))
	if "${@:2}"; then echo "ok $number $1"; else echo "not ok $number $1"; fi
}
is_json() { in_root -- python3 -m json.tool rust-project.json build/rust-project.checked; }
strings() { grep -oE "(^|[^\\])$1" rust-project.json | grep -o '/[^"]*"$' | tr -d '"' | sort -u; }
every_path_exists() {
	local path missing=0 seen=0
	while read -r path; do
		seen=$((seen + 1))
		[[ -e $path ]] || { echo "# there is no $path" && missing=1; }
	done < <(strings '"/[^"]*"')
	[[ $missing == 0 && $seen -gt 20 ]]
}
has_root() { strings '"root_module": "/[^"]*"' | grep -qxF "$1"; }
generated_bindings_are_where_it_says() {
	local dir
	dir=$(strings '"LBLC_RS_BINDINGS": "/[^"]*"' | grep -v /tests/)
	grep -q 'struct ip_vs_service' "$dir/bindings_generated.rs"
}

echo "TAP version 13"
echo "1..5"
case_ rust_project_is_json is_json
case_ rust_project_names_what_exists every_path_exists
case_ rust_project_has_our_crate has_root "$TOP/ip_vs_lblc_rs.rs"
case_ rust_project_has_the_kernel_crate has_root "$("$TOP/scripts/kernel" tree stock | cut -d' ' -f2)/rust/kernel/lib.rs"
case_ rust_project_knows_the_generated_bindings generated_bindings_are_where_it_says
