// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family `ip_vs_lblc_rs`: docs/netlink.md, and the numbers of
//! `bindings/netlink/uapi/linux/ip_vs_lblc_rs.h`.

use crate::{
    attributes::{
        address_of, be16_of, put, put_address, put_nested, put_uint, uint_of, Attributes,
    },
    identity::Identity,
    netlink::{Error, Socket, DUMP, ONE, SOON},
};
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

pub const FAMILY: &str = "ip_vs_lblc_rs";
const VERSION: u8 = 1;

const SERVICE_GET: u8 = 1;
const ENTRY_GET: u8 = 2;
const ENTRY_SET: u8 = 3;
const ENTRY_DEL: u8 = 4;

const SERVICE: u16 = 1;
const ENTRY: u16 = 2;
const FILTER: u16 = 3;
const MODE: u16 = 4;
const ENTRIES: u16 = 5;
const BUCKETS: u16 = 6;
const MAX_ENTRIES: u16 = 7;
const EXPIRATION: u16 = 8;
const BYTES: u16 = 9;
const COUNTERS: u16 = 10;
const CREATED: u16 = 11;
const CHANGED: u16 = 12;
const KEPT: u16 = 13;
const FAILED: u16 = 14;
const DELETED: u16 = 15;
const PARKED: u16 = 16;

const KEY: u16 = 1;
const SERVER_ADDR: u16 = 2;
const SERVER_PORT: u16 = 3;
const IDLE: u16 = 4;
const REMOVED: u16 = 5;

const FILTER_ADDR: u16 = 1;
const FILTER_PORT: u16 = 2;
const FILTER_PREFIX: u16 = 3;
const FILTER_PREFIX_LEN: u16 = 4;
const FILTER_IDLE_MIN: u16 = 5;
const FILTER_REMOVED: u16 = 6;

/// The names of the counters; the attribute of the first one has the number 1.
pub(crate) const NAMES: [&str; 16] = [
    "hits",
    "unknown",
    "expired",
    "unavailable",
    "weight0",
    "overloaded",
    "threshold",
    "none",
    "inserts",
    "replaces",
    "expiries",
    "evictions",
    "failures",
    "resizes",
    "rekeys",
    "deletes",
];

/// The number of entries that fit into a request that every socket may send
/// (`net.core.wmem_default`).
pub const BATCH: usize = 1000;

/// A service that is bound to the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub identity: Identity,
    pub entries: u64,
    pub buckets: u64,
    pub max_entries: u64,
    pub expiration: Duration,
    pub bytes: u64,
    pub counters: Vec<(&'static str, u64)>,
}

/// An entry: a destination and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: IpAddr,
    pub server: SocketAddr,
    pub idle: Duration,
    /// The server is not in the service at present.
    pub removed: bool,
}

/// A filter: an entry must match all of its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub server: Option<IpAddr>,
    pub port: Option<u16>,
    /// An address, and how many of its bits count.
    pub prefix: Option<(IpAddr, u8)>,
    pub idle: Option<Duration>,
    pub removed: bool,
}

/// The treatment of an existing entry when an entry of its destination is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Replace,
    KeepNewer,
}

/// The numbers of entries of a request, by the effect of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub created: u64,
    pub changed: u64,
    pub kept: u64,
    pub failed: u64,
}

impl Done {
    pub fn add(&mut self, other: Done) {
        self.created += other.created;
        self.changed += other.changed;
        self.kept += other.kept;
        self.failed += other.failed;
    }
}

impl Filter {
    /// Whether every entry matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn attributes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(it) = self.server {
            put_address(&mut all, FILTER_ADDR, it);
        }
        if let Some(it) = self.port {
            put(&mut all, FILTER_PORT, &it.to_be_bytes());
        }
        if let Some((address, length)) = self.prefix {
            put_address(&mut all, FILTER_PREFIX, address);
            put(&mut all, FILTER_PREFIX_LEN, &[length]);
        }
        if let Some(it) = self.idle {
            put_uint(&mut all, FILTER_IDLE_MIN, milliseconds(it));
        }
        if self.removed {
            put(&mut all, FILTER_REMOVED, &[]);
        }
        all
    }
}

impl Entry {
    pub fn parse(all: Attributes<'_>) -> Option<Self> {
        let (mut key, mut server, mut port, mut idle, mut removed) = (None, None, None, 0, false);
        for (kind, value) in all {
            match kind {
                KEY => key = address_of(value),
                SERVER_ADDR => server = address_of(value),
                SERVER_PORT => port = be16_of(value),
                IDLE => idle = uint_of(value)?,
                REMOVED => removed = true,
                _ => {}
            }
        }
        Some(Self {
            key: key?,
            server: SocketAddr::new(server?, port?),
            idle: Duration::from_millis(idle),
            removed,
        })
    }

    fn put(&self, to: &mut Vec<u8>) {
        let mut all = Vec::with_capacity(64);
        put_address(&mut all, KEY, self.key);
        put_address(&mut all, SERVER_ADDR, self.server.ip());
        put(&mut all, SERVER_PORT, &self.server.port().to_be_bytes());
        put_uint(&mut all, IDLE, milliseconds(self.idle));
        put_nested(to, ENTRY, &all);
    }
}

impl Service {
    fn parse(all: Attributes<'_>) -> Option<Self> {
        let number = |kind| all.number(kind).unwrap_or_default();
        let counters = all.nested(COUNTERS).into_iter().flatten();
        Some(Self {
            identity: Identity::parse(all.nested(SERVICE)?)?,
            entries: number(ENTRIES),
            buckets: number(BUCKETS),
            max_entries: number(MAX_ENTRIES),
            expiration: Duration::from_millis(number(EXPIRATION)),
            bytes: number(BYTES),
            counters: counters
                .filter_map(|(kind, value)| {
                    let name = NAMES.get(usize::from(kind).checked_sub(1)?)?;
                    Some((*name, uint_of(value)?))
                })
                .collect(),
        })
    }
}

fn milliseconds(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

fn put_service(to: &mut Vec<u8>, service: &Identity) {
    put_nested(to, SERVICE, &service.attributes());
}

/// The tables of the network namespace of the thread that opened this.
pub struct Tables {
    socket: Socket,
    family: u16,
}

impl Tables {
    /// Fails with [`Error::NoFamily`] if the module is not loaded, or too old. Waits for the family
    /// of a module that was just loaded.
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::new()?;
        let end = Instant::now() + SOON;
        loop {
            match socket.family(FAMILY) {
                Ok(family) => return Ok(Self { socket, family }),
                Err(Error::NoFamily(_)) if is_loaded() && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The services, in the order in which they were bound.
    pub fn services(&mut self) -> Result<Vec<Service>, Error> {
        let mut services = Vec::new();
        self.ask(DUMP, SERVICE_GET, Vec::new(), |answer| {
            // A table that is parked has no service.
            if answer.get(PARKED).is_none() {
                services.extend(Service::parse(answer));
            }
        })?;
        Ok(services)
    }

    /// Calls `each` with the entries, of all services or one, that match the filter. Returns
    /// whether the dump may lack some, because a table was rekeyed meanwhile.
    pub fn entries(
        &mut self,
        service: Option<&Identity>,
        filter: &Filter,
        mut each: impl FnMut(&Identity, Entry),
    ) -> Result<bool, Error> {
        let mut request = Vec::new();
        if let Some(service) = service {
            put_service(&mut request, service);
        }
        if !filter.is_empty() {
            put_nested(&mut request, FILTER, &filter.attributes());
        }
        self.ask(DUMP, ENTRY_GET, request, |answer| {
            let Some(service) = answer.nested(SERVICE).and_then(Identity::parse) else {
                return;
            };
            for (_, value) in answer.filter(|(kind, _)| *kind == ENTRY) {
                if let Some(entry) = Entry::parse(Attributes::new(value)) {
                    each(&service, entry);
                }
            }
        })
    }

    /// The entry of one destination; fails with `ENOENT` if it has none.
    pub fn entry(&mut self, service: &Identity, key: IpAddr) -> Result<Option<Entry>, Error> {
        let (mut request, mut found) = (Vec::new(), None);
        put_service(&mut request, service);
        put_key(&mut request, key);
        self.ask(ONE, ENTRY_GET, request, |answer| {
            found = answer.nested(ENTRY).and_then(Entry::parse);
        })?;
        Ok(found)
    }

    /// Sets entries, at most [`BATCH`]. If the kernel refuses the request, it has changed nothing.
    pub fn set(
        &mut self,
        service: &Identity,
        entries: &[Entry],
        mode: Mode,
    ) -> Result<Done, Error> {
        let (mut request, mut done) = (Vec::with_capacity(64 * entries.len()), Done::default());
        put_service(&mut request, service);
        if mode == Mode::KeepNewer {
            put(&mut request, MODE, &1u32.to_ne_bytes());
        }
        for entry in entries {
            entry.put(&mut request);
        }
        self.ask(ONE, ENTRY_SET, request, |answer| {
            let number = |kind| answer.number(kind).unwrap_or_default();
            done = Done {
                created: number(CREATED),
                changed: number(CHANGED),
                kept: number(KEPT),
                failed: number(FAILED),
            };
        })?;
        Ok(done)
    }

    /// Removes the entries of these destinations, at most [`BATCH`]; returns the number of entries.
    pub fn delete_keys(&mut self, service: &Identity, keys: &[IpAddr]) -> Result<u64, Error> {
        let mut request = Vec::new();
        put_service(&mut request, service);
        for key in keys {
            put_key(&mut request, *key);
        }
        self.delete_what(request)
    }

    /// Removes the entries that match the filter, of all services or one; returns their number.
    /// Every entry matches an empty filter.
    pub fn delete(&mut self, service: Option<&Identity>, filter: &Filter) -> Result<u64, Error> {
        let mut request = Vec::new();
        if let Some(service) = service {
            put_service(&mut request, service);
        }
        put_nested(&mut request, FILTER, &filter.attributes());
        self.delete_what(request)
    }

    fn delete_what(&mut self, request: Vec<u8>) -> Result<u64, Error> {
        let mut deleted = 0;
        self.ask(ONE, ENTRY_DEL, request, |answer| {
            deleted = answer.number(DELETED).unwrap_or_default();
        })?;
        Ok(deleted)
    }

    fn ask(
        &mut self,
        flags: u16,
        command: u8,
        request: Vec<u8>,
        each: impl FnMut(Attributes<'_>),
    ) -> Result<bool, Error> {
        self.socket
            .ask(self.family, flags, command, VERSION, request, each)
    }
}

fn put_key(to: &mut Vec<u8>, key: IpAddr) {
    let mut entry = Vec::new();
    put_address(&mut entry, KEY, key);
    put_nested(to, ENTRY, &entry);
}

/// Whether the module is loaded.
pub fn is_loaded() -> bool {
    Path::new("/sys/module/ip_vs_lblc_rs").exists()
}
