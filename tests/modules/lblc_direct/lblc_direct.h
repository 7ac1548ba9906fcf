/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LBLC_DIRECT_H
#define LBLC_DIRECT_H

#include <linux/prandom.h>
#include <net/ip_vs.h>

/* C's lblc and ours, each bound to a service of its own. */
enum side { C, OURS, SIDES };

/* The intended differences (docs/differences.md) that an answer of schedule() can show. */
enum row {
	ICMP,		/* a: the key of an inverse header */
	THRESHOLD,	/* b: a server above its upper threshold */
	FLAG_1,		/* c: all connections count */
	EXPIRY,		/* d: an entry that was idle for too long */
	WIDE,		/* i: numbers that C's int cannot hold */
	FLAG_2,		/* a destination without a server goes to the first in its order */
	ROWS
};

#define ALL_ROWS	(BIT(ROWS) - 1)
#define KEYS		6000	/* C's table begins to forget at 16384 */
#define CLIENTS		100	/* the numbers after those of the keys: sources of ICMP errors' packets */
#define AGREE_KEYS	(1 << 20)
#define SERVERS		16	/* a server's number is the end of its address: 1 to 15 */

/* The model's record of a key on a side. */
struct memory {
	int server;		/* 0: none */
	unsigned long last_use;
};

/* The arguments of a call of schedule(). */
struct call {
	u32 key;		/* the destination of a packet, or the source of an inverse header */
	u32 other;		/* an inverse header's destination, or 0 */
	unsigned long now;
};

struct trace {
	u32 seed;
	struct rnd_state random;
	unsigned long stimuli;	/* of which rows of the above the trace makes use */
	u64 hash_seed;		/* net.ipv4.vs.lblc_rs_seed */
	u16 af;
	struct ip_vs_service *svc[SIDES];
	struct ip_vs_dest *server[SIDES][SERVERS];	/* NULL: not in the list */
	u32 order[SERVERS], listed;			/* their numbers, in the order of the list */
	struct memory memory[SIDES][KEYS + CLIENTS];
	u64 calls, none, moves, differences, parted, row[ROWS];
	u64 stayed;		/* of `flood` */
	u32 unequal;		/* of `agree` */
	char objection[1024];
};

/* model.c */
int predict(const struct trace *trace, enum side side, unsigned long rows, const struct call *call);
void learn(struct trace *trace, enum side side, unsigned long rows, const struct call *call, int server);

/* first.c */
u64 hash_key(const struct trace *trace, const union nf_inet_addr *key);
bool is_first(u64 key, const struct ip_vs_dest *dest, const struct ip_vs_dest *other);

/* agree.c */
u32 agree(struct ip_vs_service *svc, u8 *answers, u32 keys);

/* trace.c */
void address_of(const struct trace *trace, u32 number, void *to);
int trace_run(struct trace *trace, u32 calls);

/* flood.c */
int flood(struct ip_vs_service *svc, u32 keys);

#endif
