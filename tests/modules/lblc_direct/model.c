// SPDX-License-Identifier: GPL-2.0
/*
 * The answer that a side must give: by C's rules, with any of the intended differences. Reads the real counters, and
 * keeps its own record of the servers of keys.
 */

#include <linux/overflow.h>
#include "lblc_direct.h"

static bool over_threshold(const struct ip_vs_dest *dest)
{
	return dest->flags & IP_VS_DEST_F_OVERLOAD;
}

static int weight(const struct ip_vs_dest *dest)
{
	return atomic_read(&dest->weight);
}

/* The load that is compared with the weight. */
static s64 busy(const struct ip_vs_service *svc, const struct ip_vs_dest *dest, unsigned long rows)
{
	s64 active = atomic_read(&dest->activeconns);

	if (!(rows & BIT(FLAG_1)) || !(svc->flags & IP_VS_SVC_F_SCHED1))
		return active;
#ifdef TOTALCONNS
	return atomic_read(&dest->totalconns);
#else
	return active + atomic_read(&dest->inactconns);
#endif
}

static bool half_idle(const struct ip_vs_service *svc, const struct ip_vs_dest *dest, unsigned long rows)
{
	s64 twice = 2 * busy(svc, dest, rows);

	if (rows & BIT(THRESHOLD) && over_threshold(dest))
		return false;
	return (rows & BIT(WIDE) ? twice : (s32)twice) < weight(dest);
}

static s64 load(struct ip_vs_dest *dest, unsigned long rows)
{
	if (!(rows & BIT(WIDE)))
		return ip_vs_dest_conn_overhead(dest);
#ifdef TOTALCONNS
	return 256LL * atomic_read(&dest->activeconns) + atomic_read(&dest->totalconns);
#else
	return 256LL * atomic_read(&dest->activeconns) + atomic_read(&dest->inactconns);
#endif
}

static s64 product(s64 a, s64 b)
{
	s64 result;

	return check_mul_overflow(a, b, &result) ? S64_MAX : result;
}

static int least_loaded(const struct trace *trace, enum side side, unsigned long rows)
{
	struct ip_vs_dest *best = NULL;
	int number = 0;
	u32 i;

	for (i = 0; i < trace->listed; i++) {
		struct ip_vs_dest *dest = trace->server[side][trace->order[i]];

		if (over_threshold(dest) || (!best && weight(dest) <= 0))
			continue;
		if (best && product(load(best, rows), weight(dest)) <=
			    product(load(dest, rows), weight(best)))
			continue;
		best = dest;
		number = trace->order[i];
	}
	return number;
}

static u32 key_of(unsigned long rows, const struct call *call)
{
	return call->other && !(rows & BIT(ICMP)) ? call->other : call->key;
}

/* Of the servers that are not above their weight the first in the order of the key, or 0. */
static int first(const struct trace *trace, enum side side, unsigned long rows, const struct call *call)
{
	const struct ip_vs_service *svc = trace->svc[side];
	union nf_inet_addr address = {};
	struct ip_vs_dest *best = NULL;
	int number = 0;
	u64 key;
	u32 i;

	address_of(trace, key_of(rows, call), &address);
	key = hash_key(trace, &address);
	for (i = 0; i < trace->listed; i++) {
		struct ip_vs_dest *dest = trace->server[side][trace->order[i]];

		if (over_threshold(dest) || weight(dest) <= 0 || busy(svc, dest, rows) > weight(dest) ||
		    (best && !is_first(key, dest, best)))
			continue;
		best = dest;
		number = trace->order[i];
	}
	return number;
}

static bool is_stale(const struct trace *trace, const struct memory *memory, unsigned long now)
{
	return now - memory->last_use > trace->svc[C]->ipvs->sysctl_lblc_expiration;
}

/* Returns whether the known server is kept. */
static bool is_good(const struct trace *trace, enum side side, const struct memory *memory,
		    unsigned long rows, unsigned long now)
{
	struct ip_vs_dest *dest = trace->server[side][memory->server];
	struct ip_vs_service *svc = trace->svc[side];
	u32 i;

	if (rows & BIT(EXPIRY) && is_stale(trace, memory, now))
		return false;
	if (!dest || weight(dest) <= 0 || (rows & BIT(THRESHOLD) && over_threshold(dest)))
		return false;
	if (busy(svc, dest, rows) <= weight(dest))
		return true;
	for (i = 0; i < trace->listed; i++)
		if (half_idle(svc, trace->server[side][trace->order[i]], rows))
			return false;
	return true;
}

/* Returns the number of the server that `side` must choose with these rows, or 0 for none. */
int predict(const struct trace *trace, enum side side, unsigned long rows, const struct call *call)
{
	const struct memory *memory = &trace->memory[side][key_of(rows, call)];

	if (memory->server && is_good(trace, side, memory, rows, call->now))
		return memory->server;
	if (rows & BIT(FLAG_2) && trace->svc[side]->flags & IP_VS_SVC_F_SCHED2) {
		int number = first(trace, side, rows, call);

		if (number)
			return number;
	}
	return least_loaded(trace, side, rows);
}

/* Records that `side` has answered `server`. */
void learn(struct trace *trace, enum side side, unsigned long rows, const struct call *call, int server)
{
	struct memory *memory = &trace->memory[side][key_of(rows, call)];
	bool stale = rows & BIT(EXPIRY) && is_stale(trace, memory, call->now);

	if (server)
		memory->server = server;
	if (server || !stale)
		memory->last_use = call->now;
}
