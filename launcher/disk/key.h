/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The volume key: made, and handed to dm-crypt by way of a keyring that only this process has. A
 * key of type "logon" can be used by the kernel and read by nobody.
 */
#pragma once

#include <teelaunch/error.h>
#include <teelaunch/secret.h>
#include <teelaunch/tpm_seal.h>

#define DISK_KEY_BYTES       32
#define DISK_KEY_DESCRIPTION "teelaunch:volume"

/**
 * Random bytes of the kernel and of the TPM, mixed: the key is as good as the better of the two.
 * @ret  empty; locked memory
 */
int disk_key_make(struct tl_sealer *tpm, struct tl_secret *ret, struct tl_error *err);

/*
 * The key as it may lie in memory while the disk is open: a random pad sealed to the TPM, and the
 * key under that pad beside it. Each half alone is noise, so a TPM that the host runs learns
 * nothing of the key; and without the TPM's half, which closes as tpm_seal.h says, nobody else
 * does.
 */
#define DISK_SEALED_MAX (DISK_KEY_BYTES + TL_SEAL_BLOB_MAX)

/** Append both halves to @ret. TL_E_DISK_SETUP, or what the TPM has to say. */
int disk_key_seal(struct tl_sealer *tpm, const struct tl_secret *key, struct tl_buf *ret,
		  struct tl_error *err);
/** @ret is empty, and set on success only. TL_E_UNSEAL, or what the TPM has to say. */
int disk_key_unseal(struct tl_sealer *tpm, const struct tl_buf *sealed, struct tl_secret *ret,
		    struct tl_error *err);

/** Put it into the process's keyring under DISK_KEY_DESCRIPTION. TL_E_DISK_SETUP. */
int disk_key_lend(const struct tl_secret *key, int *ret_serial, struct tl_error *err);
/** Take it out again; the kernel wipes it. What dm-crypt has copied stays with the device. */
void disk_key_take_back(int serial);
