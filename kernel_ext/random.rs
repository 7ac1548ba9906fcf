// SPDX-License-Identifier: GPL-2.0

//! Random numbers that an attacker cannot guess.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h).

use crate::bindings;

/// A random number. Any context; does not sleep.
pub(crate) fn number() -> u64 {
    // SAFETY: An FFI call with no additional requirements.
    unsafe { bindings::get_random_u64() }
}
