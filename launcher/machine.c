/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/cmdline.h>
#include <teelaunch/file.h>

int machine_parse_cmdline(const char *text, size_t n, bool *ret_is_hardened, struct tl_error *err)
{
	if (n && text[n - 1] == '\n')
		n--;
	if (memchr(text, '\0', n))
		return tl_fail(err, TL_E_CMDLINE_CONTRADICTS, EINVAL,
			       "kernel command line: holds a NUL");
	if (n >= MACHINE_CMDLINE_FULL)
		return tl_fail(err, TL_E_CMDLINE_LENGTH, EOVERFLOW,
			       "kernel command line: %zu bytes; the kernel cuts at %d", n,
			       MACHINE_CMDLINE_FULL);
	return tl_cmdline_is_hardened(text, ret_is_hardened, err);
}

/* The rest of the line that starts with @key, or NULL. */
static const char *line_find(const char *text, const char *key)
{
	while (text && *text) {
		if (tl_str_starts_with(text, key))
			return text + strlen(key);
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

int machine_parse_meminfo(const char *text, uint64_t *ret_kb, struct tl_error *err)
{
	const char *p = line_find(text, "MemAvailable:");
	char digits[24];
	size_t n;

	if (p) {
		p += strspn(p, " \t");
		n = strspn(p, "0123456789");
		if (n && n < sizeof(digits) && strncmp(p + n, " kB\n", 4) == 0) {
			memcpy(digits, p, n);
			digits[n] = '\0';
			if (tl_str_parse_u64(digits, UINT64_MAX / 1024, ret_kb) == 0)
				return 0;
		}
	}
	return tl_fail(err, TL_E_MACHINE_FACTS, EINVAL, "/proc/meminfo has no MemAvailable in kB");
}

/* Linux 6.1, include/uapi/linux/capability.h; the index is the number. */
static const char *const capability_names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

int machine_capability_names(uint64_t set, struct tl_strv *ret, struct tl_error *err)
{
	auto_strv struct tl_strv names = { 0 };

	for (size_t i = 0; i < TL_ARRAY_SIZE(capability_names); i++)
		if (set >> i & 1 && tl_strv_add(&names, capability_names[i]) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "capability names");
	*ret = names;
	names = (struct tl_strv){ 0 };
	return 0;
}

void machine_facts_done(struct machine_facts *f)
{
	free(f->cmdline);
	tl_strv_done(&f->capabilities);
	*f = (struct machine_facts){ 0 };
}

static int read_text(const char *path, size_t max, struct tl_buf *ret, struct tl_error *err)
{
	int r;

	tl_buf_init(ret, max);
	r = tl_file_read(path, ret, NULL);
	return r < 0 ? tl_fail_sys(err, TL_E_MACHINE_FACTS, -r, "read '%s'", path) : 0;
}

/* Without CAP_SYS_RESOURCE nobody below us can raise a hard limit again: setrlimit(2). */
static uint64_t nofile_limit(const struct tl_strv *capabilities)
{
	struct rlimit own = { 0 };

	if (tl_strv_contains(capabilities, "CAP_SYS_RESOURCE") ||
	    getrlimit(RLIMIT_NOFILE, &own) < 0)
		return UINT64_MAX;
	return own.rlim_max;
}

int machine_read_mode(const char *cmdline_path, bool *ret_is_hardened, char **ret_text,
		      struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	bool is_hardened = false;
	char *line;
	int r = read_text(cmdline_path, MACHINE_CMDLINE_MAX, &text, err);

	if (r == 0)
		r = machine_parse_cmdline(tl_buf_str(&text), text.len_bytes, &is_hardened, err);
	if (r < 0)
		return r;
	if (ret_text) {
		line = tl_buf_take_str(&text);
		if (!line)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "kernel command line");
		*ret_text = line;
	}
	*ret_is_hardened = is_hardened;
	return 0;
}

int machine_read(const char *cmdline_path, uint64_t capabilities, struct machine_facts *ret,
		 struct tl_error *err)
{
	auto_buf struct tl_buf meminfo = { 0 };
	struct machine_facts f = { 0 };
	int r;

	r = machine_read_mode(cmdline_path, &f.is_hardened, &f.cmdline, err);
	if (r == 0)
		r = read_text("/proc/meminfo", 64 * 1024, &meminfo, err);
	if (r == 0)
		r = machine_parse_meminfo(tl_buf_str(&meminfo), &f.mem_available_kb, err);
	if (r == 0)
		r = machine_capability_names(capabilities, &f.capabilities, err);
	if (r < 0) {
		machine_facts_done(&f);
		return r;
	}
	f.nofile_limit = nofile_limit(&f.capabilities);
	*ret = f;
	return 0;
}
