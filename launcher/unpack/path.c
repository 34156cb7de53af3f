/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"

#include <errno.h>
#include <string.h>

static bool is_part(const char *part, size_t n, const char *name)
{
	return n == strlen(name) && memcmp(part, name, n) == 0;
}

/* One part onto the @n bytes of @ret. Returns the new length or -ENAMETOOLONG. */
static int add_part(char *ret, size_t n, const char *part, size_t part_n)
{
	if (part_n == 0 || is_part(part, part_n, "."))
		return (int)n;
	if (is_part(part, part_n, "..")) {
		const char *slash = memrchr(ret, '/', n);

		return slash ? (int)(slash - ret) : 0;
	}
	if (n + 1 + part_n >= TL_PATH_CAP)
		return -ENAMETOOLONG;
	if (n > 0)
		ret[n++] = '/';
	memcpy(ret + n, part, part_n);
	return (int)(n + part_n);
}

static int add_parts(char *ret, size_t n, const char *raw)
{
	for (;;) {
		size_t part_n = strcspn(raw, "/");
		int r = add_part(ret, n, raw, part_n);

		if (r < 0)
			return r;
		n = (size_t)r;
		if (!raw[part_n])
			break;
		raw += part_n + 1;
	}
	ret[n] = '\0';
	return (int)n;
}

int tl_path_clean(const char *raw, char *ret)
{
	return add_parts(ret, 0, raw);
}

bool tl_path_goes_back(const char *target)
{
	bool was_name = false;

	while (*target) {
		size_t n = strcspn(target, "/");

		if (is_part(target, n, "..")) {
			if (was_name)
				return true;
		} else if (n > 0 && !is_part(target, n, ".")) {
			was_name = true;
		}
		target += n + (target[n] == '/');
	}
	return false;
}

int tl_path_follow(const char *path, size_t link_bytes, const char *target, char *ret,
		   size_t *ret_target_bytes)
{
	const char *slash = memrchr(path, '/', link_bytes);
	int n = 0;

	if (tl_path_goes_back(target))
		return -ELOOP;
	if (*target != '/' && slash) {
		n = (int)(slash - path);
		memcpy(ret, path, (size_t)n);
	}
	n = add_parts(ret, (size_t)n, target);
	if (n < 0)
		return n;
	*ret_target_bytes = (size_t)n;
	return add_parts(ret, (size_t)n, path + link_bytes);
}
