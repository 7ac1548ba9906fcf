// SPDX-License-Identifier: GPL-2.0

//! The counters of a service, and their names in `/proc` and netlink.

use crate::percpu::PerCpuCounters;
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// Declares [`Event`] and `NAMES` from rows of a documentation comment, a variant and the name
/// under which the operator sees it.
macro_rules! events {
    ($($(#[$doc:meta])* $event:ident = $name:literal,)*) => {
        /// An event that is counted. Each call of `schedule()` counts exactly one of those up to
        /// `None`.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(super) enum Event {
            $($(#[$doc])* $event,)*
        }

        /// In the order of [`Event`].
        const NAMES: [&str; [$($name),*].len()] = [$($name),*];
    };
}

events! {
    /// The entry's server was kept.
    Hit = "hits",
    /// The address was not known.
    Unknown = "unknown",
    /// Its entry was idle for longer than `lblc_expiration`.
    Expired = "expired",
    /// Its server was removed from the service.
    Unavailable = "unavailable",
    /// Its server was quiesced.
    Weight0 = "weight0",
    /// Its server had more connections than its weight, and another one less than half of its own.
    Overloaded = "overloaded",
    /// Its server had reached its upper connection threshold.
    Threshold = "threshold",
    /// No server could take the connection.
    None = "none",
    /// An entry was made.
    Insert = "inserts",
    /// An entry was assigned to another server.
    Replace = "replaces",
    /// An entry was collected after it had been idle.
    Expiry = "expiries",
    /// An entry was evicted to make room for another.
    Eviction = "evictions",
    /// An entry was not made, or the table not rebuilt, because memory was short or a bound on it
    /// was reached.
    Failure = "failures",
    /// The table got another size.
    Resize = "resizes",
    /// The hash got another key.
    Rekey = "rekeys",
    /// An entry was deleted by the operator. This is the only counter that is not in `/proc`.
    Delete = "deletes",
}

impl Event {
    /// The name under which the operator sees it.
    pub(super) fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or("")
    }
}

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
