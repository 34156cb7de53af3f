/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does KVM work here, with this qemu? The device may be there and not be usable; inside another
 * VM it may run some instructions and not others, or refuse what qemu sets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/**
 * Run a guest of a few instructions under qemu, for at most some seconds.
 *
 * @dir      folder for its files
 * @ret_why  why not: one line; "" when it works
 */
bool kvm_works(const char *dir, char *ret_why, size_t cap_bytes);
