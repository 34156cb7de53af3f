/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata server of a cloud VM (cloud.google.com/compute/docs/metadata), as far as a launcher
 * asks it: attributes, a few facts, identity tokens. Served by the caller's event loop.
 */
#pragma once

#include <systemd/sd-event.h>

#include "vm.h"

/* Google's own limit is 512 KB for all attributes together. */
#define METADATA_FILE_MAX_BYTES (1024 * 1024)

struct metadata_server;

/**
 * @consume_fd  a listening socket; closed by the server, also when this fails
 * @o           borrowed until metadata_server_free(); the attributes are read anew at every request
 * Codes: TL_E_IO (attributes or key can't be read), TL_E_VERIFY_KEYS (not a key that can sign),
 * TL_E_VM_SERVE.
 */
int metadata_server_new(int consume_fd, const struct vm_options *o, sd_event *loop,
			struct metadata_server **ret, struct tl_error *err);
struct metadata_server *metadata_server_free(struct metadata_server *s);

/** What is served at a path below /computeMetadata/v1/; NULL: nothing. Borrowed. */
const char *metadata_value(const struct vm_options *o, const char *path);
