// SPDX-License-Identifier: GPL-2.0
/*
 * What memory alone costs a call: a callback that reads two cache lines, the second one at an address from the first.
 * Each key has a line of its own among the second ones, and the array of the first ones has four pointers to a key, as
 * in a table with short chains.
 */

#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include "../common.h"
#include "lblc_bench.h"

struct line {
	u64 word[L1_CACHE_BYTES / sizeof(u64)];
};

static struct line **heads, *lines;
static u32 bits;

static struct ip_vs_dest *two_lines(struct ip_vs_service *svc, const struct sk_buff *skb, struct ip_vs_iphdr *iph)
{
	u32 word = svc->af == AF_INET6 ? iph->daddr.ip6[3] : iph->daddr.ip;

	return (struct ip_vs_dest *)(unsigned long)READ_ONCE(READ_ONCE(heads[hash_32(word, bits)])->word[3]);
}

/* Makes the lines for the known keys; the callback is that of side LINES. */
int bench_lines_init(struct bench *bench)
{
	u32 i, number = roundup_pow_of_two(bench->known) * 4;

	bench_lines_exit();
	bits = ilog2(number);
	heads = kvmalloc_array(number, sizeof(*heads), GFP_KERNEL);
	lines = kvcalloc(bench->known, sizeof(*lines), GFP_KERNEL);
	if (!heads || !lines) {
		bench_lines_exit();
		return -ENOMEM;
	}
	for (i = 0; i < number; i++)
		heads[i] = &lines[lblc_mix(i) % bench->known];
	bench->schedule[LINES] = two_lines;
	bench->svc[LINES] = bench->svc[OURS] ?: bench->svc[C];
	return 0;
}

void bench_lines_exit(void)
{
	kvfree(heads);
	kvfree(lines);
	heads = NULL;
	lines = NULL;
}
