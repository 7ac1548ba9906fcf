// SPDX-License-Identifier: GPL-2.0

//! RCU for loom: the guarantees of the kernel's RCU, and no others.
//!
//! The promise, for each pair of a read-side section and a grace period: either the whole section
//! happens before the end of the grace period, or everything that the caller of `synchronize()` did
//! or saw before it happens before the section. Sections order nothing among themselves, grace
//! periods order nothing among themselves, and sections begin while a grace period waits. Of the
//! full memory barrier that the caller executes during `synchronize()`, its later accesses get the
//! half that orders earlier loads. The other half, and a barrier at the beginning, are left out:
//! nothing in the table depends on them, as an acquire or a release in the code says the same.
//!
//! For each pair of a thread that reads and a thread that waits there is a turn, odd while the
//! first one is in a section. Only read-modify-writes access a turn, so they are in one order:
//!
//! - one that enters, after one of a grace period, acquires what happened before that grace period;
//! - a grace period, at its end, acquires what the sections did that had left before it began;
//! - if it finds the turn odd, the grace period waits until that thread leaves.

use super::platform::{AtomicUsize, Ordering};
use loom::{
    sync::atomic::fence,
    thread::{self, Thread},
};
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
    /// By reading, then by waiting thread.
    turns: [[AtomicUsize; THREADS]; THREADS],
    /// No other thread runs between a read-modify-write of a turn and the access here that follows.
    waiting: Mutex<Vec<GracePeriod>>,
}

impl Default for Rcu {
    fn default() -> Self {
        Self {
            turns: std::array::from_fn(|_| std::array::from_fn(|_| AtomicUsize::new(0))),
            waiting: Mutex::new(Vec::new()),
        }
    }
}

struct GracePeriod {
    thread: Thread,
    number: usize,
    /// The threads that it waits for.
    on: Vec<usize>,
}

impl Rcu {
    /// Thread `reader` has left its section, for all that thread `waiter` has to know.
    fn left(&self, reader: usize, waiter: usize) {
        let mut waiting = self.waiting.lock().unwrap();
        let Some(period) = waiting.iter_mut().find(|period| period.number == waiter) else {
            return;
        };
        if let Some(at) = period.on.iter().position(|on| *on == reader) {
            period.on.swap_remove(at);
            // Also tells the waiting thread what the section did.
            period.thread.unpark();
        }
    }

    /// What the calling thread waits for.
    fn own<R>(&self, look: impl FnOnce(&mut GracePeriod) -> R) -> R {
        let (me, mut waiting) = (NUMBER.with(Cell::get), self.waiting.lock().unwrap());
        look(
            waiting
                .iter_mut()
                .find(|period| period.number == me)
                .unwrap(),
        )
    }
}

fn depth() -> usize {
    DEPTH.with(Cell::get)
}

/// All threads but the calling one.
fn others() -> impl Iterator<Item = usize> {
    let me = NUMBER.with(Cell::get);
    (0..THREADS).filter(move |number| *number != me)
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

/// Must be called before other threads are started, so that the lazy static is initialised before.
pub(super) fn init() {
    assert_eq!(RCU.waiting.lock().unwrap().len(), 0);
}

/// A read-side section.
pub(super) struct Section(PhantomData<*mut ()>);

pub(super) fn read_lock() -> Section {
    if depth() == 0 {
        for waiter in others() {
            RCU.turns[NUMBER.with(Cell::get)][waiter].fetch_add(1, Ordering::Acquire);
        }
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
            for waiter in others() {
                RCU.turns[me][waiter].fetch_add(1, Ordering::Release);
                RCU.left(me, waiter);
            }
        }
    }
}

/// As in `kernel_ext/rcu/mod.rs`.
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
        number: me,
        on: vec![],
    });
    for reader in others() {
        // Release, and no acquire: a section that begins later sees what happened before this
        // grace period, and nothing of what the loop learns.
        if RCU.turns[reader][me].fetch_add(0, Ordering::Release) % 2 != 0 {
            RCU.own(|period| period.on.push(reader));
        }
    }
    while RCU.own(|period| !period.on.is_empty()) {
        thread::park();
    }
    // Sees what the sections did that had left when the loop came to them.
    fence(Ordering::Acquire);
    RCU.waiting
        .lock()
        .unwrap()
        .retain(|period| period.number != me);
}
