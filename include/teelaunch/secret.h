/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only type that may hold a secret (token, key, credential): its memory is wiped before it is
 * freed. It has no printing function on purpose.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct tl_secret {
	char *bytes; /* followed by a NUL that isn't counted */
	size_t len_bytes;
};

/** Copy @len bytes into an empty secret. 0 or -ENOMEM. */
int tl_secret_set(struct tl_secret *s, const void *bytes, size_t len);
/**
 * Room for @len zero bytes in an empty secret, on pages of its own that are never swapped out and
 * never in a core dump. 0 or negative errno: -ENOMEM, or what mlock(2) says.
 */
int tl_secret_alloc_locked(struct tl_secret *s, size_t len);
/** Take over a heap block of @len bytes, which must be followed by a NUL. */
void tl_secret_consume(struct tl_secret *s, char *consume_bytes, size_t len);
bool tl_secret_is_empty(const struct tl_secret *s);
/** Wipe and free; NULL is fine. */
void tl_secret_done(struct tl_secret *s);
#define auto_secret __attribute__((cleanup(tl_secret_done)))
