// SPDX-License-Identifier: GPL-2.0

//! The table in one thread of the host. The parent of its files, as `rcu/mod.rs` is in the kernel.

#[path = "../../../../rcu/buckets.rs"]
mod buckets;
#[path = "../../../../rcu/hash_list.rs"]
mod hash_list;
mod platform;
#[path = "../../../../rcu/writer.rs"]
mod writer;

mod against_a_map;
