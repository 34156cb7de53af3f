/* SPDX-License-Identifier: Apache-2.0 */
/* For the launch under memcheck only: Debian 12's valgrind (3.19) does not know openat2(2) and
 * answers ENOSYS. Preloaded, this opens the path by openat(2) instead. That follows no rule about
 * where a path may lead, which is all right for the test's own image and for nothing else. */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_openat2) {
		const struct open_how *how = (const struct open_how *)a[2];

		return openat((int)a[0],
			      *(const char *)a[1] == '/' ? (const char *)a[1] + 1
							 : (const char *)a[1],
			      (int)how->flags | O_NOFOLLOW);
	}
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
