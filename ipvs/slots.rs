// SPDX-License-Identifier: GPL-2.0

//! The array of a service's servers that readers walk.
//!
//! The core adds a server at the head of its list, so the array is filled from its end to its
//! front, and readers walk it in the order of the list: from the newest server to the last entry of
//! the array, which is never filled. The fields that a walk tests also tell it that this is the
//! end.

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
/// `dest` is the core's server until that leaves the list, and [`Dest::placeholder()`] before and
/// after. `server` is the `Server` of `dest`, and null before and after. Only the entries of the
/// service's current array are kept like that. An entry that was never filled has a `half` of 1 and
/// a `weight` of -1; one that was emptied has 0 in both. In no other is `weight` negative.
pub(super) struct ArrayEntry {
    dest: AtomicPtr<bindings::ip_vs_dest>,
    /// With fewer connections than this it is below half of its weight.
    half: AtomicI32,
    /// Its weight, or 0 if it has an upper threshold: then its own fields have to be read. -1: the
    /// entry was never filled.
    weight: AtomicI32,
    server: AtomicPtr<Server>,
}

impl ArrayEntry {
    fn empty() -> Self {
        // INVARIANT: Not filled.
        Self {
            dest: AtomicPtr::new(Dest::placeholder().as_ptr()),
            half: AtomicI32::new(1),
            weight: AtomicI32::new(-1),
            server: AtomicPtr::new(null_mut()),
        }
    }

    /// The core's server, or [`Dest::placeholder()`] if it was removed meanwhile. Any context; a
    /// plain load.
    #[inline(always)]
    pub(super) fn dest<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Dest {
        // SAFETY: By the type invariants the pointer is static, or that of a server which was
        // listed when it was loaded. The server's `DestHold` is dropped a grace period after the
        // entry was emptied in the array that was then current. A reader that still uses an older
        // array began its section before that array was replaced, so the grace period waits for it
        // as well.
        unsafe { Dest::from_raw(self.dest.load(Ordering::Acquire)) }
    }

    /// Its `Server`; none if it was removed meanwhile. Any context; a plain load.
    #[inline(always)]
    pub(super) fn server<'g>(&'g self, _rcu: ReadSide<'g>) -> Option<&'g Server> {
        // SAFETY: By the type invariants the pointer is null or that of a server which was listed
        // when it was loaded, or is in an older array, as in `dest()`. `Servers` has a reference on
        // it until a grace period after it was removed.
        unsafe { self.server.load(Ordering::Acquire).as_ref() }
    }

    /// Its weight, or 0 if its own fields have to be read, or -1 if it was never filled. Any
    /// context; a plain load.
    #[inline(always)]
    fn weight(&self) -> i32 {
        // SAFETY: `weight` can be read. The read is volatile, as C's `READ_ONCE()`, so that it can
        // be an operand of the instruction that uses it.
        unsafe { self.weight.as_ptr().read_volatile() }
    }

    /// Whether `dest`, which was read from this slot, has less than half of the connections that
    /// its weight allows: of the active ones, or with `all` of all.
    #[inline(always)]
    fn is_below_half(&self, dest: &Dest, all: bool) -> bool {
        // SAFETY: As in `weight()`.
        dest.connections(all) < i64::from(unsafe { self.half.as_ptr().read_volatile() })
    }

    /// Fills the entry with `dest`, before the entry is published. Process context, under the
    /// service mutex.
    pub(super) fn fill(&self, server: &Server, dest: &Dest) {
        // INVARIANT: `dest` is listed, and `server` is its `Server`.
        let server = core::ptr::from_ref(server).cast_mut();
        self.server.store(server, Ordering::Relaxed);
        self.update(dest);
        self.dest.store(dest.as_ptr(), Ordering::Relaxed);
    }

    /// Empties the entry, as its server has left the list. Process context, under the service
    /// mutex.
    pub(super) fn clear(&self) {
        self.half.store(0, Ordering::Relaxed);
        self.weight.store(0, Ordering::Relaxed);
        // INVARIANT: The server has left the list. Release: a reader that sees `placeholder()` sees
        // its `half` and `weight`.
        self.dest
            .store(Dest::placeholder().as_ptr(), Ordering::Release);
        self.server.store(null_mut(), Ordering::Relaxed);
    }

    /// Updates the copies of the weight, after the administrator added or edited `dest`. Process
    /// context, under the service mutex.
    pub(super) fn update(&self, dest: &Dest) {
        let weight = dest.weight();
        // `connections * 2 < weight`, without the product.
        self.half.store(weight / 2 + weight % 2, Ordering::Relaxed);
        let weight = if dest.is_limited() { 0 } else { weight };
        self.weight.store(weight.max(0), Ordering::Relaxed);
    }
}

/// An array that readers can find.
///
/// # Invariants
///
/// The last one of `slots` is never filled. The first `free` ones were not filled yet; all between
/// were.
pub(super) struct Array {
    rcu: rcu::Head,
    free: AtomicUsize,
    slots: KVVec<ArrayEntry>,
}

// SAFETY: `rcu` is private, at this offset, and queued only by `Servers::rebuild()`, once for an
// array.
unsafe impl rcu::Deferred for Array {
    const HEAD: usize = offset_of!(Self, rcu);
}

impl Array {
    /// An array with empty slots, `capacity` of which can be filled. Process context. Fails with
    /// `ENOMEM`.
    pub(super) fn new(capacity: usize) -> Result<KBox<Self>> {
        let mut slots = KVVec::with_capacity(capacity.saturating_add(1), GFP_KERNEL_ACCOUNT)?;
        for _ in 0..=capacity {
            slots.push(ArrayEntry::empty(), GFP_KERNEL_ACCOUNT)?;
        }
        // INVARIANT: None is filled.
        let array = Self {
            rcu: rcu::Head::new(),
            free: AtomicUsize::new(capacity),
            slots,
        };
        Ok(KBox::new(array, GFP_KERNEL_ACCOUNT)?)
    }

    /// The slots that were filled, the newest first. Any context.
    pub(super) fn used(&self) -> &[ArrayEntry] {
        // Acquire pairs with the release of `prepend()`: the slots are filled.
        let free = self.free.load(Ordering::Acquire);
        let end = self.slots.len().saturating_sub(1);
        self.slots.get(free..end).unwrap_or(&[])
    }

    /// The slot with this number, if there is one. Process context, under the service mutex.
    pub(super) fn slot(&self, number: usize) -> Option<&ArrayEntry> {
        self.slots.get(number)
    }

    /// The number of slots that were not filled yet. Process context, under the service mutex.
    pub(super) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }

    /// Counts the last `number` free slots as filled; the caller must fill them before readers can
    /// find the array. Process context, under the service mutex. Fails with `ENOMEM` if there are
    /// fewer.
    pub(super) fn reserve(&self, number: usize) -> Result {
        let free = self.free().checked_sub(number).ok_or(ENOMEM)?;
        self.free.store(free, Ordering::Relaxed);
        Ok(())
    }

    /// Fills the last free slot; returns whether there was one. Process context, under the service
    /// mutex. Readers find it once the new [`first()`](Self::first) is published.
    pub(super) fn prepend(&self, server: &Server, dest: &Dest) -> bool {
        let number = self.free().wrapping_sub(1);
        let Some(slot) = self.slots.get(number) else {
            return false;
        };
        slot.fill(server, dest);
        // INVARIANT: Filled above. Release: a reader that sees `number` sees the slot filled.
        self.free.store(number, Ordering::Release);
        true
    }

    /// The slot from which readers walk. Process context, under the service mutex.
    pub(super) fn first(&self) -> *mut ArrayEntry {
        self.slots.as_ptr().wrapping_add(self.free()).cast_mut()
    }
}

/// The servers in the order of the core's list, as a reader sees them.
///
/// # Invariants
///
/// `first` was [`Array::first()`] of an array that is not freed in the read-side section `'g`.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'g> {
    first: *const ArrayEntry,
    rcu: ReadSide<'g>,
}

impl<'g> Slots<'g> {
    /// The servers from slot `first` on.
    ///
    /// # Safety
    ///
    /// As the type invariants demand.
    #[inline(always)]
    pub(super) unsafe fn from_raw(first: *const ArrayEntry, rcu: ReadSide<'g>) -> Self {
        // INVARIANT: As the caller promises.
        Self { first, rcu }
    }

    /// The next slot, and the core's server, or [`Dest::placeholder()`].
    ///
    /// # Safety
    ///
    /// The last slot, which was never filled, must not have been returned yet.
    #[inline(always)]
    unsafe fn next(&mut self) -> (&'g ArrayEntry, &'g Dest) {
        // INVARIANT: As for `first`, but where the last slot is passed.
        self.first = self.first.wrapping_add(1);
        // SAFETY: By the type invariants the array is alive, with slots from `first` on up to the
        // last one, which the caller promises was not passed.
        let slot = unsafe { &*self.first.wrapping_sub(1) };
        (slot, slot.dest(self.rcu))
    }

    /// Whether a server, not at its upper threshold, has less than half of the connections that its
    /// weight allows: of the active ones, or with `all` of all. Any context; plain loads.
    #[inline(always)]
    pub(crate) fn any_half_idle(mut self, all: bool) -> bool {
        loop {
            // SAFETY: The last slot is below half, and the walk ends there.
            let (slot, dest) = unsafe { self.next() };
            if slot.is_below_half(dest, all) {
                // Not a removed one: those have a `half` of 0.
                if dest.is_placeholder() {
                    return false;
                }
                if !dest.is_overload() {
                    return true;
                }
            }
        }
    }

    /// The servers that accept connections: with a positive weight, and not at their upper
    /// thresholds. Any context; plain loads.
    #[inline(always)]
    pub(crate) fn accepting(self) -> Accepting<'g> {
        Accepting(self)
    }
}

/// See [`Slots::accepting()`].
#[derive(Clone, Copy)]
pub(crate) struct Accepting<'g>(Slots<'g>);

impl<'g> Iterator for Accepting<'g> {
    type Item = Candidate<'g>;

    #[inline(always)]
    fn next(&mut self) -> Option<Candidate<'g>> {
        let mut after = self.0;
        // SAFETY: The walk never passes the last slot, which has a negative weight.
        let (slot, dest) = unsafe { after.next() };
        let weight = slot.weight();
        if weight > 0 {
            self.0 = after;
            // INVARIANT: Just tested.
            return Some(Candidate { slot, dest, weight });
        }
        if weight < 0 {
            return None;
        }
        let found = self.next_open()?;
        // SAFETY: By the type invariants the weight is positive, which spares the caller a test.
        unsafe { core::hint::assert_unchecked(found.weight > 0) };
        // INVARIANT: `found.slot` is a later slot of the array, and not the last one.
        let found_at = core::ptr::from_ref(found.slot).addr();
        self.0.first = self.0.first.with_addr(found_at).wrapping_add(1);
        Some(found)
    }
}

impl<'g> Accepting<'g> {
    /// As `next()`, where the own fields of servers have to be read; but `self` stays.
    #[cold]
    #[inline(never)]
    fn next_open(mut self) -> Option<Candidate<'g>> {
        loop {
            // SAFETY: The last slot has a negative weight, and the walk ends there.
            let (slot, dest) = unsafe { self.0.next() };
            let weight = match slot.weight() {
                ..0 => return None,
                0 if dest.is_overload() => continue,
                0 => dest.weight(),
                weight => weight,
            };
            if weight > 0 {
                // INVARIANT: Just tested.
                return Some(Candidate { slot, dest, weight });
            }
        }
    }
}

/// A server that accepts connections.
///
/// # Invariants
///
/// `weight` is positive.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'g> {
    slot: &'g ArrayEntry,
    /// The core's server.
    pub(crate) dest: &'g Dest,
    /// Its weight, which is positive.
    pub(crate) weight: i32,
}

impl<'g> Candidate<'g> {
    /// Its `Server`; none if it was removed meanwhile. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn server(self, rcu: ReadSide<'g>) -> Option<&'g Server> {
        self.slot.server(rcu)
    }
}
