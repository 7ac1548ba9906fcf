// SPDX-License-Identifier: GPL-2.0

//! Coexistence with C's module `ip_vs_lblc`, which has a sysctl of the same name.
//!
//! | C's module | ours | `lblc_expiration` in namespaces of the initial user namespace |
//! |---|---|---|
//! | loaded, or built in | loaded after it | C's; ours uses its value |
//! | unloaded then | | ours, with the same value |
//! | refused with `EBUSY` | loaded | ours |
//!
//! C's module is refused before its init runs, by a module notifier. In other user namespaces C's
//! module has no file, and ours is there in every case.
//!
//! C headers: [`include/linux/module.h`](srctree/include/linux/module.h),
//! [`include/linux/notifier.h`](srctree/include/linux/notifier.h).

use super::files::VISIBLE;
use crate::{
    bindings,
    ipvs::log, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// Module events.
const COMING: c_ulong = bindings::module_state_MODULE_STATE_COMING as c_ulong;
const GOING: c_ulong = bindings::module_state_MODULE_STATE_GOING as c_ulong;

/// The message in the log when C's module is refused.
const REFUSAL: &CStr = c"ip_vs_lblc is refused while ip_vs_lblc_rs is loaded: \
    unload ip_vs_lblc_rs first, or use its scheduler";

/// The name of C's module.
const C_MODULE: &CStr = c"ip_vs_lblc";

/// Called when a module is loaded or unloaded. Process context, under the rwsem of the module
/// notifiers.
///
/// # Safety
///
/// Called by the module core, with `data` pointing to the module.
unsafe extern "C" fn module_changed(
    _: *mut bindings::notifier_block,
    event: c_ulong,
    data: *mut c_void,
) -> c_int {
    // SAFETY: The module is live during the call.
    let name = unsafe { &(*data.cast::<bindings::module>()).name };
    let c_name = C_MODULE.to_bytes_with_nul().iter();
    if !c_name.zip(name).all(|(a, b)| *a == *b) {
        return bindings::NOTIFY_DONE as c_int;
    }
    let mut visible = VISIBLE.lock();
    match event {
        COMING if !visible.c_is_loaded => {
            drop(visible);
            log::notice_ratelimited(REFUSAL);
            // SAFETY: An FFI call with no requirement.
            unsafe { bindings::lblc_rs_notifier_from_errno(EBUSY.to_errno()) }
        }
        // The exit of C's module has run, or its init has failed: it has no files any more.
        GOING if visible.c_is_loaded => {
            visible.take_expiration_over();
            bindings::NOTIFY_DONE as c_int
        }
        GOING => {
            visible.c_has_gone = true;
            bindings::NOTIFY_DONE as c_int
        }
        _ => bindings::NOTIFY_DONE as c_int,
    }
}

/// Our `module_changed()`, called for every module from creation to drop.
///
/// # Invariants
///
/// `inner` is pinned and registered.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier {
    #[pin]
    inner: Opaque<bindings::notifier_block>,
}

// SAFETY: The notifier chain has a lock of its own; there are no methods.
unsafe impl Send for Notifier {}
// SAFETY: As above.
unsafe impl Sync for Notifier {}

impl Notifier {
    /// Begins to refuse C's module, unless it is loaded already. Process context. Fails with
    /// `ENOMEM`.
    ///
    /// Between its `COMING` event and its appearance in sysfs a module cannot be found. If C's
    /// module is loaded at the same time and is delayed for all of our init, just there, its file
    /// collides with ours. The RCU grace period makes that unlikely; nothing that modules may call
    /// excludes it.
    ///
    /// # Safety
    ///
    /// Called once since the module was loaded, before any other function of `netns/`.
    pub(crate) unsafe fn new() -> impl PinInit<Self, Error> {
        // SAFETY: The caller promises that this is the first call, and that nothing uses `VISIBLE`
        // yet.
        unsafe { VISIBLE.init() };
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                // SAFETY: `slot` is valid for writes, and nothing else uses it yet.
                unsafe {
                    slot.write(bindings::notifier_block {
                        notifier_call: Some(module_changed),
                        ..pin_init::zeroed()
                    })
                };
                // SAFETY: The block is initialised, and pinned until it is unregistered.
                to_result(unsafe { bindings::lblc_rs_register_module_notifier(slot) })?;
                crate::rcu::synchronize();
                // SAFETY: An FFI call; `C_MODULE` is a C string.
                let is_there =
                    unsafe { bindings::lblc_rs_module_is_there(C_MODULE.as_char_ptr()) };
                let mut visible = VISIBLE.lock();
                if is_there && !visible.c_has_gone {
                    visible.c_is_loaded = true;
                    log::notice(c"net.ipv4.vs.lblc_expiration is ip_vs_lblc's; its value is used");
                }
                Ok::<(), Error>(())
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Notifier {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants `inner` is registered.
        unsafe { bindings::lblc_rs_unregister_module_notifier(self.inner.get()) };
    }
}
