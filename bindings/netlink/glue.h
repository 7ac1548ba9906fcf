/* SPDX-License-Identifier: GPL-2.0 */
/* What netns/netlink.rs calls; glue.c says why it cannot be Rust. */
#ifndef LBLC_RS_NETLINK_GLUE_H
#define LBLC_RS_NETLINK_GLUE_H

#include <linux/types.h>

struct genl_info;
struct net;
struct netlink_callback;
struct sk_buff;

extern bool lblc_rs_nl_joined;

int lblc_rs_nl_register(void);
void lblc_rs_nl_unregister(void);
bool lblc_rs_nl_has_listeners(void);
int lblc_rs_nl_multicast(struct net *net, struct sk_buff *skb);
struct net *lblc_rs_nl_net(const struct genl_info *info);
const u8 *lblc_rs_nl_attributes(const struct genl_info *info, size_t *len);
bool lblc_rs_nl_is_last(const struct sk_buff *skb, const struct genl_info *info);
void lblc_rs_nl_explain(const struct genl_info *info, const char *message, u16 missing);
struct sk_buff *lblc_rs_nl_new(void);
int lblc_rs_nl_reply(struct sk_buff *skb, struct genl_info *info);
void lblc_rs_nl_free(struct sk_buff *skb);
void *lblc_rs_nl_begin(struct sk_buff *skb, const struct genl_info *info,
		       struct netlink_callback *cb);
void lblc_rs_nl_end(struct sk_buff *skb, void *header);
unsigned int lblc_rs_nl_len(const struct sk_buff *skb);
struct genl_info *lblc_rs_nl_dump(struct netlink_callback *cb, u64 **position);
void lblc_rs_nl_set_generation(struct netlink_callback *cb, unsigned int generation);

#endif
