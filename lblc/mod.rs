// SPDX-License-Identifier: GPL-2.0

//! The algorithm. Knows the IPVS core only through `crate::ipvs`.
//!
//! | file | what it says |
//! |---|---|
//! | `policy.rs` | which server, and when an entry is stale: pure decisions, tested on the host |
//! | `rendezvous.rs` | the order of servers that directors agree on: pure as well |
//! | `hash.rs` | which bucket: pure as well |
//! | `table.rs` | where each destination address went last |
//! | `gc.rs` | when stale entries are collected |
//! | `counters.rs` | what a service counts |
//! | `show.rs` | what the operator sees of a table in `/proc` |
//! | `control.rs` | what the operator sees of a table by netlink, and changes |
//! | `scheduler.rs` | the scheduler, made of these |

#![deny(unsafe_code)]

mod control;
mod counters;
mod entry;
mod gc;
mod hash;
mod policy;
mod rendezvous;
mod scheduler;
mod show;
mod table;

pub(crate) use scheduler::Lblc;
