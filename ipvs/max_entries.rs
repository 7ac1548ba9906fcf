// SPDX-License-Identifier: GPL-2.0

//! The file `net/ipv4/vs/lblc_rs_max_entries` in every network namespace: how many entries a table
//! may have. A service holds its namespace's [`Limit`], which so outlives the namespace's own state.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h).

use super::{log, proc, Service};
use crate::bindings;
use core::{
    mem::size_of,
    ptr::null_mut,
    sync::atomic::{AtomicI32, Ordering},
};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    sync::{global_lock, Arc},
    types::Opaque,
};

/// What a netns starts with, and the bounds of what it may have.
static DEFAULT: c_int = 1 << 18;
static LEAST: c_int = 1;
static MOST: c_int = 1 << 24;

/// The limit of one netns.
pub(crate) struct Limit(AtomicI32);

impl Limit {
    /// The most entries that a table may have. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed) as usize
    }

    /// That of the service's netns. Process context. Fails with `ENOENT` if the netns is about to go.
    pub(crate) fn of(service: &Service) -> Result<Arc<Self>> {
        let ipvs = service.netns();
        let files = FILES.lock();
        let file = files.iter().find(|file| file.ipvs == ipvs);
        file.map(|file| file.limit.clone()).ok_or(ENOENT)
    }
}

/// The file of one netns.
///
/// # Invariants
///
/// `net` is alive, and `ipvs` is its own. `header` is null or the registration of `table`, which is not
/// moved as long as that lasts.
struct File {
    net: *mut bindings::net,
    ipvs: *mut bindings::netns_ipvs,
    limit: Arc<Limit>,
    table: Opaque<bindings::ctl_table>,
    header: *mut bindings::ctl_table_header,
}

// SAFETY: A netns and its sysctls belong to no thread; access is serialised by `FILES`.
unsafe impl Send for File {}

impl Drop for File {
    fn drop(&mut self) {
        #[cfg(CONFIG_SYSCTL)]
        // SAFETY: By the type invariants it is null, which C ignores, or registered.
        unsafe {
            bindings::unregister_net_sysctl_table(self.header)
        };
    }
}

global_lock! {
    // SAFETY: `List::new()` initialises it before anything else of this file runs.
    unsafe(uninit) static FILES: Mutex<KVec<KBox<File>>> = KVec::new();
}

/// The list of files, from creation to drop. There is one.
pub(super) struct List;

impl List {
    /// Makes the list ready for use. Process context.
    ///
    /// # Safety
    ///
    /// Called once since the module was loaded, before anything is registered.
    pub(super) unsafe fn new() -> Self {
        // SAFETY: The caller promises that this is the first call, and that nobody uses it yet.
        unsafe { FILES.init() };
        Self
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // A static is not dropped: the memory of the list, empty by now, has to be let go.
        *FILES.lock() = KVec::new();
    }
}

/// Reads or writes the file. Process context. As C's `proc_dointvec_minmax()`, which refuses with
/// `EINVAL` what is out of bounds; a change takes effect at once.
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
    // SAFETY: `data` is `File::limit`, and the file is gone before that is.
    let limit = unsafe { AtomicI32::from_ptr((*table).data.cast()) };
    let mut new = limit.load(Ordering::Relaxed);
    // SAFETY: A `ctl_table` is plain data.
    let mut copy = unsafe { core::ptr::read(table) };
    let ipvs: *mut bindings::netns_ipvs = copy.extra1.cast();
    // What root of a user namespace has may not be accounted to anybody.
    // SAFETY: The netns' own state outlives the file.
    let most = match unsafe { bindings::lblc_rs_is_initial_user(ipvs) } {
        true => &MOST,
        false => &DEFAULT,
    };
    copy.data = (&raw mut new).cast();
    copy.extra1 = (&raw const LEAST).cast_mut().cast();
    copy.extra2 = core::ptr::from_ref(most).cast_mut().cast();
    from_result(|| {
        // SAFETY: `copy` describes one `int` on our stack; the rest is as the caller gave it.
        to_result(unsafe { bindings::proc_dointvec_minmax(&copy, write, buffer, lenp, ppos) })?;
        if write != 0 {
            limit.store(new, Ordering::Relaxed);
            proc::wake_all(ipvs);
        }
        Ok(0)
    })
}

/// A netns comes to life: gives it the file. Process context, under the core's pernet rwsem. Fails with
/// `ENOMEM`.
///
/// # Safety
///
/// `ipvs` is that of `net`, and `remove()` is called before `net` dies.
pub(super) unsafe fn add(net: *mut bindings::net, ipvs: *mut bindings::netns_ipvs) -> Result {
    let limit = Arc::new(Limit(AtomicI32::new(DEFAULT)), GFP_KERNEL)?;
    // INVARIANT: As the caller promises; not registered yet.
    let file = File {
        net,
        ipvs,
        table: Opaque::new(bindings::ctl_table {
            procname: c"lblc_rs_max_entries".as_char_ptr(),
            data: limit.0.as_ptr().cast(),
            maxlen: size_of::<c_int>() as c_int,
            mode: 0o644,
            proc_handler: Some(handler),
            // For the handler: whose file it is.
            extra1: ipvs.cast(),
            ..pin_init::zeroed()
        }),
        limit,
        header: null_mut(),
    };
    let mut file = KBox::new(file, GFP_KERNEL)?;
    #[cfg(CONFIG_SYSCTL)]
    {
        // SAFETY: `net` is alive, and the boxed table stays where it is until it is unregistered.
        file.header = unsafe {
            bindings::register_net_sysctl_sz(
                file.net,
                c"net/ipv4/vs".as_char_ptr(),
                file.table.get(),
                1,
            )
        };
        if file.header.is_null() {
            log::notice(c"net.ipv4.vs.lblc_rs_max_entries cannot be had; the default is used");
        }
    }
    FILES.lock().push(file, GFP_KERNEL)?;
    Ok(())
}

/// A netns dies, or the module goes. Process context. Services that are still there keep the limit.
pub(super) fn remove(net: *mut bindings::net) {
    let mut files = FILES.lock();
    let at = files.iter().position(|file| file.net == net);
    let file = at.map(|at| files.remove(at));
    // Removing the file waits for whoever is in it, perhaps long: other namespaces must not.
    drop(files);
    drop(file);
}
