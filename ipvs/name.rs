// SPDX-License-Identifier: GPL-2.0

//! How people write addresses, servers and services.

use super::Address;
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Something with a name that people know.
pub(crate) enum Named {
    /// `192.0.2.1` or `2001:db8::1`
    Address(Address, bool),
    /// `192.0.2.1:80` or `[2001:db8::1]:80`
    Endpoint(Address, bool, u16),
    /// `FWM 1`
    Mark(u32),
    /// `TCP 192.0.2.1:80`
    Service(&'static str, Address, bool, u16),
}

impl Named {
    /// An address, of which the caller knows the family.
    pub(crate) fn address(address: &Address, ipv6: bool) -> Self {
        Self::Address(*address, ipv6)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address([word, ..], false) => {
                write!(f, "{}", Ipv4Addr::from(u32::from_be(word)))
            }
            Self::Address([a, b, c, d], true) => {
                let high = u64::from(u32::from_be(a)) << 32 | u64::from(u32::from_be(b));
                let low = u64::from(u32::from_be(c)) << 32 | u64::from(u32::from_be(d));
                let bits = u128::from(high) << 64 | u128::from(low);
                write!(f, "{}", Ipv6Addr::from_bits(bits))
            }
            Self::Endpoint(address, false, port) => {
                write!(f, "{}:{port}", Self::Address(address, false))
            }
            Self::Endpoint(address, true, port) => {
                write!(f, "[{}]:{port}", Self::Address(address, true))
            }
            Self::Mark(mark) => write!(f, "FWM {mark}"),
            Self::Service(protocol, address, ipv6, port) => {
                write!(f, "{protocol} {}", Self::Endpoint(address, ipv6, port))
            }
        }
    }
}

impl kernel::fmt::Display for Named {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
