/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#include "launcher/unpack/inflate.h"

#define LIMIT ((size_t)64 << 20)

/* --- making -------------------------------------------------------------------------------- */

/* Text that deflates well, with stretches that don't. */
static void content_make(struct tl_buf *ret, size_t n)
{
	uint32_t x = 4711;

	tl_buf_init(ret, LIMIT);
	for (size_t i = 0; i < n; i++) {
		const char text = "layers "[i % 7];

		x = x * 1664525 + 1013904223;
		assert_int_equal(tl_buf_append_u8(ret, i % 40000 < 9000 ? (uint8_t)(x >> 24)
									: (uint8_t)text),
				 0);
	}
}

static void gzip_add(struct tl_buf *ret, const void *data, size_t n, int level)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)data, .avail_in = (uInt)n };
	auto_free uint8_t *out = malloc(n + n / 100 + 1024);

	assert_non_null(out);
	z.next_out = out;
	z.avail_out = (uInt)(n + n / 100 + 1024);
	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(tl_buf_append(ret, out, z.total_out), 0);
	deflateEnd(&z);
}

static void zstd_add(struct tl_buf *ret, const void *data, size_t n, int window_log)
{
	const size_t room = ZSTD_compressBound(n) + 64;
	auto_free uint8_t *out = malloc(room);
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_outBuffer to = { out, room, 0 };
	ZSTD_inBuffer from = { data, n, 0 };

	assert_non_null(out);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	/* In a stream the size isn't known beforehand, so that the window is what was asked for. */
	from.size = n / 2;
	assert_false(ZSTD_isError(ZSTD_compressStream2(c, &to, &from, ZSTD_e_continue)));
	from.size = n;
	assert_int_equal(ZSTD_compressStream2(c, &to, &from, ZSTD_e_end), 0);
	assert_int_equal(tl_buf_append(ret, out, to.pos), 0);
	ZSTD_freeCCtx(c);
}

/* --- reading ------------------------------------------------------------------------------- */

struct sender {
	const struct tl_buf *data;
	size_t chunk;
	int fd;
};

static void *send_all(void *arg)
{
	const struct sender *s = arg;

	for (size_t at = 0; at < s->data->len_bytes;) {
		const size_t left = s->data->len_bytes - at;
		const ssize_t n =
			write(s->fd, s->data->data + at, left < s->chunk ? left : s->chunk);

		if (n < 0)
			break; /* the reader has given up */
		at += (size_t)n;
	}
	close(s->fd);
	return NULL;
}

/* All that comes out of @data, which arrives in pieces of @chunk bytes; or the error. */
static int inflate_all(const struct tl_buf *data, size_t chunk, struct tl_buf *ret,
		       const char **ret_format, struct tl_error *err)
{
	int ends[2];
	struct sender sender = { .data = data, .chunk = chunk };
	auto_inflate struct tl_inflate *z = NULL;
	const void *block;
	pthread_t thread;
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	sender.fd = ends[1];
	assert_int_equal(pthread_create(&thread, NULL, send_all, &sender), 0);
	tl_buf_init(ret, LIMIT);
	assert_int_equal(tl_inflate_new(ends[0], &z, err), 0);
	while ((n = tl_inflate_next(z, &block, err)) > 0) {
		assert_true((size_t)n <= TL_INFLATE_OUT_BYTES);
		assert_int_equal(tl_buf_append(ret, block, (size_t)n), 0);
	}
	close(ends[0]);
	pthread_join(thread, NULL);
	if (n == 0) {
		assert_int_equal(tl_inflate_bytes_in(z), data->len_bytes);
		assert_int_equal(tl_inflate_bytes_out(z), ret->len_bytes);
		assert_int_equal(tl_inflate_next(z, &block, err), 0);
	}
	if (ret_format)
		*ret_format = tl_inflate_format(z);
	return (int)n;
}

static void assert_inflates(const struct tl_buf *data, const struct tl_buf *want,
			    const char *want_format)
{
	static const size_t chunks[] = { 1, 7, 4096, 1 << 20 };

	for (size_t i = data->len_bytes > 300000; i < TL_ARRAY_SIZE(chunks); i++) {
		auto_buf struct tl_buf got = { 0 };
		struct tl_error err = { 0 };
		const char *format = NULL;

		assert_int_equal(inflate_all(data, chunks[i], &got, &format, &err), 0);
		assert_string_equal(format, want_format);
		assert_int_equal(got.len_bytes, want->len_bytes);
		if (want->len_bytes)
			assert_memory_equal(got.data, want->data, want->len_bytes);
	}
}

static void assert_broken(const struct tl_buf *data, int want)
{
	auto_buf struct tl_buf got = { 0 };
	struct tl_error err = { 0 };

	assert_int_equal(inflate_all(data, 4096, &got, NULL, &err), want);
	assert_int_equal(err.code, TL_E_UNPACK);
	assert_true(err.msg[0] != '\0');
}

/* --- tests --------------------------------------------------------------------------------- */

static const size_t sizes[] = { 0, 1, 1000, TL_INFLATE_OUT_BYTES, 3000001 };

static void what_was_compressed_comes_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(sizes); i++) {
		auto_buf struct tl_buf content = { 0 };

		content_make(&content, sizes[i]);
		for (int level = 0; level <= 9; level += 3) {
			auto_buf struct tl_buf gzip = { 0 };

			tl_buf_init(&gzip, LIMIT);
			gzip_add(&gzip, content.data, content.len_bytes, level);
			assert_inflates(&gzip, &content, "gzip");
		}
		for (int log = 10; log <= TL_INFLATE_WINDOW_LOG_MAX; log += 13) {
			auto_buf struct tl_buf zstd = { 0 };

			tl_buf_init(&zstd, LIMIT);
			zstd_add(&zstd, content.data, content.len_bytes, log);
			assert_inflates(&zstd, &content, "zstd");
		}
		assert_inflates(&content, &content, "none");
	}
}

/* Beginnings of the magic numbers, too: they are archives, if bad ones. */
static void what_is_not_compressed_stays_as_it_is(void **state)
{
	static const char *const texts[] = { "",
					     "\x1f",
					     "\x1f\x8b",
					     "\x28\xb5\x2f",
					     "\x28\xb5\x2f x",
					     "\x1f\x8b\x07 not deflate",
					     "\x50\x2a\x4d\x18 x" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++) {
		auto_buf struct tl_buf text = { 0 };

		tl_buf_init(&text, LIMIT);
		assert_int_equal(tl_buf_append_str(&text, texts[i]), 0);
		assert_inflates(&text, &text, "none");
	}
}

static void members_and_frames_may_follow_one_another(void **state)
{
	static const uint8_t skippable[] = { 0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };
	auto_buf struct tl_buf content = { 0 }, gzip = { 0 }, zstd = { 0 }, all = { 0 };

	(void)state;
	content_make(&content, 5000);
	tl_buf_init(&gzip, LIMIT);
	tl_buf_init(&zstd, LIMIT);
	tl_buf_init(&all, LIMIT);
	assert_int_equal(tl_buf_append(&zstd, skippable, sizeof(skippable)), 0);
	/* As the layers of "seekable" formats, which begin a member for each piece. */
	for (size_t i = 0; i < 200; i++) {
		const size_t n = i % 5 ? 100 * i % 5000 : 0;

		gzip_add(&gzip, content.data, n, 6);
		zstd_add(&zstd, content.data, n, 15);
		assert_int_equal(tl_buf_append(&all, content.data, n), 0);
	}
	assert_int_equal(tl_buf_append(&zstd, skippable, sizeof(skippable)), 0);
	assert_inflates(&gzip, &all, "gzip");
	assert_inflates(&zstd, &all, "zstd");
}

/* At its first byte, and where the buffer ends. */
static void a_members_header_may_come_in_pieces(void **state)
{
	auto_buf struct tl_buf data = { 0 }, want = { 0 };
	static uint8_t extra[3000];
	gz_header head = { .extra = extra,
			   .extra_len = sizeof(extra),
			   .hcrc = 1,
			   .name = (Bytef *)(uintptr_t) "name",
			   .comment = (Bytef *)(uintptr_t) "" };

	(void)state;
	content_make(&want, 60000);
	tl_buf_init(&data, LIMIT);
	for (size_t i = 0; i < want.len_bytes; i += 20000) {
		z_stream z = { .next_in = want.data + i, .avail_in = 20000 };
		uint8_t out[32768];

		z.next_out = out;
		z.avail_out = sizeof(out);
		assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
				 Z_OK);
		assert_int_equal(deflateSetHeader(&z, &head), Z_OK);
		assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
		assert_int_equal(tl_buf_append(&data, out, z.total_out), 0);
		deflateEnd(&z);
	}
	assert_inflates(&data, &want, "gzip");
}

static void nothing_may_follow_the_last(void **state)
{
	static const char *const tails[] = { "x", "\x1f", "\x1f\x8b",
					     "\x1f\x8b\x08 no deflate here",
					     "garbage that is longer than a header is" };

	(void)state;
	for (size_t i = 0; i <= TL_ARRAY_SIZE(tails); i++)
		for (int is_zstd = 0; is_zstd < 2; is_zstd++) {
			auto_buf struct tl_buf data = { 0 };

			tl_buf_init(&data, LIMIT);
			(is_zstd ? zstd_add : gzip_add)(&data, "content", 7, is_zstd ? 15 : 6);
			/* The last one: zeros, which tar would let pass. */
			if (i < TL_ARRAY_SIZE(tails))
				assert_int_equal(tl_buf_append_str(&data, tails[i]), 0);
			for (int n = 0; i == TL_ARRAY_SIZE(tails) && n < 512; n++)
				assert_int_equal(tl_buf_append_u8(&data, 0), 0);
			assert_broken(&data, -EBADMSG);
		}
}

static void each_cut_and_each_changed_byte_is_noticed(void **state)
{
	(void)state;
	for (int is_zstd = 0; is_zstd < 2; is_zstd++) {
		auto_buf struct tl_buf content = { 0 }, data = { 0 };
		int unnoticed = 0;

		content_make(&content, 400);
		tl_buf_init(&data, LIMIT);
		(is_zstd ? zstd_add : gzip_add)(&data, content.data, content.len_bytes,
						is_zstd ? 15 : 6);
		for (size_t i = 4; i < data.len_bytes; i++) {
			const struct tl_buf cut = { .data = data.data, .len_bytes = i };

			assert_broken(&cut, -EBADMSG);
		}
		/* What is behind the magic number. Bits that say nothing (a date, padding before
		 * the checksum) may change if the content doesn't. */
		for (size_t i = 4; i < data.len_bytes; i++) {
			auto_buf struct tl_buf got = { 0 };
			struct tl_error err = { 0 };

			data.data[i] ^= 0x10;
			if (inflate_all(&data, 4096, &got, NULL, &err) == 0) {
				unnoticed++;
				assert_true(is_zstd || i + 8 < data.len_bytes); /* CRC, size */
				assert_int_equal(got.len_bytes, content.len_bytes);
				assert_memory_equal(got.data, content.data, got.len_bytes);
			}
			data.data[i] ^= 0x10;
		}
		assert_true(unnoticed < 10);
	}
}

static void a_window_above_the_limit_is_for_somebody_else(void **state)
{
	auto_buf struct tl_buf content = { 0 }, data = { 0 };

	(void)state;
	content_make(&content, 1000);
	tl_buf_init(&data, LIMIT);
	zstd_add(&data, content.data, content.len_bytes, TL_INFLATE_WINDOW_LOG_MAX + 1);
	assert_broken(&data, -EOPNOTSUPP);
}

static void a_read_that_fails_is_not_the_layers_fault(void **state)
{
	auto_inflate struct tl_inflate *z = NULL;
	struct tl_error err = { 0 };
	const void *block;

	(void)state;
	assert_int_equal(tl_inflate_new(-1, &z, &err), 0);
	assert_int_equal(tl_inflate_next(z, &block, &err), -EBADF);
	assert_int_equal(err.code, TL_E_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_compressed_comes_back),
		cmocka_unit_test(what_is_not_compressed_stays_as_it_is),
		cmocka_unit_test(members_and_frames_may_follow_one_another),
		cmocka_unit_test(a_members_header_may_come_in_pieces),
		cmocka_unit_test(nothing_may_follow_the_last),
		cmocka_unit_test(each_cut_and_each_changed_byte_is_noticed),
		cmocka_unit_test(a_window_above_the_limit_is_for_somebody_else),
		cmocka_unit_test(a_read_that_fails_is_not_the_layers_fault),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
