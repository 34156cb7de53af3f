/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WWW-Authenticate header of a registry: RFC 9110 section 11.6.1 with the parameters of the
 * distribution project's token specification (realm, service, scope, error). Hostile bytes. Pure.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/error.h>

#define WWW_AUTHENTICATE_BYTES_MAX 8192
#define CHALLENGES_MAX             8
#define CHALLENGE_PARAMS_MAX       16

enum auth_scheme {
	AUTH_OTHER,
	AUTH_BASIC,
	AUTH_BEARER,
};

struct challenge {
	enum auth_scheme scheme;
	char *realm; /* this and the next: NULL if absent */
	char *service;
	char *scope;
	char *error; /* "insufficient_scope", ... */
};

struct challenges {
	struct challenge items[CHALLENGES_MAX];
	size_t n;
};

/**
 * Append the challenges of one header value to @v, which the caller set to zero before the first.
 *
 * Schemes and parameter names are case-insensitive. A parameter that comes twice in one challenge,
 * or a control character, refuses the whole header: two readers could differ about it.
 *
 * Returns 0, -EINVAL (TL_E_REGISTRY_PROTOCOL), or -ENOMEM; @v is unchanged on failure.
 */
int challenges_parse(const char *value, struct challenges *v, struct tl_error *err);
void challenges_done(struct challenges *v);
#define auto_challenges __attribute__((cleanup(challenges_done)))

/** The first Bearer challenge with a realm, else the first Basic one, else NULL. Borrowed. */
const struct challenge *challenges_best(const struct challenges *v);
