/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>

#define LISTEN_BACKLOG 64
/* The parent's wait for the child's exec: no step before it waits for anything. */
#define START_LIMIT_MS 10000

/* What the child could not do. It can't say it itself: its standard error may be the console's. */
enum step {
	STEP_NAMESPACE,
	STEP_LOOPBACK,
	STEP_RESOLVER,
	STEP_SOCKET,
	STEP_PARENT,
	STEP_FDS,
	STEP_EXEC,
};

static const char *const step_texts[] = {
	[STEP_NAMESPACE] = "make a user and network namespace",
	[STEP_LOOPBACK] = "set up loopback in the new network namespace",
	[STEP_RESOLVER] = "put a resolv.conf in place",
	[STEP_SOCKET] = "listen in the new network namespace",
	[STEP_PARENT] = "be ended with the parent",
	[STEP_FDS] = "keep the descriptors",
	[STEP_EXEC] = "execute",
};

struct failure {
	enum step step;
	int errnum;
};

/* --- in the child ------------------------------------------------------------------------- */

static int file_write(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : tl_write_all(fd, text, strlen(text));
}

/* The caller's own ids stay what they are, so that files and /dev/kvm stay in reach. */
static int ids_map(uid_t uid, gid_t gid)
{
	char text[64];
	int r = file_write("/proc/self/setgroups", "deny");

	snprintf(text, sizeof(text), "%u %u 1", uid, uid);
	if (!r)
		r = file_write("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "%u %u 1", gid, gid);
	return r ? r : file_write("/proc/self/gid_map", text);
}

/* Who may make one directly (root) keeps its user namespace. */
static int namespaces_enter(void)
{
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) == 0)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0)
		return -errno;
	return ids_map(uid, gid);
}

static int loopback_up(void)
{
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0 ? -errno : 0;
}

/* qemu answers the guest's DHCP with a resolver of its own, which asks whom this file names. */
static int resolver_set(const char *path)
{
	if (!path)
		return 0;
	/* In a chroot "/" may be no mount; what is mounted must stay in this namespace. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return errno == EINVAL ? 0 : -errno;
	/* A machine without that file has nothing to put it over: then qemu has no resolver. */
	if (mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int socket_make(const struct child_socket *s)
{
	auto_close int fd = socket(
		AF_INET, (s->is_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0);
	const struct sockaddr_in addr = { .sin_family = AF_INET,
					  .sin_port = htons(s->port),
					  .sin_addr = { htonl(INADDR_LOOPBACK) } };

	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    (!s->is_datagram && listen(fd, LISTEN_BACKLOG) < 0))
		return -errno;
	return take_fd(fd);
}

union control {
	struct cmsghdr head;
	char space[CMSG_SPACE(sizeof(int) * CHILD_SOCKETS_MAX)];
};

static int sockets_send(int channel, const int *fds, size_t n)
{
	union control control = { 0 };
	char nothing = 0;
	struct iovec byte = { .iov_base = &nothing, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &byte,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = CMSG_SPACE(sizeof(int) * n) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(head), fds, sizeof(int) * n);
	return sendmsg(channel, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int network_enter(const struct child_spec *spec, int channel, enum step *step)
{
	int fds[CHILD_SOCKETS_MAX];
	int r;

	*step = STEP_NAMESPACE;
	r = namespaces_enter();
	if (r < 0)
		return r;
	*step = STEP_LOOPBACK;
	r = loopback_up();
	if (r < 0)
		return r;
	*step = STEP_RESOLVER;
	r = resolver_set(spec->resolv_conf);
	if (r < 0)
		return r;
	*step = STEP_SOCKET;
	for (size_t i = 0; i < spec->sockets_n; i++) {
		fds[i] = socket_make(&spec->sockets[i]);
		if (fds[i] < 0)
			return fds[i];
	}
	return sockets_send(channel, fds, spec->sockets_n);
}

/* After every change of credentials, each of which would clear it again. */
static int end_with_parent(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

static int fds_set(const struct child_spec *spec)
{
	auto_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	/* A session of its own: Ctrl-C on the terminal is for the parent, which ends it in order.
	 */
	if (null < 0 || setsid() < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0 ||
	    dup2(null, STDIN_FILENO) < 0 ||
	    dup2(spec->stdout_fd < 0 ? null : spec->stdout_fd, STDOUT_FILENO) < 0 ||
	    dup2(spec->stderr_fd < 0 ? null : spec->stderr_fd, STDERR_FILENO) < 0)
		return -errno;
	signal(SIGPIPE, SIG_DFL);
	/* A core of qemu would hold the guest's memory. */
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	for (size_t i = 0; i < spec->fds_n; i++)
		if (fcntl(spec->fds[i], F_SETFD, 0) < 0)
			return -errno;
	return 0;
}

static int child_become(const struct child_spec *spec, int channel, pid_t parent, enum step *step)
{
	int r = spec->sockets_n ? network_enter(spec, channel, step) : 0;

	if (r < 0)
		return r;
	*step = STEP_PARENT;
	r = end_with_parent(parent);
	if (r < 0)
		return r;
	*step = STEP_FDS;
	r = fds_set(spec);
	if (r < 0)
		return r;
	*step = STEP_EXEC;
	execvp(spec->argv->items[0], spec->argv->items);
	return -errno;
}

/* --- in the parent ------------------------------------------------------------------------ */

static int sockets_receive(int channel, int *ret, size_t n)
{
	union control control = { 0 };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	const struct cmsghdr *head;

	if (recvmsg(channel, &msg, MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	head = CMSG_FIRSTHDR(&msg);
	if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(int) * n))
		return -EPROTO;
	memcpy(ret, CMSG_DATA(head), sizeof(int) * n);
	return 0;
}

/* The channel gives nothing more (exec closed it), or what went wrong. */
static int verdict_receive(int channel, struct failure *ret)
{
	struct pollfd p = { .fd = channel, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, START_LIMIT_MS) != 1)
		return -ETIMEDOUT;
	n = recv(channel, ret, sizeof(*ret), 0);
	if (n < 0)
		return -errno;
	return n == 0 ? 0 : n == (ssize_t)sizeof(*ret) ? 1 : -EPROTO;
}

static int sockets_take(int channel, const struct child_spec *spec, int *ret)
{
	struct pollfd p = { .fd = channel, .events = POLLIN };
	char byte;

	if (!spec->sockets_n || !ret)
		return 0;
	if (poll(&p, 1, START_LIMIT_MS) != 1)
		return -ETIMEDOUT;
	/* A failure is longer than the one byte that comes with the sockets. */
	if (recv(channel, &byte, 1, MSG_PEEK | MSG_TRUNC) > 1)
		return 1;
	return sockets_receive(channel, ret, spec->sockets_n);
}

static int start_fail(const struct child_spec *spec, const struct failure *f, int r,
		      struct tl_error *err)
{
	const char *program = spec->argv->items[0];

	if (r <= 0)
		return tl_fail_sys(err, TL_E_VM_PROGRAM, -r, "start %s", program);
	if (f->step <= STEP_SOCKET)
		return tl_fail_sys(err, TL_E_VM_NAMESPACE, f->errnum, "%s", step_texts[f->step]);
	return tl_fail_sys(err, TL_E_VM_PROGRAM, f->errnum, "%s: %s", program,
			   step_texts[f->step <= STEP_EXEC ? f->step : STEP_EXEC]);
}

/* One message each way of the socket pair: the sockets, then a failure or its end. */
static int start_confirm(int channel, const struct child_spec *spec, int *ret_sockets,
			 struct tl_error *err)
{
	struct failure f = { 0 };
	int r = sockets_take(channel, spec, ret_sockets);
	bool has_sockets = r == 0 && spec->sockets_n;

	if (r >= 0)
		r = verdict_receive(channel, &f);
	if (r == 0)
		return 0;
	for (size_t i = 0; has_sockets && i < spec->sockets_n; i++)
		close(ret_sockets[i]);
	return start_fail(spec, &f, r, err);
}

pid_t child_start(const struct child_spec *spec, int *ret_sockets, struct tl_error *err)
{
	pid_t parent = getpid(), pid;
	int channel[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
		return tl_fail_sys(err, TL_E_VM_PROGRAM, errno, "start %s", spec->argv->items[0]);
	pid = fork();
	if (pid == 0) {
		struct failure f = { 0 };

		close(channel[0]);
		f.errnum = -child_become(spec, channel[1], parent, &f.step);
		send(channel[1], &f, sizeof(f), MSG_NOSIGNAL);
		_exit(127);
	}
	r = pid < 0 ? errno : 0;
	close(channel[1]);
	if (pid > 0)
		r = start_confirm(channel[0], spec, ret_sockets, err);
	close(channel[0]);
	if (pid < 0)
		return tl_fail_sys(err, TL_E_VM_PROGRAM, r, "start %s", spec->argv->items[0]);
	if (r == 0)
		return pid;
	child_end(pid);
	return r;
}

void child_end(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int child_run(const struct child_spec *spec, uint64_t limit_ms, int *ret_status,
	      struct tl_error *err)
{
	pid_t pid = child_start(spec, NULL, err);
	struct pollfd p = { .events = POLLIN };
	int status = 0, r;

	if (pid < 0)
		return pid;
	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	r = p.fd < 0 ? -1 : poll(&p, 1, (int)limit_ms);
	if (p.fd >= 0)
		close(p.fd);
	if (r != 1) {
		child_end(pid);
		return tl_fail(err, TL_E_VM_PROGRAM, ETIMEDOUT, "%s did not end in time",
			       spec->argv->items[0]);
	}
	if (waitpid(pid, &status, 0) < 0)
		return tl_fail_sys(err, TL_E_VM_PROGRAM, errno, "wait for %s",
				   spec->argv->items[0]);
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}
