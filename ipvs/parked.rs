// SPDX-License-Identifier: GPL-2.0

//! States that outlive their services. When a service is unbound, its state is parked for
//! [`Scheduler::keep()`]; a service of the same identity that is bound in time adopts it.
//!
//! ```text
//!         init_service()        done_service()        time-out, or memory is short
//!   new ----------------> bound ----------------> parked ----------------> freed
//!                           ^    work disabled,     |    namespace or module ends
//!                           +---- servers removed --+    (after a grace period)
//!                             init_service(), same identity
//! ```
//!
//! A parked state has no service, no timer, and no reference to a server of the core. The list
//! below owns it. Only late calls of `schedule()` still use it, with their own service, and they
//! end within a grace period. If a service adopts the state before that, both use it at the same
//! time, like any two readers or writers. So a parked state needs no reference to the module.
//!
//! The list, [`States`], is protected by the lock of the namespace's services.

use super::{
    scheduler::{
        SchedData,
        Scheduler, //
    },
    service::Identity,
    Netns, //
};
use crate::{
    bindings,
    jiffies,
    rcu,
    work::Work, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::Ordering, //
};
use kernel::{
    container_of,
    prelude::*,
    rbtree::RBTree,
    time::Jiffies, //
};

/// The number of states that may be parked in a network namespace.
const MAX_STATES: usize = 4096;

/// The number of entries that they may have together, unless there is only one state.
const MAX_ENTRIES: usize = 1 << 22;

/// The state of a service that was unbound. Its drop frees it, after a grace period. Any context,
/// except where a method says otherwise.
///
/// # Invariants
///
/// `bound` came from `KBox::into_raw()` and is owned. Its work item is disabled, and it is not
/// listed.
pub(super) struct Parked<T: Scheduler> {
    bound: NonNull<SchedData<T>>,
    /// When it was parked, in jiffies.
    since: Jiffies,
    /// Its number in the order in which states were parked.
    number: u64,
    /// The number of entries that it had then.
    entries: usize,
}

// SAFETY: A `SchedData<T>` may be used and dropped by any thread.
unsafe impl<T: Scheduler> Send for Parked<T> {}

impl<T: Scheduler> Parked<T> {
    /// Takes over the state of a service that is unbound.
    ///
    /// # Safety
    ///
    /// As the type invariants say; and new calls of `schedule()` do not find the state.
    pub(super) unsafe fn new(bound: NonNull<SchedData<T>>) -> Self {
        // SAFETY: The caller promises that `bound` is owned.
        let entries = unsafe { bound.as_ref() }.state.num_entries();
        // INVARIANT: As the caller promises.
        Self {
            bound,
            since: jiffies::now(),
            number: 0,
            entries,
        }
    }

    /// The state.
    pub(super) fn bound(&self) -> &SchedData<T> {
        // SAFETY: By the type invariants `bound` is owned.
        unsafe { self.bound.as_ref() }
    }

    /// Converts it to the state, for a service that adopts it.
    pub(super) fn into_bound(self) -> NonNull<SchedData<T>> {
        ManuallyDrop::new(self).bound
    }

    /// The rest, in jiffies, of the time `keep` for which the state is parked.
    pub(super) fn left(&self, keep: Jiffies) -> Jiffies {
        let parked = jiffies::now().wrapping_sub(self.since);
        keep.saturating_sub(parked)
    }

    /// Frees it at once. Process context.
    ///
    /// # Safety
    ///
    /// A grace period has passed since it was parked.
    pub(super) unsafe fn free(self) {
        let bound = self.into_bound();
        // SAFETY: By the type invariants `bound` came from `KBox::into_raw()`. It is dropped in
        // place; the caller promises that late calls of `schedule()` have ended.
        drop(unsafe { KBox::from_raw(bound.as_ptr()) });
    }
}

impl<T: Scheduler> Drop for Parked<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the state is owned and its work item disabled; so nothing
        // uses it after the grace period, and it was not queued before.
        unsafe { self.bound.as_ref().rcu_work.queue_after_grace_period() };
    }
}

impl<T: Scheduler> Netns<T> {
    /// Parks a state for a service of this identity, or frees it. Process context, under the
    /// service mutex.
    pub(super) fn park(&self, identity: Identity, parked: Parked<T>) {
        self.services.lock().parked.insert(identity, parked);
        self.has_parked.store(true, Ordering::Relaxed);
        self.work.queue_in(T::keep(self.state()));
    }

    /// Takes out the state that is parked for a service of this identity, unless its time is over:
    /// then it is freed. Process context.
    pub(super) fn unpark(&self, identity: Identity) -> Option<Parked<T>> {
        let parked = self.services.lock().parked.take(identity);
        parked.filter(|parked| parked.left(T::keep(self.state())) != 0)
    }

    /// Frees all parked states except the one for a service of this identity, before it returns.
    /// Returns whether there was any. Process context, under the service mutex.
    ///
    /// It waits for one grace period, whatever the number of states, as C's `ip_vs_edit_service()`
    /// does under the same mutex for each change of a scheduler: so an ordinary user's namespace
    /// cannot delay others by this more than without the module.
    pub(super) fn free_parked_but(&self, identity: Identity) -> bool {
        let wanted = self.services.lock().parked.take(identity);
        let next = || self.services.lock().parked.take_oldest();
        let mut waited = false;
        while let Some(parked) = next() {
            if !waited {
                rcu::synchronize();
                waited = true;
            }
            // SAFETY: States are parked under the service mutex, which the caller holds: this one
            // was parked before the grace period began.
            unsafe { parked.free() };
        }
        if let Some(wanted) = wanted {
            self.services.lock().parked.insert(identity, wanted);
        }
        waited
    }

    /// Memory is short, or a bound of the namespace on it is reached: queues the work item to free
    /// all parked states. Any context.
    pub(crate) fn give_back_parked(&self) {
        if self.has_parked.load(Ordering::Relaxed) {
            self.unwanted.store(true, Ordering::Relaxed);
            self.work.queue();
        }
    }

    /// Frees the parked states whose time is over, or all of them if they are `unwanted`. Process
    /// context.
    ///
    /// # Safety
    ///
    /// Called by the queue with the work item of a pinned `Netns<T>`.
    pub(super) unsafe extern "C" fn free_parked(work: *mut bindings::work_struct) {
        // SAFETY: `Work` begins with its `work_struct`, and this one is in a `Netns<T>`, which is
        // alive because `close()` waits for us before the namespace's reference is dropped.
        let netns = unsafe { &*container_of!(work.cast::<Work>(), Self, work) };
        netns.work.begin();
        let keep = match netns.unwanted.swap(false, Ordering::Relaxed) {
            true => 0,
            false => T::keep(netns.state()),
        };
        let next = || {
            let mut services = netns.services.lock();
            let oldest = services.parked.oldest()?;
            (oldest.left(keep) == 0).then(|| services.parked.take_oldest())
        };
        while next().is_some() {}
        let services = netns.services.lock();
        let left = services.parked.oldest().map(|oldest| oldest.left(keep));
        // Under the lock, so that `has_parked` is not cleared after another state was parked.
        netns.has_parked.store(left.is_some(), Ordering::Relaxed);
        if let Some(left) = left {
            netns.work.queue_in(left);
        }
    }

    /// The namespace, or the module, ends: frees all parked states, and parks no other one. Process
    /// context, perhaps under the pernet rwsem.
    pub(super) fn close(&self) {
        self.services.lock().parked.close();
        self.work.disable();
    }

    /// Calls `f` with each parked state, its identity, and the rest of its time in jiffies, until
    /// `f` returns false. Process context; `f` runs under the namespace's mutex.
    pub(crate) fn each_parked(&self, mut f: impl FnMut(Identity, &T, Jiffies) -> bool) {
        let keep = T::keep(self.state());
        let services = self.services.lock();
        let mut all = services.parked.iter();
        let _ = all.all(|(identity, it)| f(*identity, &it.bound().state, it.left(keep)));
    }
}

/// The parked states of a namespace, by the identities of their services.
pub(super) struct States<T: Scheduler> {
    by_identity: RBTree<Identity, Parked<T>>,
    /// The identities in the order in which the states were parked: the oldest is freed first.
    order: RBTree<u64, Identity>,
    last_number: u64,
    count: usize,
    entries: usize,
    /// The namespace ends: nothing is parked any more.
    closed: bool,
}

impl<T: Scheduler> States<T> {
    /// No state. Any context.
    pub(super) fn new() -> Self {
        Self {
            by_identity: RBTree::new(),
            order: RBTree::new(),
            last_number: 0,
            count: 0,
            entries: 0,
            closed: false,
        }
    }

    /// The states, in the order of the identities.
    fn iter(&self) -> impl Iterator<Item = (&Identity, &Parked<T>)> {
        self.by_identity.iter()
    }

    /// The state that was parked first.
    fn oldest(&self) -> Option<&Parked<T>> {
        let (_, identity) = self.order.iter().next()?;
        self.by_identity.get(identity)
    }

    /// Keeps a state for a service of this identity. The state is dropped if the namespace has
    /// ended or memory is short, and the oldest ones are dropped if there are too many.
    fn insert(&mut self, identity: Identity, mut parked: Parked<T>) {
        if self.closed {
            return;
        }
        let entries = parked.entries;
        drop(self.take(identity));
        while self.count >= MAX_STATES || self.entries.saturating_add(entries) > MAX_ENTRIES {
            if self.take_oldest().is_none() {
                break;
            }
        }
        self.last_number = self.last_number.wrapping_add(1);
        parked.number = self.last_number;
        let (order, flags) = (&mut self.order, GFP_KERNEL_ACCOUNT);
        if order
            .try_create_and_insert(self.last_number, identity, flags)
            .is_err()
        {
            return;
        }
        match self
            .by_identity
            .try_create_and_insert(identity, parked, flags)
        {
            Ok(_) => {
                self.count = self.count.wrapping_add(1);
                self.entries = self.entries.wrapping_add(entries);
            }
            Err(_) => {
                self.order.remove(&self.last_number);
            }
        }
    }

    /// Takes out the state for a service of this identity.
    fn take(&mut self, identity: Identity) -> Option<Parked<T>> {
        let parked = self.by_identity.remove(&identity)?;
        self.order.remove(&parked.number);
        self.count = self.count.wrapping_sub(1);
        self.entries = self.entries.wrapping_sub(parked.entries);
        Some(parked)
    }

    /// Takes out the state that was parked first.
    fn take_oldest(&mut self) -> Option<Parked<T>> {
        let (_, identity) = self.order.iter().next()?;
        let identity = *identity;
        self.take(identity)
    }

    /// Drops all states; states that are inserted from now on are dropped at once.
    fn close(&mut self) {
        self.closed = true;
        while self.take_oldest().is_some() {}
    }
}
