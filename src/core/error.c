/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/str.h>

/* Room for text before it is escaped; anything longer would be cut by the message anyway. */
#define RAW_MAX TL_ERROR_MSG_MAX

static int fill(struct tl_error *err, enum tl_code code, int errnum, const char *raw)
{
	int r = errnum ? -errnum : -EIO;

	if (!err)
		return r;
	err->code = code;
	err->class = tl_catalogue_find(code)->class;
	tl_str_escape(raw, err->msg, sizeof(err->msg));
	return r;
}

int tl_fail(struct tl_error *err, enum tl_code code, int errnum, const char *fmt, ...)
{
	char raw[RAW_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	return fill(err, code, errnum, raw);
}

int tl_fail_sys(struct tl_error *err, enum tl_code code, int errnum, const char *fmt, ...)
{
	const char *text = strerrordesc_np(errnum ? errnum : EIO);
	char raw[RAW_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(raw))
		snprintf(raw + n, sizeof(raw) - (size_t)n, ": %s", text ? text : "unknown error");
	return fill(err, code, errnum, raw);
}

int tl_wrap(struct tl_error *err, int r, const char *fmt, ...)
{
	char raw[RAW_MAX];
	char outer[TL_ERROR_MSG_MAX];
	char inner[TL_ERROR_MSG_MAX];
	va_list ap;

	if (!err)
		return r;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	tl_str_escape(raw, outer, sizeof(outer));
	memcpy(inner, err->msg, sizeof(inner));
	inner[sizeof(inner) - 1] = '\0';
	/* Cut when full: the outer words say where, and come first. */
	if (snprintf(err->msg, sizeof(err->msg), "%s: %s", outer, inner) < 0)
		err->msg[0] = '\0';
	return r;
}
