/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives configfs-tsm and the TDX backend for tsm_backend.py, over a folder that looks like Linux'.
 *
 *   tsm_tool find   FS                    which machine it is: "none", "tdx", "snp"
 *   tsm_tool report FS tdx|snp NONCE OUT  one report: OUT/out, OUT/aux
 *   tsm_tool snp    FS NONCE OUT          the same, as evidence: OUT/report, OUT/certificates
 *   tsm_tool many   FS THREADS            so many threads, ten reports each
 *   tsm_tool launch FS NONCE OUT          RTMR 3 alone: OUT/quote, OUT/table, OUT/data, OUT/cel
 *   tsm_tool joined FS TCTI LOG NONCE...  with a TPM; for each nonce "TPM quotes, TDX quotes"
 *
 * NONCE is hex. Ends with "ok" or, exit code 1, "TL0724 fatal message".
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>
#include <teelaunch/launch_events.h>
#include <teelaunch/snp.h>
#include <teelaunch/str.h>
#include <teelaunch/tee.h>

#define PATH_MAX_BYTES  512
#define THREADS_MAX     16
#define NONCE_MAX_BYTES 100 /* more than is allowed */

struct world {
	char report[PATH_MAX_BYTES], tdx[PATH_MAX_BYTES], table[PATH_MAX_BYTES];
	char data[PATH_MAX_BYTES];
	struct tl_tsm_paths paths;
	uint8_t nonce[NONCE_MAX_BYTES];
	size_t nonce_n;
};

static void world_at(const char *fs, struct world *w)
{
	snprintf(w->report, sizeof(w->report), "%s/tsm/report", fs);
	snprintf(w->tdx, sizeof(w->tdx), "%s/tdx_guest", fs);
	snprintf(w->table, sizeof(w->table), "%s/acpi/tables/CCEL", fs);
	snprintf(w->data, sizeof(w->data), "%s/acpi/tables/data/CCEL", fs);
	w->paths = (struct tl_tsm_paths){ w->report, w->tdx, w->table, w->data };
}

static int nonce_read(const char *hex, struct world *w)
{
	w->nonce_n = strlen(hex) / 2;
	if (w->nonce_n > sizeof(w->nonce))
		return -EINVAL;
	return tl_hex_decode(hex, w->nonce, w->nonce_n);
}

static int write_blob(const char *folder, const char *name, const struct tl_blob *b,
		      struct tl_error *err)
{
	auto_close int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : tl_write_all(fd, b->bytes, b->n);

	return r < 0 ? tl_fail_sys(err, TL_E_IO, -r, "write '%s/%s'", folder, name) : 0;
}

static int do_find(const struct world *w, struct tl_error *err)
{
	static const char *const names[] = { "none", "tdx", "snp" };
	enum tl_tsm_kind kind;
	int r = tl_tsm_find(&w->paths, &kind, err);

	if (r == 0)
		printf("%s\n", names[kind]);
	return r;
}

static int do_report(const struct world *w, const char *kind, const char *out, struct tl_error *err)
{
	auto_blob struct tl_blob report = { 0 }, aux = { 0 };
	int r = tl_tsm_report(&w->paths, strcmp(kind, "tdx") == 0 ? TL_TSM_TDX : TL_TSM_SNP,
			      w->nonce, w->nonce_n, &report, &aux, err);

	if (r == 0)
		r = write_blob(out, "out", &report, err);
	return r == 0 ? write_blob(out, "aux", &aux, err) : r;
}

static int do_snp(const struct world *w, const char *out, struct tl_error *err)
{
	auto_evidence struct tl_evidence e = { 0 };
	int r = tl_snp_add(&w->paths, w->nonce, w->nonce_n, &e, err);

	if (r == 0)
		r = write_blob(out, "report", &e.snp.report, err);
	return r == 0 ? write_blob(out, "certificates", &e.snp.certificates, err) : r;
}

struct worker {
	const struct world *world;
	uint8_t id;
	struct tl_error err;
	int r;
};

static void *worker_run(void *arg)
{
	struct worker *w = arg;

	for (uint8_t i = 0; w->r == 0 && i < 10; i++) {
		const uint8_t nonce[2] = { w->id, i };
		auto_evidence struct tl_evidence e = { 0 };

		w->r = tl_snp_add(&w->world->paths, nonce, sizeof(nonce), &e, &w->err);
	}
	return NULL;
}

static int do_many(const struct world *world, size_t n, struct tl_error *err)
{
	struct worker workers[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		workers[i] = (struct worker){ .world = world, .id = (uint8_t)(i + 1) };
		if (pthread_create(&threads[i], NULL, worker_run, &workers[i]) != 0)
			return tl_fail(err, TL_E_INTERNAL, EAGAIN, "thread");
	}
	for (size_t i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		if (workers[i].r < 0) {
			r = workers[i].r;
			*err = workers[i].err;
		}
	}
	return r;
}

static int measure(struct tl_tee *tee, struct tl_error *err)
{
	auto_events struct tl_event_list list = { 0 };
	int r = tl_events_add(&list, TL_EVENT_ARG, "/hello", 6, err);

	if (r == 0)
		r = tl_events_add(&list, TL_EVENT_ENV, "A=1", 3, err);
	if (r == 0)
		r = tl_events_add(&list, TL_EVENT_SEPARATOR, "", 0, err);
	return r == 0 ? tl_tee_measure_launch(tee, &list, NULL, err) : r;
}

static int do_launch(const struct world *w, const char *out, struct tl_error *err)
{
	auto_tee struct tl_tee *tee = NULL;
	auto_evidence struct tl_evidence e = { 0 };
	int r = tl_tdx_open(&w->paths, &tee, err);

	if (r == 0)
		r = measure(tee, err);
	if (r == 0)
		r = tl_tee_evidence(tee, w->nonce, w->nonce_n, &e, err);
	if (r == 0)
		r = write_blob(out, "quote", &e.tdx.quote, err);
	if (r == 0)
		r = write_blob(out, "table", &e.tdx.ccel_table, err);
	if (r == 0)
		r = write_blob(out, "data", &e.tdx.ccel_data, err);
	return r == 0 ? write_blob(out, "cel", &e.tdx.cel, err) : r;
}

static int joined_open(const struct world *w, char **argv, struct tl_tee **ret,
		       struct tl_error *err)
{
	const struct tl_tpm_options options = { .tcti = argv[3], .firmware_log = argv[4] };
	auto_tee struct tl_tee *tdx = NULL;
	int r = tl_tpm_open(&options, ret, err);

	if (r == 0)
		r = tl_tdx_open(&w->paths, &tdx, err);
	if (r == 0)
		r = tl_tee_join(*ret, tdx, err);
	if (r == 0)
		tdx = NULL;
	return r;
}

static int do_joined(struct world *w, int argc, char **argv, struct tl_error *err)
{
	auto_tee struct tl_tee *tee = NULL;
	int r = joined_open(w, argv, &tee, err);

	if (r == 0)
		r = measure(tee, err);
	for (int i = 5; r == 0 && i < argc; i++) {
		auto_evidence struct tl_evidence e = { 0 };

		r = nonce_read(argv[i], w) < 0
			    ? -EINVAL
			    : tl_tee_evidence(tee, w->nonce, w->nonce_n, &e, err);
		if (r == 0)
			printf("%zu, %d\n", e.n_quotes, e.tdx.quote.n > 0);
	}
	return r;
}

static int run(int argc, char **argv, struct tl_error *err)
{
	struct world w = { 0 };
	uint64_t n;

	if (argc >= 3)
		world_at(argv[2], &w);
	if (argc == 3 && strcmp(argv[1], "find") == 0)
		return do_find(&w, err);
	if (argc == 4 && strcmp(argv[1], "many") == 0 &&
	    tl_str_parse_u64(argv[3], THREADS_MAX, &n) == 0)
		return do_many(&w, n, err);
	if (argc == 6 && strcmp(argv[1], "report") == 0 && nonce_read(argv[4], &w) == 0)
		return do_report(&w, argv[3], argv[5], err);
	if (argc == 5 && strcmp(argv[1], "snp") == 0 && nonce_read(argv[3], &w) == 0)
		return do_snp(&w, argv[4], err);
	if (argc == 5 && strcmp(argv[1], "launch") == 0 && nonce_read(argv[3], &w) == 0)
		return do_launch(&w, argv[4], err);
	if (argc > 5 && strcmp(argv[1], "joined") == 0)
		return do_joined(&w, argc, argv, err);
	return tl_fail(err, TL_E_USAGE, EINVAL, "see the head of tsm_tool.c");
}

int main(int argc, char **argv)
{
	struct tl_error err = { 0 };
	int r = run(argc, argv, &err);

	if (r < 0)
		printf("%s %s %s\n", tl_catalogue_find(err.code)->id, tl_class_name(err.class),
		       err.msg);
	else
		printf("ok\n");
	return r < 0;
}
