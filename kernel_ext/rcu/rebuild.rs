// SPDX-License-Identifier: GPL-2.0

//! Replacing the array of a hash list by one of another size or with another hash key, while
//! readers and writers use it. `hash_list.rs` describes the steps.

use super::{
    buckets::{
        Buckets,
        Item, //
    },
    hash_list::HashList,
    platform::{
        cond_resched,
        read_lock,
        synchronize,
        AllocError,
        KBox,
        Ordering,
        ReadSide,
        Section, //
    }, //
};
use core::ptr::null_mut;

impl<T: Item> HashList<T> {
    /// Replaces the array by one with `1 << bits` buckets, and the hash by `change` if there is
    /// one. Process context, waits for two grace periods. Does nothing if another thread is in
    /// here. Fails if memory is short, and then nothing has changed.
    pub(crate) fn rebuild(&self, bits: u32, change: Option<T::Hash>) -> Result<(), AllocError> {
        // The acquire pairs with the release below: one rebuild happens before the next one.
        if self.rebuilding.swap(true, Ordering::Acquire) {
            return Ok(());
        }
        let done = self.rebuild_alone(bits, change);
        self.rebuilding.store(false, Ordering::Release);
        done
    }

    fn rebuild_alone(&self, bits: u32, change: Option<T::Hash>) -> Result<(), AllocError> {
        // Relaxed: only `rebuild()` stores to `current`, and one rebuild happens before the next
        // one. SAFETY: By the type invariants `current` is valid. Only this function replaces and
        // frees it, and `rebuilding` keeps other threads out of here.
        let old = unsafe { &*self.current.load(Ordering::Relaxed) };
        let hash = change.unwrap_or_else(|| old.hash.clone());
        let new = KBox::into_raw(Buckets::new(bits, hash, old.link ^ 1)?);
        // Release pairs with the acquire in `lock()`: a writer that sees the pointer sees the
        // initialised array.
        old.future.store(new, Ordering::Release);
        // From here on every writer sees `future`, and no reader is left that uses the other link,
        // from before the last rebuild.
        synchronize();
        for number in 0..old.heads.len() {
            if self.is_cancelled() {
                break;
            }
            self.rehash_bucket(old, number, &read_lock());
            cond_resched();
        }
        if self.is_cancelled() {
            // Relaxed: null publishes nothing. A section that begins after the start of the grace
            // period sees null.
            old.future.store(null_mut(), Ordering::Relaxed);
            synchronize();
            // SAFETY: `new` came from `into_raw()` above, and the sections in which it was found
            // have ended.
            drop(unsafe { KBox::from_raw(new) });
            return Ok(());
        }
        // Release pairs with the acquire in `current()`: a reader that sees the pointer sees every
        // entry of the array. INVARIANT: Every hashed entry is in `new`: `rehash_bucket()` has
        // linked the older ones, and their writers the others.
        self.current.store(new, Ordering::Release);
        // Wait for readers and writers that still use the old array.
        synchronize();
        // SAFETY: By the type invariants `old` came from `into_raw()`. A grace period has passed
        // since it was replaced, so it has no users.
        drop(unsafe { KBox::from_raw(core::ptr::from_ref(old).cast_mut()) });
        Ok(())
    }

    /// Links the entries of one bucket of the current array into the future array.
    fn rehash_bucket(&self, old: &Buckets<T>, number: usize, section: &Section) {
        let rcu = ReadSide::of(section);
        let mut chain = old.chain(number, rcu);
        loop {
            let entry = chain.next;
            // An entry that is unlinked meanwhile still leads to the rest of the chain.
            let Some(item) = chain.next() else {
                return;
            };
            let mut writer = self.lock(|hash| item.hash(hash), rcu);
            if let Some(future) = &mut writer.future {
                if writer.current.has(entry) && !future.has(entry) {
                    // SAFETY: `entry` is in the current array, so it came from `into_raw()`, and
                    // is removed from both arrays before it is freed. It is not in the future
                    // array, where this is its bucket.
                    unsafe { future.push(entry) };
                }
            }
        }
    }
}
