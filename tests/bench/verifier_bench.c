/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verification costs in processor time: reading the body, all checks, claims and signature,
 * again and again over the same evidence. TLS and HTTP are not in it.
 *
 *   verifier_bench BODY NONCE_HEX ROOTS_PEM TOKEN_KEY_PEM RUNS
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>

#include "../../attest/verifier/claims.h"
#include "../../attest/verifier/jwt_sign.h"

#define NONCE_BYTES 32

struct bench {
	struct tl_buf body;
	uint8_t nonce[NONCE_BYTES];
	struct ak_anchors *anchors;
	struct token_keys *keys;
};

static int read_into(const char *path, size_t max, struct tl_buf *ret, struct tl_error *err)
{
	tl_buf_init(ret, max);
	return tl_file_read(path, ret, err);
}

static int load(struct bench *b, char **argv, struct tl_error *err)
{
	auto_buf struct tl_buf roots = { 0 }, key = { 0 };
	auto_secret struct tl_secret pem = { 0 };
	int r = read_into(argv[1], REQUEST_BODY_MAX, &b->body, err);

	if (r == 0)
		r = read_into(argv[3], 65536, &roots, err);
	if (r == 0)
		r = read_into(argv[4], 65536, &key, err);
	b->anchors = ak_anchors_new();
	b->keys = token_keys_new();
	if (r == 0 &&
	    (!b->anchors || !b->keys || tl_hex_decode(argv[2], b->nonce, sizeof(b->nonce)) < 0 ||
	     tl_secret_set(&pem, key.data, key.len_bytes) < 0))
		r = tl_fail(err, TL_E_USAGE, EINVAL, "nonce, or memory");
	if (r == 0)
		r = ak_anchors_add(b->anchors, "BENCH", tl_buf_str(&roots), roots.len_bytes, err);
	return r < 0 ? r : token_keys_add(b->keys, &pem, err);
}

static int verify(const struct bench *b, struct tl_error *err)
{
	static const struct claims_options opt = { "https://bench.test", "BENCH", NULL, 3600 };
	const struct evidence_rules rules = { .anchors = b->anchors };
	auto_verify_request struct verify_request *req = NULL;
	auto_checked_evidence struct checked_evidence ev = { 0 };
	auto_secret struct tl_secret token = { 0 };
	struct refusals refusals = { 0 };
	int64_t now = time(NULL);
	json_t *claims = NULL;
	int r = verify_request_parse(REQUEST_CONFIDENTIAL_SPACE, b->body.data, b->body.len_bytes,
				     &req, err);

	if (r < 0)
		return r;
	evidence_check(&rules, req, b->nonce, sizeof(b->nonce), "", now, &ev, &refusals);
	if (refusals.n)
		return tl_fail(err, TL_E_INTERNAL, EACCES, "refused: %s", refusals.items[0].msg);
	r = claims_build(&opt, &req->token, &ev, now, INT64_MAX, &claims, err);
	if (r == 0)
		r = jwt_sign(b->keys, claims, &token, err);
	json_decref(claims);
	return r;
}

static double processor_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct bench b = { 0 };
	struct tl_error err = { 0 };
	double begin;
	uint64_t runs = 0;
	int r;

	if (argc != 6 || tl_str_parse_u64(argv[5], 1000000, &runs) < 0 || !runs)
		return 2;
	(void)setenv("TSS2_LOG", "all+NONE", 1);
	r = load(&b, argv, &err);
	if (r == 0)
		r = verify(&b, &err); /* what is set up once is not counted */
	begin = processor_s();
	for (uint64_t i = 0; r == 0 && i < runs; i++)
		r = verify(&b, &err);
	if (r == 0)
		printf("%.0f\n", (double)runs / (processor_s() - begin));
	else
		(void)fprintf(stderr, "verifier_bench: %s\n", err.msg);
	tl_buf_done(&b.body);
	(void)ak_anchors_free(b.anchors);
	(void)token_keys_free(b.keys);
	return r < 0;
}
