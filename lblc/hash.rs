// SPDX-License-Identifier: GPL-2.0

//! A keyed hash of addresses. Pure: this file also builds on the host.

/// Multilinear hashing over all four words of an address, with keys that nobody outside knows:
/// two addresses chosen without the keys agree in the upper `n` bits with probability `2^-n`.
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

    /// The hash of `address`, in 32 bits of which the upper ones are the best.
    #[inline(always)]
    pub(crate) fn of(&self, address: [u32; 4]) -> u32 {
        let [k0, k1, k2, k3, k4] = self.keys;
        let [w0, w1, w2, w3] = address.map(u64::from);
        let sum = k0
            .wrapping_add(k1.wrapping_mul(w0))
            .wrapping_add(k2.wrapping_mul(w1))
            .wrapping_add(k3.wrapping_mul(w2))
            .wrapping_add(k4.wrapping_mul(w3));
        (sum >> 32) as u32
    }
}
