// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, as the IPVS core writes it. What is about a service goes through
//! [`Service::error()`](super::Service::error).

use crate::bindings;
use kernel::prelude::*;

/// Logs `IPVS: message`, rate limited. Any context.
#[cold]
pub(super) fn notice(message: &'static CStr) {
    // SAFETY: A `CStr` ends with a nul, and C only reads it.
    unsafe { bindings::lblc_rs_notice(message.as_char_ptr()) };
}
