/* SPDX-License-Identifier: Apache-2.0 */
#include "key.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/digest.h>

#define SOURCE_BYTES 32 /* from each of the two */
#define PURPOSE      "teelaunch ephemeral disk, volume key, 1"

int disk_key_make(struct tl_sealer *tpm, struct tl_secret *ret, struct tl_error *err)
{
	auto_secret struct tl_secret material = { 0 };
	auto_secret struct tl_secret key = { 0 };
	int r;

	if (tl_secret_alloc_locked(&material, 2 * SOURCE_BYTES) < 0 ||
	    tl_secret_alloc_locked(&key, DISK_KEY_BYTES) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "locked memory for the disk's key");
	/* Blocks until the kernel's generator is seeded; never short for so few bytes:
	 * getrandom(2). */
	if (getrandom(material.bytes, SOURCE_BYTES, 0) != SOURCE_BYTES)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "random bytes of the kernel");
	r = tl_sealer_random(tpm, (uint8_t *)material.bytes + SOURCE_BYTES, SOURCE_BYTES, err);
	if (r < 0)
		return r;
	r = tl_hkdf_sha256(material.bytes, material.len_bytes, PURPOSE, (uint8_t *)key.bytes,
			   key.len_bytes);
	if (r < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, -r, "derive the disk's key");
	*ret = key;
	key = (struct tl_secret){ 0 };
	return 0;
}

static void pad_apply(const struct tl_secret *pad, const void *from, void *to)
{
	const uint8_t *in = from;
	uint8_t *out = to;

	for (size_t i = 0; i < DISK_KEY_BYTES; i++)
		out[i] = in[i] ^ (uint8_t)pad->bytes[i];
}

int disk_key_seal(struct tl_sealer *tpm, const struct tl_secret *key, struct tl_buf *ret,
		  struct tl_error *err)
{
	auto_secret struct tl_secret pad = { 0 };
	uint8_t half[DISK_KEY_BYTES];

	if (tl_secret_alloc_locked(&pad, DISK_KEY_BYTES) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "locked memory for the disk's key");
	if (getrandom(pad.bytes, DISK_KEY_BYTES, 0) != DISK_KEY_BYTES)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "random bytes of the kernel");
	pad_apply(&pad, key->bytes, half);
	if (tl_buf_append(ret, half, sizeof(half)) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the disk's sealed key");
	return tl_seal(tpm, &pad, ret, err);
}

int disk_key_unseal(struct tl_sealer *tpm, const struct tl_buf *sealed, struct tl_secret *ret,
		    struct tl_error *err)
{
	auto_secret struct tl_secret pad = { 0 };
	auto_secret struct tl_secret key = { 0 };
	int r;

	if (sealed->len_bytes <= DISK_KEY_BYTES)
		return tl_fail(err, TL_E_UNSEAL, EBADMSG, "the disk's sealed key is cut off");
	r = tl_unseal(tpm, (const uint8_t *)sealed->data + DISK_KEY_BYTES,
		      sealed->len_bytes - DISK_KEY_BYTES, &pad, err);
	if (r < 0)
		return r;
	if (pad.len_bytes != DISK_KEY_BYTES)
		return tl_fail(err, TL_E_UNSEAL, EBADMSG, "what was sealed is no pad of the disk");
	if (tl_secret_alloc_locked(&key, DISK_KEY_BYTES) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "locked memory for the disk's key");
	pad_apply(&pad, sealed->data, key.bytes);
	*ret = key;
	key = (struct tl_secret){ 0 };
	return 0;
}

int disk_key_lend(const struct tl_secret *key, int *ret_serial, struct tl_error *err)
{
	long serial = syscall(SYS_add_key, "logon", DISK_KEY_DESCRIPTION, key->bytes,
			      key->len_bytes, KEY_SPEC_PROCESS_KEYRING);

	if (serial < 0)
		return tl_fail_sys(err, TL_E_DISK_SETUP, errno, "lend the key to the kernel");
	*ret_serial = (int)serial;
	return 0;
}

void disk_key_take_back(int serial)
{
	/* Revoking drops the bytes at once, unlinking the name. */
	(void)syscall(SYS_keyctl, KEYCTL_REVOKE, serial);
	(void)syscall(SYS_keyctl, KEYCTL_UNLINK, serial, KEY_SPEC_PROCESS_KEYRING);
}
