// SPDX-License-Identifier: GPL-2.0

//! The order in which `ipvs/slots.rs` fills, shows and empties the slots of an array, and a walk,
//! which has no other end than the slot that is never filled. Not the kernel's file, so a change
//! there belongs here as well.

use super::super::{
    platform::{AtomicUsize, Ordering},
    rcu::spawn,
    world::explore,
};
use std::sync::Arc;

/// `Dest::placeholder()`.
const PLACEHOLDER: usize = 0;

/// `ArrayEntry`.
struct Slot {
    dest: AtomicUsize,
    half: AtomicUsize,
}

impl Slot {
    fn empty() -> Self {
        Self {
            dest: AtomicUsize::new(PLACEHOLDER),
            half: AtomicUsize::new(1),
        }
    }
}

/// `Array` with two slots that can be filled, and `Servers::first`.
struct Array {
    slots: [Slot; 3],
    first: AtomicUsize,
}

impl Array {
    fn new() -> Self {
        Self {
            slots: [Slot::empty(), Slot::empty(), Slot::empty()],
            first: AtomicUsize::new(2),
        }
    }

    /// `prepend()` and `publish()`, of a server without weight: its slot has a `half` of 0.
    fn prepend(&self, dest: usize, publish: Ordering) {
        let number = self.first.load(Ordering::Relaxed) - 1;
        self.slots[number].half.store(0, Ordering::Relaxed);
        self.slots[number].dest.store(dest, Ordering::Relaxed);
        self.first.store(number, publish);
    }

    /// `clear()`.
    fn clear(&self, number: usize) {
        self.slots[number].half.store(0, Ordering::Relaxed);
        self.slots[number]
            .dest
            .store(PLACEHOLDER, Ordering::Release);
    }

    /// `any_half_idle()` and `accepting()`: the servers that they meet.
    fn walk(&self) -> Vec<usize> {
        let mut met = vec![];
        for slot in &self.slots[self.first.load(Ordering::Acquire)..] {
            let dest = slot.dest.load(Ordering::Acquire);
            match (dest, slot.half.load(Ordering::Relaxed)) {
                (PLACEHOLDER, 1) => return met,
                (PLACEHOLDER, _) => {}
                _ => met.push(dest),
            }
        }
        panic!("walked beyond the last slot");
    }
}

fn walk_while_servers_come_and_go(publish: Ordering) {
    let array = Arc::new(Array::new());
    array.prepend(1, Ordering::Release);
    let walked = array.clone();
    let reader = spawn(1, move || walked.walk());
    array.prepend(2, publish);
    array.clear(1);
    let met = reader.join().unwrap();
    assert!(matches!(met[..], [] | [1] | [2] | [2, 1]), "{met:?}");
    assert_eq!(array.walk(), [2]);
}

#[test]
fn a_walk_ends_at_the_last_slot() {
    explore(|| walk_while_servers_come_and_go(Ordering::Release));
}

#[test]
#[should_panic]
fn a_walk_could_miss_servers_without_release() {
    explore(|| {
        let array = Arc::new(Array::new());
        array.prepend(1, Ordering::Release);
        let walked = array.clone();
        let reader = spawn(1, move || walked.walk());
        array.prepend(2, Ordering::Relaxed);
        let met = reader.join().unwrap();
        assert!(met.contains(&1), "{met:?}");
    });
}
