/* SPDX-License-Identifier: Apache-2.0 */
/* The stages before anything is stored: what is asked for, by whom, and may it be? */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/log.h>
#include <teelaunch/verdict.h>

#include "image/registry.h"
#include "image/registry_host.h"
#include "image/resolve.h"
#include "metadata.h"
#include "root.h"
#include "sequence.h"
#include "spec_text.h"

/* There is no way from one to the other but the unit's option: a check that fails ends the launch.
 */
static int root_stage(struct launch *l, struct tl_error *err)
{
	auto_mount_list struct mount_list mounts = { 0 };
	char hash[ROOT_HASH_HEX + 1];
	int r;

	l->report.root = l->options->root;
	if (strcmp(l->options->root, "any") == 0) {
		tl_log_event(LOG_WARNING, "root.any",
			     "msg='the unit allows a root that nobody has measured'");
		return 0;
	}
	r = root_mounts_read(&mounts, err);
	if (r == 0)
		r = root_check(l->machine.cmdline, &mounts, hash, err);
	if (r == 0)
		tl_log_event(LOG_INFO, "root.verity", "roothash=%s mounts=%zu", hash, mounts.n);
	return r;
}

int stage_machine(struct launch *l, struct tl_error *err)
{
	int r = machine_read(l->options->kernel_cmdline, l->confinement.capabilities_before,
			     &l->machine, err);

	if (r < 0)
		return r;
	l->has_machine = true;
	tl_log_event(LOG_INFO, "machine", "mode=%s mem_available_kb=%" PRIu64 " capabilities=%zu",
		     l->machine.is_hardened ? "production" : "debug", l->machine.mem_available_kb,
		     l->machine.capabilities.n);
	r = confinement_judge(l, err);
	if (r == 0)
		r = root_stage(l, err);
	if (r == 0)
		r = firewall_shut(l, err);
	return r < 0 ? r : folders_make(l, err);
}

/* Those not yet logged. A forbidding one is always new, as it ends the launch; it can take the
 * place of a warning that was logged. */
static void findings_log(struct launch *l)
{
	const struct tl_findings *findings = &l->findings;

	for (size_t i = 0; i < findings->n; i++) {
		const struct tl_finding *f = &findings->items[i];

		if (f->is_warning && i < l->findings_logged)
			continue;
		tl_log_event(f->is_warning ? LOG_WARNING : LOG_ERR, "finding",
			     "code=%s category=%s source=%s key='%s' msg='%s' fix='%s'",
			     tl_catalogue_find(f->code)->id, f->category,
			     tl_finding_source_name(f->source), TL_Q(f->key), TL_Q(f->message),
			     TL_Q(f->fix));
	}
	l->findings_logged = findings->n;
	if (findings->dropped)
		tl_log_event(LOG_WARNING, "findings.more", "count=%zu", findings->dropped);
}

/* 0, or the findings as one error. @r is what the judging function returned. */
static int judged(const struct launch *l, int r, struct tl_error *err)
{
	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "findings");
	if (r == 0 && !tl_findings_forbid(&l->findings))
		return 0;
	r = tl_findings_error(&l->findings, err);
	return r < 0 ? r : tl_fail(err, TL_E_INTERNAL, EINVAL, "refused without a reason");
}

static void spec_log(const struct launch *l)
{
	const struct tl_launch_spec *s = &l->spec;
	auto_buf struct tl_buf names = { 0 };

	tl_buf_init(&names, 2048); /* a line is cut there anyway */
	for (size_t i = 0; i < s->envs.n; i++)
		(void)tl_buf_printf(&names, "%s%s", i ? "," : "", s->envs.items[i].key);
	tl_log_event(
		LOG_INFO, "spec",
		"image='%s' restart_policy=%s log_redirect=%s cmd_override=%zu env_override='%s' "
		"mounts=%zu capabilities=%zu",
		TL_Q(l->reference_shown), tl_restart_policy_name(s->restart_policy),
		tl_log_redirect_name(s->log_redirect), s->cmd.n, TL_Q(tl_buf_str(&names)),
		s->mounts.n, s->added_capabilities.n);
}

/* As the Confidential Space launcher writes it. */
static void spec_dump_log(const struct launch *l)
{
	auto_buf struct tl_buf text = { 0 };

	tl_buf_init(&text, TL_LOG_VALUE_MAX); /* a value is cut there anyway */
	spec_text_append(&l->spec, l->reference_shown, l->machine.is_hardened, &text);
	tl_log_event(LOG_INFO, "spec.dump", "msg='Launch Spec: %s'", TL_Q(tl_buf_str(&text)));
	if (!l->spec.is_gpu_driver_wanted)
		tl_log_event(LOG_INFO, "gpu.off", "msg='tee-install-gpu-driver is not set'");
}

int stage_metadata(struct launch *l, struct tl_error *err)
{
	const struct tl_buf *attributes;
	int r = metadata_open(l->options->metadata_host, l->cancel, &l->metadata, err);

	/* The one snapshot: policy, measurement and container all come from it. */
	if (r == 0)
		r = metadata_attributes(l->metadata, &attributes, err);
	if (r == 0)
		tl_log_event(LOG_INFO, "metadata", "host='%s' attributes_bytes=%zu",
			     l->options->metadata_host, attributes->len_bytes);
	return r;
}

static struct tl_machine_facts facts_of(const struct launch *l)
{
	return (struct tl_machine_facts){
		.mem_available_kb = &l->machine.mem_available_kb,
		.capabilities = &l->machine.capabilities,
		.features = TL_FEATURES_OF_RELEASE,
	};
}

int stage_spec(struct launch *l, struct tl_error *err)
{
	const struct tl_machine_facts facts = facts_of(l);
	const struct tl_buf *attributes;
	int r = metadata_attributes(l->metadata, &attributes, err);

	if (r < 0)
		return r;
	r = tl_launch_spec_read(tl_buf_str(attributes), attributes->len_bytes, NULL, &l->spec,
				&l->findings);
	l->has_spec = r == 0;
	if (r == 0) {
		l->reference_shown = tl_image_ref_shown(l->spec.image_ref);
		if (!l->reference_shown)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image reference");
		l->report.image.reference = l->reference_shown;
		spec_log(l);
		spec_dump_log(l);
		r = tl_image_ref_parse(l->spec.image_ref, &l->ref, err);
	}
	/* The launch ends here, so all is said that can be known without the image. Else what the
	 * attributes alone forbid is said with what the labels forbid, by stage_policy(). */
	if (r == 1 || r == -EINVAL)
		r = tl_spec_check(&l->spec, &facts, &l->findings);
	findings_log(l);
	return judged(l, r, err);
}

/* The account's token is fetched only if the registry is one that may see it. */
static int registry_token(struct launch *l, struct tl_secret *ret, struct tl_error *err)
{
	struct registry_host host;
	struct tl_error why = { 0 };
	int r = registry_host_parse(l->ref.host, &host, err);

	if (r < 0 || !host.is_token_offered)
		return r;
	if (metadata_access_token(l->metadata, ret, &why) < 0)
		tl_log_event(LOG_WARNING, "registry.anonymous", "msg='%s'", TL_Q(why.msg));
	return 0;
}

int stage_resolve(struct launch *l, struct tl_error *err)
{
	auto_secret struct tl_secret token = { 0 };
	struct tl_registry_options options = {
		.roots = &l->options->registry_roots,
		.google_roots = l->options->google_roots,
		.access_token = &token,
		.user_agent = "teelaunch",
		.deadline = tl_deadline_never(),
		.cancel = l->cancel,
	};
	int r = registry_token(l, &token, err);

	if (r == 0)
		r = tl_registry_open(&l->ref, &options, &l->registry, err);
	if (r == 0)
		r = tl_resolve(l->registry, &l->ref, NULL, &l->image, err);
	if (r < 0)
		return r;
	l->has_image = true;
	l->report.image.digest = l->image.target.digest;
	l->report.image.config_digest = l->image.config.digest;
	l->report.image.size_bytes = l->image.layers_bytes;
	l->report.image.layers = l->image.layers_n;
	tl_log_event(LOG_INFO, "image.resolved",
		     "ref='%s' digest=%s image_id=%s layers=%zu layers_bytes=%" PRIu64
		     " msg='Retrieved image config'",
		     TL_Q(l->ref.text), l->image.target.digest, l->image.config.digest,
		     l->image.layers_n, l->image.layers_bytes);
	if (l->image.is_platform_foreign)
		tl_log_event(LOG_WARNING, "image.platform",
			     "msg='the configuration names another platform: %s/%s'",
			     TL_Q(l->image.parsed.os), TL_Q(l->image.parsed.architecture));
	return 0;
}

/* The first so many of a list, as one text: a value of the log. */
static void list_append(struct tl_buf *b, const struct tl_strv *list)
{
	for (size_t i = 0; i < list->n; i++)
		(void)tl_buf_printf(b, "%s%s", i ? "," : "", list->items[i]);
}

static void image_log(const struct tl_image_config *image)
{
	auto_buf struct tl_buf ports = { 0 };
	auto_buf struct tl_buf labels = { 0 };

	tl_buf_init(&ports, TL_LOG_VALUE_MAX);
	tl_buf_init(&labels, TL_LOG_VALUE_MAX);
	list_append(&ports, &image->exposed_ports);
	for (size_t i = 0; i < image->labels.n; i++)
		(void)tl_buf_printf(&labels, "%s%s=%s", i ? " " : "", image->labels.items[i].key,
				    image->labels.items[i].value);
	tl_log_event(LOG_INFO, "image.ports", "ports='%s' msg='Exposed Ports:'",
		     TL_Q(tl_buf_str(&ports)));
	tl_log_event(LOG_INFO, "image.labels", "count=%zu labels='%s' msg='Image Labels'",
		     image->labels.n, TL_Q(tl_buf_str(&labels)));
}

static void policy_log(const struct tl_launch_policy *p)
{
	auto_buf struct tl_buf envs = { 0 };
	auto_buf struct tl_buf mounts = { 0 };

	tl_buf_init(&envs, TL_LOG_VALUE_MAX / 2);
	tl_buf_init(&mounts, TL_LOG_VALUE_MAX / 2);
	list_append(&envs, &p->allow_envs);
	list_append(&mounts, &p->allow_mounts);
	tl_log_event(LOG_INFO, "policy",
		     "allow_env_override='%s' allow_cmd_override=%d log_redirect=%s "
		     "hardened_monitoring=%s debug_monitoring=%s allow_mount_destinations='%s' "
		     "allow_capabilities=%d allow_cgroups=%d msg='Launch Policy'",
		     TL_Q(tl_buf_str(&envs)), p->allow_cmd, tl_log_policy_name(p->log_policy),
		     tl_monitoring_name(p->hardened_monitoring),
		     tl_monitoring_name(p->debug_monitoring), TL_Q(tl_buf_str(&mounts)),
		     p->allow_capabilities, p->allow_cgroups);
}

/* Everything is asked, so that one launch tells all reasons. */
int stage_policy(struct launch *l, struct tl_error *err)
{
	const struct tl_machine_facts facts = facts_of(l);
	struct tl_verdict_input in = {
		.spec = &l->spec,
		.policies = &l->policy,
		.image = &l->image.parsed,
		.is_hardened = l->machine.is_hardened,
	};
	int r = tl_launch_policy_read(&l->image.parsed.labels, &l->policy, &l->findings);

	image_log(&l->image.parsed);
	if (r == 0)
		policy_log(&l->policy);
	else if (r > 0)
		tl_log_event(LOG_ERR, "policy.unreadable",
			     "msg='failed to parse image Launch Policy: see the findings, and "
			     "contact the image author'");
	/* A label that can't be read forbids the launch, but the rest is judged, too. */
	in.n_policies = r >= 0;
	if (r != -ENOMEM && tl_verdict(&in, &l->findings) == -ENOMEM)
		r = -ENOMEM;
	if (r != -ENOMEM && tl_machine_check(&l->spec, &facts, &l->findings) == -ENOMEM)
		r = -ENOMEM;
	findings_log(l);
	r = judged(l, r, err);
	if (r == 0)
		tl_log_event(LOG_INFO, "policy.allowed", "mode=%s",
			     l->machine.is_hardened ? "production" : "debug");
	return r;
}
