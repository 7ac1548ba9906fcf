// SPDX-License-Identifier: GPL-2.0

//! The trait that a scheduler implements, and the state of a service that is bound to it.
//!
//! The life of a service's state, and the functions that may use it:
//!
//! ```text
//!  init_service()    schedule(), any CPU      done_service()                 grace period
//!  new ── published ────────────────────────── work disabled ──────────────── state is dropped
//!           └── work(): timer, or queued ─────┘  late schedule() may run ──────┘
//! ```
//!
//! With [`Scheduler::keep()`] the state may be parked instead of dropped: `parked.rs`.
//!
//! How C calls a scheduler: [`Registration`](super::Registration).

use super::{
    Dest,
    Endpoint,
    Header,
    Netns,
    NetnsState,
    Servers,
    Service, //
};
use crate::{
    bindings,
    jiffies,
    rcu::ReadSide,
    work::{
        self,
        RcuWork,
        Work, //
    }, //
};
use core::{
    ptr::NonNull,
    sync::atomic::{
        AtomicPtr,
        AtomicU32,
        AtomicUsize,
        Ordering, //
    }, //
};
use kernel::{
    container_of,
    prelude::*,
    static_lock_class,
    sync::Arc,
    time::Jiffies, //
};

/// The context of a call of `schedule()`. All methods: any context; plain loads.
pub(crate) struct SchedContext<'g, T: Scheduler> {
    /// The service that the packet is for.
    pub(crate) service: &'g Service,
    pub(super) bound: &'g SchedData<T>,
    /// The read-side section of the call.
    pub(crate) rcu: ReadSide<'g>,
}

impl<T: Scheduler> Clone for SchedContext<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Scheduler> Copy for SchedContext<'_, T> {}

impl<'g, T: Scheduler> SchedContext<'g, T> {
    /// The scheduler's state for the service.
    #[inline(always)]
    pub(crate) fn state(self) -> &'g T {
        &self.bound.state
    }

    /// The service's real servers.
    #[inline(always)]
    pub(crate) fn servers(self) -> &'g Servers {
        &self.bound.common.servers
    }

    /// The state that the scheduler keeps for the service's network namespace.
    pub(crate) fn netns(self) -> &'g T::Netns {
        self.bound.netns.state()
    }

    /// The service's work item: if it is queued, [`Scheduler::work()`] is called.
    #[inline(always)]
    pub(crate) fn work(self) -> &'g Work {
        &self.bound.common.work
    }
}

/// The part of a service's state that does not depend on the scheduler.
#[pin_data]
pub(super) struct Common {
    #[pin]
    pub(super) servers: Servers,
    #[pin]
    pub(super) work: Work,
}

impl Common {
    /// # Safety
    ///
    /// As for [`Work::new()`].
    unsafe fn new(handler: work::Handler, tag: fn(Endpoint) -> u64) -> impl PinInit<Self> {
        pin_init!(Self {
            servers <- Servers::new(tag),
            // SAFETY: As the caller promises.
            work <- unsafe {
                let keys = [static_lock_class!(), static_lock_class!()];
                Work::new(c"ip_vs_sched_work", keys, handler)
            },
        })
    }
}

/// A scheduler: the value is its state for one service.
pub(crate) trait Scheduler: Send + Sync + Sized + 'static {
    /// The state that the scheduler keeps for each network namespace; `()` if none.
    type Netns: NetnsState<Self>;

    /// The period of the timer that queues the service's work item, in jiffies; 0: there is none.
    const TICK: Jiffies = 0;

    /// Makes the state for `service` of `netns`, which may have servers already. Process context,
    /// under the core's service mutex, may sleep. On an error the service is not bound.
    fn init_service<'a>(
        service: &'a Service,
        netns: &'a Arc<Netns<Self>>,
    ) -> impl PinInit<Self, Error> + 'a;

    /// A number that is kept with a server, as [`Server::tag()`](super::Server::tag). Process
    /// context, under the core's service mutex.
    fn server_tag(_server: Endpoint) -> u64 {
        0
    }

    /// Chooses a server for a new connection, or none. Softirq, or process context with preemption
    /// and bottom halves on; any number of CPUs at once; must not sleep.
    fn schedule<'g>(call: SchedContext<'g, Self>, header: Header<'g>) -> Option<&'g Dest>;

    /// Housekeeping, at least once every [`TICK`](Self::TICK), and whenever the service's work item
    /// was queued. `ticks` periods of the timer have ended since the last call, or none. Process
    /// context, may sleep; never twice at once for a service.
    fn work(&self, _service: &Service, _ticks: u32) {}

    /// The service is unbound: a `work()` that takes long should end soon; no other one begins.
    /// Late calls of `schedule()` may come until a grace period has passed; then the state is
    /// dropped, in process context, unless it is parked. Process context.
    fn done_service(&self) {}

    /// For how many jiffies the state of a service that was unbound is parked, for another service
    /// of the same identity; 0: not at all. Process context.
    fn keep(_netns: &Self::Netns) -> Jiffies {
        0
    }

    /// Another service adopts the state after [`done_service()`](Self::done_service). Its servers
    /// are known already. Process context, under the core's service mutex.
    fn resume(&self) {}

    /// The number of entries that the state has in memory, by which parked states are bounded. Any
    /// context.
    fn num_entries(&self) -> usize {
        0
    }
}

/// What `svc->sched_data` points to: a scheduler's state and what the framework needs around it.
#[pin_data]
pub(super) struct SchedData<T: Scheduler> {
    // Dropped before `common`: `state` may have references to servers there.
    #[pin]
    pub(super) state: T,
    #[pin]
    pub(super) common: Common,
    /// The service, while it is bound.
    service: AtomicPtr<bindings::ip_vs_service>,
    /// When the last period of the timer ended, in jiffies. Only the work item uses it.
    last_tick: AtomicUsize,
    #[pin]
    pub(super) rcu_work: RcuWork,
    pub(super) netns: Arc<Netns<T>>,
    /// The number in the list of `netns`, once the service is listed.
    pub(super) id: AtomicU32,
}

// SAFETY: `service` is only used as C's callbacks allow, whatever the thread; the rest is `Send`.
unsafe impl<T: Scheduler> Send for SchedData<T> {}
// SAFETY: As above; `T` and the rest are `Sync`.
unsafe impl<T: Scheduler> Sync for SchedData<T> {}

impl<T: Scheduler> SchedData<T> {
    /// A new state for a service. Process context, under the service mutex. Fails as
    /// [`Scheduler::init_service()`] does.
    pub(super) fn new<'a>(
        bound_to: &'a Service,
        netns: &'a Arc<Netns<T>>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            state <- T::init_service(bound_to, netns),
            // SAFETY: `done_service()` disables the work item before service and state go away; if
            // this fails, it was never queued.
            common <- unsafe { Common::new(Self::work, T::server_tag) },
            service: AtomicPtr::new(bound_to.as_ptr()),
            last_tick: AtomicUsize::new(jiffies::now()),
            rcu_work <- RcuWork::new(c"ip_vs_sched_free", static_lock_class!(), Self::dispose),
            netns: netns.clone(),
            id: AtomicU32::new(0),
        })
    }

    /// The scheduler's state. Any context.
    pub(super) fn state(&self) -> &T {
        &self.state
    }

    /// Queues the work item. Any context.
    pub(super) fn queue_work(&self) {
        self.common.work.queue();
    }

    /// The service. Called from the work item and under the lock of the namespace's list only.
    pub(super) fn service(&self) -> &Service {
        // SAFETY: C frees the service after `done_service()`, which has disabled the work item and
        // has taken this object off the list. `adopt()` stores another one before it reverts that.
        unsafe { Service::from_raw(self.service.load(Ordering::Relaxed)) }
    }

    /// Binds a new state to a service, and lists it. Process context, under the service mutex.
    /// Fails with `ENOMEM`, as [`Scheduler::init_service()`], or as [`Netns::list()`].
    pub(super) fn make(service: &Service, netns: &Arc<Netns<T>>) -> Result<NonNull<Self>> {
        let bound = KBox::pin_init(Self::new(service, netns), GFP_KERNEL_ACCOUNT)?;
        bound.common.servers.add_all(service)?;
        // SAFETY: The state is pinned. `done_service()` takes it off the list before either the
        // state or the service goes away.
        let id = unsafe { netns.list(NonNull::from(&*bound)) }?;
        bound.id.store(id, Ordering::Relaxed);
        if T::TICK != 0 {
            bound.common.work.queue_in(T::TICK);
        }
        // SAFETY: The state stays pinned: nothing moves it before it is dropped in place.
        let raw = unsafe { KBox::into_raw(Pin::into_inner_unchecked(bound)) };
        NonNull::new(raw).ok_or(ENOMEM)
    }

    /// Binds a parked state to a service, and lists it. If that fails, the state is as it was.
    /// Process context, under the service mutex. Fails with `ENOMEM`, or as [`Netns::list()`].
    pub(super) fn adopt(&self, service: &Service) -> Result {
        let servers = &self.common.servers;
        let listed = servers.add_all(service).and_then(|()| {
            self.service.store(service.as_ptr(), Ordering::Relaxed);
            // SAFETY: As in `make()`.
            unsafe { self.netns.list(NonNull::from(self)) }
        });
        let id = listed.inspect_err(|_| servers.release())?;
        self.id.store(id, Ordering::Relaxed);
        self.state.resume();
        self.common.work.enable();
        // Continue what `done_service()` has cancelled, and make up for the periods that have ended
        // since. The handler starts the timer.
        self.common.work.queue();
        Ok(())
    }

    /// # Safety
    ///
    /// Called by the queue with the work item of a pinned `SchedData<T>`.
    unsafe extern "C" fn work(work: *mut bindings::work_struct) {
        // SAFETY: `Work` begins with its `work_struct`, and `work` is in the `common` of a
        // `SchedData<T>`, which is alive because `done_service()` waits for this handler before it
        // parks or frees the object.
        let bound = unsafe {
            let common = container_of!(work.cast::<Work>(), Common, work);
            &*container_of!(common, Self, common)
        };
        bound.common.work.begin();
        let last = bound.last_tick.load(Ordering::Relaxed);
        let ticks = jiffies::now().wrapping_sub(last).checked_div(T::TICK);
        let ticks = ticks.unwrap_or(0);
        let last = last.wrapping_add(ticks.wrapping_mul(T::TICK));
        bound.last_tick.store(last, Ordering::Relaxed);
        bound.state.work(bound.service(), ticks as u32);
        bound.common.servers.reap();
        if T::TICK != 0 {
            let passed = jiffies::now().wrapping_sub(last);
            bound.common.work.queue_in(T::TICK.saturating_sub(passed));
        }
    }

    /// # Safety
    ///
    /// Called by the queue, once, with the `rcu_work` of a pinned `SchedData<T>` that came from
    /// `KBox::into_raw()`, a grace period after new readers could find it last.
    unsafe extern "C" fn dispose(work: *mut bindings::work_struct) {
        // SAFETY: The caller promises that `work` is the `rcu_work` of a `SchedData<T>`; `RcuWork`
        // begins with the `work_struct`.
        let bound = unsafe { container_of!(work.cast::<RcuWork>(), Self, rcu_work) };
        // SAFETY: The caller promises that `bound` came from `KBox::into_raw()`, and that no reader
        // is left; it is dropped in place.
        drop(unsafe { KBox::from_raw(bound) });
    }
}
