// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: requests, replies and dumps, and how C calls the operations of
//! [`control`](super::control).
//!
//! `bindings/netlink/ip_vs_lblc_rs.yaml` specifies the messages. The policies and the table of
//! operations, which names the functions that [`netlink_operations!`] defines, are generated from
//! it.
//!
//! A `do` operation, and the first part of a dump, run in the sender's `sendmsg()` with the core's
//! `cb_lock` held for reading. A process that registers a family waits for that lock, and all other
//! users of generic netlink then wait for that process. So one call of a dump looks at a limited
//! number of buckets, and another operation that walks over a table must be the last message of its
//! datagram.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h).

use super::attributes::{
    Attributes,
    NESTED, //
};
use crate::{
    bindings,
    ipvs::{
        Net,
        Netns,
        Scheduler, //
    }, //
};
use core::{
    marker::PhantomData,
    slice, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::ArcBorrow, //
};

/// The refusal of a request: an error, and the contents of the extended acknowledgment.
pub(crate) struct Refusal {
    error: Error,
    message: Option<&'static CStr>,
    missing: u16,
}

impl Refusal {
    /// A refusal with a message.
    pub(super) fn new(error: Error, message: &'static CStr) -> Self {
        Self {
            error,
            message: Some(message),
            missing: 0,
        }
    }

    /// The refusal of a request in which the attribute with this number is missing: `EINVAL`.
    pub(super) fn missing(number: u16) -> Self {
        Self {
            missing: number,
            ..EINVAL.into()
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            error,
            message: None,
            missing: 0,
        }
    }
}

/// A request, which is only used in the call in which C passes it.
///
/// # Invariants
///
/// `skb` is the datagram that has the request, and `info` describes it, as the generic netlink core
/// passes them to an operation.
pub(crate) struct Request<'a> {
    skb: *const bindings::sk_buff,
    info: *mut bindings::genl_info,
    _call: PhantomData<&'a ()>,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// As the type invariants say, for the whole of `'a`.
    pub(crate) unsafe fn from_raw(
        skb: *const bindings::sk_buff,
        info: *mut bindings::genl_info,
    ) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            skb,
            info,
            _call: PhantomData,
        }
    }

    /// The attributes.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        let mut length = 0;
        // SAFETY: By the type invariants `info` is valid; its header leads to the message, of
        // `length` bytes behind the headers, which do not change during the call.
        Attributes(unsafe {
            let first = bindings::lblc_rs_nl_attributes(self.info, &mut length);
            slice::from_raw_parts(first, length)
        })
    }

    /// Whether it is the last request of its datagram.
    pub(super) fn is_last(&self) -> bool {
        // SAFETY: By the type invariants `skb` and `info` are valid.
        unsafe { bindings::lblc_rs_nl_is_last(self.skb, self.info) }
    }

    /// The network namespace of the sender's socket. None after our exit method for it.
    fn netns<T: Scheduler>(&self) -> Option<ArcBorrow<'a, Netns<T>>> {
        // SAFETY: By the type invariants `info` is valid. The sender's socket has a reference to
        // its namespace, so the namespace is live and its exit does not run. The module's exit
        // unregisters the family first, and that waits for this call.
        unsafe { Netns::borrow(bindings::lblc_rs_nl_net(self.info)) }
    }

    /// Fills in the extended acknowledgment. C: `NL_SET_ERR_MSG()`, `NL_SET_ERR_ATTR_MISS()`.
    fn explain(&self, refusal: &Refusal) {
        let message = refusal.message.map_or(core::ptr::null(), CStr::as_char_ptr);
        // SAFETY: By the type invariants `info` is valid; the message is static.
        unsafe { bindings::lblc_rs_nl_explain(self.info, message, refusal.missing) };
    }

    /// Calls `operation` with the namespace of the sender; converts the result for C.
    fn run<T: Scheduler>(
        &self,
        operation: impl FnOnce(&Self, &Netns<T>) -> Result<c_int, Refusal>,
    ) -> c_int {
        from_result(|| {
            let netns = self.netns().ok_or(ENOENT)?;
            operation(self, &netns).map_err(|refusal| {
                self.explain(&refusal);
                refusal.error
            })
        })
    }

    /// Runs a `do` operation, and sends its answer.
    pub(crate) fn answer<T: Scheduler>(&self, operation: Do<T>) -> c_int {
        self.run(|request, netns| {
            // SAFETY: An FFI call with no requirement.
            let skb = unsafe { bindings::lblc_rs_nl_new() };
            if skb.is_null() {
                return Err(ENOMEM.into());
            }
            // INVARIANT: `skb` is a new message buffer.
            let mut buffer = Buffer {
                skb,
                info: self.info,
                callback: core::ptr::null_mut(),
            };
            match buffer.message(|message| operation(request, netns, message)) {
                // SAFETY: `skb` is a whole message, and is consumed; by the type invariants `info`
                // is valid.
                Ok(()) => Ok(unsafe { bindings::lblc_rs_nl_reply(skb, self.info) }),
                Err(refusal) => {
                    // SAFETY: `skb` was allocated above, and was not sent.
                    unsafe { bindings::lblc_rs_nl_free(skb) };
                    Err(refusal)
                }
            }
        })
    }
}

/// A `do` operation: fills in the answer.
pub(crate) type Do<T> = fn(&Request<'_>, &Netns<T>, &mut Message<'_>) -> Result<(), Refusal>;

/// Fills a part of a dump, from a position on, into a buffer; returns whether more will follow.
pub(crate) type Dump<T> =
    fn(&Request<'_>, &Netns<T>, &mut Buffer, &mut Position) -> Result<bool, Refusal>;

/// The place in a dump, which is all zeros at its beginning.
#[repr(C)]
pub(crate) struct Position {
    /// The number of a service.
    pub(super) service: u64,
    /// The hash of the service's first entry that is not in the dump yet.
    pub(super) hash: u64,
}

/// Runs a dump's operation.
///
/// # Safety
///
/// Called by the generic netlink core as a `dumpit()`, with its arguments.
pub(crate) unsafe fn dump<T: Scheduler>(
    skb: *mut bindings::sk_buff,
    callback: *mut bindings::netlink_callback,
    generation: fn(&Netns<T>) -> u32,
    operation: Dump<T>,
) -> c_int {
    let mut context = core::ptr::null_mut();
    // SAFETY: The caller promises a valid callback. The request is kept until the dump ends, and
    // the position is two words in the callback, which are this dump's own and begin as zeros.
    let (request, position) = unsafe {
        let info = bindings::lblc_rs_nl_dump(callback, &mut context);
        (
            Request::from_raw(skb, info),
            &mut *context.cast::<Position>(),
        )
    };
    request.run(|request, netns| {
        // SAFETY: The caller promises a valid callback.
        unsafe { bindings::lblc_rs_nl_set_generation(callback, generation(netns)) };
        // INVARIANT: The core passes a buffer for the dump.
        let mut buffer = Buffer {
            skb,
            info: request.info,
            callback,
        };
        let more = operation(request, netns, &mut buffer, position)?;
        Ok(if more { buffer.len() as c_int } else { 0 })
    })
}

/// A buffer for messages.
///
/// # Invariants
///
/// `skb` is a buffer for messages that answer `info`, or for events if that is null; `callback` is
/// that of the dump, or null.
pub(crate) struct Buffer {
    skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
    callback: *mut bindings::netlink_callback,
}

impl Buffer {
    /// The number of bytes in it.
    pub(super) fn len(&self) -> usize {
        // SAFETY: By the type invariants `skb` is valid.
        unsafe { bindings::lblc_rs_nl_len(self.skb) as usize }
    }

    /// Truncates it to `length` bytes. C: `skb_trim()`.
    fn trim(&mut self, length: usize) {
        // SAFETY: By the type invariants `skb` is valid.
        unsafe { bindings::skb_trim(self.skb, length as c_uint) };
    }

    /// Appends a message that `fill` fills in; if `fill` fails, the message is removed again. Fails
    /// with `EMSGSIZE` if there is no room for a header, or as `fill` does.
    pub(super) fn message<E: From<Error>>(
        &mut self,
        fill: impl FnOnce(&mut Message<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = self.len();
        // SAFETY: By the type invariants `skb` is valid, the other two are valid or null.
        let header = unsafe { bindings::lblc_rs_nl_begin(self.skb, self.info, self.callback) };
        if header.is_null() {
            return Err(EMSGSIZE.into());
        }
        let filled = fill(&mut Message(self));
        match filled {
            // SAFETY: `header` is that of the message at the buffer's end.
            Ok(()) => unsafe { bindings::lblc_rs_nl_end(self.skb, header) },
            Err(_) => self.trim(length),
        }
        filled
    }
}

/// A message that is being filled in.
pub(crate) struct Message<'a>(&'a mut Buffer);

impl Message<'_> {
    /// Puts an attribute into it. Fails with `EMSGSIZE` if there is no room for it.
    pub(super) fn put(&mut self, number: u16, payload: &[u8]) -> Result {
        // SAFETY: By the type invariants of `Buffer` the `skb` is valid; C copies the payload.
        to_result(unsafe {
            bindings::nla_put(
                self.0.skb,
                c_int::from(number),
                payload.len() as c_int,
                payload.as_ptr().cast(),
            )
        })
    }

    /// Puts a nested attribute into it. Fails as [`put()`](Self::put) does.
    pub(super) fn put_nested(&mut self, number: u16, payload: &[u8]) -> Result {
        self.put(number | NESTED, payload)
    }

    /// Puts a number into it. Fails as [`put()`](Self::put) does. C: `nla_put_uint()`.
    pub(super) fn put_uint(&mut self, number: u16, value: u64) -> Result {
        match u32::try_from(value) {
            Ok(value) => self.put_u32(number, value),
            Err(_) => self.put(number, &value.to_ne_bytes()),
        }
    }

    /// Puts a number into it. Fails as [`put()`](Self::put) does.
    pub(super) fn put_u32(&mut self, number: u16, value: u32) -> Result {
        self.put(number, &value.to_ne_bytes())
    }

    /// Calls `fill`; if that fails, removes the attributes that it has put into the message.
    pub(super) fn all_or_nothing(&mut self, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        let length = self.0.len();
        fill(self).inspect_err(|_| self.0.trim(length))
    }

    /// The number of bytes in the buffer.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Sends an event, which `fill` fills in, to the listeners in a namespace. Process context. Fails
/// with `ESRCH` if there is no listener, `ENOMEM`, or as `fill` does.
///
/// The caller must keep `net` live.
pub(super) fn multicast(net: Net, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
    // SAFETY: An FFI call with no requirement.
    let skb = unsafe { bindings::lblc_rs_nl_new() };
    if skb.is_null() {
        return Err(ENOMEM);
    }
    // INVARIANT: `skb` is a new message buffer, for an event.
    let mut buffer = Buffer {
        skb,
        info: core::ptr::null_mut(),
        callback: core::ptr::null_mut(),
    };
    match buffer.message(fill) {
        // SAFETY: `skb` is a whole message, and is consumed; the caller keeps `net` live.
        Ok(()) => to_result(unsafe { bindings::lblc_rs_nl_multicast(net.as_ptr(), skb) }),
        Err(error) => {
            // SAFETY: `skb` was allocated above, and was not sent.
            unsafe { bindings::lblc_rs_nl_free(skb) };
            Err(error)
        }
    }
}

/// Defines the functions in the generated table of operations, for the scheduler `$scheduler`.
macro_rules! netlink_operations {
    ($scheduler:ty) => {
        $crate::netns::netlink::netlink_operations! {
            $scheduler,
            do ip_vs_lblc_rs_nl_service_get_doit get_service
            do ip_vs_lblc_rs_nl_entry_get_doit get_entry
            do ip_vs_lblc_rs_nl_entry_set_doit set_entries
            do ip_vs_lblc_rs_nl_entry_del_doit delete_entries
            dump ip_vs_lblc_rs_nl_service_get_dumpit dump_services
            dump ip_vs_lblc_rs_nl_entry_get_dumpit dump_entries
        }
    };
    ($scheduler:ty, $(do $doit:ident $do:ident)* $(dump $dumpit:ident $dump:ident)*) => {
        $(
            /// # Safety
            ///
            /// Called by the generic netlink core, with a request and its namespace live.
            #[no_mangle]
            unsafe extern "C" fn $doit(
                skb: *mut $crate::bindings::sk_buff,
                info: *mut $crate::bindings::genl_info,
            ) -> ::kernel::ffi::c_int {
                // SAFETY: The core passes both, and keeps them during the call.
                let request = unsafe { $crate::netns::netlink::Request::from_raw(skb, info) };
                request.answer::<$scheduler>($crate::netns::control::$do)
            }
        )*
        $(
            /// # Safety
            ///
            /// Called by the generic netlink core, with a dump and its namespace live.
            #[no_mangle]
            unsafe extern "C" fn $dumpit(
                skb: *mut $crate::bindings::sk_buff,
                callback: *mut $crate::bindings::netlink_callback,
            ) -> ::kernel::ffi::c_int {
                let operation = $crate::netns::control::$dump;
                let generation = $crate::netns::control::generation;
                // SAFETY: The core passes both, and keeps them during the call.
                unsafe {
                    $crate::netns::netlink::dump::<$scheduler>(skb, callback, generation, operation)
                }
            }
        )*
    };
}
pub(crate) use netlink_operations;
