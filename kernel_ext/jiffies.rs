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
    divide((jiffies as u64).saturating_mul(1000), HZ as u32)
}

/// Converts milliseconds to jiffies, rounded up, so that the result of [`milliseconds()`] is
/// converted back to the same number of jiffies. The result is at most half of the range of
/// jiffies: a time longer ago would seem to be in the future. Any context.
pub(crate) fn from_milliseconds(milliseconds: u64) -> Jiffies {
    let rounded_up = milliseconds.saturating_mul(HZ as u64).saturating_add(999);
    divide(rounded_up, 1000).min(isize::MAX as u64 / 2) as Jiffies
}

/// Divides by `divisor`, which is not zero. For `/` on u64 a 32-bit compiler calls a function that
/// the kernel does not export. Any context. C: `div_u64()`.
fn divide(dividend: u64, divisor: u32) -> u64 {
    // SAFETY: The only condition of `div_u64()` is that `divisor` is not zero; both callers, above,
    // pass a constant, `HZ` and 1000.
    unsafe { bindings::lblc_rs_div_u64(dividend, divisor) }
}
