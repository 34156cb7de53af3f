/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of containerd, in HTTP/2 that is as it should be: what the typed calls make of them.
 *
 * The first byte chooses the call, the second the status (gRPC's number); then messages, each with
 * two bytes of length before it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>

#include "launcher/containerd/content.h"
#include "launcher/containerd/task.h"
#include "wire.h"

#define INPUT_MAX    (16 * 1024)
#define STATUSES     18
#define MESSAGES_MAX 8
#define BLOB_MAX     1024
#define PREFIX       "tl"

static const char digest[] = /* of "abc" */
	"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static int fuzz_version(struct tl_ctrd *c, struct tl_error *err)
{
	auto_free char *text = NULL;
	int r = tl_ctrd_version(c, NULL, &text, err);

	FUZZ_CHECK((r == 0) == (text != NULL));
	return r;
}

static int fuzz_namespace(struct tl_ctrd *c, struct tl_error *err)
{
	return tl_ctrd_namespace_ensure(c, NULL, err);
}

/* What is listed begins as asked; a failure adds nothing. */
static int list_check(int r, struct tl_strv *list)
{
	FUZZ_CHECK(r == 0 || !list->n);
	for (size_t i = 0; i < list->n; i++)
		FUZZ_CHECK(strncmp(list->items[i], PREFIX, strlen(PREFIX)) == 0);
	tl_strv_done(list);
	return r;
}

static int fuzz_leases(struct tl_ctrd *c, struct tl_error *err)
{
	struct tl_strv list = { 0 };
	int r = tl_ctrd_lease_list(c, NULL, PREFIX, &list, err);

	return list_check(r, &list);
}

static int fuzz_snapshots(struct tl_ctrd *c, struct tl_error *err)
{
	struct tl_strv list = { 0 };
	int r = tl_ctrd_snapshot_list(c, NULL, PREFIX, &list, err);

	return list_check(r, &list);
}

static int fuzz_ingests(struct tl_ctrd *c, struct tl_error *err)
{
	struct tl_strv list = { 0 };
	int r = tl_ctrd_ingest_list(c, NULL, PREFIX, &list, err);

	return list_check(r, &list);
}

static int fuzz_image(struct tl_ctrd *c, struct tl_error *err)
{
	auto_ctrd_descriptor struct tl_ctrd_descriptor d = { 0 };
	int r = tl_ctrd_image_get(c, NULL, "i", &d, err);

	FUZZ_CHECK(r == 0 ? d.media_type && d.digest && d.size_bytes <= INT64_MAX
			  : !d.media_type && !d.digest);
	return r;
}

static int fuzz_snapshot(struct tl_ctrd *c, struct tl_error *err)
{
	enum tl_ctrd_snapshot_kind kind = TL_CTRD_SNAPSHOT_UNKNOWN;
	struct tl_kvs labels = { 0 };
	auto_free char *parent = NULL;
	int r = tl_ctrd_snapshot_stat(c, NULL, "s", &kind, &parent, &labels, err);

	FUZZ_CHECK(r == 0 ? parent != NULL : !parent && !labels.n);
	for (size_t i = 0; i < labels.n; i++)
		FUZZ_CHECK(labels.items[i].key && labels.items[i].value);
	tl_kvs_done(&labels);
	return r;
}

static int fuzz_mounts(struct tl_ctrd *c, struct tl_error *err)
{
	auto_ctrd_mounts struct tl_ctrd_mounts m = { 0 };
	int r = tl_ctrd_snapshot_prepare(c, NULL, "s", "", &m, err);

	FUZZ_CHECK(r == 0 || (!m.items && !m.n));
	for (size_t i = 0; i < m.n; i++)
		FUZZ_CHECK(m.items[i].type && m.items[i].source);
	return r;
}

static int fuzz_diff(struct tl_ctrd *c, struct tl_error *err)
{
	char type[] = "t", of[sizeof(digest)];
	const struct tl_ctrd_descriptor layer = { type, of, 1 };
	const struct tl_ctrd_mounts none = { 0 };
	auto_free char *diff_id = NULL;
	int r;

	memcpy(of, digest, sizeof(of));
	r = tl_ctrd_diff_apply(c, NULL, &layer, &none, &diff_id, err);
	FUZZ_CHECK((r == 0) == (diff_id != NULL));
	return r;
}

static int fuzz_blob_info(struct tl_ctrd *c, struct tl_error *err)
{
	auto_ctrd_blob struct tl_ctrd_blob b = { 0 };
	int r = tl_ctrd_blob_info(c, NULL, digest, &b, err);

	FUZZ_CHECK(r == 0 ? b.digest && b.size_bytes <= INT64_MAX : !b.digest && !b.labels.n);
	return r;
}

static int fuzz_blob(struct tl_ctrd *c, struct tl_error *err)
{
	auto_buf struct tl_buf b = { 0 };
	int r;

	tl_buf_init(&b, BLOB_MAX);
	FUZZ_CHECK(tl_buf_append_str(&b, "x") == 0);
	r = tl_ctrd_blob_read(c, NULL, digest, &b, err);
	if (r == 0)
		FUZZ_CHECK(b.len_bytes == 4 && memcmp(b.data, "xabc", 4) == 0);
	else
		FUZZ_CHECK(b.len_bytes == 1 && b.data[0] == 'x');
	return r;
}

static int fuzz_container(struct tl_ctrd *c, struct tl_error *err)
{
	auto_free char *spec = NULL, *key = NULL;
	int r = tl_ctrd_container_get(c, NULL, "c", &spec, &key, err);

	FUZZ_CHECK(r == 0 ? spec && key : !spec && !key);
	return r;
}

static int fuzz_task(struct tl_ctrd *c, struct tl_error *err)
{
	struct tl_ctrd_task t = { .pid = 77 };
	int r = tl_ctrd_task_get(c, NULL, "c", &t, err);

	FUZZ_CHECK(r == 0 || (t.pid == 77 && !t.state && !t.exit_status));
	return r;
}

static int fuzz_task_create(struct tl_ctrd *c, struct tl_error *err)
{
	const struct tl_ctrd_mounts none = { 0 };
	uint32_t pid = 77;
	int r = tl_ctrd_task_create(c, NULL, "c", &none, NULL, NULL, &pid, err);

	FUZZ_CHECK(r == 0 || pid == 77);
	return r;
}

static int fuzz_task_delete(struct tl_ctrd *c, struct tl_error *err)
{
	uint32_t status = 77;
	int r = tl_ctrd_task_delete(c, NULL, "c", &status, err);

	FUZZ_CHECK(r == 0 || status == 77);
	return r;
}

static int fuzz_wait(struct tl_ctrd *c, struct tl_error *err)
{
	struct tl_ctrd_wait *w = NULL;
	uint32_t status = 77;
	int r = tl_ctrd_task_wait_begin(c, NULL, "c", &w, err);

	if (r == 0)
		r = tl_ctrd_task_wait_end(w, &status, err);
	FUZZ_CHECK(r == 0 || status == 77);
	tl_ctrd_task_wait_free(w);
	return r;
}

static int fuzz_events(struct tl_ctrd *c, struct tl_error *err)
{
	struct tl_ctrd_events *e = NULL;
	const struct tl_strv all = { 0 };
	int r = tl_ctrd_events_open(c, NULL, &all, &e, err);

	while (r == 0) {
		auto_free char *topic = NULL, *id = NULL;

		r = tl_ctrd_events_next(e, &topic, &id, err);
		FUZZ_CHECK(r == 0 ? topic && id : !topic && !id);
	}
	tl_ctrd_events_close(e);
	return r;
}

static int fuzz_writer(struct tl_ctrd *c, struct tl_error *err)
{
	auto_ctrd_writer struct tl_ctrd_writer *w = NULL;
	uint64_t offset = 0;
	int r = tl_ctrd_writer_open(c, NULL, "r", 3, digest, &w, &offset, err);

	FUZZ_CHECK((r == 0) == (w != NULL));
	if (r == 0 && offset < 3)
		r = tl_ctrd_writer_append(w, &"abc"[offset], 3 - (size_t)offset, err);
	if (r == 0)
		r = tl_ctrd_writer_commit(w, NULL, err);
	return r;
}

static int (*const calls[])(struct tl_ctrd *c, struct tl_error *err) = {
	fuzz_version, fuzz_namespace, fuzz_leases, fuzz_snapshots,   fuzz_ingests,
	fuzz_image,   fuzz_snapshot,  fuzz_mounts, fuzz_diff,        fuzz_blob_info,
	fuzz_blob,    fuzz_container, fuzz_task,   fuzz_task_create, fuzz_task_delete,
	fuzz_wait,    fuzz_events,    fuzz_writer,
};

static void script_make(struct tl_buf *to, const uint8_t *data, size_t n, unsigned int status)
{
	static const char *const head[] = { ":status=200", "content-type=application/grpc", NULL };
	char text[16];
	const char *const trailers[] = { text, NULL };

	snprintf(text, sizeof(text), "grpc-status=%u", status);
	wire_frame(to, WIRE_SETTINGS, 0, 0, "", 0);
	wire_headers(to, 0, head);
	for (size_t i = 0; i < MESSAGES_MAX && n >= 2; i++) {
		size_t len = (size_t)data[0] << 8 | data[1];

		len = len < n - 2 ? len : n - 2;
		wire_message(to, data + 2, len);
		data += 2 + len;
		n -= 2 + len;
	}
	wire_headers(to, WIRE_END_STREAM, trailers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct tl_buf script = { 0 };
	auto_ctrd struct tl_ctrd *c = NULL;
	struct tl_error err = { 0 };
	int r;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	tl_buf_init(&script, WIRE_BYTES_MAX);
	script_make(&script, data + 2, size - 2, data[1] % STATUSES);
	FUZZ_CHECK(tl_ctrd_open("/run/containerd/containerd.sock", "default", &c, &err) == 0);
	wire_set(&script, WIRE_BYTES_MAX);
	r = calls[data[0] % TL_ARRAY_SIZE(calls)](c, &err);
	FUZZ_CHECK(r == 0 || (r < 0 && err.code && err.msg[0]));
	wire_end();
	return 0;
}
