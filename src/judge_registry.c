/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image configuration out of a registry: resolved by the code that teelaunchd resolves with, so
 * that what is judged is what would be launched. Anonymous: there is no service account here.
 */
#include "judge.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "../launcher/image/registry.h"
#include "../launcher/image/resolve.h"

/* Someone is waiting at a terminal: a launch is more patient. */
#define BUDGET_MS 60000

static struct tl_registry_limits limits_of_a_tool(void)
{
	struct tl_registry_limits limits = tl_registry_limits_default();

	limits.backoff.attempts_max = 3;
	limits.connect_timeout_ms = 10000;
	limits.stall_timeout_ms = 10000;
	limits.document_ms = 20000;
	limits.retry_after_max_ms = 10000;
	return limits;
}

static void notes_print(const struct judge *j, const struct tl_resolved_image *image)
{
	char os[64], architecture[64];

	if (j->has_spec && j->spec.image_ref && strcmp(j->spec.image_ref, j->image) != 0)
		fprintf(stderr,
			"%s: note: --image isn't the image that tee-image-reference names\n",
			j->command);
	if (!image->is_platform_foreign)
		return;
	tl_str_escape(image->parsed.os, os, sizeof(os));
	tl_str_escape(image->parsed.architecture, architecture, sizeof(architecture));
	fprintf(stderr, "%s: note: the image's configuration names another platform: %s/%s\n",
		j->command, os, architecture);
}

static int image_resolve(const struct judge *j, const struct tl_image_ref *ref,
			 struct tl_resolved_image *ret, struct tl_error *err)
{
	auto_registry struct tl_registry *registry = NULL;
	const struct tl_registry_limits limits = limits_of_a_tool();
	const struct tl_registry_options options = {
		.roots = &j->registry_roots,
		.user_agent = "teelaunch",
		.limits = &limits,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), BUDGET_MS),
	};
	int r = tl_registry_open(ref, &options, &registry, err);

	return r < 0 ? r : tl_resolve(registry, ref, j->architecture, ret, err);
}

int judge_registry_read(struct judge *j, struct tl_buf *ret, struct tl_error *err)
{
	auto_image_ref struct tl_image_ref ref = { 0 };
	auto_resolved_image struct tl_resolved_image image = { 0 };
	sighandler_t before;
	int r = tl_image_ref_parse(j->image, &ref, err);

	if (r < 0)
		return tl_wrap(err, r,
			       "--image is neither an OCI layout (oci:DIR[:TAG]) nor a reference "
			       "that teelaunchd takes");
	/* A server that hangs up must be an error message, not the end of the program. */
	before = signal(SIGPIPE, SIG_IGN);
	r = image_resolve(j, &ref, &image, err);
	signal(SIGPIPE, before);
	if (r < 0 && err->code == TL_E_REGISTRY_DENIED)
		return tl_wrap(err, r, "asked without credentials");
	if (r < 0)
		return r;
	notes_print(j, &image);
	r = judge_digests_keep(j, image.target.digest, image.manifest.digest, image.config.digest,
			       err);
	if (r < 0)
		return r;
	*ret = image.config_bytes;
	tl_buf_init(&image.config_bytes, 0);
	return 0;
}
