// SPDX-License-Identifier: GPL-2.0

//! The algorithm. Knows the IPVS core only through `crate::ipvs`.
//!
//! | file | what it says |
//! |---|---|
//! | `policy.rs` | which server, and when an entry is stale: pure decisions, tested on the host |
//! | `rendezvous.rs` | the order of servers that directors agree on: pure as well |
//! | `hash.rs` | which bucket: pure as well |
//! | `table.rs` | where each destination address went last |
//! | `fit.rs` | how large a table is |
//! | `gc.rs` | when stale entries are collected |
//! | `counters.rs` | what a service counts |
//! | `report.rs` | what listeners are told of changes |
//! | `show.rs` | what the operator sees of a table in `/proc` |
//! | `control.rs` | what the operator sees of a table by netlink, and changes |
//! | `scheduler.rs` | the scheduler, made of these |

#![deny(unsafe_code)]

mod control;
mod counters;
mod entry;
mod fit;
mod gc;
mod hash;
mod policy;
mod rendezvous;
mod report;
mod scheduler;
mod show;
mod table;

pub(crate) use scheduler::Lblc;
