/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>

#include "launcher/image/manifest.h"

#define OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define OCI_LAYER       "application/vnd.oci.image.layer.v1.tar+gzip"
#define OCI_CONFIG      "application/vnd.oci.image.config.v1+json"

#define HEX64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX64

#define DESCRIPTOR(type, size) "{'mediaType':'" type "','digest':'" DIGEST "','size':" size "}"
#define CONFIG                 "'config':" DESCRIPTOR(OCI_CONFIG, "7")
#define LAYERS                 "'layers':[" DESCRIPTOR(OCI_LAYER, "42") "]"
#define MANIFEST               "{'schemaVersion':2," CONFIG "," LAYERS "}"
#define ENTRY(os, arch)                                                                            \
	"{'mediaType':'" OCI_MANIFEST "','digest':'" DIGEST "','size':9,'platform':{'os':'" os     \
	"','architecture':'" arch "'}}"
#define ENTRY_VARIANT(arch, variant)                                                               \
	"{'mediaType':'" OCI_MANIFEST "','digest':'" DIGEST                                        \
	"','size':9,'platform':{'os':'linux','architecture':'" arch "','variant':'" variant "'}}"
#define ENTRY_BARE   DESCRIPTOR(OCI_MANIFEST, "9")
#define INDEX(items) "{'schemaVersion':2,'manifests':[" items "]}"

/* ' stands for " so that the texts can be read. */
static int parse(const char *media_type, const char *text, struct manifest *ret,
		 struct tl_error *err)
{
	auto_free char *json = strdup(text);
	auto_free char *exact = NULL;
	size_t n;

	assert_non_null(json);
	for (char *p = json; *p; p++)
		if (*p == '\'')
			*p = '"';
	n = strlen(json);
	/* No NUL behind it: a read past the end shows under AddressSanitizer. */
	exact = malloc(n ? n : 1);
	assert_non_null(exact);
	memcpy(exact, json, n);
	return manifest_parse(media_type, exact, n, ret, err);
}

static void a_manifest_gives_its_config_and_layers_in_order(void **state)
{
	auto_manifest struct manifest m = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(parse(OCI_MANIFEST,
			       "{'schemaVersion':2,'mediaType':'" OCI_MANIFEST "'," CONFIG
			       ",'layers':[" DESCRIPTOR(OCI_LAYER, "42") "," DESCRIPTOR(
				       "application/vnd.oci.image.layer.v1.tar+zstd",
				       "1099511627776") "],'annotations':{'a':'b'}}",
			       &m, &err),
			 0);
	assert_int_equal(m.kind, MEDIA_MANIFEST);
	assert_string_equal(m.config.digest, DIGEST);
	assert_int_equal(m.config.size_bytes, 7);
	assert_int_equal(m.layers_n, 2);
	assert_int_equal(m.layers[0].size_bytes, 42);
	assert_string_equal(m.layers[0].media_type, OCI_LAYER);
	assert_true(m.layers[1].size_bytes == BLOB_BYTES_MAX);
	assert_int_equal(m.entries_n, 0);
	assert_int_equal(manifest_check_runnable(&m, &err), 0);
}

static void docker_schema_2_and_its_list_are_read_too(void **state)
{
	struct tl_error err = { 0 };

	(void)state;
	{
		auto_manifest struct manifest m = { 0 };

		assert_int_equal(
			parse(DOCKER_MANIFEST,
			      "{'schemaVersion':2,'mediaType':'" DOCKER_MANIFEST
			      "','config':" DESCRIPTOR(
				      "application/vnd.docker.container.image.v1+json",
				      "7") ",'layers':[" DESCRIPTOR("application/"
								    "vnd.docker.image.rootfs.diff."
								    "tar.gzip",
								    "1") "," DESCRIPTOR("applicatio"
											"n/"
											"vnd."
											"docker."
											"image."
											"rootfs."
											"foreign."
											"diff.tar."
											"gzip",
											"1") "]}",
			      &m, &err),
			0);
		assert_int_equal(manifest_check_runnable(&m, &err), 0);
	}
	{
		auto_manifest struct manifest m = { 0 };

		assert_int_equal(parse(DOCKER_LIST "; charset=utf-8",
				       INDEX(ENTRY("linux", "amd64")), &m, &err),
				 0);
		assert_int_equal(m.kind, MEDIA_INDEX);
		assert_int_equal(m.entries_n, 1);
	}
}

static void bad_documents_are_refused_and_leave_the_result_alone(void **state)
{
	static const struct {
		const char *media_type, *text, *message;
		enum tl_code code;
	} cases[] = {
		{ OCI_MANIFEST, "", "not JSON", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':2", "not JSON", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, MANIFEST "x", "not JSON", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':2,'schemaVersion':2," CONFIG "," LAYERS "}",
		  "duplicate", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "[]", "isn't an object", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{" CONFIG "," LAYERS "}", "schemaVersion", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':'2'," CONFIG "," LAYERS "}", "schemaVersion",
		  TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':2,'Layers':[]," CONFIG "," LAYERS "}",
		  "must be written 'layers'", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':2,'layer\xc5\xbf':[]," CONFIG "," LAYERS "}",
		  "isn't ASCII", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':2," LAYERS "}", "'config' isn't an object",
		  TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':2," CONFIG "}", "'layers' is missing",
		  TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST, "{'schemaVersion':2," CONFIG ",'layers':[7]}",
		  "layers[0] isn't an object", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST,
		  "{'schemaVersion':2," CONFIG ",'layers':[" DESCRIPTOR(OCI_LAYER, "-1") "]}",
		  "layers[0]: 'size' is negative", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST,
		  "{'schemaVersion':2," CONFIG ",'layers':[" DESCRIPTOR(OCI_LAYER, "1.5") "]}",
		  "'size'", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST,
		  "{'schemaVersion':2," CONFIG
		  ",'layers':[" DESCRIPTOR(OCI_LAYER, "1099511627777") "]}",
		  "may be at most", TL_E_MANIFEST_LIMIT },
		{ OCI_MANIFEST,
		  "{'schemaVersion':2," CONFIG
		  ",'layers':[" DESCRIPTOR(OCI_LAYER, "18446744073709551617") "]}",
		  "not JSON", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST,
		  "{'schemaVersion':2," CONFIG
		  ",'layers':[{'mediaType':'x','digest':'md5:00','size':1}]}",
		  "'digest' must be", TL_E_MANIFEST_SYNTAX },
		{ OCI_MANIFEST,
		  "{'schemaVersion':2," CONFIG ",'layers':[{'digest':'" DIGEST "','size':1}]}",
		  "'mediaType' is missing", TL_E_MANIFEST_SYNTAX },
		{ OCI_INDEX, INDEX("{'mediaType':'x','digest':'" DIGEST "','size':1,'platform':7}"),
		  "'platform' isn't an object", TL_E_MANIFEST_SYNTAX },
		{ OCI_INDEX, "{'schemaVersion':2,'manifests':{}}", "'manifests'",
		  TL_E_MANIFEST_SYNTAX },
		/* Confusion about what it is. */
		{ OCI_INDEX, MANIFEST, "makes it a manifest", TL_E_MANIFEST_TYPE },
		{ OCI_MANIFEST, INDEX(ENTRY_BARE), "makes it an index", TL_E_MANIFEST_TYPE },
		{ OCI_MANIFEST, "{'schemaVersion':2,'manifests':[]," CONFIG "," LAYERS "}",
		  "makes it an index", TL_E_MANIFEST_TYPE },
		{ OCI_MANIFEST,
		  "{'schemaVersion':2,'mediaType':'" OCI_INDEX "'," CONFIG "," LAYERS "}",
		  "calls itself", TL_E_MANIFEST_TYPE },
		{ "application/json", MANIFEST, "neither", TL_E_MANIFEST_TYPE },
		{ "", MANIFEST, "neither", TL_E_MANIFEST_TYPE },
		{ "application/vnd.docker.distribution.manifest.v1+prettyjws",
		  "{'schemaVersion':1}", "schema 1", TL_E_MANIFEST_TYPE },
		{ DOCKER_MANIFEST, "{'schemaVersion':1,'fsLayers':[]}", "schema 1",
		  TL_E_MANIFEST_TYPE },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		struct manifest got = { .layers_n = 77 };
		struct tl_error err = { 0 };

		assert_true(parse(cases[i].media_type, cases[i].text, &got, &err) < 0);
		if (err.code != cases[i].code || !strstr(err.msg, cases[i].message))
			fail_msg("case %zu: %d %s", i, err.code, err.msg);
		assert_int_equal(err.class, TL_DENIED);
		assert_int_equal(got.layers_n, 77);
		assert_null(got.layers);
	}
}

/* @head, @n times @item with commas, @tail. */
static char *repeated(const char *head, const char *item, size_t n, const char *tail)
{
	auto_buf struct tl_buf b = { 0 };

	tl_buf_init(&b, 16 << 20);
	assert_int_equal(tl_buf_append_str(&b, head), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(tl_buf_append_str(&b, i ? "," : ""), 0);
		assert_int_equal(tl_buf_append_str(&b, item), 0);
	}
	assert_int_equal(tl_buf_append_str(&b, tail), 0);
	return tl_buf_take_str(&b);
}

static int parse_layers(size_t n, struct tl_error *err)
{
	auto_free char *text = repeated("{'schemaVersion':2," CONFIG ",'layers':[",
					DESCRIPTOR(OCI_LAYER, "1099511627776"), n, "]}");
	auto_manifest struct manifest m = { 0 };

	return parse(OCI_MANIFEST, text, &m, err);
}

static void limits_hold_exactly(void **state)
{
	struct tl_error err = { 0 };
	auto_free char *values = repeated("{'x':[", "0", TL_JSON_VALUES_MAX, "]}");
	auto_free char *spaces = malloc(MANIFEST_BYTES_MAX + 1);
	struct manifest m = { 0 };

	(void)state;
	assert_non_null(spaces);
	assert_int_equal(parse_layers(LAYERS_MAX, &err), 0);
	assert_int_equal(parse_layers(LAYERS_MAX + 1, &err), -EFBIG);
	assert_int_equal(err.code, TL_E_MANIFEST_LIMIT);
	assert_non_null(strstr(err.msg, "1001 elements"));

	assert_int_equal(parse(OCI_MANIFEST, values, &m, &err), -EFBIG);
	assert_int_equal(err.code, TL_E_MANIFEST_LIMIT);

	memset(spaces, ' ', MANIFEST_BYTES_MAX + 1);
	assert_int_equal(manifest_parse(OCI_MANIFEST, spaces, MANIFEST_BYTES_MAX, &m, &err),
			 -EINVAL);
	assert_int_equal(manifest_parse(OCI_MANIFEST, spaces, MANIFEST_BYTES_MAX + 1, &m, &err),
			 -EFBIG);
	assert_int_equal(err.code, TL_E_MANIFEST_LIMIT);
}

static void what_is_no_container_image_is_refused_before_a_pull(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "{'schemaVersion':2,'config':" DESCRIPTOR(
			  "application/vnd.cncf.helm.config.v1+json", "7") "," LAYERS "}",
		  "application/vnd.cncf.helm.config.v1+json" },
		{ "{'schemaVersion':2," CONFIG ",'layers':[]}", "no layers" },
		{ "{'schemaVersion':2," CONFIG
		  ",'layers':[" DESCRIPTOR(OCI_LAYER, "1") "," DESCRIPTOR(
			  "application/vnd.dev.cosign.simplesigning.v1+json", "1") "]}",
		  "layers[1] is of type 'application/vnd.dev.cosign.simplesigning.v1+json'" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		auto_manifest struct manifest m = { 0 };
		struct tl_error err = { 0 };

		assert_int_equal(parse(OCI_MANIFEST, cases[i].text, &m, &err), 0);
		assert_int_equal(manifest_check_runnable(&m, &err), -EINVAL);
		assert_int_equal(err.code, TL_E_LAYER_TYPE);
		assert_non_null(strstr(err.msg, cases[i].message));
	}
}

static void the_machines_own_platform_wins_and_the_first_of_equals(void **state)
{
	static const struct {
		const char *architecture, *text;
		int want; /* -1: none */
	} cases[] = {
		{ "amd64", INDEX(ENTRY("linux", "amd64")), 0 },
		{ "amd64", INDEX(ENTRY("linux", "arm64") "," ENTRY("linux", "amd64")), 1 },
		{ "arm64", INDEX(ENTRY("linux", "arm64") "," ENTRY("linux", "amd64")), 0 },
		/* Two of the same: the first, as the index orders them. */
		{ "amd64", INDEX(ENTRY("linux", "amd64") "," ENTRY("linux", "amd64")), 0 },
		/* 386 never where amd64 is, whatever the order. */
		{ "amd64", INDEX(ENTRY("linux", "386") "," ENTRY("linux", "amd64")), 1 },
		{ "amd64", INDEX(ENTRY("linux", "arm") "," ENTRY("linux", "386")), 1 },
		{ "arm64", INDEX(ENTRY("linux", "386")), -1 },
		/* Entries without a platform come last. */
		{ "amd64", INDEX(ENTRY_BARE "," ENTRY("linux", "amd64")), 1 },
		{ "amd64", INDEX(ENTRY_BARE "," ENTRY("linux", "386")), 1 },
		{ "amd64", INDEX(ENTRY("linux", "s390x") "," ENTRY_BARE), 1 },
		{ "amd64", INDEX(ENTRY("windows", "amd64")), -1 },
		{ "amd64", INDEX(ENTRY("unknown", "unknown")), -1 },
		{ "amd64", INDEX(""), -1 },
		{ "amd64", INDEX(ENTRY("Linux", "x86_64")), 0 },
		{ "amd64", INDEX(ENTRY_VARIANT("amd64", "v3") "," ENTRY_VARIANT("amd64", "v1")),
		  1 },
		{ "arm64", INDEX(ENTRY_VARIANT("arm64", "v9") "," ENTRY_VARIANT("arm64", "v8")),
		  1 },
		/* An index within the index, or an artifact, can't be run. */
		{ "amd64",
		  INDEX("{'mediaType':'" OCI_INDEX "','digest':'" DIGEST
			"','size':9,'platform':{'os':'linux','architecture':'amd64'}}"),
		  -1 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		auto_manifest struct manifest m = { 0 };
		struct tl_error err = { 0 };
		size_t got = 99;
		int r;

		assert_int_equal(parse(OCI_INDEX, cases[i].text, &m, &err), 0);
		r = manifest_choose(&m, cases[i].architecture, &got, &err);
		if (cases[i].want >= 0) {
			assert_int_equal(r, 0);
			assert_int_equal(got, cases[i].want);
			continue;
		}
		assert_int_equal(r, -ENOENT);
		assert_int_equal(err.code, TL_E_IMAGE_PLATFORM);
		assert_int_equal(got, 99);
	}
}

static void the_platforms_there_are_get_named(void **state)
{
	auto_manifest struct manifest m = { 0 };
	struct tl_error err = { 0 };
	size_t got;

	(void)state;
	assert_int_equal(parse(OCI_INDEX,
			       INDEX(ENTRY("linux", "arm64") "," ENTRY(
				       "unknown", "unknown") "," ENTRY_VARIANT("arm", "v7")),
			       &m, &err),
			 0);
	assert_int_equal(manifest_choose(&m, "amd64", &got, &err), -ENOENT);
	assert_string_equal(err.msg, "the image's index has no entry for linux/amd64; it has: "
				     "linux/arm64, linux/arm/v7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manifest_gives_its_config_and_layers_in_order),
		cmocka_unit_test(docker_schema_2_and_its_list_are_read_too),
		cmocka_unit_test(bad_documents_are_refused_and_leave_the_result_alone),
		cmocka_unit_test(limits_hold_exactly),
		cmocka_unit_test(what_is_no_container_image_is_refused_before_a_pull),
		cmocka_unit_test(the_machines_own_platform_wins_and_the_first_of_equals),
		cmocka_unit_test(the_platforms_there_are_get_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
