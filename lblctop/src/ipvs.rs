// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs`: the services of IPVS, whatever their scheduler, and their servers.
//!
//! ```text
//! FWM  00000001 lblc_rs ops
//!   -> 0A000B02:0050      Route   1000   3          17
//! TCP  [fd00:000c:0000:0000:0000:0000:0000:0100]:0050 lblc_rs
//!   -> [fd00:0001:0000:0000:0000:0000:0000:0002]:0050      Masq    1      0          0
//! ```

use crate::source::lines;
use std::{
    io::{self, BufRead},
    net::{IpAddr, SocketAddr},
};

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// As the module writes it, `TCP 192.0.2.1:80`; but a firewall mark of IPv6 is `FWM 1` as well.
    pub(crate) name: String,
    /// The scheduler and the flags, as IPVS writes them.
    pub(crate) scheduler: String,
    pub(crate) servers: Vec<Server>,
}

/// A real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) weight: i64,
    pub(crate) active: u64,
    pub(crate) inactive: u64,
}

impl Service {
    /// Whether its scheduler may be ours.
    pub(crate) fn is_ours(&self) -> bool {
        let name = self.scheduler.split(' ').next();
        matches!(name, Some("lblc_rs" | "lblc"))
    }
}

pub(crate) fn parse(file: impl BufRead) -> io::Result<Vec<Service>> {
    let mut services: Vec<Service> = Vec::new();
    lines(file, |line| {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            return;
        };
        if first == "->" {
            if let (Some(service), Some(server)) = (services.last_mut(), server(second, words)) {
                service.servers.push(server);
            }
        } else if let Some(name) = name(first, second) {
            services.push(Service {
                name,
                scheduler: words.collect::<Vec<_>>().join(" "),
                servers: Vec::new(),
            });
        }
    })?;
    Ok(services)
}

fn name(protocol: &str, rest: &str) -> Option<String> {
    if protocol == "FWM" {
        let mark = u32::from_str_radix(rest, 16).ok()?;
        return Some(format!("FWM {mark}"));
    }
    Some(format!("{protocol} {}", address(rest)?))
}

fn server<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<Server> {
    let mut words = words.skip(1);
    Some(Server {
        address: address(text)?,
        weight: words.next()?.parse().ok()?,
        active: words.next()?.parse().ok()?,
        inactive: words.next()?.parse().ok()?,
    })
}

/// `0A000B02:0050` or `[fd00:...]:0050`
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let address = match address.strip_prefix('[') {
        Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(u32::from_str_radix(address, 16).ok()?.into()),
    };
    Some(SocketAddr::new(
        address,
        u16::from_str_radix(port, 16).ok()?,
    ))
}
