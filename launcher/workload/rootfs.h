/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading files of an image's file system before anything of it runs. The file system is looked at
 * through a mount that nobody else ever sees, and no link or device in it can lead out.
 */
#pragma once

#include "launcher/containerd/containerd.h"

#include "oci_spec.h"

/**
 * Resolve the image's @user in the snapshot that @mounts (of a fresh snapshot: nothing was written
 * to it) describe. Blocks on the file system only; needs CAP_SYS_ADMIN for an image of several
 * layers.
 *
 * TL_E_CONTAINER_ROOTFS (class retry), TL_E_CONTAINER_USER, _SETUP (denied). @ret is set on success
 * only.
 */
int rootfs_user_resolve(const struct tl_ctrd_mounts *mounts, const char *user, struct oci_user *ret,
			struct tl_error *err);
