// SPDX-License-Identifier: GPL-2.0

//! Timers in jiffies, which the kernel crate does not have yet.
//!
//! ```text
//!   new() ──> stopped ── arm() ──> pending ── expiry ──> handler runs (softirq), may arm() again
//!                                     │
//!                                     └── shutdown() ──> dead: arm() does nothing from here on
//! ```
//!
//! C header: [`include/linux/timer.h`](srctree/include/linux/timer.h).

use crate::bindings;
use kernel::{prelude::*, sync::LockClassKey, time::Jiffies, types::Opaque};

/// Jiffies in a second.
pub(crate) const HZ: Jiffies = bindings::CONFIG_HZ as Jiffies;

/// The present time in jiffies, which wraps. Any context; a plain load.
#[inline(always)]
pub(crate) fn now() -> Jiffies {
    // SAFETY: `jiffies` is always readable; C too reads it without a lock and as volatile.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}

/// The C handler of a [`Timer`], called in softirq context with a pointer to that timer.
pub(crate) type Handler = unsafe extern "C" fn(*mut bindings::timer_list);

/// A `struct timer_list` inside a larger, pinned object.
///
/// # Invariants
///
/// `inner` was initialised by `timer_init_key()` and is pinned.
#[pin_data]
#[repr(transparent)]
pub(crate) struct Timer {
    #[pin]
    inner: Opaque<bindings::timer_list>,
}

// SAFETY: A timer is not tied to a thread; the timer core has locks of its own.
unsafe impl Send for Timer {}
// SAFETY: As above: `arm()` and `shutdown()` may be called from anywhere at once.
unsafe impl Sync for Timer {}

impl Timer {
    /// Makes a stopped timer.
    ///
    /// # Safety
    ///
    /// A timer that was armed must be shut down before its memory, or anything that `handler`
    /// uses, goes away.
    pub(crate) unsafe fn new(
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        handler: Handler,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            inner <- Opaque::ffi_init(move |slot| {
                // SAFETY: `slot` is memory for a timer, `name` and `key` are static.
                unsafe {
                    let name = name.as_char_ptr();
                    bindings::timer_init_key(slot, Some(handler), 0, name, key.as_ptr());
                }
            }),
        })
    }

    /// Lets the handler run `delay` jiffies from now. Any context.
    pub(crate) fn arm(&self, delay: Jiffies) {
        // SAFETY: By the type invariants the timer is initialised.
        unsafe { bindings::mod_timer(self.inner.get(), now().wrapping_add(delay)) };
    }

    /// Stops the timer for good and waits for a running handler. Process context, may sleep; the
    /// caller must hold no lock that the handler takes.
    pub(crate) fn shutdown(&self) {
        // SAFETY: By the type invariants the timer is initialised.
        unsafe { bindings::timer_shutdown_sync(self.inner.get()) };
    }
}
