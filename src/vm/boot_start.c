/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <teelaunch/cleanup.h>

#include "argv.h"
#include "boot_private.h"

#define METADATA_PORT 80
#define DNS_PORT      53

static int file_path(const char *dir, const char *name, char **ret)
{
	if (asprintf(ret, "%s/%s", dir, name) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

static int log_open(struct boot *b, const char *name)
{
	auto_free char *path = NULL;
	int fd = file_path(b->plan->dir, name, &path);

	if (!fd)
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return fd < 0 ? tl_fail_sys(b->err, TL_E_IO, errno, "create '%s'", name) : fd;
}

/* qemu's end of the channel is given back; it hands the data channel over to swtpm by itself. */
static int swtpm_start(struct boot *b, int *ret_fd)
{
	auto_close int ours = -1, theirs = -1, log = log_open(b, "swtpm.err");
	auto_strv struct tl_strv argv = { 0 };
	auto_free char *log_path = NULL;
	struct child_spec spec = { .argv = &argv, .stdout_fd = log, .stderr_fd = log, .fds_n = 1 };
	int fds[2];

	if (log < 0)
		return log;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return tl_fail_sys(b->err, TL_E_VM_PROGRAM, errno, "channel to swtpm");
	ours = fds[0];
	theirs = fds[1];
	if (file_path(b->plan->dir, "swtpm.log", &log_path) < 0 ||
	    vm_swtpm_argv(b->plan->tpm_state, log_path, theirs, &argv) < 0)
		return tl_fail(b->err, TL_E_NO_MEMORY, ENOMEM, "swtpm");
	spec.fds[0] = theirs;
	b->swtpm = child_start(&spec, NULL, b->err);
	if (b->swtpm < 0)
		return b->swtpm;
	*ret_fd = take_fd(ours);
	return 0;
}

/* The name server's first, the metadata server's, then those that are forwarded, in their order. */
static void sockets_plan(const struct vm_options *o, struct child_spec *spec)
{
	spec->sockets[spec->sockets_n++] =
		(struct child_socket){ .port = DNS_PORT, .is_datagram = true };
	if (o->attributes)
		spec->sockets[spec->sockets_n++].port = METADATA_PORT;
	for (size_t i = 0; i < o->forwards_n; i++)
		spec->sockets[spec->sockets_n++].port = o->forwards[i].port;
}

/* Owns @fds from here on. */
static int sockets_serve(struct boot *b, int *fds)
{
	const struct vm_options *o = b->plan->options;
	size_t at = 0;
	int r = name_server_new(take_fd(fds[at++]), &o->names, b->loop, &b->name_server, b->err);

	if (!r && o->attributes)
		r = metadata_server_new(take_fd(fds[at++]), o, b->loop, &b->metadata, b->err);
	for (size_t i = 0; !r && i < o->forwards_n; i++)
		r = forward_new(take_fd(fds[at++]), &o->forwards[i], b->loop, &b->forwards[i],
				b->err);
	for (size_t i = 0; i < CHILD_SOCKETS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r;
}

static int machine_argv(struct boot *b, int tpm_fd, int qmp_fd, int incoming_fd,
			struct tl_strv *ret)
{
	const struct vm_options *o = b->plan->options;
	auto_free char *vars = NULL, *data = NULL;
	struct vm_machine m = {
		.image = o->image,
		.firmware = b->plan->firmware,
		.qmp = o->qmp,
		.is_secure_boot = o->is_secure_boot,
		.is_kvm = b->plan->is_kvm,
		.memory_mb = o->memory_mb,
		.qmp_fd = qmp_fd,
		.tpm_fd = tpm_fd,
		.incoming_fd = incoming_fd,
	};

	if (file_path(b->plan->dir, "vars.fd", &vars) < 0 ||
	    file_path(b->plan->dir, "data.raw", &data) < 0)
		return -ENOMEM;
	m.vars = vars;
	m.data = data;
	return vm_qemu_argv(&m, ret);
}

struct qemu_fds {
	int tpm, qmp, console, log, incoming; /* qemu's ends */
};

static int qemu_spawn(struct boot *b, const struct qemu_fds *fds)
{
	auto_strv struct tl_strv argv = { 0 };
	auto_free char *resolv_conf = NULL;
	struct child_spec spec = { .argv = &argv,
				   .stdout_fd = fds->console,
				   .stderr_fd = fds->log,
				   .fds = { fds->tpm, fds->qmp, fds->incoming },
				   .fds_n = fds->incoming < 0 ? 2 : 3 };
	int sockets[CHILD_SOCKETS_MAX];

	for (size_t i = 0; i < CHILD_SOCKETS_MAX; i++)
		sockets[i] = -1;
	sockets_plan(b->plan->options, &spec);
	if (file_path(b->plan->dir, RESOLV_CONF, &resolv_conf) < 0 ||
	    machine_argv(b, fds->tpm, fds->qmp, fds->incoming, &argv) < 0)
		return tl_fail(b->err, TL_E_NO_MEMORY, ENOMEM, "qemu");
	spec.resolv_conf = resolv_conf;
	b->qemu = child_start(&spec, sockets, b->err);
	return b->qemu < 0 ? b->qemu : sockets_serve(b, sockets);
}

static int incoming_open(struct boot *b, int *ret)
{
	const char *path = b->plan->incoming;

	if (!path)
		return 0;
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	if (*ret < 0)
		return tl_fail_sys(b->err, TL_E_IO, errno, "open '%s'", path);
	b->is_resuming = true;
	return 0;
}

static int qemu_start(struct boot *b, int tpm_fd)
{
	auto_close int qmp = -1, console = -1, log = log_open(b, "qemu.log"), incoming = -1;
	int fds[2], r = log < 0 ? log : incoming_open(b, &incoming);

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return tl_fail_sys(b->err, TL_E_VM_PROGRAM, errno, "channel to qemu");
	b->qmp_fd = fds[0];
	qmp = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		return tl_fail_sys(b->err, TL_E_VM_PROGRAM, errno, "console of qemu");
	b->console_fd = fds[0];
	console = fds[1];
	return qemu_spawn(b, &(struct qemu_fds){ tpm_fd, qmp, console, log, incoming });
}

int boot_start(struct boot *b)
{
	auto_close int tpm_fd = -1;
	int r = swtpm_start(b, &tpm_fd);

	return r < 0 ? r : qemu_start(b, tpm_fd);
}

void boot_stop(struct boot *b)
{
	child_end(b->qemu);
	child_end(b->swtpm);
	name_server_free(b->name_server);
	metadata_server_free(b->metadata);
	for (size_t i = 0; i < VM_FORWARDS_MAX; i++)
		forward_free(b->forwards[i]);
	if (b->qmp_fd >= 0)
		close(b->qmp_fd);
	if (b->console_fd >= 0)
		close(b->console_fd);
}
