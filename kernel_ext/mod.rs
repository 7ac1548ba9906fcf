// SPDX-License-Identifier: GPL-2.0

//! What a scheduler needs and the kernel crate lacks: hash lists and deferred freeing under RCU, work
//! items that run after a delay or a grace period, the time in jiffies, per-CPU counters, a slab cache
//! and random numbers. Nothing here depends on IPVS.
//!
//! In no use here, as the kernel crate has it: `Arc`, `Mutex`, `SpinLock`, `RBTree`, `List`.

pub(crate) mod jiffies;
pub(crate) mod percpu;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod slab;
pub(crate) mod work;
