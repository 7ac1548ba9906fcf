/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints for bpftrace, perf or /sys/kernel/tracing. Services, addresses and servers are text,
 * as in /proc/net/ip_vs_lblc_rs, so that they can be typed into a filter. Fixed-size arrays are
 * used instead of __string() because bpftrace in Debian 13 reads dynamic strings of any 7.x
 * tracepoint as empty.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ip_vs_lblc_rs

#if !defined(LBLC_RS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define LBLC_RS_TRACE_H

#include <linux/string.h>
#include <linux/tracepoint.h>

#ifndef LBLC_RS_TEXT
#define LBLC_RS_TEXT(name) __array(char, name, 64)
/* Padded: filters compare all bytes, and user space sees them. */
#define LBLC_RS_ASSIGN(name) strscpy_pad(__entry->name, name, sizeof(__entry->name))
#endif

/* A connection did not go to the server that its destination had before, if it had one. */
TRACE_EVENT(lblc_rs_miss,
	TP_PROTO(const char *service, const char *destination, const char *before,
		 const char *after, const char *reason),
	TP_ARGS(service, destination, before, after, reason),
	TP_STRUCT__entry(
		LBLC_RS_TEXT(service)
		LBLC_RS_TEXT(destination)
		LBLC_RS_TEXT(before)
		LBLC_RS_TEXT(after)
		LBLC_RS_TEXT(reason)
	),
	TP_fast_assign(
		LBLC_RS_ASSIGN(service);
		LBLC_RS_ASSIGN(destination);
		LBLC_RS_ASSIGN(before);
		LBLC_RS_ASSIGN(after);
		LBLC_RS_ASSIGN(reason);
	),
	TP_printk("%s %s before %s after %s reason %s", __entry->service, __entry->destination,
		  __entry->before, __entry->after, __entry->reason)
);

/* An entry was removed to make room for another. */
TRACE_EVENT(lblc_rs_evict,
	TP_PROTO(const char *service, const char *destination, const char *server,
		 unsigned long idle, bool removed),
	TP_ARGS(service, destination, server, idle, removed),
	TP_STRUCT__entry(
		LBLC_RS_TEXT(service)
		LBLC_RS_TEXT(destination)
		LBLC_RS_TEXT(server)
		__field(unsigned long, idle)
		__field(bool, removed)
	),
	TP_fast_assign(
		LBLC_RS_ASSIGN(service);
		LBLC_RS_ASSIGN(destination);
		LBLC_RS_ASSIGN(server);
		__entry->idle = idle;
		__entry->removed = removed;
	),
	TP_printk("%s %s %s %lu%s", __entry->service, __entry->destination, __entry->server,
		  __entry->idle, __entry->removed ? " removed" : "")
);

/* The table was rebuilt, with another number of buckets or another hash key. */
TRACE_EVENT(lblc_rs_rebuild,
	TP_PROTO(const char *service, bool rekey, unsigned long before, unsigned long after,
		 unsigned long entries),
	TP_ARGS(service, rekey, before, after, entries),
	TP_STRUCT__entry(
		LBLC_RS_TEXT(service)
		__field(bool, rekey)
		__field(unsigned long, before)
		__field(unsigned long, after)
		__field(unsigned long, entries)
	),
	TP_fast_assign(
		LBLC_RS_ASSIGN(service);
		__entry->rekey = rekey;
		__entry->before = before;
		__entry->after = after;
		__entry->entries = entries;
	),
	TP_printk("%s %s buckets before %lu after %lu entries %lu", __entry->service,
		  __entry->rekey ? "rekey" : "resize", __entry->before, __entry->after,
		  __entry->entries)
);

#endif

/* Kbuild adds this folder to the include path of trace.c, inside a kernel tree and outside. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
