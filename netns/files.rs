// SPDX-License-Identifier: GPL-2.0

//! The files of each network namespace, in `/proc/net` and in `net.ipv4.vs`: when they are created
//! and removed.
//!
//! `lblc_expiration` is also a sysctl of C's `ip_vs_lblc`, which registers it in the namespaces
//! that belong to the initial user namespace. The kernel empties the whole directory when a name is
//! registered twice there. So the file is ours only while C's module is not loaded
//! ([`c_module`](super::c_module)).
//!
//! Removing a file waits for its users, and a user can make that wait last for ever (by a read into
//! memory that a FUSE file system never fills). It is done under the namespace's own lock alone,
//! and not under [`VISIBLE`], which the creation of every namespace takes.
//!
//! Lock order: the pernet rwsem, or that of the module notifiers; then [`VISIBLE`]; then
//! `Files::shown` of namespaces that are in a list of [`VISIBLE`]; then locks of the sysctl core.

use super::{
    proc::{
        self,
        Shown as Records, //
    },
    settings::{
        Setting,
        ROWS, //
    },
    State, //
};
use crate::{
    bindings,
    ipvs::{
        log,
        Net,
        Netns,
        Scheduler, //
    }, //
};
use core::ptr::null_mut;
use kernel::{
    list::{
        impl_list_arc_safe,
        impl_list_item,
        AtomicTracker,
        List,
        ListArc,
        ListLinks,
        TryNewListArc, //
    },
    new_mutex,
    prelude::*,
    sync::{
        global_lock,
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// The settings of one namespace, as the sysctl core knows them.
type Tables = [bindings::ctl_table; ROWS.len()];

/// The files of one namespace.
///
/// # Invariants
///
/// - `net` is live while anything is visible.
/// - `tables` is initialised once `is_described` is set in `shown`, and does not change after that.
#[pin_data]
pub(super) struct Files {
    net: Net,
    /// C's module registers `lblc_expiration` here, if it is loaded.
    shares_with_c: bool,
    tables: Opaque<Tables>,
    #[pin]
    shown: Mutex<Shown>,
    #[pin]
    links: ListLinks,
    #[pin]
    tracker: AtomicTracker,
}

// SAFETY: A namespace and its files are not tied to a thread; `shown` serialises what changes them.
unsafe impl Send for Files {}
// SAFETY: As above.
unsafe impl Sync for Files {}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Files { tracked_by tracker: AtomicTracker; }
}
impl_list_item! {
    impl ListItem<0> for Files { using ListLinks { self.links }; }
}

/// The files that are visible.
///
/// # Invariants
///
/// A header is null, or the registration of one of `tables` or more.
struct Shown {
    is_described: bool,
    expiration: *mut bindings::ctl_table_header,
    others: *mut bindings::ctl_table_header,
    proc_files: bool,
}

// SAFETY: A registration is not tied to a thread.
unsafe impl Send for Shown {}

/// The namespaces whose files are visible.
pub(super) struct Visible {
    /// C's module is loaded, or built in.
    pub(super) c_is_loaded: bool,
    /// C's module was unloaded before `c_is_loaded` was determined: it may still be found in sysfs,
    /// but has no files any more.
    pub(super) c_has_gone: bool,
    /// The module is being unloaded: nothing becomes visible any more.
    going: bool,
    /// Those of the initial user namespace, which share a name with C's module.
    machines: List<Files>,
    /// Those of other user namespaces. (In a list of their own, so that their number does not
    /// matter to operations on `machines`.)
    users: List<Files>,
}

global_lock! {
    // SAFETY: `init()` is called, by `c_module::Notifier::new()`, before anything else of this
    // file.
    pub(super) unsafe(uninit) static VISIBLE: Mutex<Visible> = Visible {
        c_is_loaded: false,
        c_has_gone: false,
        going: false,
        machines: List::new(),
        users: List::new(),
    };
}

impl Visible {
    fn list(&mut self, files: &Files) -> &mut List<Files> {
        if files.shares_with_c {
            &mut self.machines
        } else {
            &mut self.users
        }
    }

    /// C's module was unloaded, which has removed its file in each namespace: registers ours, with
    /// the same value. Process context; waits for nothing but memory.
    pub(super) fn take_expiration_over(&mut self) {
        self.c_is_loaded = false;
        for files in self.machines.iter() {
            files.show_expiration(&mut files.shown.lock());
        }
    }
}

impl Files {
    /// Nothing is visible. Process context. Fails with `ENOMEM`.
    pub(super) fn new(net: Net) -> Result<Arc<Self>> {
        let files = pin_init!(Self {
            net,
            shares_with_c: net.is_of_initial_user(),
            tables: Opaque::uninit(),
            shown <- new_mutex!(
                // INVARIANT: The headers are null.
                Shown {
                    is_described: false,
                    expiration: null_mut(),
                    others: null_mut(),
                    proc_files: false,
                },
                "lblc_rs_files"
            ),
            links <- ListLinks::new(),
            tracker <- AtomicTracker::new(),
        });
        Arc::pin_init(files, GFP_KERNEL_ACCOUNT)
    }

    /// Makes these files, which are those of `netns`, visible. Process context, under the pernet
    /// rwsem. Fails with `ENOMEM`; a sysctl that cannot be registered is only logged.
    pub(super) fn show<T>(self: &Arc<Self>, netns: &Netns<T>) -> Result
    where
        T: Scheduler<Netns = State> + Records,
    {
        let mut visible = VISIBLE.lock();
        if visible.going {
            return Ok(());
        }
        let mut shown = self.shown.lock();
        // SAFETY: The namespace is live, as the pernet core is in our init.
        unsafe { proc::create::<T>(self.net) }?;
        shown.proc_files = true;
        let values = &netns.state().values;
        let tables = values.describe(netns, self.net);
        // SAFETY: The memory is valid for writes, and nothing reads it before the registration
        // below.
        unsafe { self.tables.get().cast::<Tables>().write(tables) };
        // INVARIANT: Just initialised, and not changed any more.
        shown.is_described = true;
        shown.others = self.register(Setting::Expiration as usize + 1..ROWS.len());
        let is_ours = !self.shares_with_c || !visible.c_is_loaded;
        // C's module does not set the value of a namespace that is created while that module is
        // being unloaded, nor in a kernel without sysctls.
        // SAFETY: The namespace is live, as the pernet core is in our init.
        if is_ours || !unsafe { bindings::lblc_rs_c_has_set_expiration(self.net.as_ptr()) } {
            values.reset_expiration();
        }
        if is_ours {
            self.show_expiration(&mut shown);
        }
        if cfg!(CONFIG_SYSCTL) && shown.others.is_null() {
            log::notice_ratelimited(
                c"a namespace has no sysctls of lblc_rs: its defaults are used",
            );
        }
        drop(shown);
        if let Ok(files) = ListArc::try_from_arc(self.clone()) {
            visible.list(self).push_back(files);
        }
        Ok(())
    }

    /// Makes `lblc_expiration` visible; C's module has no such file here.
    fn show_expiration(&self, shown: &mut Shown) {
        if shown.is_described && shown.expiration.is_null() {
            // INVARIANT: What `register()` returns is null or a registration.
            shown.expiration = self.register(0..Setting::Expiration as usize + 1);
        }
    }

    /// Registers some of the described settings; null if that fails.
    #[cfg(CONFIG_SYSCTL)]
    fn register(&self, rows: core::ops::Range<usize>) -> *mut bindings::ctl_table_header {
        let tables = self.tables.get().cast::<bindings::ctl_table>();
        let path = c"net/ipv4/vs".as_char_ptr();
        // SAFETY: The namespace is live by the type invariants, as are the tables, which are
        // described and stay in place until `hide()` unregisters them.
        unsafe {
            bindings::register_net_sysctl_sz(
                self.net.as_ptr(),
                path,
                tables.wrapping_add(rows.start),
                rows.end.wrapping_sub(rows.start),
            )
        }
    }

    #[cfg(not(CONFIG_SYSCTL))]
    fn register(&self, _rows: core::ops::Range<usize>) -> *mut bindings::ctl_table_header {
        null_mut()
    }

    /// Removes the files, and waits for their users. Process context. The caller holds no lock that
    /// others need, except the pernet rwsem when a namespace is deleted: the pernet core waits for
    /// the users of every sysctl of the kernel.
    pub(super) fn hide(&self) {
        let mut visible = VISIBLE.lock();
        // SAFETY: Nothing but `show()` puts these files into a list, and that is the list of
        // `Visible::list()`.
        drop(unsafe { visible.list(self).remove(self) });
        drop(visible);
        self.withdraw();
    }

    /// Removes the files, which are in no list any more, and waits for their users.
    fn withdraw(&self) {
        let mut shown = self.shown.lock();
        #[cfg(CONFIG_SYSCTL)]
        // SAFETY: By the type invariants both headers are null, which C ignores, or registered.
        unsafe {
            bindings::unregister_net_sysctl_table(shown.expiration);
            bindings::unregister_net_sysctl_table(shown.others);
        }
        // INVARIANT: Nothing is registered any more.
        shown.expiration = null_mut();
        shown.others = null_mut();
        if core::mem::replace(&mut shown.proc_files, false) {
            // SAFETY: `show()` created them, and the namespace is live by the type invariants.
            unsafe { proc::remove(self.net) };
        }
    }
}

/// Removes the files of all namespaces, present and future, and waits for their users. Process
/// context, without a lock. A namespace that ends meanwhile waits for its own files only.
pub(super) fn hide_all() {
    loop {
        let mut visible = VISIBLE.lock();
        visible.going = true;
        let next = visible.machines.pop_front();
        let Some(files) = next.or_else(|| visible.users.pop_front()) else {
            return;
        };
        drop(visible);
        files.withdraw();
    }
}
