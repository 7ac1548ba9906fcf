// SPDX-License-Identifier: GPL-2.0

//! What every network namespace gets: the sysctl and the file in `/proc/net`.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h).

use super::{max_entries, proc, sysctl};
use crate::bindings;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    types::Opaque,
};

/// A netns comes to life. Process context, under the core's pernet rwsem.
///
/// # Safety
///
/// Called by the pernet core, after IPVS' own init.
unsafe extern "C" fn init_net(net: *mut bindings::net) -> c_int {
    from_result(|| {
        // SAFETY: `net` is alive.
        let ipvs = unsafe { bindings::lblc_rs_net_ipvs(net) };
        if ipvs.is_null() {
            return Err(ENOENT);
        }
        // SAFETY: `exit_net()` takes all away before the netns dies, or we if one cannot be had.
        unsafe {
            sysctl::add(net, ipvs)?;
            max_entries::add(net, ipvs)
                .and_then(|()| proc::add(net))
                .inspect_err(|_| {
                    max_entries::remove(net);
                    sysctl::remove(net);
                })?;
        }
        Ok(0)
    })
}

/// A netns dies, or the module goes. Process context. IPVS' own exit, and with it the end of the
/// namespace's services, comes later.
///
/// # Safety
///
/// Called by the pernet core with a netns for which `init_net()` succeeded.
unsafe extern "C" fn exit_net(net: *mut bindings::net) {
    // SAFETY: `init_net()` added it.
    unsafe { proc::remove(net) };
    max_entries::remove(net);
    sysctl::remove(net);
}

/// The files in every netns, present and future, from creation to drop.
#[pin_data]
pub(crate) struct Registration {
    // In drop order: as long as there are files, there are services to show and C's module to watch.
    #[pin]
    namespaces: Namespaces,
    #[pin]
    watch: sysctl::Watch,
    limits: max_entries::List,
    services: proc::List,
}

impl Registration {
    /// Process context. Fails with `ENOMEM`, or `EBUSY` if it is not the first since the module was
    /// loaded; a sysctl name that is taken is no failure.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        static CALLED: AtomicBool = AtomicBool::new(false);
        try_pin_init!(Self {
            services: {
                if CALLED.swap(true, Ordering::Relaxed) {
                    return Err(EBUSY);
                }
                // SAFETY: We get here once, and nothing is registered yet.
                unsafe { proc::List::new() }
            },
            // SAFETY: As above.
            limits: unsafe { max_entries::List::new() },
            // SAFETY: As above.
            watch <- unsafe { sysctl::Watch::new() },
            namespaces <- Namespaces::new(),
        })
    }
}

/// Our `init_net()` and `exit_net()`, called for every netns.
///
/// # Invariants
///
/// `inner` is pinned and registered.
#[pin_data(PinnedDrop)]
struct Namespaces {
    #[pin]
    inner: Opaque<bindings::pernet_operations>,
}

// SAFETY: The core has a lock of its own; there are no methods.
unsafe impl Send for Namespaces {}
// SAFETY: As above.
unsafe impl Sync for Namespaces {}

impl Namespaces {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::pernet_operations| {
                // SAFETY: `slot` is memory for it, of which all-zeroes is a valid value.
                unsafe { slot.write(core::mem::zeroed()) };
                // SAFETY: It was just initialised and is ours alone.
                unsafe {
                    (*slot).init = Some(init_net);
                    (*slot).exit = Some(exit_net);
                }
                // SAFETY: The operations are whole and pinned until they are unregistered.
                to_result(unsafe { bindings::register_pernet_subsys(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Namespaces {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants it is registered.
        unsafe { bindings::unregister_pernet_subsys(self.inner.get()) };
    }
}
