// SPDX-License-Identifier: GPL-2.0

//! All that the four files of the hash list use of the kernel. `tests/loom` replaces this file by
//! one with other atomics, locks and grace periods.

use super::{
    super::slab::Slab,
    buckets::Node, //
};
use crate::bindings;
use core::pin::Pin;
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        lock::{
            Backend,
            Guard,
            Lock, //
        },
        rcu, //
    }, //
};

pub(super) use super::{
    synchronize,
    ReadSide, //
};
pub(super) use core::cell::Cell;
pub(super) use core::sync::atomic::{
    AtomicBool,
    AtomicPtr,
    AtomicUsize,
    Ordering, //
};
pub(super) use kernel::{
    alloc::{
        AllocError,
        KBox, //
    },
    sync::rcu::read_lock, //
};

pub(super) use super::super::{
    slab::SIZE as NODE_SIZE,
    work::cond_resched, //
};

/// A read-side critical section that was entered by [`read_lock()`].
pub(super) type Section = rcu::Guard;

/// An entry with one owner, which readers do not see.
pub(crate) type NodeBox<T> = kernel::alloc::Box<Node<T>, Slab>;

/// The heads of an array of buckets.
pub(super) type Heads<T> = KVVec<AtomicPtr<Node<T>>>;

/// Allocates one object. Process context.
pub(super) fn allocate<T>(object: T) -> Result<KBox<T>, AllocError> {
    KBox::new(object, GFP_KERNEL_ACCOUNT)
}

/// Allocates the heads of `number` empty buckets. Process context.
pub(super) fn heads<T>(number: usize) -> Result<Heads<T>, AllocError> {
    // SAFETY: `kvcalloc()` with `GFP_KERNEL` may sleep, and this is process context.
    let heads = unsafe { bindings::lblc_rs_alloc_heads(number) };
    if heads.is_null() {
        return Err(AllocError);
    }
    // SAFETY: `heads` came from `kvcalloc()`, so from what `KVmalloc` allocates with, for `number`
    // pointers. They are zeroed, which is a null `AtomicPtr`.
    Ok(unsafe { KVVec::from_raw_parts(heads.cast(), number, number) })
}

/// The number of locks for an array of buckets.
const LOCKS: usize = 16;

/// A lock on a cache line of its own.
#[pin_data]
#[repr(align(64))]
struct Padded {
    #[pin]
    lock: Lock<(), SpinLockBh>,
}

/// The locks for an array of buckets: bucket `n` has lock `n % LOCKS`.
pub(super) struct Locks(Pin<KBox<[Padded; LOCKS]>>);

/// A lock that is held.
pub(super) type Held<'a> = Guard<'a, (), SpinLockBh>;

impl Locks {
    /// Initialises the locks of an array that uses link `link`. A lock of an array with link 1 may
    /// be taken while one of an array with link 0 is held. Process context.
    pub(super) fn new(link: usize) -> Result<Self, AllocError> {
        let class = [static_lock_class!(), static_lock_class!()][link & 1];
        let name = [c"lblc_rs_bucket0", c"lblc_rs_bucket1"][link & 1];
        let locks = KBox::pin_init(
            pin_init::pin_init_array_from_fn(|_| {
                pin_init!(Padded {
                    lock <- Lock::new((), name, class),
                })
            }),
            GFP_KERNEL_ACCOUNT,
        );
        locks.map(Self).map_err(|_| AllocError)
    }

    /// Takes the lock of bucket `number`. Any context but hard interrupt; spins, and disables
    /// bottom halves.
    #[inline]
    pub(super) fn lock(&self, number: usize) -> Held<'_> {
        self.0[number % LOCKS].lock.lock()
    }
}

/// A spinlock that disables bottom halves (`spin_lock_bh()`), as a backend of the kernel crate's
/// [`Lock`].
pub(super) struct SpinLockBh;

// SAFETY: Between `lock()` and `unlock()` no other context owns the lock: `spin_lock_bh()` excludes
// all but hard interrupts, in which it is not taken. `relock()` is the default, which calls
// `lock()`.
unsafe impl Backend for SpinLockBh {
    type State = bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: The caller promises that `ptr` is valid for writes, and that `name` and `key` are
        // static.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: The caller promises that `ptr` is an initialised lock.
        unsafe { bindings::lblc_rs_spin_lock_bh(ptr) }
    }

    unsafe fn unlock(ptr: *mut Self::State, (): &()) {
        // SAFETY: The caller promises that `ptr` is an initialised lock, and held by the caller.
        unsafe { bindings::lblc_rs_spin_unlock_bh(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: The caller promises that `ptr` is an initialised lock.
        unsafe { bindings::lblc_rs_spin_trylock_bh(ptr) }.then_some(())
    }

    /// Does nothing without lockdep, as in C, but there the call of a helper would remain.
    unsafe fn assert_is_held(_ptr: *mut Self::State) {
        #[cfg(CONFIG_LOCKDEP)]
        // SAFETY: The caller promises that `_ptr` is an initialised lock.
        unsafe {
            bindings::spin_assert_is_held(_ptr)
        }
    }
}
