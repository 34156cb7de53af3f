/* SPDX-License-Identifier: Apache-2.0 */
/* launcher/image: WWW-Authenticate, and the host and redirect rules on the same bytes. */
#include "fuzz.h"

#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>

#include "launcher/image/url.h"
#include "launcher/image/www_authenticate.h"

static void host_is_sound(const char *text)
{
	struct registry_host h = { 0 }, again;

	if (registry_host_parse(text, &h, NULL) < 0) {
		FUZZ_CHECK(!h.port && !h.name[0]);
		return;
	}
	FUZZ_CHECK(h.port && h.name[0]);
	FUZZ_CHECK(!h.is_token_offered || h.is_pinned_to_google);
	/* What we would ask is again a host, and gets no more trust than its reference. */
	FUZZ_CHECK(registry_host_parse(h.authority, &again, NULL) == 0);
	FUZZ_CHECK(again.is_token_offered == h.is_token_offered);
}

static void redirect_is_sound(const char *location)
{
	auto_free char *url = NULL;
	struct registry_host h;

	if (url_redirect("https://registry.example:5000/v2/a?b", location, &url, NULL) < 0) {
		FUZZ_CHECK(!url);
		return;
	}
	FUZZ_CHECK(strncasecmp(url, "https://", 8) == 0);
	FUZZ_CHECK(url_host(url, &h, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	auto_challenges struct challenges v = { 0 };
	const struct challenge *best;

	FUZZ_CHECK(text);
	if (challenges_parse(text, &v, NULL) < 0)
		FUZZ_CHECK(!v.n);
	FUZZ_CHECK(v.n <= CHALLENGES_MAX);
	best = challenges_best(&v);
	FUZZ_CHECK(!best || best->scheme == AUTH_BASIC || best->realm);
	host_is_sound(text);
	redirect_is_sound(text);
	return 0;
}
