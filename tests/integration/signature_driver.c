/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signature_driver [--registry-roots HOST=PEM]... [--token-file FILE] [--budget-ms N] DIGEST
 * REPO...: what repositories have of signatures, for tests. One round for each line of standard
 * input; prints "signature=PAYLOAD SIGNATURE" (base64), "problem=REPO CODE MESSAGE", then
 * "round=MILLISECONDS".
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>

#include "launcher/image/registry.h"
#include "launcher/image/signatures.h"

struct driver {
	struct tl_strv roots;
	struct tl_secret token;
	uint64_t budget_ms;
	struct signature_finder finder;
};

static void problem(void *ctx, const char *repo, const struct tl_error *err)
{
	(void)ctx;
	printf("problem=%s %s %s\n", repo, tl_catalogue_words(err->code)->name, err->msg);
}

static int round_run(struct driver *d)
{
	const struct signature_access access = { .roots = &d->roots,
						 .user_agent = "teelaunch",
						 .access_token = &d->token,
						 .budget_ms = d->budget_ms,
						 .problem = problem };
	auto_image_signatures struct tl_image_signatures found = { 0 };
	uint64_t began_ms = tl_clock_mono_ms();
	int r = signature_finder_run(&d->finder, &access, &found);

	for (size_t i = 0; i < found.n && r == 0; i++) {
		const struct tl_image_signature *s = &found.items[i];
		auto_free char *payload =
			tl_base64_encode(TL_BASE64_STD, s->payload.bytes, s->payload.n);
		auto_free char *signature =
			tl_base64_encode(TL_BASE64_STD, s->signature.bytes, s->signature.n);

		printf("signature=%s %s\n", payload, signature);
	}
	printf("round=%" PRIu64 "\n", tl_clock_mono_ms() - began_ms);
	fflush(stdout);
	return r;
}

static int token_load(struct driver *d, const char *path)
{
	auto_buf struct tl_buf text = { .max_bytes = 65536 };
	int r = tl_file_read(path, &text, NULL);

	return r < 0 ? r : tl_secret_set(&d->token, tl_buf_str(&text), text.len_bytes);
}

static int options_read(struct driver *d, int argc, char **argv)
{
	static const struct option options[] = { { "registry-roots", required_argument, NULL, 'r' },
						 { "token-file", required_argument, NULL, 't' },
						 { "budget-ms", required_argument, NULL, 'b' },
						 { 0 } };
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		r = option == 'r'   ? tl_registry_roots_add(&d->roots, optarg)
		    : option == 't' ? token_load(d, optarg)
		    : option == 'b' ? tl_str_parse_u64(optarg, UINT32_MAX, &d->budget_ms)
				    : -EINVAL;
	return r;
}

int main(int argc, char **argv)
{
	struct driver d = { .budget_ms = 10000 };
	auto_strv struct tl_strv repos = { 0 };
	char line[16];
	int r = options_read(&d, argc, argv);

	for (int i = optind + 1; i < argc && r == 0; i++)
		r = tl_strv_add(&repos, argv[i]);
	if (r == 0 && optind < argc)
		r = signature_finder_init(&d.finder, &repos, argv[optind]);
	while (r == 0 && fgets(line, sizeof(line), stdin))
		r = round_run(&d);
	signature_finder_done(&d.finder);
	tl_secret_done(&d.token);
	tl_strv_done(&d.roots);
	return r < 0 ? 1 : 0;
}
