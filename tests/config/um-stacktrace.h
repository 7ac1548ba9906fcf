/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before arch/um/kernel/stacktrace.c in the kernel `kasan`. dump_trace() calls __kernel_text_address() for
 * each word on the stack, which enters an RCU read-side critical section and so calls lockdep, and then keeps only the
 * words that are next to a frame pointer. This macro tests for the frame pointer first. KASAN, SLUB and kmemleak save
 * a stack trace with each object; without the macro 70 % of the CPU time went into the other words.
 */
#include <linux/kernel.h>
#include <linux/kallsyms.h>

#define __kernel_text_address(addr) ((unsigned long)sp == bp + sizeof(long) && __kernel_text_address(addr))
