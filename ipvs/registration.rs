// SPDX-License-Identifier: GPL-2.0

//! Registering a scheduler with the IPVS core, and the callbacks through which C calls it.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_scheduler`.

use super::{
    proc,
    scheduler::{Bound, Call, Scheduler},
    Dest,
    Header,
    Servers,
    Service, //
};
use crate::{
    bindings,
    rcu::{self, ReadSide},
};
use core::{marker::PhantomData, ptr::null_mut};
use kernel::{error::to_result, prelude::*, types::Opaque};

/// The C callbacks of `T`: pointers to references, call, convert, nothing else.
struct VTable<T>(PhantomData<T>);

impl<T: Scheduler> VTable<T> {
    /// # Safety
    ///
    /// Called by `ip_vs_bind_scheduler()`, under the service mutex, before `svc->scheduler` is set.
    unsafe extern "C" fn init_service(svc: *mut bindings::ip_vs_service) -> c_int {
        // SAFETY: C passes a service with `ipvs` set, perhaps one that is live and has servers.
        let service = unsafe { Service::from_raw(svc) };
        let bound = match KBox::pin_init(Bound::<T>::new(service), GFP_KERNEL) {
            Ok(bound) => bound,
            Err(error) => return error.to_errno(),
        };
        let mut listed = bound.frame.servers.add_all(service);
        if listed.is_ok() && T::RECORDS != 0 {
            // SAFETY: `done_service()` takes it off the list before it goes away.
            listed = unsafe { proc::list((*svc).ipvs, core::ptr::from_ref(&*bound)) };
        }
        if let Err(error) = listed {
            return error.to_errno();
        }
        if T::TICK != 0 {
            bound.timer.arm(T::TICK);
        }
        // SAFETY: The state stays pinned: it is next taken by `done_service()` to be dropped in place.
        let bound = unsafe { KBox::into_raw(Pin::into_inner_unchecked(bound)) };
        // SAFETY: Nobody reads `sched_data`: `svc->scheduler` is null, and `ip_vs_edit_service()` has
        // waited a grace period since it was not. C publishes both with `rcu_assign_pointer()`.
        unsafe { (*svc).sched_data = bound.cast() };
        0
    }

    /// # Safety
    ///
    /// Called by `ip_vs_unbind_scheduler()`, under the service mutex, once after `init_service()`
    /// and after `svc->scheduler` was cleared.
    unsafe extern "C" fn done_service(svc: *mut bindings::ip_vs_service) {
        // SAFETY: `sched_data` is what `init_service()` stored. It is left there for late readers.
        let raw = unsafe { (*svc).sched_data }.cast::<Bound<T>>();
        // SAFETY: It is alive until the grace period that begins below.
        let bound = unsafe { &*raw };
        if T::RECORDS != 0 {
            proc::unlist(raw.cast_const().cast());
        }
        bound.timer.shutdown();
        bound.state.close();
        bound.frame.work.disable();
        // SAFETY: It came from `into_raw()`. C cleared `svc->scheduler`, through which readers find
        // it, and calls this once. Timer and work item are dead.
        unsafe { bound.disposal.queue_after_grace_period() };
    }

    /// # Safety
    ///
    /// Called by `__ip_vs_update_dest()`, under the service mutex, for a service that is bound to us,
    /// after `dest` was put into its list or changed.
    unsafe extern "C" fn update_dest(
        svc: *mut bindings::ip_vs_service,
        dest: *mut bindings::ip_vs_dest,
    ) -> c_int {
        // SAFETY: As the caller promises.
        unsafe { Self::tell(svc, dest, Servers::update) }
    }

    /// # Safety
    ///
    /// Called by `__ip_vs_unlink_dest()`, under the service mutex, for a service that is bound to us,
    /// after `dest` was taken out of its list.
    unsafe extern "C" fn del_dest(
        svc: *mut bindings::ip_vs_service,
        dest: *mut bindings::ip_vs_dest,
    ) -> c_int {
        // SAFETY: As the caller promises.
        unsafe { Self::tell(svc, dest, Servers::remove) }
    }

    /// # Safety
    ///
    /// `svc` is bound to us, `dest` is alive, and the caller holds the service mutex.
    unsafe fn tell(
        svc: *mut bindings::ip_vs_service,
        dest: *mut bindings::ip_vs_dest,
        change: fn(&Servers, &Service, &Dest),
    ) -> c_int {
        // SAFETY: Both are alive. `sched_data` is what `init_service()` stored; `done_service()`, which
        // lets go of it, needs the mutex as well.
        unsafe {
            let bound = &*(*svc).sched_data.cast::<Bound<T>>();
            let servers = &bound.frame.servers;
            change(servers, Service::from_raw(svc), Dest::from_raw(dest));
        }
        0
    }

    /// # Safety
    ///
    /// Called by `ip_vs_schedule()` or `ip_vs_sched_persist()` in an RCU read-side critical section,
    /// in which `svc->scheduler` was found to be us.
    unsafe extern "C" fn schedule(
        svc: *mut bindings::ip_vs_service,
        _skb: *const bindings::sk_buff,
        iph: *mut bindings::ip_vs_iphdr,
    ) -> *mut bindings::ip_vs_dest {
        // SAFETY: The section lasts longer than this call, in which all borrows below end.
        let rcu = unsafe { ReadSide::assume() };
        // SAFETY: C holds the service for the packet. `sched_data` is read after `svc->scheduler`
        // (`smp_rmb()` in C); the state is dropped a grace period after that was cleared, so not
        // before our section ends.
        let (service, bound) = unsafe {
            (
                Service::from_raw(svc),
                &*(*svc).sched_data.cast::<Bound<T>>(),
            )
        };
        // SAFETY: C filled the header in for the service's address family.
        let header = unsafe { Header::from_raw(iph, (*svc).af) };
        let call = Call {
            service,
            bound,
            rcu,
        };
        let chosen = T::schedule(call, &header);
        chosen.map_or(null_mut(), Dest::as_ptr)
    }
}

/// A scheduler that is known to the IPVS core from its creation to its drop.
///
/// # Invariants
///
/// `inner` is pinned and linked in the core's list of schedulers.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: Scheduler> {
    #[pin]
    inner: Opaque<bindings::ip_vs_scheduler>,
    _scheduler: PhantomData<T>,
}

// SAFETY: The core's list has a mutex of its own; there are no methods.
unsafe impl<T: Scheduler> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: Scheduler> Sync for Registration<T> {}

impl<T: Scheduler> Registration<T> {
    /// Registers `T` as `name`, which users give to `ipvsadm -s`. A service can bind to it before this
    /// returns. Process context. Fails with `EINVAL` if the name is taken, `ENOENT` if IPVS is being
    /// unloaded.
    /// C: `register_ip_vs_scheduler()`.
    pub(crate) fn new(
        module: &'static ThisModule,
        name: &'static CStr,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::ip_vs_scheduler| {
                // SAFETY: `slot` is memory for a scheduler, of which all-zeroes is a valid value.
                unsafe { slot.write(core::mem::zeroed()) };
                // SAFETY: `slot` was just initialised and is ours alone.
                let scheduler = unsafe { &mut *slot };
                scheduler.n_list.next = &raw mut scheduler.n_list;
                scheduler.n_list.prev = &raw mut scheduler.n_list;
                scheduler.name = name.as_char_ptr().cast_mut();
                scheduler.module = module.as_ptr();
                scheduler.init_service = Some(VTable::<T>::init_service);
                scheduler.done_service = Some(VTable::<T>::done_service);
                scheduler.add_dest = Some(VTable::<T>::update_dest);
                scheduler.upd_dest = Some(VTable::<T>::update_dest);
                scheduler.del_dest = Some(VTable::<T>::del_dest);
                scheduler.schedule = Some(VTable::<T>::schedule);
                // SAFETY: The scheduler is whole, self-linked, and pinned until it is unregistered.
                to_result(unsafe { bindings::register_ip_vs_scheduler(slot) })
            }),
            _scheduler: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: Scheduler> PinnedDrop for Registration<T> {
    /// Unregisters and waits until no packet is in `schedule()`. No service is bound any more: each
    /// holds a reference on the module.
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants it is registered.
        unsafe { bindings::unregister_ip_vs_scheduler(self.inner.get()) };
        rcu::synchronize();
    }
}
