// SPDX-License-Identifier: GPL-2.0

//! Which server a new connection gets, and when an entry is stale. Pure: this file also builds on
//! the host, where `tests/host` tries it.
//!
//! C: `is_overloaded()`, `__ip_vs_lblc_schedule()` and the GC's arithmetic in `ip_vs_lblc.c`.

/// What is known of a server at one moment, each counter read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Configured capacity; 0 means quiesced: no new connections.
    pub(crate) weight: i32,
    /// Active connections.
    pub(crate) active: i32,
    /// The connections that are held against the weight: the active ones, or all of them.
    pub(crate) busy: i64,
    /// What load counts besides: all connections, or the inactive ones in older kernels.
    pub(crate) others: i32,
    /// The upper connection threshold was reached.
    pub(crate) overload: bool,
}

impl Server {
    /// An active connection is taken to cost 256 times another one, as in C's
    /// `ip_vs_dest_conn_overhead()`, but in 64 bits: no number of connections overflows.
    fn load(&self) -> i64 {
        i64::from(self.active) * 256 + i64::from(self.others)
    }

    /// May new connections come here at all?
    fn accepts(&self) -> bool {
        self.weight > 0 && !self.overload
    }

    /// More connections than its weight says it can take.
    fn is_over_weight(&self) -> bool {
        self.busy > i64::from(self.weight)
    }

    /// So idle that others should hand over: less than half of what its weight says.
    fn is_half_idle(&self) -> bool {
        !self.overload && self.busy * 2 < i64::from(self.weight)
    }

    /// Strictly less loaded than `other`, for its weight: h1/w1 < h2/w2 without a division, the
    /// weights being positive. Beyond 2^24 active connections and a weight near 2^31 the product
    /// would not fit in 64 bits; it saturates there.
    fn is_less_loaded_than(&self, other: &Server) -> bool {
        other.load().saturating_mul(i64::from(self.weight))
            > self.load().saturating_mul(i64::from(other.weight))
    }
}

impl Server {
    /// Puts together what was read of a server. `others_are_all` says what the kernel counts in
    /// `others`; `count_all` says what the administrator wants to be held against the weight.
    pub(crate) fn new(
        weight: i32,
        (active, others): (i32, i32),
        others_are_all: bool,
        overload: bool,
        count_all: bool,
    ) -> Self {
        let busy = match (count_all, others_are_all) {
            (false, _) => i64::from(active),
            (true, true) => i64::from(others),
            (true, false) => i64::from(active) + i64::from(others),
        };
        Self {
            weight,
            active,
            busy,
            others,
            overload,
        }
    }
}

/// The server for a key, from what its entry says (`current`: the entry's server if that is still
/// listed) and from the service's servers in list order. None if no server can take it.
///
/// One walk at most; none if `current` is good. `same` tells whether a listed server is `current`,
/// which is then not read again.
pub(crate) fn choose<D: Copy>(
    current: Option<D>,
    listed: impl Iterator<Item = D>,
    same: impl Fn(D, D) -> bool,
    read: impl Fn(D) -> Server,
) -> Option<D> {
    let current = current.map(|dest| (dest, read(dest)));
    let keep = current.filter(|(_, server)| server.accepts());
    if let Some((dest, server)) = keep {
        if !server.is_over_weight() {
            return Some(dest);
        }
    }

    let mut relief = false;
    let mut best: Option<(D, Server)> = None;
    for dest in listed {
        let server = match current {
            Some((known, server)) if same(known, dest) => server,
            _ => read(dest),
        };
        relief |= server.is_half_idle();
        // The first that accepts is the candidate; of equals, the earlier one stays.
        if server.accepts() && best.is_none_or(|(_, best)| server.is_less_loaded_than(&best)) {
            best = Some((dest, server));
        }
    }
    match keep {
        Some((dest, _)) if !relief => Some(dest),
        _ => best.map(|(dest, _)| dest),
    }
}

/// Whether something last used at `last_use` has been idle for `limit` at `now`; all in jiffies,
/// which wrap. C: `!time_before(now, lastuse + limit)`.
pub(crate) fn is_idle(now: usize, last_use: usize, limit: usize) -> bool {
    now.wrapping_sub(last_use.wrapping_add(limit)) as isize >= 0
}

/// The number of entries above which idle ones are collected. C: `tbl->max_size`.
pub(crate) const MAX_ENTRIES: usize = 16 * 1024;

/// The number of entries at which nothing new is remembered.
pub(crate) const HARD_MAX_ENTRIES: usize = MAX_ENTRIES * 3 / 2;

/// Of how many ticks one collects by the sysctl. C: `COUNT_FOR_FULL_EXPIRATION`.
const FULL_COLLECTION: u32 = 30;

/// What the collector does at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collection {
    /// Collect every entry that has been idle for `lblc_expiration`.
    Full,
    /// Collect this many, of those idle for six minutes.
    Partial(usize),
    /// Nothing to do.
    None,
}

impl Collection {
    /// The collection due at `tick`, counted from 1, with so many `entries`.
    pub(crate) fn due(tick: u32, entries: usize) -> Self {
        if tick % FULL_COLLECTION == 0 {
            Self::Full
        } else {
            match entries.saturating_sub(MAX_ENTRIES) {
                0 => Self::None,
                over => Self::Partial((over.saturating_mul(4) / 3).min(MAX_ENTRIES / 2)),
            }
        }
    }
}
