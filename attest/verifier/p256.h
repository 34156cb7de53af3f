/* SPDX-License-Identifier: Apache-2.0 */
/* ECDSA over P-256 with SHA-256, in the raw form that Intel's quotes and statements have. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#define P256_RAW_BYTES 64 /* x and y, or r and s: 32 bytes each, big-endian */

/** NULL if the point is not on the curve, or on lack of memory. */
EVP_PKEY *p256_key_new(const uint8_t xy[P256_RAW_BYTES]);

bool p256_signature_is_good(EVP_PKEY *key, const uint8_t rs[P256_RAW_BYTES], const void *data,
			    size_t n);
