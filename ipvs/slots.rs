// SPDX-License-Identifier: GPL-2.0

//! The array of a service's servers that readers walk.

use super::{
    Dest,
    Server, //
};
use crate::{
    bindings,
    rcu::{
        self,
        ReadSide, //
    }, //
};
use core::{
    mem::offset_of,
    ptr::null_mut,
    sync::atomic::{
        AtomicI32,
        AtomicPtr,
        AtomicUsize,
        Ordering, //
    }, //
};
use kernel::prelude::*;

/// A server in the list, with the fields that a walk over all servers reads first. Filled before
/// it is published, emptied at most once.
///
/// # Invariants
///
/// `dest` is the core's server until that leaves the list, and [`Dest::nobody()`] before and after.
/// `server` is the `Server` of `dest`, and null before and after. Only the entries of the service's
/// current array are kept like that.
pub(crate) struct ArrayEntry {
    dest: AtomicPtr<bindings::ip_vs_dest>,
    /// With fewer active connections than this it is below half of its weight.
    half: AtomicI32,
    server: AtomicPtr<Server>,
}

impl ArrayEntry {
    fn empty() -> Self {
        // INVARIANT: Not filled.
        Self {
            dest: AtomicPtr::new(Dest::nobody().as_ptr()),
            half: AtomicI32::new(0),
            server: AtomicPtr::new(null_mut()),
        }
    }

    /// The core's server, or [`Dest::nobody()`] if it was removed meanwhile. Any context; a plain
    /// load.
    #[inline(always)]
    pub(crate) fn dest<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Dest {
        // SAFETY: By the type invariants the pointer is static, or that of a server which was
        // listed when it was loaded. The server's `DestHold` is dropped a grace period after the
        // entry was emptied in the array that was then current. A reader that still uses an older
        // array began its section before that array was replaced, so the grace period waits for it
        // as well.
        unsafe { Dest::from_raw(self.dest.load(Ordering::Acquire)) }
    }

    /// The same, and its `Server`, which is there if `dest()` returns a server of the core. Any
    /// context; plain loads.
    #[inline(always)]
    pub(crate) fn get<'g>(&'g self, rcu: ReadSide<'g>) -> (&'g Dest, Option<&'g Server>) {
        // `server` first: a reader that sees the null of `clear()` sees `nobody()` as well.
        let server = self.server.load(Ordering::Acquire);
        let dest = self.dest(rcu);
        // SAFETY: By the type invariants the pointer is null or that of a server which was listed
        // when it was loaded, or is in an older array, as in `dest()`. `Servers` has a reference on
        // it until a grace period after it was removed.
        (dest, unsafe { server.as_ref() })
    }

    /// Whether `dest`, which was read from this entry, has less than half of the active connections
    /// that its weight allows.
    #[inline(always)]
    pub(super) fn is_below_half(&self, dest: &Dest) -> bool {
        dest.active() < self.half.load(Ordering::Relaxed)
    }

    /// Fills the entry with `dest`, before the entry is published.
    pub(super) fn fill(&self, server: &Server, dest: &Dest) {
        // INVARIANT: `dest` is listed, and `server` is its `Server`.
        let server = core::ptr::from_ref(server).cast_mut();
        self.server.store(server, Ordering::Relaxed);
        self.update(dest);
        self.dest.store(dest.as_ptr(), Ordering::Relaxed);
    }

    /// Empties the entry: its server has left the list.
    pub(super) fn clear(&self) {
        self.half.store(0, Ordering::Relaxed);
        // INVARIANT: The server has left the list. Release: a reader that sees `nobody()` sees its
        // `half`, and one that sees null sees `nobody()`.
        self.dest.store(Dest::nobody().as_ptr(), Ordering::Release);
        self.server.store(null_mut(), Ordering::Release);
    }

    /// Reads the weight again, which the administrator may have changed.
    pub(super) fn update(&self, dest: &Dest) {
        let weight = dest.weight();
        // `active * 2 < weight`, without the product.
        self.half.store(weight / 2 + weight % 2, Ordering::Relaxed);
    }
}

/// An array that readers can find.
pub(super) struct Array {
    rcu: rcu::Head,
    /// The number of slots that were ever filled. The others are empty.
    used: AtomicUsize,
    slots: KVVec<ArrayEntry>,
}

// SAFETY: `rcu` is private, at this offset, and queued only by `Servers::rebuild()`, once for an
// array.
unsafe impl rcu::Deferred for Array {
    const HEAD: usize = offset_of!(Self, rcu);
}

impl Array {
    /// An array with empty slots. Process context. Fails with `ENOMEM`.
    pub(super) fn new(capacity: usize) -> Result<KBox<Self>> {
        let mut slots = KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..capacity {
            slots.push(ArrayEntry::empty(), GFP_KERNEL_ACCOUNT)?;
        }
        let array = Self {
            rcu: rcu::Head::new(),
            used: AtomicUsize::new(0),
            slots,
        };
        Ok(KBox::new(array, GFP_KERNEL_ACCOUNT)?)
    }

    /// The slots that were filled, the oldest first.
    #[inline(always)]
    pub(super) fn used(&self) -> &[ArrayEntry] {
        // Acquire pairs with the release of `append()`: the slots are filled.
        let used = self.used.load(Ordering::Acquire);
        self.slots.get(..used).unwrap_or(&[])
    }

    /// The slot with this number, if there is one.
    pub(super) fn slot(&self, number: usize) -> Option<&ArrayEntry> {
        self.slots.get(number)
    }

    /// Says that the first `number` slots were filled. Before readers can find the array.
    pub(super) fn set_used(&self, number: usize) {
        self.used.store(number, Ordering::Relaxed);
    }

    /// Appends a server, if there is room. Process context, under the service mutex.
    pub(super) fn append(&self, server: &Server, dest: &Dest) -> bool {
        let number = self.used.load(Ordering::Relaxed);
        let Some(slot) = self.slots.get(number) else {
            return false;
        };
        slot.fill(server, dest);
        server.set_slot(number);
        self.used.store(number.wrapping_add(1), Ordering::Release);
        true
    }
}
