/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs in containerd's content store (api/services/content/v1). Conventions: containerd.h.
 *
 * An ingest is a blob under way; its name is the caller's choice ("layer-sha256:...") and it
 * survives a lost connection and a restart of containerd, so that the next writer_open resumes it.
 * A lease keeps it from being collected: writers should be opened under one.
 */
#pragma once

#include "containerd.h"

#include <teelaunch/buf.h>

struct tl_ctrd_blob {
	char *digest;
	uint64_t size_bytes;
	struct tl_kvs labels;
};
void tl_ctrd_blob_done(struct tl_ctrd_blob *b);
#define auto_ctrd_blob __attribute__((cleanup(tl_ctrd_blob_done)))

/* A blob under way; one thread at a time. Holds at most two chunks of 1 MiB. */
struct tl_ctrd_writer;

/**
 * Open or resume ingest @ref.
 *
 * @call        its deadline and cancellation hold for the writer's whole life and @call->lease for
 *              what it writes; deadline at_ms 0 = never. Strings are copied, @cancel is borrowed.
 * @total_bytes size of the blob; 0 = not known
 * @expected    its digest ("sha256:..."), checked by containerd at commit
 * @ret_offset  how many bytes containerd has already: go on from there (0 = from the start)
 *
 * -EEXIST: the blob is there already, complete. -EAGAIN: another writer holds @ref.
 */
int tl_ctrd_writer_open(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *ref,
			uint64_t total_bytes, const char *expected, struct tl_ctrd_writer **ret,
			uint64_t *ret_offset, struct tl_error *err);
/** Append @n bytes of any number. Collects chunks of 1 MiB; waits for containerd's acknowledgement
 * of the chunk before. After a failure only close may follow. */
int tl_ctrd_writer_append(struct tl_ctrd_writer *w, const void *data, size_t n,
			  struct tl_error *err);
/** Wait until containerd has all that was appended. Before a close that another writer shall go on
 * from: without it up to two chunks are lost. After a failure only close may follow. */
int tl_ctrd_writer_flush(struct tl_ctrd_writer *w, struct tl_error *err);
/** Make it a blob with @labels (NULL = none; key and value together at most 4096 bytes). -EBADMSG,
 * code TL_E_CONTENT_DIGEST: the bytes are not those of the expected digest or size. -EEXIST:
 * somebody else was faster, which is as good. Only close may follow. */
int tl_ctrd_writer_commit(struct tl_ctrd_writer *w, const struct tl_kvs *labels,
			  struct tl_error *err);
/** Without a commit the ingest stays and can be resumed. NULL is fine; always returns NULL. */
struct tl_ctrd_writer *tl_ctrd_writer_close(struct tl_ctrd_writer *w);
static inline void tl_ctrd_writer_closep(struct tl_ctrd_writer **w)
{
	*w = tl_ctrd_writer_close(*w);
}
#define auto_ctrd_writer __attribute__((cleanup(tl_ctrd_writer_closep)))

/** Throw away ingest @ref; -ENOENT if there is none. */
int tl_ctrd_ingest_abort(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *ref,
			 struct tl_error *err);
/** Names of all ingests that start with @prefix, added to @ret. */
int tl_ctrd_ingest_list(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *prefix,
			struct tl_strv *ret, struct tl_error *err);

/** Write a whole small blob (manifest, config). A blob that is there already gets @labels added. */
int tl_ctrd_blob_put(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *ref,
		     const void *data, size_t n, const char *digest, const struct tl_kvs *labels,
		     struct tl_error *err);
/** Append the blob to @ret, whose maximum bounds it (-EFBIG), and verify its digest (-EBADMSG).
 * @ret is unchanged on failure. */
int tl_ctrd_blob_read(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
		      struct tl_buf *ret, struct tl_error *err);
int tl_ctrd_blob_info(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
		      struct tl_ctrd_blob *ret, struct tl_error *err);
/** Set one label; "" removes it. Other labels stay. */
int tl_ctrd_blob_label(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
		       const char *key, const char *value, struct tl_error *err);
int tl_ctrd_blob_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
			struct tl_error *err);
