// SPDX-License-Identifier: GPL-2.0

//! Insertion into a hash list and removal from it, under the locks of one hash.

use super::{
    buckets::{
        Chain,
        Item,
        Locked,
        Node, //
    },
    hash_list::HashList,
    platform::{
        NodeBox,
        Ordering,
        ReadSide, //
    }, //
};

/// The locked buckets of one hash, in the current array and in its future.
pub(crate) struct Writer<'g, T: Item> {
    pub(super) list: &'g HashList<T>,
    pub(super) current: Locked<'g, T>,
    pub(super) future: Option<Locked<'g, T>>,
}

impl<'g, T: Item> Writer<'g, T> {
    /// The entries of the current bucket, which is locked.
    pub(crate) fn walk(&self, rcu: ReadSide<'g>) -> Chain<'g, T> {
        self.current.chain(rcu)
    }

    /// Whether the locked buckets are those of `item`.
    fn is_for(&self, item: &T) -> bool {
        let future = self.future.as_ref();
        self.current.is_for(item) && future.is_none_or(|bucket| bucket.is_for(item))
    }

    /// Moves `item` from the table to limbo. Returns whether it was in the locked buckets.
    pub(crate) fn remove(&mut self, item: &'g T) -> bool {
        // An item with another hash may share the current bucket, but not the one of `future`.
        if !self.is_for(item) {
            return false;
        }
        let Some(entry) = self.current.unlink(Node::of(item)) else {
            return false;
        };
        if let Some(bucket) = &mut self.future {
            bucket.unlink(entry);
        }
        self.list.changes.entries.fetch_sub(1, Ordering::Relaxed);
        self.list.changes.in_limbo.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: `entry` is put into limbo once: `current.unlink()` has returned it, under the
        // lock without which it cannot be linked or unlinked there.
        let limbo = &self.list.changes.limbo;
        let mut top = limbo.load(Ordering::Relaxed);
        loop {
            // SAFETY: `entry` was linked until now, so it is allocated. Nothing else accesses its
            // `limbo` until the exchange succeeds.
            unsafe { (*entry).limbo.set(top) };
            // Release pairs with the acquire in `reclaim()`: the thread that reclaims the entry
            // sees it unlinked, and so does every read-side section that begins after the start of
            // that thread's grace period.
            match limbo.compare_exchange_weak(top, entry, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(newer) => top = newer,
            }
        }
    }
}

impl<T: Item> HashList<T> {
    /// Inserts `entry`, calls `inserted`, under the lock, and returns the number of entries in its
    /// bucket. If that has an item for which `is_it` is true, calls `found` with it instead, under
    /// the lock, drops `entry`, and returns the result as an error. Any context but hard interrupt;
    /// spins with bottom halves off.
    pub(crate) fn insert<R>(
        &self,
        entry: NodeBox<T>,
        is_it: impl Fn(&T) -> bool,
        found: impl FnOnce(&T) -> R,
        inserted: impl FnOnce(),
        rcu: ReadSide<'_>,
    ) -> Result<usize, R> {
        let mut writer = self.lock(|hash| entry.item.hash(hash), rcu);
        let mut length = 1usize;
        for item in writer.walk(rcu) {
            if is_it(item) {
                return Err(found(item));
            }
            length = length.wrapping_add(1);
        }
        let entry = NodeBox::into_raw(entry);
        if let Some(bucket) = &mut writer.future {
            // SAFETY: `entry` came from `NodeBox::into_raw()`, is in no array, and is removed from
            // both arrays before it is freed, a grace period later. The bucket is that of its hash.
            unsafe { bucket.push(entry) };
        }
        // SAFETY: As above.
        unsafe { writer.current.push(entry) };
        self.changes.entries.fetch_add(1, Ordering::Relaxed);
        inserted();
        Ok(length)
    }
}
