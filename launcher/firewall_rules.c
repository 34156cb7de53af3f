/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#define PORTS 65536

/* One bit a port. */
struct port_set {
	uint8_t bits[PORTS / 8];
};

static bool has_port(const struct port_set *set, size_t port)
{
	return set->bits[port / 8] & 1U << port % 8;
}

int firewall_list_parse(const char *text, struct tl_strv *ret)
{
	auto_strv struct tl_strv list = { 0 };
	const char *end;

	for (;; text = end + 1) {
		auto_free char *key = NULL;
		struct tl_port port;

		end = strchrnul(text, ',');
		key = strndup(text, (size_t)(end - text));
		if (!key)
			return -ENOMEM;
		if (tl_port_parse(key, &port) != TL_PORT_OK)
			return -EINVAL;
		if (list.n == FIREWALL_LIST_MAX)
			return -E2BIG;
		if (tl_strv_add(&list, key) < 0)
			return -ENOMEM;
		if (!*end)
			break;
	}
	*ret = list;
	list = (struct tl_strv){ 0 };
	return 0;
}

static int ports_add(struct port_set *tcp, struct port_set *udp, const struct tl_strv *keys,
		     struct tl_error *err)
{
	for (size_t i = 0; keys && i < keys->n; i++) {
		struct tl_port port;

		if (tl_port_parse(keys->items[i], &port) != TL_PORT_OK)
			return tl_fail(err, TL_E_FIREWALL, EINVAL,
				       "'%s' is not NUMBER/tcp or NUMBER/udp", keys->items[i]);
		(port.is_udp ? udp : tcp)->bits[port.number / 8] |=
			(uint8_t)(1U << port.number % 8);
	}
	return 0;
}

/* As ranges where ports follow one another: nft merges none by itself. An empty list of elements
 * isn't nft's grammar. */
static int set_append(struct tl_buf *b, const char *name, const struct port_set *set)
{
	const char *before = "\t\telements = { ";
	int r = tl_buf_printf(b, "\tset %s {\n\t\ttype inet_service\n\t\tflags interval\n", name);

	for (size_t from = 0, to; r == 0 && from < PORTS; from = to + 1) {
		to = from;
		if (!has_port(set, from))
			continue;
		while (to + 1 < PORTS && has_port(set, to + 1))
			to++;
		r = to > from ? tl_buf_printf(b, "%s%zu-%zu", before, from, to)
			      : tl_buf_printf(b, "%s%zu", before, from);
		before = ", ";
	}
	if (r == 0 && *before == ',')
		r = tl_buf_append_str(b, " }\n");
	return r < 0 ? r : tl_buf_append_str(b, "\t}\n");
}

/* The first two lines make sure that there is a table to take away, in the same transaction. */
static const char head[] = "add table " FIREWALL_TABLE "\n"
			   "delete table " FIREWALL_TABLE "\n"
			   "table " FIREWALL_TABLE " {\n";

/* Router advertisements come from link-local addresses with hop limit 255, which nobody can send
 * through a router (RFC 4861, section 6.1.2). */
static const char chains[] =
	"\tchain input {\n"
	"\t\ttype filter hook input priority filter; policy drop;\n"
	"\t\tiifname \"lo\" accept\n"
	"\t\tct state established,related accept\n"
	"\t\tip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, "
	"nd-neighbor-advert } accept\n"
	"\t\tip6 saddr fe80::/10 icmpv6 type mld-listener-query accept\n"
	"\t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept\n"
	"\t\ttcp dport @tcp_open accept\n"
	"\t\tudp dport @udp_open accept\n"
	"\t}\n"
	"\tchain forward {\n"
	"\t\ttype filter hook forward priority filter; policy drop;\n"
	"\t}\n"
	"}\n";

int firewall_rules(const struct tl_strv *const *open, size_t n, struct tl_buf *ret,
		   struct tl_error *err)
{
	struct port_set tcp = { 0 }, udp = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = ports_add(&tcp, &udp, open[i], err);
	if (r < 0)
		return r;
	r = tl_buf_append_str(ret, head);
	if (r == 0)
		r = set_append(ret, "tcp_open", &tcp);
	if (r == 0)
		r = set_append(ret, "udp_open", &udp);
	if (r == 0)
		r = tl_buf_append_str(ret, chains);
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, -r, "rules of the firewall") : 0;
}
