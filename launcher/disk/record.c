/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>

#define SCHEMA        "teelaunch.disk/1"
#define HEX_BYTES     (2 * DISK_SUPERBLOCK_BYTES)
#define TAGS_MEMORY   "memory"
#define TAGS_DISK     "disk"
#define NO_SUPERBLOCK ""

static void json_freep(json_t **o)
{
	json_decref(*o);
}
#define auto_json __attribute__((cleanup(json_freep)))

/* One row a field; the loop of reading and that of writing never change. */
enum kind { TEXT, NUMBER, DEVICE, TAGS, SUPERBLOCK, CONSTANT };
static const struct field {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *value; /* of a constant */
} fields[] = {
	{ "schema", CONSTANT, 0, SCHEMA },
	{ "cipher", CONSTANT, 0, DISK_CIPHER },
	{ "integrity", CONSTANT, 0, DISK_INTEGRITY },
	{ "tags", TAGS, offsetof(struct disk_record, has_tags_in_memory), NULL },
	{ "setup_ms", NUMBER, offsetof(struct disk_record, setup_ms), NULL },
	{ "size_bytes", NUMBER, offsetof(struct disk_record, size_bytes), NULL },
	{ "device", TEXT, offsetof(struct disk_record, device), NULL },
	{ "device_number", DEVICE, offsetof(struct disk_record, device_number), NULL },
	{ "device_sectors", NUMBER, offsetof(struct disk_record, device_sectors), NULL },
	{ "tags_number", DEVICE, offsetof(struct disk_record, tags_number), NULL },
	{ "integrity_name", CONSTANT, 0, DISK_INTEGRITY_NAME },
	{ "integrity_number", DEVICE, offsetof(struct disk_record, integrity_number), NULL },
	{ "crypt_name", CONSTANT, 0, DISK_CRYPT_NAME },
	{ "crypt_number", DEVICE, offsetof(struct disk_record, crypt_number), NULL },
	{ "kmsg_seq", NUMBER, offsetof(struct disk_record, kmsg_seq), NULL },
	{ "mount_point", TEXT, offsetof(struct disk_record, mount_point), NULL },
	{ "containerd_dir", TEXT, offsetof(struct disk_record, containerd_dir), NULL },
	{ "scratch_dir", TEXT, offsetof(struct disk_record, scratch_dir), NULL },
	{ "superblock", SUPERBLOCK, offsetof(struct disk_record, superblock), NULL },
};

static json_t *superblock_json(const struct disk_record *r)
{
	char hex[HEX_BYTES + 1];

	if (r->has_tags_in_memory)
		return json_string(NO_SUPERBLOCK);
	tl_hex_encode(r->superblock, sizeof(r->superblock), hex);
	return json_string(hex);
}

static json_t *field_json(const struct disk_record *r, const struct field *f)
{
	const void *at = (const char *)r + f->offset;
	const struct disk_number *number = at;

	switch (f->kind) {
	case TEXT:
		return json_string(at);
	case NUMBER:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case DEVICE:
		return json_sprintf("%u:%u", number->major, number->minor);
	case TAGS:
		return json_string(r->has_tags_in_memory ? TAGS_MEMORY : TAGS_DISK);
	case SUPERBLOCK:
		return superblock_json(r);
	case CONSTANT:
		return json_string(f->value);
	}
	return NULL;
}

static int document_append(json_t *o, struct tl_buf *ret)
{
	auto_free char *text = json_dumps(o, JSON_COMPACT);

	return text ? tl_buf_append_str(ret, text) : -ENOMEM;
}

int disk_record_format(const struct disk_record *r, struct tl_buf *ret)
{
	auto_json json_t *o = json_object();

	for (size_t i = 0; i < TL_ARRAY_SIZE(fields); i++)
		if (json_object_set_new(o, fields[i].name, field_json(r, &fields[i])) < 0)
			return -ENOMEM;
	return document_append(o, ret);
}

int disk_record_format_error(const struct tl_error *why, struct tl_buf *ret)
{
	auto_json json_t *o = json_pack("{s:s, s:{s:s, s:s}}", "schema", SCHEMA, "error", "code",
					tl_catalogue_find(why->code)->id, "message", why->msg);

	return o ? document_append(o, ret) : -ENOMEM;
}

static int text_read(const json_t *value, char ret[DISK_PATH_MAX])
{
	size_t n = json_string_length(value);

	if (!json_is_string(value) || !n || n >= DISK_PATH_MAX)
		return -EINVAL;
	memcpy(ret, json_string_value(value), n + 1);
	return 0;
}

static int number_read(const json_t *value, uint64_t *ret)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return -EINVAL;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

static int device_read(const json_t *value, struct disk_number *ret)
{
	const char *text = json_string_value(value);
	const char *colon = text ? strchr(text, ':') : NULL;
	char major[16] = "";
	uint64_t numbers[2];

	if (!colon || (size_t)(colon - text) >= sizeof(major))
		return -EINVAL;
	memcpy(major, text, (size_t)(colon - text));
	if (tl_str_parse_u64(major, UINT32_MAX, &numbers[0]) < 0 ||
	    tl_str_parse_u64(colon + 1, UINT32_MAX, &numbers[1]) < 0)
		return -EINVAL;
	*ret = (struct disk_number){ (uint32_t)numbers[0], (uint32_t)numbers[1] };
	return 0;
}

static int superblock_read(const json_t *value, struct disk_record *r)
{
	const char *text = json_string_value(value);

	if (!text)
		return -EINVAL;
	if (r->has_tags_in_memory)
		return *text ? -EINVAL : 0;
	if (strlen(text) != HEX_BYTES)
		return -EINVAL;
	return tl_hex_decode(text, r->superblock, sizeof(r->superblock));
}

static int tags_read(const json_t *value, bool *ret)
{
	const char *text = json_string_value(value);

	*ret = text && strcmp(text, TAGS_MEMORY) == 0;
	return *ret || (text && strcmp(text, TAGS_DISK) == 0) ? 0 : -EINVAL;
}

static int field_read(const json_t *value, const struct field *f, struct disk_record *r)
{
	void *at = (char *)r + f->offset;

	switch (f->kind) {
	case TEXT:
		return text_read(value, at);
	case NUMBER:
		return number_read(value, at);
	case DEVICE:
		return device_read(value, at);
	case TAGS:
		return tags_read(value, at);
	case SUPERBLOCK:
		return superblock_read(value, r);
	case CONSTANT:
		return json_is_string(value) && strcmp(json_string_value(value), f->value) == 0
			       ? 0
			       : -EINVAL;
	}
	return -EINVAL;
}

/* The row of the catalogue with this id; a failure whose code isn't known is still a failure. */
static enum tl_code code_find(const char *id)
{
	const struct tl_catalogue_row *rows;
	size_t n;

	rows = tl_catalogue(&n);
	for (size_t i = 0; id && i < n; i++)
		if (strcmp(rows[i].id, id) == 0)
			return rows[i].code;
	return TL_E_DISK_RECORD;
}

static int error_read(const json_t *error, struct tl_error *err)
{
	const char *message = json_string_value(json_object_get(error, "message"));

	return tl_fail(err, code_find(json_string_value(json_object_get(error, "code"))), EIO, "%s",
		       message ? message : "the disk's unit failed, and doesn't say why");
}

int disk_record_parse(const char *text, size_t n, struct disk_record *ret, struct tl_error *err)
{
	auto_json json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	struct disk_record r = { 0 };

	if (!json_is_object(o))
		return tl_fail(err, TL_E_DISK_RECORD, EINVAL, "record of the disk: no JSON object");
	if (json_object_get(o, "error"))
		return error_read(json_object_get(o, "error"), err);
	for (size_t i = 0; i < TL_ARRAY_SIZE(fields); i++)
		if (field_read(json_object_get(o, fields[i].name), &fields[i], &r) < 0)
			return tl_fail(err, TL_E_DISK_RECORD, EINVAL,
				       "record of the disk: '%s' is missing or can't be read",
				       fields[i].name);
	if (json_object_size(o) != TL_ARRAY_SIZE(fields))
		return tl_fail(err, TL_E_DISK_RECORD, EINVAL,
			       "record of the disk: a field that is unknown");
	*ret = r;
	return 0;
}

int disk_record_read(const char *state_dir, struct disk_record *ret, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	char path[PATH_MAX]; /* no allocation: a record may tell of one that failed */
	int r;

	tl_buf_init(&text, DISK_RECORD_MAX);
	if (snprintf(path, sizeof(path), "%s/" DISK_RECORD_NAME, state_dir) >= (int)sizeof(path))
		return tl_fail(err, TL_E_USAGE, ENAMETOOLONG, "'%s' is too long", state_dir);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return tl_fail(err, TL_E_DISK_UNPROTECTED, ENOENT,
			       "'%s' isn't there: no disk was set up in this boot", path);
	r = tl_file_read(path, &text, NULL);
	if (r < 0)
		return tl_fail_sys(err, TL_E_DISK_RECORD, -r, "read '%s'", path);
	return disk_record_parse(tl_buf_str(&text), text.len_bytes, ret, err);
}
