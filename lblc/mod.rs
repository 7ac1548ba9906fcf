// SPDX-License-Identifier: GPL-2.0

//! The algorithm. Knows the IPVS core only through `crate::ipvs`.
//!
//! | file | what it says |
//! |---|---|
//! | `policy.rs` | which server, and when an entry is stale: pure decisions, tested on the host |
//! | `rendezvous.rs` | the order of servers that directors agree on: pure as well |
//! | `hash.rs` | which bucket: pure as well |
//! | `table.rs` | where each destination address went last |
//! | `fit.rs` | when a table is resized or rekeyed |
//! | `entry.rs` | one destination address: its server, and the time of its last use |
//! | `gc.rs` | when stale entries are collected |
//! | `counters.rs` | what a service counts |
//! | `report.rs` | the changes that are reported to listeners |
//! | `show.rs` | the lines of a table in `/proc` |
//! | `control.rs` | showing and changing a table by netlink |
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
