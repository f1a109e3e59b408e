/*
 * The JSON reader. See json.h.
 *
 * 1. Depth is counted, not recursed into without bound: a fiber's stack is small.
 * 2. A string is decoded only when it is a name or a value of the outermost object.
 * 3. Members are gathered on the stack (10 KiB) and copied to the arena at the end.
 */
#include "server/json.h"

#include "server/target.h"

struct reader {
	struct w_arena *arena;
	const char *start, *at, *end;
	const char *why;
	int rc;
};

static bool
stop(struct reader *in, int rc, const char *why)
{
	if (in->rc == W_OK) {
		in->rc = rc;
		in->why = why;
	}
	return false;
}

static bool
bad(struct reader *in, const char *why)
{
	return stop(in, -W_EJSON, why);
}

static void
skip_space(struct reader *in)
{
	while (in->at < in->end &&
	    (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
		in->at++;
}

/* The next byte that is no space; NUL at the end. */
static char
peek(struct reader *in)
{
	skip_space(in);
	return in->at < in->end ? *in->at : '\0';
}

static bool
expect(struct reader *in, char c, const char *why)
{
	if (peek(in) != c)
		return bad(in, why);
	in->at++;
	return true;
}

/* ---- strings ---- */

static bool
read_hex4(struct reader *in, unsigned *ret)
{
	unsigned value = 0;

	if (in->end - in->at < 4)
		return bad(in, "a \\u escape is cut off");
	for (unsigned i = 0; i < 4; i++) {
		char c = *in->at;

		if (c >= '0' && c <= '9')
			value = value << 4 | (unsigned)(c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			value = value << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			return bad(in, "a \\u escape holds no hexadecimal digits");
		in->at++;
	}
	*ret = value;
	return true;
}

static bool
read_unicode(struct reader *in, unsigned *ret)
{
	unsigned low;

	if (!read_hex4(in, ret))
		return false;
	if (*ret == 0)
		return bad(in, "text may not hold a NUL");
	if (*ret >= 0xdc00 && *ret <= 0xdfff)
		return bad(in, "a lone surrogate");
	if (*ret < 0xd800 || *ret > 0xdbff)
		return true;
	if (in->end - in->at < 2 || in->at[0] != '\\' || in->at[1] != 'u')
		return bad(in, "a lone surrogate");
	in->at += 2;
	if (!read_hex4(in, &low))
		return false;
	if (low < 0xdc00 || low > 0xdfff)
		return bad(in, "a lone surrogate");
	*ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

static char *
put_utf8(char *to, unsigned code)
{
	if (code < 0x80) {
		*to++ = (char)code;
	} else if (code < 0x800) {
		*to++ = (char)(0xc0 | code >> 6);
		*to++ = (char)(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		*to++ = (char)(0xe0 | code >> 12);
		*to++ = (char)(0x80 | (code >> 6 & 0x3f));
		*to++ = (char)(0x80 | (code & 0x3f));
	} else {
		*to++ = (char)(0xf0 | code >> 18);
		*to++ = (char)(0x80 | (code >> 12 & 0x3f));
		*to++ = (char)(0x80 | (code >> 6 & 0x3f));
		*to++ = (char)(0x80 | (code & 0x3f));
	}
	return to;
}

/* What follows a backslash; to is NULL when nobody wants the text. */
static bool
read_escape(struct reader *in, char **to)
{
	static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *name;
	unsigned code;

	if (in->at == in->end)
		return bad(in, "a string is not closed");
	if (*in->at == 'u') {
		in->at++;
		if (!read_unicode(in, &code))
			return false;
	} else {
		name = *in->at != '\0' ? strchr(names, *in->at) : NULL;
		if (name == NULL)
			return bad(in, "an unknown escape");
		in->at++;
		code = (unsigned char)bytes[name - names];
	}
	if (*to != NULL)
		*to = put_utf8(*to, code);
	return true;
}

/* The end of the string that starts at in->at, as far as quotes tell: room for the decoding. */
static size_t
string_room(const struct reader *in)
{
	const char *at = in->at;

	while (at < in->end && *at != '"')
		at += *at == '\\' && in->end - at > 1 ? 2 : 1;
	return (size_t)(at - in->at);
}

/* A string, its opening quote behind us. ret NULL: only check it. */
static bool
read_string(struct reader *in, struct w_view *ret)
{
	size_t room = string_room(in);
	const char *from = in->at;
	char *to = NULL, *text = NULL;

	/* an escape is never shorter than what it stands for */
	if (ret != NULL) {
		to = text = w_arena_take(in->arena, room + 1);
		if (text == NULL)
			return stop(in, -W_ENOMEM, "");
	}
	if (!srv__utf8_valid((struct w_view){ from, room }))
		return bad(in, "a string is not UTF-8");
	while (in->at < in->end && *in->at != '"') {
		char c = *in->at++;

		if ((unsigned char)c < ' ')
			return bad(in, "a string holds a control byte");
		if (c == '\\') {
			if (!read_escape(in, &to))
				return false;
		} else if (to != NULL) {
			*to++ = c;
		}
	}
	if (in->at == in->end)
		return bad(in, "a string is not closed");
	in->at++;
	if (ret != NULL) {
		*to = '\0';
		*ret = (struct w_view){ text, (size_t)(to - text) };
	}
	return true;
}

/* ---- other values ---- */

static bool
read_digits(struct reader *in)
{
	const char *from = in->at;

	while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
		in->at++;
	return in->at > from || bad(in, "a number lacks digits");
}

static bool
read_number(struct reader *in)
{
	if (*in->at == '-')
		in->at++;
	if (in->at < in->end && *in->at == '0')
		in->at++;
	else if (!read_digits(in))
		return false;
	if (in->at < in->end && *in->at == '.') {
		in->at++;
		if (!read_digits(in))
			return false;
	}
	if (in->at < in->end && (*in->at | 0x20) == 'e') {
		in->at++;
		if (in->at < in->end && (*in->at == '+' || *in->at == '-'))
			in->at++;
		return read_digits(in);
	}
	return true;
}

static bool
read_word(struct reader *in, enum srv_json_type *ret)
{
	static const struct { struct w_view text; enum srv_json_type type; } words[] = {
		{ { "true", 4 }, SRV_JSON_TRUE },
		{ { "false", 5 }, SRV_JSON_FALSE },
		{ { "null", 4 }, SRV_JSON_NULL },
	};
	struct w_view rest = { in->at, (size_t)(in->end - in->at) };

	for (size_t i = 0; i < W_NELEM(words); i++) {
		if (!w_view_starts(rest, words[i].text))
			continue;
		in->at += words[i].text.len;
		*ret = words[i].type;
		return true;
	}
	return bad(in, "a value is wanted here");
}

static bool check_value(struct reader *in, unsigned depth, enum srv_json_type *ret);

/* The inside of a nested object or array: only checked. */
static bool
check_list(struct reader *in, char close, unsigned depth)
{
	enum srv_json_type type;

	if (depth > SRV_JSON_DEPTH)
		return bad(in, "nested too deep");
	if (peek(in) == close) {
		in->at++;
		return true;
	}
	for (;;) {
		if (close == '}') {
			if (!expect(in, '"', "a member's name is wanted here") ||
			    !read_string(in, NULL) || !expect(in, ':', "':' is wanted here"))
				return false;
		}
		if (!check_value(in, depth, &type))
			return false;
		if (peek(in) == close) {
			in->at++;
			return true;
		}
		if (!expect(in, ',', "',' or the closing bracket is wanted here"))
			return false;
	}
}

static bool
check_value(struct reader *in, unsigned depth, enum srv_json_type *ret)
{
	char c = peek(in);

	if (c == '{' || c == '[') {
		in->at++;
		*ret = c == '{' ? SRV_JSON_OBJECT : SRV_JSON_ARRAY;
		return check_list(in, c == '{' ? '}' : ']', depth + 1);
	}
	if (c == '"') {
		in->at++;
		*ret = SRV_JSON_TEXT;
		return read_string(in, NULL);
	}
	if (c == '-' || (c >= '0' && c <= '9')) {
		*ret = SRV_JSON_NUMBER;
		return read_number(in);
	}
	return read_word(in, ret);
}

/* ---- the outermost object ---- */

static bool
read_member(struct reader *in, struct srv_object *object)
{
	struct srv_member *member = &object->members[object->count];
	const char *from;

	if (object->count == SRV_JSON_MEMBERS)
		return bad(in, "too many members");
	if (!expect(in, '"', "a member's name is wanted here") || !read_string(in, &member->name))
		return false;
	if (srv__object_find(object, member->name) != NULL)
		return bad(in, "two members have the same name");
	if (!expect(in, ':', "':' is wanted here"))
		return false;
	skip_space(in);
	from = in->at;
	if (peek(in) == '"') {
		in->at++;
		member->type = SRV_JSON_TEXT;
		if (!read_string(in, &member->value))
			return false;
	} else {
		if (!check_value(in, 1, &member->type))
			return false;
		member->value = (struct w_view){ from, (size_t)(in->at - from) };
	}
	object->count++;
	return true;
}

static bool
read_object(struct reader *in, struct srv_object *object)
{
	if (!expect(in, '{', "the body must be one JSON object"))
		return false;
	if (peek(in) == '}') {
		in->at++;
		return true;
	}
	for (;;) {
		if (!read_member(in, object))
			return false;
		if (peek(in) == '}') {
			in->at++;
			return true;
		}
		if (!expect(in, ',', "',' or '}' is wanted here"))
			return false;
	}
}

int
srv__object_parse(struct w_arena *arena, struct w_view text, struct srv_object *ret,
    const char **ret_why, size_t *ret_at)
{
	struct srv_member members[SRV_JSON_MEMBERS];
	struct srv_object object = { members, 0 };
	struct reader in = { .arena = arena, .why = "" };

	in.start = in.at = text.len > 0 ? text.ptr : "";
	in.end = in.start + text.len;
	if (read_object(&in, &object)) {
		skip_space(&in);
		if (in.at < in.end)
			bad(&in, "something follows the object");
	}
	if (in.rc == W_OK && object.count > 0) {
		object.members = w_arena_take(arena, object.count * sizeof(members[0]));
		if (object.members == NULL)
			in.rc = -W_ENOMEM;
		else
			memcpy(object.members, members, object.count * sizeof(members[0]));
	}
	*ret_why = in.why;
	*ret_at = (size_t)(in.at - in.start);
	if (in.rc == W_OK)
		*ret = object;
	return in.rc;
}

const struct srv_member *
srv__object_find(const struct srv_object *object, struct w_view name)
{
	for (unsigned i = 0; i < object->count; i++)
		if (w_view_eq(object->members[i].name, name))
			return &object->members[i];
	return NULL;
}
