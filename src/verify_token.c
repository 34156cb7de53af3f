/* SPDX-License-Identifier: Apache-2.0 */
/* A token against the key set of its issuer. */
#include "verify.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/http.h>

#include "../attest/verifier/token_check.h"

#define FETCH_MS 30000

/* Not only a prefix: "http://127.0.0.1.example" is another machine. */
static bool is_loopback(const char *url)
{
	static const char *const hosts[] = { "http://127.0.0.1", "http://[::1]" };

	for (size_t i = 0; i < TL_ARRAY_SIZE(hosts); i++) {
		size_t n = strlen(hosts[i]);

		if (tl_str_starts_with(url, hosts[i]) && (url[n] == ':' || url[n] == '/'))
			return !strchr(url, '@');
	}
	return false;
}

static int keys_fetch(const struct verify *v, struct tl_buf *ret, struct tl_error *err)
{
	auto_http struct tl_http *http = tl_http_new("teelaunch");
	auto_http_response struct tl_http_response response = { 0 };
	const struct tl_http_request request = {
		.method = "GET",
		.url = v->jwks,
		.ca_file = v->jwks_roots,
		.is_plain_allowed = is_loopback(v->jwks),
		.deadline = tl_deadline_in(tl_clock_mono_ms(), FETCH_MS),
		.response_max_bytes = JWK_SET_BYTES_MAX,
	};
	sighandler_t before;
	int r;

	if (!http)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a request");
	/* A server that hangs up must be an error message, not the end of the program. */
	before = signal(SIGPIPE, SIG_IGN);
	r = tl_http_perform(http, &request, &response, err);
	signal(SIGPIPE, before);
	if (r < 0)
		return r;
	if (response.status != 200)
		return tl_fail(err, TL_E_IO, EIO, "the key set's server answered with status %d",
			       response.status);
	*ret = response.body;
	tl_buf_init(&response.body, 0);
	return 0;
}

static int keys_read(const struct verify *v, struct jwk_set **ret, struct tl_error *err)
{
	bool is_url =
		tl_str_starts_with(v->jwks, "https://") || tl_str_starts_with(v->jwks, "http://");
	auto_buf struct tl_buf text = { 0 };
	int r = is_url ? keys_fetch(v, &text, err)
		       : verify_file_read(v->jwks, JWK_SET_BYTES_MAX, &text, err);

	if (r < 0)
		return tl_wrap(err, r, "--jwks");
	return tl_wrap(err, jwk_set_new(tl_buf_str(&text), text.len_bytes, ret, err), "--jwks");
}

int verify_token(struct verify *v, struct tl_error *err)
{
	auto_jwk_set struct jwk_set *keys = NULL;
	auto_buf struct tl_buf text = { 0 };
	struct token_rules rules = { .audience = v->audience, .now_s = tl_clock_real_s() };
	const json_t *submods;
	size_t n;
	int r;

	if (v->expect.images.n)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--expect with an image's measurements is for --evidence; a token "
			       "names its image in submods.teelaunch_image");
	r = keys_read(v, &keys, err);
	if (r == 0)
		r = verify_file_read(v->token_path, TOKEN_BYTES_MAX + 2, &text, err);
	if (r < 0)
		return r;
	n = text.len_bytes;
	while (n && strchr("\r\n", tl_buf_str(&text)[n - 1]))
		n--; /* of the file, not of the token */
	rules.keys = keys;
	r = token_check(&rules, tl_buf_str(&text), n, &v->claims, &v->refusals, err);
	if (r < 0)
		return r;
	submods = json_object_get(v->claims, "submods");
	v->is_record_missing = !verify_expect_record(&v->expect, submods, &v->refusals);
	verify_expect_mode(&v->expect, v->claims, &v->refusals);
	verify_expect_container(&v->expect, json_object_get(submods, "container"), &v->refusals);
	return 0;
}
