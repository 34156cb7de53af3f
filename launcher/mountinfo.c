/* SPDX-License-Identifier: Apache-2.0 */
#include "mountinfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#define FIELDS_MAX 32 /* eleven, and optional ones: shared:N, master:N, ... */

static void entry_done(struct mount_entry *e)
{
	free(e->root);
	free(e->mount_point);
	free(e->options);
	free(e->fs_type);
	free(e->source);
	free(e->super_options);
}

void mount_list_done(struct mount_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		entry_done(&l->items[i]);
	free(l->items);
	*l = (struct mount_list){ 0 };
}

static bool is_octal(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '7')
			return false;
	return true;
}

/* The kernel writes space, tab, newline, backslash and '#' as \ooo. NULL: malformed or no memory;
 * errno says which. */
static char *unescape(const char *from)
{
	size_t len = strlen(from), n = 0;
	auto_free char *to = malloc(len + 1);

	if (!to)
		return NULL;
	errno = EINVAL;
	for (size_t i = 0; i < len; i++) {
		unsigned int c = (unsigned char)from[i];

		if (c == '\\') {
			if (len - i < 4 || !is_octal(from + i + 1, 3))
				return NULL;
			c = (unsigned int)(from[i + 1] - '0') * 64 +
			    (unsigned int)(from[i + 2] - '0') * 8 +
			    (unsigned int)(from[i + 3] - '0');
			if (c == 0 || c > 255)
				return NULL;
			i += 3;
		}
		to[n++] = (char)c;
	}
	to[n] = '\0';
	return take_ptr(to);
}

/* Split at single spaces, in place. The number of fields, or 0 if there are too many. */
static size_t fields_split(char *line, char *fields[FIELDS_MAX])
{
	size_t n = 0;
	char *rest = line;

	while (rest) {
		if (n == FIELDS_MAX)
			return 0;
		fields[n++] = strsep(&rest, " ");
	}
	return n;
}

static int device_parse(char *field, struct mount_entry *e)
{
	char *minor = strchr(field, ':');
	uint64_t values[2];

	if (!minor)
		return -EINVAL;
	*minor++ = '\0';
	if (tl_str_parse_u64(field, UINT32_MAX, &values[0]) < 0 ||
	    tl_str_parse_u64(minor, UINT32_MAX, &values[1]) < 0)
		return -EINVAL;
	e->major = (uint32_t)values[0];
	e->minor = (uint32_t)values[1];
	return 0;
}

/* The position of the lone "-" that ends the optional fields; exactly three fields follow it. */
static size_t separator_find(char *const fields[], size_t n)
{
	for (size_t i = 6; i + 4 == n || i + 4 < n; i++)
		if (strcmp(fields[i], "-") == 0)
			return i + 4 == n ? i : 0;
	return 0;
}

static int texts_parse(char *const fields[], size_t separator, struct mount_entry *e)
{
	const struct {
		const char *from;
		char **to;
	} texts[] = {
		{ fields[3], &e->root },
		{ fields[4], &e->mount_point },
		{ fields[5], &e->options },
		{ fields[separator + 1], &e->fs_type },
		{ fields[separator + 2], &e->source },
		{ fields[separator + 3], &e->super_options },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++) {
		*texts[i].to = unescape(texts[i].from);
		if (!*texts[i].to)
			return -errno;
	}
	return *e->mount_point == '/' ? 0 : -EINVAL;
}

static int line_parse(char *line, struct mount_entry *ret)
{
	char *fields[FIELDS_MAX];
	struct mount_entry e = { 0 };
	size_t n = fields_split(line, fields);
	size_t separator = n >= 10 ? separator_find(fields, n) : 0;
	int r;

	if (!separator || tl_str_parse_u64(fields[0], UINT32_MAX, &e.id) < 0 ||
	    tl_str_parse_u64(fields[1], UINT32_MAX, &e.parent_id) < 0 ||
	    device_parse(fields[2], &e) < 0)
		return -EINVAL;
	r = texts_parse(fields, separator, &e);
	if (r < 0) {
		entry_done(&e);
		return r;
	}
	*ret = e;
	return 0;
}

static int list_add(struct mount_list *l, char *line)
{
	struct mount_entry *grown;

	if (l->n == MOUNTINFO_MOUNTS_MAX)
		return -EINVAL;
	grown = reallocarray(l->items, l->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->items = grown;
	return line_parse(line, &grown[l->n]);
}

int mountinfo_parse(const char *text, struct mount_list *ret, struct tl_error *err)
{
	auto_mount_list struct mount_list list = { 0 };
	auto_free char *copy = NULL;
	char *rest;

	if (strlen(text) > MOUNTINFO_MAX)
		return tl_fail(err, TL_E_MACHINE_FACTS, EINVAL, "mountinfo is too long");
	rest = copy = strdup(text);
	if (!copy)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "mountinfo");
	while (*rest) {
		char *line = strsep(&rest, "\n");
		int r;

		/* A text without its last newline was cut. */
		if (!rest)
			return tl_fail(err, TL_E_MACHINE_FACTS, EINVAL,
				       "mountinfo ends within line %zu", list.n + 1);
		r = list_add(&list, line);
		if (r == -ENOMEM)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "mountinfo");
		if (r < 0)
			return tl_fail(err, TL_E_MACHINE_FACTS, EINVAL,
				       "mountinfo, line %zu: not understood", list.n + 1);
		list.n++;
	}
	*ret = list;
	list = (struct mount_list){ 0 };
	return 0;
}

/* True if @path is @point or below it. */
static bool is_covered(const char *path, const char *point)
{
	size_t n = strlen(point);

	if (strcmp(point, "/") == 0)
		return *path == '/';
	return strncmp(path, point, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static const struct mount_entry *by_id(const struct mount_list *l, uint64_t id)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].id == id)
			return &l->items[i];
	return NULL;
}

/* The mount at "/" whose own parent is outside (or, as for the first one of all, itself). */
static const struct mount_entry *root_find(const struct mount_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct mount_entry *e = &l->items[i];

		if (strcmp(e->mount_point, "/") == 0 &&
		    (e->parent_id == e->id || !by_id(l, e->parent_id)))
			return e;
	}
	return NULL;
}

/*
 * Walking a path, the kernel crosses into the first mount it meets on the mount it is in: of the
 * children that cover the path, the one with the shortest mount point.
 */
static const struct mount_entry *child_find(const struct mount_list *l,
					    const struct mount_entry *parent, const char *path)
{
	const struct mount_entry *found = NULL;

	for (size_t i = 0; i < l->n; i++) {
		const struct mount_entry *e = &l->items[i];

		if (e == parent || e->parent_id != parent->id || !is_covered(path, e->mount_point))
			continue;
		if (!found || strlen(e->mount_point) < strlen(found->mount_point))
			found = e;
	}
	return found;
}

const struct mount_entry *mount_of_path(const struct mount_list *l, const char *path)
{
	const struct mount_entry *now = root_find(l);

	/* Each step goes to another mount: more steps than mounts mean a circle. */
	for (size_t steps = 0; now && steps <= l->n; steps++) {
		const struct mount_entry *next = child_find(l, now, path);

		if (!next)
			return now;
		now = next;
	}
	return NULL;
}

bool mount_has_option(const char *options, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = options; p; p = strchr(p, ',')) {
		if (*p == ',')
			p++;
		if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	}
	return false;
}
