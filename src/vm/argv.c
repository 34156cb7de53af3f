/* SPDX-License-Identifier: Apache-2.0 */
#include "argv.h"

#include <errno.h>
#include <string.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

/* qemu's option syntax splits at commas; a doubled one stands for itself. */
static char *path_quote(const char *path)
{
	auto_buf struct tl_buf b = { 0 };
	int r;

	tl_buf_init(&b, 2 * strlen(path) + 1);
	r = tl_buf_append_str(&b, "");
	for (; !r && *path; path++)
		r = tl_buf_append(&b, *path == ',' ? ",," : path, *path == ',' ? 2 : 1);
	return r ? NULL : tl_buf_take_str(&b);
}

static int add_all(struct tl_strv *v, const char *const *words)
{
	int r = 0;

	for (; !r && *words; words++)
		r = tl_strv_add(v, *words);
	return r;
}

/* "NAME" and "BEFORE<path>AFTER", as two arguments. */
static int add_with_path(struct tl_strv *v, const char *name, const char *before, const char *path,
			 const char *after)
{
	auto_free char *quoted = path_quote(path);

	if (!quoted || tl_strv_add(v, name) < 0)
		return -ENOMEM;
	return tl_strv_printf(v, "%s%s%s", before, quoted, after);
}

static int add_pair(struct tl_strv *v, const char *name, const char *format, long long number)
{
	auto_buf struct tl_buf b = { 0 };
	int r;

	tl_buf_init(&b, 256);
	r = tl_buf_append_str(&b, format);
	if (!r)
		r = tl_buf_printf(&b, "%lld", number);
	if (!r)
		r = tl_strv_add(v, name);
	return r ? r : tl_strv_add(v, tl_buf_str(&b));
}

/*
 * One virtual CPU also under KVM: the same machine everywhere, so that the same firmware measures
 * the same. (Two of them under TCG hang now and then in the kernel's own code patching.) What the
 * guest could reach in qemu is confined by its own filter of system calls.
 */
static int add_board(const struct vm_machine *m, struct tl_strv *v)
{
	static const char *const common[] = {
		"qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-smp", "1", "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		/* How images recognise Google Compute Engine. */
		"-smbios", "type=1,manufacturer=Google,product=Google Compute Engine", NULL
	};
	const char *const machine[] = { "-machine", m->is_secure_boot ? "q35,smm=on" : "q35",
					"-accel",   m->is_kvm ? "kvm" : "tcg,thread=multi",
					"-cpu",     m->is_kvm ? "host" : "max",
					NULL };
	static const char *const secure[] = { "-global",
					      "driver=cfi.pflash01,property=secure,value=on",
					      NULL };
	int r = add_all(v, common);

	if (!r)
		r = add_all(v, machine);
	if (!r && m->is_secure_boot)
		r = add_all(v, secure);
	return r ? r : add_pair(v, "-m", "", (long long)m->memory_mb);
}

static int add_disks(const struct vm_machine *m, struct tl_strv *v)
{
	const struct {
		const char *before, *path, *after;
	} drives[] = {
		{ "if=pflash,unit=0,format=raw,readonly=on,file=", m->firmware, "" },
		{ "if=pflash,unit=1,format=raw,file=", m->vars, "" },
		{ "if=none,id=boot,format=raw,readonly=on,file=", m->image, "" },
		{ "if=none,id=data,format=raw,cache=unsafe,discard=unmap,file=", m->data, "" },
	};
	static const char *const devices[] = {
		"-device", "virtio-blk-pci,drive=boot,serial=teelaunch-boot,bootindex=1", "-device",
		"virtio-blk-pci,drive=data,serial=teelaunch-data", NULL
	};
	int r = 0;

	for (size_t i = 0; !r && i < TL_ARRAY_SIZE(drives); i++)
		r = add_with_path(v, "-drive", drives[i].before, drives[i].path, drives[i].after);
	return r ? r : add_all(v, devices);
}

static int add_channels(const struct vm_machine *m, struct tl_strv *v)
{
	static const char *const devices[] = {
		"-mon", "chardev=qmp,mode=control", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
		"-device", "tpm-crb,tpmdev=tpm0", "-chardev", "stdio,id=console,signal=off",
		"-serial", "chardev:console", "-device", "virtio-rng-pci",
		/* host= is the address of this side; no boot ROM: nothing boots from the net. */
		"-netdev", "user,id=net0,net=169.254.0.0/16,host=169.254.169.254,ipv6=off",
		"-device", "virtio-net-pci,netdev=net0,romfile=", NULL
	};
	int r = add_pair(v, "-chardev", "socket,id=qmp,fd=", m->qmp_fd);

	if (!r)
		r = add_pair(v, "-chardev", "socket,id=tpm,fd=", m->tpm_fd);
	if (!r)
		r = add_all(v, devices);
	if (!r && m->qmp)
		r = add_with_path(v, "-chardev", "socket,id=qmp2,path=", m->qmp,
				  ",server=on,wait=off");
	if (!r && m->qmp)
		r = add_all(v, (const char *const[]){ "-mon", "chardev=qmp2,mode=control", NULL });
	return r;
}

int vm_qemu_argv(const struct vm_machine *m, struct tl_strv *ret)
{
	int r = add_board(m, ret);

	if (!r)
		r = add_disks(m, ret);
	if (!r)
		r = add_channels(m, ret);
	if (!r && m->incoming_fd >= 0)
		r = add_pair(ret, "-incoming", "fd:", m->incoming_fd);
	return r;
}

int vm_swtpm_argv(const char *state, const char *log, int tpm_fd, struct tl_strv *ret)
{
	static const char *const first[] = { "swtpm", "socket", "--tpm2", "--terminate", NULL };
	int r = add_all(ret, first);

	if (!r)
		r = tl_strv_add(ret, "--tpmstate");
	if (!r)
		r = tl_strv_printf(ret, "dir=%s", state);
	if (!r)
		r = tl_strv_add(ret, "--log");
	if (!r)
		r = tl_strv_printf(ret, "file=%s,level=1", log);
	return r ? r : add_pair(ret, "--ctrl", "type=unixio,clientfd=", tpm_fd);
}

int vm_swtpm_setup_argv(const char *state, const char *config, const char *log, struct tl_strv *ret)
{
	const char *const words[] = { "swtpm_setup", "--tpm2", "--tpmstate",  state,
				      "--config",    config,   "--logfile",   log,
				      "--pcr-banks", "sha256", "--overwrite", NULL };

	return add_all(ret, words);
}
