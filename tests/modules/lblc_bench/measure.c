// SPDX-License-Identifier: GPL-2.0
/*
 * Times calls of schedule(): the sides in turn, in batches with bottom halves and preemption disabled, in an RCU
 * read-side critical section as when IPVS calls it.
 */

#include <linux/delay.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/sort.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>
#include "lblc_bench.h"

/* Larger than a last-level cache. */
#define EVICTOR (64 << 20)

static struct sk_buff *skb;	/* an argument that schedule() does not use */
static char *evictor;
static unsigned long sink;
static u64 batch_time[MAX_BATCHES];
static struct in6_addr batch_keys[MAX_BATCH];

/*
 * Reads the time stamp counter when all earlier instructions have completed. (The clock of User Mode Linux has steps of
 * 256 ns. Under QEMU's icount, this counts instructions.)
 */
static u64 now(void)
{
	u32 low, high;

	asm volatile("lfence; rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (u64)high << 32 | low;
}

/* Returns the frequency of the counter. */
u64 bench_frequency(void)
{
	u64 count = now(), time = ktime_get_raw_ns();

	msleep(200);
	time = ktime_get_raw_ns() - time;
	return div64_u64((now() - count) * NSEC_PER_SEC, time);
}

/* Allocates what cells with cold caches need. */
static int prepare(struct bench *bench, enum temp temp)
{
	if (temp != COLD_LONE && temp != COLD)
		return 0;
	if (!evictor)
		evictor = vzalloc(EVICTOR);
	if (!evictor)
		return -ENOMEM;
	return temp == COLD_LONE ? bench_lines_init(bench) : 0;
}

/* Empties the caches. */
static void evict(void)
{
	unsigned long sum = 0;
	u32 i;

	for (i = 0; i < EVICTOR; i += L1_CACHE_BYTES)
		sum += READ_ONCE(evictor[i]);
	WRITE_ONCE(sink, sum);
	cond_resched();
}

/*
 * The keys of a turn. Their order is different in each turn; otherwise the CPU would learn to predict the length of
 * each chain.
 */
struct order {
	struct rnd_state random;
	u32 known;	/* random ones of the first `known` keys */
	u32 next;	/* if that is 0, consecutive ones from this */
};

static void *batch_key(const struct bench *bench, u32 i)
{
	return bench->af == AF_INET6 ? (void *)&batch_keys[i] : (__be32 *)batch_keys + i;
}

static void draw(const struct bench *bench, struct order *order, u32 number)
{
	u32 i;

	for (i = 0; i < number; i++)
		bench_key(bench, batch_key(bench, i),
			  order->known ? prandom_u32_state(&order->random) % order->known : order->next++);
}

/*
 * Returns 0, which depends on the server: the CPU cannot begin the next call while this one waits for memory.
 */
static __always_inline unsigned long after(const struct ip_vs_dest *dest)
{
	unsigned long nought = (unsigned long)dest;

	asm volatile("andq $0, %0" : "+r" (nought));
	return nought;
}

static __always_inline void ask(schedule_t *schedule, struct ip_vs_service *svc, u32 number, bool v6,
				bool lone)
{
	const __be32 *v4 = (const __be32 *)batch_keys;
	struct ip_vs_iphdr iph = {};
	unsigned long i;

	for (i = 0; i < number; i++) {
		const struct ip_vs_dest *dest;

		if (v6)
			iph.daddr.in6 = batch_keys[i];
		else
			iph.daddr.ip = v4[i];
		dest = schedule(svc, skb, &iph);
		if (lone)
			i += after(dest);
	}
}

/* Calls `schedule` with `svc` for the `number` keys of the batch; returns the time. */
static u64 run(const struct bench *bench, schedule_t *schedule, struct ip_vs_service *svc, u32 number,
	       bool lone)
{
	bool v6 = bench->af == AF_INET6;
	u64 time;

	local_bh_disable();
	rcu_read_lock();
	time = now();
	if (lone && v6)
		ask(schedule, svc, number, true, true);
	else if (lone)
		ask(schedule, svc, number, false, true);
	else if (v6)
		ask(schedule, svc, number, true, false);
	else
		ask(schedule, svc, number, false, false);
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
 * One turn of a side: `batches` batches. The result is the median batch, which is not affected by interrupts or by the
 * host.
 */
static u64 take_turn(struct bench *bench, enum side side, struct order order, u32 batches, u32 batch,
		     enum temp temp)
{
	u32 i;

	if (!bench->schedule[side])
		return 0;
	for (i = 0; i < batches; i++) {
		if (temp == COLD || temp == COLD_LONE)
			evict();
		draw(bench, &order, batch);
		batch_time[i] = run(bench, bench->schedule[side], bench->svc[side], batch,
				    temp == LONE || temp == COLD_LONE);
	}
	sort(batch_time, batches, sizeof(*batch_time), compare_times, NULL);
	return batch_time[batches / 2];
}

/* The turns of the sides for sample `number`; C's and ours are first alternately. */
static enum side turn_of(u32 number, u32 place)
{
	if (place > OURS)
		return place;
	return (place + number) % 2 ? OURS : C;
}

/* Makes up to `calls` calls that are not measured. */
static void warm_up(struct bench *bench, enum side side, struct order order, u32 calls, u32 batch)
{
	ktime_t end = ktime_add_ms(ktime_get(), 50);
	u32 done;

	for (done = 0; done < calls && ktime_before(ktime_get(), end); done += batch) {
		draw(bench, &order, batch);
		run(bench, bench->schedule[side], bench->svc[side], batch, false);
	}
}

/*
 * Makes a batch of calls for new keys with the twin of the service, and one for known keys with the service itself: the
 * table that is measured stays as it is.
 */
static void warm_up_misses(struct bench *bench, enum side side, struct order new, u32 batch)
{
	struct order known = { .known = bench->known };

	if (!bench->twin[side])
		return;
	draw(bench, &new, batch);
	run(bench, bench->schedule[side], bench->twin[side], batch, false);
	prandom_seed_state(&known.random, bench->seed);
	draw(bench, &known, batch);
	run(bench, bench->schedule[side], bench->svc[side], batch, false);
}

/* Measures keys that are in the tables, after a warm-up, or with caches emptied before each batch. */
int bench_hits(struct bench *bench, u32 samples, u32 batches, u32 batch, u32 warm, enum temp temp)
{
	struct order order = { .known = bench->known }, before = order;
	u32 i, place;
	int error;

	if (samples > MAX_SAMPLES || !batches || batches > MAX_BATCHES || !batch || batch > MAX_BATCH)
		return -EINVAL;
	error = prepare(bench, temp);
	if (error)
		return error;
	for (i = 0; i < samples; i++) {
		prandom_seed_state(&order.random, bench->seed + 2 * i);
		prandom_seed_state(&before.random, bench->seed + 2 * i + 1);
		for (place = 0; place < SIDES; place++) {
			enum side side = turn_of(i, place);

			if (bench->schedule[side])
				warm_up(bench, side, before, warm, batch);
			bench->sample[i].turn[side] = take_turn(bench, side, order, batches, batch, temp);
		}
	}
	bench->samples = samples;
	return 0;
}

/* Measures a call for each of the first known keys: one sample, in which C and ours are first alternately. */
int bench_known(struct bench *bench, u32 batches, u32 batch)
{
	static u32 number;
	struct order order = {};
	u32 place;

	if (!batches || batches > MAX_BATCHES || !batch || batch > MAX_BATCH || batches * batch > bench->known)
		return -EINVAL;
	number++;
	for (place = 0; place < SIDES; place++) {
		enum side side = turn_of(number, place);

		bench->sample[0].turn[side] = take_turn(bench, side, order, batches, batch, HOT);
	}
	bench->samples = 1;
	return 0;
}

/* Measures new keys, after a warm-up; afterwards both tables must have the same servers for them. */
int bench_misses(struct bench *bench, u32 samples, u32 batches, u32 batch, enum temp temp)
{
	u32 i, place;
	int error;

	if (samples > MAX_SAMPLES || !batches || batches > MAX_BATCHES || !batch || batch > MAX_BATCH)
		return -EINVAL;
	error = prepare(bench, temp);
	if (error)
		return error;
	for (i = 0; i < samples; i++) {
		struct order order = { .next = bench->used };

		for (place = 0; place < SIDES; place++) {
			enum side side = turn_of(i, place);

			warm_up_misses(bench, side, order, batch);
			bench->sample[i].turn[side] = take_turn(bench, side, order, batches, batch, temp);
		}
		bench->used += batches * batch;
		error = bench_check(bench, order.next, bench->used);
		if (error)
			return error;
	}
	bench->samples = samples;
	return 0;
}

/* Calls one side for a key; in a read-side section, with bottom halves disabled. */
struct ip_vs_dest *bench_choose(struct bench *bench, enum side side, u32 number)
{
	struct ip_vs_iphdr iph = {};

	bench_key(bench, &iph.daddr, number);
	return bench->schedule[side](bench->svc[side], skb, &iph);
}

/* Calls both sides for all of these keys; -EINVAL unless both choose the same server, and not none. */
int bench_check(struct bench *bench, u32 from, u32 to)
{
	struct ip_vs_dest *one, *two;
	bool same = true;
	u32 i;

	for (i = from; i < to && same; i++) {
		local_bh_disable();
		rcu_read_lock();
		two = bench_choose(bench, bench->schedule[OURS] ? OURS : C, i);
		one = bench->schedule[C] ? bench_choose(bench, C, i) : two;
		same = one && two && ip_vs_addr_equal(one->af, &one->addr, &two->addr) &&
		       one->port == two->port;
		rcu_read_unlock();
		local_bh_enable();
		cond_resched();
	}
	return same ? 0 : -EINVAL;
}

/*
 * Calls both sides for all keys, which are new to them. Each choice counts as a connection, so that the keys are
 * spread over the servers. Whenever the table has doubled, the scheduler gets time for its deferred work.
 */
int bench_fill(struct bench *bench)
{
	enum side side;
	u32 i;

	for (i = 0; i < bench->known; i++) {
		local_bh_disable();
		rcu_read_lock();
		for (side = C; side <= OURS; side++) {
			struct ip_vs_dest *dest;

			if (!bench->schedule[side])
				continue;
			dest = bench_choose(bench, side, i);
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
	bench_lines_exit();
}
