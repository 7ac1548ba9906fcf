// SPDX-License-Identifier: GPL-2.0

//! Hash buckets of RCU-protected lists: `hlist_head`s whose chains are walked by readers without a
//! lock and changed by one writer at a time.
//!
//! The life of an entry:
//!
//! ```text
//!  Entry::new() ──> allocated ── insert() ──> hashed ── remove_if() ──> unhashed
//!                   (ours alone)              (readers find it)         (earlier readers still see it)
//!                                                                            │ grace period
//!                                              value dropped, freed <────────┘
//! ```
//!
//! The chains are forward links only: a writer that removes has walked there from the bucket.
//!
//! Lock order: the lock here is innermost; it is taken with bottom halves off, since readers and the
//! collector run in softirq.
//!
//! C header: [`include/linux/rculist.h`](srctree/include/linux/rculist.h).

use super::{Deferred, Head, ReadSide};
use crate::bindings;
use core::{
    mem::offset_of,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{
    prelude::*,
    sync::{
        lock::{Backend, Guard, Lock},
        LockClassKey,
    },
};

/// The value of type `T`, ready to be hashed.
pub(crate) struct Entry<T> {
    next: AtomicPtr<Entry<T>>,
    rcu: Head,
    value: T,
}

// SAFETY: `rcu` is private and queued only by `Writer::remove_if()`, once an entry.
unsafe impl<T: Send + 'static> Deferred for Entry<T> {
    const HEAD: usize = offset_of!(Self, rcu);
}

impl<T> Entry<T> {
    /// Wraps `value`.
    pub(crate) fn new(value: T) -> Self {
        Self {
            next: AtomicPtr::new(null_mut()),
            rcu: Head::new(),
            value,
        }
    }
}

/// A fixed number of buckets, and what the writer's lock protects besides the chains.
///
/// # Invariants
///
/// Every non-null link, in `buckets` and in entries reachable from there, points to an entry made by
/// `KBox::into_raw()`. Links change only under `lock`. An entry is freed no earlier than a grace
/// period after it was unlinked, and its own link is left as it was until then.
#[pin_data(PinnedDrop)]
pub(crate) struct HashList<T: Send + Sync + 'static, S> {
    buckets: KVec<AtomicPtr<Entry<T>>>,
    #[pin]
    lock: Lock<S, SpinLockBh>,
}

// SAFETY: It owns its entries, and these may be dropped by another thread (`T: Send`).
unsafe impl<T: Send + Sync + 'static, S: Send> Send for HashList<T, S> {}
// SAFETY: Readers on several CPUs share `&T`, which is `Sync`; writers are serialised by the lock.
unsafe impl<T: Send + Sync + 'static, S: Send> Sync for HashList<T, S> {}

impl<T: Send + Sync + 'static, S> HashList<T, S> {
    /// Makes `buckets` empty buckets. Process context; fails with `ENOMEM`.
    pub(crate) fn new(
        buckets: usize,
        state: S,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            buckets: {
                let mut heads = KVec::with_capacity(buckets, GFP_KERNEL)?;
                for _ in 0..buckets {
                    heads.push(AtomicPtr::new(null_mut()), GFP_KERNEL)?;
                }
                heads
            },
            lock <- Lock::new(state, name, key),
        })
    }

    /// Walks the chain of `bucket`; one that does not exist is empty. Any context. Takes no lock; sees
    /// an entry that is inserted or removed meanwhile, or not.
    #[inline(always)]
    pub(crate) fn walk<'g>(&'g self, bucket: usize, _rcu: ReadSide<'g>) -> Chain<'g, T> {
        let head = self.buckets.get(bucket);
        Chain {
            // Acquire pairs with the release in `insert()`: who sees the link sees the entry.
            next: head.map_or(null_mut(), |head| head.load(Ordering::Acquire)),
            _readers: core::marker::PhantomData,
        }
    }

    /// Becomes the writer. Any context but hard interrupt; spins with bottom halves off.
    pub(crate) fn lock(&self) -> Writer<'_, T, S> {
        Writer {
            buckets: &self.buckets,
            state: self.lock.lock(),
        }
    }
}

#[pinned_drop]
impl<T: Send + Sync + 'static, S> PinnedDrop for HashList<T, S> {
    fn drop(self: Pin<&mut Self>) {
        for head in self.buckets.iter() {
            let mut next = head.load(Ordering::Relaxed);
            while !next.is_null() {
                // SAFETY: By the type invariants `next` came from `into_raw()` and is still linked.
                // Dropping means that nobody else can reach the list any more.
                let entry = unsafe { KBox::from_raw(next) };
                next = entry.next.load(Ordering::Relaxed);
            }
        }
    }
}

/// The entries of one bucket, as a reader sees them.
///
/// # Invariants
///
/// `next` is null or an entry that was reachable within the read-side critical section `'g`.
pub(crate) struct Chain<'g, T> {
    next: *mut Entry<T>,
    _readers: core::marker::PhantomData<&'g Entry<T>>,
}

impl<'g, T> Iterator for Chain<'g, T> {
    type Item = &'g T;

    #[inline(always)]
    fn next(&mut self) -> Option<&'g T> {
        // SAFETY: By the type invariants the entry was reachable in this critical section, so it is
        // not freed before the end of `'g`; shared references to it are all there are.
        let entry: &'g Entry<T> = unsafe { self.next.as_ref() }?;
        // Acquire as in `walk()`. INVARIANT: The link of an unlinked entry is left alone, so what
        // it leads to was reachable when this reader was already in its section.
        self.next = entry.next.load(Ordering::Acquire);
        Some(&entry.value)
    }
}

/// The one writer of a list. (The guard is private: swapped with another list's it would unlock that.)
pub(crate) struct Writer<'a, T: Send + Sync + 'static, S> {
    buckets: &'a [AtomicPtr<Entry<T>>],
    state: Guard<'a, S, SpinLockBh>,
}

impl<T: Send + Sync + 'static, S> Writer<'_, T, S> {
    /// What the lock protects besides the chains.
    pub(crate) fn state(&mut self) -> &mut S
    where
        S: Unpin,
    {
        &mut self.state
    }

    /// Walks the chain of `bucket` as it is.
    pub(crate) fn walk(&self, bucket: usize) -> Chain<'_, T> {
        let head = self.buckets.get(bucket);
        // INVARIANT: Entries are unlinked only through `&mut self` of the lock's holder, and `self`
        // is borrowed as long as the chain: as good as a read-side section.
        Chain {
            next: head.map_or(null_mut(), |head| head.load(Ordering::Relaxed)),
            _readers: core::marker::PhantomData,
        }
    }

    /// Puts `entry` at the head of `bucket`'s chain, where readers find it from now on.
    pub(crate) fn insert(&mut self, bucket: usize, entry: KBox<Entry<T>>) {
        // A bucket that does not exist keeps nothing: the entry is dropped.
        let Some(head) = self.buckets.get(bucket) else {
            return;
        };
        entry
            .next
            .store(head.load(Ordering::Relaxed), Ordering::Relaxed);
        // INVARIANT: It came from `into_raw()`. Release: the entry is whole before it is found.
        head.store(KBox::into_raw(entry), Ordering::Release);
    }

    /// Unlinks the entries of `bucket` for which `condemned` says so, and drops each after a grace
    /// period. Returns how many.
    pub(crate) fn remove_if(
        &mut self,
        bucket: usize,
        mut condemned: impl FnMut(&T) -> bool,
    ) -> usize {
        let Some(mut link) = self.buckets.get(bucket) else {
            return 0;
        };
        let mut removed = 0usize;
        loop {
            let next = link.load(Ordering::Relaxed);
            // SAFETY: By the type invariants of `HashList`, `next` is null or a linked entry. Only
            // the holder of the lock, which is us, unlinks, and what is linked is alive; the
            // reference is not used once the entry is handed over below.
            let Some(entry) = (unsafe { next.as_ref() }) else {
                return removed;
            };
            if condemned(&entry.value) {
                // Release as in `insert()`: the entry behind becomes reachable through `link`.
                link.store(entry.next.load(Ordering::Relaxed), Ordering::Release);
                // SAFETY: It came from `into_raw()` and was just unlinked from its only chain under
                // the lock, so it is queued once; readers that saw it are in RCU sections.
                unsafe { super::drop_after_grace_period(next) };
                removed = removed.wrapping_add(1);
            } else {
                link = &entry.next;
            }
        }
    }
}

/// A spinlock taken with bottom halves off (`spin_lock_bh()`), as a backend of the kernel crate's
/// [`Lock`].
pub(crate) struct SpinLockBh;

// SAFETY: `spin_lock_bh()` gives mutual exclusion between all contexts but hard interrupts; `relock`
// is the default, which calls `lock`.
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
