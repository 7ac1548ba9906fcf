// SPDX-License-Identifier: GPL-2.0

//! The collector: which entries are removed at which tick. The timer counts the ticks; what is due
//! is done by the work item, which may be late or take longer than a tick: then it sees only the
//! last of several.
//!
//! C: `ip_vs_lblc_check_expire()` and `ip_vs_lblc_full_check()`.

use super::{
    counters::Counters,
    policy::Collection,
    table::Table, //
};
use crate::{timer::HZ, work::Work};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kernel::time::Jiffies;

/// The time between two ticks. C: `CHECK_EXPIRE_INTERVAL`.
pub(super) const TICK: Jiffies = 60 * HZ;

/// How long an entry that a partial collection takes was idle. C: `ENTRY_TIMEOUT`.
const PARTIAL_IDLE: Jiffies = 6 * 60 * HZ;

/// Counts the ticks of one table.
pub(super) struct Collector {
    /// Written by the timer.
    ticks: AtomicU32,
    /// The tick of the last collection, and where that stopped; written by the work item.
    done: AtomicU32,
    rover: AtomicU64,
}

impl Collector {
    /// Starts at no tick.
    pub(super) fn new() -> Self {
        Self {
            ticks: AtomicU32::new(0),
            done: AtomicU32::new(0),
            rover: AtomicU64::new(0),
        }
    }

    /// Notes that there is something to do. Softirq, one at a time.
    pub(super) fn tick(&self, work: &Work) {
        let tick = self.ticks.load(Ordering::Relaxed).wrapping_add(1);
        self.ticks.store(tick, Ordering::Relaxed);
        work.queue();
    }

    /// Collects what is due since the last tick. Process context, may sleep; one at a time.
    pub(super) fn collect(&self, table: &Table, expiration: Jiffies, counters: &Counters) {
        let tick = self.ticks.load(Ordering::Relaxed);
        let last = self.done.swap(tick, Ordering::Relaxed);
        if last == tick {
            return;
        }
        table.retry();
        match Collection::due(last, tick, table.list().len(), table.max_entries()) {
            Collection::Full => {
                table.collect(0, expiration, usize::MAX, counters);
            }
            Collection::Partial(goal) => {
                let rover = self.rover.load(Ordering::Relaxed);
                let stopped = table.collect(rover, PARTIAL_IDLE, goal, counters);
                self.rover.store(stopped, Ordering::Relaxed);
            }
            Collection::None => {}
        }
    }
}
