/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `teelaunchd disk`. */
#pragma once

#include "teelaunchd_options.h"

extern const struct verb verb_disk;
