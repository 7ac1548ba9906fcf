// SPDX-License-Identifier: GPL-2.0

//! PerCpuCounters that every CPU has for itself, so that counting costs one instruction.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h).

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// `N` counters of 64 bits, which wrap.
///
/// # Invariants
///
/// `0` is per-CPU memory for `N` counters, aligned to 8 bytes.
pub(crate) struct PerCpuCounters<const N: usize>(NonNull<u64>);

// SAFETY: Per-CPU memory belongs to no thread.
unsafe impl<const N: usize> Send for PerCpuCounters<N> {}
// SAFETY: Each CPU changes its own copy, by one instruction that nothing on that CPU interrupts.
unsafe impl<const N: usize> Sync for PerCpuCounters<N> {}

impl<const N: usize> PerCpuCounters<N> {
    /// PerCpuCounters at zero. Process context. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: An FFI call with no further requirement.
        let counters = unsafe { bindings::lblc_rs_alloc_counters(N) };
        // INVARIANT: That is what it made.
        NonNull::new(counters).map(Self).ok_or(ENOMEM)
    }

    /// Counts one more of `which`; one that does not exist is not counted. Any context.
    #[inline(always)]
    pub(crate) fn count(&self, which: usize) {
        if which >= N {
            return;
        }
        let counter = self.0.as_ptr().wrapping_add(which);
        // As C's `this_cpu_inc()`.
        #[cfg(all(target_arch = "x86_64", CONFIG_SMP, not(CONFIG_UML)))]
        // SAFETY: By the type invariants, and with the segment that holds this CPU's offset, this is
        // the CPU's own counter, whichever CPU executes the instruction.
        unsafe {
            core::arch::asm!("incq %gs:({})", in(reg) counter, options(att_syntax, nostack))
        };
        #[cfg(all(target_arch = "x86_64", not(CONFIG_SMP)))]
        // SAFETY: As above; with one CPU there is one copy.
        unsafe {
            core::arch::asm!("incq ({})", in(reg) counter, options(att_syntax, nostack))
        };
        #[cfg(not(all(target_arch = "x86_64", not(all(CONFIG_SMP, CONFIG_UML)))))]
        // SAFETY: By the type invariants it is a per-CPU counter.
        unsafe {
            bindings::lblc_rs_count(counter)
        };
    }

    /// The sum over all CPUs. Any context.
    pub(crate) fn sum(&self, which: usize) -> u64 {
        if which >= N {
            return 0;
        }
        // SAFETY: By the type invariants it is a per-CPU counter.
        unsafe { bindings::lblc_rs_sum_counter(self.0.as_ptr().wrapping_add(which)) }
    }
}

impl<const N: usize> Drop for PerCpuCounters<N> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is per-CPU memory, and ours.
        unsafe { bindings::free_percpu(self.0.as_ptr().cast()) };
    }
}
