// SPDX-License-Identifier: GPL-2.0

//! `kernel_ext/rcu/hash_list.rs`, `kernel_ext/rcu/buckets.rs` and `kernel_ext/rcu/writer.rs`,
//! unchanged, on two platforms other than the kernel.
//!
//! - [`loomed`]: loom runs small cases with every order of their threads and of the visibility of
//!   their stores.
//! - [`hosted`]: one thread, with many random operations and a plain map that must give the same
//!   results.

#![cfg(test)]
#![allow(dead_code)]

mod hosted;
mod loomed;
