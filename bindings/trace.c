// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints, which only C macros can define. Without CONFIG_TRACEPOINTS the functions below
 * do nothing.
 */

#include "helpers.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* A static branch: whether the tracepoint is enabled. */
bool lblc_rs_tracing_miss(void)
{
	return trace_lblc_rs_miss_enabled();
}

/* As above. */
bool lblc_rs_tracing_evict(void)
{
	return trace_lblc_rs_evict_enabled();
}

/* As above. */
bool lblc_rs_tracing_rebuild(void)
{
	return trace_lblc_rs_rebuild_enabled();
}

/* Inline. */
void lblc_rs_trace_miss(const char *service, const char *destination, const char *before,
			const char *after, const char *reason)
{
	trace_lblc_rs_miss(service, destination, before, after, reason);
}

/* Inline. */
void lblc_rs_trace_evict(const char *service, const char *destination, const char *server,
			 unsigned long idle, bool removed)
{
	trace_lblc_rs_evict(service, destination, server, idle, removed);
}

/* Inline. */
void lblc_rs_trace_rebuild(const char *service, bool rekey, unsigned long before,
			   unsigned long after, unsigned long entries)
{
	trace_lblc_rs_rebuild(service, rekey, before, after, entries);
}
