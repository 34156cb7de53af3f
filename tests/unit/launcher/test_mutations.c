/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S15: nothing that changes a launch leaves all digests as they were. Each input is changed alone:
 * every metadata key, every option of the launcher's unit, every field of the image's configuration
 * that is read, and what is known of the machine. PCR 13 and PCR 15 are computed with what a launch
 * measures with. An input without a row here fails the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>
#include <teelaunch/launch_events.h>
#include <teelaunch/record_log.h>

#include "../../../launcher/sequence.h"
#include "../../../launcher/workload/oci_spec.h"
#include "run_options.h"

#define HOSTNAME "machine"
#define DIGEST   "sha256:0000000000000000000000000000000000000000000000000000000000000000"

/* Both registers. */
struct registers {
	uint8_t pcr13[32], pcr15[32];
};

/* All inputs of one launch. */
struct inputs {
	const char *attributes; /* between the braces, after the image's reference */
	const char *config;     /* the configuration blob */
	const char *hostname;
	const char *image_digest;
	struct run_arguments arguments;
	struct machine_facts machine;
	struct report report;
};

#define IMAGE_CONFIG(architecture, os, variant, config, layer)                                     \
	"{\"architecture\":\"" architecture "\",\"os\":\"" os "\",\"variant\":\"" variant          \
	"\",\"config\":{" config "},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:"       \
	"00000000000000000000000000000000000000000000000000000000000000" layer "\"]}}"
#define ENTRYPOINT "\"Entrypoint\":[\"/e\"]"

static struct inputs inputs_base(void)
{
	return (struct inputs){
		.attributes = "",
		.config = IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT, "00"),
		.hostname = HOSTNAME,
		.image_digest = DIGEST,
		.arguments = run_defaults("169.254.169.254"),
		.machine = { .is_hardened = true, .nofile_limit = 131072 },
		.report.disk = { .mode = "protected",
				 .cipher = "c",
				 .integrity = "i",
				 .tags = "memory" },
	};
}

static void record_compute(const struct inputs *in, const struct tl_launch_spec *spec, uint8_t *ret)
{
	struct launch l = { .spec = *spec, .machine = in->machine, .report = in->report };
	struct launch_options options = in->arguments.launch;
	auto_run_record struct run_record record = { 0 };
	auto_buf struct tl_buf text = { 0 };
	struct tl_error err = { 0 };

	assert_int_equal(run_record_make(&in->arguments, &record, &err), 0);
	options.unit = record.items;
	options.unit_n = record.n;
	l.options = &options;
	tl_buf_init(&text, TL_LAUNCH_RECORD_BYTES_MAX);
	assert_int_equal(launch_record_write(&l, &text, &err), 0);
	assert_int_equal(tl_record_replay(text.data, text.len_bytes, TL_SHA256, ret), 0);
}

static void launch_log_compute(const struct inputs *in, const struct tl_launch_spec *spec,
			       uint8_t *ret)
{
	auto_image_config struct tl_image_config config = { 0 };
	auto_events struct tl_event_list events = { 0 };
	auto_strv struct tl_strv args = { 0 }, env = { 0 };
	char image_id[80] = "sha256:";
	uint8_t digest[32];
	struct tl_error err = { 0 };
	struct tl_launch_facts facts = {
		.image_ref = spec->image_ref,
		.image_digest = in->image_digest,
		.restart_policy = tl_restart_policy_name(spec->restart_policy),
		.image_id = image_id,
		.args = &args,
		.env = &env,
		.override_env = &spec->envs,
		.override_cmd = &spec->cmd,
	};

	assert_int_equal(tl_image_config_parse(in->config, strlen(in->config), &config, &err), 0);
	assert_int_equal(tl_digest(TL_SHA256, in->config, strlen(in->config), digest), 0);
	tl_hex_encode(digest, sizeof(digest), image_id + strlen(image_id));
	assert_int_equal(oci_process(&config, spec, in->hostname, &args, &env, &err), 0);
	assert_int_equal(tl_launch_events_build(&facts, &events, &err), 0);
	assert_int_equal(tl_events_replay(&events, TL_SHA256, ret), 0);
}

/* False: the attributes are refused, so nothing is launched. */
static bool registers_compute(const struct inputs *in, struct registers *ret)
{
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	struct tl_findings findings = { 0 };
	auto_free char *document = NULL;
	bool is_good;

	assert_true(asprintf(&document, "{\"tee-image-reference\":\"h.example/p:t\"%s%s}",
			     *in->attributes ? "," : "", in->attributes) > 0);
	is_good = tl_launch_spec_parse(document, strlen(document), NULL, &spec, &findings) == 0;
	tl_findings_done(&findings);
	if (!is_good)
		return false;
	launch_log_compute(in, &spec, ret->pcr13);
	record_compute(in, &spec, ret->pcr15);
	return true;
}

static bool is_changed(const struct inputs *before, const struct inputs *after)
{
	struct registers a, b;

	assert_true(registers_compute(before, &a));
	assert_true(registers_compute(after, &b));
	return memcmp(&a, &b, sizeof(a)) != 0;
}

static void assert_changed(const struct inputs *before, const struct inputs *after,
			   const char *what)
{
	if (!is_changed(before, after))
		fail_msg("%s changes no digest", what);
}

/* --- metadata ------------------------------------------------------------------------------- */

enum outcome { CHANGES, REFUSED };

#define MOUNT(text) "\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=" text "\""

static const struct {
	const char *key, *before, *after;
	enum outcome outcome;
} attribute_rows[] = {
	{ "tee-schema-version", "", "\"tee-schema-version\":\"99\"", REFUSED },
	{ "test-fake-verifier", "", "\"test-fake-verifier\":\"true\"", REFUSED },
	{ "tee-install-gpu-driver", "", "\"tee-install-gpu-driver\":\"true\"", CHANGES },
	{ "tee-image-reference", "", "\"tee-image-reference\":\"h.example/p:u\"", CHANGES },
	{ "tee-restart-policy", "", "\"tee-restart-policy\":\"Always\"", CHANGES },
	{ "tee-restart-policy", "", "\"tee-restart-policy\":\"OnFailure\"", CHANGES },
	{ "tee-impersonate-service-accounts", "", "\"tee-impersonate-service-accounts\":\"a\"",
	  CHANGES },
	{ "tee-impersonate-service-accounts", "\"tee-impersonate-service-accounts\":\"a,b\"",
	  "\"tee-impersonate-service-accounts\":\"b,a\"", CHANGES },
	{ "tee-signed-image-repos", "", "\"tee-signed-image-repos\":\"a\"", CHANGES },
	{ "tee-monitoring-memory-enable", "", "\"tee-monitoring-memory-enable\":\"true\"",
	  CHANGES },
	{ "tee-monitoring-enable", "", "\"tee-monitoring-enable\":\"memoryOnly\"", CHANGES },
	{ "tee-monitoring-enable", "\"tee-monitoring-enable\":\"memoryOnly\"",
	  "\"tee-monitoring-enable\":\"all\"", CHANGES },
	{ "tee-cmd", "", "\"tee-cmd\":\"[\\\"a\\\"]\"", CHANGES },
	{ "tee-cmd", "\"tee-cmd\":\"[\\\"a b\\\"]\"", "\"tee-cmd\":\"[\\\"a\\\",\\\"b\\\"]\"",
	  CHANGES },
	{ "tee-env-", "", "\"tee-env-A\":\"\"", CHANGES },
	{ "tee-env-", "\"tee-env-A\":\"b\"", "\"tee-env-A\":\"c\"", CHANGES },
	{ "tee-container-log-redirect", "", "\"tee-container-log-redirect\":\"true\"", CHANGES },
	{ "tee-container-log-redirect", "\"tee-container-log-redirect\":\"serial\"",
	  "\"tee-container-log-redirect\":\"cloud_logging\"", CHANGES },
	{ "gca-service-env", "", "\"gca-service-env\":\"staging\"", CHANGES },
	{ "gca-service-env", "\"gca-service-env\":\"autopush\"", "\"gca-service-env\":\"staging\"",
	  CHANGES },
	{ "tee-dev-shm-size-kb", "", "\"tee-dev-shm-size-kb\":\"1\"", CHANGES },
	{ "tee-mount", "", MOUNT("/a"), CHANGES },
	{ "tee-mount", MOUNT("/a"), MOUNT("/a,size=1"), CHANGES },
	{ "tee-mount", MOUNT("/a"), MOUNT("/b"), CHANGES },
	{ "ita-region", "\"ita-region\":\"eu\",\"ita-api-key\":\"k\"",
	  "\"ita-region\":\"us\",\"ita-api-key\":\"k\"", CHANGES },
	/* Whether there is one; it is a secret. */
	{ "ita-api-key", "", "\"ita-region\":\"eu\",\"ita-api-key\":\"k\"", CHANGES },
	{ "tee-added-capabilities", "", "\"tee-added-capabilities\":\"[\\\"CAP_KILL\\\"]\"",
	  CHANGES },
	{ "tee-cgroup-ns", "", "\"tee-cgroup-ns\":\"true\"", CHANGES },
	{ "tee-disable-gca-refresh", "", "\"tee-disable-gca-refresh\":\"true\"", CHANGES },
};

static void each_metadata_key_changes_a_digest(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(attribute_rows); i++) {
		struct inputs before = inputs_base(), after = inputs_base();
		struct registers r;

		before.attributes = attribute_rows[i].before;
		after.attributes = attribute_rows[i].after;
		if (attribute_rows[i].outcome == REFUSED)
			assert_false(registers_compute(&after, &r));
		else
			assert_changed(&before, &after, attribute_rows[i].after);
	}
}

static void each_metadata_key_has_a_row(void **state)
{
	const struct tl_key_doc *key;

	(void)state;
	for (size_t i = 0; (key = tl_launch_spec_key(i)); i++) {
		bool is_there = false;

		for (size_t j = 0; j < TL_ARRAY_SIZE(attribute_rows); j++)
			is_there |= strcmp(attribute_rows[j].key, key->name) == 0;
		if (!is_there)
			fail_msg("nobody has tried what '%s' changes", key->name);
	}
}

/* The value of a key that is a secret is the one thing that may stay unmeasured. */
static void the_api_key_itself_changes_nothing(void **state)
{
	struct inputs before = inputs_base(), after = inputs_base();

	(void)state;
	before.attributes = "\"ita-region\":\"eu\",\"ita-api-key\":\"k\"";
	after.attributes = "\"ita-region\":\"eu\",\"ita-api-key\":\"l\"";
	assert_false(is_changed(&before, &after));
}

/* --- the unit ------------------------------------------------------------------------------- */

static char pem_one[] = "/tmp/teelaunch-mutations-XXXXXX";
static char pem_two[] = "/tmp/teelaunch-mutations-XXXXXX";

static char *host_is(const char *path)
{
	char *text = NULL;

	assert_true(asprintf(&text, "h.example=%s", path) > 0);
	return text;
}

static const struct {
	const char *name, *value; /* NULL: a file of certificates */
} option_rows[] = {
	{ "--disk", "unprotected" },
	{ "--root", "any" },
	{ "--firewall", "off" },
	{ "--confine", "strict" },
	{ "--readiness", "8086" },
	{ "--cloud-logging", "off" },
	{ "--cloud-monitoring", "off" },
	{ "--iam", "https://other.example" },
	{ "--ita", "https://other.example" },
	{ "--ita-roots", NULL },
	{ "--aia-host", "other.example" },
	{ "--restart-delay-max-ms", "1" },
	{ "--firewall-also", "1/tcp" },
	{ "--console-output", "raw" },
	{ "--containerd", "/other" },
	{ "--tcti", "mssim" },
	{ "--firmware-log", "/other" },
	{ "--kernel-cmdline", "/other" },
	{ "--verifier", "https://other.example" },
	{ "--verifier-roots", NULL },
	{ "--verifier-api", "verifyAttestation" },
	{ "--registry-roots", NULL },
	{ "--google-roots", NULL },
	{ "--console", "/dev/ttyS0" },
	{ "--shared-dir", "/other" },
	{ "--state-dir", "/other" },
	{ "--content-dir", "/other" },
	{ "--unpack", "containerd" },
	{ "--unpack-program", "/other" },
	{ "--first-token-budget-ms", "1" },
	{ "--token-rate", "1" },
	{ "--token-burst", "1" },
	{ "--token-cache-ms", "1" },
	{ "--stop-grace-ms", "1" },
	{ "--drain-ms", "1" },
	{ "--monitoring-period-ms", "1000" },
	{ "--log-level", "error" },
};

static const struct option_row *option_find(const char *name)
{
	for (size_t i = 0; i < RUN_OPTIONS; i++)
		if (strcmp(run_rows[i].name, name) == 0)
			return &run_rows[i];
	fail_msg("no option %s", name);
	return NULL;
}

static void option_set(struct run_arguments *a, const char *name, const char *value)
{
	const struct option_row *row = option_find(name);
	void *field = (char *)a + row->offset;

	if (row->parse)
		assert_int_equal(row->parse(value, field), 0);
	else
		*(const char **)field = value;
}

static void each_option_changes_a_digest(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(option_rows); i++) {
		struct inputs before = inputs_base(), after = inputs_base();
		bool is_list = strcmp(option_rows[i].name, "--registry-roots") == 0;
		auto_free char *file = is_list ? host_is(pem_one) : strdup(pem_one);
		auto_free char *other = is_list ? host_is(pem_two) : strdup(pem_two);
		const char *value = option_rows[i].value;

		option_set(&after.arguments, option_rows[i].name, value ? value : file);
		assert_changed(&before, &after, option_rows[i].name);
		if (!value) { /* the same option with other content */
			option_set(&before.arguments, option_rows[i].name, other);
			assert_changed(&before, &after, option_rows[i].name);
		}
		tl_strv_done(&before.arguments.launch.registry_roots);
		tl_strv_done(&after.arguments.launch.registry_roots);
		tl_strv_done(&after.arguments.launch.firewall_also);
		tl_strv_done(&after.arguments.launch.aia_hosts);
	}
}

static void each_option_has_a_row(void **state)
{
	(void)state;
	assert_int_equal(TL_ARRAY_SIZE(option_rows), RUN_OPTIONS);
	for (size_t i = 0; i < RUN_OPTIONS; i++) {
		bool is_there = false;

		for (size_t j = 0; j < RUN_OPTIONS; j++)
			is_there |= strcmp(option_rows[j].name, run_rows[i].name) == 0;
		if (!is_there)
			fail_msg("nobody has tried what '%s' changes", run_rows[i].name);
	}
}

static void the_metadata_server_changes_a_digest(void **state)
{
	struct inputs before = inputs_base(), after = inputs_base();

	(void)state;
	after.arguments = run_defaults("127.0.0.1:80");
	assert_changed(&before, &after, "GCE_METADATA_HOST");
}

/* --- image and machine ---------------------------------------------------------------------- */

static void each_field_of_the_image_changes_a_digest(void **state)
{
	static const char *const configs[] = {
		IMAGE_CONFIG("arm64", "linux", "", ENTRYPOINT, "00"),
		IMAGE_CONFIG("amd64", "other", "", ENTRYPOINT, "00"),
		IMAGE_CONFIG("amd64", "linux", "v8", ENTRYPOINT, "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT, "01"),
		IMAGE_CONFIG("amd64", "linux", "", "\"Entrypoint\":[\"/f\"]", "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT ",\"Cmd\":[\"c\"]", "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT ",\"Env\":[\"A=b\"]", "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT ",\"User\":\"1\"", "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT ",\"WorkingDir\":\"/w\"", "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT ",\"Labels\":{\"a\":\"b\"}", "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT ",\"ExposedPorts\":{\"1/tcp\":{}}",
			     "00"),
		IMAGE_CONFIG("amd64", "linux", "",
			     ENTRYPOINT ",\"Healthcheck\":{\"Test\":[\"NONE\"]}", "00"),
		IMAGE_CONFIG("amd64", "linux", "", ENTRYPOINT ",\"Unread\":1", "00"),
	};
	struct inputs before = inputs_base();

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(configs); i++) {
		struct inputs after = inputs_base();

		after.config = configs[i];
		assert_changed(&before, &after, configs[i]);
	}
}

static void each_fact_of_the_machine_changes_a_digest(void **state)
{
	struct inputs before = inputs_base(), after[8];

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(after); i++)
		after[i] = inputs_base();
	after[0].machine.is_hardened = false;
	after[1].machine.nofile_limit = 1024;
	after[2].report.disk.tags = "disk";
	after[3].report.disk.cipher = "d";
	after[4].report.disk.integrity = "j";
	after[5].report.disk.mode = "unprotected";
	after[6].hostname = "other";
	after[7].image_digest = "sha256:1";
	for (size_t i = 0; i < TL_ARRAY_SIZE(after); i++) {
		if (!is_changed(&before, &after[i]))
			fail_msg("fact %zu changes no digest", i);
	}
}

/* --------------------------------------------------------------------------------------------- */

static void file_make(char *path)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(tl_write_all(fd, path, strlen(path)), 0);
	close(fd);
}

static int files_make(void **state)
{
	(void)state;
	file_make(pem_one);
	file_make(pem_two);
	return 0;
}

static int files_remove(void **state)
{
	(void)state;
	return unlink(pem_one) | unlink(pem_two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_metadata_key_changes_a_digest),
		cmocka_unit_test(each_metadata_key_has_a_row),
		cmocka_unit_test(the_api_key_itself_changes_nothing),
		cmocka_unit_test(each_option_changes_a_digest),
		cmocka_unit_test(each_option_has_a_row),
		cmocka_unit_test(the_metadata_server_changes_a_digest),
		cmocka_unit_test(each_field_of_the_image_changes_a_digest),
		cmocka_unit_test(each_fact_of_the_machine_changes_a_digest),
	};

	return cmocka_run_group_tests(tests, files_make, files_remove);
}
