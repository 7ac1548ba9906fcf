// SPDX-License-Identifier: GPL-2.0

//! Registering a scheduler with the IPVS core, and the state of a service that it binds to.
//!
//! The life of a service's state, and who may look at it:
//!
//! ```text
//!  init_service()     schedule(), any CPU      done_service()                   grace period
//!  new ── published ──────────────────────────── timer stopped, drained ───────── dropped, freed
//!           └── tick(), softirq, one at a time ──┘  late schedule() may still run ──┘
//! ```
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_scheduler`.

use super::{proc, Dest, Header, Service};
use crate::{
    bindings,
    rcu::{self, ReadSide},
    timer::Timer,
};
use core::{marker::PhantomData, mem::offset_of, ptr::null_mut};
use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    seq_file::SeqFile,
    static_lock_class,
    time::Jiffies,
    types::Opaque, //
};

/// A scheduler: the value is its state for one service.
pub(crate) trait Scheduler: Send + Sync + Sized + 'static {
    /// The time between two calls of [`tick()`](Self::tick), in jiffies.
    const TICK: Jiffies;

    /// Makes the state for `service`, which may have servers already. Process context, under the
    /// core's service mutex, may sleep. On an error the service is not bound.
    fn init_service(service: &Service) -> impl PinInit<Self, Error>;

    /// Chooses a server for a new connection, or none. Softirq, or process context with preemption
    /// and bottom halves on; any number of CPUs at once; must not sleep.
    fn schedule<'g>(
        &'g self,
        service: &'g Service,
        header: &Header<'_>,
        rcu: ReadSide<'g>,
    ) -> Option<&'g Dest>;

    /// Regular housekeeping. Softirq; never twice at once for a service.
    fn tick(&self, service: &Service);

    /// How many records [`show()`](Self::show) can print.
    const RECORDS: usize;

    /// Prints record `number` for `/proc/net/ip_vs_lblc_rs`. Process context, under a mutex.
    fn show(&self, service: &Service, number: usize, out: &SeqFile);

    /// The service lets go: no `tick()` from here on, but late calls of `schedule()` until a grace
    /// period has passed; then the state is dropped, in softirq. Process context, may sleep.
    fn done_service(&self);
}

/// What `svc->sched_data` points to: a scheduler's state and what the framework needs around it.
#[pin_data]
struct Bound<T> {
    rcu: rcu::Head,
    #[pin]
    timer: Timer,
    service: *mut bindings::ip_vs_service,
    #[pin]
    state: T,
}

// SAFETY: `service` is only used as C's callbacks allow, whatever the thread; the rest is `Send`.
unsafe impl<T: Send> Send for Bound<T> {}

// SAFETY: The head is private and queued only by `done_service()`, which C calls once a state.
unsafe impl<T: Scheduler> rcu::Deferred for Bound<T> {
    const HEAD: usize = offset_of!(Self, rcu);
}

impl<T: Scheduler> Bound<T> {
    fn new(bound_to: &Service) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            rcu: rcu::Head::new(),
            // SAFETY: `done_service()` shuts the timer down before service and state go away; if
            // this fails, it was never armed.
            timer <- unsafe { Timer::new(c"lblc_rs_tick", static_lock_class!(), Self::tick) },
            service: bound_to.as_ptr(),
            state <- T::init_service(bound_to),
        })
    }

    /// # Safety
    ///
    /// Called by the timer core with the `timer` of a pinned `Bound<T>`.
    unsafe extern "C" fn tick(timer: *mut bindings::timer_list) {
        // SAFETY: `Timer` wraps `timer_list` transparently, and this one is in a `Bound<T>`, alive
        // because `done_service()` waits for us before it lets go of it.
        let bound = unsafe { &*container_of!(timer.cast::<Timer>(), Self, timer) };
        // SAFETY: The service outlives `done_service()`.
        let service = unsafe { Service::from_raw(bound.service) };
        bound.state.tick(service);
        bound.timer.arm(T::TICK);
    }

    /// # Safety
    ///
    /// Called for a `Bound<T>` that is listed, which it is no more when `done_service()` goes on.
    unsafe fn show(object: *mut c_void, number: usize, out: &SeqFile) {
        // SAFETY: It is alive as long as it is listed, and so is its service.
        let (bound, service) = unsafe {
            let bound = &*object.cast::<Self>();
            (bound, Service::from_raw(bound.service))
        };
        bound.state.show(service, number, out);
    }
}

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
        let object = core::ptr::from_ref(&*bound).cast_mut().cast();
        // SAFETY: `done_service()` takes it off the list before it goes away.
        if let Err(error) = unsafe { proc::list((*svc).ipvs, object, T::RECORDS, Bound::<T>::show) }
        {
            return error.to_errno();
        }
        bound.timer.arm(T::TICK);
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
        proc::unlist(raw.cast());
        bound.timer.shutdown();
        bound.state.done_service();
        // SAFETY: It came from `into_raw()`. C cleared `svc->scheduler`, through which readers find
        // it, and calls this once. The timer is dead.
        unsafe { rcu::drop_after_grace_period(raw) };
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
        bound
            .state
            .schedule(service, &header, rcu)
            .map_or(null_mut(), Dest::as_ptr)
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
