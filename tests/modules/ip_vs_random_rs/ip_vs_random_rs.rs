// SPDX-License-Identifier: GPL-2.0

//! IPVS: a random server for each new connection, with a probability proportional to its weight.

// Most of `ipvs/` is for schedulers that need more.
#![allow(dead_code, unused_imports)]

use ipvs::{
    Dest,
    Header,
    Netns,
    SchedContext,
    Scheduler,
    Service, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

#[path = "../../../bindings/mod.rs"]
mod bindings;
#[path = "../../../ipvs/mod.rs"]
mod ipvs;
#[path = "../../../kernel_ext/mod.rs"]
mod kernel_ext;

use kernel_ext::{
    jiffies,
    percpu,
    random,
    rcu,
    slab,
    work, //
};

module! {
    type: Module,
    name: "ip_vs_random_rs",
    authors: ["The ip_vs_lblc_rs authors"],
    description: "IPVS random scheduler, in Rust",
    license: "GPL",
}

/// The state of one service: there is none.
struct Random;

impl Scheduler for Random {
    type Netns = ();

    fn init_service<'a>(_: &'a Service, _: &'a Arc<Netns<Self>>) -> impl PinInit<Self, Error> + 'a {
        Ok(Self)
    }

    fn schedule<'g>(call: SchedContext<'g, Self>, _: Header<'g>) -> Option<&'g Dest> {
        let (mut total, mut chosen) = (0u64, None);
        let willing = |dest: &&Dest| !dest.is_overload();
        for dest in call.service.dests(call.rcu).filter(willing) {
            let weight = dest.weight() as u64;
            total = total.wrapping_add(weight);
            // Replace the choice with the probability `weight / total`.
            let draw = random::number().checked_rem(total);
            if draw.is_some_and(|draw| draw < weight) {
                chosen = Some(dest);
            }
        }
        if chosen.is_none() {
            call.service.error(c"no destination available", call.rcu);
        }
        chosen
    }
}

/// Dropped from top to bottom.
#[pin_data]
struct Module {
    #[pin]
    scheduler: ipvs::Registration<Random>,
    queue: work::Queue,
    callbacks: rcu::Barrier,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            callbacks: rcu::Barrier,
            queue: work::Queue::new()?,
            scheduler <- ipvs::Registration::new(module, &[c"random_rs"]),
        })
    }
}
