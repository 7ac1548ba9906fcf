// SPDX-License-Identifier: GPL-2.0

//! Registering a scheduler with the IPVS core, and the callbacks through which C calls it.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_scheduler`.

use super::{
    log,
    parked::Parked,
    pernet::Namespaces,
    scheduler::{
        SchedContext,
        SchedData,
        Scheduler, //
    },
    Dest,
    Header,
    Netns,
    NetnsState,
    Servers,
    Service, //
};
use crate::{
    bindings,
    rcu::{
        self,
        ReadSide, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::{
        null_mut,
        NonNull, //
    },
    sync::atomic::Ordering, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// The C callbacks of `T`: pointers to references, call, convert, nothing else.
struct VTable<T>(PhantomData<T>);

impl<T: Scheduler> VTable<T> {
    /// # Safety
    ///
    /// Called by `ip_vs_bind_scheduler()`, under the service mutex, before `svc->scheduler` is set.
    unsafe extern "C" fn init_service(svc: *mut bindings::ip_vs_service) -> c_int {
        // SAFETY: C passes a service with `ipvs` set, perhaps one that is live and has servers.
        let service = unsafe { Service::from_raw(svc) };
        let bound = match Self::bind(service) {
            Ok(bound) => bound,
            Err(error) => return error.to_errno(),
        };
        // SAFETY: `sched_data` has no reader: `svc->scheduler` is null, and `ip_vs_edit_service()`
        // has waited for a grace period since that was cleared. C publishes `svc->scheduler`
        // afterwards, with `rcu_assign_pointer()`.
        unsafe { (*svc).sched_data = bound.as_ptr().cast() };
        0
    }

    /// A state for the service, listed in its namespace: the parked one of the service's identity,
    /// or a new one. If memory is short, frees all other parked states, and tries again. Process
    /// context, under the service mutex. Fails with `ENOENT` or `ENOSPC` as [`Netns::of()`] and
    /// `Netns::list()` do, or `ENOMEM`.
    fn bind(service: &Service) -> Result<NonNull<SchedData<T>>> {
        let netns = Netns::of(service)?;
        Self::adopt_or_make(service, &netns).or_else(|error| {
            if error != ENOMEM || !netns.free_parked_but(service.identity()) {
                return Err(error);
            }
            Self::adopt_or_make(service, &netns)
        })
    }

    fn adopt_or_make(service: &Service, netns: &Arc<Netns<T>>) -> Result<NonNull<SchedData<T>>> {
        let identity = service.identity();
        let Some(parked) = netns.unpark(identity) else {
            return SchedData::make(service, netns);
        };
        match parked.bound().adopt(service) {
            Ok(()) => Ok(parked.into_bound()),
            Err(error) => {
                netns.park(identity, parked);
                Err(error)
            }
        }
    }

    /// # Safety
    ///
    /// Called by `ip_vs_unbind_scheduler()`, under the service mutex, once after `init_service()`
    /// and after `svc->scheduler` was cleared.
    unsafe extern "C" fn done_service(svc: *mut bindings::ip_vs_service) {
        // SAFETY: `sched_data` is what `init_service()` stored. It is left there for late readers.
        let raw = unsafe { (*svc).sched_data }.cast::<SchedData<T>>();
        // SAFETY: `init_service()` stored a pointer that came from `into_raw()`, which the service
        // owns.
        let (service, bound) = unsafe { (Service::from_raw(svc), NonNull::new_unchecked(raw)) };
        // SAFETY: As above; the state is alive at least until it is parked below.
        let state = unsafe { bound.as_ref() };
        state.netns.unlist(state.id.load(Ordering::Relaxed));
        state.state.done_service();
        state.common.work.disable();
        // The state may be freed as soon as it is parked.
        let netns = state.netns.clone();
        // SAFETY: C cleared `svc->scheduler`, through which readers find the state, and calls this
        // function once, so `bound` is owned here. It is not listed, and its work item is disabled.
        let parked = unsafe { Parked::new(bound) };
        if T::keep(netns.state()) != 0 {
            state.common.servers.release();
            netns.park(service.identity(), parked);
        }
    }

    /// # Safety
    ///
    /// Called by `__ip_vs_update_dest()`, under the service mutex, for a service that is bound to
    /// us, after `dest` was put into its list or changed.
    unsafe extern "C" fn update_dest(
        svc: *mut bindings::ip_vs_service,
        dest: *mut bindings::ip_vs_dest,
    ) -> c_int {
        // SAFETY: As the caller promises.
        unsafe { Self::tell(svc, dest, Servers::update) }
    }

    /// # Safety
    ///
    /// Called by `__ip_vs_unlink_dest()`, under the service mutex, for a service that is bound to
    /// us, after `dest` was taken out of its list.
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
        // SAFETY: `svc` and `dest` are alive. `sched_data` is what `init_service()` stored;
        // `done_service()`, after which it may be freed, is called under the same mutex.
        unsafe {
            let bound = &*(*svc).sched_data.cast::<SchedData<T>>();
            let servers = &bound.common.servers;
            change(servers, Service::from_raw(svc), Dest::from_raw(dest));
        }
        0
    }

    /// # Safety
    ///
    /// Called by `ip_vs_schedule()` or `ip_vs_sched_persist()` in an RCU read-side critical
    /// section, in which `svc->scheduler` was found to be us.
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
                &*(*svc).sched_data.cast::<SchedData<T>>(),
            )
        };
        // SAFETY: C filled the header in for the service's address family.
        let header = unsafe { Header::from_raw(iph, service) };
        let call = SchedContext {
            service,
            bound,
            rcu,
        };
        let chosen = T::schedule(call, header);
        chosen.map_or(null_mut(), Dest::as_ptr)
    }
}

/// A name that the IPVS core knows as that of scheduler `T`, from its creation to its drop.
///
/// # Invariants
///
/// `inner` is pinned and linked in the core's list of schedulers.
#[pin_data(PinnedDrop)]
struct Name<T: Scheduler> {
    #[pin]
    inner: Opaque<bindings::ip_vs_scheduler>,
    _scheduler: PhantomData<T>,
}

impl<T: Scheduler> Name<T> {
    /// Process context. Fails with `EINVAL` if the name is taken, `ENOENT` if IPVS is being
    /// unloaded. C: `register_ip_vs_scheduler()`.
    fn new(module: &'static ThisModule, name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::ip_vs_scheduler| {
                // SAFETY: `slot` is valid for writes, and nothing else uses it yet.
                unsafe {
                    slot.write(bindings::ip_vs_scheduler {
                        name: name.as_char_ptr().cast_mut(),
                        module: module.as_ptr(),
                        init_service: Some(VTable::<T>::init_service),
                        done_service: Some(VTable::<T>::done_service),
                        add_dest: Some(VTable::<T>::update_dest),
                        upd_dest: Some(VTable::<T>::update_dest),
                        del_dest: Some(VTable::<T>::del_dest),
                        schedule: Some(VTable::<T>::schedule),
                        ..pin_init::zeroed()
                    });
                    (*slot).n_list.next = &raw mut (*slot).n_list;
                    (*slot).n_list.prev = &raw mut (*slot).n_list;
                }
                // SAFETY: The scheduler is initialised, its list node self-linked as C wants it,
                // and it is pinned until it is unregistered.
                to_result(unsafe { bindings::register_ip_vs_scheduler(slot) })
            }),
            _scheduler: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: Scheduler> PinnedDrop for Name<T> {
    /// Unregisters the name. No service is bound to it: each holds a reference to the module.
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants `inner` is registered.
        unsafe { bindings::unregister_ip_vs_scheduler(self.inner.get()) };
    }
}

/// A scheduler that users can choose (`ipvsadm -s NAME`), from its creation to its drop, with what
/// it keeps for each network namespace.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: Scheduler> {
    /// Dropped before `namespaces`: the names are unregistered, and calls of `schedule()` have
    /// ended, before the objects of the namespaces are dropped.
    names: KVec<Pin<KBox<Name<T>>>>,
    #[pin]
    namespaces: Namespaces<T>,
}

// SAFETY: The core's lists have locks of their own; there are no methods.
unsafe impl<T: Scheduler> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: Scheduler> Sync for Registration<T> {}

impl<T: Scheduler> Registration<T> {
    /// Registers `T` under each of `names`. A service can bind before this returns. Process
    /// context. Fails with `EINVAL` if the first name is taken, `ENOENT` if IPVS is being unloaded,
    /// `ENOMEM`, or as [`NetnsState::new()`] does. Once the first name is registered, nothing fails
    /// any more, as a service may have been bound: if another name is taken, it is left out, with a
    /// line in the log.
    pub(crate) fn new(
        module: &'static ThisModule,
        names: &'static [&'static CStr],
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            namespaces <- Namespaces::new(),
            names: Self::register(module, names).inspect_err(|_| T::Netns::hide_all())?,
        })
    }

    fn register(
        module: &'static ThisModule,
        names: &'static [&'static CStr],
    ) -> Result<KVec<Pin<KBox<Name<T>>>>> {
        let mut registered = KVec::with_capacity(names.len(), GFP_KERNEL)?;
        for name in names {
            match KBox::pin_init(Name::new(module, name), GFP_KERNEL) {
                Ok(name) => registered.push_within_capacity(name)?,
                Err(error) if registered.is_empty() => return Err(error),
                Err(_) => log::notice(c"a name of the scheduler is taken, and left out"),
            }
        }
        Ok(registered)
    }
}

#[pinned_drop]
impl<T: Scheduler> PinnedDrop for Registration<T> {
    /// Unregisters the names, waits until no packet is in `schedule()`, and removes the files of
    /// all namespaces. The latter waits for users of the files, so it must be done before the
    /// pernet operations are unregistered, which would wait under the pernet rwsem.
    fn drop(self: Pin<&mut Self>) {
        self.project().names.clear();
        rcu::synchronize();
        T::Netns::hide_all();
    }
}
