/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room in which a layer is unpacked: this process, once it can do nothing but write files
 * beneath one directory. Whoever takes it over by a hole in what reads the layer has that
 * directory, descriptors 0 to 3 and the calls of one table (room.c), and no way to run, connect,
 * fork, trace, mount, or look at another process.
 *
 * The directory is a mount of its own (view.h): it could make device files there, but not open one.
 * The roots of lower layers, which come later, must be such mounts, too, and read-only: a plain
 * descriptor of a directory leads out of any root.
 *
 * Needs no namespace, but CAP_SYS_ADMIN and CAP_SYS_CHROOT. One way: a process that entered doesn't
 * leave.
 */
#pragma once

#include <stdint.h>

#include "fault.h"

/**
 * Enter.
 *
 * @target         a directory; consumed. It becomes the root directory.
 * @max_file_bytes of one file: RLIMIT_FSIZE; 0 = none
 * @ret_root       "/" of the room, owned by the caller
 *
 * All other descriptors above 3 are closed. The umask is 0 afterwards. IO on failure; the process
 * is then half-way in and should end.
 */
int tl_room_enter(int target, uint64_t max_file_bytes, int *ret_root,
		  struct tl_unpack_fault *fault);
