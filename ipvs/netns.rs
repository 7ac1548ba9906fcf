// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: the state that a scheduler keeps for each, and the services that are bound
//! to it there.
//!
//! ```text
//!   pernet init ──> Netns ── state.show() ──> services come and go ── pernet exit: state.hide()
//!                     ▲                            │
//!       net_generic() ┘ until exit                 └── each holds a reference until it is freed
//! ```
//!
//! The exit of a namespace calls [`NetnsState::hide()`] first and unbinds the namespace's services
//! later, in the exit of IPVS itself. So a [`Netns`] is counted: a service's state can use it for
//! as long as that state lives, which may be a grace period longer than the namespace.
//!
//! C headers: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h),
//! [`include/net/netns/generic.h`](srctree/include/net/netns/generic.h).

use super::{
    parked::States,
    scheduler::{
        SchedContext,
        SchedData,
        Scheduler, //
    },
    service::Identity,
    Servers,
    Service, //
};
use crate::{
    bindings,
    rcu::ReadSide,
    work::Work, //
};
use core::{
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        AtomicPtr,
        AtomicU32,
        Ordering, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    static_lock_class,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    }, //
};

/// C's network namespace, borrowed. All methods: any context.
///
/// # Invariants
///
/// `0` points to a `struct net` whose IPVS part is initialised, and that is not freed while this
/// value is in use.
#[derive(Clone, Copy)]
pub(crate) struct Net(NonNull<bindings::net>);

// SAFETY: A namespace is not tied to a thread; every method reads fields that never change.
unsafe impl Send for Net {}
// SAFETY: As above.
unsafe impl Sync for Net {}

impl Net {
    /// Borrows a namespace. Fails with `ENOENT` if IPVS has no state there.
    ///
    /// # Safety
    ///
    /// `net` points to a `struct net` that is not freed while the result, or a copy, is in use.
    pub(super) unsafe fn from_raw(net: *mut bindings::net) -> Result<Self> {
        // SAFETY: The caller promises a live namespace.
        if unsafe { bindings::lblc_rs_net_ipvs(net) }.is_null() {
            return Err(ENOENT);
        }
        // INVARIANT: As just tested, and as the caller promises.
        NonNull::new(net).map(Self).ok_or(ENOENT)
    }

    /// The C object.
    pub(crate) fn as_ptr(self) -> *mut bindings::net {
        self.0.as_ptr()
    }

    /// IPVS' state of the namespace. It is freed by IPVS' own pernet exit, after ours.
    pub(crate) fn ipvs(self) -> *mut bindings::netns_ipvs {
        // SAFETY: By the type invariants the namespace is live.
        unsafe { bindings::lblc_rs_net_ipvs(self.as_ptr()) }
    }

    /// Whether the namespace belongs to the initial user namespace. If not, its root may be an
    /// ordinary user of the machine.
    pub(crate) fn is_of_initial_user(self) -> bool {
        // SAFETY: By the type invariants the namespace is live.
        unsafe { bindings::lblc_rs_net_is_of_initial_user(self.as_ptr()) }
    }
}

/// The state that a scheduler keeps for each network namespace. `()` keeps nothing.
pub(crate) trait NetnsState<T: Scheduler>: Send + Sync + Sized {
    /// Makes the state of a namespace. Process context, under the pernet rwsem. If this fails, the
    /// namespace is not created, or the module not loaded.
    fn new(net: Net) -> impl PinInit<Self, Error>;

    /// The namespace is complete: makes its files visible. Process context, under the pernet rwsem.
    /// An error is treated as one of [`new()`](Self::new), and leaves nothing visible.
    fn show(_netns: ArcBorrow<'_, Netns<T>>) -> Result {
        Ok(())
    }

    /// Removes the files; returns when nothing uses them any more. Process context, perhaps under
    /// the pernet rwsem. Services may still be bound.
    fn hide(&self) {}

    /// The module is being unloaded: removes the files of all namespaces, present and future.
    /// Process context, without the pernet rwsem, so that a wait for users of a file delays nothing
    /// but this module's unloading.
    fn hide_all() {}
}

impl<T: Scheduler<Netns = ()>> NetnsState<T> for () {
    fn new(_: Net) -> impl PinInit<Self, Error> {
        Ok(())
    }
}

/// A network namespace, as scheduler `T` sees it.
#[pin_data]
pub(crate) struct Netns<T: Scheduler> {
    #[pin]
    state: T::Netns,
    #[pin]
    pub(super) services: Mutex<Services<T>>,
    /// Frees parked states.
    #[pin]
    pub(super) work: Work,
    /// Whether there may be parked states.
    pub(super) has_parked: AtomicBool,
    /// Whether all parked states should be freed.
    pub(super) unwanted: AtomicBool,
}

/// The services of a namespace that are bound to `T`, by their numbers, and the parked states.
///
/// # Invariants
///
/// Each pointer leads to a `SchedData<T>` that is live, and whose C service is too, for as long as
/// it is in the tree.
pub(super) struct Services<T: Scheduler> {
    last_id: u32,
    bound: RBTree<u32, Ptr<T>>,
    pub(super) parked: States<T>,
}

struct Ptr<T: Scheduler>(NonNull<SchedData<T>>);

// SAFETY: A `SchedData<T>` may be used by any thread (`T` is `Send` and `Sync`); the pointer is
// used under the lock only.
unsafe impl<T: Scheduler> Send for Ptr<T> {}

/// The number of bits of a service's number.
pub(crate) const ID_BITS: u32 = 29;

impl<T: Scheduler> Netns<T> {
    /// Makes the object of `net`, without services. Process context.
    pub(super) fn new(net: Net) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            state <- T::Netns::new(net),
            services <- new_mutex!(
                Services { last_id: 0, bound: RBTree::new(), parked: States::new() },
                "ip_vs_netns_services"
            ),
            // SAFETY: `close()` disables the work item before the namespace's own reference is
            // dropped.
            work <- unsafe {
                let keys = [static_lock_class!(), static_lock_class!()];
                Work::new(c"ip_vs_netns_work", keys, Self::free_parked)
            },
            has_parked: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
        })
    }

    /// The scheduler's own state. Any context.
    pub(crate) fn state(&self) -> &T::Netns {
        &self.state
    }

    /// The namespace of a service that is being bound. Process context, under the service mutex.
    /// Fails with `ENOENT` after the exit of the namespace.
    pub(super) fn of(service: &Service) -> Result<Arc<Self>> {
        // SAFETY: The service keeps its namespace live until it is freed.
        let net = unsafe { bindings::lblc_rs_ipvs_net(service.netns()) };
        // SAFETY: `net` is live, and the namespace's exit, which clears the slot, does not run
        // while the control plane has a reference to the namespace.
        let netns = unsafe { Self::borrow(net) };
        netns.map(Arc::from).ok_or(ENOENT)
    }

    /// Borrows the object of `net`, if there is one. Any context.
    ///
    /// # Safety
    ///
    /// `net` is live, and its exit does not run, for the whole of `'a`; and `T` is the scheduler of
    /// this module's [`Namespaces`].
    pub(crate) unsafe fn borrow<'a>(net: *mut bindings::net) -> Option<ArcBorrow<'a, Self>> {
        // SAFETY: The caller promises a live namespace and the type; only `init_net()` and
        // `exit_net()` write the slot.
        let raw = unsafe { slot(net) }?.load(Ordering::Acquire).cast::<Self>();
        // SAFETY: If `raw` is not null, it came from `Arc::into_raw()` in `init_net()`, and is
        // dropped by `exit_net()`, which the caller excludes.
        (!raw.is_null()).then(|| unsafe { ArcBorrow::from_raw(raw) })
    }

    /// Lists a service; returns its number. Process context. Fails with `ENOMEM`, or `ENOSPC` if
    /// there are 2^29 services already.
    ///
    /// # Safety
    ///
    /// `bound`, and its C service, stay live and in place until `unlist()`.
    pub(super) unsafe fn list(&self, bound: NonNull<SchedData<T>>) -> Result<u32> {
        let mut services = self.services.lock();
        // A number is not used again before all others have been, so that a position in a file does
        // not lead to a newer service.
        let mut id = services.last_id;
        for _ in 0..1u32 << ID_BITS {
            id = id.wrapping_add(1) & ((1 << ID_BITS) - 1);
            if services.bound.get(&id).is_none() {
                // INVARIANT: As the caller promises.
                let node = RBTreeNode::new(id, Ptr(bound), GFP_KERNEL_ACCOUNT)?;
                services.bound.insert(node);
                services.last_id = id;
                return Ok(id);
            }
        }
        Err(ENOSPC)
    }

    /// Takes a service off the list, and waits until nothing uses it through the list. Process
    /// context.
    pub(super) fn unlist(&self, id: u32) {
        let node = self.services.lock().bound.remove_node(&id);
        drop(node);
    }

    /// Queues the work item of every listed service, and that of the namespace: a setting has
    /// changed. Process context.
    pub(crate) fn queue_work(&self) {
        self.work.queue();
        for bound in self.services.lock().bound.values() {
            // SAFETY: By the invariants of `Services` the pointee is live while it is listed, and
            // the lock keeps it listed.
            unsafe { bound.0.as_ref() }.queue_work();
        }
    }

    /// Calls `f` with the first service whose number is `from` or more: its number, its state, and
    /// itself. Process context; `f` runs under the namespace's mutex.
    pub(crate) fn first_service<R>(
        &self,
        from: u32,
        f: impl FnOnce(u32, &T, &Service) -> R,
    ) -> Option<R> {
        self.first_listed(from, |found| f(found.id, found.state(), found.service()))
    }

    /// As [`first_service()`](Self::first_service), but passes a [`Listed`].
    pub(crate) fn first_listed<R>(
        &self,
        from: u32,
        f: impl FnOnce(Listed<'_, T>) -> R,
    ) -> Option<R> {
        let services = self.services.lock();
        let cursor = services.bound.cursor_lower_bound(&from)?;
        let (id, bound) = cursor.current();
        // SAFETY: As in `queue_work()`.
        let bound = unsafe { bound.0.as_ref() };
        Some(f(Listed { id: *id, bound }))
    }

    /// Calls `f` with the service of this identity, if there is one. Process context; `f` runs
    /// under the namespace's mutex.
    pub(crate) fn find_service<R>(
        &self,
        identity: Identity,
        f: impl FnOnce(Listed<'_, T>) -> R,
    ) -> Option<R> {
        let services = self.services.lock();
        let mut all = services.bound.iter();
        let found = all.find_map(|(id, bound)| {
            // SAFETY: As in `queue_work()`.
            let bound = unsafe { bound.0.as_ref() };
            (bound.service().identity() == identity).then_some(Listed { id: *id, bound })
        });
        found.map(f)
    }
}

/// A service that is listed, while the namespace's services are locked. All methods: process
/// context, as it exists under that mutex only.
pub(crate) struct Listed<'a, T: Scheduler> {
    /// Its number.
    pub(crate) id: u32,
    bound: &'a SchedData<T>,
}

impl<'a, T: Scheduler> Listed<'a, T> {
    /// The scheduler's state.
    pub(crate) fn state(&self) -> &'a T {
        self.bound.state()
    }

    /// The service.
    pub(crate) fn service(&self) -> &'a Service {
        self.bound.service()
    }

    /// Its real servers.
    pub(crate) fn servers(&self) -> &'a Servers {
        &self.bound.common.servers
    }

    /// The context that a call of `schedule()` for the service has.
    pub(crate) fn call<'g>(&self, rcu: ReadSide<'g>) -> SchedContext<'g, T>
    where
        'a: 'g,
    {
        SchedContext {
            service: self.service(),
            bound: self.bound,
            rcu,
        }
    }

    /// The service's work item: if it is queued, [`Scheduler::work()`] is called.
    pub(crate) fn work(&self) -> &'a Work {
        &self.bound.common.work
    }
}

/// The number under which the pernet core keeps our slot in each namespace, set by
/// `register_pernet_subsys()`. It is 0 before the first registration; a registration that fails
/// leaves the number behind, and the module is not loaded then.
pub(super) static ID: AtomicU32 = AtomicU32::new(0);

/// The slot of a namespace: memory of the size of a pointer, which the pernet core allocates before
/// `init_net()` and frees after the exits of all subsystems. Any context.
///
/// # Safety
///
/// `net` is live during `'a`.
pub(super) unsafe fn slot<'a>(net: *mut bindings::net) -> Option<&'a AtomicPtr<c_void>> {
    let id = ID.load(Ordering::Relaxed);
    if id == 0 {
        return None;
    }
    // SAFETY: The caller promises a live namespace, and `id` came from the pernet core.
    let memory = unsafe { bindings::lblc_rs_net_generic(net, id) };
    // SAFETY: `memory` is null, or was allocated by the pernet core with `kzalloc()`: aligned at
    // least to a pointer, zeroed, and only used through this function.
    unsafe { memory.cast::<AtomicPtr<c_void>>().as_ref() }
}
