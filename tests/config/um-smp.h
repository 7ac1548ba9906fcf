/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before arch/um/os-Linux/signal.c in the kernel `smp`, which runs with one CPU. A section without interrupts
 * makes two system calls there, to block the interrupts of other CPUs; a tenth of a microsecond each.
 */
#include <os.h>

#define os_local_ipi_enable() do { } while (0)
#define os_local_ipi_disable() do { } while (0)
