// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: a request, and the attributes of the answers to it.

use rustix::{
    fd::OwnedFd,
    net::{
        netlink, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketFlags,
        SocketType,
    },
};
use std::io;

/// `struct nlmsghdr` and `struct genlmsghdr`.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// `NLMSG_ERROR`, `NLMSG_DONE`: the last message of an answer begins with an errno, 0 or negative.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `NLM_F_REQUEST`, with what makes the kernel end its answer with one of the two above.
pub(crate) const ONE: u16 = 0x1 | 0x4; // NLM_F_ACK
pub(crate) const DUMP: u16 = 0x1 | 0x300; // NLM_F_DUMP

/// The controller, which knows the numbers of the families.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// A socket in the network namespace of the thread that makes it.
pub(crate) struct Socket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::GENERIC),
        )?;
        // The kernel fills at most 32 KiB at once.
        let buffer = vec![0; 1 << 16];
        Ok(Self { socket, buffer })
    }

    /// The number of a family.
    pub(crate) fn family(&mut self, name: &str) -> io::Result<u16> {
        let (mut found, mut body) = (None, Vec::new());
        let name = [name.as_bytes(), b"\0"].concat();
        put(&mut body, FAMILY_NAME, &name);
        self.ask(CONTROLLER, ONE, GET_FAMILY, 1, &body, |answer| {
            found = answer.get(FAMILY_ID).and_then(u16_of).or(found);
        })?;
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Sends a command of a family with attributes, and gives `each` those of every answer.
    pub(crate) fn ask(
        &mut self,
        family: u16,
        flags: u16,
        command: u8,
        version: u8,
        attributes: &[u8],
        mut each: impl FnMut(Attributes<'_>),
    ) -> io::Result<()> {
        let length = HEADER + GENERIC_HEADER + attributes.len();
        let mut request = (length as u32).to_ne_bytes().to_vec();
        request.extend(family.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend([0; 8]); // number and port
        request.extend([command, version, 0, 0]);
        request.extend(attributes);
        // Without an address it goes to the kernel.
        send(&self.socket, &request, SendFlags::empty())?;
        loop {
            let length = recv(&self.socket, &mut self.buffer, RecvFlags::empty())?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((kind, body, next)) = message(rest) {
                match kind {
                    ERROR | DONE => return end(body),
                    _ => each(Attributes(body.get(GENERIC_HEADER..).unwrap_or_default())),
                }
                rest = next;
            }
        }
    }
}

/// The first message of `bytes`: its type, what follows its header, and the bytes after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_of(bytes.get(..4)?)? as usize;
    let kind = u16_of(bytes.get(4..6)?)?;
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// What the last message of an answer says.
fn end(body: &[u8]) -> io::Result<()> {
    match body.get(..4).and_then(u32_of).map_or(0, |it| it as i32) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
    }
}

/// Attributes, one after the other: `struct nlattr` and what it says, on borders of four bytes.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn get(self, wanted: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find(|(kind, _)| *kind == wanted).map(|(_, it)| it)
    }

    /// The attributes inside one.
    pub(crate) fn nested(self, wanted: u16) -> Option<Attributes<'a>> {
        self.get(wanted).map(Attributes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_of(self.0.get(..2)?)?);
        // The two highest bits are flags.
        let kind = u16_of(self.0.get(2..4)?)? & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Appends an attribute.
pub(crate) fn put(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend((4 + value.len() as u16).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(aligned(to.len()), 0);
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(crate) fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}
