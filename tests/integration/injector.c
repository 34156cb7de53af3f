/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a launcher and its unpackers: makes one call fail, once. Each function of the
 * table below goes through fi_hit(), which knows a call by its *site*: the function's name and the
 * return addresses of the nearest frames of the program's own, relative to where it was loaded;
 * and, for calls that a library makes, where in that library. injector.py reads what it leaves in
 * the file $FI_MAP.PROGRAM, which all processes of that program share.
 *
 *   FI_MAP      where the sites are counted
 *   FI_FRAMES   how many frames make a site
 *   FI_CALLERS  if it is there, so does the place in the library
 *   FI_PROGRAM  the program in which the call fails: its short name
 *   FI_KEY      its site, 16 hexadecimal digits; without it nothing fails
 *   FI_ONLY     the one function whose calls are counted, which is faster; without it all
 *   FI_NTH      the call at this site that fails, from 1; in the form "N+" all later ones do, too
 *   FI_HOW      eN: fails with errno N; aN: is done, then says that it failed with errno N;
 *               s: is done for half of the bytes
 *
 * x86-64 only: the wrappers are written so that they pass on arguments of any number and type.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include "main_end.h"

#define HIDDEN       __attribute__((visibility("hidden")))
#define OWN_MAX      8
#define WALK_MAX     64 /* frames, ours and the libraries' */
#define SITES_MAX    16384
#define NAME_MAX_FI  48
#define SMALL_BYTES  8 /* of an eventfd */
#define ENV_MAX      8
#define VALUE_MAX_FI 4096

/* What a function returns when it fails: NULL, -1 and errno, or the error itself. */
enum kind { IS_NULL, IS_MINUS, IS_ERROR };

struct row {
	const char *name;
	void *real;
	enum kind kind;
};

/* As the wrapper stores it, and from where it loads the registers again. */
struct arguments {
	uint64_t di, si, dx, cx, r8, r9, ax;
	int64_t result; /* if fi_hit() gives no function */
	unsigned char xmm[8][16];
	uint64_t bp;
	uint64_t back;
};

struct site {
	_Atomic uint64_t key; /* 0: free */
	atomic_uint count;
	uint32_t own_n;
	char name[NAME_MAX_FI];
	char module[NAME_MAX_FI]; /* of the caller */
	uint64_t caller;
	uint64_t own[OWN_MAX];
};

struct map {
	atomic_uint fired;
	atomic_uint lost; /* calls for which there was no room */
	uint64_t own_max;
	struct site sites[SITES_MAX];
};

#define ALLOCATIONS(X)                                                                             \
	X(malloc, IS_NULL)                                                                         \
	X(calloc, IS_NULL)                                                                         \
	X(realloc, IS_NULL)                                                                        \
	X(reallocarray, IS_NULL)                                                                   \
	X(aligned_alloc, IS_NULL)                                                                  \
	X(posix_memalign, IS_ERROR)                                                                \
	X(strdup, IS_NULL)                                                                         \
	X(__strdup, IS_NULL)                                                                       \
	X(strndup, IS_NULL)                                                                        \
	X(asprintf, IS_MINUS)                                                                      \
	X(vasprintf, IS_MINUS)                                                                     \
	X(__asprintf_chk, IS_MINUS)                                                                \
	X(__vasprintf_chk, IS_MINUS)                                                               \
	X(tsearch, IS_NULL)                                                                        \
	X(mmap, IS_MINUS)                                                                          \
	X(mmap64, IS_MINUS)                                                                        \
	X(mlock, IS_MINUS)                                                                         \
	X(madvise, IS_MINUS)

#define FILES(X)                                                                                   \
	X(open, IS_MINUS)                                                                          \
	X(open64, IS_MINUS)                                                                        \
	X(__open_2, IS_MINUS)                                                                      \
	X(__open64_2, IS_MINUS)                                                                    \
	X(openat, IS_MINUS)                                                                        \
	X(openat64, IS_MINUS)                                                                      \
	X(__openat_2, IS_MINUS)                                                                    \
	X(__openat64_2, IS_MINUS)                                                                  \
	X(fopen, IS_NULL)                                                                          \
	X(fopen64, IS_NULL)                                                                        \
	X(fdopen, IS_NULL)                                                                         \
	X(opendir, IS_NULL)                                                                        \
	X(fdopendir, IS_NULL)                                                                      \
	X(readdir, IS_NULL)                                                                        \
	X(readdir64, IS_NULL)                                                                      \
	X(close, IS_MINUS)                                                                         \
	X(close_range, IS_MINUS)                                                                   \
	X(read, IS_MINUS)                                                                          \
	X(__read_chk, IS_MINUS)                                                                    \
	X(pread, IS_MINUS)                                                                         \
	X(pread64, IS_MINUS)                                                                       \
	X(__pread_chk, IS_MINUS)                                                                   \
	X(__pread64_chk, IS_MINUS)                                                                 \
	X(write, IS_MINUS)                                                                         \
	X(writev, IS_MINUS)                                                                        \
	X(pwrite, IS_MINUS)                                                                        \
	X(pwrite64, IS_MINUS)                                                                      \
	X(lseek, IS_MINUS)                                                                         \
	X(lseek64, IS_MINUS)                                                                       \
	X(fsync, IS_MINUS)                                                                         \
	X(fcntl, IS_MINUS)                                                                         \
	X(fcntl64, IS_MINUS)                                                                       \
	X(ioctl, IS_MINUS)                                                                         \
	X(stat, IS_MINUS)                                                                          \
	X(fstat, IS_MINUS)                                                                         \
	X(fstat64, IS_MINUS)                                                                       \
	X(lstat, IS_MINUS)                                                                         \
	X(fstatat, IS_MINUS)                                                                       \
	X(fstatat64, IS_MINUS)                                                                     \
	X(statfs, IS_MINUS)                                                                        \
	X(fstatfs, IS_MINUS)                                                                       \
	X(statvfs, IS_MINUS)                                                                       \
	X(access, IS_MINUS)                                                                        \
	X(faccessat, IS_MINUS)                                                                     \
	X(readlink, IS_MINUS)                                                                      \
	X(readlinkat, IS_MINUS)                                                                    \
	X(__readlink_chk, IS_MINUS)                                                                \
	X(__readlinkat_chk, IS_MINUS)                                                              \
	X(mkdir, IS_MINUS)                                                                         \
	X(mkdirat, IS_MINUS)                                                                       \
	X(mkdtemp, IS_NULL)                                                                        \
	X(mkfifo, IS_MINUS)                                                                        \
	X(mknodat, IS_MINUS)                                                                       \
	X(symlinkat, IS_MINUS)                                                                     \
	X(linkat, IS_MINUS)                                                                        \
	X(rmdir, IS_MINUS)                                                                         \
	X(rename, IS_MINUS)                                                                        \
	X(renameat, IS_MINUS)                                                                      \
	X(unlink, IS_MINUS)                                                                        \
	X(unlinkat, IS_MINUS)                                                                      \
	X(chmod, IS_MINUS)                                                                         \
	X(fchmod, IS_MINUS)                                                                        \
	X(fchmodat, IS_MINUS)                                                                      \
	X(fchown, IS_MINUS)                                                                        \
	X(fchownat, IS_MINUS)                                                                      \
	X(utimensat, IS_MINUS)                                                                     \
	X(futimens, IS_MINUS)                                                                      \
	X(fsetxattr, IS_MINUS)                                                                     \
	X(lsetxattr, IS_MINUS)                                                                     \
	X(fgetxattr, IS_MINUS)                                                                     \
	X(flistxattr, IS_MINUS)                                                                    \
	X(chdir, IS_MINUS)                                                                         \
	X(fchdir, IS_MINUS)                                                                        \
	X(chroot, IS_MINUS)

#define OTHERS(X)                                                                                  \
	X(mount, IS_MINUS)                                                                         \
	X(umount2, IS_MINUS)                                                                       \
	X(unshare, IS_MINUS)                                                                       \
	X(fsopen, IS_MINUS)                                                                        \
	X(fsconfig, IS_MINUS)                                                                      \
	X(fsmount, IS_MINUS)                                                                       \
	X(open_tree, IS_MINUS)                                                                     \
	X(move_mount, IS_MINUS)                                                                    \
	X(mount_setattr, IS_MINUS)                                                                 \
	X(socket, IS_MINUS)                                                                        \
	X(socketpair, IS_MINUS)                                                                    \
	X(connect, IS_MINUS)                                                                       \
	X(bind, IS_MINUS)                                                                          \
	X(listen, IS_MINUS)                                                                        \
	X(accept4, IS_MINUS)                                                                       \
	X(shutdown, IS_MINUS)                                                                      \
	X(getsockopt, IS_MINUS)                                                                    \
	X(setsockopt, IS_MINUS)                                                                    \
	X(send, IS_MINUS)                                                                          \
	X(sendto, IS_MINUS)                                                                        \
	X(sendmsg, IS_MINUS)                                                                       \
	X(recv, IS_MINUS)                                                                          \
	X(__recv_chk, IS_MINUS)                                                                    \
	X(recvfrom, IS_MINUS)                                                                      \
	X(recvmsg, IS_MINUS)                                                                       \
	X(getaddrinfo, IS_ERROR)                                                                   \
	X(poll, IS_MINUS)                                                                          \
	X(__poll_chk, IS_MINUS)                                                                    \
	X(epoll_create1, IS_MINUS)                                                                 \
	X(epoll_ctl, IS_MINUS)                                                                     \
	X(epoll_wait, IS_MINUS)                                                                    \
	X(pipe2, IS_MINUS)                                                                         \
	X(eventfd, IS_MINUS)                                                                       \
	X(eventfd_read, IS_MINUS)                                                                  \
	X(memfd_create, IS_MINUS)                                                                  \
	X(pthread_create, IS_ERROR)                                                                \
	X(pthread_mutex_init, IS_ERROR)                                                            \
	X(pthread_cond_init, IS_ERROR)                                                             \
	X(pthread_condattr_init, IS_ERROR)                                                         \
	X(posix_spawn, IS_ERROR)                                                                   \
	X(posix_spawn_file_actions_init, IS_ERROR)                                                 \
	X(posix_spawn_file_actions_adddup2, IS_ERROR)                                              \
	X(posix_spawn_file_actions_addopen, IS_ERROR)                                              \
	X(posix_spawn_file_actions_addclosefrom_np, IS_ERROR)                                      \
	X(posix_spawnattr_init, IS_ERROR)                                                          \
	X(kill, IS_MINUS)                                                                          \
	X(prctl, IS_MINUS)                                                                         \
	X(setrlimit, IS_MINUS)                                                                     \
	X(getrandom, IS_MINUS)                                                                     \
	X(gethostname, IS_MINUS)                                                                   \
	X(__gethostname_chk, IS_MINUS)                                                             \
	X(sysinfo, IS_MINUS)                                                                       \
	X(setenv, IS_MINUS)                                                                        \
	X(syscall, IS_MINUS)

#define FUNCTIONS(X) ALLOCATIONS(X) FILES(X) OTHERS(X)

#define ROW(function, failing)                                                                     \
	HIDDEN struct row fi_row_##function = { .name = #function, .kind = (failing) };
FUNCTIONS(ROW)

#define ROW_POINTER(function, failing) &fi_row_##function,
static struct row *const rows[] = { FUNCTIONS(ROW_POINTER) };

/* Offsets: struct arguments. The frame's pointer is kept, so that the callers can be found from
 * here. */
#define WRAPPER(function, failing)                                                                 \
	__asm__(".text\n.globl " #function "\n.type " #function ",@function\n" #function ":\n"     \
		".cfi_startproc\n"                                                                 \
		"pushq %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbp, 0\n"                  \
		"movq %rsp, %rbp\n.cfi_def_cfa_register %rbp\n"                                    \
		"leaq fi_row_" #function "(%rip), %r11\n"                                          \
		"jmp fi_common\n.cfi_endproc\n.size " #function ", .-" #function "\n");
FUNCTIONS(WRAPPER)

__asm__(".text\n.hidden fi_common\n.type fi_common,@function\nfi_common:\n"
	".cfi_startproc\n.cfi_def_cfa %rbp, 16\n.cfi_offset %rbp, -16\n"
	"subq $192, %rsp\n"
	"movq %rdi, 0(%rsp)\nmovq %rsi, 8(%rsp)\nmovq %rdx, 16(%rsp)\nmovq %rcx, 24(%rsp)\n"
	"movq %r8, 32(%rsp)\nmovq %r9, 40(%rsp)\nmovq %rax, 48(%rsp)\n"
	"movups %xmm0, 64(%rsp)\nmovups %xmm1, 80(%rsp)\nmovups %xmm2, 96(%rsp)\n"
	"movups %xmm3, 112(%rsp)\nmovups %xmm4, 128(%rsp)\nmovups %xmm5, 144(%rsp)\n"
	"movups %xmm6, 160(%rsp)\nmovups %xmm7, 176(%rsp)\n"
	"movq %rsp, %rdi\nmovq %r11, %rsi\ncall fi_hit\nmovq %rax, %r11\n"
	"testq %r11, %r11\njz 1f\n"
	"movups 64(%rsp), %xmm0\nmovups 80(%rsp), %xmm1\nmovups 96(%rsp), %xmm2\n"
	"movups 112(%rsp), %xmm3\nmovups 128(%rsp), %xmm4\nmovups 144(%rsp), %xmm5\n"
	"movups 160(%rsp), %xmm6\nmovups 176(%rsp), %xmm7\n"
	"movq 0(%rsp), %rdi\nmovq 8(%rsp), %rsi\nmovq 16(%rsp), %rdx\nmovq 24(%rsp), %rcx\n"
	"movq 32(%rsp), %r8\nmovq 40(%rsp), %r9\nmovq 48(%rsp), %rax\n"
	"leave\n.cfi_remember_state\n.cfi_def_cfa %rsp, 8\njmp *%r11\n"
	".cfi_restore_state\n1: movq 56(%rsp), %rax\nleave\n.cfi_def_cfa %rsp, 8\nret\n"
	".cfi_endproc\n.size fi_common, .-fi_common\n");

/* Where a function returns to whose work is done, but that is to say that it failed. */
__asm__(".text\n.hidden fi_after\n.type fi_after,@function\nfi_after:\n"
	"subq $16, %rsp\ncall fi_failed\naddq $16, %rsp\njmp *%rdx\n"
	".size fi_after, .-fi_after\n");

struct failed {
	int64_t result;
	uint64_t back;
};

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
HIDDEN void *fi_hit(struct arguments *a, struct row *row);
HIDDEN struct failed fi_failed(void);
extern void fi_after(void) HIDDEN;

static struct map *map;
static uintptr_t own_base, own_begin, own_end;
static uint64_t wanted;
static const struct row *only;
static unsigned int wanted_nth = 1;
static bool goes_on;
static char how;
static int how_errno;
static size_t own_max = OWN_MAX;
static bool knows_callers;
static char kept[ENV_MAX][VALUE_MAX_FI]; /* for unpackers, which are given no environment */
static char *environment[ENV_MAX + 1];
static atomic_bool is_over;
static __thread bool is_inside;
static __thread struct failed later;
static __thread int later_errno;

static int note_program(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	own_base = info->dlpi_addr;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
			own_begin = own_base + info->dlpi_phdr[i].p_vaddr;
			own_end = own_begin + info->dlpi_phdr[i].p_memsz;
		}
	return 1; /* the first one is the program */
}

static void keep_environment(void)
{
	static const char *const names[ENV_MAX] = { "LD_PRELOAD", "FI_MAP",    "FI_PROGRAM",
						    "FI_KEY",     "FI_NTH",    "FI_HOW",
						    "FI_FRAMES",  "FI_CALLERS" };
	size_t n = 0;

	for (size_t i = 0; i < ENV_MAX; i++) {
		const char *value = names[i] ? getenv(names[i]) : NULL;

		if (!value)
			continue;
		snprintf(kept[n], sizeof(kept[n]), "%s=%s", names[i], value);
		environment[n] = kept[n];
		n++;
	}
}

static void map_open(const char *prefix)
{
	char path[VALUE_MAX_FI];
	long fd;

	snprintf(path, sizeof(path), "%s.%s", prefix, program_invocation_short_name);
	fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC | O_CREAT, 0600);
	if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof(*map)) < 0)
		return;
	map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
	if (map == MAP_FAILED)
		map = NULL;
	syscall(SYS_close, fd);
}

static uint64_t number_of(const char **at, unsigned int base)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t n = 0;

	for (; **at; (*at)++) {
		const char *digit = memchr(digits, **at, base);

		if (!digit)
			break;
		n = n * base + (uint64_t)(digit - digits);
	}
	return n;
}

static void plan_read(void)
{
	const char *program = getenv("FI_PROGRAM"), *key = getenv("FI_KEY"),
		   *nth = getenv("FI_NTH");
	const char *error = getenv("FI_HOW"), *frames = getenv("FI_FRAMES");
	const char *function = getenv("FI_ONLY");
	bool is_negative;

	if (frames && *frames >= '0' && *frames <= '0' + OWN_MAX)
		own_max = (size_t)(*frames - '0');
	knows_callers = getenv("FI_CALLERS");
	for (size_t i = 0; function && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i]->name, function) == 0)
			only = rows[i];
	if (!program || !key || !error || strcmp(program, program_invocation_short_name) != 0)
		return;
	wanted = number_of(&key, 16);
	if (nth) {
		wanted_nth = (unsigned int)number_of(&nth, 10);
		goes_on = *nth == '+';
	}
	how = *error++;
	is_negative = *error == '-'; /* as getaddrinfo()'s are */
	error += is_negative;
	how_errno = (int)number_of(&error, 10);
	if (is_negative)
		how_errno = -how_errno;
}

/* No calls are sites any more, and none fails. */
static void main_end(void)
{
	atomic_store(&is_over, true);
}

__attribute__((constructor)) static void begin(void)
{
	const char *prefix = getenv("FI_MAP");

	is_inside = true;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		rows[i]->real = dlsym(RTLD_NEXT, rows[i]->name);
	dl_iterate_phdr(note_program, NULL);
	keep_environment();
	plan_read();
	if (prefix)
		map_open(prefix);
	is_inside = false;
}

struct walk {
	uint64_t own[OWN_MAX];
	uint32_t own_n;
	unsigned int frames;
};

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
	struct walk *walk = arg;
	uintptr_t ip = _Unwind_GetIP(context);

	if (ip >= own_begin && ip < own_end)
		walk->own[walk->own_n++] = ip - own_base;
	return walk->own_n >= own_max || ++walk->frames > WALK_MAX ? _URC_END_OF_STACK
								   : _URC_NO_REASON;
}

/* FNV-1a */
static uint64_t hash(uint64_t sum, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ p[i]) * 0x100000001b3;
	return sum;
}

static void module_of(uintptr_t address, struct site *site)
{
	struct dl_find_object found;
	const char *name;

	site->caller = address;
	if (_dl_find_object((void *)address, &found) < 0 || !found.dlfo_link_map)
		return;
	site->caller = address - found.dlfo_link_map->l_addr;
	name = strrchr(found.dlfo_link_map->l_name, '/');
	snprintf(site->module, sizeof(site->module), "%s", name ? name + 1 : "");
}

static uint64_t describe(const struct arguments *a, const struct row *row, struct site *site)
{
	struct walk walk = { 0 };
	uint64_t key = 0xcbf29ce484222325;

	if (own_max > 0)
		_Unwind_Backtrace(step, &walk);
	module_of(a->back, site);
	snprintf(site->name, sizeof(site->name), "%s", row->name);
	memcpy(site->own, walk.own, sizeof(site->own));
	site->own_n = walk.own_n;
	key = hash(key, site->name, strlen(site->name));
	key = hash(key, site->module, strlen(site->module));
	if (knows_callers || walk.own_n == 0)
		key = hash(key, &site->caller, sizeof(site->caller));
	key = hash(key, site->own, site->own_n * sizeof(site->own[0]));
	return key ? key : 1;
}

/* How often the site was come by, this time counted; 0: there was no room to count. */
static unsigned int count(const struct site *seen, uint64_t key)
{
	for (size_t i = key % SITES_MAX, n = 0; n < SITES_MAX / 2; i = (i + 1) % SITES_MAX, n++) {
		struct site *site = &map->sites[i];
		uint64_t expected = 0;

		if (atomic_compare_exchange_strong(&site->key, &expected, key)) {
			site->own_n = seen->own_n;
			site->caller = seen->caller;
			memcpy(site->name, seen->name, sizeof(site->name));
			memcpy(site->module, seen->module, sizeof(site->module));
			memcpy(site->own, seen->own, sizeof(site->own));
			expected = key;
		}
		if (expected == key)
			return atomic_fetch_add(&site->count, 1) + 1;
	}
	atomic_fetch_add(&map->lost, 1);
	return 0;
}

static bool is_stream(int fd)
{
	int type = 0;
	socklen_t n = sizeof(type);

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
	       type == SOCK_STREAM;
}

/* Who is told that the other side has gone finds nothing there any more. */
static void connection_end(int fd)
{
	uint8_t bytes[4096];

	if (how_errno != EPIPE && how_errno != ECONNRESET)
		return;
	(void)syscall(SYS_shutdown, fd, SHUT_RDWR);
	while (syscall(SYS_recvfrom, fd, bytes, sizeof(bytes), MSG_DONTWAIT, NULL, NULL) > 0)
		;
}

static int64_t failing(enum kind kind)
{
	if (kind == IS_ERROR)
		return how_errno;
	return kind == IS_NULL ? 0 : -1;
}

HIDDEN struct failed fi_failed(void)
{
	errno = later_errno;
	return later;
}

static void *fail(struct arguments *a, const struct row *row)
{
	/* Eventfds' counters never block and are never full. */
	if ((row == &fi_row_write || row == &fi_row_read) && a->dx <= SMALL_BYTES)
		return row->real;
	/* Nothing is allocated then. */
	if (row == &fi_row_epoll_ctl && (int)a->si == EPOLL_CTL_DEL)
		return row->real;
	if (how == 's') {
		if (!is_stream((int)a->di))
			return row->real;
		a->dx = (a->dx + 1) / 2;
		atomic_fetch_add(&map->fired, 1);
		return row->real;
	}
	atomic_fetch_add(&map->fired, 1);
	connection_end((int)a->di);
	if (how == 'a') {
		later = (struct failed){ .result = failing(row->kind), .back = a->back };
		later_errno = how_errno;
		a->back = (uint64_t)fi_after;
		return row->real;
	}
	a->result = failing(row->kind);
	if (row->kind != IS_ERROR)
		errno = how_errno;
	return NULL;
}

static void *real_of(struct row *row)
{
	if (!row->real && strcmp(row->name, "malloc") == 0)
		return (void *)__libc_malloc;
	if (!row->real && strcmp(row->name, "calloc") == 0)
		return (void *)__libc_calloc;
	if (!row->real && strcmp(row->name, "realloc") == 0)
		return (void *)__libc_realloc;
	if (!row->real)
		row->real = dlsym(RTLD_NEXT, row->name);
	return row->real;
}

HIDDEN void *fi_hit(struct arguments *a, struct row *row)
{
	struct site site = { 0 };
	int saved = errno;
	unsigned int n;
	uint64_t key;
	void *to;

	if (is_inside || !map || atomic_load(&is_over) || (only && row != only))
		return real_of(row);
	is_inside = true;
	key = describe(a, row, &site);
	n = count(&site, key);
	if (row == &fi_row_posix_spawn)
		a->r9 = (uint64_t)environment;
	errno = saved;
	to = key == wanted && (n == wanted_nth || (goes_on && n > wanted_nth)) ? fail(a, row)
									       : row->real;
	is_inside = false;
	return to;
}
