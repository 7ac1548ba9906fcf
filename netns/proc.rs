// SPDX-License-Identifier: GPL-2.0

//! The files `/proc/net/ip_vs_lblc_rs` and `/proc/net/ip_vs_lblc_rs_stats` of a network namespace:
//! the entries of its services, and their counters.
//!
//! A service shows itself in numbered records, some of which are printed at once. A position in the
//! file is a service's number and a record's; numbers of services are not reused soon. The end
//! of the next batch of records is fixed when the iteration reaches it, and is stored in the open
//! file. A reader therefore sees every record that exists throughout its reads exactly once,
//! regardless of concurrent changes. The exception is a rekey, which reorders the table.
//!
//! The namespace's list of services is locked for one batch at a time.
//!
//! C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h).

use crate::{
    bindings,
    ipvs::{
        Net,
        Netns,
        Scheduler,
        Service,
        ID_BITS, //
    }, //
};
use core::{
    marker::PhantomData,
    ops::Range,
    ptr::null_mut, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::ArcBorrow, //
};

/// The names of the files.
const TABLE: &CStr = c"ip_vs_lblc_rs";
const STATS: &CStr = c"ip_vs_lblc_rs_stats";

/// The number of bits of a position that are the record's: enough for the 32 bits of a hash, and
/// the service's line.
const RECORD_BITS: u32 = 33;

/// The most records that a service can have.
const MAX_RECORDS: u64 = 1 << RECORD_BITS;

const _: () = assert!(ID_BITS + RECORD_BITS < i64::BITS);

/// A scheduler whose services can be shown. All methods: process context, under the lock of the
/// namespace's services.
pub(crate) trait Shown: Scheduler {
    /// The number of records, at least 1 and at most [`MAX_RECORDS`].
    const RECORDS: u64;

    /// The end of the records to print at once, beginning with `record`.
    fn batch_end(&self, record: u64) -> u64;

    /// Prints records.
    fn show(&self, service: &Service, records: Range<u64>, out: &SeqFile);

    /// Prints the counters.
    fn stats(&self, service: &Service, out: &SeqFile);
}

/// A place in a file: the number of a service, and that of one of its records.
fn position(id: u32, record: u64) -> u64 {
    (u64::from(id) << RECORD_BITS).wrapping_add(record)
}

/// The first place at or after `pos`, if a service has `records` records.
fn parts(pos: u64, records: u64) -> (u32, u64) {
    let (id, record) = ((pos >> RECORD_BITS) as u32, pos & (MAX_RECORDS - 1));
    if record < records {
        (id, record)
    } else {
        (id.wrapping_add(1), 0)
    }
}

/// One of the files, as records.
trait File<T: Shown> {
    /// The number of records of a service.
    const RECORDS: u64;
    /// As [`Shown::batch_end()`].
    fn batch_end(state: &T, record: u64) -> u64;
    /// As [`Shown::show()`].
    fn show(state: &T, service: &Service, records: Range<u64>, out: &SeqFile);
}

struct Table;

impl<T: Shown> File<T> for Table {
    const RECORDS: u64 = T::RECORDS;

    fn batch_end(state: &T, record: u64) -> u64 {
        state.batch_end(record)
    }

    fn show(state: &T, service: &Service, records: Range<u64>, out: &SeqFile) {
        state.show(service, records, out);
    }
}

struct Stats;

impl<T: Shown> File<T> for Stats {
    const RECORDS: u64 = 1;

    fn batch_end(_: &T, _: u64) -> u64 {
        1
    }

    fn show(state: &T, service: &Service, _: Range<u64>, out: &SeqFile) {
        state.stats(service, out);
    }
}

/// The C callbacks of file `F`.
struct VTable<T, F>(PhantomData<(T, F)>);

impl<T: Shown, F: File<T>> VTable<T, F> {
    const OPERATIONS: &'static bindings::seq_operations = &bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// The namespace in which `m` was opened.
    ///
    /// # Safety
    ///
    /// `m` is an open file of ours, and stays open during `'a`.
    unsafe fn netns<'a>(m: *mut bindings::seq_file) -> Option<ArcBorrow<'a, Netns<T>>> {
        // SAFETY: An open file keeps its namespace live. The module's unloading removes the file,
        // which waits for this call, before `exit_net()` clears the slot.
        unsafe { Netns::borrow(bindings::lblc_rs_seq_net(m)) }
    }

    /// Moves `pos` to the first record that exists at or after it, and fixes the end of its batch.
    /// Returns a pointer for C that is not null, or null at the end.
    ///
    /// # Safety
    ///
    /// `m` is an open file of ours, and `pos` valid.
    unsafe fn seek(m: *mut bindings::seq_file, pos: *mut bindings::loff_t) -> *mut c_void {
        // SAFETY: The caller promises that `m` is an open file of ours, and `pos` valid.
        let (netns, pos, end) =
            unsafe { (Self::netns(m), &mut *pos, bindings::lblc_rs_seq_end(m)) };
        let (from, record) = parts(*pos as u64, F::RECORDS);
        let found = netns.and_then(|netns| {
            netns.first_service(from, |id, state, _| {
                let record = if id == from { record } else { 0 };
                let last = F::batch_end(state, record);
                // At least one record, and none of the next service.
                let last = last.max(record.wrapping_add(1)).min(F::RECORDS);
                (position(id, record), position(id, last))
            })
        });
        let Some((first, last)) = found else {
            return null_mut();
        };
        *pos = first as bindings::loff_t;
        // SAFETY: `end` is in the private data of `m`, which its reader alone uses.
        unsafe { *end = last };
        core::ptr::from_mut(pos).cast()
    }

    /// # Safety
    ///
    /// Called by the seq_file core.
    unsafe extern "C" fn start(
        m: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: The seq_file core passes an open file and its position.
        unsafe { Self::seek(m, pos) }
    }

    /// # Safety
    ///
    /// Called by the seq_file core.
    unsafe extern "C" fn next(
        m: *mut bindings::seq_file,
        _: *mut c_void,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: As in `start()`; `seek()` has fixed the end.
        unsafe {
            *pos = *bindings::lblc_rs_seq_end(m) as bindings::loff_t;
            Self::seek(m, pos)
        }
    }

    /// # Safety
    ///
    /// Called by the seq_file core.
    unsafe extern "C" fn stop(_: *mut bindings::seq_file, _: *mut c_void) {}

    /// # Safety
    ///
    /// Called by the seq_file core with the pointer that `seek()` returned.
    unsafe extern "C" fn show(m: *mut bindings::seq_file, pos: *mut c_void) -> c_int {
        // SAFETY: `pos` is the position that was passed to `seek()`, and `m` an open file of ours.
        let (pos, end, netns) = unsafe {
            let pos = *pos.cast::<bindings::loff_t>() as u64;
            (pos, *bindings::lblc_rs_seq_end(m), Self::netns(m))
        };
        // SAFETY: The seq_file core calls this for one reader of `m` at a time.
        let out = unsafe { SeqFile::from_raw(m) };
        let (id, record) = parts(pos, F::RECORDS);
        if let Some(netns) = netns {
            netns.first_service(id, |found, state, service| {
                // A service that was unbound since `seek()` is left out.
                if found == id {
                    let end = end.wrapping_sub(position(id, 0));
                    F::show(state, service, record..end, out);
                }
            });
        }
        0
    }
}

/// Creates the files of a namespace, which its root alone may read. Process context. Fails with
/// `ENOMEM`.
///
/// # Safety
///
/// `net` is live, and stays so until `remove()`.
pub(super) unsafe fn create<T: Shown>(net: Net) -> Result {
    let net = net.as_ptr();
    // SAFETY: The namespace is live; names and operations are static, and the module stays until
    // the files are removed.
    unsafe {
        let operations = VTable::<T, Table>::OPERATIONS;
        if !bindings::lblc_rs_proc_create(net, TABLE.as_char_ptr(), operations) {
            return Err(ENOMEM);
        }
        let operations = VTable::<T, Stats>::OPERATIONS;
        if !bindings::lblc_rs_proc_create(net, STATS.as_char_ptr(), operations) {
            bindings::lblc_rs_proc_remove(net, TABLE.as_char_ptr());
            return Err(ENOMEM);
        }
    }
    Ok(())
}

/// Removes the files, and waits for reads of them. Process context.
///
/// # Safety
///
/// `net` is live, and `create()` succeeded for it.
pub(super) unsafe fn remove(net: Net) {
    // SAFETY: The caller promises that the files are there.
    unsafe {
        bindings::lblc_rs_proc_remove(net.as_ptr(), STATS.as_char_ptr());
        bindings::lblc_rs_proc_remove(net.as_ptr(), TABLE.as_char_ptr());
    }
}
