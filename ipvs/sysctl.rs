// SPDX-License-Identifier: GPL-2.0

//! The file `net/ipv4/vs/lblc_expiration` in every network namespace.
//!
//! The value lives in the core's `netns_ipvs`, where C's `ip_vs_lblc` has it too, so that both
//! modules go by the same one. Only one of them can have the file. If C's module was there first,
//! the file stays C's. If ours was, a module notifier steps aside while C's module is loaded:
//!
//! ```text
//!   we load: C has no file ──> our files ── C coming: remove ours ──> C's files
//!            C has them ───────────────────────────────────────────────> │
//!                              our files <── C going: add ours ──────────┘
//! ```
//!
//! Lock order: the core's pernet or module-notifier rwsem, then [`FILES`], then sysctl's locks.
//!
//! C headers: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h),
//! [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h).

use super::log;
use crate::{bindings, timer::HZ};
use core::{
    mem::size_of,
    ptr::null_mut,
    sync::atomic::{AtomicI32, Ordering},
};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    sync::global_lock,
    types::Opaque, //
};

/// The value that a netns starts with, in jiffies: a day. C: `DEFAULT_EXPIRATION`.
const DEFAULT: c_int = 24 * 60 * 60 * HZ as c_int;

/// Module events.
const COMING: c_ulong = bindings::module_state_MODULE_STATE_COMING as c_ulong;
const GOING: c_ulong = bindings::module_state_MODULE_STATE_GOING as c_ulong;

/// The name of C's module, for which the notifier waits.
const RIVAL: &[u8] = b"ip_vs_lblc\0";

/// Where the value is in C's `netns_ipvs`.
///
/// # Safety
///
/// `ipvs` must be alive.
#[inline(always)]
pub(super) unsafe fn value(ipvs: *mut bindings::netns_ipvs) -> *mut c_int {
    // SAFETY: The offset is that of the `int`, as C's compiler sees it.
    unsafe { ipvs.byte_add(bindings::LBLC_RS_EXPIRATION) }.cast()
}

/// The file of one netns.
///
/// # Invariants
///
/// `net` is alive, and `value` is in its `netns_ipvs`. `header` is null or the registration of
/// `table`, which is not moved as long as that lasts.
struct File {
    net: *mut bindings::net,
    value: *mut c_int,
    table: Opaque<bindings::ctl_table>,
    header: *mut bindings::ctl_table_header,
    /// The value from before C's module came, which sets the default without asking.
    before_rival: Option<c_int>,
}

// SAFETY: A netns and its sysctls belong to no thread; access is serialised by `FILES`.
unsafe impl Send for File {}

struct Files {
    /// C's module is loaded or about to be: the name is its own.
    aside: bool,
    all: KVec<KBox<File>>,
}

global_lock! {
    // SAFETY: `Watch::new()` initialises it before anything else of this file runs.
    unsafe(uninit) static FILES: Mutex<Files> = Files { aside: false, all: KVec::new() };
}

impl File {
    /// The value, which the core and both modules read without a lock.
    fn value(&self) -> &AtomicI32 {
        // SAFETY: By the type invariants it is alive; all access it as one word.
        unsafe { AtomicI32::from_ptr(self.value) }
    }

    /// Adds the file, if the name is free.
    #[cfg(CONFIG_SYSCTL)]
    fn show(&mut self) {
        if self.header.is_null() {
            // SAFETY: `net` is alive, and the boxed table stays where it is until `hide()`.
            self.header = unsafe {
                bindings::register_net_sysctl_sz(
                    self.net,
                    c"net/ipv4/vs".as_char_ptr(),
                    self.table.get(),
                    1,
                )
            };
        }
    }

    #[cfg(not(CONFIG_SYSCTL))]
    fn show(&mut self) {}

    /// Removes the file and waits for whoever is in it.
    fn hide(&mut self) {
        #[cfg(CONFIG_SYSCTL)]
        // SAFETY: By the type invariants it is null, which C ignores, or registered.
        unsafe {
            bindings::unregister_net_sysctl_table(self.header)
        };
        // INVARIANT: Not registered any more.
        self.header = null_mut();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.hide();
    }
}

/// Reads or writes the file in seconds. Process context. As C's `proc_dointvec_jiffies()`, which
/// refuses what does not fit with `EINVAL`, but a negative value is refused too.
///
/// # Safety
///
/// Called by the sysctl core with a table of ours and its own buffer.
unsafe extern "C" fn handler(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    lenp: *mut usize,
    ppos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: `data` is `File::value`; the file is gone before the netns is.
    let value = unsafe { AtomicI32::from_ptr((*table).data.cast()) };
    let mut new = value.load(Ordering::Relaxed);
    // SAFETY: A `ctl_table` is plain data.
    let mut copy = unsafe { core::ptr::read(table) };
    copy.data = (&raw mut new).cast();
    from_result(|| {
        // SAFETY: `copy` describes one `int` on our stack; the rest is as the caller gave it.
        to_result(unsafe { bindings::proc_dointvec_jiffies(&copy, write, buffer, lenp, ppos) })?;
        if write != 0 {
            if new < 0 {
                return Err(EINVAL);
            }
            value.store(new, Ordering::Relaxed);
        }
        Ok(0)
    })
}

/// A netns comes to life: gives it the file, if the name is free. Process context, under the core's
/// pernet rwsem. Fails with `ENOMEM`.
///
/// # Safety
///
/// `ipvs` is that of `net`, and `remove()` is called before `net` dies.
pub(super) unsafe fn add(net: *mut bindings::net, ipvs: *mut bindings::netns_ipvs) -> Result {
    // SAFETY: `ipvs` is alive, and outlives the file (IPVS' own exit runs after ours).
    let value = unsafe { value(ipvs) };
    // INVARIANT: As just said; not registered yet.
    let file = File {
        net,
        value,
        table: Opaque::new(bindings::ctl_table {
            procname: c"lblc_expiration".as_char_ptr(),
            data: value.cast(),
            maxlen: size_of::<c_int>() as c_int,
            mode: 0o644,
            proc_handler: Some(handler),
            ..pin_init::zeroed()
        }),
        header: null_mut(),
        before_rival: None,
    };
    let mut file = KBox::new(file, GFP_KERNEL)?;

    let mut files = FILES.lock();
    files.all.reserve(1, GFP_KERNEL)?;
    if !files.aside {
        file.show();
    }
    // SAFETY: `ipvs` is alive.
    if file.header.is_null() && unsafe { bindings::lblc_rs_rival_was_here(ipvs) } {
        if !files.aside {
            // Asking for every other netns would only fill the log.
            files.aside = true;
            log::notice(c"net.ipv4.vs.lblc_expiration is ip_vs_lblc's; its value is used");
        }
    } else {
        file.value().store(DEFAULT, Ordering::Relaxed);
    }
    files.all.push(file, GFP_KERNEL)?;
    Ok(())
}

/// A netns dies, or the module goes. Process context. The services of a dying netns are still there
/// and go on reading the value, which the core frees later.
pub(super) fn remove(net: *mut bindings::net) {
    let mut files = FILES.lock();
    let at = files.all.iter().position(|file| file.net == net);
    let file = at.map(|at| files.all.remove(at));
    // Removing the file waits for whoever is in it, perhaps long: other namespaces must not.
    drop(files);
    drop(file);
}

/// C's module comes or goes. Process context, under the core's notifier rwsem.
///
/// # Safety
///
/// Called by the module core, with `data` pointing to the module.
unsafe extern "C" fn module_changed(
    _: *mut bindings::notifier_block,
    event: c_ulong,
    data: *mut c_void,
) -> c_int {
    // SAFETY: The module is alive during the call.
    let name = unsafe { &(*data.cast::<bindings::module>()).name };
    if !RIVAL.iter().zip(name).all(|(a, b)| a == b) {
        return 0; // NOTIFY_DONE
    }
    let mut files = FILES.lock();
    // Its init has not run yet when it is coming; its exit has when it is going.
    files.aside = event != GOING;
    let coming = event == COMING;
    let aside = files.aside;
    for file in files.all.iter_mut() {
        if coming {
            file.before_rival = Some(file.value().load(Ordering::Relaxed));
            // Waits for whoever is in the file, with `FILES` held: C's module waits with us.
            file.hide();
        } else if let Some(value) = file.before_rival.take() {
            file.value().store(value, Ordering::Relaxed);
        }
        if !aside {
            file.show();
        }
    }
    0
}

/// Our `module_changed()`, called for every module.
///
/// # Invariants
///
/// `inner` is pinned and registered.
#[pin_data(PinnedDrop)]
pub(super) struct Watch {
    #[pin]
    inner: Opaque<bindings::notifier_block>,
}

// SAFETY: The core has a lock of its own; there are no methods.
unsafe impl Send for Watch {}
// SAFETY: As above.
unsafe impl Sync for Watch {}

impl Watch {
    /// Makes the list ready for use and begins to watch. Process context. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// Called once since the module was loaded, before anything is registered.
    pub(super) unsafe fn new() -> impl PinInit<Self, Error> {
        // SAFETY: The caller promises that this is the first call, and that nobody uses it yet.
        unsafe { FILES.init() };
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                // SAFETY: `slot` is memory for it, of which all-zeroes is a valid value.
                unsafe { slot.write(core::mem::zeroed()) };
                // SAFETY: It was just initialised and is ours alone.
                unsafe { (*slot).notifier_call = Some(module_changed) };
                // SAFETY: The block is whole and pinned until it is unregistered.
                to_result(unsafe { bindings::register_module_notifier(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Watch {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants it is registered.
        unsafe { bindings::unregister_module_notifier(self.inner.get()) };
        // A static is not dropped: the memory of the list, empty by now, has to be let go.
        FILES.lock().all = KVec::new();
    }
}
