/*
 * From text to values: each option by its type, with its unit and range, and its
 * default where the file says nothing.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "common/cluster_inner.h"
#include "common/log.h"

#define HOST_MAX 255 /* bytes, RFC 1035 */

/* One option on its way. */
struct value {
	const struct w__load *load;
	struct w__place place;
	const struct w_option_info *info;
	enum w__type type;
	struct w_view text;
	void *to;
};

#define value_fail(value, err, fmt, ...)                                                           \
	w__load_fail((value)->load, &(value)->place, err, fmt, __VA_ARGS__)

static int
fail_wanted(const struct value *value, int err)
{
	char quoted[80];

	return value_fail(value, err, "is %s, wanted is %s",
	    w_log_quote(value->text, quoted, sizeof(quoted)), w__wanted[value->type]);
}

static int
load_number(const struct value *value)
{
	char quoted[80], min[32], max[32];
	uint64_t number;
	int rc;

	rc = w__number_parse(value->type, value->text, &number);
	if (rc == -W_EINVAL)
		return fail_wanted(value, rc);
	if (rc < 0 || number < (uint64_t)value->info->min || number > (uint64_t)value->info->max) {
		w__number_format(value->type, (uint64_t)value->info->min, min, sizeof(min));
		w__number_format(value->type, (uint64_t)value->info->max, max, sizeof(max));
		return value_fail(value, -W_ERANGE, "is %s, wanted is %s to %s",
		    w_log_quote(value->text, quoted, sizeof(quoted)), min, max);
	}
	/* uint64_t and w_usec have one size, and the ranges end below the sign */
	memcpy(value->to, &number, sizeof(number));
	return W_OK;
}

static int
load_flag(const struct value *value)
{
	bool *to = value->to;

	*to = w_view_eq(value->text, W_VIEW("true"));
	if (!*to && !w_view_eq(value->text, W_VIEW("false")))
		return fail_wanted(value, -W_EINVAL);
	return W_OK;
}

static int
check_bytes(const struct value *value)
{
	for (size_t i = 0; i < value->text.len; i++)
		if ((unsigned char)value->text.ptr[i] < 0x20 || value->text.ptr[i] == 0x7f)
			return value_fail(value, -W_EINVAL,
			    "holds a control byte (0x%02x), wanted is one line of text",
			    (unsigned char)value->text.ptr[i]);
	return W_OK;
}

static int
load_text(const struct value *value)
{
	const char **to = value->to;

	*to = w_arena_copy(value->load->arena, value->text).ptr;
	return W_OK;
}

static int
load_file(const struct value *value)
{
	const char **to = value->to, *dir = value->load->cluster->dir;

	if (value->text.len == 0 || value->text.ptr[0] == '/')
		return load_text(value);
	*to = w_arena_printf(value->load->arena, "%s%s%.*s", dir,
	    dir[strlen(dir) - 1] == '/' ? "" : "/", W_VIEW_ARG(value->text));
	return W_OK;
}

static int
load_addr(const struct value *value)
{
	char host[HOST_MAX + 1];
	unsigned port;

	if (value->text.len != 0 &&
	    w_addr_split(value->text.ptr, host, sizeof(host), &port) < 0)
		return fail_wanted(value, -W_EINVAL);
	return load_text(value);
}

static int (*const loads[W__TYPE_COUNT])(const struct value *) = {
	[W__TYPE_uint] = load_number,
	[W__TYPE_usec] = load_number,
	[W__TYPE_bytes] = load_number,
	[W__TYPE_flag] = load_flag,
	[W__TYPE_text] = load_text,
	[W__TYPE_file] = load_file,
	[W__TYPE_addr] = load_addr,
};

static int
load_list(struct value *value, const struct w__texts *texts)
{
	struct w_strings *to = value->to;
	int rc;

	to->count = texts->count;
	to->items = w_arena_zero(value->load->arena, (to->count + 1) * sizeof(*to->items));
	for (size_t i = 0; i < to->count; i++) {
		value->place.item = (int)i;
		value->text = w_view_of(texts->items[i]);
		if (value->text.len == 0)
			return value_fail(value, -W_EINVAL, "%s",
			    "is empty; write something or take it out");
		rc = check_bytes(value);
		if (rc < 0)
			return rc;
		to->items[i] = w_arena_copy(value->load->arena, value->text).ptr;
	}
	return W_OK;
}

/* raw is what the file says, NULL for nothing. */
static int
load_one(struct value *value, const char *raw)
{
	int rc;

	/* whether "" or null was written with quotes, and so is meant, only the tree knows */
	if (raw != NULL && strlen(raw) <= sizeof("null") - 1 &&
	    w__tree_null(value->load->tree, &value->place))
		return value_fail(value, -W_EINVAL,
		    "has no value, wanted is %s; or leave the line out for the default, \"%s\"",
		    w__wanted[value->type], value->info->def);
	value->text = w_view_of(raw != NULL ? raw : value->info->def);
	rc = check_bytes(value);
	return rc < 0 ? rc : loads[value->type](value);
}

int
w__values_load(const struct w__load *load, enum w__section_id id, int index, const void *raw,
    void *opt)
{
	const struct w__section *section = &w__sections[id];
	char *const *text;
	int rc;

	for (size_t i = 0; i < section->count; i++) {
		const struct w__slot *slot = &section->slots[i];
		struct value value = {
			.load = load,
			.place = { section->key, index, section->infos[i].key, -1 },
			.info = &section->infos[i],
			.type = slot->type,
			.to = (char *)opt + slot->opt,
		};

		text = (const void *)((const char *)raw + slot->raw);
		if (slot->type == W__TYPE_list)
			rc = load_list(&value, (const void *)text);
		else
			rc = load_one(&value, *text);
		if (rc < 0)
			return rc;
	}
	return W_OK;
}

static bool
is_host(struct w_view host)
{
	char c;

	for (size_t i = 0; i < host.len; i++) {
		c = host.ptr[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
			return false;
	}
	return host.len > 0 && host.len <= HOST_MAX;
}

/* An IPv6 address without its brackets; "%eth0" may follow it. */
static bool
is_v6(struct w_view host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	size_t end = w_view_find(host, '%');

	if (w_view_copy(w_view_sub(host, 0, end), text, sizeof(text)) < 0 ||
	    inet_pton(AF_INET6, text, &in6) != 1)
		return false;
	return end == host.len || is_host(w_view_sub(host, end + 1, host.len));
}

int
w_addr_split(const char *addr, char *host, size_t size, unsigned *ret_port)
{
	struct w_view text = w_view_of(addr), name;
	uint64_t port;
	size_t colon;

	if (text.len > 0 && text.ptr[0] == '[') {
		colon = w_view_find(text, ']') + 1;
		name = w_view_sub(text, 1, colon - 2);
		if (colon >= text.len || !is_v6(name))
			return -W_EINVAL;
	} else {
		colon = w_view_find(text, ':');
		name = w_view_sub(text, 0, colon);
		if (!is_host(name))
			return -W_EINVAL;
	}
	if (colon >= text.len || text.ptr[colon] != ':' ||
	    w_view_u64(w_view_sub(text, colon + 1, text.len), 65535, &port) < 0 ||
	    w_view_copy(name, host, size) < 0)
		return -W_EINVAL;
	*ret_port = (unsigned)port;
	return W_OK;
}

int
w_addr_zmq(const char *addr, unsigned add, char *to, size_t size)
{
	char host[HOST_MAX + 1];
	unsigned port;
	int rc, len;

	rc = w_addr_split(addr, host, sizeof(host), &port);
	if (rc < 0)
		return rc;
	if (add > 65535 - port)
		return -W_ERANGE;
	len = snprintf(to, size, strchr(host, ':') != NULL ? "tcp://[%s]:%u" : "tcp://%s:%u", host,
	    port + add);
	return len < 0 || (size_t)len >= size ? -W_ERANGE : W_OK;
}
