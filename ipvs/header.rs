// SPDX-License-Identifier: GPL-2.0

//! The addresses of the packet that asks for a new connection. All functions: any context.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_iphdr`.

use super::Service;
use crate::bindings;

/// An IPv6 address, or an IPv4 address followed by zeros, as it stands in the packet (big endian).
/// The family is known from the service. (Two words, so that it is passed in registers.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(pub(crate) u64, pub(crate) u64);

impl Address {
    /// The four words, or the one word and zeros.
    #[inline(always)]
    pub(crate) fn words(self) -> [u32; 4] {
        let Self(a, b) = self;
        [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]
    }

    /// Reads an address from 4 or 16 bytes, as they stand in a packet, and returns whether it is
    /// IPv6.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<(Self, bool)> {
        if let Ok(word) = bytes.try_into() {
            return Some((Self(u64::from(u32::from_ne_bytes(word)), 0), false));
        }
        let (a, rest) = bytes.split_first_chunk()?;
        let b = rest.try_into().ok()?;
        Some((Self(u64::from_ne_bytes(*a), u64::from_ne_bytes(b)), true))
    }

    /// The 16 bytes of an IPv6 address as they stand in a packet.
    pub(crate) fn ipv6_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let words = self.words();
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The 4 bytes of an IPv4 address.
    pub(crate) fn ipv4_bytes(self) -> [u8; 4] {
        (self.0 as u32).to_ne_bytes()
    }

    /// The address as a number of 128 bits; an IPv4 address is mapped (`::ffff:192.0.2.1`).
    pub(crate) fn number(self, ipv6: bool) -> u128 {
        let Self(a, b) = self;
        match ipv6 {
            true => u128::from(u64::from_be(a)) << 64 | u128::from(u64::from_be(b)),
            false => 0xffff_0000_0000 | u128::from(u32::from_be(a as u32)),
        }
    }
}

/// The parsed IP header of a packet (`struct ip_vs_iphdr`), valid for one call of `schedule()`.
///
/// # Invariants
///
/// `inner` is a header that C filled in, as far as the family of `service` needs, and that is not
/// changed in `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a> {
    inner: *const bindings::ip_vs_iphdr,
    service: &'a Service,
}

impl<'a> Header<'a> {
    /// Wraps C's header.
    ///
    /// # Safety
    ///
    /// `ptr` points to a header that C filled in for the address family of `service` and that
    /// does not change during `'a`.
    pub(crate) unsafe fn from_raw(ptr: *const bindings::ip_vs_iphdr, service: &'a Service) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            inner: ptr,
            service,
        }
    }

    /// Whether this is the header quoted by an ICMP error about a packet *from* the service (with
    /// `schedule_icmp=1`): source and destination have changed places.
    /// C: `ip_vs_iph_inverse()`.
    #[inline(always)]
    pub(crate) fn is_inverse(&self) -> bool {
        // SAFETY: By the type invariants `inner` points to a header that C filled in.
        let flags = unsafe { (*self.inner).hdr_flags };
        flags & bindings::IP_VS_HDR_INVERSE as i32 != 0
    }

    /// Whether the addresses are IPv6.
    #[inline(always)]
    pub(crate) fn is_ipv6(&self) -> bool {
        self.service.is_ipv6()
    }

    /// The source address.
    #[inline(always)]
    pub(crate) fn source(&self) -> Address {
        // SAFETY: By the type invariants the pointer is in bounds of the header.
        self.address(unsafe { &raw const (*self.inner).saddr })
    }

    /// The destination address.
    #[inline(always)]
    pub(crate) fn destination(&self) -> Address {
        // SAFETY: By the type invariants the pointer is in bounds of the header.
        self.address(unsafe { &raw const (*self.inner).daddr })
    }

    /// The same header, if its addresses are IPv6.
    #[inline(always)]
    pub(crate) fn ipv6(self) -> Option<Ipv6Header<'a>> {
        // INVARIANT: Just tested.
        self.is_ipv6().then_some(Ipv6Header(self))
    }

    #[inline(always)]
    fn address(&self, addr: *const bindings::nf_inet_addr) -> Address {
        // SAFETY: `addr` is in the header, in which, by the type invariants, the address is filled
        // in as far as the family needs it.
        unsafe { read_address(addr, self.is_ipv6()) }
    }
}

/// The header of an IPv6 packet.
///
/// # Invariants
///
/// `0` has IPv6 addresses.
#[derive(Clone, Copy)]
pub(crate) struct Ipv6Header<'a>(Header<'a>);

impl Ipv6Header<'_> {
    /// The destination address.
    #[inline(always)]
    pub(crate) fn destination(self) -> Address {
        // SAFETY: By the type invariants the address is IPv6, and filled in.
        unsafe { read_address(&raw const (*self.0.inner).daddr, true) }
    }

    /// The words of the destination address, to be hashed. (Read one by one: to split
    /// [`destination()`](Self::destination) takes more registers.)
    #[inline(always)]
    pub(crate) fn destination_words(self) -> [u32; 4] {
        // SAFETY: As in `destination()`. The union is 16 bytes, aligned to 4.
        unsafe { (&raw const (*self.0.inner).daddr).cast::<[u32; 4]>().read() }
    }
}

/// Reads an address from a C object.
///
/// # Safety
///
/// `addr` can be read, as far as the family needs it.
#[inline(always)]
pub(super) unsafe fn read_address(addr: *const bindings::nf_inet_addr, ipv6: bool) -> Address {
    if ipv6 {
        // SAFETY: The union is 16 bytes, and the caller promises that all can be read.
        let [a, b] = unsafe { addr.cast::<[u64; 2]>().read_unaligned() };
        Address(a, b)
    } else {
        // SAFETY: The caller promises that the first word can be read.
        Address(u64::from(unsafe { addr.cast::<u32>().read() }), 0)
    }
}
