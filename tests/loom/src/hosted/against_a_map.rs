// SPDX-License-Identifier: GPL-2.0

//! A million random operations on the table and on a plain map: all results must be the same.

use super::{
    hash_list::{HashList, Item, Node},
    platform::{grace_periods, let_run, read_lock, rescheds, with_memory_for, NodeBox, ReadSide},
};
use proptest::prelude::*;
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{
        atomic::{AtomicU32, AtomicUsize, Ordering},
        Arc,
    },
};

struct Thing {
    key: u32,
    value: AtomicU32,
    /// The number of live allocations.
    alive: Arc<AtomicUsize>,
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Multiplies by an odd number; bad ones, such as 1, put all keys into one chain.
#[derive(Clone)]
struct Hash(u64);

impl Hash {
    fn of(&self, key: u32) -> u64 {
        u64::from(key).wrapping_mul(self.0)
    }
}

impl Item for Thing {
    type Hash = Hash;

    fn hash(&self, hash: &Hash) -> u64 {
        hash.of(self.key)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u32),
    Find(u32),
    Forget(u32),
    /// Bits, another hash, and the number of allocations that succeed.
    Rebuild(u32, Option<u64>, usize),
    Reclaim,
    Visit(u32, usize),
    Shuffled(u64),
    Ranges(u32, u32),
}

const KEYS: u32 = 64;

fn step() -> impl Strategy<Value = Step> {
    let hash = || prop_oneof![Just(1), Just(1 << 58 | 1), any::<u64>().prop_map(|x| x | 1)];
    let memory = prop_oneof![9 => Just(usize::MAX), 1 => 0..3usize];
    prop_oneof![
        30 => (0..KEYS, any::<u32>()).prop_map(|(key, value)| Step::Put(key, value)),
        30 => (0..KEYS).prop_map(Step::Find),
        25 => (0..KEYS).prop_map(Step::Forget),
        3 => (0..9u32, prop::option::of(hash()), memory)
            .prop_map(|(bits, hash, memory)| Step::Rebuild(bits, hash, memory)),
        3 => Just(Step::Reclaim),
        3 => (any::<u32>(), 1..20usize).prop_map(|(start, goal)| Step::Visit(start, goal)),
        3 => any::<u64>().prop_map(Step::Shuffled),
        3 => (any::<u32>(), any::<u32>()).prop_map(|(from, to)| Step::Ranges(from, to)),
    ]
}

struct Both {
    table: HashList<Thing>,
    map: BTreeMap<u32, u32>,
    alive: Arc<AtomicUsize>,
    removed: usize,
    bits: u32,
    hash: Hash,
}

/// As `Table::find()`.
fn find<'g>(table: &'g HashList<Thing>, key: u32, rcu: ReadSide<'g>) -> Option<&'g Thing> {
    table.find(|hash| hash.of(key), |thing| thing.key == key, rcu)
}

impl Both {
    fn new(bits: u32) -> Self {
        let hash = Hash(0x9e37_79b9_7f4a_7c15);
        Self {
            table: HashList::new(bits, hash.clone()).unwrap(),
            map: BTreeMap::new(),
            alive: Arc::default(),
            removed: 0,
            bits,
            hash,
        }
    }

    /// As `Table::insert()`. The length of the chain must be right.
    fn put(&mut self, key: u32, value: u32) {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let before = self.table.lock(|hash| hash.of(key), rcu).walk(rcu).count();
        self.alive.fetch_add(1, Ordering::Relaxed);
        let new = NodeBox::new(Node::new(Thing {
            key,
            value: AtomicU32::new(value),
            alive: self.alive.clone(),
        }));
        let turn = |thing: &Thing| thing.value.swap(value, Ordering::Relaxed);
        let told = Cell::new(false);
        let tell = || told.set(true);
        let inserted = self
            .table
            .insert(new, |thing| thing.key == key, turn, tell, rcu);
        assert_eq!(told.get(), inserted.is_ok());
        assert_eq!(inserted.err(), self.map.insert(key, value));
        if let Ok(length) = inserted {
            assert_eq!(length, before + 1);
        }
    }

    /// As `Table::remove_if()`; a second removal must fail.
    fn forget(&mut self, key: u32) {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let found = find(&self.table, key, rcu);
        assert_eq!(found.is_some(), self.map.remove(&key).is_some());
        if let Some(thing) = found {
            let mut writer = self.table.lock(|hash| thing.hash(hash), rcu);
            assert!(writer.remove(thing) && !writer.remove(thing));
            self.removed += 1;
        }
    }

    fn rebuild(&mut self, bits: u32, hash: Option<u64>, memory: usize) {
        let change = hash.map(Hash);
        let before = grace_periods();
        let done = with_memory_for(memory, || self.table.rebuild(bits, change.clone()));
        assert_eq!(
            done.is_ok(),
            bits > 0 && memory >= 3,
            "{memory} allocations"
        );
        if done.is_ok() {
            assert_eq!(grace_periods(), before + 2);
            self.bits = bits;
            self.hash = change.unwrap_or(self.hash.clone());
        }
    }

    fn reclaim(&mut self) {
        let before = grace_periods();
        self.table.reclaim();
        assert_eq!(grace_periods() - before, usize::from(self.removed > 0));
        self.removed = 0;
        assert_eq!(self.alive.load(Ordering::Relaxed), self.map.len());
    }

    /// The upper half of the hash of `key`.
    fn upper(&self, key: u32) -> u64 {
        self.hash.of(key) >> 32
    }

    fn keys_in(&self, range: std::ops::Range<u64>) -> BTreeSet<u32> {
        let keys = self.map.keys().copied();
        keys.filter(|key| range.contains(&self.upper(*key)))
            .collect()
    }

    fn visit(&mut self, start: u32, goal: usize) {
        let (seen, asked) = (Cell::new(0), self.keys_in(u64::from(start)..1 << 32));
        let mut met = BTreeSet::new();
        let stopped = self.table.visit(start.into(), |thing, _| {
            seen.set(seen.get() + 1);
            met.insert(thing.key) && seen.get() < goal
        });
        assert_eq!(met.len(), seen.get(), "met twice");
        match stopped {
            None => assert_eq!(met, asked),
            // Entries of the chain where it stopped may be returned again, no other was missed.
            Some(at) => {
                assert!(at >= u64::from(start) && met.len() == goal);
                assert!(met.is_subset(&asked));
                assert!(self.keys_in(u64::from(start)..at).is_subset(&met));
            }
        }
    }

    fn shuffled(&self, random: u64) {
        let section = read_lock();
        let chains = self.table.shuffled(random, ReadSide::of(&section));
        let chains: Vec<Vec<u32>> = chains
            .map(|chain| chain.map(|it| it.key).collect())
            .collect();
        assert_eq!(chains.len(), 1 << self.bits);
        for chain in &chains {
            let numbers = chain
                .iter()
                .map(|key| self.hash.of(*key) >> (64 - self.bits));
            assert!(
                numbers.collect::<BTreeSet<_>>().len() <= 1,
                "in the wrong chain"
            );
        }
        // `random` determines the first chain.
        let number = |key: &u32| self.hash.of(*key) >> (64 - self.bits);
        if let Some(key) = chains[0].first() {
            assert_eq!(number(key), random & ((1 << self.bits) - 1));
        }
        let mut keys: Vec<u32> = chains.into_iter().flatten().collect();
        keys.sort();
        assert!(keys.iter().eq(self.map.keys()));
    }

    /// Iterates range by range up to `to`, as a reader of `/proc` does.
    fn ranges(&self, from: u32, to: u32) {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let (mut start, mut met) = (u64::from(from.min(to)), BTreeSet::new());
        let first = start;
        while start < u64::from(from.max(to)) {
            let end = self.table.range_end(start, rcu);
            assert!(start < end && end <= 1 << 32);
            let things: Vec<&Thing> = self.table.in_range(start..end, rcu).collect();
            let chains = things
                .iter()
                .map(|it| self.hash.of(it.key) >> (64 - self.bits));
            assert!(
                chains.collect::<BTreeSet<_>>().len() <= 1,
                "two chains at once"
            );
            for thing in things {
                assert!(met.insert(thing.key), "met twice");
            }
            start = end;
        }
        assert_eq!(met, self.keys_in(first..start.max(first)));
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Put(key, value) => self.put(key, value),
            Step::Find(key) => {
                let section = read_lock();
                let found = find(&self.table, key, ReadSide::of(&section));
                let value = found.map(|thing| thing.value.load(Ordering::Relaxed));
                assert_eq!(value, self.map.get(&key).copied());
            }
            Step::Forget(key) => self.forget(key),
            Step::Rebuild(bits, hash, memory) => self.rebuild(bits, hash, memory),
            Step::Reclaim => self.reclaim(),
            Step::Visit(start, goal) => self.visit(start, goal),
            Step::Shuffled(random) => self.shuffled(random),
            Step::Ranges(from, to) => self.ranges(from, to),
        }
        let section = read_lock();
        assert_eq!(self.table.len(), self.map.len());
        assert_eq!(self.table.in_limbo(), self.removed);
        assert_eq!(self.table.buckets(ReadSide::of(&section)), 1 << self.bits);
        assert_eq!(
            self.alive.load(Ordering::Relaxed),
            self.map.len() + self.removed
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_million_operations_as_on_a_map(
        bits in 1..9u32,
        steps in prop::collection::vec(step(), 500),
    ) {
        let mut both = Both::new(bits);
        for step in &steps {
            both.take(step);
        }
        let alive = both.alive.clone();
        drop(both);
        prop_assert_eq!(alive.load(Ordering::Relaxed), 0, "leaked");
    }
}

#[test]
fn an_abandoned_table_is_left_alone() {
    let mut both = Both::new(4);
    for key in 0..KEYS {
        both.put(key, key);
    }
    assert!(!both.table.is_cancelled());
    both.table.cancel();
    assert!(both.table.is_cancelled());
    assert_eq!(both.table.visit(0, |_, _| panic!("visited")), None);
    both.table.rebuild(6, Some(Hash(1))).unwrap();
    both.take(&Step::Find(1));
    both.take(&Step::Forget(1));
    both.table.resume();
    assert!(!both.table.is_cancelled());
    both.table.rebuild(6, Some(Hash(1))).unwrap();
    both.bits = 6;
    for key in 0..KEYS {
        both.take(&Step::Find(key));
    }
}

#[test]
fn freeing_many_entries_reschedules() {
    let mut both = Both::new(4);
    for key in 0..600 {
        both.put(key, key);
        both.take(&Step::Forget(key));
    }
    let before = rescheds();
    both.take(&Step::Reclaim);
    assert_eq!(rescheds() - before, 600 / 256);
}

/// Two keys in the same chain of two chains, and in different ones of four.
const NEIGHBOURS: [u32; 2] = [0, 1 << 30];
#[test]
fn a_removed_entry_has_the_locked_hash_in_both_arrays() {
    let table = HashList::new(1, Hash(1 << 32)).unwrap();
    let table: &HashList<Thing> = Box::leak(Box::new(table));
    let alive: Arc<AtomicUsize> = Arc::default();
    {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        for key in NEIGHBOURS {
            let (value, alive) = (AtomicU32::new(0), alive.clone());
            let new = NodeBox::new(Node::new(Thing { key, value, alive }));
            let inserted = table.insert(new, |thing| thing.key == key, |_| (), || (), rcu);
            assert!(inserted.is_ok());
        }
    }
    let removed = Arc::new(AtomicUsize::new(usize::MAX));
    let seen = removed.clone();
    // While the table grows: the first chain was rehashed.
    let_run(move || {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let thing = find(table, NEIGHBOURS[1], rcu).unwrap();
        let mut writer = table.lock(|hash| hash.of(NEIGHBOURS[0]), rcu);
        assert_eq!(writer.walk(rcu).count(), 2, "one chain has both");
        let removed = usize::from(writer.remove(thing));
        seen.store(removed, Ordering::Relaxed);
    });
    table.rebuild(2, None).unwrap();
    assert_eq!(removed.load(Ordering::Relaxed), 0);
    let section = read_lock();
    assert!(find(table, NEIGHBOURS[1], ReadSide::of(&section)).is_some());
}

#[test]
fn there_are_two_chains_at_least() {
    assert!(HashList::<Thing>::new(0, Hash(1)).is_err());
    assert!(HashList::<Thing>::new(32, Hash(1)).is_err());
}
