// SPDX-License-Identifier: GPL-2.0
/*
 * Contains deliberate faults: `what` names the one that occurs when the module is loaded. The tests must fail with
 * each of them (tests/red.sh), or they could pass on a broken kernel.
 */
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/sysctl.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

static char *what = "nothing";
module_param(what, charp, 0400);

/* As large as an entry. */
struct object {
	struct list_head list;
	struct timer_list timer;
};

static noinline void warn(void)
{
	WARN(1, "on purpose\n");
}

static noinline void bug(void)
{
	BUG();
}

static noinline void panic_now(void)
{
	panic("on purpose");
}

static noinline void null_pointer(void)
{
	struct object *object = NULL;

	WRITE_ONCE(object->list.next, NULL);
}

static noinline void wild_pointer(void)
{
	WRITE_ONCE(*(int *)0xdead000000000000, 0);
}

/* Two locks in both orders; there is no deadlock now. */
static noinline void lock_order(void)
{
	static DEFINE_MUTEX(one);
	static DEFINE_MUTEX(other);

	mutex_lock(&one);
	mutex_lock(&other);
	mutex_unlock(&other);
	mutex_unlock(&one);
	mutex_lock(&other);
	mutex_lock(&one);
	mutex_unlock(&one);
	mutex_unlock(&other);
}

static noinline void rcu_usage(void)
{
	static struct object __rcu *pointer;

	WARN_ON(rcu_dereference(pointer)); /* outside of any section */
}

static noinline void sleep_in_section(void)
{
	rcu_read_lock();
	might_sleep();
	rcu_read_unlock();
}

/* Leaks two objects, of kmalloc() and of a slab cache. The cache must stay. */
static noinline void leak(void)
{
	struct kmem_cache *cache = kmem_cache_create("lblc_red", 64, 64, SLAB_NO_MERGE, NULL);

	WARN_ON(!cache || !kmalloc(64, GFP_ATOMIC) || !kmem_cache_alloc(cache, GFP_ATOMIC));
}

/* A slab cache must be empty when its module is unloaded. */
static noinline void cache_in_use(void)
{
	struct kmem_cache *cache = kmem_cache_create("lblc_red", 64, 64, SLAB_NO_MERGE, NULL);

	if (cache && kmem_cache_alloc(cache, GFP_ATOMIC))
		kmem_cache_destroy(cache);
}

static noinline void use_after_free(void)
{
	struct object *object = kmalloc(sizeof(*object), GFP_KERNEL);

	kfree(object);
	OPTIMIZER_HIDE_VAR(object);
	WRITE_ONCE(object->list.next, NULL);
}

static noinline void out_of_bounds(void)
{
	struct object *object = kmalloc(sizeof(*object), GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(object);
	if (object)
		WRITE_ONCE(object[1].list.next, NULL);
	kfree(object);
}

static void never(struct timer_list *timer)
{
}

static noinline void free_running_timer(void)
{
	struct object *object = kmalloc(sizeof(*object), GFP_KERNEL);

	if (!object)
		return;
	timer_setup(&object->timer, never, 0);
	mod_timer(&object->timer, jiffies + 1000 * HZ);
	kfree(object);
}

static noinline void delete_twice(void)
{
	static LIST_HEAD(head);
	static struct list_head entry;

	list_add(&entry, &head);
	list_del(&entry);
	list_del(&entry);
}

static noinline void refcount(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static noinline void shift(void)
{
	unsigned int by = 40;

	OPTIMIZER_HIDE_VAR(by);
	WARN_ON(1 << by == 12345);
}

/* All CPUs increment a counter without a lock, and lose updates. */
static void count(void *number)
{
	for (int i = 0; i < 200000; i++) {
		++*(unsigned long *)number;
		barrier();
	}
}

static noinline void lost_counts(void)
{
	static unsigned long number;

	on_each_cpu(count, &number, 1);
}

/* No other task runs from now on. */
static noinline void hang(void)
{
	local_bh_disable();
	for (;;)
		cpu_relax();
}

/* A task that waits forever. */
static noinline void wait_forever(void)
{
	for (;;)
		schedule_timeout_uninterruptible(MAX_SCHEDULE_TIMEOUT);
}

/* A sysctl whose name exists: the kernel removes every other file of the directory as well. */
static noinline void sysctl_of_another(void)
{
	static int value;
	static const struct ctl_table table[] = {
		{ .procname = "amemthresh", .data = &value, .maxlen = sizeof(value), .mode = 0644,
		  .proc_handler = proc_dointvec },
	};

	WARN_ON(register_net_sysctl(&init_net, "net/ipv4/vs", table));
}

/* A file in /proc/net that is not removed. */
static noinline void file_that_stays(void)
{
	WARN_ON(!proc_mkdir("lblc_red", init_net.proc_net));
}

static noinline void thread_that_stays(void)
{
	WARN_ON(!alloc_workqueue("lblc_red", WQ_MEM_RECLAIM | WQ_UNBOUND, 0));
}

static const struct {
	const char *name;
	void (*function)(void);
} wrong[] = {
	{ "warn", warn },
	{ "bug", bug },
	{ "panic", panic_now },
	{ "null_pointer", null_pointer },
	{ "wild_pointer", wild_pointer },
	{ "lock_order", lock_order },
	{ "rcu_usage", rcu_usage },
	{ "sleep_in_section", sleep_in_section },
	{ "leak", leak },
	{ "cache_in_use", cache_in_use },
	{ "use_after_free", use_after_free },
	{ "out_of_bounds", out_of_bounds },
	{ "free_running_timer", free_running_timer },
	{ "delete_twice", delete_twice },
	{ "refcount", refcount },
	{ "shift", shift },
	{ "lost_counts", lost_counts },
	{ "hang", hang },
	{ "wait_forever", wait_forever },
	{ "sysctl_of_another", sysctl_of_another },
	{ "file_that_stays", file_that_stays },
	{ "thread_that_stays", thread_that_stays },
};

static int __init lblc_red_init(void)
{
	for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (!strcmp(what, wrong[i].name)) {
			wrong[i].function();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit lblc_red_exit(void)
{
}

module_init(lblc_red_init);
module_exit(lblc_red_exit);
MODULE_DESCRIPTION("Does wrong on purpose, for the tests of the tests");
MODULE_LICENSE("GPL");
