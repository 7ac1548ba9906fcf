// SPDX-License-Identifier: GPL-2.0

//! The real servers of a service as an array, in the order of the core's list: to walk an array is
//! several times faster than to follow a list from one cache miss to the next.

use super::{
    server::{Lease, ServerRef},
    Dest, Server, Service,
};
use crate::{
    bindings,
    rcu::{self, ReadSide},
};
use core::{
    mem::offset_of,
    ptr::null_mut,
    sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering},
};
use kernel::{new_mutex, prelude::*, sync::Mutex};

/// A server in the list, and what a walk over all wants to know of it.
pub(crate) struct Slot {
    dest: *mut bindings::ip_vs_dest,
    /// With fewer active connections than this it is half idle.
    half: AtomicI32,
    server: ServerRef,
}

// SAFETY: The core's server belongs to no thread.
unsafe impl Send for Slot {}
// SAFETY: As above; `Dest` is `Sync`.
unsafe impl Sync for Slot {}

impl Slot {
    /// The core's server. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn dest<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Dest {
        // SAFETY: It was in the list when the array was made. What keeps it, the server's lease, is
        // dropped a grace period after it left the list. Before that the array was replaced, or
        // `incomplete` set, which `listed()` looks at before it loads the array: so a reader that has the
        // slot was in its section before that grace period began.
        unsafe { Dest::from_raw(self.dest) }
    }

    /// Our side of it.
    #[inline(always)]
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    fn update(&self, dest: &Dest) {
        let weight = dest.weight();
        // `active * 2 < weight`, without the product.
        self.half.store(weight / 2 + weight % 2, Ordering::Relaxed);
    }
}

/// An array that readers can find.
struct Array {
    rcu: rcu::Head,
    slots: KVVec<Slot>,
}

// SAFETY: `rcu` is private and queued only by `Servers::publish()`, once an array.
unsafe impl rcu::Deferred for Array {
    const HEAD: usize = offset_of!(Self, rcu);
}

/// A server of which we know: with its lease if it is in the core's list.
struct Known {
    server: ServerRef,
    lease: Option<KBox<Lease>>,
    /// `forget()` has found it useless, and waits for a grace period.
    doomed: bool,
}

/// The servers of one service.
///
/// # Invariants
///
/// `array` is null or came from `KBox::into_raw()`; an array is freed a grace period after it was
/// replaced. `known` has a reference on every server from the moment it was in the list until a grace
/// period after it was removed and nobody else had a reference.
#[pin_data(PinnedDrop)]
pub(crate) struct Servers {
    array: AtomicPtr<Array>,
    /// Memory was short when a server came or went: the array is not what the list is.
    incomplete: AtomicBool,
    /// The number of servers in `known` that were removed.
    removed: AtomicUsize,
    #[pin]
    known: Mutex<KVVec<Known>>,
}

impl Servers {
    /// No servers.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            array: AtomicPtr::new(null_mut()),
            incomplete: AtomicBool::new(false),
            removed: AtomicUsize::new(0),
            known <- new_mutex!(KVVec::new(), "lblc_rs_servers"),
        })
    }

    /// The servers in the order of the core's list. None if memory was too short to keep up with it:
    /// then the list itself has to be walked. Any context; takes no lock.
    #[inline(always)]
    pub(crate) fn listed<'g>(&'g self, rcu: ReadSide<'g>) -> Option<&'g [Slot]> {
        // First this: who sees that the array is right again must not have found the one that was not.
        let right = !self.incomplete.load(Ordering::Acquire);
        right.then(|| self.array(rcu))
    }

    /// Whether any server has less than half of the active connections that its weight allows; true as
    /// well if the list has to be walked to know that. Any context; plain loads.
    #[inline(never)]
    pub(crate) fn any_half_idle(&self, rcu: ReadSide<'_>) -> bool {
        let idle = |slot: &Slot| slot.dest(rcu).active() < slot.half.load(Ordering::Relaxed);
        let relief = |slot: &Slot| idle(slot) && !slot.dest(rcu).is_overload();
        self.listed(rcu).is_none_or(|slots| {
            // Nearly always nobody is: one branch for four of them is enough to find that out.
            let fours = slots.chunks_exact(4);
            fours.remainder().iter().any(relief)
                || fours.into_iter().any(|four| {
                    four.iter().fold(false, |any, slot| any | idle(slot)) && four.iter().any(relief)
                })
        })
    }

    /// The server that stands for `dest`, if the array has it. Any context; a walk.
    #[cold]
    pub(crate) fn find<'g>(&'g self, dest: &Dest, rcu: ReadSide<'g>) -> Option<&'g Server> {
        let mut slots = self.array(rcu).iter();
        let slot = slots.find(|slot| slot.server.is_for(dest))?;
        Some(&slot.server)
    }

    #[inline(always)]
    fn array<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g [Slot] {
        // SAFETY: By the type invariants it is null or valid, and not freed before our section ends.
        let array = unsafe { self.array.load(Ordering::Acquire).as_ref() };
        array.map_or(&[], |array| &array.slots)
    }

    /// All servers of a service that is being bound. Process context, under the service mutex.
    pub(super) fn add_all(&self, service: &Service) -> Result {
        // SAFETY: The service mutex keeps the list as it is.
        for dest in service.dests(unsafe { ReadSide::assume() }) {
            self.adopt(dest)?;
        }
        self.publish(service)
    }

    /// `dest` was put into the list, or changed. Process context, under the service mutex. If memory
    /// is short, `listed()` says so until the server is edited or another one comes or goes.
    pub(super) fn update(&self, service: &Service, dest: &Dest) {
        // SAFETY: The service mutex keeps the array as it is.
        let slots = self.array(unsafe { ReadSide::assume() });
        if let Some(slot) = slots.iter().find(|slot| slot.server.is_for(dest)) {
            slot.update(dest);
            slot.server.update(dest);
            if !self.incomplete.load(Ordering::Relaxed) {
                return;
            }
        }
        let adopted = self.adopt(dest);
        self.catch_up(adopted.and_then(|()| self.sync(service)), service);
    }

    /// Knows all servers of the list, if one was missed before, and publishes it. Fails with `ENOMEM`.
    fn sync(&self, service: &Service) -> Result {
        if self.incomplete.load(Ordering::Relaxed) {
            // SAFETY: The service mutex keeps the list as it is.
            for dest in service.dests(unsafe { ReadSide::assume() }) {
                self.adopt(dest)?;
            }
        }
        self.publish(service)
    }

    /// `dest` was taken out of the list. Process context, under the service mutex.
    pub(super) fn remove(&self, service: &Service, dest: &Dest) {
        let published = self.sync(service);
        self.catch_up(published, service);
        // Now that no new reader finds it in the array:
        let mut known = self.known.lock();
        if let Some(it) = known.iter_mut().find(|it| it.server.is_for(dest)) {
            if let Some(lease) = it.lease.take() {
                Lease::end(lease, &it.server);
                self.removed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The array is what the list is, or readers are told that it is not.
    fn catch_up(&self, published: Result, service: &Service) {
        let failed = published.is_err();
        let before = self.incomplete.swap(failed, Ordering::Release);
        if failed && !before {
            let section = kernel::sync::rcu::read_lock();
            let rcu = ReadSide::of(&section);
            service.error(c"out of memory: walks the list of its servers", rcu);
        }
    }

    /// Lets one of our servers stand for `dest`: the one that did when it was last in the list, or a
    /// new one. Fails with `ENOMEM`.
    fn adopt(&self, dest: &Dest) -> Result {
        let mut known = self.known.lock();
        let endpoint = dest.endpoint();
        if known.iter().any(|it| it.server.is_for(dest)) {
            return Ok(());
        }
        let back = known
            .iter_mut()
            .find(|it| it.lease.is_none() && it.server.endpoint() == endpoint);
        if let Some(it) = back {
            it.lease = Some(Lease::begin(&it.server, dest)?);
            self.removed.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        known.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let server = ServerRef::new(endpoint)?;
        let lease = Some(Lease::begin(&server, dest)?);
        let it = Known {
            server,
            lease,
            doomed: false,
        };
        known.push(it, GFP_KERNEL)?;
        Ok(())
    }

    /// Makes an array of the list as it is, and shows it to readers. Fails with `ENOMEM`, also if one
    /// of the servers is not known.
    fn publish(&self, service: &Service) -> Result {
        let known = self.known.lock();
        let mut slots = KVVec::with_capacity(service.num_dests(), GFP_KERNEL_ACCOUNT)?;
        // The old array is in the same order, but for what has come or gone.
        // SAFETY: The service mutex keeps array and list as they are.
        let locked = unsafe { ReadSide::assume() };
        let mut old = self.array(locked);
        for dest in service.dests(locked) {
            let is_it = |slot: &Slot| slot.server.is_for(dest);
            let server = match old {
                [slot, rest @ ..] if is_it(slot) => {
                    old = rest;
                    &slot.server
                }
                // One has gone.
                [_, slot, rest @ ..] if is_it(slot) => {
                    old = rest;
                    &slot.server
                }
                // One has come.
                _ => {
                    let mut known = known.iter();
                    let found = known.find(|it| it.server.is_for(dest));
                    &found.ok_or(ENOMEM)?.server
                }
            };
            let slot = Slot {
                dest: dest.as_ptr(),
                half: AtomicI32::new(0),
                server: server.clone(),
            };
            slot.update(dest);
            slots.push(slot, GFP_KERNEL)?;
        }
        let array = Array {
            rcu: rcu::Head::new(),
            slots,
        };
        let new = KBox::into_raw(KBox::new(array, GFP_KERNEL_ACCOUNT)?);
        // INVARIANT: It came from `into_raw()`. Release: who finds the array finds it whole.
        let old = self.array.swap(new, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: It came from `into_raw()` and was just replaced; readers are in RCU sections.
            unsafe { rcu::drop_after_grace_period(old) };
        }
        Ok(())
    }

    /// Forgets servers that were removed and to which no cell leads. Process context; may wait for a
    /// grace period.
    pub(super) fn forget(&self) {
        if self.removed.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut known = self.known.lock();
        let is_useless = |it: &Known| it.lease.is_none() && it.server.is_last();
        for it in known.iter_mut() {
            it.doomed = is_useless(it);
        }
        if !known.iter().any(|it| it.doomed) {
            return;
        }
        // Who found one of them while it was in the list may yet make a cell that leads to it, and who
        // found it through a cell may still look at it. After this nobody can; but others may have
        // become useless meanwhile, for which that is not so.
        rcu::synchronize();
        while let Some(at) = known.iter().position(|it| it.doomed && is_useless(it)) {
            drop(known.remove(at));
            self.removed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Servers {
    /// A grace period after the service let go.
    fn drop(self: Pin<&mut Self>) {
        let array = self.array.load(Ordering::Relaxed);
        if !array.is_null() {
            // SAFETY: By the type invariants it came from `into_raw()`. Nobody reads it any more.
            drop(unsafe { KBox::from_raw(array) });
        }
    }
}
