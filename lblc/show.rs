// SPDX-License-Identifier: GPL-2.0

//! What the operator sees of a table, in `/proc/net/ip_vs_lblc_rs`:
//!
//! ```text
//! FWM 1 entries 2 buckets 1024 max 24576 expiration 86400
//!   198.18.0.7 10.0.11.2:80 12
//!   198.18.0.9 10.0.12.2:80 0
//! ```
//!
//! A line for the service, then one for each destination address: its server, and for how many seconds
//! nobody has asked for it.

use super::{
    policy::HARD_MAX_ENTRIES,
    table::{Table, BUCKETS},
};
use crate::{
    ipvs::{Named, Service},
    rcu::ReadSide,
    timer::{self, HZ},
};
use kernel::{
    seq_file::{seq_print, SeqFile},
    sync::rcu,
};

/// The service's own line, and a record for each bucket: no bucket is long.
pub(super) const RECORDS: usize = 1 + BUCKETS;

/// Prints one record.
pub(super) fn record(table: &Table, service: &Service, number: usize, out: &SeqFile) {
    let Some(bucket) = number.checked_sub(1) else {
        seq_print!(
            out,
            "{} entries {} buckets {} max {} expiration {}\n",
            service.name(),
            table.entries(),
            BUCKETS,
            HARD_MAX_ENTRIES,
            service.lblc_expiration() / HZ
        );
        return;
    };
    let guard = rcu::read_lock();
    for entry in table.bucket_entries(bucket, ReadSide::of(&guard)) {
        let idle = timer::now().wrapping_sub(entry.last_use());
        seq_print!(
            out,
            "  {} {} {}\n",
            Named::address(entry.key(), service.is_ipv6()),
            entry.dest().name(),
            idle / HZ
        );
    }
}
