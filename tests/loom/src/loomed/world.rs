// SPDX-License-Identifier: GPL-2.0

//! What the models have in common: items, hashes, and the table used as `lblc/table.rs` does.

use super::{
    hash_list::{HashList, Item, Node},
    memory::{self, KBox, Life},
    platform::{read_lock, AtomicPtr, Ordering, ReadSide},
    rcu,
};
use std::sync::{atomic::AtomicUsize as Counter, Arc};

pub(super) struct Thing {
    key: u32,
    /// In the place of the kernel's `DestSlot`: a number.
    value: AtomicPtr<()>,
    life: Life,
}

impl Thing {
    fn new(key: u32, value: usize) -> KBox<Node<Self>> {
        KBox::new(Node::new(Self {
            key,
            value: AtomicPtr::new(value as *mut ()),
            life: Life::begin(),
        }))
    }

    pub(super) fn key(&self) -> u32 {
        self.life.check();
        self.key
    }

    pub(super) fn value(&self) -> usize {
        self.value.load(Ordering::Relaxed) as usize
    }
}

impl Item for Thing {
    type Hash = Hash;

    fn hash(&self, hash: &Hash) -> u64 {
        hash.of(self.key())
    }
}

/// How keys spread over chains.
pub(super) struct Hash {
    spread: fn(u32) -> u64,
    life: Life,
}

impl Hash {
    fn new(spread: fn(u32) -> u64) -> Self {
        Self {
            spread,
            life: Life::begin(),
        }
    }

    fn of(&self, key: u32) -> u64 {
        self.life.check();
        (self.spread)(key)
    }
}

impl Clone for Hash {
    fn clone(&self) -> Self {
        self.life.check();
        Self::new(self.spread)
    }
}

/// All keys in the first chain.
pub(super) const TOGETHER: fn(u32) -> u64 = |key| key as u64;
/// Of 2 chains, even keys in the first and odd ones in the last; of 4, all apart.
pub(super) const APART: fn(u32) -> u64 = |key| (key as u64).reverse_bits();
/// All keys in the last chain, in the opposite order.
pub(super) const LAST: fn(u32) -> u64 = |key| !(key as u64);

/// The table. Copies of this are the same one.
#[derive(Clone, Copy)]
pub(super) struct World {
    list: &'static HashList<Thing>,
}

impl World {
    /// A table with 2 chains. Its keys have ten times their number for a value.
    pub(super) fn new(spread: fn(u32) -> u64, keys: &[u32]) -> Self {
        let list = HashList::new(1, Hash::new(spread)).unwrap();
        let world = Self {
            list: Box::leak(Box::new(list)),
        };
        for key in keys {
            assert!(world.put(*key, *key as usize * 10));
        }
        world
    }

    pub(super) fn list(&self) -> &'static HashList<Thing> {
        self.list
    }

    /// As `Table::find()`.
    pub(super) fn find_in<'g>(&'g self, key: u32, rcu: ReadSide<'g>) -> Option<&'g Thing> {
        self.list
            .find(|hash| hash.of(key), |thing| thing.key() == key, rcu)
    }

    /// The value of `key`.
    pub(super) fn find(&self, key: u32) -> Option<usize> {
        let section = read_lock();
        let thing = self.find_in(key, ReadSide::of(&section));
        thing.map(Thing::value)
    }

    /// As `Table::insert()`: whether it is new.
    pub(super) fn put(&self, key: u32, value: usize) -> bool {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let new = Thing::new(key, value);
        let turn = |thing: &Thing| thing.value.store(value as *mut (), Ordering::Relaxed);
        self.list
            .insert(new, |thing| thing.key() == key, turn, || (), rcu)
            .is_ok()
    }

    /// As `Table::remove_if()`: returns whether this call removed the entry.
    pub(super) fn forget(&self, key: u32) -> bool {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let Some(thing) = self.find_in(key, rcu) else {
            return false;
        };
        let mut writer = self.list.lock(|hash| thing.hash(hash), rcu);
        writer.remove(thing)
    }

    /// As the collector: removes `key` if it still has this value under the lock.
    pub(super) fn collect(&self, key: u32, value: usize) -> bool {
        let mut collected = false;
        self.list.visit(0, |thing, rcu| {
            if thing.key() == key && thing.value() == value {
                let mut writer = self.list.lock(|hash| thing.hash(hash), rcu);
                collected = thing.value() == value && writer.remove(thing);
            }
            true
        });
        collected
    }

    /// Finds `key` under the lock, and removes it.
    pub(super) fn take(&self, key: u32) -> bool {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let mut writer = self.list.lock(|hash| hash.of(key), rcu);
        let thing = writer.walk(rcu).find(|thing| thing.key() == key);
        thing.is_some_and(|thing| writer.remove(thing))
    }

    /// Gives it `1 << bits` chains, and another hash.
    pub(super) fn rebuild(&self, bits: u32, spread: Option<fn(u32) -> u64>) {
        self.list.rebuild(bits, spread.map(Hash::new)).unwrap();
    }

    /// All keys that a walk over the table meets.
    pub(super) fn keys(&self) -> Vec<u32> {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let things = self.list.shuffled(1 | 1 << 33, rcu).flatten();
        let mut keys: Vec<u32> = things.map(Thing::key).collect();
        keys.sort();
        keys
    }

    /// All keys that a visitor meets.
    pub(super) fn visited(&self) -> Vec<u32> {
        let mut keys = Vec::new();
        let all = self.list.visit(0, |thing, _| {
            keys.push(thing.key());
            true
        });
        assert_eq!(all, None);
        keys.sort();
        keys
    }

    /// Asserts the contents of the table, after the last change.
    pub(super) fn is(&self, expected: &[(u32, usize)]) {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let things = self.list.shuffled(0, rcu).flatten();
        let mut all: Vec<(u32, usize)> = things.map(|it| (it.key(), it.value())).collect();
        all.sort();
        assert_eq!(all, expected, "entries lost or doubled");
        for (key, _) in expected {
            assert!(self.find_in(*key, rcu).is_some(), "in the wrong chain");
        }
        assert_eq!(self.list.len(), expected.len());
    }

    /// Frees the table, after its last use, and asserts that all of its memory is freed.
    pub(super) fn drop(self) {
        // SAFETY: `self.list` was leaked by `new()`, and no thread uses it any more.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(self.list).cast_mut()) });
        memory::all_freed();
    }
}

/// Runs `model` in every order with at most three preemptions, and says how many these were.
pub(super) fn explore(model: fn()) {
    explore_with(3, model);
}

/// As `explore()`, with at most `preemptions`: two, for models that take too long otherwise.
pub(super) fn explore_with(preemptions: usize, model: fn()) {
    let number = Arc::new(Counter::new(0));
    let counter = number.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 10_000;
    let start = std::time::Instant::now();
    builder.check(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        rcu::init();
        model();
    });
    let number = number.load(std::sync::atomic::Ordering::Relaxed);
    println!(
        "{number} executions in {:.1} s",
        start.elapsed().as_secs_f32()
    );
    assert!(number > 1, "the threads did not meet");
}
