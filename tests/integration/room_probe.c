/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_probe TARGET VERB...: enters the room of teelaunch-unpack and tries something there. Ends
 * with 42 if that worked, with 44 if the kernel refused it, by SIGSYS if the call isn't allowed,
 * and with 43 and a message if it never came so far.
 *
 *   call NUMBER [ARGUMENT...]  any system call, all arguments that aren't given 0; it worked if it
 *                              returned, whatever it said
 *   device MAJOR MINOR         make a character device and open it
 *   up                         leave by the ".." of the directory that comes on descriptor 3
 *   write                      make a file in that directory
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "launcher/unpack/control.h"
#include "launcher/unpack/room.h"

#define ARGUMENTS_MAX 7 /* the number, and what registers take */

enum { WORKED = 42, NEVER_THERE = 43, REFUSED = 44 };

static int call(int root, const uint64_t *a)
{
	(void)root;
	syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
	return WORKED;
}

static int device(int root, const uint64_t *a)
{
	const dev_t number = makedev((unsigned int)a[0], (unsigned int)a[1]);

	if (mknodat(root, "device", S_IFCHR | 0600, number) < 0)
		return NEVER_THERE;
	return openat(root, "device", O_RDONLY) < 0 ? REFUSED : WORKED;
}

static int directory_receive(void)
{
	struct tl_unpack_head head;
	struct tl_unpack_fault fault;
	int fd = -1;

	return tl_control_receive(TL_UNPACK_CONTROL_FD, TL_UNPACK_FINISH, &head, sizeof(head), &fd,
				  1, &fault) == 1
		       ? fd
		       : -1;
}

static int up(int root, const uint64_t *a)
{
	struct stat here, above;
	int fd = directory_receive();

	(void)root;
	(void)a;
	if (fstatat(fd, ".", &here, 0) < 0)
		return NEVER_THERE;
	if (fchdir(fd) < 0 || fstatat(AT_FDCWD, "../..", &above, 0) < 0)
		return REFUSED;
	return here.st_ino == above.st_ino && here.st_dev == above.st_dev ? REFUSED : WORKED;
}

static int write_to(int root, const uint64_t *a)
{
	int fd = directory_receive();

	(void)root;
	(void)a;
	if (fd < 0)
		return NEVER_THERE;
	return openat(fd, "new", O_WRONLY | O_CREAT, 0600) < 0 ? REFUSED : WORKED;
}

static const struct verb {
	const char *name;
	int (*run)(int root, const uint64_t *a);
} verbs[] = { { "call", call }, { "device", device }, { "up", up }, { "write", write_to } };

int main(int argc, char **argv)
{
	struct tl_unpack_fault fault = { 0 };
	uint64_t a[ARGUMENTS_MAX] = { 0 };
	const struct verb *verb = NULL;
	int target, root;

	if (argc < 3 || argc > 3 + ARGUMENTS_MAX)
		return NEVER_THERE;
	for (size_t i = 0; i < TL_ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[2], verbs[i].name) == 0)
			verb = &verbs[i];
	for (int i = 3; i < argc; i++)
		if (tl_str_parse_u64(argv[i], UINT64_MAX, &a[i - 3]) < 0)
			return NEVER_THERE;
	target = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!verb || target < 0 || tl_room_enter(target, 0, &root, &fault) < 0) {
		fprintf(stderr, "room_probe: %s\n", fault.text);
		return NEVER_THERE;
	}
	_exit(verb->run(root, a));
}
