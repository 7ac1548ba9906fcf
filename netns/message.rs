// SPDX-License-Identifier: GPL-2.0

//! The messages of the generic netlink family: reading requests, and writing answers and events.
//! Any context. Reading fails with `EINVAL`, and writing with `EMSGSIZE` if there is no room.

use super::{
    attributes::{
        Attributes,
        Nest,
        NESTED, //
    },
    changes::Change,
    control::Known,
    netlink::{
        Message,
        Refusal,
        Request, //
    }, //
};
use crate::{
    bindings,
    ipvs::{
        Address,
        Endpoint,
        Identity, //
    }, //
};
use kernel::prelude::*;

/// `const NAME = LBLC_RS_A_NAME`: the numbers of attributes, from the generated header.
macro_rules! numbers {
    ($($name:ident = $number:ident),* $(,)?) => {
        $(pub(super) const $name: u16 = bindings::$number as u16;)*
    };
}

numbers! {
    SERVICE = LBLC_RS_A_SERVICE,
    ENTRY = LBLC_RS_A_ENTRY,
    FILTER = LBLC_RS_A_FILTER,
    MODE = LBLC_RS_A_MODE,
    ENTRIES = LBLC_RS_A_ENTRIES,
    BUCKETS = LBLC_RS_A_BUCKETS,
    MAX_ENTRIES = LBLC_RS_A_MAX_ENTRIES,
    EXPIRATION = LBLC_RS_A_EXPIRATION,
    BYTES = LBLC_RS_A_BYTES,
    CREATED = LBLC_RS_A_CREATED,
    CHANGED = LBLC_RS_A_CHANGED,
    KEPT = LBLC_RS_A_KEPT,
    FAILED = LBLC_RS_A_FAILED,
    DELETED = LBLC_RS_A_DELETED,
    PARKED = LBLC_RS_A_PARKED,
    CHANGE = LBLC_RS_A_CHANGE,
    PASSED_OVER = LBLC_RS_A_PASSED_OVER,
    CHANGE_KIND = LBLC_RS_A_CHANGE_KIND,
    CHANGE_ENTRY = LBLC_RS_A_CHANGE_ENTRY,
    CHANGE_REASON = LBLC_RS_A_CHANGE_REASON,
    CHANGE_OLD_SERVER_ADDR = LBLC_RS_A_CHANGE_OLD_SERVER_ADDR,
    CHANGE_OLD_SERVER_PORT = LBLC_RS_A_CHANGE_OLD_SERVER_PORT,
    COUNTERS = LBLC_RS_A_COUNTERS,
    COUNTER_FIRST = LBLC_RS_A_COUNTER_HITS,
    SERVICE_AF = LBLC_RS_A_SERVICE_AF,
    SERVICE_PROTOCOL = LBLC_RS_A_SERVICE_PROTOCOL,
    SERVICE_ADDR = LBLC_RS_A_SERVICE_ADDR,
    SERVICE_PORT = LBLC_RS_A_SERVICE_PORT,
    SERVICE_FWMARK = LBLC_RS_A_SERVICE_FWMARK,
    ENTRY_KEY = LBLC_RS_A_ENTRY_KEY,
    ENTRY_SERVER_ADDR = LBLC_RS_A_ENTRY_SERVER_ADDR,
    ENTRY_SERVER_PORT = LBLC_RS_A_ENTRY_SERVER_PORT,
    ENTRY_IDLE = LBLC_RS_A_ENTRY_IDLE,
    ENTRY_REMOVED = LBLC_RS_A_ENTRY_REMOVED,
    FILTER_SERVER_ADDR = LBLC_RS_A_FILTER_SERVER_ADDR,
    FILTER_SERVER_PORT = LBLC_RS_A_FILTER_SERVER_PORT,
    FILTER_PREFIX = LBLC_RS_A_FILTER_PREFIX,
    FILTER_PREFIX_LEN = LBLC_RS_A_FILTER_PREFIX_LEN,
    FILTER_IDLE_MIN = LBLC_RS_A_FILTER_IDLE_MIN,
    FILTER_REMOVED = LBLC_RS_A_FILTER_REMOVED,
    FILTER_IDLE_MAX = LBLC_RS_A_FILTER_IDLE_MAX,
}

const KEEP_NEWER: u32 = bindings::ip_vs_lblc_rs_set_mode_IP_VS_LBLC_RS_SET_MODE_KEEP_NEWER;

const AF_INET: u16 = bindings::AF_INET as u16;
const AF_INET6: u16 = bindings::AF_INET6 as u16;

/// The filter of a request: an entry must match all of its attributes.
#[derive(Default)]
pub(super) struct Filter {
    /// The address, and whether it is IPv6.
    server: Option<(Address, bool)>,
    port: Option<u16>,
    /// The address, and whether it is IPv6.
    prefix: Option<(Address, bool)>,
    /// In bits.
    prefix_length: Option<u8>,
    /// In milliseconds.
    idle: u64,
    /// In milliseconds.
    idle_max: Option<u64>,
    removed: bool,
}

/// Reads an address.
fn address(bytes: &[u8]) -> Result<(Address, bool), Refusal> {
    let wrong = || {
        Refusal::new(
            EINVAL,
            c"an address has 4 bytes for IPv4, 16 bytes for IPv6",
        )
    };
    Address::from_bytes(bytes).ok_or_else(wrong)
}

/// The first `length` bits of an address, in the order in which they are sent.
fn prefix((address, ipv6): (Address, bool), length: u32) -> u128 {
    let bits = match ipv6 {
        true => u128::from_be_bytes(address.ipv6_bytes()),
        false => u128::from(u32::from_be_bytes(address.ipv4_bytes())) << 96,
    };
    bits & u128::MAX
        .checked_shl(u128::BITS.wrapping_sub(length))
        .unwrap_or(0)
}

impl Filter {
    fn parse(attributes: Attributes<'_>) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        for attribute in attributes {
            match attribute.number {
                FILTER_SERVER_ADDR => filter.server = Some(address(attribute.bytes())?),
                FILTER_SERVER_PORT => filter.port = Some(attribute.be16()?),
                FILTER_PREFIX => filter.prefix = Some(address(attribute.bytes())?),
                FILTER_PREFIX_LEN => filter.prefix_length = Some(attribute.u8()?),
                FILTER_IDLE_MIN => filter.idle = attribute.uint()?,
                FILTER_REMOVED => filter.removed = true,
                FILTER_IDLE_MAX => filter.idle_max = Some(attribute.uint()?),
                _ => return Err(EINVAL.into()),
            }
        }
        if filter.port.is_some() && filter.server.is_none() {
            return Err(Refusal::new(EINVAL, c"server-port needs server-addr"));
        }
        match (filter.prefix, filter.prefix_length) {
            (None, Some(_)) => Err(Refusal::new(EINVAL, c"prefix-len needs prefix")),
            (Some(_), None) => Ok(filter),
            (Some(whole), Some(_)) => {
                let length = filter.length();
                if length > if whole.1 { 128 } else { 32 } {
                    return Err(Refusal::new(EINVAL, c"prefix-len is longer than prefix"));
                }
                if prefix(whole, length) != prefix(whole, u128::BITS) {
                    return Err(Refusal::new(EINVAL, c"prefix has bits behind prefix-len"));
                }
                Ok(filter)
            }
            (None, None) => Ok(filter),
        }
    }

    /// The length of the prefix in bits.
    fn length(&self) -> u32 {
        self.prefix_length.map_or(u128::BITS, u32::from)
    }

    /// Whether a service of this family can have an entry that is wanted.
    pub(super) fn fits(&self, ipv6: bool) -> bool {
        self.prefix.is_none_or(|(_, of_ipv6)| of_ipv6 == ipv6)
    }

    /// Whether an entry, of a service for which `fits()` is true, is wanted.
    pub(super) fn wants(&self, entry: &Known) -> bool {
        let server = (entry.server.address, entry.server.ipv6);
        self.server.is_none_or(|wanted| wanted == server)
            && self.port.is_none_or(|port| port == entry.server.port)
            && self.prefix.is_none_or(|whole| {
                let key = (entry.key, whole.1);
                prefix(key, self.length()) == prefix(whole, self.length())
            })
            && entry.idle >= self.idle
            && self.idle_max.is_none_or(|max| entry.idle <= max)
            && (entry.removed || !self.removed)
    }
}

/// Reads a service's identity.
fn identity(attributes: Attributes<'_>) -> Result<Identity, Refusal> {
    let (mut af, mut protocol, mut addr, mut port, mut mark) = (None, None, None, None, None);
    for attribute in attributes {
        match attribute.number {
            SERVICE_AF => af = Some(attribute.u16()?),
            SERVICE_PROTOCOL => protocol = Some(attribute.u16()?),
            SERVICE_ADDR => addr = Some(address(attribute.bytes())?),
            SERVICE_PORT => port = Some(attribute.be16()?),
            SERVICE_FWMARK => mark = Some(attribute.u32()?),
            _ => return Err(EINVAL.into()),
        }
    }
    let ipv6 = match af {
        Some(AF_INET) => false,
        Some(AF_INET6) => true,
        Some(_) => return Err(Refusal::new(EINVAL, c"af is AF_INET or AF_INET6")),
        None => return Err(Refusal::new(EINVAL, c"service: af is missing")),
    };
    match (mark, protocol, addr, port) {
        (Some(1..), None, None, None) => Ok(Identity::Mark(mark.unwrap_or(0), ipv6)),
        (None, Some(protocol), Some((address, of_ipv6)), Some(port)) => {
            if of_ipv6 != ipv6 {
                return Err(Refusal::new(
                    EINVAL,
                    c"service: addr is not of the family af",
                ));
            }
            let endpoint = Endpoint {
                address,
                ipv6,
                port,
            };
            Ok(Identity::Address(protocol, endpoint))
        }
        _ => Err(Refusal::new(
            EINVAL,
            c"service: needs a fwmark that is not 0, or protocol, addr and port",
        )),
    }
}

/// The attributes of a request, except for its entries, of which it may have several.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) service: Option<Identity>,
    pub(super) filter: Option<Filter>,
    pub(super) keep_newer: bool,
}

impl Parsed {
    /// Reads the attributes of a request.
    pub(super) fn new(request: &Request<'_>) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        for attribute in request.attributes() {
            match attribute.number {
                SERVICE => parsed.service = Some(identity(attribute.nested())?),
                FILTER => parsed.filter = Some(Filter::parse(attribute.nested())?),
                MODE => parsed.keep_newer = attribute.u32()? == KEEP_NEWER,
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// The service. Fails if it is missing.
    pub(super) fn service(&self) -> Result<Identity, Refusal> {
        self.service.ok_or_else(|| Refusal::missing(SERVICE))
    }
}

/// The refusal of a request for a service that is not bound.
pub(super) fn no_service() -> Refusal {
    Refusal::new(ENOENT, c"no such service is bound to this scheduler")
}

/// The entries of a request.
pub(super) fn entries<'a>(request: &Request<'a>) -> impl Iterator<Item = Attributes<'a>> {
    let all = request.attributes();
    all.filter_map(|it| (it.number == ENTRY).then_some(it.nested()))
}

/// Reads the key of an entry, for a service of this family.
pub(super) fn key(attributes: Attributes<'_>, ipv6: bool) -> Result<Address, Refusal> {
    for attribute in attributes {
        if attribute.number == ENTRY_KEY {
            return match address(attribute.bytes())? {
                (key, of_ipv6) if of_ipv6 == ipv6 => Ok(key),
                _ => Err(Refusal::new(EINVAL, c"key is not of the service's family")),
            };
        }
    }
    Err(Refusal::new(EINVAL, c"entry: key is missing"))
}

/// Reads an entry that is to be set, for a service of this family.
pub(super) fn entry(attributes: Attributes<'_>, ipv6: bool) -> Result<Known, Refusal> {
    let key = key(attributes.clone(), ipv6)?;
    let (mut server, mut port, mut idle) = (None, None, 0);
    for attribute in attributes {
        match attribute.number {
            ENTRY_SERVER_ADDR => server = Some(address(attribute.bytes())?),
            ENTRY_SERVER_PORT => port = Some(attribute.be16()?),
            ENTRY_IDLE => idle = attribute.uint()?,
            _ => {}
        }
    }
    let (Some((address, ipv6)), Some(port)) = (server, port) else {
        let why = c"entry: server-addr and server-port are needed";
        return Err(Refusal::new(EINVAL, why));
    };
    Ok(Known {
        key,
        server: Endpoint {
            address,
            ipv6,
            port,
        },
        idle,
        removed: false,
    })
}

fn put_address<const N: usize>(
    nest: &mut Nest<N>,
    number: u16,
    address: Address,
    ipv6: bool,
) -> Result {
    match ipv6 {
        true => nest.put(number, &address.ipv6_bytes()),
        false => nest.put(number, &address.ipv4_bytes()),
    }
}

/// Puts the identity of a service into a message.
pub(super) fn put_service(message: &mut Message<'_>, service: Identity) -> Result {
    let mut nest = Nest::<64>::new();
    let af = if service.is_ipv6() { AF_INET6 } else { AF_INET };
    nest.put(SERVICE_AF, &af.to_ne_bytes())?;
    match service {
        Identity::Mark(mark, _) => nest.put(SERVICE_FWMARK, &mark.to_ne_bytes())?,
        Identity::Address(protocol, endpoint) => {
            nest.put(SERVICE_PROTOCOL, &protocol.to_ne_bytes())?;
            put_address(&mut nest, SERVICE_ADDR, endpoint.address, endpoint.ipv6)?;
            nest.put(SERVICE_PORT, &endpoint.port.to_be_bytes())?;
        }
    }
    message.put_nested(SERVICE, nest.bytes())
}

/// The size of an entry with all of its attributes, at most.
const ENTRY_SIZE: usize = 80;

/// Puts an entry of a service for IPv6, or for IPv4, into a message.
pub(super) fn put_entry(message: &mut Message<'_>, entry: &Known, ipv6: bool) -> Result {
    message.put_nested(ENTRY, entry_nest(entry, ipv6)?.bytes())
}

fn entry_nest(entry: &Known, ipv6: bool) -> Result<Nest<ENTRY_SIZE>> {
    let mut nest = Nest::new();
    put_address(&mut nest, ENTRY_KEY, entry.key, ipv6)?;
    let server = entry.server;
    put_address(&mut nest, ENTRY_SERVER_ADDR, server.address, server.ipv6)?;
    nest.put(ENTRY_SERVER_PORT, &server.port.to_be_bytes())?;
    nest.put_uint(ENTRY_IDLE, entry.idle)?;
    if entry.removed {
        nest.put(ENTRY_REMOVED, &[])?;
    }
    Ok(nest)
}

/// Puts a change into a message.
pub(super) fn put_change(message: &mut Message<'_>, change: &Change) -> Result {
    let mut nest = Nest::<{ ENTRY_SIZE + 64 }>::new();
    nest.put(CHANGE_KIND, &(change.kind as u32).to_ne_bytes())?;
    let entry = entry_nest(&change.entry, change.service.is_ipv6())?;
    nest.put(CHANGE_ENTRY | NESTED, entry.bytes())?;
    if let Some(reason) = change.reason {
        nest.put(CHANGE_REASON, &(reason as u32).to_ne_bytes())?;
    }
    if let Some(old) = change.old {
        put_address(&mut nest, CHANGE_OLD_SERVER_ADDR, old.address, old.ipv6)?;
        nest.put(CHANGE_OLD_SERVER_PORT, &old.port.to_be_bytes())?;
    }
    message.put_nested(CHANGE, nest.bytes())
}

/// A number of entries as an attribute of 32 bits; a greater one becomes the greatest.
pub(super) fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
