// SPDX-License-Identifier: GPL-2.0

//! A replacement of `kernel_ext/rcu/platform.rs` for one thread. It checks the rules (no lock is
//! taken twice, link 0 is locked before link 1, no grace period within a section), and allocations
//! can fail.

use super::buckets::Node;
use std::{cell::RefCell, marker::PhantomData};

pub(super) use std::{
    boxed::Box as KBox,
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
};

/// The largest entry.
pub(super) const NODE_SIZE: usize = usize::MAX;

pub(super) type NodeBox<T> = Box<Node<T>>;
pub(super) type Heads<T> = Vec<AtomicPtr<Node<T>>>;

/// Memory allocation failed.
#[derive(Debug)]
pub(super) struct AllocError;

thread_local! {
    static SECTIONS: Cell<usize> = const { Cell::new(0) };
    static GRACE_PERIODS: Cell<usize> = const { Cell::new(0) };
    static RESCHEDS: Cell<usize> = const { Cell::new(0) };
    /// A function that runs at the next point where other threads could run.
    static OTHERS: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    /// The number of allocations that will succeed.
    static MEMORY: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The link and number of each lock that is held, and its array.
    static HELD: RefCell<Vec<(usize, usize, *const ()) >> = const { RefCell::new(Vec::new()) };
}

/// Calls `run` with `number` allocations that succeed; all others fail.
pub(super) fn with_memory_for<R>(number: usize, run: impl FnOnce() -> R) -> R {
    MEMORY.set(number);
    let result = run();
    MEMORY.set(usize::MAX);
    result
}

/// The number of grace periods so far.
pub(super) fn grace_periods() -> usize {
    GRACE_PERIODS.get()
}

/// Runs `job` at the next reschedule.
pub(super) fn let_run(job: impl FnOnce() + 'static) {
    OTHERS.set(Some(Box::new(job)));
}

/// How many times others were let run.
pub(super) fn rescheds() -> usize {
    RESCHEDS.get()
}

fn take_memory() -> Result<(), AllocError> {
    let left = MEMORY.get().checked_sub(1).ok_or(AllocError)?;
    MEMORY.set(left);
    Ok(())
}

pub(super) fn allocate<T>(object: T) -> Result<KBox<T>, AllocError> {
    take_memory()?;
    Ok(Box::new(object))
}

pub(super) fn heads<T>(number: usize) -> Result<Heads<T>, AllocError> {
    take_memory()?;
    let heads = (0..number).map(|_| AtomicPtr::new(std::ptr::null_mut()));
    Ok(heads.collect())
}

pub(super) fn cond_resched() {
    assert_eq!(SECTIONS.get(), 0, "sleeps in a section");
    RESCHEDS.set(RESCHEDS.get() + 1);
    if let Some(job) = OTHERS.take() {
        job();
    }
}

const LOCKS: usize = 2;

pub(super) struct Locks {
    link: usize,
    identity: Box<u8>,
}

impl Locks {
    pub(super) fn new(link: usize) -> Result<Self, AllocError> {
        take_memory()?;
        let identity = Box::new(0);
        Ok(Self { link, identity })
    }

    pub(super) fn lock(&self, number: usize) -> Held<'_> {
        let array: *const u8 = &*self.identity;
        let lock = (self.link, number % LOCKS, array.cast());
        HELD.with_borrow_mut(|held| {
            let last = held.last().map(|last| last.0);
            assert!(last.is_none_or(|last| last < self.link), "lock order");
            held.push(lock);
        });
        assert_ne!(SECTIONS.get(), 0, "locks outside of a section");
        Held(lock, PhantomData)
    }
}

pub(super) struct Held<'a>((usize, usize, *const ()), PhantomData<&'a ()>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| held.retain(|lock| *lock != self.0));
    }
}

/// A read-side section.
pub(super) struct Section(PhantomData<*mut ()>);

pub(super) fn read_lock() -> Section {
    SECTIONS.set(SECTIONS.get() + 1);
    Section(PhantomData)
}

impl Drop for Section {
    fn drop(&mut self) {
        SECTIONS.set(SECTIONS.get() - 1);
    }
}

#[derive(Clone, Copy)]
pub(super) struct ReadSide<'g>(PhantomData<(&'g (), *mut ())>);

impl<'g> ReadSide<'g> {
    pub(super) fn of(_section: &'g Section) -> Self {
        Self(PhantomData)
    }
}

pub(super) fn synchronize() {
    assert_eq!(SECTIONS.get(), 0, "a section waits for itself");
    GRACE_PERIODS.set(GRACE_PERIODS.get() + 1);
}
