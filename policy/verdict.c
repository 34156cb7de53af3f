/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/verdict.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/env_names.h>
#include <teelaunch/image_ref.h>

#include "values.h"

/* More than a message can show. */
#define LIST_TEXT_BYTES_MAX 1024

struct judge {
	const struct tl_launch_spec *spec;
	const struct tl_launch_policy *policy;
	const struct tl_image_config *image;
	struct tl_findings *findings;
	bool is_hardened;
	bool is_denied;
};

/* 0 or -ENOMEM; what is wrong becomes a finding. */
typedef int rule(struct judge *j);

#define FINDING(code_, category_, source_)                                                         \
	(&(const struct tl_finding_row){ code_, category_, source_, false })

#define deny(j, code, category, key, ...)                                                          \
	((j)->is_denied = true,                                                                    \
	 tl_findings_add((j)->findings, FINDING(code, category, TL_SOURCE_ATTRIBUTES), key, NULL,  \
			 __VA_ARGS__))

#define deny_image(j, code, category, key, ...)                                                    \
	((j)->is_denied = true,                                                                    \
	 tl_findings_add((j)->findings, FINDING(code, category, TL_SOURCE_LABELS), key, NULL,      \
			 __VA_ARGS__))

/* The pull would refuse it. The message never quotes it: it may hold a password. */
static int rule_image_ref(struct judge *j)
{
	auto_image_ref struct tl_image_ref ref = { 0 };
	struct tl_error err;
	int r;

	if (!j->spec->image_ref)
		return 0; /* refused when the attributes were read */
	r = tl_image_ref_parse(j->spec->image_ref, &ref, &err);
	if (r != -EINVAL)
		return r;
	return deny(j, TL_E_IMAGE_REF, "image-ref", "tee-image-reference",
		    "tee-image-reference can't be pulled: %s", err.msg);
}

/* The key of a variable, for findings. */
static int env_deny(struct judge *j, enum tl_code code, const char *category, const char *name,
		    const char *why)
{
	auto_free char *key = NULL;

	if (asprintf(&key, "tee-env-%s", name) < 0)
		return -ENOMEM;
	return deny(j, code, category, key, "%s: %s", key, why);
}

static const char *env_fault_text(enum tl_env_fault fault)
{
	static const char *const texts[] = {
		[TL_ENV_OK] = "",
		[TL_ENV_NAME_NOT_UTF8] = "the name is not UTF-8",
		[TL_ENV_VALUE_NOT_UTF8] = "the value is not UTF-8",
		[TL_ENV_NAME_MALFORMED] =
			"the name must be letters, digits and _, not beginning with a digit",
		[TL_ENV_VALUE_NUL] = "the value holds a NUL character",
		[TL_ENV_NO_EQUALS] = "there is no = after the name",
	};

	return texts[fault];
}

static int rule_env_names(struct judge *j)
{
	const struct tl_kvs *envs = &j->spec->envs;
	int r = 0;

	for (size_t i = 0; !r && i < envs->n; i++) {
		const struct tl_kv *env = &envs->items[i];
		enum tl_env_fault fault =
			tl_env_check(env->key, strlen(env->key), env->value, strlen(env->value));

		if (fault)
			r = env_deny(j, TL_E_ENV_NAME, tl_env_fault_category(fault), env->key,
				     env_fault_text(fault));
		else if (strcmp(env->key, "HOSTNAME") == 0)
			r = env_deny(j, TL_E_ENV_HOSTNAME, "env", env->key,
				     "the machine sets HOSTNAME; an override would be measured, "
				     "but never seen by the workload");
	}
	return r;
}

/* "[A B]", as the reference prints lists; NULL when out of memory. */
static char *list_text(const struct tl_strv *list)
{
	struct tl_buf text;
	int r;

	tl_buf_init(&text, LIST_TEXT_BYTES_MAX);
	r = tl_buf_append_str(&text, "[");
	for (size_t i = 0; !r && i < list->n; i++)
		r = tl_buf_printf(&text, "%s%s", i ? " " : "", list->items[i]);
	if (!r)
		r = tl_buf_append_str(&text, "]");
	if (r == -ENOMEM) {
		tl_buf_done(&text);
		return NULL;
	}
	return tl_buf_take_str(&text); /* cut, when there was no room for all */
}

/* Operators' scripts look for these words; the value, which the reference prints, is left out. */
static int env_override_deny(struct judge *j, const char *name)
{
	auto_free char *allowed = list_text(&j->policy->allow_envs), *why = NULL;

	if (!allowed || asprintf(&why,
				 "env var {%s [REDACTED]} is not allowed to be overridden on this "
				 "image; allowed envs to be overridden: %s",
				 name, allowed) < 0)
		return -ENOMEM;
	return env_deny(j, TL_E_DENIED_ENV, "env", name, why);
}

static int rule_env(struct judge *j)
{
	const struct tl_kvs *envs = &j->spec->envs;
	int r = 0;

	for (size_t i = 0; !r && i < envs->n; i++)
		if (!tl_strv_contains(&j->policy->allow_envs, envs->items[i].key))
			r = env_override_deny(j, envs->items[i].key);
	return r;
}

/* A value that couldn't be read still asks for what its key is for. */
static bool is_asked(const struct judge *j, bool is_set, const char *key)
{
	return is_set || tl_launch_spec_is_bad(j->spec, key);
}

static int rule_cmd(struct judge *j)
{
	if (!is_asked(j, j->spec->cmd.n > 0, "tee-cmd") || j->policy->allow_cmd)
		return 0;
	return deny(j, TL_E_DENIED_CMD, "cmd", "tee-cmd",
		    "tee-cmd: CMD is not allowed to be overridden on this image");
}

static int log_deny(struct judge *j, const char *category, const char *why)
{
	const char *key = "tee-container-log-redirect";

	if (tl_launch_spec_is_bad(j->spec, key))
		return deny(j, TL_E_DENIED_LOG, category, key, "%s: %s", key, why);
	return deny(j, TL_E_DENIED_LOG, category, key, "%s is '%s': %s", key,
		    tl_log_redirect_name(j->spec->log_redirect), why);
}

static int rule_log(struct judge *j)
{
	bool is_redirected = j->spec->log_redirect != TL_LOG_NOWHERE;

	if (!is_asked(j, is_redirected, "tee-container-log-redirect"))
		return 0;
	if (j->policy->log_policy == TL_LOG_POLICY_NEVER)
		return log_deny(j, "log-never", "logging redirection not allowed by image");
	if (j->policy->log_policy == TL_LOG_POLICY_DEBUG_ONLY && j->is_hardened)
		return log_deny(j, "log-debugonly",
				"logging redirection only allowed on debug environment by image");
	return 0;
}

static int rule_monitoring(struct judge *j)
{
	enum tl_monitoring most =
		j->is_hardened ? j->policy->hardened_monitoring : j->policy->debug_monitoring;
	const char *label = j->is_hardened ? "hardened_monitoring" : "debug_monitoring";
	bool is_bad = is_asked(j, false, "tee-monitoring-enable") ||
		      is_asked(j, false, "tee-monitoring-memory-enable");

	if (tl_launch_policy_is_bad(j->policy, "monitoring_memory_allow") ||
	    tl_launch_policy_is_bad(j->policy, label))
		return 0;
	if (is_bad && most == TL_MONITORING_NONE)
		return deny(j, TL_E_DENIED_MONITORING, "monitoring", "tee-monitoring-enable",
			    "error verifying monitoring config: this image allows none on %s "
			    "machines",
			    j->is_hardened ? "hardened" : "debug");
	if (j->spec->monitoring <= most)
		return 0;
	return deny(j, TL_E_DENIED_MONITORING, "monitoring", "tee-monitoring-enable",
		    "error verifying monitoring config: '%s' is asked for; this image allows at "
		    "most '%s' on %s machines",
		    tl_monitoring_name(j->spec->monitoring), tl_monitoring_name(most),
		    j->is_hardened ? "hardened" : "debug");
}

/* Mounting there would change what the workload is told about itself, or hide its tokens. */
static const char *protected_path(const char *destination)
{
	static const char *const paths[] = { "/proc", "/sys", "/dev", "/run/container_launcher" };

	if (strcmp(destination, "/") == 0)
		return "/";
	for (size_t i = 0; i < TL_ARRAY_SIZE(paths); i++)
		if (path_is_below(paths[i], destination))
			return paths[i];
	return NULL;
}

/* What the parser made is clean already, and costs nothing; @ret_heap: to be freed. */
static const char *cleaned(const char *destination, char **ret_heap)
{
	if (path_is_clean(destination))
		return destination;
	*ret_heap = path_clean(destination);
	return *ret_heap;
}

static int protected_mount_check(struct judge *j, const char *destination)
{
	auto_free char *heap = NULL;
	const char *clean = cleaned(destination, &heap), *path;

	if (!clean)
		return -ENOMEM;
	path = protected_path(clean);
	if (!path)
		return 0;
	return deny(j, TL_E_MOUNT_PROTECTED, "mount:not-in-allowlist", "tee-mount",
		    "tee-mount: destination '%s' would cover %s, which no image can allow",
		    destination, path);
}

static int rule_protected_mounts(struct judge *j)
{
	int r = 0;

	for (size_t i = 0; !r && i < j->spec->mounts.n; i++)
		r = protected_mount_check(j, j->spec->mounts.items[i].destination);
	return r;
}

/* Lexical, as the paths are: the category of what is wrong, or NULL. */
static const char *mount_fault(const struct tl_strv *allowed, const char *clean)
{
	if (*clean != '/')
		return "mount:dest-not-absolute";
	for (size_t i = 0; i < allowed->n; i++) {
		if (*allowed->items[i] != '/')
			return "mount:allow-entry-not-absolute";
		if (path_is_below(allowed->items[i], clean))
			return NULL;
	}
	return "mount:not-in-allowlist";
}

static int mount_deny(struct judge *j, const char *category, const char *destination)
{
	auto_free char *allowed = list_text(&j->policy->allow_mounts);
	const char *why = "policy only allows mounts in the following paths";

	if (!allowed)
		return -ENOMEM;
	if (strcmp(category, "mount:dest-not-absolute") == 0)
		why = "it is not absolute; policy only allows mounts in the following paths";
	else if (strcmp(category, "mount:allow-entry-not-absolute") == 0)
		why = "allow_mount_destinations of the image has a path that is not absolute";
	return deny(j, TL_E_DENIED_MOUNT, category, "tee-mount",
		    "tee-mount: destination mount points are not allowed: '%s': %s: %s",
		    destination, why, allowed);
}

static int mount_check(struct judge *j, const char *destination)
{
	auto_free char *heap = NULL;
	const char *clean = cleaned(destination, &heap), *category;

	if (!clean)
		return -ENOMEM;
	category = mount_fault(&j->policy->allow_mounts, clean);
	/* A protected path has its finding already, and no label could allow it. */
	if (!category || protected_path(clean))
		return 0;
	return mount_deny(j, category, destination);
}

static int rule_mounts(struct judge *j)
{
	const struct tl_strv *allowed = &j->policy->allow_mounts;
	int r = 0;

	/* Those that could be read are judged one by one. */
	if (!allowed->n && is_asked(j, false, "tee-mount") && !j->spec->mounts.n)
		return deny(j, TL_E_DENIED_MOUNT, "mount:not-in-allowlist", "tee-mount",
			    "tee-mount: destination mount points are not allowed: policy only "
			    "allows mounts in the following paths: []");
	for (size_t i = 0; !r && i < j->spec->mounts.n; i++)
		r = mount_check(j, j->spec->mounts.items[i].destination);
	return r;
}

static int rule_capabilities(struct judge *j)
{
	if (!is_asked(j, j->spec->added_capabilities.n > 0, "tee-added-capabilities") ||
	    j->policy->allow_capabilities)
		return 0;
	return deny(j, TL_E_DENIED_CAPABILITIES, "caps", "tee-added-capabilities",
		    "tee-added-capabilities: additional capabilities are not allowed");
}

static int rule_cgroups(struct judge *j)
{
	if (!is_asked(j, j->spec->is_cgroup_ns, "tee-cgroup-ns") || j->policy->allow_cgroups)
		return 0;
	return deny(j, TL_E_DENIED_CGROUPS, "cgroups", "tee-cgroup-ns",
		    "tee-cgroup-ns: cgroups usage is not allowed");
}

static int rule_image_env(struct judge *j)
{
	const struct tl_strv *env = &j->image->env;
	int r = 0;

	for (size_t i = 0; !r && i < env->n; i++) {
		enum tl_env_fault fault = tl_env_check_entry(env->items[i]);

		/* The name is foreign and the value may be secret: the position says enough. */
		if (fault && *env->items[i])
			r = deny_image(j, TL_E_IMAGE_ENV, tl_env_fault_category(fault), "Env",
				       "variable %zu of the image would fail every attestation: %s",
				       i + 1, env_fault_text(fault));
	}
	return r;
}

static int rule_image_ports(struct judge *j)
{
	const struct tl_strv *ports = &j->image->exposed_ports;
	int r = 0;

	for (size_t i = 0; !r && i < ports->n; i++) {
		struct tl_port port;
		enum tl_port_fault fault = tl_port_parse(ports->items[i], &port);

		if (fault)
			r = deny_image(j, TL_E_IMAGE_PORT, tl_port_fault_category(fault),
				       "ExposedPorts",
				       "the image exposes '%s', which is not NUMBER/tcp or "
				       "NUMBER/udp",
				       ports->items[i]);
	}
	return r;
}

/* The whole verdict, in the order in which reasons are given. */
static const struct {
	rule *check;
	enum { ALWAYS, EACH_POLICY, IMAGE } when;
	const char *label; /* nothing is said where it couldn't be read; NULL: the rule looks */
} rules[] = {
	{ rule_image_ref, ALWAYS, NULL },
	{ rule_env_names, ALWAYS, NULL },
	{ rule_env, EACH_POLICY, "allow_env_override" },
	{ rule_cmd, EACH_POLICY, "allow_cmd_override" },
	{ rule_log, EACH_POLICY, "log_redirect" },
	{ rule_monitoring, EACH_POLICY, NULL },
	{ rule_protected_mounts, ALWAYS, NULL },
	{ rule_mounts, EACH_POLICY, "allow_mount_destinations" },
	{ rule_capabilities, EACH_POLICY, "allow_capabilities" },
	{ rule_cgroups, EACH_POLICY, "allow_cgroups" },
	{ rule_image_env, IMAGE, NULL },
	{ rule_image_ports, IMAGE, NULL },
};

/* What was refused when it was read has its finding; without it there would be no denial here. */
static bool is_any_bad(const struct tl_verdict_input *in)
{
	for (size_t i = 0; i < in->n_policies; i++)
		if (in->policies[i].labels_bad)
			return true;
	return in->spec->keys_bad != 0;
}

static int rule_ask(struct judge *j, size_t i)
{
	if (rules[i].label && tl_launch_policy_is_bad(j->policy, rules[i].label))
		return 0;
	return rules[i].check(j);
}

int tl_verdict(const struct tl_verdict_input *in, struct tl_findings *findings)
{
	struct judge j = {
		.spec = in->spec,
		.image = in->image,
		.findings = findings,
		.is_hardened = in->is_hardened,
		.is_denied = is_any_bad(in),
	};
	int r = 0;

	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(rules); i++) {
		size_t times = rules[i].when == EACH_POLICY ? in->n_policies
			       : rules[i].when == IMAGE     ? in->image != NULL
							    : 1;

		for (size_t k = 0; !r && k < times; k++) {
			j.policy = rules[i].when == EACH_POLICY ? &in->policies[k] : NULL;
			r = rule_ask(&j, i);
		}
	}
	if (r)
		return r;
	return j.is_denied ? -EPERM : 0;
}

int tl_spec_check(const struct tl_launch_spec *spec, const struct tl_machine_facts *facts,
		  struct tl_findings *findings)
{
	const struct tl_verdict_input in = { .spec = spec };
	int verdict = tl_verdict(&in, findings);
	int machine = verdict == -ENOMEM ? 0 : tl_machine_check(spec, facts, findings);

	if (verdict == -ENOMEM || machine == -ENOMEM)
		return -ENOMEM;
	return verdict || machine ? -EPERM : 0;
}
