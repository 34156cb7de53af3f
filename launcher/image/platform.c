/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#include "manifest.h"

/* Room for the list of platforms in an error message. */
#define PLATFORMS_TEXT_MAX 200

/* Better is smaller. */
enum rank {
	RANK_OWN,
	RANK_COMPATIBLE,
	RANK_UNNAMED,
	RANK_NEVER,
};

/* Names in use beside OCI's (Go's GOARCH), and the variant that is each architecture's plain one:
 * containerd's platforms package treats them as the same. */
static const struct {
	const char *alias, *architecture;
} architectures[] = {
	{ "x86_64", "amd64" },
	{ "x86-64", "amd64" },
	{ "i386", "386" },
	{ "aarch64", "arm64" },
};

static const struct {
	const char *architecture, *variant;
} variants_plain[] = {
	{ "amd64", "v1" },
	{ "arm64", "v8" },
	{ "arm64", "8" },
};

static const char *architecture_normalize(const char *name)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(architectures); i++)
		if (strcasecmp(name, architectures[i].alias) == 0)
			return architectures[i].architecture;
	return name;
}

static bool variant_is_plain(const char *architecture, const char *variant)
{
	if (!*variant)
		return true;
	for (size_t i = 0; i < TL_ARRAY_SIZE(variants_plain); i++)
		if (strcasecmp(architecture, variants_plain[i].architecture) == 0 &&
		    strcasecmp(variant, variants_plain[i].variant) == 0)
			return true;
	return false;
}

static enum rank platform_rank(const char *os, const char *arch, const char *variant,
			       const char *architecture)
{
	const char *normal = architecture_normalize(arch);

	if (strcasecmp(os, "linux") != 0 || !variant_is_plain(normal, variant))
		return RANK_NEVER;
	if (strcasecmp(normal, architecture) == 0)
		return RANK_OWN;
	if (strcmp(architecture, "amd64") == 0 && strcasecmp(normal, "386") == 0)
		return RANK_COMPATIBLE;
	return RANK_NEVER;
}

bool platform_matches(const char *os, const char *arch, const char *variant,
		      const char *architecture)
{
	return platform_rank(os, arch, variant, architecture) != RANK_NEVER;
}

static enum rank entry_rank(const struct index_entry *e, const char *architecture)
{
	const struct platform *p = &e->platform;

	/* An entry may be an index again, or an artifact; only manifests can be run. */
	if (media_kind_of(e->descriptor.media_type) != MEDIA_MANIFEST)
		return RANK_NEVER;
	if (!e->has_platform)
		return RANK_UNNAMED;
	return platform_rank(p->os, p->architecture, p->variant, architecture);
}

static int no_entry(const struct manifest *m, const char *architecture, struct tl_error *err)
{
	auto_buf struct tl_buf list = { 0 };

	tl_buf_init(&list, PLATFORMS_TEXT_MAX);
	for (size_t i = 0; i < m->entries_n; i++) {
		const struct platform *p = &m->entries[i].platform;

		if (!m->entries[i].has_platform || strcmp(p->os, "unknown") == 0)
			continue;
		if (tl_buf_printf(&list, "%s%s/%s%s%s", list.len_bytes ? ", " : "", p->os,
				  p->architecture, *p->variant ? "/" : "", p->variant) < 0)
			break;
	}
	return tl_fail(err, TL_E_IMAGE_PLATFORM, ENOENT,
		       "the image's index has no entry for linux/%s; it has: %s", architecture,
		       list.len_bytes ? tl_buf_str(&list) : "none that names a platform");
}

int manifest_choose(const struct manifest *m, const char *architecture, size_t *ret,
		    struct tl_error *err)
{
	enum rank best = RANK_NEVER;
	size_t at = 0;

	for (size_t i = 0; i < m->entries_n; i++) {
		enum rank rank = entry_rank(&m->entries[i], architecture);

		if (rank < best) {
			best = rank;
			at = i;
		}
	}
	if (best == RANK_NEVER)
		return no_entry(m, architecture, err);
	*ret = at;
	return 0;
}
