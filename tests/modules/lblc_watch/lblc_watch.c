// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/ipvs_references: objects of IPVS in the reader's network namespace that no other file shows: the number of its
 * connections, and the references on each removed server in the trash. The trash has one reference; more than that
 * after all schedulers are unloaded is a leak.
 */
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <net/ip_vs.h>

static int lblc_watch_show(struct seq_file *seq, void *unused)
{
	struct netns_ipvs *ipvs = net_ipvs(current->nsproxy->net_ns);
	struct ip_vs_dest *dest;

	if (!ipvs)
		return 0;
	seq_printf(seq, "connections %d\n", atomic_read(&ipvs->conn_count));
	spin_lock_bh(&ipvs->dest_trash_lock);
	list_for_each_entry(dest, &ipvs->dest_trash, t_list) {
		if (dest->af == AF_INET)
			seq_printf(seq, "trash %pI4:%u", &dest->addr.ip, ntohs(dest->port));
		else
			seq_printf(seq, "trash [%pI6c]:%u", &dest->addr.in6, ntohs(dest->port));
		seq_printf(seq, " references %u\n", refcount_read(&dest->refcnt));
	}
	spin_unlock_bh(&ipvs->dest_trash_lock);
	return 0;
}

static int __init lblc_watch_init(void)
{
	return proc_create_single("ipvs_references", 0400, NULL, lblc_watch_show) ? 0 : -ENOMEM;
}

static void __exit lblc_watch_exit(void)
{
	remove_proc_entry("ipvs_references", NULL);
}

module_init(lblc_watch_init);
module_exit(lblc_watch_exit);
MODULE_DESCRIPTION("Shows the references on removed real servers, for the tests");
MODULE_LICENSE("GPL");
