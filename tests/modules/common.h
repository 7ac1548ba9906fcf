/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the test modules that call schedule(). */
#ifndef LBLC_COMMON_H
#define LBLC_COMMON_H

#include <linux/nsproxy.h>
#include <linux/sched.h>
#include <net/ip_vs.h>
#include <net/net_namespace.h>

/* The service for a firewall mark in the caller's network namespace. The caller must not change services meanwhile. */
static inline struct ip_vs_service *lblc_find_service(u32 mark)
{
	DECLARE_IP_VS_RHT_WALK_BUCKETS_RCU();
	struct ip_vs_service *svc, *found = NULL;
	struct hlist_bl_head *head;
	struct hlist_bl_node *node;

	rcu_read_lock();
	ip_vs_rht_walk_buckets_rcu(net_ipvs(current->nsproxy->net_ns)->svc_table, head) {
		hlist_bl_for_each_entry_rcu(svc, node, head, s_list)
			if (svc->fwmark == mark)
				found = svc;
	}
	rcu_read_unlock();
	return found;
}

/* The finaliser of MurmurHash3: a bijection, so different numbers make different keys. */
static inline u32 lblc_mix(u32 x)
{
	x = (x ^ (x >> 16)) * 0x85ebca6b;
	x = (x ^ (x >> 13)) * 0xc2b2ae35;
	return x ^ (x >> 16);
}

/* An address from the number `id`; pseudo-random if `id` is. */
static inline void lblc_address(u16 af, void *to, u32 id)
{
	u32 *word = to;

	if (af != AF_INET6) {
		*(__be32 *)to = htonl(id);
		return;
	}
	word[0] = lblc_mix(id + 1);
	word[1] = lblc_mix(id + 2);
	word[2] = lblc_mix(id + 3);
	word[3] = id;
}

#endif
