/* SPDX-License-Identifier: Apache-2.0 */
/* core: base64, hex, UTF-8, escaping, decimal numbers. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/str.h>

/* Strict means: what decodes at all is the only encoding of its bytes. */
static void base64_is_canonical(enum tl_base64 kind, const char *text, size_t n)
{
	auto_free uint8_t *bytes = NULL;
	auto_free char *again = NULL;
	size_t bytes_len = 0;

	if (tl_base64_decode(kind, text, n, &bytes, &bytes_len) < 0) {
		FUZZ_CHECK(!bytes && !bytes_len);
		return;
	}
	again = tl_base64_encode(kind, bytes, bytes_len);
	FUZZ_CHECK(again && strlen(again) == n && memcmp(again, text, n) == 0);
}

static void base64_round_trips(enum tl_base64 kind, const uint8_t *data, size_t n)
{
	auto_free char *text = tl_base64_encode(kind, data, n);
	auto_free uint8_t *bytes = NULL;
	size_t bytes_len;

	FUZZ_CHECK(text);
	FUZZ_CHECK(tl_base64_decode(kind, text, strlen(text), &bytes, &bytes_len) == 0);
	FUZZ_CHECK(bytes_len == n && (!n || memcmp(bytes, data, n) == 0));
}

static void hex_round_trips(const char *text, const uint8_t *data, size_t n)
{
	auto_free char *hex = malloc(2 * n + 1);
	auto_free uint8_t *bytes = malloc(n + 1);

	FUZZ_CHECK(hex && bytes);
	tl_hex_encode(data, n, hex);
	FUZZ_CHECK(tl_hex_decode(hex, bytes, n) == 0);
	FUZZ_CHECK(!n || memcmp(bytes, data, n) == 0);
	(void)tl_hex_decode(text, bytes, strlen(text) / 2);
}

static void escaped_text_is_safe(const char *text)
{
	static const size_t caps[] = { 1, 4, 5, 64, 4096 };

	for (size_t i = 0; i < TL_ARRAY_SIZE(caps); i++) {
		auto_free char *out = malloc(caps[i]);

		FUZZ_CHECK(out);
		tl_str_escape(text, out, caps[i]);
		FUZZ_CHECK(strnlen(out, caps[i]) < caps[i]);
		FUZZ_CHECK(tl_utf8_is_valid(out, strlen(out)));
		for (const char *p = out; *p; p++)
			FUZZ_CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);
	uint64_t number = 42;

	FUZZ_CHECK(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';

	base64_is_canonical(TL_BASE64_STD, text, size);
	base64_is_canonical(TL_BASE64_URL, text, size);
	base64_round_trips(TL_BASE64_STD, data, size);
	base64_round_trips(TL_BASE64_URL, data, size);
	hex_round_trips(text, data, size);
	(void)tl_utf8_is_valid((const char *)data, size);
	escaped_text_is_safe(text);
	FUZZ_CHECK(tl_str_parse_u64(text, 1000, &number) < 0 ? number == 42 : number <= 1000);
	return 0;
}
