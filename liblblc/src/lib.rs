// SPDX-License-Identifier: GPL-2.0

//! What lblctop(8) and lblcctl(8) share: generic netlink, the services of IPVS, the tables of the
//! scheduler `lblc_rs`, and the lines of `/proc/net/ip_vs_lblc_rs`.

#![forbid(unsafe_code)]

pub mod attributes;
pub mod changes;
pub mod identity;
pub mod ipvs;
pub mod lines;
pub mod netlink;
mod proc;
pub mod tables;
#[cfg(test)]
mod tests;
