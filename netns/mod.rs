// SPDX-License-Identifier: GPL-2.0

//! What a network namespace has of this scheduler: its settings (sysctls), its files in
//! `/proc/net`, a bound on what its tables may take, and the tracepoints of its services.
//!
//! ```text
//!   ipvs::Netns<T> ── state ──> State ──┬── settings     values of the sysctls
//!     └── services                      ├── files        what is visible, and until when
//!                                       └── used         entries of all tables, if that is bounded
//! ```

pub(crate) mod c_module;
mod files;
mod proc;
mod settings;
pub(crate) mod trace;

use crate::ipvs::{Net, Netns, NetnsState, Scheduler};
use core::sync::atomic::{AtomicUsize, Ordering};
use files::Files;
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};
use settings::Values;

pub(crate) use proc::Shown;
pub(crate) use settings::{expiration, Setting};

/// What a service is charged, in entries: its state, counters and smallest array of buckets, which
/// take less than 16 KiB.
pub(crate) const SERVICE_CHARGE: usize = 256;

/// How many entries the tables of one namespace may have together, if the namespace belongs to a
/// user namespace other than the machine's own.
const USERS_ENTRIES: usize = 1 << 18;

/// How many more may wait for a grace period, after which they are freed.
const USERS_UNFREED: usize = USERS_ENTRIES / 8;

/// The state of one namespace.
pub(crate) struct State {
    values: Values,
    files: Arc<Files>,
    /// Whether the namespace belongs to the machine's own user namespace: nothing is bounded then
    /// but the size of each table.
    is_machines: bool,
    /// Entries in memory, of all tables together; counted only if they are bounded.
    used: AtomicUsize,
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

    /// Whether another entry may be made. Any context; plain loads.
    pub(crate) fn admission(&self) -> Admission {
        if self.is_machines {
            return Admission::Granted;
        }
        match self.used.load(Ordering::Relaxed) {
            used if used < USERS_ENTRIES => Admission::Granted,
            used if used < USERS_ENTRIES + USERS_UNFREED => Admission::Exchange,
            _ => Admission::Denied,
        }
    }

    /// Charges a new service. Process context. Fails with `ENOMEM` if the namespace's tables take
    /// as much as they may.
    pub(crate) fn charge_service(&self) -> Result {
        if !self.is_machines {
            let charged = self.used.fetch_add(SERVICE_CHARGE, Ordering::Relaxed);
            if charged.saturating_add(SERVICE_CHARGE) > USERS_ENTRIES {
                self.uncharge(SERVICE_CHARGE);
                return Err(ENOMEM);
            }
        }
        Ok(())
    }

    /// Charges a new entry. Any context.
    pub(crate) fn charge_entry(&self) {
        if !self.is_machines {
            self.used.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives back what was charged. Any context.
    pub(crate) fn uncharge(&self, entries: usize) {
        if !self.is_machines {
            self.used.fetch_sub(entries, Ordering::Relaxed);
        }
    }
}

impl<T: Scheduler<Netns = Self> + Shown> NetnsState<T> for State {
    fn new(net: Net) -> impl PinInit<Self, Error> {
        let files = Files::new(net)?;
        Ok(Self {
            values: Values::new(net),
            files,
            is_machines: net.is_of_initial_user(),
            used: AtomicUsize::new(0),
        })
    }

    fn show(netns: ArcBorrow<'_, Netns<T>>) -> Result {
        netns.state().files.show(&netns)
    }

    fn hide(&self) {
        self.files.hide();
    }

    fn hide_all() {
        files::hide_all();
    }
}
