// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/ip_vs_lblc_rs.yaml */
/* YNL-GEN kernel source */
/* YNL-ARG --user-header gen.h */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "gen.h"

#include <uapi/linux/ip_vs_lblc_rs.h>

/* Integer value ranges */
static const struct netlink_range_validation lblc_rs_a_entry_idle_range = {
	.max	= 1099511627776ULL,
};

/* Common nested types */
const struct nla_policy ip_vs_lblc_rs_entry_nl_policy[LBLC_RS_A_ENTRY_REMOVED + 1] = {
	[LBLC_RS_A_ENTRY_KEY] = NLA_POLICY_MAX_LEN(16),
	[LBLC_RS_A_ENTRY_SERVER_ADDR] = NLA_POLICY_MAX_LEN(16),
	[LBLC_RS_A_ENTRY_SERVER_PORT] = { .type = NLA_BE16, },
	[LBLC_RS_A_ENTRY_IDLE] = NLA_POLICY_FULL_RANGE(NLA_UINT, &lblc_rs_a_entry_idle_range),
	[LBLC_RS_A_ENTRY_REMOVED] = { .type = NLA_FLAG, },
};

const struct nla_policy ip_vs_lblc_rs_filter_nl_policy[LBLC_RS_A_FILTER_IDLE_MAX + 1] = {
	[LBLC_RS_A_FILTER_SERVER_ADDR] = NLA_POLICY_MAX_LEN(16),
	[LBLC_RS_A_FILTER_SERVER_PORT] = { .type = NLA_BE16, },
	[LBLC_RS_A_FILTER_PREFIX] = NLA_POLICY_MAX_LEN(16),
	[LBLC_RS_A_FILTER_PREFIX_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
	[LBLC_RS_A_FILTER_IDLE_MIN] = { .type = NLA_UINT, },
	[LBLC_RS_A_FILTER_REMOVED] = { .type = NLA_FLAG, },
	[LBLC_RS_A_FILTER_IDLE_MAX] = { .type = NLA_UINT, },
};

const struct nla_policy ip_vs_lblc_rs_service_nl_policy[LBLC_RS_A_SERVICE_FWMARK + 1] = {
	[LBLC_RS_A_SERVICE_AF] = { .type = NLA_U16, },
	[LBLC_RS_A_SERVICE_PROTOCOL] = { .type = NLA_U16, },
	[LBLC_RS_A_SERVICE_ADDR] = NLA_POLICY_MAX_LEN(16),
	[LBLC_RS_A_SERVICE_PORT] = { .type = NLA_BE16, },
	[LBLC_RS_A_SERVICE_FWMARK] = { .type = NLA_U32, },
};

/* LBLC_RS_CMD_SERVICE_GET - do */
static const struct nla_policy ip_vs_lblc_rs_service_get_nl_policy[LBLC_RS_A_SERVICE + 1] = {
	[LBLC_RS_A_SERVICE] = NLA_POLICY_NESTED(ip_vs_lblc_rs_service_nl_policy),
};

/* LBLC_RS_CMD_ENTRY_GET - do */
static const struct nla_policy ip_vs_lblc_rs_entry_get_do_nl_policy[LBLC_RS_A_ENTRY + 1] = {
	[LBLC_RS_A_SERVICE] = NLA_POLICY_NESTED(ip_vs_lblc_rs_service_nl_policy),
	[LBLC_RS_A_ENTRY] = NLA_POLICY_NESTED(ip_vs_lblc_rs_entry_nl_policy),
};

/* LBLC_RS_CMD_ENTRY_GET - dump */
static const struct nla_policy ip_vs_lblc_rs_entry_get_dump_nl_policy[LBLC_RS_A_FILTER + 1] = {
	[LBLC_RS_A_SERVICE] = NLA_POLICY_NESTED(ip_vs_lblc_rs_service_nl_policy),
	[LBLC_RS_A_FILTER] = NLA_POLICY_NESTED(ip_vs_lblc_rs_filter_nl_policy),
};

/* LBLC_RS_CMD_ENTRY_SET - do */
static const struct nla_policy ip_vs_lblc_rs_entry_set_nl_policy[LBLC_RS_A_MODE + 1] = {
	[LBLC_RS_A_SERVICE] = NLA_POLICY_NESTED(ip_vs_lblc_rs_service_nl_policy),
	[LBLC_RS_A_ENTRY] = NLA_POLICY_NESTED(ip_vs_lblc_rs_entry_nl_policy),
	[LBLC_RS_A_MODE] = NLA_POLICY_MAX(NLA_U32, 1),
};

/* LBLC_RS_CMD_ENTRY_DEL - do */
static const struct nla_policy ip_vs_lblc_rs_entry_del_nl_policy[LBLC_RS_A_FILTER + 1] = {
	[LBLC_RS_A_SERVICE] = NLA_POLICY_NESTED(ip_vs_lblc_rs_service_nl_policy),
	[LBLC_RS_A_ENTRY] = NLA_POLICY_NESTED(ip_vs_lblc_rs_entry_nl_policy),
	[LBLC_RS_A_FILTER] = NLA_POLICY_NESTED(ip_vs_lblc_rs_filter_nl_policy),
};

/* Ops table for ip_vs_lblc_rs */
const struct genl_split_ops ip_vs_lblc_rs_nl_ops[6] = {
	{
		.cmd		= LBLC_RS_CMD_SERVICE_GET,
		.doit		= ip_vs_lblc_rs_nl_service_get_doit,
		.policy		= ip_vs_lblc_rs_service_get_nl_policy,
		.maxattr	= LBLC_RS_A_SERVICE,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd	= LBLC_RS_CMD_SERVICE_GET,
		.dumpit	= ip_vs_lblc_rs_nl_service_get_dumpit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= LBLC_RS_CMD_ENTRY_GET,
		.doit		= ip_vs_lblc_rs_nl_entry_get_doit,
		.policy		= ip_vs_lblc_rs_entry_get_do_nl_policy,
		.maxattr	= LBLC_RS_A_ENTRY,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= LBLC_RS_CMD_ENTRY_GET,
		.dumpit		= ip_vs_lblc_rs_nl_entry_get_dumpit,
		.policy		= ip_vs_lblc_rs_entry_get_dump_nl_policy,
		.maxattr	= LBLC_RS_A_FILTER,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= LBLC_RS_CMD_ENTRY_SET,
		.doit		= ip_vs_lblc_rs_nl_entry_set_doit,
		.policy		= ip_vs_lblc_rs_entry_set_nl_policy,
		.maxattr	= LBLC_RS_A_MODE,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= LBLC_RS_CMD_ENTRY_DEL,
		.doit		= ip_vs_lblc_rs_nl_entry_del_doit,
		.policy		= ip_vs_lblc_rs_entry_del_nl_policy,
		.maxattr	= LBLC_RS_A_FILTER,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
};

static const struct genl_multicast_group ip_vs_lblc_rs_nl_mcgrps[] = {
	[IP_VS_LBLC_RS_NLGRP_CHANGES] = { "changes", },
};
