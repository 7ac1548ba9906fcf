// SPDX-License-Identifier: GPL-2.0

//! What a scheduler needs and the kernel crate lacks: hash lists and deferred freeing under RCU,
//! work items that run after a delay or a grace period, the time in jiffies, per-CPU counters, a
//! slab cache, memory cgroups and random numbers. Nothing here depends on IPVS.
//!
//! Kernels from 7.2 on are supported. What their kernel crate has is used: `Arc`, `Mutex`,
//! `RBTree`, `rcu::Guard`, `Lock`. `rcu::synchronize_rcu()` and `rcu::rcu_barrier()` are in 7.3
//! only.

pub(crate) mod jiffies;
pub(crate) mod memcg;
pub(crate) mod percpu;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod slab;
pub(crate) mod work;
