/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer, compressed or not, into a directory in memory, and what it inherits from a layer below:
 * without the room around it. Nothing beside the directory may be made or changed, the diff id is
 * that of the bytes, and a failure has its words.
 *
 * The first byte: bit 0, the checksums of tar headers are put right (no fuzzer finds one); bit 1,
 * there is a layer below.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>

#include "fuzz.h"
#include "launcher/unpack/layer.h"
#include "tar_sums.h"

#define TREE_FDS  16
#define IN_MEMORY "/dev/shm"

static const struct tl_layer_limits limits = { .max_bytes = 1 << 22, .max_entries = 64 };

/* What lies around the target: made once, and never to change. */
static struct world {
	char path[64];
	char target[80];
	int top, lower, home;
	struct stat canary, canary_dir;
} world;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void world_remove(void)
{
	nftw(world.path, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS);
}

static void file_make(int dirfd, const char *name)
{
	auto_close int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

	FUZZ_CHECK(fd >= 0 && write(fd, name, strlen(name)) == (ssize_t)strlen(name));
}

static void lower_make(int lower)
{
	FUZZ_CHECK(mkdirat(lower, "d", 02750) == 0 && mkdirat(lower, "d/e", 0711) == 0);
	FUZZ_CHECK(symlinkat("d", lower, "l") == 0 && symlinkat("/canary", lower, "a") == 0);
	FUZZ_CHECK(symlinkat("../canary", lower, "b") == 0 && symlinkat("c", lower, "c") == 0);
	file_make(lower, "f");
}

static void world_make(void)
{
	auto_close int canary = -1;

	snprintf(world.path, sizeof(world.path), "%s/fuzz-layer-XXXXXX",
		 access(IN_MEMORY, W_OK) == 0 ? IN_MEMORY : "/tmp");
	FUZZ_CHECK(mkdtemp(world.path) && atexit(world_remove) == 0);
	snprintf(world.target, sizeof(world.target), "%s/fs", world.path);
	world.home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.top = open(world.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(mkdirat(world.top, "canary", 0750) == 0 &&
		   mkdirat(world.top, "lower", 0755) == 0);
	canary = openat(world.top, "canary", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	file_make(canary, "file");
	world.lower = openat(world.top, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lower_make(world.lower);
	FUZZ_CHECK(fstatat(canary, "file", &world.canary, 0) == 0);
	FUZZ_CHECK(fstat(canary, &world.canary_dir) == 0);
}

static bool is_changed(const struct stat *before, const char *path)
{
	struct stat now;

	return fstatat(world.top, path, &now, AT_SYMLINK_NOFOLLOW) < 0 ||
	       now.st_mode != before->st_mode || now.st_ino != before->st_ino ||
	       now.st_nlink != before->st_nlink || now.st_uid != before->st_uid ||
	       now.st_ctim.tv_sec != before->st_ctim.tv_sec ||
	       now.st_ctim.tv_nsec != before->st_ctim.tv_nsec;
}

static size_t names_in(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	FUZZ_CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void world_check(void)
{
	FUZZ_CHECK(!is_changed(&world.canary, "canary/file"));
	FUZZ_CHECK(!is_changed(&world.canary_dir, "canary"));
	/* ".", "..", canary, lower, fs. */
	FUZZ_CHECK(names_in(world.path) == 5);
}

static int unpack(int from, int root, bool has_lower, struct tl_layer_facts *ret,
		  struct tl_unpack_fault *fault)
{
	auto_inflate struct tl_inflate *inflate = NULL;
	auto_tree struct tl_tree *tree = NULL;
	struct tl_error err = { 0 };
	int r;

	FUZZ_CHECK(tl_inflate_new(from, &inflate, &err) == 0);
	FUZZ_CHECK(tl_tree_open(&tree, root) == 0);
	r = tl_layer_extract(inflate, tree, &limits, ret, fault);
	if (r < 0)
		return r;
	FUZZ_CHECK(ret->bytes == tl_inflate_bytes_out(inflate));
	return tl_tree_inherit(tree, &world.lower, has_lower ? 1 : 0, fault);
}

static void result_check(int r, const struct tl_layer_facts *facts,
			 const struct tl_unpack_fault *fault, const uint8_t *data, size_t n)
{
	uint8_t digest[TL_LAYER_DIFF_ID_BYTES];

	if (r < 0) {
		FUZZ_CHECK(fault->why >= TL_UNPACK_BROKEN && fault->why <= TL_UNPACK_PROTOCOL);
		FUZZ_CHECK(fault->text[0] && memchr(fault->text, '\0', sizeof(fault->text)));
		for (const char *c = fault->text; *c; c++)
			FUZZ_CHECK(*c >= ' ' && *c <= '~');
		return;
	}
	FUZZ_CHECK(facts->entries <= limits.max_entries && facts->bytes <= limits.max_bytes);
	if (facts->bytes != n)
		return; /* it was compressed */
	FUZZ_CHECK(tl_digest(TL_SHA256, data, n, digest) == 0);
	FUZZ_CHECK(memcmp(digest, facts->diff_id, sizeof(digest)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free uint8_t *copy = malloc(size + 1);
	struct tl_unpack_fault fault = { 0 };
	struct tl_layer_facts facts = { 0 };
	auto_close int from = -1;
	auto_close int root = -1;
	mode_t mask;
	int r;

	if (size < 1)
		return 0;
	if (!world.path[0])
		world_make();
	FUZZ_CHECK(copy);
	memcpy(copy, data + 1, size - 1);
	if (data[0] & 1)
		tar_sums_set(copy, size - 1);
	from = memfd_create("layer", MFD_CLOEXEC);
	FUZZ_CHECK(from >= 0 && write(from, copy, size - 1) == (ssize_t)(size - 1));
	FUZZ_CHECK(lseek(from, 0, SEEK_SET) == 0 && mkdirat(world.top, "fs", 0755) == 0);
	root = openat(world.top, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(root >= 0);
	mask = umask(0);
	r = unpack(from, root, data[0] & 2, &facts, &fault);
	umask(mask);
	FUZZ_CHECK(fchdir(world.home) == 0);
	result_check(r, &facts, &fault, copy, size - 1);
	world_check();
	FUZZ_CHECK(nftw(world.target, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
