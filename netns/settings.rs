// SPDX-License-Identifier: GPL-2.0

//! The sysctls of a network namespace, in `net/ipv4/vs`: a row each. A new one is a new row.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h).

use crate::{
    bindings,
    ipvs::{
        Net,
        Netns,
        Scheduler,
        Service, //
    },
    jiffies::HZ, //
};
use core::{
    mem::size_of,
    ptr::null,
    sync::atomic::{
        AtomicI32,
        AtomicU64,
        Ordering, //
    }, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::Opaque, //
};

/// The type of a setting, and the unit of its file.
#[derive(Clone, Copy)]
enum Kind {
    /// A number.
    Plain(Bounds),
    /// Jiffies, shown in seconds.
    Seconds(Bounds),
    /// A number of 64 bits without bounds, 0 by default.
    Wide,
}

impl Kind {
    const fn default(self) -> c_int {
        match self {
            Self::Plain(bounds) | Self::Seconds(bounds) => bounds.default,
            Self::Wide => 0,
        }
    }
}

/// The numbers that a setting accepts, in the unit of its value.
#[derive(Clone, Copy)]
struct Bounds {
    default: c_int,
    min: c_int,
    max: c_int,
    /// `max` in a namespace that does not belong to the initial user namespace.
    users_max: c_int,
}

/// The row of a setting.
pub(super) struct Row {
    name: &'static CStr,
    mode: bindings::umode_t,
    kind: Kind,
}

/// `$setting { ... }`: declares [`Setting`] and its rows.
macro_rules! settings {
    ($($(#[$doc:meta])* $setting:ident $row:tt)*) => {
        /// A setting of a network namespace.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Setting {
            $($(#[$doc])* $setting,)*
        }

        /// The rows, in the order of [`Setting`].
        pub(super) static ROWS: [Row; [$(stringify!($setting)),*].len()] = [$(Row $row),*];
    };
}

settings! {
    /// For how long an entry may have been idle, in jiffies, and still be used. At most 0: not at
    /// all. C's `ip_vs_lblc` has the same setting; its default is `DEFAULT_EXPIRATION`, a day.
    Expiration {
        name: c"lblc_expiration",
        mode: 0o644,
        kind: Kind::Seconds(Bounds {
            default: 24 * 60 * 60 * HZ as c_int,
            min: 0,
            max: c_int::MAX,
            users_max: c_int::MAX,
        }),
    }
    /// The number of entries that a table may have.
    MaxEntries {
        name: c"lblc_rs_max_entries",
        mode: 0o644,
        kind: Kind::Plain(Bounds {
            default: 1 << 18,
            min: 1,
            max: 1 << 24,
            users_max: 1 << 18,
        }),
    }
    /// For how long the table of a service that was unbound is kept for another service of the same
    /// identity, in jiffies. 0: not at all.
    Keep {
        name: c"lblc_rs_keep",
        mode: 0o644,
        kind: Kind::Seconds(Bounds {
            default: 60 * HZ as c_int,
            min: 0,
            max: c_int::MAX,
            users_max: c_int::MAX,
        }),
    }
    /// A secret that directors share, on which the order of the servers for a key depends: see
    /// `lblc/rendezvous.rs`.
    Seed {
        name: c"lblc_rs_seed",
        mode: 0o600,
        kind: Kind::Wide,
    }
}

const _: () = {
    let mut setting = 0;
    while setting < ROWS.len() {
        let is_seed = setting == Setting::Seed as usize;
        let is_wide = matches!(ROWS[setting].kind, Kind::Wide);
        assert!(is_seed == is_wide, "`Values::place()` goes by that");
        setting += 1;
    }
};

/// The values of one namespace.
///
/// # Invariants
///
/// `ipvs` is IPVS' state of the namespace, which is live while the namespace's files are visible.
pub(super) struct Values {
    own: [AtomicI32; ROWS.len()],
    seed: AtomicU64,
    ipvs: *mut bindings::netns_ipvs,
}

// SAFETY: `ipvs` is used only for an atomic that it contains.
unsafe impl Send for Values {}
// SAFETY: As above.
unsafe impl Sync for Values {}

impl Values {
    /// The defaults. Any context.
    pub(super) fn new(net: Net) -> Self {
        Self {
            own: ROWS
                .each_ref()
                .map(|row| AtomicI32::new(row.kind.default())),
            seed: AtomicU64::new(0),
            ipvs: net.ipvs(),
        }
    }

    /// The value of a setting that C's module does not share. Any context; a plain load.
    #[inline(always)]
    pub(super) fn get(&self, setting: Setting) -> i32 {
        self.own[setting as usize].load(Ordering::Relaxed)
    }

    /// The value of [`Setting::Seed`]. Any context; a plain load.
    pub(super) fn seed(&self) -> u64 {
        self.seed.load(Ordering::Relaxed)
    }

    /// Sets the value that C's module shares to its default. Process context, while the namespace's
    /// files become visible.
    pub(super) fn reset_expiration(&self) {
        // SAFETY: By the type invariants `ipvs` is live.
        let value = unsafe { AtomicI32::from_ptr(expiration_of(self.ipvs)) };
        value.store(
            ROWS[Setting::Expiration as usize].kind.default(),
            Ordering::Relaxed,
        );
    }

    /// The place of a setting's value: an `AtomicU64` if it is [`Kind::Wide`], else an
    /// `AtomicI32`. (Inline: the compiler knows the number, so it checks no bounds.)
    #[inline(always)]
    fn place(&self, setting: usize) -> *mut c_void {
        if setting == Setting::Expiration as usize {
            // SAFETY: By the type invariants `ipvs` is live.
            unsafe { expiration_of(self.ipvs) }.cast()
        } else if setting == Setting::Seed as usize {
            self.seed.as_ptr().cast()
        } else {
            self.own[setting].as_ptr().cast()
        }
    }

    /// Describes all settings to the sysctl core; `netns` contains these values. The description is
    /// valid for as long as `netns` is live and its files are visible. Process context.
    pub(super) fn describe<T: Scheduler>(
        &self,
        netns: &Netns<T>,
        net: Net,
    ) -> [bindings::ctl_table; ROWS.len()] {
        core::array::from_fn(|setting| bindings::ctl_table {
            procname: ROWS[setting].name.as_char_ptr(),
            data: self.place(setting),
            mode: ROWS[setting].mode,
            proc_handler: Some(match net.is_of_initial_user() {
                true => handler::<T, false>,
                false => handler::<T, true>,
            }),
            extra1: (&raw const ROWS[setting]).cast_mut().cast(),
            extra2: core::ptr::from_ref(netns).cast_mut().cast(),
            ..pin_init::zeroed()
        })
    }
}

/// The place of `lblc_expiration` in the core's `netns_ipvs`. C's module uses the same one, so that
/// both modules have the same value.
///
/// # Safety
///
/// `ipvs` is live.
#[inline(always)]
unsafe fn expiration_of(ipvs: *mut bindings::netns_ipvs) -> *mut c_int {
    // SAFETY: The offset is that of the `int`, computed by C's compiler.
    unsafe { ipvs.byte_add(bindings::LBLC_RS_EXPIRATION) }.cast()
}

/// `lblc_expiration` of the service's namespace, in jiffies; at most 0: an entry is never used
/// again (C's module accepts negative values). Any context; a plain load.
#[inline(always)]
pub(crate) fn expiration(service: &Service) -> i32 {
    // SAFETY: `ip_vs_add_service()` sets the service's `ipvs` before it binds the scheduler, and
    // nothing writes it afterwards. It is pernet memory of the core, which is freed after the
    // core's exit method has deleted all services. The value is an aligned `int` that C writes with
    // single stores.
    unsafe { AtomicI32::from_ptr(expiration_of(service.netns())) }.load(Ordering::Relaxed)
}

/// Reads or writes a file. Process context; the sysctl core keeps the table registered for the time
/// of the call. As C's `proc_dointvec_minmax()`, `proc_dointvec_jiffies()` and
/// `proc_doulongvec_minmax()`, but a number out of bounds is always refused with `EINVAL`. A change
/// of any setting but the seed queues the work items of the namespace and of its services.
///
/// # Safety
///
/// Called by the sysctl core with a table of [`Values::describe()`] and its own buffer.
unsafe extern "C" fn handler<T: Scheduler, const OF_USER: bool>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    lenp: *mut usize,
    ppos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: `describe()` set `data`, `extra1` and `extra2`; the files are removed before the
    // objects to which they point are freed.
    let (data, row, netns) = unsafe {
        let table = &*table;
        let (row, netns) = (table.extra1.cast::<Row>(), table.extra2.cast::<Netns<T>>());
        (table.data, &*row, &*netns)
    };
    let call = |c_handler: CHandler, copy: bindings::ctl_table| {
        let copy = Opaque::new(copy);
        // SAFETY: `copy` is what `copy_of()` made of a value on our stack, of the type that
        // `c_handler` is for; the rest is as the caller passed it.
        to_result(unsafe { c_handler(copy.get(), write, buffer, lenp, ppos) })
    };
    from_result(|| {
        let (bounds, c_handler): (_, CHandler) = match row.kind {
            Kind::Plain(bounds) => (bounds, bindings::proc_dointvec_minmax),
            Kind::Seconds(bounds) => (bounds, bindings::proc_dointvec_jiffies),
            Kind::Wide => {
                // SAFETY: `Values::place()` points to an `AtomicU64` for this kind.
                let value = unsafe { AtomicU64::from_ptr(data.cast()) };
                let mut new: c_ulong = value.load(Ordering::Relaxed) as c_ulong;
                call(
                    bindings::proc_doulongvec_minmax,
                    copy_of(row, &mut new, None),
                )?;
                if write != 0 {
                    value.store(new as u64, Ordering::Relaxed);
                }
                return Ok(0);
            }
        };
        // SAFETY: `Values::place()` points to an `AtomicI32` for these kinds.
        let value = unsafe { AtomicI32::from_ptr(data.cast()) };
        let max = match OF_USER {
            true => bounds.users_max,
            false => bounds.max,
        };
        let old = value.load(Ordering::Relaxed);
        let mut new = old;
        let limits = Some((&bounds.min, &max));
        call(c_handler, copy_of(row, &mut new, limits))?;
        if write != 0 && new != old {
            // `proc_dointvec_jiffies()` knows no bounds.
            if !(bounds.min..=max).contains(&new) {
                return Err(EINVAL);
            }
            value.store(new, Ordering::Relaxed);
            netns.queue_work();
        }
        Ok(0)
    })
}

/// One of the sysctl core's handlers.
type CHandler = unsafe extern "C" fn(
    *const bindings::ctl_table,
    c_int,
    *mut c_void,
    *mut usize,
    *mut bindings::loff_t,
) -> c_int;

/// Describes a copy of a value to a handler of the sysctl core; valid for as long as `value` and
/// the least and greatest value in `bounds` are.
fn copy_of<V>(row: &Row, value: &mut V, bounds: Option<(&V, &V)>) -> bindings::ctl_table {
    let (min, max) = bounds.map_or((null(), null()), |(min, max)| {
        (&raw const *min, &raw const *max)
    });
    bindings::ctl_table {
        procname: row.name.as_char_ptr(),
        data: (&raw mut *value).cast(),
        maxlen: size_of::<V>() as c_int,
        mode: 0o644,
        extra1: min.cast_mut().cast(),
        extra2: max.cast_mut().cast(),
        ..pin_init::zeroed()
    }
}
