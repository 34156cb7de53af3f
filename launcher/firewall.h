/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may come in from the network: replies, and new connections to the ports that are open. One
 * nftables table of our own, for IPv4 and IPv6, replaced as a whole in one transaction (nft(8));
 * tables of others stay, and can only forbid more. Needs CAP_NET_ADMIN in the network namespace.
 *
 * Always let in: the loopback interface, replies and the errors that belong to them, neighbour and
 * router discovery of IPv6 (RFC 4861), what multicast routers ask (RFC 2710), DHCPv6 (RFC 8415).
 * DHCP of IPv4 is read below the packet filter. Nothing is forwarded. What goes out is not
 * restricted.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>
#include <teelaunch/image_config.h>
#include <teelaunch/str.h>

#define FIREWALL_TABLE "inet teelaunch"
/* The largest rule set: every port of both protocols. */
#define FIREWALL_RULES_BYTES_MAX (1024 * 1024)
/* In a list of ports on a command line. */
#define FIREWALL_LIST_MAX 64

/**
 * Ports out of "22/tcp,53/udp", as they stand on a unit's command line.
 *
 * @ret  the caller calls tl_strv_done(); keys that tl_port_parse() takes. Set on success only.
 * Returns 0, -EINVAL, -E2BIG, or -ENOMEM. Pure.
 */
int firewall_list_parse(const char *text, struct tl_strv *ret);

/**
 * The rule set as text for nft. @open: @n lists of keys as in ExposedPorts ("80/tcp"), each of
 * which tl_port_parse() takes; a port may be named more than once. NULL: an empty list.
 *
 * @ret  initialised by the caller with FIREWALL_RULES_BYTES_MAX
 * Returns 0, -EINVAL for a key that is none, or -ENOMEM. Pure.
 */
int firewall_rules(const struct tl_strv *const *open, size_t n, struct tl_buf *ret,
		   struct tl_error *err);

/**
 * Put the rules for these ports in place of those that are there: all of them, or none. Blocks for
 * the kernel's answer. TL_E_FIREWALL.
 */
int firewall_set(const struct tl_strv *const *open, size_t n, struct tl_error *err);
