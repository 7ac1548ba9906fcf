// SPDX-License-Identifier: GPL-2.0

//! Work in process context, on a workqueue of the module's own: it can be drained before the
//! module's code is unloaded, which the system's workqueues cannot.
//!
//! The life of a [`Work`], which is a timer and a work item in one (C: `struct delayed_work`):
//!
//! ```text
//!                queue_in()            expiry             workqueue
//!   new() ──> idle ──> timer pending ────────> queued ──────────────> handler runs
//!              └────────────── queue() ──────────┘
//!   disable(): neither queue_in() nor queue() does anything until enable()
//! ```
//!
//! The kernel crate's `workqueue` is not used: it owns what it queues, cannot disable an item, and
//! has neither `alloc_workqueue()` nor `struct rcu_work`.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h).

use crate::bindings;
use core::{
    ptr::null_mut,
    sync::atomic::{
        AtomicBool,
        AtomicPtr,
        Ordering, //
    }, //
};
use kernel::{
    prelude::*,
    sync::LockClassKey,
    time::Jiffies,
    types::Opaque, //
};

/// The workqueue, or null before [`Queue::new()`] and after its drop.
static QUEUE: AtomicPtr<bindings::workqueue_struct> = AtomicPtr::new(null_mut());

fn queue() -> *mut bindings::workqueue_struct {
    QUEUE.load(Ordering::Acquire)
}

/// The CPU on which an item runs: any.
const ANY_CPU: c_int = bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int;

/// Owns the workqueue.
pub(crate) struct Queue;

impl Queue {
    /// Allocates the workqueue. Process context. Fails with `ENOMEM`, or `EBUSY` if there is one.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `name` is a C string. C formats it with "%s" and copies it.
        let new = unsafe { bindings::lblc_rs_alloc_workqueue(c"ip_vs_lblc_rs".as_char_ptr()) };
        if new.is_null() {
            return Err(ENOMEM);
        }
        let free = Ordering::Relaxed;
        match QUEUE.compare_exchange(null_mut(), new, Ordering::Release, free) {
            Ok(_) => Ok(Self),
            Err(_) => {
                // SAFETY: `new` was just allocated and was not published, so no item is on it.
                unsafe { bindings::destroy_workqueue(new) };
                Err(EBUSY)
            }
        }
    }
}

impl Drop for Queue {
    /// Waits for all queued items, also for [`RcuWork`] whose grace period has not ended yet.
    /// Process context.
    fn drop(&mut self) {
        // SAFETY: `rcu_barrier()` may sleep, and a module is dropped in process context.
        unsafe { bindings::rcu_barrier() };
        let queue = QUEUE.swap(null_mut(), Ordering::AcqRel);
        // SAFETY: `queue` was allocated by `new()`. Everything that could queue an item on it has
        // been dropped, and the RCU callbacks that queue `RcuWork` have run.
        unsafe { bindings::destroy_workqueue(queue) };
    }
}

/// Lets other tasks run if they are due. Process context, without a spinlock.
pub(crate) fn cond_resched() {
    // SAFETY: The only condition of `cond_resched()` is a context that may sleep.
    unsafe { bindings::lblc_rs_cond_resched() };
}

/// The C function of a work item, called in process context with a pointer to that item.
pub(crate) type Handler = unsafe extern "C" fn(*mut bindings::work_struct);

/// A `struct delayed_work` inside a larger, pinned object. The handler never runs twice at the same
/// time, and runs once however often the item was queued since it last began.
///
/// # Invariants
///
/// `inner` is initialised as `INIT_DELAYED_WORK()` does it, and pinned.
#[pin_data]
#[repr(C)]
pub(crate) struct Work {
    #[pin]
    inner: Opaque<bindings::delayed_work>,
    /// Set by [`queue()`](Self::queue), cleared when the handler begins.
    queued: AtomicBool,
}

// SAFETY: A work item belongs to no thread: timers and workqueues have locks of their own.
unsafe impl Send for Work {}
// SAFETY: All methods may be called on several CPUs at once, as the C functions that they call may.
unsafe impl Sync for Work {}

impl Work {
    /// Initialises an item that is not queued. The handler gets a pointer to it: a `Work` begins
    /// with its `work_struct`. It must call [`begin()`](Self::begin) first. Any context. C:
    /// `INIT_DELAYED_WORK()`.
    ///
    /// # Safety
    ///
    /// If the item may have been queued, [`disable()`](Self::disable) must be called before its
    /// memory, or anything that `handler` uses, is freed.
    pub(crate) unsafe fn new(
        name: &'static CStr,
        keys: [Pin<&'static LockClassKey>; 2],
        handler: Handler,
    ) -> impl PinInit<Self> {
        let [work_key, timer_key] = keys;
        pin_init!(Self {
            // INVARIANT: `ffi_init()` initialises the work item and its timer.
            inner <- Opaque::ffi_init(move |slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is valid for writes; `name` and the keys are static. The timer's
                // function is the one that `queue_delayed_work_on()` demands, with the flag that it
                // demands, and `slot.timer` is in a `delayed_work`, as that function demands.
                unsafe {
                    init(&raw mut (*slot).work, name, work_key, handler);
                    bindings::timer_init_key(
                        &raw mut (*slot).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        name.as_char_ptr(),
                        timer_key.as_ptr(),
                    );
                }
            }),
            queued: AtomicBool::new(false),
        })
    }

    /// Lets the handler run soon. Any context; costs one atomic exchange if it is about to run
    /// anyway. Does nothing while the item is disabled.
    pub(crate) fn queue(&self) {
        let queue = queue();
        // Release pairs with the acquire in `begin()`: a handler that begins later, because of this
        // call or an earlier one, sees what the caller has written.
        if !queue.is_null() && !self.queued.swap(true, Ordering::Release) {
            // SAFETY: By the type invariants `inner` is an initialised `delayed_work`. `queue` is
            // destroyed after the last call: the module drops it after its scheduler, which waits
            // for late readers, and its destruction waits for running handlers.
            unsafe { bindings::mod_delayed_work_on(ANY_CPU, queue, self.inner.get(), 0) };
        }
    }

    /// Lets the handler run in `delay` jiffies, unless it is queued already. Any context. Does
    /// nothing while the item is disabled.
    pub(crate) fn queue_in(&self, delay: Jiffies) {
        let queue = queue();
        if !queue.is_null() {
            // SAFETY: As in `queue()`.
            unsafe { bindings::queue_delayed_work_on(ANY_CPU, queue, self.inner.get(), delay) };
        }
    }

    /// Notes that the handler begins: a later call of [`queue()`](Self::queue) makes it run once
    /// more. Process context, called by the handler.
    pub(crate) fn begin(&self) {
        self.queued.swap(false, Ordering::Acquire);
    }

    /// Reverts a [`disable()`](Self::disable). Process context.
    pub(crate) fn enable(&self) {
        // SAFETY: By the type invariants `inner` is an initialised `delayed_work`.
        unsafe { bindings::enable_delayed_work(self.inner.get()) };
        // A call of `queue()` while the item was disabled has queued nothing. One that comes
        // between these two lines has, and then the handler may run once more than needed.
        self.queued.store(false, Ordering::Release);
    }

    /// Stops the timer, takes the item off the workqueue, until it is enabled again, and waits for
    /// a running handler. Process context, may sleep; the caller must hold no lock that the handler
    /// takes.
    pub(crate) fn disable(&self) {
        // SAFETY: By the type invariants `inner` is an initialised `delayed_work`.
        unsafe { bindings::disable_delayed_work_sync(self.inner.get()) };
    }
}

/// A `struct rcu_work` inside a larger, pinned object: its handler runs once all readers of that
/// object are done.
///
/// # Invariants
///
/// `inner.work` is initialised as `INIT_RCU_WORK()` does it, and pinned.
#[pin_data]
#[repr(transparent)]
pub(crate) struct RcuWork {
    #[pin]
    inner: Opaque<bindings::rcu_work>,
}

// SAFETY: A work item belongs to no thread: RCU and workqueues have locks of their own.
unsafe impl Send for RcuWork {}
// SAFETY: The only method with `&self` is unsafe, and its caller promises to call it once.
unsafe impl Sync for RcuWork {}

impl RcuWork {
    /// Initialises an item that is not queued. The handler gets a pointer to it: an `RcuWork`
    /// begins with its `work_struct`. Any context. C: `INIT_RCU_WORK()`.
    pub(crate) fn new(
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        handler: Handler,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: `ffi_init()` initialises the work item; `queue_rcu_work()` sets the rest.
            // SAFETY: `slot` is valid for writes; `name` and `key` are static.
            inner <- Opaque::ffi_init(move |slot: *mut bindings::rcu_work| unsafe {
                init(&raw mut (*slot).work, name, key, handler);
            }),
        })
    }

    /// Lets the handler run once a grace period has passed. Any context.
    ///
    /// # Safety
    ///
    /// The object that holds this item must stay in place until the handler is called, which may
    /// free it. This function must be called once.
    pub(crate) unsafe fn queue_after_grace_period(&self) {
        // SAFETY: By the type invariants `inner.work` is initialised, and the caller promises that
        // `inner` stays in place. `queue()` is valid as in `Work::queue()`.
        unsafe { bindings::queue_rcu_work(queue(), self.inner.get()) };
    }
}

/// C: `INIT_WORK()`.
///
/// # Safety
///
/// `slot` is valid for writes, and becomes part of a pinned object.
unsafe fn init(
    slot: *mut bindings::work_struct,
    name: &'static CStr,
    key: Pin<&'static LockClassKey>,
    handler: Handler,
) {
    let name = name.as_char_ptr();
    // SAFETY: The caller promises that `slot` is valid; `name` and `key` are static.
    unsafe { bindings::init_work_with_key(slot, Some(handler), false, name, key.as_ptr()) };
}
