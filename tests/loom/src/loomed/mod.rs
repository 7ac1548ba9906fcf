// SPDX-License-Identifier: GPL-2.0

//! The table under loom. The parent of all of them, as `rcu/mod.rs` is in the kernel.

#[path = "../../../../rcu/buckets.rs"]
mod buckets;
#[path = "../../../../rcu/hash_list.rs"]
mod hash_list;
mod memory;
mod platform;
mod rcu;
#[path = "../../../../rcu/writer.rs"]
mod writer;

mod models;
mod servers;
mod world;
