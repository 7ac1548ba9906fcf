// SPDX-License-Identifier: GPL-2.0

//! A virtual service.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_service`.

use super::{header, name::Endpoint, Dest, Named};
use crate::{bindings, rcu::ReadSide};
use core::{
    mem::offset_of,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{prelude::*, types::Opaque};

/// A virtual service (`struct ip_vs_service`), borrowed for the time of one callback.
#[repr(transparent)]
pub(crate) struct Service(Opaque<bindings::ip_vs_service>);

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

    /// C's name of the service.
    pub(crate) fn as_ptr(&self) -> *mut bindings::ip_vs_service {
        self.0.get()
    }

    /// Whether the service is for IPv6.
    pub(crate) fn is_ipv6(&self) -> bool {
        // SAFETY: `&self` keeps the service alive; this is set when it is made and never changes.
        u32::from(unsafe { (*self.as_ptr()).af }) == bindings::AF_INET6
    }

    /// Firewall mark, or protocol, address and port.
    pub(crate) fn name(&self) -> Named {
        let service = self.as_ptr();
        // SAFETY: As in `is_ipv6()`.
        unsafe {
            if (*service).fwmark != 0 {
                return Named::Mark((*service).fwmark, self.is_ipv6());
            }
            let protocol = match (*service).protocol {
                6 => "TCP",
                17 => "UDP",
                _ => "SCTP",
            };
            let endpoint = Endpoint {
                address: header::read_address(&raw const (*service).addr, self.is_ipv6()),
                ipv6: self.is_ipv6(),
                port: u16::from_be((*service).port),
            };
            Named::Service(protocol, endpoint)
        }
    }

    /// IPVS' state of the service's network namespace; the core frees it later than the service. Any
    /// context; a plain load.
    #[inline(always)]
    pub(crate) fn netns(&self) -> *mut bindings::netns_ipvs {
        // SAFETY: `&self` keeps the service alive; this is set when it is made and never changes.
        unsafe { (*self.as_ptr()).ipvs }
    }

    /// The number of listed real servers. Process context, under the service mutex.
    pub(crate) fn num_dests(&self) -> usize {
        // SAFETY: `&self` keeps the service alive.
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

    /// Whether the administrator set the scheduler's first flag (`ipvsadm -b flag-1`). Any context; a
    /// plain load. C: `IP_VS_SVC_F_SCHED1`.
    #[inline(always)]
    pub(crate) fn flag_1(&self) -> bool {
        // SAFETY: `&self` keeps the service alive; the read is volatile, as an edit may write it.
        let flags = unsafe { (&raw const (*self.as_ptr()).flags).read_volatile() };
        flags & bindings::IP_VS_SVC_F_SCHED1 != 0
    }

    /// Logs `message` with the service's name, rate limited. C: `ip_vs_scheduler_err()`.
    #[cold]
    pub(crate) fn error(&self, message: &'static CStr, _rcu: ReadSide<'_>) {
        // SAFETY: The service is alive, and the caller in a read-side section, in which C looks at
        // `svc->scheduler`.
        unsafe { bindings::ip_vs_scheduler_err(self.as_ptr(), message.as_char_ptr()) };
    }
}

/// The servers of a service, as a reader sees them. C: `list_for_each_entry_rcu()`.
///
/// # Invariants
///
/// `head` is a service's `destinations`, and `at` is it, or the `n_list` of a server that was listed
/// within the read-side critical section `'g`.
///
/// As every scheduler of C does, we trust the core with one case: a server that is removed and comes
/// back from the trash is linked again without a grace period. To the same list that does no harm; if
/// its whole service was replaced by an equal one under our feet, the walk would go on in the new list.
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
        // SAFETY: By the type invariants `at` is alive; `list_del_rcu()` leaves `next` as it was.
        // The pointer is written by others, with release; acquire pairs with that.
        let next = unsafe { AtomicPtr::from_ptr(&raw mut (*self.at).next) }.load(Ordering::Acquire);
        if next == self.head {
            return None;
        }
        // INVARIANT: `next` is not the head, so it is in a server that was listed.
        self.at = next;
        // SAFETY: As just said; the core frees a server that was listed a grace period later.
        Some(unsafe {
            Dest::from_raw(
                next.byte_sub(offset_of!(bindings::ip_vs_dest, n_list))
                    .cast(),
            )
        })
    }
}
