/* SPDX-License-Identifier: Apache-2.0 */
#include "generator.h"

#include "vectors.h"

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#define LABEL(name)     TL_LABEL_PREFIX name
#define VALUE_BYTES_MAX 4096

uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

bool coin(uint32_t *seed)
{
	return next_random(seed) & 1;
}

static const struct source key_sources[] = {
	{ "tee-schema-version", { "1" }, { "2", "x", "##" }, NULL },
	{ "test-fake-verifier", { "false", "0" }, { "true", "t", "maybe" }, NULL },
	{ "tee-install-gpu-driver", { "false", "F" }, { "true", "gpu#" }, NULL },
	{ "tee-image-reference",
	  { "h.example/p@:t#", "h.example:5#/p/q:t" },
	  { "", "nginx", "https://h.example/p", "H/@ @" },
	  NULL },
	{ "tee-restart-policy", { "Always", "OnFailure", "Never", "" }, { "no", "always" }, NULL },
	{ "tee-impersonate-service-accounts",
	  { "a@#.example", "a@.example,b@.example" },
	  { ",", " a" },
	  NULL },
	{ "tee-signed-image-repos", { "h.example/@", "a,b#" }, { ",,", "a, b" }, NULL },
	{ "tee-monitoring-memory-enable",
	  { "true", "false", "" },
	  { "yes", "#" },
	  "tee-monitoring-enable" },
	{ "tee-monitoring-enable",
	  { "all", "MEMORYONLY", "none" },
	  { "some@" },
	  "tee-monitoring-memory-enable" },
	{ "tee-cmd", { "[\"a@\"]", "[\"--n=#\",\"\"]", "[]" }, { "x", "[1]", "[\"@\"" }, NULL },
	{ "tee-env-@", { "", "v#", "secret @" }, { "\x01@" }, NULL },
	{ "tee-container-log-redirect",
	  { "true", "false", "serial", "cloud_logging" },
	  { "maybe" },
	  NULL },
	{ "gca-service-env", { "prod", "Staging", "AUTOPUSH" }, { "", "x@" }, NULL },
	{ "tee-dev-shm-size-kb",
	  { "###", "#", "0" },
	  { "-#", "#k", "99999999999999999999", "9#00000000000" },
	  NULL },
	{ "tee-mount",
	  { "type=tmpfs,source=tmpfs,destination=/@",
	    "type=tmpfs,source=tmpfs,destination=/@/b#,size=###;"
	    "type=tmpfs,source=tmpfs,destination=/c#" },
	  { "type=tmpfs,source=tmpfs,destination=/proc", ";", "type=bind,source=@,destination=/@",
	    "type=tmpfs,source=tmpfs,destination=/@,size=-#",
	    "type=tmpfs,source=tmpfs,destination=/a/..", "type=tmpfs,source=tmpfs,mode=#" },
	  NULL },
	{ "ita-region", { NULL }, { "US", "", "e#" }, NULL },
	{ "ita-api-key", { NULL }, { "k#@", "" }, NULL },
	{ "tee-added-capabilities",
	  { "[\"CAP_CHOWN\"]", "[\"CAP_KILL\",\"CAP_CHOWN\"]" },
	  { "[\"CAP_@#\"]", "CAP_CHOWN" },
	  NULL },
	{ "tee-cgroup-ns", { "true", "false" }, { "", "#" }, NULL },
	{ "tee-disable-gca-refresh", { "true", "f" }, { "no" }, NULL },
	/* None of ours, or nearly. */
	{ "tee-env-@-#", { NULL }, { "v" }, NULL },
	{ "tee-env-HOSTNAME", { NULL }, { "h#" }, NULL },
	{ "tee-@oo", { "#" }, { "x" }, NULL },
	{ "zoo#", { "@" }, { "" }, NULL },
};

const struct ladder ladders[LADDERS] = {
	{ LABEL("schema_version"), { NULL, "1", "2" }, 3, ANY },
	{ LABEL("allow_env_override"), { "A,B,C,x", "A,B,C", "A,C", "A", "", NULL }, 6, ANY },
	{ LABEL("allow_cmd_override"), { "true", "1", "false", "0", NULL }, 5, ANY },
	{ LABEL("log_redirect"), { "always", "ALWAYS", "debugonly", NULL, "never" }, 5, ANY },
	{ LABEL("monitoring_memory_allow"), { "always", "debugonly", "never" }, 3, OLD_MONITORING },
	{ LABEL("hardened_monitoring"), { "all", "memoryOnly", "none", NULL }, 4, NEW_MONITORING },
	{ LABEL("debug_monitoring"), { "all", "memoryOnly", NULL, "none" }, 4, NEW_MONITORING },
	{ LABEL("allow_mount_destinations"), { "/", "/A:/B:/C", "/A", "/A/b1", "", NULL }, 6, ANY },
	{ LABEL("allow_capabilities"), { "t", "true", "F", NULL }, 4, ANY },
	{ LABEL("allow_cgroups"), { "T", "True", "False", NULL }, 4, ANY },
};

const struct source *key_source(size_t i)
{
	return i < TL_ARRAY_SIZE(key_sources) ? &key_sources[i] : NULL;
}

void members_done(struct members *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->names[i]);
		free(m->texts[i]);
	}
	m->n = 0;
}

bool members_have(const struct members *m, const char *name)
{
	for (size_t i = 0; name && i < m->n; i++)
		if (strcmp(m->names[i], name) == 0)
			return true;
	return false;
}

static void members_add(struct members *m, const char *name, const json_t *value)
{
	json_auto_t *key = json_string(name);
	auto_free char *k = json_dumps(key, JSON_ENCODE_ANY);
	auto_free char *v = json_dumps(value, JSON_ENCODE_ANY);

	assert_in_range(m->n, 0, MEMBERS_MAX - 1);
	m->names[m->n] = strdup(name);
	assert_true(asprintf(&m->texts[m->n], "%s:%s", k, v) > 0);
	m->n++;
}

void members_shuffle(struct members *m, uint32_t *seed)
{
	for (size_t i = m->n; i > 1; i--) {
		size_t k = next_random(seed) % i;
		char *name = m->names[k], *text = m->texts[k];

		m->names[k] = m->names[i - 1];
		m->texts[k] = m->texts[i - 1];
		m->names[i - 1] = name;
		m->texts[i - 1] = text;
	}
}

char *members_text(const struct members *m)
{
	struct tl_buf text;

	tl_buf_init(&text, (size_t)MEMBERS_MAX * VALUE_BYTES_MAX);
	for (size_t i = 0; i < m->n; i++)
		assert_int_equal(tl_buf_printf(&text, "%c%s", i ? ',' : '{', m->texts[i]), 0);
	assert_int_equal(tl_buf_append_str(&text, m->n ? "}" : "{}"), 0);
	return tl_buf_take_str(&text);
}

static char *filled_in(const char *pattern, uint32_t *seed)
{
	char *ret = strdup(pattern);

	for (char *p = ret; *p; p++) {
		if (*p == '#')
			*p = (char)('1' + next_random(seed) % 9);
		else if (*p == '@')
			*p = (char)('A' + next_random(seed) % 3);
	}
	return ret;
}

static const char *pick(const char *const values[VALUES_MAX], uint32_t *seed)
{
	size_t n = 0;

	while (n < VALUES_MAX && values[n])
		n++;
	return n ? values[next_random(seed) % n] : NULL;
}

/* A good value, or any: also one with a wrong byte, and what is no string. */
static json_t *value_random(const struct source *source, bool is_good, uint32_t *seed)
{
	const char *pattern = pick(is_good || coin(seed) ? source->good : source->bad, seed);
	auto_free char *text = NULL;

	if (!pattern && is_good)
		return NULL;
	text = filled_in(pattern ? pattern : pick(source->bad, seed), seed);
	if (is_good)
		return json_string(text);
	switch (next_random(seed) % 24) {
	case 0:
		return json_integer(next_random(seed) % 100);
	case 1:
		return json_null();
	case 2:
		return json_stringn("a\0b", 3);
	case 3:
	case 4:
		if (*text)
			text[next_random(seed) % strlen(text)] =
				(char)(1 + next_random(seed) % 126);
		break;
	default:
		break;
	}
	return json_string(text);
}

void attributes_random(struct members *m, bool is_good, uint32_t *seed)
{
	for (size_t pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < TL_ARRAY_SIZE(key_sources); i++) {
			const struct source *source = &key_sources[i];
			bool is_needed = strcmp(source->name, "tee-image-reference") == 0;
			auto_free char *name = filled_in(source->name, seed);
			json_auto_t *value = NULL;

			if (next_random(seed) % 4 && !(is_needed && (is_good || coin(seed))))
				continue;
			if (members_have(m, name) || (is_good && members_have(m, source->unless)))
				continue;
			value = value_random(source, is_good, seed);
			if (value)
				members_add(m, name, value);
		}
}

void labels_write(struct members *m, const unsigned int *rungs, bool is_old_monitoring)
{
	for (size_t i = 0; i < LADDERS; i++) {
		const char *value = ladders[i].values[rungs[i]];
		json_auto_t *text = NULL;

		if (!value ||
		    ladders[i].kind == (is_old_monitoring ? NEW_MONITORING : OLD_MONITORING))
			continue;
		text = json_string(value);
		members_add(m, ladders[i].name, text);
	}
}

void labels_random(struct members *m, bool is_good, uint32_t *seed)
{
	json_auto_t *text = json_string("@bad");
	unsigned int rungs[LADDERS] = { 0 };
	size_t which;

	for (size_t i = 0; !is_good && i < LADDERS; i++)
		rungs[i] = next_random(seed) % (unsigned int)ladders[i].n;
	labels_write(m, rungs, coin(seed));
	if (is_good || next_random(seed) % 4)
		return;
	/* A value that no label has; for monitoring also one label too many. */
	which = next_random(seed) % LADDERS;
	if (!members_have(m, ladders[which].name))
		members_add(m, ladders[which].name, text);
}
