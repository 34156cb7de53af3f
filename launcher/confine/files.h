/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files may be opened, by Landlock (Linux, Documentation/userspace-api/landlock.rst). What is
 * open stays usable; stat(2), chmod(2) and the contents of sockets are not its matter.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/error.h>

#include "confine.h"

/**
 * Rules for the system's own places, what descriptors 0 to 2 lead to, and @places.
 *
 * @ret_fd   of the rules, owned by the caller, for files_restrict()
 * @ret_abi  of the kernel, from 1 on; 0 with @ret_fd -1: it has no Landlock, or it is switched off
 * Returns 0 or TL_E_CONFINE: a required place isn't there, or a rule isn't taken.
 */
int files_rules_make(const struct confine_place *places, size_t n, int *ret_fd, int *ret_abi,
		     struct tl_error *err);

/** This thread, and those that it begins from now on. Async-signal-safe; 0 or a negative errno. */
int files_restrict(int rules_fd);
