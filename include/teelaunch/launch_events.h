/* SPDX-License-Identifier: Apache-2.0 */
/* From the facts of a launch to the events that are measured. Pure. */
#pragma once

#include <stdbool.h>

#include <teelaunch/error.h>
#include <teelaunch/event_log.h>
#include <teelaunch/str.h>

/* What a launch is; everything is borrowed. */
struct tl_launch_facts {
	const char *image_ref;    /* as given in the metadata */
	const char *image_digest; /* "sha256:...": what the reference resolved to (index, if any) */
	const char *restart_policy;         /* "Always", "OnFailure" or "Never" */
	const char *image_id;               /* digest of the image config; NULL: no event */
	const struct tl_strv *args;         /* of the final process, in order */
	const struct tl_strv *env;          /* of the final process, "NAME=VALUE", in order */
	const struct tl_kvs *override_env;  /* the operator's; sorted by name (tl_kvs_sort) */
	const struct tl_strv *override_cmd; /* the operator's */
	bool is_memory_monitored;           /* true only if memory is all that was asked for */
};

/**
 * The whole log of a launch, separator included, in the order 0 1 2 3 4* 5* 7* 6* 9 8.
 * NULL lists are empty lists. TL_E_INTERNAL: a fact is missing, the policy's name is unknown, or
 * override_env isn't strictly ascending. @ret is set on success only; owned by the caller.
 */
int tl_launch_events_build(const struct tl_launch_facts *facts, struct tl_event_list *ret,
			   struct tl_error *err);
