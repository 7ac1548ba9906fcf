// SPDX-License-Identifier: GPL-2.0

//! A real server as schedulers remember it: by address and port, so that what is known of it is good
//! again when it was removed and comes back.
//!
//! ```text
//!   core:    ip_vs_dest ── removed ──> trash ── freed when nobody holds it
//!               ▲   dest, lease           ▲ lease dropped a grace period after
//!   ours:    Server ──────────────────> Server without dest ── freed when no Cell leads to it
//!               ▲                         ▲
//!            Cells, the array of servers  Cells
//! ```

use super::{name::Endpoint, Dest, DestRef};
use crate::{
    bindings,
    rcu::{self, ReadSide},
};
use core::{
    mem::{offset_of, ManuallyDrop},
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering},
};
use kernel::prelude::*;

/// A real server that is or was in the service's list: what `schedule()` wants to know of it first,
/// in one cache line.
#[repr(align(64))]
pub(crate) struct Server {
    /// The core's server, or null while it is removed.
    dest: AtomicPtr<bindings::ip_vs_dest>,
    /// As many active connections it may have and be good whatever else is known; -1: more has to be
    /// looked at.
    capacity: AtomicI32,
    references: AtomicUsize,
    endpoint: Endpoint,
}

impl Server {
    /// A server that is not in the list.
    fn new(endpoint: Endpoint) -> Self {
        Self {
            dest: AtomicPtr::new(null_mut()),
            capacity: AtomicI32::new(-1),
            references: AtomicUsize::new(1),
            endpoint,
        }
    }

    /// The core's server, if it is in the service's list. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn dest<'g>(&'g self, _rcu: ReadSide<'g>) -> Option<&'g Dest> {
        let dest = self.dest.load(Ordering::Acquire);
        // SAFETY: It is null, or was in the list within our section: the lease that keeps it is dropped
        // a grace period after `dest` was set to null.
        (!dest.is_null()).then(|| unsafe { Dest::from_raw(dest) })
    }

    /// `dest`, or something else that is not null.
    fn guess(&self) -> *mut bindings::ip_vs_dest {
        let dest = self.dest.load(Ordering::Relaxed);
        if dest.is_null() {
            NonNull::dangling().as_ptr()
        } else {
            dest
        }
    }

    /// Whether the server is out of the service's list.
    pub(crate) fn is_removed(&self) -> bool {
        self.dest.load(Ordering::Relaxed).is_null()
    }

    /// Address and port.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Whether it is this object of the core.
    pub(crate) fn is_for(&self, dest: &Dest) -> bool {
        core::ptr::eq(self.dest.load(Ordering::Relaxed), dest.as_ptr())
    }

    /// Takes over what the administrator changed.
    pub(super) fn update(&self, dest: &Dest) {
        let good = dest.weight() > 0 && !dest.is_limited();
        let capacity = if good { dest.weight() } else { -1 };
        self.capacity.store(capacity, Ordering::Relaxed);
    }
}

/// A counted reference to a server.
///
/// # Invariants
///
/// `0` came from `KBox::into_raw()`, and one of its `references` is ours.
pub(super) struct ServerRef(NonNull<Server>);

// SAFETY: The count is atomic, and a `Server` belongs to no thread.
unsafe impl Send for ServerRef {}
// SAFETY: As above.
unsafe impl Sync for ServerRef {}

impl ServerRef {
    /// A server that is not in the list yet. Fails with `ENOMEM`.
    pub(super) fn new(endpoint: Endpoint) -> Result<Self> {
        let server = KBox::into_raw(KBox::new(Server::new(endpoint), GFP_KERNEL_ACCOUNT)?);
        // INVARIANT: `references` begins with ours.
        NonNull::new(server).map(Self).ok_or(ENOMEM)
    }

    /// Another reference to a server that was found through one.
    fn to(server: &Server) -> Self {
        // Whoever sees the server does so under a reference, so the count is not zero.
        server.references.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: Just counted.
        Self(NonNull::from(server))
    }

    /// Whether nobody else has a reference.
    pub(super) fn is_last(&self) -> bool {
        self.references.load(Ordering::Acquire) == 1
    }
}

impl Clone for ServerRef {
    fn clone(&self) -> Self {
        Self::to(self)
    }
}

impl core::ops::Deref for ServerRef {
    type Target = Server;

    #[inline(always)]
    fn deref(&self) -> &Server {
        // SAFETY: By the type invariants it is alive as long as `self`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for ServerRef {
    fn drop(&mut self) {
        // As in `Arc`: who frees it has seen all that others did with it.
        if self.references.fetch_sub(1, Ordering::Release) == 1 {
            core::sync::atomic::fence(Ordering::Acquire);
            // SAFETY: It came from `into_raw()`, and this was the last reference.
            drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
        }
    }
}

/// What a glance at a server says.
pub(crate) enum Glance<'g> {
    /// It is listed, not quiesced, has no upper threshold, and at most as many active connections as
    /// its weight.
    Good(&'g Dest),
    /// As above, but it has more active connections.
    Full(&'g Dest),
    /// More has to be looked at.
    Unclear,
}

/// A place that leads to a server, and can be turned to another one under its readers.
///
/// The array of the service's servers keeps every server for a grace period after the last cell was
/// turned away from it (see `Servers::forget()`); so readers need no reference.
///
/// # Invariants
///
/// `server` is a [`ServerRef`] taken apart.
pub(crate) struct Cell {
    server: AtomicPtr<Server>,
    /// What `server.dest` was when somebody looked last: a guess, and never null. A reader has it one
    /// load earlier, and goes on while the CPU finds out whether it is right.
    dest: AtomicPtr<bindings::ip_vs_dest>,
}

impl Cell {
    /// Leads to `server`.
    pub(crate) fn new(server: &Server) -> Self {
        let reference = ManuallyDrop::new(ServerRef::to(server));
        // INVARIANT: The cell gets the reference, which is not dropped here.
        Self {
            server: AtomicPtr::new(reference.0.as_ptr()),
            dest: AtomicPtr::new(server.guess()),
        }
    }

    /// The server. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn get<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Server {
        // SAFETY: By the type invariants there was a reference within our section, and the service's
        // `Servers` keep what it was to for a grace period after that.
        unsafe { &*self.server.load(Ordering::Acquire) }
    }

    /// A glance at the server. Any context; plain loads.
    #[inline(always)]
    pub(crate) fn glance<'g>(&'g self, rcu: ReadSide<'g>) -> Glance<'g> {
        let guess = self.dest.load(Ordering::Relaxed);
        let server = self.get(rcu);
        if server.dest.load(Ordering::Acquire) != guess {
            return Glance::Unclear;
        }
        // SAFETY: It is what `server` has, and not null: so as in `Server::dest()`.
        let dest = unsafe { Dest::from_raw(guess) };
        match server.capacity.load(Ordering::Relaxed) {
            capacity if dest.active() <= capacity => Glance::Good(dest),
            capacity if capacity > 0 => Glance::Full(dest),
            _ => Glance::Unclear,
        }
    }

    /// Turns to `server`.
    pub(crate) fn set(&self, server: &Server) {
        let new = ManuallyDrop::new(ServerRef::to(server));
        // INVARIANT: The cell gets the new reference; the old one is dropped here.
        let old = self.server.swap(new.0.as_ptr(), Ordering::AcqRel);
        self.dest.store(server.guess(), Ordering::Relaxed);
        drop(NonNull::new(old).map(ServerRef));
    }

    /// Makes the guess right again: the server has come back.
    pub(crate) fn refresh(&self, rcu: ReadSide<'_>) {
        let guess = self.get(rcu).guess();
        if self.dest.load(Ordering::Relaxed) != guess {
            self.dest.store(guess, Ordering::Relaxed);
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // INVARIANT: The cell's reference goes with it.
        drop(NonNull::new(*self.server.get_mut()).map(ServerRef));
    }
}

/// What keeps the core's server as long as it is in the list, and for a grace period after.
pub(super) struct Lease {
    rcu: rcu::Head,
    _dest: DestRef,
}

// SAFETY: `rcu` is private and queued only by `end()`, which takes the lease.
unsafe impl rcu::Deferred for Lease {
    const HEAD: usize = offset_of!(Self, rcu);
}

impl Lease {
    /// Lets `server` stand for `dest`, which is in the list. Process context. Fails with `ENOMEM`.
    pub(super) fn begin(server: &Server, dest: &Dest) -> Result<KBox<Self>> {
        let lease = Self {
            rcu: rcu::Head::new(),
            _dest: DestRef::from(dest),
        };
        let lease = KBox::new(lease, GFP_KERNEL_ACCOUNT)?;
        server.update(dest);
        // Release: who finds the core's server finds its capacity.
        server.dest.store(dest.as_ptr(), Ordering::Release);
        Ok(lease)
    }

    /// `server`, whose lease this is, has left the list.
    pub(super) fn end(lease: KBox<Self>, server: &Server) {
        server.dest.store(null_mut(), Ordering::Release);
        // SAFETY: It comes from `into_raw()`; with `dest` gone no new reader finds the core's server,
        // which is all that readers know of a lease.
        unsafe { rcu::drop_after_grace_period(KBox::into_raw(lease)) };
    }
}
