// SPDX-License-Identifier: GPL-2.0

//! Tracepoints for bpftrace and perf. A disabled tracepoint costs one call that tests a static key;
//! addresses and names are formatted only if it is enabled.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h); see
//! `bindings/trace.h`.

use crate::{
    bindings,
    ipvs::{
        Address,
        Dest,
        Named,
        Server,
        Service, //
    }, //
};
use core::fmt::{
    self,
    Write, //
};
use kernel::{
    prelude::*,
    str::Formatter, //
};

/// A name as a C string. The longest one is that of a service with an IPv6 address:
/// `SCTP [2001:db8:...]:65535`.
struct Text([u8; 64]);

impl Text {
    fn new(what: &dyn fmt::Display) -> Self {
        let mut text = [0; 64];
        if let Some((_end, room)) = text.split_last_mut() {
            // What does not fit is left out; the end stays 0.
            let _ = write!(Formatter::new(room), "{what}");
        }
        Self(text)
    }

    /// A server, or `-`.
    fn of(server: Option<Named>) -> Self {
        match server {
            Some(server) => Self::new(&server),
            None => Self::new(&"-"),
        }
    }

    fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

/// `destination` was not given the server that it had `before`, for a `reason`. Any context.
pub(crate) fn miss(
    service: &Service,
    destination: Address,
    before: Option<&Server>,
    after: Option<&Dest>,
    reason: &str,
) {
    // SAFETY: `lblc_rs_tracing_miss()` reads a static key of this module, and has no requirement.
    if unsafe { bindings::lblc_rs_tracing_miss() } {
        tell_miss(service, destination, before, after, reason);
    }
}

/// The part of `miss()` that needs much of the stack.
#[cold]
#[inline(never)]
fn tell_miss(
    service: &Service,
    destination: Address,
    before: Option<&Server>,
    after: Option<&Dest>,
    reason: &str,
) {
    let destination = Text::new(&Named::Address(destination, service.is_ipv6()));
    let before = Text::of(before.map(|server| Named::Endpoint(server.endpoint())));
    let after = Text::of(after.map(|dest| Named::Endpoint(dest.endpoint())));
    let (service, reason) = (Text::new(&service.name()), Text::new(&reason));
    // SAFETY: A `Text` ends with a nul, as its last byte is never written, and all of them live
    // until C has copied them.
    unsafe {
        bindings::lblc_rs_trace_miss(
            service.as_ptr(),
            destination.as_ptr(),
            before.as_ptr(),
            after.as_ptr(),
            reason.as_ptr(),
        );
    }
}

/// The entry of `destination`, with `server`, was evicted to make room for another, after it had
/// been `idle` for that number of seconds. Any context.
pub(crate) fn evict(service: &Service, destination: Address, server: &Server, idle: usize) {
    // SAFETY: `lblc_rs_tracing_evict()` reads a static key of this module, and has no requirement.
    if !unsafe { bindings::lblc_rs_tracing_evict() } {
        return;
    }
    let destination = Text::new(&Named::Address(destination, service.is_ipv6()));
    let (name, removed) = (Named::Endpoint(server.endpoint()), server.is_removed());
    let (service, server) = (Text::new(&service.name()), Text::new(&name));
    // SAFETY: As in `miss()`.
    unsafe {
        bindings::lblc_rs_trace_evict(
            service.as_ptr(),
            destination.as_ptr(),
            server.as_ptr(),
            idle,
            removed,
        );
    }
}

/// A table with this number of `entries` was rebuilt: with a new key of its hash (`rekey`), or with
/// another number of buckets. Any context.
pub(crate) fn rebuild(service: &Service, rekey: bool, buckets: (usize, usize), entries: usize) {
    // SAFETY: `lblc_rs_tracing_rebuild()` reads a static key of this module, and has no
    // requirement.
    if !unsafe { bindings::lblc_rs_tracing_rebuild() } {
        return;
    }
    let service = Text::new(&service.name());
    let (before, after) = buckets;
    // SAFETY: As in `miss()`.
    unsafe {
        bindings::lblc_rs_trace_rebuild(service.as_ptr(), rekey, before, after, entries);
    }
}
