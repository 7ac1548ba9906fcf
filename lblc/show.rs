// SPDX-License-Identifier: GPL-2.0

//! The lines of a table in `/proc/net/ip_vs_lblc_rs`:
//!
//! ```text
//! FWM 1 entries 2 buckets 1024 max 262144 expiration 86400 bytes 8320
//!   198.18.0.7 10.0.11.2:80 12
//!   198.18.0.9 10.0.12.2:80 0 removed
//! ```
//!
//! A line for the service, then one for each destination address: its server, the number of
//! seconds since its last use, and whether the server was removed from the service.

use super::table::Table;
use crate::{
    ipvs::{
        Named,
        Service, //
    },
    jiffies::{
        self,
        HZ, //
    },
    netns::expiration,
    rcu::ReadSide, //
};
use core::ops::Range;
use kernel::{
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::rcu, //
};

/// The number of records: one for the service's own line, and one for each value of the upper 32
/// bits of a hash.
pub(super) const RECORDS: u64 = 1 + (1 << u32::BITS);

/// The end of the batch of records that begins with `record`. Process context.
pub(super) fn batch_end(table: &Table, record: u64) -> u64 {
    let Some(hash) = record.checked_sub(1) else {
        return 1;
    };
    let section = rcu::read_lock();
    let end = table.list().range_end(hash, ReadSide::of(&section));
    end.wrapping_add(1)
}

/// Prints a batch of records. Process context.
pub(super) fn records(table: &Table, service: &Service, records: Range<u64>, out: &SeqFile) {
    let section = rcu::read_lock();
    let rcu = ReadSide::of(&section);
    let Some(hash) = records.start.checked_sub(1) else {
        seq_print!(
            out,
            "{} entries {} buckets {} max {} expiration {} bytes {}\n",
            service.name(),
            table.list().len(),
            table.list().buckets(rcu),
            table.max_entries(),
            expiration(service).max(0) / HZ as i32,
            table.bytes(rcu)
        );
        return;
    };
    for entry in table
        .list()
        .in_range(hash..records.end.wrapping_sub(1), rcu)
    {
        let server = entry.server(rcu);
        seq_print!(
            out,
            "  {} {} {}{}\n",
            Named::Address(entry.key(), service.is_ipv6()),
            Named::Endpoint(server.endpoint()),
            entry.idle(jiffies::now()) / HZ,
            if server.is_removed() { " removed" } else { "" }
        );
    }
}
