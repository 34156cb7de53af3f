/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/launch_spec.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "go_json.h"
#include "mounts.h"
#include "values.h"

#define ENV_PREFIX "tee-env-"

struct key_row;

struct spec_parser {
	struct tl_launch_spec spec;
	const struct tl_launch_spec_options *options;
	struct tl_findings *findings;
	json_t *root;      /* an object */
	const char **keys; /* of root, sorted bytewise */
	size_t n_keys;
	bool is_bad;
};

/* 0 or -ENOMEM; what is wrong becomes a finding. */
typedef int key_parser(struct spec_parser *p, const struct key_row *row, const char *text);

struct key_row {
	struct tl_key_doc doc;
	key_parser *parse;    /* NULL: another row reads this key too */
	size_t offset;        /* of the field in struct tl_launch_spec */
	enum tl_code code;    /* when the value is bad */
	const char *category; /* when the value is bad */
	bool is_empty_error;  /* "" isn't the default, as contract section 14.1 item 2 keeps it */
	bool is_always;       /* called with NULL when the key is absent */
	const struct choice *choices;
};

/* Endpoints of the Confidential Computing API. */
static const char *const gca_addresses[] = {
	"https://confidentialcomputing.googleapis.com",
	"https://autopush-confidentialcomputing.sandbox.googleapis.com",
	"https://staging-confidentialcomputing.sandbox.googleapis.com",
};

static const struct choice gca_environments[] = {
	{ "prod", 0 },
	{ "autopush", 1 },
	{ "staging", 2 },
	{ NULL, 0 },
};

#define FINDING(code_, category_)                                                                  \
	(&(const struct tl_finding_row){ code_, category_, TL_SOURCE_ATTRIBUTES, false })
#define WARNING(code_)                                                                             \
	(&(const struct tl_finding_row){ code_, "json-type", TL_SOURCE_ATTRIBUTES, true })

#define forbid(p, code, category, key, ...)                                                        \
	((p)->is_bad = true,                                                                       \
	 tl_findings_add((p)->findings, FINDING(code, category), key, NULL, __VA_ARGS__))

#define forbid_row(p, row, ...)                                                                    \
	forbid(p, (row)->code, (row)->category, (row)->doc.name, __VA_ARGS__)

static void *field_of(struct spec_parser *p, const struct key_row *row)
{
	return (char *)&p->spec + row->offset;
}

/* NULL if absent; null counts as "". */
static const char *attribute(const struct spec_parser *p, const char *key)
{
	const json_t *value = json_object_get(p->root, key);

	if (!value)
		return NULL;
	return json_is_null(value) ? "" : json_string_value(value);
}

static bool has_attribute(const struct spec_parser *p, const char *key)
{
	return json_object_get(p->root, key) != NULL;
}

static int parse_bool(struct spec_parser *p, const struct key_row *row, const char *text)
{
	if (bool_parse(text, field_of(p, row)))
		return 0;
	return forbid_row(p, row, "%s is '%s'; it must be true or false", row->doc.name, text);
}

static int parse_fake_verifier(struct spec_parser *p, const struct key_row *row, const char *text)
{
	bool is_wanted;

	if (!bool_parse(text, &is_wanted))
		return forbid_row(p, row, "%s is '%s'; it must be true or false", row->doc.name,
				  text);
	if (!is_wanted)
		return 0;
	return forbid(p, TL_E_FAKE_VERIFIER, row->category, row->doc.name,
		      "%s is true; there is no fake verifier in this launcher", row->doc.name);
}

static int parse_choice(struct spec_parser *p, const struct key_row *row, const char *text)
{
	if (choice_parse(row->choices, text, false, field_of(p, row)))
		return 0;
	return forbid_row(p, row, "%s is '%s'; it must be %s", row->doc.name, text, row->doc.type);
}

static int parse_image_ref(struct spec_parser *p, const struct key_row *row, const char *text)
{
	if (tl_str_is_empty(text))
		return forbid_row(p, row, "%s is not set: no image to launch", row->doc.name);
	/* The contract takes it verbatim here; whether it can be pulled is for the verdict. */
	p->spec.image_ref = strdup(text);
	return p->spec.image_ref ? 0 : -ENOMEM;
}

static int parse_list(struct spec_parser *p, const struct key_row *row, const char *text)
{
	struct tl_strv *list = field_of(p, row);
	int r = list_split(text, ',', false, TL_SPEC_LIST_MAX, list);

	if (r == -E2BIG)
		return forbid_row(p, row, "%s has more than %d elements", row->doc.name,
				  TL_SPEC_LIST_MAX);
	for (size_t i = 0; !r && i < list->n; i++)
		if (is_element_odd(list->items[i]))
			r = tl_findings_add(p->findings, WARNING(TL_E_LIST_ELEMENT), row->doc.name,
					    NULL,
					    "%s: element %zu '%s' is empty or begins or ends with "
					    "a space; it is taken as it is",
					    row->doc.name, i + 1, list->items[i]);
	return r;
}

static int parse_monitoring_legacy(struct spec_parser *p, const struct key_row *row,
				   const char *text)
{
	bool is_on = false;

	if (has_attribute(p, "tee-monitoring-enable"))
		return forbid(p, TL_E_MONITORING_BOTH, "monitoring-both", row->doc.name,
			      "%s and tee-monitoring-enable are both set, even if empty; set one",
			      row->doc.name);
	if (*text && !bool_parse(text, &is_on))
		return forbid_row(p, row, "%s is '%s'; it must be true or false", row->doc.name,
				  text);
	p->spec.monitoring = is_on ? TL_MONITORING_MEMORY_ONLY : TL_MONITORING_NONE;
	return 0;
}

static int parse_monitoring(struct spec_parser *p, const struct key_row *row, const char *text)
{
	/* The legacy row has said that both can't be. */
	if (has_attribute(p, "tee-monitoring-memory-enable"))
		return 0;
	if (choice_parse(row->choices, text, true, field_of(p, row)))
		return 0;
	return forbid_row(p, row, "%s is '%s'; it must be %s", row->doc.name, text, row->doc.type);
}

/* Arguments can be secrets, so the message doesn't quote them. */
static int parse_strings(struct spec_parser *p, const struct key_row *row, const char *text)
{
	const char *what = NULL;
	int r = go_json_strings(text, TL_SPEC_ARGS_MAX, field_of(p, row), &what);

	if (r != -EINVAL)
		return r;
	return forbid_row(p, row, "%s must be a JSON array of at most %d strings, but has %s",
			  row->doc.name, TL_SPEC_ARGS_MAX, what);
}

static int parse_gca_env(struct spec_parser *p, const struct key_row *row, const char *text)
{
	unsigned int which;

	if (!choice_parse(row->choices, text, true, &which))
		return forbid_row(p, row, "%s is '%s'; it must be %s", row->doc.name, text,
				  row->doc.type);
	p->spec.gca_address = gca_addresses[which];
	return 0;
}

static int parse_kib(struct spec_parser *p, const struct key_row *row, const char *text)
{
	/* Above INT64_MAX a reader with signed sizes sees a negative one. */
	if (tl_str_parse_u64(text, INT64_MAX, field_of(p, row)) == 0)
		return 0;
	return forbid_row(p, row,
			  "%s is '%s'; it must be a decimal number of KiB, digits only, at "
			  "most %" PRId64,
			  row->doc.name, text, INT64_MAX);
}

static int parse_mounts(struct spec_parser *p, const struct key_row *row, const char *text)
{
	int r = mounts_parse(row->doc.name, text, field_of(p, row), p->findings);

	p->is_bad |= r == -EINVAL;
	return r == -EINVAL ? 0 : r;
}

static int parse_ita(struct spec_parser *p, const struct key_row *row, const char *region)
{
	const char *key = attribute(p, "ita-api-key");
	bool is_present = region || has_attribute(p, "ita-api-key");

	if (!is_present)
		return 0;
	if (p->options->is_ita_off)
		return tl_findings_add(p->findings, WARNING(TL_E_FEATURE), row->doc.name, NULL,
				       "ita-region and ita-api-key have no effect: Intel Trust "
				       "Authority is off on this image");
	if (tl_str_is_empty(region) || tl_str_is_empty(key))
		return forbid_row(p, row,
				  "ita-region is %s and ita-api-key is %s; set both or "
				  "neither",
				  tl_str_is_empty(region) ? "empty or absent" : "set",
				  tl_str_is_empty(key) ? "empty or absent" : "set");
	p->spec.ita_region = strdup(region);
	if (!p->spec.ita_region)
		return -ENOMEM;
	return tl_secret_set(&p->spec.ita_api_key, key, strlen(key));
}

/* Every key with the prefix; sorted, because the keys are. */
static int parse_envs(struct spec_parser *p, const struct key_row *row, const char *text)
{
	(void)text;
	for (size_t i = 0; i < p->n_keys; i++) {
		const char *value;
		int r;

		if (!tl_str_starts_with(p->keys[i], ENV_PREFIX))
			continue;
		if (p->spec.envs.n == TL_SPEC_ENVS_MAX)
			return forbid(p, TL_E_ATTRIBUTES_LIMIT, row->category, row->doc.name,
				      "more than %d " ENV_PREFIX "* keys", TL_SPEC_ENVS_MAX);
		value = attribute(p, p->keys[i]);
		if (!value)
			continue; /* not a string: already a finding */
		r = tl_kvs_add(&p->spec.envs, p->keys[i] + strlen(ENV_PREFIX), value);
		if (r)
			return r;
	}
	return 0;
}

#define FIELD(name) offsetof(struct tl_launch_spec, name)

/*
 * The attribute table, in the order in which problems are reported. The whole of what an operator
 * can ask for.
 */
static const struct key_row key_rows[] = {
	{ .doc = { "test-fake-verifier", "true or false", "false",
		   "Refused when true: this launcher has no fake verifier.", NULL },
	  .parse = parse_fake_verifier,
	  .code = TL_E_KEY_BOOL,
	  .category = "fake-verifier-bool" },
	{ .doc = { "tee-install-gpu-driver", "true or false", "false",
		   "Install the GPU driver of the image. Refused when the launcher can't.", NULL },
	  .parse = parse_bool,
	  .offset = FIELD(is_gpu_driver_wanted),
	  .code = TL_E_KEY_BOOL,
	  .category = "post-gpu-not-supported" },
	{ .doc = { "tee-image-reference", "HOST/PATH:TAG, HOST/PATH@DIGEST or both", "(required)",
		   "The image to launch. Taken as it is: no default registry, path or tag.", NULL },
	  .parse = parse_image_ref,
	  .is_always = true,
	  .is_empty_error = true,
	  .code = TL_E_IMAGE_REF_MISSING,
	  .category = "image-ref-missing" },
	{ .doc = { "tee-restart-policy", "Always, OnFailure or Never", "Never",
		   "What the machine does when the workload or the launch has ended.", NULL },
	  .parse = parse_choice,
	  .offset = FIELD(restart_policy),
	  .choices = restart_policies,
	  .code = TL_E_RESTART_POLICY,
	  .category = "restart-policy" },
	{ .doc = { "tee-impersonate-service-accounts", "list, separated by commas", "(none)",
		   "Service accounts to impersonate when attesting.", NULL },
	  .parse = parse_list,
	  .offset = FIELD(impersonate_service_accounts),
	  .code = TL_E_ATTRIBUTES_LIMIT,
	  .category = "json-type" },
	{ .doc = { "tee-signed-image-repos", "list, separated by commas", "(none)",
		   "Repositories that hold signatures of the image.", NULL },
	  .parse = parse_list,
	  .offset = FIELD(signed_image_repos),
	  .code = TL_E_ATTRIBUTES_LIMIT,
	  .category = "json-type" },
	{ .doc = { "tee-monitoring-memory-enable", "true or false", "false",
		   "Old form of tee-monitoring-enable: true means memoryOnly. Not with the new.",
		   "hardened_monitoring or debug_monitoring" },
	  .parse = parse_monitoring_legacy,
	  .code = TL_E_KEY_BOOL,
	  .category = "monitoring-memory-bool",
	  .is_empty_error = true },
	{ .doc = { "tee-monitoring-enable", "none, memoryOnly or all, in any case", "none",
		   "How much of the machine's health is reported to the operator.",
		   "hardened_monitoring or debug_monitoring" },
	  .parse = parse_monitoring,
	  .offset = FIELD(monitoring),
	  .choices = monitoring_levels,
	  .code = TL_E_MONITORING_LEVEL,
	  .category = "monitoring-type" },
	{ .doc = { "tee-cmd", "JSON array of strings", "(the image's)",
		   "Replaces the image's CMD; its ENTRYPOINT stays.", "allow_cmd_override" },
	  .parse = parse_strings,
	  .offset = FIELD(cmd),
	  .code = TL_E_CMD,
	  .category = "cmd-json" },
	{ .doc = { ENV_PREFIX, "string", "(the image's)",
		   "tee-env-NAME sets the variable NAME of the workload.", "allow_env_override" },
	  .parse = parse_envs,
	  .is_always = true,
	  .code = TL_E_ENV_NAME,
	  .category = "env" },
	{ .doc = { "tee-container-log-redirect", "true, cloud_logging, serial or false", "false",
		   "Where the workload's output goes: everywhere, to one place, nowhere.",
		   "log_redirect" },
	  .parse = parse_choice,
	  .offset = FIELD(log_redirect),
	  .choices = log_redirects,
	  .code = TL_E_LOG_REDIRECT,
	  .category = "log-redirect" },
	{ .doc = { "gca-service-env", "prod, autopush or staging, in any case", "prod",
		   "Which environment of Google Cloud Attestation to use.", NULL },
	  .parse = parse_gca_env,
	  .choices = gca_environments,
	  .is_empty_error = true,
	  .code = TL_E_GCA_ENV,
	  .category = "gca-env" },
	{ .doc = { "tee-dev-shm-size-kb", "decimal number of KiB", "65536",
		   "Size of /dev/shm in the container; 0 leaves the default.", NULL },
	  .parse = parse_kib,
	  .offset = FIELD(dev_shm_size_kb),
	  .code = TL_E_DEV_SHM_SIZE,
	  .category = "dev-shm-size" },
	{ .doc = { "tee-mount", "type=tmpfs,source=tmpfs,destination=PATH[,size=BYTES][;...]",
		   "(none)", "tmpfs mounts in the container.", "allow_mount_destinations" },
	  .parse = parse_mounts,
	  .offset = FIELD(mounts),
	  .code = TL_E_MOUNT,
	  .category = "mount-option-parse" },
	{ .doc = { "ita-region", "string", "(none)",
		   "Region of Intel Trust Authority; needs ita-api-key.", NULL },
	  .parse = parse_ita,
	  .is_always = true,
	  .is_empty_error = true,
	  .code = TL_E_ITA_PAIR,
	  .category = "ita-pair" },
	{ .doc = { "ita-api-key", "string", "(none)",
		   "Secret. Key for Intel Trust Authority; needs ita-region.", NULL },
	  .code = TL_E_ITA_PAIR,
	  .category = "ita-pair" },
	{ .doc = { "tee-added-capabilities", "JSON array of strings", "(none)",
		   "Linux capabilities the container gets in addition, like CAP_NET_ADMIN.",
		   "allow_capabilities" },
	  .parse = parse_strings,
	  .offset = FIELD(added_capabilities),
	  .code = TL_E_CAPABILITIES,
	  .category = "caps-json" },
	{ .doc = { "tee-cgroup-ns", "true or false", "false",
		   "A cgroup namespace of its own, with a writable /sys/fs/cgroup.",
		   "allow_cgroups" },
	  .parse = parse_bool,
	  .offset = FIELD(is_cgroup_ns),
	  .code = TL_E_KEY_BOOL,
	  .category = "cgroup-bool",
	  .is_empty_error = true },
	{ .doc = { "tee-disable-gca-refresh", "true or false", "false",
		   "No token file: the workload asks for tokens over the socket.", NULL },
	  .parse = parse_bool,
	  .offset = FIELD(is_gca_refresh_disabled),
	  .code = TL_E_KEY_BOOL,
	  .category = "disable-gca-refresh-bool" },
};

_Static_assert(TL_ARRAY_SIZE(key_rows) <= 32, "keys_set has a bit a row");

static const char *key_name(size_t i)
{
	return i < TL_ARRAY_SIZE(key_rows) ? key_rows[i].doc.name : NULL;
}

static const struct key_row *row_of(const char *key)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(key_rows); i++) {
		bool is_prefix = strcmp(key_rows[i].doc.name, ENV_PREFIX) == 0;

		if (is_prefix ? tl_str_starts_with(key, ENV_PREFIX)
			      : strcmp(key, key_rows[i].doc.name) == 0)
			return &key_rows[i];
	}
	return NULL;
}

/* Is an unknown key meant for us? By its prefix in any case, or by a name near one of ours. */
static int unknown_key_warn(struct spec_parser *p, const char *key)
{
	const char *near = nearest_name(key, key_name);
	auto_free char *fix = NULL;

	if (!near && !has_prefix_folded(key, "tee-"))
		return 0;
	if (near && asprintf(&fix, "did you mean %s%s?", near,
			     strcmp(near, ENV_PREFIX) == 0 ? "NAME" : "") < 0)
		return -ENOMEM;
	return tl_findings_add(p->findings, WARNING(TL_E_KEY_UNKNOWN), key, fix,
			       "%s is no key of this launcher; it has no effect", key);
}

static int unknown_keys_warn(struct spec_parser *p)
{
	for (size_t i = 0; i < p->n_keys; i++) {
		int r = row_of(p->keys[i]) ? 0 : unknown_key_warn(p, p->keys[i]);

		if (r)
			return r;
	}
	return 0;
}

static bool has_nul(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) != json_string_length(value);
}

/* A value of the wrong type fails the launch under any key; NUL under the keys that are ours. */
static int types_check(struct spec_parser *p)
{
	for (size_t i = 0; i < p->n_keys; i++) {
		const json_t *value = json_object_get(p->root, p->keys[i]);
		const struct key_row *row = row_of(p->keys[i]);
		int r = 0;

		if (row)
			p->spec.keys_set |= UINT32_C(1) << (row - key_rows);
		if (!json_is_string(value) && !json_is_null(value))
			r = forbid(p, TL_E_ATTRIBUTES_TYPE, "json-type", p->keys[i],
				   "%s is not a string", p->keys[i]);
		else if (row && has_nul(value))
			r = forbid(p, TL_E_ATTRIBUTES_NUL, row->category, p->keys[i],
				   "%s holds a NUL character", p->keys[i]);
		if (r)
			return r;
	}
	return 0;
}

static int row_parse(struct spec_parser *p, const struct key_row *row)
{
	const json_t *value = json_object_get(p->root, row->doc.name);
	const char *text = attribute(p, row->doc.name);

	if (!row->parse || has_nul(value) || (value && !text))
		return 0; /* what was wrong with it is already a finding */
	if (!text && !row->is_always)
		return 0;
	if (text && !*text && !row->is_empty_error)
		return 0;
	return row->parse(p, row, text);
}

static int key_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, so that nothing depends on the order of the document. */
static int keys_collect(struct spec_parser *p)
{
	const char *key;
	json_t *value;

	p->keys = calloc(json_object_size(p->root) + 1, sizeof(*p->keys));
	if (!p->keys)
		return -ENOMEM;
	json_object_foreach(p->root, key, value) p->keys[p->n_keys++] = key;
	qsort(p->keys, p->n_keys, sizeof(*p->keys), key_compare);
	return 0;
}

static int object_parse(struct spec_parser *p)
{
	int r = keys_collect(p);

	if (!r)
		r = types_check(p);
	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(key_rows); i++)
		r = row_parse(p, &key_rows[i]);
	return r ? r : unknown_keys_warn(p);
}

static int document_parse(struct spec_parser *p, const char *text, size_t n)
{
	struct go_json_fault fault;
	int r;

	if (n > TL_ATTRIBUTES_BYTES_MAX)
		return forbid(p, TL_E_ATTRIBUTES_LIMIT, "json-syntax", "",
			      "the attributes document has %zu bytes; at most %d are allowed", n,
			      TL_ATTRIBUTES_BYTES_MAX);
	r = go_json_load(text, n, &p->root, &fault);
	if (r == -EINVAL)
		return forbid(p, TL_E_ATTRIBUTES_SYNTAX, "json-syntax", "",
			      "the attributes document is not JSON: %s, near byte %zu", fault.what,
			      fault.offset);
	if (r)
		return r;
	if (json_is_null(p->root) || json_is_object(p->root))
		return object_parse(p);
	p->is_bad = true;
	return tl_findings_add(
		p->findings, FINDING(TL_E_ATTRIBUTES_TYPE, "json-type"), "",
		"make it a JSON object of strings: {\"tee-image-reference\":\"...\"}",
		"the attributes document is JSON, but not an object of strings");
}

int tl_launch_spec_read(const char *text, size_t n, const struct tl_launch_spec_options *options,
			struct tl_launch_spec *ret, struct tl_findings *findings)
{
	static const struct tl_launch_spec_options no_options = { 0 };
	struct spec_parser p = {
		.spec = { .gca_address = "" },
		.options = options ? options : &no_options,
		.findings = findings,
	};
	int r = document_parse(&p, text, n);

	json_decref(p.root);
	free(p.keys);
	if (r) {
		tl_launch_spec_done(&p.spec);
		return r;
	}
	*ret = p.spec;
	return p.is_bad ? 1 : 0;
}

int tl_launch_spec_parse(const char *text, size_t n, const struct tl_launch_spec_options *options,
			 struct tl_launch_spec *ret, struct tl_findings *findings)
{
	struct tl_launch_spec spec;
	int r = tl_launch_spec_read(text, n, options, &spec, findings);

	if (r == 0)
		*ret = spec;
	if (r != 1)
		return r;
	tl_launch_spec_done(&spec);
	return -EINVAL;
}

void tl_launch_spec_done(struct tl_launch_spec *spec)
{
	if (!spec)
		return;
	free(spec->image_ref);
	free(spec->ita_region);
	tl_secret_done(&spec->ita_api_key);
	tl_strv_done(&spec->cmd);
	tl_kvs_done(&spec->envs);
	tl_strv_done(&spec->impersonate_service_accounts);
	tl_strv_done(&spec->signed_image_repos);
	tl_strv_done(&spec->added_capabilities);
	mounts_done(&spec->mounts);
	*spec = (struct tl_launch_spec){ .gca_address = "" };
}

const struct tl_key_doc *tl_launch_spec_key(size_t i)
{
	return i < TL_ARRAY_SIZE(key_rows) ? &key_rows[i].doc : NULL;
}
