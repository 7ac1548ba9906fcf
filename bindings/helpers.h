/* SPDX-License-Identifier: GPL-2.0 */
/* Inlines and macros of C that Rust cannot call; helpers.c says why for each. */
#ifndef LBLC_RS_HELPERS_H
#define LBLC_RS_HELPERS_H

#include <linux/math64.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/ip_vs.h>

void lblc_rs_spin_lock_bh(spinlock_t *lock);
void lblc_rs_spin_unlock_bh(spinlock_t *lock);
bool lblc_rs_spin_trylock_bh(spinlock_t *lock);
bool lblc_rs_proc_create(struct net *net, const char *name,
			 const struct seq_operations *ops);
void lblc_rs_proc_remove(struct net *net, const char *name);
struct net *lblc_rs_seq_net(struct seq_file *m);
void lblc_rs_dest_hold(struct ip_vs_dest *dest);
void lblc_rs_dest_put_and_free(struct ip_vs_dest *dest);
struct netns_ipvs *lblc_rs_net_ipvs(struct net *net);
struct net *lblc_rs_ipvs_net(struct netns_ipvs *ipvs);
void *lblc_rs_net_generic(const struct net *net, unsigned int id);
bool lblc_rs_net_is_of_initial_user(const struct net *net);
bool lblc_rs_c_has_set_expiration(struct net *net);
int lblc_rs_notifier_from_errno(int error);
int lblc_rs_register_module_notifier(struct notifier_block *block);
void lblc_rs_unregister_module_notifier(struct notifier_block *block);
bool lblc_rs_module_is_there(const char *name);
extern bool lblc_rs_dropin;
u64 *lblc_rs_seq_end(struct seq_file *m);
u64 lblc_rs_div_u64(u64 dividend, u32 divisor);
void lblc_rs_cond_resched(void);
void lblc_rs_notice(const char *message);
void lblc_rs_notice_ratelimited(const char *message);
struct workqueue_struct *lblc_rs_alloc_workqueue(const char *name);
struct kmem_cache *lblc_rs_create_cache(const char *name, unsigned int size);
void *lblc_rs_alloc_heads(size_t number);
void *lblc_rs_get_current_memcg(void);
void *lblc_rs_set_active_memcg(void *memcg);
void lblc_rs_put_memcg(void *memcg);
u64 *lblc_rs_alloc_counters(size_t number);
void lblc_rs_count(u64 *counter);
u64 lblc_rs_sum_counter(u64 *counter);

/* In trace.c. */
bool lblc_rs_tracing_miss(void);
bool lblc_rs_tracing_evict(void);
bool lblc_rs_tracing_rebuild(void);
void lblc_rs_trace_miss(const char *service, const char *destination, const char *before,
			const char *after, const char *reason);
void lblc_rs_trace_evict(const char *service, const char *destination, const char *server,
			 unsigned long idle, bool removed);
void lblc_rs_trace_rebuild(const char *service, bool rekey, unsigned long before,
			   unsigned long after, unsigned long entries);

/* An offset, as struct netns_ipvs is opaque to bindgen: it would need a hundred more types. */
static const unsigned long LBLC_RS_EXPIRATION =
	offsetof(struct netns_ipvs, sysctl_lblc_expiration);

#endif
