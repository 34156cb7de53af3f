/* SPDX-License-Identifier: Apache-2.0 */
#include "teelaunchd_disk.h"
#include "teelaunchd_options.h"

const struct verb *const verbs[] = { &verb_firewall, &verb_disk, &verb_run, &verb_exit, NULL };
