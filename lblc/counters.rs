// SPDX-License-Identifier: GPL-2.0

//! What a service counts, and under which name the operator sees it.

use crate::percpu::PerCpuCounters;
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// What can be counted. Each call of `schedule()` counts exactly one of those up to `None`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The entry's server was kept.
    Hit,
    /// The address was not known.
    Unknown,
    /// Its entry was idle for longer than `lblc_expiration`.
    Expired,
    /// Its server was removed from the service.
    Unavailable,
    /// Its server was quiesced.
    Weight0,
    /// Its server had more connections than its weight, and another one was half idle.
    Overloaded,
    /// Its server had reached its upper connection threshold.
    Threshold,
    /// No server could take the connection.
    None,
    /// An entry was made.
    Insert,
    /// An entry was turned to another server.
    Replace,
    /// An entry was collected after it had been idle.
    Expiry,
    /// An entry made room for another.
    Eviction,
    /// Memory was short: an entry was not made, or the table not rebuilt.
    Failure,
    /// The table got another size.
    Resize,
    /// The hash got another key.
    Rekey,
    /// An entry was deleted by the operator. The only one that is not in `/proc`.
    Delete,
}

impl Event {
    /// The name that the operator knows.
    pub(super) fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or("")
    }
}

/// In the order of [`Event`].
const NAMES: [&str; 16] = [
    "hits",
    "unknown",
    "expired",
    "unavailable",
    "weight0",
    "overloaded",
    "threshold",
    "none",
    "inserts",
    "replaces",
    "expiries",
    "evictions",
    "failures",
    "resizes",
    "rekeys",
    "deletes",
];

/// The counters in `/proc`, which are the first ones.
const IN_PROC: usize = Event::Delete as usize;

/// The counters of one service.
pub(super) struct Counters(PerCpuCounters<{ NAMES.len() }>);

impl Counters {
    /// Counters at zero. Process context. Fails with `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        PerCpuCounters::new().map(Self)
    }

    /// Counts one event. Any context.
    #[inline(always)]
    pub(super) fn count(&self, event: Event) {
        self.0.count(event as usize);
    }

    /// The number of counters.
    pub(super) const COUNT: usize = NAMES.len();

    /// The value of a counter, by its number. Process context.
    pub(super) fn value(&self, event: usize) -> u64 {
        self.0.sum(event)
    }

    /// Prints names and values. Process context.
    pub(super) fn show(&self, out: &SeqFile) {
        for (event, name) in NAMES.iter().take(IN_PROC).enumerate() {
            seq_print!(out, " {name} {}", self.0.sum(event));
        }
    }
}
