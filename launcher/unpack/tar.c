/* SPDX-License-Identifier: Apache-2.0 */
#include "tar.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "tar_header.h"

/* The kernel's own widths of a device number (MAJOR and MINOR of a 32-bit dev_t). */
#define DEVICE_MAJOR_MAX 0xfff
#define DEVICE_MINOR_MAX 0xfffff

/* go: math.MaxInt64 nanoseconds; containerd sets what is later to 1970. */
#define TIME_S_MAX  INT64_C(9223372036)
#define TIME_NS_MAX INT64_C(854775807)

struct long_string {
	size_t n; /* 0: none */
	char text[TL_TAR_LINK_CAP];
};

struct tl_tar {
	struct tl_tar_source source;
	const uint8_t *at; /* what is left of the source's piece */
	size_t left;
	bool is_end;        /* of the source */
	uint64_t data_left; /* of the entry */
	size_t padding;     /* behind it, to a block's end */
	uint8_t block[TL_TAR_BLOCK_BYTES];
	struct tl_tar_header header;
	struct tl_pax pax;
	struct long_string name; /* GNU's */
	struct long_string link;
	char path[TL_PATH_CAP];
	struct tl_tar_entry entry;
	/* Not cleared, and touched as far as they are needed. What a pax header said is borrowed
	 * from the first. */
	char records[TL_TAR_SPECIAL_BYTES_MAX + 1];
	char string[TL_TAR_SPECIAL_BYTES_MAX + 1];
};

int tl_tar_open(struct tl_tar **ret, struct tl_tar_source source)
{
	struct tl_tar *tar = malloc(sizeof(*tar));

	if (!tar)
		return -ENOMEM;
	memset(tar, 0, offsetof(struct tl_tar, records));
	tar->source = source;
	*ret = tar;
	return 0;
}

struct tl_tar *tl_tar_close(struct tl_tar *tar)
{
	free(tar);
	return NULL;
}

/* Makes sure that a byte is there. 1, 0 at the source's end, or negative. */
static int fill(struct tl_tar *tar, struct tl_unpack_fault *fault)
{
	ssize_t n;

	if (tar->left > 0)
		return 1;
	if (tar->is_end)
		return 0;
	n = tar->source.read(tar->source.ctx, &tar->at, fault);
	if (n < 0)
		return (int)n;
	tar->left = (size_t)n;
	tar->is_end = n == 0;
	return n > 0;
}

static size_t consume(struct tl_tar *tar, uint64_t n)
{
	size_t part = n < tar->left ? (size_t)n : tar->left;

	tar->at += part;
	tar->left -= part;
	return part;
}

static int cut(struct tl_unpack_fault *fault)
{
	return tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0, "the archive ends within an entry");
}

/* Copies up to @n bytes. Returns how many there were before the end, or negative. */
static ssize_t copy(struct tl_tar *tar, void *to, size_t n, struct tl_unpack_fault *fault)
{
	size_t done = 0;

	while (done < n) {
		const uint8_t *from;
		size_t part;
		int r = fill(tar, fault);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		from = tar->at;
		part = consume(tar, n - done);
		memcpy((uint8_t *)to + done, from, part);
		done += part;
	}
	return (ssize_t)done;
}

/* Skips @n bytes. Returns how many there were not, at the end, or negative. */
static int64_t skip(struct tl_tar *tar, uint64_t n, struct tl_unpack_fault *fault)
{
	while (n > 0) {
		int r = fill(tar, fault);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		n -= consume(tar, n);
	}
	return (int64_t)n;
}

static bool is_zero(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, TL_TAR_BLOCK_BYTES - 1) == 0;
}

/* 1 and a block in tar->block or in the source's piece, 0 at the end, or negative. A part of a
 * block is an archive that was cut. */
static int read_block(struct tl_tar *tar, const uint8_t **ret, struct tl_unpack_fault *fault)
{
	ssize_t n;

	if (tar->left >= TL_TAR_BLOCK_BYTES) {
		*ret = tar->at;
		consume(tar, TL_TAR_BLOCK_BYTES);
		return 1;
	}
	n = copy(tar, tar->block, TL_TAR_BLOCK_BYTES, fault);
	if (n <= 0)
		return (int)n;
	*ret = tar->block;
	return n == TL_TAR_BLOCK_BYTES ? 1 : cut(fault);
}

/* The next header that isn't the archive's end: 1, 0, or negative. */
static int read_header(struct tl_tar *tar, struct tl_unpack_fault *fault)
{
	const uint8_t *block;
	int r = read_block(tar, &block, fault);

	if (r <= 0)
		return r;
	if (!is_zero(block)) {
		r = tl_tar_header_read(block, &tar->header, fault);
		return r < 0 ? r : 1;
	}
	/* The archive's end is two such blocks, or one and nothing else. */
	r = read_block(tar, &block, fault);
	if (r <= 0)
		return r;
	return is_zero(block) ? 0
			      : tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0,
					       "a block of zeroes within the archive");
}

static bool has_no_data(char type)
{
	return type && strchr("123456", type);
}

static int set_data(struct tl_tar *tar, char type, int64_t size, struct tl_unpack_fault *fault)
{
	if (has_no_data(type))
		size = 0;
	if (size < 0)
		return tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0, "an entry's size is negative");
	tar->data_left = (uint64_t)size;
	tar->padding = (size_t)(-(uint64_t)size & (TL_TAR_BLOCK_BYTES - 1));
	return 0;
}

/* To the next header. 1, 0 at the end, or negative. Padding may be cut, data not. */
static int skip_rest(struct tl_tar *tar, struct tl_unpack_fault *fault)
{
	int64_t r = skip(tar, tar->data_left, fault);

	if (r < 0)
		return (int)r;
	if (r > 0)
		return cut(fault);
	r = skip(tar, tar->padding, fault);
	tar->data_left = 0;
	tar->padding = 0;
	return r < 0 ? (int)r : r == 0;
}

/* All data of an entry that is about the next one, terminated. */
static ssize_t read_special(struct tl_tar *tar, char ret[static TL_TAR_SPECIAL_BYTES_MAX + 1],
			    struct tl_unpack_fault *fault)
{
	size_t n = (size_t)tar->data_left;
	ssize_t got;

	if (tar->data_left > TL_TAR_SPECIAL_BYTES_MAX)
		return tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0,
				      "a header's extension is longer than a mebibyte");
	got = copy(tar, ret, n, fault);
	if (got < 0)
		return got;
	if ((size_t)got < n)
		return cut(fault);
	tar->data_left = 0;
	ret[n] = '\0';
	return got;
}

static int read_long_string(struct tl_tar *tar, struct long_string *ret,
			    struct tl_unpack_fault *fault)
{
	ssize_t r = read_special(tar, tar->string, fault);
	size_t n;

	if (r < 0)
		return (int)r;
	n = strlen(tar->string);
	if (n >= sizeof(ret->text))
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, ENAMETOOLONG,
				      "a name too long");
	memcpy(ret->text, tar->string, n + 1);
	ret->n = n;
	return 0;
}

static int read_pax(struct tl_tar *tar, struct tl_unpack_fault *fault)
{
	ssize_t n = read_special(tar, tar->records, fault);

	return n < 0 ? (int)n : tl_pax_read(tar->records, (size_t)n, &tar->pax, fault);
}

static void forget_pax(struct tl_pax *pax)
{
	memset(pax->values, 0, sizeof(pax->values));
	pax->xattrs_n = 0;
}

/* The numbers of a pax header into the block header's fields. */
static int apply_pax(const struct tl_pax *pax, struct tl_tar_header *h,
		     struct tl_unpack_fault *fault)
{
	struct tl_pax_time ctime;
	const struct {
		const char *value;
		int64_t *number;
		struct tl_pax_time *time;
	} fields[] = {
		{ pax->values[TL_PAX_UID], &h->uid, NULL },
		{ pax->values[TL_PAX_GID], &h->gid, NULL },
		{ pax->values[TL_PAX_SIZE], &h->size, NULL },
		{ pax->values[TL_PAX_ATIME], NULL, &h->atime },
		{ pax->values[TL_PAX_CTIME], NULL, &ctime },
		{ pax->values[TL_PAX_MTIME], NULL, &h->mtime },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		int r = 0;

		if (!fields[i].value)
			continue;
		r = fields[i].number ? tl_pax_number(fields[i].value, fields[i].number)
				     : tl_pax_time(fields[i].value, fields[i].time);
		if (r < 0)
			return tl_unpack_fail(
				fault, r == -ERANGE ? TL_UNPACK_UNSUPPORTED : TL_UNPACK_BROKEN, 0,
				"a number in a pax record that is none: '%s'", fields[i].value);
	}
	h->has_atime = h->has_atime || pax->values[TL_PAX_ATIME];
	return 0;
}

/* containerd's bounds: what is before 1970 or beyond int64_t nanoseconds becomes 1970. */
static struct timespec bound(struct tl_pax_time t)
{
	if (t.s < 0 || t.s > TIME_S_MAX || (t.s == TIME_S_MAX && t.ns > TIME_NS_MAX))
		return (struct timespec){ 0 };
	return (struct timespec){ .tv_sec = t.s, .tv_nsec = t.ns };
}

static bool is_before(struct tl_pax_time a, struct tl_pax_time b)
{
	return a.s != b.s ? a.s < b.s : a.ns < b.ns;
}

static void set_times(const struct tl_tar_header *h, struct timespec ret[static 2])
{
	struct tl_pax_time access = h->mtime;

	if (h->has_atime && is_before(h->mtime, h->atime))
		access = h->atime;
	ret[0] = bound(access);
	ret[1] = bound(h->mtime);
}

static int set_owner(const struct tl_tar_header *h, struct tl_tar_entry *ret,
		     struct tl_unpack_fault *fault)
{
	/* The last number means "leave it" to the kernel. */
	if (h->uid < 0 || h->uid >= UINT32_MAX || h->gid < 0 || h->gid >= UINT32_MAX)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0, "an owner that is none");
	ret->uid = (uid_t)h->uid;
	ret->gid = (gid_t)h->gid;
	return 0;
}

static int set_device(const struct tl_tar_header *h, struct tl_tar_entry *ret,
		      struct tl_unpack_fault *fault)
{
	if (h->major < 0 || h->major > DEVICE_MAJOR_MAX || h->minor < 0 ||
	    h->minor > DEVICE_MINOR_MAX)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0, "a device that is none");
	ret->device = makedev((unsigned int)h->major, (unsigned int)h->minor);
	return 0;
}

/* GNU's long name counts before pax's, and that before the header's own. */
static const char *choose(const struct long_string *gnu, const char *pax, const char *own)
{
	if (gnu->n > 0)
		return gnu->text;
	return pax ? pax : own;
}

static int set_names(struct tl_tar *tar, struct tl_tar_entry *ret, struct tl_unpack_fault *fault)
{
	const char *name = choose(&tar->name, tar->pax.values[TL_PAX_PATH], tar->header.name);
	size_t n = strlen(name);
	int r = tl_path_clean(name, tar->path);

	/* V7 had no type for directories. */
	if (tar->header.type == '\0')
		tar->header.type = n > 0 && name[n - 1] == '/' ? TL_TAR_DIRECTORY : TL_TAR_FILE;
	ret->path = tar->path;
	ret->link = choose(&tar->link, tar->pax.values[TL_PAX_LINKPATH], tar->header.link);
	if (r < 0 || strlen(ret->link) >= TL_TAR_LINK_CAP)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, ENAMETOOLONG,
				      "a name too long");
	return 0;
}

static int finish_entry(struct tl_tar *tar, struct tl_unpack_fault *fault)
{
	const struct tl_tar_header *h = &tar->header;
	struct tl_tar_entry *e = &tar->entry;
	int r = apply_pax(&tar->pax, &tar->header, fault);

	if (r < 0)
		return r;
	r = set_names(tar, e, fault);
	if (r < 0)
		return r;
	if (h->type < '0' || h->type > '6')
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0, "an entry of type '%c'",
				      h->type);
	e->type = (enum tl_tar_type)h->type;
	r = set_data(tar, h->type, h->size, fault);
	if (r < 0)
		return r;
	r = set_owner(h, e, fault);
	if (r < 0)
		return r;
	e->size_bytes = tar->data_left;
	e->mode = (mode_t)(h->mode & 07777);
	e->xattrs = tar->pax.xattrs;
	e->xattrs_n = tar->pax.xattrs_n;
	set_times(h, e->times);
	if (e->type == TL_TAR_CHAR || e->type == TL_TAR_BLOCK)
		return set_device(h, e, fault);
	return 0;
}

int tl_tar_next(struct tl_tar *tar, const struct tl_tar_entry **ret, struct tl_unpack_fault *fault)
{
	int r;

	forget_pax(&tar->pax);
	tar->name.n = 0;
	tar->link.n = 0;
	for (;;) {
		r = skip_rest(tar, fault);
		if (r <= 0)
			return r;
		r = read_header(tar, fault);
		if (r <= 0)
			return r;
		r = set_data(tar, tar->header.type, tar->header.size, fault);
		if (r < 0)
			return r;
		if (tar->header.type == 'x')
			r = read_pax(tar, fault);
		else if (tar->header.type == 'L')
			r = read_long_string(tar, &tar->name, fault);
		else if (tar->header.type == 'K')
			r = read_long_string(tar, &tar->link, fault);
		else
			break;
		if (r < 0)
			return r;
	}
	r = finish_entry(tar, fault);
	if (r < 0)
		return r;
	*ret = &tar->entry;
	return 1;
}

ssize_t tl_tar_data(struct tl_tar *tar, const uint8_t **ret, struct tl_unpack_fault *fault)
{
	size_t n;
	int r;

	if (tar->data_left == 0)
		return 0;
	r = fill(tar, fault);
	if (r < 0)
		return r;
	if (r == 0)
		return cut(fault);
	*ret = tar->at;
	n = consume(tar, tar->data_left);
	tar->data_left -= n;
	return (ssize_t)n;
}

int tl_tar_drain(struct tl_tar *tar, struct tl_unpack_fault *fault)
{
	int r;

	for (;;) {
		r = fill(tar, fault);
		if (r <= 0)
			return r;
		consume(tar, tar->left);
	}
}
