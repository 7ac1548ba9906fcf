// SPDX-License-Identifier: GPL-2.0

//! A virtual service.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_service`.

use super::{
    header,
    name::Endpoint,
    Dest,
    Named, //
};
use crate::{
    bindings,
    rcu::ReadSide, //
};
use core::{
    mem::offset_of,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    }, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A virtual service (`struct ip_vs_service`), borrowed for the time of one callback. Methods may
/// be called in any context, except where they say otherwise.
#[repr(transparent)]
pub(crate) struct Service(Opaque<bindings::ip_vs_service>);

/// The identity of a service in its namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Identity {
    /// A firewall mark, and whether the service is for IPv6.
    Mark(u32, bool),
    /// `IPPROTO_TCP`, `IPPROTO_UDP` or `IPPROTO_SCTP`, and an address and port.
    Address(u16, Endpoint),
}

impl Identity {
    /// Whether the service is for IPv6.
    pub(crate) fn is_ipv6(self) -> bool {
        match self {
            Self::Mark(_, ipv6) => ipv6,
            Self::Address(_, endpoint) => endpoint.ipv6,
        }
    }
}

impl Service {
    /// Borrows C's service.
    ///
    /// # Safety
    ///
    /// `ptr` points to a service, with its `ipvs` set, that is not freed during `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *const bindings::ip_vs_service) -> &'a Self {
        // SAFETY: `Service` is a transparent wrapper; the caller promises validity.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::ip_vs_service {
        self.0.get()
    }

    /// Whether the service is for IPv6. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn is_ipv6(&self) -> bool {
        // SAFETY: `&self` keeps the service alive. `ip_vs_add_service()` sets `af` before it binds
        // the scheduler, and nothing writes it afterwards.
        u32::from(unsafe { (*self.as_ptr()).af }) == bindings::AF_INET6
    }

    /// Firewall mark, or protocol, address and port. Any context.
    pub(crate) fn identity(&self) -> Identity {
        let (service, ipv6) = (self.as_ptr(), self.is_ipv6());
        // SAFETY: `&self` keeps the service alive. `ip_vs_add_service()` sets `fwmark`, `protocol`,
        // `addr` and `port` before it binds the scheduler, and nothing writes them afterwards.
        unsafe {
            if (*service).fwmark != 0 {
                return Identity::Mark((*service).fwmark, ipv6);
            }
            let endpoint = Endpoint {
                address: header::read_address(&raw const (*service).addr, ipv6),
                ipv6,
                port: u16::from_be((*service).port),
            };
            Identity::Address((*service).protocol, endpoint)
        }
    }

    /// The name of the service, as text.
    pub(crate) fn name(&self) -> Named {
        match self.identity() {
            Identity::Mark(mark, ipv6) => Named::Mark(mark, ipv6),
            Identity::Address(protocol, endpoint) => {
                let protocol = match protocol {
                    6 => "TCP",
                    17 => "UDP",
                    _ => "SCTP",
                };
                Named::Service(protocol, endpoint)
            }
        }
    }

    /// IPVS' state of the service's network namespace; the core frees it later than the service.
    /// Any context; a plain load.
    #[inline(always)]
    pub(crate) fn netns(&self) -> *mut bindings::netns_ipvs {
        // SAFETY: `&self` keeps the service alive; `ip_vs_add_service()` sets `ipvs` before it
        // binds the scheduler, and nothing writes it afterwards.
        unsafe { (*self.as_ptr()).ipvs }
    }

    /// The number of listed real servers. Process context, under the service mutex.
    pub(crate) fn num_dests(&self) -> usize {
        // SAFETY: `&self` keeps the service alive. The field is written under the service mutex,
        // which the caller holds.
        unsafe { (*self.as_ptr()).num_dests as usize }
    }

    /// The listed real servers, the newest first. Takes no lock; sees a server that is added or
    /// removed meanwhile, or not.
    #[inline(always)]
    pub(crate) fn dests<'g>(&'g self, _rcu: ReadSide<'g>) -> Dests<'g> {
        // SAFETY: `&self` keeps the service, and so its list head, alive.
        let head = unsafe { &raw mut (*self.as_ptr()).destinations };
        Dests {
            head,
            at: head,
            _readers: core::marker::PhantomData,
        }
    }

    /// Whether the administrator set the scheduler's first flag (`ipvsadm -b flag-1`). Any context;
    /// a plain load. C: `IP_VS_SVC_F_SCHED1`.
    #[inline(always)]
    pub(crate) fn sched_flag1(&self) -> bool {
        self.flags() & bindings::IP_VS_SVC_F_SCHED1 != 0
    }

    /// Whether the second flag is set (`ipvsadm -b flag-2`). Any context; a plain load. C:
    /// `IP_VS_SVC_F_SCHED2`.
    pub(crate) fn sched_flag2(&self) -> bool {
        self.flags() & bindings::IP_VS_SVC_F_SCHED2 != 0
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        // SAFETY: `&self` keeps the service alive. `ip_vs_edit_service()` may write the field
        // meanwhile, so the read is volatile.
        unsafe { (&raw const (*self.as_ptr()).flags).read_volatile() }
    }

    /// Logs `message` with the service's name, rate limited. Any context. C:
    /// `ip_vs_scheduler_err()`.
    #[cold]
    pub(crate) fn error(&self, message: &'static CStr, _rcu: ReadSide<'_>) {
        // SAFETY: `&self` keeps the service alive, and the caller is in a read-side section, as C
        // needs to look at `svc->scheduler`.
        unsafe { bindings::ip_vs_scheduler_err(self.as_ptr(), message.as_char_ptr()) };
    }
}

/// The servers of a service, as a reader sees them. C: `list_for_each_entry_rcu()`.
///
/// # Invariants
///
/// `head` is a service's `destinations`, and `at` is it, or the `n_list` of a server that was
/// listed within the read-side critical section `'g`.
///
/// As in C's schedulers, one case is left to the core: a server that is removed and comes back from
/// the trash is linked again without a grace period. In the same list that does no harm; if the
/// service was deleted and created again during the walk, the iterator would continue in the new
/// service's list and would not meet its old head again.
#[derive(Clone)]
pub(crate) struct Dests<'g> {
    head: *mut bindings::list_head,
    at: *mut bindings::list_head,
    _readers: core::marker::PhantomData<&'g Dest>,
}

impl<'g> Iterator for Dests<'g> {
    type Item = &'g Dest;

    #[inline(always)]
    fn next(&mut self) -> Option<&'g Dest> {
        // SAFETY: By the type invariants `at` points to a live list head, whose `next`
        // `list_del_rcu()` leaves as it was. `list_add_rcu()` writes it with release, with which
        // the acquire pairs.
        let next = unsafe { AtomicPtr::from_ptr(&raw mut (*self.at).next) }.load(Ordering::Acquire);
        if next == self.head {
            return None;
        }
        // INVARIANT: `next` is not the head, so it is in a server that was listed.
        self.at = next;
        // SAFETY: `next` is the `n_list` of a server that was listed within this read-side section,
        // and the core frees a server no earlier than a grace period after it was unlinked.
        Some(unsafe {
            Dest::from_raw(
                next.byte_sub(offset_of!(bindings::ip_vs_dest, n_list))
                    .cast(),
            )
        })
    }
}
