// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: a request, and the answers to it or the reason of a refusal.

use crate::attributes::{put, u16_of, u32_of, Attributes};
use netlink_packet_core::{
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_packet_utils::{DecodeError, Emitable, ParseableParametrized};
use netlink_sys::{protocols::NETLINK_GENERIC, SocketAddr};
use std::{
    fmt,
    io::{self, ErrorKind},
    time::Duration,
};

/// The answer is one message, and then an acknowledgement.
pub const ONE: u16 = NLM_F_REQUEST | NLM_F_ACK;
/// The answer is any number of messages.
pub const DUMP: u16 = NLM_F_REQUEST | NLM_F_DUMP;

/// `NLM_F_DUMP_INTR`: the dump may lack parts, because of a change during it.
const INTERRUPTED: u16 = 0x10;
/// `NLM_F_ACK_TLVS`: an acknowledgement has attributes behind the header of the request.
const HAS_ATTRIBUTES: u16 = 0x200;
const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`, `NLMSGERR_ATTR_MISS_TYPE`
const WORDS: u16 = 1;
const MISSING: u16 = 5;

/// The controller, which knows the numbers of the families.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;

const ROOM_FOR_GROUPS: u32 = 1 << 22;

/// The kernel fills at most 32 KiB at once.
const ROOM: usize = 1 << 16;

/// The failure of a request.
#[derive(Debug)]
pub enum Error {
    /// The kernel refused the request, with a message or without.
    Refused(io::Error, Option<String>),
    /// No family has this name.
    NoFamily(String),
    /// The socket failed.
    Socket(io::Error),
}

impl Error {
    /// The kind of the kernel's error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(error, _) | Self::Socket(error) => error.kind(),
            Self::NoFamily(_) => ErrorKind::NotFound,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error, Some(why)) => write!(f, "{why} ({error})"),
            Self::Refused(error, None) | Self::Socket(error) => write!(f, "{error}"),
            Self::NoFamily(name) => write!(f, "there is no netlink family {name}"),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(error, None) | Error::Socket(error) => error,
            _ => io::Error::new(error.kind(), error.to_string()),
        }
    }
}

/// A command of any family, with its attributes as they are sent.
#[derive(Debug)]
struct Command {
    number: u8,
    version: u8,
    attributes: Vec<u8>,
}

impl GenlFamily for Command {
    fn family_name() -> &'static str {
        ""
    }

    fn command(&self) -> u8 {
        self.number
    }

    fn version(&self) -> u8 {
        self.version
    }
}

impl Emitable for Command {
    fn buffer_len(&self) -> usize {
        self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.attributes);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Command {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self {
            number: header.cmd,
            version: header.version,
            attributes: bytes.to_vec(),
        })
    }
}

type Message = NetlinkMessage<GenlMessage<Command>>;

/// The contents of a message.
enum Said {
    /// An answer: its command, and its attributes.
    Answer(u8, Vec<u8>),
    End,
    Nothing,
}

/// A socket in the network namespace of the thread that makes it.
pub struct Socket {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Socket {
    pub fn new() -> Result<Self, Error> {
        let mut socket = netlink_sys::Socket::new(NETLINK_GENERIC).map_err(Error::Socket)?;
        socket.bind_auto().map_err(Error::Socket)?;
        socket.set_ext_ack(true).map_err(Error::Socket)?;
        socket.set_cap_ack(true).map_err(Error::Socket)?;
        Ok(Self {
            socket,
            buffer: vec![0; ROOM],
            sequence: 0,
        })
    }

    /// The number of a family.
    pub fn family(&mut self, name: &str) -> Result<u16, Error> {
        let found = self.look_up(name, |answer| answer.get(FAMILY_ID).and_then(u16_of))?;
        found.ok_or_else(|| Error::NoFamily(name.into()))
    }

    /// Joins a multicast group of a family.
    pub fn join(&mut self, family: &str, group: &str) -> Result<(), Error> {
        let number = self.look_up(family, |answer| {
            let mut groups = answer.nested(GROUPS)?.map(|(_, it)| Attributes::new(it));
            let ours = |it: &Attributes<'_>| {
                it.get(GROUP_NAME)
                    .is_some_and(|it| it.strip_suffix(b"\0") == Some(group.as_bytes()))
            };
            groups.find(ours)?.get(GROUP_ID).and_then(u32_of)
        })?;
        let name = || Error::NoFamily(format!("{family} with a group {group}"));
        let number = number.ok_or_else(name)?;
        self.socket.add_membership(number).map_err(Error::Socket)
    }

    /// What `pick` finds in the controller's description of a family.
    fn look_up<T>(
        &mut self,
        name: &str,
        pick: impl Fn(Attributes<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let (mut found, mut body) = (None, Vec::new());
        put(&mut body, FAMILY_NAME, &[name.as_bytes(), b"\0"].concat());
        let asked = self.ask(CONTROLLER, ONE, GET_FAMILY, 1, body, |answer| {
            found = pick(answer).or(found.take());
        });
        match asked {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NoFamily(name.into())),
            asked => asked.map(|_| found),
        }
    }

    /// Sends a command of a family with attributes, and gives `each` those of every answer. Returns
    /// whether a dump may lack parts of what it is about.
    pub fn ask(
        &mut self,
        family: u16,
        flags: u16,
        command: u8,
        version: u8,
        attributes: Vec<u8>,
        mut each: impl FnMut(Attributes<'_>),
    ) -> Result<bool, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let payload = Command {
            number: command,
            version,
            attributes,
        };
        let mut payload = GenlMessage::from_payload(payload);
        payload.set_resolved_family_id(family);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = Message::new(header, NetlinkPayload::from(payload));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddr::new(0, 0);
        let sent = self.socket.send_to(&bytes, &kernel, 0);
        sent.map_err(Error::Socket)?;
        let (mut interrupted, sequence) = (false, self.sequence);
        loop {
            let mut ended = None;
            self.receive(|header, said| {
                // The answer to an older request, which was given up.
                if header.sequence_number != sequence {
                    return;
                }
                interrupted |= header.flags & INTERRUPTED != 0;
                match said {
                    Ok(Said::Answer(_, attributes)) => each(Attributes::new(&attributes)),
                    Ok(Said::End) => ended = Some(Ok(())),
                    Ok(Said::Nothing) => {}
                    Err(error) => ended = Some(Err(error)),
                }
            })?;
            if let Some(ended) = ended {
                return ended.map(|()| interrupted);
            }
        }
    }

    /// Sets the socket's receive buffer to the largest size that is allowed.
    pub fn enlarge(&self) {
        // net.core.rmem_max is the bound; less is no failure.
        let _ = self.socket.set_rx_buf_sz(ROOM_FOR_GROUPS);
    }

    /// Waits for messages to groups that were joined, and gives `each` their family, command and
    /// attributes. Fails with `ENOBUFS` if some were lost because they were not read in time.
    pub fn listen(&mut self, mut each: impl FnMut(u16, u8, Attributes<'_>)) -> Result<(), Error> {
        self.receive(|header, said| {
            if let Ok(Said::Answer(command, attributes)) = said {
                each(header.message_type, command, Attributes::new(&attributes));
            }
        })
    }

    /// Receives a datagram, and gives `each` its messages.
    fn receive(
        &mut self,
        mut each: impl FnMut(NetlinkHeader, Result<Said, Error>),
    ) -> Result<(), Error> {
        let mut room = self.buffer.as_mut_slice();
        let length = self.socket.recv(&mut room, 0).map_err(Error::Socket)?;
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let message = Message::deserialize(rest)
                .map_err(|error| Error::Socket(io::Error::new(ErrorKind::InvalidData, error)))?;
            let (header, payload) = message.into_parts();
            // A message has a header at least, so this comes to an end.
            let aligned = (header.length as usize).next_multiple_of(4).max(HEADER);
            rest = rest.get(aligned..).unwrap_or_default();
            each(header, said(header, payload));
        }
        Ok(())
    }
}

fn said(
    header: NetlinkHeader,
    payload: NetlinkPayload<GenlMessage<Command>>,
) -> Result<Said, Error> {
    match payload {
        NetlinkPayload::InnerMessage(message) => {
            let (_, command) = message.into_parts();
            Ok(Said::Answer(command.number, command.attributes))
        }
        NetlinkPayload::Error(error) => match error.code {
            None => Ok(Said::End),
            Some(code) => Err(refused(code.get(), header, error.header.get(HEADER..))),
        },
        NetlinkPayload::Done(done) => match done.code {
            0 => Ok(Said::End),
            code => Err(refused(code, header, Some(&done.extended_ack))),
        },
        _ => Ok(Said::Nothing),
    }
}

/// The error in an acknowledgement.
fn refused(code: i32, header: NetlinkHeader, attributes: Option<&[u8]>) -> Error {
    let error = io::Error::from_raw_os_error(code.wrapping_neg());
    let attributes = attributes.filter(|_| header.flags & HAS_ATTRIBUTES != 0);
    let attributes = Attributes::new(attributes.unwrap_or_default());
    let words = attributes.get(WORDS).map(|it| {
        let text = it.strip_suffix(b"\0").unwrap_or(it);
        String::from_utf8_lossy(text).into_owned()
    });
    let missing = || {
        Some(format!(
            "attribute {} is missing",
            attributes.number(MISSING)?
        ))
    };
    Error::Refused(error, words.or_else(missing))
}

/// The time to wait for the family of a module that was just loaded: a work item registers it.
pub const SOON: Duration = Duration::from_secs(2);
