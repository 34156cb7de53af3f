/* SPDX-License-Identifier: Apache-2.0 */
/* The keys an operator can set: what each one may say, and where that goes. */
#include "spec_parser.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "go_json.h"
#include "mounts.h"
#include "values.h"

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

static void *field_of(struct spec_parser *p, const struct key_row *row)
{
	return (char *)&p->spec + row->offset;
}

const char *spec_attribute(const struct spec_parser *p, const char *key)
{
	const json_t *value = json_object_get(p->root, key);

	if (!value)
		return NULL;
	return json_typeof(value) == JSON_NULL ? "" : json_string_value(value);
}

static bool has_attribute(const struct spec_parser *p, const char *key)
{
	return json_object_get(p->root, key) != NULL;
}

static int parse_bool(struct spec_parser *p, const struct key_row *row, const char *text)
{
	if (bool_parse(text, field_of(p, row)))
		return 0;
	return spec_forbid_value(p, row, "%s is '%s'; it must be true or false", row->doc.name,
				 text);
}

static int parse_fake_verifier(struct spec_parser *p, const struct key_row *row, const char *text)
{
	bool is_wanted;

	if (!bool_parse(text, &is_wanted))
		return spec_forbid_value(p, row, "%s is '%s'; it must be true or false",
					 row->doc.name, text);
	if (!is_wanted)
		return 0;
	return spec_forbid_row(p, row, TL_E_FAKE_VERIFIER, row->category, row->doc.name,
			       "%s is true; there is no fake verifier in this launcher",
			       row->doc.name);
}

static int parse_choice(struct spec_parser *p, const struct key_row *row, const char *text)
{
	if (choice_parse(row->choices, text, false, field_of(p, row)))
		return 0;
	return spec_forbid_value(p, row, "%s is '%s'; it must be %s", row->doc.name, text,
				 row->doc.type);
}

static int parse_image_ref(struct spec_parser *p, const struct key_row *row, const char *text)
{
	if (spec_key_is_bad(p, row))
		return 0;
	if (tl_str_is_empty(text))
		return spec_forbid_value(p, row, "%s is not set: no image to launch",
					 row->doc.name);
	/* The contract takes it verbatim here; whether it can be pulled is for the verdict. */
	p->spec.image_ref = strdup(text);
	return p->spec.image_ref ? 0 : -ENOMEM;
}

static int parse_list(struct spec_parser *p, const struct key_row *row, const char *text)
{
	struct tl_strv *list = field_of(p, row);
	int r = list_split(text, ',', false, TL_SPEC_LIST_MAX, list);

	if (r == -E2BIG)
		return spec_forbid_value(p, row, "%s has more than %d elements", row->doc.name,
					 TL_SPEC_LIST_MAX);
	for (size_t i = 0; !r && i < list->n; i++)
		if (is_element_odd(list->items[i]))
			r = tl_findings_add(p->findings, SPEC_WARNING(TL_E_LIST_ELEMENT),
					    row->doc.name, NULL,
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
		return spec_forbid_row(
			p, row, TL_E_MONITORING_BOTH, "monitoring-both", row->doc.name,
			"%s and tee-monitoring-enable are both set, even if empty; set one",
			row->doc.name);
	if (*text && !bool_parse(text, &is_on))
		return spec_forbid_value(p, row, "%s is '%s'; it must be true or false",
					 row->doc.name, text);
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
	return spec_forbid_value(p, row, "%s is '%s'; it must be %s", row->doc.name, text,
				 row->doc.type);
}

/* Arguments can be secrets, so the message doesn't quote them. */
static int parse_strings(struct spec_parser *p, const struct key_row *row, const char *text)
{
	const char *what = NULL;
	int r = go_json_strings(text, TL_SPEC_ARGS_MAX, field_of(p, row), &what);

	if (r != -EINVAL)
		return r;
	return spec_forbid_value(p, row,
				 "%s must be a JSON array of at most %d strings, but has %s",
				 row->doc.name, TL_SPEC_ARGS_MAX, what);
}

static int parse_gca_env(struct spec_parser *p, const struct key_row *row, const char *text)
{
	unsigned int which;

	if (!choice_parse(row->choices, text, true, &which))
		return spec_forbid_value(p, row, "%s is '%s'; it must be %s", row->doc.name, text,
					 row->doc.type);
	p->spec.gca_address = gca_addresses[which];
	return 0;
}

static int parse_kib(struct spec_parser *p, const struct key_row *row, const char *text)
{
	/* Above INT64_MAX a reader with signed sizes sees a negative one. */
	if (tl_str_parse_u64(text, INT64_MAX, field_of(p, row)) == 0)
		return 0;
	return spec_forbid_value(p, row,
				 "%s is '%s'; it must be a decimal number of KiB, digits only, at "
				 "most %" PRId64,
				 row->doc.name, text, INT64_MAX);
}

static int parse_mounts(struct spec_parser *p, const struct key_row *row, const char *text)
{
	int r = mounts_parse(row->doc.name, text, field_of(p, row), p->findings);

	if (r != 1)
		return r;
	p->is_bad = true;
	p->spec.keys_bad |= spec_key_bit(row);
	return 0;
}

static int parse_ita(struct spec_parser *p, const struct key_row *row, const char *region)
{
	const char *key = spec_attribute(p, "ita-api-key");
	bool is_region_bad = spec_key_is_bad(p, row),
	     is_key_bad = spec_key_is_bad(p, spec_key_of("ita-api-key"));
	bool has_region = is_region_bad || !tl_str_is_empty(region);
	bool has_key = is_key_bad || !tl_str_is_empty(key);

	if (!has_attribute(p, "ita-region") && !has_attribute(p, "ita-api-key"))
		return 0;
	if (p->options->is_ita_off)
		return tl_findings_add(p->findings, SPEC_WARNING(TL_E_FEATURE), row->doc.name, NULL,
				       "ita-region and ita-api-key have no effect: Intel Trust "
				       "Authority is off on this image");
	/* Without its key too: a bad region is told at once. */
	if (has_region && !is_region_bad && !(p->spec.ita_region = strdup(region)))
		return -ENOMEM;
	if (!has_region || !has_key)
		return spec_forbid_value(p, row,
					 "ita-region is %s and ita-api-key is %s; set both or "
					 "neither",
					 has_region ? "set" : "empty or absent",
					 has_key ? "set" : "empty or absent");
	/* NULL: no string, which is bad as well. */
	if (!region || !key || is_region_bad || is_key_bad) {
		p->spec.keys_bad |= spec_key_bit(row);
		return 0;
	}
	return tl_secret_set(&p->spec.ita_api_key, key, strlen(key));
}

/* Every key with the prefix; sorted, because the keys are. */
static int parse_envs(struct spec_parser *p, const struct key_row *row, const char *text)
{
	(void)text;
	for (size_t i = 0; i < p->n_keys; i++) {
		const char *value;
		int r;

		if (!tl_str_starts_with(p->keys[i], SPEC_ENV_PREFIX))
			continue;
		/* What is no string has its finding; whether it may be set is another question. */
		value = spec_attribute(p, p->keys[i]);
		r = tl_kvs_add(&p->spec.envs, p->keys[i] + strlen(SPEC_ENV_PREFIX),
			       value ? value : "");
		if (r)
			return r;
	}
	if (p->spec.envs.n <= TL_SPEC_ENVS_MAX)
		return 0;
	/* All are kept: the names are judged however many they are. */
	return spec_forbid_row(p, row, TL_E_ATTRIBUTES_LIMIT, row->category, row->doc.name,
			       "more than %d " SPEC_ENV_PREFIX "* keys", TL_SPEC_ENVS_MAX);
}

/* Whoever wrote for a newer release is told so, rather than that its keys have no effect. */
static int parse_version(struct spec_parser *p, const struct key_row *row, const char *text)
{
	if (schema_version_is_known(text))
		return 0;
	return spec_forbid_value(p, row, "%s is '%s'; " SCHEMA_VERSION_KNOWN, row->doc.name, text);
}

#define FIELD(name) offsetof(struct tl_launch_spec, name)

/*
 * The attribute table, in the order in which problems are reported. The whole of what an operator
 * can ask for.
 */
static const struct key_row key_rows[] = {
	{ .doc = { "tee-schema-version", "decimal number", "1",
		   "Version of these keys that the launch needs; refused if this release is older.",
		   NULL },
	  .parse = parse_version,
	  .code = TL_E_SCHEMA_VERSION,
	  .category = "json-type" },
	{ .doc = { "test-fake-verifier", "true or false", "false",
		   "A key for tests. true is refused: this launcher has no fake verifier.", NULL },
	  .parse = parse_fake_verifier,
	  .code = TL_E_KEY_BOOL,
	  .category = "fake-verifier-bool" },
	{ .doc = { "tee-install-gpu-driver", "true or false", "false",
		   "Install a GPU driver. This release can't, so true is refused.", NULL },
	  .parse = parse_bool,
	  .offset = FIELD(is_gpu_driver_wanted),
	  .code = TL_E_KEY_BOOL,
	  .category = "post-gpu-not-supported" },
	{ .doc = { "tee-image-reference", "HOST/PATH:TAG, HOST/PATH@DIGEST or both", "(required)",
		   "The image to launch. Nothing is filled in: no registry, path or tag.", NULL },
	  .parse = parse_image_ref,
	  .is_always = true,
	  .is_empty_error = true,
	  .code = TL_E_IMAGE_REF_MISSING,
	  .category = "image-ref-missing" },
	{ .doc = { "tee-restart-policy", "Always, OnFailure or Never", "Never",
		   "Is the machine restarted when the workload or the launch has ended?", NULL },
	  .parse = parse_choice,
	  .offset = FIELD(restart_policy),
	  .choices = restart_policies,
	  .code = TL_E_RESTART_POLICY,
	  .category = "restart-policy" },
	{ .doc = { "tee-impersonate-service-accounts", "list, separated by commas", "(none)",
		   "Service accounts to act for: the token names them too. E-mail addresses.",
		   NULL },
	  .parse = parse_list,
	  .offset = FIELD(impersonate_service_accounts),
	  .code = TL_E_ATTRIBUTES_LIMIT,
	  .category = "json-type" },
	{ .doc = { "tee-signed-image-repos", "list, separated by commas", "(none)",
		   "Repositories (host/path) that are asked for cosign signatures of the image; "
		   "the token "
		   "lists the good ones. At most 16 are asked.",
		   NULL },
	  .parse = parse_list,
	  .offset = FIELD(signed_image_repos),
	  .code = TL_E_ATTRIBUTES_LIMIT,
	  .category = "json-type" },
	{ .doc = { "tee-monitoring-memory-enable", "true or false", "false",
		   "Old form of tee-monitoring-enable: true is memoryOnly. Never set both.",
		   "hardened_monitoring or debug_monitoring" },
	  .parse = parse_monitoring_legacy,
	  .code = TL_E_KEY_BOOL,
	  .category = "monitoring-memory-bool",
	  .is_empty_error = true },
	{ .doc = { "tee-monitoring-enable", "none, memoryOnly or all, in any case", "none",
		   "Metrics of the machine that are reported while the workload runs.",
		   "hardened_monitoring or debug_monitoring" },
	  .parse = parse_monitoring,
	  .offset = FIELD(monitoring),
	  .choices = monitoring_levels,
	  .code = TL_E_MONITORING_LEVEL,
	  .category = "monitoring-type" },
	{ .doc = { "tee-cmd", "JSON array of strings", "(the image's)",
		   "Arguments instead of the image's CMD; its ENTRYPOINT stays.",
		   "allow_cmd_override" },
	  .parse = parse_strings,
	  .offset = FIELD(cmd),
	  .code = TL_E_CMD,
	  .category = "cmd-json" },
	{ .doc = { SPEC_ENV_PREFIX, "any text", "(the image's)",
		   "Sets the variable NAME of the workload. One key a variable.",
		   "allow_env_override" },
	  .parse = parse_envs,
	  .is_always = true,
	  .code = TL_E_ENV_NAME,
	  .category = "env" },
	{ .doc = { "tee-container-log-redirect", "true, cloud_logging, serial or false", "false",
		   "The workload's output: as lines (serial), as JSON (cloud_logging), or both.",
		   "log_redirect" },
	  .parse = parse_choice,
	  .offset = FIELD(log_redirect),
	  .choices = log_redirects,
	  .code = TL_E_LOG_REDIRECT,
	  .category = "log-redirect" },
	{ .doc = { "gca-service-env", "prod, autopush or staging, in any case", "prod",
		   "Which of Google's attestation services makes the token.", NULL },
	  .parse = parse_gca_env,
	  .choices = gca_environments,
	  .is_empty_error = true,
	  .code = TL_E_GCA_ENV,
	  .category = "gca-env" },
	{ .doc = { "tee-dev-shm-size-kb", "decimal number of KiB", "65536",
		   "Size of /dev/shm; 0 means the default. It counts against the memory.", NULL },
	  .parse = parse_kib,
	  .offset = FIELD(dev_shm_size_kb),
	  .code = TL_E_DEV_SHM_SIZE,
	  .category = "dev-shm-size" },
	{ .doc = { "tee-mount", "type=tmpfs,source=tmpfs,destination=PATH[,size=BYTES][;...]",
		   "(none)", "Empty folders in memory. Without size: half of the memory.",
		   "allow_mount_destinations" },
	  .parse = parse_mounts,
	  .offset = FIELD(mounts),
	  .code = TL_E_MOUNT,
	  .category = "mount-option-parse" },
	{ .doc = { "ita-region", "US or EU, in any case", "(none)",
		   "Region of Intel Trust Authority. No token file then; see the token socket.",
		   NULL },
	  .parse = parse_ita,
	  .is_always = true,
	  .is_empty_error = true,
	  .code = TL_E_ITA_PAIR,
	  .category = "ita-pair" },
	{ .doc = { "ita-api-key", "string", "(none)",
		   "Secret. Key for Intel Trust Authority; belongs to ita-region.", NULL },
	  .code = TL_E_ITA_PAIR,
	  .category = "ita-pair" },
	{ .doc = { "tee-added-capabilities", "JSON array of strings", "(none)",
		   "Capabilities the workload gets in addition, like CAP_NET_ADMIN.",
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
		   "true: no token is fetched, and the workload finds no token file.", NULL },
	  .parse = parse_bool,
	  .offset = FIELD(is_gca_refresh_disabled),
	  .code = TL_E_KEY_BOOL,
	  .category = "disable-gca-refresh-bool" },
};

_Static_assert(TL_ARRAY_SIZE(key_rows) <= 32, "keys_set and keys_bad have a bit a row");

uint32_t spec_key_bit(const struct key_row *row)
{
	return UINT32_C(1) << (row - key_rows);
}

const struct key_row *spec_key_row(size_t i)
{
	return i < TL_ARRAY_SIZE(key_rows) ? &key_rows[i] : NULL;
}

bool spec_key_is_bad(const struct spec_parser *p, const struct key_row *row)
{
	return p->spec.keys_bad & spec_key_bit(row);
}

const struct key_row *spec_key_of(const char *key)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(key_rows); i++) {
		bool is_prefix = strcmp(key_rows[i].doc.name, SPEC_ENV_PREFIX) == 0;

		if (is_prefix ? tl_str_starts_with(key, SPEC_ENV_PREFIX)
			      : strcmp(key, key_rows[i].doc.name) == 0)
			return &key_rows[i];
	}
	return NULL;
}

bool tl_launch_spec_is_bad(const struct tl_launch_spec *spec, const char *key)
{
	return spec->keys_bad & spec_key_bit(spec_key_of(key));
}

const struct tl_key_doc *tl_launch_spec_key(size_t i)
{
	return i < TL_ARRAY_SIZE(key_rows) ? &key_rows[i].doc : NULL;
}
