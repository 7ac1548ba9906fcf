// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, with messages in the form of the IPVS core. Messages about a service are
//! logged by [`Service::error()`](super::Service::error).

use crate::bindings;
use kernel::prelude::*;

/// Logs `IPVS: message`. Any context. For events that no ordinary user can cause.
#[cold]
pub(crate) fn notice(message: &'static CStr) {
    // SAFETY: A `CStr` ends with a nul, and C only reads it.
    unsafe { bindings::lblc_rs_notice(message.as_char_ptr()) };
}

/// Logs `IPVS: message`, rate limited together with all other messages of this function. Any
/// context.
#[cold]
pub(crate) fn notice_ratelimited(message: &'static CStr) {
    // SAFETY: As in `notice()`.
    unsafe { bindings::lblc_rs_notice_ratelimited(message.as_char_ptr()) };
}
