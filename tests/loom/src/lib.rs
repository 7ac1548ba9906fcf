// SPDX-License-Identifier: GPL-2.0

//! Four files of `kernel_ext/rcu`, unchanged, on two platforms other than the kernel:
//! `hash_list.rs`, `buckets.rs`, `rebuild.rs` and `writer.rs`.
//!
//! - [`loomed`]: loom runs small cases with every order of their threads and of the visibility of
//!   their stores.
//! - [`hosted`]: one thread, with many random operations and a plain map that must give the same
//!   results.

#![cfg(test)]
#![allow(dead_code)]

mod hosted;
mod loomed;
