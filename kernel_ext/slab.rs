// SPDX-License-Identifier: GPL-2.0

//! Memory for the entries of tables, from a cache of their own.
//!
//! The cache is as fast as `kmalloc()` (docs/table.md has the figures). It is here because
//! slabtop(1) shows with it how many entries there are, and because `kmem_cache_destroy()` reports
//! an entry that is left when the module is unloaded.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h).

use crate::bindings;
use core::{
    alloc::Layout,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{
    alloc::{AllocError, Allocator, Flags, NumaNode},
    prelude::*,
};

/// The size and alignment of an object: one cache line.
pub(crate) const SIZE: usize = 64;

/// The cache, as long as there is one.
static CACHE: AtomicPtr<bindings::kmem_cache> = AtomicPtr::new(null_mut());

/// The cache, from creation to drop.
pub(crate) struct Cache;

impl Cache {
    /// Makes the cache. Process context. Fails with `ENOMEM`, or `EBUSY` if there is one.
    pub(crate) fn new() -> Result<Self> {
        let (name, size) = (c"ip_vs_lblc_rs_entry".as_char_ptr(), SIZE as c_uint);
        // SAFETY: An FFI call; the name is static.
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
    /// To be dropped after the tables. C warns if an object is left.
    fn drop(&mut self) {
        let cache = CACHE.swap(null_mut(), Ordering::AcqRel);
        // SAFETY: `cache` was made by `new()`, and the tables that allocate from it were dropped.
        unsafe { bindings::kmem_cache_destroy(cache) };
    }
}

/// The allocator that uses the cache; for objects of at most [`SIZE`] bytes, which never change
/// their size. Any context: it does not sleep, whatever the flags say, and a failure is not
/// reported, as the connection goes on without an entry.
pub(crate) struct Slab;

// SAFETY: What `alloc()` returns is as large and aligned as asked for, belongs to the caller until
// `free()`, and can be moved between owners; there is no reallocation.
unsafe impl Allocator for Slab {
    const MIN_ALIGN: usize = SIZE;

    fn alloc(layout: Layout, _: Flags, _: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
        let cache = CACHE.load(Ordering::Acquire);
        if cache.is_null() || layout.size() > SIZE || layout.align() > SIZE {
            return Err(AllocError);
        }
        let flags = bindings::GFP_ATOMIC | bindings::__GFP_NOWARN;
        // SAFETY: `cache` is not destroyed before the tables, which are what allocates, were dropped.
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
        // SAFETY: The caller promises that `object` came from `alloc()`, so from this cache.
        unsafe { bindings::kmem_cache_free(cache, object.as_ptr().cast()) };
    }
}
