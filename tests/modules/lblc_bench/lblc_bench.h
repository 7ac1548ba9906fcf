/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LBLC_BENCH_H
#define LBLC_BENCH_H

#include <linux/types.h>
#include <net/ip_vs.h>

/* C's lblc and ours, each bound to a service of its own, and a callback that does nothing. */
enum side { C, OURS, NOTHING, SIDES };

/* What a batch of each side took in turns with the same keys, one right after the other. */
struct sample {
	u64 turn[SIDES];
};

#define MAX_SAMPLES	1024
#define MAX_BATCHES	1024

/* Addresses, of 4 or 16 bytes each. */
struct keys {
	u32 number;
	void *any;
};

typedef struct ip_vs_dest *schedule_t(struct ip_vs_service *svc, const struct sk_buff *skb,
				      struct ip_vs_iphdr *iph);

struct bench {
	struct ip_vs_service *svc[SIDES];
	schedule_t *schedule[SIDES];	/* null: not there */
	u16 af;
	u32 key_size;
	bool chained;		/* the keys share one bucket of C's */
	u32 seed;
	struct keys known;	/* what `fill` fills the tables with */
	struct keys pass;	/* the same in random order, again and again if they are few */
	u32 at;			/* where in `pass` the next turn begins */
	struct keys fresh;	/* keys that nobody has asked for */
	u32 used;		/* how many of all possible keys were used up */
	u64 frequency;		/* of the clock that the samples are in */
	u32 samples;
	struct sample sample[MAX_SAMPLES];
};

/* keys.c */
int bench_keys(struct bench *bench, u32 number);
int bench_fresh_keys(struct bench *bench, u32 number);
void bench_free_keys(struct bench *bench);
static inline void *bench_key(const struct bench *bench, const struct keys *keys, size_t at)
{
	return keys->any + at * bench->key_size;
}

/* measure.c */
int bench_measure_init(void);
void bench_measure_exit(void);
u64 bench_frequency(void);
int bench_fill(struct bench *bench);
int bench_check(struct bench *bench, const struct keys *keys);
int bench_hits(struct bench *bench, u32 samples, u32 batches, u32 batch, u32 warm, bool cold);
int bench_misses(struct bench *bench, u32 samples, u32 batches, u32 batch);

#endif
