// SPDX-License-Identifier: GPL-2.0

//! The files `/proc/net/ip_vs_lblc_rs` and `/proc/net/ip_vs_lblc_rs_stats` of every network namespace:
//! what its services know, and what they did.
//!
//! A service shows itself in numbered records, some of which are printed in one go. A position in the
//! file is a service's number and a record's; numbers of services are not used again soon. Where the
//! records end that are printed next is settled when the file gets to them, and kept with the open
//! file. So a reader sees every record of a service that stays exactly once, whatever comes and goes
//! between two of its reads, but for a new key of the hash, which is the answer to an attack.
//!
//! Lock order: the core's service mutex, then [`SERVICES`]. It is held for a few records at a time.
//!
//! C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h).

use crate::bindings;
use core::{ops::Range, ptr::null_mut};
use kernel::{prelude::*, seq_file::SeqFile, sync::global_lock};

/// The names of the files.
const TABLE: &CStr = c"ip_vs_lblc_rs";
const STATS: &CStr = c"ip_vs_lblc_rs_stats";

/// How many bits of a position are the record's: enough for 32 bits of hash, and the service's line.
const RECORD_BITS: u32 = 33;

/// The most records that a service can have.
pub(crate) const MAX_RECORDS: u64 = 1 << RECORD_BITS;

/// A service that can be shown. All calls are under [`SERVICES`], in process context.
pub(super) trait Shown {
    /// The number of records.
    const RECORDS: u64;
    /// The end of the records to print in one go, beginning with `record`.
    fn span(&self, record: u64) -> u64;
    /// Prints records.
    fn show(&self, records: Range<u64>, out: &SeqFile);
    /// Prints the counters.
    fn stats(&self, out: &SeqFile);
    /// A setting that the service goes by has changed.
    fn wake(&self);
}

/// A [`Shown`], and its functions.
#[derive(Clone, Copy)]
struct Object {
    object: *const c_void,
    records: u64,
    span: unsafe fn(*const c_void, u64) -> u64,
    show: unsafe fn(*const c_void, Range<u64>, &SeqFile),
    stats: unsafe fn(*const c_void, &SeqFile),
    wake: unsafe fn(*const c_void),
}

impl Object {
    fn new<T: Shown>(object: *const T) -> Self {
        Self {
            object: object.cast(),
            records: T::RECORDS.min(MAX_RECORDS),
            // All are called with `object`.
            span: |object, record| {
                // SAFETY: It is listed, so alive.
                unsafe { &*object.cast::<T>() }.span(record)
            },
            show: |object, records, out| {
                // SAFETY: It is listed, so alive.
                unsafe { &*object.cast::<T>() }.show(records, out)
            },
            stats: |object, out| {
                // SAFETY: It is listed, so alive.
                unsafe { &*object.cast::<T>() }.stats(out)
            },
            wake: |object| {
                // SAFETY: It is listed, so alive.
                unsafe { &*object.cast::<T>() }.wake()
            },
        }
    }
}

/// A service in the list.
///
/// # Invariants
///
/// The object is alive, as long as this is in the list.
struct Listed {
    id: u64,
    ipvs: *mut bindings::netns_ipvs,
    it: Object,
}

// SAFETY: The pointers are compared, or used under `SERVICES` while the object is listed.
unsafe impl Send for Listed {}

struct Services {
    last_id: u64,
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
/// `object` stays alive, and in place, until `unlist()`.
pub(super) unsafe fn list<T: Shown>(ipvs: *mut bindings::netns_ipvs, object: *const T) -> Result {
    let mut services = SERVICES.lock();
    // Not used by anybody, until 2^29 others have been.
    let mut id = services.last_id;
    loop {
        id = id.wrapping_add(1) & ((1 << 29) - 1);
        if !services.all.iter().any(|it| it.id == id) {
            break;
        }
    }
    let it = Object::new(object);
    services.all.push(Listed { id, ipvs, it }, GFP_KERNEL)?;
    services.last_id = id;
    Ok(())
}

/// Takes a service off the list, and waits until nobody prints it. Process context.
pub(super) fn unlist(object: *const c_void) {
    let mut services = SERVICES.lock();
    if let Some(at) = services.all.iter().position(|it| it.it.object == object) {
        drop(services.all.remove(at));
    }
}

/// Tells the services of `ipvs` that a setting has changed. Process context.
pub(super) fn wake_all(ipvs: *mut bindings::netns_ipvs) {
    for listed in SERVICES.lock().all.iter().filter(|it| it.ipvs == ipvs) {
        // SAFETY: It is listed, and stays so while we hold the lock.
        unsafe { (listed.it.wake)(listed.it.object) };
    }
}

/// The first position at or after `pos` at which a service of `ipvs` has a record, of `records(service)`.
fn seek<'a>(
    services: &'a Services,
    ipvs: *mut bindings::netns_ipvs,
    pos: u64,
    records: fn(&Object) -> u64,
) -> Option<(u64, &'a Object)> {
    let (id, record) = (pos >> RECORD_BITS, pos & (MAX_RECORDS - 1));
    let is_there = |it: &&Listed| {
        it.ipvs == ipvs
            && (it.id > id && records(&it.it) > 0 || it.id == id && record < records(&it.it))
    };
    let found = services
        .all
        .iter()
        .filter(is_there)
        .min_by_key(|it| it.id)?;
    let start = if found.id == id {
        pos
    } else {
        found.id << RECORD_BITS
    };
    Some((start, &found.it))
}

/// The IPVS state of the netns in which `m` was opened.
///
/// # Safety
///
/// `m` is an open file of ours.
unsafe fn netns(m: *mut bindings::seq_file) -> *mut bindings::netns_ipvs {
    // SAFETY: The file keeps the netns in which it was opened alive.
    unsafe { bindings::lblc_rs_net_ipvs(bindings::lblc_rs_seq_net(m)) }
}

/// Moves `pos` to a record that is there, and settles where the records end that come next; C wants a
/// pointer that is not null, or null at the end.
///
/// # Safety
///
/// `m` is an open file of ours.
unsafe fn settle(m: *mut bindings::seq_file, pos: *mut bindings::loff_t) -> *mut c_void {
    // SAFETY: The caller passes C's own position and an open file.
    let (ipvs, position, end) =
        unsafe { (netns(m), &mut *pos, &mut *bindings::lblc_rs_seq_end(m)) };
    let services = SERVICES.lock();
    let Some((settled, it)) = seek(&services, ipvs, *position as u64, |it| it.records) else {
        return null_mut();
    };
    let record = settled & (MAX_RECORDS - 1);
    // SAFETY: It is listed, and stays so while we hold the lock.
    let span = unsafe { (it.span)(it.object, record) };
    // At least one record, and none of the next service.
    let last = span.max(record.wrapping_add(1)).min(it.records);
    *position = settled as bindings::loff_t;
    *end = settled.wrapping_sub(record).wrapping_add(last);
    pos.cast()
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
        *pos = *bindings::lblc_rs_seq_end(m) as bindings::loff_t;
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
    // SAFETY: `pos` is C's position, and `m` an open file of ours.
    let (pos, end, ipvs) = unsafe {
        let pos = *pos.cast::<bindings::loff_t>() as u64;
        (pos, *bindings::lblc_rs_seq_end(m), netns(m))
    };
    // SAFETY: C calls us for one reader of this file at a time.
    let out = unsafe { SeqFile::from_raw(m) };
    let services = SERVICES.lock();
    // What went since `settle()` is left out.
    if let Some((_, it)) = seek(&services, ipvs, pos, |it| it.records).filter(|(at, _)| *at == pos)
    {
        let base = pos & !(MAX_RECORDS - 1);
        let records = pos.wrapping_sub(base)..end.wrapping_sub(base);
        // SAFETY: It is listed, and stays so while we hold the lock.
        unsafe { (it.show)(it.object, records, out) };
    }
    0
}

static TABLE_OPERATIONS: bindings::seq_operations = bindings::seq_operations {
    start: Some(start),
    stop: Some(stop),
    next: Some(next),
    show: Some(show),
};

/// As `settle()`, for the counters: one record a service.
///
/// # Safety
///
/// `m` is an open file of ours.
unsafe fn settle_stats(m: *mut bindings::seq_file, pos: *mut bindings::loff_t) -> *mut c_void {
    // SAFETY: The caller passes C's own position and an open file.
    let (ipvs, position) = unsafe { (netns(m), &mut *pos) };
    match seek(&SERVICES.lock(), ipvs, *position as u64, |_| 1) {
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
unsafe extern "C" fn start_stats(
    m: *mut bindings::seq_file,
    pos: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: Both are C's.
    unsafe { settle_stats(m, pos) }
}

/// # Safety
///
/// Called by the seq_file core.
unsafe extern "C" fn next_stats(
    m: *mut bindings::seq_file,
    _: *mut c_void,
    pos: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: Both are C's.
    unsafe {
        *pos = (*pos).wrapping_add(1);
        settle_stats(m, pos)
    }
}

/// # Safety
///
/// Called by the seq_file core with the pointer that `settle_stats()` returned.
unsafe extern "C" fn show_stats(m: *mut bindings::seq_file, pos: *mut c_void) -> c_int {
    // SAFETY: `pos` is C's position, and `m` an open file of ours.
    let (pos, ipvs) = unsafe { (*pos.cast::<bindings::loff_t>() as u64, netns(m)) };
    // SAFETY: C calls us for one reader of this file at a time.
    let out = unsafe { SeqFile::from_raw(m) };
    let services = SERVICES.lock();
    if let Some((_, it)) = seek(&services, ipvs, pos, |_| 1).filter(|(at, _)| *at == pos) {
        // SAFETY: It is listed, and stays so while we hold the lock.
        unsafe { (it.stats)(it.object, out) };
    }
    0
}

static STATS_OPERATIONS: bindings::seq_operations = bindings::seq_operations {
    start: Some(start_stats),
    stop: Some(stop),
    next: Some(next_stats),
    show: Some(show_stats),
};

/// Gives a netns the files, which its root alone may read. Process context. Fails with `ENOMEM`.
///
/// # Safety
///
/// `net` is alive, and `remove()` is called before it dies.
pub(super) unsafe fn add(net: *mut bindings::net) -> Result {
    // SAFETY: The netns is alive; names and operations are static, and the files are gone before our
    // text.
    unsafe {
        if !bindings::lblc_rs_proc_create(net, TABLE.as_char_ptr(), &TABLE_OPERATIONS) {
            return Err(ENOMEM);
        }
        if !bindings::lblc_rs_proc_create(net, STATS.as_char_ptr(), &STATS_OPERATIONS) {
            bindings::lblc_rs_proc_remove(net, TABLE.as_char_ptr());
            return Err(ENOMEM);
        }
    }
    Ok(())
}

/// Takes the files away, and waits for whoever reads them. Process context.
///
/// # Safety
///
/// `add()` succeeded for `net`.
pub(super) unsafe fn remove(net: *mut bindings::net) {
    // SAFETY: The caller promises that they are there.
    unsafe {
        bindings::lblc_rs_proc_remove(net, STATS.as_char_ptr());
        bindings::lblc_rs_proc_remove(net, TABLE.as_char_ptr());
    }
}
