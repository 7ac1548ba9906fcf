// SPDX-License-Identifier: GPL-2.0
/*
 * More evictions than entries may wait to be freed: all calls are made in one RCU read-side section, so no evicted
 * entry is freed before its end. Entries can still be reassigned to another server, which needs no memory.
 */

#include "../common.h"
#include "lblc_direct.h"

static struct ip_vs_dest *ask(struct ip_vs_service *svc, u32 key)
{
	struct ip_vs_scheduler *scheduler = rcu_dereference(svc->scheduler);
	struct ip_vs_iphdr header = {};

	lblc_address(svc->af, &header.daddr, lblc_mix(key));
	return scheduler->schedule(svc, NULL, &header);
}

/*
 * Calls schedule() for each key: for a new entry, again while its server is overloaded, and again afterwards. Returns
 * how many keys stay on the server that they were reassigned to, that is, have an entry.
 */
int flood(struct ip_vs_service *svc, u32 keys)
{
	struct ip_vs_dest *dest, *other;
	int stayed = 0, error = 0;
	u32 key;

	local_bh_disable();
	rcu_read_lock();
	for (key = 0; key < keys; key++)
		ask(svc, key);
	for (key = 0; key < keys; key++) {
		dest = ask(svc, key);
		if (!dest) {
			error = -ENODEV;
			break;
		}
		atomic_set(&dest->activeconns, 1 << 20);
		other = ask(svc, key);
		atomic_set(&dest->activeconns, 0);
		if (!other || other == dest) {
			error = -ENODEV;
			break;
		}
		stayed += ask(svc, key) == other;
	}
	rcu_read_unlock();
	local_bh_enable();
	return error ?: stayed;
}
