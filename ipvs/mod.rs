// SPDX-License-Identifier: GPL-2.0

//! A safe view of the IPVS core, as a scheduler needs it.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h).

mod dest;
mod header;
pub(crate) mod log;
mod name;
mod netns;
mod parked;
mod pernet;
mod registration;
mod scheduler;
mod server;
mod servers;
mod service;
mod slots;

use dest::DestRef;

pub(crate) use dest::Dest;
pub(crate) use header::{
    Address,
    Header, //
};
pub(crate) use name::{
    Endpoint,
    Named, //
};
pub(crate) use netns::{
    Listed,
    Net,
    Netns,
    NetnsState,
    ID_BITS, //
};
pub(crate) use registration::Registration;
pub(crate) use scheduler::{
    SchedContext,
    Scheduler, //
};
pub(crate) use server::{
    DestSlot,
    FastCheck,
    Server, //
};
pub(crate) use servers::Servers;
pub(crate) use service::{
    Identity,
    Service, //
};
pub(crate) use slots::Candidate;
