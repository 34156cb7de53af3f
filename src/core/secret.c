/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/secret.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

int tl_secret_set(struct tl_secret *s, const void *bytes, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, bytes, len);
	copy[len] = '\0';
	tl_secret_consume(s, copy, len);
	return 0;
}

int tl_secret_alloc_locked(struct tl_secret *s, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = (len + page) / page * page; /* the NUL included */
	auto_free char *bytes = aligned_alloc(page, room);

	if (!bytes)
		return -ENOMEM;
	memset(bytes, 0, room);
	/* The marks stay on the pages when the memory is used again: that costs nothing. */
	if (mlock(bytes, room) < 0 || madvise(bytes, room, MADV_DONTDUMP) < 0)
		return -errno;
	tl_secret_consume(s, take_ptr(bytes), len);
	return 0;
}

void tl_secret_consume(struct tl_secret *s, char *consume_bytes, size_t len)
{
	tl_secret_done(s);
	s->bytes = consume_bytes;
	s->len_bytes = len;
}

bool tl_secret_is_empty(const struct tl_secret *s)
{
	return !s->len_bytes;
}

void tl_secret_done(struct tl_secret *s)
{
	if (!s)
		return;
	if (s->bytes)
		explicit_bzero(s->bytes, s->len_bytes);
	free(s->bytes);
	*s = (struct tl_secret){ 0 };
}
