/* SPDX-License-Identifier: Apache-2.0 */
/* The unix socket itself: made under another name, renamed into place when anyone may connect. */
#pragma once

#include <teelaunch/token_server.h>

/**
 * A listening, non-blocking socket with mode 0777 at @dir/TL_TOKEN_SOCKET_NAME; what was there is
 * replaced. TL_E_TOKEN_SOCKET.
 */
int token_socket_listen(const char *dir, int backlog, int *ret_fd, struct tl_error *err);
