/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/token_file.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#define SCHEMA    "teelaunch.token-status/1"
#define FILE_MODE 0644
#define DIR_MODE  0755

const char *tl_token_state_name(enum tl_token_state state)
{
	static const char *const names[] = {
		[TL_TOKEN_NONE] = "none",
		[TL_TOKEN_VALID] = "valid",
		[TL_TOKEN_STALE] = "stale",
		[TL_TOKEN_EXPIRED] = "expired",
	};

	return state < TL_ARRAY_SIZE(names) ? names[state] : "none";
}

static int dir_open(const char *dir, struct tl_error *err)
{
	bool is_new = mkdir(dir, DIR_MODE) == 0;
	int fd;

	if (!is_new && errno != EEXIST)
		return tl_fail_sys(err, TL_E_TOKEN_FILE, errno, "make folder '%s'", dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return tl_fail_sys(err, TL_E_TOKEN_FILE, errno, "open folder '%s'", dir);
	if (is_new && fchmod(fd, DIR_MODE) < 0) { /* whatever the umask says */
		int r = tl_fail_sys(err, TL_E_TOKEN_FILE, errno, "mode of folder '%s'", dir);

		close(fd);
		return r;
	}
	return fd;
}

static int replace(const char *dir, const char *name, const void *data, size_t n,
		   struct tl_error *err)
{
	auto_close int fd = dir_open(dir, err);
	struct tl_error inner = { 0 };
	int r;

	if (fd < 0)
		return fd;
	r = tl_file_replace(fd, name, data, n, FILE_MODE, &inner);
	return r < 0 ? tl_fail(err, TL_E_TOKEN_FILE, -r, "folder '%s': %s", dir, inner.msg) : 0;
}

int tl_token_file_write(const char *dir, const struct tl_secret *jwt, struct tl_error *err)
{
	if (tl_secret_is_empty(jwt))
		return tl_fail(err, TL_E_TOKEN_MALFORMED, EBADMSG, "token: empty");
	return replace(dir, TL_TOKEN_FILE_NAME, jwt->bytes, jwt->len_bytes, err);
}

static json_t *date_or_null(int64_t s)
{
	return s ? json_integer(s) : json_null();
}

static json_t *error_or_null(enum tl_code code)
{
	return code ? json_pack("{s:s}", "code", tl_catalogue_find(code)->id) : json_null();
}

static char *status_text(const struct tl_token_status *s)
{
	json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:I}", "schema", SCHEMA, "state",
			      tl_token_state_name(s->state), "expires_at",
			      date_or_null(s->expires_at_s), "refreshed_at",
			      date_or_null(s->refreshed_at_s), "next_attempt_at",
			      date_or_null(s->next_attempt_at_s), "attempts",
			      (json_int_t)s->attempts, "last_error", error_or_null(s->last_error),
			      "clock_skew_s", (json_int_t)s->clock_skew_s);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return text;
}

int tl_token_status_write(const char *dir, const struct tl_token_status *status,
			  struct tl_error *err)
{
	auto_free char *text = status_text(status);

	if (!text)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token status");
	return replace(dir, TL_TOKEN_STATUS_NAME, text, strlen(text), err);
}

int tl_token_files_remove(const char *dir, struct tl_error *err)
{
	static const char *const names[] = { TL_TOKEN_FILE_NAME, TL_TOKEN_STATUS_NAME };
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return tl_fail_sys(err, TL_E_TOKEN_FILE, errno, "open folder '%s'", dir);
	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++)
		if (unlinkat(fd, names[i], 0) < 0 && errno != ENOENT)
			return tl_fail_sys(err, TL_E_TOKEN_FILE, errno, "remove '%s' in '%s'",
					   names[i], dir);
	return 0;
}
