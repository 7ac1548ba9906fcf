// SPDX-License-Identifier: GPL-2.0

//! The time in jiffies, which the kernel crate cannot read yet.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h).

use crate::bindings;
use kernel::time::Jiffies;

/// Jiffies in a second.
pub(crate) const HZ: Jiffies = bindings::CONFIG_HZ as Jiffies;

/// The present time in jiffies, which wraps. Any context; a plain load.
#[inline(always)]
pub(crate) fn now() -> Jiffies {
    // SAFETY: `jiffies` is a static that is always initialised. The volatile read is that of C,
    // where `jiffies` is declared volatile and read without a lock.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}

/// Converts jiffies to milliseconds, rounded down. Any context. C: `jiffies_to_msecs()`.
pub(crate) fn milliseconds(jiffies: Jiffies) -> u64 {
    (jiffies as u64).saturating_mul(1000) / HZ as u64
}
