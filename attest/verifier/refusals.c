/* SPDX-License-Identifier: Apache-2.0 */
#include "refusals.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <teelaunch/encoding.h>

void refuse(struct refusals *r, enum tl_code code, const char *fmt, ...)
{
	char text[TL_ERROR_MSG_MAX];
	struct tl_error err = { 0 };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)tl_fail(&err, code, EACCES, "%s", text);
	refuse_error(r, &err);
}

void refuse_error(struct refusals *r, const struct tl_error *err)
{
	if (r->n < REFUSALS_MAX)
		r->items[r->n] = *err;
	r->n++;
}

static struct refusal_values *values_last(struct refusals *r)
{
	return r->n && r->n <= REFUSALS_MAX ? &r->values[r->n - 1] : NULL;
}

void refuse_values(struct refusals *r, const char *expected, const char *found)
{
	struct refusal_values *v = values_last(r);

	if (!v)
		return;
	(void)snprintf(v->expected, sizeof(v->expected), "%s", expected);
	(void)snprintf(v->found, sizeof(v->found), "%s", found);
}

static void bytes_show(const void *bytes, size_t n, char ret[REFUSAL_VALUE_MAX])
{
	if (n > (REFUSAL_VALUE_MAX - 1) / 2)
		n = (REFUSAL_VALUE_MAX - 1) / 2;
	(void)snprintf(ret, REFUSAL_VALUE_MAX, "nothing");
	if (bytes && n)
		tl_hex_encode(bytes, n, ret);
}

void refuse_bytes(struct refusals *r, const void *expected, size_t expected_n, const void *found,
		  size_t found_n)
{
	struct refusal_values *v = values_last(r);

	if (!v)
		return;
	bytes_show(expected, expected_n, v->expected);
	bytes_show(found, found_n, v->found);
}
