/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA256_Update() and not EVP: it needs nothing but itself of libcrypto, which is linked statically
 * here. With EVP comes a library of 4.5 MB, its configuration file and its providers: 3.5 MB more
 * of memory in each process, for the same code in the end.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "layer.h"

#include <errno.h>
#include <openssl/sha.h>

#include <teelaunch/cleanup.h>

struct stream {
	struct tl_inflate *inflate;
	struct tl_layer_limits limits;
	SHA256_CTX hash;
	uint64_t bytes;
};

static enum tl_unpack_why why_of(int r)
{
	switch (r) {
	case -EBADMSG:
		return TL_UNPACK_BROKEN;
	case -EOPNOTSUPP:
		return TL_UNPACK_UNSUPPORTED;
	default:
		return TL_UNPACK_IO;
	}
}

static int check_limits(const struct stream *s, struct tl_unpack_fault *fault)
{
	if (s->bytes > s->limits.max_bytes)
		return tl_unpack_fail(fault, TL_UNPACK_LIMIT, EFBIG,
				      "the layer is larger than %llu bytes",
				      (unsigned long long)s->limits.max_bytes);
	if (s->bytes > TL_LAYER_RATIO_FREE_BYTES &&
	    s->bytes / s->limits.max_ratio > tl_inflate_bytes_in(s->inflate))
		return tl_unpack_fail(fault, TL_UNPACK_LIMIT, EFBIG,
				      "the layer is more than %llu times its compressed size",
				      (unsigned long long)s->limits.max_ratio);
	return 0;
}

static ssize_t read_stream(void *ctx, const uint8_t **ret, struct tl_unpack_fault *fault)
{
	struct stream *s = ctx;
	struct tl_error err = { 0 };
	const void *piece;
	ssize_t n = tl_inflate_next(s->inflate, &piece, &err);
	int r;

	if (n < 0)
		return tl_unpack_fail(fault, why_of((int)n), (int)-n, "%s", err.msg);
	s->bytes += (uint64_t)n;
	r = check_limits(s, fault);
	if (r < 0)
		return r;
	if (SHA256_Update(&s->hash, piece, (size_t)n) != 1)
		return tl_unpack_fail(fault, TL_UNPACK_IO, EIO, "sha256");
	*ret = piece;
	return n;
}

static int add_entries(struct tl_tar *tar, struct tl_tree *tree, uint64_t max, uint64_t *ret_n,
		       struct tl_unpack_fault *fault)
{
	const struct tl_tar_entry *entry;
	uint64_t n = 0;
	int r;

	while ((r = tl_tar_next(tar, &entry, fault)) > 0) {
		if (++n > max)
			return tl_unpack_fail(fault, TL_UNPACK_LIMIT, E2BIG,
					      "the layer has more than %llu entries",
					      (unsigned long long)max);
		r = tl_tree_add(tree, entry, tar, fault);
		if (r < 0)
			return r;
	}
	*ret_n = n;
	return r;
}

static uint64_t limit(uint64_t wanted, uint64_t built_in)
{
	return wanted > 0 && wanted < built_in ? wanted : built_in;
}

int tl_layer_extract(struct tl_inflate *inflate, struct tl_tree *tree,
		     const struct tl_layer_limits *limits, struct tl_layer_facts *ret,
		     struct tl_unpack_fault *fault)
{
	struct stream stream = {
		.inflate = inflate,
		.limits = {
			.max_bytes = limit(limits->max_bytes, TL_LAYER_BYTES_MAX),
			.max_entries = limit(limits->max_entries, TL_LAYER_ENTRIES_MAX),
			.max_ratio = limit(limits->max_ratio, TL_LAYER_RATIO_MAX),
		},
	};
	struct tl_layer_facts facts;
	auto_tar struct tl_tar *tar = NULL;
	int r;

	if (SHA256_Init(&stream.hash) != 1)
		return tl_unpack_fail(fault, TL_UNPACK_IO, EIO, "sha256");
	r = tl_tar_open(&tar, (struct tl_tar_source){ .read = read_stream, .ctx = &stream });
	if (r < 0)
		return tl_unpack_fail_sys(fault, -r, "tar reader");
	r = add_entries(tar, tree, stream.limits.max_entries, &facts.entries, fault);
	if (r < 0)
		return r;
	r = tl_tree_end(tree, fault);
	if (r < 0)
		return r;
	r = tl_tar_drain(tar, fault);
	if (r < 0)
		return r;
	facts.bytes = stream.bytes;
	if (SHA256_Final(facts.diff_id, &stream.hash) != 1)
		return tl_unpack_fail(fault, TL_UNPACK_IO, EIO, "sha256");
	*ret = facts;
	return 0;
}
