/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/image_config.h>

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>
#include <teelaunch/launch_spec.h>

#include "go_json.h"
#include "values.h"

struct field_row;

struct reader {
	const char *what; /* "image configuration", "labels" */
	struct tl_error *err;
};

/* 0, -EINVAL or -ENOMEM; @value is never NULL nor null. */
typedef int field_reader(const struct reader *rd, const char *name, const json_t *value,
			 void *field);

struct field_row {
	const char *name;
	field_reader *read;
	size_t offset; /* of the field in struct tl_image_config */
};

static int refuse(const struct reader *rd, const char *name, const char *why)
{
	return tl_fail(rd->err, TL_E_IMAGE_CONFIG, EINVAL, "%s: '%s' %s", rd->what, name, why);
}

static int out_of_memory(const struct reader *rd)
{
	return tl_fail(rd->err, TL_E_NO_MEMORY, ENOMEM, "%s", rd->what);
}

/* Borrowed; NULL after a failure has been reported. */
static const char *string_of(const struct reader *rd, const char *name, const json_t *value)
{
	const char *s = json_string_value(value);

	if (!s)
		refuse(rd, name, "is not a string");
	else if (strlen(s) != json_string_length(value))
		refuse(rd, name, "holds a NUL character");
	else
		return s;
	return NULL;
}

static int read_string(const struct reader *rd, const char *name, const json_t *value, void *field)
{
	const char *s = string_of(rd, name, value);
	char *copy;

	if (!s)
		return -EINVAL;
	copy = strdup(s);
	if (!copy)
		return out_of_memory(rd);
	free(*(char **)field);
	*(char **)field = copy;
	return 0;
}

static int read_strings(const struct reader *rd, const char *name, const json_t *value, void *field)
{
	if (json_typeof(value) != JSON_ARRAY)
		return refuse(rd, name, "is not an array");
	if (json_array_size(value) > TL_IMAGE_CONFIG_LIST_MAX)
		return refuse(rd, name, "has more than 4096 elements");
	for (size_t i = 0; i < json_array_size(value); i++) {
		const char *s = string_of(rd, name, json_array_get(value, i));

		if (!s)
			return -EINVAL;
		if (tl_strv_add(field, s))
			return out_of_memory(rd);
	}
	return 0;
}

/* A plain object iterator wants a non-const object, though it changes nothing. */
static json_t *object_of(const json_t *value)
{
	return json_incref((json_t *)(uintptr_t)value);
}

static int read_map(const struct reader *rd, const char *name, const json_t *value, void *field)
{
	json_auto_t *object = object_of(value);

	if (json_typeof(object) != JSON_OBJECT)
		return refuse(rd, name, "is not an object");
	if (json_object_size(object) > TL_IMAGE_CONFIG_LIST_MAX)
		return refuse(rd, name, "has more than 4096 members");
	for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
		const char *key = json_object_iter_key(i);
		const char *s = string_of(rd, key, json_object_iter_value(i));

		if (!s)
			return -EINVAL;
		if (tl_kvs_add(field, key, s))
			return out_of_memory(rd);
	}
	tl_kvs_sort(field);
	return 0;
}

static int string_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* ExposedPorts: the keys count, the values are empty objects. */
static int read_keys(const struct reader *rd, const char *name, const json_t *value, void *field)
{
	json_auto_t *object = object_of(value);
	struct tl_strv *keys = field;

	if (json_typeof(object) != JSON_OBJECT)
		return refuse(rd, name, "is not an object");
	if (json_object_size(object) > TL_IMAGE_CONFIG_LIST_MAX)
		return refuse(rd, name, "has more than 4096 members");
	for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
		if (tl_strv_add(keys, json_object_iter_key(i)))
			return out_of_memory(rd);
	if (keys->n)
		qsort(keys->items, keys->n, sizeof(*keys->items), string_compare);
	return 0;
}

/* Durations and counts. */
static int read_count(const struct reader *rd, const char *name, const json_t *value, void *field)
{
	if (json_typeof(value) != JSON_INTEGER || json_integer_value(value) < 0)
		return refuse(rd, name, "is not a whole number of at least 0");
	*(uint64_t *)field = (uint64_t)json_integer_value(value);
	return 0;
}

static field_reader read_config, read_rootfs, read_healthcheck;

#define FIELD(name) offsetof(struct tl_image_config, name)

/* OCI image specification 1.1, config.md, "Properties". */
static const struct field_row top_rows[] = {
	{ "architecture", read_string, FIELD(architecture) },
	{ "os", read_string, FIELD(os) },
	{ "variant", read_string, FIELD(variant) },
	{ "config", read_config, 0 },
	{ "rootfs", read_rootfs, 0 },
	{ 0 },
};

static const struct field_row config_rows[] = {
	{ "User", read_string, FIELD(user) },
	{ "ExposedPorts", read_keys, FIELD(exposed_ports) },
	{ "Env", read_strings, FIELD(env) },
	{ "Entrypoint", read_strings, FIELD(entrypoint) },
	{ "Cmd", read_strings, FIELD(cmd) },
	{ "WorkingDir", read_string, FIELD(working_dir) },
	{ "Labels", read_map, FIELD(labels) },
	{ "Healthcheck", read_healthcheck, 0 },
	{ 0 },
};

/* Docker image specification 1.2, "Healthcheck"; StartInterval: Docker's API 1.44. */
static const struct field_row healthcheck_rows[] = {
	{ "Test", read_strings, FIELD(healthcheck.test) },
	{ "Interval", read_count, FIELD(healthcheck.interval_ns) },
	{ "Timeout", read_count, FIELD(healthcheck.timeout_ns) },
	{ "StartPeriod", read_count, FIELD(healthcheck.start_period_ns) },
	{ "StartInterval", read_count, FIELD(healthcheck.start_interval_ns) },
	{ "Retries", read_count, FIELD(healthcheck.retries) },
	{ 0 },
};

static const struct field_row rootfs_rows[] = {
	{ "diff_ids", read_strings, FIELD(diff_ids) },
	{ 0 },
};

/* Go's decoder would take "CMD" for "Cmd"; two readers must not see two images. */
static int names_check(const struct reader *rd, const struct field_row *rows, json_t *object)
{
	for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
		const char *key = json_object_iter_key(i);

		for (const struct field_row *row = rows; row->name; row++)
			if (strcasecmp(key, row->name) == 0 && strcmp(key, row->name) != 0)
				return refuse(rd, key, "is a known name in another case");
	}
	return 0;
}

static int read_rows(const struct reader *rd, const struct field_row *rows, const char *name,
		     const json_t *value, struct tl_image_config *config)
{
	json_auto_t *object = object_of(value);
	int r;

	if (json_typeof(object) != JSON_OBJECT)
		return refuse(rd, name, "is not an object");
	r = names_check(rd, rows, object);
	for (; !r && rows->name; rows++) {
		const json_t *member = json_object_get(object, rows->name);

		if (member && json_typeof(member) != JSON_NULL)
			r = rows->read(rd, rows->name, member, (char *)config + rows->offset);
	}
	return r;
}

static int read_config(const struct reader *rd, const char *name, const json_t *value, void *field)
{
	return read_rows(rd, config_rows, name, value, field);
}

static int read_rootfs(const struct reader *rd, const char *name, const json_t *value, void *field)
{
	return read_rows(rd, rootfs_rows, name, value, field);
}

static int read_healthcheck(const struct reader *rd, const char *name, const json_t *value,
			    void *field)
{
	return read_rows(rd, healthcheck_rows, name, value, field);
}

static int document_load(const struct reader *rd, const char *text, size_t n, json_t **ret)
{
	const char *fault;
	json_error_t error = { 0 }; /* jansson leaves the code alone when memory runs out */
	json_t *json;

	if (n > TL_IMAGE_CONFIG_BYTES_MAX)
		return tl_fail(rd->err, TL_E_IMAGE_CONFIG, EINVAL,
			       "%s: %zu bytes; at most %d are allowed", rd->what, n,
			       TL_IMAGE_CONFIG_BYTES_MAX);
	fault = tl_json_scan(text, n, NULL);
	if (fault)
		return tl_fail(rd->err, TL_E_IMAGE_CONFIG, EINVAL, "%s: %s", rd->what, fault);
	json = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!json && json_is_no_memory(&error))
		return out_of_memory(rd);
	if (!json)
		/* Not error.text: it quotes the document, which may hold secrets. */
		return tl_fail(rd->err, TL_E_IMAGE_CONFIG, EINVAL,
			       "%s: not JSON, or a name occurs twice, near line %d", rd->what,
			       error.line);
	*ret = json;
	return 0;
}

/* Absent strings are "", so that no reader needs to test for NULL. */
static int strings_fill(struct tl_image_config *config)
{
	char **fields[] = { &config->working_dir, &config->user, &config->os, &config->architecture,
			    &config->variant };

	for (size_t i = 0; i < TL_ARRAY_SIZE(fields); i++) {
		*fields[i] = strdup("");
		if (!*fields[i])
			return -ENOMEM;
	}
	return 0;
}

int tl_image_config_parse(const char *text, size_t n, struct tl_image_config *ret,
			  struct tl_error *err)
{
	const struct reader rd = { .what = "image configuration", .err = err };
	auto_image_config struct tl_image_config config = { 0 };
	json_auto_t *json = NULL;
	int r = document_load(&rd, text, n, &json);

	if (r)
		return r;
	if (strings_fill(&config))
		return out_of_memory(&rd);
	r = read_rows(&rd, top_rows, "document", json, &config);
	if (r)
		return r;
	*ret = config;
	config = (struct tl_image_config){ 0 };
	return 0;
}

int tl_labels_parse(const char *text, size_t n, struct tl_kvs *ret, struct tl_error *err)
{
	const struct reader rd = { .what = "labels", .err = err };
	auto_kvs struct tl_kvs labels = { 0 };
	json_auto_t *json = NULL;
	int r = document_load(&rd, text, n, &json);

	if (!r)
		r = read_map(&rd, "document", json, &labels);
	if (r)
		return r;
	*ret = labels;
	labels = (struct tl_kvs){ 0 };
	return 0;
}

void tl_image_config_done(struct tl_image_config *config)
{
	if (!config)
		return;
	tl_strv_done(&config->env);
	tl_strv_done(&config->entrypoint);
	tl_strv_done(&config->cmd);
	tl_kvs_done(&config->labels);
	tl_strv_done(&config->exposed_ports);
	tl_strv_done(&config->diff_ids);
	tl_strv_done(&config->healthcheck.test);
	free(config->working_dir);
	free(config->user);
	free(config->os);
	free(config->architecture);
	free(config->variant);
	*config = (struct tl_image_config){ 0 };
}

enum tl_port_fault tl_port_parse(const char *key, struct tl_port *ret)
{
	const char *slash = strchr(key, '/');
	uint16_t number;

	if (!slash || strchr(slash + 1, '/'))
		return TL_PORT_FORMAT;
	if (!u16_parse(key, (size_t)(slash - key), &number))
		return TL_PORT_NUMBER;
	if (strcmp(slash + 1, "tcp") != 0 && strcmp(slash + 1, "udp") != 0)
		return TL_PORT_PROTOCOL;
	*ret = (struct tl_port){ number, strcmp(slash + 1, "udp") == 0 };
	return TL_PORT_OK;
}

const char *tl_port_fault_category(enum tl_port_fault fault)
{
	static const char *const categories[] = {
		[TL_PORT_OK] = NULL,
		[TL_PORT_FORMAT] = "port-format",
		[TL_PORT_NUMBER] = "port-number",
		[TL_PORT_PROTOCOL] = "port-protocol",
	};

	return categories[fault];
}
