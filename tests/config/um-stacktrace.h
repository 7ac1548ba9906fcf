/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Read before arch/um/kernel/stacktrace.c, of kasan. For each stack trace, dump_trace() asks of each word on the
 * stack whether it is an address of code, of modules as well, which takes RCU's lock, and so lockdep. It keeps only
 * the words that are next to a frame pointer. It is asked of these words alone here: KASAN, SLUB and kmemleak save a
 * trace with each object, and spent 70 % of the CPU on all the others.
 */
#include <linux/kernel.h>
#include <linux/kallsyms.h>

#define __kernel_text_address(addr) ((unsigned long)sp == bp + sizeof(long) && __kernel_text_address(addr))
