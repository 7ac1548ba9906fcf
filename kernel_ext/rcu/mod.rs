// SPDX-License-Identifier: GPL-2.0

//! Read-copy-update: what the kernel crate lacks.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h).

use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    types::Opaque, //
};

mod buckets;
pub(crate) mod hash_list;
mod platform;
mod rebuild;
mod writer;

pub(crate) use platform::NodeBox;

/// Evidence that the caller is in an RCU read-side critical section for the whole of `'g`.
///
/// The kernel crate's `rcu::Guard` enters a section. This type stands for one that C code has
/// entered, as the netfilter hooks do around `schedule()`. It has no size.
#[derive(Clone, Copy)]
pub(crate) struct ReadSide<'g>(PhantomData<(&'g (), *mut ())>);

impl<'g> ReadSide<'g> {
    /// The section of `guard`.
    pub(crate) fn of(_guard: &'g kernel::sync::rcu::Guard) -> Self {
        Self(PhantomData)
    }

    /// Relies on the caller.
    ///
    /// # Safety
    ///
    /// For the whole of `'g` the current context must stay in one RCU read-side critical
    /// section, or hold the lock under which the data that it reads is changed.
    pub(crate) unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// A `struct rcu_head` inside an object that is freed through it.
#[repr(transparent)]
pub(crate) struct Head(Opaque<bindings::callback_head>);

// SAFETY: A head is tied to no thread: RCU may run the callback on any CPU.
unsafe impl Send for Head {}
// SAFETY: `Head` has no method that takes `&self`.
unsafe impl Sync for Head {}

impl Head {
    /// A head that is not queued.
    pub(crate) const fn new() -> Self {
        Self(Opaque::uninit())
    }
}

/// An object with an RCU head, through which it can be freed.
///
/// # Safety
///
/// `HEAD` must be the offset of a [`Head`] in `Self` that only [`drop_after_grace_period()`]
/// queues.
pub(crate) unsafe trait Deferred: Sized + Send + 'static {
    /// The offset in bytes.
    const HEAD: usize;
}

/// Drops `object` after a grace period, in softirq context. Any context; does not sleep.
///
/// # Safety
///
/// - `object` must have come from `KBox::into_raw()`, and must be unreachable for new readers.
/// - Earlier readers must use it in RCU read-side critical sections only, and nothing else may free
///   it.
pub(crate) unsafe fn drop_after_grace_period<T: Deferred>(object: *mut T) {
    /// # Safety
    ///
    /// Must be called by RCU, with the head that `call_rcu()` got below.
    unsafe extern "C" fn free<T: Deferred>(head: *mut bindings::callback_head) {
        // SAFETY: `head` is `T::HEAD` bytes into the object.
        let object = unsafe { head.byte_sub(T::HEAD) }.cast::<T>();
        // SAFETY: `object` came from `KBox::into_raw()`, as the caller of
        // `drop_after_grace_period()` promised. A grace period has passed since it became
        // unreachable, so no reader uses it.
        drop(unsafe { KBox::from_raw(object) });
    }

    // SAFETY: By the contract of `Deferred` there is a head `HEAD` bytes into the object, which
    // lives until `free` runs, and which the caller promises to queue once. The module's `Barrier`
    // waits for `free` before the module's code is unloaded.
    unsafe { bindings::call_rcu(object.byte_add(T::HEAD).cast(), Some(free::<T>)) };
}

/// Waits for a grace period: until all read-side critical sections that are running now have ended.
/// Process context, sleeps. (7.2's kernel crate has no `synchronize_rcu()`.)
pub(crate) fn synchronize() {
    // SAFETY: The only condition of `synchronize_rcu()` is a context that may sleep.
    unsafe { bindings::synchronize_rcu() };
}

/// Waits, when dropped, until every RCU callback that this module queued has run. Must be the last
/// field of the module to be dropped, as the callbacks are code of the module.
pub(crate) struct Barrier;

impl Drop for Barrier {
    fn drop(&mut self) {
        // SAFETY: `rcu_barrier()` may sleep, and a module is dropped in process context.
        unsafe { bindings::rcu_barrier() };
    }
}
