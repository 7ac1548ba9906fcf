// SPDX-License-Identifier: GPL-2.0

//! Unpredictable random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h).

use crate::bindings;

/// A random number. Any context; does not sleep.
pub(crate) fn number() -> u64 {
    // SAFETY: `get_random_u64()` has no requirements.
    unsafe { bindings::get_random_u64() }
}
