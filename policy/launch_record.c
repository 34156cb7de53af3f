/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/launch_record.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_ref.h>

/*
 * Members are written in the order of their names, by hand: the order is the format. @r keeps the
 * first failure, so that the members read as a list.
 */
struct writer {
	struct tl_buf *to;
	int r; /* 0, -ENOBUFS, -ENOMEM, -EILSEQ (no UTF-8) or -ERANGE (a number) */
};

static void put(struct writer *w, const char *bytes)
{
	if (w->r == 0)
		w->r = tl_buf_append_str(w->to, bytes);
}

/* RFC 8785, 3.2.2.2. */
static void put_char(struct writer *w, char c)
{
	static const char escaped[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
	const char *at = strchr(escaped, c);

	if (w->r < 0)
		return;
	if (at)
		w->r = tl_buf_printf(w->to, "\\%c", letters[at - escaped]);
	else if ((unsigned char)c < 0x20)
		w->r = tl_buf_printf(w->to, "\\u%04x", (unsigned int)c);
	else
		w->r = tl_buf_append(w->to, &c, 1);
}

static void put_text(struct writer *w, const char *text)
{
	if (w->r == 0 && text && !tl_utf8_is_valid(text, strlen(text)))
		w->r = -EILSEQ;
	if (!text) {
		put(w, "null");
		return;
	}
	put(w, "\"");
	for (const char *c = text; *c; c++)
		put_char(w, *c);
	put(w, "\"");
}

static void put_number(struct writer *w, uint64_t n)
{
	if (w->r == 0 && n > TL_LAUNCH_RECORD_NUMBER_MAX)
		w->r = -ERANGE;
	if (w->r == 0)
		w->r = tl_buf_printf(w->to, "%" PRIu64, n);
}

static void put_bool(struct writer *w, bool is_true)
{
	put(w, is_true ? "true" : "false");
}

static void put_texts(struct writer *w, const struct tl_strv *texts)
{
	put(w, "[");
	for (size_t i = 0; i < texts->n; i++) {
		put(w, i ? "," : "");
		put_text(w, texts->items[i]);
	}
	put(w, "]");
}

/* The record is shown to whoever sees a token: credentials in a name, which don't belong there,
 * aren't. */
static void put_references(struct writer *w, const struct tl_strv *texts)
{
	put(w, "[");
	for (size_t i = 0; i < texts->n; i++) {
		auto_free char *shown = tl_image_ref_shown(texts->items[i]);

		if (w->r == 0 && !shown)
			w->r = -ENOMEM;
		put(w, i ? "," : "");
		put_text(w, shown);
	}
	put(w, "]");
}

static void put_mounts(struct writer *w, const struct tl_mounts *mounts)
{
	static const char *const options[] = { TL_MOUNT_OPTIONS };

	put(w, "[");
	for (size_t i = 0; i < mounts->n; i++) {
		put(w, i ? ",{\"destination\":" : "{\"destination\":");
		put_text(w, mounts->items[i].destination);
		put(w, ",\"options\":[");
		for (size_t j = 0; j < TL_ARRAY_SIZE(options); j++) {
			put(w, j ? "," : "");
			put_text(w, options[j]);
		}
		put(w, "],\"size_bytes\":");
		put_number(w, mounts->items[i].size_bytes);
		put(w, ",\"source\":\"tmpfs\",\"type\":\"tmpfs\"}");
	}
	put(w, "]");
}

static void put_operator(struct writer *w, const struct tl_launch_spec *spec)
{
	put(w, "{\"added_capabilities\":");
	put_texts(w, &spec->added_capabilities);
	put(w, ",\"cgroup_namespace\":");
	put_bool(w, spec->is_cgroup_ns);
	put(w, ",\"dev_shm_size_kb\":");
	put_number(w, spec->dev_shm_size_kb ? spec->dev_shm_size_kb : TL_DEV_SHM_DEFAULT_KB);
	put(w, ",\"gpu_driver\":");
	put_bool(w, spec->is_gpu_driver_wanted);
	put(w, ",\"impersonate_service_accounts\":");
	put_texts(w, &spec->impersonate_service_accounts);
	put(w, ",\"ita\":{\"api_key\":");
	put_bool(w, spec->ita_api_key.len_bytes > 0);
	put(w, ",\"region\":");
	put_text(w, spec->ita_region);
	put(w, "},\"log_redirect\":");
	put_text(w, tl_log_redirect_name(spec->log_redirect));
	put(w, ",\"monitoring\":");
	put_text(w, tl_monitoring_name(spec->monitoring));
	put(w, ",\"mounts\":");
	put_mounts(w, &spec->mounts);
	put(w, ",\"signed_image_repos\":");
	put_references(w, &spec->signed_image_repos);
	put(w, ",\"token_refresh\":");
	put_bool(w, !spec->is_gca_refresh_disabled);
	put(w, "}");
}

static int option_compare(const void *a, const void *b)
{
	const struct tl_record_option *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void put_option(struct writer *w, const struct tl_record_option *o)
{
	put(w, "\"");
	for (const char *c = o->name; *c; c++)
		put_char(w, *c == '-' ? '_' : *c);
	put(w, "\":");
	if (o->kind == TL_RECORD_NUMBER)
		put_number(w, o->number);
	else if (o->kind == TL_RECORD_BOOL)
		put_bool(w, o->number != 0);
	else if (o->kind == TL_RECORD_TEXTS)
		put_texts(w, o->texts);
	else
		put_text(w, o->text);
}

static void put_options(struct writer *w, const struct tl_record_option *const *sorted, size_t n)
{
	put(w, "{");
	for (size_t i = 0; i < n; i++) {
		put(w, i ? "," : "");
		put_option(w, sorted[i]);
	}
	put(w, "}");
}

static void put_record(struct writer *w, const struct tl_launch_record_facts *f,
		       const struct tl_record_option *const *sorted)
{
	put(w, "{\"container\":{\"network\":");
	put_text(w, f->network);
	put(w, ",\"nofile\":");
	put_number(w, f->nofile);
	put(w, ",\"runtime\":");
	put_text(w, f->runtime);
	put(w, ",\"snapshotter\":");
	put_text(w, f->snapshotter);
	put(w, "},\"disk\":{\"cipher\":");
	put_text(w, f->disk.cipher);
	put(w, ",\"integrity\":");
	put_text(w, f->disk.integrity);
	put(w, ",\"mode\":");
	put_text(w, f->disk.mode);
	put(w, ",\"tags\":");
	put_text(w, f->disk.tags);
	put(w, "},\"hardened\":");
	put_bool(w, f->is_hardened);
	put(w, ",\"operator\":");
	put_operator(w, f->spec);
	put(w, ",\"root\":");
	put_text(w, f->root);
	put(w, ",\"schema\":\"" TL_LAUNCH_RECORD_SCHEMA "\",\"unit\":");
	put_options(w, sorted, f->options_n);
	put(w, ",\"verifier_url\":");
	put_text(w, f->verifier_url);
	put(w, "}");
}

static int no_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the launch record");
}

int tl_launch_record_build(const struct tl_launch_record_facts *facts, struct tl_buf *ret,
			   struct tl_error *err)
{
	auto_free const struct tl_record_option **sorted =
		calloc(facts->options_n + 1, sizeof(*sorted));
	struct writer w = { .to = ret };

	if (!sorted)
		return no_memory(err);
	for (size_t i = 0; i < facts->options_n; i++)
		sorted[i] = &facts->options[i];
	/* Names are of small letters and '-', which comes before them as '_' does. */
	qsort(sorted, facts->options_n, sizeof(*sorted), option_compare);
	put_record(&w, facts, sorted);
	switch (w.r) {
	case 0:
		return 0;
	case -ENOBUFS:
		return tl_fail(err, TL_E_LAUNCH_RECORD, EINVAL,
			       "it would have more than %zu bytes; use fewer or shorter mounts, "
			       "capabilities, accounts and repositories",
			       ret->max_bytes);
	case -EILSEQ:
		return tl_fail(err, TL_E_LAUNCH_RECORD, EINVAL,
			       "an option of the unit is not UTF-8");
	case -ERANGE:
		return tl_fail(err, TL_E_LAUNCH_RECORD, EINVAL,
			       "a size or limit is larger than %" PRIu64,
			       TL_LAUNCH_RECORD_NUMBER_MAX);
	default:
		return no_memory(err);
	}
}
