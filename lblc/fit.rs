// SPDX-License-Identifier: GPL-2.0

//! Resizing and rekeying a table, to fit its entries.

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
    /// Allows another rebuild after one that failed for lack of memory. Any context.
    pub(super) fn retry(&self) {
        self.starved.store(false, Ordering::Relaxed);
    }

    /// The number of bits of a hash that select the bucket, and the number that the entries need.
    /// Any context; plain loads.
    pub(super) fn bits(&self, rcu: ReadSide<'_>) -> (u32, u32) {
        let bits = self.list.buckets(rcu).trailing_zeros();
        (bits, policy::table_bits(bits, self.list.len()))
    }

    /// Resizes the table if its size does not fit, and rekeys it if an attacker may know the key of
    /// its hash. A failure is counted. Process context, may sleep; never twice at once for a table.
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
