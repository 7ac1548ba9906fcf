// SPDX-License-Identifier: GPL-2.0

//! The multicast group `changes`: reports of changed entries.

use crate::{
    attributes::{address_of, be16_of, Attributes},
    identity::Identity,
    netlink::{Error, Socket},
    tables::{Entry, FAMILY},
};
use std::net::SocketAddr;

const GROUP: &str = "changes";
const COMMAND: u8 = 5;
const SERVICE: u16 = 1;
const CHANGE: u16 = 17;
const PASSED_OVER: u16 = 18;

const KIND: u16 = 1;
const ENTRY: u16 = 2;
const REASON: u16 = 3;
const OLD_ADDR: u16 = 4;
const OLD_PORT: u16 = 5;

pub(crate) const KINDS: [&str; 5] = ["insert", "replace", "expire", "evict", "delete"];
pub(crate) const REASONS: [&str; 7] = [
    "unknown",
    "expired",
    "unavailable",
    "weight0",
    "overloaded",
    "threshold",
    "operator",
];

/// The group of the controller, which reports registered and unregistered families.
const CONTROLLER: &str = "nlctrl";
const CONTROLLER_ID: u16 = 0x10;
const NOTIFY: &str = "notify";
const NEW_FAMILY: u8 = 1;
const DELETED_FAMILY: u8 = 2;
const FAMILY_NAME: u16 = 2;

/// A change of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: &'static str,
    /// With its new server, or the last one that it had.
    pub entry: Entry,
    /// Why it was made or has another server.
    pub reason: Option<&'static str>,
    pub old_server: Option<SocketAddr>,
}

impl Change {
    pub(crate) fn parse(all: Attributes<'_>) -> Option<Self> {
        let name = |kind, names: &[&'static str]| {
            let number = usize::try_from(all.number(kind)?).ok()?;
            Some(names.get(number).copied().unwrap_or("unknown-to-lblcctl"))
        };
        let old = all.get(OLD_ADDR).and_then(address_of);
        let port = all.get(OLD_PORT).and_then(be16_of);
        Some(Self {
            kind: name(KIND, &KINDS)?,
            entry: Entry::parse(all.nested(ENTRY)?)?,
            reason: name(REASON, &REASONS),
            old_server: old.zip(port).map(SocketAddr::from),
        })
    }
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Change(Identity, Change),
    /// This number of changes was passed over; `None`: an unknown number.
    PassedOver(Option<u64>),
    Unloaded,
    Loaded,
}

/// The changes since the creation of this object.
pub struct Changes {
    socket: Socket,
}

impl Changes {
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::new()?;
        // First of all: the module may be unloaded and loaded again at any time.
        socket.join(CONTROLLER, NOTIFY)?;
        socket.join(FAMILY, GROUP)?;
        socket.enlarge();
        Ok(Self { socket })
    }

    /// Waits for events, and gives them to `each`.
    pub fn wait(&mut self, mut each: impl FnMut(Event)) -> Result<(), Error> {
        let mut is_loaded = false;
        let listened = self.socket.listen(|family, command, all| {
            if family == CONTROLLER_ID {
                let name = all.get(FAMILY_NAME).and_then(|it| it.strip_suffix(b"\0"));
                match command {
                    _ if name != Some(FAMILY.as_bytes()) => {}
                    NEW_FAMILY => is_loaded = true,
                    DELETED_FAMILY => each(Event::Unloaded),
                    _ => {}
                }
            } else if command == COMMAND {
                if let Some(number) = all.number(PASSED_OVER).filter(|it| *it > 0) {
                    each(Event::PassedOver(Some(number)));
                }
                let Some(service) = all.nested(SERVICE).and_then(Identity::parse) else {
                    return;
                };
                for (_, value) in all.filter(|(kind, _)| *kind == CHANGE) {
                    if let Some(change) = Change::parse(Attributes::new(value)) {
                        each(Event::Change(service, change));
                    }
                }
            }
        });
        match listened {
            // ENOBUFS
            Err(Error::Socket(error)) if error.raw_os_error() == Some(105) => {
                each(Event::PassedOver(None));
            }
            listened => listened?,
        }
        if is_loaded {
            self.socket.join(FAMILY, GROUP)?;
            each(Event::Loaded);
        }
        Ok(())
    }
}
