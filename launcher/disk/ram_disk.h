/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ram disk that holds the integrity tags: the kernel's module brd, loaded here with the size
 * that is needed. Its pages are taken when they are written first, are never swapped, and go with
 * the machine.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <teelaunch/error.h>

/**
 * Load brd with one disk of at least @bytes. If brd is there already it is unloaded first, unless
 * somebody uses it: then its first disk must be large enough.
 *
 * @ret  number of /dev/ram0
 *
 * Returns 0, TL_E_DISK_SETUP, or TL_E_DISK_BUSY: it is there and too small, or used.
 */
int ram_disk_load(uint64_t bytes, dev_t *ret, struct tl_error *err);
/** Give its memory back. Best effort. */
void ram_disk_unload(void);
