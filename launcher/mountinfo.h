/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mounted where, out of the text of /proc/self/mountinfo (proc(5)). Pure: the caller reads
 * the file. What a path lies on is found as the kernel finds it, by the tree of mounts: a mount
 * that another one hides doesn't count, whatever the order of the lines.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#define MOUNTINFO_MAX        (1024 * 1024) /* bytes; a VM of ours has a few kilobytes */
#define MOUNTINFO_MOUNTS_MAX 4096

struct mount_entry {
	uint64_t id, parent_id;
	uint32_t major, minor; /* of the file system: st_dev of its files */
	char *root;            /* the folder of the file system that is shown here */
	char *mount_point;
	char *options;       /* of this mount: "rw,nosuid,nodev" */
	char *fs_type;       /* "ext4" */
	char *source;        /* device, or anything the mounter chose */
	char *super_options; /* of the file system */
};

struct mount_list {
	struct mount_entry *items;
	size_t n;
};

void mount_list_done(struct mount_list *l);
#define auto_mount_list __attribute__((cleanup(mount_list_done)))

/**
 * Read the whole text; nothing is skipped, a line that isn't understood refuses all.
 *
 * @ret  owned by the caller (mount_list_done()); set on success only
 *
 * Returns 0, -EINVAL with TL_E_MACHINE_FACTS naming the line, or -ENOMEM.
 */
int mountinfo_parse(const char *text, struct mount_list *ret, struct tl_error *err);

/**
 * The mount that an absolute, clean @path (no "." or "..", no symbolic links) lies on: the one that
 * opening it would reach. Borrowed from @l; NULL if there is none, or if the mounts form no tree.
 */
const struct mount_entry *mount_of_path(const struct mount_list *l, const char *path);

/** True if @name is one of the comma-separated words of @options. */
bool mount_has_option(const char *options, const char *name);
