// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs`: all servers of all services at once.
//!
//! ```text
//! TCP  0A000164:0050 lblc_rs
//!   -> 0A000B02:0050      Masq    1000   0          0
//! FWM  00000001 lblc_rs
//!   -> [fd00:0001:0000:0000:0000:0000:0000:0002]:0050      Route   1000   0          0
//! ```

use crate::{identity::Identity, ipvs::Server};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

/// The name of a service in the file. It lacks the address family of a firewall mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Mark(u32),
    Address(u16, SocketAddr),
}

impl Name {
    pub(crate) fn of(service: &Identity) -> Self {
        match *service {
            Identity::Mark(mark, _) => Self::Mark(mark),
            Identity::Address(protocol, address) => Self::Address(protocol, address),
        }
    }
}

/// The servers of each service, without their thresholds. If two services have the same name, it is
/// left out.
pub(crate) fn parse(text: &[u8]) -> HashMap<Name, Vec<Server>> {
    let mut services: HashMap<Name, Option<Vec<Server>>> = HashMap::new();
    let mut current = None;
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next(), words.next());
        let (Some(first), Some(second)) = (first, second) else {
            continue;
        };
        if first != "->" {
            current = name(first, second);
            if let Some(name) = current {
                let new = !services.contains_key(&name);
                services.insert(name, new.then(Vec::new));
            }
        } else if let Some(Some(servers)) = current.and_then(|it| services.get_mut(&it)) {
            servers.extend(server(second, words.skip(1)));
        }
    }
    let found = services.into_iter();
    found.filter_map(|(name, it)| Some((name, it?))).collect()
}

fn name(kind: &str, what: &str) -> Option<Name> {
    match kind {
        "FWM" => u32::from_str_radix(what, 16).ok().map(Name::Mark),
        "TCP" => Some(Name::Address(6, address(what)?)),
        "UDP" => Some(Name::Address(17, address(what)?)),
        "SCTP" => Some(Name::Address(132, address(what)?)),
        _ => None,
    }
}

/// `words`: weight, active and inactive connections.
fn server<'a>(what: &str, mut words: impl Iterator<Item = &'a str>) -> Option<Server> {
    Some(Server {
        address: address(what)?,
        weight: words.next()?.parse().ok()?,
        active: words.next()?.parse().ok()?,
        inactive: words.next()?.parse().ok()?,
        threshold: 0,
    })
}

fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let address = match address.strip_prefix('[') {
        Some(six) => IpAddr::V6(six.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(u32::from_str_radix(address, 16).ok()?.into()),
    };
    Some((address, u16::from_str_radix(port, 16).ok()?).into())
}
