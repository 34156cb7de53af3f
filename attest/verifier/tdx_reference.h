/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which image a TD booted, by its registers: the member "tdx" of reference values, a list of
 * { "mrtd", "rtmr1", "rtmr2", and possibly "rtmr0" }, each 96 lower-case hex digits. A TD is the
 * image's if one element fits in all it has. MRTD is the firmware, RTMR 1 what the firmware started
 * (as PCRs 2 to 6), RTMR 2 what that was told and loaded (PCRs 8 to 15), RTMR 0 the machine's shape
 * and Secure Boot's policy (PCRs 1 and 7). Pure.
 */
#pragma once

#include <jansson.h>

#include "image_check.h"
#include "tdx_quote.h"

/** Into @ref, whose image_reference_done() frees it. TL_E_VERIFY_REFERENCE naming the field. */
int tdx_references_read(const json_t *root, struct image_reference *ref, struct tl_error *err);

/**
 * @ret  the image, borrowed from @refs; unchanged if none fits
 * Refusal: TL_E_VERIFY_TDX_IMAGE naming register, expected and found of the nearest reference (that
 * with most equal registers).
 */
void tdx_image_check(const struct image_references *refs, const struct tdx_report *td,
		     const struct image_reference **ret, struct refusals *refusals);
