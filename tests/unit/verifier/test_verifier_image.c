/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded boots (tests/vectors/boot) against references. End to end: verifier_image.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>

#include "boot_claims.h"
#include "image_check.h"

#define FILE_MAX (64 * 1024)

static void vector_read(const char *name, const char *kind, struct tl_buf *ret)
{
	char path[512];

	(void)snprintf(path, sizeof(path), TL_VECTORS "/boot/%s.%s", name, kind);
	ret->max_bytes = FILE_MAX;
	assert_int_equal(tl_file_read(path, ret, NULL), 0);
}

static void reference_add(struct image_references *refs, const char *name)
{
	auto_buf struct tl_buf text = { 0 };
	struct tl_error err = { 0 };

	vector_read(name, "measurements.json", &text);
	if (image_references_add(refs, text.data, text.len_bytes, &err) < 0)
		fail_msg("%s", err.msg);
}

/* One boot of the vectors, with the registers that the guest had. */
struct recorded {
	struct tl_buf log_bytes;
	struct firmware_log log;
	struct bank_evidence banks[3];
	struct verify_request req;
};

static void recorded_read(const char *name, struct recorded *ret)
{
	static const uint16_t hashes[] = { TL_SHA1, TL_SHA256, TL_SHA384 };
	auto_buf struct tl_buf text = { 0 };
	json_t *root;

	vector_read(name, "log", &ret->log_bytes);
	assert_int_equal(
		firmware_log_parse(ret->log_bytes.data, ret->log_bytes.len_bytes, &ret->log, NULL),
		0);
	vector_read(name, "json", &text);
	root = json_loadb(tl_buf_str(&text), text.len_bytes, 0, NULL);
	for (size_t k = 0; k < TL_ARRAY_SIZE(hashes); k++) {
		const json_t *pcrs =
			json_object_get(json_object_get(root, "pcrs"), tl_hash_name(hashes[k]));

		ret->banks[k] = (struct bank_evidence){ .hash = hashes[k] };
		ret->banks[k].pcrs.mask = 0xffffff;
		for (int i = 0; i < PCRS_MAX; i++) {
			char key[16];

			(void)snprintf(key, sizeof(key), "%d", i);
			assert_int_equal(
				tl_hex_decode(json_string_value(json_object_get(pcrs, key)),
					      ret->banks[k].pcrs.value[i], tl_hash_size(hashes[k])),
				0);
		}
	}
	json_decref(root);
	ret->req.banks = ret->banks;
	ret->req.banks_n = TL_ARRAY_SIZE(hashes);
}

static void recorded_done(struct recorded *r)
{
	firmware_log_done(&r->log);
	tl_buf_done(&r->log_bytes);
}

static void the_registers_of_a_real_boot_follow_from_its_log(void **state)
{
	static const char *const names[] = { "production",       "debug",        "other-root-hash",
					     "other-initrd",     "other-kernel", "replaced-cmdline",
					     "added-credential", "secure-boot" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++) {
		struct recorded boot = { 0 };
		struct refusals refusals = { 0 };

		recorded_read(names[i], &boot);
		firmware_replay_check(&boot.log, &boot.req, &refusals);
		assert_int_equal(refusals.n, 0);
		recorded_done(&boot);
	}
}

static void a_known_image_is_named(void **state)
{
	struct image_references refs = { 0 };
	const struct image_reference *image = NULL;
	struct refusals refusals = { 0 };
	struct recorded boot = { 0 };

	(void)state;
	reference_add(&refs, "debug");
	reference_add(&refs, "production");
	recorded_read("production", &boot);
	image_check(&refs, &boot.log, &boot.req, false, &image, NULL, &refusals);
	if (refusals.n)
		fail_msg("%s", refusals.items[0].msg);
	assert_ptr_equal(image, &refs.items[1]);
	assert_true(image->is_hardened);
	assert_string_equal(image->version, "production");
	recorded_done(&boot);
	image_references_done(&refs);
}

static void the_decision_says_what_was_expected_and_found_and_where(void **state)
{
	static const struct {
		const char *boot;
		const char *element;
		const char *name;
		unsigned int pcr;
		size_t event;
		bool is_addition;
	} rows[] = {
		{ "debug", "kernel command line (with the root hash)", ".cmdline", 11, 6, false },
		{ "other-root-hash", "kernel command line (with the root hash)", ".cmdline", 11, 6,
		  false },
		{ "other-initrd", "initrd", ".initrd", 11, 8, false },
		{ "other-kernel", "kernel", ".linux", 11, 2, false },
		{ "replaced-cmdline", "command line or credential from outside of the image", "",
		  12, 1, true },
		{ "added-credential", "command line or credential from outside of the image", "",
		  12, 1, true },
	};
	struct image_references refs = { 0 };

	(void)state;
	reference_add(&refs, "production");
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		const struct image_reference *image = NULL;
		struct image_difference why = { 0 };
		struct refusals refusals = { 0 };
		struct recorded boot = { 0 };

		recorded_read(rows[i].boot, &boot);
		image_check(&refs, &boot.log, &boot.req, false, &image, &why, &refusals);
		assert_null(image);
		assert_int_equal(refusals.n, 1);
		assert_int_equal(refusals.items[0].code, TL_E_VERIFY_IMAGE);
		assert_ptr_equal(why.nearest, &refs.items[0]);
		assert_string_equal(why.element, rows[i].element);
		assert_string_equal(why.name, rows[i].name);
		assert_int_equal(why.pcr, rows[i].pcr);
		assert_int_equal(why.event, rows[i].event);
		assert_int_equal(why.hash, TL_SHA1); /* the first quoted bank */
		assert_int_equal(why.expected == NULL, rows[i].is_addition);
		assert_non_null(why.found);
		recorded_done(&boot);
	}
	image_references_done(&refs);
}

/* A real log of all banks, with the registers of another boot: the values decide, not the log. */
static void a_register_of_another_boot_is_found(void **state)
{
	struct image_references refs = { 0 };
	const struct image_reference *image = NULL;
	struct image_difference why = { 0 };
	struct refusals refusals = { 0 };
	struct recorded boot = { 0 };

	(void)state;
	reference_add(&refs, "production");
	recorded_read("production", &boot);
	boot.banks[1].pcrs.value[IMAGE_PCR_OVERRIDES][0] ^= 1;
	image_check(&refs, &boot.log, &boot.req, false, &image, &why, &refusals);
	assert_null(image);
	assert_int_equal(refusals.items[0].code, TL_E_VERIFY_IMAGE);
	assert_int_equal(why.pcr, 12);
	assert_int_equal(why.event, 0);
	assert_int_equal(why.hash, TL_SHA256);
	recorded_done(&boot);
	image_references_done(&refs);
}

/* systemd-stub starts the kernel past the firmware's check, which is what would measure it. */
static void only_secure_boot_may_leave_the_kernel_out_of_pcr_4(void **state)
{
	struct image_references refs = { 0 };
	struct recorded boot = { 0 };

	(void)state;
	reference_add(&refs, "production");
	recorded_read("secure-boot", &boot);
	for (int is_secure = 0; is_secure <= 1; is_secure++) {
		const struct image_reference *image = NULL;
		struct image_difference why = { 0 };
		struct refusals refusals = { 0 };

		image_check(&refs, &boot.log, &boot.req, is_secure, &image, &why, &refusals);
		assert_int_equal(refusals.n, is_secure ? 0 : 1);
		assert_ptr_equal(image, is_secure ? &refs.items[0] : NULL);
		if (!is_secure) {
			assert_string_equal(why.element, "kernel");
			assert_int_equal(why.pcr, 4);
			assert_null(why.found);
		}
	}
	recorded_done(&boot);
	image_references_done(&refs);
}

/* Every part is the image's, but the boot isn't one of it alone: then it isn't named either. */
static void an_image_whose_boot_is_refused_is_not_named(void **state)
{
	struct image_references refs = { 0 };
	const struct image_reference *image = NULL;
	struct image_difference why = { 0 };
	struct refusals refusals = { 0 };
	struct recorded boot = { 0 };

	(void)state;
	reference_add(&refs, "production");
	recorded_read("production", &boot);
	boot.log.n--; /* the result of leaving the boot services */
	image_check(&refs, &boot.log, &boot.req, false, &image, &why, &refusals);
	assert_int_equal(refusals.n, 1);
	assert_int_equal(refusals.items[0].code, TL_E_VERIFY_IMAGE_LOG);
	assert_null(why.nearest);
	assert_null(image);
	recorded_done(&boot);
	image_references_done(&refs);
}

static void more_references_than_the_limit_and_bad_ones_change_nothing(void **state)
{
	struct image_references refs = { 0 };
	auto_buf struct tl_buf text = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	reference_add(&refs, "production");
	vector_read("production", "measurements.json", &text);
	for (size_t n = 0; n < text.len_bytes - 2; n += 97) {
		assert_true(image_references_add(&refs, text.data, n, &err) < 0);
		assert_int_equal(err.code, TL_E_VERIFY_REFERENCE);
		assert_int_equal(refs.n, 1);
	}
	assert_true(image_references_add(&refs, text.data, text.len_bytes, &err) < 0);
	assert_non_null(strstr(err.msg, "given before"));
	assert_int_equal(refs.n, 1);
	image_references_done(&refs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_registers_of_a_real_boot_follow_from_its_log),
		cmocka_unit_test(a_known_image_is_named),
		cmocka_unit_test(the_decision_says_what_was_expected_and_found_and_where),
		cmocka_unit_test(a_register_of_another_boot_is_found),
		cmocka_unit_test(only_secure_boot_may_leave_the_kernel_out_of_pcr_4),
		cmocka_unit_test(an_image_whose_boot_is_refused_is_not_named),
		cmocka_unit_test(more_references_than_the_limit_and_bad_ones_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
