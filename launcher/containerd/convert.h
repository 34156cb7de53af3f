/* SPDX-License-Identifier: Apache-2.0 */
/* Between messages of containerd.proto and the structs of containerd.h. Pure. */
#pragma once

#include "containerd.h"
#include "containerd.pb-c.h"

/** A copy; -EBADMSG for a negative size. */
int convert_descriptor(const Cd__Descriptor *from, struct tl_ctrd_descriptor *ret,
		       struct tl_error *err);
/** @ret borrows the strings of @from. */
void convert_descriptor_borrow(const struct tl_ctrd_descriptor *from, Cd__Descriptor *ret);

/** A copy of @n mounts. */
int convert_mounts(Cd__Mount *const *from, size_t n, struct tl_ctrd_mounts *ret,
		   struct tl_error *err);

/* Mounts of a request; borrows the strings. */
struct convert_mounts {
	Cd__Mount *items;
	Cd__Mount **pointers;
	size_t n;
};
int convert_mounts_borrow(const struct tl_ctrd_mounts *from, struct convert_mounts *ret,
			  struct tl_error *err);
void convert_mounts_done(struct convert_mounts *m);
#define auto_convert_mounts __attribute__((cleanup(convert_mounts_done)))
