// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of schedule(), timed: the sides in turn, in batches with bottom halves and preemption off, in
 * the read-side section that the core has around each call.
 */

#include <linux/delay.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sort.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>
#include "lblc_bench.h"

/* More than a last-level cache holds. */
#define EVICTOR (64 << 20)

static struct sk_buff *skb;	/* schedule() gets one, and does not look at it */
static char *evictor;
static unsigned long sink;
static u64 batch_time[MAX_BATCHES];

/*
 * The time stamp counter, not before all that is older has been done: User Mode Linux' own clock moves in
 * steps of 256 ns, and under QEMU's icount this counts instructions.
 */
static u64 now(void)
{
	u32 low, high;

	asm volatile("lfence; rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (u64)high << 32 | low;
}

/* What the counter counts in a second. */
u64 bench_frequency(void)
{
	u64 count = now(), time = ktime_get_raw_ns();

	msleep(200);
	time = ktime_get_raw_ns() - time;
	return div64_u64((now() - count) * NSEC_PER_SEC, time);
}

/* Makes everything cold but the keys, which the next batch reads in order. */
static void evict(const struct bench *bench, const void *keys, u32 number)
{
	unsigned long sum = 0;
	u32 i;

	for (i = 0; i < EVICTOR; i += L1_CACHE_BYTES)
		sum += READ_ONCE(evictor[i]);
	for (i = 0; i < number * bench->key_size; i += L1_CACHE_BYTES)
		sum += READ_ONCE(((const char *)keys)[i]);
	WRITE_ONCE(sink, sum);
	cond_resched();
}

/*
 * Nought, which the CPU cannot know before the server is known: packets come one by one, so the next call
 * must not begin while this one waits for memory.
 */
static __always_inline unsigned long after(const struct ip_vs_dest *dest)
{
	unsigned long nought = (unsigned long)dest;

	asm volatile("andq $0, %0" : "+r" (nought));
	return nought;
}

/* A batch: asks `side` for `number` keys; returns the time it took. */
static u64 run(struct bench *bench, enum side side, const void *keys, u32 number)
{
	schedule_t *schedule = bench->schedule[side];
	struct ip_vs_service *svc = bench->svc[side];
	const struct in6_addr *v6 = keys;
	struct ip_vs_iphdr iph = {};
	const __be32 *v4 = keys;
	unsigned long i;
	u64 time;

	local_bh_disable();
	rcu_read_lock();
	time = now();
	if (bench->af == AF_INET6) {
		for (i = 0; i < number; i++) {
			iph.daddr.in6 = v6[i];
			i += after(schedule(svc, skb, &iph));
		}
	} else {
		for (i = 0; i < number; i++) {
			iph.daddr.ip = v4[i];
			i += after(schedule(svc, skb, &iph));
		}
	}
	time = now() - time;
	rcu_read_unlock();
	local_bh_enable();
	cond_resched();
	return time;
}

static int compare_times(const void *a, const void *b)
{
	return cmp_int(*(const u64 *)a, *(const u64 *)b);
}

/*
 * One side's turn: `batches` batches over the keys from `at` on. The median batch stands for all: one in
 * which an interrupt or the host took the CPU away says nothing.
 */
static u64 take_turn(struct bench *bench, enum side side, const struct keys *keys, u32 at,
			     u32 batches, u32 batch, bool cold)
{
	u32 i;

	if (!bench->schedule[side])
		return 0;
	for (i = 0; i < batches; i++) {
		const void *here = bench_key(bench, keys, at + i * batch);

		if (cold)
			evict(bench, here, batch);
		batch_time[i] = run(bench, side, here, batch);
	}
	sort(batch_time, batches, sizeof(*batch_time), compare_times, NULL);
	return batch_time[batches / 2];
}

/* The sides of sample number `number` in turn: C first, then ours first, and so on. */
static enum side turn_of(u32 number, u32 place)
{
	if (place == NOTHING)
		return NOTHING;
	return (place + number) % 2 ? OURS : C;
}

/* Up to `calls` calls that are not measured, over the keys before those of the turn. */
static void warm_up(struct bench *bench, enum side side, u32 calls, u32 batch)
{
	u32 length = bench->pass.number, done;
	ktime_t end = ktime_add_ms(ktime_get(), 50);

	for (done = 0; done < calls && ktime_before(ktime_get(), end); done += batch) {
		u32 from = (bench->at + length - calls + done) % length;

		run(bench, side, bench_key(bench, &bench->pass, from), min(batch, length - from));
	}
}

/* Turns over keys that the tables hold, after a warm-up, or each batch after the caches were emptied. */
int bench_hits(struct bench *bench, u32 samples, u32 batches, u32 batch, u32 warm, bool cold)
{
	u32 length = batches * batch, i, place;

	if (samples > MAX_SAMPLES || !batches || batches > MAX_BATCHES || !batch ||
	    length > bench->pass.number || warm > bench->pass.number)
		return -EINVAL;
	if (cold && !evictor) {
		evictor = vzalloc(EVICTOR);
		if (!evictor)
			return -ENOMEM;
	}
	for (i = 0; i < samples; i++) {
		if (bench->at + length > bench->pass.number)
			bench->at = 0;
		for (place = 0; place < SIDES; place++) {
			enum side side = turn_of(i, place);

			if (bench->schedule[side])
				warm_up(bench, side, warm, batch);
			bench->sample[i].turn[side] = take_turn(bench, side, &bench->pass, bench->at,
								batches, batch, cold);
		}
		bench->at += length;
	}
	bench->samples = samples;
	return 0;
}

/* Turns over keys that are new each time; afterwards both tables must agree on them. */
int bench_misses(struct bench *bench, u32 samples, u32 batches, u32 batch)
{
	u32 i, place;
	int error;

	if (samples > MAX_SAMPLES || !batches || batches > MAX_BATCHES || !batch)
		return -EINVAL;
	for (i = 0; i < samples; i++) {
		error = bench_fresh_keys(bench, batches * batch);
		if (error)
			return error;
		for (place = 0; place < SIDES; place++) {
			enum side side = turn_of(i, place);

			bench->sample[i].turn[side] = take_turn(bench, side, &bench->fresh, 0, batches,
								batch, false);
		}
		error = bench_check(bench, &bench->fresh);
		if (error)
			return error;
	}
	bench->samples = samples;
	return 0;
}

static struct ip_vs_dest *choose(struct bench *bench, enum side side, const struct keys *keys, u32 at)
{
	struct ip_vs_iphdr iph = {};

	memcpy(&iph.daddr, bench_key(bench, keys, at), bench->key_size);
	return bench->schedule[side](bench->svc[side], skb, &iph);
}

/* Asks both for all keys: EINVAL unless they choose the same server, and one at all. */
int bench_check(struct bench *bench, const struct keys *keys)
{
	struct ip_vs_dest *one, *two;
	bool same = true;
	u32 i;

	for (i = 0; i < keys->number && same; i++) {
		local_bh_disable();
		rcu_read_lock();
		two = choose(bench, OURS, keys, i);
		one = bench->schedule[C] ? choose(bench, C, keys, i) : two;
		same = one && two && ip_vs_addr_equal(one->af, &one->addr, &two->addr) &&
		       one->port == two->port;
		rcu_read_unlock();
		local_bh_enable();
		cond_resched();
	}
	return same ? 0 : -EINVAL;
}

/*
 * Asks both for all known keys, which are new to them. Each choice is a connection, so that the keys
 * spread over the servers. The scheduler gets time for work that it put off whenever the table has
 * doubled.
 */
int bench_fill(struct bench *bench)
{
	enum side side;
	u32 i;

	for (i = 0; i < bench->known.number; i++) {
		local_bh_disable();
		rcu_read_lock();
		for (side = C; side <= OURS; side++) {
			struct ip_vs_dest *dest;

			if (!bench->schedule[side])
				continue;
			dest = choose(bench, side, &bench->known, i);
			if (dest)
				atomic_inc(&dest->activeconns);
		}
		rcu_read_unlock();
		local_bh_enable();
		cond_resched();
		if (i >= 4096 && is_power_of_2(i))
			msleep(50);
	}
	return 0;
}

int bench_measure_init(void)
{
	skb = alloc_skb(256, GFP_KERNEL);
	return skb ? 0 : -ENOMEM;
}

void bench_measure_exit(void)
{
	kfree_skb(skb);
	vfree(evictor);
}
