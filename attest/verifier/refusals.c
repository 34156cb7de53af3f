/* SPDX-License-Identifier: Apache-2.0 */
#include "refusals.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

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
