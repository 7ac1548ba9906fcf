// SPDX-License-Identifier: GPL-2.0

//! The table in one thread on the host. The parent module of its files, as `kernel_ext/rcu/mod.rs`
//! in the kernel.

#[path = "../../../../kernel_ext/rcu/buckets.rs"]
mod buckets;
#[path = "../../../../kernel_ext/rcu/hash_list.rs"]
mod hash_list;
mod platform;
#[path = "../../../../kernel_ext/rcu/rebuild.rs"]
mod rebuild;
#[path = "../../../../kernel_ext/rcu/writer.rs"]
mod writer;

mod against_a_map;
