// SPDX-License-Identifier: GPL-2.0

//! The table of a service: to which server each destination address went last.
//!
//! Readers take no lock. An entry of a server that was removed stays: it is good again as soon as
//! the server is back. When the table is full, the least recently used of a few entries makes room.

use super::{
    counters::{
        Counters,
        Event, //
    },
    entry::Entry,
    hash::Hash,
    policy,
    report,
    scheduler::Lblc, //
};
use crate::{
    ipvs::{
        Address,
        DestSlot,
        Header,
        Netns,
        SchedContext,
        Scheduler,
        Server,
        Service, //
    },
    jiffies::{
        self,
        HZ, //
    },
    memcg::MemCgroup,
    netns::{
        trace,
        Admission,
        ChangeKind,
        ChangeReason,
        Outcome,
        Setting, //
    },
    random,
    rcu::{
        hash_list::{
            self,
            HashList, //
        },
        NodeBox,
        ReadSide, //
    },
    work::cond_resched, //
};
use core::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering, //
};
use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
    time::Jiffies, //
};

/// The number of removed entries that may wait to be freed, unless the limit of the table is
/// greater: then as many as that.
const LIMBO: usize = 4096;

/// The table. Its methods may be called in any context but hard interrupt unless they say
/// otherwise.
pub(crate) struct Table {
    pub(super) list: HashList<Entry>,
    pub(super) netns: Arc<Netns<Lblc>>,
    /// The memory cgroup of the process that made the table: larger arrays of buckets, which the
    /// work item allocates, are charged to it as well.
    pub(super) memcg: MemCgroup,
    /// With more entries than this, an insertion queues the work item, which calls `fit()`.
    pub(super) roomy: AtomicUsize,
    /// A long chain was seen: an attacker may know the key of the hash.
    pub(super) suspect: AtomicBool,
    /// A rebuild failed for lack of memory. It is tried again at the next tick.
    pub(super) starved: AtomicBool,
}

impl Table {
    /// An empty table. Process context; fails with `ENOMEM`.
    pub(super) fn new(netns: Arc<Netns<Lblc>>) -> Result<Self> {
        let bits = policy::table_bits(0, 0);
        let list = HashList::new(bits, Hash::new(random::number))?;
        netns.state().charge_service()?;
        Ok(Self {
            list,
            netns,
            memcg: MemCgroup::of_current(),
            roomy: AtomicUsize::new(policy::most_entries(bits)),
            suspect: AtomicBool::new(false),
            starved: AtomicBool::new(false),
        })
    }

    /// The hash list of the entries.
    pub(super) fn list(&self) -> &HashList<Entry> {
        &self.list
    }

    /// The limit on the number of entries. Any context; a plain load.
    pub(super) fn max_entries(&self) -> usize {
        self.netns.state().get(Setting::MaxEntries) as usize
    }

    /// The memory of entries and buckets, in bytes.
    pub(super) fn bytes(&self, rcu: ReadSide<'_>) -> usize {
        let (entry, chain) = policy::ENTRY_BYTES;
        let entries = self.list.len().wrapping_mul(entry);
        entries.wrapping_add(self.list.buckets(rcu).wrapping_mul(chain))
    }

    /// Finds the entry of `key`. Takes no lock.
    #[inline(always)]
    pub(super) fn find<'g>(&'g self, key: Address, rcu: ReadSide<'g>) -> Option<&'g Entry> {
        let of = |hash: &Hash| hash.of(key.words());
        self.list.find(of, |entry| entry.key == key, rcu)
    }

    /// Finds the entry for a packet, in less time than `find()`. Takes no lock.
    #[inline(always)]
    pub(super) fn lookup<'g>(&'g self, header: Header<'g>, rcu: ReadSide<'g>) -> Option<&'g Entry> {
        if let Some(header) = header.ipv6() {
            let of = |hash: &Hash| hash.of(header.destination_words());
            let is_it = |entry: &Entry| entry.key == header.destination();
            return self.list.find(of, is_it, rcu);
        }
        let word = header.destination().words()[0];
        let of = |hash: &Hash| hash.of_word(word);
        self.list.find(of, |entry| entry.key.0 as u32 == word, rcu)
    }

    /// Reassigns the entry of `key` to `server`. Allocates nothing. If the entry was removed
    /// meanwhile, the next connection makes another one.
    pub(super) fn reassign(
        &self,
        call: SchedContext<'_, impl Scheduler>,
        key: Address,
        server: &Server,
        reason: ChangeReason,
        counters: &Counters,
    ) {
        let rcu = call.rcu;
        let writer = self.list.lock(|hash| hash.of(key.words()), rcu);
        if let Some(entry) = writer.walk(rcu).find(|entry| entry.key == key) {
            self.reassign_found(call, entry, (server, jiffies::now()), reason, counters);
        }
    }

    /// Reassigns `entry`, whose chain is locked, to a server, and sets its last use.
    #[inline(never)]
    fn reassign_found(
        &self,
        call: SchedContext<'_, impl Scheduler>,
        entry: &Entry,
        target: (&Server, Jiffies),
        reason: ChangeReason,
        counters: &Counters,
    ) {
        if let Some(old) = entry.reassign(target, counters, call.rcu) {
            report::reassigned(self.listeners(call.service), entry, old, reason, call.rcu);
        }
    }

    /// Inserts an entry of `key` with `server`. If memory is short, or a bound on it is reached,
    /// there is no entry, and the next connection tries again.
    pub(super) fn insert(
        &self,
        call: SchedContext<'_, impl Scheduler>,
        key: Address,
        server: &Server,
        counters: &Counters,
    ) {
        let (target, reason) = ((server, jiffies::now()), ChangeReason::Unknown);
        // Another CPU may have inserted one meanwhile, perhaps with the same server.
        let found = |entry: &Entry| self.reassign_found(call, entry, target, reason, counters);
        let _ = self.insert_or(call, key, target, reason, counters, found);
    }

    /// Sets the entry of `key` to `server` and a last use `idle` jiffies ago. With `keep_newer`, an
    /// entry whose last use was then or later is kept. Fails with `ENOMEM` if an entry is needed,
    /// and memory is short or a bound on it is reached.
    pub(super) fn set(
        &self,
        call: SchedContext<'_, impl Scheduler>,
        key: Address,
        (server, idle): (&Server, Jiffies),
        keep_newer: bool,
        counters: &Counters,
    ) -> Result<Outcome> {
        let (now, rcu) = (jiffies::now(), call.rcu);
        let (target, reason) = ((server, now.wrapping_sub(idle)), ChangeReason::Operator);
        let change = |entry: &Entry| {
            if keep_newer && entry.idle(now) <= idle {
                return Outcome::Kept;
            }
            self.reassign_found(call, entry, target, reason, counters);
            Outcome::Changed
        };
        {
            let writer = self.list.lock(|hash| hash.of(key.words()), rcu);
            if let Some(entry) = writer.walk(rcu).find(|entry| entry.key == key) {
                return Ok(change(entry));
            }
        }
        let found = self.insert_or(call, key, target, reason, counters, change);
        Ok(found?.unwrap_or(Outcome::Created))
    }

    /// Inserts an entry and returns `None`; or, if there is one, calls `found` with it, under the
    /// lock of its chain, and returns the result. Fails with `ENOMEM`, as [`set()`](Self::set).
    fn insert_or<R>(
        &self,
        call: SchedContext<'_, impl Scheduler>,
        key: Address,
        (server, last_use): (&Server, Jiffies),
        reason: ChangeReason,
        counters: &Counters,
        found: impl FnOnce(&Entry) -> R,
    ) -> Result<Option<R>> {
        let rcu = call.rcu;
        let fail = || {
            counters.count(Event::Failure);
            self.netns.give_back_parked();
            Err(ENOMEM)
        };
        let (len, in_limbo) = (self.list.len(), self.list.in_limbo());
        let (max, admission) = (self.max_entries(), self.netns.state().admission(len));
        if in_limbo > LIMBO.max(max) || admission == Admission::Denied {
            // Entries are removed faster than they are freed.
            call.work().queue();
            return fail();
        }
        let entry = Entry {
            key,
            server: DestSlot::new(server),
            last_use: AtomicUsize::new(last_use),
        };
        let Ok(new) = NodeBox::new(hash_list::Node::new(entry), GFP_ATOMIC) else {
            return fail();
        };
        if admission != Admission::Granted {
            self.netns.give_back_parked();
        }
        // Evict before inserting: the work item, which trims, might evict as well otherwise.
        let full = len >= max || admission != Admission::Granted;
        let evicted = full && self.evict(call.service, counters, rcu);
        if admission != Admission::Granted && !evicted {
            // The table is empty, and the other tables use all that the namespace may have.
            call.work().queue();
            return fail();
        }
        let inserted = || {
            let listeners = self.listeners(call.service);
            report::inserted(listeners, key, (server, last_use), reason);
        };
        let is_it = |entry: &Entry| entry.key == key;
        let length = match self.list.insert(new, is_it, found, inserted, rcu) {
            Ok(length) => length,
            Err(found) => return Ok(Some(found)),
        };
        // The entry is not freed and uncharged before this read-side section ends.
        self.netns.state().charge_entry();
        counters.count(Event::Insert);
        if length > policy::LONG_CHAIN {
            self.suspect.store(true, Ordering::Relaxed);
        }
        let unfit = length > policy::LONG_CHAIN || len >= self.roomy.load(Ordering::Relaxed);
        if full || unfit && !self.starved.load(Ordering::Relaxed) {
            call.work().queue();
        }
        Ok(None)
    }

    /// Evicts one of a few entries: one whose server was removed, or else the one that has been
    /// idle longest. Returns whether this call removed an entry.
    fn evict(&self, service: &Service, counters: &Counters, rcu: ReadSide<'_>) -> bool {
        let now = jiffies::now();
        let rank = |entry: &&Entry| policy::EvictionRank {
            removed: entry.server(rcu).is_removed(),
            idle: entry.idle(now),
        };
        let chains = self.list.shuffled(random::number(), rcu);
        // Consider the best entry of each chain, not the first: entries are pushed at the head, so
        // the first is the newest, and entries of one chain may be related.
        let any = chains
            .take(policy::EvictionRank::CHAINS)
            .filter_map(|chain| chain.max_by_key(rank));
        let victim = any.take(policy::EvictionRank::SAMPLE).max_by_key(rank);
        let how = (service, ChangeKind::Evict);
        let removed = victim.filter(|victim| self.remove_if(how, victim, |_| true, rcu));
        let Some(victim) = removed else {
            return false;
        };
        counters.count(Event::Eviction);
        let idle = victim.idle(now) / HZ;
        trace::evict(service, victim.key, victim.server(rcu), idle);
        true
    }

    /// Removes `entry` if `still` returns true for it under the lock of its chain. Returns whether
    /// this call removed it.
    pub(super) fn remove_if(
        &self,
        (service, kind): (&Service, ChangeKind),
        entry: &Entry,
        still: impl FnOnce(&Entry) -> bool,
        rcu: ReadSide<'_>,
    ) -> bool {
        let mut writer = self.list.lock(|hash| hash.of(entry.key.words()), rcu);
        let removed = still(entry) && writer.remove(entry);
        if removed {
            report::removed(self.listeners(service), entry, kind, rcu);
        }
        removed
    }

    /// Removes entries that have been idle for `limit` jiffies, beginning with hash `start`, until
    /// `goal` of them are removed or the end is reached. Returns the hash with which to begin the
    /// next time. Process context, may sleep.
    pub(super) fn collect(
        &self,
        service: &Service,
        start: u64,
        (limit, goal): (Jiffies, usize),
        counters: &Counters,
    ) -> u64 {
        let mut collected = 0usize;
        let is_idle = |entry: &Entry| entry.idle(jiffies::now()) >= limit;
        let how = (service, ChangeKind::Expire);
        let visit = |entry: &Entry, rcu: ReadSide<'_>| {
            if is_idle(entry) && self.remove_if(how, entry, is_idle, rcu) {
                collected = collected.wrapping_add(1);
                counters.count(Event::Expiry);
            }
            collected < goal
        };
        let stopped = self.list.visit(start, visit);
        stopped.unwrap_or(0)
    }

    /// Evicts entries above the limit, which may have been lowered. Process context, may sleep.
    pub(super) fn trim(&self, service: &Service, counters: &Counters) {
        let mut failures = 0u32;
        while self.list.len() > self.max_entries() && !self.list.is_cancelled() {
            let (evicted, shrink) = {
                let section = rcu::read_lock();
                let rcu = ReadSide::of(&section);
                let (now, wanted) = self.bits(rcu);
                (self.evict(service, counters, rcu), wanted < now)
            };
            if shrink || self.list.in_limbo() >= LIMBO {
                self.reclaim();
                self.fit(service, counters);
            }
            // Another CPU may have evicted the same entry, or the sample was empty.
            failures = if evicted { 0 } else { failures.wrapping_add(1) };
            if failures > 100 {
                return;
            }
            cond_resched();
        }
    }

    /// Frees the removed entries, after a grace period. Process context, may sleep.
    pub(super) fn reclaim(&self) {
        self.netns.state().uncharge(self.list.reclaim());
    }

    /// Makes long operations return soon: the table will be dropped or parked. Any context.
    pub(super) fn cancel(&self) {
        self.list.cancel();
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let entries = self.list.len().wrapping_add(self.list.in_limbo());
        let state = self.netns.state();
        state.uncharge(entries);
        state.uncharge_service();
    }
}
