/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_driver resolve|fetch|pull [OPTIONS] REFERENCE: the image client behind a command line, for
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

#include "launcher/containerd/containerd.h"
#include "launcher/image/pull.h"
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
	/* Of the verb "pull". */
	const char *socket;
	const char *content_dir;
	const char *boot_id;
	const char *unpack; /* "auto", "own", "containerd" */
	const char *unpack_program;
	uint64_t downloads;
	uint64_t pull_ms;
	uint64_t cancel_at_bytes;
	struct tl_cancel *cancel;
	struct tl_pull_progress progress;
};

static void driver_done(struct driver *d)
{
	tl_cancel_free(d->cancel);
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

	limits.backoff.base_ms = 20;
	limits.backoff.cap_ms = 100;
	limits.stall_timeout_ms = d->stall_ms;
	limits.retry_after_max_ms = 2000;
	return tl_registry_open(&d->ref, &o, &d->registry, err);
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

/* The progress must never go back in what is complete, nor beyond the image. */
static void watch(void *ctx, const struct tl_pull_progress *now)
{
	struct driver *d = ctx;

	if (now->layers_fetched < d->progress.layers_fetched ||
	    now->layers_unpacked < d->progress.layers_unpacked ||
	    now->bytes_done > now->bytes_total)
		printf("progress_fault=1\n");
	d->progress = *now;
	if (now->bytes_done >= d->cancel_at_bytes)
		tl_cancel_request(d->cancel);
}

/* The most memory this process ever had, as the kernel counts it. */
static int peak_print(struct tl_error *err)
{
	auto_buf struct tl_buf b = { 0 };
	const char *line;
	int r;

	tl_buf_init(&b, TOKEN_BYTES_MAX);
	r = tl_file_read("/proc/self/status", &b, err);
	line = r < 0 ? NULL : strstr(tl_buf_str(&b), "VmHWM:");
	if (line)
		printf("peak_kb=%.*s\n", (int)strcspn(line + 6, "k"), line + 6);
	return r;
}

static void stats_print(const struct tl_pull_stats *s)
{
	printf("downloaded=%" PRIu64 "\nreused=%" PRIu64 "\nhttp_requests=%" PRIu64
	       "\nretries=%u\nfetched=%u\nunpacked=%u\nsnapshots_reused=%u\ntook_ms=%" PRIu64 "\n",
	       s->bytes_downloaded, s->bytes_reused, s->http_requests, s->retries,
	       s->layers_fetched, s->layers_unpacked, s->layers_reused, s->took_ms);
	printf("own=%u\nunpacked_bytes=%" PRIu64 "\ndownloaded_at_ms=%" PRIu64
	       "\nunpacked_at_ms=%" PRIu64 "\n",
	       s->layers_own, s->bytes_unpacked, s->downloaded_at_ms, s->unpacked_at_ms);
}

static void layer_print(void *ctx, const struct tl_pull_layer *l)
{
	(void)ctx;
	printf("layer.%zu=%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", l->number, l->way,
	       l->size_bytes, l->unpacked_bytes, l->entries, l->reason);
}

static int pull(struct driver *d, struct tl_error *err)
{
	auto_ctrd struct tl_ctrd *ctrd = NULL;
	struct tl_pull_stats stats = { 0 };
	int r = resolve(d, err);

	d->cancel = tl_cancel_new();
	if (r == 0)
		r = tl_ctrd_open(d->socket, "default", &ctrd, err);
	if (r < 0)
		return r;
	const struct tl_pull_options o = {
		.boot_id = d->boot_id,
		.unpack = strcmp(d->unpack, "auto") == 0  ? TL_PULL_AUTO
			  : strcmp(d->unpack, "own") == 0 ? TL_PULL_OWN
							  : TL_PULL_CONTAINERD,
		.unpack_program = d->unpack_program,
		.layer = layer_print,
		.downloads_max = (unsigned int)d->downloads,
		.content_dir = d->content_dir,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), d->pull_ms),
		.cancel = d->cancel,
		.progress = watch,
		.ctx = d,
	};

	r = tl_pull(d->registry, &d->image, ctrd, &o, &stats, err);
	stats_print(&stats);
	printf("progress=%u/%u/%u %" PRIu64 "/%" PRIu64 "\n", d->progress.layers_fetched,
	       d->progress.layers_unpacked, d->progress.layers_n, d->progress.bytes_done,
	       d->progress.bytes_total);
	return r < 0 ? r : peak_print(err);
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
	case 'c':
		d->socket = value;
		return 0;
	case 'f':
		d->content_dir = value;
		return 0;
	case 'b':
		d->boot_id = value;
		return 0;
	case 'n':
		return tl_str_parse_u64(value, UINT32_MAX, &d->downloads);
	case 'p':
		return tl_str_parse_u64(value, UINT64_MAX, &d->pull_ms);
	case 'u':
		d->unpack = value;
		return 0;
	case 'U':
		d->unpack_program = value;
		return 0;
	case 'x':
		return tl_str_parse_u64(value, UINT64_MAX, &d->cancel_at_bytes);
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
		{ "containerd", required_argument, NULL, 'c' },
		{ "content-dir", required_argument, NULL, 'f' },
		{ "boot-id", required_argument, NULL, 'b' },
		{ "downloads", required_argument, NULL, 'n' },
		{ "pull-ms", required_argument, NULL, 'p' },
		{ "cancel-at-bytes", required_argument, NULL, 'x' },
		{ "unpack", required_argument, NULL, 'u' },
		{ "unpack-program", required_argument, NULL, 'U' },
		{ 0 },
	};
	static const struct {
		const char *name;
		int (*run)(struct driver *d, struct tl_error *err);
	} verbs[] = { { "resolve", resolve }, { "fetch", fetch }, { "pull", pull } };
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
	auto_driver struct driver d = { .boot_id = "this-boot",
					.unpack = "containerd",
					.deadline_ms = 120000,
					.stall_ms = 1500,
					.pull_ms = 120000,
					.cancel_at_bytes = UINT64_MAX };
	struct tl_error err = { 0 };
	int r = run(&d, argc, argv, &err);

	if (r == 0)
		return 0;
	printf("errno=%d\nclass=%s\ncode=%s\nerror=%s\n", -r, tl_class_name(err.class),
	       tl_catalogue_words(err.code)->name, err.msg);
	return 1;
}
