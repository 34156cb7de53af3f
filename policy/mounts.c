/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/env_names.h>

#include "values.h"

enum mount_option { OPTION_TYPE, OPTION_SOURCE, OPTION_DESTINATION, OPTION_SIZE, OPTIONS };

static const struct choice option_names[] = {
	{ "type", OPTION_TYPE },
	{ "source", OPTION_SOURCE },
	{ "destination", OPTION_DESTINATION },
	{ "size", OPTION_SIZE },
	{ NULL, 0 },
};

struct mount_parser {
	const char *key;
	size_t number; /* of the mount, from 1, for messages */
	const char *values[OPTIONS];
	struct tl_mounts mounts;
	struct tl_findings *findings;
	bool is_bad; /* of any mount */
};

#define MOUNT_FINDING(category_)                                                                   \
	(&(const struct tl_finding_row){ TL_E_MOUNT, category_, TL_SOURCE_ATTRIBUTES, false })

#define mount_finding(p, category, fmt, ...)                                                       \
	((p)->is_bad = true,                                                                       \
	 tl_findings_add((p)->findings, MOUNT_FINDING(category), (p)->key, NULL,                   \
			 "%s: mount %zu " fmt, (p)->key, (p)->number, ##__VA_ARGS__))

void mounts_done(struct tl_mounts *mounts)
{
	for (size_t i = 0; i < mounts->n; i++)
		free(mounts->items[i].destination);
	free(mounts->items);
	*mounts = (struct tl_mounts){ 0 };
}

/* Returns 0, -EINVAL (a finding was added) or -ENOMEM. */
static int option_parse(struct mount_parser *p, const char *option, size_t number)
{
	const char *equals = strchr(option, '=');
	auto_free char *name = equals ? strndup(option, (size_t)(equals - option)) : NULL;
	unsigned int which;
	int r;

	if (equals && !name)
		return -ENOMEM;
	if (!equals || tl_env_check(name, strlen(name), equals + 1, strlen(equals + 1)))
		r = mount_finding(p, "mount-option-parse",
				  "has option %zu '%s', which is not NAME=VALUE", number, option);
	else if (!choice_parse(option_names, name, false, &which))
		r = mount_finding(p, "mount-unknown-option",
				  "has the unknown option '%s'; known are type, source, "
				  "destination and size",
				  name);
	else {
		p->values[which] = equals + 1;
		return 0;
	}
	return r ? r : -EINVAL;
}

static int options_parse(struct mount_parser *p, const struct tl_strv *options)
{
	int bad = 0;

	memset(p->values, 0, sizeof(p->values));
	for (size_t i = 0; i < options->n; i++) {
		int r = option_parse(p, options->items[i], i + 1);

		if (r == -ENOMEM)
			return r;
		bad = r ? r : bad;
	}
	return bad;
}

/* "tmpfs" is the only type and the only source there is. */
static int tmpfs_check(struct mount_parser *p, enum mount_option which, const char *category)
{
	const char *value = p->values[which], *name = choice_name(option_names, which);

	if (value && strcmp(value, "tmpfs") == 0)
		return 0;
	if (!value)
		return mount_finding(p, category, "has no %s; it must be tmpfs", name);
	return mount_finding(p, category, "has %s '%s'; it must be tmpfs", name, value);
}

/* @ret stays NULL if there is none. */
static int destination_read(struct mount_parser *p, char **ret)
{
	const char *value = p->values[OPTION_DESTINATION];
	auto_free char *rooted = NULL;

	if (tl_str_is_empty(value))
		return 0;
	/* A relative destination counts from the root, whatever its dots say. */
	rooted = malloc(strlen(value) + 2);
	if (!rooted)
		return -ENOMEM;
	rooted[0] = '/';
	memcpy(rooted + 1, value, strlen(value) + 1);
	*ret = path_clean(rooted);
	if (!*ret)
		return -ENOMEM;
	if (strlen(*ret) < PATH_MAX)
		return 0;
	return mount_finding(p, "mount-option-parse", "has a destination above %d bytes",
			     PATH_MAX - 1);
}

static int size_read(struct mount_parser *p, uint64_t *ret)
{
	const char *value = p->values[OPTION_SIZE];

	if (!value || tl_str_parse_u64(value, UINT64_MAX, ret) == 0)
		return 0;
	return mount_finding(p, "mount-size",
			     "has size '%s'; it must be a decimal number of bytes, digits only",
			     value);
}

static int mount_push(struct tl_mounts *mounts, char *consume_destination, uint64_t size_bytes)
{
	struct tl_mount *items = reallocarray(mounts->items, mounts->n + 1, sizeof(*items));

	if (!items) {
		free(consume_destination);
		return -ENOMEM;
	}
	items[mounts->n++] = (struct tl_mount){ consume_destination, size_bytes };
	mounts->items = items;
	return 0;
}

/* What must be there. Not asked after a mistyped option: it may be just that one. */
static int required_check(struct mount_parser *p)
{
	int r = tmpfs_check(p, OPTION_TYPE, "mount-type");

	if (!r)
		r = tmpfs_check(p, OPTION_SOURCE, "mount-source");
	if (!r && tl_str_is_empty(p->values[OPTION_DESTINATION]))
		r = mount_finding(p, "mount-destination-missing", "has no destination");
	return r;
}

/* A bad mount is kept, too, if it has a destination: where it would go is judged all the same. */
static int mount_parse(struct mount_parser *p, const char *text)
{
	auto_strv struct tl_strv options = { 0 };
	auto_free char *destination = NULL;
	uint64_t size_bytes = 0;
	int r = list_split(text, ',', false, TL_SPEC_LIST_MAX, &options);

	if (r == -E2BIG)
		return mount_finding(p, "mount-option-parse", "has more than %d options",
				     TL_SPEC_LIST_MAX);
	if (!r)
		r = options_parse(p, &options);
	if (!r)
		r = required_check(p);
	if (r == -ENOMEM)
		return r;
	r = destination_read(p, &destination);
	if (!r)
		r = size_read(p, &size_bytes);
	return r || !destination ? r : mount_push(&p->mounts, take_ptr(destination), size_bytes);
}

int mounts_parse(const char *key, const char *text, struct tl_mounts *ret,
		 struct tl_findings *findings)
{
	struct mount_parser p = { .key = key, .findings = findings };
	auto_strv struct tl_strv mounts = { 0 };
	int r = list_split(text, ';', false, TL_SPEC_LIST_MAX, &mounts);

	if (r == -E2BIG)
		r = mount_finding(&p, "mount-option-parse", "and others are more than %d mounts",
				  TL_SPEC_LIST_MAX);
	for (; !r && p.number < mounts.n;) {
		p.number++;
		r = mount_parse(&p, mounts.items[p.number - 1]);
	}
	if (r) {
		mounts_done(&p.mounts);
		return r;
	}
	*ret = p.mounts;
	return p.is_bad;
}
