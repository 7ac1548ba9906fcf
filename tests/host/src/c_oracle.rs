// SPDX-License-Identifier: GPL-2.0

//! The decisions of C's `ip_vs_lblc.c`, with its two walks and three conditions, to compare
//! `policy::judge()` and `policy::least_loaded()` with. Where C's `int` would overflow, a wider
//! type shows the intended result.

use super::policy::DestSnapshot;

fn overhead(s: &DestSnapshot) -> i128 {
    (i128::from(s.active) << 8) + i128::from(s.conns_in_load)
}

/// `ip_vs_dest_conn_overhead()`, in C's `int`.
fn overhead_in_int(s: &DestSnapshot) -> i128 {
    (s.active << 8).wrapping_add(s.conns_in_load).into()
}

/// `__ip_vs_lblc_schedule()`, in C's `int`: the index of the server that it considers the least
/// loaded.
pub(crate) fn least_in_int(servers: &[DestSnapshot]) -> Option<usize> {
    least_connection(servers, overhead_in_int)
}

/// The condition for other servers in `is_overloaded()`, in C's `int`.
pub(crate) fn is_relief_in_int(s: &DestSnapshot) -> bool {
    s.active.wrapping_mul(2) < s.weight
}

/// `__ip_vs_lblc_schedule()`: the index of the least loaded server.
fn least_connection(
    servers: &[DestSnapshot],
    overhead: fn(&DestSnapshot) -> i128,
) -> Option<usize> {
    let mut least = servers.iter().position(|s| !s.overload && s.weight > 0)?;
    for (i, s) in servers.iter().enumerate().skip(least + 1) {
        if s.overload {
            continue;
        }
        let best = &servers[least];
        if overhead(best) * i128::from(s.weight) > overhead(s) * i128::from(best.weight) {
            least = i;
        }
    }
    Some(least)
}

/// `is_overloaded()`, with an intended difference: a server above its upper threshold does not
/// count.
fn is_overloaded(dest: &DestSnapshot, servers: &[DestSnapshot]) -> bool {
    dest.active > dest.weight
        && servers
            .iter()
            .any(|s| !s.overload && i128::from(s.active) * 2 < i128::from(s.weight))
}

/// `ip_vs_lblc_schedule()`, for an entry whose server is `servers[known]`; with an intended
/// difference: a known server above its upper threshold is not used.
pub(crate) fn schedule(known: Option<usize>, servers: &[DestSnapshot]) -> Option<usize> {
    if let Some(i) = known {
        let dest = &servers[i];
        if dest.weight > 0 && !dest.overload && !is_overloaded(dest, servers) {
            return known;
        }
    }
    least_connection(servers, overhead)
}

/// `ip_vs_lblc_check_expire()`: the ticks of the first `ticks` at which it calls
/// `ip_vs_lblc_full_check()`, if the table always has `entries`.
pub(crate) fn full_collections(ticks: u32, entries: usize) -> Vec<u32> {
    /// `IP_VS_LBLC_TAB_SIZE` * 16.
    const MAX_SIZE: usize = 1024 * 16;
    let mut counter = 1;
    let mut full = vec![];
    for tick in 1..=ticks {
        if counter % 30 == 0 {
            full.push(tick);
            counter = 1;
        } else if entries <= MAX_SIZE {
            counter += 1;
        }
        // Above `max_size` it collects some, and leaves the counter as it is.
    }
    full
}
