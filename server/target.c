/* The request target. See target.h. */
#include "server/target.h"

/* Continuation bytes that follow lead, and the range of the first of them; 0 for no lead. */
static unsigned
utf8_lead(unsigned char lead, unsigned char *ret_least, unsigned char *ret_most)
{
	*ret_least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*ret_most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 1;
	if (lead >= 0xe0 && lead <= 0xef)
		return 2;
	return lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
}

bool
srv__utf8_valid(struct w_view text)
{
	const unsigned char *at = (const unsigned char *)text.ptr;
	const unsigned char *end = text.len > 0 ? at + text.len : at;
	unsigned char least, most;
	unsigned more;

	while (at < end) {
		if (*at < 0x80) {
			at++;
			continue;
		}
		more = utf8_lead(*at++, &least, &most);
		if (more == 0 || (size_t)(end - at) < more)
			return false;
		if (*at < least || *at > most)
			return false;
		for (at++; --more > 0; at++)
			if ((*at & 0xc0) != 0x80)
				return false;
	}
	return true;
}

bool
srv__is_token(struct w_view text)
{
	static const char extra[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
			continue;
		if (c == '\0' || strchr(extra, c) == NULL)
			return false;
	}
	return text.len > 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int
srv__percent_decode(struct w_arena *arena, struct w_view text, bool plus, struct w_view *ret)
{
	char *to = w_arena_take(arena, text.len + 1);
	size_t len = 0;

	if (to == NULL)
		return -W_ENOMEM;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '%') {
			bool fits = text.len - i > 2;
			int high = fits ? hex_digit(text.ptr[i + 1]) : -1;
			int low = fits ? hex_digit(text.ptr[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -W_EINVAL;
			c = (char)(high << 4 | low);
			i += 2;
			if (c == '\0')
				return -W_EINVAL;
		} else if (plus && c == '+') {
			c = ' ';
		}
		to[len++] = c;
	}
	to[len] = '\0';
	if (!srv__utf8_valid((struct w_view){ to, len }))
		return -W_EINVAL;
	*ret = (struct w_view){ to, len };
	return W_OK;
}

/* Cut "http://authority" off an absolute target. */
static int
split_absolute(struct w_view *raw, struct w_view *ret_authority)
{
	size_t skip, slash;

	if (raw->len >= 7 && w_view_ieq(w_view_sub(*raw, 0, 7), W_VIEW("http://")))
		skip = 7;
	else if (raw->len >= 8 && w_view_ieq(w_view_sub(*raw, 0, 8), W_VIEW("https://")))
		skip = 8;
	else
		return -W_EINVAL;
	*raw = w_view_sub(*raw, skip, raw->len - skip);
	slash = w_view_find(*raw, '/');
	if (slash == 0 || slash == raw->len)
		return -W_EINVAL;
	*ret_authority = w_view_sub(*raw, 0, slash);
	*raw = w_view_sub(*raw, slash, raw->len - slash);
	return W_OK;
}

static bool
is_dots(struct w_view segment)
{
	return w_view_eq(segment, W_VIEW(".")) || w_view_eq(segment, W_VIEW(".."));
}

static size_t
count_byte(struct w_view text, char c)
{
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += text.ptr[i] == c;
	return count;
}

static int
parse_path(struct w_arena *arena, struct srv_target *target, const char **ret_why)
{
	struct w_view rest = w_view_sub(target->path, 1, target->path.len - 1);
	size_t count = 1 + count_byte(rest, '/'), slash;
	int rc;

	target->segments = w_arena_take(arena, count * sizeof(*target->segments));
	if (target->segments == NULL)
		return -W_ENOMEM;
	for (size_t i = 0; i < count; i++) {
		slash = w_view_find(rest, '/');
		rc = srv__percent_decode(arena, w_view_sub(rest, 0, slash), false,
		    &target->segments[i]);
		if (rc < 0) {
			*ret_why = "the path holds a bad percent escape or is not UTF-8";
			return rc;
		}
		if (is_dots(target->segments[i])) {
			*ret_why = "the path holds a dot segment";
			return -W_EINVAL;
		}
		rest = w_view_sub(rest, slash + 1, rest.len);
	}
	target->segment_count = (unsigned)count;
	return W_OK;
}

static int
parse_pair(struct w_arena *arena, struct w_view text, struct srv_pair *ret)
{
	size_t equals = w_view_find(text, '=');
	struct w_view value = w_view_sub(text, equals + 1, text.len);
	int rc;

	rc = srv__percent_decode(arena, w_view_sub(text, 0, equals), true, &ret->name);
	if (rc < 0)
		return rc;
	return srv__percent_decode(arena, value, true, &ret->value);
}

static int
parse_query(struct w_arena *arena, struct srv_target *target, const char **ret_why)
{
	struct w_view rest = target->query, part;
	size_t count = 1 + count_byte(rest, '&');
	int rc;

	*ret_why = "the query holds too many parameters";
	if (count > SRV_QUERY_MAX)
		return -W_EINVAL;
	target->pairs = w_arena_take(arena, count * sizeof(*target->pairs));
	if (target->pairs == NULL)
		return -W_ENOMEM;
	*ret_why = "the query holds a bad percent escape or is not UTF-8";
	for (size_t i = 0; i < count; i++) {
		size_t end = w_view_find(rest, '&');

		part = w_view_sub(rest, 0, end);
		rest = w_view_sub(rest, end + 1, rest.len);
		if (part.len == 0)
			continue;
		rc = parse_pair(arena, part, &target->pairs[target->pair_count]);
		if (rc < 0)
			return rc;
		target->pair_count++;
	}
	return W_OK;
}

int
srv__target_parse(struct w_arena *arena, struct w_view raw, struct srv_target *ret,
    const char **ret_why)
{
	struct srv_target target = { .path = raw };
	size_t mark;
	int rc;

	*ret_why = "the target holds a space, a control byte or a '#'";
	for (size_t i = 0; i < raw.len; i++)
		if ((unsigned char)raw.ptr[i] <= ' ' || raw.ptr[i] == 0x7f || raw.ptr[i] == '#')
			return -W_EINVAL;
	if (w_view_eq(raw, W_VIEW("*"))) {
		*ret = target;
		return W_OK;
	}
	*ret_why = "the target is neither a path nor an http or https address";
	if (raw.len == 0 || (raw.ptr[0] != '/' && split_absolute(&raw, &target.authority) < 0))
		return -W_EINVAL;

	mark = w_view_find(raw, '?');
	target.path = w_view_sub(raw, 0, mark);
	rc = parse_path(arena, &target, ret_why);
	if (rc == W_OK && mark < raw.len) {
		target.query = w_view_sub(raw, mark + 1, raw.len - mark - 1);
		rc = parse_query(arena, &target, ret_why);
	}
	if (rc < 0)
		return rc;
	*ret = target;
	return W_OK;
}
