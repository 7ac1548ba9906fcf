/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The input of bindgen: the C interface of the IPVS core. Types that kernel::bindings
 * has are taken from there (see bindgen_parameters), so that they are the types of the
 * kernel crate.
 */
#include <linux/sysctl.h>
#include <net/genetlink.h>
#include <net/ip_vs.h>
#include <net/net_namespace.h>
#include "helpers.h"
#include "netlink/glue.h"
#include "netlink/uapi/linux/ip_vs_lblc_rs.h"
