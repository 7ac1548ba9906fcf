#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# upstream.sh: the kernel's own IPVS selftest (tools/testing/selftests/net/netfilter/ipvs.sh, provided by scripts/vm),
# with lblc_rs in the place of rr. KTAP.
folder=$(mktemp -d)
cp -r "$KSFT_DIR/." "$folder"
cd "$folder/net/netfilter" || exit
replaced=$(grep -c -- ' -s rr$' ipvs.sh)
sed -i 's/ -s rr$/ -s lblc_rs/' ipvs.sh
echo "TAP version 13"
echo "1..1"
said=$(PATH=$PATH bash ipvs.sh 2>&1) && status=0 || status=$?
while read -r line; do echo "# $line"; done <<<"$said"
# In all three of its modes.
if [[ $status == 0 && $replaced == 3 && $said == *PASS* ]]; then
	echo "ok 1 the_kernels_own_selftest_passes_with_lblc_rs"
else
	echo "not ok 1 the_kernels_own_selftest_passes_with_lblc_rs"
	exit 1
fi
