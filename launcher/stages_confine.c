/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher takes from itself: when it starts, and once the container exists. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>
#include <teelaunch/str.h>

#include "sequence.h"

static void confinement_report(struct launch *l)
{
	l->report.confinement.mode = confine_mode_name(l->confinement.mode);
	l->report.confinement.phase = confine_phase_name(l->confinement.phase);
	l->report.confinement.capabilities = l->confinement.capabilities;
	l->report.confinement.landlock_abi = l->confinement.landlock_abi;
	l->report.confinement.threads = l->confinement.threads;
}

static void confinement_log(const struct launch *l)
{
	tl_log_event(LOG_INFO, "confined",
		     "phase=%s capabilities=%016" PRIx64 " landlock_abi=%d threads=%zu",
		     confine_phase_name(l->confinement.phase), l->confinement.capabilities,
		     l->confinement.landlock_abi, l->confinement.threads);
}

int confinement_judge(struct launch *l, struct tl_error *err)
{
	const struct tl_error *failure = l->options->confinement_failure;

	confinement_report(l);
	if (failure->code) {
		*err = *failure;
		return -EPERM;
	}
	if (l->confinement.mode == CONFINE_OFF)
		tl_log_event(LOG_WARNING, "confine.off",
			     "msg='the unit allows a launcher that keeps all its rights'");
	else
		confinement_log(l);
	return 0;
}

/* --- the second time -------------------------------------------------------------------------- */

/* What the unit names: files that are read again whenever they are used, and two folders. */
#define PLACES_MAX 64

struct places {
	struct confine_place items[PLACES_MAX];
	size_t n;
};

static int place_add(struct places *p, const char *path, bool is_writable, struct tl_error *err)
{
	if (!path || *path != '/')
		return 0;
	if (p->n == PLACES_MAX)
		return tl_fail(err, TL_E_CONFINE, EOVERFLOW, "the unit names too many files");
	p->items[p->n++] = (struct confine_place){ .path = path, .is_writable = is_writable };
	return 0;
}

/* "HOST=FILE" */
static int roots_add(struct places *p, const struct tl_strv *roots, struct tl_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < roots->n; i++)
		r = place_add(p, strchr(roots->items[i], '=') + 1, false, err);
	return r;
}

/* The TPM's device, which is opened anew when the launch has ended: "device:/dev/tpmrm0". */
static const char *tpm_device(const char *tcti)
{
	static const char prefix[] = "device:";

	return tl_str_starts_with(tcti, prefix) ? tcti + strlen(prefix) : NULL;
}

static int places_of(const struct launch_options *o, struct places *p, struct tl_error *err)
{
	const char *const read[] = { o->verifier_roots, o->google_roots, o->ita_roots,
				     o->firmware_log, o->kernel_cmdline };
	const char *const written[] = { o->shared_dir, o->state_dir, o->console,
					tpm_device(o->tcti) };
	int r = 0;

	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(read); i++)
		r = place_add(p, read[i], false, err);
	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(written); i++)
		r = place_add(p, written[i], true, err);
	return r < 0 ? r : roots_add(p, &o->registry_roots, err);
}

int stage_confine(struct launch *l, struct tl_error *err)
{
	struct places places = { 0 };
	int r = places_of(l->options, &places, err);

	if (r == 0)
		r = confine_workload(places.items, places.n, &l->confinement, err);
	if (r < 0 || l->confinement.mode == CONFINE_OFF)
		return r;
	confinement_report(l);
	confinement_log(l);
	if (!l->confinement.landlock_abi)
		tl_log_event(LOG_WARNING, "confine.landlock",
			     "msg='the kernel has no Landlock, or has it switched off: files are "
			     "kept from the launcher by their modes alone'");
	return 0;
}
