/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's name server (RFC 1035): a few names, all of them 169.254.169.254. Pure. */
#pragma once

#include <stddef.h>

#include <teelaunch/buf.h>
#include <teelaunch/str.h>

/* Over UDP, RFC 1035 section 4.2.1. */
#define DNS_MESSAGE_MAX 512

/**
 * Answer one query.
 *
 * @names  that there are, besides the metadata server's own; in any case of letters
 * @ret    empty, for DNS_MESSAGE_MAX; filled on success only
 * Returns 0, or -EBADMSG for what isn't one question: it gets no answer.
 */
int dns_answer(const void *query, size_t n, const struct tl_strv *names, struct tl_buf *ret);
