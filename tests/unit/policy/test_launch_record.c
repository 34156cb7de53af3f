/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#include <errno.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/launch_record.h>

static char a[] = "/a", b[] = "/b", scratch[] = "/scratch", region[] = "eu";
static char *paths[] = { a, b };
static struct tl_mount mounts[] = { { scratch, 1048576 }, { b, 0 } };
static const struct tl_strv roots = { paths, 2 };

/* The option's order is not that of the document. */
static const struct tl_record_option options[] = {
	{ .name = "token-rate", .kind = TL_RECORD_NUMBER, .number = 60 },
	{ .name = "console", .kind = TL_RECORD_TEXT },
	{ .name = "registry-roots", .kind = TL_RECORD_TEXTS, .texts = &roots },
	{ .name = "token-burst", .kind = TL_RECORD_NUMBER, .number = 5 },
	{ .name = "firewall", .kind = TL_RECORD_BOOL, .number = 1 },
	{ .name = "disk", .kind = TL_RECORD_TEXT, .text = "protected" },
};

static struct tl_launch_record_facts facts_of(const struct tl_launch_spec *spec)
{
	return (struct tl_launch_record_facts){
		.spec = spec,
		.is_hardened = true,
		.root = "verity",
		.disk = { "protected", "capi:gcm(aes)-random", "aead", "memory" },
		.runtime = "io.containerd.runc.v2",
		.snapshotter = "overlayfs",
		.network = "host",
		.nofile = 131072,
		.verifier_url = "https://verifier.example",
		.options = options,
		.options_n = TL_ARRAY_SIZE(options),
	};
}

static char *build(const struct tl_launch_record_facts *facts)
{
	struct tl_error err = { 0 };
	struct tl_buf to;
	char *text;

	tl_buf_init(&to, TL_LAUNCH_RECORD_BYTES_MAX);
	assert_int_equal(tl_launch_record_build(facts, &to, &err), 0);
	text = tl_buf_take_str(&to);
	assert_non_null(text);
	return text;
}

static void a_record_is_one_text(void **state)
{
	struct tl_launch_spec spec = { .mounts = { mounts, 2 }, .is_cgroup_ns = true };
	struct tl_launch_record_facts facts = facts_of(&spec);
	auto_free char *text = build(&facts);

	(void)state;
	assert_string_equal(
		text,
		"{\"container\":{\"network\":\"host\",\"nofile\":131072,"
		"\"runtime\":\"io.containerd.runc.v2\",\"snapshotter\":\"overlayfs\"},"
		"\"disk\":{\"cipher\":\"capi:gcm(aes)-random\",\"integrity\":\"aead\","
		"\"mode\":\"protected\",\"tags\":\"memory\"},\"hardened\":true,"
		"\"operator\":{\"added_capabilities\":[],\"cgroup_namespace\":true,"
		"\"dev_shm_size_kb\":65536,\"gpu_driver\":false,"
		"\"impersonate_service_accounts\":[],\"ita\":{\"api_key\":false,\"region\":null},"
		"\"log_redirect\":\"false\",\"monitoring\":\"none\","
		"\"mounts\":[{\"destination\":\"/scratch\","
		"\"options\":[\"nosuid\",\"noexec\",\"nodev\"],\"size_bytes\":1048576,"
		"\"source\":\"tmpfs\",\"type\":\"tmpfs\"},{\"destination\":\"/b\","
		"\"options\":[\"nosuid\",\"noexec\",\"nodev\"],\"size_bytes\":0,"
		"\"source\":\"tmpfs\",\"type\":\"tmpfs\"}],\"signed_image_repos\":[],"
		"\"token_refresh\":true},\"root\":\"verity\","
		"\"schema\":\"teelaunch.launch-record/1\","
		"\"unit\":{\"console\":null,\"disk\":\"protected\",\"firewall\":true,"
		"\"registry_roots\":[\"/a\",\"/b\"],\"token_burst\":5,\"token_rate\":60},"
		"\"verifier_url\":\"https://verifier.example\"}");
}

/* jansson sorts and writes compactly too; only control characters differ (RFC 8785, 3.2.2.2). */
static void another_writer_of_sorted_json_writes_the_same(void **state)
{
	char odd[] = "CAP_\"\\/\xc3\xa9\x7f", wide[] = "\xf0\x9f\x94\x91", empty[] = "";
	char *texts[] = { odd, wide, empty };
	struct tl_launch_spec spec = {
		.added_capabilities = { texts, TL_ARRAY_SIZE(texts) },
		.impersonate_service_accounts = { texts, 1 },
		.signed_image_repos = { texts, 2 },
		.dev_shm_size_kb = 1,
		.ita_region = region,
	};
	struct tl_launch_record_facts facts = facts_of(&spec);
	auto_free char *text = build(&facts);
	json_t *parsed = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	auto_free char *again = NULL;

	(void)state;
	assert_non_null(parsed);
	again = json_dumps(parsed, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, again);
	json_decref(parsed);
}

static void control_characters_have_one_spelling(void **state)
{
	char control[] = "\b\t\n\f\r\x01\x1f";
	char *texts[] = { control };
	struct tl_launch_spec spec = { .added_capabilities = { texts, 1 } };
	struct tl_launch_record_facts facts = facts_of(&spec);
	auto_free char *text = build(&facts);

	(void)state;
	assert_non_null(strstr(text, "[\"\\b\\t\\n\\f\\r\\u0001\\u001f\"]"));
}

static void the_order_of_options_is_no_input(void **state)
{
	struct tl_launch_spec spec = { 0 };
	struct tl_launch_record_facts facts = facts_of(&spec);
	struct tl_record_option turned[TL_ARRAY_SIZE(options)];
	auto_free char *text = build(&facts), *other = NULL;

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(options); i++)
		turned[i] = options[TL_ARRAY_SIZE(options) - 1 - i];
	facts.options = turned;
	other = build(&facts);
	assert_string_equal(text, other);
}

static void the_api_key_is_only_said_to_be_there(void **state)
{
	struct tl_launch_spec spec = { .ita_region = region };
	struct tl_launch_record_facts facts = facts_of(&spec);
	auto_free char *text = NULL;

	(void)state;
	assert_int_equal(tl_secret_set(&spec.ita_api_key, "canary", 6), 0);
	text = build(&facts);
	assert_non_null(strstr(text, "\"ita\":{\"api_key\":true,\"region\":\"eu\"}"));
	assert_null(strstr(text, "canary"));
	tl_secret_done(&spec.ita_api_key);
}

static void assert_refused(const struct tl_launch_record_facts *facts, size_t max, const char *word)
{
	struct tl_error err = { 0 };
	auto_buf struct tl_buf to = { 0 };

	tl_buf_init(&to, max);
	assert_int_equal(tl_launch_record_build(facts, &to, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_LAUNCH_RECORD);
	assert_non_null(strstr(err.msg, word));
}

static void what_no_reader_could_read_is_refused(void **state)
{
	struct tl_mount large = { a, TL_LAUNCH_RECORD_NUMBER_MAX };
	struct tl_launch_spec spec = { .mounts = { &large, 1 } };
	struct tl_launch_record_facts facts = facts_of(&spec);
	struct tl_record_option bad = { .name = "console", .text = "/dev/\xff" };
	auto_free char *text = build(&facts);

	(void)state;
	assert_non_null(strstr(text, "\"size_bytes\":9007199254740991,"));
	large.size_bytes++;
	assert_refused(&facts, TL_LAUNCH_RECORD_BYTES_MAX, "9007199254740991");
	large.size_bytes = 0;
	assert_refused(&facts, 100, "100 bytes");
	facts.options = &bad;
	facts.options_n = 1;
	assert_refused(&facts, TL_LAUNCH_RECORD_BYTES_MAX, "UTF-8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_one_text),
		cmocka_unit_test(another_writer_of_sorted_json_writes_the_same),
		cmocka_unit_test(control_characters_have_one_spelling),
		cmocka_unit_test(the_order_of_options_is_no_input),
		cmocka_unit_test(the_api_key_is_only_said_to_be_there),
		cmocka_unit_test(what_no_reader_could_read_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
