/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of RFC 3986 as a registry client needs: the origin of an https URL, the target of a
 * redirect, percent-encoding. Strict: what two readers could split differently is refused. Pure.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

#include "registry_host.h"

#define URL_BYTES_MAX 16384

/**
 * The host of an absolute https URL.
 *
 * Refused: another scheme, user information, control characters, spaces, backslashes, a fragment,
 * non-ASCII, and more than URL_BYTES_MAX bytes.
 *
 * @ret  set on success only
 * Returns 0, or -EINVAL (TL_E_REGISTRY_PROTOCOL) without the URL in the message: a query may hold
 * a signature.
 */
int url_host(const char *url, struct registry_host *ret, struct tl_error *err);

/**
 * Where a redirect from @base (valid for url_host()) to @location leads: an absolute https URL, or
 * one relative to @base that begins with "//", "/" or "?".
 *
 * @ret  new heap string, valid for url_host(); set on success only
 */
int url_redirect(const char *base, const char *location, char **ret, struct tl_error *err);

/** Append @s with everything but RFC 3986's unreserved characters percent-encoded. */
int url_encode(struct tl_buf *b, const char *s);
