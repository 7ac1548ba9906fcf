// SPDX-License-Identifier: GPL-2.0

//! The models: operations that two or three threads execute concurrently, and conditions that must
//! hold in every order. The calling thread is one of the threads. Each model ends with a check of
//! the table, and frees it.

mod chains;
mod rebuild;
mod reclaim;
mod servers;
mod slots;
mod trios;
