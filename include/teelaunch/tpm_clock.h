/* SPDX-License-Identifier: Apache-2.0 */
/* How often the machine was reset, by the count that its TPM keeps. */
#pragma once

#include <stdint.h>

#include <teelaunch/error.h>

/**
 * resetCount of TPM2_ReadClock: TPM resets since the TPM was last cleared (TPM 2.0 Library, part
 * 1, 36.4). It is the host's TPM: good for pacing, not for proof.
 *
 * @tcti  as Tss2_TctiLdr_Initialize takes it
 * Opens the TPM and closes it again. Blocks as long as TPM commands do.
 */
int tl_tpm_reset_count(const char *tcti, uint32_t *ret, struct tl_error *err);
