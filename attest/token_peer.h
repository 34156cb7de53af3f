/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of the token socket, as the kernel says it: process, user, cgroup. A
 * caller is a container, known by its cgroup: a process can't leave that, while users and process
 * ids are the workload's to choose.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Shown and compared; a container's cgroup is far shorter. */
#define TOKEN_CGROUP_MAX_BYTES 256

struct token_peer {
	pid_t pid; /* as the launcher sees it; -1: unknown */
	uid_t uid;
	gid_t gid;
	char cgroup[TOKEN_CGROUP_MAX_BYTES]; /* "": unknown */
};

/**
 * The process that connected @fd, which may have passed it on or ended meanwhile: then its cgroup
 * is unknown, never that of another process which has its number now (where the kernel can tell:
 * Linux 6.5). Reads /proc; blocks on nothing else.
 */
void token_peer_read(int fd, struct token_peer *ret);

/**
 * The path out of /proc/PID/cgroup: that of the unified hierarchy, if the process is in a group of
 * it, else systemd's, else the first that isn't the root. "" if it is too long. Pure.
 */
void token_peer_cgroup(const char *text, char ret[TOKEN_CGROUP_MAX_BYTES]);

/** True if the peer is in @cgroup ("/a/b") or below it. Pure. */
bool token_peer_is_in(const struct token_peer *peer, const char *cgroup);
