/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/ip_vs_lblc_rs.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _UAPI_LINUX_IP_VS_LBLC_RS_H
#define _UAPI_LINUX_IP_VS_LBLC_RS_H

#define IP_VS_LBLC_RS_FAMILY_NAME	"ip_vs_lblc_rs"
#define IP_VS_LBLC_RS_FAMILY_VERSION	1

/**
 * enum ip_vs_lblc_rs_set_mode - The effect of entry-set on an address that
 *   already has an entry.
 * @IP_VS_LBLC_RS_SET_MODE_REPLACE: The entry gets the given server and idle
 *   time.
 * @IP_VS_LBLC_RS_SET_MODE_KEEP_NEWER: The entry is kept if it has been idle
 *   for less time than the given one, or for as long.
 */
enum ip_vs_lblc_rs_set_mode {
	IP_VS_LBLC_RS_SET_MODE_REPLACE,
	IP_VS_LBLC_RS_SET_MODE_KEEP_NEWER,
};

/**
 * enum ip_vs_lblc_rs_change_kind - The kind of a change of an entry.
 * @IP_VS_LBLC_RS_CHANGE_KIND_INSERT: The entry was made.
 * @IP_VS_LBLC_RS_CHANGE_KIND_REPLACE: The entry was reassigned to another
 *   server.
 * @IP_VS_LBLC_RS_CHANGE_KIND_EXPIRE: The entry was collected after it had been
 *   idle.
 * @IP_VS_LBLC_RS_CHANGE_KIND_EVICT: The entry was evicted to make room for
 *   another one.
 * @IP_VS_LBLC_RS_CHANGE_KIND_DELETE: entry-del removed the entry.
 */
enum ip_vs_lblc_rs_change_kind {
	IP_VS_LBLC_RS_CHANGE_KIND_INSERT,
	IP_VS_LBLC_RS_CHANGE_KIND_REPLACE,
	IP_VS_LBLC_RS_CHANGE_KIND_EXPIRE,
	IP_VS_LBLC_RS_CHANGE_KIND_EVICT,
	IP_VS_LBLC_RS_CHANGE_KIND_DELETE,
};

/**
 * enum ip_vs_lblc_rs_change_reason - Why an entry was made or reassigned. All
 *   but operator are counters, which ip_vs_lblc_rs(4) explains.
 * @IP_VS_LBLC_RS_CHANGE_REASON_UNKNOWN: The address had no entry.
 * @IP_VS_LBLC_RS_CHANGE_REASON_EXPIRED: The entry had been idle for longer
 *   than the expiration.
 * @IP_VS_LBLC_RS_CHANGE_REASON_UNAVAILABLE: The server was not in the service.
 * @IP_VS_LBLC_RS_CHANGE_REASON_WEIGHT0: The server was quiesced.
 * @IP_VS_LBLC_RS_CHANGE_REASON_OVERLOADED: The server had more connections
 *   than its weight, and another one less than half of its own.
 * @IP_VS_LBLC_RS_CHANGE_REASON_THRESHOLD: The server had reached its upper
 *   connection threshold.
 * @IP_VS_LBLC_RS_CHANGE_REASON_OPERATOR: entry-set made or reassigned the
 *   entry.
 */
enum ip_vs_lblc_rs_change_reason {
	IP_VS_LBLC_RS_CHANGE_REASON_UNKNOWN,
	IP_VS_LBLC_RS_CHANGE_REASON_EXPIRED,
	IP_VS_LBLC_RS_CHANGE_REASON_UNAVAILABLE,
	IP_VS_LBLC_RS_CHANGE_REASON_WEIGHT0,
	IP_VS_LBLC_RS_CHANGE_REASON_OVERLOADED,
	IP_VS_LBLC_RS_CHANGE_REASON_THRESHOLD,
	IP_VS_LBLC_RS_CHANGE_REASON_OPERATOR,
};

enum {
	LBLC_RS_A_SERVICE_AF = 1,
	LBLC_RS_A_SERVICE_PROTOCOL,
	LBLC_RS_A_SERVICE_ADDR,
	LBLC_RS_A_SERVICE_PORT,
	LBLC_RS_A_SERVICE_FWMARK,

	__LBLC_RS_A_SERVICE_MAX,
	LBLC_RS_A_SERVICE_MAX = (__LBLC_RS_A_SERVICE_MAX - 1)
};

enum {
	LBLC_RS_A_ENTRY_KEY = 1,
	LBLC_RS_A_ENTRY_SERVER_ADDR,
	LBLC_RS_A_ENTRY_SERVER_PORT,
	LBLC_RS_A_ENTRY_IDLE,
	LBLC_RS_A_ENTRY_REMOVED,

	__LBLC_RS_A_ENTRY_MAX,
	LBLC_RS_A_ENTRY_MAX = (__LBLC_RS_A_ENTRY_MAX - 1)
};

enum {
	LBLC_RS_A_FILTER_SERVER_ADDR = 1,
	LBLC_RS_A_FILTER_SERVER_PORT,
	LBLC_RS_A_FILTER_PREFIX,
	LBLC_RS_A_FILTER_PREFIX_LEN,
	LBLC_RS_A_FILTER_IDLE_MIN,
	LBLC_RS_A_FILTER_REMOVED,
	LBLC_RS_A_FILTER_IDLE_MAX,

	__LBLC_RS_A_FILTER_MAX,
	LBLC_RS_A_FILTER_MAX = (__LBLC_RS_A_FILTER_MAX - 1)
};

enum {
	LBLC_RS_A_COUNTER_HITS = 1,
	LBLC_RS_A_COUNTER_UNKNOWN,
	LBLC_RS_A_COUNTER_EXPIRED,
	LBLC_RS_A_COUNTER_UNAVAILABLE,
	LBLC_RS_A_COUNTER_WEIGHT0,
	LBLC_RS_A_COUNTER_OVERLOADED,
	LBLC_RS_A_COUNTER_THRESHOLD,
	LBLC_RS_A_COUNTER_NONE,
	LBLC_RS_A_COUNTER_INSERTS,
	LBLC_RS_A_COUNTER_REPLACES,
	LBLC_RS_A_COUNTER_EXPIRIES,
	LBLC_RS_A_COUNTER_EVICTIONS,
	LBLC_RS_A_COUNTER_FAILURES,
	LBLC_RS_A_COUNTER_RESIZES,
	LBLC_RS_A_COUNTER_REKEYS,
	LBLC_RS_A_COUNTER_DELETES,

	__LBLC_RS_A_COUNTER_MAX,
	LBLC_RS_A_COUNTER_MAX = (__LBLC_RS_A_COUNTER_MAX - 1)
};

enum {
	LBLC_RS_A_CHANGE_KIND = 1,
	LBLC_RS_A_CHANGE_ENTRY,
	LBLC_RS_A_CHANGE_REASON,
	LBLC_RS_A_CHANGE_OLD_SERVER_ADDR,
	LBLC_RS_A_CHANGE_OLD_SERVER_PORT,

	__LBLC_RS_A_CHANGE_MAX,
	LBLC_RS_A_CHANGE_MAX = (__LBLC_RS_A_CHANGE_MAX - 1)
};

enum {
	LBLC_RS_A_SERVICE = 1,
	LBLC_RS_A_ENTRY,
	LBLC_RS_A_FILTER,
	LBLC_RS_A_MODE,
	LBLC_RS_A_ENTRIES,
	LBLC_RS_A_BUCKETS,
	LBLC_RS_A_MAX_ENTRIES,
	LBLC_RS_A_EXPIRATION,
	LBLC_RS_A_BYTES,
	LBLC_RS_A_COUNTERS,
	LBLC_RS_A_CREATED,
	LBLC_RS_A_CHANGED,
	LBLC_RS_A_KEPT,
	LBLC_RS_A_FAILED,
	LBLC_RS_A_DELETED,
	LBLC_RS_A_PARKED,
	LBLC_RS_A_CHANGE,
	LBLC_RS_A_PASSED_OVER,

	__LBLC_RS_A_MAX,
	LBLC_RS_A_MAX = (__LBLC_RS_A_MAX - 1)
};

enum {
	LBLC_RS_CMD_SERVICE_GET = 1,
	LBLC_RS_CMD_ENTRY_GET,
	LBLC_RS_CMD_ENTRY_SET,
	LBLC_RS_CMD_ENTRY_DEL,
	LBLC_RS_CMD_CHANGE,

	__LBLC_RS_CMD_MAX,
	LBLC_RS_CMD_MAX = (__LBLC_RS_CMD_MAX - 1)
};

#define IP_VS_LBLC_RS_MCGRP_CHANGES	"changes"

#endif /* _UAPI_LINUX_IP_VS_LBLC_RS_H */
