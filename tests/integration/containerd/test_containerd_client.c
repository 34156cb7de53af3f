/* SPDX-License-Identifier: Apache-2.0 */
/* Against the containerd whose socket is in $TL_CONTAINERD; client.py starts it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/digest.h>
#include <teelaunch/file.h>

#include "launcher/containerd/containerd.h"
#include "launcher/containerd/content.h"
#include "launcher/containerd/task.h"

#define LEASE "tl-test"
#define MIB   (1024 * 1024)

static const struct tl_ctrd_call leased = { .lease = LEASE };

static int setup(void **state)
{
	struct tl_error err = { 0 };
	struct tl_ctrd *c = NULL;

	if (tl_ctrd_open(getenv("TL_CONTAINERD"), "default", &c, &err) < 0 ||
	    tl_ctrd_wait_ready(c, NULL, &err) < 0 || tl_ctrd_namespace_ensure(c, NULL, &err) < 0 ||
	    tl_ctrd_lease_create(c, NULL, LEASE, 3600, &err) < 0)
		return print_error("%s\n", err.msg), -1;
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	int r = tl_ctrd_lease_delete(*state, NULL, LEASE, true, NULL);

	tl_ctrd_close(*state);
	return r;
}

static void it_answers_with_its_version_and_its_namespace_stays(void **state)
{
	auto_free char *version = NULL;
	struct tl_error err = { 0 };

	assert_int_equal(tl_ctrd_version(*state, NULL, &version, &err), 0);
	assert_non_null(strchr(version, '.'));
	assert_int_equal(tl_ctrd_namespace_ensure(*state, NULL, &err), 0);
}

static void a_lease_is_listed_until_it_is_deleted(void **state)
{
	auto_strv struct tl_strv ids = { 0 };
	struct tl_error err = { 0 };

	assert_int_equal(tl_ctrd_lease_create(*state, NULL, "tl-other", 60, &err), 0);
	assert_int_equal(tl_ctrd_lease_create(*state, NULL, "tl-other", 60, &err), -EEXIST);
	assert_int_equal(err.code, TL_E_CONTAINERD_EXISTS);
	assert_int_equal(tl_ctrd_lease_list(*state, NULL, "tl-o", &ids, &err), 0);
	assert_int_equal(ids.n, 1);
	assert_int_equal(tl_ctrd_lease_delete(*state, NULL, "tl-other", true, &err), 0);
	assert_int_equal(tl_ctrd_lease_delete(*state, NULL, "tl-other", true, &err), -ENOENT);
	assert_int_equal(err.code, TL_E_CONTAINERD_NOT_FOUND);
}

/* Bytes that don't repeat with the chunk size. */
static uint8_t *pattern(size_t n)
{
	uint8_t *bytes = malloc(n);

	assert_non_null(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 4099);
	return bytes;
}

static void write_part(struct tl_ctrd_writer *w, const uint8_t *bytes, size_t from, size_t stop_at,
		       size_t step)
{
	struct tl_error err = { 0 };

	for (size_t at = from; at < stop_at; at += step) {
		size_t part = stop_at - at < step ? stop_at - at : step;

		if (tl_ctrd_writer_append(w, bytes + at, part, &err) < 0)
			fail_msg("%s", err.msg);
	}
}

static void a_blob_of_odd_size_is_written_interrupted_resumed_and_read_back(void **state)
{
	const size_t n = 5 * MIB + 12345;
	auto_free uint8_t *bytes = pattern(n);
	auto_ctrd_writer struct tl_ctrd_writer *first = NULL;
	auto_ctrd_writer struct tl_ctrd_writer *second = NULL;
	auto_ctrd_writer struct tl_ctrd_writer *third = NULL;
	auto_ctrd_blob struct tl_ctrd_blob blob = { 0 };
	auto_kvs struct tl_kvs labels = { 0 };
	auto_strv struct tl_strv ingests = { 0 };
	auto_buf struct tl_buf got = { 0 };
	struct tl_digest_text digest;
	struct tl_error err = { 0 };
	uint64_t offset = 99;

	assert_int_equal(tl_digest_text_of(bytes, n, &digest), 0);
	assert_int_equal(tl_ctrd_writer_open(*state, &leased, "tl-big", n, digest.text, &first,
					     &offset, &err),
			 0);
	assert_int_equal(offset, 0);
	write_part(first, bytes, 0, 3 * MIB + 1, 7777);
	first = tl_ctrd_writer_close(first);
	assert_int_equal(tl_ctrd_ingest_list(*state, NULL, "tl-", &ingests, &err), 0);
	assert_int_equal(ingests.n, 1);

	assert_int_equal(tl_ctrd_writer_open(*state, &leased, "tl-big", n, digest.text, &second,
					     &offset, &err),
			 0);
	assert_in_range(offset, MIB, 3 * MIB);
	write_part(second, bytes, offset, n, 16384);
	assert_int_equal(tl_kvs_add(&labels, "tl.test/a", "one"), 0);
	if (tl_ctrd_writer_commit(second, &labels, &err) < 0)
		fail_msg("%s", err.msg);

	assert_int_equal(tl_ctrd_writer_open(*state, &leased, "tl-big", n, digest.text, &third,
					     &offset, &err),
			 -EEXIST);
	assert_int_equal(tl_ctrd_blob_label(*state, NULL, digest.text, "tl.test/b", "two", &err),
			 0);
	assert_int_equal(tl_ctrd_blob_label(*state, NULL, digest.text, "tl.test/a", "", &err), 0);
	assert_int_equal(tl_ctrd_blob_info(*state, NULL, digest.text, &blob, &err), 0);
	assert_int_equal(blob.size_bytes, n);
	assert_null(tl_kvs_get(&blob.labels, "tl.test/a"));
	assert_string_equal(tl_kvs_get(&blob.labels, "tl.test/b"), "two");

	tl_buf_init(&got, n - 1);
	assert_int_equal(tl_ctrd_blob_read(*state, NULL, digest.text, &got, &err), -EFBIG);
	assert_int_equal(err.code, TL_E_CONTENT_LARGE);
	assert_int_equal(got.len_bytes, 0);
	got.max_bytes = n;
	assert_int_equal(tl_ctrd_blob_read(*state, NULL, digest.text, &got, &err), 0);
	assert_int_equal(got.len_bytes, n);
	assert_memory_equal(got.data, bytes, n);
	assert_int_equal(tl_ctrd_blob_delete(*state, NULL, digest.text, &err), 0);
	assert_int_equal(tl_ctrd_blob_info(*state, NULL, digest.text, &blob, &err), -ENOENT);
}

static void wrong_bytes_are_fatal_and_their_ingest_is_thrown_away(void **state)
{
	const char *wrong = "sha256:"
			    "0000000000000000000000000000000000000000000000000000000000000000";
	auto_strv struct tl_strv ingests = { 0 };
	struct tl_error err = { 0 };

	assert_int_equal(tl_ctrd_blob_put(*state, &leased, "tl-wrong", "abc", 3, wrong, NULL, &err),
			 -EBADMSG);
	assert_int_equal(err.code, TL_E_CONTENT_DIGEST);
	assert_int_equal(err.class, TL_FATAL);
	assert_int_equal(tl_ctrd_ingest_list(*state, NULL, "tl-wrong", &ingests, &err), 0);
	assert_int_equal(ingests.n, 0);
}

static void a_small_blob_can_be_put_twice(void **state)
{
	auto_kvs struct tl_kvs labels = { 0 };
	auto_ctrd_blob struct tl_ctrd_blob blob = { 0 };
	struct tl_digest_text digest;
	struct tl_error err = { 0 };

	assert_int_equal(tl_kvs_add(&labels, "tl.test/k", "v"), 0);
	assert_int_equal(tl_digest_text_of("{}", 2, &digest), 0);
	assert_int_equal(
		tl_ctrd_blob_put(*state, &leased, "tl-s", "{}", 2, digest.text, NULL, &err), 0);
	assert_int_equal(
		tl_ctrd_blob_put(*state, &leased, "tl-s", "{}", 2, digest.text, &labels, &err), 0);
	assert_int_equal(tl_ctrd_blob_info(*state, NULL, digest.text, &blob, &err), 0);
	assert_string_equal(tl_kvs_get(&blob.labels, "tl.test/k"), "v");
}

static void a_label_that_is_too_long_is_refused(void **state)
{
	auto_kvs struct tl_kvs labels = { 0 };
	struct tl_digest_text digest;
	struct tl_error err = { 0 };
	char value[4097] = { 0 };

	memset(value, 'x', sizeof(value) - 1);
	assert_int_equal(tl_kvs_add(&labels, "k", value), 0);
	assert_int_equal(tl_digest_text_of("[]", 2, &digest), 0);
	assert_int_equal(
		tl_ctrd_blob_put(*state, &leased, "tl-l", "[]", 2, digest.text, &labels, &err),
		-EINVAL);
	assert_int_equal(err.code, TL_E_CONTAINERD_REFUSED);
}

static void put_layer(struct tl_ctrd *c, struct tl_ctrd_descriptor *layer)
{
	const char *digest = getenv("TL_LAYER_DIGEST");
	auto_buf struct tl_buf data = { 0 };
	struct tl_error err = { 0 };

	tl_buf_init(&data, MIB);
	assert_int_equal(tl_file_read(getenv("TL_LAYER"), &data, &err), 0);
	layer->media_type = strdup("application/vnd.oci.image.layer.v1.tar+gzip");
	assert_non_null(digest);
	layer->digest = strdup(digest ? digest : "");
	layer->size_bytes = data.len_bytes;
	assert_int_equal(tl_ctrd_blob_put(c, &leased, "tl-layer", data.data, data.len_bytes,
					  layer->digest, NULL, &err),
			 0);
}

static void a_layer_is_unpacked_committed_and_named_by_an_image(void **state)
{
	const char *diff_id = getenv("TL_LAYER_DIFF_ID");
	auto_ctrd_descriptor struct tl_ctrd_descriptor layer = { 0 };
	auto_ctrd_descriptor struct tl_ctrd_descriptor target = { 0 };
	auto_ctrd_mounts struct tl_ctrd_mounts mounts = { 0 };
	auto_strv struct tl_strv names = { 0 };
	auto_free char *got = NULL;
	auto_free char *parent = NULL;
	auto_kvs struct tl_kvs labels = { 0 };
	auto_kvs struct tl_kvs stored = { 0 };
	enum tl_ctrd_snapshot_kind kind = TL_CTRD_SNAPSHOT_UNKNOWN;
	struct tl_error err = { 0 };

	put_layer(*state, &layer);
	assert_int_equal(tl_ctrd_snapshot_stat(*state, NULL, diff_id, &kind, NULL, NULL, &err),
			 -ENOENT);
	assert_int_equal(tl_ctrd_snapshot_prepare(*state, &leased, "tl-x", "", &mounts, &err), 0);
	assert_int_equal(mounts.n, 1);
	assert_int_equal(tl_ctrd_diff_apply(*state, &leased, &layer, &mounts, &got, &err), 0);
	assert_string_equal(got, diff_id);
	assert_int_equal(tl_ctrd_snapshot_list(*state, NULL, "tl-", &names, &err), 0);
	assert_int_equal(names.n, 1);
	assert_int_equal(tl_kvs_add(&labels, "tl.label", "value"), 0);
	assert_int_equal(tl_ctrd_snapshot_commit(*state, &leased, diff_id, "tl-x", &labels, &err),
			 0);
	assert_int_equal(
		tl_ctrd_snapshot_stat(*state, NULL, diff_id, &kind, &parent, &stored, &err), 0);
	assert_string_equal(tl_kvs_get(&stored, "tl.label"), "value");
	assert_int_equal(kind, TL_CTRD_SNAPSHOT_COMMITTED);
	assert_string_equal(parent, "");
	assert_int_equal(tl_ctrd_image_put(*state, &leased, "tl/image:1", &layer, NULL, &err), 0);
	assert_int_equal(tl_ctrd_image_put(*state, &leased, "tl/image:1", &layer, NULL, &err), 0);
	assert_int_equal(tl_ctrd_image_get(*state, NULL, "tl/image:1", &target, &err), 0);
	assert_string_equal(target.digest, layer.digest);
	assert_int_equal(target.size_bytes, layer.size_bytes);
	assert_int_equal(tl_ctrd_image_delete(*state, NULL, "tl/image:1", true, &err), 0);
	assert_int_equal(tl_ctrd_image_get(*state, NULL, "tl/image:1", &target, &err), -ENOENT);
}

static void a_missing_object_is_named_and_outputs_stay(void **state)
{
	struct tl_error err = { 0 };
	struct tl_ctrd_task task = { .pid = 7 };
	char *spec = NULL;

	assert_int_equal(tl_ctrd_container_get(*state, NULL, "none", &spec, NULL, &err), -ENOENT);
	assert_null(spec);
	assert_non_null(strstr(err.msg, "containerd Containers/Get: "));
	assert_non_null(strstr(err.msg, "none"));
	assert_int_equal(tl_ctrd_task_get(*state, NULL, "none", &task, &err), -ENOENT);
	assert_int_equal(task.pid, 7);
}

static void a_cancelled_subscription_ends_soon(void **state)
{
	auto_strv struct tl_strv filters = { 0 };
	struct tl_cancel *cancel = tl_cancel_new();
	struct tl_ctrd_call call = { .cancel = cancel };
	struct tl_ctrd_events *events = NULL;
	struct tl_error err = { 0 };
	uint64_t start = tl_clock_mono_ms();
	char *topic = NULL, *id = NULL;

	assert_int_equal(tl_strv_add(&filters, "topic==\"/tasks/oom\""), 0);
	assert_int_equal(tl_ctrd_events_open(*state, &call, &filters, &events, &err), 0);
	tl_cancel_request(cancel);
	assert_int_equal(tl_ctrd_events_next(events, &topic, &id, &err), -ECANCELED);
	assert_int_equal(err.code, TL_E_INTERRUPTED);
	assert_in_range(tl_clock_mono_ms() - start, 0, 2000);
	tl_ctrd_events_close(events);
	tl_cancel_free(cancel);
}

static void a_deadline_that_is_past_is_slow(void **state)
{
	struct tl_ctrd_call call = { .deadline = { 1 } };
	struct tl_error err = { 0 };

	assert_int_equal(tl_ctrd_version(*state, &call, NULL, &err), -ETIMEDOUT);
	assert_int_equal(err.code, TL_E_CONTAINERD_SLOW);
}

static void a_socket_nobody_listens_on_is_gone_at_once(void **state)
{
	struct tl_ctrd_call call = { .deadline = { tl_clock_mono_ms() + 300 } };
	auto_ctrd struct tl_ctrd *c = NULL;
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(tl_ctrd_open("/nonexistent/sock", "default", &c, &err), 0);
	assert_int_equal(tl_ctrd_version(c, NULL, NULL, &err), -ECONNRESET);
	assert_int_equal(err.code, TL_E_CONTAINERD_GONE);
	assert_int_equal(err.class, TL_RETRY);
	assert_int_equal(tl_ctrd_wait_ready(c, &call, &err), -ECONNRESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_answers_with_its_version_and_its_namespace_stays),
		cmocka_unit_test(a_lease_is_listed_until_it_is_deleted),
		cmocka_unit_test(a_blob_of_odd_size_is_written_interrupted_resumed_and_read_back),
		cmocka_unit_test(wrong_bytes_are_fatal_and_their_ingest_is_thrown_away),
		cmocka_unit_test(a_small_blob_can_be_put_twice),
		cmocka_unit_test(a_label_that_is_too_long_is_refused),
		cmocka_unit_test(a_layer_is_unpacked_committed_and_named_by_an_image),
		cmocka_unit_test(a_missing_object_is_named_and_outputs_stay),
		cmocka_unit_test(a_cancelled_subscription_ends_soon),
		cmocka_unit_test(a_deadline_that_is_past_is_slow),
		cmocka_unit_test(a_socket_nobody_listens_on_is_gone_at_once),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
