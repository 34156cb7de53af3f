/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "archive.h"

/* Sizes of the source's pieces: headers and data lie in one, or across several. */
static const size_t pieces[] = { 0, 1, 511, 512, 513, 1500 };

/* What is checked of an entry, copied. */
struct seen {
	char path[512];
	char link[512];
	char data[2048];
	size_t data_n;
	struct tl_tar_entry entry;
};

static int read_data(struct tl_tar *tar, struct seen *s, struct tl_unpack_fault *fault)
{
	const uint8_t *data;
	ssize_t n;

	s->data_n = 0;
	while ((n = tl_tar_data(tar, &data, fault)) > 0) {
		assert_true(s->data_n + (size_t)n <= sizeof(s->data));
		memcpy(s->data + s->data_n, data, (size_t)n);
		s->data_n += (size_t)n;
	}
	return (int)n;
}

/* All of an archive. Returns entries, or a negative errno. */
static int read_all(const struct tl_buf *a, size_t piece, struct seen *seen, size_t max,
		    struct tl_unpack_fault *fault)
{
	struct pieces source = { .a = a, .piece_bytes = piece };
	auto_tar struct tl_tar *tar = NULL;
	const struct tl_tar_entry *e = NULL;
	size_t n = 0;
	int r;

	assert_int_equal(tl_tar_open(&tar, (struct tl_tar_source){ pieces_read, &source }), 0);
	while ((r = tl_tar_next(tar, &e, fault)) > 0) {
		assert_true(n < max);
		(void)snprintf(seen[n].path, sizeof(seen[n].path), "%s", e->path);
		(void)snprintf(seen[n].link, sizeof(seen[n].link), "%s", e->link);
		seen[n].entry = *e;
		r = read_data(tar, &seen[n], fault);
		if (r < 0)
			return r;
		n++;
	}
	if (r == 0)
		r = tl_tar_drain(tar, fault);
	if (r == 0)
		assert_int_equal(source.at, a->len_bytes);
	return r < 0 ? r : (int)n;
}

/* The archive's one entry. */
static struct seen read_one(const struct tl_buf *a)
{
	struct seen seen[2];
	struct tl_unpack_fault fault = { 0 };

	assert_int_equal(read_all(a, 0, seen, 2, &fault), 1);
	return seen[0];
}

static void assert_fault(const struct tl_buf *a, enum tl_unpack_why why)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(pieces); i++) {
		struct seen seen[4];
		struct tl_unpack_fault fault = { 0 };

		assert_true(read_all(a, pieces[i], seen, 4, &fault) < 0);
		assert_int_equal(fault.why, why);
		assert_true(fault.text[0] != '\0');
	}
}

static void an_entry_is_read_whatever_the_pieces(void **state)
{
	static const char data[1300] = { [0] = 'a', [511] = 'b', [512] = 'c', [1299] = 'z' };
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	entry_add(&a,
		  (struct header){
			  .name = "one", .mode = "0004755", .uid = "0000012", .gid = "0001750" },
		  data, sizeof(data));
	header_add(&a, &(struct header){ .name = "dir/", .type = '5' });
	entry_add(&a, (struct header){ .name = "dir/two" }, data, 512);
	end_add(&a);
	for (size_t i = 0; i < TL_ARRAY_SIZE(pieces); i++) {
		struct seen seen[4];
		struct tl_unpack_fault fault = { 0 };

		assert_int_equal(read_all(&a, pieces[i], seen, 4, &fault), 3);
		assert_string_equal(seen[0].path, "one");
		assert_int_equal(seen[0].entry.mode, 04755);
		assert_int_equal(seen[0].entry.uid, 10);
		assert_int_equal(seen[0].entry.gid, 1000);
		assert_int_equal(seen[0].entry.times[0].tv_sec, 07346545000);
		assert_int_equal(seen[0].data_n, sizeof(data));
		assert_memory_equal(seen[0].data, data, sizeof(data));
		assert_string_equal(seen[1].path, "dir");
		assert_int_equal(seen[1].entry.type, TL_TAR_DIRECTORY);
		assert_int_equal(seen[2].data_n, 512);
	}
}

/* PAX record of a text. */
#define PAX(text) pax_add(&a, text, sizeof(text) - 1)

static void the_name_comes_from_where_go_takes_it(void **state)
{
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	header_add(&a, &(struct header){ .name = "name", .prefix = "pre/fix" });
	assert_string_equal(read_one(&a).path, "pre/fix/name");
	tl_buf_reset(&a);
	PAX("12 path=pax\n");
	header_add(&a, &(struct header){ .name = "name", .prefix = "pre" });
	assert_string_equal(read_one(&a).path, "pax");
	tl_buf_reset(&a);
	/* GNU's counts more, in whichever order. */
	entry_add(&a, (struct header){ .name = "L", .type = 'L' }, "gnu/long", 9);
	entry_add(&a, (struct header){ .name = "K", .type = 'K' }, "to", 3);
	PAX("12 path=pax\n16 linkpath=pax\n");
	header_add(&a, &(struct header){ .name = "name", .type = '2', .link = "own" });
	assert_string_equal(read_one(&a).path, "gnu/long");
	assert_string_equal(read_one(&a).link, "to");
	tl_buf_reset(&a);
	/* An empty record leaves the header's; GNU's headers have no prefix. */
	PAX("8 path=\n");
	header_add(&a, &(struct header){ .name = "name", .magic = "ustar  ", .prefix = "" });
	assert_string_equal(read_one(&a).path, "name");
}

static void the_last_record_counts_and_the_last_header(void **state)
{
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;
	struct seen s;

	(void)state;
	PAX("9 gid=77\n");
	PAX("9 uid=1x\n9 uid=22\n10 path=a\n10 path=b\n");
	header_add(&a, &(struct header){ .name = "name", .gid = "0000005" });
	s = read_one(&a);
	assert_string_equal(s.path, "b");
	assert_int_equal(s.entry.uid, 22);
	assert_int_equal(s.entry.gid, 5);
}

static void attributes_are_bytes_each_name_once(void **state)
{
	struct tl_unpack_fault fault = { 0 };
	auto_tar struct tl_tar *tar = NULL;
	const struct tl_tar_entry *e = NULL;
	struct pieces source;
	auto_buf struct tl_buf records = ARCHIVE_EMPTY;
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	record_add(&records, "SCHILY.xattr.user.a", "x", 1);
	record_add(&records, "SCHILY.xattr.user.b", "\0=\n\xff", 4);
	record_add(&records, "SCHILY.xattr.user.a", "", 0);
	pax_add(&a, (const char *)records.data, records.len_bytes);
	header_add(&a, &(struct header){ .name = "f" });
	source = (struct pieces){ .a = &a };
	assert_int_equal(tl_tar_open(&tar, (struct tl_tar_source){ pieces_read, &source }), 0);
	assert_int_equal(tl_tar_next(tar, &e, &fault), 1);
	assert_int_equal(e->xattrs_n, 2);
	assert_string_equal(e->xattrs[0].name, "user.a");
	assert_int_equal(e->xattrs[0].value_bytes, 0);
	assert_string_equal(e->xattrs[1].name, "user.b");
	assert_int_equal(e->xattrs[1].value_bytes, 4);
	assert_memory_equal(e->xattrs[1].value, "\0=\n\xff", 4);
}

static void records_that_are_none_break_the_archive(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		enum tl_unpack_why why;
	} rows[] = {
#define ROW(text, why) { text, sizeof(text) - 1, why }
		ROW("x", TL_UNPACK_BROKEN),
		ROW("12 path=paxx", TL_UNPACK_BROKEN),
		ROW("13 path=pax\n", TL_UNPACK_BROKEN),
		ROW("11 path=pax\n", TL_UNPACK_BROKEN),
		ROW("-12 path=pax\n", TL_UNPACK_BROKEN),
		ROW("99999999999999999999 a=b\n", TL_UNPACK_BROKEN),
		ROW("4 a=", TL_UNPACK_BROKEN),
		ROW("3 \n", TL_UNPACK_BROKEN),
		ROW("6 =ab\n", TL_UNPACK_BROKEN),
		ROW("7 abcd\n", TL_UNPACK_BROKEN),
		ROW("8 a\0b=c\n", TL_UNPACK_BROKEN),
		ROW("12 path=p\0x\n", TL_UNPACK_BROKEN),
		ROW("13 uname=p\0x\n", TL_UNPACK_BROKEN),
		ROW("8 uid=x\n", TL_UNPACK_BROKEN),
		ROW("11 size=-1\n", TL_UNPACK_BROKEN),
		ROW("12 mtime=.5\n", TL_UNPACK_BROKEN),
		ROW("13 ctime=1.x\n", TL_UNPACK_BROKEN),
		ROW("9 uid=-1\n", TL_UNPACK_UNSUPPORTED),
		ROW("18 gid=4294967295\n", TL_UNPACK_UNSUPPORTED),
		ROW("29 mtime=9000000000000000000\n", TL_UNPACK_UNSUPPORTED),
		ROW("22 GNU.sparse.major=1\n", TL_UNPACK_UNSUPPORTED),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;

		pax_add(&a, rows[i].text, rows[i].n);
		header_add(&a, &(struct header){ .name = "f" });
		end_add(&a);
		assert_fault(&a, rows[i].why);
	}
}

static void too_many_attributes_are_unsupported(void **state)
{
	auto_buf struct tl_buf records = ARCHIVE_EMPTY;
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	for (int i = 0; i < TL_PAX_XATTRS_MAX; i++) {
		char name[40];

		(void)snprintf(name, sizeof(name), "SCHILY.xattr.user.%d", i);
		record_add(&records, name, "", 0);
	}
	pax_add(&a, (const char *)records.data, records.len_bytes);
	header_add(&a, &(struct header){ .name = "f" });
	assert_int_equal(read_one(&a).entry.xattrs_n, TL_PAX_XATTRS_MAX);
	record_add(&records, "SCHILY.xattr.user.more", "", 0);
	tl_buf_reset(&a);
	pax_add(&a, (const char *)records.data, records.len_bytes);
	header_add(&a, &(struct header){ .name = "f" });
	assert_fault(&a, TL_UNPACK_UNSUPPORTED);
}

static void times_are_bounded_as_containerd_bounds_them(void **state)
{
	static const struct {
		const char *mtime;
		const char *atime; /* NULL: none */
		struct timespec want[2];
	} rows[] = {
		{ "1.5", NULL, { { 1, 500000000 }, { 1, 500000000 } } },
		{ "1.1234567891", "2", { { 2, 0 }, { 1, 123456789 } } },
		{ "3", "2", { { 3, 0 }, { 3, 0 } } },
		{ "-1", NULL, { { 0, 0 }, { 0, 0 } } },
		{ "-0.5", "7", { { 7, 0 }, { 0, 0 } } },
		{ "5", "-7.5", { { 5, 0 }, { 5, 0 } } },
		{ "9223372036.854775807",
		  NULL,
		  { { 9223372036, 854775807 }, { 9223372036, 854775807 } } },
		{ "9223372036.854775808", NULL, { { 0, 0 }, { 0, 0 } } },
		{ "5", "9223372037", { { 0, 0 }, { 5, 0 } } },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_buf struct tl_buf records = ARCHIVE_EMPTY;
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;
		struct seen s;

		record_add(&records, "mtime", rows[i].mtime, strlen(rows[i].mtime));
		if (rows[i].atime)
			record_add(&records, "atime", rows[i].atime, strlen(rows[i].atime));
		pax_add(&a, (const char *)records.data, records.len_bytes);
		header_add(&a, &(struct header){ .name = "f" });
		s = read_one(&a);
		assert_memory_equal(s.entry.times, rows[i].want, sizeof(rows[i].want));
	}
}

static void numbers_are_octal_or_binary(void **state)
{
	static const struct {
		const char *uid; /* 8 bytes */
		int want;        /* -1: BROKEN, -2: UNSUPPORTED */
	} rows[] = {
		{ "0000017\0", 15 },
		{ " 17 \0\0\0\0", 15 },
		{ "\0\0"
		  "17\0\0\0",
		  15 },
		{ "\0\0\0\0\0\0\0\0", 0 },
		{ "12\0xxxxx", 10 },
		{ "00000008", -1 },
		{ "1 2\0\0\0\0\0", -1 },
		{ "+0000017", -1 },
		{ "\x80\0\0\0\0\0\x12\x34", 0x1234 },
		{ "\x80\0\0\x01\0\0\0\0", -2 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xfe", -2 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t block[BLOCK];
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;

		header_fill(&(struct header){ .name = "f" }, block);
		memcpy(block + 108, rows[i].uid, 8);
		checksum_set(block);
		data_add(&a, block, BLOCK);
		if (rows[i].want < 0)
			assert_fault(&a,
				     rows[i].want == -1 ? TL_UNPACK_BROKEN : TL_UNPACK_UNSUPPORTED);
		else
			assert_int_equal(read_one(&a).entry.uid, rows[i].want);
	}
}

static void a_size_too_large_for_its_number_is_broken(void **state)
{
	static const struct {
		const char *size; /* 12 bytes */
	} rows[] = {
		{ "\x80\0\0\x01\0\0\0\0\0\0\0\0" },
		{ "\x80\0\0\0\xff\0\0\0\0\0\0\0" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t block[BLOCK];
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;

		header_fill(&(struct header){ .name = "f" }, block);
		memcpy(block + 124, rows[i].size, 12);
		checksum_set(block);
		data_add(&a, block, BLOCK);
		assert_fault(&a, TL_UNPACK_BROKEN);
	}
}

static void a_checksum_may_be_of_signed_bytes_but_must_be_right(void **state)
{
	uint8_t block[BLOCK];
	char text[12];
	int sum = 0;
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	header_fill(&(struct header){ .name = "\xff\xfe" }, block);
	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (int8_t)block[i];
	(void)snprintf(text, sizeof(text), "%06o", (unsigned int)sum);
	memcpy(block + 148, text, 7);
	data_add(&a, block, BLOCK);
	assert_string_equal(read_one(&a).path, "\xff\xfe");
	tl_buf_reset(&a);
	block[0] = 'x';
	data_add(&a, block, BLOCK);
	assert_fault(&a, TL_UNPACK_BROKEN);
}

static void a_type_is_read_as_go_reads_it(void **state)
{
	static const struct {
		const char *name;
		const char *magic;
		enum tl_tar_type want;
		char type; /* 1 stands for NUL */
	} rows[] = {
		{ "f", NULL, TL_TAR_FILE, '0' },
		{ "f/", NULL, TL_TAR_FILE, '0' },
		{ "f", "\0\0\0\0\0\0\0", TL_TAR_FILE, 1 },
		{ "f/", "\0\0\0\0\0\0\0", TL_TAR_DIRECTORY, 1 },
		{ "f", NULL, TL_TAR_HARD_LINK, '1' },
		{ "f", NULL, TL_TAR_SYMLINK, '2' },
		{ "f", "ustar  ", TL_TAR_CHAR, '3' },
		{ "f", NULL, TL_TAR_BLOCK, '4' },
		{ "f", NULL, TL_TAR_DIRECTORY, '5' },
		{ "f", NULL, TL_TAR_FIFO, '6' },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t block[BLOCK];
		struct seen s;
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;

		header_fill(&(struct header){ .name = rows[i].name,
					      .type = rows[i].type,
					      .magic = rows[i].magic,
					      .link = "to",
					      .major = "0000010",
					      .minor = "0000377" },
			    block);
		if (rows[i].type == 1)
			block[156] = '\0';
		checksum_set(block);
		data_add(&a, block, BLOCK);
		s = read_one(&a);
		assert_int_equal(s.entry.type, rows[i].want);
		assert_string_equal(s.path, "f");
		if (s.entry.type == TL_TAR_CHAR || s.entry.type == TL_TAR_BLOCK)
			assert_int_equal(s.entry.device, makedev(8, 255));
	}
}

static void only_files_have_data(void **state)
{
	struct seen seen[4];
	struct tl_unpack_fault fault = { 0 };
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	for (int type = '1'; type <= '3'; type++)
		header_add(&a,
			   &(struct header){
				   .name = "f", .type = (char)type, .size = "777", .link = "to" });
	assert_int_equal(read_all(&a, 0, seen, 4, &fault), 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(seen[i].data_n, 0);
}

static void what_go_knows_and_we_do_not_is_unsupported(void **state)
{
	static const char types[] = "gS7VDMNAz";

	(void)state;
	for (size_t i = 0; i < strlen(types); i++) {
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;

		header_add(&a, &(struct header){ .name = "f", .type = types[i] });
		assert_fault(&a, TL_UNPACK_UNSUPPORTED);
	}
}

static void other_formats_are_unsupported(void **state)
{
	static const struct {
		size_t at;
		const char *text;
		const char *magic;
	} rows[] = {
		{ 508, "tar", NULL },        /* star's */
		{ 345, "pre/x", "ustar  " }, /* GNU's access time: no number */
		{ 357, "pre/x", "ustar  " },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t block[BLOCK];
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;

		header_fill(&(struct header){ .name = "f", .magic = rows[i].magic }, block);
		memcpy(block + rows[i].at, rows[i].text, strlen(rows[i].text));
		checksum_set(block);
		data_add(&a, block, BLOCK);
		assert_fault(&a, TL_UNPACK_UNSUPPORTED);
	}
}

static void gnu_headers_have_an_access_time(void **state)
{
	uint8_t block[BLOCK];
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	header_fill(&(struct header){ .name = "f", .magic = "ustar  ", .mtime = "00000000010" },
		    block);
	memcpy(block + 345, "00000000020", 12);
	checksum_set(block);
	data_add(&a, block, BLOCK);
	assert_int_equal(read_one(&a).entry.times[0].tv_sec, 020);
	assert_int_equal(read_one(&a).entry.times[1].tv_sec, 010);
}

/* The archive's first @n bytes of a file with 700 bytes, its padding, and the end. */
static void an_archive_ends_where_go_lets_it_end(void **state)
{
	static const struct {
		size_t n;
		int want; /* entries, or -1: BROKEN */
	} rows[] = {
		{ 0, 0 },     { 1, -1 },   { 511, -1 },  { 512, -1 }, { 1211, -1 },
		{ 1212, 1 },  { 1213, 1 }, { 1535, 1 },  { 1536, 1 }, { 1537, -1 },
		{ 2047, -1 }, { 2048, 1 }, { 2049, -1 }, { 2560, 1 }, { 2999, 1 },
	};
	static const char data[700];

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct seen seen[2];
		struct tl_unpack_fault fault = { 0 };
		auto_buf struct tl_buf a = ARCHIVE_EMPTY;

		entry_add(&a, (struct header){ .name = "f" }, data, sizeof(data));
		end_add(&a);
		data_add(&a, "anything", 8);
		assert_true(rows[i].n <= a.len_bytes);
		a.len_bytes = rows[i].n;
		if (rows[i].want < 0)
			assert_fault(&a, TL_UNPACK_BROKEN);
		else
			assert_int_equal(read_all(&a, 100, seen, 2, &fault), rows[i].want);
	}
}

static void a_block_of_zeroes_within_is_broken(void **state)
{
	static const uint8_t zeroes[BLOCK];
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	data_add(&a, zeroes, BLOCK);
	header_add(&a, &(struct header){ .name = "f" });
	assert_fault(&a, TL_UNPACK_BROKEN);
}

static void special_data_has_a_limit(void **state)
{
	static char data[TL_TAR_SPECIAL_BYTES_MAX + 1];
	auto_buf struct tl_buf a = ARCHIVE_EMPTY;

	(void)state;
	memset(data, 'a', sizeof(data));
	entry_add(&a, (struct header){ .name = "x", .type = 'x' }, data, sizeof(data));
	assert_fault(&a, TL_UNPACK_BROKEN);
	tl_buf_reset(&a);
	entry_add(&a, (struct header){ .name = "x", .type = 'L' }, data, TL_TAR_LINK_CAP);
	assert_fault(&a, TL_UNPACK_UNSUPPORTED);
	/* As long as it may be, but no path. */
	tl_buf_reset(&a);
	entry_add(&a, (struct header){ .name = "x", .type = 'L' }, data, TL_TAR_LINK_CAP - 1);
	header_add(&a, &(struct header){ .name = "f" });
	assert_fault(&a, TL_UNPACK_UNSUPPORTED);
	/* The rest of a record is cut off. */
	tl_buf_reset(&a);
	entry_add(&a, (struct header){ .name = "x", .type = 'x' }, data, 600);
	a.len_bytes = 1000;
	assert_fault(&a, TL_UNPACK_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_is_read_whatever_the_pieces),
		cmocka_unit_test(the_name_comes_from_where_go_takes_it),
		cmocka_unit_test(the_last_record_counts_and_the_last_header),
		cmocka_unit_test(attributes_are_bytes_each_name_once),
		cmocka_unit_test(records_that_are_none_break_the_archive),
		cmocka_unit_test(too_many_attributes_are_unsupported),
		cmocka_unit_test(times_are_bounded_as_containerd_bounds_them),
		cmocka_unit_test(numbers_are_octal_or_binary),
		cmocka_unit_test(a_size_too_large_for_its_number_is_broken),
		cmocka_unit_test(a_checksum_may_be_of_signed_bytes_but_must_be_right),
		cmocka_unit_test(a_type_is_read_as_go_reads_it),
		cmocka_unit_test(only_files_have_data),
		cmocka_unit_test(what_go_knows_and_we_do_not_is_unsupported),
		cmocka_unit_test(other_formats_are_unsupported),
		cmocka_unit_test(gnu_headers_have_an_access_time),
		cmocka_unit_test(an_archive_ends_where_go_lets_it_end),
		cmocka_unit_test(a_block_of_zeroes_within_is_broken),
		cmocka_unit_test(special_data_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
