// SPDX-License-Identifier: GPL-2.0

//! The state of this scheduler in a network namespace: settings (sysctls), files in `/proc/net`,
//! generic netlink, a bound on the memory of its tables, and the tracepoints of its services.
//!
//! ```text
//!   ipvs::Netns<T> -- state --> State --+-- values             of the sysctls
//!     +-- services                      +-- files              the files that are visible
//!                                       +-- changes            not yet sent to listeners
//!                                       +-- used, services     in memory, if that is bounded
//! ```

mod attributes;
pub(crate) mod c_module;
pub(crate) mod changes;
pub(crate) mod control;
pub(crate) mod family;
mod files;
mod message;
pub(crate) mod netlink;
mod proc;
mod settings;
pub(crate) mod trace;
mod walk;

use crate::ipvs::{
    Net,
    Netns,
    NetnsState,
    Scheduler, //
};
use changes::Changes;
use core::sync::atomic::{
    AtomicU32,
    AtomicUsize,
    Ordering, //
};
use files::Files;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};
use settings::Values;

pub(crate) use changes::{
    Change,
    Kind as ChangeKind,
    Reason as ChangeReason, //
};
pub(crate) use control::{
    Controlled,
    Known,
    Outcome,
    Summary, //
};
pub(crate) use proc::Shown;
pub(crate) use settings::{
    expiration,
    Setting, //
};

/// The number of tables, bound and parked, that a namespace may have if it belongs to a user
/// namespace other than the initial one. They have a bound of their own, apart from that of the
/// entries: the senders of packets determine the number of entries, and must not be able to keep
/// the namespace's root from adding a service.
const USERS_SERVICES: usize = 1024;

/// The number of entries that the tables of such a namespace may have together.
const USERS_ENTRIES: usize = 1 << 18;

/// The number of entries beyond that which may wait for the grace period after which they are
/// freed.
const USERS_UNFREED: usize = USERS_ENTRIES / 8;

/// The state of one namespace.
#[pin_data]
pub(crate) struct State {
    values: Values,
    files: Arc<Files>,
    #[pin]
    changes: Changes,
    /// Whether the namespace belongs to the initial user namespace: nothing is bounded then but the
    /// size of each table.
    is_machines: bool,
    /// Entries in memory, of all tables together; counted only if they are bounded.
    used: AtomicUsize,
    /// Tables in memory; counted only if they are bounded.
    services: AtomicUsize,
    /// The number of times that a table was rekeyed.
    generation: AtomicU32,
}

/// Whether a table may take memory for another entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may.
    Granted,
    /// It may if it gives another entry up.
    Exchange,
    /// It may not.
    Denied,
}

impl State {
    /// The value of a setting. Any context; a plain load.
    #[inline(always)]
    pub(crate) fn get(&self, setting: Setting) -> i32 {
        self.values.get(setting)
    }

    /// Notes a change of an entry, to be sent to listeners. Any context.
    pub(crate) fn note_change(&self, change: Change) {
        self.changes.note(change);
    }

    /// Notes that a table got another hash key: a walk over it may have missed an entry, or met one
    /// twice. Any context.
    pub(crate) fn rekeyed(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that changes when a table is rekeyed. Any context; a plain load.
    fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed).wrapping_add(1)
    }

    /// The seed of the namespace's rendezvous hashes. Any context; a plain load.
    pub(crate) fn seed(&self) -> u64 {
        self.values.seed()
    }

    /// Whether another entry may be made in a table that has `len`. A table may have as many
    /// entries as it leaves to the others, so that a flood of destinations of one service takes
    /// half of the bound, and the tables of other services can still grow. Any context; plain
    /// loads.
    pub(crate) fn admission(&self, len: usize) -> Admission {
        if self.is_machines {
            return Admission::Granted;
        }
        match self.used.load(Ordering::Relaxed) {
            used if used >= USERS_ENTRIES + USERS_UNFREED => Admission::Denied,
            used if used.saturating_add(len) < USERS_ENTRIES => Admission::Granted,
            _ => Admission::Exchange,
        }
    }

    /// Charges the table of a new service. Process context. Fails with `ENOMEM` if the namespace
    /// has as many as it may.
    pub(crate) fn charge_service(&self) -> Result {
        if !self.is_machines && self.services.fetch_add(1, Ordering::Relaxed) >= USERS_SERVICES {
            self.uncharge_service();
            return Err(ENOMEM);
        }
        Ok(())
    }

    /// Uncharges a table that `charge_service()` charged. Any context.
    pub(crate) fn uncharge_service(&self) {
        if !self.is_machines {
            self.services.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Charges a new entry. Any context.
    pub(crate) fn charge_entry(&self) {
        if !self.is_machines {
            self.used.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Uncharges entries that `charge_entry()` charged. Any context.
    pub(crate) fn uncharge(&self, entries: usize) {
        if !self.is_machines {
            self.used.fetch_sub(entries, Ordering::Relaxed);
        }
    }
}

impl<T: Scheduler<Netns = Self> + Shown> NetnsState<T> for State {
    fn new(net: Net) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            values: Values::new(net),
            files: Files::new(net)?,
            changes <- Changes::new(net),
            is_machines: net.is_of_initial_user(),
            used: AtomicUsize::new(0),
            services: AtomicUsize::new(0),
            generation: AtomicU32::new(0),
        })
    }

    fn show(netns: ArcBorrow<'_, Netns<T>>) -> Result {
        netns.state().files.show(&netns)
    }

    fn hide(&self) {
        self.files.hide();
        self.changes.close();
    }

    fn hide_all() {
        files::hide_all();
    }
}
