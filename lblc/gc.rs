// SPDX-License-Identifier: GPL-2.0

//! The collector: which entries are removed at which tick of the service's timer. The work item
//! that the timer queues may be late, or take longer than a tick: then several ticks are handled at
//! once.
//!
//! C: `ip_vs_lblc_check_expire()` and `ip_vs_lblc_full_check()`.

use super::{
    counters::Counters,
    policy::Collection,
    table::Table, //
};
use crate::{
    ipvs::Service,
    jiffies::HZ, //
};
use core::sync::atomic::{
    AtomicU32,
    AtomicU64,
    Ordering, //
};
use kernel::time::Jiffies;

/// The time between two ticks, in jiffies. C: `CHECK_EXPIRE_INTERVAL`.
pub(super) const TICK: Jiffies = 60 * HZ;

/// The idle time, in jiffies, from which on a partial collection removes an entry. C:
/// `ENTRY_TIMEOUT`.
const PARTIAL_IDLE: Jiffies = 6 * 60 * HZ;

/// The state of the collector of one table. Only the work item uses it.
pub(super) struct Collector {
    /// The number of ticks until now, which wraps.
    ticks: AtomicU32,
    /// The hash at which the last partial collection stopped.
    rover: AtomicU64,
}

impl Collector {
    /// Starts at no tick.
    pub(super) fn new() -> Self {
        Self {
            ticks: AtomicU32::new(0),
            rover: AtomicU64::new(0),
        }
    }

    /// Does the collection that is due after `ticks` more ticks, with an `expiration` in jiffies;
    /// does nothing if there was no tick. Process context, may sleep; never twice at once for a
    /// table.
    pub(super) fn collect(
        &self,
        service: &Service,
        table: &Table,
        ticks: u32,
        expiration: Jiffies,
        counters: &Counters,
    ) {
        if ticks == 0 {
            return;
        }
        let last = self.ticks.load(Ordering::Relaxed);
        let tick = last.wrapping_add(ticks);
        self.ticks.store(tick, Ordering::Relaxed);
        table.retry();
        match Collection::due(last, tick, table.list().len(), table.max_entries()) {
            Collection::Full => {
                table.collect(service, 0, (expiration, usize::MAX), counters);
            }
            Collection::Partial(goal) => {
                let rover = self.rover.load(Ordering::Relaxed);
                let stopped = table.collect(service, rover, (PARTIAL_IDLE, goal), counters);
                self.rover.store(stopped, Ordering::Relaxed);
            }
            Collection::None => {}
        }
    }
}
