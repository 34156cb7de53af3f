/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a launch will measure, and what a token will say of it: from the attributes and the image,
 * made by the functions that teelaunchd measures with and that teeverifierd makes claims with.
 */
#pragma once

#include <jansson.h>

#include "measure.h"

/**
 * Fill @m->events, and what of them isn't known yet. Needs judge_run().
 * Returns 0, 1 (the launch ends before anything is measured; the reason is among the findings), or
 * -errno with @err.
 */
int predict_events(struct measure *m, struct tl_error *err);

/**
 * Add to the document: launch record, verdict, findings, claims, condition, holes. A record that
 * can't be measured is one more finding. 0 or -errno with @err.
 */
int predict_document(struct measure *m, json_t *document, struct tl_error *err);

/** Add launch_record and pcr15. 0 or -errno with @err. Reads the files that the unit names. */
int predict_record(const struct measure *m, json_t *document, struct tl_error *err);

/**
 * A condition on a token's claims in the Common Expression Language, for a Google workload identity
 * provider (attribute condition): this image and these overrides on a machine of this kind.
 * @container  the claim submods.container
 * @ret        new string
 * Returns 0 or -ENOMEM.
 */
int predict_condition(const json_t *container, bool is_debug, char **ret);

/** Print the rest of it for people. */
void predict_print(const struct measure *m, const json_t *document);
