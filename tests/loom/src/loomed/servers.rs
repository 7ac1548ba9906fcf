// SPDX-License-Identifier: GPL-2.0

//! How `ipvs/server.rs` and `ipvs/servers.rs` share servers, step by step and order by order: what they
//! do to the core's objects is left out. Not the kernel's files, so a change there belongs here as well.

use super::{
    memory::{KBox, Life},
    platform::{synchronize, AtomicPtr, AtomicUsize, Ordering, ReadSide},
};
use loom::sync::atomic::fence;
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
    pub(super) fn new() -> Self {
        Self(KBox::into_raw(KBox::new(Server {
            dest: AtomicPtr::new(null_mut()),
            references: AtomicUsize::new(1),
            life: Life::begin(),
        })))
    }

    pub(super) fn to(server: &Server) -> Self {
        server.references.fetch_add(1, Ordering::Relaxed);
        Self(std::ptr::from_ref(server).cast_mut())
    }

    fn is_last(&self) -> bool {
        self.references.load(Ordering::Acquire) == 1
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
        if self.references.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: It came from `into_raw()`; `KBox` sees that it is freed once.
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

    /// `Cell::glance()`.
    pub(super) fn glance<'g>(&'g self, rcu: ReadSide<'g>) -> Option<&'g Dest> {
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

/// The list with one server or none: `Servers::array`. Who changes it is alone, by the service mutex.
pub(super) struct Listed {
    array: AtomicPtr<ServerRef>,
}

impl Listed {
    /// `server`, for which `dest` stands.
    pub(super) fn new(server: &ServerRef, dest: KBox<Dest>) -> Self {
        server.dest.store(KBox::into_raw(dest), Ordering::Release);
        let slot = KBox::new(ServerRef::to(server));
        Self {
            array: AtomicPtr::new(KBox::into_raw(slot)),
        }
    }

    /// The server, if it is in the list.
    pub(super) fn slot<'g>(&'g self, _rcu: ReadSide<'g>) -> Option<&'g Server> {
        // SAFETY: As above.
        let slot = unsafe { self.array.load(Ordering::Acquire).as_ref() };
        slot.map(|server| &**server)
    }

    /// `Servers::remove()`: what RCU has to drop later.
    pub(super) fn remove(&self, server: &ServerRef) -> Removed {
        let slot = self.array.swap(null_mut(), Ordering::AcqRel);
        let dest = server.dest.load(Ordering::Relaxed);
        server.dest.store(null_mut(), Ordering::Release);
        Removed { slot, dest }
    }
}

/// What a server that was removed leaves behind.
pub(super) struct Removed {
    slot: *mut ServerRef,
    dest: *mut Dest,
}

impl Removed {
    /// A grace period, and RCU's callbacks.
    pub(super) fn drop(self) {
        synchronize();
        // SAFETY: Both came from `into_raw()`.
        unsafe {
            drop(KBox::from_raw(self.slot));
            drop(KBox::from_raw(self.dest));
        }
    }
}

/// `Servers::forget()`: the reference, unless it is given up. `wait` is false to see that it must.
pub(super) fn forget(known: ServerRef, wait: bool) -> Option<ServerRef> {
    if !known.is_last() {
        return Some(known);
    }
    if wait {
        synchronize();
    }
    (!known.is_last()).then_some(known)
}

/// `Lease::begin()` for a server that has come back.
pub(super) fn comes_back(server: &ServerRef, dest: KBox<Dest>) {
    server.dest.store(KBox::into_raw(dest), Ordering::Release);
}

/// `Lease::end()` of a server that no array has, and what RCU does later.
pub(super) fn goes(server: &ServerRef) {
    let dest = server.dest.load(Ordering::Relaxed);
    server.dest.store(null_mut(), Ordering::Release);
    synchronize();
    // SAFETY: It came from `into_raw()`.
    drop(unsafe { KBox::from_raw(dest) });
}
