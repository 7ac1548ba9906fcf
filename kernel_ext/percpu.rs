// SPDX-License-Identifier: GPL-2.0

//! Per-CPU counters: counting costs one instruction.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h).

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// `N` counters of 64 bits for each CPU, which wrap.
///
/// # Invariants
///
/// `0` is per-CPU memory for `N` counters, aligned to 8 bytes.
pub(crate) struct PerCpuCounters<const N: usize>(NonNull<u64>);

// SAFETY: Per-CPU memory may be used and freed by any thread.
unsafe impl<const N: usize> Send for PerCpuCounters<N> {}
// SAFETY: Each CPU changes its own copy, by one instruction that nothing on that CPU interrupts.
unsafe impl<const N: usize> Sync for PerCpuCounters<N> {}

impl<const N: usize> PerCpuCounters<N> {
    /// Counters at zero. Process context. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `__alloc_percpu_gfp()` may sleep, and this is process context.
        let counters = unsafe { bindings::lblc_rs_alloc_counters(N) };
        // INVARIANT: If `counters` is not null, it is per-CPU memory for `N` counters of 8 bytes.
        NonNull::new(counters).map(Self).ok_or(ENOMEM)
    }

    /// Increments counter `which` of this CPU, or nothing if there is no such counter. Any context.
    #[inline(always)]
    pub(crate) fn count(&self, which: usize) {
        if which >= N {
            return;
        }
        let counter = self.0.as_ptr().wrapping_add(which);
        // As C's `this_cpu_inc()`.
        #[cfg(all(target_arch = "x86_64", CONFIG_SMP, not(CONFIG_UML)))]
        // SAFETY: By the type invariants and as `which < N`, `counter` is a per-CPU counter; the
        // base of `%gs` makes it that of the CPU that executes the instruction.
        unsafe {
            core::arch::asm!("incq %gs:({})", in(reg) counter, options(att_syntax, nostack))
        };
        #[cfg(all(target_arch = "x86_64", not(CONFIG_SMP)))]
        // SAFETY: As above; with one CPU there is one copy, at `counter` itself.
        unsafe {
            core::arch::asm!("incq ({})", in(reg) counter, options(att_syntax, nostack))
        };
        #[cfg(not(all(target_arch = "x86_64", not(all(CONFIG_SMP, CONFIG_UML)))))]
        // SAFETY: By the type invariants and as `which < N`, `counter` is a per-CPU counter.
        unsafe {
            bindings::lblc_rs_count(counter)
        };
    }

    /// The sum over all CPUs. Any context.
    pub(crate) fn sum(&self, which: usize) -> u64 {
        if which >= N {
            return 0;
        }
        // SAFETY: By the type invariants and as `which < N`, the pointer is to a per-CPU counter.
        unsafe { bindings::lblc_rs_sum_counter(self.0.as_ptr().wrapping_add(which)) }
    }
}

impl<const N: usize> Drop for PerCpuCounters<N> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the pointer came from `__alloc_percpu_gfp()`; `self` owns
        // it.
        unsafe { bindings::free_percpu(self.0.as_ptr().cast()) };
    }
}
