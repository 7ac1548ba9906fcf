// SPDX-License-Identifier: GPL-2.0

//! A real server of a service.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_dest`.

use super::{
    header,
    name::Endpoint, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::types::Opaque;

/// A real server (`struct ip_vs_dest`). The core and other CPUs change it at any time, so every
/// getter is one atomic or volatile load, for any context.
#[repr(transparent)]
pub(crate) struct Dest(Opaque<bindings::ip_vs_dest>);

// SAFETY: Every method reads with atomic or volatile loads what others may write meanwhile, and
// takes a copy of it.
unsafe impl Sync for Dest {}
// SAFETY: A server belongs to no thread.
unsafe impl Send for Dest {}

impl Dest {
    /// Borrows C's server.
    ///
    /// # Safety
    ///
    /// `ptr` points to a server that is not freed during `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *const bindings::ip_vs_dest) -> &'a Self {
        // SAFETY: `Dest` is a transparent wrapper; the caller promises validity.
        unsafe { &*ptr.cast() }
    }

    /// A server that is in no list, with weight 0 and no connection, so it gets no new one. Its
    /// fields may be read like those of any other server, but no reference may be taken.
    pub(super) fn placeholder() -> &'static Self {
        static PLACEHOLDER: Dest = Dest(Opaque::zeroed());
        &PLACEHOLDER
    }

    /// Whether this is [`placeholder()`](Self::placeholder).
    pub(super) fn is_placeholder(&self) -> bool {
        core::ptr::eq(self, Self::placeholder())
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::ip_vs_dest {
        self.0.get()
    }

    /// Configured capacity, in connections; 0 means quiesced: no new connections.
    #[inline(always)]
    pub(crate) fn weight(&self) -> i32 {
        // SAFETY: `&self` keeps the server alive.
        unsafe { Self::atomic(&raw mut (*self.as_ptr()).weight) }
    }

    /// The number of connections in an active state.
    #[inline(always)]
    pub(crate) fn active(&self) -> i32 {
        // SAFETY: `&self` keeps the server alive.
        unsafe { Self::atomic(&raw mut (*self.as_ptr()).activeconns) }
    }

    /// Whether [`conns_in_load()`](Self::conns_in_load) includes the active connections.
    pub(crate) const CONNS_INCLUDE_ACTIVE: bool = cfg!(ip_vs_dest_totalconns);

    /// What the core's load formula counts beside active connections: all connections, or in older
    /// kernels the inactive ones. C: `ip_vs_dest_conn_overhead()`.
    #[inline(always)]
    pub(crate) fn conns_in_load(&self) -> i32 {
        #[cfg(ip_vs_dest_totalconns)]
        // SAFETY: `&self` keeps the server alive.
        return unsafe { Self::atomic(&raw mut (*self.as_ptr()).totalconns) };
        #[cfg(not(ip_vs_dest_totalconns))]
        // SAFETY: `&self` keeps the server alive.
        return unsafe { Self::atomic(&raw mut (*self.as_ptr()).inactconns) };
    }

    /// The number of active connections, or with `all` of all connections.
    #[inline(always)]
    pub(crate) fn connections(&self, all: bool) -> i64 {
        match (all, Self::CONNS_INCLUDE_ACTIVE) {
            (false, _) => i64::from(self.active()),
            (true, true) => i64::from(self.conns_in_load()),
            (true, false) => i64::from(self.active()) + i64::from(self.conns_in_load()),
        }
    }

    /// Whether the upper connection threshold was reached. C: `IP_VS_DEST_F_OVERLOAD`.
    #[inline(always)]
    pub(crate) fn is_overload(&self) -> bool {
        self.flags() & bindings::IP_VS_DEST_F_OVERLOAD != 0
    }

    /// Whether an upper connection threshold is set: without one, the core never flags the server
    /// as overloaded.
    pub(crate) fn is_limited(&self) -> bool {
        // SAFETY: `&self` keeps the server alive. `__ip_vs_update_dest()` may write the field
        // meanwhile, with `WRITE_ONCE()`, so the read is volatile.
        unsafe { (&raw const (*self.as_ptr()).u_threshold).read_volatile() != 0 }
    }

    /// Address and port. Any context.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let dest = self.as_ptr();
        // SAFETY: `&self` keeps the server alive. `ip_vs_new_dest()` sets `addr` and `port` before
        // the server is listed, and nothing writes them afterwards. `__ip_vs_update_dest()` writes
        // `af` again on every edit, the same value, perhaps meanwhile: so that read is volatile.
        unsafe {
            let af = (&raw const (*dest).af).read_volatile();
            let ipv6 = u32::from(af) == bindings::AF_INET6;
            let address = header::read_address(&raw const (*dest).addr, ipv6);
            Endpoint {
                address,
                ipv6,
                port: u16::from_be((*dest).port),
            }
        }
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        // SAFETY: `&self` keeps the server alive. `__ip_vs_dest_update_overload()` may write the
        // field meanwhile, so the read is volatile.
        unsafe { (&raw const (*self.as_ptr()).flags).read_volatile() }
    }

    /// C: `atomic_read()`, a volatile read, which unlike an atomic one can be an operand of the
    /// instruction that uses it.
    ///
    /// # Safety
    ///
    /// `counter` must be a live `atomic_t`.
    #[inline(always)]
    unsafe fn atomic(counter: *mut bindings::atomic_t) -> i32 {
        // SAFETY: The caller promises a live `atomic_t`, whose `counter` C only accesses
        // atomically.
        unsafe { (&raw const (*counter).counter).read_volatile() }
    }
}

/// A counted reference to a server, which keeps it in memory, in the core's trash if need be.
///
/// A server that was published through an object must outlive that object's readers: drop the
/// reference with the object, after its grace period.
///
/// # Invariants
///
/// `0` points to a server on which we hold a reference.
pub(crate) struct DestRef(NonNull<Dest>);

// SAFETY: The reference count is atomic, and a server belongs to no thread.
unsafe impl Send for DestRef {}
// SAFETY: `&DestRef` only gives `&Dest`, which is `Sync`.
unsafe impl Sync for DestRef {}

impl From<&Dest> for DestRef {
    /// Takes a reference. Any context. C: `ip_vs_dest_hold()`.
    fn from(dest: &Dest) -> Self {
        // SAFETY: `dest` is listed, and the caller holds the service mutex under which the core
        // unlinks it, or else is in a read-side section in which it was listed. The core drops its
        // own reference only a grace period after it unlinked the server, so the count is non-zero.
        unsafe { bindings::lblc_rs_dest_hold(dest.as_ptr()) };
        Self(NonNull::from(dest))
    }
}

impl core::ops::Deref for DestRef {
    type Target = Dest;

    #[inline(always)]
    fn deref(&self) -> &Dest {
        // SAFETY: By the type invariants the server is alive as long as `self`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for DestRef {
    /// Puts the reference and frees the server if it was the last. Any context but hard interrupt.
    fn drop(&mut self) {
        // SAFETY: By the type invariants `self` has a reference, which nothing uses after this.
        unsafe { bindings::lblc_rs_dest_put_and_free(self.0.as_ref().as_ptr()) };
    }
}
