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

/// What is remembered of one destination address.
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

    /// The server that the address went to.
    #[inline(always)]
    pub(super) fn server<'g>(&'g self, rcu: ReadSide<'g>) -> &'g Server {
        self.server.get(rcu)
    }

    /// For how long the entry had not been used at `now`; both in jiffies.
    #[inline(always)]
    pub(super) fn idle(&self, now: Jiffies) -> Jiffies {
        idle_time(now, self.last_use.load(Ordering::Relaxed))
    }

    /// Notes that its server is back.
    pub(super) fn refresh(&self, rcu: ReadSide<'_>) {
        self.server.refresh(rcu);
    }

    /// A fast check of its server, by its active connections, or with `all` by all of them.
    #[inline(always)]
    pub(super) fn check_fast<'g>(&'g self, all: bool, rcu: ReadSide<'g>) -> FastCheck<'g> {
        self.server.check_fast(all, rcu)
    }

    /// Turns it to `server`, as another one was chosen, or it had expired. Returns the server
    /// before that, if it was another one. Under the lock of its chain.
    pub(super) fn turn<'g>(
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

    /// Notes that the entry was asked for, unless it has been idle for longer than `expiration`.
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
