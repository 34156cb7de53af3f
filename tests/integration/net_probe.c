/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network clients, from the command line: each result is one JSON object a line on standard
 * output. For the tests net_*.py, which bring the servers and judge.
 *
 *   net_probe [--option VALUE]... http URL...
 *   net_probe [--option VALUE]... metadata HOST OPERATION...
 *   net_probe [--option VALUE]... attest URL
 *   net_probe [--option VALUE]... ita URL
 *   net_probe [--option VALUE]... keep URL DIR SECONDS
 *   net_probe [--option VALUE]... account URL ACCOUNT...
 *   net_probe [--option VALUE]... chain CERTIFICATE-FILE HOST...
 */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/account_token.h>
#include <teelaunch/cert_chain.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>
#include <teelaunch/http.h>
#include <teelaunch/token_keeper.h>
#include <teelaunch/verifier_client.h>
#include <teelaunch/verifier_ita.h>

#include "launcher/metadata.h"

static struct {
	const char *ca, *auth, *method, *body, *api, *identity, *project, *region, *key, *audience,
		*hex;
	uint64_t max, redirects, deadline, stall, connect, cancel, sink, plain, budget, try_ms, tdx,
		times;
	const char *headers[8];
	size_t n_headers;
} opts = { .max = 1 << 20,
	   .deadline = 10000,
	   .api = "verifyConfidentialSpace",
	   .project = "proj-1",
	   .region = "us-central1",
	   .tdx = 1,
	   .times = 1,
	   .sink = UINT64_MAX };

static const struct option_row {
	const char *name;
	const char **text;
	uint64_t *number;
} rows[] = {
	{ "ca", &opts.ca, NULL },
	{ "auth", &opts.auth, NULL },
	{ "method", &opts.method, NULL },
	{ "body", &opts.body, NULL },
	{ "api", &opts.api, NULL },
	{ "identity", &opts.identity, NULL },
	{ "project", &opts.project, NULL },
	{ "region", &opts.region, NULL },
	{ "key", &opts.key, NULL },
	{ "audience", &opts.audience, NULL },
	{ "hex", &opts.hex, NULL }, /* the audience, if it isn't text */
	{ "max", NULL, &opts.max },
	{ "redirects", NULL, &opts.redirects },
	{ "deadline", NULL, &opts.deadline },
	{ "stall", NULL, &opts.stall },
	{ "connect", NULL, &opts.connect },
	{ "cancel", NULL, &opts.cancel },
	{ "sink", NULL, &opts.sink }, /* fail after so many bytes */
	{ "plain", NULL, &opts.plain },
	{ "budget", NULL, &opts.budget },
	{ "try", NULL, &opts.try_ms },
	{ "tdx", NULL, &opts.tdx },
	{ "times", NULL, &opts.times },
};

/* --- output ------------------------------------------------------------------------------- */

static void print_result(json_t *o, int r, const struct tl_error *err, uint64_t since_ms)
{
	const char *code = err->code ? tl_catalogue_words(err->code)->name : "";

	json_object_set_new(o, "r", json_integer(r));
	json_object_set_new(o, "code", json_string(code));
	json_object_set_new(o, "class", json_string(err->code ? tl_class_name(err->class) : ""));
	json_object_set_new(o, "msg", json_string(err->msg));
	json_object_set_new(o, "ended_ms", json_integer((json_int_t)tl_clock_mono_ms()));
	json_object_set_new(o, "took_ms",
			    json_integer((json_int_t)(tl_clock_mono_ms() - since_ms)));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(o);
}

static json_t *latin1(const char *bytes, size_t n)
{
	auto_free char *text = malloc(2 * n + 1);
	size_t used = 0;

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		const unsigned char c = (unsigned char)bytes[i];

		if (c >= 0x80)
			text[used++] = (char)(0xc0 | c >> 6);
		text[used++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
	}
	return json_stringn(text, used);
}

/* --- cancellation ------------------------------------------------------------------------- */

struct canceller {
	struct tl_cancel *cancel;
	pthread_t thread;
	bool is_started;
};

static void *cancel_later(void *arg)
{
	const struct canceller *c = arg;

	tl_clock_sleep_ms(opts.cancel);
	printf("{\"cancelled_ms\":%llu}\n", (unsigned long long)tl_clock_mono_ms());
	tl_cancel_request(c->cancel);
	return NULL;
}

static void canceller_start(struct canceller *c)
{
	*c = (struct canceller){ .cancel = tl_cancel_new(), .is_started = opts.cancel > 0 };
	if (c->is_started && pthread_create(&c->thread, NULL, cancel_later, c) != 0)
		abort();
}

static void canceller_end(struct canceller *c)
{
	if (c->is_started)
		pthread_join(c->thread, NULL);
	tl_cancel_free(c->cancel);
}

/* --- http --------------------------------------------------------------------------------- */

struct sink_state {
	uint64_t bytes;
	int status;
};

static int sink(void *ctx, int status, const void *data, size_t n)
{
	struct sink_state *s = ctx;

	(void)data;
	s->bytes += n;
	s->status = status;
	return s->bytes > opts.sink ? -ENOSPC : 0;
}

static void response_put(json_t *o, const struct tl_http_response *res)
{
	json_t *headers = json_object();

	for (size_t i = 0; i < res->headers.n; i++)
		json_object_set_new(
			headers, res->headers.items[i].key,
			latin1(res->headers.items[i].value, strlen(res->headers.items[i].value)));
	json_object_set_new(o, "status", json_integer(res->status));
	json_object_set_new(o, "final_url", json_string(res->final_url));
	json_object_set_new(o, "headers", headers);
	json_object_set_new(o, "body_bytes", json_integer((json_int_t)res->body.len_bytes));
	json_object_set_new(o, "body", latin1(tl_buf_str(&res->body), res->body.len_bytes));
}

static void http_once(struct tl_http *h, const char *url, const struct tl_secret *auth,
		      struct tl_cancel *cancel)
{
	struct sink_state seen = { 0 };
	const struct tl_http_request req = {
		.method = opts.method ? opts.method : "GET",
		.url = url,
		.headers = opts.headers,
		.authorization = opts.auth ? auth : NULL,
		.body = opts.body,
		.body_bytes = opts.body ? strlen(opts.body) : 0,
		.ca_file = opts.ca,
		.is_plain_allowed = opts.plain,
		.redirects_max = (unsigned int)opts.redirects,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), opts.deadline),
		.connect_timeout_ms = opts.connect,
		.stall_timeout_ms = opts.stall,
		.response_max_bytes = opts.max,
		.sink = opts.sink == UINT64_MAX ? NULL : sink,
		.sink_ctx = &seen,
		.cancel = cancel,
	};
	auto_http_response struct tl_http_response res = { .status = -7 };
	struct tl_error err = { 0 };
	uint64_t since_ms = tl_clock_mono_ms();
	json_t *o = json_object();
	int r = tl_http_perform(h, &req, &res, &err);

	if (r == 0)
		response_put(o, &res);
	else
		json_object_set_new(o, "is_ret_unchanged", json_boolean(res.status == -7));
	json_object_set_new(o, "sink_bytes", json_integer((json_int_t)seen.bytes));
	json_object_set_new(o, "sink_status", json_integer(seen.status));
	print_result(o, r, &err, since_ms);
}

static int run_http(char **urls)
{
	auto_http struct tl_http *h = tl_http_new("net-probe/1");
	auto_secret struct tl_secret auth = { 0 };
	struct canceller c;

	if (opts.auth)
		tl_secret_set(&auth, opts.auth, strlen(opts.auth));
	canceller_start(&c);
	for (; *urls; urls++)
		http_once(h, *urls, &auth, c.cancel);
	canceller_end(&c);
	return 0;
}

/* --- metadata ----------------------------------------------------------------------------- */

static int secret_read(struct metadata *m, const char *op, json_t *o, struct tl_error *err)
{
	auto_secret struct tl_secret s = { 0 };
	const char *audience = opts.body ? opts.body : "aud";
	int r = strcmp(op, "access") == 0
			? metadata_access_token(m, &s, err)
			: metadata_identity_token(m, audience, strlen(audience), &s, err);

	if (r == 0)
		json_object_set_new(o, "value", json_stringn(s.bytes, s.len_bytes));
	return r;
}

static int attributes_read(struct metadata *m, json_t *o, struct tl_error *err)
{
	const struct tl_buf *b;
	int r = metadata_attributes(m, &b, err);

	if (r == 0)
		json_object_set_new(o, "value", latin1(tl_buf_str(b), b->len_bytes));
	return r;
}

static int metadata_read(struct metadata *m, const char *op, json_t *o, struct tl_error *err)
{
	static const struct {
		const char *op;
		int (*read)(struct metadata *m, const char **ret, struct tl_error *err);
	} values[] = {
		{ "project", metadata_project },    { "zone", metadata_zone },
		{ "region", metadata_region },      { "id", metadata_instance_id },
		{ "name", metadata_instance_name },
	};
	const char *value;

	if (strcmp(op, "attributes") == 0)
		return attributes_read(m, o, err);
	for (size_t i = 0; i < TL_ARRAY_SIZE(values); i++)
		if (strcmp(op, values[i].op) == 0) {
			int r = values[i].read(m, &value, err);

			if (r == 0)
				json_object_set_new(o, "value", json_string(value));
			return r;
		}
	return secret_read(m, op, o, err);
}

static int run_metadata(char **args)
{
	auto_metadata struct metadata *m = NULL;
	struct tl_error err = { 0 };
	struct canceller c;
	int r;

	canceller_start(&c);
	r = metadata_open(args[0], c.cancel, &m, &err);
	if (r < 0)
		print_result(json_object(), r, &err, tl_clock_mono_ms());
	for (char **op = args + 1; m && *op; op++) {
		uint64_t since_ms = tl_clock_mono_ms();
		json_t *o = json_object();

		err = (struct tl_error){ 0 };
		r = metadata_read(m, *op, o, &err);
		print_result(o, r, &err, since_ms);
	}
	canceller_end(&c);
	return 0;
}

/* --- attest ------------------------------------------------------------------------------- */

static int bearer(void *ctx, struct tl_secret *ret, struct tl_error *err)
{
	(void)ctx;
	(void)err;
	return tl_secret_set(ret, opts.auth, strlen(opts.auth));
}

static int principal(void *ctx, size_t i, const char *audience, size_t n, struct tl_secret *ret,
		     struct tl_error *err)
{
	char text[1024];

	(void)ctx;
	(void)err;
	snprintf(text, sizeof(text), "%s.%zu.%.*s", opts.identity, i, opts.key ? 0 : (int)n,
		 audience);
	if (opts.key && n < sizeof(text) / 4) /* Intel's has any bytes */
		tl_hex_encode(audience, n, text + strlen(text));
	return tl_secret_set(ret, text, strlen(text));
}

/* Not evidence of anything: the nonce stands where the quote would, for the fake to see. */
static int collect(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
		   struct tl_error *err)
{
	(void)err;
	++*(int *)ctx;
	ret->n_quotes = 1;
	ret->quotes[0].hash = TL_SHA256;
	if (tl_blob_set(&ret->record, "record", 6) < 0)
		return -ENOMEM;
	if (opts.key && opts.tdx) {
		tl_blob_set(&ret->tdx.quote, nonce, n);
		tl_blob_set(&ret->tdx.ccel_data, "ccel\xff", 5);
		tl_blob_set(&ret->tdx.cel, "cel", 3);
		tl_blob_set(&ret->ak_cert, "ak", 2);
	}
	return tl_blob_set(&ret->quotes[0].attest, nonce, n);
}

static int open_gca(const char *url, struct tl_cancel *cancel, struct tl_verifier **ret,
		    struct tl_error *err)
{
	const struct tl_verifier_options options = {
		.url = url,
		.ca_file = opts.ca,
		.project = opts.project,
		.region = opts.region,
		.api = strcmp(opts.api, "verifyAttestation") == 0 ? TL_VERIFIER_ATTESTATION
								  : TL_VERIFIER_CONFIDENTIAL_SPACE,
		.try_timeout_ms = opts.try_ms,
		.budget_ms = opts.budget,
		.cancel = cancel,
	};

	return tl_verifier_open_gca(&options, ret, err);
}

static int open_ita(const char *url, struct tl_cancel *cancel, struct tl_verifier **ret,
		    struct tl_error *err)
{
	auto_secret struct tl_secret key = { 0 };
	const struct tl_ita_options options = {
		.region = opts.region,
		.url = *url ? url : NULL,
		.api_key = &key,
		.ca_file = opts.ca,
		.try_timeout_ms = opts.try_ms,
		.budget_ms = opts.budget,
		.cancel = cancel,
	};

	tl_secret_set(&key, opts.key, strlen(opts.key));
	return tl_verifier_open_ita(&options, ret, err);
}

static int run_attest(char **args)
{
	auto_verifier struct tl_verifier *v = NULL;
	auto_attest_result struct tl_attest_result res = { 0 };
	struct tl_error err = { 0 };
	int collected = 0;
	const struct tl_attest_sources sources = {
		.bearer = opts.auth ? bearer : NULL,
		.principal = principal,
		.n_principals = opts.identity ? 2 : 0,
		.collect = collect,
		.collect_ctx = &collected,
	};
	char nonce[] = "nonce-1", *nonces[] = { nonce, NULL };
	const struct tl_token_options options = { .audience = opts.audience,
						  .nonces = { .items = nonces, .n = 1 },
						  .token_type = "OIDC" };
	uint64_t since_ms = tl_clock_mono_ms();
	json_t *o = json_object(), *warnings = json_array();
	struct canceller c;
	int r;

	canceller_start(&c);
	r = opts.key ? open_ita(args[0], c.cancel, &v, &err)
		     : open_gca(args[0], c.cancel, &v, &err);
	if (r == 0)
		r = tl_verifier_attest(v, &sources, opts.audience ? &options : NULL, &res, &err);
	canceller_end(&c);
	for (size_t i = 0; i < res.warnings.n; i++)
		json_array_append_new(warnings, json_string(res.warnings.items[i]));
	json_object_set_new(o, "warnings", warnings);
	json_object_set_new(o, "attempts", json_integer(res.attempts));
	json_object_set_new(o, "collected", json_integer(collected));
	json_object_set_new(o, "exp", json_integer(res.claims.exp_s));
	json_object_set_new(o, "skew_s", json_integer(res.skew_s));
	if (res.token.bytes)
		json_object_set_new(o, "token", json_string(res.token.bytes));
	print_result(o, r, &err, since_ms);
	return 0;
}

/* Each change of the kept token is one line: its event, as a number, and the status. */
static void keep_event(void *ctx, enum tl_token_event event, const struct tl_token_status *status,
		       const struct tl_error *err)
{
	json_t *o = json_object();

	(void)ctx;
	json_object_set_new(o, "event", json_integer(event));
	json_object_set_new(o, "state", json_string(tl_token_state_name(status->state)));
	json_object_set_new(o, "left_s", json_integer(status->expires_at_s - tl_clock_real_s()));
	print_result(o, 0, err ? err : &(struct tl_error){ 0 }, 0);
}

static int run_keep(char **args)
{
	struct tl_cancel *cancel = tl_cancel_new();
	auto_verifier struct tl_verifier *v = NULL;
	auto_attest_result struct tl_attest_result first = { 0 };
	struct tl_token_keeper *keeper = NULL;
	struct tl_error err = { 0 };
	int collected = 0;
	const struct tl_attest_sources sources = { .collect = collect, .collect_ctx = &collected };
	struct tl_token_keeper_options options = { .sources = &sources,
						   .dir = args[1],
						   .attempt_ms = opts.budget,
						   .quit = cancel,
						   .event = keep_event };
	uint64_t seconds = 0;
	int r = tl_str_parse_u64(args[2], 3600, &seconds);

	if (r == 0)
		r = open_gca(args[0], cancel, &v, &err);
	if (r == 0)
		r = tl_verifier_attest(v, &sources, NULL, &first, &err);
	options.verifier = v;
	if (r == 0)
		r = tl_token_keeper_start(&options, &first, &keeper, &err);
	if (r == 0)
		tl_clock_sleep_ms(seconds * 1000);
	else
		print_result(json_object(), r, &err, 0);
	tl_token_keeper_stop(keeper);
	tl_cancel_free(cancel);
	return 0;
}

/* --- impersonation ------------------------------------------------------------------------ */

static int run_account(char **args)
{
	auto_secret struct tl_secret bearer = { 0 };
	const struct tl_account_options options = { .url = args[0],
						    .ca_file = opts.ca,
						    .try_timeout_ms = opts.try_ms };
	struct tl_account_client *client = NULL;
	struct tl_error err = { 0 };
	uint8_t bytes[64];
	size_t n = opts.hex ? strlen(opts.hex) / 2 : strlen(opts.audience);
	int r = tl_account_open(&options, &client, &err);

	if (opts.hex && (n > sizeof(bytes) || tl_hex_decode(opts.hex, bytes, n) < 0))
		return 2;
	tl_secret_set(&bearer, opts.auth, strlen(opts.auth));
	if (r < 0)
		print_result(json_object(), r, &err, tl_clock_mono_ms());
	for (char **account = args + 1; client && *account; account++) {
		auto_secret struct tl_secret token = { 0 };
		uint64_t since_ms = tl_clock_mono_ms();
		json_t *o = json_object();

		err = (struct tl_error){ 0 };
		r = tl_account_token(client, &bearer, *account,
				     opts.hex ? (char *)bytes : opts.audience, n, &token, &err);
		if (token.bytes)
			json_object_set_new(o, "token", json_string(token.bytes));
		print_result(o, r, &err, since_ms);
	}
	tl_account_close(client);
	return 0;
}

/* --- certificates ------------------------------------------------------------------------- */

static json_t *chain_json(const struct tl_evidence *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < e->n_chain; i++) {
		auto_free char *hex = malloc(2 * e->cert_chain[i].n + 1);

		if (!hex)
			abort();
		tl_hex_encode(e->cert_chain[i].bytes, e->cert_chain[i].n, hex);
		json_array_append_new(list, json_string(hex));
	}
	return list;
}

static int run_chain(char **args)
{
	auto_buf struct tl_buf cert = { 0 };
	auto_strv struct tl_strv hosts = { 0 };
	struct tl_cert_chain *chain;
	struct tl_error err = { 0 };
	struct canceller c;

	tl_buf_init(&cert, 1 << 16);
	if (tl_file_read(args[0], &cert, &err) < 0)
		return 2;
	for (char **host = args + 1; *host; host++)
		tl_strv_add(&hosts, *host);
	chain = tl_cert_chain_new(&hosts);
	canceller_start(&c);
	for (uint64_t i = 0; chain && i < opts.times; i++) {
		auto_evidence struct tl_evidence e = { 0 };
		uint64_t since_ms = tl_clock_mono_ms();
		json_t *o = json_object();
		bool is_news;
		int r;

		err = (struct tl_error){ 0 };
		tl_blob_set(&e.ak_cert, cert.data, cert.len_bytes);
		r = tl_cert_chain_add(chain, &e, c.cancel, &is_news, &err);
		json_object_set_new(o, "chain", chain_json(&e));
		json_object_set_new(o, "is_news", json_boolean(is_news));
		print_result(o, r, &err, since_ms);
	}
	canceller_end(&c);
	tl_cert_chain_free(chain);
	return 0;
}

/* --- options ------------------------------------------------------------------------------ */

static bool option_take(const char *name, const char *value)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].name, name) != 0)
			continue;
		if (rows[i].text)
			*rows[i].text = value;
		return rows[i].text || tl_str_parse_u64(value, UINT64_MAX, rows[i].number) == 0;
	}
	if (strcmp(name, "header") != 0 || opts.n_headers + 1 >= TL_ARRAY_SIZE(opts.headers))
		return false;
	opts.headers[opts.n_headers++] = value;
	return true;
}

static const struct {
	const char *name;
	int (*run)(char **args);
} verbs[] = { { "http", run_http },  { "metadata", run_metadata }, { "attest", run_attest },
	      { "ita", run_attest }, { "keep", run_keep },         { "account", run_account },
	      { "chain", run_chain } };

int main(int argc, char **argv)
{
	int i = 1;

	signal(SIGPIPE, SIG_IGN);
	for (; i + 1 < argc && tl_str_starts_with(argv[i], "--"); i += 2)
		if (!option_take(argv[i] + 2, argv[i + 1]))
			return 2;
	if (i + 1 >= argc)
		return 2;
	for (size_t v = 0; v < TL_ARRAY_SIZE(verbs); v++)
		if (strcmp(argv[i], verbs[v].name) == 0)
			return verbs[v].run(argv + i + 1);
	return 2;
}
