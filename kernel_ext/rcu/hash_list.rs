// SPDX-License-Identifier: GPL-2.0

//! A hash table of RCU-protected lists that can be rebuilt under its readers, to another size or
//! with another key of its hash. Readers take no lock, walk one chain, and never retry.
//!
//! The life of an entry:
//!
//! ```text
//!  Node::new() ──> allocated ── insert() ──> hashed ── remove() ──> in limbo
//!                   (not shared)              (readers find it)    (earlier readers see it)
//!                                                                       │ reclaim(): grace period
//!                                          value dropped, freed <───────┘
//! ```
//!
//! Limbo is a list of what was removed. `reclaim()` takes all of it, waits for one grace
//! period, and frees it in process context: one link is all that an entry needs for that.
//!
//! Each entry has two links, and each array of chains uses one of them. So an entry can be in
//! the array that readers use and in the one that will replace it, its future, which uses
//! the other link. `rebuild()` announces the future, waits for a grace period, links the
//! older entries into it, one after the other, publishes it, waits again, and frees the old
//! array. Between the two grace periods every writer changes both arrays. (`docs/table.md` has
//! a drawing.)
//!
//! Lock order: a lock of an array with link 0, then one of an array with link 1; they are the
//! innermost locks of the module.
//!
//! C header: [`include/linux/rculist.h`](srctree/include/linux/rculist.h).

use super::{
    buckets::{Buckets, Chain},
    platform::{
        cond_resched, read_lock, synchronize, AllocError, AtomicBool, AtomicPtr, AtomicUsize, KBox,
        NodeBox, Ordering, ReadSide, Section,
    },
    writer::Writer,
};
use core::{mem::offset_of, ops::Range, ptr::null_mut};

pub(crate) use super::buckets::{Item, Node};

/// The table.
///
/// # Invariants
///
/// `current` came from `KBox::into_raw()`, as did its `future` if that is not null. What was
/// `current` is freed a grace period after it was replaced. An entry that is hashed is in a
/// chain of `current`, and in no other array but perhaps its future, and the one that
/// `current` replaced less than a grace period ago. An entry is in limbo once, when it was
/// taken out of `current`.
pub(crate) struct HashList<T: Item> {
    current: AtomicPtr<Buckets<T>>,
    pub(super) changes: Changes<T>,
    /// It will be dropped soon: what takes time is not worth it any more.
    cancelled: AtomicBool,
    /// Somebody rebuilds.
    rebuilding: AtomicBool,
}

/// What each insertion and each removal writes: on a cache line of its own, as each lookup reads
/// `current`.
#[repr(align(64))]
pub(super) struct Changes<T> {
    pub(super) entries: AtomicUsize,
    pub(super) limbo: AtomicPtr<Node<T>>,
    pub(super) in_limbo: AtomicUsize,
}

// SAFETY: It owns its entries, and these may be dropped by another thread (`T: Send`).
unsafe impl<T: Item> Send for HashList<T> {}
// SAFETY: Readers on several CPUs share `&T`, which is `Sync`; writers are serialised by locks.
unsafe impl<T: Item> Sync for HashList<T> {}

impl<T: Item> HashList<T> {
    /// The cache line of `current` has nothing that a change writes.
    const LAYOUT: () = {
        let (current, changes) = (offset_of!(Self, current), offset_of!(Self, changes));
        assert!(align_of::<Self>() % 64 == 0 && size_of::<Changes<T>>() % 64 == 0);
        assert!(changes % 64 == 0 && current / 64 != changes / 64);
    };

    /// An empty table with `1 << bits` chains. Process context.
    pub(crate) fn new(bits: u32, hash: T::Hash) -> Result<Self, AllocError> {
        let () = Self::LAYOUT;
        let buckets = Buckets::new(bits, hash, 0)?;
        // INVARIANT: Made by `into_raw()`, with no entry in it.
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
        // Acquire pairs with the release in `rebuild_alone()`: a reader that sees the pointer
        // sees all that is in the array.
        // SAFETY: By the type invariants `current` is valid, and not freed before our section ends.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// The entry with this hash that `is_it` knows. Any context. Takes no lock; finds one that
    /// is inserted or removed meanwhile, or not.
    #[inline(always)]
    pub(crate) fn find<'g>(
        &'g self,
        hash: impl FnOnce(&T::Hash) -> u64,
        is_it: impl Fn(&T) -> bool,
        rcu: ReadSide<'g>,
    ) -> Option<&'g T> {
        let buckets = self.current(rcu);
        let number = buckets.number(hash(&buckets.hash));
        // SAFETY: By the type invariants there are as many chains as these bits can count.
        let head = unsafe { buckets.heads.get_unchecked(number) };
        // As a `Chain`, but the next link is not read before it is needed. Acquire as there.
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

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.changes.entries.load(Ordering::Relaxed)
    }

    /// The number of entries that were removed and not yet freed.
    pub(crate) fn in_limbo(&self) -> usize {
        self.changes.in_limbo.load(Ordering::Relaxed)
    }

    /// Lets `visit()` and `rebuild()` end soon. Any context.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether there is no use in long work any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The number of chains. Any context.
    pub(crate) fn buckets(&self, rcu: ReadSide<'_>) -> usize {
        self.current(rcu).heads.len()
    }

    /// Locks what has this hash. Any context but hard interrupt; spins with bottom halves off.
    pub(crate) fn lock<'g>(
        &'g self,
        hash: impl Fn(&T::Hash) -> u64,
        rcu: ReadSide<'g>,
    ) -> Writer<'g, T> {
        loop {
            let current = self.current(rcu);
            // Acquire pairs with the release in `rebuild_alone()`: the array that we lock is
            // initialised.
            let next = current.future.load(Ordering::Acquire);
            // SAFETY: By the type invariants `next` is null, or valid and not freed before our
            // section ends.
            let future = unsafe { next.as_ref() };
            let at = current.number(hash(&current.hash));
            let future = future.map(|buckets| (buckets, buckets.number(hash(&buckets.hash))));
            let lock_future = || future.map(|(buckets, at)| buckets.lock(at));
            let (chain, future) = if current.link == 0 {
                let first = current.lock(at);
                (first, lock_future())
            } else {
                let future = lock_future();
                (current.lock(at), future)
            };
            // Before we had the locks, the array may have been replaced, or its future
            // announced or cancelled. Relaxed: a writer that has seen that, and has changed
            // this chain, has held one of our locks since; so we see what it saw.
            let same = core::ptr::eq(self.current.load(Ordering::Relaxed), current)
                && current.future.load(Ordering::Relaxed) == next;
            if same {
                return Writer {
                    list: self,
                    current: chain,
                    future,
                };
            }
        }
    }

    /// All chains, in an order that depends on `random` alone. Related keys have chains at
    /// equal distances, so the order has none. Any context; takes no lock.
    pub(crate) fn shuffled<'g>(
        &'g self,
        random: u64,
        rcu: ReadSide<'g>,
    ) -> impl Iterator<Item = Chain<'g, T>> {
        let buckets = self.current(rcu);
        let chains = buckets.heads.len();
        let (mask, half) = (chains.wrapping_sub(1), chains.trailing_zeros().div_ceil(2));
        let odd = [
            random as usize | 1,
            random.wrapping_shr(u32::BITS) as usize | 1,
        ];
        let first = random as usize;
        (0..chains).map(move |n| {
            // Each step is one to one on as many bits as there are, so every chain comes once.
            let number = odd.iter().fold(n, |number, odd| {
                let number = number.wrapping_mul(*odd) & mask;
                number ^ number.wrapping_shr(half)
            });
            buckets.chain(number.wrapping_add(first) & mask, rcu)
        })
    }

    /// The entries of which the upper 32 bits of the hash are in `range`. Any context; takes no
    /// lock.
    pub(crate) fn in_range<'g>(
        &'g self,
        range: Range<u64>,
        rcu: ReadSide<'g>,
    ) -> impl Iterator<Item = &'g T> {
        self.current(rcu).in_range(range, rcu)
    }

    /// The end of such a range that begins with `start` and has at most one chain that is not
    /// empty. Any context; takes no lock.
    pub(crate) fn range_end(&self, start: u64, rcu: ReadSide<'_>) -> u64 {
        self.current(rcu).range_end(start)
    }

    /// Calls `visit` for every entry that is there all the time and has a hash of at least
    /// `start`, and perhaps for others, until it says that it is enough. Returns where it
    /// stopped, or None at the end. Process context, may sleep.
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

    /// Replaces the array of chains by one with `1 << bits` chains, and another hash if
    /// `change` gives one. Process context, waits for two grace periods. Does nothing if
    /// somebody else is at it; fails if memory is short, and then nothing has changed.
    pub(crate) fn rebuild(&self, bits: u32, change: Option<T::Hash>) -> Result<(), AllocError> {
        // Acquire and release pair with each other: one rebuild happens before the next one.
        if self.rebuilding.swap(true, Ordering::Acquire) {
            return Ok(());
        }
        let done = self.rebuild_alone(bits, change);
        self.rebuilding.store(false, Ordering::Release);
        done
    }

    fn rebuild_alone(&self, bits: u32, change: Option<T::Hash>) -> Result<(), AllocError> {
        // Relaxed: only `rebuild()` stores to it, and one rebuild happens before the next one.
        // SAFETY: By the type invariants `current` is valid. Only `rebuild()` replaces it, and
        // it runs once at a time.
        let old = unsafe { &*self.current.load(Ordering::Relaxed) };
        let hash = change.unwrap_or_else(|| old.hash.clone());
        let new = KBox::into_raw(Buckets::new(bits, hash, old.link ^ 1)?);
        // Release pairs with the acquire in `lock()`: a writer that sees the pointer sees the
        // initialised array.
        old.future.store(new, Ordering::Release);
        // From here on every writer knows of it, and nobody reads that link of an entry any more.
        synchronize();
        for number in 0..old.heads.len() {
            if self.is_cancelled() {
                break;
            }
            self.rehash_bucket(old, number, &read_lock());
            cond_resched();
        }
        if self.is_cancelled() {
            // Relaxed: null leads to nothing. A section that begins after the grace period did
            // sees null.
            old.future.store(null_mut(), Ordering::Relaxed);
            synchronize();
            // SAFETY: `new` came from `into_raw()`, and the sections in which it was found have
            // ended.
            drop(unsafe { KBox::from_raw(new) });
            return Ok(());
        }
        // Release pairs with the acquire in `current()`: a reader that sees the pointer sees
        // what is in the array.
        // INVARIANT: Every entry is in it: the older ones were rehashed, the others linked by
        // writers.
        self.current.store(new, Ordering::Release);
        // Readers and writers that still use the old array leave it.
        synchronize();
        // SAFETY: It came from `into_raw()`, was replaced, and a grace period has passed.
        drop(unsafe { KBox::from_raw(core::ptr::from_ref(old).cast_mut()) });
        Ok(())
    }

    /// Frees what is in limbo, and returns how many entries that were. Process context, waits for a
    /// grace period if there is anything.
    pub(crate) fn reclaim(&self) -> usize {
        // Acquire pairs with the release in `Writer::remove()`: each entry in the list was
        // unlinked before the grace period begins. A section that begins later, on whichever
        // CPU, does not find it.
        let mut next = self.changes.limbo.swap(null_mut(), Ordering::Acquire);
        if next.is_null() {
            return 0;
        }
        synchronize();
        let mut freed = 0usize;
        while !next.is_null() {
            // SAFETY: By the type invariants it came from `into_raw()` and was in limbo once.
            // It was unlinked before the grace period, so nobody sees it any more.
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

    /// Links the entries of a chain of the current array into its future.
    fn rehash_bucket(&self, old: &Buckets<T>, number: usize, section: &Section) {
        let rcu = ReadSide::of(section);
        let mut chain = old.chain(number, rcu);
        loop {
            let entry = chain.next;
            // What was unlinked meanwhile still leads to the rest of the chain.
            let Some(item) = chain.next() else {
                return;
            };
            let mut writer = self.lock(|hash| item.hash(hash), rcu);
            if let Some(future) = &mut writer.future {
                if writer.current.has(entry) && !future.has(entry) {
                    // SAFETY: `entry` is in the current array, so it came from `into_raw()`,
                    // and is taken out of both arrays before it is freed. It is not in the
                    // other one, in which it belongs into this chain.
                    unsafe { future.push(entry) };
                }
            }
        }
    }
}

impl<T: Item> Drop for HashList<T> {
    /// Frees all entries. Process context, may sleep; a grace period after the last reader.
    fn drop(&mut self) {
        self.reclaim();
        // SAFETY: By the type invariants it came from `into_raw()`. No rebuild is under way, as
        // that borrows the table, so there is no future.
        let buckets = unsafe { KBox::from_raw(self.current.load(Ordering::Relaxed)) };
        for head in buckets.heads.iter() {
            let mut next = head.load(Ordering::Relaxed);
            while !next.is_null() {
                // SAFETY: By the type invariants `next` came from `into_raw()` and is still linked.
                let entry = unsafe { NodeBox::from_raw(next) };
                next = entry.next[buckets.link & 1].load(Ordering::Relaxed);
            }
            cond_resched();
        }
    }
}
