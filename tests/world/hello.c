/* SPDX-License-Identifier: Apache-2.0 */
/* The workload of the demo and the tests: shows what a workload sees, then ends as it is told.
 *
 * It says its arguments, the names (never the values) of its environment, and what its attestation
 * token says about itself (never the token). Then, as its arguments tell, one after the other:
 *   sleep=S    wait that many seconds        spam=N    print N lines of 100 bytes
 *   crash      touch memory that isn't there    exit=N    end with that code
 *   show=NAME  print that variable's value   trap      survive SIGTERM, and say that it came
 *   bytes=HEX  write these bytes to standard output and standard error
 *   line=N     write a line of N bytes
 *   ask=METHOD PATH BODY  ask the token socket, and read the answer without showing it
 *   tell=PORT  say to that port of this machine that it runs, and go on when that was heard
 *   flood=N    write N bytes as fast as they are taken, as lines of 100
 *   claims     print what the token says, all of it
 *   turns=NNNN end with the first of these digits; the next time with the next one, and so on
 *   keys       print what it finds in the kernel's keyrings, and whether it could find anything
 *   eat=M      take that many MiB of memory, and touch them
 *   reach      try what a workload must not be able to do, and print what came of each
 *   fds        print the descriptors that it was born with
 *   attack=PORT  ask that port of this machine which processes there are (it answers with their
 * numbers, and hangs up), try to get into each, and print what came of it listen=P,P answer every
 * TCP connection to those ports with a line, until SIGTERM Without exit=N the code is that of the
 * variable HELLO_EXIT, else 0.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_FILE               "/run/container_launcher/attestation_verifier_claims_token"
#define TOKEN_MAX_BYTES          (64 * 1024)
#define SO_PEERPIDFD_            77     /* linux/asm-generic/socket.h, of Linux 6.5 */
#define PIDFD_GET_NET_NAMESPACE_ 0xff04 /* linux/pidfd.h, of Linux 6.11 */
#define TOKEN_SOCKET             "/run/container_launcher/teeserver.sock"

extern char **environ;

static volatile sig_atomic_t terminations;

static void on_sigterm(int number)
{
	(void)number;
	terminations++;
}

static unsigned number_of(const char *text)
{
	unsigned n = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		n = n * 10 + (unsigned)(*text - '0');
	return n;
}

static int base64url_digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The middle part of the token, decoded in place; the rest of the text is gone afterwards. */
static char *token_claims(char *token)
{
	char *claims = strchr(token, '.');
	unsigned bits = 0, n = 0;
	char *to;

	if (!claims)
		return NULL;
	to = ++claims;
	for (const char *from = claims; *from && *from != '.'; from++) {
		int digit = base64url_digit(*from);

		if (digit < 0)
			return NULL;
		bits = bits << 6 | (unsigned)digit;
		n += 6;
		if (n >= 8) {
			n -= 8;
			*to++ = (char)(bits >> n & 0xff);
		}
	}
	*to = 0;
	return claims;
}

static void show_claim(const char *claims, const char *name)
{
	char key[64];
	const char *at;
	size_t n;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(claims, key);
	if (!at)
		return;
	at += strlen(key);
	at += strspn(at, " ");
	n = *at == '"' ? strcspn(at + 1, "\"") + 2 : strcspn(at, ",}");
	printf("hello:   %-16s %.*s\n", name, (int)n, at);
}

/* What the token says, or NULL; @ret_n is the length of the whole token, 0 if there is none. */
static char *token_read(size_t *ret_n)
{
	static char token[TOKEN_MAX_BYTES];
	FILE *file = fopen(TOKEN_FILE, "re");

	*ret_n = 0;
	if (!file)
		return NULL;
	*ret_n = fread(token, 1, sizeof(token) - 1, file);
	token[*ret_n] = 0;
	fclose(file);
	return token_claims(token);
}

static void show_token(void)
{
	static const char *const names[] = {
		"iss",     "aud",     "swname",          "hwmodel",
		"dbgstat", "secboot", "image_reference", "image_digest"
	};
	size_t n;
	char *claims = token_read(&n);

	if (!n) {
		printf("hello: I hold no attestation token\n");
		return;
	}
	printf("hello: I hold an attestation token of %zu bytes, which says:\n", n);
	for (size_t i = 0; claims && i < sizeof(names) / sizeof(names[0]); i++)
		show_claim(claims, names[i]);
}

static void show_surroundings(int argc, char **argv)
{
	printf("hello: my arguments:");
	for (int i = 0; i < argc; i++)
		printf(" '%s'", argv[i]);
	printf("\nhello: my environment has:");
	for (char **e = environ; *e; e++)
		printf(" %.*s", (int)strcspn(*e, "="), *e);
	printf("\n");
}

static void show_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[512];
	int n = 0;

	for (; file && fgets(line, sizeof(line), file); n++)
		printf("hello: keys %s: %s", path, line);
	printf("hello: keys %s: %d lines%s\n", path, n, file ? "" : " (not opened)");
	if (file)
		fclose(file);
}

/* By name, in the keyrings that a process reaches: linux/keyctl.h. The disk's key would be one of
 * "logon"; "probe" is a key of this program's own, which shows that a key would be found. */
static void show_keys(void)
{
	static const struct {
		const char *type, *name;
	} wanted[] = { { "logon", "teelaunch:volume" },
		       { "user", "teelaunch:volume" },
		       { "user", "hello:probe" } };
	long own = syscall(SYS_add_key, "user", "hello:probe", "x", 1, KEY_SPEC_PROCESS_KEYRING);

	printf("hello: keys add: %s\n", own < 0 ? strerror(errno) : "done");
	for (int ring = KEY_SPEC_THREAD_KEYRING; ring >= KEY_SPEC_GROUP_KEYRING; ring--)
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
			long key = syscall(SYS_keyctl, KEYCTL_SEARCH, ring, wanted[i].type,
					   wanted[i].name, 0);

			printf("hello: keys ring %d %s %s: %s\n", ring, wanted[i].type,
			       wanted[i].name, key < 0 ? strerror(errno) : "found");
		}
	show_file("/proc/keys");
	show_file("/proc/key-users");
}

static void wait_s(unsigned seconds)
{
	struct timespec left = { .tv_sec = seconds };

	while (nanosleep(&left, &left) < 0)
		if (terminations)
			return;
}

static int listen_at(unsigned port)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0), yes = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0) {
		perror("hello: listen");
		return -1;
	}
	printf("hello: listening at %u\n", port);
	return fd;
}

static void answer(int fd)
{
	static const char text[] = "hello\n";
	int peer = accept(fd, NULL, NULL);

	if (peer >= 0 && write(peer, text, strlen(text)) < 0)
		perror("hello: answer");
	close(peer);
}

static void serve(const char *ports)
{
	struct pollfd fds[8];
	nfds_t n = 0;

	signal(SIGTERM, on_sigterm);
	for (const char *p = ports; *p && n < 8; p += strcspn(p, ","), p += *p == ',')
		fds[n++] = (struct pollfd){ .fd = listen_at(number_of(p)), .events = POLLIN };
	while (!terminations && (poll(fds, n, -1) > 0 || !terminations))
		for (nfds_t i = 0; i < n; i++)
			if (fds[i].revents & POLLIN)
				answer(fds[i].fd);
}

static void write_bytes(const char *hex)
{
	unsigned byte;

	fflush(stdout);
	for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
		for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
			if (write(fd, &(unsigned char){ (unsigned char)byte }, 1) < 0)
				return;
}

static int write_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int device_open(mode_t kind, unsigned major, unsigned minor)
{
	int r = mknod("/hello-device", kind | 0600, makedev(major, minor)) < 0 ? errno : 0;
	int fd = r ? -1 : open("/hello-device", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (!r && fd < 0)
		r = errno;
	if (fd >= 0)
		close(fd);
	unlink("/hello-device");
	return r;
}

static void reach_told(const char *what, int r)
{
	printf("hello: reach %s: %s\n", what, r ? strerrorname_np(r) : "done");
}

static unsigned processes_seen(void)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	unsigned n = 0;

	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
	if (dir)
		closedir(dir);
	return n;
}

static void reach(void)
{
	static const char *const files[] = {
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
		"/proc/sysrq-trigger",           "/proc/irq/default_smp_affinity",
		"/sys/kernel/uevent_helper",     "/sys/fs/cgroup/cgroup.procs",
		"/sys/fs/cgroup/hello",          "/run/container_launcher/hello",
	};
	/* Linux, admin-guide/devices.txt */
	static const struct {
		const char *name;
		mode_t kind;
		unsigned major, minor;
	} devices[] = { { "memory", S_IFCHR, 1, 1 }, { "console", S_IFCHR, 5, 1 },
			{ "tpm", S_IFCHR, 10, 224 }, { "device-mapper", S_IFCHR, 10, 236 },
			{ "disk", S_IFBLK, 8, 0 },   { "virtio-disk", S_IFBLK, 254, 0 } };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		reach_told(files[i], write_open(files[i]));
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		reach_told(devices[i].name,
			   device_open(devices[i].kind, devices[i].major, devices[i].minor));
	reach_told("mount", mount("none", "/tmp", "tmpfs", 0, NULL) < 0 ? errno : 0);
	reach_told("module", syscall(SYS_init_module, "", 0, "") < 0 ? errno : 0);
	reach_told("clock", clock_settime(CLOCK_REALTIME, &(struct timespec){ 0 }) < 0 ? errno : 0);
	reach_told("trace", ptrace(PTRACE_SEIZE, 2, NULL, NULL) < 0 ? errno : 0);
	printf("hello: reach privileges: %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	printf("hello: reach processes: %u\n", processes_seen());
}

static void show_descriptors(void)
{
	char path[32], to[256];

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		if (n >= 0)
			printf("hello: fd %d %.*s\n", fd, (int)n, to);
	}
}

static void eat(unsigned mib)
{
	for (; mib > 0; mib--) {
		char *p = malloc(1024 * 1024);

		if (!p)
			return;
		memset(p, 1, 1024 * 1024);
	}
}

static void ask(const char *what)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = TOKEN_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), words = 0;
	const char *path = strchr(what, ' '), *body = path ? strchr(path + 1, ' ') : NULL;
	char answer[4096];

	if (!body || fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		perror("hello: ask");
		return;
	}
	words = dprintf(fd,
			"%.*s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
			"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			(int)(body - what), what, strlen(body + 1), body + 1);
	while (words > 0 && read(fd, answer, sizeof(answer)) > 0)
		continue;
	close(fd);
}

static int connect_to(unsigned port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void tell(unsigned port)
{
	int fd = connect_to(port);
	char heard;

	if (fd < 0 || read(fd, &heard, 1) != 1)
		perror("hello: tell");
	close(fd);
}

static void attack_told(const char *what, pid_t pid, long r)
{
	printf("hello: attack %s-%d: %s\n", what, (int)pid,
	       r < 0 ? strerrorname_np(errno) : "done");
}

/* As somebody would who had the workload and wants the launcher. Nothing of it does harm. */
static void attack_process(pid_t pid)
{
	static const char *const files[] = { "mem", "root/etc/shadow", "fd/0", "environ" };
	char path[64], byte = 0;
	struct iovec here = { &byte, 1 }, there = { NULL, 1 }; /* EFAULT, if it may */
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	attack_told("pidfd_open", pid, pidfd);
	attack_told("pidfd_getfd", pid, syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	if (pidfd >= 0)
		close(pidfd);
	attack_told("kill", pid, kill(pid, 0));
	attack_told("process_vm_readv", pid, process_vm_readv(pid, &here, 1, &there, 1, 0));
	attack_told("process_vm_writev", pid, process_vm_writev(pid, &here, 1, &there, 1, 0));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		attack_told(files[i], pid, fd);
		close(fd);
	}
	/* The last: it stays traced until this program ends. */
	attack_told("ptrace", pid, ptrace(PTRACE_SEIZE, pid, NULL, NULL));
}

/* Who serves the token socket: by a number, and, from Linux 6.5 on, by a descriptor, which names a
 * process whatever the namespace. */
static void attack_peer(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = TOKEN_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), pidfd = -1;
	struct ucred peer = { .pid = -1 };
	socklen_t n = sizeof(peer);

	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		perror("hello: attack");
	printf("hello: attack peer: %d\n", (int)peer.pid);
	n = sizeof(pidfd);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD_, &pidfd, &n) < 0)
		pidfd = -1;
	attack_told("peer_getfd", 0, syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	attack_told("peer_signal", 0, syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0));
	attack_told("peer_network", 0, ioctl(pidfd, PIDFD_GET_NET_NAMESPACE_, 0));
	close(pidfd);
	close(fd);
}

static void attack(unsigned port)
{
	int fd = connect_to(port), pid;
	FILE *answer = fd < 0 ? NULL : fdopen(fd, "re");

	while (answer && fscanf(answer, "%d", &pid) == 1)
		attack_process(pid);
	attack_peer();
	if (answer)
		fclose(answer);
	printf("hello: attack ends: done\n");
}

static void flood(unsigned bytes)
{
	static char lines[64000];

	memset(lines, 'x', sizeof(lines));
	for (size_t i = 99; i < sizeof(lines); i += 100)
		lines[i] = '\n';
	fflush(stdout);
	while (bytes > 0) {
		size_t n = bytes < sizeof(lines) ? bytes : sizeof(lines);
		ssize_t done = write(STDOUT_FILENO, lines, n);

		if (done < 0)
			return;
		bytes -= (unsigned)done;
	}
}

static bool has_prefix(const char *text, const char *prefix, const char **rest)
{
	size_t n = strlen(prefix);

	*rest = text + n;
	return strncmp(text, prefix, n) == 0;
}

/* How often it was asked before is the length of a file. The last digit stays. */
static int turn_take(const char *digits)
{
	int fd = open("/turns", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	size_t n = strlen(digits);
	off_t turn;

	if (fd < 0 || n == 0 || write(fd, "x", 1) < 0)
		return 9;
	turn = lseek(fd, 0, SEEK_END);
	close(fd);
	return digits[(size_t)turn < n ? (size_t)turn - 1 : n - 1] - '0';
}

/* Whether the program goes on after it; if not, *code is set. */
static bool act(const char *what, int *code)
{
	const char *rest;

	if (has_prefix(what, "sleep=", &rest)) {
		wait_s(number_of(rest));
	} else if (strcmp(what, "reach") == 0) {
		reach();
	} else if (strcmp(what, "fds") == 0) {
		show_descriptors();
	} else if (has_prefix(what, "attack=", &rest)) {
		attack(number_of(rest));
	} else if (has_prefix(what, "eat=", &rest)) {
		eat(number_of(rest));
	} else if (has_prefix(what, "listen=", &rest)) {
		serve(rest);
	} else if (strcmp(what, "crash") == 0) {
		/* raise() does nothing to the first process of a PID namespace; a fault does. */
		volatile char *volatile nowhere = NULL;

		*nowhere = 1;
	} else if (has_prefix(what, "spam=", &rest)) {
		for (unsigned n = number_of(rest); n > 0; n--)
			printf("%099u\n", n);
	} else if (has_prefix(what, "bytes=", &rest)) {
		write_bytes(rest);
	} else if (has_prefix(what, "ask=", &rest)) {
		ask(rest);
	} else if (has_prefix(what, "tell=", &rest)) {
		tell(number_of(rest));
	} else if (has_prefix(what, "flood=", &rest)) {
		flood(number_of(rest));
	} else if (has_prefix(what, "line=", &rest)) {
		for (unsigned n = number_of(rest); n > 0; n--)
			putchar('x');
		putchar('\n');
	} else if (has_prefix(what, "show=", &rest)) {
		const char *value = getenv(rest);

		printf("hello: %s=%s\n", rest, value ? value : "(none)");
	} else if (strcmp(what, "claims") == 0) {
		size_t n;
		const char *claims = token_read(&n);

		printf("hello: claims %s\n", claims ? claims : "{}");
	} else if (strcmp(what, "keys") == 0) {
		show_keys();
	} else if (has_prefix(what, "turns=", &rest)) {
		*code = turn_take(rest);
		return false;
	} else if (strcmp(what, "trap") == 0) {
		signal(SIGTERM, on_sigterm);
	} else if (has_prefix(what, "exit=", &rest)) {
		*code = (int)number_of(rest);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct timespec start;
	const char *wanted;
	int code = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("hello: first instruction at %lld.%09ld\n", (long long)start.tv_sec, start.tv_nsec);
	wanted = getenv("HELLO_NAME");
	printf("hello: hello, %s\n", wanted ? wanted : "nobody");
	show_surroundings(argc, argv);
	show_token();
	fprintf(stderr, "hello: this line goes to standard error\n");
	wanted = getenv("HELLO_EXIT");
	if (wanted)
		code = (int)number_of(wanted);
	for (int i = 1; i < argc; i++)
		if (!act(argv[i], &code))
			break;
	if (terminations)
		printf("hello: SIGTERM came\n");
	return code;
}
