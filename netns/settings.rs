// SPDX-License-Identifier: GPL-2.0

//! The sysctls of a network namespace, in `net/ipv4/vs`: a row each. A new one is a new row.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h).

use crate::{
    bindings,
    ipvs::{Net, Netns, Scheduler, Service},
    timer::HZ,
};
use core::{
    mem::size_of,
    sync::atomic::{AtomicI32, Ordering},
};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    types::Opaque,
};

/// What the file of a setting shows of the value.
#[derive(Clone, Copy)]
enum Unit {
    /// The value itself.
    Plain,
    /// Seconds, of a value in jiffies.
    Seconds,
}

/// What is known of a setting.
pub(super) struct Row {
    name: &'static CStr,
    unit: Unit,
    default: c_int,
    min: c_int,
    max: c_int,
    /// `max` in a namespace that does not belong to the machine's own user namespace.
    users_max: c_int,
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
        unit: Unit::Seconds,
        default: 24 * 60 * 60 * HZ as c_int,
        min: 0,
        max: c_int::MAX,
        users_max: c_int::MAX,
    }
    /// How many entries a table may have.
    MaxEntries {
        name: c"lblc_rs_max_entries",
        unit: Unit::Plain,
        default: 1 << 18,
        min: 1,
        max: 1 << 24,
        users_max: 1 << 18,
    }
}

/// The values of one namespace.
///
/// # Invariants
///
/// `ipvs` is IPVS' state of the namespace, which is live while the namespace's files are visible.
pub(super) struct Values {
    own: [AtomicI32; ROWS.len()],
    ipvs: *mut bindings::netns_ipvs,
}

// SAFETY: `ipvs` is used only for an atomic that it contains.
unsafe impl Send for Values {}
// SAFETY: As above.
unsafe impl Sync for Values {}

impl Values {
    /// The defaults.
    pub(super) fn new(net: Net) -> Self {
        Self {
            own: ROWS.each_ref().map(|row| AtomicI32::new(row.default)),
            ipvs: net.ipvs(),
        }
    }

    /// The value of a setting that C's module does not share. Any context; a plain load.
    #[inline(always)]
    pub(super) fn get(&self, setting: Setting) -> i32 {
        self.own[setting as usize].load(Ordering::Relaxed)
    }

    /// Sets the value that C's module shares to its default. Process context, while the namespace's
    /// files become visible.
    pub(super) fn reset_expiration(&self) {
        // SAFETY: By the type invariants `ipvs` is live.
        let value = unsafe { AtomicI32::from_ptr(expiration_of(self.ipvs)) };
        value.store(
            ROWS[Setting::Expiration as usize].default,
            Ordering::Relaxed,
        );
    }

    /// The place of a setting's value.
    fn place(&self, setting: usize) -> *mut c_int {
        if setting == Setting::Expiration as usize {
            // SAFETY: By the type invariants `ipvs` is live.
            return unsafe { expiration_of(self.ipvs) };
        }
        self.own[setting].as_ptr()
    }

    /// Describes all settings to the sysctl core; `netns` contains these values. The description is
    /// valid for as long as `netns` is live and its files are visible.
    pub(super) fn describe<T: Scheduler>(
        &self,
        netns: &Netns<T>,
        net: Net,
    ) -> [bindings::ctl_table; ROWS.len()] {
        core::array::from_fn(|setting| bindings::ctl_table {
            procname: ROWS[setting].name.as_char_ptr(),
            data: self.place(setting).cast(),
            maxlen: size_of::<c_int>() as c_int,
            mode: 0o644,
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

/// Where `lblc_expiration` is in the core's `netns_ipvs`: C's module has it there too, so that both
/// modules go by the same value.
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
    // SAFETY: `ip_vs_add_service()` sets the service's `ipvs` before it binds the scheduler, and nothing
    // writes it afterwards. It is pernet memory of the core, which is freed after the core's exit
    // method has deleted all services. The value is an aligned `int` that C writes with single stores.
    unsafe { AtomicI32::from_ptr(expiration_of(service.netns())) }.load(Ordering::Relaxed)
}

/// Reads or writes a file. Process context; the sysctl core keeps the table registered for the time
/// of the call. As C's `proc_dointvec_minmax()` and `proc_dointvec_jiffies()`: what does not fit is
/// refused with `EINVAL`, and changes nothing. After a change the namespace's services are told.
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
    // SAFETY: `describe()` set all three; the files are removed before any of them goes away.
    let (value, row, netns) = unsafe {
        let table = &*table;
        let (row, netns) = (table.extra1.cast::<Row>(), table.extra2.cast::<Netns<T>>());
        (AtomicI32::from_ptr(table.data.cast()), &*row, &*netns)
    };
    let (min, max) = (row.min, if OF_USER { row.users_max } else { row.max });
    let old = value.load(Ordering::Relaxed);
    let mut new = old;
    let copy = Opaque::new(bindings::ctl_table {
        procname: row.name.as_char_ptr(),
        data: (&raw mut new).cast(),
        maxlen: size_of::<c_int>() as c_int,
        mode: 0o644,
        extra1: (&raw const min).cast_mut().cast(),
        extra2: (&raw const max).cast_mut().cast(),
        ..pin_init::zeroed()
    });
    from_result(|| {
        let c_handler = match row.unit {
            Unit::Plain => bindings::proc_dointvec_minmax,
            Unit::Seconds => bindings::proc_dointvec_jiffies,
        };
        // SAFETY: `copy` describes one `int` and two bounds, all on our stack; the rest is as the
        // caller passed it.
        to_result(unsafe { c_handler(copy.get(), write, buffer, lenp, ppos) })?;
        if write != 0 && new != old {
            // `proc_dointvec_jiffies()` knows no bounds.
            if !(min..=max).contains(&new) {
                return Err(EINVAL);
            }
            value.store(new, Ordering::Relaxed);
            netns.queue_work();
        }
        Ok(0)
    })
}
