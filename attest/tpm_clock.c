/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/tpm_clock.h>

#include "tpm_esys.h"

int tl_tpm_reset_count(const char *tcti, uint32_t *ret, struct tl_error *err)
{
	auto_esys TPMS_TIME_INFO *info = NULL;
	struct tpm_esys tpm = { 0 };
	struct tpm_link *link = NULL;
	TSS2_RC rc;
	int r = tpm_link_open(tcti, TPM_COMMAND_BUDGET_MS, &link, err);

	if (r == 0)
		r = tpm_esys_init(&tpm, link, err);
	if (r < 0)
		return r;
	rc = Esys_ReadClock(tpm.ctx, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &info);
	if (rc == TSS2_RC_SUCCESS)
		*ret = info->clockInfo.resetCount;
	else
		r = tpm_fail(&tpm, err, rc, "read the clock");
	tpm_esys_done(&tpm);
	return r;
}
