/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Production or debug, out of the text of a kernel command line. The launcher decides by it (on
 * /proc/cmdline) and the verifier claims by it (on the measured text): one rule, one place. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/error.h>

/* The flag of Confidential Space images: the word confidential-space.hardened=true, or =false. */
#define TL_CMDLINE_HARDENED "confidential-space.hardened"

/**
 * Words inside double quotes belong to other options and don't count. The flag given twice, even
 * with the same value, with any other value, or written in another way (quoted, with '_', in
 * capitals) is refused: whoever can append to the line could turn it, and its readers would differ.
 * Absent means debug: the careful reading, as no secret is released to a debug machine.
 *
 * Returns 0, or -EINVAL with TL_E_CMDLINE_CONTRADICTS. @ret is set on success only.
 */
int tl_cmdline_is_hardened(const char *text, bool *ret, struct tl_error *err);

/**
 * The value of the word @key=VALUE: borrowed from @text, @ret_n bytes, not terminated. Words inside
 * double quotes don't count. 0, -ENOENT, or -EEXIST if the key is given twice; set on success only.
 */
int tl_cmdline_value(const char *text, const char *key, const char **ret, size_t *ret_n);
