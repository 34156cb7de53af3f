/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>

#include "signed_jwt.h"

struct identity_keys {
	char *issuer;
	struct jwk_set *keys;
};

struct identity_keys *identity_keys_free(struct identity_keys *k)
{
	if (!k)
		return NULL;
	(void)jwk_set_free(k->keys);
	free(k->issuer);
	free(k);
	return NULL;
}

int identity_keys_new(const char *jwks, size_t n, const char *issuer, struct identity_keys **ret,
		      struct tl_error *err)
{
	auto_identity_keys struct identity_keys *k = NULL;
	auto_jwk_set struct jwk_set *keys = NULL;
	int r = jwk_set_new(jwks, n, &keys, err);

	if (r < 0)
		return tl_wrap(err, r, "identity keys");
	k = calloc(1, sizeof(*k));
	if (k)
		k->issuer = strdup(issuer);
	if (!k || !k->issuer)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for identity keys");
	k->keys = take_ptr(keys);
	*ret = take_ptr(k);
	return 0;
}

static bool is_string(const json_t *claims, const char *name, const char *due)
{
	const char *s = json_string_value(json_object_get(claims, name));

	return s && strcmp(s, due) == 0;
}

static const char *claims_fault(const struct identity_keys *k, const json_t *claims,
				const char *audience, int64_t now_s)
{
	const json_t *exp = json_object_get(claims, "exp"), *iat = json_object_get(claims, "iat");
	const json_t *email = json_object_get(claims, "email");

	if (!is_string(claims, "iss", k->issuer))
		return "its issuer is not the configured one";
	if (!is_string(claims, "aud", audience))
		return "its audience is not this challenge's name";
	if (!json_is_integer(exp) || json_integer_value(exp) <= now_s)
		return "it has expired, or has no 'exp'";
	if (iat && (!json_is_integer(iat) || json_integer_value(iat) > now_s + IDENTITY_CLOCK_SKEW))
		return "it was issued in the future";
	if (!json_is_string(email) || json_string_length(email) == 0 ||
	    json_string_length(email) > IDENTITY_EMAIL_MAX ||
	    !json_is_true(json_object_get(claims, "email_verified")))
		return "it has no verified 'email'";
	return NULL;
}

int identity_check(const struct identity_keys *k, const struct tl_secret *token,
		   const char *audience, int64_t now_s, char **ret_email, struct tl_error *err)
{
	auto_signed_jwt struct signed_jwt jwt = { 0 };
	const char *fault;
	char *email;

	if (signed_jwt_parse(token->bytes, token->len_bytes, &jwt) < 0)
		return tl_fail(err, TL_E_VERIFY_IDENTITY, EACCES,
			       "the identity token is no compact JWT");
	fault = signed_jwt_fault(k->keys, &jwt);
	if (!fault)
		fault = claims_fault(k, jwt.claims, audience, now_s);
	if (fault)
		return tl_fail(err, TL_E_VERIFY_IDENTITY, EACCES, "the identity token: %s", fault);
	email = strdup(json_string_value(json_object_get(jwt.claims, "email")));
	if (!email)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for an e-mail address");
	*ret_email = email;
	return 0;
}
