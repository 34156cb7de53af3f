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

/* Linux COMMAND_LINE_SIZE on x86 is 2,048; a longer text didn't come from the kernel. */
#define MACHINE_CMDLINE_MAX 4096

struct machine_facts {
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
 * with the same value, or with any other value, is refused: whoever can append to the line could
 * turn it. Absent means debug: the careful reading, as no secret is released to a debug machine.
 *
 * Returns 0, or -EINVAL with TL_E_CMDLINE_CONTRADICTS. Pure.
 */
int machine_parse_cmdline(const char *text, bool *ret_is_hardened, struct tl_error *err);

/** MemAvailable out of the text of /proc/meminfo. -EINVAL with TL_E_MACHINE_FACTS. Pure. */
int machine_parse_meminfo(const char *text, uint64_t *ret_kb, struct tl_error *err);

/** The effective capabilities out of the text of /proc/self/status, by name. Pure. */
int machine_parse_status(const char *text, struct tl_strv *ret, struct tl_error *err);

/**
 * Read all facts. @cmdline_path is "/proc/cmdline" in a VM.
 * @ret is owned by the caller (machine_facts_done), set on success only.
 */
int machine_read(const char *cmdline_path, struct machine_facts *ret, struct tl_error *err);
