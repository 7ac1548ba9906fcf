// SPDX-License-Identifier: GPL-2.0
/*
 * The module's parameter, in C: the values of its bool are those of the kernel's other booleans,
 * and it may have none, unlike with module!.
 */

#include <linux/module.h>

#include "helpers.h"

bool lblc_rs_dropin;
module_param_named(dropin, lblc_rs_dropin, bool, 0444);
MODULE_PARM_DESC(dropin, "register as lblc too, in the place of C's ip_vs_lblc (default N: as lblc_rs only)");
