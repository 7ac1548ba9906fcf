// SPDX-License-Identifier: GPL-2.0

//! A hash table of RCU-protected lists that can be rebuilt under its readers, to another size or
//! with another key of its hash. Readers take no lock, walk one chain, and never retry.
//!
//! The life of an entry:
//!
//! ```text
//!  Entry::new() ──> allocated ── insert() ──> hashed ── remove() ──> in limbo
//!                   (ours alone)              (readers find it)      (earlier readers still see it)
//!                                                                         │ reclaim(): grace period
//!                                            value dropped, freed <───────┘
//! ```
//!
//! Limbo is a list of what was removed. `reclaim()` takes all of it, waits for one grace period, and
//! frees it in process context: one link is all that an entry needs for that.
//!
//! Each entry has two links, and each array of chains uses one of them. So an entry can be in the
//! array that readers use and in the one that will replace it, its successor, which uses the other
//! link. `rebuild()` announces the successor, waits for a grace period, links the older entries into
//! it, one after the other, publishes it, waits again, and frees the old array. Between the two grace
//! periods every writer changes both arrays. (`docs/table.md` has a drawing.)
//!
//! Lock order: a lock of an array with link 0, then one of an array with link 1; they are the
//! innermost locks of the module.
//!
//! C header: [`include/linux/rculist.h`](srctree/include/linux/rculist.h).

use super::{
    buckets::{Buckets, Chain},
    platform::{
        breathe, read_lock, synchronize, AllocError, AtomicBool, AtomicPtr, AtomicUsize, EntryBox,
        Held, KBox, Ordering, ReadSide, Section,
    },
};
use core::{ops::Range, ptr::null_mut};

pub(crate) use super::buckets::{Entry, Item};

/// The table.
///
/// # Invariants
///
/// `current` came from `KBox::into_raw()`, as did its `successor` if that is not null. What was
/// `current` is freed a grace period after it was replaced. An entry that is hashed is in a chain of
/// `current`, and in no other array but perhaps its successor, and the one that `current` replaced
/// less than a grace period ago. An entry is in limbo once, when it was taken out of `current`.
pub(crate) struct HashList<T: Item> {
    current: AtomicPtr<Buckets<T>>,
    entries: AtomicUsize,
    limbo: AtomicPtr<Entry<T>>,
    in_limbo: AtomicUsize,
    /// It will be dropped soon: what takes time is not worth it any more.
    abandoned: AtomicBool,
    /// Somebody rebuilds.
    rebuilding: AtomicBool,
}

// SAFETY: It owns its entries, and these may be dropped by another thread (`T: Send`).
unsafe impl<T: Item> Send for HashList<T> {}
// SAFETY: Readers on several CPUs share `&T`, which is `Sync`; writers are serialised by locks.
unsafe impl<T: Item> Sync for HashList<T> {}

impl<T: Item> HashList<T> {
    /// An empty table with `1 << bits` chains. Process context.
    pub(crate) fn new(bits: u32, hash: T::Hash) -> Result<Self, AllocError> {
        let buckets = Buckets::new(bits, hash, 0)?;
        // INVARIANT: Made by `into_raw()`, with no entry in it.
        Ok(Self {
            current: AtomicPtr::new(KBox::into_raw(buckets)),
            entries: AtomicUsize::new(0),
            limbo: AtomicPtr::new(null_mut()),
            in_limbo: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
            rebuilding: AtomicBool::new(false),
        })
    }

    #[inline(always)]
    fn current<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Buckets<T> {
        // SAFETY: By the type invariants it is valid, and not freed before our section ends.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// The entry with this hash that `is_it` knows. Any context. Takes no lock; finds one that is inserted
    /// or removed meanwhile, or not.
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
        // As a `Chain`, but the next link is not read before it is needed.
        let mut next = head.load(Ordering::Acquire);
        loop {
            // SAFETY: As in `Chain::next()`.
            let entry: &'g Entry<T> = unsafe { next.as_ref() }?;
            if is_it(&entry.item) {
                return Some(&entry.item);
            }
            next = entry.next[buckets.link & 1].load(Ordering::Relaxed);
        }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// The number of entries that were removed and not yet freed.
    pub(crate) fn in_limbo(&self) -> usize {
        self.in_limbo.load(Ordering::Relaxed)
    }

    /// Lets `visit()` and `rebuild()` end soon. Any context.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether there is no use in long work any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// The number of chains. Any context.
    pub(crate) fn chains(&self, rcu: ReadSide<'_>) -> usize {
        self.current(rcu).heads.len()
    }

    /// The bytes of an entry and of a chain's head.
    pub(crate) const BYTES: (usize, usize) = (size_of::<Entry<T>>(), size_of::<usize>());

    /// Locks what has this hash. Any context but hard interrupt; spins with bottom halves off.
    pub(crate) fn lock<'g>(
        &'g self,
        hash: impl Fn(&T::Hash) -> u64,
        rcu: ReadSide<'g>,
    ) -> Writer<'g, T> {
        loop {
            let current = self.current(rcu);
            let next = current.successor.load(Ordering::Acquire);
            // SAFETY: By the type invariants it is null, or valid and not freed before our section ends.
            let successor = unsafe { next.as_ref() };
            let at = current.number(hash(&current.hash));
            let later = successor.map(|buckets| (buckets, buckets.number(hash(&buckets.hash))));
            let lock_later = || later.map(|(buckets, at)| buckets.locks.lock(at));
            let held = if current.link == 0 {
                let first = current.locks.lock(at);
                (first, lock_later())
            } else {
                let later = lock_later();
                (current.locks.lock(at), later)
            };
            // Others may have gone on to a new array, or to two, before we had the locks. Whatever they
            // did to this chain there, they did it under one of these locks: so we see it now.
            let same = core::ptr::eq(self.current.load(Ordering::Relaxed), current)
                && current.successor.load(Ordering::Relaxed) == next;
            if same {
                return Writer {
                    list: self,
                    current,
                    at,
                    later,
                    _held: held,
                };
            }
        }
    }

    /// All chains, in an order that depends on `random` alone. Related keys have chains at equal distances, so
    /// the order has none. Any context; takes no lock.
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

    /// The entries of which the upper 32 bits of the hash are in `range`. Any context; takes no lock.
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

    /// Calls `visit` for every entry that is there all the time and has a hash of at least `start`, and
    /// perhaps for others, until it says that it is enough. Returns where it stopped, or None at the end.
    /// Process context, may sleep.
    pub(crate) fn visit(
        &self,
        mut start: u64,
        mut visit: impl FnMut(&T, ReadSide<'_>) -> bool,
    ) -> Option<u64> {
        while start <= u64::from(u32::MAX) && !self.is_abandoned() {
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
            breathe();
        }
        None
    }

    /// Replaces the array of chains by one with `1 << bits` chains, and another hash if `change` gives
    /// one. Process context, waits for two grace periods. Does nothing if somebody else is at it; fails
    /// if memory is short, and then nothing has changed.
    pub(crate) fn rebuild(&self, bits: u32, change: Option<T::Hash>) -> Result<(), AllocError> {
        if self.rebuilding.swap(true, Ordering::Acquire) {
            return Ok(());
        }
        let done = self.rebuild_alone(bits, change);
        self.rebuilding.store(false, Ordering::Release);
        done
    }

    fn rebuild_alone(&self, bits: u32, change: Option<T::Hash>) -> Result<(), AllocError> {
        // SAFETY: By the type invariants it is valid. Only `rebuild()` replaces it, and we are alone
        // in there.
        let old = unsafe { &*self.current.load(Ordering::Relaxed) };
        let hash = change.unwrap_or_else(|| old.hash.clone());
        let new = KBox::into_raw(Buckets::new(bits, hash, old.link ^ 1)?);
        // Release: who sees the array sees that it is whole.
        old.successor.store(new, Ordering::Release);
        // From here on every writer knows of it, and nobody reads that link of an entry any more.
        synchronize();
        for number in 0..old.heads.len() {
            if self.is_abandoned() {
                break;
            }
            self.adopt(old, number, &read_lock());
            breathe();
        }
        if self.is_abandoned() {
            old.successor.store(null_mut(), Ordering::Relaxed);
            synchronize();
            // SAFETY: It came from `into_raw()`, and those who saw it have gone.
            drop(unsafe { KBox::from_raw(new) });
            return Ok(());
        }
        // INVARIANT: Every entry is in it: the older ones were adopted, the others linked by writers.
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
        // Acquire pairs with the release in `Writer::remove()`: each entry in the list was unlinked before
        // the grace period begins. A section that begins later, on whichever CPU, does not find it.
        let mut next = self.limbo.swap(null_mut(), Ordering::Acquire);
        if next.is_null() {
            return 0;
        }
        synchronize();
        let mut freed = 0usize;
        while !next.is_null() {
            // SAFETY: By the type invariants it came from `into_raw()` and was in limbo once. It was
            // unlinked before the grace period, so nobody sees it any more.
            let entry = unsafe { EntryBox::from_raw(next) };
            next = entry.limbo.get();
            drop(entry);
            freed = freed.wrapping_add(1);
            if freed % 256 == 0 {
                breathe();
            }
        }
        self.in_limbo.fetch_sub(freed, Ordering::Relaxed);
        freed
    }

    /// Links the entries of a chain of the current array into its successor.
    fn adopt(&self, old: &Buckets<T>, number: usize, section: &Section) {
        let rcu = ReadSide::of(section);
        let mut chain = old.chain(number, rcu);
        loop {
            let entry = chain.next;
            // What was unlinked meanwhile still leads to the rest of the chain.
            let Some(item) = chain.next() else {
                return;
            };
            let writer = self.lock(|hash| item.hash(hash), rcu);
            if let Some((new, at)) = writer.later {
                if old.link_to(number, entry).is_some() && new.link_to(at, entry).is_none() {
                    new.push(at, entry);
                }
            }
        }
    }
}

impl<T: Item> Drop for HashList<T> {
    /// Frees all entries. Process context, may sleep; a grace period after the last reader.
    fn drop(&mut self) {
        self.reclaim();
        // SAFETY: By the type invariants it came from `into_raw()`. No rebuild is under way, as that
        // borrows the table, so there is no successor.
        let buckets = unsafe { KBox::from_raw(self.current.load(Ordering::Relaxed)) };
        for head in buckets.heads.iter() {
            let mut next = head.load(Ordering::Relaxed);
            while !next.is_null() {
                // SAFETY: By the type invariants `next` came from `into_raw()` and is still linked.
                let entry = unsafe { EntryBox::from_raw(next) };
                next = entry.next[buckets.link & 1].load(Ordering::Relaxed);
            }
            breathe();
        }
    }
}

/// Who may change the chain of one hash.
pub(crate) struct Writer<'g, T: Item> {
    list: &'g HashList<T>,
    current: &'g Buckets<T>,
    at: usize,
    later: Option<(&'g Buckets<T>, usize)>,
    _held: (Held<'g>, Option<Held<'g>>),
}

impl<'g, T: Item> Writer<'g, T> {
    /// The chain as it is.
    pub(crate) fn walk(&self, rcu: ReadSide<'g>) -> Chain<'g, T> {
        self.current.chain(self.at, rcu)
    }

    /// Puts `entry`, whose hash is the locked one, into the table.
    pub(crate) fn insert(&mut self, entry: EntryBox<T>) {
        // INVARIANT: It came from `into_raw()`, and goes into both arrays if there are two.
        let entry = EntryBox::into_raw(entry);
        if let Some((buckets, at)) = self.later {
            buckets.push(at, entry);
        }
        self.current.push(self.at, entry);
        self.list.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `item`, whose hash is the locked one, out of the table and into limbo. Returns whether it
    /// was there.
    pub(crate) fn remove(&mut self, item: &'g T) -> bool {
        let Some(entry) = self.current.unlink(self.at, Entry::of(item)) else {
            return false;
        };
        if let Some((buckets, at)) = self.later {
            buckets.unlink(at, entry);
        }
        self.list.entries.fetch_sub(1, Ordering::Relaxed);
        self.list.in_limbo.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: It was in `current`, and now is not; we hold the lock under which that is changed.
        let limbo = &self.list.limbo;
        let mut top = limbo.load(Ordering::Relaxed);
        loop {
            // SAFETY: It is alive, and `limbo` is ours until the next line succeeds.
            unsafe { (*entry).limbo.set(top) };
            // Release pairs with the acquire in `reclaim()`: what reclaims the entry, and every read-side
            // section that begins after its grace period did, sees that the entry is unlinked.
            match limbo.compare_exchange_weak(top, entry, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(newer) => top = newer,
            }
        }
    }
}
