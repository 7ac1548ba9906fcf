// SPDX-License-Identifier: GPL-2.0
/* kbuild compiles what is in the module's own folder. */
#include "../../../bindings/helpers.c"
