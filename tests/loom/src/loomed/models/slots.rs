// SPDX-License-Identifier: GPL-2.0

//! The order in which `ipvs/slots.rs` fills, shows, updates and empties the slots of an array, and
//! its two walks, which have no other end than the slot that is never filled. Not the kernel's
//! file, so a change there belongs here as well.

use super::super::{
    platform::{AtomicUsize, Ordering},
    rcu::spawn,
    world::explore,
};
use std::sync::Arc;

/// `Dest::placeholder()`, whose weight is 0. All other servers have a weight.
const PLACEHOLDER: usize = 0;

/// The `weight` of a slot that was never filled: -1.
const NEVER: usize = usize::MAX;

/// `ArrayEntry`.
struct Slot {
    dest: AtomicUsize,
    half: AtomicUsize,
    weight: AtomicUsize,
}

impl Slot {
    fn empty() -> Self {
        Self {
            dest: AtomicUsize::new(PLACEHOLDER),
            half: AtomicUsize::new(1),
            weight: AtomicUsize::new(NEVER),
        }
    }

    /// `update()`.
    fn update(&self, half: usize, weight: usize) {
        self.half.store(half, Ordering::Relaxed);
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// `Slots::next()`, and `weight()`.
    fn read(&self) -> (usize, usize) {
        let dest = self.dest.load(Ordering::Acquire);
        (dest, self.weight.load(Ordering::Relaxed))
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

    /// `prepend()` and `publish()`; the copies in the slot are `half` and `weight`.
    fn prepend(&self, dest: usize, (half, weight): (usize, usize), publish: Ordering) {
        let number = self.first.load(Ordering::Relaxed) - 1;
        self.slots[number].update(half, weight);
        self.slots[number].dest.store(dest, Ordering::Relaxed);
        self.first.store(number, publish);
    }

    /// `clear()`.
    fn clear(&self, number: usize, empty: Ordering) {
        self.slots[number].update(0, 0);
        self.slots[number].dest.store(PLACEHOLDER, empty);
    }

    /// `any_half_idle()`, where no server that it meets is half idle: those servers. (One with a
    /// `half` of more than 0 would end the walk.)
    fn half_idle(&self) -> Vec<usize> {
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

    /// `accepting()`: its candidates.
    fn accepting(&self) -> Vec<usize> {
        let (mut met, mut at) = (vec![], self.first.load(Ordering::Acquire));
        // `Accepting::next()`.
        loop {
            let (dest, weight) = self.slot(at).read();
            if weight == NEVER {
                break;
            }
            let (found, dest) = match weight {
                0 => match self.next_open(at) {
                    None => break,
                    Some(found) => found,
                },
                _ => (at, dest),
            };
            assert_ne!(dest, PLACEHOLDER, "a candidate without a server");
            met.push(dest);
            at = found + 1;
        }
        assert_eq!(at.max(2), 2, "walked beyond the last slot");
        met
    }

    /// `Accepting::next_open()`, which begins with slot `at` once more.
    fn next_open(&self, mut at: usize) -> Option<(usize, usize)> {
        loop {
            match self.slot(at).read() {
                (_, NEVER) => return None,
                // Its own weight.
                (PLACEHOLDER, 0) => {}
                (dest, _) => return Some((at, dest)),
            }
            at += 1;
        }
    }

    fn slot(&self, at: usize) -> &Slot {
        self.slots.get(at).expect("walked beyond the last slot")
    }
}

/// A server comes, the one before it goes.
fn walk_while_servers_come_and_go(
    walk: fn(&Array) -> Vec<usize>,
    [one, two]: [(usize, usize); 2],
    [publish, empty]: [Ordering; 2],
) {
    let array = Arc::new(Array::new());
    array.prepend(1, one, Ordering::Release);
    let walked = array.clone();
    let reader = spawn(1, move || walk(&walked));
    array.prepend(2, two, publish);
    array.clear(1, empty);
    let met = reader.join().unwrap();
    assert!(matches!(met[..], [] | [1] | [2] | [2, 1]), "{met:?}");
    assert_eq!(walk(&array), [2]);
}

const RELEASE: [Ordering; 2] = [Ordering::Release; 2];

/// The copies of a server without a weight, or with an upper threshold.
const CLOSED: (usize, usize) = (0, 0);
/// The copies of a server with a weight.
const OPEN: (usize, usize) = (2, 3);

#[test]
fn a_walk_for_a_half_idle_server_ends_at_the_last_slot() {
    explore(|| walk_while_servers_come_and_go(Array::half_idle, [CLOSED, CLOSED], RELEASE));
}

#[test]
fn a_walk_over_servers_that_accept_ends_at_the_last_slot() {
    explore(|| walk_while_servers_come_and_go(Array::accepting, [OPEN, OPEN], RELEASE));
    explore(|| walk_while_servers_come_and_go(Array::accepting, [OPEN, CLOSED], RELEASE));
    explore(|| walk_while_servers_come_and_go(Array::accepting, [CLOSED, OPEN], RELEASE));
    explore(|| walk_while_servers_come_and_go(Array::accepting, [CLOSED, CLOSED], RELEASE));
}

/// The copies of the older of two servers change from and to 0 under a walk; then it goes.
fn edit_a_server_under_a_walk(before: (usize, usize), after: (usize, usize)) {
    let array = Arc::new(Array::new());
    array.prepend(1, before, Ordering::Release);
    array.prepend(2, before, Ordering::Release);
    let walked = array.clone();
    let reader = spawn(1, move || walked.accepting());
    array.slots[1].update(after.0, after.1);
    array.clear(1, Ordering::Release);
    let met = reader.join().unwrap();
    assert!(matches!(met[..], [2] | [2, 1]), "{met:?}");
}

#[test]
fn a_walk_meets_a_server_whose_weight_is_edited() {
    explore(|| edit_a_server_under_a_walk(CLOSED, OPEN));
    explore(|| edit_a_server_under_a_walk(OPEN, CLOSED));
}

/// The newer of two servers goes under a walk, which meets the older one all the same.
fn remove_a_server_under_a_walk(walk: fn(&Array) -> Vec<usize>, copies: (usize, usize)) {
    let array = Arc::new(Array::new());
    array.prepend(1, copies, Ordering::Release);
    array.prepend(2, copies, Ordering::Release);
    let walked = array.clone();
    let reader = spawn(1, move || walk(&walked));
    array.clear(0, Ordering::Release);
    let met = reader.join().unwrap();
    assert!(matches!(met[..], [1] | [2, 1]), "{met:?}");
}

#[test]
fn a_walk_does_not_end_at_a_server_that_is_removed() {
    explore(|| remove_a_server_under_a_walk(Array::half_idle, CLOSED));
    explore(|| remove_a_server_under_a_walk(Array::accepting, OPEN));
    explore(|| remove_a_server_under_a_walk(Array::accepting, CLOSED));
}

#[test]
#[should_panic(expected = "a candidate without a server")]
fn an_empty_slot_could_have_a_weight_without_release() {
    explore(|| {
        let orders = [Ordering::Release, Ordering::Relaxed];
        walk_while_servers_come_and_go(Array::accepting, [OPEN, OPEN], orders);
    });
}

#[test]
#[should_panic]
fn a_walk_could_miss_servers_without_release() {
    explore(|| {
        let array = Arc::new(Array::new());
        array.prepend(1, CLOSED, Ordering::Release);
        let walked = array.clone();
        let reader = spawn(1, move || walked.half_idle());
        array.prepend(2, CLOSED, Ordering::Relaxed);
        let met = reader.join().unwrap();
        assert!(met.contains(&1), "{met:?}");
    });
}

#[test]
#[should_panic]
fn a_walk_could_end_early_without_release() {
    explore(|| {
        let array = Arc::new(Array::new());
        array.prepend(1, OPEN, Ordering::Release);
        let walked = array.clone();
        let reader = spawn(1, move || walked.accepting());
        array.prepend(2, OPEN, Ordering::Relaxed);
        let met = reader.join().unwrap();
        assert!(met.contains(&1), "{met:?}");
    });
}
