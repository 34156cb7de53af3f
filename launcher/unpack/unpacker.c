/* SPDX-License-Identifier: Apache-2.0 */
#include "unpacker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

/* What an unprivileged process may ask for (fs.pipe-max-size): some milliseconds of a fast
 * download, for which neither end waits for the other. */
#define PIPE_BYTES (1 << 20)
/* Above what posix_spawn's actions overwrite, so that their order doesn't matter. */
#define CHILD_FD_MIN (TL_UNPACK_CONTROL_FD + 1)

struct tl_unpacker {
	pid_t pid;   /* 0: reaped, or never there */
	int layer;   /* the pipe's end that is written to; -1: the layer has ended */
	int control; /* this end of the socket */
};

/* Whatever it may say, head first. */
union answer {
	struct tl_unpack_head head;
	struct tl_unpack_extracted extracted;
	struct tl_unpack_failed failed;
};

static int fail_sys(struct tl_error *err, int errnum, const char *what)
{
	return tl_fail_sys(err, TL_E_UNPACKER, errnum, "%s", what);
}

/* --- start --------------------------------------------------------------------------------- */

static int move_up(int *fd)
{
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, CHILD_FD_MIN);

	if (moved < 0)
		return -errno;
	close(*fd);
	*fd = moved;
	return 0;
}

/* @ret_layer, @ret_control: the child's ends. */
static int channels_open(struct tl_unpacker *u, int *ret_layer, int *ret_control,
			 struct tl_error *err)
{
	int ends[2];
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_sys(err, errno, "a pipe");
	*ret_layer = ends[0];
	u->layer = ends[1];
	/* Only a smaller one if it can't be had. */
	(void)fcntl(u->layer, F_SETPIPE_SZ, PIPE_BYTES);
	/* The other end, another open file, goes on to block. */
	if (fcntl(u->layer, F_SETFL, O_NONBLOCK) < 0)
		return fail_sys(err, errno, "a pipe");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_sys(err, errno, "a control socket");
	*ret_control = ends[0];
	u->control = ends[1];
	r = move_up(ret_layer);
	if (r == 0)
		r = move_up(ret_control);
	return r < 0 ? fail_sys(err, -r, "a descriptor") : 0;
}

static int actions_fill(posix_spawn_file_actions_t *actions, int layer, int control)
{
	int e = posix_spawn_file_actions_adddup2(actions, layer, STDIN_FILENO);

	if (e == 0)
		e = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY,
						     0);
	if (e == 0)
		e = posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, STDERR_FILENO);
	if (e == 0)
		e = posix_spawn_file_actions_adddup2(actions, control, TL_UNPACK_CONTROL_FD);
	if (e == 0)
		e = posix_spawn_file_actions_addclosefrom_np(actions, TL_UNPACK_CONTROL_FD + 1);
	return e;
}

/* Signals as a new process has them, and none from a terminal: this process decides its end. */
static int attributes_fill(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int e;

	sigemptyset(&none);
	sigfillset(&all);
	e = posix_spawnattr_setsigmask(attributes, &none);
	if (e == 0)
		e = posix_spawnattr_setsigdefault(attributes, &all);
	if (e == 0)
		e = posix_spawnattr_setpgroup(attributes, 0);
	if (e == 0)
		e = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
								 POSIX_SPAWN_SETSIGDEF |
								 POSIX_SPAWN_SETPGROUP);
	return e;
}

static int spawn(const char *program, int layer, int control, pid_t *ret)
{
	char name[] = "teelaunch-unpack";
	char *const argv[] = { name, NULL };
	char *const environment[] = { NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int e = posix_spawn_file_actions_init(&actions);

	if (e != 0)
		return e;
	e = posix_spawnattr_init(&attributes);
	if (e == 0) {
		e = actions_fill(&actions, layer, control);
		if (e == 0)
			e = attributes_fill(&attributes);
		if (e == 0)
			e = posix_spawn(ret, program, &actions, &attributes, argv, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return e;
}

/* One packet with @n descriptors. */
static int message_send(int socket, const void *message, size_t bytes, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * TL_UNPACK_LOWER_MAX)];
	} control = { 0 };
	struct iovec part = { .iov_len = bytes };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	/* sendmsg(2) doesn't write to it. */
	memcpy(&part.iov_base, &message, sizeof(message));
	if (n) {
		struct cmsghdr *head = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(head), fds, sizeof(int) * n);
	}
	do
		sent = sendmsg(socket, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int tl_unpacker_start(const char *program, int target, struct tl_unpacker **ret,
		      struct tl_error *err)
{
	const struct tl_unpack_start start = {
		.head = { .version = TL_UNPACK_VERSION, .kind = TL_UNPACK_START },
	};
	auto_unpacker struct tl_unpacker *u = calloc(1, sizeof(*u));
	auto_close int layer = -1, control = -1;
	int r;

	if (!u)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "an unpacker");
	u->layer = u->control = -1;
	r = channels_open(u, &layer, &control, err);
	if (r < 0)
		return r;
	r = spawn(program, layer, control, &u->pid);
	if (r != 0)
		return tl_fail_sys(err, TL_E_UNPACKER, r, "'%s'", program);
	r = message_send(u->control, &start, sizeof(start), &target, 1);
	/* A process that is gone says why, or how, when it is asked next. */
	if (r < 0 && r != -EPIPE)
		return fail_sys(err, -r, "telling the unpacker");
	*ret = take_ptr(u);
	return 0;
}

/* --- what it says -------------------------------------------------------------------------- */

static int nonsense(struct tl_error *err)
{
	return tl_fail(err, TL_E_UNPACKER, EPROTO, "the unpacker says what makes no sense");
}

/*
 * Killed and gone, whatever it was about. By its number, which is its own until it is reaped here:
 * this process reaps no child that it doesn't name.
 */
static siginfo_t reap(struct tl_unpacker *u)
{
	siginfo_t how = { 0 };

	if (u->pid <= 0)
		return how;
	kill(u->pid, SIGKILL);
	while (waitid(P_PID, (id_t)u->pid, &how, WEXITED) < 0 && errno == EINTR)
		;
	u->pid = 0;
	return how;
}

/* It closed the socket: that was its end, or will be. */
static int ended(struct tl_unpacker *u, struct tl_error *err)
{
	const siginfo_t how = reap(u);

	return tl_fail(err, TL_E_UNPACKER, ECONNABORTED,
		       how.si_code == CLD_EXITED ? "the unpacker ended with exit code %d"
						 : "the unpacker was ended by signal %d",
		       how.si_status);
}

static int failed(const struct tl_unpack_failed *f, struct tl_error *err)
{
	static const struct {
		enum tl_code code;
		int errnum;
	} meanings[] = {
		[TL_UNPACK_BROKEN] = { TL_E_UNPACK, EBADMSG },
		[TL_UNPACK_UNSUPPORTED] = { TL_E_UNPACK, EOPNOTSUPP },
		[TL_UNPACK_NO_SPACE] = { TL_E_DISK_SPACE, ENOSPC },
		[TL_UNPACK_IO] = { TL_E_UNPACKER, EIO },
		[TL_UNPACK_LIMIT] = { TL_E_UNPACK, EBADMSG },
		[TL_UNPACK_PROTOCOL] = { TL_E_UNPACKER, EPROTO },
	};

	if (f->why >= TL_ARRAY_SIZE(meanings) || !meanings[f->why].errnum ||
	    !memchr(f->text, 0, sizeof(f->text)))
		return nonsense(err);
	for (const char *c = f->text; *c; c++)
		if (*c < ' ' || *c > '~')
			return nonsense(err);
	return tl_fail(err, meanings[f->why].code, meanings[f->why].errnum, "%s", f->text);
}

/* The message that is there now: @bytes of @kind, or why not. */
static int answer_read(struct tl_unpacker *u, enum tl_unpack_kind kind, size_t bytes,
		       union answer *ret, struct tl_error *err)
{
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	do
		n = recv(u->control, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return ended(u, err);
	if (n < 0)
		return fail_sys(err, errno, "listening to the unpacker");
	if ((size_t)n < sizeof(ret->head) || ret->head.version != TL_UNPACK_VERSION)
		return nonsense(err);
	if (ret->head.kind == TL_UNPACK_FAILED && (size_t)n == sizeof(ret->failed))
		return failed(&ret->failed, err);
	return ret->head.kind == kind && (size_t)n == bytes ? 0 : nonsense(err);
}

/* Until it says something, or takes more of the layer (@is_writing). */
static int wait_for(struct tl_unpacker *u, bool is_writing, struct tl_cancel *cancel,
		    bool *ret_has_answer, struct tl_error *err)
{
	struct pollfd on[] = {
		{ .fd = u->control, .events = POLLIN },
		{ .fd = tl_cancel_fd(cancel), .events = POLLIN },
		{ .fd = is_writing ? u->layer : -1, .events = POLLOUT },
	};
	int n;

	do
		n = poll(on, TL_ARRAY_SIZE(on), -1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail_sys(err, errno, "waiting for the unpacker");
	if (on[1].revents)
		return tl_fail(err, TL_E_INTERRUPTED, ECANCELED, "unpacking interrupted");
	*ret_has_answer = on[0].revents != 0;
	return 0;
}

static int answer_wait(struct tl_unpacker *u, enum tl_unpack_kind kind, size_t bytes,
		       struct tl_cancel *cancel, union answer *ret, struct tl_error *err)
{
	bool has_answer;
	int r = wait_for(u, false, cancel, &has_answer, err);

	return r < 0 ? r : answer_read(u, kind, bytes, ret, err);
}

/* --- the layer ----------------------------------------------------------------------------- */

/* It can't have anything good to say before the layer's end. */
static int early_word(struct tl_unpacker *u, struct tl_cancel *cancel, struct tl_error *err)
{
	union answer answer;

	return answer_wait(u, TL_UNPACK_FAILED, sizeof(answer.failed), cancel, &answer, err);
}

int tl_unpacker_write(struct tl_unpacker *u, const void *data, size_t n, struct tl_cancel *cancel,
		      struct tl_error *err)
{
	const char *at = data;

	while (n > 0) {
		ssize_t done = write(u->layer, at, n);
		bool has_word = false;
		int r = 0;

		if (done >= 0) {
			at += done;
			n -= (size_t)done;
			continue;
		}
		if (errno == EPIPE)
			return early_word(u, cancel, err);
		if (errno == EAGAIN)
			r = wait_for(u, true, cancel, &has_word, err);
		else if (errno != EINTR)
			r = fail_sys(err, errno, "feeding the unpacker");
		if (r < 0)
			return r;
		if (has_word)
			return early_word(u, cancel, err);
	}
	return 0;
}

int tl_unpacker_extracted(struct tl_unpacker *u, struct tl_cancel *cancel,
			  struct tl_unpack_extracted *ret, struct tl_error *err)
{
	union answer answer;
	int r;

	close(take_fd(u->layer));
	r = answer_wait(u, TL_UNPACK_EXTRACTED, sizeof(answer.extracted), cancel, &answer, err);
	if (r == 0)
		*ret = answer.extracted;
	return r;
}

int tl_unpacker_finish(struct tl_unpacker *u, const int *lower, size_t n, struct tl_cancel *cancel,
		       struct tl_error *err)
{
	const struct tl_unpack_head finish = { .version = TL_UNPACK_VERSION,
					       .kind = TL_UNPACK_FINISH };
	union answer answer;
	int r;

	if (n > TL_UNPACK_LOWER_MAX)
		return tl_fail(err, TL_E_UNPACK, EOPNOTSUPP, "more than %d layers below",
			       TL_UNPACK_LOWER_MAX);
	r = message_send(u->control, &finish, sizeof(finish), lower, n);
	if (r < 0 && r != -EPIPE)
		return fail_sys(err, -r, "telling the unpacker");
	r = answer_wait(u, TL_UNPACK_DONE, sizeof(answer.head), cancel, &answer, err);
	if (r == 0)
		reap(u);
	return r;
}

struct tl_unpacker *tl_unpacker_free(struct tl_unpacker *u)
{
	if (!u)
		return NULL;
	if (u->layer >= 0)
		close(u->layer);
	if (u->control >= 0)
		close(u->control);
	reap(u);
	free(u);
	return NULL;
}
