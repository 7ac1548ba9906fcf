// SPDX-License-Identifier: GPL-2.0

//! The size of a table, and its hash, follow what is in it.

use super::{
    counters::{
        Counters,
        Event, //
    },
    hash::Hash,
    policy,
    table::Table, //
};
use crate::{
    ipvs::Service,
    netns::trace,
    random,
    rcu::ReadSide, //
};
use core::sync::atomic::Ordering;
use kernel::sync::rcu;

impl Table {
    /// Lets a rebuild be tried again that failed for memory.
    pub(super) fn retry(&self) {
        self.starved.store(false, Ordering::Relaxed);
    }

    /// The number of bits that choose a chain, and the number that it should be.
    pub(super) fn bits(&self, rcu: ReadSide<'_>) -> (u32, u32) {
        let bits = self.list.buckets(rcu).trailing_zeros();
        (bits, policy::table_bits(bits, self.list.len()))
    }

    /// Gives the table the size that it should have, and a new hash if that is suspect. Process
    /// context, may sleep; one at a time.
    pub(super) fn fit(&self, service: &Service, counters: &Counters) {
        while !self.starved.load(Ordering::Relaxed) && !self.list.is_cancelled() {
            let (now, wanted) = {
                let section = rcu::read_lock();
                self.bits(ReadSide::of(&section))
            };
            let suspect = self.suspect.swap(false, Ordering::Relaxed);
            let (event, hash) = match now == wanted {
                // A chain can also be long because the table was too small.
                false => (Event::Resize, None),
                true if suspect => (Event::Rekey, Some(Hash::new(random::number))),
                true => {
                    self.roomy
                        .store(policy::most_entries(now), Ordering::Relaxed);
                    return;
                }
            };
            match self.memcg.charge(|| self.list.rebuild(wanted, hash)) {
                Ok(()) => {
                    counters.count(event);
                    let buckets = (1usize.wrapping_shl(now), 1usize.wrapping_shl(wanted));
                    let rekey = event == Event::Rekey;
                    if rekey {
                        self.netns.state().rekeyed();
                    }
                    trace::rebuild(service, rekey, buckets, self.list.len());
                }
                Err(_) => {
                    self.starved.store(true, Ordering::Relaxed);
                    counters.count(Event::Failure);
                    self.netns.give_back_parked();
                }
            }
        }
    }
}
