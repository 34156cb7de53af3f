/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets sealed to this boot of this machine by its TPM 2.0. Not thread-safe; every call blocks
 * for at most a few TPM commands.
 *
 * The parent is a primary key of the null hierarchy: its seed changes at every reset of the TPM, so
 * what was sealed before a reset can't be loaded after it. The policy is TPM2_PolicyPCR over the
 * registers of TL_SEAL_PCRS as they are when sealing: once one of them is extended, nothing opens
 * the blob for the rest of the boot. PCR 13 is among them, so the measurement of the workload is
 * what closes the door.
 *
 * Secrets travel to and from the TPM encrypted, in sessions salted with that primary key.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>
#include <teelaunch/secret.h>

/*
 * Firmware (0), option ROMs (2), boot loader or unified kernel image (4), Secure Boot policy (7),
 * kernel command line and initrd as GRUB, the kernel's stub and systemd-stub measure them (8, 9,
 * 12), the launch (13). Not 11: systemd-pcrphase extends it while the system comes up, and the
 * image it stands for is in 4 already. TCG PC Client Platform Firmware Profile 1.05, 3.3.4.
 */
#define TL_SEAL_PCRS                                                                               \
	((1U << 0) | (1U << 2) | (1U << 4) | (1U << 7) | (1U << 8) | (1U << 9) | (1U << 12) |      \
	 (1U << 13))
/* Those of them that every firmware extends, if only with a separator (the same, 2.3.4). */
#define TL_SEAL_PCRS_FIRMWARE ((1U << 0) | (1U << 2) | (1U << 4) | (1U << 7))
#define TL_SEAL_SECRET_MAX    128  /* bytes; TPM2B_SENSITIVE_DATA of every TPM holds that much */
#define TL_SEAL_BLOB_MAX      4096 /* bytes */

struct tl_sealer;

/**
 * @tcti  as Tss2_TctiLdr_Initialize takes it
 *
 * Returns 0, TL_E_TPM_OPEN, or TL_E_TPM_BANKS if there is no bank of SHA-256 or better into
 * which the firmware has measured: a policy over registers that nobody extends binds nothing.
 */
int tl_sealer_open(const char *tcti, struct tl_sealer **ret, struct tl_error *err);
struct tl_sealer *tl_sealer_close(struct tl_sealer *s); /* NULL is fine; returns NULL */
static inline void tl_sealer_closep(struct tl_sealer **s)
{
	*s = tl_sealer_close(*s);
}
#define auto_sealer __attribute__((cleanup(tl_sealer_closep)))

/** Fill @bytes from the TPM's generator. */
int tl_sealer_random(struct tl_sealer *s, uint8_t *bytes, size_t n, struct tl_error *err);

/** Append the blob to @ret. @secret: at most TL_SEAL_SECRET_MAX bytes. */
int tl_seal(struct tl_sealer *s, const struct tl_secret *secret, struct tl_buf *ret,
	    struct tl_error *err);

/**
 * @blob  from tl_seal(); not trusted
 * @ret   empty; set on success only, in locked memory
 *
 * Returns 0, or TL_E_UNSEAL: the TPM was reset, a register was extended since, or that is no blob
 * of this TPM.
 */
int tl_unseal(struct tl_sealer *s, const uint8_t *blob, size_t n, struct tl_secret *ret,
	      struct tl_error *err);
