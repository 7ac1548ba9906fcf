// SPDX-License-Identifier: GPL-2.0
/* The keys: all different, looking random, and the same for the same seed. */

#include <linux/hash.h>
#include <linux/prandom.h>
#include <linux/vmalloc.h>
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

static void key(const struct bench *bench, void *to, u32 number)
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

static int allocate(const struct bench *bench, struct keys *keys, u32 number)
{
	vfree(keys->any);
	keys->number = 0;
	keys->any = vmalloc_array(number, bench->key_size);
	if (!keys->any)
		return -ENOMEM;
	keys->number = number;
	return 0;
}

/* Makes `known` and `pass`. */
int bench_keys(struct bench *bench, u32 number)
{
	u32 length = max(roundup(number, 256), 4096u), i;
	struct rnd_state random;
	int error;

	error = allocate(bench, &bench->known, number) ?: allocate(bench, &bench->pass, length);
	if (error)
		return error;
	for (i = 0; i < number; i++)
		key(bench, bench_key(bench, &bench->known, i), i);
	for (i = 0; i < length; i++)
		memcpy(bench_key(bench, &bench->pass, i), bench_key(bench, &bench->known, i % number),
		       bench->key_size);
	prandom_seed_state(&random, bench->seed);
	for (i = length - 1; i > 0; i--) {
		void *one = bench_key(bench, &bench->pass, i);
		void *other = bench_key(bench, &bench->pass, prandom_u32_state(&random) % (i + 1));
		struct in6_addr keep;

		memcpy(&keep, one, bench->key_size);
		memmove(one, other, bench->key_size);
		memcpy(other, &keep, bench->key_size);
	}
	bench->at = 0;
	bench->used = number;
	return 0;
}

/* Makes `fresh`. */
int bench_fresh_keys(struct bench *bench, u32 number)
{
	int error = allocate(bench, &bench->fresh, number);
	u32 i;

	for (i = 0; !error && i < number; i++)
		key(bench, bench_key(bench, &bench->fresh, i), bench->used++);
	return error;
}

void bench_free_keys(struct bench *bench)
{
	vfree(bench->known.any);
	vfree(bench->pass.any);
	vfree(bench->fresh.any);
}
