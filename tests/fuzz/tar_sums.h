/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums of tar headers put right: no fuzzer finds one. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "fuzz.h"

enum {
	TAR_BLOCK = 512,
	TAR_SIZE_AT = 124,
	TAR_SIZE_DIGITS = 11,
	TAR_SUM_AT = 148,
	TAR_SUM_BYTES = 8,
};

/** In @data, at each header that its reader as a plain archive would come by. */
static inline void tar_sums_set(uint8_t *data, size_t n)
{
	static const uint8_t zeros[TAR_BLOCK];

	for (size_t at = 0; at + TAR_BLOCK <= n; at += TAR_BLOCK) {
		uint8_t *block = data + at;
		uint64_t size = 0;
		unsigned int sum = 0;
		char text[TAR_SUM_BYTES];

		if (memcmp(block, zeros, TAR_BLOCK) == 0)
			continue;
		memset(block + TAR_SUM_AT, ' ', TAR_SUM_BYTES);
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += block[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(block + TAR_SUM_AT, text, TAR_SUM_BYTES - 1);
		for (size_t i = TAR_SIZE_AT; i < TAR_SIZE_AT + TAR_SIZE_DIGITS; i++)
			size = block[i] >= '0' && block[i] <= '7' ? size * 8 + block[i] - '0'
								  : size;
		if (size < n)
			at += (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	}
}
