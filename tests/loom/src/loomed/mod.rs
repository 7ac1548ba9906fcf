// SPDX-License-Identifier: GPL-2.0

//! The table under loom. The parent of all of them, as `kernel_ext/rcu/mod.rs` is in the kernel.

#[path = "../../../../kernel_ext/rcu/buckets.rs"]
mod buckets;
#[path = "../../../../kernel_ext/rcu/hash_list.rs"]
mod hash_list;
mod memory;
mod platform;
mod rcu;
#[path = "../../../../kernel_ext/rcu/rebuild.rs"]
mod rebuild;
#[path = "../../../../kernel_ext/rcu/writer.rs"]
mod writer;

mod models;
mod servers;
mod world;
