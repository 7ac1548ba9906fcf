// SPDX-License-Identifier: GPL-2.0

//! `kernel_ext/rcu/hash_list.rs`, `kernel_ext/rcu/buckets.rs` and `kernel_ext/rcu/writer.rs`, as they are, on two other platforms than the kernel.
//!
//! - [`loomed`]: loom runs small cases in every order that their threads, and what a CPU may show of
//!   other CPUs' stores, allow.
//! - [`hosted`]: one thread, many random operations, and a plain map that must say the same.

#![cfg(test)]
#![allow(dead_code)]

mod hosted;
mod loomed;
