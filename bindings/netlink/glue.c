// SPDX-License-Identifier: GPL-2.0
/* The generic netlink family, whose operations are in gen.c, and the inlines that netns/ needs. */

#include <linux/module.h>
#include <linux/skbuff.h>
#include <net/genetlink.h>

#include "gen.h"
#include "glue.h"

/* The generated array has no flags. */
static const struct genl_multicast_group lblc_rs_nl_groups[] = {
	[IP_VS_LBLC_RS_NLGRP_CHANGES] = {
		.name	= IP_VS_LBLC_RS_MCGRP_CHANGES,
		.flags	= GENL_MCAST_CAP_NET_ADMIN,
	},
};

/*
 * Whether a socket has ever joined the group; if so, the group has its number. Members are not
 * counted: ->bind() is also called when a member joins again.
 */
bool lblc_rs_nl_joined;

static int lblc_rs_nl_bind(int group)
{
	/* Pairs with lblc_rs_nl_has_listeners(), which uses the number. */
	smp_store_release(&lblc_rs_nl_joined, true);
	return 0;
}

/* Not __ro_after_init: a work item registers it, after the init of the module. */
static struct genl_family lblc_rs_nl_family = {
	.name		= IP_VS_LBLC_RS_FAMILY_NAME,
	.version	= IP_VS_LBLC_RS_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= ip_vs_lblc_rs_nl_ops,
	.n_split_ops	= ARRAY_SIZE(ip_vs_lblc_rs_nl_ops),
	.mcgrps		= lblc_rs_nl_groups,
	.n_mcgrps	= ARRAY_SIZE(lblc_rs_nl_groups),
	.bind		= lblc_rs_nl_bind,
};

/*
 * Whether the family is being unregistered, or was: then the number of the group may belong to
 * another family. Written and, before a message is sent to the number, read with the mutex held.
 * lblc_rs_nl_has_listeners() reads it without, as a note too many is dropped when it is sent.
 */
static bool lblc_rs_nl_closed;
static DEFINE_MUTEX(lblc_rs_nl_mutex);

/*
 * The family has bit fields, and the pointer to this module. Sockets can use the family, and join
 * the group, before this returns.
 */
int lblc_rs_nl_register(void)
{
	return genl_register_family(&lblc_rs_nl_family);
}

/* The family has bit fields. */
void lblc_rs_nl_unregister(void)
{
	mutex_lock(&lblc_rs_nl_mutex);
	WRITE_ONCE(lblc_rs_nl_closed, true);
	mutex_unlock(&lblc_rs_nl_mutex);
	genl_unregister_family(&lblc_rs_nl_family);
}

/* Inline. In any network namespace: the core takes one as an argument, but does not use it. */
bool lblc_rs_nl_has_listeners(void)
{
	/* Pairs with lblc_rs_nl_bind(). */
	return smp_load_acquire(&lblc_rs_nl_joined) && !READ_ONCE(lblc_rs_nl_closed) &&
	       genl_has_listeners(&lblc_rs_nl_family, &init_net, IP_VS_LBLC_RS_NLGRP_CHANGES);
}

/*
 * Inline. Consumes @skb. Only called after lblc_rs_nl_has_listeners() was true, so the group has
 * its number.
 */
int lblc_rs_nl_multicast(struct net *net, struct sk_buff *skb)
{
	int error = -ESRCH;

	mutex_lock(&lblc_rs_nl_mutex);
	if (!lblc_rs_nl_closed)
		error = genlmsg_multicast_netns(&lblc_rs_nl_family, net, skb, 0,
						IP_VS_LBLC_RS_NLGRP_CHANGES, GFP_KERNEL);
	else
		nlmsg_free(skb);
	mutex_unlock(&lblc_rs_nl_mutex);
	return error;
}

/* Inline; whether struct genl_info has a namespace depends on the configuration. */
struct net *lblc_rs_nl_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

/* Inlines. */
const u8 *lblc_rs_nl_attributes(const struct genl_info *info, size_t *len)
{
	*len = genlmsg_len(info->genlhdr);
	return genlmsg_data(info->genlhdr);
}

/* netlink_rcv_skb() pulls a message from @skb after it was handled. */
bool lblc_rs_nl_is_last(const struct sk_buff *skb, const struct genl_info *info)
{
	return skb->len <= NLMSG_ALIGN(info->nlhdr->nlmsg_len);
}

/* The macros take string literals only. */
void lblc_rs_nl_explain(const struct genl_info *info, const char *message, u16 missing)
{
	if (!info->extack)
		return;
	if (message)
		info->extack->_msg = message;
	if (missing)
		NL_SET_ERR_ATTR_MISS(info->extack, NULL, missing);
}

/* Inlines. */
struct sk_buff *lblc_rs_nl_new(void)
{
	return genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
}

/* Inline. */
int lblc_rs_nl_reply(struct sk_buff *skb, struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}

/* Inline. */
void lblc_rs_nl_free(struct sk_buff *skb)
{
	nlmsg_free(skb);
}

/*
 * @info is NULL if it is an event, @cb is NULL if it is not a dump. genlmsg_iput() does not set
 * NLM_F_MULTI.
 */
void *lblc_rs_nl_begin(struct sk_buff *skb, const struct genl_info *info,
		       struct netlink_callback *cb)
{
	void *header;

	if (!info)
		return genlmsg_put(skb, 0, 0, &lblc_rs_nl_family, 0, LBLC_RS_CMD_CHANGE);
	header = genlmsg_put(skb, info->snd_portid, info->snd_seq, info->family,
			     cb ? NLM_F_MULTI : 0, info->genlhdr->cmd);
	if (cb && header)
		genl_dump_check_consistent(cb, header);
	return header;
}

/* Inline. */
void lblc_rs_nl_end(struct sk_buff *skb, void *header)
{
	genlmsg_end(skb, header);
}

/* The place of ->len in struct sk_buff. */
unsigned int lblc_rs_nl_len(const struct sk_buff *skb)
{
	return skb->len;
}

/* Inline; the place of ->ctx in struct netlink_callback. */
struct genl_info *lblc_rs_nl_dump(struct netlink_callback *cb, u64 **position)
{
	BUILD_BUG_ON(sizeof(cb->ctx) < 2 * sizeof(u64));
	*position = (u64 *)cb->ctx;
	return (struct genl_info *)genl_info_dump(cb);
}

/* The place of ->seq; 0 says that nothing is known. */
void lblc_rs_nl_set_generation(struct netlink_callback *cb, unsigned int generation)
{
	cb->seq = generation ?: 1;
}
