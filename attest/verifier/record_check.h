/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch record (teelaunch/launch_record.h): what of a launch changes behaviour and isn't in
 * the launch log, once its log leads to the quoted PCR 15 of every bank. Hostile bytes. Pure.
 *
 * Evidence without a record is accepted only if PCR 15 is zero, wherever it is quoted: a launcher
 * that measures one can't be made to look like one that doesn't. What is missing is claimed as
 * missing.
 */
#pragma once

#include <jansson.h>

#include "refusals.h"
#include "request.h"

/**
 * @ret  a new reference to the document, an object, or NULL: there is no record. It means something
 *       only if nothing was added to @refusals; owned by the caller in any case
 * Refusals: TL_E_VERIFY_RECORD_LOG, TL_E_VERIFY_RECORD.
 */
void record_check(const struct verify_request *req, json_t **ret, struct refusals *refusals);
