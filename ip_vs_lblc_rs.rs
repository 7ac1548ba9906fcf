// SPDX-License-Identifier: GPL-2.0

//! IPVS: locality-based least-connection scheduling, in Rust.
//!
//! New connections to one destination address keep going to the same real server, unless that
//! server is overloaded while another one is half idle.
//!
//! C version of this scheduler:
//! [`net/netfilter/ipvs/ip_vs_lblc.c`](srctree/net/netfilter/ipvs/ip_vs_lblc.c).

use kernel::prelude::*;

mod bindings;
mod ipvs;
mod lblc;
mod percpu;
mod random;
mod rcu;
mod slab;
mod timer;
mod work;

module! {
    type: Module,
    name: "ip_vs_lblc_rs",
    authors: ["The ip_vs_lblc_rs authors"],
    description: "IPVS locality-based least-connection scheduler, in Rust",
    license: "GPL",
    params: {
        dropin: u8 {
            default: 0,
            description: "1: register as lblc, in the place of C's ip_vs_lblc (default 0: as lblc_rs)",
        },
    },
}

/// What the loaded module holds. Dropped from top to bottom, which is the only right order: no new
/// service may bind, then no packet may be in `schedule()`, then no file may be left, then no work may
/// be queued, with which the last entries go, and at last no RCU callback of ours may be pending when our text goes.
#[pin_data]
struct Module {
    #[pin]
    scheduler: ipvs::Registration<lblc::Lblc>,
    #[pin]
    namespaces: ipvs::netns::Registration,
    queue: work::Queue,
    entries: slab::Cache,
    callbacks: rcu::Barrier,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let name = match module_parameters::dropin.value() {
            0 => c"lblc_rs",
            _ => c"lblc",
        };
        try_pin_init!(Self {
            callbacks: rcu::Barrier,
            entries: slab::Cache::new()?,
            queue: work::Queue::new()?,
            namespaces <- ipvs::netns::Registration::new(),
            // A service can bind before we return: this is the last step that can fail.
            scheduler <- ipvs::Registration::new(module, name),
        })
    }
}
