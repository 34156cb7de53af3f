/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of the Confidential Computing REST API: status to error, the service's own words made
 * safe to show, Retry-After, resource names. Hostile bytes. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#define GCA_NAME_MAX_BYTES 512
/* What is shown of the service's own words. */
#define GCA_WORDS_MAX_BYTES 256
/* Nobody waits longer than a day. */
#define GCA_RETRY_AFTER_MAX_MS (86400 * UINT64_C(1000))

/**
 * @status    of the response
 * @ret       status 200: the reply, a JSON object, a new reference. Set on success only.
 *
 * TL_E_VERIFIER_BUSY (429), _UNAVAILABLE (5xx, 408, and 409 where google.rpc.Status says ABORTED),
 * _CREDENTIALS (401, 403), _REFUSED (others), with the service's message; _RESPONSE when a 200
 * isn't a JSON object.
 */
int gca_reply_parse(int status, const void *body, size_t n, json_t **ret, struct tl_error *err);

/** Date (RFC 9110 section 6.6.1) as seconds since the epoch; 0 if absent or unreadable. */
int64_t gca_date_s(const char *value);

/** Retry-After (RFC 9110 section 10.2.3), seconds or a date; 0 if absent, past or unreadable. */
uint64_t gca_retry_after_ms(const char *value, int64_t now_s);

/**
 * Copy foreign words: cut at @cap_bytes, and every run of 40 or more characters that could be a
 * token becomes "[...]".
 */
void gca_words_redact(const char *words, char *ret, size_t cap_bytes);

/** "projects/...", at most GCA_NAME_MAX_BYTES of what is safe in a URL's path; no "..", no "//". */
bool gca_name_is_valid(const char *name);
