/* SPDX-License-Identifier: Apache-2.0 */
#include "confine.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>

#include "calls.h"
#include "every_thread.h"
#include "files.h"

#define BIT(capability) (UINT64_C(1) << (capability))
#define STATUS_MAX      8192 /* /proc/PID/status */

/* Files of others (the TPM's device may be its group's alone), workloads of another user, the
 * packet filter, a port below 1024, secrets in locked memory. */
#define CAPABILITIES_WORKLOAD                                                                      \
	(BIT(CAP_DAC_OVERRIDE) | BIT(CAP_KILL) | BIT(CAP_NET_ADMIN) | BIT(CAP_NET_BIND_SERVICE) |  \
	 BIT(CAP_IPC_LOCK))
/* Beside them what teelaunch-unpack takes (unpack/room.c) and puts into place, mounting and
 * device-mapper, the kernel's log, and to drop what is dropped at the next step. */
#define CAPABILITIES_LAUNCH                                                                        \
	(CAPABILITIES_WORKLOAD | BIT(CAP_CHOWN) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) |              \
	 BIT(CAP_SETFCAP) | BIT(CAP_MKNOD) | BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_CHROOT) |            \
	 BIT(CAP_SYSLOG) | BIT(CAP_SETPCAP))

static const char *const modes[] = {
	[CONFINE_OFF] = "off",
	[CONFINE_ON] = "on",
	[CONFINE_STRICT] = "strict",
};

const char *confine_mode_name(enum confine_mode mode)
{
	return modes[mode];
}

enum confine_mode confine_mode_of(const char *name)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(modes); i++)
		if (strcmp(modes[i], name) == 0)
			return (enum confine_mode)i;
	return CONFINE_ON;
}

const char *confine_phase_name(enum confine_phase phase)
{
	static const char *const names[] = {
		[CONFINE_NONE] = "none",
		[CONFINE_LAUNCH] = "launch",
		[CONFINE_WORKLOAD] = "workload",
	};

	return names[phase];
}

static int fail(struct tl_error *err, int errnum, const char *what)
{
	return errnum == ENOMEM ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "confinement: %s", what)
				: tl_fail_sys(err, TL_E_CONFINE, errnum, "%s", what);
}

/* --- capabilities, of this thread; async-signal-safe ------------------------------------------ */

struct capability_sets {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static int capabilities_read(struct capability_sets *ret)
{
	*ret = (struct capability_sets){ .head = { .version = _LINUX_CAPABILITY_VERSION_3 } };
	return syscall(SYS_capget, &ret->head, ret->data) < 0 ? -errno : 0;
}

static uint64_t effective_of(const struct capability_sets *s)
{
	return (uint64_t)s->data[1].effective << 32 | s->data[0].effective;
}

/* What may come back by running a program. Without CAP_SETPCAP it can't be dropped; then
 * no_new_privs alone keeps it away. */
static int bounding_keep(uint64_t keep, uint64_t effective)
{
	if (!(effective & BIT(CAP_SETPCAP)))
		return 0;
	for (unsigned int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if ((i >= 64 || !(keep >> i & 1)) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return -errno;
	return 0;
}

/* None is inherited, and so none is ambient. @of_programs: what a child may have. */
static int capabilities_keep(uint64_t keep, uint64_t of_programs)
{
	struct capability_sets s;
	int r = capabilities_read(&s);

	if (r == 0)
		r = bounding_keep(of_programs, effective_of(&s));
	if (r < 0)
		return r;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		s.data[i].effective &= (uint32_t)(keep >> 32 * i);
		s.data[i].permitted = s.data[i].effective;
		s.data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &s.head, s.data) < 0 ? -errno : 0;
}

/* --- read back -------------------------------------------------------------------------------- */

/* Whether the line "KEY:\tVALUE" is there, as proc(5) has it. */
static bool field_is(const char *text, const char *key, const char *value)
{
	const char *line = strstr(text, key);

	if (!line)
		return false;
	line += strlen(key);
	line += strspn(line, "\t ");
	return strncmp(line, value, strlen(value)) == 0 && line[strlen(value)] == '\n';
}

/* One thread's; 0 for one that has ended. */
static int thread_check(int tid, uint64_t capabilities, struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	char path[64], set[17];
	const char *s;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	tl_buf_init(&text, STATUS_MAX);
	if (tl_file_read(path, &text, NULL) < 0)
		return access(path, F_OK) < 0 && errno == ENOENT
			       ? 0
			       : tl_fail(err, TL_E_CONFINE, EIO, "read '%s'", path);
	s = tl_buf_str(&text);
	snprintf(set, sizeof(set), "%016" PRIx64, capabilities);
	if (!field_is(s, "\nNoNewPrivs:", "1") || !field_is(s, "\nSeccomp:", "2") ||
	    !field_is(s, "\nCapPrm:", set) || !field_is(s, "\nCapEff:", set))
		return tl_fail(err, TL_E_CONFINE, EPERM,
			       "thread %d isn't confined as it was told to be", tid);
	return 0;
}

/* What is in force, of all threads. */
static int read_back(struct confinement *c, struct tl_error *err)
{
	struct capability_sets s;
	int tids[EVERY_THREAD_MAX];
	size_t n = 0;
	int r = capabilities_read(&s);

	if (r == 0)
		r = every_thread_list(tids, &n);
	if (r < 0)
		return fail(err, -r, "read back what is in force");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = thread_check(tids[i], effective_of(&s), err);
	if (r < 0)
		return r;
	c->capabilities = effective_of(&s);
	c->threads = n;
	return 0;
}

/* --- the two steps ---------------------------------------------------------------------------- */

static int launch_enter(struct tl_error *err)
{
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(err, errno, "no new privileges");
	r = capabilities_keep(CAPABILITIES_LAUNCH, CAPABILITIES_LAUNCH);
	if (r < 0)
		return fail(err, -r, "drop capabilities");
	r = calls_permit();
	return r < 0 ? fail(err, -r, "filter of system calls") : 0;
}

int confine_launch(enum confine_mode mode, struct confinement *ret, struct tl_error *err)
{
	struct confinement c = { .mode = mode };
	struct capability_sets s;
	int r = capabilities_read(&s);

	if (r < 0) {
		r = fail(err, -r, "capget");
	} else {
		c.capabilities_before = c.capabilities = effective_of(&s);
		r = mode == CONFINE_OFF ? 0 : launch_enter(err);
	}
	if (r == 0 && mode != CONFINE_OFF)
		r = read_back(&c, err);
	if (r == 0 && mode != CONFINE_OFF)
		c.phase = CONFINE_LAUNCH;
	*ret = c;
	return r;
}

/* In each thread, if need be in a signal handler. @arg: int, the rules of Landlock, or -1. */
static int thread_enter(void *arg)
{
	const int *rules_fd = arg;
	int r = *rules_fd < 0 ? 0 : files_restrict(*rules_fd);

	return r < 0 ? r : capabilities_keep(CAPABILITIES_WORKLOAD, 0);
}

int confine_workload(const struct confine_place *places, size_t n, struct confinement *c,
		     struct tl_error *err)
{
	struct confinement next = *c;
	auto_close int rules_fd = -1;
	int r;

	if (c->mode == CONFINE_OFF)
		return 0;
	r = files_rules_make(places, n, &rules_fd, &next.landlock_abi, err);
	if (r < 0)
		return r;
	if (c->mode == CONFINE_STRICT && !next.landlock_abi)
		return tl_fail(err, TL_E_CONFINE, ENOSYS,
			       "the kernel has no Landlock, or has it switched off");
	r = every_thread(thread_enter, &rules_fd);
	if (r < 0)
		return fail(err, -r, "confine each thread");
	r = calls_narrow();
	if (r < 0)
		return fail(err, -r, "second filter of system calls");
	r = read_back(&next, err);
	if (r < 0)
		return r;
	next.phase = CONFINE_WORKLOAD;
	*c = next;
	return 0;
}
