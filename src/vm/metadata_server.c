/* SPDX-License-Identifier: Apache-2.0 */
#include "metadata_server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include <jansson.h>
#include <microhttpd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>

#include "attest/verifier/jwt_sign.h"

#define PREFIX             "/computeMetadata/v1/"
#define ATTRIBUTES         "instance/attributes/"
#define IDENTITY           "instance/service-accounts/default/identity"
#define ACCESS_TOKEN       "instance/service-accounts/default/token"
#define EMAIL              "instance/service-accounts/default/email"
#define KEY_FILE_MAX_BYTES (64 * 1024)
#define CONNECTIONS_MAX    32
#define IDLE_LIMIT_S       30
#define TICK_US            500000
#define TOKEN_LIFE_S       3600
#define IDENTITY_ISSUER    "https://accounts.google.com"
#define IDENTITY_SUBJECT   "104242424242424242424"

struct metadata_server {
	const struct vm_options *options;
	struct MHD_Daemon *daemon;
	struct token_keys *keys; /* of the identity provider */
	char *access_token;
	sd_event *loop;
	sd_event_source *io, *tick;
};

/* Of a VM that nobody has said more about. */
static const struct {
	const char *path, *value;
} default_values[] = {
	{ "project/project-id", "demo-project" },
	{ "project/numeric-project-id", "1234567890" },
	{ "instance/zone", "projects/1234567890/zones/us-central1-a" },
	{ "instance/id", "4242424242424242424" },
	{ "instance/name", "demo-vm" },
	{ EMAIL, "workload@demo-project.iam.gserviceaccount.com" },
};

const char *metadata_value(const struct vm_options *o, const char *path)
{
	const char *value = tl_kvs_get(&o->metadata, path);

	for (size_t i = 0; !value && i < TL_ARRAY_SIZE(default_values); i++)
		if (strcmp(default_values[i].path, path) == 0)
			value = default_values[i].value;
	return value;
}

/* --- answers ------------------------------------------------------------------------------ */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned int status, const char *type,
			      const void *body, size_t n)
{
	/* MHD copies it and changes nothing. */
	struct MHD_Response *res =
		MHD_create_response_from_buffer(n, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result r = MHD_NO;

	if (!res)
		return MHD_NO;
	if (MHD_add_response_header(res, "Metadata-Flavor", "Google") == MHD_YES &&
	    MHD_add_response_header(res, "Content-Type", type) == MHD_YES)
		r = MHD_queue_response(c, status, res);
	MHD_destroy_response(res);
	return r;
}

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned int status, const char *text)
{
	return answer(c, status, "application/text", text, strlen(text));
}

static enum MHD_Result answer_attributes(struct metadata_server *s, struct MHD_Connection *c)
{
	auto_buf struct tl_buf text = { 0 };

	tl_buf_init(&text, METADATA_FILE_MAX_BYTES);
	if (tl_file_read(s->options->attributes, &text, NULL) < 0)
		return answer_text(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "attributes unreadable");
	return answer(c, MHD_HTTP_OK, "application/json", tl_buf_str(&text), text.len_bytes);
}

static const char *last_part(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

/* As in Google's documentation of instance identity tokens, format=full. */
static json_t *identity_claims(const struct vm_options *o, const char *audience)
{
	int64_t now_s = tl_clock_real_s();
	uint64_t project_number = 0;

	if (tl_str_parse_u64(metadata_value(o, "project/numeric-project-id"), INT64_MAX,
			     &project_number) < 0)
		project_number = 0;
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:s, s:{s:{s:I, s:s, s:s, s:s, s:I, s:s}}}",
		"iss", IDENTITY_ISSUER, "aud", audience, "azp", IDENTITY_SUBJECT, "email",
		metadata_value(o, EMAIL), "email_verified", 1, "iat", (json_int_t)now_s, "exp",
		(json_int_t)now_s + TOKEN_LIFE_S, "sub", IDENTITY_SUBJECT, "google",
		"compute_engine", "instance_creation_timestamp", (json_int_t)now_s, "instance_id",
		metadata_value(o, "instance/id"), "instance_name",
		metadata_value(o, "instance/name"), "project_id",
		metadata_value(o, "project/project-id"), "project_number",
		(json_int_t)project_number, "zone", last_part(metadata_value(o, "instance/zone")));
}

static enum MHD_Result answer_identity(struct metadata_server *s, struct MHD_Connection *c)
{
	const char *audience = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "audience");
	auto_secret struct tl_secret token = { 0 };
	json_auto_t *claims = NULL;

	if (tl_str_is_empty(audience))
		return answer_text(c, MHD_HTTP_BAD_REQUEST,
				   "non-empty audience parameter required");
	claims = identity_claims(s->options, audience);
	if (!claims || jwt_sign(s->keys, claims, &token, NULL) < 0)
		return answer_text(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "no token");
	return answer(c, MHD_HTTP_OK, "text/html", token.bytes, token.len_bytes);
}

/* For APIs of the cloud, which isn't there: no server of this machine takes it. */
static enum MHD_Result answer_access_token(struct metadata_server *s, struct MHD_Connection *c)
{
	json_auto_t *doc = json_pack("{s:s, s:i, s:s}", "access_token", s->access_token,
				     "expires_in", TOKEN_LIFE_S, "token_type", "Bearer");
	auto_free char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	if (!text)
		return MHD_NO;
	return answer(c, MHD_HTTP_OK, "application/json", text, strlen(text));
}

static enum MHD_Result answer_path(struct metadata_server *s, struct MHD_Connection *c,
				   const char *path)
{
	const char *recursive = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "recursive");
	const char *value;

	if (strcmp(path, ATTRIBUTES) == 0 && recursive && strcmp(recursive, "true") == 0)
		return answer_attributes(s, c);
	if (strcmp(path, IDENTITY) == 0)
		return answer_identity(s, c);
	if (strcmp(path, ACCESS_TOKEN) == 0)
		return answer_access_token(s, c);
	value = metadata_value(s->options, path);
	return value ? answer_text(c, MHD_HTTP_OK, value)
		     : answer_text(c, MHD_HTTP_NOT_FOUND, "not found");
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_bytes, void **exchange)
{
	const char *flavor = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Metadata-Flavor");

	(void)version;
	(void)upload;
	(void)exchange;
	if (*upload_bytes || strcmp(method, MHD_HTTP_METHOD_GET) != 0) {
		*upload_bytes = 0;
		return answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only");
	}
	/* A page in a browser inside the VM can't set this header: Google's rule, and its reason.
	 */
	if (!flavor || strcmp(flavor, "Google") != 0)
		return answer_text(c, MHD_HTTP_FORBIDDEN, "Missing Metadata-Flavor:Google header.");
	if (!tl_str_starts_with(path, PREFIX))
		return answer_text(c, MHD_HTTP_NOT_FOUND, "not found");
	return answer_path(cls, c, path + strlen(PREFIX));
}

/* --- the server --------------------------------------------------------------------------- */

static int on_io(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct metadata_server *s = arg;

	(void)source;
	(void)fd;
	(void)events;
	MHD_run(s->daemon);
	return 0;
}

/* Connections that have been idle for too long are only noticed when the server is run. */
static int on_tick(sd_event_source *source, uint64_t now_us, void *arg)
{
	struct metadata_server *s = arg;

	(void)now_us;
	MHD_run(s->daemon);
	sd_event_source_set_time_relative(source, TICK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int key_load(struct metadata_server *s, struct tl_error *err)
{
	auto_buf struct tl_buf pem = { 0 };
	auto_secret struct tl_secret key = { 0 };
	int r;

	s->keys = token_keys_new();
	if (!s->keys)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "identity key");
	if (!s->options->identity_key)
		return token_keys_make(s->keys, err);
	tl_buf_init(&pem, KEY_FILE_MAX_BYTES);
	r = tl_file_read(s->options->identity_key, &pem, err);
	if (r < 0)
		return r;
	if (tl_secret_set(&key, tl_buf_str(&pem), pem.len_bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "identity key");
	return token_keys_add(s->keys, &key, err);
}

/* A file that can't be read is told now, not by a launch that fails in a minute. */
static int attributes_check(const struct vm_options *o, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };

	tl_buf_init(&text, METADATA_FILE_MAX_BYTES);
	return tl_file_read(o->attributes, &text, err);
}

static int loop_add(struct metadata_server *s)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r = info ? 0 : -EOPNOTSUPP;

	if (!r)
		r = sd_event_add_io(s->loop, &s->io, info->epoll_fd, EPOLLIN, on_io, s);
	if (r >= 0)
		r = sd_event_add_time_relative(s->loop, &s->tick, CLOCK_MONOTONIC, TICK_US, 0,
					       on_tick, s);
	return r < 0 ? r : 0;
}

static int server_start(struct metadata_server *s, int fd, struct tl_error *err)
{
	int r;

	s->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, s,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_LIMIT_S,
				     MHD_OPTION_END);
	if (!s->daemon) {
		close(fd);
		return tl_fail(err, TL_E_VM_SERVE, EIO, "the metadata server does not start");
	}
	r = loop_add(s);
	return r < 0 ? tl_fail_sys(err, TL_E_VM_SERVE, -r, "metadata server") : 0;
}

int metadata_server_new(int consume_fd, const struct vm_options *o, sd_event *loop,
			struct metadata_server **ret, struct tl_error *err)
{
	struct metadata_server *s = calloc(1, sizeof(*s));
	auto_close int fd = consume_fd;
	int r;

	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "metadata server");
	s->options = o;
	s->loop = sd_event_ref(loop);
	if (asprintf(&s->access_token, "ya29.local-%016" PRIx64, tl_clock_random()) < 0)
		s->access_token = NULL;
	r = s->access_token ? attributes_check(o, err)
			    : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "access token");
	if (!r)
		r = key_load(s, err);
	if (!r)
		r = server_start(s, take_fd(fd), err);
	if (!r)
		*ret = take_ptr(s);
	metadata_server_free(s);
	return r;
}

struct metadata_server *metadata_server_free(struct metadata_server *s)
{
	if (!s)
		return NULL;
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->tick);
	if (s->daemon)
		MHD_stop_daemon(s->daemon);
	token_keys_free(s->keys);
	free(s->access_token);
	sd_event_unref(s->loop);
	free(s);
	return NULL;
}
