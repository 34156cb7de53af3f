/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "child.h"

/* qemu waits without end where KVM gives up. A KVM that works takes some 200 ms; one that is taken
 * for none costs speed alone. */
#define PROBE_LIMIT_MS 4000
#define ROM_BYTES      65536
/* Where a processor begins: 16 bytes below the end of the firmware (Intel SDM 3A, 9.1.4). */
#define RESET_AT (ROM_BYTES - 16)
#define ANSWER   21
/* What qemu's isa-debug-exit makes of a byte that is written to it. */
#define ANSWER_STATUS (ANSWER * 2 + 1)

/*
 * fwait; fninit; mov $21, %al; out %al, $0xf4; hlt. Firmware needs the floating point unit, and a
 * KVM that emulates what its own host won't run (as inside some clouds' VMs) stops there: most at
 * both, some at the first alone.
 */
static const unsigned char code[] = { 0x9b, 0xdb, 0xe3, 0xb0, ANSWER, 0xe6, 0xf4, 0xf4 };

static int rom_write(const char *path)
{
	unsigned char rom[ROM_BYTES] = { 0 };
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	memcpy(rom + RESET_AT, code, sizeof(code));
	return fd < 0 ? -errno : tl_write_all(fd, rom, sizeof(rom));
}

bool kvm_works(const char *dir, char *ret_why, size_t cap_bytes)
{
	auto_free char *rom = NULL;
	auto_strv struct tl_strv argv = { 0 };
	const struct child_spec spec = { .argv = &argv, .stdout_fd = -1, .stderr_fd = -1 };
	struct tl_error err = { 0 };
	int status = 0;

	snprintf(ret_why, cap_bytes, "no memory to try KVM");
	if (asprintf(&rom, "%s/kvm.rom", dir) < 0) {
		rom = NULL;
		return false;
	}
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		snprintf(ret_why, cap_bytes, "/dev/kvm: %s", strerrordesc_np(errno));
		return false;
	}
	const char *const words[] = { "qemu-system-x86_64",
				      "-nodefaults",
				      "-no-user-config",
				      "-display",
				      "none",
				      "-machine",
				      "q35",
				      "-accel",
				      "kvm",
				      "-cpu",
				      "host",
				      "-m",
				      "16",
				      "-bios",
				      rom,
				      "-device",
				      "isa-debug-exit,iobase=0xf4,iosize=1" };
	for (size_t i = 0; i < TL_ARRAY_SIZE(words); i++)
		if (tl_strv_add(&argv, words[i]) < 0)
			return false;
	if (rom_write(rom) < 0 || child_run(&spec, PROBE_LIMIT_MS, &status, &err) < 0)
		snprintf(ret_why, cap_bytes, "KVM can't be tried, or runs a guest without end");
	else if (status != ANSWER_STATUS)
		snprintf(ret_why, cap_bytes,
			 "/dev/kvm is there, but a guest of five instructions "
			 "doesn't run");
	else
		*ret_why = '\0';
	unlink(rom);
	return !*ret_why;
}
