// SPDX-License-Identifier: GPL-2.0

//! Which server a new connection gets, and when an entry is stale. Pure: this file also builds on
//! the host, where `tests/host` tries it.
//!
//! C: `is_overloaded()`, `__ip_vs_lblc_schedule()` and the GC's arithmetic in `ip_vs_lblc.c`.

use super::rendezvous::{
    Draw,
    Score, //
};
use core::cmp::Ordering;

/// A server at one moment, with each counter read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DestSnapshot {
    /// Configured capacity; 0 means quiesced: no new connections.
    pub(crate) weight: i32,
    /// Active connections.
    pub(crate) active: i32,
    /// The connections that are held against the weight: the active ones, or all of them.
    pub(crate) busy: i64,
    /// The connections that load counts besides: all, or in older kernels the inactive ones.
    pub(crate) conns_in_load: i32,
    /// The upper connection threshold was reached.
    pub(crate) overload: bool,
}

impl DestSnapshot {
    /// Its load. An active connection is taken to cost 256 times another one, as in C's
    /// `ip_vs_dest_conn_overhead()`, but in 64 bits: no number of connections overflows.
    #[inline(always)]
    fn load(&self) -> Load {
        Load {
            connections: i64::from(self.active) * 256 + i64::from(self.conns_in_load),
            weight: i64::from(self.weight),
        }
    }

    /// Whether new connections may come here at all.
    #[inline(always)]
    fn accepts(&self) -> bool {
        self.weight > 0 && !self.overload
    }

    /// Whether it has more connections than its weight.
    #[inline(always)]
    fn is_over_weight(&self) -> bool {
        self.busy > i64::from(self.weight)
    }

    /// Whether it has less than half of the connections that its weight allows, so that overloaded
    /// servers may hand destinations over.
    #[inline(always)]
    pub(crate) fn is_half_idle(&self) -> bool {
        !self.overload && self.busy * 2 < i64::from(self.weight)
    }
}

impl DestSnapshot {
    /// Makes a snapshot of the fields of a server. `includes_active`: the kernel counts active
    /// connections in `conns_in_load`. `count_all`: the administrator wants all connections to be
    /// compared with the weight (`flag-1`).
    pub(crate) fn new(
        weight: i32,
        (active, conns_in_load): (i32, i32),
        includes_active: bool,
        overload: bool,
        count_all: bool,
    ) -> Self {
        let busy = match (count_all, includes_active) {
            (false, _) => i64::from(active),
            (true, true) => i64::from(conns_in_load),
            (true, false) => i64::from(active) + i64::from(conns_in_load),
        };
        Self {
            weight,
            active,
            busy,
            conns_in_load,
            overload,
        }
    }
}

/// The load of a server that accepts connections.
#[derive(Clone, Copy)]
struct Load {
    connections: i64,
    /// Positive, except for [`Load::INFINITE`].
    weight: i64,
}

impl Load {
    /// More than that of any server.
    const INFINITE: Self = Self {
        connections: 1,
        weight: 0,
    };

    /// Strictly less than `other`, for its weight: h1/w1 < h2/w2 without a division. Beyond 2^24
    /// active connections and a weight near 2^31 the product would not fit in 64 bits; it saturates
    /// there.
    #[inline(always)]
    fn is_less_than(self, other: Self) -> bool {
        let theirs = other.connections.checked_mul(self.weight);
        let ours = self.connections.checked_mul(other.weight);
        match (theirs, ours) {
            (Some(theirs), Some(ours)) => theirs > ours,
            _ => self.is_far_less_than(other),
        }
    }

    #[cold]
    #[inline(never)]
    fn is_far_less_than(self, other: Self) -> bool {
        other.connections.saturating_mul(self.weight)
            > self.connections.saturating_mul(other.weight)
    }
}

/// Whether a key stays with the server of its entry, or why it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays.
    Keep,
    /// The server has weight 0.
    Quiesced,
    /// The server has reached its upper connection threshold.
    AtThreshold,
    /// The server has more connections than its weight, and another one less than half of its own.
    Overloaded,
}

/// Whether a key keeps the server of its entry. `any_half_idle` returns whether any listed server
/// has less than half of the connections that its weight allows; it is called last, and only if
/// nothing else decides.
pub(crate) fn judge(server: &DestSnapshot, any_half_idle: impl FnOnce() -> bool) -> Verdict {
    if server.weight <= 0 {
        Verdict::Quiesced
    } else if server.overload {
        Verdict::AtThreshold
    } else if server.is_over_weight() && any_half_idle() {
        Verdict::Overloaded
    } else {
        Verdict::Keep
    }
}

/// The least loaded server that accepts connections, from the servers in list order. Each is read
/// once.
pub(crate) fn least_loaded<D>(
    listed: impl Iterator<Item = D>,
    read: impl Fn(&D) -> DestSnapshot,
) -> Option<D> {
    // The first that accepts is the candidate; of equals, the earlier one stays.
    let (mut best, mut least) = (None, Load::INFINITE);
    for dest in listed {
        let server = read(&dest);
        let load = server.load();
        if server.accepts() && load.is_less_than(least) {
            (best, least) = (Some(dest), load);
        }
    }
    best
}

/// The server for a key that has none, if directors are to agree (`flag-2`): of the servers that
/// accept connections and have no more connections than their weight, the first in the order of the
/// key. If all have more, the least loaded one, of equals the earlier in the list. Each server is
/// read once. `draw` makes a server's [`Draw`] with its weight, `tie` compares address and port.
pub(crate) fn first_in_order<D: Copy>(
    listed: impl Iterator<Item = D>,
    read: impl Fn(D) -> DestSnapshot,
    draw: impl Fn(D, i32) -> Draw,
    tie: impl Fn(D, D) -> Ordering,
) -> Option<D> {
    let mut first: Option<(D, Score)> = None;
    let (mut loaded, mut least) = (None, Load::INFINITE);
    for dest in listed {
        let server = read(dest);
        if !server.accepts() {
            continue;
        }
        if server.is_over_weight() {
            let load = server.load();
            if load.is_less_than(least) {
                (loaded, least) = (Some(dest), load);
            }
            continue;
        }
        let draw = draw(dest, server.weight);
        if first.is_some_and(|(_, best)| draw.is_behind(&best)) {
            continue;
        }
        let score = draw.score();
        if first.is_none_or(|(first, best)| score.is_before(&best, || tie(dest, first))) {
            first = Some((dest, score));
        }
    }
    match first {
        Some((dest, _)) => Some(dest),
        None => loaded,
    }
}

/// How long something last used at `last_use` has been idle at `now`; all in jiffies, which wrap.
/// `last_use` may be a little later than `now`: another CPU was faster.
#[inline(always)]
pub(crate) fn idle_time(now: usize, last_use: usize) -> usize {
    (now.wrapping_sub(last_use) as isize).max(0) as usize
}

/// Whether an entry last used at `last_use` has expired at `now`: it has been idle for more than
/// `expiration` jiffies. With a negative `expiration`, every entry has expired.
#[inline(always)]
pub(crate) fn is_expired(now: usize, last_use: usize, expiration: i32) -> bool {
    now.wrapping_sub(last_use) as isize > expiration as isize
}

/// The length of a chain from which on an attacker is assumed to know the hash's key, which is then
/// replaced.
pub(crate) const LONG_CHAIN: usize = 16;

/// The fewest bits that choose a chain. C: `IP_VS_LBLC_TAB_BITS`.
const MIN_BITS: u32 = 10;

/// Bucket arrays of up to this size (32 KiB) stay in the L1 data cache, so they may be sparser.
const CACHED_CHAINS: usize = 4096;

/// The bytes of an entry, and of a chain's head.
pub(crate) const ENTRY_BYTES: (usize, usize) = (64, 8);

/// The number of bits that choose a chain, for a table that has `bits` of them now and `entries`
/// entries: unchanged as long as there are at least 20/9 and at most 64 chains to an entry. A chain
/// with more than one entry costs a cache miss more, and a branch that cannot be predicted. An
/// array that has grown has at most 40/9 chains to an entry, one that has shrunk at most 80/9;
/// `tests/host` computes what that takes. Up to [`CACHED_CHAINS`], there are at least 16.
pub(crate) fn table_bits(bits: u32, entries: usize) -> u32 {
    let bits_for =
        |chains: usize| usize::BITS.wrapping_sub(chains.saturating_sub(1).leading_zeros());
    let chains = 1usize.wrapping_shl(bits);
    let cheap = entries.saturating_mul(16).min(CACHED_CHAINS);
    let needed = |to_nine: usize| (entries.saturating_mul(to_nine) / 9).max(cheap);
    if needed(20) > chains {
        bits_for(needed(20)).max(MIN_BITS)
    } else if entries < chains / 64 || bits < MIN_BITS {
        bits_for(needed(40)).max(MIN_BITS)
    } else {
        bits
    }
}

/// The most entries for which `table_bits(bits, entries)` asks for no more than `bits`.
pub(crate) fn most_entries(bits: u32) -> usize {
    let chains = 1usize.wrapping_shl(bits);
    if chains < CACHED_CHAINS {
        chains / 16
    } else {
        chains.saturating_mul(9).saturating_add(8) / 20
    }
}

/// The rank of an entry for eviction: of a sample, the entry with the greatest rank is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EvictionRank {
    /// Its server was removed, so the entry is of no use at present.
    pub(crate) removed: bool,
    /// The time since its last use, in jiffies.
    pub(crate) idle: usize,
}

impl EvictionRank {
    /// The number of entries in a sample.
    pub(crate) const SAMPLE: usize = 8;

    /// The number of chains that are searched for them: enough where there are 64 to an entry.
    pub(crate) const CHAINS: usize = 64 * Self::SAMPLE;
}

/// The number of ticks from one full collection to the next. C: `COUNT_FOR_FULL_EXPIRATION`.
const FULL_COLLECTION: u32 = 30;

/// The action of the collector at a tick.
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
    /// The collection due at `tick` if the last one was at tick `last`, both counted from 0, with
    /// `entries` of at most `max_entries`. It is full if a multiple of 30 has been reached since:
    /// the collector may have been too busy to see that tick itself. Otherwise, above two thirds of
    /// `max_entries` it is partial, as in C, where these are `max_size` and half as much again.
    pub(crate) fn due(last: u32, tick: u32, entries: usize, max_entries: usize) -> Self {
        let max_size = (max_entries / 3).saturating_mul(2);
        if tick / FULL_COLLECTION != last / FULL_COLLECTION {
            Self::Full
        } else {
            match entries.saturating_sub(max_size) {
                0 => Self::None,
                over => Self::Partial((over.saturating_mul(4) / 3).min(max_size / 2)),
            }
        }
    }
}
