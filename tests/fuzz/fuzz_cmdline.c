/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's command line: production or debug, and the root hash. What two readers of ours say
 * of it agrees, and what is appended can turn nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/cmdline.h>

#include "fuzz.h"
#include "launcher/machine.h"
#include "launcher/root.h"

#define FLAG "confidential-space.hardened"

static bool is_word(const char *text, const char *key, const char *value)
{
	const char *at = NULL;
	size_t n = 0;

	return tl_cmdline_value(text, key, &at, &n) == 0 && n == strlen(value) &&
	       memcmp(at, value, n) == 0;
}

static void value_is_inside(const char *text)
{
	const char *at = NULL;
	size_t n = 7;
	int r = tl_cmdline_value(text, "roothash", &at, &n);

	if (r < 0)
		FUZZ_CHECK((r == -ENOENT || r == -EEXIST) && !at && n == 7);
	else
		FUZZ_CHECK(at >= text + strlen("roothash=") && at + n <= text + strlen(text));
}

static void root_agrees(const char *text)
{
	char hash[ROOT_HASH_HEX + 1] = "?";
	struct tl_error err = { 0 };

	if (root_hash_parse(text, hash, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_ROOT && strcmp(hash, "?") == 0);
		return;
	}
	FUZZ_CHECK(strlen(hash) == ROOT_HASH_HEX && is_word(text, "roothash", hash));
	FUZZ_CHECK(strspn(hash, "0123456789abcdef") == ROOT_HASH_HEX);
}

/* Once more, whatever the value: refused, unless it stands inside of quotes that were left open. */
static void appended_flag_is_refused(const char *text, bool was_hardened)
{
	static const char *const more[] = { " " FLAG "=true", " " FLAG "=false" };
	bool has_flag = is_word(text, FLAG, was_hardened ? "true" : "false");
	size_t quotes = 0;

	for (const char *c = text; *c; c++)
		quotes += *c == '"';
	for (size_t i = 0; i < TL_ARRAY_SIZE(more); i++) {
		auto_free char *longer = NULL;
		bool now = !was_hardened;
		int r;

		FUZZ_CHECK(asprintf(&longer, "%s%s", text, more[i]) >= 0);
		if (strlen(longer) >= MACHINE_CMDLINE_FULL)
			return;
		r = machine_parse_cmdline(longer, strlen(longer), &now, NULL);
		if (has_flag && quotes % 2 == 0)
			FUZZ_CHECK(r < 0);
		else if (quotes % 2 == 0)
			FUZZ_CHECK(r == 0 && now == (i == 0));
		else
			FUZZ_CHECK(r < 0 || now == was_hardened);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);
	struct tl_error err = { 0 };
	bool is_hardened = false;
	int r;

	FUZZ_CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	value_is_inside(text);
	root_agrees(text);
	r = machine_parse_cmdline(text, size, &is_hardened, &err);
	if (r < 0) {
		FUZZ_CHECK(!is_hardened && err.code);
		return 0;
	}
	FUZZ_CHECK(size < MACHINE_CMDLINE_FULL + 1);
	if (strlen(text) != size)
		return 0;
	FUZZ_CHECK(!is_hardened || is_word(text, FLAG, "true"));
	FUZZ_CHECK(is_hardened || !is_word(text, FLAG, "true"));
	appended_flag_is_refused(text, is_hardened);
	return 0;
}
