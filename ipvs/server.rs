// SPDX-License-Identifier: GPL-2.0

//! A real server as entries refer to it: by address and port, so that entries of a server that was
//! removed are valid again when the same server is added again.
//!
//! The objects: `==>` is a counted reference, `-->` a pointer that RCU keeps valid.
//!
//! ```text
//!   DestSlot (in an entry of the table) ==> Server <== Record <== Servers
//!   ArrayEntry <-- Array <-- Servers        DestHold <== Record, while the server is listed
//!
//!   ArrayEntry --> Server, --> ip_vs_dest   both while the server is listed
//!   Server     --> ip_vs_dest               while the server is listed
//!   DestHold   ==> ip_vs_dest               keeps it for a grace period longer
//! ```
//!
//! | event | effect |
//! |---|---|
//! | the core lists it | its record, new or old, gets a `DestHold`, and the array an entry |
//! | the core unlinks it | array entry empty, `dest` null; a grace period later, no `DestHold` |
//! | the core lists it again | as above; each `DestSlot` with this server is valid again |
//! | it is removed, and no `DestSlot` leads to it | `Servers::reap()` frees it |

use super::{
    name::Endpoint,
    Dest,
    DestRef, //
};
use crate::{
    bindings,
    rcu::{
        self,
        ReadSide, //
    }, //
};
use core::{
    mem::{
        offset_of,
        ManuallyDrop, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
    sync::atomic::{
        AtomicI32,
        AtomicPtr,
        AtomicU64,
        AtomicUsize,
        Ordering, //
    }, //
};
use kernel::prelude::*;

/// A real server that is or was in the service's list. `schedule()` reads its first cache line on
/// every call; only the control plane writes to it. Methods may be called in any context, except
/// where they say otherwise.
#[repr(C, align(64))]
pub(crate) struct Server {
    /// The core's server, or null while it is removed.
    dest: AtomicPtr<bindings::ip_vs_dest>,
    /// The weight, if a server with at most that many connections may be kept without reading other
    /// fields; -1 if others have to be read.
    capacity: AtomicI32,
    endpoint: Endpoint,
    tag: u64,
    written: Written,
}

/// The part of a [`Server`] that changes when entries come and go.
#[repr(align(64))]
struct Written {
    /// The number of references in the lower half; in the upper half, the number that were ever
    /// taken, modulo 2^32.
    references: AtomicU64,
    /// The number of its entry in the current array, or [`Server::NO_SLOT`]. Only the control plane
    /// uses it.
    slot: AtomicUsize,
}

const _: () = {
    let line = 64;
    assert!(
        offset_of!(Server, dest) == 0
            && offset_of!(Server, capacity) < line
            && offset_of!(Server, endpoint) + size_of::<Endpoint>() <= line
            && offset_of!(Server, tag) < line
            && offset_of!(Server, written) == line
            && size_of::<Server>() == 2 * line,
        "to take a reference must not write to the line that every call reads"
    );
};

impl Server {
    /// The number of a server that is in no array.
    pub(super) const NO_SLOT: usize = usize::MAX;

    /// A server that is not in the list, with one reference.
    fn new(endpoint: Endpoint, tag: u64) -> Self {
        Self {
            dest: AtomicPtr::new(null_mut()),
            capacity: AtomicI32::new(-1),
            endpoint,
            tag,
            written: Written {
                references: AtomicU64::new(1),
                slot: AtomicUsize::new(Self::NO_SLOT),
            },
        }
    }

    /// The core's server, if it is in the service's list. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn dest<'g>(&'g self, _rcu: ReadSide<'g>) -> Option<&'g Dest> {
        let dest = self.dest.load(Ordering::Acquire);
        // SAFETY: `dest` is not null, so it was listed within this read-side section: the
        // `DestHold` that keeps it is dropped a grace period after `self.dest` was set to null.
        (!dest.is_null()).then(|| unsafe { Dest::from_raw(dest) })
    }

    /// `dest`, or another pointer that is not null.
    fn dest_hint(&self) -> *mut bindings::ip_vs_dest {
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

    /// The number that [`Scheduler::server_tag()`](super::Scheduler::server_tag) returned for it.
    #[inline(always)]
    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    /// Whether this is the `Server` of `dest`.
    pub(super) fn is_for(&self, dest: &Dest) -> bool {
        core::ptr::eq(self.dest.load(Ordering::Relaxed), dest.as_ptr())
    }

    /// Updates the capacity, after the administrator added or edited `dest`. Process context, under
    /// the service mutex.
    pub(super) fn update(&self, dest: &Dest) {
        let good = dest.weight() > 0 && !dest.is_limited();
        let capacity = if good { dest.weight() } else { -1 };
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// The number of its slot in the current array. Process context, under the service mutex.
    pub(super) fn slot(&self) -> usize {
        self.written.slot.load(Ordering::Relaxed)
    }

    /// Sets what [`slot()`](Self::slot) returns. Process context, under the service mutex.
    pub(super) fn set_slot(&self, slot: usize) {
        self.written.slot.store(slot, Ordering::Relaxed);
    }
}

/// A result of [`ServerRef::unshared()`]. Two equal values mean that no reference was taken between
/// the calls that returned them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Unshared(u64);

/// A counted reference to a server.
///
/// # Invariants
///
/// `0` came from `KBox::into_raw()`, and one of its `references` is ours.
pub(super) struct ServerRef(NonNull<Server>);

// SAFETY: The count is atomic, and a `Server` belongs to no thread.
unsafe impl Send for ServerRef {}
// SAFETY: The count is atomic, and all other fields of a `Server` are atomic or never change.
unsafe impl Sync for ServerRef {}

impl ServerRef {
    /// The number that a new reference adds to `references`: 1 to either half.
    const TAKEN: u64 = (1 << u32::BITS) + 1;

    /// A server that is not in the list yet. Process context. Fails with `ENOMEM`.
    pub(super) fn new(endpoint: Endpoint, tag: u64) -> Result<Self> {
        let server = KBox::into_raw(KBox::new(Server::new(endpoint, tag), GFP_KERNEL_ACCOUNT)?);
        // INVARIANT: `references` begins with this one.
        NonNull::new(server).map(Self).ok_or(ENOMEM)
    }

    /// Another reference to a server that was found through one.
    fn to(server: &Server) -> Self {
        // `server` is reachable only while a reference to it is held, so the count is non-zero.
        let references = &server.written.references;
        references.fetch_add(Self::TAKEN, Ordering::Relaxed);
        // INVARIANT: Counted above.
        Self(NonNull::from(server))
    }

    /// If this is the only reference: a value that is never returned again once another one is
    /// taken. Any context.
    pub(super) fn unshared(&self) -> Option<Unshared> {
        // Acquire pairs with the release of `drop()`: the `DestSlot` that dropped the last other
        // reference was changed before the grace period for which the caller waits next, so no
        // reader that begins during it finds the server through that `DestSlot`.
        let references = self.written.references.load(Ordering::Acquire);
        (references as u32 == 1).then_some(Unshared(references))
    }
}

impl core::ops::Deref for ServerRef {
    type Target = Server;

    #[inline(always)]
    fn deref(&self) -> &Server {
        // SAFETY: By the type invariants the server is alive as long as `self`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for ServerRef {
    fn drop(&mut self) {
        // Release and acquire as in `Arc`: all uses of the server come before it is freed.
        let references = self.written.references.fetch_sub(1, Ordering::Release);
        if references as u32 == 1 {
            core::sync::atomic::fence(Ordering::Acquire);
            // SAFETY: By the type invariants the pointer came from `KBox::into_raw()`, and this was
            // the last reference.
            drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
        }
    }
}

/// The result of a fast check of a server.
pub(crate) enum FastCheck<'g> {
    /// It is listed, not quiesced, below its upper threshold, and has at most as many connections
    /// as its weight.
    Good(&'g Dest),
    /// As above, but it has more connections.
    Full(&'g Dest),
    /// The fast check does not decide.
    Unclear,
}

/// A reference to a server that can be replaced while readers use it.
///
/// `Servers` keeps every server for a grace period after the last `DestSlot` with it was changed
/// (see `Servers::reap()`), so readers need no reference.
///
/// The two pointers are written one after the other, so a reader may see a value of the one with an
/// older or newer value of the other. The hint is used for one comparison only, with the present
/// value of `server.dest`. If they are equal, the value is one that an acquire load of
/// `server.dest` returned within the reader's section, whenever the hint was written; the acquire
/// also orders the reads of the core's server after it. If they differ, the reader takes the slow
/// path. So accesses to the hint need no order.
///
/// # Invariants
///
/// `server` is a [`ServerRef`] taken apart.
pub(crate) struct DestSlot {
    server: AtomicPtr<Server>,
    /// An earlier value of `server.dest`: a hint, and never null. A reader has it one load earlier
    /// than `server.dest`, so the CPU can go on speculatively while it loads that.
    dest: AtomicPtr<bindings::ip_vs_dest>,
}

impl DestSlot {
    /// Makes a `DestSlot` with `server`. Any context.
    pub(crate) fn new(server: &Server) -> Self {
        let reference = ManuallyDrop::new(ServerRef::to(server));
        // INVARIANT: The `DestSlot` gets the reference, which is not dropped here.
        Self {
            server: AtomicPtr::new(reference.0.as_ptr()),
            dest: AtomicPtr::new(server.dest_hint()),
        }
    }

    /// The server. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn get<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Server {
        // SAFETY: By the type invariants `self` held a reference to the pointee at some point in
        // this read-side section, and `Servers` keeps a server for a grace period after the last
        // such reference is dropped. Acquire pairs with the release of `set()`: the server is
        // initialised.
        unsafe { &*self.server.load(Ordering::Acquire) }
    }

    /// A fast check of the server, by its active connections, or with `all` by all of them. Any
    /// context; plain loads.
    #[inline(always)]
    pub(crate) fn check_fast<'g>(&'g self, all: bool, rcu: ReadSide<'g>) -> FastCheck<'g> {
        let hint = self.dest.load(Ordering::Relaxed);
        let server = self.get(rcu);
        if server.dest.load(Ordering::Acquire) != hint {
            return FastCheck::Unclear;
        }
        // SAFETY: `hint` equals the value just loaded from `server.dest` and is never null, so it
        // is valid for the same reason as in `Server::dest()`.
        let dest = unsafe { Dest::from_raw(hint) };
        let (connections, capacity) = (
            dest.connections(all),
            i64::from(server.capacity.load(Ordering::Relaxed)),
        );
        if connections <= capacity {
            return FastCheck::Good(dest);
        }
        if capacity < 0 {
            // Quiesced, or it has an upper threshold.
            let weight = dest.weight();
            if weight <= 0 || dest.is_overload() {
                return FastCheck::Unclear;
            }
            if connections <= i64::from(weight) {
                return FastCheck::Good(dest);
            }
        }
        FastCheck::Full(dest)
    }

    /// Replaces the server. Under the lock of the entry's chain: `set()` runs once at a time.
    pub(crate) fn set(&self, server: &Server) {
        let new = ManuallyDrop::new(ServerRef::to(server));
        // INVARIANT: The `DestSlot` gets the new reference; the old one is dropped here.
        let old = self.server.swap(new.0.as_ptr(), Ordering::AcqRel);
        self.dest.store(server.dest_hint(), Ordering::Relaxed);
        drop(NonNull::new(old).map(ServerRef));
    }

    /// Updates the hint, after the server was added again. Any context; plain loads, and a plain
    /// store if the hint is another one.
    pub(crate) fn refresh(&self, rcu: ReadSide<'_>) {
        let hint = self.get(rcu).dest_hint();
        if self.dest.load(Ordering::Relaxed) != hint {
            self.dest.store(hint, Ordering::Relaxed);
        }
    }
}

impl Drop for DestSlot {
    fn drop(&mut self) {
        // INVARIANT: The reference is dropped with the `DestSlot`.
        drop(NonNull::new(*self.server.get_mut()).map(ServerRef));
    }
}

/// A reference to the core's server, held while that is in the list, and for a grace period after.
pub(super) struct DestHold {
    rcu: rcu::Head,
    _dest: DestRef,
}

// SAFETY: `rcu` is private, at this offset, and queued only by `end()`, which consumes the object.
unsafe impl rcu::Deferred for DestHold {
    const HEAD: usize = offset_of!(Self, rcu);
}

impl DestHold {
    /// Makes `server` refer to `dest`, which is in the list. Process context. Fails with `ENOMEM`.
    pub(super) fn begin(server: &Server, dest: &Dest) -> Result<KBox<Self>> {
        let hold = Self {
            rcu: rcu::Head::new(),
            _dest: DestRef::from(dest),
        };
        let hold = KBox::new(hold, GFP_KERNEL_ACCOUNT)?;
        server.update(dest);
        // Release: a reader that sees `dest` sees the capacity stored above.
        server.dest.store(dest.as_ptr(), Ordering::Release);
        Ok(hold)
    }

    /// Ends the hold of `server`, which has left the list, and whose entry in the array is empty.
    /// Process context, under the service mutex.
    pub(super) fn end(hold: KBox<Self>, server: &Server) {
        server.dest.store(null_mut(), Ordering::Release);
        // SAFETY: The pointer comes from `KBox::into_raw()`, and nothing else points to the
        // `DestHold`. Readers use the core's server on which it holds a reference: `server.dest` is
        // null and the array entry empty, so no new reader finds that server, and earlier ones are
        // in read-side sections.
        unsafe { rcu::drop_after_grace_period(KBox::into_raw(hold)) };
    }
}
