/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator asked for as one text, in the form and order in which the Confidential Space
 * launcher writes it (Go's %+v): scripts look for parts of it. Pure.
 */
#pragma once

#include <stdbool.h>

#include <teelaunch/buf.h>
#include <teelaunch/launch_spec.h>

/**
 * "{Experiments:{...} ... SignedImageRepos:[a b]}"; what doesn't fit is cut. Variables' values, and
 * arguments, are "[REDACTED]"; the API key is as many stars as it has bytes. Project and region are
 * not in it: they aren't read yet when the spec is.
 * @reference  of the image, without credentials
 */
void spec_text_append(const struct tl_launch_spec *spec, const char *reference, bool is_hardened,
		      struct tl_buf *b);
