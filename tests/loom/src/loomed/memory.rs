// SPDX-License-Identifier: GPL-2.0

//! An allocator that detects a use after free, a double free, and a leak.
//!
//! A freed object is dropped at once, but its memory stays mapped until the execution is over. A
//! late reader therefore finds a [`Life`] that has ended, and does no harm.

use loom::cell::UnsafeCell;
use std::{
    alloc::{dealloc, Layout},
    collections::HashMap,
    ops::Deref,
    sync::Mutex,
};

loom::lazy_static! {
    static ref MEMORY: Memory = Memory::default();
}

/// The allocations of an execution. Loom's threads take turns on one thread of the host, and
/// nothing here switches to another one.
#[derive(Default)]
struct Memory {
    live: Mutex<HashMap<usize, Layout>>,
    freed: Mutex<Vec<(usize, Layout)>>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        for (at, layout) in self.freed.get_mut().unwrap().drain(..) {
            if layout.size() != 0 {
                // SAFETY: `KBox` got the pointer from `Box` with this layout, and nothing is left
                // that uses it.
                unsafe { dealloc(at as *mut u8, layout) };
            }
        }
    }
}

/// Fails if something was not freed.
pub(super) fn all_freed() {
    let live = MEMORY.live.lock().unwrap().len();
    assert_eq!(live, 0, "allocations leaked");
}

/// Memory allocation failed. It does not, here.
#[derive(Debug)]
pub(super) struct AllocError;

/// As the kernel crate's `KBox`.
pub(super) struct KBox<T: ?Sized>(*mut T);

impl<T: ?Sized> KBox<T> {
    pub(super) fn from_box(object: Box<T>) -> Self {
        let at = Box::into_raw(object);
        // SAFETY: The pointer was that of a box until now.
        let layout = Layout::for_value(unsafe { &*at });
        let mut live = MEMORY.live.lock().unwrap();
        live.insert(at.cast::<u8>() as usize, layout);
        Self(at)
    }
}

impl<T> KBox<T> {
    pub(super) fn new(object: T) -> Self {
        Self::from_box(Box::new(object))
    }

    pub(super) fn into_raw(this: Self) -> *mut T {
        std::mem::ManuallyDrop::new(this).0
    }

    /// # Safety
    ///
    /// `raw` came from `into_raw()`, and is not used again.
    pub(super) unsafe fn from_raw(raw: *mut T) -> Self {
        Self(raw)
    }
}

impl<T: ?Sized> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `self.0` is mapped until the execution is over.
        unsafe { &*self.0 }
    }
}

impl<T: ?Sized> Drop for KBox<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let at = self.0.cast::<u8>() as usize;
        let layout = MEMORY.live.lock().unwrap().remove(&at);
        let layout = layout.expect("freed twice, or never allocated");
        // SAFETY: The object was alive until now, so its destructor has not run.
        unsafe { std::ptr::drop_in_place(self.0) };
        MEMORY.freed.lock().unwrap().push((at, layout));
    }
}

/// Part of an object: loom fails if the object is used after it was freed or before it was
/// initialised, or if nothing orders a use and one of these in another thread.
pub(super) struct Life(UnsafeCell<bool>);

// SAFETY: Loom sees to the accesses.
unsafe impl Sync for Life {}

impl Life {
    pub(super) fn begin() -> Self {
        Self(UnsafeCell::new(true))
    }

    /// The object is being used.
    pub(super) fn check(&self) {
        // SAFETY: A read, of which loom has just found that no write is concurrent with it.
        self.0
            .with(|lives| assert!(unsafe { *lives }, "used after it was freed"));
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: A write, of which loom has just found that no access is concurrent with it.
            self.0.with_mut(|lives| unsafe { *lives = false });
        }
    }
}
