/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include <teelaunch/cleanup.h>

#include "launcher/workload/oci_spec.h"

/* What the tests start from; its parts are changed in place. */
struct setting {
	struct tl_image_config image;
	struct tl_launch_spec spec;
	struct oci_user user;
	struct oci_input in;
};

static const char *const image_json =
	"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\","
	"\"diff_ids\":[]},\"config\":{\"Entrypoint\":[\"/app\"],\"Cmd\":[\"a\",\"b c\"],"
	"\"Env\":[\"A=1\",\"B=2\",\"A=3\"],\"WorkingDir\":\"/srv\"}}";

static struct setting *setting_new(const char *attributes)
{
	struct setting *s = calloc(1, sizeof(*s));
	struct tl_findings findings = { 0 };
	struct tl_error err = { 0 };

	assert_non_null(s);
	if (tl_image_config_parse(image_json, strlen(image_json), &s->image, &err) < 0)
		fail_msg("%s", err.msg);
	if (tl_launch_spec_parse(attributes, strlen(attributes), NULL, &s->spec, &findings) < 0)
		fail_msg("%s", findings.items[0].message);
	tl_findings_done(&findings);
	s->user = (struct oci_user){ .uid = 5, .gid = 6, .groups = { 6, 7 }, .groups_n = 2 };
	s->in = (struct oci_input){
		.image = &s->image,
		.spec = &s->spec,
		.user = &s->user,
		.hostname = "vm-1",
		.shared_dir = "/srv/shared",
		.cgroups_path = "/default/tee-container",
	};
	return s;
}

static void setting_freep(struct setting **s)
{
	tl_image_config_done(&(*s)->image);
	tl_launch_spec_done(&(*s)->spec);
	free(*s);
}
#define auto_setting __attribute__((cleanup(setting_freep)))

#define PLAIN "{\"tee-image-reference\":\"a.test/b:1\"}"
#define FULL                                                                                       \
	"{\"tee-image-reference\":\"a.test/b:1\",\"tee-cmd\":\"[\\\"x\\\"]\","                     \
	"\"tee-env-A\":\"op\",\"tee-env-Z\":\"\\u00e4\\\"\",\"tee-env-HOSTNAME\":\"lie\","         \
	"\"tee-added-capabilities\":\"[\\\"CAP_SYS_ADMIN\\\",\\\"CAP_KILL\\\"]\","                 \
	"\"tee-cgroup-ns\":\"true\",\"tee-dev-shm-size-kb\":\"1234\","                             \
	"\"tee-mount\":\"type=tmpfs,source=tmpfs,destination=/x/../t,size=99;"                     \
	"type=tmpfs,source=tmpfs,destination=/u\"}"

static json_t *built(const struct oci_input *in)
{
	auto_free char *text = NULL;
	struct tl_error err = { 0 };
	json_t *root;

	if (oci_spec_build(in, &text, &err) < 0)
		fail_msg("%s", err.msg);
	root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	return root;
}

static void assert_part(const json_t *root, const char *const *path, const char *expected)
{
	const json_t *part = root;
	auto_free char *text = NULL;

	for (; *path; path++)
		part = json_object_get(part, *path);
	assert_non_null(part);
	text = json_dumps(part, JSON_COMPACT | JSON_ENCODE_ANY);
	assert_string_equal(text, expected);
}
#define assert_at(root, expected, ...)                                                             \
	assert_part(root, (const char *const[]){ __VA_ARGS__, NULL }, expected)

static void the_base_is_that_of_containerd(void **state)
{
	auto_setting struct setting *s = setting_new(PLAIN);
	json_t *root = built(&s->in);

	(void)state;
	assert_at(root, "\"1.2.0\"", "ociVersion");
	assert_at(root, "{\"path\":\"rootfs\",\"readonly\":false}", "root");
	assert_at(root, "{\"uid\":5,\"gid\":6,\"additionalGids\":[6,7]}", "process", "user");
	assert_at(root, "[\"/app\",\"a\",\"b c\"]", "process", "args");
	assert_at(root, "[\"A=1\",\"B=2\",\"A=3\",\"HOSTNAME=vm-1\"]", "process", "env");
	assert_at(root, "\"/srv\"", "process", "cwd");
	assert_at(root, "true", "process", "noNewPrivileges");
	assert_at(root, "1000", "process", "oomScoreAdj");
	assert_at(root, "[{\"type\":\"RLIMIT_NOFILE\",\"hard\":131072,\"soft\":131072}]", "process",
		  "rlimits");
	assert_at(root,
		  "[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FSETID\",\"CAP_FOWNER\",\"CAP_MKNOD\","
		  "\"CAP_NET_RAW\",\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETFCAP\",\"CAP_SETPCAP\","
		  "\"CAP_NET_BIND_SERVICE\",\"CAP_SYS_CHROOT\",\"CAP_KILL\",\"CAP_AUDIT_WRITE\"]",
		  "process", "capabilities", "bounding");
	assert_null(json_object_get(
		json_object_get(json_object_get(root, "process"), "capabilities"), "inheritable"));
	assert_at(root, "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}", "linux",
		  "resources");
	assert_at(root, "\"/default/tee-container\"", "linux", "cgroupsPath");
	assert_at(root,
		  "[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"}]",
		  "linux", "namespaces");
	assert_at(root,
		  "[\"/proc/acpi\",\"/proc/asound\",\"/proc/kcore\",\"/proc/keys\","
		  "\"/proc/latency_stats\",\"/proc/timer_list\",\"/proc/timer_stats\","
		  "\"/proc/sched_debug\",\"/sys/firmware\",\"/sys/devices/virtual/powercap\","
		  "\"/proc/scsi\"]",
		  "linux", "maskedPaths");
	assert_at(
		root,
		"[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]",
		"linux", "readonlyPaths");
	json_decref(root);
}

static void mounts_come_in_the_order_of_the_contract(void **state)
{
	auto_setting struct setting *s = setting_new(PLAIN);
	json_t *root = built(&s->in);

	(void)state;
	assert_at(root,
		  "[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":"
		  "[\"nosuid\",\"noexec\",\"nodev\"]},"
		  "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
		  "[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
		  "{\"destination\":\"/dev/"
		  "pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":"
		  "[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid="
		  "5\"]},"
		  "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":"
		  "[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
		  "{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","
		  "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
		  "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":"
		  "[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
		  "{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
		  "[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
		  "{\"destination\":\"/run/container_launcher/\",\"type\":\"bind\",\"source\":"
		  "\"/srv/shared\",\"options\":[\"rbind\",\"ro\"]},"
		  "{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"/etc/hosts\","
		  "\"options\":[\"rbind\",\"ro\"]},"
		  "{\"destination\":\"/etc/resolv.conf\",\"type\":\"bind\",\"source\":"
		  "\"/etc/resolv.conf\",\"options\":[\"rbind\",\"ro\"]}]",
		  "mounts");
	json_decref(root);
}

static void assert_mount(const json_t *root, size_t i, const char *expected)
{
	auto_free char *text =
		json_dumps(json_array_get(json_object_get(root, "mounts"), i), JSON_COMPACT);

	assert_string_equal(text, expected);
}

static void the_operators_wishes_are_in_their_places(void **state)
{
	auto_setting struct setting *s = setting_new(FULL);
	json_t *root = built(&s->in);
	const json_t *set = json_object_get(
		json_object_get(json_object_get(root, "process"), "capabilities"), "permitted");

	(void)state;
	assert_at(root, "[\"/app\",\"x\"]", "process", "args");
	assert_at(root, "[\"A=1\",\"B=2\",\"A=op\",\"HOSTNAME=vm-1\",\"Z=\xc3\xa4\\\"\"]",
		  "process", "env");
	assert_int_equal(json_array_size(set), 15); /* CAP_KILL was there */
	assert_string_equal(json_string_value(json_array_get(set, 14)), "CAP_SYS_ADMIN");
	assert_mount(root, 3,
		     "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
		     "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=1234k\"]}");
	assert_mount(root, 7,
		     "{\"destination\":\"/t\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
		     "[\"nosuid\",\"noexec\",\"nodev\",\"size=99\"]}");
	assert_mount(root, 8,
		     "{\"destination\":\"/u\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
		     "[\"nosuid\",\"noexec\",\"nodev\"]}");
	assert_mount(
		root, 10,
		"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
		"\"options\":[\"rw\",\"nosuid\",\"noexec\",\"nodev\"]}");
	assert_at(root,
		  "[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"
		  "{\"type\":\"cgroup\"}]",
		  "linux", "namespaces");
	json_decref(root);
}

static void the_measured_lists_are_those_of_the_specification(void **state)
{
	auto_setting struct setting *s = setting_new(FULL);
	auto_strv struct tl_strv args = { 0 };
	auto_strv struct tl_strv env = { 0 };
	json_t *root = built(&s->in);
	const json_t *process = json_object_get(root, "process");

	(void)state;
	assert_int_equal(oci_process(&s->image, &s->spec, "vm-1", &args, &env, NULL), 0);
	assert_int_equal(json_array_size(json_object_get(process, "args")), args.n);
	assert_int_equal(json_array_size(json_object_get(process, "env")), env.n);
	for (size_t i = 0; i < env.n; i++)
		assert_string_equal(
			json_string_value(json_array_get(json_object_get(process, "env"), i)),
			env.items[i]);
	for (size_t i = 0; i < args.n; i++)
		assert_string_equal(
			json_string_value(json_array_get(json_object_get(process, "args"), i)),
			args.items[i]);
	json_decref(root);
}

static void the_same_input_gives_the_same_bytes(void **state)
{
	auto_setting struct setting *s = setting_new(FULL);
	auto_free char *one = NULL;
	auto_free char *two = NULL;

	(void)state;
	assert_int_equal(oci_spec_build(&s->in, &one, NULL), 0);
	assert_int_equal(oci_spec_build(&s->in, &two, NULL), 0);
	assert_string_equal(one, two);
}

static void assert_refused(const struct oci_input *in, enum tl_code code, const char *words)
{
	char *const poison = (char *)(uintptr_t)words;
	char *text = poison;
	struct tl_error err = { 0 };

	assert_true(oci_spec_build(in, &text, &err) < 0);
	assert_ptr_equal(text, poison);
	assert_int_equal(err.code, code);
	assert_int_equal(err.class, TL_DENIED);
	assert_non_null(strstr(err.msg, words));
}

static void a_container_without_a_program_of_the_image_is_refused(void **state)
{
	auto_setting struct setting *s = setting_new(FULL);

	(void)state;
	tl_strv_done(&s->image.entrypoint);
	assert_refused(&s->in, TL_E_CONTAINER_ARGS, "empty Entrypoint");
	tl_strv_done(&s->spec.cmd);
	tl_strv_done(&s->image.cmd);
	assert_refused(&s->in, TL_E_CONTAINER_ARGS, "nothing to run");
}

static void values_that_cannot_be_used_are_refused(void **state)
{
	auto_setting struct setting *s = setting_new(PLAIN);

	(void)state;
	s->in.hostname = "\xff";
	assert_refused(&s->in, TL_E_CONTAINER_INPUT, "environment variable 4");
	s->in.hostname = "vm-1";
	s->image.working_dir[0] = '.';
	assert_refused(&s->in, TL_E_CONTAINER_INPUT, "WorkingDir '.srv'");
	s->image.working_dir[0] = '\0';
	s->in.shared_dir = "shared";
	assert_refused(&s->in, TL_E_CONTAINER_INPUT, "'shared'");
}

/* What is measured is, argument by argument, what runs, whatever form the image has; and the
 * operator never chooses the program. */
static void test_s05_the_same_arguments_are_measured_and_executed(void **state)
{
	static const struct {
		const char *entrypoint[4], *cmd[3];
		const char *override; /* tee-cmd; NULL: none */
		enum tl_code code;    /* 0: it runs */
	} cases[] = {
		{ { "/app" }, { "a" }, "[\\\"x y\\\",\\\"\\\",\\\"$(z)\\\"]", 0 },
		{ { "/bin/sh", "-c", "exec /app" }, { "a" }, "[\\\"; reboot\\\"]", 0 },
		{ { NULL }, { "/app", "a" }, NULL, 0 },
		{ { NULL }, { "/app", "a" }, "[\\\"/bin/sh\\\"]", TL_E_CONTAINER_ARGS },
		{ { "\xff" }, { NULL }, NULL, TL_E_CONTAINER_INPUT },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		auto_free char *attributes = NULL;
		auto_strv struct tl_strv args = { 0 }, env = { 0 };
		auto_setting struct setting *s = NULL;
		json_t *root, *run;

		assert_true(asprintf(&attributes, "{\"tee-image-reference\":\"a.test/b:1\"%s%s%s}",
				     cases[i].override ? ",\"tee-cmd\":\"" : "",
				     cases[i].override ? cases[i].override : "",
				     cases[i].override ? "\"" : "") > 0);
		s = setting_new(attributes);
		tl_strv_done(&s->image.entrypoint);
		tl_strv_done(&s->image.cmd);
		for (size_t k = 0; cases[i].entrypoint[k]; k++)
			tl_strv_add(&s->image.entrypoint, cases[i].entrypoint[k]);
		for (size_t k = 0; cases[i].cmd[k]; k++)
			tl_strv_add(&s->image.cmd, cases[i].cmd[k]);
		if (cases[i].code) {
			assert_refused(&s->in, cases[i].code, "");
			continue;
		}
		assert_int_equal(oci_process(&s->image, &s->spec, "vm-1", &args, &env, NULL), 0);
		root = built(&s->in);
		run = json_object_get(json_object_get(root, "process"), "args");
		assert_int_equal(json_array_size(run), args.n);
		for (size_t k = 0; k < args.n; k++)
			assert_string_equal(json_string_value(json_array_get(run, k)),
					    args.items[k]);
		assert_string_equal(args.items[0],
				    cases[i].entrypoint[0] ? cases[i].entrypoint[0] : "/app");
		json_decref(root);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_base_is_that_of_containerd),
		cmocka_unit_test(mounts_come_in_the_order_of_the_contract),
		cmocka_unit_test(the_operators_wishes_are_in_their_places),
		cmocka_unit_test(the_measured_lists_are_those_of_the_specification),
		cmocka_unit_test(the_same_input_gives_the_same_bytes),
		cmocka_unit_test(a_container_without_a_program_of_the_image_is_refused),
		cmocka_unit_test(values_that_cannot_be_used_are_refused),
		cmocka_unit_test(test_s05_the_same_arguments_are_measured_and_executed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
