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
    /// The entries of the current bucket.
    pub(crate) fn walk(&self, rcu: ReadSide<'g>) -> Chain<'g, T> {
        self.current.chain(rcu)
    }

    /// Whether the locked buckets are those of `item`.
    fn is_for(&self, item: &T) -> bool {
        let future = self.future.as_ref();
        self.current.is_for(item) && future.is_none_or(|bucket| bucket.is_for(item))
    }

    /// Inserts `entry`. If its buckets are not the locked ones, it is dropped.
    pub(crate) fn insert(&mut self, entry: NodeBox<T>) {
        if !self.is_for(&entry.item) {
            return;
        }
        let entry = NodeBox::into_raw(entry);
        if let Some(bucket) = &mut self.future {
            // SAFETY: `entry` came from `NodeBox::into_raw()`, is in no array, and is removed from
            // both arrays before it is freed, a grace period later.
            unsafe { bucket.push(entry) };
        }
        // SAFETY: As above.
        unsafe { self.current.push(entry) };
        self.list.changes.entries.fetch_add(1, Ordering::Relaxed);
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
