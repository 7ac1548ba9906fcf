// SPDX-License-Identifier: GPL-2.0

//! Showing and changing the entries of a table by netlink.

use super::{
    counters::{
        Counters,
        Event, //
    },
    entry::Entry,
    report::known,
    scheduler::Lblc, //
};
use crate::{
    ipvs::{
        Address,
        Listed,
        Service, //
    },
    jiffies,
    netns::{
        ChangeKind,
        Controlled,
        Known,
        Outcome,
        Summary, //
    },
    rcu::ReadSide, //
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::rcu, //
};

impl Controlled for Lblc {
    const COUNTERS: usize = Counters::COUNT;

    fn summary(&self) -> Summary {
        let section = rcu::read_lock();
        let rcu = ReadSide::of(&section);
        Summary {
            entries: self.table.list().len(),
            buckets: self.table.list().buckets(rcu),
            max_entries: self.table.max_entries(),
            bytes: self.table.bytes(rcu),
        }
    }

    fn counter(&self, number: usize) -> u64 {
        self.counters.value(number)
    }

    fn entry(&self, key: Address) -> Option<Known> {
        let section = rcu::read_lock();
        let rcu = ReadSide::of(&section);
        self.table.find(key, rcu).map(|entry| known(entry, rcu))
    }

    fn range_end(&self, start: u64) -> u64 {
        let section = rcu::read_lock();
        self.table.list().range_end(start, ReadSide::of(&section))
    }

    fn entries(&self, hashes: Range<u64>, each: &mut dyn FnMut(Known) -> Result) -> Result {
        let section = rcu::read_lock();
        let rcu = ReadSide::of(&section);
        for entry in self.table.list().in_range(hashes, rcu) {
            each(known(entry, rcu))?;
        }
        Ok(())
    }

    fn set(found: &Listed<'_, Self>, entry: &Known, keep_newer: bool) -> Result<Outcome> {
        found.servers().with(entry.server, |server| {
            let section = rcu::read_lock();
            let call = found.call(ReadSide::of(&section));
            let Self {
                table, counters, ..
            } = call.state();
            let target = (server, jiffies::from_milliseconds(entry.idle));
            table.set(call, entry.key, target, keep_newer, counters)
        })?
    }

    fn delete_key(&self, service: &Service, key: Address) -> bool {
        let section = rcu::read_lock();
        let rcu = ReadSide::of(&section);
        let entry = self.table.find(key, rcu);
        entry.is_some_and(|entry| self.remove(service, entry, &|_| true, rcu))
    }

    fn delete(
        &self,
        service: &Service,
        hashes: Range<u64>,
        chosen: &dyn Fn(&Known) -> bool,
    ) -> usize {
        let section = rcu::read_lock();
        let rcu = ReadSide::of(&section);
        let mut removed = 0usize;
        for entry in self.table.list().in_range(hashes, rcu) {
            if chosen(&known(entry, rcu)) && self.remove(service, entry, chosen, rcu) {
                removed = removed.wrapping_add(1);
            }
        }
        removed
    }
}

impl Lblc {
    /// Removes an entry if it is still chosen. Returns whether this call removed it. Any context
    /// but hard interrupt.
    fn remove(
        &self,
        service: &Service,
        entry: &Entry,
        chosen: &dyn Fn(&Known) -> bool,
        rcu: ReadSide<'_>,
    ) -> bool {
        let chosen = |entry: &Entry| chosen(&known(entry, rcu));
        let how = (service, ChangeKind::Delete);
        let removed = self.table.remove_if(how, entry, chosen, rcu);
        if removed {
            self.counters.count(Event::Delete);
        }
        removed
    }
}
