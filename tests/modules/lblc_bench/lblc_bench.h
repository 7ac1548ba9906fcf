/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LBLC_BENCH_H
#define LBLC_BENCH_H

#include <linux/types.h>
#include <net/ip_vs.h>

/* C's lblc and ours, each bound to a service of its own; a callback that does nothing, and one that reads two lines. */
enum side { C, OURS, NOTHING, LINES, SIDES };

/* The time of a batch of each side, for the same keys and in immediate succession. */
struct sample {
	u64 turn[SIDES];
};

#define MAX_SAMPLES	1024
#define MAX_BATCHES	1024
#define MAX_BATCH	256

/*
 * HOT: calls in succession, which a CPU may overlap. LONE: a call begins when the result of the last one is known.
 * COLD and COLD_LONE: the same, with empty caches before each batch.
 */
enum temp { HOT, LONE, COLD, COLD_LONE };

/*
 * What each CPU asks for: new keys, one known key that is the same for all CPUs, known keys of its own; or known keys on
 * CPU 0 beside new ones on the others.
 */
enum race { RACE_NEW, RACE_ONE, RACE_OWN, RACE_FLOOD };

typedef struct ip_vs_dest *schedule_t(struct ip_vs_service *svc, const struct sk_buff *skb,
				      struct ip_vs_iphdr *iph);

struct bench {
	struct ip_vs_service *svc[SIDES];
	struct ip_vs_service *twin[SIDES];	/* with the same scheduler, and another table; or NULL */
	schedule_t *schedule[SIDES];	/* NULL: there is none */
	u16 af;
	bool chained;		/* all keys are in one bucket of C's table */
	u32 seed;
	u32 known;		/* the number of keys that `fill` inserts, and that are known afterwards */
	u32 used;		/* the first key that was not used */
	u64 frequency;		/* of the clock of the samples */
	u32 samples;
	struct sample sample[MAX_SAMPLES];
};

/* keys.c */
void bench_key(const struct bench *bench, void *to, u32 number);

/* measure.c */
int bench_measure_init(void);
void bench_measure_exit(void);
u64 bench_frequency(void);
struct ip_vs_dest *bench_choose(struct bench *bench, enum side side, u32 number);
int bench_fill(struct bench *bench);
int bench_check(struct bench *bench, u32 from, u32 to);
int bench_hits(struct bench *bench, u32 samples, u32 batches, u32 batch, u32 warm, enum temp temp);
int bench_known(struct bench *bench, u32 batches, u32 batch);
int bench_misses(struct bench *bench, u32 samples, u32 batches, u32 batch, enum temp temp);

/* lines.c */
int bench_lines_init(struct bench *bench);
void bench_lines_exit(void);

/* extra.c */
void bench_probe_init(void);
void bench_probe_start(void);
void bench_probe_stop(struct bench *bench);
int bench_race(struct bench *bench, enum side side, enum race race, u32 cpus, u32 number);
int bench_flood(struct bench *bench, u32 regulars, u32 number);

#endif
