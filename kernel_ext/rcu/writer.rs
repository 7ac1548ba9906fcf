// SPDX-License-Identifier: GPL-2.0

//! Changing a hash list: insertion and removal, under the locks of one hash.

use super::{
    buckets::{Chain, Item, Locked, Node},
    hash_list::HashList,
    platform::{NodeBox, Ordering, ReadSide}, //
};

/// The right to change the chains of one hash, in the current array and in its future.
pub(crate) struct Writer<'g, T: Item> {
    pub(super) list: &'g HashList<T>,
    pub(super) current: Locked<'g, T>,
    pub(super) future: Option<Locked<'g, T>>,
}

impl<'g, T: Item> Writer<'g, T> {
    /// The chain as it is.
    pub(crate) fn walk(&self, rcu: ReadSide<'g>) -> Chain<'g, T> {
        self.current.chain(rcu)
    }

    /// Whether the chains that are locked are those of `item`.
    fn is_for(&self, item: &T) -> bool {
        let future = self.future.as_ref();
        self.current.is_for(item) && future.is_none_or(|chain| chain.is_for(item))
    }

    /// Puts `entry` into the table. If its hash is not the locked one, it is dropped.
    pub(crate) fn insert(&mut self, entry: NodeBox<T>) {
        if !self.is_for(&entry.item) {
            return;
        }
        let entry = NodeBox::into_raw(entry);
        if let Some(chain) = &mut self.future {
            // SAFETY: `entry` comes from `into_raw()`, is in no array, and is taken out of both
            // arrays before it is freed, a grace period later.
            unsafe { chain.push(entry) };
        }
        // SAFETY: As above.
        unsafe { self.current.push(entry) };
        self.list.changes.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `item` out of the table and into limbo. Returns whether it was there, with the
    /// locked hash.
    pub(crate) fn remove(&mut self, item: &'g T) -> bool {
        // An item with another hash could be in this chain now, and in one that is not locked
        // later.
        if !self.is_for(item) {
            return false;
        }
        let Some(entry) = self.current.unlink(Node::of(item)) else {
            return false;
        };
        if let Some(chain) = &mut self.future {
            chain.unlink(entry);
        }
        self.list.changes.entries.fetch_sub(1, Ordering::Relaxed);
        self.list.changes.in_limbo.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: It was in `current`, and now is not; we hold the lock under which that is
        // changed.
        let limbo = &self.list.changes.limbo;
        let mut top = limbo.load(Ordering::Relaxed);
        loop {
            // SAFETY: `entry` was linked until now, so it is allocated. Its `limbo` is ours
            // until the exchange succeeds.
            unsafe { (*entry).limbo.set(top) };
            // Release pairs with the acquire in `reclaim()`: what reclaims the entry, and every
            // read-side section that begins after its grace period did, sees that the entry is
            // unlinked.
            match limbo.compare_exchange_weak(top, entry, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(newer) => top = newer,
            }
        }
    }
}
