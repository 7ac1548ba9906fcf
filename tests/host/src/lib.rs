// SPDX-License-Identifier: GPL-2.0

//! The files of `lblc/` that do not use the kernel crate, unchanged, for `tests/`.

#![allow(dead_code)]

#[path = "../../../lblc/hash.rs"]
mod hash;
#[path = "../../../lblc/policy.rs"]
mod policy;
#[path = "../../../lblc/rendezvous.rs"]
mod rendezvous;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod c_oracle;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
