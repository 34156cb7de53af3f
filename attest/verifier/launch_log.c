/* SPDX-License-Identifier: Apache-2.0 */
#include "launch_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/event_log.h>

#define ENV_NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"

struct event_rule {
	enum tl_event_type type;
	const char *name;
	bool is_single;
	bool is_required;
	/* NULL, or what is wrong with the content. @text is UTF-8 without NUL. */
	const char *(*read)(const char *text, size_t n, struct launch_claims *claims);
};

static const char no_memory[] = "there is no memory to keep it";

static const char *keep(const char *text, char **ret)
{
	*ret = strdup(text);
	return *ret ? NULL : no_memory;
}

static const char *read_image_ref(const char *text, size_t n, struct launch_claims *claims)
{
	return n ? keep(text, &claims->image_ref) : "it is empty";
}

static const char *read_image_digest(const char *text, size_t n, struct launch_claims *claims)
{
	(void)n;
	if (!tl_digest_text_is_valid(text))
		return "it is no digest 'sha256:<hex>'";
	return keep(text, &claims->image_digest);
}

static const char *read_image_id(const char *text, size_t n, struct launch_claims *claims)
{
	(void)n;
	if (!tl_digest_text_is_valid(text))
		return "it is no digest 'sha256:<hex>'";
	return keep(text, &claims->image_id);
}

static const char *read_restart_policy(const char *text, size_t n, struct launch_claims *claims)
{
	(void)n;
	if (strcmp(text, "Always") != 0 && strcmp(text, "OnFailure") != 0 &&
	    strcmp(text, "Never") != 0)
		return "it is none of Always, OnFailure and Never";
	return keep(text, &claims->restart_policy);
}

static const char *read_arg(const char *text, size_t n, struct launch_claims *claims)
{
	(void)n;
	return tl_strv_add(&claims->args, text) < 0 ? no_memory : NULL;
}

static const char *read_override_arg(const char *text, size_t n, struct launch_claims *claims)
{
	(void)n;
	return tl_strv_add(&claims->override_args, text) < 0 ? no_memory : NULL;
}

/* A claim holds one value a name: two different ones would make the token say half the truth. */
static const char *read_variable(const char *text, struct tl_kvs *ret)
{
	const char *equals = strchr(text, '=');
	auto_free char *name = NULL;
	const char *other;

	if (!equals || equals == text || (*text >= '0' && *text <= '9') ||
	    strspn(text, ENV_NAME_CHARS) != (size_t)(equals - text))
		return "it is no NAME=VALUE with a name of letters, digits and '_'";
	name = strndup(text, (size_t)(equals - text));
	if (!name)
		return no_memory;
	other = tl_kvs_get(ret, name);
	if (other && strcmp(other, equals + 1) != 0)
		return "its variable was measured before with another value";
	if (!other && tl_kvs_add(ret, name, equals + 1) < 0)
		return no_memory;
	return NULL;
}

static const char *read_env(const char *text, size_t n, struct launch_claims *claims)
{
	(void)n;
	return read_variable(text, &claims->env);
}

static const char *read_override_env(const char *text, size_t n, struct launch_claims *claims)
{
	(void)n;
	return read_variable(text, &claims->override_env);
}

static const char *read_separator(const char *text, size_t n, struct launch_claims *claims)
{
	(void)text;
	(void)claims;
	return n ? "it has content: the launch failed" : NULL;
}

static const struct event_rule rules[] = {
	{ TL_EVENT_IMAGE_REF, "image reference", true, true, read_image_ref },
	{ TL_EVENT_IMAGE_DIGEST, "image digest", true, true, read_image_digest },
	{ TL_EVENT_RESTART_POLICY, "restart policy", true, true, read_restart_policy },
	{ TL_EVENT_IMAGE_ID, "image id", true, false, read_image_id },
	{ TL_EVENT_ARG, "argument", false, false, read_arg },
	{ TL_EVENT_ENV, "variable", false, false, read_env },
	{ TL_EVENT_OVERRIDE_ARG, "override argument", false, false, read_override_arg },
	{ TL_EVENT_OVERRIDE_ENV, "override variable", false, false, read_override_env },
	{ TL_EVENT_SEPARATOR, "separator", true, true, read_separator },
	{ TL_EVENT_MEMORY_MONITOR, "memory monitor", true, false, NULL },
};
#define RULES_N TL_ARRAY_SIZE(rules)

void launch_claims_done(struct launch_claims *c)
{
	free(c->image_ref);
	free(c->image_digest);
	free(c->image_id);
	free(c->restart_policy);
	tl_strv_done(&c->args);
	tl_kvs_done(&c->env);
	tl_strv_done(&c->override_args);
	tl_kvs_done(&c->override_env);
	*c = (struct launch_claims){ 0 };
}

/* One raw byte, unlike all other contents. */
static const char *read_monitor(const struct tl_event *e, struct launch_claims *claims)
{
	if (e->content_len != 1 || e->content[0] > 1)
		return "it is not one byte, 0 or 1";
	claims->is_memory_monitored = e->content[0] == 1;
	return NULL;
}

static const char *event_read(const struct event_rule *rule, const struct tl_event *e,
			      struct launch_claims *claims)
{
	auto_free char *text = NULL;

	if (!rule->read)
		return read_monitor(e, claims);
	if (e->content_len && (memchr(e->content, '\0', e->content_len) ||
			       !tl_utf8_is_valid((const char *)e->content, e->content_len)))
		return "it is not UTF-8 text";
	text = strndup(e->content_len ? (const char *)e->content : "", e->content_len);
	return text ? rule->read(text, e->content_len, claims) : no_memory;
}

static const struct event_rule *rule_find(uint8_t type)
{
	for (size_t i = 0; i < RULES_N; i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

static void events_read(const struct tl_cel *cel, struct launch_claims *claims,
			struct refusals *refusals)
{
	unsigned int seen[RULES_N] = { 0 };
	bool is_closed = false;

	for (size_t i = 0; i < cel->n; i++) {
		const struct tl_event *e = &cel->records[i].event;
		const struct event_rule *rule = rule_find(e->type);
		const char *fault = NULL;

		if (is_closed)
			fault = "it comes after the separator";
		else if (!rule)
			fault = "its type is not one that this verifier knows";
		else if (rule->is_single && seen[rule - rules]++)
			fault = "there was one before";
		else
			fault = event_read(rule, e, claims);
		if (fault) {
			refuse(refusals, TL_E_VERIFY_LAUNCH_EVENTS,
			       "launch log, record %zu (type %u, %s): %s", i, e->type,
			       rule ? rule->name : "unknown", fault);
			return;
		}
		is_closed = e->type == TL_EVENT_SEPARATOR;
		seen[rule - rules] |= 1;
	}
	for (size_t i = 0; i < RULES_N; i++)
		if (rules[i].is_required && !seen[i])
			refuse(refusals, TL_E_VERIFY_LAUNCH_EVENTS,
			       "launch log: the %s (type %d) is missing", rules[i].name,
			       (int)rules[i].type);
}

/* A quoted register that the log must lead to. */
struct launch_register {
	const char *name; /* "PCR 13" */
	uint16_t hash;
	const uint8_t *value;
};

static void replay_check(const struct tl_cel *cel, const struct launch_register *reg,
			 struct refusals *refusals)
{
	uint8_t value[TL_HASH_SIZE_MAX];
	struct tl_error err = { 0 };

	if (tl_cel_replay(cel, reg->hash, value, &err) < 0) {
		refuse(refusals, TL_E_VERIFY_LAUNCH_REPLAY, "launch log, bank %s: %s",
		       tl_hash_name(reg->hash), err.msg);
	} else if (memcmp(value, reg->value, tl_hash_size(reg->hash)) != 0) {
		refuse(refusals, TL_E_VERIFY_LAUNCH_REPLAY,
		       "the launch log doesn't lead to the quoted %s of bank %s", reg->name,
		       tl_hash_name(reg->hash));
		refuse_bytes(refusals, reg->value, tl_hash_size(reg->hash), value,
			     tl_hash_size(reg->hash));
	}
}

static void log_check(const struct tl_buf *log, enum tl_cel_form form,
		      const struct launch_register *registers, size_t n, struct launch_claims *ret,
		      struct refusals *refusals)
{
	auto_cel struct tl_cel cel = { 0 };
	struct tl_error err = { 0 };

	if (tl_cel_decode(log->data, log->len_bytes, &cel, NULL, &err) < 0) {
		refuse(refusals, TL_E_VERIFY_LAUNCH_LOG, "launch log: %s", err.msg);
		return;
	}
	if (cel.n && cel.form != form) {
		refuse(refusals, TL_E_VERIFY_LAUNCH_LOG, "launch log: its records are for %s",
		       form == TL_CEL_TPM ? "a TDX register, not for a TPM's PCR 13"
					  : "a TPM's PCR 13, not for a TDX register");
		return;
	}
	for (size_t i = 0; i < n; i++)
		replay_check(&cel, &registers[i], refusals);
	events_read(&cel, ret, refusals);
	if (!ret->image_id)
		ret->image_id = strdup("");
	if (!ret->image_id)
		refuse(refusals, TL_E_NO_MEMORY, "memory for claims");
}

void launch_log_check(const struct verify_request *req, struct launch_claims *ret,
		      struct refusals *refusals)
{
	struct launch_register registers[REQUEST_BANKS_MAX];

	for (size_t i = 0; i < req->banks_n; i++)
		registers[i] = (struct launch_register){ "PCR 13", req->banks[i].hash,
							 req->banks[i].pcrs.value[TL_CEL_PCR] };
	log_check(&req->launch_log, TL_CEL_TPM, registers, req->banks_n, ret, refusals);
}

void launch_log_check_cc(const struct tl_buf *log, const uint8_t *rtmr3, struct launch_claims *ret,
			 struct refusals *refusals)
{
	const struct launch_register reg = { "RTMR 3", TL_SHA384, rtmr3 };

	log_check(log, TL_CEL_TDX, &reg, 1, ret, refusals);
}

static bool is_same_event(const struct tl_event *a, const struct tl_event *b)
{
	return a->type == b->type && a->content_len == b->content_len &&
	       memcmp(a->content, b->content, a->content_len) == 0;
}

void launch_logs_compare(const struct tl_buf *a, const struct tl_buf *b, struct refusals *refusals)
{
	auto_cel struct tl_cel first = { 0 }, second = { 0 };
	size_t i = 0;

	/* What can't be read was refused before. */
	if (tl_cel_decode(a->data, a->len_bytes, &first, NULL, NULL) < 0 ||
	    tl_cel_decode(b->data, b->len_bytes, &second, NULL, NULL) < 0)
		return;
	while (i < first.n && i < second.n &&
	       is_same_event(&first.records[i].event, &second.records[i].event))
		i++;
	if (i < first.n || i < second.n)
		refuse(refusals, TL_E_VERIFY_LAUNCH_EVENTS,
		       "launch log, record %zu: the log of PCR 13 and that of RTMR 3 are of "
		       "different launches",
		       i);
}
