// SPDX-License-Identifier: GPL-2.0

//! The collector: which entries are forgotten at which tick.
//!
//! C: `ip_vs_lblc_check_expire()` and `ip_vs_lblc_full_check()`.

use super::{
    policy::Collection,
    table::Table, //
};
use crate::timer::HZ;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::time::Jiffies;

/// The time between two ticks. C: `CHECK_EXPIRE_INTERVAL`.
pub(crate) const TICK: Jiffies = 60 * HZ;

/// How long an entry that a partial collection takes was idle. C: `ENTRY_TIMEOUT`.
const PARTIAL_IDLE: Jiffies = 6 * 60 * HZ;

/// Counts the ticks of one table.
pub(crate) struct Collector {
    ticks: AtomicU32,
}

impl Collector {
    /// Starts at no tick.
    pub(crate) fn new() -> Self {
        Self {
            ticks: AtomicU32::new(0),
        }
    }

    /// Does what is due at this tick. Softirq, one at a time for a table.
    pub(crate) fn tick(&self, table: &Table, expiration: Jiffies) {
        // Only the timer comes here: no other CPU counts at the same time.
        let tick = self.ticks.load(Ordering::Relaxed).wrapping_add(1);
        self.ticks.store(tick, Ordering::Relaxed);
        match Collection::due(tick, table.entries()) {
            Collection::Full => table.collect(expiration, usize::MAX),
            Collection::Partial(goal) => table.collect(PARTIAL_IDLE, goal),
            Collection::None => {}
        }
    }
}
