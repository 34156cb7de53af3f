/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher holds of the machine's memory while a workload has it. */
#pragma once

/**
 * Gives back what only a launch needed, as far as it can be had again: the code and the constants
 * of the program and of its libraries, which are read from their files when they are used next
 * (madvise(2), MADV_PAGEOUT, Linux 5.4; a page that another process has mapped stays), and the
 * free memory of the heap. Nothing that was ever written is among it, so none of it can get into a
 * swap. Takes some milliseconds; never fails: a kernel that won't keeps its memory.
 *
 * Not while another thread loads or unloads a library: it would wait for that.
 */
void memory_give_back(void);
