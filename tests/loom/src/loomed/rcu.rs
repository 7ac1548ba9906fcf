// SPDX-License-Identifier: GPL-2.0

//! RCU for loom: what the kernel promises of it and, if it can be helped, nothing more.
//!
//! The promise, of each read-side section and each grace period: either all of the section happens
//! before the end of the grace period, or all that came before the grace period happens before the
//! section. Sections order nothing among themselves, and new ones begin while a grace period waits.
//!
//! Each thread has a turn that is odd while it is in a section. Only read-modify-writes touch it, so
//! all of them are in one order:
//!
//! - one that enters, after one of a grace period, acquires what the latter released;
//! - one of a grace period, after one that leaves, acquires what the latter released;
//! - if it finds the turn odd, the grace period waits until that thread leaves.

use super::platform::{AtomicUsize, Ordering};
use loom::thread::{self, Thread};
use std::{cell::Cell, marker::PhantomData, sync::Mutex};

/// The most threads of a model, the first one included.
pub(super) const THREADS: usize = 3;

loom::lazy_static! {
    static ref RCU: Rcu = Rcu::default();
}

loom::thread_local! {
    /// The thread's number.
    static NUMBER: Cell<usize> = Cell::new(0);
    /// How many sections the thread is in, one in the other.
    static DEPTH: Cell<usize> = Cell::new(0);
}

struct Rcu {
    turns: [AtomicUsize; THREADS],
    /// Nobody else runs between a read-modify-write of a turn and what follows it here.
    waiting: Mutex<Vec<GracePeriod>>,
}

impl Default for Rcu {
    fn default() -> Self {
        Self {
            turns: std::array::from_fn(|_| AtomicUsize::new(0)),
            waiting: Mutex::new(Vec::new()),
        }
    }
}

struct GracePeriod {
    thread: Thread,
    /// The threads that it waits for.
    on: Vec<usize>,
}

impl Rcu {
    /// Thread `number` has left its section.
    fn left(&self, number: usize) {
        for period in self.waiting.lock().unwrap().iter_mut() {
            if let Some(at) = period.on.iter().position(|on| *on == number) {
                period.on.swap_remove(at);
                // Also tells it what the section did.
                period.thread.unpark();
            }
        }
    }

    /// What the calling thread waits for.
    fn own<R>(&self, look: impl FnOnce(&mut GracePeriod) -> R) -> R {
        let (me, mut waiting) = (thread::current().id(), self.waiting.lock().unwrap());
        look(
            waiting
                .iter_mut()
                .find(|period| period.thread.id() == me)
                .unwrap(),
        )
    }
}

fn depth() -> usize {
    DEPTH.with(Cell::get)
}

/// Starts a thread; `number` is its own, from 1.
pub(super) fn spawn<R: 'static>(
    number: usize,
    run: impl FnOnce() -> R + 'static,
) -> thread::JoinHandle<R> {
    assert!(number < THREADS);
    thread::spawn(move || {
        NUMBER.with(|own| own.set(number));
        run()
    })
}

/// To be called before there are other threads: what the first who needs it makes, is made before they
/// begin.
pub(super) fn init() {
    assert_eq!(RCU.waiting.lock().unwrap().len(), 0);
}

/// A read-side section.
pub(super) struct Section(PhantomData<*mut ()>);

pub(super) fn read_lock() -> Section {
    if depth() == 0 {
        RCU.turns[NUMBER.with(Cell::get)].fetch_add(1, Ordering::Acquire);
    }
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    Section(PhantomData)
}

impl Drop for Section {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        DEPTH.with(|depth| depth.set(depth.get() - 1));
        if depth() == 0 {
            let me = NUMBER.with(Cell::get);
            RCU.turns[me].fetch_add(1, Ordering::Release);
            RCU.left(me);
        }
    }
}

/// As in `rcu/mod.rs`.
#[derive(Clone, Copy)]
pub(super) struct ReadSide<'g>(PhantomData<(&'g (), *mut ())>);

impl<'g> ReadSide<'g> {
    pub(super) fn of(_section: &'g Section) -> Self {
        Self(PhantomData)
    }
}

pub(super) fn synchronize() {
    assert_eq!(depth(), 0, "a section waits for itself");
    let me = NUMBER.with(Cell::get);
    RCU.waiting.lock().unwrap().push(GracePeriod {
        thread: thread::current(),
        on: vec![],
    });
    for number in (0..THREADS).filter(|number| *number != me) {
        if RCU.turns[number].fetch_add(0, Ordering::AcqRel) % 2 != 0 {
            RCU.own(|period| period.on.push(number));
        }
    }
    while RCU.own(|period| !period.on.is_empty()) {
        thread::park();
    }
    let me = thread::current().id();
    RCU.waiting
        .lock()
        .unwrap()
        .retain(|period| period.thread.id() != me);
}
