// SPDX-License-Identifier: GPL-2.0

//! Read-copy-update: what the kernel crate lacks.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h).

use crate::bindings;
use core::marker::PhantomData;
use kernel::{prelude::*, types::Opaque};

mod buckets;
pub(crate) mod hash_list;
mod platform;
mod writer;

pub(crate) use platform::NodeBox;

/// Evidence that the caller is in an RCU read-side critical section for the whole of `'g`.
///
/// The kernel crate's `rcu::Guard` enters a section; this says that C has entered one for us, as
/// the netfilter hooks have around `schedule()`. Costs nothing.
#[derive(Clone, Copy)]
pub(crate) struct ReadSide<'g>(PhantomData<(&'g (), *mut ())>);

impl<'g> ReadSide<'g> {
    /// A section that we entered ourselves.
    pub(crate) fn of(_guard: &'g kernel::sync::rcu::Guard) -> Self {
        Self(PhantomData)
    }

    /// Takes C's word for it.
    ///
    /// # Safety
    ///
    /// For the whole of `'g` the current context must stay in one RCU read-side critical
    /// section, or hold the lock under which what it reads is changed.
    pub(crate) unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// A `struct rcu_head` inside the object that it will free.
#[repr(transparent)]
pub(crate) struct Head(Opaque<bindings::callback_head>);

// SAFETY: A head belongs to no thread: `call_rcu()` may run its callback on any CPU.
unsafe impl Send for Head {}
// SAFETY: It has no method that touches it through `&self`.
unsafe impl Sync for Head {}

impl Head {
    /// A head that is not queued.
    pub(crate) const fn new() -> Self {
        Self(Opaque::uninit())
    }
}

/// An object that carries an RCU head and can be freed by it.
///
/// # Safety
///
/// `HEAD` is the offset of a [`Head`] in `Self` that only [`drop_after_grace_period()`] queues.
pub(crate) unsafe trait Deferred: Sized + Send + 'static {
    /// The offset in bytes.
    const HEAD: usize;
}

/// Drops `object` after a grace period, in softirq context. Any context; does not sleep.
///
/// # Safety
///
/// - `object` came from `KBox::into_raw()`, and no new reader can find it any more.
/// - Readers that found it did so in RCU read-side critical sections, and nobody else frees it.
pub(crate) unsafe fn drop_after_grace_period<T: Deferred>(object: *mut T) {
    /// # Safety
    ///
    /// Called by RCU with the head that was queued below.
    unsafe extern "C" fn free<T: Deferred>(head: *mut bindings::callback_head) {
        // SAFETY: `head` is `T::HEAD` bytes into the object.
        let object = unsafe { head.byte_sub(T::HEAD) }.cast::<T>();
        // SAFETY: It came from `into_raw()`. A grace period has passed since it became
        // unreachable, so this is the only pointer to it.
        drop(unsafe { KBox::from_raw(object) });
    }

    // SAFETY: `HEAD` bytes into the object is its head by the trait's contract, alive until `free`.
    // `free` fits the object's type. The caller promises that it is queued once. The module's
    // `Barrier` keeps the text of `free` until all callbacks have run.
    unsafe { bindings::call_rcu(object.byte_add(T::HEAD).cast(), Some(free::<T>)) };
}

/// Waits for a grace period: whoever was in a read-side critical section has left it. Process
/// context, sleeps.
pub(crate) fn synchronize() {
    // SAFETY: An FFI call with no requirement but a context that may sleep.
    unsafe { bindings::synchronize_rcu() };
}

/// Waits, when dropped, until every RCU callback queued by this module has run. It must be the last
/// thing that the module drops: the callbacks are the module's text.
pub(crate) struct Barrier;

impl Drop for Barrier {
    fn drop(&mut self) {
        // SAFETY: An FFI call; a module is dropped in process context.
        unsafe { bindings::rcu_barrier() };
    }
}
