/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory as whoever unpacks a layer may have it: as a mount of its own, in no namespace. No
 * ".." leads out of it (openat(2) and fchdir(2) of a plain descriptor would, chroot or not), no
 * device file in it can be opened, and nothing be linked or moved into it from elsewhere.
 */
#pragma once

#include <stdbool.h>

/**
 * @directory  a descriptor (O_DIRECTORY), borrowed; of a mount of this process's own namespace
 *
 * Takes CAP_SYS_ADMIN. Returns a descriptor (O_CLOEXEC, as O_PATH has it) or -errno.
 */
int tl_view_open(int directory, bool is_read_only);
