/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference values of one VM image: what its build says that it makes of the registers
 * (docs/image.md, schema "teelaunch.image-measurements/1"). The file is the operator's of the
 * verifier, yet it is read like any other: bounded, strict, and only if it agrees with itself:
 *
 *   - `hardened`, `flavour` and the command line say the same;
 *   - the root hash is in the command line, and the command line is what a PCR 11 event measures;
 *   - the events of PCRs 9, 11 and 12, where a firmware has none of its own, lead to `pcrs`.
 *
 * Members may be added to it: "tdx" (tdx_reference.h), the registers of TDs that boot the image;
 * "snp" (snp_reference.h), the measurements of SEV-SNP guests.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/digest.h>
#include <teelaunch/error.h>

#include "request.h"

#define IMAGE_REFERENCE_SCHEMA   "teelaunch.image-measurements/1"
#define IMAGE_REFERENCE_FILE_MAX (256 * 1024)
#define IMAGE_REFERENCE_TEXT_MAX 128  /* name, version, ... end up in tokens */
#define IMAGE_CMDLINE_MAX        4096 /* Linux COMMAND_LINE_SIZE on x86 is 2,048 */
#define IMAGE_EVENTS_MAX         256
#define IMAGE_TDX_MAX            64 /* firmware releases times shapes of machines */
#define IMAGE_TDX_BYTES          48
#define IMAGE_TDX_RTMRS          3   /* 0 to 2; 3 is the launch's */
#define IMAGE_SNP_MAX            256 /* firmware releases times numbers of processors */
#define IMAGE_SNP_BYTES          48
#define IMAGE_ALGORITHMS         3  /* sha1, sha256, sha384: all three in every list of digests */
#define IMAGE_PCR_PROGRAMS       4  /* programs that the firmware started */
#define IMAGE_PCR_KERNEL         9  /* what the kernel's EFI stub measures: command line, initrd */
#define IMAGE_PCR_UKI            11 /* parts of the unified kernel image, by systemd-stub */
#define IMAGE_PCR_OVERRIDES      12 /* command line, credentials from outside of it */

struct image_digests {
	uint8_t value[IMAGE_ALGORITHMS][TL_HASH_SIZE_MAX];
};

/** One of the three digests, by enum tl_hash; NULL for another algorithm. */
const uint8_t *image_digest(const struct image_digests *d, uint16_t hash);

struct image_event {
	unsigned int pcr;
	char *name; /* "uki", ".cmdline", ... */
	struct image_digests digests;
};

/* A TD that boots the image, SHA-384. */
struct tdx_reference {
	uint8_t mrtd[IMAGE_TDX_BYTES];
	uint8_t rtmr[IMAGE_TDX_RTMRS][IMAGE_TDX_BYTES];
	bool has_rtmr0; /* it has the machine's shape too: memory, disks, boot order */
};

struct image_reference {
	char *name;
	char *version;
	char *commit;
	char *flavour; /* "production" or "debug" */
	bool is_hardened;
	char *cmdline;
	char *roothash; /* 64 lower-case hex digits */
	char uki[65]; /* SHA-256 that a firmware measures of the UKI (Authenticode), as roothash */
	struct image_event *events;
	size_t n;
	uint32_t pcr_mask; /* of pcrs[] */
	struct image_digests pcrs[PCRS_MAX];
	struct tdx_reference *tdx; /* any of them will do; NULL: no TD is known to boot it */
	size_t tdx_n;
	uint8_t (*snp)[IMAGE_SNP_BYTES]; /* measurements of SEV-SNP guests; NULL: not judged */
	size_t snp_n;
};

/**
 * @ret  set on success only; owned by the caller (image_reference_done)
 * Returns 0, -EINVAL with TL_E_VERIFY_REFERENCE naming the field, or -ENOMEM.
 */
int image_reference_parse(const void *text, size_t n, struct image_reference *ret,
			  struct tl_error *err);
void image_reference_done(struct image_reference *r);
#define auto_image_reference __attribute__((cleanup(image_reference_done)))
