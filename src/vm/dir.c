/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "argv.h"
#include "child.h"
#include "run.h"

#define VARS_MAX_BYTES (16 * 1024 * 1024)
#define SETUP_LIMIT_MS 60000
#define WALK_FDS       1 /* descriptors may be what there is too few of */
#define REMOVE_TRIES   2
#define TPM_STATE_FILE "tpm2-00.permall"

static int path_of(const char *dir, const char *name, char **ret)
{
	if (asprintf(ret, "%s/%s", dir, name) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

static int dir_make(struct vm_run *run, struct tl_error *err)
{
	const char *tmp = getenv("TMPDIR");
	int r = 0;

	run->is_dir_kept = run->options->dir != NULL;
	if (run->is_dir_kept)
		run->dir = strdup(run->options->dir);
	else
		r = path_of(tl_str_is_empty(tmp) ? "/tmp" : tmp, "teelaunch-vm.XXXXXX", &run->dir);
	if (r < 0 || !run->dir)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "folder of the VM");
	if (run->is_dir_kept ? mkdir(run->dir, 0700) < 0 && errno != EEXIST : !mkdtemp(run->dir)) {
		run->is_dir_kept = true; /* it isn't ours to remove */
		return tl_fail_sys(err, TL_E_IO, errno, "create folder '%s'", run->dir);
	}
	return 0;
}

static int file_copy(const char *from, const char *to, struct tl_error *err)
{
	auto_buf struct tl_buf content = { 0 };
	auto_close int fd = -1;
	int r;

	tl_buf_init(&content, VARS_MAX_BYTES);
	r = tl_file_read(from, &content, err);
	if (r < 0)
		return r;
	fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "create '%s'", to);
	r = tl_write_all(fd, tl_buf_str(&content), content.len_bytes);
	return r < 0 ? tl_fail_sys(err, TL_E_IO, -r, "write '%s'", to) : 0;
}

static int vars_make(struct vm_run *run, struct tl_error *err)
{
	auto_free char *path = NULL;

	if (path_of(run->dir, "vars.fd", &path) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "variables");
	return access(path, F_OK) == 0 ? 0 : file_copy(run->vars, path, err);
}

static int data_make(struct vm_run *run, struct tl_error *err)
{
	auto_free char *path = NULL;
	auto_close int fd = -1;
	struct stat st;

	if (path_of(run->dir, "data.raw", &path) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "data disk");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) < 0 ||
	    (st.st_size == 0 && ftruncate(fd, (off_t)run->options->data_bytes) < 0))
		return tl_fail_sys(err, TL_E_IO, errno, "create '%s'", path);
	return 0;
}

static int text_make(const struct vm_run *run, const char *name, const char *text,
		     struct tl_error *err)
{
	auto_free char *path = NULL;
	auto_close int fd = -1;
	int r;

	if (path_of(run->dir, name, &path) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "%s", name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : tl_write_all(fd, text, strlen(text));
	return r < 0 ? tl_fail_sys(err, TL_E_IO, -r, "write '%s'", path) : 0;
}

/* An empty configuration: else the tool looks for the machine's or the user's own authority. */
static int tpm_setup(struct vm_run *run, struct tl_error *err)
{
	auto_free char *config = NULL, *log = NULL;
	auto_strv struct tl_strv argv = { 0 };
	const struct child_spec spec = { .argv = &argv, .stdout_fd = -1, .stderr_fd = -1 };
	int status = 0, r;

	if (path_of(run->dir, "swtpm_setup.conf", &config) < 0 ||
	    path_of(run->dir, "swtpm_setup.log", &log) < 0 ||
	    vm_swtpm_setup_argv(run->tpm_state, config, log, &argv) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "software TPM");
	if (mkdir(run->tpm_state, 0700) < 0 && errno != EEXIST)
		return tl_fail_sys(err, TL_E_IO, errno, "create '%s'", run->tpm_state);
	r = text_make(run, "swtpm_setup.conf", "", err);
	if (r < 0)
		return r;
	r = child_run(&spec, SETUP_LIMIT_MS, &status, err);
	if (!r && status)
		r = tl_fail(err, TL_E_VM_PROGRAM, ECHILD, "swtpm_setup ended with status %d",
			    status);
	return tl_wrap(err, r, "make a software TPM");
}

static int tpm_make(struct vm_run *run, struct tl_error *err)
{
	auto_free char *state = NULL;

	if (run->options->tpm_state)
		run->tpm_state = strdup(run->options->tpm_state);
	else if (path_of(run->dir, "tpm", &run->tpm_state) < 0)
		run->tpm_state = NULL;
	if (!run->tpm_state || path_of(run->tpm_state, TPM_STATE_FILE, &state) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "software TPM");
	if (access(state, R_OK | W_OK) == 0)
		return 0;
	if (run->options->tpm_state)
		return tl_fail_sys(err, TL_E_IO, errno, "state of a software TPM, '%s'", state);
	return tpm_setup(run, err);
}

int vm_dir_prepare(struct vm_run *run, struct tl_error *err)
{
	int r = dir_make(run, err);

	if (!r)
		r = vars_make(run, err);
	if (!r)
		r = data_make(run, err);
	if (!r)
		r = text_make(run, RESOLV_CONF, "nameserver 127.0.0.1\n", err);
	return r ? r : tpm_make(run, err);
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	remove(path);
	return 0;
}

static bool is_gone(const char *path)
{
	return access(path, F_OK) < 0 && errno == ENOENT;
}

/* Once more: what memory or descriptors were short of may be there again. */
static int dir_remove(const char *dir)
{
	for (int i = 0; i < REMOVE_TRIES && !is_gone(dir); i++)
		(void)nftw(dir, entry_remove, WALK_FDS, FTW_DEPTH | FTW_PHYS);
	return is_gone(dir) ? 0 : -EIO;
}

void vm_dir_done(struct vm_run *run)
{
	if (run->dir && !run->is_dir_kept && dir_remove(run->dir) < 0)
		fprintf(stderr, "teelaunch vm: %s: '%s' is left behind\n",
			tl_catalogue_find(TL_E_IO)->id, run->dir);
	free(take_ptr(run->dir));
	free(take_ptr(run->tpm_state));
}
