/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>

#include "archive.h"
#include "launcher/unpack/layer.h"

#define FILES 5

static void archive_fill(struct tl_buf *a)
{
	static const char data[3000] = "data";
	char uid[8];
	char gid[8];

	(void)snprintf(uid, sizeof(uid), "%07o", geteuid());
	(void)snprintf(gid, sizeof(gid), "%07o", getegid());
	for (int i = 0; i < FILES; i++) {
		char name[] = "file0";

		name[4] = (char)('0' + i);
		entry_add(a, (struct header){ .name = name, .uid = uid, .gid = gid }, data,
			  sizeof(data));
	}
	end_add(a);
	assert_int_equal(tl_buf_append(a, "what follows", 12), 0);
}

/* The layer @a into a new directory. */
static int extract(const struct tl_buf *a, const struct tl_layer_limits *limits,
		   struct tl_layer_facts *ret, struct tl_unpack_fault *fault)
{
	char dir[] = "/tmp/test_layer.XXXXXX";
	auto_close int fd = memfd_create("layer", MFD_CLOEXEC);
	auto_close int root = -1;
	auto_inflate struct tl_inflate *inflate = NULL;
	auto_tree struct tl_tree *tree = NULL;
	struct tl_error err = { 0 };
	int r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, a->data, a->len_bytes), a->len_bytes);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_non_null(mkdtemp(dir));
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(tl_inflate_new(fd, &inflate, &err), 0);
	assert_int_equal(tl_tree_open(&tree, root), 0);
	r = tl_layer_extract(inflate, tree, limits, ret, fault);
	for (int i = 0; i < FILES; i++) {
		char name[] = "file0";

		name[4] = (char)('0' + i);
		(void)unlinkat(root, name, 0);
	}
	assert_int_equal(rmdir(dir), 0);
	return r;
}

static void a_layer_is_hashed_and_counted_to_its_end(void **state)
{
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;
	struct tl_layer_facts facts = { 0 };
	struct tl_unpack_fault fault = { 0 };
	uint8_t want[32];

	(void)state;
	archive_fill(&a);
	if (extract(&a, &(struct tl_layer_limits){ 0 }, &facts, &fault) < 0)
		fail_msg("%s", fault.text);
	assert_int_equal(facts.entries, FILES);
	assert_int_equal(facts.bytes, a.len_bytes);
	assert_int_equal(tl_digest(TL_SHA256, a.data, a.len_bytes, want), 0);
	assert_memory_equal(facts.diff_id, want, sizeof(want));
}

static void each_limit_ends_a_layer(void **state)
{
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;
	struct {
		struct tl_layer_limits limits;
		bool is_over;
	} rows[] = {
		{ { .max_entries = FILES - 1 }, true }, { { .max_entries = FILES }, false },
		{ { .max_bytes = 1 }, true },           { { .max_bytes = 1 }, false },
		{ { .max_ratio = 1 }, false }, /* it is small */
	};

	(void)state;
	archive_fill(&a);
	rows[2].limits.max_bytes = a.len_bytes - 1;
	rows[3].limits.max_bytes = a.len_bytes;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct tl_layer_facts facts = { .entries = 77 };
		struct tl_unpack_fault fault = { 0 };
		int r = extract(&a, &rows[i].limits, &facts, &fault);

		assert_int_equal(r < 0, rows[i].is_over);
		assert_int_equal(fault.why, rows[i].is_over ? TL_UNPACK_LIMIT : 0);
		assert_int_equal(facts.entries, rows[i].is_over ? 77 : FILES);
	}
}

static void a_stream_that_is_broken_says_so(void **state)
{
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;
	struct tl_layer_facts facts;
	struct tl_unpack_fault fault = { 0 };

	(void)state;
	assert_int_equal(tl_buf_append(&a, "\x1f\x8b\x08\0\0\0\0\0\0\0garbage", 17), 0);
	assert_true(extract(&a, &(struct tl_layer_limits){ 0 }, &facts, &fault) < 0);
	assert_int_equal(fault.why, TL_UNPACK_BROKEN);
	assert_int_equal(fault.error, EBADMSG);
}

static void a_fault_is_one_line_of_ascii_and_never_success(void **state)
{
	static const struct {
		int errnum;
		enum tl_unpack_why why;
	} rows[] = {
		{ ENOSPC, TL_UNPACK_NO_SPACE },   { EDQUOT, TL_UNPACK_NO_SPACE },
		{ EFBIG, TL_UNPACK_LIMIT },       { EIO, TL_UNPACK_IO },
		{ EPERM, TL_UNPACK_UNSUPPORTED }, { 0, TL_UNPACK_UNSUPPORTED },
	};
	struct tl_unpack_fault fault;

	(void)state;
	memset(&fault, 'x', sizeof(fault));
	assert_int_equal(tl_unpack_fail(&fault, TL_UNPACK_BROKEN, 0, "a\n\x1b[%s\xc3", "b"),
			 -EPROTO);
	assert_string_equal(fault.text, "a??[b?");
	assert_int_equal(fault.text[sizeof(fault.text) - 1], 0);
	assert_int_equal(tl_unpack_fail(&fault, TL_UNPACK_IO, EIO, "%0300d", 1), -EIO);
	assert_int_equal(strlen(fault.text), sizeof(fault.text) - 1);
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		assert_true(tl_unpack_fail_sys(&fault, rows[i].errnum, "x") < 0);
		assert_int_equal(fault.why, rows[i].why);
		assert_int_equal(fault.error, rows[i].errnum);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_layer_is_hashed_and_counted_to_its_end),
		cmocka_unit_test(each_limit_ends_a_layer),
		cmocka_unit_test(a_stream_that_is_broken_says_so),
		cmocka_unit_test(a_fault_is_one_line_of_ascii_and_never_success),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
