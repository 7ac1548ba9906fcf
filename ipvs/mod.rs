// SPDX-License-Identifier: GPL-2.0

//! A safe view of the IPVS core, as a scheduler needs it.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h).

mod dest;
mod header;
mod name;
pub(crate) mod netns;
pub(crate) mod proc;
mod scheduler;
mod service;
mod sysctl;

pub(crate) use dest::{Dest, DestRef};
pub(crate) use header::{Address, Header};
pub(crate) use name::Named;
pub(crate) use scheduler::{Registration, Scheduler};
pub(crate) use service::Service;
