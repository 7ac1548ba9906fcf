// SPDX-License-Identifier: GPL-2.0

//! The real servers of a service as an array: to walk an array is several times faster than to
//! follow the core's list from one cache miss to the next.
//!
//! A new server is put before the others, as in the core's list; a removed one leaves an empty slot
//! behind. An array that is full, or more than half empty, is replaced by one that is made from the
//! core's list. So a change costs a search in a tree, and the copies cost no more than a constant
//! for each change.

use super::{
    name::Endpoint,
    server::{
        DestHold,
        ServerRef,
        Unshared, //
    },
    slots::{
        Array,
        ArrayEntry,
        Slots, //
    },
    Dest,
    Server,
    Service, //
};
use crate::rcu::{
    self,
    ReadSide, //
};
use core::{
    ptr::null_mut,
    sync::atomic::{
        AtomicBool,
        AtomicPtr,
        AtomicUsize,
        Ordering, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::Mutex, //
};

/// The number of removed servers from which on [`Servers::with()`] makes no other one.
const MAX_REMOVED: usize = 4096;

/// The record of a server that is or was in the list.
struct Record {
    server: ServerRef,
    /// Present while the server is in the core's list.
    hold: Option<KBox<DestHold>>,
    /// Present if the server was removed and had no other reference at the last `mark()`.
    marked: Option<Unshared>,
}

type Records = RBTree<Endpoint, Record>;

/// The servers of one service.
///
/// # Invariants
///
/// `array` is null or came from `KBox::into_raw()`; an array is freed a grace period after it was
/// replaced. `first` is null, or was [`Array::first()`] of `array`. `records` has a reference on
/// every server from before it is in the array until it was removed, no other reference is left,
/// and a grace period has passed in which none was taken.
#[pin_data(PinnedDrop)]
pub(crate) struct Servers {
    array: AtomicPtr<Array>,
    /// The first slot of `array`, or null if that lacks a server of the list.
    first: AtomicPtr<ArrayEntry>,
    /// Memory was short when a server was added: it is missing in the array. Only the control plane
    /// uses this.
    incomplete: AtomicBool,
    /// The number of records without a `DestHold`.
    removed: AtomicUsize,
    /// Not held while waiting for a grace period, because the control plane takes it.
    #[pin]
    records: Mutex<Records>,
    /// The tag of a server, for when its record is made.
    tag: fn(Endpoint) -> u64,
}

impl Servers {
    /// No servers; `tag` computes the tag of each server that is added. Process context.
    pub(super) fn new(tag: fn(Endpoint) -> u64) -> impl PinInit<Self> {
        pin_init!(Self {
            array: AtomicPtr::new(null_mut()),
            first: AtomicPtr::new(null_mut()),
            incomplete: AtomicBool::new(false),
            removed: AtomicUsize::new(0),
            records <- new_mutex!(RBTree::new(), "lblc_rs_servers"),
            tag,
        })
    }

    /// The servers in the order of the core's list. None if memory was too short for one of them:
    /// then the list itself has to be walked. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn listed<'g>(&'g self, rcu: ReadSide<'g>) -> Option<Slots<'g>> {
        // Acquire pairs with the release in `publish()`: the slots are filled.
        let first = self.first.load(Ordering::Acquire);
        // SAFETY: By the type invariants `first` belongs to an array that was current in this
        // read-side section, and is not freed before it ends.
        (!first.is_null()).then(|| unsafe { Slots::from_raw(first, rcu) })
    }

    /// The `Server` of `dest`, if the array has it. Any context; a walk.
    #[cold]
    pub(crate) fn find<'g>(&'g self, dest: &Dest, rcu: ReadSide<'g>) -> Option<&'g Server> {
        let mut slots = self.slots(rcu).iter();
        let slot = slots.find(|slot| core::ptr::eq(slot.dest(rcu), dest))?;
        slot.server(rcu)
    }

    fn slots<'g>(&'g self, rcu: ReadSide<'g>) -> &'g [ArrayEntry] {
        self.array(rcu).map_or(&[], Array::used)
    }

    fn array<'g>(&'g self, _rcu: ReadSide<'g>) -> Option<&'g Array> {
        // SAFETY: By the type invariants the pointer is null or valid, and the array is not freed
        // before this read-side section ends.
        unsafe { self.array.load(Ordering::Acquire).as_ref() }
    }

    /// Adds all servers of a service that is being bound; there is none before. Process context,
    /// under the service mutex. Fails with `ENOMEM`; some may have been added then.
    pub(super) fn add_all(&self, service: &Service) -> Result {
        if service.num_dests() != 0 {
            self.rebuild(&mut self.records.lock(), service)?;
        }
        // The flag may have been set before `release()`.
        self.incomplete.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The service is unbound: has the effect of a removal of all servers. From now on, late calls
    /// of `schedule()` walk the list of their service. Process context, under the service mutex.
    pub(super) fn release(&self) {
        // Before the slots are emptied: a reader that finds one empty sees null. Relaxed: null
        // publishes nothing, and `ArrayEntry::clear()` stores with release.
        self.first.store(null_mut(), Ordering::Relaxed);
        for record in self.records.lock().values_mut() {
            self.unlink(record);
        }
    }

    /// Releases the core's server of `record`, and empties its slot. Process context, under the
    /// service mutex.
    fn unlink(&self, record: &mut Record) {
        // SAFETY: The service mutex keeps the array as it is.
        let array = self.array(unsafe { ReadSide::assume() });
        if let Some(slot) = array.and_then(|array| array.slot(record.server.slot())) {
            slot.clear();
        }
        record.server.set_slot(Server::NO_SLOT);
        if let Some(hold) = record.hold.take() {
            DestHold::end(hold, &record.server);
            self.removed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `dest` was put into the list, or changed. Process context, under the service mutex. If
    /// memory is short, `listed()` returns `None` until a server is added, edited or removed with
    /// success.
    pub(super) fn update(&self, service: &Service, dest: &Dest) {
        let done = self.try_update(&mut self.records.lock(), service, dest);
        self.set_incomplete(done.is_err(), service);
    }

    fn try_update(&self, records: &mut Records, service: &Service, dest: &Dest) -> Result {
        // SAFETY: The service mutex keeps the array as it is.
        let array = self.array(unsafe { ReadSide::assume() });
        let (server, is_new) = self.get_or_insert(records, dest)?;
        server.update(dest);
        if self.incomplete.load(Ordering::Relaxed) {
            return self.rebuild(records, service);
        }
        let slot = array.and_then(|array| array.slot(server.slot()));
        match (is_new, slot, array) {
            (false, Some(slot), _) => slot.update(dest),
            (true, _, Some(array)) if array.prepend(server, dest) => {
                server.set_slot(array.free());
                self.publish(array);
            }
            _ => return self.rebuild(records, service),
        }
        Ok(())
    }

    /// `dest` was taken out of the list. Process context, under the service mutex.
    pub(super) fn remove(&self, service: &Service, dest: &Dest) {
        let mut records = self.records.lock();
        let known = records.get_mut(&dest.endpoint());
        if let Some(record) = known.filter(|record| record.server.is_for(dest)) {
            self.unlink(record);
        }
        // SAFETY: The service mutex keeps the array as it is.
        let slots = self.slots(unsafe { ReadSide::assume() });
        let sparse = slots.len() / 2 > service.num_dests();
        let incomplete = self.incomplete.load(Ordering::Relaxed);
        if sparse || incomplete {
            let failed = self.rebuild(&mut records, service).is_err();
            drop(records);
            // An array that is only sparse is still correct.
            self.set_incomplete(failed && incomplete, service);
        }
    }

    /// Publishes the present contents of `array`, the current one, to readers. Process context,
    /// under the service mutex.
    fn publish(&self, array: &Array) {
        // INVARIANT: The pointer is the first slot of the current array. Release: a reader that
        // sees the pointer sees the slots filled.
        self.first.store(array.first(), Ordering::Release);
    }

    /// Sets whether the array lacks a server of the list; if so, readers walk the list, and a line
    /// is logged. Process context, under the service mutex.
    fn set_incomplete(&self, incomplete: bool, service: &Service) {
        if incomplete {
            // Relaxed: null publishes nothing.
            self.first.store(null_mut(), Ordering::Relaxed);
        }
        let before = self.incomplete.swap(incomplete, Ordering::Relaxed);
        if incomplete && !before {
            let section = kernel::sync::rcu::read_lock();
            let rcu = ReadSide::of(&section);
            service.error(c"out of memory: walks the list of its servers", rcu);
        }
    }

    /// The `Server` of `dest`, by address and port: that of an earlier server, or a new one. Also
    /// returns whether it was out of the list until now. Process context. Fails with `ENOMEM`.
    fn get_or_insert<'a>(
        &self,
        records: &'a mut Records,
        dest: &Dest,
    ) -> Result<(&'a Server, bool)> {
        let endpoint = dest.endpoint();
        if records.get(&endpoint).is_none() {
            self.insert_removed(records, endpoint)?;
        }
        let record = records.get_mut(&endpoint).ok_or(ENOMEM)?;
        let is_new = record.hold.is_none();
        if is_new {
            record.hold = Some(DestHold::begin(&record.server, dest)?);
            // Readers find it again from here on.
            record.marked = None;
            self.removed.fetch_sub(1, Ordering::Relaxed);
        }
        Ok((&record.server, is_new))
    }

    /// Makes a record of a server that is not in the list. Process context. Fails with `ENOMEM`.
    fn insert_removed(&self, records: &mut Records, endpoint: Endpoint) -> Result {
        let record = Record {
            server: ServerRef::new(endpoint, (self.tag)(endpoint))?,
            hold: None,
            marked: None,
        };
        records.try_create_and_insert(endpoint, record, GFP_KERNEL_ACCOUNT)?;
        self.removed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Calls `f` with the server that has this address and port and is in the list, or was; or with
    /// a new one, which counts as removed. Process context. Fails with `ENOMEM`, or with `ENOSPC`
    /// if there are [`MAX_REMOVED`] removed servers.
    pub(crate) fn with<R>(&self, endpoint: Endpoint, f: impl FnOnce(&Server) -> R) -> Result<R> {
        let mut records = self.records.lock();
        if records.get(&endpoint).is_none() {
            if self.removed.load(Ordering::Relaxed) >= MAX_REMOVED {
                return Err(ENOSPC);
            }
            self.insert_removed(&mut records, endpoint)?;
        }
        // If `f` takes a reference, `reap()` keeps the record.
        records
            .get(&endpoint)
            .map(|record| f(&record.server))
            .ok_or(ENOMEM)
    }

    /// Replaces the array by a copy of the list, with room for half as many servers again. Process
    /// context, under the service mutex. Fails with `ENOMEM`; then the old array stays.
    fn rebuild(&self, records: &mut Records, service: &Service) -> Result {
        let listed = service.num_dests();
        let array = Array::new(listed.saturating_add(listed / 2).saturating_add(1))?;
        // SAFETY: The service mutex keeps the list as it is.
        let dests = service.dests(unsafe { ReadSide::assume() });
        array.reserve(listed)?;
        for (dest, slot) in dests.zip(array.used()) {
            let (server, _) = self.get_or_insert(records, dest)?;
            slot.fill(server, dest);
        }
        // From here on nothing fails. (Until now, the servers' slots were those of the old array.)
        for (number, slot) in (array.free()..).zip(array.used()) {
            // SAFETY: The service mutex keeps the servers in the list, and so in `records`.
            if let Some(server) = slot.server(unsafe { ReadSide::assume() }) {
                server.set_slot(number);
            }
        }
        // INVARIANT: `new` comes from `into_raw()`. Release: a reader that sees the array sees it
        // filled.
        let new = KBox::into_raw(array);
        let old = self.array.swap(new, Ordering::AcqRel);
        // SAFETY: `new` came from `into_raw()` above, and the service mutex, under which arrays are
        // replaced, keeps it allocated.
        self.publish(unsafe { &*new });
        if !old.is_null() {
            // SAFETY: By the type invariants `old` came from `into_raw()`. It was replaced above,
            // once, and its readers are in read-side sections.
            unsafe { rcu::drop_after_grace_period(old) };
        }
        Ok(())
    }

    /// Frees servers that were removed and that no `DestSlot` refers to. Process context; may wait
    /// for a grace period, with no lock held.
    pub(super) fn reap(&self) {
        if self.removed.load(Ordering::Relaxed) == 0 || !self.mark() {
            return;
        }
        // A marked server is in no array, and no `DestSlot` refers to it. A reader that found it
        // before that may still use it, or be about to make a `DestSlot` with it. Wait for such
        // readers. If one of them took a reference, other readers may have found the server through
        // it since, even if it was dropped again.
        rcu::synchronize();
        self.sweep();
    }

    /// Marks the servers that `reap()` may free if no reference is taken. Returns whether there is
    /// one.
    fn mark(&self) -> bool {
        let mut any = false;
        for record in self.records.lock().values_mut() {
            let removed = record.hold.is_none();
            record.marked = removed.then(|| record.server.unshared()).flatten();
            any |= record.marked.is_some();
        }
        any
    }

    /// Frees the marked servers that were not listed again and of which no reference was taken.
    fn sweep(&self) {
        let mut records = self.records.lock();
        let mut cursor = records.cursor_front_mut();
        while let Some(at) = cursor {
            let (_, record) = at.current();
            cursor = if record.marked.is_some() && record.marked == record.server.unshared() {
                self.removed.fetch_sub(1, Ordering::Relaxed);
                // After the last one this is the one before it, which stays.
                at.remove_current().0
            } else {
                at.move_next()
            };
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Servers {
    /// A grace period after the service was unbound.
    fn drop(self: Pin<&mut Self>) {
        let array = self.array.load(Ordering::Relaxed);
        if !array.is_null() {
            // SAFETY: By the type invariants `array` came from `into_raw()`, and it has no reader
            // any more.
            drop(unsafe { KBox::from_raw(array) });
        }
    }
}
