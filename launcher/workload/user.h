/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the image's User is: its /etc/passwd and /etc/group as text in, numbers out. Pure. passwd(5)
 * and group(5); the rules are those of containerd 1.7 (its package oci, WithUser and
 * WithAdditionalGIDs).
 */
#pragma once

#include <teelaunch/error.h>

#include "oci_spec.h"

#define USER_FILE_BYTES_MAX (1024 * 1024)

/**
 * @user    "", "name", "uid", "name:group", "uid:gid" and mixtures
 * @passwd  text of the file; NULL: the image has none
 * @group   text of the file; NULL: the image has none
 *
 * "" is 0:0 with the supplementary groups of "root". A number that passwd doesn't list has group 0.
 * A line with a malformed number is no line: it must never read as root. TL_E_CONTAINER_USER names
 * what wasn't found; @ret is set on success only.
 */
int user_resolve(const char *user, const char *passwd, const char *group, struct oci_user *ret,
		 struct tl_error *err);
