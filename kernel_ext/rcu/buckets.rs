// SPDX-License-Identifier: GPL-2.0

//! One array of a hash table's buckets, and the locks under which its links change. `hash_list.rs`
//! makes a table of one or two such arrays.
//!
//! A bucket is a place in the array; its chain is the list of entries that begins there. Functions
//! may be called in any context, except where they say otherwise.

use super::platform::{
    allocate,
    heads,
    AllocError,
    AtomicPtr,
    Cell,
    Heads,
    Held,
    KBox,
    Locks,
    Ordering,
    ReadSide,
    NODE_SIZE, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ops::Range,
    ptr::null_mut, //
};

/// A type whose values can be hashed.
pub(crate) trait Item: Send + Sync + 'static {
    /// A hash function with a key.
    type Hash: Clone + Send + Sync;

    /// The hash of this item, whose upper bits choose the bucket. It never changes.
    fn hash(&self, hash: &Self::Hash) -> u64;
}

/// An entry of the table: an item with its links.
#[repr(C)]
pub(crate) struct Node<T> {
    pub(super) next: [AtomicPtr<Node<T>>; 2],
    /// The next entry in limbo. Separate from `next`, which earlier readers of this entry follow.
    pub(super) limbo: Cell<*mut Node<T>>,
    pub(super) item: T,
}

// SAFETY: `limbo` is accessed by the thread that removed the entry, and then by the one that
// reclaims it.
unsafe impl<T: Send> Send for Node<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Node<T> {}

impl<T> Node<T> {
    /// An entry that is not linked. Does not compile if it is larger than the allocator's objects.
    pub(crate) fn new(item: T) -> Self {
        const { assert!(size_of::<Self>() <= NODE_SIZE && align_of::<Self>() <= NODE_SIZE) };
        Self {
            next: [AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut())],
            limbo: Cell::new(null_mut()),
            item,
        }
    }

    /// The entry that contains `item`, which must be an item of a table.
    pub(super) fn of(item: &T) -> *const Self {
        core::ptr::from_ref(item)
            .wrapping_byte_sub(offset_of!(Self, item))
            .cast()
    }
}

/// One array of buckets.
///
/// # Invariants
///
/// Links number `link`, from `heads` on, are null or lead to entries that came from
/// `NodeBox::into_raw()`. They change only under the bucket's lock. An entry is freed no earlier
/// than a grace period after it was unlinked, and its own link does not change until then. There
/// are `1 << bits` heads, and `shift` leaves that many bits of a hash.
#[repr(C, align(64))] // See `LAYOUT`.
pub(super) struct Buckets<T: Item> {
    pub(super) heads: Heads<T>,
    /// By how many bits a hash is shifted right to give the number of its bucket.
    shift: u32,
    /// Which link of each entry this array uses: 0 or 1, and `future` the other one.
    pub(super) link: usize,
    pub(super) hash: T::Hash,
    locks: Locks,
    /// The array that will replace this one, or null. Set once.
    pub(super) future: AtomicPtr<Buckets<T>>,
}

impl<T: Item> Buckets<T> {
    /// Each lookup reads one cache line of this object, which no other object shares. Lookups of
    /// IPv6 also read the end of the hash's key, on the next line.
    const LAYOUT: () = assert!(offset_of!(Self, hash) + 16 <= 64 && size_of::<Self>() % 64 == 0);

    /// An array with `1 << bits` empty buckets, whose entries use link number `link`. Process
    /// context. Fails if memory is short or `bits` is not in `1..32`.
    pub(super) fn new(bits: u32, hash: T::Hash, link: usize) -> Result<KBox<Self>, AllocError> {
        let () = Self::LAYOUT;
        // INVARIANT: `shift` leaves `bits` bits, and there are `1 << bits` heads.
        if !(1..u32::BITS).contains(&bits) {
            return Err(AllocError);
        }
        allocate(Self {
            hash,
            shift: u64::BITS.wrapping_sub(bits),
            link,
            heads: heads(1usize.wrapping_shl(bits))?,
            locks: Locks::new(link)?,
            future: AtomicPtr::new(null_mut()),
        })
    }

    /// The chain of bucket `number`. C: `hlist_for_each_entry_rcu()`.
    #[inline(always)]
    pub(super) fn chain<'g>(&'g self, number: usize, _rcu: ReadSide<'g>) -> Chain<'g, T> {
        let head = self.heads.get(number);
        Chain {
            // Acquire pairs with the release in `push()` and in `unlink()`: a reader that sees
            // the link sees the initialised entry.
            next: head.map_or(null_mut(), |head| head.load(Ordering::Acquire)),
            link: self.link,
            _readers: PhantomData,
        }
    }

    /// The number of the bucket to which a hash belongs.
    #[inline(always)]
    fn number(&self, hash: u64) -> usize {
        hash.wrapping_shr(self.shift) as usize
    }

    /// The head of the bucket to which a hash belongs.
    #[inline(always)]
    pub(super) fn head(&self, hash: u64) -> &AtomicPtr<Node<T>> {
        // SAFETY: By the type invariants a number of a bucket is less than the number of heads.
        unsafe { self.heads.get_unchecked(self.number(hash)) }
    }

    /// As `shift`, but for the upper 32 bits of a hash.
    fn range_shift(&self) -> u32 {
        self.shift.wrapping_sub(u32::BITS)
    }

    /// Locks the bucket to which a hash belongs. Any context but hard interrupt; spins with bottom
    /// halves off.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> Locked<'_, T> {
        // INVARIANT: `_held` is the lock of the bucket that begins with `head`.
        Locked {
            buckets: self,
            head: self.head(hash),
            _held: self.locks.lock(self.number(hash)),
        }
    }

    /// The items for which the upper 32 bits of the hash are in `range`.
    pub(super) fn in_range<'g>(
        &'g self,
        range: Range<u64>,
        rcu: ReadSide<'g>,
    ) -> impl Iterator<Item = &'g T> {
        let [first, last] = [range.start, range.end.saturating_sub(1)]
            .map(|at| at.wrapping_shr(self.range_shift()));
        (first..=last)
            .flat_map(move |number| self.chain(number as usize, rcu))
            .filter(move |item| range.contains(&(item.hash(&self.hash) >> u32::BITS)))
    }

    /// The end of a range for `in_range()` that begins with `start` and covers at most one bucket
    /// that is not empty.
    pub(super) fn range_end(&self, start: u64) -> u64 {
        /// The most empty buckets to skip, so that the caller can reschedule in between.
        const BUCKETS: u64 = 4096;
        let shift = self.range_shift();
        let first = start.wrapping_shr(shift);
        let empty = |number: &u64| {
            let head = self.heads.get(*number as usize);
            head.is_some_and(|head| head.load(Ordering::Relaxed).is_null())
        };
        let passed = (first..first.wrapping_add(BUCKETS))
            .take_while(empty)
            .count() as u64;
        let end = first
            .wrapping_add(passed)
            .wrapping_add(1)
            .wrapping_shl(shift);
        end.min(1 << u32::BITS)
    }
}

/// A locked bucket. Its chain can be changed through this only.
///
/// # Invariants
///
/// `head` is one of the heads of `buckets`, and `_held` the lock of its bucket.
pub(super) struct Locked<'a, T: Item> {
    pub(super) buckets: &'a Buckets<T>,
    head: &'a AtomicPtr<Node<T>>,
    _held: Held<'a>,
}

impl<'a, T: Item> Locked<'a, T> {
    /// Whether this is the bucket of `item`.
    pub(super) fn is_for(&self, item: &T) -> bool {
        core::ptr::eq(self.buckets.head(item.hash(&self.buckets.hash)), self.head)
    }

    /// The bucket's chain.
    pub(super) fn chain<'g>(&self, _rcu: ReadSide<'g>) -> Chain<'g, T>
    where
        'a: 'g,
    {
        Chain {
            // Relaxed: the chain changes under the held lock only.
            next: self.head.load(Ordering::Relaxed),
            link: self.buckets.link,
            _readers: PhantomData,
        }
    }

    /// The link that leads to `entry`, if that is in the chain.
    fn link_to(&self, entry: *const Node<T>) -> Option<&AtomicPtr<Node<T>>> {
        let mut link = self.head;
        loop {
            let next = link.load(Ordering::Relaxed);
            // SAFETY: By the type invariants of `Buckets`, `next` is null or a linked entry, and
            // by those of `Locked` no entry of this chain is unlinked meanwhile.
            let after = unsafe { next.as_ref() }?;
            if core::ptr::eq(next, entry) {
                return Some(link);
            }
            link = after.next.get(self.buckets.link)?;
        }
    }

    /// Whether `entry` is in the chain.
    pub(super) fn has(&self, entry: *const Node<T>) -> bool {
        self.link_to(entry).is_some()
    }

    /// Puts `entry` at the head of the chain.
    ///
    /// # Safety
    ///
    /// `entry` must have come from `NodeBox::into_raw()`, must be in no chain of `buckets`, and
    /// must stay allocated until a grace period after it was unlinked from this chain.
    pub(super) unsafe fn push(&mut self, entry: *mut Node<T>) {
        // SAFETY: The caller promises that `entry` is allocated.
        let next = unsafe { &(*entry).next };
        // Relaxed: the head changes under the held lock only, and no reader finds `entry` in this
        // array yet.
        let first = self.head.load(Ordering::Relaxed);
        next[self.buckets.link & 1].store(first, Ordering::Relaxed);
        // Release pairs with the acquire of the head in `chain()` and `HashList::find()`: a reader
        // that finds the entry sees it initialised.
        self.head.store(entry, Ordering::Release);
    }

    /// Unlinks `entry` from the chain and returns it, if it is there.
    pub(super) fn unlink(&mut self, entry: *const Node<T>) -> Option<*mut Node<T>> {
        let link = self.link_to(entry)?;
        let entry = link.load(Ordering::Relaxed);
        // SAFETY: By the type invariants of `Buckets`, a linked entry is allocated.
        let next = unsafe { &(*entry).next };
        // Release as in `push()`: if `link` is the head, readers find the next entry through it.
        link.store(
            next[self.buckets.link & 1].load(Ordering::Relaxed),
            Ordering::Release,
        );
        Some(entry)
    }
}

/// Iterates over the items of one chain.
///
/// # Invariants
///
/// `next` is null, or an entry that was reachable at some time in the read-side critical section
/// `'g`.
pub(crate) struct Chain<'g, T> {
    pub(super) next: *mut Node<T>,
    link: usize,
    _readers: PhantomData<&'g Node<T>>,
}

impl<'g, T> Iterator for Chain<'g, T> {
    type Item = &'g T;

    #[inline(always)]
    fn next(&mut self) -> Option<&'g T> {
        // SAFETY: By the type invariants the entry was reachable in this critical section, so it is
        // not freed before the end of `'g`. Until then there are only shared references to it.
        let entry: &'g Node<T> = unsafe { self.next.as_ref() }?;
        // Relaxed: an entry's link leads to an entry that was pushed earlier, under the same lock,
        // so the acquire of the head, or the held lock, covers both. It also covers the store of
        // the link in `push()`: a value that an earlier array had stored there is not seen any
        // more.
        // INVARIANT: The link of an unlinked entry does not change, so the next entry was reachable
        // when this reader was already in its section.
        self.next = entry.next[self.link & 1].load(Ordering::Relaxed);
        Some(&entry.item)
    }
}
