// SPDX-License-Identifier: GPL-2.0

//! The pernet operations: [`Netns`] objects come and go with their network namespaces.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h).

use super::{
    netns::{
        slot,
        Net,
        Netns,
        NetnsState,
        ID, //
    },
    scheduler::Scheduler, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::null_mut,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    }, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// A namespace is created, or the module loaded. Process context, under the pernet rwsem.
///
/// If this fails for a namespace while the module is loaded, the pernet core calls [`exit_net()`]
/// for the namespaces before it, which waits for users of the files that have just appeared there,
/// as in every subsystem that has sysctls. The cause would be a failed allocation of a few pages
/// with `GFP_KERNEL`, which the page allocator repeats unless the process is killed. If it fails
/// for a namespace that is being created, no process is in that namespace yet.
///
/// # Safety
///
/// Called by the pernet core, after IPVS' own init, with a live namespace.
unsafe extern "C" fn init_net<T: Scheduler>(net: *mut bindings::net) -> c_int {
    from_result(|| {
        // SAFETY: The namespace is live; what `T` makes of it does not use it after `hide()`.
        let (slot, net) = unsafe { (slot(net).ok_or(ENOENT)?, Net::from_raw(net)?) };
        let netns = Arc::pin_init(Netns::<T>::new(net), GFP_KERNEL_ACCOUNT)?;
        // The files lead to the object by the slot.
        slot.store(
            Arc::into_raw(netns.clone()).cast_mut().cast(),
            Ordering::Release,
        );
        T::Netns::show(netns.as_arc_borrow()).inspect_err(|_| {
            netns.close();
            take(slot, netns.clone());
        })?;
        Ok(0)
    })
}

/// Empties the slot of `netns`, and drops the reference that it held.
fn take<T: Scheduler>(slot: &AtomicPtr<c_void>, netns: Arc<Netns<T>>) {
    slot.store(null_mut(), Ordering::Release);
    // SAFETY: The slot held a reference that came from `Arc::into_raw()` in `init_net()`. Nothing
    // borrows from the slot any more: the files have been removed, and no service can be bound.
    drop(unsafe { Arc::from_raw(Arc::as_ptr(&netns)) });
}

/// A namespace ends, or the module is unloaded. Process context, under the pernet rwsem.
///
/// # Safety
///
/// Called by the pernet core with a namespace for which `init_net()` succeeded.
unsafe extern "C" fn exit_net<T: Scheduler>(net: *mut bindings::net) {
    // SAFETY: The namespace is live, and the type is that of `init_net()`. The slot is only cleared
    // below.
    let (slot, netns) = unsafe { (slot(net), Netns::<T>::borrow(net)) };
    if let (Some(slot), Some(netns)) = (slot, netns) {
        let netns = Arc::from(netns);
        netns.state().hide();
        netns.close();
        take(slot, netns);
    }
}

/// Our `init_net()` and `exit_net()`, called for every namespace from creation to drop.
///
/// # Invariants
///
/// `inner` is pinned and registered.
#[pin_data(PinnedDrop)]
pub(super) struct Namespaces<T: Scheduler> {
    #[pin]
    inner: Opaque<bindings::pernet_operations>,
    _scheduler: PhantomData<fn() -> T>,
}

// SAFETY: The pernet core has a lock of its own; there are no methods.
unsafe impl<T: Scheduler> Send for Namespaces<T> {}
// SAFETY: As above.
unsafe impl<T: Scheduler> Sync for Namespaces<T> {}

impl<T: Scheduler> Namespaces<T> {
    /// Process context. Fails with `ENOMEM`, `EBUSY` if there is a registration already, or as
    /// [`NetnsState::new()`] does. C: `register_pernet_subsys()`.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::pernet_operations| {
                if ID.load(Ordering::Relaxed) != 0 {
                    return Err(EBUSY);
                }
                // SAFETY: `slot` is valid for writes; `ID` is static, and written by the pernet
                // core before the first call of `init_net()`.
                unsafe {
                    slot.write(bindings::pernet_operations {
                        init: Some(init_net::<T>),
                        exit: Some(exit_net::<T>),
                        id: ID.as_ptr(),
                        size: size_of::<AtomicPtr<c_void>>(),
                        ..pin_init::zeroed()
                    })
                };
                // SAFETY: The operations are initialised, and pinned until they are unregistered.
                to_result(unsafe { bindings::register_pernet_subsys(slot) })
            }),
            _scheduler: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: Scheduler> PinnedDrop for Namespaces<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants `inner` is registered.
        unsafe { bindings::unregister_pernet_subsys(self.inner.get()) };
        ID.store(0, Ordering::Relaxed);
    }
}
