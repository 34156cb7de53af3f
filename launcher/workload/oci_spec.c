/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/env_names.h>

#include "oci_spec.h"

#define OCI_VERSION         "1.2.0"
#define NOFILE_MAX          131072
#define OOM_SCORE_ADJ       1000 /* the workload goes before the launcher */
#define OPTIONS_MAX         8
#define DEV_SHM_DESTINATION "/dev/shm"
#define TEXT_OF(number)     #number
#define TEXT(macro)         TEXT_OF(macro)

static void json_freep(json_t **j)
{
	json_decref(*j);
}
#define auto_json __attribute__((cleanup(json_freep)))

/* The defaults of containerd 1.7 for Linux (its package oci, spec.go and mounts.go). */
static const char *const capabilities[] = {
	"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
	"CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
	"CAP_KILL",    "CAP_AUDIT_WRITE",
};
static const char *const masked_paths[] = {
	"/proc/acpi",          "/proc/asound",
	"/proc/kcore",         "/proc/keys",
	"/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats",   "/proc/sched_debug",
	"/sys/firmware",       "/sys/devices/virtual/powercap",
	"/proc/scsi",
};
static const char *const readonly_paths[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
					      "/proc/sysrq-trigger" };
/* No network: the workload shares the machine's. No user and, by default, no cgroup namespace. */
static const char *const namespaces[] = { "pid", "ipc", "uts", "mount" };

struct mount_row {
	const char *destination, *type, *source;
	const char *options[OPTIONS_MAX];
};

static const struct mount_row base_mounts[] = {
	{ "/proc", "proc", "proc", { "nosuid", "noexec", "nodev" } },
	{ "/dev", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts",
	  "devpts",
	  "devpts",
	  { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
	{ DEV_SHM_DESTINATION,
	  "tmpfs",
	  "shm",
	  { "nosuid", "noexec", "nodev", "mode=1777", "size=" TEXT(TL_DEV_SHM_DEFAULT_KB) "k" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ "/run", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
};
static const struct mount_row cgroup_mount = {
	"/sys/fs/cgroup", "cgroup", "cgroup", { "rw", "nosuid", "noexec", "nodev" }
};
static const struct mount_row name_mounts[] = {
	{ "/etc/hosts", "bind", "/etc/hosts", { "rbind", "ro" } },
	{ "/etc/resolv.conf", "bind", "/etc/resolv.conf", { "rbind", "ro" } },
};

static int args_check(const struct tl_strv *args, size_t override_n, struct tl_error *err)
{
	if (args->n > override_n)
		return 0;
	if (override_n)
		return tl_fail(err, TL_E_CONTAINER_ARGS, EINVAL,
			       "the image has an empty Entrypoint, so tee-cmd would choose the "
			       "program: give the image an Entrypoint, or remove tee-cmd");
	return tl_fail(err, TL_E_CONTAINER_ARGS, EINVAL,
		       "the image has an empty Entrypoint and an empty Cmd: nothing to run");
}

static int texts_check(const char *what, const struct tl_strv *texts, struct tl_error *err)
{
	for (size_t i = 0; i < texts->n; i++)
		if (!tl_utf8_is_valid(texts->items[i], strlen(texts->items[i])))
			return tl_fail(err, TL_E_CONTAINER_INPUT, EINVAL,
				       "%s %zu of the workload is not valid UTF-8", what, i + 1);
	return 0;
}

static int strv_add_all(struct tl_strv *to, const struct tl_strv *from)
{
	for (size_t i = 0; i < from->n; i++)
		if (tl_strv_add(to, from->items[i]) < 0)
			return -ENOMEM;
	return 0;
}

int oci_process(const struct tl_image_config *image, const struct tl_launch_spec *spec,
		const char *hostname, struct tl_strv *ret_args, struct tl_strv *ret_env,
		struct tl_error *err)
{
	auto_strv struct tl_strv args = { 0 };
	auto_strv struct tl_strv env = { 0 };
	int r;

	if (strv_add_all(&args, &image->entrypoint) < 0 ||
	    strv_add_all(&args, spec->cmd.n ? &spec->cmd : &image->cmd) < 0 ||
	    tl_env_merge(&image->env, &spec->envs, hostname, &env) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the workload's arguments");
	r = args_check(&args, spec->cmd.n, err);
	if (r == 0)
		r = texts_check("argument", &args, err);
	if (r == 0)
		r = texts_check("environment variable", &env, err);
	if (r < 0)
		return r;
	*ret_args = args;
	*ret_env = env;
	args = env = (struct tl_strv){ 0 };
	return 0;
}

static json_t *json_strings(const char *const *items, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < n; i++) {
		if (json_array_append_new(list, json_string(items[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *json_strv(const struct tl_strv *v)
{
	return json_strings((const char *const *)v->items, v->n);
}

static json_t *user_build(const struct oci_user *user)
{
	json_t *groups = json_array();

	for (size_t i = 0; groups && i < user->groups_n; i++)
		json_array_append_new(groups, json_integer(user->groups[i]));
	return json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)user->uid, "gid",
			 (json_int_t)user->gid, "additionalGids", groups);
}

static json_t *capability_set_build(const struct tl_strv *added)
{
	json_t *set = json_strings(capabilities, TL_ARRAY_SIZE(capabilities));

	for (size_t i = 0; set && i < added->n; i++) {
		bool is_there = false;

		for (size_t k = 0; k < json_array_size(set) && !is_there; k++)
			is_there = strcmp(json_string_value(json_array_get(set, k)),
					  added->items[i]) == 0;
		if (!is_there)
			json_array_append_new(set, json_string(added->items[i]));
	}
	return set;
}

static json_t *capabilities_build(const struct tl_strv *added)
{
	return json_pack("{s:o, s:o, s:o}", "bounding", capability_set_build(added), "effective",
			 capability_set_build(added), "permitted", capability_set_build(added));
}

uint64_t oci_nofile(uint64_t limit)
{
	return limit && limit < NOFILE_MAX ? limit : NOFILE_MAX;
}

static json_t *process_build(const struct oci_input *in, const struct tl_strv *args,
			     const struct tl_strv *env)
{
	const char *dir = in->image->working_dir;

	return json_pack("{s:o, s:o, s:o, s:s, s:o, s:[{s:s, s:I, s:I}], s:b, s:i}", "user",
			 user_build(in->user), "args", json_strv(args), "env", json_strv(env),
			 "cwd", tl_str_is_empty(dir) ? "/" : dir, "capabilities",
			 capabilities_build(&in->spec->added_capabilities), "rlimits", "type",
			 "RLIMIT_NOFILE", "hard", (json_int_t)oci_nofile(in->nofile_limit), "soft",
			 (json_int_t)oci_nofile(in->nofile_limit), "noNewPrivileges", 1,
			 "oomScoreAdj", OOM_SCORE_ADJ);
}

static int mount_add(json_t *mounts, const struct mount_row *row)
{
	size_t n = 0;

	while (n < OPTIONS_MAX && row->options[n])
		n++;
	return json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:o}", "destination",
						       row->destination, "type", row->type,
						       "source", row->source, "options",
						       json_strings(row->options, n)));
}

static int base_mount_add(json_t *mounts, const struct mount_row *row, uint64_t dev_shm_size_kb)
{
	struct mount_row changed = *row;
	auto_strv struct tl_strv text = { 0 };

	if (dev_shm_size_kb == 0 || strcmp(row->destination, DEV_SHM_DESTINATION) != 0)
		return mount_add(mounts, row);
	if (tl_strv_printf(&text, "size=%" PRIu64 "k", dev_shm_size_kb) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < OPTIONS_MAX && changed.options[i]; i++)
		if (tl_str_starts_with(changed.options[i], "size="))
			changed.options[i] = text.items[0]; /* the last option as it is */
	return mount_add(mounts, &changed);
}

static int operator_mount_add(json_t *mounts, const struct tl_mount *m)
{
	struct mount_row row = { m->destination, "tmpfs", "tmpfs", { TL_MOUNT_OPTIONS } };
	auto_strv struct tl_strv text = { 0 };

	if (m->size_bytes) {
		if (tl_strv_printf(&text, "size=%" PRIu64, m->size_bytes) < 0)
			return -ENOMEM;
		row.options[3] = text.items[0];
	}
	return mount_add(mounts, &row);
}

static json_t *mounts_build(const struct oci_input *in)
{
	const struct mount_row shared = {
		OCI_SHARED_DESTINATION, "bind", in->shared_dir, { "rbind", "ro" }
	};
	json_t *mounts = json_array();
	int r = mounts ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(base_mounts); i++)
		r = base_mount_add(mounts, &base_mounts[i], in->spec->dev_shm_size_kb);
	for (size_t i = 0; !r && i < in->spec->mounts.n; i++)
		r = operator_mount_add(mounts, &in->spec->mounts.items[i]);
	if (!r)
		r = mount_add(mounts, &shared);
	if (!r && in->spec->is_cgroup_ns)
		r = mount_add(mounts, &cgroup_mount);
	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(name_mounts); i++)
		r = mount_add(mounts, &name_mounts[i]);
	if (r) {
		json_decref(mounts);
		return NULL;
	}
	return mounts;
}

static json_t *namespaces_build(bool is_cgroup_ns)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < TL_ARRAY_SIZE(namespaces); i++)
		json_array_append_new(list, json_pack("{s:s}", "type", namespaces[i]));
	if (list && is_cgroup_ns)
		json_array_append_new(list, json_pack("{s:s}", "type", "cgroup"));
	return list;
}

static json_t *linux_build(const struct oci_input *in)
{
	return json_pack("{s:{s:[{s:b, s:s}]}, s:s, s:o, s:o, s:o}", "resources", "devices",
			 "allow", 0, "access", "rwm", "cgroupsPath", in->cgroups_path, "namespaces",
			 namespaces_build(in->spec->is_cgroup_ns), "maskedPaths",
			 json_strings(masked_paths, TL_ARRAY_SIZE(masked_paths)), "readonlyPaths",
			 json_strings(readonly_paths, TL_ARRAY_SIZE(readonly_paths)));
}

static int input_check(const struct oci_input *in, struct tl_error *err)
{
	const char *dir = in->image->working_dir;

	if (!tl_str_is_empty(dir) && dir[0] != '/')
		return tl_fail(err, TL_E_CONTAINER_INPUT, EINVAL,
			       "the image's WorkingDir '%s' isn't an absolute path", dir);
	if (in->shared_dir[0] != '/')
		return tl_fail(err, TL_E_CONTAINER_INPUT, EINVAL,
			       "the shared folder '%s' isn't an absolute path", in->shared_dir);
	return 0;
}

int oci_spec_build(const struct oci_input *in, char **ret, struct tl_error *err)
{
	auto_strv struct tl_strv args = { 0 };
	auto_strv struct tl_strv env = { 0 };
	auto_json json_t *root = NULL;
	char *text = NULL;
	int r;

	r = input_check(in, err);
	if (r == 0)
		r = oci_process(in->image, in->spec, in->hostname, &args, &env, err);
	if (r < 0)
		return r;
	/* A part that couldn't be made is NULL, and makes the whole NULL. */
	root = json_pack("{s:s, s:o, s:{s:s, s:b}, s:o, s:o}", "ociVersion", OCI_VERSION, "process",
			 process_build(in, &args, &env), "root", "path", "rootfs", "readonly", 0,
			 "mounts", mounts_build(in), "linux", linux_build(in));
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	if (!text)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the container's specification");
	*ret = text;
	return 0;
}

int oci_exec_build(const char *spec_json, const struct tl_strv *args, char **ret,
		   struct tl_error *err)
{
	auto_json json_t *spec = json_loads(spec_json, 0, NULL);
	json_t *process = json_object_get(spec, "process");
	char *text = NULL;

	if (process && json_object_set_new(process, "args", json_strv(args)) == 0)
		text = json_dumps(process, JSON_COMPACT);
	if (!text)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a process of the container");
	*ret = text;
	return 0;
}
