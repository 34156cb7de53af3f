/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch spec: what the operator asks for, read from the instance attributes document
 * (https://cloud.google.com/compute/docs/metadata, `instance/attributes/?recursive=true`).
 * One table row a key. Pure: text in, struct out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/findings.h>
#include <teelaunch/secret.h>
#include <teelaunch/str.h>

#define TL_ATTRIBUTES_BYTES_MAX (512 * 1024) /* Compute Engine's limit for all metadata */
#define TL_SPEC_ENVS_MAX        1024
#define TL_SPEC_ARGS_MAX        4096
#define TL_SPEC_LIST_MAX        1024 /* elements of every other list */

enum tl_restart_policy {
	TL_RESTART_NEVER, /* also what counts when metadata can't be read */
	TL_RESTART_ON_FAILURE,
	TL_RESTART_ALWAYS,
	TL_RESTART_POLICIES
};

enum tl_log_redirect {
	TL_LOG_NOWHERE,
	TL_LOG_SERIAL,
	TL_LOG_CLOUD_LOGGING,
	TL_LOG_EVERYWHERE,
};

/* Ordered: a level includes the ones before it. */
enum tl_monitoring {
	TL_MONITORING_NONE,
	TL_MONITORING_MEMORY_ONLY,
	TL_MONITORING_ALL,
};

#define TL_DEV_SHM_DEFAULT_KB 65536

/* A tmpfs in the container, always mounted with these. */
#define TL_MOUNT_OPTIONS "nosuid", "noexec", "nodev"
struct tl_mount {
	char *destination;   /* absolute and lexically clean: checked, measured and used as is */
	uint64_t size_bytes; /* 0: the kernel's default, half of the memory */
};

struct tl_mounts {
	struct tl_mount *items;
	size_t n;
};

struct tl_launch_spec {
	char *image_ref;    /* verbatim */
	struct tl_strv cmd; /* empty: no override */
	struct tl_kvs envs; /* overrides, sorted by name; values may be secret: never print them */
	enum tl_restart_policy restart_policy;
	enum tl_log_redirect log_redirect;
	enum tl_monitoring monitoring;
	struct tl_strv impersonate_service_accounts;
	struct tl_strv signed_image_repos;
	struct tl_strv added_capabilities; /* "CAP_..." */
	struct tl_mounts mounts;           /* in the order of the key */
	uint64_t dev_shm_size_kb;          /* 0: the default; at most INT64_MAX */
	const char *gca_address;           /* static; "" is the client's default */
	char *ita_region;                  /* NULL: no ITA; else non-empty */
	struct tl_secret ita_api_key;
	bool is_cgroup_ns;
	bool is_gca_refresh_disabled;
	bool is_gpu_driver_wanted;
	uint32_t keys_set; /* bit i: row i of tl_launch_spec_key() was in the document */
	uint32_t
		keys_bad; /* bit i: what row i says was refused; 0 in a spec that may be launched */
};

/* What the image decides about reading the attributes. Zero is the default. */
struct tl_launch_spec_options {
	bool is_ita_off; /* ita-region and ita-api-key are ignored, with a warning */
};

/**
 * Read the attributes document.
 *
 * @text      @n bytes as the server sent them; JSON as Go's encoding/json reads a map of strings
 *            (RFC 8259; last duplicate wins; invalid UTF-8 and lone surrogates become U+FFFD)
 * @options   NULL: the default
 * @ret       set only when 0 is returned; the caller calls tl_launch_spec_done()
 * @findings  gets ALL problems, in the order of the table, and warnings; appended to
 *
 * Returns 0 (there may be warnings), -EINVAL when at least one finding forbids, or -ENOMEM.
 */
int tl_launch_spec_parse(const char *text, size_t n, const struct tl_launch_spec_options *options,
			 struct tl_launch_spec *ret, struct tl_findings *findings);

/**
 * As tl_launch_spec_parse(), but what is refused is also read as far as it can be, so that the rest
 * can be judged too and all reasons told at once.
 *
 * @ret  set when 0 or 1 is returned. At 1 it must not be launched: what couldn't be read is as if
 *       absent, even a required key (@image_ref may be NULL), and is marked in @keys_bad; limits of
 *       numbers may be passed.
 *
 * Returns 0, 1 when at least one finding forbids, or -ENOMEM.
 */
int tl_launch_spec_read(const char *text, size_t n, const struct tl_launch_spec_options *options,
			struct tl_launch_spec *ret, struct tl_findings *findings);
void tl_launch_spec_done(struct tl_launch_spec *spec);

/** Was @key, a row's name, refused when the spec was read? It still asks for what it is for. */
bool tl_launch_spec_is_bad(const struct tl_launch_spec *spec, const char *key);
#define auto_launch_spec __attribute__((cleanup(tl_launch_spec_done)))

/* The spellings of contract and measurement: "Always", "cloud_logging", "memoryOnly". */
const char *tl_restart_policy_name(enum tl_restart_policy policy);
const char *tl_log_redirect_name(enum tl_log_redirect redirect);
const char *tl_monitoring_name(enum tl_monitoring level);

/* A row of the key or label table, for manual pages and --schema. */
struct tl_key_doc {
	const char *name; /* "tee-env-" stands for every key with this prefix */
	const char *type;
	const char *fallback; /* value when the key is absent */
	const char *description;
	const char *governed_by; /* key: suffix of the label that allows it; NULL: none does */
};

/** Row @i of the attribute table, in the order in which problems are reported; NULL past the end.
 */
const struct tl_key_doc *tl_launch_spec_key(size_t i);
