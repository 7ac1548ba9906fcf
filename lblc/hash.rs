// SPDX-License-Identifier: GPL-2.0

//! A keyed hash of addresses. Pure: this file also builds on the host.

/// Multilinear hashing over all four words of an address, with secret random keys: the hashes of
/// two addresses that were chosen without the keys have equal upper `n` bits with probability
/// `2^-n`.
/// C's `hash_32()` has no key, and folds IPv6 by XOR.
#[derive(Clone)]
pub(crate) struct Hash {
    keys: [u64; 5],
}

impl Hash {
    /// The hash with keys from `random`.
    pub(crate) fn new(mut random: impl FnMut() -> u64) -> Self {
        Self {
            keys: core::array::from_fn(|_| random()),
        }
    }

    /// The hash of an address; its upper bits are the best.
    #[inline(always)]
    pub(crate) fn of(&self, [w0, w1, w2, w3]: [u32; 4]) -> u64 {
        let [_, _, k2, k3, k4] = self.keys;
        self.of_word(w0)
            .wrapping_add(k2.wrapping_mul(u64::from(w1)))
            .wrapping_add(k3.wrapping_mul(u64::from(w2)))
            .wrapping_add(k4.wrapping_mul(u64::from(w3)))
    }

    /// The hash of an address of one word: of that and zeros.
    #[inline(always)]
    pub(crate) fn of_word(&self, word: u32) -> u64 {
        let [k0, k1, ..] = self.keys;
        k0.wrapping_add(k1.wrapping_mul(u64::from(word)))
    }
}
