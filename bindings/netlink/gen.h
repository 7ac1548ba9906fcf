/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/ip_vs_lblc_rs.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _LINUX_IP_VS_LBLC_RS_GEN_H
#define _LINUX_IP_VS_LBLC_RS_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/ip_vs_lblc_rs.h>

/* Common nested types */
extern const struct nla_policy ip_vs_lblc_rs_entry_nl_policy[LBLC_RS_A_ENTRY_REMOVED + 1];
extern const struct nla_policy ip_vs_lblc_rs_filter_nl_policy[LBLC_RS_A_FILTER_IDLE_MAX + 1];
extern const struct nla_policy ip_vs_lblc_rs_service_nl_policy[LBLC_RS_A_SERVICE_FWMARK + 1];

/* Ops table for ip_vs_lblc_rs */
extern const struct genl_split_ops ip_vs_lblc_rs_nl_ops[6];

int ip_vs_lblc_rs_nl_service_get_doit(struct sk_buff *skb,
				      struct genl_info *info);
int ip_vs_lblc_rs_nl_service_get_dumpit(struct sk_buff *skb,
					struct netlink_callback *cb);
int ip_vs_lblc_rs_nl_entry_get_doit(struct sk_buff *skb,
				    struct genl_info *info);
int ip_vs_lblc_rs_nl_entry_get_dumpit(struct sk_buff *skb,
				      struct netlink_callback *cb);
int ip_vs_lblc_rs_nl_entry_set_doit(struct sk_buff *skb,
				    struct genl_info *info);
int ip_vs_lblc_rs_nl_entry_del_doit(struct sk_buff *skb,
				    struct genl_info *info);

enum {
	IP_VS_LBLC_RS_NLGRP_CHANGES,
};

#endif /* _LINUX_IP_VS_LBLC_RS_GEN_H */
