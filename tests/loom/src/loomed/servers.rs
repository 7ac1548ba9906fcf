// SPDX-License-Identifier: GPL-2.0

//! How `ipvs/server.rs` and `ipvs/servers.rs` share servers, step by step and order by order: what
//! they do to the core's objects is left out. Not the kernel's files, so a change there belongs
//! here as well.

use super::{
    memory::{KBox, Life},
    platform::{synchronize, AtomicPtr, AtomicUsize, Ordering, ReadSide},
};
use loom::sync::{atomic::fence, Mutex};
use std::{mem::ManuallyDrop, ops::Deref, ptr::null_mut};

/// The core's server.
pub(super) struct Dest(Life);

impl Dest {
    pub(super) fn new() -> KBox<Self> {
        KBox::new(Self(Life::begin()))
    }

    /// Reads a counter of it.
    pub(super) fn active(&self) {
        self.0.check();
    }
}

pub(super) struct Server {
    dest: AtomicPtr<Dest>,
    references: AtomicUsize,
    life: Life,
}

impl Server {
    /// `Server::dest()`.
    pub(super) fn dest<'g>(&'g self, _rcu: ReadSide<'g>) -> Option<&'g Dest> {
        self.life.check();
        // SAFETY: The models are to show it; and what was freed stays mapped.
        unsafe { self.dest.load(Ordering::Acquire).as_ref() }
    }
}

/// `ServerRef`.
pub(super) struct ServerRef(*mut Server);

impl ServerRef {
    const TAKEN: usize = (1 << 32) + 1;

    pub(super) fn new() -> Self {
        Self(KBox::into_raw(KBox::new(Server {
            dest: AtomicPtr::new(null_mut()),
            references: AtomicUsize::new(1),
            life: Life::begin(),
        })))
    }

    pub(super) fn to(server: &Server) -> Self {
        server.references.fetch_add(Self::TAKEN, Ordering::Relaxed);
        Self(std::ptr::from_ref(server).cast_mut())
    }

    fn unshared(&self) -> Option<usize> {
        let references = self.references.load(Ordering::Acquire);
        (references as u32 == 1).then_some(references)
    }
}

impl Deref for ServerRef {
    type Target = Server;

    fn deref(&self) -> &Server {
        // SAFETY: As above.
        unsafe { &*self.0 }
    }
}

impl Drop for ServerRef {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.references.fetch_sub(1, Ordering::Release) as u32 == 1 {
            fence(Ordering::Acquire);
            // SAFETY: `self.0` came from `into_raw()`; `KBox` sees that it is freed once.
            drop(unsafe { KBox::from_raw(self.0) });
        }
    }
}

/// `Cell`.
pub(super) struct Cell {
    server: AtomicPtr<Server>,
    dest: AtomicPtr<Dest>,
}

impl Cell {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            server: AtomicPtr::new(ManuallyDrop::new(ServerRef::to(server)).0),
            dest: AtomicPtr::new(server.dest.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn get<'g>(&'g self, _rcu: ReadSide<'g>) -> &'g Server {
        // SAFETY: As above.
        unsafe { &*self.server.load(Ordering::Acquire) }
    }

    /// `Cell::check_fast()`.
    pub(super) fn check_fast<'g>(&'g self, rcu: ReadSide<'g>) -> Option<&'g Dest> {
        let guess = self.dest.load(Ordering::Relaxed);
        let server = self.get(rcu);
        server.life.check();
        if server.dest.load(Ordering::Acquire) != guess {
            return None;
        }
        // SAFETY: As above.
        unsafe { guess.as_ref() }
    }

    pub(super) fn set(&self, server: &Server) {
        let new = ManuallyDrop::new(ServerRef::to(server)).0;
        let old = self.server.swap(new, Ordering::AcqRel);
        let guess = server.dest.load(Ordering::Relaxed);
        self.dest.store(guess, Ordering::Relaxed);
        drop(ServerRef(old));
    }

    pub(super) fn refresh(&self, rcu: ReadSide<'_>) {
        let guess = self.get(rcu).dest.load(Ordering::Relaxed);
        self.dest.store(guess, Ordering::Relaxed);
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        drop(ServerRef(self.server.load(Ordering::Relaxed)));
    }
}

/// `Array`, with one slot.
struct Array {
    dest: AtomicPtr<Dest>,
    server: AtomicPtr<Server>,
    life: Life,
}

/// What of `reap()` a model leaves out, to see that it is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// `synchronize()`.
    GracePeriod,
    /// The number of references that were ever taken.
    Taken,
    /// `marked = None` when the server is listed again.
    Unmarking,
}

struct Record {
    server: ServerRef,
    /// `hold.is_some()`.
    listed: bool,
    marked: Option<usize>,
}

/// `Servers`, with one record. What changes the list runs once at a time, by the service mutex.
pub(super) struct Servers {
    array: AtomicPtr<Array>,
    /// Where readers begin.
    first: AtomicPtr<Array>,
    record: Mutex<Option<Record>>,
    without: Without,
}

/// What RCU drops after a grace period.
pub(super) struct Removed {
    array: *mut Array,
    dest: *mut Dest,
}

impl Servers {
    /// A server that is not in the list.
    pub(super) fn new(server: ServerRef, without: Without) -> Self {
        let record = Record {
            server,
            listed: false,
            marked: None,
        };
        Self {
            array: AtomicPtr::new(null_mut()),
            first: AtomicPtr::new(null_mut()),
            record: Mutex::new(Some(record)),
            without,
        }
    }

    /// A server that is in the list.
    pub(super) fn listed(server: ServerRef, without: Without) -> Self {
        let servers = Self::new(server, without);
        servers.add(Dest::new()).unwrap().drop();
        servers
    }

    /// `Slots::next()` and `Candidate::server()`: the core's server, if the slot is not empty, and
    /// the one that stands for it, unless that was removed meanwhile.
    pub(super) fn slot<'g>(&'g self, _rcu: ReadSide<'g>) -> Option<(&'g Dest, Option<&'g Server>)> {
        // SAFETY: As above.
        let array = unsafe { self.first.load(Ordering::Acquire).as_ref() }?;
        array.life.check();
        // SAFETY: As above.
        let dest = unsafe { array.dest.load(Ordering::Acquire).as_ref() }?;
        // SAFETY: As above.
        Some((dest, unsafe {
            array.server.load(Ordering::Acquire).as_ref()
        }))
    }

    /// `Servers::update()` of a server that is new to the list, with another array. None if
    /// `reap()` has freed the record: the kernel would make a new one.
    pub(super) fn add(&self, dest: KBox<Dest>) -> Option<Removed> {
        let mut record = self.record.lock().unwrap();
        let (record, dest) = (record.as_mut()?, KBox::into_raw(dest));
        record.listed = true;
        record.server.dest.store(dest, Ordering::Release);
        if self.without != Without::Unmarking {
            record.marked = None;
        }
        Some(self.replace(dest, record.server.0))
    }

    /// `Servers::rebuild()`.
    pub(super) fn rebuild(&self) -> Removed {
        let record = self.record.lock().unwrap();
        let server = &record.as_ref().expect("the model lets it live").server;
        self.replace(server.dest.load(Ordering::Relaxed), server.0)
    }

    fn replace(&self, dest: *mut Dest, server: *mut Server) -> Removed {
        let new = KBox::new(Array {
            dest: AtomicPtr::new(dest),
            server: AtomicPtr::new(server),
            life: Life::begin(),
        });
        let new = KBox::into_raw(new);
        let array = self.array.swap(new, Ordering::AcqRel);
        self.first.store(new, Ordering::Release);
        Removed {
            array,
            dest: null_mut(),
        }
    }

    /// `Servers::remove()`.
    pub(super) fn remove(&self) -> Removed {
        let mut record = self.record.lock().unwrap();
        let record = record.as_mut().expect("the model lets it live");
        // SAFETY: As above; it stays, as the service mutex is held.
        let array = unsafe { &*self.array.load(Ordering::Acquire) };
        array.dest.store(null_mut(), Ordering::Release);
        array.server.store(null_mut(), Ordering::Relaxed);
        record.listed = false;
        let dest = record.server.dest.load(Ordering::Relaxed);
        record.server.dest.store(null_mut(), Ordering::Release);
        Removed {
            array: null_mut(),
            dest,
        }
    }

    /// `Servers::reap()`. Returns whether the server was freed.
    pub(super) fn reap(&self) -> bool {
        let mark = |record: &mut Record| {
            let removed = !record.listed;
            record.marked = removed.then(|| record.server.unshared()).flatten();
            record.marked.is_some()
        };
        if !self.record.lock().unwrap().as_mut().is_some_and(mark) {
            return false;
        }
        if self.without != Without::GracePeriod {
            synchronize();
        }
        let useless = |record: &Record| match self.without {
            Without::Taken => record.marked.is_some() && record.server.unshared().is_some(),
            _ => record.marked.is_some() && record.marked == record.server.unshared(),
        };
        let mut record = self.record.lock().unwrap();
        if record.as_ref().is_some_and(useless) {
            record.take();
            return true;
        }
        false
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let array = self.array.load(Ordering::Relaxed);
        if !array.is_null() && !std::thread::panicking() {
            // SAFETY: `array` came from `into_raw()`.
            drop(unsafe { KBox::from_raw(array) });
        }
    }
}

impl Removed {
    /// A grace period, and RCU's callbacks.
    pub(super) fn drop(self) {
        if self.array.is_null() && self.dest.is_null() {
            return;
        }
        synchronize();
        if !self.array.is_null() {
            // SAFETY: `self.array` came from `into_raw()`.
            drop(unsafe { KBox::from_raw(self.array) });
        }
        if !self.dest.is_null() {
            // SAFETY: `self.dest` came from `into_raw()`.
            drop(unsafe { KBox::from_raw(self.dest) });
        }
    }
}
