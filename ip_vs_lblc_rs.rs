// SPDX-License-Identifier: GPL-2.0

//! IPVS: locality-based least-connection scheduling, in Rust.
//!
//! New connections to one destination address keep going to the same real server, unless that
//! server is overloaded while another one is below half of its weight.
//!
//! C version of this scheduler:
//! [`net/netfilter/ipvs/ip_vs_lblc.c`](srctree/net/netfilter/ipvs/ip_vs_lblc.c).

use kernel::prelude::*;

mod bindings;
mod ipvs;
mod kernel_ext;
mod lblc;
mod netns;

use kernel_ext::{
    jiffies,
    memcg,
    percpu,
    random,
    rcu,
    slab,
    work, //
};

module! {
    type: Module,
    name: "ip_vs_lblc_rs",
    authors: ["The ip_vs_lblc_rs authors"],
    description: "IPVS locality-based least-connection scheduler, in Rust",
    license: "GPL",
}

netns::netlink::netlink_operations!(lblc::Lblc);

/// The module's state. Fields are dropped in declaration order: `family` waits for running netlink
/// operations, which use the other fields; `scheduler` stops new bindings, waits for running
/// `schedule()` calls and removes the files of the network namespaces; `c_module` lets C's module
/// be loaded again; `queue` drains the work items that free the last tables; `entries` destroys the
/// now empty cache; and `callbacks` waits for pending RCU callbacks before the module's code is
/// unloaded.
#[pin_data]
struct Module {
    #[pin]
    family: netns::family::Family,
    #[pin]
    scheduler: ipvs::Registration<lblc::Lblc>,
    #[pin]
    c_module: netns::c_module::Notifier,
    queue: work::Queue,
    entries: slab::Cache,
    callbacks: rcu::Barrier,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: The parameter is set before a module's init and cannot be written later.
        let names: &[&CStr] = match unsafe { bindings::lblc_rs_dropin } {
            true => &[c"lblc", c"lblc_rs"],
            false => &[c"lblc_rs"],
        };
        try_pin_init!(Self {
            callbacks: rcu::Barrier,
            entries: slab::Cache::new()?,
            queue: work::Queue::new()?,
            // SAFETY: A module is initialised once, and nothing of `netns` is in use yet.
            c_module <- unsafe { netns::c_module::Notifier::new() },
            // A service can bind before we return: this is the last step that can fail.
            scheduler <- ipvs::Registration::new(module, names),
            // Last, because nothing fails after it: an open dump does not keep a module loaded
            // whose init fails.
            family <- netns::family::Family::new(),
        })
    }
}
