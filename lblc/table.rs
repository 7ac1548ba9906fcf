// SPDX-License-Identifier: GPL-2.0

//! The table of a service: to which server each destination address went last.
//!
//! Readers take no lock. Who changes the table holds its lock. An entry's server never changes: a new
//! entry goes in before the old one comes out, so that a reader always finds one of them.
//!
//! An entry holds a reference on its server, also when that was removed from the service: the entry
//! is good again as soon as the server is back.

use super::{
    hash::Hash,
    policy::{is_idle, HARD_MAX_ENTRIES},
};
use crate::{
    ipvs::{Address, Dest, DestRef},
    random,
    rcu::{
        hash_list::{self, HashList},
        ReadSide,
    },
    timer,
};
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::{prelude::*, static_lock_class, time::Jiffies};

/// C: `IP_VS_LBLC_TAB_BITS`.
const BUCKET_BITS: u32 = 10;
pub(super) const BUCKETS: usize = 1 << BUCKET_BITS;

/// What is remembered of one destination address.
pub(crate) struct Entry {
    key: Address,
    dest: DestRef,
    /// In jiffies.
    last_use: AtomicUsize,
}

impl Entry {
    /// The destination address.
    pub(crate) fn key(&self) -> &Address {
        &self.key
    }

    /// When the entry was last asked for, in jiffies.
    pub(crate) fn last_use(&self) -> Jiffies {
        self.last_use.load(Ordering::Relaxed)
    }

    /// The server that the address went to.
    #[inline(always)]
    pub(crate) fn dest(&self) -> &Dest {
        &self.dest
    }

    /// Notes that the entry was asked for, unless it has been idle for longer than `expiration`.
    #[inline(always)]
    fn touch(&self, expiration: Jiffies) -> bool {
        let (now, last_use) = (timer::now(), self.last_use.load(Ordering::Relaxed));
        // A store that changes nothing would still take the cache line from other CPUs.
        if last_use != now {
            if is_idle(now, last_use, expiration.saturating_add(1)) {
                return false;
            }
            self.last_use.store(now, Ordering::Relaxed);
        }
        true
    }
}

/// What the lock protects besides the chains.
struct State {
    entries: usize,
    /// The bucket at which the last collection stopped.
    rover: usize,
    /// The service has let go: nothing is remembered any more.
    dead: bool,
}

/// The table. Its methods may be called in any context but hard interrupt unless they say otherwise.
#[pin_data]
pub(crate) struct Table {
    hash: Hash,
    #[pin]
    list: HashList<Entry, State>,
}

impl Table {
    /// An empty table. Process context; fails with `ENOMEM`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        let state = State {
            entries: 0,
            rover: 0,
            dead: false,
        };
        try_pin_init!(Self {
            hash: Hash::new(random::number),
            list <- HashList::new(BUCKETS, state, c"lblc_rs_table", static_lock_class!()),
        })
    }

    #[inline(always)]
    fn bucket(&self, key: &Address) -> usize {
        (self.hash.of(key) >> (u32::BITS - BUCKET_BITS)) as usize
    }

    /// Finds the entry of `key` and notes its use, unless it has been idle for longer than
    /// `expiration`. Takes no lock.
    #[inline(always)]
    pub(crate) fn find<'g>(
        &'g self,
        key: &Address,
        expiration: Jiffies,
        rcu: ReadSide<'g>,
    ) -> Option<&'g Entry> {
        let mut entries = self.list.walk(self.bucket(key), rcu);
        let entry = entries.find(|entry| entry.key == *key)?;
        entry.touch(expiration).then_some(entry)
    }

    /// The entries of one bucket. Takes no lock.
    pub(crate) fn bucket_entries<'g>(
        &'g self,
        bucket: usize,
        rcu: ReadSide<'g>,
    ) -> impl Iterator<Item = &'g Entry> {
        self.list.walk(bucket, rcu)
    }

    /// Remembers that `key` went to `dest`, if there is room and memory for it.
    pub(crate) fn remember(&self, key: &Address, dest: &Dest) {
        let bucket = self.bucket(key);
        let mut writer = self.list.lock();
        if writer.state().dead {
            return;
        }
        let known = writer
            .walk(bucket)
            .find(|entry| entry.key == *key)
            .map(|entry| {
                let same = entry.dest().is(dest);
                if same {
                    // An expired entry that gets the same server again lives on; no other does.
                    entry.last_use.store(timer::now(), Ordering::Relaxed);
                }
                same
            });
        // Another CPU may have been faster with the same answer. Replacing needs no more room.
        if known == Some(true) || (known.is_none() && writer.state().entries >= HARD_MAX_ENTRIES) {
            return;
        }
        let entry = Entry {
            key: *key,
            dest: DestRef::from(dest),
            last_use: AtomicUsize::new(timer::now()),
        };
        let Ok(entry) = KBox::new(hash_list::Entry::new(entry), GFP_ATOMIC) else {
            return; // The connection goes on; the next one asks again.
        };
        writer.insert(bucket, entry);
        let replaced = writer.remove_if(bucket, |old| old.key == *key && !old.dest().is(dest));
        let state = writer.state();
        state.entries = state.entries.wrapping_add(1).wrapping_sub(replaced);
    }

    /// The number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.list.lock().state().entries
    }

    /// Forgets entries that have been idle for `limit`, bucket after bucket from where the last call
    /// stopped, until all buckets were seen or `goal` entries are gone.
    pub(crate) fn collect(&self, limit: Jiffies, goal: usize) {
        let now = timer::now();
        let mut collected = 0;
        for _ in 0..BUCKETS {
            let mut writer = self.list.lock();
            let bucket = writer.state().rover.wrapping_add(1) % BUCKETS;
            let gone = writer.remove_if(bucket, |entry| {
                is_idle(now, entry.last_use.load(Ordering::Relaxed), limit)
            });
            let state = writer.state();
            state.entries = state.entries.wrapping_sub(gone);
            state.rover = bucket;
            collected = gone.saturating_add(collected);
            if collected >= goal {
                break;
            }
        }
    }

    /// Forgets everything, for good.
    pub(crate) fn close(&self) {
        self.list.lock().state().dead = true;
        for bucket in 0..BUCKETS {
            let mut writer = self.list.lock();
            let gone = writer.remove_if(bucket, |_| true);
            let state = writer.state();
            state.entries = state.entries.wrapping_sub(gone);
        }
    }
}
