/*
 * Framing, Host and target of a parsed request: see h1_check.h. Fields that concern only this
 * hop, or that the link carries by themselves, are taken out of the list.
 */
#include "balancer/h1_check.h"
#include "balancer/text.h"

#define KEY_MAX 255 /* docs/protocol/03-promises.md, 2 */

struct judge {
	struct bal_h1_request *request;
	struct w_view host, coding, length;
	unsigned hosts, codings, lengths, keys;
	bool close, keep_alive, named; /* named: Connection names fields to drop */
	enum bal_h1_error error;
};

/* Answers whether the field is passed on. */
typedef bool special_fn(struct judge *judge, struct w_view value);

static bool
drop(struct judge *judge W_UNUSED, struct w_view value W_UNUSED)
{
	return false;
}

static bool
on_host(struct judge *judge, struct w_view value)
{
	judge->hosts++;
	judge->host = value;
	return false;
}

static bool
on_length(struct judge *judge, struct w_view value)
{
	judge->lengths++;
	judge->length = value;
	return false;
}

static bool
on_coding(struct judge *judge, struct w_view value)
{
	judge->codings++;
	judge->coding = value;
	return false;
}

static bool
on_connection(struct judge *judge, struct w_view value)
{
	struct w_view option;

	while (w_view_split(&value, ',', &option)) {
		option = w_view_trim(option);
		if (w_view_ieq(option, W_VIEW("close")))
			judge->close = true;
		else if (w_view_ieq(option, W_VIEW("keep-alive")))
			judge->keep_alive = true;
		else if (option.len > 0)
			judge->named = true;
	}
	return false;
}

static bool
on_expect(struct judge *judge, struct w_view value)
{
	/* RFC 9110 10.1.1: a server ignores 100-continue in an HTTP/1.0 request. */
	if (judge->request->minor == 0)
		return false;
	if (!w_view_ieq(value, W_VIEW("100-continue")))
		judge->error = BAL_H1_EXPECT;
	judge->request->expect = true;
	return false;
}

static bool
on_traceparent(struct judge *judge, struct w_view value)
{
	judge->request->traceparent = value;
	return false;
}

/* Taken as it is, quotes included: two clients that mean the same key write it in the same way. */
static bool
on_idempotency(struct judge *judge, struct w_view value)
{
	bool visible = value.len > 0 && value.len <= KEY_MAX;

	for (size_t i = 0; i < value.len && visible; i++)
		visible = value.ptr[i] >= 0x21 && value.ptr[i] <= 0x7e;
	if (!visible)
		judge->error = BAL_H1_KEY;
	if (++judge->keys > 1)
		judge->error = BAL_H1_KEY_REPEATED;
	judge->request->idempotency = value;
	return true;
}

static bool
on_position(struct judge *judge, struct w_view value)
{
	judge->request->position = value;
	return true;
}

/* The position travels in a cookie for clients that keep no header. */
static bool
on_cookie(struct judge *judge, struct w_view value)
{
	struct w_view pair, name = W_VIEW("weir-position=");

	if (judge->request->position.len > 0)
		return true;
	while (w_view_split(&value, ';', &pair)) {
		pair = w_view_trim(pair);
		if (w_view_starts(pair, name))
			judge->request->position = w_view_sub(pair, name.len, SIZE_MAX);
	}
	return true;
}

/* The client's address, scheme and request id are typed parts of the link's request. */
static const struct special {
	struct w_view name;
	special_fn *run;
} specials[] = {
#define S(name, run) { { name, sizeof(name) - 1 }, run }
	S("host", on_host),
	S("content-length", on_length),
	S("transfer-encoding", on_coding),
	S("connection", on_connection),
	S("expect", on_expect),
	S("traceparent", on_traceparent),
	S("idempotency-key", on_idempotency),
	S("weir-position", on_position),
	S("cookie", on_cookie),
	S("keep-alive", drop),
	S("proxy-connection", drop),
	S("proxy-authorization", drop),
	S("te", drop),
	S("trailer", drop),
	S("upgrade", drop),
	S("http2-settings", drop),
	S("forwarded", drop),
	S("x-forwarded-for", drop),
	S("x-forwarded-host", drop),
	S("x-forwarded-port", drop),
	S("x-forwarded-proto", drop),
	S("x-real-ip", drop),
	S("x-request-id", drop),
#undef S
};

static bool
pass_on(struct judge *judge, const struct lnk_field *field)
{
	size_t len = field->name.len;
	char first = field->name.ptr[0];

	for (size_t i = 0; i < W_NELEM(specials); i++) {
		const struct special *special = &specials[i];

		if (special->name.len == len && special->name.ptr[0] == first &&
		    memcmp(special->name.ptr, field->name.ptr, len) == 0)
			return special->run(judge, field->value);
	}
	return true;
}

static bool
names(struct w_view connection, struct w_view name)
{
	struct w_view option;

	while (w_view_split(&connection, ',', &option))
		if (w_view_ieq(w_view_trim(option), name))
			return true;
	return false;
}

/* Is this field one that a Connection field of the request names? */
static bool
is_named(const struct lnk_field *fields, size_t count, struct w_view name)
{
	for (size_t i = 0; i < count; i++)
		if (w_view_eq(fields[i].name, W_VIEW("connection")) && names(fields[i].value, name))
			return true;
	return false;
}

static void
sort_fields(struct judge *judge)
{
	struct bal_h1_request *request = judge->request;
	size_t kept = 0;

	/* Which fields Connection names must be known before any is dropped: rare, so a scan. */
	for (size_t i = 0; i < request->field_count; i++)
		if (w_view_eq(request->fields[i].name, W_VIEW("connection")))
			on_connection(judge, request->fields[i].value);
	for (size_t i = 0; i < request->field_count && judge->named; i++)
		if (!w_view_eq(request->fields[i].name, W_VIEW("connection")) &&
		    !w_view_eq(request->fields[i].name, W_VIEW("host")) &&
		    !w_view_eq(request->fields[i].name, W_VIEW("content-length")) &&
		    !w_view_eq(request->fields[i].name, W_VIEW("transfer-encoding")) &&
		    is_named(request->fields, request->field_count, request->fields[i].name))
			request->fields[i].name = W_VIEW("te");
	for (size_t i = 0; i < request->field_count; i++)
		if (pass_on(judge, &request->fields[i]))
			request->fields[kept++] = request->fields[i];
	request->field_count = kept;
}

/* ---- Host and target ---- */

/* uri-host [ ":" port ]. Source: RFC 3986 3.2.2 */
static bool
host_valid(struct w_view host)
{
	struct w_view name = host, port = { NULL, 0 };
	uint64_t number;
	size_t colon;

	if (host.len == 0 || !bal_text_all(host, BAL_C_HOST))
		return false;
	if (host.ptr[0] == '[') {
		colon = w_view_find(host, ']');
		if (colon == host.len || colon < 3)
			return false;
		name = w_view_sub(host, 1, colon - 1);
		port = w_view_sub(host, colon + 1, SIZE_MAX);
		for (size_t i = 0; i < name.len; i++)
			if (strchr("0123456789abcdefABCDEF:.vV", name.ptr[i]) == NULL)
				return false;
	} else {
		colon = w_view_find(host, ':');
		name = w_view_sub(host, 0, colon);
		port = w_view_sub(host, colon, SIZE_MAX);
		if (name.len == 0 || memchr(name.ptr, '[', name.len) != NULL ||
		    memchr(name.ptr, ']', name.len) != NULL)
			return false;
	}
	if (port.len == 0)
		return true;
	if (port.ptr[0] != ':')
		return false;
	return port.len == 1 || w_view_u64(w_view_sub(port, 1, SIZE_MAX), 65535, &number) == W_OK;
}

static enum bal_h1_error
judge_host(struct judge *judge)
{
	if (judge->hosts == 0)
		return judge->request->minor == 0 ? BAL_H1_OK : BAL_H1_HOST_MISSING;
	if (judge->hosts > 1)
		return BAL_H1_HOST_REPEATED;
	if (!host_valid(judge->host))
		return BAL_H1_HOST_INVALID;
	judge->request->authority = judge->host;
	return BAL_H1_OK;
}

/* "http://HOST/PATH": the path becomes the target, and HOST must be that of the Host field. */
static enum bal_h1_error
judge_absolute(struct judge *judge)
{
	struct bal_h1_request *request = judge->request;
	struct w_view rest = request->url, authority;
	size_t end;

	if (w_view_ieq(w_view_sub(rest, 0, 7), W_VIEW("http://")))
		rest = w_view_sub(rest, 7, SIZE_MAX);
	else if (w_view_ieq(w_view_sub(rest, 0, 8), W_VIEW("https://")))
		rest = w_view_sub(rest, 8, SIZE_MAX);
	else
		return BAL_H1_TARGET;
	end = W_MIN(w_view_find(rest, '/'), w_view_find(rest, '?'));
	authority = w_view_sub(rest, 0, end);
	request->target = w_view_sub(rest, end, SIZE_MAX);
	if (!host_valid(authority))
		return BAL_H1_TARGET;
	if (judge->hosts == 1 && !w_view_ieq(authority, judge->host))
		return BAL_H1_HOST_MISMATCH;
	request->authority = authority;
	if (request->target.len == 0)
		request->target = W_VIEW("/");
	/* "http://host?query" has no path: there is no room to put a slash before the query. */
	return request->target.ptr[0] == '/' ? BAL_H1_OK : BAL_H1_TARGET;
}

static enum bal_h1_error
judge_target(struct judge *judge)
{
	struct bal_h1_request *request = judge->request;

	request->target = request->url;
	if (request->url.ptr[0] == '/')
		return BAL_H1_OK;
	if (w_view_eq(request->url, W_VIEW("*")))
		return w_view_eq(request->method, W_VIEW("OPTIONS")) ? BAL_H1_OK : BAL_H1_TARGET;
	return judge_absolute(judge);
}

/* ---- framing ---- */

/* Only "chunked" alone is taken; the reasons for refusing differ. */
static enum bal_h1_error
judge_coding(const struct judge *judge)
{
	struct w_view list = judge->coding, coding, last = { NULL, 0 };
	unsigned chunked = 0;

	if (judge->request->minor == 0)
		return BAL_H1_CODING_OLD;
	if (judge->lengths > 0)
		return BAL_H1_LENGTH_AND_CODING;
	if (judge->codings > 1)
		return BAL_H1_CODING_REPEATED;
	if (w_view_ieq(list, W_VIEW("chunked")))
		return BAL_H1_OK;
	while (w_view_split(&list, ',', &coding)) {
		last = w_view_trim(coding);
		chunked += w_view_ieq(last, W_VIEW("chunked"));
	}
	if (chunked != 1 || !w_view_ieq(last, W_VIEW("chunked")))
		return BAL_H1_CODING_INVALID;
	return BAL_H1_CODING_UNKNOWN;
}

static enum bal_h1_error
judge_framing(struct judge *judge, uint64_t max_body)
{
	uint64_t length;

	if (judge->codings > 0) {
		judge->request->length = -1;
		return judge_coding(judge);
	}
	if (judge->lengths == 0)
		return BAL_H1_OK;
	if (judge->lengths > 1)
		return BAL_H1_LENGTH_REPEATED;
	if (w_view_u64(judge->length, INT64_MAX, &length) < 0)
		return BAL_H1_LENGTH_INVALID;
	if (max_body != 0 && length > max_body)
		return BAL_H1_BODY_LARGE;
	judge->request->length = (int64_t)length;
	return BAL_H1_OK;
}

enum bal_h1_error
bal_h1_judge(struct bal_h1_request *request, uint64_t max_body)
{
	struct judge judge = { .request = request, .error = BAL_H1_OK };
	enum bal_h1_error error;

	request->length = 0;
	sort_fields(&judge);
	request->keep_alive = request->minor == 0 ? judge.keep_alive && !judge.close : !judge.close;

	error = judge_host(&judge);
	if (error == BAL_H1_OK)
		error = judge_target(&judge);
	if (error == BAL_H1_OK)
		error = judge_framing(&judge, max_body);
	return error == BAL_H1_OK ? judge.error : error;
}
