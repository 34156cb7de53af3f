/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "user.h"

/* The most that runc takes. */
#define ID_MAX     INT32_MAX
#define FIELDS_MAX 7

/* One line of passwd or group, split at ':'; points into a buffer of its own. */
struct line {
	char *text;
	char *fields[FIELDS_MAX];
	size_t n;
};

static void line_done(struct line *l)
{
	free(l->text);
	*l = (struct line){ 0 };
}
#define auto_line __attribute__((cleanup(line_done)))

/* The next line that isn't empty or a comment. 1, 0 at the end, or -ENOMEM. @at moves on. */
static int line_next(const char **at, struct line *ret)
{
	while (*at && **at) {
		const char *start = *at + strspn(*at, " \t");
		size_t n = strcspn(start, "\n");

		*at = start[n] ? start + n + 1 : start + n;
		if (n == 0 || *start == '#')
			continue;
		line_done(ret);
		ret->text = strndup(start, n);
		if (!ret->text)
			return -ENOMEM;
		for (char *p = ret->text; p && ret->n < FIELDS_MAX;)
			ret->fields[ret->n++] = strsep(&p, ":");
		return 1;
	}
	return 0;
}

static bool id_parse(const char *text, uint32_t *ret)
{
	uint64_t id;

	if (tl_str_parse_u64(text, ID_MAX, &id) < 0)
		return false;
	*ret = (uint32_t)id;
	return true;
}

struct account {
	char *name;
	uint32_t uid;
	uint32_t gid;
};

/* The first line of that name, or, when @name is NULL, of that uid. 1, 0 or -ENOMEM. */
static int account_find(const char *passwd, const char *name, uint32_t uid, struct account *ret)
{
	auto_line struct line l = { 0 };
	int r;

	while ((r = line_next(&passwd, &l)) > 0) {
		struct account a = { 0 };

		if (l.n < 4 || !id_parse(l.fields[2], &a.uid) || !id_parse(l.fields[3], &a.gid))
			continue;
		if (name ? strcmp(l.fields[0], name) != 0 : a.uid != uid)
			continue;
		a.name = strdup(l.fields[0]);
		if (!a.name)
			return -ENOMEM;
		*ret = a;
		return 1;
	}
	return r;
}

static int group_find(const char *group, const char *name, uint32_t *ret)
{
	auto_line struct line l = { 0 };
	int r;

	while ((r = line_next(&group, &l)) > 0)
		if (l.n >= 3 && strcmp(l.fields[0], name) == 0 && id_parse(l.fields[2], ret))
			return 1;
	return r;
}

static int group_add(struct oci_user *u, uint32_t gid)
{
	for (size_t i = 0; i < u->groups_n; i++)
		if (u->groups[i] == gid)
			return 0;
	if (u->groups_n == OCI_GROUPS_MAX)
		return -E2BIG;
	u->groups[u->groups_n++] = gid;
	return 0;
}

static bool is_listed(char *members, const char *name)
{
	while (members)
		if (strcmp(strsep(&members, ","), name) == 0)
			return true;
	return false;
}

/* The primary group first, then every group that lists @name, in the order of the file. */
static int groups_collect(const char *group, const char *name, struct oci_user *u)
{
	auto_line struct line l = { 0 };
	int r = group_add(u, u->gid);
	uint32_t gid;

	while (r == 0 && name && (r = line_next(&group, &l)) > 0) {
		r = 0;
		/* A group of the user's own name is its primary one, not a supplementary one. */
		if (l.n >= 4 && strcmp(l.fields[0], name) != 0 && id_parse(l.fields[2], &gid) &&
		    is_listed(l.fields[3], name))
			r = group_add(u, gid);
		if (r == 0)
			continue;
	}
	return r < 0 ? r : 0;
}

static int not_found(const char *what, const char *name, const char *file, struct tl_error *err)
{
	return tl_fail(err, TL_E_CONTAINER_USER, ENOENT,
		       "the image's User names %s '%s', which the image's %s doesn't list", what,
		       name, file);
}

/* Sets uid and gid from the part before the colon; a number need not be listed. */
static int uid_resolve(const char *who, const char *passwd, struct oci_user *u,
		       struct tl_error *err)
{
	struct account a = { 0 };
	bool is_number = id_parse(who, &u->uid);
	int r = account_find(passwd, is_number ? NULL : who, u->uid, &a);

	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the image's user");
	if (r == 0)
		return is_number ? 0 : not_found("user", who, "/etc/passwd", err);
	u->uid = a.uid;
	u->gid = a.gid;
	free(a.name);
	return 0;
}

static int gid_resolve(const char *which, const char *group, struct oci_user *u,
		       struct tl_error *err)
{
	int r;

	if (id_parse(which, &u->gid))
		return 0;
	r = group_find(group, which, &u->gid);
	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the image's user");
	return r ? 0 : not_found("group", which, "/etc/group", err);
}

static int ids_resolve(const char *user, const char *passwd, const char *group, struct oci_user *u,
		       struct tl_error *err)
{
	const char *colon = strchr(user, ':');
	auto_free char *who = NULL;
	int r;

	if (!*user)
		return 0;
	if (colon && strchr(colon + 1, ':'))
		return tl_fail(err, TL_E_CONTAINER_USER, EINVAL,
			       "the image's User '%s' has more than one ':'", user);
	who = strndup(user, colon ? (size_t)(colon - user) : strlen(user));
	if (!who)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the image's user");
	r = uid_resolve(who, passwd, u, err);
	return r < 0 || !colon ? r : gid_resolve(colon + 1, group, u, err);
}

int user_resolve(const char *user, const char *passwd, const char *group, struct oci_user *ret,
		 struct tl_error *err)
{
	struct oci_user u = { 0 };
	struct account a = { 0 };
	auto_free char *name = NULL;
	int r;

	user = user ? user : "";
	r = ids_resolve(user, passwd, group, &u, err);
	if (r < 0)
		return r;
	/* Without a User the groups are root's by name; else those of the uid's first name. */
	if (*user)
		r = account_find(passwd, NULL, u.uid, &a);
	name = *user ? a.name : strdup("root");
	if (r >= 0)
		r = groups_collect(group, name, &u);
	if (r == -E2BIG)
		return tl_fail(err, TL_E_CONTAINER_USER, E2BIG,
			       "the image's /etc/group puts the user into more than %d groups",
			       OCI_GROUPS_MAX);
	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the image's user");
	*ret = u;
	return 0;
}
