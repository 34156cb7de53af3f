/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_driver resolve|fetch [OPTIONS] REFERENCE: the image client behind a command line, for
 * tests. Prints one line of KEY=VALUE each; ends with 1 and "error=..." on failure.
 *
 * The limits are those of production divided by what makes a test bearable.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/image_ref.h>
#include <teelaunch/str.h>

#include "launcher/image/registry.h"
#include "launcher/image/resolve.h"

#define TOKEN_BYTES_MAX 65536

struct driver {
	struct tl_strv roots;
	const char *google_roots;
	const char *architecture;
	struct tl_secret token;
	uint64_t deadline_ms;
	uint64_t stall_ms;
	struct tl_image_ref ref;
	struct tl_registry *registry;
	struct tl_resolved_image image;
	uint64_t streamed_bytes;
};

static void driver_done(struct driver *d)
{
	tl_resolved_image_done(&d->image);
	tl_registry_close(d->registry);
	tl_image_ref_done(&d->ref);
	tl_secret_done(&d->token);
	tl_strv_done(&d->roots);
}
#define auto_driver __attribute__((cleanup(driver_done)))

static int open_registry(struct driver *d, struct tl_error *err)
{
	struct tl_registry_limits limits = tl_registry_limits_default();
	const struct tl_registry_options o = {
		.roots = &d->roots,
		.google_roots = d->google_roots,
		.access_token = &d->token,
		.limits = &limits,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), d->deadline_ms),
	};
	int r = 0;

	limits.backoff.base_ms = 20;
	limits.backoff.cap_ms = 100;
	limits.stall_timeout_ms = d->stall_ms;
	limits.retry_after_max_ms = 2000;
	if (r == 0)
		r = tl_registry_open(&d->ref, &o, &d->registry, err);
	return r;
}

static int resolve(struct driver *d, struct tl_error *err)
{
	const struct tl_resolved_image *image = &d->image;
	int r = open_registry(d, err);

	if (r == 0)
		r = tl_resolve(d->registry, &d->ref, d->architecture, &d->image, err);
	if (d->registry)
		printf("requests=%" PRIu64 "\n", tl_registry_requests(d->registry));
	if (r < 0)
		return r;
	printf("target=%s\ntarget_type=%s\nmanifest=%s\nmanifest_type=%s\nconfig=%s\n",
	       image->target.digest, image->target.media_type, image->manifest.digest,
	       image->manifest.media_type, image->config.digest);
	printf("layers=%zu\nlayers_bytes=%" PRIu64 "\nchain=%s\nforeign=%d\nhas_index=%d\n",
	       image->layers_n, image->layers_bytes, image->chain_id.text,
	       image->is_platform_foreign, image->has_index);
	for (size_t i = 0; i < image->parsed.labels.n; i++)
		printf("label.%s=%s\n", image->parsed.labels.items[i].key,
		       image->parsed.labels.items[i].value);
	return 0;
}

static int count(void *ctx, const void *data, size_t n)
{
	struct driver *d = ctx;

	(void)data;
	d->streamed_bytes += n;
	return 0;
}

/* The first layer, one attempt, thrown away. */
static int fetch(struct driver *d, struct tl_error *err)
{
	struct registry_attempt attempt = { 0 };
	int r = resolve(d, err);

	if (r < 0)
		return r;
	r = registry_read_blob(d->registry, &d->image.layers[0].descriptor, 0, count, d, &attempt,
			       err);
	printf("streamed=%" PRIu64 "\nretryable=%d\n", d->streamed_bytes, attempt.is_retryable);
	return r;
}

static int token_load(struct driver *d, const char *path, struct tl_error *err)
{
	auto_buf struct tl_buf b = { 0 };
	int r;

	tl_buf_init(&b, TOKEN_BYTES_MAX);
	r = tl_file_read(path, &b, err);
	return r < 0 ? r : tl_secret_set(&d->token, b.data, b.len_bytes);
}

static int option_apply(struct driver *d, int option, const char *value, struct tl_error *err)
{
	switch (option) {
	case 'r':
		return tl_strv_add(&d->roots, value);
	case 'g':
		d->google_roots = value;
		return 0;
	case 'a':
		d->architecture = value;
		return 0;
	case 't':
		return token_load(d, value, err);
	case 'd':
		return tl_str_parse_u64(value, UINT64_MAX, &d->deadline_ms);
	case 's':
		return tl_str_parse_u64(value, UINT64_MAX, &d->stall_ms);
	default:
		return tl_fail(err, TL_E_USAGE, EINVAL, "unknown option");
	}
}

static int run(struct driver *d, int argc, char **argv, struct tl_error *err)
{
	static const struct option options[] = {
		{ "registry-roots", required_argument, NULL, 'r' },
		{ "google-roots", required_argument, NULL, 'g' },
		{ "architecture", required_argument, NULL, 'a' },
		{ "token-file", required_argument, NULL, 't' },
		{ "deadline-ms", required_argument, NULL, 'd' },
		{ "stall-ms", required_argument, NULL, 's' },
		{ 0 },
	};
	static const struct {
		const char *name;
		int (*run)(struct driver *d, struct tl_error *err);
	} verbs[] = { { "resolve", resolve }, { "fetch", fetch } };
	int option, r;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		r = option_apply(d, option, optarg, err);
		if (r < 0)
			return r;
	}
	if (argc - optind != 2)
		return tl_fail(err, TL_E_USAGE, EINVAL, "image_driver VERB [OPTIONS] REFERENCE");
	r = tl_image_ref_parse(argv[optind + 1], &d->ref, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < TL_ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[optind], verbs[i].name) == 0)
			return verbs[i].run(d, err);
	return tl_fail(err, TL_E_USAGE, EINVAL, "unknown verb");
}

int main(int argc, char **argv)
{
	auto_driver struct driver d = { .deadline_ms = 60000, .stall_ms = 1500 };
	struct tl_error err = { 0 };
	int r = run(&d, argc, argv, &err);

	if (r == 0)
		return 0;
	printf("errno=%d\nclass=%s\ncode=%s\nerror=%s\n", -r, tl_class_name(err.class),
	       tl_catalogue_find(err.code)->name, err.msg);
	return 1;
}
