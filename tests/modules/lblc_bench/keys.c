// SPDX-License-Identifier: GPL-2.0
/*
 * The keys: numbered, all different, looking random, and the same for the same seed. They are computed
 * when they are needed: an array of them would be in the caches, in which the tables shall be.
 */

#include <linux/hash.h>
#include "lblc_bench.h"

/* The finaliser of MurmurHash3: a bijection, so different numbers make different keys. */
static u32 mix(u32 x)
{
	x = (x ^ (x >> 16)) * 0x85ebca6b;
	x = (x ^ (x >> 13)) * 0xc2b2ae35;
	return x ^ (x >> 16);
}

/* C's bucket is hash_32(x, 10), the upper ten bits of x * GOLDEN_RATIO_32: divide, and one gets any x. */
static u32 same_bucket(u32 number)
{
	u32 inverse = GOLDEN_RATIO_32, i;

	for (i = 0; i < 5; i++)	/* Newton: each step doubles the good bits, of which there are 3 */
		inverse *= 2 - GOLDEN_RATIO_32 * inverse;
	return (0x155 << 22 | (number & 0x3fffff)) * inverse;
}

/* Writes key `number`: four bytes for IPv4. */
void bench_key(const struct bench *bench, void *to, u32 number)
{
	u32 id = mix(number ^ bench->seed);

	if (bench->af != AF_INET6) {
		*(__be32 *)to = htonl(bench->chained ? same_bucket(number) : id);
	} else {
		struct in6_addr *address = to;
		u32 *word = (u32 *)address->s6_addr32;

		word[0] = mix(id + 1);
		word[1] = mix(id + 2);
		word[2] = mix(id + 3);
		word[3] = id;
		if (bench->chained) /* C folds the words by XOR */
			word[2] = word[0] ^ word[1] ^ word[3] ^ 0x12345678;
	}
}
