// SPDX-License-Identifier: GPL-2.0
/*
 * A command is a line written to /proc/lblc_bench; it is complete, or has failed, when the write returns. Reading
 * gives the frequency of the clock, then the samples of the last command that measured: the time of the median batch
 * of a turn for C, for ours, for a callback that does nothing and, if `cold-lone`, for one that reads two lines.
 *
 *   keys random|chained SEED N                        make N keys
 *   fill                                              insert them into both tables
 *   only N                                            let only the first N of them be known keys below
 *   check                                             fail unless both have the same server for each
 *   active N                                          give each server N active connections
 *   idle NUMBER                                       give server NUMBER of the list none
 *   hits KIND SAMPLES BATCHES BATCH WARM              measure over known keys; KIND: hot, lone, cold or cold-lone
 *   known BATCHES BATCH                               measure over the first known keys, each once
 *   misses hot|cold SAMPLES BATCHES BATCH             measure over new keys
 *   probe start|stop                                  measure the longest delay of a softirq, in ns
 *   race C|OURS new|one|own|flood CPUS N              measure N calls on each CPU at once, in ns
 *   flood REGULARS N                                  count regular keys that stay among N new ones
 *
 * The services are those for the firewall marks 1 (C) and 2 (ours) in the network namespace of the writer, which must
 * not change services during a command. New keys are measured after a warm-up with twins of these services, which have
 * the marks 3 and 4.
 */

#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include "../common.h"
#include "lblc_bench.h"

static DEFINE_MUTEX(lock);
static struct bench bench;
static const char * const temps[] = { [HOT] = "hot", [LONE] = "lone", [COLD] = "cold",
				      [COLD_LONE] = "cold-lone" };
static const char * const races[] = {
	[RACE_NEW] = "new", [RACE_ONE] = "one", [RACE_OWN] = "own", [RACE_FLOOD] = "flood",
};

static struct ip_vs_dest *nothing(struct ip_vs_service *svc, const struct sk_buff *skb,
				  struct ip_vs_iphdr *iph)
{
	return (struct ip_vs_dest *)(unsigned long)READ_ONCE(iph->daddr.ip);
}

/* Looks up the services: their schedulers may have changed since the last command. */
static int bind(void)
{
	enum side side;

	for (side = C; side <= OURS; side++) {
		struct ip_vs_service *svc = lblc_find_service(1 + side);
		struct ip_vs_scheduler *scheduler = svc ? rcu_access_pointer(svc->scheduler) : NULL;

		bench.svc[side] = svc;
		bench.twin[side] = lblc_find_service(3 + side);
		bench.schedule[side] = scheduler ? scheduler->schedule : NULL;
	}
	bench.schedule[NOTHING] = nothing;
	bench.schedule[LINES] = NULL;
	if (!bench.svc[C] && !bench.svc[OURS])
		return -ENOENT;
	bench.af = (bench.svc[OURS] ?: bench.svc[C])->af;
	if (bench.svc[C] && bench.svc[OURS] && bench.svc[C]->af != bench.svc[OURS]->af)
		return -EINVAL;
	return 0;
}

#define ALL	U32_MAX

/* Of all servers, or of one by its place in the list. */
static void set_active(int number, u32 only)
{
	struct ip_vs_dest *dest;
	enum side side;
	u32 place;

	rcu_read_lock();
	for (side = C; side <= OURS; side++) {
		if (!bench.svc[side])
			continue;
		place = 0;
		list_for_each_entry_rcu(dest, &bench.svc[side]->destinations, n_list) {
			if (only == ALL || only == place++)
				atomic_set(&dest->activeconns, number);
		}
	}
	rcu_read_unlock();
}

static int command(const char *line)
{
	u32 samples, batches, batch, warm, number;
	char word[12], what[8];

	if (sscanf(line, "keys %11s %u %u", word, &bench.seed, &number) == 3 && number) {
		bench.chained = !strcmp(word, "chained");
		bench.known = number;
		bench.used = number;
		return 0;
	}
	if (sysfs_streq(line, "fill"))
		return bench_fill(&bench);
	if (sscanf(line, "only %u", &number) == 1 && number && number <= bench.known) {
		bench.known = number;
		return 0;
	}
	if (sysfs_streq(line, "check"))
		return bench_check(&bench, 0, bench.known);
	if (sscanf(line, "active %u", &number) == 1) {
		set_active(number, ALL);
		return 0;
	}
	if (sscanf(line, "idle %u", &number) == 1) {
		set_active(0, number);
		return 0;
	}
	if (sscanf(line, "hits %11s %u %u %u %u", word, &samples, &batches, &batch, &warm) == 5) {
		int temp = match_string(temps, ARRAY_SIZE(temps), word);

		return temp < 0 ? temp : bench_hits(&bench, samples, batches, batch, warm, temp);
	}
	if (sscanf(line, "known %u %u", &batches, &batch) == 2)
		return bench_known(&bench, batches, batch);
	if (sscanf(line, "misses %11s %u %u %u", word, &samples, &batches, &batch) == 4) {
		int temp = match_string(temps, ARRAY_SIZE(temps), word);

		return temp != HOT && temp != COLD ? -EINVAL : bench_misses(&bench, samples, batches, batch, temp);
	}
	if (sysfs_streq(line, "probe start")) {
		bench_probe_start();
		return 0;
	}
	if (sysfs_streq(line, "probe stop")) {
		bench_probe_stop(&bench);
		return 0;
	}
	if (sscanf(line, "race %11s %7s %u %u", word, what, &batches, &number) == 4) {
		int race = match_string(races, ARRAY_SIZE(races), what);

		return race < 0 ? race : bench_race(&bench, strcmp(word, "C") ? OURS : C, race, batches, number);
	}
	if (sscanf(line, "flood %u %u", &samples, &number) == 2 && samples)
		return bench_flood(&bench, samples, number);
	return -EOPNOTSUPP;
}

static ssize_t bench_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char line[80] = "";
	int error;

	if (size >= sizeof(line) || copy_from_user(line, from, size))
		return -EINVAL;
	mutex_lock(&lock);
	bench.samples = 0;
	error = bind();
	if (error == -ENOENT && strstarts(line, "probe"))
		error = 0;	/* needs no service */
	error = error ?: command(line);
	mutex_unlock(&lock);
	return error ?: size;
}

static int bench_show(struct seq_file *out, void *unused)
{
	enum side side;
	u32 i;

	mutex_lock(&lock);
	seq_printf(out, "%llu\n", bench.frequency);
	for (i = 0; i < bench.samples; i++) {
		for (side = C; side < SIDES; side++)
			seq_printf(out, "%llu ", bench.sample[i].turn[side]);
		seq_putc(out, '\n');
	}
	mutex_unlock(&lock);
	return 0;
}

static int bench_open(struct inode *inode, struct file *file)
{
	return single_open(file, bench_show, NULL);
}

static const struct proc_ops bench_ops = {
	.proc_open = bench_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = bench_write,
	.proc_release = single_release,
};

static int __init bench_init(void)
{
	int error = bench_measure_init();

	if (error)
		return error;
	bench.frequency = bench_frequency();
	bench_probe_init();
	if (proc_create("lblc_bench", 0600, NULL, &bench_ops))
		return 0;
	bench_measure_exit();
	return -ENOMEM;
}

static void __exit bench_exit(void)
{
	remove_proc_entry("lblc_bench", NULL);
	bench_probe_stop(&bench);
	bench_measure_exit();
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("measures the lblc schedulers of IPVS");
