// SPDX-License-Identifier: GPL-2.0

//! The names of services: `FWM 1`, `FWM6 1`, `TCP 192.0.2.1:80`, `UDP [2001:db8::1]:53`.

use crate::attributes::{address_of, be16_of, put, put_address, u16_of, u32_of, Attributes};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// The numbers of `IPVS_SVC_ATTR_*`, which our family uses as well.
pub const AF: u16 = 1;
pub const PROTOCOL: u16 = 2;
pub const ADDRESS: u16 = 3;
pub const PORT: u16 = 4;
pub const MARK: u16 = 5;

pub const INET: u16 = 2;
pub const INET6: u16 = 10;

const PROTOCOLS: [(u16, &str); 3] = [(6, "TCP"), (17, "UDP"), (132, "SCTP")];

/// A service of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A firewall mark, and whether the service is for IPv6.
    Mark(u32, bool),
    /// The number of the protocol, and the address and port.
    Address(u16, SocketAddr),
}

impl Identity {
    pub fn is_ipv6(&self) -> bool {
        match self {
            Self::Mark(_, ipv6) => *ipv6,
            Self::Address(_, address) => address.is_ipv6(),
        }
    }

    /// Reads the attributes of a service, of our family or of that of IPVS, in which an address of
    /// IPv4 has 16 bytes.
    pub fn parse(all: Attributes<'_>) -> Option<Self> {
        let family = all.get(AF).and_then(u16_of)?;
        if let Some(mark) = all.get(MARK).and_then(u32_of) {
            return Some(Self::Mark(mark, family == INET6));
        }
        let protocol = all.get(PROTOCOL).and_then(u16_of)?;
        PROTOCOLS.iter().find(|(number, _)| *number == protocol)?;
        let address = socket_address(family, all.get(ADDRESS)?, all.get(PORT)?)?;
        Some(Self::Address(protocol, address))
    }

    /// Its attributes, as both families take them.
    pub fn attributes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let family = if self.is_ipv6() { INET6 } else { INET };
        put(&mut all, AF, &family.to_ne_bytes());
        match self {
            Self::Mark(mark, _) => put(&mut all, MARK, &mark.to_ne_bytes()),
            Self::Address(protocol, address) => {
                put(&mut all, PROTOCOL, &protocol.to_ne_bytes());
                put_address(&mut all, ADDRESS, address.ip());
                put(&mut all, PORT, &address.port().to_be_bytes());
            }
        }
        all
    }
}

/// An address, of 4 or 16 bytes, and a port, both in network order.
pub fn socket_address(family: u16, address: &[u8], port: &[u8]) -> Option<SocketAddr> {
    let address: IpAddr = match family {
        INET => address_of(address.get(..4)?)?,
        INET6 => address_of(address).filter(IpAddr::is_ipv6)?,
        _ => return None,
    };
    Some(SocketAddr::new(address, be16_of(port)?))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mark(mark, false) => write!(f, "FWM {mark}"),
            Self::Mark(mark, true) => write!(f, "FWM6 {mark}"),
            Self::Address(protocol, address) => {
                let known = PROTOCOLS.iter().find(|(number, _)| number == protocol);
                write!(f, "{} {address}", known.map_or("?", |(_, name)| name))
            }
        }
    }
}

/// Capitals do not matter, and spaces are optional: `fwm1` is `FWM 1`.
impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (kind, rest) = trimmed.split_once(' ').unwrap_or_else(|| {
            let end = trimmed.find(|it: char| !it.is_ascii_alphabetic());
            trimmed.split_at(end.unwrap_or(trimmed.len()))
        });
        let (kind, rest) = (kind.to_ascii_uppercase(), rest.trim());
        let mark = |ipv6| {
            let mark = rest.parse().ok().filter(|it| *it != 0);
            mark.map(|it| Self::Mark(it, ipv6))
        };
        let found = match kind.as_str() {
            "FWM" => mark(false),
            "FWM6" => mark(true),
            _ => PROTOCOLS
                .iter()
                .find(|(_, name)| *name == kind)
                .and_then(|(number, _)| Some(Self::Address(*number, rest.parse().ok()?))),
        };
        found.ok_or_else(|| {
            format!("\"{text}\" names no service, as \"FWM 1\" and \"TCP 192.0.2.1:80\" do")
        })
    }
}
