/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals as replies. */
#pragma once

#include "api.h"
#include "checks.h"

/**
 * All refusals in one error reply; the first one chooses the status. There is at least one.
 * @explain  NULL, or then each detail also has the check, what it expected and what it found, and
 *           one more has all checks with their outcomes (checks.h)
 */
void api_refuse(const struct refusals *r, const struct checks_made *explain, struct api_reply *ret);
