/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of environment variables, and how the operator's variables replace the image's. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/str.h>

#define TL_ENV_DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* In the order in which they are looked for. */
enum tl_env_fault {
	TL_ENV_OK,
	TL_ENV_NAME_NOT_UTF8,
	TL_ENV_VALUE_NOT_UTF8,
	TL_ENV_NAME_MALFORMED, /* not [a-zA-Z_][a-zA-Z0-9_]* */
	TL_ENV_VALUE_NUL,
	TL_ENV_NO_EQUALS, /* "NAME=VALUE" without "=" */
};

/** Judge a name and a value given by length. */
enum tl_env_fault tl_env_check(const char *name, size_t name_n, const char *value, size_t value_n);
/** Judge a whole "NAME=VALUE". */
enum tl_env_fault tl_env_check_entry(const char *entry);
/** "env-name-malformed" and so on; NULL for TL_ENV_OK. Static storage. */
const char *tl_env_fault_category(enum tl_env_fault fault);

/**
 * The process environment: the image's variables (TL_ENV_DEFAULT_PATH if it has none), then each
 * override in place of the last entry of that name or at the end, then HOSTNAME by the same rule.
 * Empty entries are dropped; an entry without "=" stays.
 *
 * @overrides  in this order; sort them by name first, so that equal input gives equal measurements
 * @hostname   NULL: leave HOSTNAME alone
 * @ret        set on success only
 * Returns 0 or -ENOMEM.
 */
int tl_env_merge(const struct tl_strv *image_env, const struct tl_kvs *overrides,
		 const char *hostname, struct tl_strv *ret);
