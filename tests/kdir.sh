#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A kernel tree that cannot build the module is refused with one line that has the reason. KTAP.
cd "$(dirname "$0")/.." || exit 1

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/rust" "$tree/bin"
number=0

# A tool of the given name that prints the given text, before all others on PATH.
tool() { printf '#!/bin/sh\necho "%s"\n' "$2" >"$tree/bin/$1" && chmod +x "$tree/bin/$1"; }

refuses() { # NAME PATTERN
	local said
	number=$((number + 1))
	if ! said=$(PATH=$tree/bin:$PATH make KDIR="$tree" MO="$tree/out" 2>&1) &&
		grep -qE "^error: .*$2" <<<"$said" && [[ $(grep -c '^error:' <<<"$said") == 1 ]]; then
		echo "ok $number $1"
	else
		echo "# $said"
		echo "not ok $number $1"
	fi
}

echo "TAP version 13"
echo "1..6"
refuses kdir_without_a_configuration "no configured kernel tree"
touch "$tree/Makefile"
echo "CONFIG_IP_VS=m" >"$tree/.config"
refuses kdir_without_rust "without CONFIG_RUST; .* trixie-backports"
echo 'CONFIG_RUST=y' >"$tree/.config"
refuses kdir_without_ipvs "without IPVS"
echo 'CONFIG_IP_VS=m' >>"$tree/.config"
echo 'CONFIG_RUSTC_VERSION_TEXT="rustc 1.85.1 (built from a source tarball)"' >>"$tree/.config"
tool rustc "rustc 1.2.3 (somewhere)"
refuses kdir_with_another_rustc "this is rustc 1.2.3, .* built with rustc 1.85.1"
tool rustc "rustc 1.85.1 (here)"
tool bindgen "bindgen 0"
refuses kdir_without_rust_metadata "no Rust metadata"
printf '#!/bin/sh\nexit 1\n' >"$tree/bin/bindgen"
refuses kdir_without_bindgen "bindgen is missing"
