// SPDX-License-Identifier: GPL-2.0

//! The services of IPVS, whatever their scheduler, from its netlink interface. (`/proc/net/ip_vs`
//! does not say of which address family a service for a firewall mark is.)

use crate::netlink::{put, u16_of, u32_of, Attributes, Socket, DUMP};
use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
};

/// `include/uapi/linux/ip_vs.h`
const VERSION: u8 = 1;
const GET_SERVICE: u8 = 4;
const GET_DEST: u8 = 8;
const SERVICE: u16 = 1;
const DEST: u16 = 2;
const FAMILY_OF_SERVICE: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDRESS: u16 = 3;
const PORT: u16 = 4;
const MARK: u16 = 5;
const SCHEDULER: u16 = 6;
const FLAGS: u16 = 7;
const PERSISTENT: u32 = 1;
const DEST_ADDRESS: u16 = 1;
const DEST_PORT: u16 = 2;
const WEIGHT: u16 = 4;
const THRESHOLD: u16 = 5;
const ACTIVE: u16 = 7;
const INACTIVE: u16 = 8;
const FAMILY_OF_DEST: u16 = 11;

const INET: u16 = 2;
const INET6: u16 = 10;

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// As the module writes it: `TCP 192.0.2.1:80`, `FWM 1`, `FWM6 1`.
    pub(crate) name: String,
    pub(crate) scheduler: String,
    pub(crate) persistent: bool,
    pub(crate) servers: Vec<Server>,
}

/// A real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) weight: i64,
    pub(crate) active: u64,
    pub(crate) inactive: u64,
    /// The number of connections from which on it gets no new ones, or 0.
    pub(crate) threshold: u64,
}

impl Server {
    /// Whether it has as many connections as its upper threshold allows.
    pub(crate) fn is_full(&self) -> bool {
        self.threshold > 0 && self.active.saturating_add(self.inactive) >= self.threshold
    }
}

/// All services; with their servers, if `whose` says so of the scheduler.
pub(crate) fn read(whose: &dyn Fn(&str) -> bool) -> io::Result<Vec<Service>> {
    let mut socket = Socket::new()?;
    let family = socket.family("IPVS")?;
    let (mut services, mut seen) = (Vec::new(), HashSet::new());
    socket.ask(family, DUMP, GET_SERVICE, VERSION, &[], |answer| {
        if let Some((service, id)) = answer.nested(SERVICE).and_then(service) {
            // A list that changes while it is read may have a service twice.
            if seen.insert(service.name.clone()) {
                services.push((service, id));
            }
        }
    })?;
    for (service, id) in &mut services {
        if whose(&service.scheduler) {
            socket.ask(family, DUMP, GET_DEST, VERSION, id, |answer| {
                service.servers.extend(answer.nested(DEST).and_then(server));
            })?;
        }
    }
    Ok(services.into_iter().map(|(it, _)| it).collect())
}

/// A service, and the attribute that stands for it in a request.
pub(crate) fn service(all: Attributes<'_>) -> Option<(Service, Vec<u8>)> {
    let ipv6 = all.get(FAMILY_OF_SERVICE).and_then(u16_of)? == INET6;
    let name = match all.get(MARK).and_then(u32_of) {
        Some(mark) => format!("FWM{} {mark}", if ipv6 { "6" } else { "" }),
        None => {
            let protocol = match all.get(PROTOCOL).and_then(u16_of)? {
                6 => "TCP",
                17 => "UDP",
                132 => "SCTP",
                _ => return None,
            };
            let family = if ipv6 { INET6 } else { INET };
            let address = address(family, all.get(ADDRESS)?, all.get(PORT)?)?;
            format!("{protocol} {address}")
        }
    };
    let scheduler = all.get(SCHEDULER)?.split(|it| *it == 0).next()?;
    let flags = all.get(FLAGS).and_then(|it| it.get(..4)).and_then(u32_of)?;
    let (mut inner, mut id) = (Vec::new(), Vec::new());
    for (kind, value) in all.filter(|(kind, _)| (FAMILY_OF_SERVICE..=MARK).contains(kind)) {
        put(&mut inner, kind, value);
    }
    put(&mut id, SERVICE, &inner);
    let service = Service {
        name,
        scheduler: String::from_utf8_lossy(scheduler).into(),
        persistent: flags & PERSISTENT != 0,
        servers: Vec::new(),
    };
    Some((service, id))
}

pub(crate) fn server(all: Attributes<'_>) -> Option<Server> {
    let family = all.get(FAMILY_OF_DEST).and_then(u16_of)?;
    let number = |kind| all.get(kind).and_then(u32_of);
    Some(Server {
        address: address(family, all.get(DEST_ADDRESS)?, all.get(DEST_PORT)?)?,
        weight: i64::from(number(WEIGHT)? as i32),
        active: number(ACTIVE)?.into(),
        inactive: number(INACTIVE)?.into(),
        threshold: number(THRESHOLD)?.into(),
    })
}

/// `union nf_inet_addr` and a port, both in network order.
fn address(family: u16, address: &[u8], port: &[u8]) -> Option<SocketAddr> {
    let address = match family {
        INET => IpAddr::from(<[u8; 4]>::try_from(address.get(..4)?).ok()?),
        INET6 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(
        address,
        u16::from_be_bytes(port.try_into().ok()?),
    ))
}
