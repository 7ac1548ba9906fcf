// SPDX-License-Identifier: GPL-2.0

//! A slab cache for hash table entries.
//!
//! The cache is as fast as `kmalloc()` (`docs/table.md` has the figures). It exists because
//! slabtop(1) then shows how many entries there are, and because `kmem_cache_destroy()` reports
//! entries that were leaked.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h).

use crate::bindings;
use core::{
    alloc::Layout,
    ptr::{
        null_mut,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    }, //
};
use kernel::{
    alloc::{
        AllocError,
        Allocator,
        Flags,
        NumaNode, //
    },
    prelude::*, //
};

/// The size and alignment of an object: one cache line.
pub(crate) const SIZE: usize = 64;

/// The cache, or null before [`Cache::new()`] and after its drop.
static CACHE: AtomicPtr<bindings::kmem_cache> = AtomicPtr::new(null_mut());

/// Owns the cache.
pub(crate) struct Cache;

impl Cache {
    /// Creates the cache. Process context. Fails with `ENOMEM`, or `EBUSY` if there is one.
    pub(crate) fn new() -> Result<Self> {
        let (name, size) = (c"ip_vs_lblc_rs_entry".as_char_ptr(), SIZE as c_uint);
        // SAFETY: `name` is static, as the cache keeps the pointer.
        let new = unsafe { bindings::lblc_rs_create_cache(name, size) };
        if new.is_null() {
            return Err(ENOMEM);
        }
        let free = Ordering::Relaxed;
        match CACHE.compare_exchange(null_mut(), new, Ordering::Release, free) {
            Ok(_) => Ok(Self),
            Err(_) => {
                // SAFETY: `new` is a cache without objects that was not published.
                unsafe { bindings::kmem_cache_destroy(new) };
                Err(EBUSY)
            }
        }
    }
}

impl Drop for Cache {
    /// Must be dropped after the tables: C warns if an object is left. Process context.
    fn drop(&mut self) {
        let cache = CACHE.swap(null_mut(), Ordering::AcqRel);
        // SAFETY: `cache` was created by `new()`, and the tables that allocate from it were
        // dropped.
        unsafe { bindings::kmem_cache_destroy(cache) };
    }
}

/// An allocator that uses the cache, for objects of at most [`SIZE`] bytes. Any context: it always
/// allocates with `GFP_ATOMIC`, and without a warning if memory is short. No reallocation.
pub(crate) struct Slab;

// SAFETY: Memory that `alloc()` returns fits `layout`, is valid until `free()`, and is tied to no
// allocator instance; `realloc()` always fails and so leaves the old memory alone.
unsafe impl Allocator for Slab {
    const MIN_ALIGN: usize = SIZE;

    fn alloc(layout: Layout, _: Flags, _: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
        let cache = CACHE.load(Ordering::Acquire);
        if cache.is_null() || layout.size() > SIZE || layout.align() > SIZE {
            return Err(AllocError);
        }
        let flags = bindings::GFP_ATOMIC | bindings::__GFP_NOWARN;
        // SAFETY: `cache` is a live cache: it is destroyed after the tables, the only users, are
        // dropped.
        let object = unsafe { bindings::kmem_cache_alloc_noprof(cache, flags) };
        let object = NonNull::new(object.cast()).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(object, SIZE))
    }

    unsafe fn realloc(
        _: Option<NonNull<u8>>,
        _: Layout,
        _: Layout,
        _: Flags,
        _: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn free(object: NonNull<u8>, _: Layout) {
        let cache = CACHE.load(Ordering::Relaxed);
        // SAFETY: The caller promises that `object` came from `alloc()`, so from `cache`.
        unsafe { bindings::kmem_cache_free(cache, object.as_ptr().cast()) };
    }
}
