/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image configuration: OCI image specification 1.1, config.md; Docker's
 * application/vnd.docker.container.image.v1+json has the same fields. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

#define TL_IMAGE_CONFIG_BYTES_MAX (4 * 1024 * 1024) /* as manifests */
#define TL_IMAGE_CONFIG_LIST_MAX  4096              /* elements of any list or map in it */

/*
 * Healthcheck of Docker's image specification 1.2, which OCI's has no word for. In nanoseconds, 0:
 * not said.
 */
struct tl_healthcheck {
	struct tl_strv test; /* "NONE"; or "CMD" and arguments; or "CMD-SHELL" and a line */
	uint64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
	uint64_t retries; /* 0: not said */
};

struct tl_image_config {
	struct tl_strv env; /* "NAME=VALUE", as the author wrote them */
	struct tl_strv entrypoint;
	struct tl_strv cmd;
	char *working_dir;            /* "" if absent */
	char *user;                   /* "" if absent */
	struct tl_kvs labels;         /* sorted by name */
	struct tl_strv exposed_ports; /* keys of ExposedPorts, sorted */
	struct tl_healthcheck healthcheck;
	char *os;
	char *architecture;
	char *variant;           /* "" if absent */
	struct tl_strv diff_ids; /* rootfs.diff_ids, in order */
};

/**
 * Read @n bytes of JSON. Duplicate keys, a known key in another case, wrong types, and NUL in a
 * string are refused: another reader could take them differently.
 *
 * @ret  set on success only; the caller calls tl_image_config_done()
 * Returns 0, -EINVAL (TL_E_IMAGE_CONFIG, denied), or -ENOMEM.
 */
int tl_image_config_parse(const char *text, size_t n, struct tl_image_config *ret,
			  struct tl_error *err);
void tl_image_config_done(struct tl_image_config *config);
#define auto_image_config __attribute__((cleanup(tl_image_config_done)))

/**
 * Read a JSON object of label -> string, as `teelaunch explain --labels` takes it; same rules.
 * @ret  sorted by name; set on success only
 */
int tl_labels_parse(const char *text, size_t n, struct tl_kvs *ret, struct tl_error *err);

struct tl_port {
	uint16_t number;
	bool is_udp; /* else TCP */
};

/* Why a key of ExposedPorts isn't "<port>/<tcp|udp>". */
enum tl_port_fault {
	TL_PORT_OK,
	TL_PORT_FORMAT,   /* not exactly one slash */
	TL_PORT_NUMBER,   /* not decimal, or above 65535 */
	TL_PORT_PROTOCOL, /* neither tcp nor udp */
};

/** @ret is set on TL_PORT_OK only. */
enum tl_port_fault tl_port_parse(const char *key, struct tl_port *ret);
/** "port-format", "port-number", "port-protocol"; NULL for TL_PORT_OK. */
const char *tl_port_fault_category(enum tl_port_fault fault);
