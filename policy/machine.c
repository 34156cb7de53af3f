/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/verdict.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/cleanup.h>

struct machine_judge {
	const struct tl_launch_spec *spec;
	const struct tl_machine_facts *facts;
	struct tl_findings *findings;
	bool is_denied;
};

#define FINDING(code_, category_, is_warning_)                                                     \
	(&(const struct tl_finding_row){ code_, category_, TL_SOURCE_MACHINE, is_warning_ })

#define deny(j, code, category, key, fix, ...)                                                     \
	((j)->is_denied = true,                                                                    \
	 tl_findings_add((j)->findings, FINDING(code, category, false), key, fix, __VA_ARGS__))

#define FIX_MEMORY "ask for less, or choose a machine type with more memory"

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* KiB by integer division, mount by mount, as the metadata contract counts. */
static uint64_t mounts_kb(const struct tl_mounts *mounts)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < mounts->n; i++)
		sum = add_saturating(sum, mounts->items[i].size_bytes / 1024);
	return sum;
}

static int rule_mount_memory(struct machine_judge *j)
{
	uint64_t free_kb, mounts = mounts_kb(&j->spec->mounts), shm = j->spec->dev_shm_size_kb;

	if (!j->facts->mem_available_kb)
		return 0;
	free_kb = *j->facts->mem_available_kb;
	/* /dev/shm too large by itself has a finding of its own. */
	if (mounts <= free_kb && (shm > free_kb || add_saturating(mounts, shm) <= free_kb))
		return 0;
	return deny(j, TL_E_MEMORY, "post-mount-memory", "tee-mount", FIX_MEMORY,
		    "tee-mount asks for %" PRIu64 " KiB and tee-dev-shm-size-kb for %" PRIu64
		    " KiB; %" PRIu64 " KiB of memory are available",
		    mounts, shm, free_kb);
}

static int rule_shm_memory(struct machine_judge *j)
{
	uint64_t free_kb, shm = j->spec->dev_shm_size_kb;

	if (!j->facts->mem_available_kb)
		return 0;
	free_kb = *j->facts->mem_available_kb;
	if (shm <= free_kb)
		return 0;
	return deny(j, TL_E_MEMORY, "post-dev-shm-memory", "tee-dev-shm-size-kb", FIX_MEMORY,
		    "tee-dev-shm-size-kb asks for %" PRIu64 " KiB; %" PRIu64
		    " KiB of memory are available",
		    shm, free_kb);
}

static bool uses_gpu(const struct tl_launch_spec *spec)
{
	return spec->is_gpu_driver_wanted;
}

static bool uses_ita(const struct tl_launch_spec *spec)
{
	return spec->ita_region != NULL;
}

static bool uses_monitoring(const struct tl_launch_spec *spec)
{
	return spec->monitoring != TL_MONITORING_NONE;
}

static bool uses_signatures(const struct tl_launch_spec *spec)
{
	return spec->signed_image_repos.n > 0;
}

static bool uses_impersonation(const struct tl_launch_spec *spec)
{
	return spec->impersonate_service_accounts.n > 0;
}

/* What a launcher may lack. A warning where the reference also goes on without. */
static const struct {
	enum tl_feature feature;
	bool (*is_used)(const struct tl_launch_spec *spec);
	const char *key;
	const char *what;
	const char *category;
	bool is_warning;
	const char *fix;
} features[] = {
	{ TL_FEATURE_GPU_DRIVER, uses_gpu, "tee-install-gpu-driver", "install a GPU driver",
	  "post-gpu-not-supported", false, "remove the key, or use a launcher that supports it" },
	{ TL_FEATURE_ITA, uses_ita, "ita-region", "attest to Intel Trust Authority", "ita-pair",
	  false, "remove ita-region and ita-api-key, or use a launcher that supports them" },
	{ TL_FEATURE_MONITORING, uses_monitoring, "tee-monitoring-enable",
	  "report the machine's health", "monitoring", true,
	  "remove the key; watch the machine by the cloud's own metrics" },
	{ TL_FEATURE_SIGNATURES, uses_signatures, "tee-signed-image-repos",
	  "add image signatures to its evidence", "json-type", true,
	  "remove the key; trust the image by its digest, which the token holds" },
	{ TL_FEATURE_IMPERSONATE, uses_impersonation, "tee-impersonate-service-accounts",
	  "impersonate service accounts", "json-type", true,
	  "remove the key; grant the roles to the machine's own service account" },
};

/* Monitoring has an old key too: name the one that the operator wrote. */
static const char *feature_key(const struct tl_launch_spec *spec, const char *key)
{
	static const char old[] = "tee-monitoring-memory-enable";

	if (strcmp(key, "tee-monitoring-enable") != 0)
		return key;
	for (size_t i = 0; tl_launch_spec_key(i); i++)
		if (spec->keys_set & (UINT32_C(1) << i) &&
		    strcmp(tl_launch_spec_key(i)->name, old) == 0)
			return old;
	return key;
}

static int rule_features(struct machine_judge *j)
{
	int r = 0;

	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(features); i++) {
		const char *key = feature_key(j->spec, features[i].key);
		/* A value that couldn't be read still asks for what its key is for. */
		bool is_asked = features[i].is_used(j->spec) || tl_launch_spec_is_bad(j->spec, key);

		if (j->facts->features & features[i].feature || !is_asked)
			continue;
		if (!features[i].is_warning)
			r = deny(j, TL_E_FEATURE, features[i].category, key, features[i].fix,
				 "%s is not supported: this launcher can't %s", key,
				 features[i].what);
		else
			r = tl_findings_add(
				j->findings, FINDING(TL_E_FEATURE, features[i].category, true), key,
				features[i].fix, "%s has no effect: this launcher can't %s", key,
				features[i].what);
	}
	return r;
}

/* Before anything is fetched: no client can be made for another one. */
static int rule_ita_region(struct machine_judge *j)
{
	const char *region = j->spec->ita_region;

	if (!(j->facts->features & TL_FEATURE_ITA) || !region || strcasecmp(region, "US") == 0 ||
	    strcasecmp(region, "EU") == 0)
		return 0;
	return deny(j, TL_E_ITA_REGION, "ita-pair", "ita-region", "set it to US or EU",
		    "ita-region is '%.100s', which is no region of Intel Trust Authority", region);
}

static int rule_capabilities(struct machine_judge *j)
{
	const struct tl_strv *wanted = &j->spec->added_capabilities;
	int r = 0;

	if (!j->facts->capabilities)
		return 0;
	for (size_t i = 0; !r && i < wanted->n; i++)
		if (!tl_strv_contains(j->facts->capabilities, wanted->items[i]))
			r = deny(
				j, TL_E_CAPABILITY_MISSING, "post-caps-not-effective",
				"tee-added-capabilities",
				"remove it: a launcher can pass on only what its own unit has",
				"tee-added-capabilities: '%s' is not a capability the launcher has",
				wanted->items[i]);
	return r;
}

static int (*const rules[])(struct machine_judge *) = { rule_mount_memory, rule_features,
							rule_ita_region, rule_shm_memory,
							rule_capabilities };

int tl_machine_check(const struct tl_launch_spec *spec, const struct tl_machine_facts *facts,
		     struct tl_findings *findings)
{
	struct machine_judge j = { .spec = spec, .facts = facts, .findings = findings };
	int r = 0;

	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(rules); i++)
		r = rules[i](&j);
	if (r)
		return r;
	return j.is_denied ? -EPERM : 0;
}

int tl_disk_space_check(uint64_t needed_bytes, uint64_t free_bytes, struct tl_findings *findings)
{
	int r;

	if (needed_bytes <= free_bytes)
		return 0;
	r = tl_findings_add(findings, FINDING(TL_E_DISK_SPACE, "post-disk-space", false),
			    "tee-image-reference", "choose a larger disk or a smaller image",
			    "the image needs %" PRIu64 " bytes unpacked; %" PRIu64
			    " bytes of the protected disk are free",
			    needed_bytes, free_bytes);
	return r ? r : -EPERM;
}
