// SPDX-License-Identifier: GPL-2.0

//! The multicast group `changes` of the generic netlink family: reports of changed entries.
//!
//! While the group has a listener, a change is noted, in any context, and a work item sends it to
//! the listeners of its network namespace, [`PERIOD`] later. At most [`MAX_NOTED`] changes of a
//! namespace are noted at a time; others are counted, and their number is sent.
//!
//! The netlink core can say only whether there is a listener in any namespace, so a listener in one
//! namespace causes the changes of all others to be noted as well.

use super::{
    control::Known,
    message::{
        self,
        put_change,
        put_service, //
    },
    netlink, //
};
use crate::{
    bindings,
    ipvs::{
        Endpoint,
        Identity,
        Net, //
    },
    jiffies::HZ,
    work::Work, //
};
use core::{
    ptr::null_mut,
    sync::atomic::{
        AtomicPtr,
        AtomicU64,
        AtomicUsize,
        Ordering, //
    }, //
};
use kernel::{
    container_of,
    prelude::*,
    static_lock_class,
    time::Jiffies, //
};

/// The time for which a change waits for others, in jiffies.
const PERIOD: Jiffies = HZ / 10;

/// The number of changes of a namespace that may be noted at a time.
const MAX_NOTED: usize = 1024;

/// The kind of a change.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Kind {
    /// The entry was made.
    Insert = bindings::ip_vs_lblc_rs_change_kind_IP_VS_LBLC_RS_CHANGE_KIND_INSERT,
    /// It was reassigned to another server.
    Replace = bindings::ip_vs_lblc_rs_change_kind_IP_VS_LBLC_RS_CHANGE_KIND_REPLACE,
    /// It was collected after it had been idle.
    Expire = bindings::ip_vs_lblc_rs_change_kind_IP_VS_LBLC_RS_CHANGE_KIND_EXPIRE,
    /// It made room for another one.
    Evict = bindings::ip_vs_lblc_rs_change_kind_IP_VS_LBLC_RS_CHANGE_KIND_EVICT,
    /// The operator removed it.
    Delete = bindings::ip_vs_lblc_rs_change_kind_IP_VS_LBLC_RS_CHANGE_KIND_DELETE,
}

/// Why an entry was made or reassigned.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Reason {
    /// The address had no entry.
    Unknown = bindings::ip_vs_lblc_rs_change_reason_IP_VS_LBLC_RS_CHANGE_REASON_UNKNOWN,
    /// The entry had expired.
    Expired = bindings::ip_vs_lblc_rs_change_reason_IP_VS_LBLC_RS_CHANGE_REASON_EXPIRED,
    /// The server was not in the service.
    Unavailable = bindings::ip_vs_lblc_rs_change_reason_IP_VS_LBLC_RS_CHANGE_REASON_UNAVAILABLE,
    /// The server was quiesced.
    Weight0 = bindings::ip_vs_lblc_rs_change_reason_IP_VS_LBLC_RS_CHANGE_REASON_WEIGHT0,
    /// The server was overloaded.
    Overloaded = bindings::ip_vs_lblc_rs_change_reason_IP_VS_LBLC_RS_CHANGE_REASON_OVERLOADED,
    /// The server had reached its upper threshold.
    Threshold = bindings::ip_vs_lblc_rs_change_reason_IP_VS_LBLC_RS_CHANGE_REASON_THRESHOLD,
    /// The operator set the entry.
    Operator = bindings::ip_vs_lblc_rs_change_reason_IP_VS_LBLC_RS_CHANGE_REASON_OPERATOR,
}

/// A change of an entry.
pub(crate) struct Change {
    pub(crate) service: Identity,
    pub(crate) kind: Kind,
    /// The entry after the change, or before it was removed.
    pub(crate) entry: Known,
    /// The reason, if the entry was made or reassigned.
    pub(crate) reason: Option<Reason>,
    /// The server before, if the entry was reassigned.
    pub(crate) old: Option<Endpoint>,
}

/// A change in a list.
struct Note {
    next: *mut Note,
    change: Change,
}

const _: () = assert!(size_of::<Note>() <= 256, "SECURITY.md says so");

/// Whether the group may have a listener. Any context; a plain load until a socket has joined the
/// group for the first time.
#[inline(always)]
pub(crate) fn may_be_heard() -> bool {
    // SAFETY: The variable is a static `bool` of the module. Single stores set it to true, and
    // nothing clears it.
    let joined = unsafe { (&raw const bindings::lblc_rs_nl_joined).read_volatile() };
    joined && is_heard()
}

#[cold]
fn is_heard() -> bool {
    // SAFETY: An FFI call without requirement.
    unsafe { bindings::lblc_rs_nl_has_listeners() }
}

/// The changes of a namespace that were noted and not sent yet.
///
/// # Invariants
///
/// `newest` leads to a list of notes that came from `KBox::into_raw()`. `net` is live until
/// [`close()`](Self::close) has returned.
#[pin_data(PinnedDrop)]
pub(super) struct Changes {
    net: Net,
    newest: AtomicPtr<Note>,
    noted: AtomicUsize,
    passed_over: AtomicU64,
    #[pin]
    work: Work,
}

// SAFETY: A note belongs to no thread.
unsafe impl Send for Changes {}
// SAFETY: The list is changed by atomic operations, and a note is read by the thread that took it
// out.
unsafe impl Sync for Changes {}

impl Changes {
    /// An empty list. Process context.
    pub(super) fn new(net: Net) -> impl PinInit<Self> {
        pin_init!(Self {
            net,
            newest: AtomicPtr::new(null_mut()),
            noted: AtomicUsize::new(0),
            passed_over: AtomicU64::new(0),
            // SAFETY: `close()` disables the work item before it is freed; until the namespace is
            // complete it has no service, so nothing is noted.
            work <- unsafe {
                let keys = [static_lock_class!(), static_lock_class!()];
                Work::new(c"lblc_rs_changes", keys, Self::tell)
            },
        })
    }

    /// Notes a change; if there is no room or no memory for it, counts it as passed over. Any
    /// context.
    #[cold]
    pub(super) fn note(&self, change: Change) {
        let note = Note {
            next: null_mut(),
            change,
        };
        let has_room = self.noted.fetch_add(1, Ordering::Relaxed) < MAX_NOTED;
        let flags = GFP_ATOMIC | __GFP_NOWARN;
        let note = has_room.then(|| KBox::new(note, flags).ok()).flatten();
        match note {
            Some(note) => self.push(KBox::into_raw(note)),
            None => {
                self.noted.fetch_sub(1, Ordering::Relaxed);
                self.passed_over.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.work.queue_in(PERIOD);
    }

    fn push(&self, note: *mut Note) {
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: `note` came from `KBox::into_raw()` in `note()`, and is not in the list yet.
            unsafe { (*note).next = newest };
            // Release pairs with the acquire in `take()`: the note is initialised.
            let (new, order) = (Ordering::Release, Ordering::Relaxed);
            // INVARIANT: `note` came from `KBox::into_raw()`.
            match self.newest.compare_exchange_weak(newest, note, new, order) {
                Ok(_) => return,
                Err(other) => newest = other,
            }
        }
    }

    /// Takes all notes out of the list; the oldest is the first one of the result.
    fn take(&self) -> Notes {
        let mut next = self.newest.swap(null_mut(), Ordering::Acquire);
        let (mut oldest, mut number) = (null_mut(), 0usize);
        while !next.is_null() {
            let note = next;
            // SAFETY: By the type invariants `note` came from `KBox::into_raw()`. The swap took the
            // list out, so nothing else uses `note`.
            unsafe {
                next = (*note).next;
                (*note).next = oldest;
            }
            oldest = note;
            number = number.wrapping_add(1);
        }
        self.noted.fetch_sub(number, Ordering::Relaxed);
        // INVARIANT: All notes came from `KBox::into_raw()`.
        Notes(oldest)
    }

    /// Sends the noted changes, in a message for each run of changes of one service. Changes that
    /// cannot be sent are counted as passed over.
    ///
    /// # Safety
    ///
    /// Called by the queue with the work item of a pinned `Changes`.
    unsafe extern "C" fn tell(work: *mut bindings::work_struct) {
        // SAFETY: `Work` begins with its `work_struct`, and this one is in a `Changes`, which is
        // alive because `close()` waits for us.
        let changes = unsafe { &*container_of!(work.cast::<Work>(), Self, work) };
        changes.work.begin();
        let mut passed_over = changes.passed_over.swap(0, Ordering::Relaxed);
        let mut notes = changes.take();
        while passed_over != 0 || notes.first().is_some() {
            let mut told = 0u64;
            let sent = netlink::multicast(changes.net, |message| {
                if passed_over != 0 {
                    message.put_uint(message::PASSED_OVER, passed_over)?;
                }
                let Some(service) = notes.first().map(|change| change.service) else {
                    return Ok(());
                };
                put_service(message, service)?;
                while let Some(change) = notes.first().filter(|it| it.service == service) {
                    match put_change(message, change) {
                        Err(EMSGSIZE) if told != 0 => break,
                        put => put?,
                    }
                    told = told.wrapping_add(1);
                    notes.drop_first();
                }
                Ok(())
            });
            match sent {
                // `ESRCH`: this namespace has no listener.
                Ok(()) | Err(ESRCH) => passed_over = 0,
                Err(_) => {
                    while notes.drop_first() {
                        told = told.wrapping_add(1);
                    }
                    let missed = passed_over.wrapping_add(told);
                    changes.passed_over.fetch_add(missed, Ordering::Relaxed);
                    changes.work.queue_in(PERIOD);
                    return;
                }
            }
        }
    }

    /// Stops sending. Process context; waits for [`tell()`](Self::tell).
    pub(super) fn close(&self) {
        self.work.disable();
    }
}

#[pinned_drop]
impl PinnedDrop for Changes {
    fn drop(self: Pin<&mut Self>) {
        drop(self.take());
    }
}

/// A list of notes.
///
/// # Invariants
///
/// All notes came from `KBox::into_raw()`, and the list owns them.
struct Notes(*mut Note);

impl Notes {
    /// The change of the first note.
    fn first(&self) -> Option<&Change> {
        // SAFETY: By the type invariants the pointer is null, or leads to a note that `self` owns.
        unsafe { self.0.as_ref() }.map(|note| &note.change)
    }

    /// Drops the first note; returns whether there was one.
    fn drop_first(&mut self) -> bool {
        if self.0.is_null() {
            return false;
        }
        // SAFETY: By the type invariants the pointer came from `KBox::into_raw()`, and `self` owns
        // the note.
        let note = unsafe { KBox::from_raw(self.0) };
        // INVARIANT: `next` is the rest of the list.
        self.0 = note.next;
        true
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        while self.drop_first() {}
    }
}
