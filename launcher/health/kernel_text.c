/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

/* /proc/meminfo: KiB become bytes. */
#define KIB    1024
#define BLANKS " \t"
#define DIGITS "0123456789"
#define OUTSIDE                                                                                    \
	"/../" /* a path that leaves the root of our cgroup namespace: cgroup_namespaces(7) */

/* The decimal number after blanks at *@at, which then stands behind it. */
static int number_take(const char **at, uint64_t max, uint64_t *ret)
{
	const char *from = *at + strspn(*at, BLANKS);
	size_t n = strspn(from, DIGITS);
	char digits[24];

	if (n == 0 || n >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, from, n);
	digits[n] = '\0';
	if (tl_str_parse_u64(digits, max, ret) < 0)
		return -EINVAL;
	*at = from + n;
	return 0;
}

static const char *line_next(const char *line)
{
	line = strchr(line, '\n');
	return line ? line + 1 : NULL;
}

/* What follows @key, and one of @ends, at the beginning of some line; NULL: no such line. */
static const char *line_of(const char *text, const char *key, const char *ends)
{
	size_t n = strlen(key);

	for (const char *line = text; line; line = line_next(line))
		if (strncmp(line, key, n) == 0 && line[n] && strchr(ends, line[n]))
			return line + n + 1;
	return NULL;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

int kernel_memory_parse(const char *text, struct kernel_memory *ret)
{
	static const struct {
		const char *key;
		size_t offset;
	} rows[] = {
		{ "MemTotal", offsetof(struct kernel_memory, total) },
		{ "MemFree", offsetof(struct kernel_memory, free) },
		{ "Buffers", offsetof(struct kernel_memory, buffers) },
		{ "Cached", offsetof(struct kernel_memory, cached) },
		{ "Slab", offsetof(struct kernel_memory, slab) },
		{ "Dirty", offsetof(struct kernel_memory, dirty) },
		{ "Writeback", offsetof(struct kernel_memory, writeback) },
		{ "Active(anon)", offsetof(struct kernel_memory, anon_active) },
		{ "Inactive(anon)", offsetof(struct kernel_memory, anon_inactive) },
		{ "Active(file)", offsetof(struct kernel_memory, file_active) },
		{ "Inactive(file)", offsetof(struct kernel_memory, file_inactive) },
	};
	struct kernel_memory m = { 0 };

	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint64_t *field = (uint64_t *)((char *)&m + rows[i].offset);
		const char *at = line_of(text, rows[i].key, ":");

		if (!at || number_take(&at, UINT64_MAX / KIB, field) < 0 ||
		    strncmp(at, " kB\n", 4) != 0)
			return -EINVAL;
		*field *= KIB;
	}
	/* The kernel counts them one after the other, so they needn't fit. */
	m.used = less(less(less(less(m.total, m.free), m.buffers), m.cached), m.slab);
	*ret = m;
	return 0;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static int pressure_line(const char *line, uint64_t *ret)
{
	size_t n = strcspn(line, "\n");
	const char *at = memmem(line, n, " total=", strlen(" total="));

	if (!at)
		return -EINVAL;
	at += strlen(" total=");
	return number_take(&at, UINT64_MAX, ret) < 0 || (*at != '\n' && *at) ? -EINVAL : 0;
}

int kernel_pressure_parse(const char *text, struct kernel_pressure *ret)
{
	const char *some = line_of(text, "some", " "), *full = line_of(text, "full", " ");
	struct kernel_pressure p = { 0 };

	/* The blank in front of the first word is part of what is searched. */
	if (!some || pressure_line(some - 1, &p.some_us) < 0 ||
	    (full && pressure_line(full - 1, &p.full_us) < 0))
		return -EINVAL;
	*ret = p;
	return 0;
}

int kernel_cpu_parse(const char *text, uint64_t ret_ticks[KERNEL_CPU_STATES])
{
	uint64_t ticks[KERNEL_CPU_STATES] = { 0 };
	const char *at = text + strlen("cpu ");

	if (!tl_str_starts_with(text, "cpu "))
		return -EINVAL;
	for (size_t i = 0; i < KERNEL_CPU_STATES; i++)
		if (number_take(&at, UINT64_MAX, &ticks[i]) < 0)
			return -EINVAL;
	memcpy(ret_ticks, ticks, sizeof(ticks));
	return 0;
}

int kernel_hundredths_parse(const char *text, uint64_t *ret)
{
	uint64_t whole, part;
	const char *at = text;

	if (number_take(&at, UINT64_MAX / 100 - 1, &whole) < 0 || *at != '.')
		return -EINVAL;
	if (strspn(++at, DIGITS) != 2 || number_take(&at, 99, &part) < 0)
		return -EINVAL;
	*ret = whole * 100 + part;
	return 0;
}

static int disk_line(const char *at, struct kernel_disk *ret)
{
	uint64_t *const fields[] = {
		&ret->operations[0], &ret->merged[0],     &ret->sectors[0],
		&ret->time_ms[0],    &ret->operations[1], &ret->merged[1],
		&ret->sectors[1],    &ret->time_ms[1],    NULL, /* how many are under way */
		&ret->busy_ms,       &ret->weighted_ms,
	};
	uint64_t unused;
	size_t n;

	at += strspn(at, BLANKS);
	n = strcspn(at, BLANKS "\n");
	if (n == 0 || n >= sizeof(ret->name))
		return -EINVAL;
	memcpy(ret->name, at, n);
	ret->name[n] = '\0';
	at += n;
	for (size_t i = 0; i < TL_ARRAY_SIZE(fields); i++)
		if (number_take(&at, UINT64_MAX, fields[i] ? fields[i] : &unused) < 0)
			return -EINVAL;
	return 0;
}

int kernel_disk_parse(const char *text, uint32_t major, uint32_t minor, struct kernel_disk *ret)
{
	for (const char *line = text; line && *line; line = line_next(line)) {
		struct kernel_disk d = { 0 };
		const char *at = line;
		uint64_t numbers[2];

		if (number_take(&at, UINT32_MAX, &numbers[0]) < 0 ||
		    number_take(&at, UINT32_MAX, &numbers[1]) < 0)
			return -EINVAL;
		if (numbers[0] != major || numbers[1] != minor)
			continue;
		if (disk_line(at, &d) < 0)
			return -EINVAL;
		*ret = d;
		return 0;
	}
	return -ENOENT;
}

int kernel_number_parse(const char *text, uint64_t *ret)
{
	uint64_t number = UINT64_MAX;
	const char *at = text;

	if (strcmp(text, "max\n") != 0 &&
	    (number_take(&at, UINT64_MAX, &number) < 0 || strcmp(at, "\n") != 0))
		return -EINVAL;
	*ret = number;
	return 0;
}

int kernel_keyed_parse(const char *text, const char *key, uint64_t *ret)
{
	const char *at = line_of(text, key, " ");
	uint64_t number;

	if (!at)
		return -ENOENT;
	if (number_take(&at, UINT64_MAX, &number) < 0 || *at != '\n')
		return -EINVAL;
	*ret = number;
	return 0;
}

/* One of the words of a list, separated by commas. */
static bool has_controller(const char *list, size_t n, const char *controller)
{
	const char *end = list + n;

	for (const char *word = list; word <= end;) {
		const char *comma = memchr(word, ',', (size_t)(end - word));
		size_t word_n = (size_t)((comma ? comma : end) - word);

		if (word_n == strlen(controller) && strncmp(word, controller, word_n) == 0)
			return true;
		word += word_n + 1;
	}
	return false;
}

/* "NUMBER:CONTROLLERS:PATH" */
int kernel_cgroup_parse(const char *text, const char *controller, char *ret, size_t cap_bytes)
{
	for (const char *line = text; line && *line; line = line_next(line)) {
		const char *list = line + strspn(line, DIGITS);
		size_t list_n, path_n;

		if (list == line || *list != ':')
			return -EINVAL;
		list_n = strcspn(++list, ":\n");
		if (list[list_n] != ':')
			return -EINVAL;
		if (!has_controller(list, list_n, controller))
			continue;
		list += list_n + 1;
		path_n = strcspn(list, "\n");
		if (*list != '/' || path_n >= cap_bytes)
			return -EINVAL;
		if (strncmp(list, OUTSIDE, strlen(OUTSIDE)) == 0)
			return -ENOENT;
		memcpy(ret, list, path_n);
		ret[path_n] = '\0';
		return 0;
	}
	return -ENOENT;
}
