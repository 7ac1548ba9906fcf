// SPDX-License-Identifier: GPL-2.0

//! What the kernel crate lacks in 7.3, and a scheduler needs: hash lists and deferred freeing under
//! RCU, timers in jiffies, work items that wait for a grace period, per-CPU counters, a slab cache
//! and random numbers. Nothing here knows IPVS.
//!
//! In no use here, as the kernel crate has it: `Arc`, `Mutex`, `SpinLock`, `RBTree`, `List`.

pub(crate) mod percpu;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod slab;
pub(crate) mod timer;
pub(crate) mod work;
