/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer_driver SOCKET: containerd's own unpacking of single layers, for tests.
 *
 * Each line of standard input is one layer: NAME, PARENT ("-" = none), MEDIA-TYPE and FILE with a
 * space between them. It goes into the content store, is applied to a snapshot on top of PARENT and
 * committed as NAME. The answer is one line: "ok DIR DIFF-ID", DIR holding what this layer alone
 * made, or "no MESSAGE". The end of input removes all that was made.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/file.h>

#include "launcher/containerd/content.h"

#define LEASE           "layer-driver"
#define LAYER_BYTES_MAX ((size_t)1 << 30)
#define LINE_BYTES_MAX  4096

struct request {
	const char *name, *parent, *media_type, *file;
};

static const struct tl_ctrd_call call = { .lease = LEASE };

/* The layer's bytes as a blob; @ret names it. */
static int layer_put(struct tl_ctrd *c, const struct request *q, struct tl_ctrd_descriptor *ret,
		     struct tl_error *err)
{
	auto_buf struct tl_buf b = { 0 };
	auto_ctrd_writer struct tl_ctrd_writer *w = NULL;
	struct tl_digest_text digest;
	uint64_t offset;
	int r;

	tl_buf_init(&b, LAYER_BYTES_MAX);
	r = tl_file_read(q->file, &b, err);
	if (r == 0)
		r = tl_digest_text_of(b.data, b.len_bytes, &digest);
	if (r < 0)
		return r;
	ret->media_type = strdup(q->media_type);
	ret->digest = strdup(digest.text);
	ret->size_bytes = b.len_bytes;
	r = tl_ctrd_writer_open(c, &call, q->name, b.len_bytes, digest.text, &w, &offset, err);
	if (r == 0)
		r = tl_ctrd_writer_append(w, b.data, b.len_bytes, err);
	if (r == 0)
		r = tl_ctrd_writer_commit(w, NULL, err);
	return r == -EEXIST ? 0 : r;
}

/* Where the snapshot's own files are. */
static const char *upper_of(const struct tl_ctrd_mounts *mounts)
{
	static const char key[] = "upperdir=";
	const struct tl_ctrd_mount *m = mounts->items;

	for (size_t i = 0; i < m->options.n; i++)
		if (strncmp(m->options.items[i], key, strlen(key)) == 0)
			return m->options.items[i] + strlen(key);
	return m->source;
}

static int layer_apply(struct tl_ctrd *c, const struct request *q, struct tl_error *err)
{
	auto_ctrd_descriptor struct tl_ctrd_descriptor layer = { 0 };
	auto_ctrd_mounts struct tl_ctrd_mounts mounts = { 0 };
	auto_free char *diff_id = NULL;
	auto_free char *key = NULL;
	int r = layer_put(c, q, &layer, err);

	if (r == 0 && asprintf(&key, "active-%s", q->name) < 0)
		r = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a name");
	if (r == 0)
		r = tl_ctrd_snapshot_prepare(c, &call, key, q->parent, &mounts, err);
	if (r < 0)
		return r;
	r = tl_ctrd_diff_apply(c, &call, &layer, &mounts, &diff_id, err);
	if (r == 0)
		r = tl_ctrd_snapshot_commit(c, &call, q->name, key, NULL, err);
	if (r < 0) {
		struct tl_error ignored = { 0 };

		tl_ctrd_snapshot_remove(c, &call, key, &ignored);
		return r;
	}
	printf("ok %s %s\n", upper_of(&mounts), diff_id);
	return 0;
}

static bool request_parse(char *line, struct request *ret)
{
	char *save = NULL;

	ret->name = strtok_r(line, " \n", &save);
	ret->parent = strtok_r(NULL, " \n", &save);
	ret->media_type = strtok_r(NULL, " \n", &save);
	ret->file = strtok_r(NULL, " \n", &save);
	if (!ret->file)
		return false;
	if (strcmp(ret->parent, "-") == 0)
		ret->parent = "";
	return true;
}

int main(int argc, char **argv)
{
	auto_ctrd struct tl_ctrd *c = NULL;
	struct tl_error err = { 0 };
	struct request q;
	char line[LINE_BYTES_MAX];
	int r = argc == 2 ? tl_ctrd_open(argv[1], "layers", &c, &err) : -EINVAL;

	if (r == 0)
		r = tl_ctrd_namespace_ensure(c, &call, &err);
	if (r == 0)
		r = tl_ctrd_lease_create(c, NULL, LEASE, 3600, &err);
	while (r == 0 && fgets(line, sizeof(line), stdin)) {
		if (!request_parse(line, &q))
			r = tl_fail(&err, TL_E_USAGE, EINVAL, "NAME PARENT MEDIA-TYPE FILE");
		else if (layer_apply(c, &q, &err) < 0)
			printf("no %s\n", err.msg);
		fflush(stdout);
	}
	if (r == 0)
		r = tl_ctrd_lease_delete(c, NULL, LEASE, true, &err);
	if (r < 0)
		fprintf(stderr, "layer_driver: %s\n", err.msg);
	return r < 0;
}
