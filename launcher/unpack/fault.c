/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void __attribute__((format(printf, 2, 0)))
set_text(struct tl_unpack_fault *fault, const char *fmt, va_list args)
{
	/* Zeroed to its end: all of it goes to the other side. */
	memset(fault->text, 0, sizeof(fault->text));
	if (vsnprintf(fault->text, sizeof(fault->text), fmt, args) < 0)
		fault->text[0] = '\0';
	for (char *c = fault->text; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
}

int tl_unpack_fail(struct tl_unpack_fault *fault, enum tl_unpack_why why, int errnum,
		   const char *fmt, ...)
{
	va_list args;

	fault->why = why;
	fault->error = errnum;
	va_start(args, fmt);
	set_text(fault, fmt, args);
	va_end(args);
	return errnum ? -errnum : -EPROTO;
}

static enum tl_unpack_why why_of(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return TL_UNPACK_NO_SPACE;
	case EFBIG:
		return TL_UNPACK_LIMIT;
	case EIO:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EROFS:
	case EBADF:
	case EFAULT:
	case ESTALE:
	case EUCLEAN:
		return TL_UNPACK_IO;
	default:
		return TL_UNPACK_UNSUPPORTED;
	}
}

int tl_unpack_fail_sys(struct tl_unpack_fault *fault, int errnum, const char *fmt, ...)
{
	va_list args;

	fault->why = why_of(errnum);
	fault->error = errnum;
	va_start(args, fmt);
	set_text(fault, fmt, args);
	va_end(args);
	return errnum ? -errnum : -EPROTO;
}
