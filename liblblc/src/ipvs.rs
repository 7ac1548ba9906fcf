// SPDX-License-Identifier: GPL-2.0

//! The services of IPVS, whatever their scheduler, from its netlink interface. (`/proc/net/ip_vs`
//! does not have the address family of a service for a firewall mark.)

use crate::{
    attributes::{put, put_nested, u16_of, u32_of, Attributes},
    identity::{socket_address, Identity},
    netlink::{Error, Socket, DUMP, ONE},
    proc,
};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::SocketAddr,
};

/// `include/uapi/linux/ip_vs.h`
const VERSION: u8 = 1;
const SET_SERVICE: u8 = 2;
const GET_SERVICE: u8 = 4;
const GET_DEST: u8 = 8;
const SERVICE: u16 = 1;
const DEST: u16 = 2;
const SCHEDULER: u16 = 6;
const FLAGS: u16 = 7;
const NETMASK: u16 = 9;
const PERSISTENCE_ENGINE: u16 = 11;
const PERSISTENT: u32 = 1;
/// `IP_VS_SVC_F_SCHED1` and the next two, as `ipvsadm -b` calls them.
const SCHEDULER_FLAGS: [(u32, &str); 3] = [(8, "flag-1"), (16, "flag-2"), (32, "flag-3")];
const DEST_ADDRESS: u16 = 1;
const DEST_PORT: u16 = 2;
const WEIGHT: u16 = 4;
const THRESHOLD: u16 = 5;
const ACTIVE: u16 = 7;
const INACTIVE: u16 = 8;
const FAMILY_OF_DEST: u16 = 11;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub identity: Identity,
    pub scheduler: String,
    pub persistent: bool,
    /// The scheduler's flags that are set, as `ipvsadm -b` calls them.
    pub flags: Vec<&'static str>,
    pub servers: Vec<Server>,
    /// The attributes that a request to change it must have.
    settings: Vec<u8>,
}

impl Service {
    /// One that is not persistent, and has neither flags nor servers.
    pub fn new(identity: Identity, scheduler: &str) -> Self {
        Self {
            identity,
            scheduler: scheduler.into(),
            persistent: false,
            flags: Vec::new(),
            servers: Vec::new(),
            settings: Vec::new(),
        }
    }
}

/// A real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    pub address: SocketAddr,
    pub weight: i64,
    pub active: u64,
    pub inactive: u64,
    /// The upper threshold: with this number of connections it gets no new ones. 0: no threshold.
    pub threshold: u64,
}

impl Server {
    /// Whether it has as many connections as its upper threshold allows.
    pub fn is_full(&self) -> bool {
        self.threshold > 0 && self.active.saturating_add(self.inactive) >= self.threshold
    }
}

/// IPVS, in the network namespace of the thread that opened this.
pub struct Ipvs {
    socket: Socket,
    family: u16,
}

impl Ipvs {
    /// Makes the kernel load the module `ip_vs`, if IPVS is a module.
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::new()?;
        let family = socket.family("IPVS")?;
        Ok(Self { socket, family })
    }

    /// All services, without their servers.
    pub fn services(&mut self) -> Result<Vec<Service>, Error> {
        let (mut services, mut seen) = (Vec::new(), HashSet::new());
        self.ask(DUMP, GET_SERVICE, Vec::new(), |answer| {
            if let Some(service) = answer.nested(SERVICE).and_then(service) {
                // A list that changes while it is read may have a service twice.
                if seen.insert(service.identity) {
                    services.push(service);
                }
            }
        })?;
        Ok(services)
    }

    /// The servers of a service.
    pub fn servers(&mut self, of: &Identity) -> Result<Vec<Server>, Error> {
        let (mut request, mut servers) = (Vec::new(), Vec::new());
        put_nested(&mut request, SERVICE, &of.attributes());
        self.ask(DUMP, GET_DEST, request, |answer| {
            servers.extend(answer.nested(DEST).and_then(server));
        })?;
        Ok(servers)
    }

    /// Gives a service another scheduler, and leaves its other settings as they were when it was
    /// read.
    pub fn set_scheduler(&mut self, service: &Service, scheduler: &str) -> Result<(), Error> {
        let (mut inner, mut request) = (service.settings.clone(), Vec::new());
        put(
            &mut inner,
            SCHEDULER,
            &[scheduler.as_bytes(), b"\0"].concat(),
        );
        put_nested(&mut request, SERVICE, &inner);
        self.ask(ONE, SET_SERVICE, request, |_| {})
    }

    fn ask(
        &mut self,
        flags: u16,
        command: u8,
        request: Vec<u8>,
        each: impl FnMut(Attributes<'_>),
    ) -> Result<(), Error> {
        let asked = self
            .socket
            .ask(self.family, flags, command, VERSION, request, each);
        asked.map(|_| ())
    }
}

/// Up to this number of services, the servers are requested service by service, some 50 us each.
const FEW: usize = 200;

/// All services; with their servers, if `whose` selects the scheduler. If these are more than
/// [`FEW`], their servers are read from `/proc/net/ip_vs`, which lacks the thresholds, except those
/// of the services that `exact` selects.
pub fn read(
    whose: &dyn Fn(&str) -> bool,
    exact: &dyn Fn(&Identity) -> bool,
) -> io::Result<Vec<Service>> {
    let mut ipvs = Ipvs::open()?;
    let mut services = ipvs.services()?;
    let ours = services.iter().filter(|it| whose(&it.scheduler)).count();
    let mut listed = match ours > FEW {
        true => proc::parse(&fs::read("/proc/net/ip_vs")?),
        false => HashMap::new(),
    };
    for service in services.iter_mut().filter(|it| whose(&it.scheduler)) {
        let servers = listed.remove(&proc::Name::of(&service.identity));
        service.servers = match servers.filter(|_| !exact(&service.identity)) {
            Some(servers) => servers,
            None => ipvs.servers(&service.identity)?,
        };
    }
    Ok(services)
}

pub(crate) fn service(all: Attributes<'_>) -> Option<Service> {
    let scheduler = all.get(SCHEDULER)?.split(|it| *it == 0).next()?;
    let flags = all.get(FLAGS).and_then(|it| it.get(..4)).and_then(u32_of)?;
    let mut settings = Vec::new();
    for (kind, value) in all {
        if kind != SCHEDULER && (kind <= NETMASK || kind == PERSISTENCE_ENGINE) {
            put(&mut settings, kind, value);
        }
    }
    let scheduler = String::from_utf8_lossy(scheduler);
    Some(Service {
        persistent: flags & PERSISTENT != 0,
        flags: SCHEDULER_FLAGS
            .iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, name)| *name)
            .collect(),
        settings,
        ..Service::new(Identity::parse(all)?, &scheduler)
    })
}

pub(crate) fn server(all: Attributes<'_>) -> Option<Server> {
    let family = all.get(FAMILY_OF_DEST).and_then(u16_of)?;
    let number = |kind| all.get(kind).and_then(u32_of);
    Some(Server {
        address: socket_address(family, all.get(DEST_ADDRESS)?, all.get(DEST_PORT)?)?,
        weight: i64::from(number(WEIGHT)? as i32),
        active: number(ACTIVE)?.into(),
        inactive: number(INACTIVE)?.into(),
        threshold: number(THRESHOLD)?.into(),
    })
}
