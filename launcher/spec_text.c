/* SPDX-License-Identifier: Apache-2.0 */
#include "spec_text.h"

#include <inttypes.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_ref.h>

#define REDACTED "[REDACTED]"

static const char *bool_text(bool value)
{
	return value ? "true" : "false";
}

static void list_append(struct tl_buf *b, const char *name, const struct tl_strv *list)
{
	(void)tl_buf_printf(b, " %s:[", name);
	for (size_t i = 0; i < list->n; i++)
		(void)tl_buf_printf(b, "%s%s", i ? " " : "", list->items[i]);
	(void)tl_buf_append_str(b, "]");
}

/* Somebody may have put credentials into a reference. */
static void repos_append(struct tl_buf *b, const struct tl_strv *repos)
{
	(void)tl_buf_append_str(b, " SignedImageRepos:[");
	for (size_t i = 0; i < repos->n; i++) {
		auto_free char *shown = tl_image_ref_shown(repos->items[i]);

		(void)tl_buf_printf(b, "%s%s", i ? " " : "", shown ? shown : REDACTED);
	}
	(void)tl_buf_append_str(b, "]");
}

/* Arguments may hold secrets as well as variables do; how many there are says what was overridden.
 */
static void cmd_append(struct tl_buf *b, const struct tl_strv *cmd)
{
	(void)tl_buf_append_str(b, " Cmd:[");
	for (size_t i = 0; i < cmd->n; i++)
		(void)tl_buf_append_str(b, i ? " " REDACTED : REDACTED);
	(void)tl_buf_append_str(b, "]");
}

static void envs_append(struct tl_buf *b, const struct tl_kvs *envs)
{
	(void)tl_buf_append_str(b, " Envs:[");
	for (size_t i = 0; i < envs->n; i++)
		(void)tl_buf_printf(b, "%s{Name:%s Value:%s}", i ? " " : "", envs->items[i].key,
				    *envs->items[i].value ? REDACTED : "");
	(void)tl_buf_append_str(b, "]");
}

static void ita_append(struct tl_buf *b, const struct tl_launch_spec *spec)
{
	(void)tl_buf_printf(
		b, " ITAConfig:{ITARegion:%s ITAKey:", spec->ita_region ? spec->ita_region : "");
	for (size_t i = 0; i < spec->ita_api_key.len_bytes; i++)
		(void)tl_buf_append_str(b, "*");
	(void)tl_buf_append_str(b, "}");
}

static void mounts_append(struct tl_buf *b, const struct tl_mounts *mounts)
{
	(void)tl_buf_append_str(b, " Mounts:[");
	for (size_t i = 0; i < mounts->n; i++)
		(void)tl_buf_printf(b, "%s{Destination:%s Size:%" PRIu64 "}", i ? " " : "",
				    mounts->items[i].destination, mounts->items[i].size_bytes);
	(void)tl_buf_append_str(b, "]");
}

void spec_text_append(const struct tl_launch_spec *s, const char *reference, bool is_hardened,
		      struct tl_buf *b)
{
	/* There are no experiments here, and no fake verifier: both are off. */
	(void)tl_buf_append_str(
		b, "{Experiments:{EnableTestFeatureForImage:false} FakeVerifierEnabled:false");
	list_append(b, "AddedCapabilities", &s->added_capabilities);
	(void)tl_buf_printf(b, " CgroupNamespace:%s", bool_text(s->is_cgroup_ns));
	cmd_append(b, &s->cmd);
	(void)tl_buf_printf(b, " DevShmSize:%" PRIu64 " DisableGcaRefresh:%s", s->dev_shm_size_kb,
			    bool_text(s->is_gca_refresh_disabled));
	envs_append(b, &s->envs);
	(void)tl_buf_printf(b, " GcaAddress:%s Hardened:%s ImageRef:%s", s->gca_address,
			    bool_text(is_hardened), reference);
	list_append(b, "ImpersonateServiceAccounts", &s->impersonate_service_accounts);
	(void)tl_buf_printf(b, " InstallGpuDriver:%s", bool_text(s->is_gpu_driver_wanted));
	ita_append(b, s);
	(void)tl_buf_printf(b, " LogRedirect:%s MonitoringEnabled:%s",
			    tl_log_redirect_name(s->log_redirect),
			    tl_monitoring_name(s->monitoring));
	mounts_append(b, &s->mounts);
	(void)tl_buf_printf(b, " RestartPolicy:%s", tl_restart_policy_name(s->restart_policy));
	repos_append(b, &s->signed_image_repos);
	(void)tl_buf_append_str(b, "}");
}
