/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the C side of the IPVS core. Types that kernel::bindings
 * already has are taken from there (see bindgen_parameters), so that they are the
 * kernel crate's own types.
 */
#include <linux/sysctl.h>
#include <net/genetlink.h>
#include <net/ip_vs.h>
#include <net/net_namespace.h>
#include "helpers.h"
#include "netlink/glue.h"
#include "netlink/uapi/linux/ip_vs_lblc_rs.h"
