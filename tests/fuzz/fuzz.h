/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzz target includes. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/** Returns 0. Gets bytes and their number. Must accept every input, keep no state, and not write to
 * them. */
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* A claim about the result that holds in every build (assert() is gone with NDEBUG). */
#define FUZZ_CHECK(claim)                                                                          \
	do {                                                                                       \
		if (!(claim))                                                                      \
			abort();                                                                   \
	} while (0)
