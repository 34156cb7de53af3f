/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals as replies. */
#pragma once

#include "api.h"

/** All refusals in one error reply; the first one chooses the status. There is at least one. */
void api_refuse(const struct refusals *r, struct api_reply *ret);
