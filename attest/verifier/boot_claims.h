/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a firmware log that replays says about the boot. Only text whose digest was extended counts:
 * neither an event's type nor the words GRUB puts in front of a text are measured, so both are the
 * word of whoever sent the log. Pure.
 *
 * Secure Boot: the variable as measured into PCR 7 before the separator, where only firmware runs.
 * All events of that part must be what was measured. Absent means not enabled.
 *
 * Debug or production: the kernel command line as GRUB measures it into PCR 8 (EV_IPL,
 * "kernel_cmdline: <path> <arguments>", digest over the text behind the prefix). To keep a command
 * typed at GRUB's prompt from passing as a command line, texts are told apart by what was measured:
 * one that starts like a path ('/', '(' or "BOOT_IMAGE=") is a command line, there must be at most
 * one, and it must be labelled as one; every other text must be a command ("grub_cmd: ") or a
 * separator. No command line at all means debug.
 *
 * Which firmware, GRUB and kernel did this is not judged. A unified kernel image has its command
 * line in PCR 11 and is held against reference values: image_check.h.
 */
#pragma once

#include <stdbool.h>

#include "firmware_log.h"
#include "refusals.h"

struct boot_claims {
	bool is_secure_boot;
	bool is_debug_disabled; /* dbgstat "disabled-since-boot" */
};

/**
 * @banks  the quoted banks; digests are checked in each
 * @ret    good only if nothing was added to @refusals (TL_E_VERIFY_BOOT_CLAIMS)
 */
void boot_claims_read(const struct firmware_log *log, const uint16_t *banks, size_t banks_n,
		      struct boot_claims *ret, struct refusals *refusals);

/**
 * The same from the log of a TD's RTMRs (CCEL), in SHA-384. Secure Boot only: RTMR 2 has GRUB's
 * texts and the files that GRUB read in one, and of a file the log has no text that was measured.
 * So a log can call the true command line a file, and a command typed at GRUB's prompt the command
 * line. Debug or production is known only by reference values: tdx_reference.h.
 */
void boot_claims_read_cc(const struct firmware_log *log, struct boot_claims *ret,
			 struct refusals *refusals);

/**
 * PCRs 0 to 9 of each quoted bank must be what the log leads to, also those without any event;
 * PCR 14 (shim) too, if the log has events of it. PCRs 10 (IMA), 11, 12 and 15 may be extended by
 * what runs later and carry no claim. Refusals: TL_E_VERIFY_FIRMWARE_REPLAY.
 */
void firmware_replay_check(const struct firmware_log *log, const struct verify_request *req,
			   struct refusals *refusals);
