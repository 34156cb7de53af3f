/* SPDX-License-Identifier: Apache-2.0 */
/* Cosign's payloads, and the list of signatures with its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_signature.h>

#define HEX    "abababababababababababababababababababababababababababababababab"
#define DIGEST "sha256:" HEX
#define CRITICAL(digest)                                                                           \
	"\"critical\":{\"identity\":{\"docker-reference\":\"r\"},\"image\":{"                      \
	"\"docker-manifest-digest\":\"" digest                                                     \
	"\"},\"type\":\"cosign container image signature\"}"

static void a_payload_is_read(void **state)
{
	static const char text[] = "{" CRITICAL(
		DIGEST) ",\"optional\":{\"dev.sigstore.cosign/pub\":\"UFVC\",\"other\":7,"
			"\"dev.sigstore.cosign/sigalg\":\"ECDSA_P256_SHA256\"}}";
	auto_signature_payload struct tl_signature_payload p = { 0 };

	(void)state;
	assert_int_equal(tl_signature_payload_read(text, strlen(text), &p, NULL), 0);
	assert_string_equal(p.digest, DIGEST);
	assert_string_equal(p.key, "UFVC");
	assert_string_equal(p.algorithm, "ECDSA_P256_SHA256");
}

static void without_annotations_there_is_no_key(void **state)
{
	static const char *const texts[] = { "{" CRITICAL(DIGEST) "}",
					     "{" CRITICAL(DIGEST) ",\"optional\":null}" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++) {
		auto_signature_payload struct tl_signature_payload p = { 0 };

		assert_int_equal(tl_signature_payload_read(texts[i], strlen(texts[i]), &p, NULL),
				 0);
		assert_null(p.key);
		assert_null(p.algorithm);
	}
}

static void what_is_no_payload_is_refused_and_ret_kept(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{}",
		"{} {}",
		"{\"critical\":1}",
		"{" CRITICAL("sha256:ab") "}",
		"{" CRITICAL("md5:" HEX) "}",
		"{" CRITICAL("sha256:"
			     "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABA"
			     "BAB") "}",
		"{" CRITICAL(DIGEST) "," CRITICAL(DIGEST) "}",
		"{" CRITICAL(DIGEST) ",\"optional\":[]}",
		"{" CRITICAL(DIGEST) ",\"optional\":{\"dev.sigstore.cosign/pub\":1}}",
		"{" CRITICAL(DIGEST) ",\"optional\":{\"dev.sigstore.cosign/pub\":\"a\\u0000\"}}",
		"{\"critical\":{\"image\":{\"docker-manifest-digest\":\"" DIGEST
		"\"},\"type\":\"atomic container signature\"}}",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++) {
		struct tl_signature_payload p = { .digest = (char *)(uintptr_t) "kept" };
		struct tl_error err = { 0 };

		assert_int_equal(tl_signature_payload_read(texts[i], strlen(texts[i]), &p, &err),
				 -EINVAL);
		assert_int_equal(err.code, TL_E_IMAGE_SIGNATURE);
		assert_string_equal(p.digest, "kept");
	}
}

static void a_large_payload_is_not_even_parsed(void **state)
{
	auto_free char *text = calloc(1, TL_SIGNATURE_PAYLOAD_MAX_BYTES + 1);
	struct tl_signature_payload p = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	memset(text, ' ', TL_SIGNATURE_PAYLOAD_MAX_BYTES + 1);
	assert_int_equal(
		tl_signature_payload_read(text, TL_SIGNATURE_PAYLOAD_MAX_BYTES + 1, &p, &err),
		-EINVAL);
	assert_string_equal(err.msg, "its payload is too large");
}

static int add(struct tl_image_signatures *v, const char *payload, size_t n)
{
	const struct tl_blob p = { (uint8_t *)(uintptr_t)payload, n };
	const struct tl_blob s = { (uint8_t *)(uintptr_t) "sig", 3 };

	return tl_image_signatures_add(v, &p, &s);
}

static void the_list_has_limits_and_no_doubles(void **state)
{
	auto_image_signatures struct tl_image_signatures v = { 0 }, copy = { 0 };
	auto_free char *large = calloc(1, TL_SIGNATURE_PAYLOAD_MAX_BYTES + 1);
	size_t n = 0;

	(void)state;
	for (int i = 0; i < TL_SIGNATURES_MAX; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(add(&v, text, strlen(text)), 0);
	}
	assert_int_equal(add(&v, "7", 1), 1);
	assert_int_equal(add(&v, "more", 4), -ENOBUFS);
	assert_int_equal(v.n, TL_SIGNATURES_MAX);
	assert_int_equal(tl_image_signatures_copy(&v, &copy), 0);
	assert_int_equal(copy.n, v.n);
	assert_int_equal(copy.bytes, v.bytes);
	tl_image_signatures_done(&v);
	assert_int_equal(add(&v, large, TL_SIGNATURE_PAYLOAD_MAX_BYTES + 1), -ENOBUFS);
	while (n < TL_SIGNATURES_MAX) {
		memcpy(large, &n, sizeof(n));
		if (add(&v, large, TL_SIGNATURE_PAYLOAD_MAX_BYTES) < 0)
			break;
		n++;
	}
	assert_int_equal(n, TL_SIGNATURES_MAX_BYTES / (TL_SIGNATURE_PAYLOAD_MAX_BYTES + 3));
	assert_true(v.bytes <= TL_SIGNATURES_MAX_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_payload_is_read),
		cmocka_unit_test(without_annotations_there_is_no_key),
		cmocka_unit_test(what_is_no_payload_is_refused_and_ret_kept),
		cmocka_unit_test(a_large_payload_is_not_even_parsed),
		cmocka_unit_test(the_list_has_limits_and_no_doubles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
