/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI runtime specification of the workload (runtime-spec 1.2.0, config.md, config-linux.md),
 * from what the author, the operator and the launcher decided. Pure: no file, clock or environment
 * is read.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/image_config.h>
#include <teelaunch/launch_spec.h>
#include <teelaunch/str.h>

/* Where the workload finds the token and the launcher's socket. */
#define OCI_SHARED_DESTINATION "/run/container_launcher/"

#define OCI_GROUPS_MAX 1024

/** The limit on open files that the specification gives, of what can be given; 0: anything. */
uint64_t oci_nofile(uint64_t limit);

/* Who the workload's first process is. */
struct oci_user {
	uint32_t uid;
	uint32_t gid;
	uint32_t groups[OCI_GROUPS_MAX]; /* supplementary; holds gid too */
	size_t groups_n;
};

/* Everything is borrowed. */
struct oci_input {
	const struct tl_image_config *image;
	const struct tl_launch_spec *spec;
	const struct oci_user *user;
	const char *hostname;     /* the kernel's; becomes HOSTNAME */
	const char *shared_dir;   /* host directory, mounted read-only at OCI_SHARED_DESTINATION */
	uint64_t nofile_limit;    /* most open files that can be given; 0: as many as wanted */
	const char *cgroups_path; /* "/default/tee-container" */
};

/**
 * Arguments and environment of the workload's process: what is measured, and, byte for byte and in
 * this order, what the specification says.
 *
 * TL_E_CONTAINER_ARGS: no program, or only the operator's words to run. TL_E_CONTAINER_INPUT: a
 * text that isn't UTF-8. Both denied; outputs are set on success only. @ret_env may hold secrets.
 */
int oci_process(const struct tl_image_config *image, const struct tl_launch_spec *spec,
		const char *hostname, struct tl_strv *ret_args, struct tl_strv *ret_env,
		struct tl_error *err);

/**
 * The whole specification as JSON text. Fails as oci_process() does, and with TL_E_CONTAINER_INPUT
 * for a working directory that isn't absolute. @ret is owned by the caller and may hold secrets:
 * wipe it.
 */
int oci_spec_build(const struct oci_input *in, char **ret, struct tl_error *err);

/**
 * The "process" of such a specification with other arguments: one more process of the container,
 * with the same user, rights and environment. @ret as above. TL_E_NO_MEMORY.
 */
int oci_exec_build(const char *spec_json, const struct tl_strv *args, char **ret,
		   struct tl_error *err);
