// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: `struct nlattr` and its payload, one after the other, aligned to four bytes.

use netlink_packet_utils::nla::NlasIterator;
use std::net::IpAddr;

const HEADER: usize = 4;
/// `NLA_F_NESTED`
const NESTED: u16 = 1 << 15;

/// Attributes of an answer. What is not a whole attribute ends them.
#[derive(Clone, Copy)]
pub struct Attributes<'a>(NlasIterator<&'a [u8]>);

impl<'a> Attributes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(NlasIterator::new(bytes))
    }

    pub fn get(self, wanted: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find(|(kind, _)| *kind == wanted).map(|(_, it)| it)
    }

    /// The attributes inside one.
    pub fn nested(self, wanted: u16) -> Option<Attributes<'a>> {
        self.get(wanted).map(Attributes::new)
    }

    /// A number of 4 or 8 bytes.
    pub fn number(self, wanted: u16) -> Option<u64> {
        self.get(wanted).and_then(uint_of)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let attribute = self.0.next()?.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(HEADER..length)?))
    }
}

/// Appends an attribute.
pub fn put(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend(((HEADER + value.len()) as u16).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Appends an attribute that has others inside.
pub fn put_nested(to: &mut Vec<u8>, kind: u16, attributes: &[u8]) {
    put(to, kind | NESTED, attributes);
}

/// Appends a number as `NLA_UINT`: in 4 bytes if it fits.
pub fn put_uint(to: &mut Vec<u8>, kind: u16, value: u64) {
    match u32::try_from(value) {
        Ok(value) => put(to, kind, &value.to_ne_bytes()),
        Err(_) => put(to, kind, &value.to_ne_bytes()),
    }
}

/// Appends an address, of 4 or 16 bytes.
pub fn put_address(to: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(it) => put(to, kind, &it.octets()),
        IpAddr::V6(it) => put(to, kind, &it.octets()),
    }
}

pub fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

pub fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

pub fn be16_of(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

pub fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

pub fn uint_of(bytes: &[u8]) -> Option<u64> {
    match u32_of(bytes) {
        Some(value) => Some(value.into()),
        None => bytes.try_into().ok().map(u64::from_ne_bytes),
    }
}
