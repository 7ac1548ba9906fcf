// SPDX-License-Identifier: GPL-2.0

//! A replacement of `kernel_ext/rcu/platform.rs` for loom.

use super::{buckets::Node, memory::Life};
use loom::{
    sync::atomic,
    thread::{self, Thread},
};
use std::sync::Mutex;

pub(super) use super::{
    memory::{AllocError, KBox},
    rcu::{read_lock, synchronize, ReadSide, Section},
};
pub(super) use loom::{
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicUsize},
};
pub(super) use std::sync::atomic::Ordering;

/// Loom's atomic, which also checks that it was not freed.
///
/// Loom 0.5 remembers the last access only, and so forgets a reader when a writer loads what it is
/// about to store to: it would never let that writer be first. An exchange of nothing before each
/// access brings all of them in one order that loom varies, and tells no thread what another one
/// did.
pub(super) struct AtomicPtr<T> {
    value: atomic::AtomicPtr<T>,
    order: AtomicUsize,
    life: Life,
}

impl<T> AtomicPtr<T> {
    pub(super) fn new(value: *mut T) -> Self {
        Self {
            value: atomic::AtomicPtr::new(value),
            order: AtomicUsize::new(0),
            life: Life::begin(),
        }
    }

    fn access(&self) -> &atomic::AtomicPtr<T> {
        self.order.fetch_add(0, Ordering::Relaxed);
        self.life.check();
        &self.value
    }

    pub(super) fn load(&self, order: Ordering) -> *mut T {
        self.access().load(order)
    }

    pub(super) fn store(&self, value: *mut T, order: Ordering) {
        self.access().store(value, order);
    }

    pub(super) fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        self.access().swap(value, order)
    }

    pub(super) fn compare_exchange_weak(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.access()
            .compare_exchange_weak(current, new, success, failure)
    }
}

/// The largest entry.
pub(super) const NODE_SIZE: usize = usize::MAX;

pub(super) type NodeBox<T> = KBox<Node<T>>;
pub(super) type Heads<T> = KBox<[AtomicPtr<Node<T>>]>;

pub(super) fn allocate<T>(object: T) -> Result<KBox<T>, AllocError> {
    Ok(KBox::new(object))
}

pub(super) fn heads<T>(number: usize) -> Result<Heads<T>, AllocError> {
    let heads = (0..number).map(|_| AtomicPtr::new(std::ptr::null_mut()));
    Ok(KBox::from_box(heads.collect()))
}

/// Loom lets others run at each atomic access.
pub(super) fn cond_resched() {}

/// Fewer than there are chains, as in the kernel.
const LOCKS: usize = 2;

pub(super) struct Locks([Lock; LOCKS]);

impl Locks {
    pub(super) fn new(_link: usize) -> Result<Self, AllocError> {
        Ok(Self(Default::default()))
    }

    pub(super) fn lock(&self, number: usize) -> Held<'_> {
        self.0[number % LOCKS].lock()
    }
}

/// A spinlock. Loom's mutex also orders what is done under different locks, which a spinlock does
/// not.
#[derive(Default)]
struct Lock {
    taken: AtomicUsize,
    waiting: Mutex<Vec<Thread>>,
}

impl Lock {
    fn lock(&self) -> Held<'_> {
        while self.taken.swap(1, Ordering::Acquire) != 0 {
            self.waiting.lock().unwrap().push(thread::current());
            thread::park();
            self.stop_waiting();
        }
        Held(self)
    }

    fn stop_waiting(&self) {
        let me = thread::current().id();
        self.waiting
            .lock()
            .unwrap()
            .retain(|thread| thread.id() != me);
    }
}

pub(super) struct Held<'a>(&'a Lock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.taken.swap(0, Ordering::Release);
            for thread in self.0.waiting.lock().unwrap().drain(..) {
                thread.unpark();
            }
        }
    }
}
