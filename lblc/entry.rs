// SPDX-License-Identifier: GPL-2.0

//! An entry of a service's table: the server that one destination address went to last.

#[cfg(CONFIG_64BIT)]
use super::policy::ENTRY_BYTES;
use super::{
    counters::{
        Counters,
        Event, //
    },
    hash::Hash,
    policy::{
        idle_time,
        is_expired, //
    }, //
};
use crate::{
    ipvs::{
        Address,
        DestSlot,
        FastCheck,
        Server, //
    },
    jiffies,
    rcu::{
        hash_list,
        ReadSide, //
    }, //
};
use core::sync::atomic::{
    AtomicUsize,
    Ordering, //
};
use kernel::time::Jiffies;

/// An entry of a table: the server of one destination address, and the time of its last use.
pub(crate) struct Entry {
    pub(super) key: Address,
    pub(super) server: DestSlot,
    /// In jiffies.
    pub(super) last_use: AtomicUsize,
}

#[cfg(CONFIG_64BIT)]
const _: () = assert!(size_of::<hash_list::Node<Entry>>() == ENTRY_BYTES.0);

impl hash_list::Item for Entry {
    type Hash = Hash;

    fn hash(&self, hash: &Hash) -> u64 {
        hash.of(self.key.words())
    }
}

impl Entry {
    /// The destination address.
    pub(super) fn key(&self) -> Address {
        self.key
    }

    /// The server of the address. Any context; a plain load.
    #[inline(always)]
    pub(super) fn server<'g>(&'g self, rcu: ReadSide<'g>) -> &'g Server {
        self.server.get(rcu)
    }

    /// For how long the entry had not been used at `now`; both in jiffies.
    #[inline(always)]
    pub(super) fn idle(&self, now: Jiffies) -> Jiffies {
        idle_time(now, self.last_use.load(Ordering::Relaxed))
    }

    /// Updates the hint in the `DestSlot`, after the server was added again. Any context.
    pub(super) fn refresh(&self, rcu: ReadSide<'_>) {
        self.server.refresh(rcu);
    }

    /// A fast check of its server, by its active connections, or with `all` by all of them.
    #[inline(always)]
    pub(super) fn check_fast<'g>(&'g self, all: bool, rcu: ReadSide<'g>) -> FastCheck<'g> {
        self.server.check_fast(all, rcu)
    }

    /// Reassigns the entry to `server`, which may be the one that it has, and sets its last use, in
    /// jiffies. Returns the server before that, if it was another one. Under the lock of the
    /// entry's chain. C: `ip_vs_lblc_new()`.
    pub(super) fn reassign<'g>(
        &'g self,
        (server, last_use): (&Server, Jiffies),
        counters: &Counters,
        rcu: ReadSide<'g>,
    ) -> Option<&'g Server> {
        let old = self.server(rcu);
        let is_other = !core::ptr::eq(old, server);
        if is_other {
            self.server.set(server);
            counters.count(Event::Replace);
        }
        self.last_use.store(last_use, Ordering::Relaxed);
        is_other.then_some(old)
    }

    /// Makes the present time that of the last use, unless the entry has been idle for more than
    /// `expiration` jiffies. Returns whether the entry may be used. Any context; plain loads and at
    /// most one plain store.
    #[inline(always)]
    pub(super) fn touch(&self, expiration: impl FnOnce() -> i32) -> bool {
        let (now, last_use) = (jiffies::now(), self.last_use.load(Ordering::Relaxed));
        // A store that changes nothing would still take the cache line from other CPUs.
        if last_use != now {
            if is_expired(now, last_use, expiration()) {
                return false;
            }
            self.last_use.store(now, Ordering::Relaxed);
        }
        true
    }
}
