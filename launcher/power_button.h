/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's power button: how a cloud asks a VM to stop (ACPI). Read from the kernel's input
 * devices, so that an image needs no login manager for it.
 *
 * Which devices: the kernel is asked which keys each has (EVIOCGBIT, linux/input.h), and it passes
 * no key on that a device doesn't claim. So this finds each button that could be found by udev's
 * tag "power-switch" or by name in /proc/bus/input/devices, where the reference looks: with or
 * without udev, under any name, and with no text to parse.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>

struct power_button;

/**
 * Watch every input device below @dir ("/dev/input") that has a power key, in a thread of its own
 * ("tl-power"): the first press requests @cancel, which must outlive the handle. Devices that
 * appear later aren't seen.
 *
 * @ret_n  how many devices are watched; 0 is no error
 *
 * 0, or a negative errno with TL_E_IO. @ret is set on success only.
 */
int power_button_watch(const char *dir, struct tl_cancel *cancel, struct power_button **ret,
		       size_t *ret_n, struct tl_error *err);
/** Ends the thread; NULL is fine; always returns NULL. */
struct power_button *power_button_close(struct power_button *b);

/** True if @n bytes of a device's stream, whole records, hold a press of a power key. Pure. */
bool power_button_is_pressed(const void *records, size_t n);
