// SPDX-License-Identifier: GPL-2.0

//! The notation of addresses, servers and services, as text. All functions: any context.

use super::Address;
use core::{
    fmt,
    net::{
        Ipv4Addr,
        Ipv6Addr, //
    }, //
};

/// `192.0.2.1:80` or `[2001:db8::1]:80`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) ipv6: bool,
    pub(crate) port: u16,
}

impl Endpoint {
    /// The address as a number, and the port. The order of these does not depend on the machine.
    pub(crate) fn numbers(&self) -> (u128, u16) {
        (self.address.number(self.ipv6), self.port)
    }
}

/// An object with a name.
pub(crate) enum Named {
    /// `192.0.2.1` or, if the second field is true, `2001:db8::1`
    Address(Address, bool),
    /// As [`Endpoint`].
    Endpoint(Endpoint),
    /// `FWM 1`, or `FWM6 1` for IPv6: the same mark can have a service of each family.
    Mark(u32, bool),
    /// `TCP 192.0.2.1:80`
    Service(&'static str, Endpoint),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address(Address(word, _), false) => {
                write!(f, "{}", Ipv4Addr::from((word as u32).to_ne_bytes()))
            }
            Self::Address(address, true) => {
                write!(f, "{}", Ipv6Addr::from_bits(address.number(true)))
            }
            Self::Endpoint(Endpoint {
                address,
                ipv6,
                port,
            }) => {
                let (open, close) = if ipv6 { ("[", "]") } else { ("", "") };
                write!(f, "{open}{}{close}:{port}", Self::Address(address, ipv6))
            }
            Self::Mark(mark, ipv6) => write!(f, "FWM{} {mark}", if ipv6 { "6" } else { "" }),
            Self::Service(protocol, endpoint) => {
                write!(f, "{protocol} {}", Self::Endpoint(endpoint))
            }
        }
    }
}

impl kernel::fmt::Display for Named {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
