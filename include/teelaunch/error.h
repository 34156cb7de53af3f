/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error object: what went wrong, in one line, with a row of the catalogue.
 *
 * Functions return 0 or a negative errno and take `struct tl_error *err` as their last parameter
 * where there is more to say. The class is chosen by the catalogue row, where the cause is known,
 * and is read in one place only: the exit decision.
 */
#pragma once

#include <stdarg.h>
#include <stdint.h>

#include <teelaunch/catalogue.h>

#define TL_ERROR_MSG_MAX 512

struct tl_error {
	enum tl_class class;
	enum tl_code code;          /* row of the catalogue; 0 = no error */
	char msg[TL_ERROR_MSG_MAX]; /* "outer: inner"; one line, escaped, cut when full; never a
				       secret */
};

/**
 * Fill @err from catalogue row @code and return -@errnum.
 *
 * @err     may be NULL
 * @errnum  positive errno; 0 is taken as EIO, so that a failure can never look like success
 * @fmt     never a secret. Bytes that are not printable UTF-8 come out as \xNN, so foreign text is
 * safe.
 */
int tl_fail(struct tl_error *err, enum tl_code code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), cold));

/** tl_fail(), with ": " and the system's text for @errnum appended. */
int tl_fail_sys(struct tl_error *err, enum tl_code code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), cold));

/** Put "<text>: " before the message of a filled @err; keeps code and class. Returns @r unchanged.
 */
int tl_wrap(struct tl_error *err, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));
