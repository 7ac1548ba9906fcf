// SPDX-License-Identifier: GPL-2.0

//! What `hash_list.rs` and `buckets.rs` need of the kernel. It is all that they see, so that
//! `tests/loom` can put other atomics, locks and grace periods in this place.

use super::buckets::Node;
use crate::{bindings, slab::Slab};
use core::pin::Pin;
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        lock::{Backend, Guard, Lock},
        rcu,
    },
};

pub(super) use super::{synchronize, ReadSide};
pub(super) use core::cell::Cell;
pub(super) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
pub(super) use kernel::{
    alloc::{AllocError, KBox},
    sync::rcu::read_lock,
};

pub(super) use crate::{slab::SIZE as NODE_SIZE, work::cond_resched};

/// A read-side critical section that was entered by [`read_lock()`].
pub(super) type Section = rcu::Guard;

/// An entry that is ours alone.
pub(crate) type NodeBox<T> = kernel::alloc::Box<Node<T>, Slab>;

/// The array of chains.
pub(super) type Heads<T> = KVVec<AtomicPtr<Node<T>>>;

/// Allocates one object. Process context.
pub(super) fn allocate<T>(object: T) -> Result<KBox<T>, AllocError> {
    KBox::new(object, GFP_KERNEL_ACCOUNT)
}

/// Allocates `number` empty chains. Process context.
pub(super) fn heads<T>(number: usize) -> Result<Heads<T>, AllocError> {
    // SAFETY: An FFI call; the caller may sleep.
    let heads = unsafe { bindings::lblc_rs_alloc_heads(number) };
    if heads.is_null() {
        return Err(AllocError);
    }
    // SAFETY: `heads` came from `kvcalloc()`, so from what `KVmalloc` allocates with, for `number`
    // pointers. They are zeroed, which is a null `AtomicPtr`.
    Ok(unsafe { KVVec::from_raw_parts(heads.cast(), number, number) })
}

/// The number of locks over an array of chains.
const LOCKS: usize = 16;

/// One lock, on a cache line of its own.
#[pin_data]
#[repr(align(64))]
struct Padded {
    #[pin]
    lock: Lock<(), SpinLockBh>,
}

/// The locks over an array of chains.
pub(super) struct Locks(Pin<KBox<[Padded; LOCKS]>>);

/// A lock that is held.
pub(super) type Held<'a> = Guard<'a, (), SpinLockBh>;

impl Locks {
    /// Makes the locks of an array that uses link `link`. Those of link 0 may be held while one of
    /// link 1 is taken. Process context.
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

    /// Takes the lock of chain `number`. Any context but hard interrupt; spins, and holds bottom
    /// halves off.
    #[inline]
    pub(super) fn lock(&self, number: usize) -> Held<'_> {
        self.0[number % LOCKS].lock.lock()
    }
}

/// A spinlock taken with bottom halves off (`spin_lock_bh()`), as a backend of the kernel crate's
/// [`Lock`].
pub(super) struct SpinLockBh;

// SAFETY: `spin_lock_bh()` gives mutual exclusion between all contexts but hard interrupts;
// `relock` is the default, which calls `lock`.
unsafe impl Backend for SpinLockBh {
    type State = bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: The caller promises memory for the lock and static `name` and `key`.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: The caller promises an initialised lock.
        unsafe { bindings::lblc_rs_spin_lock_bh(ptr) }
    }

    unsafe fn unlock(ptr: *mut Self::State, (): &()) {
        // SAFETY: The caller promises that it holds the lock.
        unsafe { bindings::lblc_rs_spin_unlock_bh(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: The caller promises an initialised lock.
        unsafe { bindings::lblc_rs_spin_trylock_bh(ptr) }.then_some(())
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The caller promises an initialised lock.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}
