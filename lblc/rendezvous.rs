// SPDX-License-Identifier: GPL-2.0

//! Weighted rendezvous hashing: an order of servers for each key, in which a server with twice the
//! weight comes first for twice as many keys, and which depends on nothing but the key, the servers
//! and the seed. Pure: this file also builds on the host, where `tests/host` tries it.
//!
//! `docs/directors.md` defines the order for other programs: changing a result here changes what a
//! director with an older version of the module agrees with.
//!
//! Prior art: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous" (1996);
//! `bucket_straw2_choose()` in `net/ceph/crush/mapper.c`.

use core::cmp::Ordering;

/// An IPv6 address as a number, or an IPv4 address mapped to one (`::ffff:192.0.2.1`).
pub(crate) type Number = u128;

/// SipHash-2-4 of a message of 16 to 23 bytes. `words` are its first 16 bytes, and the rest with
/// the length in the top byte, as the algorithm reads them. C: `siphash()`.
pub(super) fn siphash(key: [u64; 2], words: [u64; 3]) -> u64 {
    let [k0, k1] = key;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        v[3] ^= word;
        v = sipround(sipround(v));
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    let [v0, v1, v2, v3] = sipround(sipround(sipround(sipround(v))));
    v0 ^ v1 ^ v2 ^ v3
}

/// C: `SIPHASH_PERMUTATION()`.
fn sipround([mut v0, mut v1, mut v2, mut v3]: [u64; 4]) -> [u64; 4] {
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

/// The two words of an address in network byte order, as SipHash reads them.
fn words(address: Number) -> [u64; 2] {
    let (upper, lower) = ((address >> 64) as u64, address as u64);
    [upper.swap_bytes(), lower.swap_bytes()]
}

/// The hash of a key, under a seed.
pub(crate) fn key_hash(seed: u64, key: Number) -> u64 {
    let [a, b] = words(key);
    siphash([seed, 0], [a, b, 16 << 56])
}

/// The hash of a server. It does not depend on the seed, so that a change of the seed changes
/// nothing that is stored.
pub(crate) fn server_hash(address: Number, port: u16) -> u64 {
    let [a, b] = words(address);
    siphash([0, 0], [a, b, 18 << 56 | u64::from(port.swap_bytes())])
}

/// Mixes the hash of a key with that of a server: the finalizer of SplitMix64 over the XOR of both.
pub(super) fn join(key: u64, server: u64) -> u64 {
    let mut x = key ^ server;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// 2^24 * (1 - log2(1 + i / 32)), rounded.
pub(super) const LOG: [u32; 33] = [
    0x1000000, 0x0f4a296, 0x0e99c09, 0x0dee74f, 0x0d47fcc, 0x0ca6144, 0x0c087d3, 0x0b6efe1,
    0x0ad961f, 0x0a47779, 0x09b9116, 0x092e050, 0x08a62b0, 0x08215ea, 0x079f7d8, 0x0720677,
    0x06a3fe6, 0x062a260, 0x05b2c3e, 0x053dbef, 0x04caffc, 0x045a701, 0x03ebfb1, 0x037f8cf,
    0x0315130, 0x02ac7b8, 0x0245b5c, 0x01e0b1b, 0x017d605, 0x011bb33, 0x00bb9ca, 0x005d0fc,
    0x0000000,
];

/// -log2(u) in units of 2^-24, where u is `(hash | 1) / 2^64`: from 1 to 2^30. Between the entries
/// of the table it is a straight line, rounded up.
pub(super) fn log(hash: u64) -> u64 {
    let odd = hash | 1;
    let zeros = odd.leading_zeros();
    // The bits behind the leading one, from the top: 5 choose a line, 32 a point on it.
    let fraction = odd.wrapping_shl(zeros) << 1;
    let line = (fraction >> 59) as usize;
    let point = fraction << 5 >> 32;
    let (from, to) = (u64::from(LOG[line]), u64::from(LOG[line + 1]));
    let below = from.wrapping_sub(to).wrapping_mul(point) >> 32;
    (u64::from(zeros) << 24)
        .wrapping_add(from)
        .wrapping_sub(below)
}

/// The mixed hash of a key and a server, and the server's weight: all that its score depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    hash: u64,
    weight: u64,
}

impl Draw {
    /// The draw of a server with this weight, which is positive.
    #[inline(always)]
    pub(crate) fn new(key_hash: u64, server_hash: u64, weight: i32) -> Self {
        Self {
            hash: join(key_hash, server_hash),
            weight: u64::from(weight.unsigned_abs()),
        }
    }

    /// Whether its score is certainly behind `best`. This costs less than the score, and tells of
    /// nearly all servers that are behind: -log2(u) is at least 1 - u.
    #[inline(always)]
    pub(crate) fn is_behind(self, best: &Score) -> bool {
        let least_log = !self.hash >> 40;
        least_log.wrapping_mul(best.weight) > best.log.wrapping_mul(self.weight)
    }

    /// The score of the server.
    pub(crate) fn score(self) -> Score {
        Score {
            log: log(self.hash),
            weight: self.weight,
        }
    }
}

/// How far behind a server is in the order of a key: the first has the lowest score.
///
/// With u uniform in (0, 1], `-log2(u) / weight` is exponentially distributed with a rate in
/// proportion to `weight`, so a server has the lowest of all with a probability in proportion to
/// its weight. It does not depend on other servers: if a server is added, removed, or gets another
/// weight, another server becomes the first one only for keys whose first one this is, before or
/// after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score {
    log: u64,
    weight: u64,
}

impl Score {
    /// Whether `self` comes before `other`: compares `log / weight` without a division. A weight
    /// and a logarithm have at most 31 bits each, so the products fit. `tie` compares the servers'
    /// address and port: few scores are equal, but the order must not depend on the list's.
    #[inline(always)]
    pub(crate) fn is_before(&self, other: &Self, tie: impl FnOnce() -> Ordering) -> bool {
        let this = self.log.wrapping_mul(other.weight);
        let ordering = this.cmp(&other.log.wrapping_mul(self.weight));
        ordering.then_with(tie).is_lt()
    }
}
