/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar archive in memory, entry by entry: each is within its bounds and has a clean path, and the
 * archive says the same in whatever pieces it comes.
 *
 * The first byte: bit 0, the checksums of headers are put right; the second: how large the pieces
 * are.
 */
#include <errno.h>
#include <sys/sysmacros.h>

#include <teelaunch/cleanup.h>

#include "launcher/unpack/tar.h"
#include "tar_sums.h"

#define FNV_START   UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME   UINT64_C(0x100000001b3)
#define ENTRIES_MAX 4096

struct source {
	const uint8_t *data;
	size_t n, at, piece;
};

struct outcome {
	int r;
	enum tl_unpack_why why;
	uint64_t hash;
	size_t entries;
};

static ssize_t source_read(void *ctx, const uint8_t **ret, struct tl_unpack_fault *fault)
{
	struct source *s = ctx;
	size_t n = s->n - s->at < s->piece ? s->n - s->at : s->piece;

	(void)fault;
	*ret = s->data + s->at;
	s->at += n;
	return (ssize_t)n;
}

static void hash_add(uint64_t *hash, const void *data, size_t n)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < n; i++)
		*hash = (*hash ^ at[i]) * FNV_PRIME;
}

static void hash_number(uint64_t *hash, uint64_t number)
{
	hash_add(hash, &number, sizeof(number));
}

static void entry_check(const struct tl_tar_entry *e)
{
	char again[TL_PATH_CAP];

	FUZZ_CHECK(e->type >= TL_TAR_FILE && e->type <= TL_TAR_FIFO);
	FUZZ_CHECK(!(e->mode & ~(mode_t)07777) && e->xattrs_n <= TL_PAX_XATTRS_MAX);
	FUZZ_CHECK(e->type == TL_TAR_FILE || !e->size_bytes);
	for (size_t i = 0; i < 2; i++)
		FUZZ_CHECK(e->times[i].tv_sec >= 0 && e->times[i].tv_nsec >= 0 &&
			   e->times[i].tv_nsec < 1000000000);
	FUZZ_CHECK(tl_path_clean(e->path, again) == (int)strlen(e->path));
	FUZZ_CHECK(strcmp(again, e->path) == 0 && e->path[0] != '/');
	FUZZ_CHECK(strcmp(e->path, "..") != 0 && strncmp(e->path, "../", 3) != 0);
	if (e->type == TL_TAR_SYMLINK || e->type == TL_TAR_HARD_LINK)
		FUZZ_CHECK(e->link && strlen(e->link) < TL_TAR_LINK_CAP);
}

static void entry_hash(const struct tl_tar_entry *e, uint64_t *hash)
{
	hash_number(hash, (uint64_t)e->type << 32 | e->mode);
	hash_number(hash, (uint64_t)e->uid << 32 | e->gid);
	hash_number(hash, e->size_bytes);
	for (size_t i = 0; i < 2; i++) {
		hash_number(hash, (uint64_t)e->times[i].tv_sec);
		hash_number(hash, (uint64_t)e->times[i].tv_nsec);
	}
	hash_add(hash, e->path, strlen(e->path) + 1);
	if (e->type == TL_TAR_SYMLINK || e->type == TL_TAR_HARD_LINK)
		hash_add(hash, e->link, strlen(e->link) + 1);
	if (e->type == TL_TAR_CHAR || e->type == TL_TAR_BLOCK)
		hash_number(hash, (uint64_t)major(e->device) << 32 | minor(e->device));
	for (size_t i = 0; i < e->xattrs_n; i++) {
		hash_add(hash, e->xattrs[i].name, strlen(e->xattrs[i].name) + 1);
		hash_add(hash, e->xattrs[i].value, e->xattrs[i].value_bytes);
		FUZZ_CHECK(e->xattrs[i].value[e->xattrs[i].value_bytes] == '\0');
	}
}

/* All of it, or, of every other entry, as much as the piece is. */
static int data_read(struct tl_tar *tar, const struct tl_tar_entry *e, struct outcome *o,
		     struct tl_unpack_fault *fault)
{
	const uint64_t size = e->size_bytes;
	const uint8_t *piece;
	uint64_t got = 0;
	ssize_t n;

	if (o->entries % 2)
		return 0; /* the next call skips it */
	while ((n = tl_tar_data(tar, &piece, fault)) > 0) {
		hash_add(&o->hash, piece, (size_t)n);
		got += (uint64_t)n;
		FUZZ_CHECK(got <= size);
	}
	FUZZ_CHECK(n < 0 || got == size);
	return (int)n;
}

static void archive_read(struct source source, struct outcome *o)
{
	const struct tl_tar_source from = { source_read, &source };
	struct tl_unpack_fault fault = { 0 };
	const struct tl_tar_entry *e;
	auto_tar struct tl_tar *tar = NULL;

	*o = (struct outcome){ .hash = FNV_START };
	FUZZ_CHECK(tl_tar_open(&tar, from) == 0);
	while (o->entries < ENTRIES_MAX && (o->r = tl_tar_next(tar, &e, &fault)) > 0) {
		o->entries++;
		entry_check(e);
		entry_hash(e, &o->hash);
		o->r = data_read(tar, e, o, &fault);
		if (o->r < 0)
			break;
	}
	if (o->r == 0)
		o->r = tl_tar_drain(tar, &fault);
	o->why = fault.why;
	FUZZ_CHECK((o->r < 0) == (fault.text[0] != '\0'));
	FUZZ_CHECK(o->r < 0 || source.at == source.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free uint8_t *copy = NULL;
	struct outcome whole, pieces;
	struct source source;

	if (size < 2)
		return 0;
	source = (struct source){ .n = size - 2, .piece = size };
	copy = malloc(source.n ? source.n : 1);
	FUZZ_CHECK(copy);
	memcpy(copy, data + 2, source.n);
	if (data[0] & 1)
		tar_sums_set(copy, source.n);
	source.data = copy;
	archive_read(source, &whole);
	source.piece = (size_t)data[1] + 1;
	archive_read(source, &pieces);
	FUZZ_CHECK(whole.r == pieces.r && whole.why == pieces.why);
	FUZZ_CHECK(whole.entries == pieces.entries && (whole.r < 0 || whole.hash == pieces.hash));
	return 0;
}
