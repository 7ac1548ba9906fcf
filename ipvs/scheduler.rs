// SPDX-License-Identifier: GPL-2.0

//! Registering a scheduler with the IPVS core, and the state of a service that it binds to.
//!
//! The life of a service's state, and who may look at it:
//!
//! ```text
//!  init_service()      schedule(), any CPU       done_service()                 grace period
//!  new ── published ───────────────────────────── timer, work stopped ─────────── dropped by a work item
//!           ├── tick(), softirq, one at a time ──┤  late schedule() may still run ──┘
//!           └── work(), process, one at a time ──┘
//! ```
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h), `struct ip_vs_scheduler`.

use super::{proc, Dest, Header, Servers, Service};
use crate::{
    bindings,
    rcu::{self, ReadSide},
    timer::Timer,
    work::{self, Disposal, Work},
};
use core::{marker::PhantomData, ops::Range, ptr::null_mut};
use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    seq_file::SeqFile,
    static_lock_class,
    time::Jiffies,
    types::Opaque, //
};

/// What `schedule()` can see and use.
pub(crate) struct Call<'g, T> {
    /// The service that the packet is for.
    pub(crate) service: &'g Service,
    bound: &'g Bound<T>,
    /// The read-side section of the call.
    pub(crate) rcu: ReadSide<'g>,
}

impl<T> Clone for Call<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Call<'_, T> {}

impl<'g, T> Call<'g, T> {
    /// The scheduler's state for the service.
    #[inline(always)]
    pub(crate) fn state(self) -> &'g T {
        &self.bound.state
    }

    /// The service's real servers.
    #[inline(always)]
    pub(crate) fn servers(self) -> &'g Servers {
        &self.bound.frame.servers
    }

    /// Queue it, and [`Scheduler::work()`] will be called.
    #[inline(always)]
    pub(crate) fn work(self) -> &'g Work {
        &self.bound.frame.work
    }
}

/// What a service has, whatever its scheduler is.
#[pin_data]
struct Frame {
    #[pin]
    servers: Servers,
    #[pin]
    work: Work,
}

impl Frame {
    /// # Safety
    ///
    /// As for [`Work::new()`].
    unsafe fn new(handler: work::Handler) -> impl PinInit<Self> {
        pin_init!(Self {
            servers <- Servers::new(),
            // SAFETY: As the caller promises.
            work <- unsafe { Work::new(c"lblc_rs_work", static_lock_class!(), handler) },
        })
    }
}

/// A scheduler: the value is its state for one service.
pub(crate) trait Scheduler: Send + Sync + Sized + 'static {
    /// The time between two calls of [`tick()`](Self::tick), in jiffies; 0: there are none.
    const TICK: Jiffies = 0;

    /// Makes the state for `service`, which may have servers already. Process context, under the
    /// core's service mutex, may sleep. On an error the service is not bound.
    fn init_service(service: &Service) -> impl PinInit<Self, Error>;

    /// Chooses a server for a new connection, or none. Softirq, or process context with preemption
    /// and bottom halves on; any number of CPUs at once; must not sleep.
    fn schedule<'g>(call: Call<'g, Self>, header: &Header<'_>) -> Option<&'g Dest>;

    /// Regular housekeeping that takes little time. Softirq; never twice at once for a service.
    fn tick(&self, _work: &Work) {}

    /// Housekeeping that takes time: after somebody queued the service's work item. Process context,
    /// may sleep; never twice at once for a service.
    fn work(&self, _service: &Service) {}

    /// The service lets go: a `work()` that takes long shall end soon; no other one begins. Late calls of
    /// `schedule()` may come until a grace period has passed; then the state is dropped, in process
    /// context. Process context.
    fn close(&self) {}

    /// How many records [`show()`](Self::show) can print; at most [`proc::MAX_RECORDS`]. 0: the service
    /// is in neither file, and does not need [`netns::Registration`](super::netns::Registration).
    const RECORDS: u64 = 0;

    /// The end of the records to print in one go, beginning with `record`. Process context.
    fn span(&self, record: u64) -> u64 {
        record.wrapping_add(1)
    }

    /// Prints records for `/proc/net/ip_vs_lblc_rs`. Process context, under a mutex.
    fn show(&self, _service: &Service, _records: Range<u64>, _out: &SeqFile) {}

    /// Prints a line for `/proc/net/ip_vs_lblc_rs_stats`. Process context, under a mutex.
    fn stats(&self, _service: &Service, _out: &SeqFile) {}
}

/// What `svc->sched_data` points to: a scheduler's state and what the framework needs around it.
#[pin_data]
struct Bound<T> {
    // Dropped in this order: what `state` knows of servers may lead there.
    #[pin]
    state: T,
    #[pin]
    frame: Frame,
    service: *mut bindings::ip_vs_service,
    #[pin]
    timer: Timer,
    #[pin]
    disposal: Disposal,
}

// SAFETY: `service` is only used as C's callbacks allow, whatever the thread; the rest is `Send`.
unsafe impl<T: Send> Send for Bound<T> {}

impl<T: Scheduler> Bound<T> {
    fn new(bound_to: &Service) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            state <- T::init_service(bound_to),
            // SAFETY: `done_service()` disables the work item before service and state go away; if this
            // fails, it was never queued.
            frame <- unsafe { Frame::new(Self::work) },
            service: bound_to.as_ptr(),
            // SAFETY: `done_service()` shuts the timer down, as it disables the work item.
            timer <- unsafe { Timer::new(c"lblc_rs_tick", static_lock_class!(), Self::tick) },
            disposal <- Disposal::new(c"lblc_rs_disposal", static_lock_class!(), Self::dispose),
        })
    }

    fn service(&self) -> &Service {
        // SAFETY: The service outlives `done_service()`, after which nobody comes here.
        unsafe { Service::from_raw(self.service) }
    }

    /// # Safety
    ///
    /// Called by the timer core with the `timer` of a pinned `Bound<T>`.
    unsafe extern "C" fn tick(timer: *mut bindings::timer_list) {
        // SAFETY: `Timer` wraps `timer_list` transparently, and this one is in a `Bound<T>`, alive
        // because `done_service()` waits for us before it lets go of it.
        let bound = unsafe { &*container_of!(timer.cast::<Timer>(), Self, timer) };
        bound.state.tick(&bound.frame.work);
        bound.timer.arm(T::TICK);
    }

    /// # Safety
    ///
    /// Called by the queue with the work item of a pinned `Bound<T>`.
    unsafe extern "C" fn work(work: *mut bindings::work_struct) {
        // SAFETY: As in `tick()`; the work item is in the frame, and that in the `Bound<T>`.
        let bound = unsafe {
            let frame = container_of!(work.cast::<Work>(), Frame, work);
            &*container_of!(frame, Self, frame)
        };
        bound.state.work(bound.service());
        bound.frame.servers.forget();
    }

    /// # Safety
    ///
    /// Called by the queue, once, with the `disposal` of a pinned `Bound<T>` that came from
    /// `KBox::into_raw()`, a grace period after C let go of it.
    unsafe extern "C" fn dispose(work: *mut bindings::work_struct) {
        // SAFETY: As the caller promises; `Disposal` begins with the `work_struct`.
        let bound = unsafe { container_of!(work.cast::<Disposal>(), Self, disposal) };
        // SAFETY: It came from `into_raw()`, and is dropped in place.
        drop(unsafe { KBox::from_raw(bound) });
    }
}

/// The files' view of a state, which is listed until `done_service()`.
impl<T: Scheduler> proc::Shown for Bound<T> {
    const RECORDS: u64 = T::RECORDS;

    fn span(&self, record: u64) -> u64 {
        self.state.span(record)
    }

    fn show(&self, records: Range<u64>, out: &SeqFile) {
        self.state.show(self.service(), records, out);
    }

    fn stats(&self, out: &SeqFile) {
        self.state.stats(self.service(), out);
    }

    fn wake(&self) {
        self.frame.work.queue();
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
        // SAFETY: Both are alive, and `sched_data` is what `init_service()` stored.
        unsafe {
            let bound = &*(*svc).sched_data.cast::<Bound<T>>();
            let servers = &bound.frame.servers;
            servers.update(Service::from_raw(svc), Dest::from_raw(dest));
        }
        0
    }

    /// # Safety
    ///
    /// Called by `__ip_vs_unlink_dest()`, under the service mutex, for a service that is bound to us,
    /// after `dest` was taken out of its list.
    unsafe extern "C" fn del_dest(
        svc: *mut bindings::ip_vs_service,
        dest: *mut bindings::ip_vs_dest,
    ) -> c_int {
        // SAFETY: As in `update_dest()`.
        unsafe {
            let bound = &*(*svc).sched_data.cast::<Bound<T>>();
            let servers = &bound.frame.servers;
            servers.remove(Service::from_raw(svc), Dest::from_raw(dest));
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
