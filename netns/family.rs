// SPDX-License-Identifier: GPL-2.0

//! The registration of the generic netlink family.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h).

use crate::{
    bindings,
    ipvs::log,
    work::Work, //
};
use core::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    static_lock_class, //
};

/// The registration of the family, from a moment after the creation of this object to its drop.
///
/// If `ipvsadm -s lblc_rs` causes the module to be loaded, a generic netlink request of IPVS holds
/// `cb_lock` until the module's init has returned, and registering a family takes that lock for
/// writing. So a work item registers the family.
#[pin_data(PinnedDrop)]
pub(crate) struct Family {
    #[pin]
    work: Work,
    registered: AtomicBool,
}

impl Family {
    /// Queues the registration. A failure is only logged: a service may be bound to the scheduler
    /// already, so the module's init must not fail any more. Process context.
    pub(crate) fn new() -> impl PinInit<Self> {
        let lock_classes = [static_lock_class!(), static_lock_class!()];
        pin_init!(&this in Self {
            // SAFETY: The drop disables the work item before its memory is freed; the module's
            // queue is destroyed after that.
            work <- unsafe { Work::new(c"lblc_rs_netlink", lock_classes, Self::register) },
            registered: AtomicBool::new(false),
            _: {
                // SAFETY: `this.work` was initialised above.
                unsafe { &(*this.as_ptr()).work }.queue();
            },
        })
    }

    /// # Safety
    ///
    /// Called by the queue with the `work` of a pinned `Family`.
    unsafe extern "C" fn register(work: *mut bindings::work_struct) {
        // SAFETY: A `Work` begins with its `work_struct`, and this one is in a `Family`, whose drop
        // waits for this call.
        let family = unsafe { &*container_of!(work.cast::<Work>(), Self, work) };
        family.work.begin();
        // SAFETY: An FFI call; the module has one family, and the work item is queued once.
        match to_result(unsafe { bindings::lblc_rs_nl_register() }) {
            Ok(()) => family.registered.store(true, Ordering::Relaxed),
            Err(_) => {
                log::notice(c"the generic netlink family could not be registered, and is left out")
            }
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Family {
    /// Unregisters the family, and waits for operations. No dump is open, because an open dump
    /// holds a reference to the module. Process context.
    fn drop(self: Pin<&mut Self>) {
        self.work.disable();
        if self.registered.load(Ordering::Relaxed) {
            // SAFETY: The family is registered.
            unsafe { bindings::lblc_rs_nl_unregister() };
        }
    }
}
