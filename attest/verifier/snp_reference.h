/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests are started with that boot an image: the member "snp" of reference values, a list of
 * MEASUREMENTs, each 96 lower-case hex digits: of the firmware, for a number of processors, and of
 * what the host has it load. Pure.
 */
#pragma once

#include <jansson.h>

#include "image_reference.h"
#include "refusals.h"

/** Into @ref, whose image_reference_done() frees it. TL_E_VERIFY_REFERENCE. */
int snp_references_read(const json_t *root, struct image_reference *ref, struct tl_error *err);

/**
 * @ret_known  whether the image has a list, with the measurement in it. Without a list nothing is
 *             judged: a TPM doesn't vouch for firmware either
 * Refusal: TL_E_VERIFY_SNP_IMAGE if there is a list, and it isn't in it.
 */
void snp_image_check(const struct image_reference *image, const uint8_t *measurement,
		     bool *ret_known, struct refusals *refusals);
