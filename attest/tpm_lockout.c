/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dictionary-attack lockout: TPM 2.0 part 1, 19.8. A VM that is reset instead of shut down counts
 * as an attack, so the usual limit of 3 would lock an honest machine out. The numbers are those of
 * the Confidential Space launcher.
 */
#include "tpm_esys.h"

#include <inttypes.h>

#define MAX_TRIES          32
#define RECOVERY_S         7200  /* until one try is forgotten */
#define LOCKOUT_RECOVERY_S 86400 /* after a wrong lockout authorization */

struct lockout {
	uint32_t counter;
	uint32_t max;
	uint32_t interval_s;
	uint32_t startup; /* TPMA_STARTUP_CLEAR */
};

static int read_lockout(const struct tpm_esys *t, struct lockout *ret, struct tl_error *err)
{
	struct lockout l = { 0 };
	int r = tpm_read_property(t, TPM2_PT_LOCKOUT_COUNTER, &l.counter, err);

	if (r >= 0)
		r = tpm_read_property(t, TPM2_PT_MAX_AUTH_FAIL, &l.max, err);
	if (r >= 0)
		r = tpm_read_property(t, TPM2_PT_LOCKOUT_INTERVAL, &l.interval_s, err);
	if (r >= 0)
		r = tpm_read_property(t, TPM2_PT_STARTUP_CLEAR, &l.startup, err);
	if (r >= 0)
		*ret = l;
	return r;
}

/* Out of memory loses a warning, which is no reason to fail. */
static void warn_of(struct tl_strv *warnings, const char *what, const struct tl_error *err)
{
	(void)tl_strv_printf(warnings, "%s: %s", what, err->msg);
}

static bool set_limits(const struct tpm_esys *t, struct tl_strv *warnings)
{
	struct tl_error err = { 0 };
	struct lockout l = { 0 };
	bool is_set;
	TSS2_RC rc;

	if (read_lockout(t, &l, &err) < 0) {
		warn_of(warnings, "dictionary-attack lockout can't be read", &err);
		return false;
	}
	if (!(l.startup & TPMA_STARTUP_CLEAR_ORDERLY))
		(void)tl_strv_printf(warnings,
				     "the TPM wasn't shut down in an orderly way before this boot; "
				     "dictionary-attack counter %" PRIu32 " of %" PRIu32,
				     l.counter, l.max);
	rc = Esys_DictionaryAttackParameters(t->ctx, ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD,
					     ESYS_TR_NONE, ESYS_TR_NONE, MAX_TRIES, RECOVERY_S,
					     LOCKOUT_RECOVERY_S);
	is_set = rc == TSS2_RC_SUCCESS;
	if (!is_set) {
		(void)tpm_fail(t, &err, rc, "set");
		warn_of(warnings, "dictionary-attack limits", &err);
	}
	if (read_lockout(t, &l, &err) < 0)
		return false;
	if (l.max && l.counter >= l.max)
		(void)tl_strv_printf(warnings,
				     "the TPM is in dictionary-attack lockout (%" PRIu32
				     " of %" PRIu32 "); one try heals every %" PRIu32 " s",
				     l.counter, l.max, l.interval_s);
	return is_set;
}

void tpm_set_lockout_limits(struct tpm_esys *t, struct tl_strv *warnings)
{
	if (!set_limits(t, warnings))
		(void)tpm_esys_renew(t, 0, NULL, NULL);
}
