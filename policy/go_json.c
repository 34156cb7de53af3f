/* SPDX-License-Identifier: Apache-2.0 */
#include "go_json.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <teelaunch/buf.h>
#include <teelaunch/json_scan.h>

#define REPLACEMENT_UTF8   "\xef\xbf\xbd"
#define REPLACEMENT_ESCAPE "\\ufffd"

struct scan {
	const char *text;
	size_t n;
	size_t at;
	struct tl_buf out;
	const char *what; /* set when the text can't be JSON */
};

static int scan_fault(struct scan *s, const char *what)
{
	s->what = what;
	return -EINVAL;
}

static int copy_bytes(struct scan *s, size_t n)
{
	int r = tl_buf_append(&s->out, s->text + s->at, n);

	s->at += n;
	return r;
}

/* @i is the byte after the opening quote; returns that of the closing one, or n. */
static size_t string_end(const struct scan *s, size_t i)
{
	while (i < s->n && s->text[i] != '"')
		i += s->text[i] == '\\' ? 2 : 1;
	return i < s->n ? i : s->n;
}

static bool is_key_before(const struct scan *s, size_t i)
{
	while (i < s->n && strchr(" \t\r\n", s->text[i]) && s->text[i])
		i++;
	return i < s->n && s->text[i] == ':';
}

/* The code unit of the \uXXXX at @at, or -1. */
static int code_unit(const struct scan *s, size_t at, size_t end)
{
	int unit = 0;

	if (at + 6 > end || s->text[at] != '\\' || s->text[at + 1] != 'u')
		return -1;
	for (size_t i = at + 2; i < at + 6; i++) {
		int c = (unsigned char)s->text[i];

		if (!isxdigit(c))
			return -1;
		unit = unit * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return unit;
}

static int copy_escape(struct scan *s, size_t end, bool is_key)
{
	int unit = code_unit(s, s->at, end), next;

	if (unit < 0)
		return copy_bytes(s, 2); /* jansson judges the short escapes */
	if (unit >= 0xd800 && unit <= 0xdfff) {
		next = code_unit(s, s->at + 6, end);
		if (unit < 0xdc00 && next >= 0xdc00 && next <= 0xdfff)
			return copy_bytes(s, 12);
	} else if (unit || !is_key) {
		return copy_bytes(s, 6);
	}
	s->at += 6;
	return tl_buf_append_str(&s->out, REPLACEMENT_ESCAPE);
}

static int copy_character(struct scan *s, size_t end)
{
	size_t left = end - s->at;

	for (size_t len = 1; len <= 4 && len <= left; len++)
		if (tl_utf8_is_valid(s->text + s->at, len))
			return copy_bytes(s, len);
	s->at++;
	return tl_buf_append_str(&s->out, REPLACEMENT_UTF8);
}

static int copy_string(struct scan *s)
{
	size_t end = string_end(s, s->at + 1);
	bool is_key;
	int r = 0;

	if (end == s->n)
		return scan_fault(s, "a string without an end");
	is_key = is_key_before(s, end + 1);
	r = copy_bytes(s, 1);
	while (!r && s->at < end) {
		unsigned char c = (unsigned char)s->text[s->at];

		if (c < 0x20)
			return scan_fault(s, "a control character in a string");
		r = c == '\\' ? copy_escape(s, end, is_key) : copy_character(s, end);
	}
	return r ? r : copy_bytes(s, 1);
}

static size_t skip_digits(const struct scan *s, size_t i)
{
	while (i < s->n && s->text[i] >= '0' && s->text[i] <= '9')
		i++;
	return i;
}

static bool has_byte(const struct scan *s, size_t i, const char *set)
{
	return i < s->n && s->text[i] && strchr(set, s->text[i]);
}

/* RFC 8259 section 6. */
static int copy_number(struct scan *s)
{
	size_t i = s->at + (s->text[s->at] == '-'), from = i;

	i = has_byte(s, i, "0") ? i + 1 : skip_digits(s, i);
	if (i == from)
		return scan_fault(s, "a minus sign without a number");
	if (has_byte(s, i, ".")) {
		from = i + 1;
		i = skip_digits(s, from);
		if (i == from)
			return scan_fault(s, "a number that ends in a point");
	}
	if (has_byte(s, i, "eE")) {
		from = i + 1 + has_byte(s, i + 1, "+-");
		i = skip_digits(s, from);
		if (i == from)
			return scan_fault(s, "a number without its exponent");
	}
	if (has_byte(s, i, "0123456789"))
		return scan_fault(s, "a number with a leading zero");
	s->at = i;
	return tl_buf_append_str(&s->out, "0");
}

static int copy_token(struct scan *s)
{
	char c = s->text[s->at];

	if (c == '"')
		return copy_string(s);
	if (c == '-' || (c >= '0' && c <= '9'))
		return copy_number(s);
	if (!isprint((unsigned char)c) && !(c && strchr("\t\r\n", c)))
		return scan_fault(s, "a byte that JSON has in strings only");
	return copy_bytes(s, 1);
}

bool json_is_no_memory(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);

	return code == json_error_out_of_memory || code == json_error_unknown;
}

static int decode(struct scan *s, json_t **ret)
{
	json_error_t error = { 0 }; /* jansson leaves the code alone when memory runs out */
	json_t *json;

	json = json_loadb(tl_buf_str(&s->out), s->out.len_bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL,
			  &error);
	if (!json && json_is_no_memory(&error))
		return -ENOMEM;
	if (!json) {
		s->at = error.position > 0 ? (size_t)error.position : 0;
		if (s->at > s->n)
			s->at = s->n;
		return scan_fault(s, s->n ? "something that JSON doesn't allow there" : "no text");
	}
	*ret = json;
	return 0;
}

int go_json_load(const char *text, size_t n, json_t **ret, struct go_json_fault *fault)
{
	struct scan s = { .text = text, .n = n };
	int r = 0;

	s.what = tl_json_scan(text, n, &s.at);
	if (s.what) {
		*fault = (struct go_json_fault){ .what = s.what, .offset = s.at };
		return -EINVAL;
	}
	/* One bad byte becomes three; nothing else grows. */
	tl_buf_init(&s.out, 3 * n + 1);
	while (!r && s.at < n)
		r = copy_token(&s);
	if (!r)
		r = decode(&s, ret);
	tl_buf_done(&s.out);
	if (s.what)
		*fault = (struct go_json_fault){ .what = s.what, .offset = s.at };
	return r;
}

static int add_element(const json_t *element, struct tl_strv *list, const char **ret_what)
{
	const char *s = json_typeof(element) == JSON_NULL ? "" : json_string_value(element);

	if (!s) {
		*ret_what = "an element that is not a string";
		return -EINVAL;
	}
	if (json_typeof(element) == JSON_STRING && strlen(s) != json_string_length(element)) {
		*ret_what = "a NUL character in an element";
		return -EINVAL;
	}
	return tl_strv_add(list, s);
}

int go_json_strings(const char *text, size_t max, struct tl_strv *ret, const char **ret_what)
{
	auto_strv struct tl_strv list = { 0 };
	json_auto_t *json = NULL;
	struct go_json_fault fault = { 0 };
	int r = go_json_load(text, strlen(text), &json, &fault);

	if (r == -EINVAL)
		*ret_what = fault.what;
	if (r)
		return r;
	if (json_typeof(json) != JSON_ARRAY && json_typeof(json) != JSON_NULL) {
		*ret_what = "something other than an array";
		return -EINVAL;
	}
	if (json_array_size(json) > max) {
		*ret_what = "more elements than a launch may have";
		return -EINVAL;
	}
	for (size_t i = 0; i < json_array_size(json); i++) {
		r = add_element(json_array_get(json, i), &list, ret_what);
		if (r)
			return r;
	}
	*ret = list;
	list = (struct tl_strv){ 0 };
	return 0;
}
