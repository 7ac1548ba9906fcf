// SPDX-License-Identifier: GPL-2.0

//! `rcu/hash_list.rs` and `rcu/buckets.rs`, as they are, on two other platforms than the kernel.
//!
//! - [`loomed`]: loom runs small cases in every order that their threads, and what a CPU may show of
//!   other CPUs' stores, allow.

#![cfg(test)]
#![allow(dead_code)]

mod loomed;
