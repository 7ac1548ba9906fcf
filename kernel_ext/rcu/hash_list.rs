// SPDX-License-Identifier: GPL-2.0

//! A hash table of RCU-protected lists that can be rebuilt under its readers, with another size or
//! another hash key. Readers take no lock, walk one chain, and never retry.
//!
//! The life of an entry:
//!
//! ```text
//!  Node::new() ──> allocated ── insert() ──> hashed ── remove() ──> in limbo
//!                   (not shared)              (readers find it)    (earlier readers may use it)
//!                                                                       │ reclaim(): grace period
//!                                          value dropped, freed <───────┘
//! ```
//!
//! Limbo is the list of entries that were removed and may still have readers (the limbo lists of
//! K. Fraser, "Practical lock-freedom", 2004). `reclaim()` takes all of it, waits for one grace
//! period, and frees the entries in process context. Each entry needs one link for that, where
//! `call_rcu()` needs a `struct rcu_head`.
//!
//! Each entry has two links, and each array of buckets uses one of them. So an entry can be in the
//! current array and in the future one, which uses the other link and will replace it. `rebuild()`
//! announces the future array, waits for a grace period, links the older entries into it, one after
//! the other, publishes it, waits again, and frees the old array. Between the two grace periods
//! every writer changes both arrays. (`docs/table.md` has a drawing.)
//!
//! Lock order: a lock of an array with link 0, then one of an array with link 1. These are the
//! innermost locks of the module.
//!
//! C header: [`include/linux/rculist.h`](srctree/include/linux/rculist.h).

use super::{
    buckets::{
        Buckets,
        Chain, //
    },
    platform::{
        cond_resched,
        read_lock,
        synchronize,
        AllocError,
        AtomicBool,
        AtomicPtr,
        AtomicUsize,
        KBox,
        NodeBox,
        Ordering,
        ReadSide, //
    },
    writer::Writer, //
};
use core::{
    mem::offset_of,
    ops::Range,
    ptr::null_mut, //
};

pub(crate) use super::buckets::{
    Item,
    Node, //
};

/// The table.
///
/// # Invariants
///
/// `current` came from `KBox::into_raw()`, as did its `future` if that is not null. An array is
/// freed a grace period after it was replaced as `current`. A hashed entry is in a chain of
/// `current`; it may also be in `future`, and in the array that `current` replaced less than a
/// grace period ago, but in no other. An entry is put into limbo once, when it is unlinked from
/// `current`.
pub(crate) struct HashList<T: Item> {
    pub(super) current: AtomicPtr<Buckets<T>>,
    pub(super) changes: Changes<T>,
    /// Set when the table will be dropped soon, so that long operations end early.
    cancelled: AtomicBool,
    /// Set while `rebuild()` runs.
    pub(super) rebuilding: AtomicBool,
}

/// The fields that each insertion and each removal writes, on a cache line of their own: each
/// lookup reads `current`.
#[repr(align(64))]
pub(super) struct Changes<T> {
    pub(super) entries: AtomicUsize,
    pub(super) limbo: AtomicPtr<Node<T>>,
    pub(super) in_limbo: AtomicUsize,
}

// SAFETY: A table owns its entries, and these may be dropped by another thread (`T: Send`).
unsafe impl<T: Item> Send for HashList<T> {}
// SAFETY: Readers on several CPUs share `&T`, which is `Sync`; writers are serialised by locks.
unsafe impl<T: Item> Sync for HashList<T> {}

impl<T: Item> HashList<T> {
    /// `changes` does not share the cache line of `current`.
    const LAYOUT: () = {
        let (current, changes) = (offset_of!(Self, current), offset_of!(Self, changes));
        assert!(align_of::<Self>() % 64 == 0 && size_of::<Changes<T>>() % 64 == 0);
        assert!(changes % 64 == 0 && current / 64 != changes / 64);
    };

    /// An empty table with `1 << bits` buckets. Process context; fails if memory is short or `bits`
    /// is not in `1..32`.
    pub(crate) fn new(bits: u32, hash: T::Hash) -> Result<Self, AllocError> {
        let () = Self::LAYOUT;
        let buckets = Buckets::new(bits, hash, 0)?;
        // INVARIANT: `current` comes from `into_raw()`, without a future array, and has no entry.
        Ok(Self {
            current: AtomicPtr::new(KBox::into_raw(buckets)),
            changes: Changes {
                entries: AtomicUsize::new(0),
                limbo: AtomicPtr::new(null_mut()),
                in_limbo: AtomicUsize::new(0),
            },
            cancelled: AtomicBool::new(false),
            rebuilding: AtomicBool::new(false),
        })
    }

    #[inline(always)]
    fn current<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Buckets<T> {
        // Acquire pairs with the release in `rebuild_alone()`: a reader that sees the pointer sees
        // every entry of the array.
        // SAFETY: By the type invariants `current` is valid, and not freed before the end of `'g`.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// The item with this hash for which `is_it` is true. Any context; takes no lock. May or may
    /// not find one that is inserted or removed at the same time.
    #[inline(always)]
    pub(crate) fn find<'g>(
        &'g self,
        hash: impl FnOnce(&T::Hash) -> u64,
        is_it: impl Fn(&T) -> bool,
        rcu: ReadSide<'g>,
    ) -> Option<&'g T> {
        let buckets = self.current(rcu);
        let head = buckets.head(hash(&buckets.hash));
        // As `Chain`, but a link is not read before it is needed. Acquire as in `Buckets::chain()`.
        let mut next = head.load(Ordering::Acquire);
        loop {
            // SAFETY: As in `Chain::next()`.
            let entry: &'g Node<T> = unsafe { next.as_ref() }?;
            if is_it(&entry.item) {
                return Some(&entry.item);
            }
            next = entry.next[buckets.link & 1].load(Ordering::Relaxed);
        }
    }

    /// The number of entries. Any context; a plain load.
    pub(crate) fn len(&self) -> usize {
        self.changes.entries.load(Ordering::Relaxed)
    }

    /// The number of entries that were removed and not yet freed. Any context; a plain load.
    pub(crate) fn in_limbo(&self) -> usize {
        self.changes.in_limbo.load(Ordering::Relaxed)
    }

    /// Makes `visit()` and `rebuild()` return soon. Any context.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Reverts `cancel()`, when the calls that were to return have returned. Any context.
    pub(crate) fn resume(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Whether `cancel()` was called, and not `resume()` since. Any context; a plain load.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The number of buckets. Any context.
    pub(crate) fn buckets(&self, rcu: ReadSide<'_>) -> usize {
        self.current(rcu).heads.len()
    }

    /// Locks the buckets of this hash. Any context but hard interrupt; spins with bottom halves
    /// off.
    pub(crate) fn lock<'g>(
        &'g self,
        hash: impl Fn(&T::Hash) -> u64,
        rcu: ReadSide<'g>,
    ) -> Writer<'g, T> {
        loop {
            let current = self.current(rcu);
            // Acquire pairs with the release in `rebuild_alone()`: a writer that sees the pointer
            // sees the initialised array.
            let next = current.future.load(Ordering::Acquire);
            // SAFETY: By the type invariants `next` is null, or valid and not freed before the end
            // of `'g`.
            let future = unsafe { next.as_ref() };
            let at = hash(&current.hash);
            let future = future.map(|buckets| (buckets, hash(&buckets.hash)));
            let lock_future = || future.map(|(buckets, at)| buckets.lock(at));
            let (bucket, future) = if current.link == 0 {
                let first = current.lock(at);
                (first, lock_future())
            } else {
                let future = lock_future();
                (current.lock(at), future)
            };
            // Before the locks were taken, the array may have been replaced, or a future array
            // announced or cancelled. Relaxed: a writer that has seen that and has changed this
            // bucket has since released one of these locks, so its view is visible here.
            let same = core::ptr::eq(self.current.load(Ordering::Relaxed), current)
                && current.future.load(Ordering::Relaxed) == next;
            if same {
                return Writer {
                    list: self,
                    current: bucket,
                    future,
                };
            }
        }
    }

    /// The chains of all buckets, in an order that depends on `random` alone. Related keys may have
    /// buckets at equal distances; the steps of this order are unequal. Any context; takes no lock.
    pub(crate) fn shuffled<'g>(
        &'g self,
        random: u64,
        rcu: ReadSide<'g>,
    ) -> impl Iterator<Item = Chain<'g, T>> {
        let buckets = self.current(rcu);
        let count = buckets.heads.len();
        let (mask, half) = (count.wrapping_sub(1), count.trailing_zeros().div_ceil(2));
        let odd = [
            random as usize | 1,
            random.wrapping_shr(u32::BITS) as usize | 1,
        ];
        let first = random as usize;
        (0..count).map(move |n| {
            // Each step is a bijection of the bucket numbers, so every bucket comes once.
            let number = odd.iter().fold(n, |number, odd| {
                let number = number.wrapping_mul(*odd) & mask;
                number ^ number.wrapping_shr(half)
            });
            buckets.chain(number.wrapping_add(first) & mask, rcu)
        })
    }

    /// The items for which the upper 32 bits of the hash are in `range`. Any context; takes no
    /// lock.
    pub(crate) fn in_range<'g>(
        &'g self,
        range: Range<u64>,
        rcu: ReadSide<'g>,
    ) -> impl Iterator<Item = &'g T> {
        self.current(rcu).in_range(range, rcu)
    }

    /// The end of a range for `in_range()` that begins with `start` and covers at most one bucket
    /// that is not empty. Any context; takes no lock.
    pub(crate) fn range_end(&self, start: u64, rcu: ReadSide<'_>) -> u64 {
        self.current(rcu).range_end(start)
    }

    /// Calls `visit` for every item whose hash has upper 32 bits of at least `start`, until `visit`
    /// returns false. Items that are inserted or removed meanwhile may be missed. Returns where it
    /// stopped, or `None` at the end or when cancelled. Process context, may sleep.
    pub(crate) fn visit(
        &self,
        mut start: u64,
        mut visit: impl FnMut(&T, ReadSide<'_>) -> bool,
    ) -> Option<u64> {
        while start <= u64::from(u32::MAX) && !self.is_cancelled() {
            {
                let section = read_lock();
                let rcu = ReadSide::of(&section);
                let end = self.range_end(start, rcu);
                for item in self.in_range(start..end, rcu) {
                    if !visit(item, rcu) {
                        return Some(start);
                    }
                }
                start = end;
            }
            cond_resched();
        }
        None
    }

    /// Frees the entries in limbo, and returns their number. Process context; waits for a grace
    /// period if there are any.
    pub(crate) fn reclaim(&self) -> usize {
        // Acquire pairs with the release in `Writer::remove()`: each entry in the list was
        // unlinked before the grace period begins. A section that begins after that does not find
        // it, on any CPU.
        let mut next = self.changes.limbo.swap(null_mut(), Ordering::Acquire);
        if next.is_null() {
            return 0;
        }
        synchronize();
        let mut freed = 0usize;
        while !next.is_null() {
            // SAFETY: By the type invariants `next` came from `into_raw()` and was in limbo once.
            // It was unlinked before the grace period, so no reader uses it any more.
            let entry = unsafe { NodeBox::from_raw(next) };
            next = entry.limbo.get();
            drop(entry);
            freed = freed.wrapping_add(1);
            if freed % 256 == 0 {
                cond_resched();
            }
        }
        self.changes.in_limbo.fetch_sub(freed, Ordering::Relaxed);
        freed
    }
}

impl<T: Item> Drop for HashList<T> {
    /// Frees all entries. Process context, may sleep. A grace period must have passed since the
    /// last reader could find the table.
    fn drop(&mut self) {
        self.reclaim();
        // SAFETY: By the type invariants `current` came from `into_raw()`. No rebuild is running,
        // as that borrows the table, so there is no future array, and no reader either.
        let buckets = unsafe { KBox::from_raw(self.current.load(Ordering::Relaxed)) };
        let mut left = self.len();
        for head in buckets.heads.iter() {
            // The table of most services that are deleted is empty: no bucket is read then.
            if left == 0 {
                break;
            }
            let mut next = head.load(Ordering::Relaxed);
            while !next.is_null() {
                // SAFETY: By the type invariants `next` came from `into_raw()` and is still linked.
                let entry = unsafe { NodeBox::from_raw(next) };
                next = entry.next[buckets.link & 1].load(Ordering::Relaxed);
                left = left.wrapping_sub(1);
            }
            cond_resched();
        }
    }
}
