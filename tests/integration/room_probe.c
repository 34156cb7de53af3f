/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_probe TARGET NUMBER [ARGUMENT...]: enters the room of teelaunch-unpack and makes one system
 * call there, all arguments that aren't given 0. Ends with 42 if the call returned, with 43 and a
 * message if it never came so far; by SIGSYS if it isn't allowed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/str.h>

#include "launcher/unpack/room.h"

#define ARGUMENTS_MAX 7 /* the number, and what registers take */
#define RETURNED      42
#define NEVER_THERE   43

int main(int argc, char **argv)
{
	struct tl_unpack_fault fault = { 0 };
	uint64_t a[ARGUMENTS_MAX] = { 0 };
	int target, root;

	if (argc < 3 || argc > 2 + ARGUMENTS_MAX)
		return NEVER_THERE;
	for (int i = 2; i < argc; i++)
		if (tl_str_parse_u64(argv[i], UINT64_MAX, &a[i - 2]) < 0)
			return NEVER_THERE;
	target = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target < 0 || tl_room_enter(target, 0, &root, &fault) < 0) {
		fprintf(stderr, "room_probe: %s\n", fault.text);
		return NEVER_THERE;
	}
	syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
	_exit(RETURNED);
}
