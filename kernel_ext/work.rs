// SPDX-License-Identifier: GPL-2.0

//! Work in process context, on a queue of the module's own: the queue can be emptied before the
//! module's text goes, which the system's queues cannot.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h).

use crate::bindings;
use core::{
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{prelude::*, sync::LockClassKey, types::Opaque};

/// The queue, as long as there is one.
static QUEUE: AtomicPtr<bindings::workqueue_struct> = AtomicPtr::new(null_mut());

fn queue() -> *mut bindings::workqueue_struct {
    QUEUE.load(Ordering::Acquire)
}

/// The queue, from creation to drop.
pub(crate) struct Queue;

impl Queue {
    /// Makes the queue. Process context. Fails with `ENOMEM`, or `EBUSY` if there is one.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: An FFI call; the name has no `%`.
        let new = unsafe { bindings::lblc_rs_alloc_workqueue(c"ip_vs_lblc_rs".as_char_ptr()) };
        if new.is_null() {
            return Err(ENOMEM);
        }
        let free = Ordering::Relaxed;
        match QUEUE.compare_exchange(null_mut(), new, Ordering::Release, free) {
            Ok(_) => Ok(Self),
            Err(_) => {
                // SAFETY: It is whole, and nobody has seen it.
                unsafe { bindings::destroy_workqueue(new) };
                Err(EBUSY)
            }
        }
    }
}

impl Drop for Queue {
    /// Waits for what was put on the queue, also by [`RcuWork`]s whose grace period has not passed.
    fn drop(&mut self) {
        // SAFETY: An FFI call; a module is dropped in process context.
        unsafe { bindings::rcu_barrier() };
        let queue = QUEUE.swap(null_mut(), Ordering::AcqRel);
        // SAFETY: It is the queue that `new()` made; who could queue anything is gone.
        unsafe { bindings::destroy_workqueue(queue) };
    }
}

/// Lets others run, if they want. Process context, without a lock.
pub(crate) fn cond_resched() {
    // SAFETY: An FFI call; the caller may sleep.
    unsafe { bindings::lblc_rs_cond_resched() };
}

/// The C function of a work item, called in process context with a pointer to that item.
pub(crate) type Handler = unsafe extern "C" fn(*mut bindings::work_struct);

/// A `struct work_struct` inside a larger, pinned object: runs as often as it was queued since it
/// last began, once, and never twice at the same time.
///
/// # Invariants
///
/// `inner` was initialised and is pinned.
#[pin_data]
#[repr(transparent)]
pub(crate) struct Work {
    #[pin]
    inner: Opaque<bindings::work_struct>,
}

// SAFETY: A work item is not tied to a thread; the queue has locks of its own.
unsafe impl Send for Work {}
// SAFETY: As above: all methods may be called from anywhere at once.
unsafe impl Sync for Work {}

impl Work {
    /// Makes an item that is not queued.
    ///
    /// # Safety
    ///
    /// An item that may have been queued must be disabled before its memory, or anything that
    /// `handler` uses, goes away.
    pub(crate) unsafe fn new(
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        handler: Handler,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            // SAFETY: `slot` is memory for an item; the rest is static.
            inner <- Opaque::ffi_init(move |slot| unsafe { init(slot, name, key, handler) }),
        })
    }

    /// Lets the handler run soon. Any context. Does nothing after [`disable()`](Self::disable).
    pub(crate) fn queue(&self) {
        let (cpu, queue) = (bindings::wq_misc_consts_WORK_CPU_UNBOUND, queue());
        if !queue.is_null() {
            // SAFETY: By the type invariants the item is initialised. The queue is there as long as
            // anybody may use it: the module drops it after its scheduler, and waits for late readers.
            unsafe { bindings::queue_work_on(cpu as c_int, queue, self.inner.get()) };
        }
    }

    /// Takes the item off the queue for good and waits for a running handler. Process context, may
    /// sleep; the caller must hold no lock that the handler takes.
    pub(crate) fn disable(&self) {
        // SAFETY: By the type invariants the item is initialised.
        unsafe { bindings::disable_work_sync(self.inner.get()) };
    }
}

/// A `struct rcu_work` inside a larger, pinned object: what is to be done with that object when its
/// readers have gone.
///
/// # Invariants
///
/// `inner` was initialised and is pinned.
#[pin_data]
#[repr(transparent)]
pub(crate) struct RcuWork {
    #[pin]
    inner: Opaque<bindings::rcu_work>,
}

// SAFETY: As for `Work`.
unsafe impl Send for RcuWork {}
// SAFETY: As for `Work`.
unsafe impl Sync for RcuWork {}

impl RcuWork {
    /// Makes an item that is not queued. The handler gets a pointer to it: a `RcuWork` begins with
    /// its `work_struct`.
    pub(crate) fn new(
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        handler: Handler,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            // SAFETY: `slot` is memory for an item; the rest is static.
            inner <- Opaque::ffi_init(move |slot: *mut bindings::rcu_work| unsafe {
                init(&raw mut (*slot).work, name, key, handler);
            }),
        })
    }

    /// Lets the handler run once a grace period has passed. Any context.
    ///
    /// # Safety
    ///
    /// The object that holds this stays in place until the handler is called, which may free it, and
    /// this is called once.
    pub(crate) unsafe fn queue_after_grace_period(&self) {
        // SAFETY: By the type invariants it is initialised, and the caller lets it live.
        unsafe { bindings::queue_rcu_work(queue(), self.inner.get()) };
    }
}

/// C: `INIT_WORK()`.
///
/// # Safety
///
/// `slot` is memory for a work item.
unsafe fn init(
    slot: *mut bindings::work_struct,
    name: &'static CStr,
    key: Pin<&'static LockClassKey>,
    handler: Handler,
) {
    // SAFETY: The caller promises the memory; name and key are static.
    unsafe {
        let name = name.as_char_ptr();
        bindings::init_work_with_key(slot, Some(handler), false, name, key.as_ptr());
    }
}
