/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine is: production or debug by its measured kernel command line, and the facts that
 * a launch is checked against. Reads /proc only; blocks on nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

/*
 * COMMAND_LINE_SIZE of Linux on x86 and arm64 is 2,048 with the NUL, and what is longer is cut
 * without a word: a line that fills it may have lost its end, and with it a flag.
 */
#define MACHINE_CMDLINE_FULL 2047
#define MACHINE_CMDLINE_MAX  4096 /* what is read at most */

struct machine_facts {
	char *cmdline;               /* the kernel's command line */
	bool is_hardened;            /* confidential-space.hardened=true */
	uint64_t mem_available_kb;   /* /proc/meminfo, MemAvailable */
	uint64_t nofile_limit;       /* most open files that can be given to a workload */
	struct tl_strv capabilities; /* effective set, names "CAP_..." in upper case, by number */
};

void machine_facts_done(struct machine_facts *f);

/**
 * Production or debug, out of the text of a kernel command line (contract of the image: one word
 * confidential-space.hardened=true or =false).
 *
 * Words inside double quotes belong to other options and don't count. The flag given twice, even
 * with the same value, with any other value, or written in another way (quoted, with '_', in
 * capitals) is refused: whoever can append to the line could turn it, and its readers would differ.
 * Absent means debug: the careful reading, as no secret is released to a debug machine.
 *
 * @text  @n bytes as read from /proc/cmdline, with or without the newline; a NUL behind them
 *
 * Returns 0, -EINVAL with TL_E_CMDLINE_CONTRADICTS, or -EOVERFLOW with TL_E_CMDLINE_LENGTH. Pure.
 */
int machine_parse_cmdline(const char *text, size_t n, bool *ret_is_hardened, struct tl_error *err);

/** MemAvailable out of the text of /proc/meminfo. -EINVAL with TL_E_MACHINE_FACTS. Pure. */
int machine_parse_meminfo(const char *text, uint64_t *ret_kb, struct tl_error *err);

/**
 * Names "CAP_..." in upper case, by number, of the bits of @set that Linux 6.1 has a name for.
 * @ret is owned by the caller, set on success only. TL_E_NO_MEMORY. Pure.
 */
int machine_capability_names(uint64_t set, struct tl_strv *ret, struct tl_error *err);

/**
 * Read the command line, and production or debug out of it: TL_E_CMDLINE_CONTRADICTS, or
 * TL_E_CMDLINE_LENGTH for a line that may have been cut. Set on success only.
 *
 * @ret_text  the line, owned by the caller; NULL if it isn't wanted
 */
int machine_read_mode(const char *cmdline_path, bool *ret_is_hardened, char **ret_text,
		      struct tl_error *err);

/**
 * Read all facts. @cmdline_path is "/proc/cmdline" in a VM.
 *
 * @capabilities  what can be given to a workload, a bit for each number: the effective ones of the
 *                launcher, before it dropped any
 * @ret is owned by the caller (machine_facts_done), set on success only.
 */
int machine_read(const char *cmdline_path, uint64_t capabilities, struct machine_facts *ret,
		 struct tl_error *err);
