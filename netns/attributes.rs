// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: reading those of a request, and composing nested ones. All functions: any
//! context.
//!
//! The netlink core has validated a request against the policies that are generated from the
//! specification; nothing here depends on that.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h).

use kernel::prelude::*;

/// C: `NLA_HDRLEN`, and `NLA_ALIGNTO`, which is the same number.
const HEADER: usize = 4;

/// C: `NLA_F_NESTED`.
pub(super) const NESTED: u16 = 1 << 15;
/// C: `NLA_F_NET_BYTEORDER`.
const NET_BYTEORDER: u16 = 1 << 14;

/// One attribute.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// Its number, without flags.
    pub(super) number: u16,
    payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes that are nested in it.
    pub(super) fn nested(self) -> Attributes<'a> {
        Attributes(self.payload)
    }

    /// The payload.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.payload
    }

    /// A number of 4 or 8 bytes. C: `nla_get_uint()`.
    pub(super) fn uint(self) -> Result<u64> {
        match self.u32() {
            Ok(value) => Ok(u64::from(value)),
            Err(_) => self.array().map(u64::from_ne_bytes),
        }
    }

    /// A number of 4 bytes.
    pub(super) fn u32(self) -> Result<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    /// A number of 2 bytes.
    pub(super) fn u16(self) -> Result<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    /// A number of 2 bytes in network byte order.
    pub(super) fn be16(self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A byte.
    pub(super) fn u8(self) -> Result<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    fn array<const N: usize>(self) -> Result<[u8; N]> {
        self.payload.try_into().map_err(|_| EINVAL)
    }
}

/// A sequence of attributes, up to the first that is not complete.
#[derive(Clone)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let &[l0, l1, n0, n1, ..] = self.0 else {
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let attribute = Attribute {
            number: u16::from_ne_bytes([n0, n1]) & !(NESTED | NET_BYTEORDER),
            payload: self.0.get(HEADER..length)?,
        };
        let aligned = length.next_multiple_of(HEADER).min(self.0.len());
        self.0 = self.0.get(aligned..)?;
        Some(attribute)
    }
}

/// The payload of a nested attribute that is being composed.
pub(super) struct Nest<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Nest<N> {
    /// An empty payload.
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    /// The attributes that were put into it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// Puts an attribute into it. Fails with `EMSGSIZE` if there is no room for it.
    pub(super) fn put(&mut self, number: u16, payload: &[u8]) -> Result {
        let room = self.bytes.get_mut(self.length..).ok_or(EMSGSIZE)?;
        let (header, room) = room.split_first_chunk_mut::<HEADER>().ok_or(EMSGSIZE)?;
        let room = room.get_mut(..payload.len()).ok_or(EMSGSIZE)?;
        let length = HEADER.wrapping_add(payload.len());
        let ([l0, l1], [n0, n1]) = ((length as u16).to_ne_bytes(), number.to_ne_bytes());
        *header = [l0, l1, n0, n1];
        room.copy_from_slice(payload);
        self.length = self.length.wrapping_add(length).next_multiple_of(HEADER);
        Ok(())
    }

    /// Puts a number into it. C: `nla_put_uint()`.
    pub(super) fn put_uint(&mut self, number: u16, value: u64) -> Result {
        match u32::try_from(value) {
            Ok(value) => self.put(number, &value.to_ne_bytes()),
            Err(_) => self.put(number, &value.to_ne_bytes()),
        }
    }
}
