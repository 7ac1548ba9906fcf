// SPDX-License-Identifier: GPL-2.0
/*
 * A command is a line written to /proc/lblc_direct; it is complete, or has failed, when the write returns. Reading
 * gives the counts since `begin` and, if a `run` failed with EINVAL, the wrong answer.
 *
 *   begin SEED STIMULI HASH_SEED   a new trace; both tables are empty
 *   empty                  both tables are empty again
 *   run CALLS              this number of calls of each side
 *   flood KEYS             calls of our side alone, see flood.c
 *
 *   agree KEYS             calls of our side alone, see agree.c
 *
 * STIMULI is a mask of the rows in enum row that the trace makes use of. The services are those for the
 * firewall marks 1 (C) and 2 (ours) in the network namespace of the process that writes the command, which
 * must not change a service meanwhile.
 */

#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>
#include "../common.h"
#include "lblc_direct.h"

static DEFINE_MUTEX(lock);
static struct trace *trace;
static u8 *answers;	/* of the last `agree`, one a key */

static int run(u32 calls)
{
	enum side side;

	trace->objection[0] = 0;
	for (side = C; side < SIDES; side++) {
		trace->svc[side] = lblc_find_service(1 + side);
		if (!trace->svc[side] || !rcu_access_pointer(trace->svc[side]->scheduler))
			return -ENOENT;
	}
	trace->af = trace->svc[C]->af;
	return trace_run(trace, calls);
}

static int run_flood(u32 keys)
{
	struct ip_vs_service *svc = lblc_find_service(1 + OURS);
	int stayed;

	if (!svc || !rcu_access_pointer(svc->scheduler))
		return -ENOENT;
	stayed = flood(svc, keys);
	if (stayed < 0)
		return stayed;
	trace->stayed = stayed;
	return 0;
}

static int run_agree(u32 keys)
{
	struct ip_vs_service *svc = lblc_find_service(1 + OURS);

	if (!svc || !rcu_access_pointer(svc->scheduler))
		return -ENOENT;
	trace->unequal = agree(svc, answers, min(keys, AGREE_KEYS));
	return 0;
}

static int command(const char *line)
{
	unsigned long stimuli;
	u64 hash_seed;
	u32 number;

	if (sscanf(line, "begin %u %lu %llu", &number, &stimuli, &hash_seed) == 3) {
		memset(trace, 0, sizeof(*trace));
		trace->seed = number;
		trace->stimuli = stimuli;
		trace->hash_seed = hash_seed;
		prandom_seed_state(&trace->random, number);
		return 0;
	}
	if (sysfs_streq(line, "empty")) {
		memset(trace->memory, 0, sizeof(trace->memory));
		return 0;
	}
	if (sscanf(line, "run %u", &number) == 1)
		return run(number);
	if (sscanf(line, "flood %u", &number) == 1)
		return run_flood(number);
	if (sscanf(line, "agree %u", &number) == 1)
		return run_agree(number);
	return -EOPNOTSUPP;
}

static ssize_t direct_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char line[80] = "";
	int error;

	if (size >= sizeof(line) || copy_from_user(line, from, size))
		return -EFAULT;
	mutex_lock(&lock);
	error = command(line);
	mutex_unlock(&lock);
	return error ?: size;
}

static int direct_show(struct seq_file *out, void *unused)
{
	static const char *const rows[ROWS] = { "icmp", "threshold", "flag_1", "expiry", "wide",
						"flag_2" };
	enum row row;

	mutex_lock(&lock);
	seq_printf(out, "calls %llu none %llu moves %llu differences %llu parted %llu", trace->calls,
		   trace->none, trace->moves, trace->differences, trace->parted);
	for (row = 0; row < ROWS; row++)
		seq_printf(out, " %s %llu", rows[row], trace->row[row]);
	seq_printf(out, " stayed %llu unequal %u\n%s", trace->stayed, trace->unequal, trace->objection);
	mutex_unlock(&lock);
	return 0;
}

static int direct_open(struct inode *inode, struct file *file)
{
	return single_open(file, direct_show, NULL);
}

static const struct proc_ops direct_ops = {
	.proc_open = direct_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = direct_write,
	.proc_release = single_release,
};

static int __init direct_init(void)
{
	trace = vzalloc(sizeof(*trace));
	if (!trace)
		return -ENOMEM;
	answers = vzalloc(AGREE_KEYS);
	if (answers && proc_create("lblc_direct", 0600, NULL, &direct_ops))
		return 0;
	vfree(answers);
	vfree(trace);
	return -ENOMEM;
}

static void __exit direct_exit(void)
{
	remove_proc_entry("lblc_direct", NULL);
	vfree(answers);
	vfree(trace);
}

module_init(direct_init);
module_exit(direct_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("compares the lblc schedulers of IPVS call by call");
