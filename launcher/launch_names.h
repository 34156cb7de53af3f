/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of what a workload runs on, as the launch record has them: what is used and what is
 * predicted are the same text.
 */
#pragma once

#define TL_CTRD_RUNTIME     "io.containerd.runc.v2"
#define TL_CTRD_SNAPSHOTTER "overlayfs"
/* As the kernel's crypto API and dm-crypt spell them. */
#define DISK_CIPHER    "capi:gcm(aes)-random"
#define DISK_INTEGRITY "aead"
