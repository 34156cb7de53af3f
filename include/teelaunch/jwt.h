/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the dates and the audience of a JWT (RFC 7519) WITHOUT verifying its signature: enough to
 * schedule a refresh, never enough to trust a claim. Pure; safe on hostile bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

#define TL_JWT_MAX_BYTES (1024 * 1024)
/* 9999-12-31T23:59:59Z: a later date is taken for garbage. */
#define TL_JWT_DATE_MAX_S 253402300799

struct tl_jwt {
	int64_t exp_s; /* seconds since the epoch; fractions are cut off */
	int64_t iat_s;
	bool has_iat;
	struct tl_strv aud; /* "aud" may be a string or a list; empty if absent */
};

/**
 * @token  compact serialization, @n bytes: three parts of unpadded base64url, nothing around them
 * @ret    set on success only; owned by the caller
 *
 * Returns 0, -EBADMSG with TL_E_TOKEN_MALFORMED (also for a missing "exp" and for an "alg" that
 * RFC 7518 and RFC 8037 don't know), or -ENOMEM. The message never quotes the token.
 */
int tl_jwt_read(const char *token, size_t n, struct tl_jwt *ret, struct tl_error *err);
void tl_jwt_done(struct tl_jwt *j);
#define auto_jwt __attribute__((cleanup(tl_jwt_done)))

/** 0 if @now_s is strictly before the expiry; else -EKEYEXPIRED with TL_E_TOKEN_EXPIRED. */
int tl_jwt_check_fresh(const struct tl_jwt *j, int64_t now_s, struct tl_error *err);
