// SPDX-License-Identifier: GPL-2.0
/*
 * The keys: numbered, all different, pseudo-random, and the same for the same seed. They are computed when they are
 * needed: an array of them would displace the tables from the caches.
 */

#include <linux/hash.h>
#include "../common.h"
#include "lblc_bench.h"

/* C's bucket is hash_32(x, 10), the upper ten bits of x * GOLDEN_RATIO_32. The inverse of the factor gives x. */
static u32 same_bucket(u32 number)
{
	u32 inverse = GOLDEN_RATIO_32, i;

	for (i = 0; i < 5; i++)	/* Newton: each step doubles the number of correct bits, 3 at first */
		inverse *= 2 - GOLDEN_RATIO_32 * inverse;
	return (0x155 << 22 | (number & 0x3fffff)) * inverse;
}

/* Writes key `number`: four bytes for IPv4. */
void bench_key(const struct bench *bench, void *to, u32 number)
{
	u32 id = lblc_mix(number ^ bench->seed), *word = to;

	if (bench->chained && bench->af != AF_INET6)
		id = same_bucket(number);
	lblc_address(bench->af, to, id);
	if (bench->chained && bench->af == AF_INET6)	/* C folds the words by XOR */
		word[2] = word[0] ^ word[1] ^ word[3] ^ 0x12345678;
}
