// SPDX-License-Identifier: GPL-2.0

//! The file `/proc/net/ip_vs_lblc_rs` of every network namespace: what its services know.
//!
//! A service shows itself in numbered records, small ones, of which each is printed in one go. A
//! position in the file is a service's number and a record's; numbers of services are never used
//! again. So a reader sees every record of a service that stays exactly once, whatever comes and goes
//! between two of its reads.
//!
//! Lock order: the core's service mutex, then [`SERVICES`]. It is held for one record at a time.
//!
//! C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h).

use crate::bindings;
use core::ptr::null_mut;
use kernel::{prelude::*, seq_file::SeqFile, sync::global_lock};

/// The name of the file.
const NAME: &CStr = c"ip_vs_lblc_rs";

/// A service has at most `2^RECORD_BITS` records.
const RECORD_BITS: u32 = 20;

/// Prints record `number` of `object`.
///
/// # Safety
///
/// `object` is what was listed with this function, and still is.
pub(super) type Show = unsafe fn(object: *mut c_void, number: usize, out: &SeqFile);

/// A service that can be shown.
struct Listed {
    id: u64,
    ipvs: *mut bindings::netns_ipvs,
    object: *mut c_void,
    records: usize,
    show: Show,
}

// SAFETY: The pointers are compared, or used under `SERVICES` while the object is listed.
unsafe impl Send for Listed {}

struct Services {
    last_id: u64,
    /// In ascending order of `id`.
    all: KVec<Listed>,
}

global_lock! {
    // SAFETY: `List::new()` initialises it before anything else of this file runs.
    unsafe(uninit) static SERVICES: Mutex<Services> = Services { last_id: 0, all: KVec::new() };
}

/// The list of services, from creation to drop. There is one.
pub(crate) struct List;

impl List {
    /// Makes the list ready for use. Process context.
    ///
    /// # Safety
    ///
    /// Called once since the module was loaded, before anything is registered.
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: The caller promises that this is the first call, and that nobody uses it yet.
        unsafe { SERVICES.init() };
        Self
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // A static is not dropped: the memory of the list, empty by now, has to be let go.
        SERVICES.lock().all = KVec::new();
    }
}

/// Lists a service of `ipvs`. Process context. Fails with `ENOMEM`.
///
/// # Safety
///
/// Until `unlist()`, `show` may be called with `object`.
pub(super) unsafe fn list(
    ipvs: *mut bindings::netns_ipvs,
    object: *mut c_void,
    records: usize,
    show: Show,
) -> Result {
    let mut services = SERVICES.lock();
    let id = services.last_id.wrapping_add(1);
    let listed = Listed {
        id,
        ipvs,
        object,
        records: records.min(1 << RECORD_BITS),
        show,
    };
    services.all.push(listed, GFP_KERNEL)?;
    services.last_id = id;
    Ok(())
}

/// Takes a service off the list, and waits until nobody prints it. Process context.
pub(super) fn unlist(object: *mut c_void) {
    let mut services = SERVICES.lock();
    if let Some(at) = services.all.iter().position(|it| it.object == object) {
        drop(services.all.remove(at));
    }
}

/// The first position at or after `pos` that has a record of `ipvs`, and its place in the list.
fn seek(services: &Services, ipvs: *mut bindings::netns_ipvs, pos: u64) -> Option<(u64, usize)> {
    let (id, record) = (pos >> RECORD_BITS, pos as usize & ((1 << RECORD_BITS) - 1));
    let is_there =
        |it: &Listed| it.ipvs == ipvs && (it.id > id || it.id == id && record < it.records);
    let at = services.all.iter().position(is_there)?;
    let found = services.all.get(at)?.id;
    Some((
        if found == id {
            pos
        } else {
            found << RECORD_BITS
        },
        at,
    ))
}

/// Moves `pos` to a record that is there; C wants a pointer that is not null, or null at the end.
///
/// # Safety
///
/// `m` is an open file of ours.
unsafe fn settle(m: *mut bindings::seq_file, pos: *mut bindings::loff_t) -> *mut c_void {
    // SAFETY: The file was opened in a netns, which it keeps alive.
    let ipvs = unsafe { bindings::lblc_rs_net_ipvs(bindings::lblc_rs_seq_net(m)) };
    // SAFETY: The caller passes C's own position.
    let position = unsafe { &mut *pos };
    match seek(&SERVICES.lock(), ipvs, *position as u64) {
        Some((settled, _)) => {
            *position = settled as bindings::loff_t;
            pos.cast()
        }
        None => null_mut(),
    }
}

/// # Safety
///
/// Called by the seq_file core.
unsafe extern "C" fn start(m: *mut bindings::seq_file, pos: *mut bindings::loff_t) -> *mut c_void {
    // SAFETY: Both are C's.
    unsafe { settle(m, pos) }
}

/// # Safety
///
/// Called by the seq_file core.
unsafe extern "C" fn next(
    m: *mut bindings::seq_file,
    _: *mut c_void,
    pos: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: Both are C's.
    unsafe {
        *pos = (*pos).wrapping_add(1);
        settle(m, pos)
    }
}

/// # Safety
///
/// Called by the seq_file core.
unsafe extern "C" fn stop(_: *mut bindings::seq_file, _: *mut c_void) {}

/// # Safety
///
/// Called by the seq_file core with the pointer that `settle()` returned.
unsafe extern "C" fn show(m: *mut bindings::seq_file, pos: *mut c_void) -> c_int {
    // SAFETY: It is C's position.
    let pos = unsafe { *pos.cast::<bindings::loff_t>() } as u64;
    // SAFETY: The file was opened in a netns, which it keeps alive.
    let ipvs = unsafe { bindings::lblc_rs_net_ipvs(bindings::lblc_rs_seq_net(m)) };
    // SAFETY: C calls us for one reader of this file at a time.
    let out = unsafe { SeqFile::from_raw(m) };
    let services = SERVICES.lock();
    // What went since `settle()` is left out.
    if let Some((found, at)) = seek(&services, ipvs, pos) {
        if let Some(it) = services.all.get(at).filter(|_| found == pos) {
            // SAFETY: It is listed, and stays so while we hold the lock.
            unsafe { (it.show)(it.object, pos as usize & ((1 << RECORD_BITS) - 1), out) };
        }
    }
    0
}

static OPERATIONS: bindings::seq_operations = bindings::seq_operations {
    start: Some(start),
    stop: Some(stop),
    next: Some(next),
    show: Some(show),
};

/// Gives a netns the file, which its root alone may read. Process context. Fails with `ENOMEM`.
///
/// # Safety
///
/// `net` is alive, and `remove()` is called before it dies.
pub(super) unsafe fn add(net: *mut bindings::net) -> Result {
    // SAFETY: The netns is alive; name and operations are static, and the file is gone before our text.
    match unsafe { bindings::lblc_rs_proc_create(net, NAME.as_char_ptr(), &OPERATIONS) } {
        true => Ok(()),
        false => Err(ENOMEM),
    }
}

/// Takes the file away, and waits for whoever reads it. Process context.
///
/// # Safety
///
/// `add()` succeeded for `net`.
pub(super) unsafe fn remove(net: *mut bindings::net) {
    // SAFETY: The caller promises that it is there.
    unsafe { bindings::lblc_rs_proc_remove(net, NAME.as_char_ptr()) };
}
