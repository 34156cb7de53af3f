/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/option_table.h>

#include "vm.h"

#define SECONDS_MAX  (7 * 24 * 3600)
#define MEMORY_MAX   (1024 * 1024)
#define MEMORY_MIN   128
#define DATA_MIN     (16 * 1024 * 1024)
#define RESTARTS_MAX 15

/* --- values ------------------------------------------------------------------------------- */

int vm_size_parse(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	size_t n = strlen(text);
	const char *unit = n ? strchr(units, text[n - 1]) : NULL;
	auto_free char *digits = strndup(text, unit ? n - 1 : n);
	unsigned int shift = unit ? 10 * (unsigned int)(unit - units + 1) : 0;
	uint64_t number;
	int r = digits ? tl_str_parse_u64(digits, INT64_MAX >> shift, &number) : -ENOMEM;

	if (!r)
		*ret_bytes = number << shift;
	return r;
}

static int port_parse(const char *text, uint16_t *ret)
{
	uint64_t port;

	if (tl_str_parse_u64(text, UINT16_MAX, &port) < 0 || !port)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

int vm_forward_parse(const char *text, struct vm_forward *ret)
{
	auto_free char *copy = strdup(text);
	struct vm_forward f = { 0 };
	char *host, *colon;

	if (!copy)
		return -ENOMEM;
	host = strchr(copy, '=');
	colon = host ? strrchr(host, ':') : NULL;
	if (!colon)
		return -EINVAL;
	*host++ = '\0';
	*colon = '\0';
	if (*host == '[' && colon[-1] == ']') {
		host++;
		colon[-1] = '\0';
	} else if (strchr(host, ':')) {
		return -EINVAL;
	}
	if (!*host || port_parse(copy, &f.port) < 0 || port_parse(colon + 1, &f.host_port) < 0)
		return -EINVAL;
	f.host = strdup(host);
	if (!f.host)
		return -ENOMEM;
	*ret = f;
	return 0;
}

/* --- one function a kind of option -------------------------------------------------------- */

static int set_memory(void *ctx, const struct tl_option *row, const char *value);
static int set_data(void *ctx, const struct tl_option *row, const char *value);
static int set_timeout(void *ctx, const struct tl_option *row, const char *value);
static int set_restarts(void *ctx, const struct tl_option *row, const char *value);
static int set_forward(void *ctx, const struct tl_option *row, const char *value);
static int set_metadata(void *ctx, const struct tl_option *row, const char *value);
static int set_name(void *ctx, const struct tl_option *row, const char *value);

static const struct tl_option option_rows[] = {
	{ "image", "DISK.raw", tl_option_text, offsetof(struct vm_options, image),
	  "the VM's boot disk; it is only read" },
	{ "attributes", "FILE", tl_option_text, offsetof(struct vm_options, attributes),
	  "the instance's attributes: a JSON object of strings" },
	{ "metadata", "PATH=VALUE", set_metadata, 0,
	  "another fact of the VM, as instance/name=web-1; can be repeated" },
	{ "identity-key", "PEM", tl_option_text, offsetof(struct vm_options, identity_key),
	  "private key that signs the VM's identity tokens; default: one that is made" },
	{ "forward", "PORT=HOST:PORT", set_forward, 0,
	  "carry the guest's connections to 169.254.169.254:PORT to HOST:PORT; can be repeated" },
	{ "name", "NAME", set_name, 0,
	  "a host name that is 169.254.169.254 for the guest; can be repeated" },
	{ "firmware", "CODE.fd", tl_option_text, offsetof(struct vm_options, firmware),
	  "UEFI firmware; default: OVMF of the ovmf package" },
	{ "vars", "VARS.fd", tl_option_text, offsetof(struct vm_options, vars),
	  "variables the firmware starts with; they are copied" },
	{ "secure-boot", NULL, tl_option_flag, offsetof(struct vm_options, is_secure_boot),
	  "the firmware enforces Secure Boot" },
	{ "memory", "MB", set_memory, 0, "memory of the VM; default 1024" },
	{ "data-size", "SIZE", set_data, 0, "size of the sparse data disk; default 4G" },
	{ "tpm-state", "DIR", tl_option_text, offsetof(struct vm_options, tpm_state),
	  "state of a provisioned software TPM, used as it is; default: a new one" },
	{ "dir", "DIR", tl_option_text, offsetof(struct vm_options, dir),
	  "keep the VM's files there: data disk, variables, TPM, logs" },
	{ "console", "FILE", tl_option_text, offsetof(struct vm_options, console),
	  "write the console's bytes there; -, the default, shows its lines" },
	{ "timeout", "S", set_timeout, 0, "end the VM after that many seconds; default 900" },
	{ "follow-restarts", "N", set_restarts, 0,
	  "boot again when the VM restarts itself, at most N times; default 0" },
	{ "qmp", "SOCKET", tl_option_text, offsetof(struct vm_options, qmp),
	  "listen there with another monitor of qemu's" },
	{ "incoming", "FILE", tl_option_text, offsetof(struct vm_options, incoming),
	  "go on with a VM that was saved with qemu's migrate command; needs --dir" },
	{ "no-kvm", NULL, tl_option_flag, offsetof(struct vm_options, is_kvm_refused),
	  "emulate, even where KVM works" },
	{ "json", NULL, tl_option_flag, offsetof(struct vm_options, is_json),
	  "one JSON document, schema teelaunch.vm/1; progress goes to standard error" },
};

static int usage_fail(const char *what)
{
	fprintf(stderr, "teelaunch vm: %s: %s\n", tl_catalogue_find(TL_E_USAGE)->id, what);
	return -EINVAL;
}

static int set_memory(void *ctx, const struct tl_option *row, const char *value)
{
	struct vm_options *o = ctx;

	return tl_str_parse_u64(value, MEMORY_MAX, &o->memory_mb) < 0 || o->memory_mb < MEMORY_MIN
		       ? tl_option_refuse(row, value)
		       : 0;
}

static int set_data(void *ctx, const struct tl_option *row, const char *value)
{
	struct vm_options *o = ctx;

	int r = vm_size_parse(value, &o->data_bytes);

	if (r == -ENOMEM)
		return r;
	return r < 0 || o->data_bytes < DATA_MIN ? tl_option_refuse(row, value) : 0;
}

static int set_timeout(void *ctx, const struct tl_option *row, const char *value)
{
	struct vm_options *o = ctx;

	return tl_str_parse_u64(value, SECONDS_MAX, &o->timeout_s) < 0 || !o->timeout_s
		       ? tl_option_refuse(row, value)
		       : 0;
}

static int set_restarts(void *ctx, const struct tl_option *row, const char *value)
{
	struct vm_options *o = ctx;

	return tl_str_parse_u64(value, RESTARTS_MAX, &o->restarts_max) < 0
		       ? tl_option_refuse(row, value)
		       : 0;
}

static int set_forward(void *ctx, const struct tl_option *row, const char *value)
{
	struct vm_options *o = ctx;
	int r;

	if (o->forwards_n == VM_FORWARDS_MAX)
		return usage_fail("too many --forward");
	r = vm_forward_parse(value, &o->forwards[o->forwards_n]);
	if (r < 0)
		return r == -ENOMEM ? r : tl_option_refuse(row, value);
	o->forwards_n++;
	return 0;
}

static int set_metadata(void *ctx, const struct tl_option *row, const char *value)
{
	struct vm_options *o = ctx;
	const char *equals = strchr(value, '=');
	auto_free char *path = equals ? strndup(value, (size_t)(equals - value)) : NULL;

	if (equals && !path)
		return -ENOMEM;
	if (tl_str_is_empty(path))
		return tl_option_refuse(row, value);
	return tl_kvs_set(&o->metadata, path, equals + 1);
}

static int set_name(void *ctx, const struct tl_option *row, const char *value)
{
	struct vm_options *o = ctx;

	return *value ? tl_strv_add(&o->names, value) : tl_option_refuse(row, value);
}

/* --- the command line --------------------------------------------------------------------- */

const struct tl_options vm_options_table = {
	.command = "teelaunch vm",
	.rows = option_rows,
	.n = TL_ARRAY_SIZE(option_rows),
	.usage = "teelaunch vm --image DISK.raw --attributes FILE [OPTION]...\n\n"
		 "Boot an image with a software TPM and tell what became of the launch.",
	.exit_status =
		"Exit status: 0 the launch succeeded, 2 it was denied, 3 it failed or the "
		"workload did,\n"
		"4 the VM ended without a report, 5 the VM did not do what the report says,\n"
		"1 the command itself failed. See teelaunch-vm(1).",
};

static bool is_port_forwarded(const struct vm_options *o, uint16_t port, size_t below)
{
	for (size_t i = 0; i < below; i++)
		if (o->forwards[i].port == port)
			return true;
	return false;
}

static int options_check(const struct vm_options *o)
{
	if (!o->image)
		return usage_fail("--image is needed");
	if (!o->attributes && !is_port_forwarded(o, 80, o->forwards_n))
		return usage_fail("--attributes or --forward 80=HOST:PORT is needed");
	if (o->attributes && is_port_forwarded(o, 80, o->forwards_n))
		return usage_fail("--attributes and --forward 80=... exclude each other");
	if (!o->firmware != !o->vars)
		return usage_fail("--firmware and --vars belong together");
	if (o->incoming && !o->dir)
		return usage_fail("--incoming needs --dir, with the files of the saved VM");
	if (!o->attributes && (o->identity_key || o->metadata.n))
		return usage_fail("--identity-key and --metadata need --attributes");
	for (size_t i = 1; i < o->forwards_n; i++)
		if (is_port_forwarded(o, o->forwards[i].port, i))
			return usage_fail("a port is forwarded twice");
	return 0;
}

int vm_options_parse(struct vm_options *o, int argc, char **argv)
{
	int r;

	*o = (struct vm_options){ .memory_mb = 1024, .data_bytes = 4ULL << 30, .timeout_s = 900 };
	r = tl_options_parse(&vm_options_table, o, argc, argv);
	if (r)
		return r;
	if (o->console && strcmp(o->console, "-") == 0)
		o->console = NULL;
	return options_check(o);
}

void vm_options_done(struct vm_options *o)
{
	tl_kvs_done(&o->metadata);
	tl_strv_done(&o->names);
	for (size_t i = 0; i < o->forwards_n; i++)
		free(o->forwards[i].host);
	o->forwards_n = 0;
}
