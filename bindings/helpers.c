// SPDX-License-Identifier: GPL-2.0
/*
 * With trace.c and parameter.c, the C code of the module: static inlines and macros that bindgen
 * cannot bind. schedule() calls none of them when it hits.
 */

#define pr_fmt(fmt) "IPVS: " fmt

#include <linux/kobject.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/seq_file_net.h>
#include <linux/sizes.h>
#include <net/netns/generic.h>

#include "helpers.h"

/* Not defined inside a kernel tree: there the module's version is the kernel's. */
#ifdef LBLC_RS_VERSION
MODULE_VERSION(LBLC_RS_VERSION);
#endif

/* A macro over a type that differs with PREEMPT_RT; the kernel crate has no _bh lock. */
void lblc_rs_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

/* As above. */
void lblc_rs_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

/* As above. */
bool lblc_rs_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

/* Inline of net/ip_vs.h over refcount_t. */
void lblc_rs_dest_hold(struct ip_vs_dest *dest)
{
	ip_vs_dest_hold(dest);
}

/* Inline of net/ip_vs.h over refcount_t. */
void lblc_rs_dest_put_and_free(struct ip_vs_dest *dest)
{
	ip_vs_dest_put_and_free(dest);
}

/* The private data of an open file in /proc. */
struct lblc_rs_seq {
	struct seq_net_private net; /* must be first */
	u64 end; /* end of the batch of records at the current position */
};

/* Only C knows the type of ->private. */
u64 *lblc_rs_seq_end(struct seq_file *m)
{
	return &((struct lblc_rs_seq *)m->private)->end;
}

/* A macro without CONFIG_PROC_FS; and the place of ->proc_net in struct net. */
bool lblc_rs_proc_create(struct net *net, const char *name,
			 const struct seq_operations *ops)
{
	return !IS_ENABLED(CONFIG_PROC_FS) ||
	       proc_create_net(name, 0400, net->proc_net, ops, sizeof(struct lblc_rs_seq));
}

/* As above. */
void lblc_rs_proc_remove(struct net *net, const char *name)
{
	remove_proc_entry(name, net->proc_net);
}

/* Inline. */
struct net *lblc_rs_seq_net(struct seq_file *m)
{
	return seq_file_net(m);
}

/* Inline; the layout of struct net depends on the configuration. */
struct netns_ipvs *lblc_rs_net_ipvs(struct net *net)
{
	return net_ipvs(net);
}

/* struct netns_ipvs is opaque to bindgen. */
struct net *lblc_rs_ipvs_net(struct netns_ipvs *ipvs)
{
	return ipvs->net;
}

/* Inline. */
void *lblc_rs_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

/* The layout of struct net depends on the configuration. */
bool lblc_rs_net_is_of_initial_user(const struct net *net)
{
	return net->user_ns == &init_user_ns;
}

/* ip_vs_lblc sets lblc_ctl_header when it has set sysctl_lblc_expiration, and never clears it. */
bool lblc_rs_c_has_set_expiration(struct net *net)
{
	return net_ipvs(net)->lblc_ctl_header;
}

/* Inline. */
int lblc_rs_notifier_from_errno(int error)
{
	return notifier_from_errno(error);
}

/* Inline without CONFIG_MODULES; then no module is ever loaded, and the block is never called. */
int lblc_rs_register_module_notifier(struct notifier_block *block)
{
	return register_module_notifier(block);
}

/* As above. */
void lblc_rs_unregister_module_notifier(struct notifier_block *block)
{
	unregister_module_notifier(block);
}

/*
 * module_kset is not exported, but THIS_MODULE's kobject is in it. Without MODULE, no module is
 * loaded yet.
 */
bool lblc_rs_module_is_there(const char *name)
{
	struct kobject *found = NULL;

	if (IS_BUILTIN(CONFIG_IP_VS_LBLC))
		return true;
	/* Without sysfs no module can be found: answer whether ip_vs_lblc was ever loaded. */
	if (!IS_ENABLED(CONFIG_SYSFS))
		return lblc_rs_c_has_set_expiration(&init_net);
#ifdef MODULE
	found = kset_find_obj(THIS_MODULE->mkobj.kobj.kset, name);
	kobject_put(found);
#endif
	return found;
}

/* Inline, or a macro. */
u64 lblc_rs_div_u64(u64 dividend, u32 divisor)
{
	return div_u64(dividend, divisor);
}

/* A macro, or a static call. */
void lblc_rs_cond_resched(void)
{
	cond_resched();
}

/* A macro; Rust's pr_notice!() would prefix the module's name. */
void lblc_rs_notice(const char *message)
{
	pr_notice("%s\n", message);
}

/* As above; and the kernel crate has no rate limit. */
void lblc_rs_notice_ratelimited(const char *message)
{
	pr_notice_ratelimited("%s\n", message);
}

/* A macro with a variable number of arguments. */
struct workqueue_struct *lblc_rs_alloc_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND, 0, name);
}

/*
 * An entry is written as a whole when it is made: the constructor only keeps init_on_alloc from
 * clearing it before.
 */
static void construct_nothing(void *object)
{
}

/*
 * A macro over several functions. The cache is not merged with others, so that it is visible, and
 * checked when it is destroyed.
 */
struct kmem_cache *lblc_rs_create_cache(const char *name, unsigned int size)
{
	struct kmem_cache_args args = { .align = size };

	/* Poisoning and init_on_free leave out caches with a constructor. */
	if (!IS_ENABLED(CONFIG_SLUB_DEBUG_ON) && !want_init_on_free()) {
		args.ctor = construct_nothing;
		/* Inside the object, where it is without a constructor. */
		args.freeptr_offset = ALIGN_DOWN(size / 2, sizeof(void *));
		args.use_freeptr_offset = true;
	}
	return kmem_cache_create(name, size, &args, SLAB_NO_MERGE);
}

/*
 * The kernel crate has no __GFP_NORETRY. A service needs the first array of its table; a larger one
 * is not worth a warning or an OOM kill.
 */
void *lblc_rs_alloc_heads(size_t number)
{
	gfp_t more = number * sizeof(void *) > SZ_8K ? __GFP_NOWARN | __GFP_NORETRY : 0;

	return kvcalloc(number, sizeof(void *), GFP_KERNEL_ACCOUNT | more);
}

/* Inline in a kernel without memory cgroups. */
void *lblc_rs_get_current_memcg(void)
{
	return get_mem_cgroup_from_mm(current->mm);
}

/* Inline. */
void *lblc_rs_set_active_memcg(void *memcg)
{
	return set_active_memcg(memcg);
}

/* Inline. */
void lblc_rs_put_memcg(void *memcg)
{
	mem_cgroup_put(memcg);
}

/* A macro. To bindgen and Rust a __percpu pointer is a plain pointer. */
u64 *lblc_rs_alloc_counters(size_t number)
{
	return (u64 *)(__force uintptr_t)__alloc_percpu_gfp(number * sizeof(u64), sizeof(u64),
							    GFP_KERNEL_ACCOUNT);
}

static u64 __percpu *percpu(u64 *counter)
{
	return (u64 __percpu *)(__force uintptr_t)counter;
}

/* A macro; x86-64 has inline assembly for this in percpu.rs. */
void lblc_rs_count(u64 *counter)
{
	this_cpu_inc(*percpu(counter));
}

/* Macros. */
u64 lblc_rs_sum_counter(u64 *counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(percpu(counter), cpu));
	return sum;
}
