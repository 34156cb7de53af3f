/* SPDX-License-Identifier: Apache-2.0 */
#include "www_authenticate.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>

/* A cursor over the header value; every token and value fits into the value itself. */
struct scan {
	const char *at;
	char token[WWW_AUTHENTICATE_BYTES_MAX + 1];
	char value[WWW_AUTHENTICATE_BYTES_MAX + 1];
	unsigned int params_n;
};

static void challenge_done(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	free(c->error);
	*c = (struct challenge){ 0 };
}

void challenges_done(struct challenges *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++)
		challenge_done(&v->items[i]);
	v->n = 0;
}

static int bad(struct tl_error *err, const char *why)
{
	return tl_fail(err, TL_E_REGISTRY_PROTOCOL, EINVAL,
		       "the registry's WWW-Authenticate header %s", why);
}

/* RFC 9110 section 5.6.2: token. */
static bool is_token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_space(struct scan *s)
{
	while (*s->at == ' ' || *s->at == '\t')
		s->at++;
}

static size_t read_token(struct scan *s)
{
	size_t n = 0;

	while (is_token_char(*s->at))
		s->token[n++] = *s->at++;
	s->token[n] = '\0';
	return n;
}

/* RFC 9110 section 5.6.4: quoted-string, with quoted-pair undone. */
static int read_quoted(struct scan *s, struct tl_error *err)
{
	size_t n = 0;

	s->at++;
	while (*s->at != '"') {
		if (*s->at == '\\')
			s->at++;
		if (!*s->at)
			return bad(err, "has a quoted string without an end");
		s->value[n++] = *s->at++;
	}
	s->at++;
	s->value[n] = '\0';
	return 0;
}

static int read_value(struct scan *s, struct tl_error *err)
{
	size_t n = 0;

	if (*s->at == '"')
		return read_quoted(s, err);
	while (is_token_char(*s->at))
		s->value[n++] = *s->at++;
	s->value[n] = '\0';
	return n ? 0 : bad(err, "has a parameter without a value");
}

static char **param_field(struct challenge *c, const char *name)
{
	const struct {
		const char *name;
		char **field;
	} known[] = {
		{ "realm", &c->realm },
		{ "service", &c->service },
		{ "scope", &c->scope },
		{ "error", &c->error },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(known); i++)
		if (strcasecmp(known[i].name, name) == 0)
			return known[i].field;
	return NULL;
}

static int param_store(struct scan *s, struct challenge *c, struct tl_error *err)
{
	char **field = param_field(c, s->token);

	if (++s->params_n > CHALLENGE_PARAMS_MAX)
		return bad(err, "has too many parameters");
	if (!field)
		return 0;
	if (*field)
		return bad(err, "has a parameter twice");
	*field = strdup(s->value);
	return *field ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a challenge");
}

static int scheme_start(struct scan *s, struct challenges *v, struct tl_error *err)
{
	struct challenge *c = &v->items[v->n];

	if (v->n == CHALLENGES_MAX)
		return bad(err, "has too many challenges");
	if (strcasecmp(s->token, "bearer") == 0)
		c->scheme = AUTH_BEARER;
	else if (strcasecmp(s->token, "basic") == 0)
		c->scheme = AUTH_BASIC;
	v->n++;
	s->params_n = 0;
	return 0;
}

/* "scheme68 abc==" (Negotiate and its like): what follows the scheme is no parameter. */
static void skip_token68(struct scan *s)
{
	const char *p = s->at;

	while (isalnum((unsigned char)*p) || (*p && strchr("-._~+/", *p)))
		p++;
	while (*p == '=')
		p++;
	if (p > s->at && (*p == ',' || !*p))
		s->at = p;
}

/* One element of the list: a scheme, perhaps with its first parameter, or a parameter of the last.
 */
static int element(struct scan *s, struct challenges *v, struct tl_error *err)
{
	int r;

	if (!read_token(s))
		return bad(err, "isn't a list of challenges");
	skip_space(s);
	if (*s->at != '=') {
		r = scheme_start(s, v, err);
		if (r < 0)
			return r;
		skip_token68(s);
		skip_space(s);
		if (!*s->at || *s->at == ',')
			return 0;
		if (!read_token(s))
			return bad(err, "has text after a scheme that is no parameter");
		skip_space(s);
	}
	if (*s->at != '=' || !v->n)
		return bad(err, "has text that is no parameter");
	s->at++;
	skip_space(s);
	r = read_value(s, err);
	return r < 0 ? r : param_store(s, &v->items[v->n - 1], err);
}

static int scan_all(struct scan *s, struct challenges *v, struct tl_error *err)
{
	for (;;) {
		int r;

		while (*s->at == ' ' || *s->at == '\t' || *s->at == ',')
			s->at++;
		if (!*s->at)
			return 0;
		r = element(s, v, err);
		if (r < 0)
			return r;
		skip_space(s);
		if (*s->at && *s->at != ',')
			return bad(err, "has parameters without a comma between them");
	}
}

int challenges_parse(const char *value, struct challenges *v, struct tl_error *err)
{
	auto_challenges struct challenges found = { 0 };
	auto_free struct scan *s = NULL;
	int r;

	if (strlen(value) > WWW_AUTHENTICATE_BYTES_MAX)
		return bad(err, "is too long");
	for (const char *p = value; *p; p++)
		if (iscntrl((unsigned char)*p) && *p != '\t')
			return bad(err, "has a control character");
	s = calloc(1, sizeof(*s));
	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a challenge");
	s->at = value;
	r = scan_all(s, &found, err);
	if (r < 0)
		return r;
	if (found.n > CHALLENGES_MAX - v->n)
		return bad(err, "has too many challenges");
	memcpy(v->items + v->n, found.items, found.n * sizeof(found.items[0]));
	v->n += found.n;
	found.n = 0;
	return 0;
}

const struct challenge *challenges_best(const struct challenges *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->items[i].scheme == AUTH_BEARER && v->items[i].realm)
			return &v->items[i];
	for (size_t i = 0; i < v->n; i++)
		if (v->items[i].scheme == AUTH_BASIC)
			return &v->items[i];
	return NULL;
}
