// SPDX-License-Identifier: GPL-2.0

//! The raw C interface of the IPVS core, generated at build time by bindgen.
//!
//! Only what [`kernel::bindings`] lacks is generated (see `bindgen_parameters`); the rest is
//! re-exported from there, so that a `list_head` here is the kernel crate's own `list_head`.
//! `lblc/` must not name this module.
//!
//! C header: [`include/net/ip_vs.h`](srctree/include/net/ip_vs.h).

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

use kernel::ffi;
use pin_init::MaybeZeroable;

pub(crate) use kernel::bindings::*;

include!(concat!(env!("LBLC_RS_BINDINGS"), "/bindings_generated.rs"));
