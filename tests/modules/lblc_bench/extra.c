// SPDX-License-Identifier: GPL-2.0
/*
 * Measurements of more than one call of schedule(): how long bottom halves wait, calls on two CPUs at once, and
 * the effect of a flood of new keys on the others. The results are in the first samples.
 */

#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>
#include "lblc_bench.h"

/* The longest delay of a softirq timer, which nothing else delays in an idle guest. */
#define PERIOD_NS	20000

static struct hrtimer probe;
static u64 latest;

static enum hrtimer_restart probe_fires(struct hrtimer *timer)
{
	u64 late = ktime_to_ns(ktime_sub(ktime_get(), hrtimer_get_expires(timer)));

	latest = max(latest, late);
	hrtimer_forward_now(timer, ns_to_ktime(PERIOD_NS));
	return HRTIMER_RESTART;
}

void bench_probe_init(void)
{
	hrtimer_setup(&probe, probe_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
}

void bench_probe_start(void)
{
	hrtimer_cancel(&probe);
	latest = 0;
	hrtimer_start(&probe, ns_to_ktime(PERIOD_NS), HRTIMER_MODE_REL_SOFT);
}

/* Sample 0: the longest wait in ns. */
void bench_probe_stop(struct bench *bench)
{
	hrtimer_cancel(&probe);
	bench->sample[0].turn[0] = latest;
	bench->samples = 1;
}

struct racer {
	struct bench *bench;
	enum side side;
	enum race race;
	u32 cpu, from, number;
	atomic_t *absent;	/* the threads that are not running yet */
	atomic_t *racing;	/* those whose end is waited for */
	ktime_t start, end;
	struct completion done;
};

static u32 next_key(const struct racer *racer, u32 i)
{
	switch (racer->race) {
	case RACE_ONE:
		return 0;
	case RACE_OWN:
		return 2 * (i % (racer->bench->known / 2)) + racer->cpu;
	default:
		return racer->from + i;
	}
}

static int run_race(void *data)
{
	struct racer *racer = data;
	u32 i;

	/* Start when all threads are running: waking them takes longer than the race. */
	atomic_dec(racer->absent);
	while (atomic_read(racer->absent))
		cpu_relax();
	racer->start = ktime_get();
	for (i = 0; i < racer->number; i++) {
		if (i % 64 == 0) {
			if (racer->race == RACE_FLOOD && !atomic_read(racer->racing))
				break;
			cond_resched();
		}
		local_bh_disable();
		rcu_read_lock();
		bench_choose(racer->bench, racer->side, next_key(racer, i));
		rcu_read_unlock();
		local_bh_enable();
	}
	racer->end = ktime_get();
	if (racer->race != RACE_FLOOD)
		atomic_dec(racer->racing);
	complete(&racer->done);
	return 0;
}

/*
 * `number` calls on each of CPUs 0 to `cpus` - 1 at once. RACE_FLOOD: known keys on CPU 0, and new keys on the others
 * until it ends. Sample 0: the time in ns from the start of the first thread to the end of the last one, without those
 * that only flood.
 */
int bench_race(struct bench *bench, enum side side, enum race race, u32 cpus, u32 number)
{
	struct racer *racers = kcalloc(cpus, sizeof(*racers), GFP_KERNEL);
	atomic_t absent = ATOMIC_INIT(cpus), racing = ATOMIC_INIT(race == RACE_FLOOD ? 1 : cpus);
	ktime_t start = KTIME_MAX, end = 0;
	u32 started, i;
	int error = 0;

	if (!racers || !bench->schedule[side])
		error = racers ? -ENOENT : -ENOMEM;
	for (started = 0; started < cpus && !error; started++) {
		struct racer *racer = &racers[started];
		struct task_struct *task;

		*racer = (struct racer){ bench, side, race, started, bench->used, number, &absent, &racing };
		if (race == RACE_FLOOD && !started)
			racer->race = RACE_OWN;
		init_completion(&racer->done);
		task = kthread_create_on_cpu(run_race, racer, started, "lblc_race/%u");
		if (IS_ERR(task)) {
			error = PTR_ERR(task);
			break;
		}
		if (racer->race == RACE_NEW || racer->race == RACE_FLOOD)
			bench->used += number;
		wake_up_process(task);
	}
	atomic_sub(cpus - started, &absent);
	for (i = 0; i < started; i++) {
		wait_for_completion(&racers[i].done);
		if (racers[i].race == RACE_FLOOD)
			continue;
		start = min(start, racers[i].start);
		end = max(end, racers[i].end);
	}
	bench->sample[0].turn[0] = ktime_to_ns(ktime_sub(end, start));
	bench->samples = 1;
	kfree(racers);
	return error;
}

/* The number of choices that count as open connections; without them every choice would be the same. */
#define OPEN	256

struct regular {
	struct ip_vs_dest *last;	/* its server so far; only compared */
	u64 below;			/* the sum of the weights up to this one */
};

static struct ip_vs_dest *connect(struct bench *bench, enum side side, u32 number, u32 *open, u32 at)
{
	struct ip_vs_dest *dest, *old;
	u32 i = 0, index = 0;

	local_bh_disable();
	rcu_read_lock();
	dest = bench_choose(bench, side, number);
	list_for_each_entry_rcu(old, &bench->svc[side]->destinations, n_list) {
		i++;
		if (i == open[at])
			atomic_dec(&old->activeconns);
		if (old == dest)
			index = i;
	}
	if (dest)
		atomic_inc(&dest->activeconns);
	open[at] = index;
	rcu_read_unlock();
	local_bh_enable();
	cond_resched();
	return dest;
}

/*
 * Calls for `number` new keys; each of the second half is followed by a call for one of `regulars` keys, with
 * frequencies by Zipf's law: a full table must insert and keep them. Sample 0: how many calls for the hundred most
 * frequent of them returned the same server as the call before. Sample 1: how many calls there were. Both for C
 * and for ours.
 */
int bench_flood(struct bench *bench, u32 regulars, u32 number)
{
	struct regular *regular = vcalloc(regulars, sizeof(*regular));
	u32 *open = vcalloc(OPEN, sizeof(*open));
	struct rnd_state random;
	enum side side;
	u64 total;
	u32 i;

	if (!regular || !open) {
		vfree(regular);
		vfree(open);
		return -ENOMEM;
	}
	memset(bench->sample, 0, 2 * sizeof(*bench->sample));
	bench->samples = 2;
	for (side = C; side <= OURS; side++) {
		if (!bench->schedule[side])
			continue;
		for (i = 0, total = 0; i < regulars; i++) {
			total += (1 << 24) / (i + 1);
			regular[i] = (struct regular){ .below = total };
		}
		memset(open, 0, OPEN * sizeof(*open));
		prandom_seed_state(&random, bench->seed);
		for (i = 0; i < number; i++) {
			u64 at = prandom_u32_state(&random) % total;
			u32 low = 0, high = regulars - 1;
			struct ip_vs_dest *dest;

			connect(bench, side, bench->used + i, open, 2 * i % OPEN);
			if (i < number / 2)
				continue;
			while (low < high) {
				u32 middle = (low + high) / 2;

				if (regular[middle].below > at)
					high = middle;
				else
					low = middle + 1;
			}
			dest = connect(bench, side, low, open, (2 * i + 1) % OPEN);
			if (low < 100 && regular[low].last) {
				bench->sample[0].turn[side] += regular[low].last == dest;
				bench->sample[1].turn[side]++;
			}
			regular[low].last = dest;
		}
	}
	bench->used += number;
	vfree(regular);
	vfree(open);
	return 0;
}
