// SPDX-License-Identifier: GPL-2.0
/*
 * A random trace: calls both sides for the same key, compares the answers, and changes counters, weights and thresholds
 * of both in the same way. It depends on the seed and the commands only.
 */

#include <linux/sched.h>
#include "../common.h"
#include "lblc_direct.h"

#define CALLS_AT_ONCE 32

static u32 below(struct trace *trace, u32 limit)
{
	return prandom_u32_state(&trace->random) % limit;
}

static bool chance(struct trace *trace, u32 percent)
{
	return below(trace, 100) < percent;
}

static bool uses(const struct trace *trace, enum row row)
{
	return trace->stimuli & BIT(row);
}

static atomic_t *others(struct ip_vs_dest *dest)
{
#ifdef TOTALCONNS
	return &dest->totalconns;
#else
	return &dest->inactconns;
#endif
}

static int number_of(const struct trace *trace, const struct ip_vs_dest *dest)
{
	__be32 last = trace->af == AF_INET6 ? dest->addr.in6.s6_addr32[3] : dest->addr.ip;

	return ntohl(last) % SERVERS;
}

/* Looks up the servers of `side`, which the control plane may have changed. */
static int look_up(struct trace *trace, enum side side)
{
	struct ip_vs_dest *dest;
	u32 listed = 0;

	memset(trace->server[side], 0, sizeof(trace->server[side]));
	list_for_each_entry(dest, &trace->svc[side]->destinations, n_list) {
		u32 number = number_of(trace, dest);

		if (listed == SERVERS || !number || trace->server[side][number] ||
		    (side == OURS && number != trace->order[listed]))
			return -EINVAL;
		trace->server[side][number] = dest;
		trace->order[listed++] = number;
	}
	if (side == OURS && listed != trace->listed)
		return -EINVAL;
	trace->listed = listed;
	return 0;
}

static int some_number(struct trace *trace)
{
	int weight = atomic_read(&trace->server[C][trace->order[0]]->weight);

	if (uses(trace, WIDE) && chance(trace, 20))
		return below(trace, 2) ? 1 << (20 + below(trace, 11)) : below(trace, 1 << 30);
	return chance(trace, 50) ? below(trace, 40) : below(trace, 2 * min(weight, 1000) + 2);
}

/* Changes the number of connections of a server, on both sides. */
static void set_connections(struct trace *trace, u32 number)
{
	int active = some_number(trace), more = some_number(trace);
	enum side side;

	for (side = C; side < SIDES; side++) {
		struct ip_vs_dest *dest = trace->server[side][number];

		atomic_set(&dest->activeconns, active);
#ifdef TOTALCONNS
		atomic_set(others(dest), active + min(more, INT_MAX - active - (1 << 20)));
#else
		atomic_set(others(dest), more);
#endif
	}
}

/* As IPVS does when a connection is added or removed: updates the overload flag. */
static void count(struct trace *trace, int chosen)
{
	u32 any = trace->order[below(trace, trace->listed)], what = below(trace, 1000);
	enum side side;

	if (what < 20) {
		set_connections(trace, any);
	} else if (what < 520) {
		for (side = C; side < SIDES && chosen; side++) {
			atomic_inc(&trace->server[side][chosen]->activeconns);
			atomic_inc(others(trace->server[side][chosen]));
		}
	} else if (what < 900) {
		if (atomic_read(&trace->server[C][any]->activeconns) > 0)
			for (side = C; side < SIDES; side++)
				atomic_dec(&trace->server[side][any]->activeconns);
	} else if (what < 950 && trace->server[C][any]->u_threshold) {
		for (side = C; side < SIDES; side++)
			trace->server[side][any]->flags ^= IP_VS_DEST_F_OVERLOAD;
	}
}

/* As `ipvsadm -e`, on both sides. */
static void edit(struct trace *trace, u32 number, int weight, u32 threshold)
{
	enum side side;

	for (side = C; side < SIDES; side++) {
		struct ip_vs_scheduler *scheduler = rcu_access_pointer(trace->svc[side]->scheduler);
		struct ip_vs_dest *dest = trace->server[side][number];

		atomic_set(&dest->weight, weight);
		dest->u_threshold = threshold;
		dest->flags &= ~IP_VS_DEST_F_OVERLOAD;
		if (scheduler->upd_dest)
			scheduler->upd_dest(trace->svc[side], dest);
	}
}

static void edit_some(struct trace *trace)
{
	static const int weights[] = { 0, 1, 2, 5, 10, 20, 20, 1000 };
	int weight = weights[below(trace, ARRAY_SIZE(weights))];
	u32 i;

	if (chance(trace, 1)) { /* no server is available until a later edit */
		for (i = 0; i < trace->listed; i++)
			edit(trace, trace->order[i], 0, 0);
		return;
	}
	if (uses(trace, WIDE) && chance(trace, 20))
		weight = chance(trace, 50) ? INT_MAX : 1 << (16 + below(trace, 15));
	edit(trace, trace->order[below(trace, trace->listed)], weight,
	     uses(trace, THRESHOLD) && chance(trace, 50) ? 1 << 30 : 0);
}

static void make_call(struct trace *trace, struct call *call)
{
	/* A few addresses are frequent. */
	call->key = chance(trace, 50) ? below(trace, 64) : below(trace, KEYS);
	call->other = uses(trace, ICMP) && chance(trace, 5) ? KEYS + below(trace, CLIENTS) : 0;
	call->now = jiffies;
}

/* The address that has a number. */
void address_of(const struct trace *trace, u32 number, void *to)
{
	lblc_address(trace->af, to, lblc_mix(number ^ trace->seed));
}

static int ask(struct trace *trace, enum side side, const struct call *call)
{
	struct ip_vs_service *svc = trace->svc[side];
	struct ip_vs_scheduler *scheduler = rcu_dereference(svc->scheduler);
	struct ip_vs_iphdr header = {};
	struct ip_vs_dest *dest;

	address_of(trace, call->key, call->other ? &header.saddr : &header.daddr);
	if (call->other) {
		header.hdr_flags = IP_VS_HDR_ICMP | IP_VS_HDR_INVERSE;
		address_of(trace, call->other, &header.daddr);
	}
	dest = scheduler->schedule(svc, NULL, &header);
	return dest ? number_of(trace, dest) : 0;
}

/* Records a wrong answer with everything that it depends on. */
static int object(struct trace *trace, const struct call *call, const int got[SIDES],
		  const int want[SIDES])
{
	char *to = trace->objection, *end = to + sizeof(trace->objection);
	enum side side;
	u32 i;

	to += scnprintf(to, end - to, "call %llu: key %u other %u\n", trace->calls, call->key, call->other);
	for (side = C; side < SIDES; side++)
		to += scnprintf(to, end - to, "%s: got s%d, wanted s%d, knew s%d\n", side ? "lblc_rs" : "lblc",
				got[side], want[side], trace->memory[side][call->key].server);
	for (i = 0; i < trace->listed; i++) {
		struct ip_vs_dest *dest = trace->server[OURS][trace->order[i]];

		to += scnprintf(to, end - to, " s%u: weight %d active %d others %d%s\n", trace->order[i],
				atomic_read(&dest->weight), atomic_read(&dest->activeconns),
				atomic_read(others(dest)),
				dest->flags & IP_VS_DEST_F_OVERLOAD ? " OVERLOAD" : "");
	}
	return -EINVAL;
}

/* Counts the rows that explain a difference. If none does, one did at the last call for this key. */
static void explain(struct trace *trace, const struct call *call)
{
	int as_c = predict(trace, C, 0, call);
	bool any = false;
	enum row row;

	trace->differences++;
	for (row = 0; row < ROWS; row++) {
		if (predict(trace, C, BIT(row), call) != as_c) {
			trace->row[row]++;
			any = true;
		}
	}
	trace->parted += !any;
}

/* One call of each side. */
static int step(struct trace *trace)
{
	int got[SIDES], want[SIDES];
	struct call call;
	enum side side;

	make_call(trace, &call);
	for (side = C; side < SIDES; side++)
		want[side] = predict(trace, side, side == OURS ? ALL_ROWS : 0, &call);
	for (side = C; side < SIDES; side++)
		got[side] = ask(trace, side, &call);
	trace->calls++;
	trace->none += !got[C];
	trace->moves += trace->memory[C][call.key].server && trace->memory[C][call.key].server != got[C];
	if (got[C] != want[C] || got[OURS] != want[OURS])
		return object(trace, &call, got, want);
	if (got[C] != got[OURS])
		explain(trace, &call);
	for (side = C; side < SIDES; side++)
		learn(trace, side, side == OURS ? ALL_ROWS : 0, &call, got[side]);
	count(trace, got[below(trace, SIDES)]);
	return 0;
}

/* Makes `calls` calls; -EINVAL if an answer is wrong. */
int trace_run(struct trace *trace, u32 calls)
{
	int error = look_up(trace, C) ?: look_up(trace, OURS);
	u32 i;

	if (error || !trace->listed)
		return -ENODEV;
	for (i = 0; i < trace->listed; i++) {
		u32 number = trace->order[i];

		/* A server that was added again may have its old connections on one side only. */
		edit(trace, number, atomic_read(&trace->server[C][number]->weight), 0);
		set_connections(trace, number);
	}
	while (calls && !error) {
		u32 now = min(calls, CALLS_AT_ONCE);

		local_bh_disable();
		rcu_read_lock();
		for (i = 0; i < now && !error; i++)
			error = step(trace);
		rcu_read_unlock();
		local_bh_enable();
		if (chance(trace, 25))
			edit_some(trace);
		cond_resched();
		calls -= now;
	}
	return error;
}
