// SPDX-License-Identifier: GPL-2.0

//! Which server a new connection gets, and when an entry is stale. Pure: this file also builds on
//! the host, where `tests/host` tries it.
//!
//! C: `is_overloaded()`, `__ip_vs_lblc_schedule()` and the GC's arithmetic in `ip_vs_lblc.c`.

use super::rendezvous::Score;
use core::cmp::Ordering;

/// What is known of a server at one moment, each counter read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DestSnapshot {
    /// Configured capacity; 0 means quiesced: no new connections.
    pub(crate) weight: i32,
    /// Active connections.
    pub(crate) active: i32,
    /// The connections that are held against the weight: the active ones, or all of them.
    pub(crate) busy: i64,
    /// What load counts besides: all connections, or the inactive ones in older kernels.
    pub(crate) conns_in_load: i32,
    /// The upper connection threshold was reached.
    pub(crate) overload: bool,
}

impl DestSnapshot {
    /// An active connection is taken to cost 256 times another one, as in C's
    /// `ip_vs_dest_conn_overhead()`, but in 64 bits: no number of connections overflows.
    fn load(&self) -> i64 {
        i64::from(self.active) * 256 + i64::from(self.conns_in_load)
    }

    /// May new connections come here at all?
    #[inline(always)]
    fn accepts(&self) -> bool {
        self.weight > 0 && !self.overload
    }

    /// More connections than its weight says it can take.
    #[inline(always)]
    fn is_over_weight(&self) -> bool {
        self.busy > i64::from(self.weight)
    }

    /// So idle that others should hand over: less than half of what its weight says.
    #[inline(always)]
    pub(crate) fn is_half_idle(&self) -> bool {
        !self.overload && self.busy * 2 < i64::from(self.weight)
    }

    /// Strictly less loaded than `other`, for its weight: h1/w1 < h2/w2 without a division, the
    /// weights being positive. Beyond 2^24 active connections and a weight near 2^31 the product
    /// would not fit in 64 bits; it saturates there.
    fn is_less_loaded_than(&self, other: &DestSnapshot) -> bool {
        other.load().saturating_mul(i64::from(self.weight))
            > self.load().saturating_mul(i64::from(other.weight))
    }
}

impl DestSnapshot {
    /// Puts together what was read of a server. `includes_active` says what the kernel counts in
    /// `conns_in_load`; `count_all` says what the administrator wants to be held against the
    /// weight.
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

/// Judges the server of a key's entry. `any_half_idle` says whether any listed server has less than
/// half of the connections that its weight allows: asked only if everything else does not decide.
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
    let mut best: Option<(D, DestSnapshot)> = None;
    for dest in listed {
        let server = read(&dest);
        // The first that accepts is the candidate; of equals, the earlier one stays.
        if server.accepts()
            && best
                .as_ref()
                .is_none_or(|(_, best)| server.is_less_loaded_than(best))
        {
            best = Some((dest, server));
        }
    }
    best.map(|(dest, _)| dest)
}

/// The server for a key that has none, where directors are to agree: of the servers that accept
/// connections and have no more than their weight the first in the order of the key. If all have
/// more, the least loaded one, of equals the earlier in the list. Each is read once. `score` is
/// that of a server with a weight, `tie` compares address and port.
pub(crate) fn first_in_order<D: Copy>(
    listed: impl Iterator<Item = D>,
    read: impl Fn(D) -> DestSnapshot,
    score: impl Fn(D, i32) -> Score,
    tie: impl Fn(D, D) -> Ordering,
) -> Option<D> {
    let mut first: Option<(D, Score)> = None;
    let mut least: Option<(D, DestSnapshot)> = None;
    for dest in listed {
        let server = read(dest);
        if !server.accepts() {
            continue;
        }
        if server.is_over_weight() {
            if least.is_none_or(|(_, least)| server.is_less_loaded_than(&least)) {
                least = Some((dest, server));
            }
            continue;
        }
        let score = score(dest, server.weight);
        if first.is_none_or(|(first, best)| score.is_before(&best, || tie(dest, first))) {
            first = Some((dest, score));
        }
    }
    match first {
        Some((dest, _)) => Some(dest),
        None => least.map(|(dest, _)| dest),
    }
}

/// How long something last used at `last_use` has been idle at `now`; all in jiffies, which wrap.
/// `last_use` may be a little later than `now`: another CPU was faster.
#[inline(always)]
pub(crate) fn idle_time(now: usize, last_use: usize) -> usize {
    (now.wrapping_sub(last_use) as isize).max(0) as usize
}

/// Whether what was last used at `last_use` must not be used at `now`, as it was idle for longer
/// than `expiration`, in jiffies, which is negative if nothing shall be used again.
#[inline(always)]
pub(crate) fn is_expired(now: usize, last_use: usize, expiration: i32) -> bool {
    now.wrapping_sub(last_use) as isize > expiration as isize
}

/// A chain as long as this has to do with an attacker who knows the hash.
pub(crate) const LONG_CHAIN: usize = 16;

/// The fewest bits that choose a chain. C: `IP_VS_LBLC_TAB_BITS`.
const MIN_BITS: u32 = 10;

/// Bucket arrays of up to this size (32 KiB) stay in the nearest cache, so they may be sparser.
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

/// How much an entry should make room for another: the greatest of a sample does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EvictionRank {
    /// Its server was removed: it is of no use at present.
    pub(crate) removed: bool,
    /// For how long nobody asked for it, in jiffies.
    pub(crate) idle: usize,
}

impl EvictionRank {
    /// How many entries are a sample.
    pub(crate) const SAMPLE: usize = 8;

    /// In how many chains they are looked for: enough where there are 64 to an entry.
    pub(crate) const CHAINS: usize = 64 * Self::SAMPLE;
}

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
