// SPDX-License-Identifier: GPL-2.0

//! The models: what two or three threads may do at once, and what must hold whoever is first. In
//! each of them the calling thread is one of the threads, and the table is looked over and freed at
//! the end.

mod chains;
mod rebuild;
mod reclaim;
mod servers;
mod slots;
mod trios;
