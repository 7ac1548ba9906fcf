// SPDX-License-Identifier: GPL-2.0
/*
 * Do two directors choose the same server for destinations that neither has seen? The first one's answers
 * are recorded, the second one's compared. Nothing is counted as a connection.
 */

#include <linux/sched.h>
#include "../common.h"
#include "lblc_direct.h"

#define CALLS_AT_ONCE 32

/* The last byte of the address of the server that is chosen for a key; 0: none. */
static u8 ask(struct ip_vs_service *svc, u32 key)
{
	struct ip_vs_scheduler *scheduler = rcu_dereference(svc->scheduler);
	struct ip_vs_iphdr header = {};
	struct ip_vs_dest *dest;

	lblc_address(svc->af, &header.daddr, lblc_mix(key));
	dest = scheduler->schedule(svc, NULL, &header);
	if (!dest)
		return 0;
	return ntohl(svc->af == AF_INET6 ? dest->addr.in6.s6_addr32[3] : dest->addr.ip);
}

/* Asks for the first `keys`. Returns how many answers are not those in `answers`, after which these are there. */
u32 agree(struct ip_vs_service *svc, u8 *answers, u32 keys)
{
	u32 key, i, unequal = 0;

	for (key = 0; key < keys; key += CALLS_AT_ONCE) {
		local_bh_disable();
		rcu_read_lock();
		for (i = key; i < key + CALLS_AT_ONCE && i < keys; i++) {
			u8 answer = ask(svc, i);

			unequal += answer != answers[i];
			answers[i] = answer;
		}
		rcu_read_unlock();
		local_bh_enable();
		cond_resched();
	}
	return unequal;
}
