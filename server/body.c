/* The request's body: read in pieces, whole, or as one JSON object. */
#include <stdio.h>

#include "server/request.h"

/* ---- in pieces ---- */

struct read_call {
	struct srv_request *req;
	void *to;
	size_t size;
	int64_t rc;
};

static size_t
take_bytes(struct srv_request *req, void *to, size_t size)
{
	size_t len = W_MIN(size, srv__request_buffered(req));

	if (len == 0)
		return 0;
	memcpy(to, req->in.ptr + req->in_at, len);
	req->in_at += len;
	if (req->in_at == req->in.len) {
		w_buf_clear(&req->in);
		req->in_at = 0;
	}
	if (req->front != NULL)
		req->front->consumed(req, len);
	return len;
}

w_usec
srv__body_deadline(const struct srv_request *req)
{
	if (req->answer.kind != SRV_STREAM || req->cut)
		return req->deadline;
	return w_now() + (w_usec)srv__options(req->worker)->stall_timeout;
}

static void
do_read(void *arg)
{
	struct read_call *call = arg;
	struct srv_request *req = call->req;

	while (srv__request_buffered(req) == 0) {
		call->rc = req->in.broken ? WEIR_ENOMEM : 0;
		if (call->rc < 0 || req->in_end)
			return;
		call->rc = WEIR_EGONE;
		if (req->gone)
			return;
		call->rc = WEIR_ETIMEOUT;
		if (w_fiber_park_until(srv__body_deadline(req)) < 0)
			return;
	}
	call->rc = (int64_t)take_bytes(req, call->to, call->size);
}

int64_t
weir_read(struct weir_request *pub, void *to, size_t size)
{
	struct read_call call = { srv__of(pub), to, size, WEIR_EUSAGE };

	if (size == 0)
		return WEIR_EUSAGE;
	srv__on_fiber(call.req, do_read, &call);
	return call.rc;
}

int64_t
weir_body_length(const struct weir_request *pub)
{
	return srv__of(pub)->head.length;
}

/* ---- whole ---- */

static int
too_big(struct srv_request *req, size_t max)
{
	char *detail = w_arena_printf(&req->arena, "the body is longer than %zu bytes", max);

	req->problem_status = 413;
	req->problem_detail = detail != NULL ? detail : "the body is too long";
	return WEIR_ETOOBIG;
}

/* A body of known length goes straight to where it stays. */
static int
read_known(struct srv_request *req, size_t len, struct w_view *ret)
{
	char *to = w_arena_take(&req->arena, len + 1);
	size_t at = 0;

	if (to == NULL)
		return too_big(req, len - 1);
	while (at < len) {
		int64_t got = weir_read(srv__public(req), to + at, len - at);

		if (got < 0)
			return (int)got;
		if (got == 0)
			return WEIR_EGONE;
		at += (size_t)got;
	}
	to[len] = '\0';
	*ret = (struct w_view){ to, len };
	return WEIR_OK;
}

static int
read_unknown(struct srv_request *req, size_t max, struct w_view *ret)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { .limit = 0 };

	for (;;) {
		size_t want = W_MIN((size_t)65536, max + 1 - buf.len);
		char *room = w_buf_room(&buf, want);
		int64_t got;

		if (room == NULL)
			return WEIR_ENOMEM;
		got = weir_read(srv__public(req), room, want);
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		w_buf_added(&buf, (size_t)got);
		if (buf.len > max)
			return too_big(req, max);
	}
	*ret = buf.len > 0 ? w_arena_copy(&req->arena, w_buf_get(&buf)) : W_VIEW("");
	return ret->ptr != NULL ? WEIR_OK : too_big(req, req->arena.limit / 2);
}

int
weir_body(struct weir_request *pub, size_t max, struct weir_view *ret)
{
	struct srv_request *req = srv__of(pub);
	struct w_view body = { "", 0 };
	int rc = WEIR_OK;

	if (max == 0)
		max = srv__options(req->worker)->max_json;
	max = W_MIN(max, req->arena.limit > 0 ? req->arena.limit : SIZE_MAX - 1);
	if (req->has_body) {
		*ret = srv__out_view(req->body);
		return req->body.len <= max ? WEIR_OK : too_big(req, max);
	}
	if (req->head.length > 0 && (uint64_t)req->head.length > max)
		return too_big(req, max);
	if (req->head.length > 0)
		rc = read_known(req, (size_t)req->head.length, &body);
	else if (req->head.length < 0)
		rc = read_unknown(req, max, &body);
	if (rc < 0)
		return rc;
	req->has_body = true;
	req->body = body;
	*ret = srv__out_view(body);
	return WEIR_OK;
}

/* ---- as one JSON object ---- */

static int
refuse_json(struct srv_request *req, unsigned status, char *detail)
{
	req->problem_status = status;
	req->problem_detail = detail != NULL ? detail : "the body is not the JSON that is wanted";
	return WEIR_EINVAL;
}

/* application/json, any application type that ends in +json, or nothing said. */
static bool
is_json_type(struct w_view type)
{
	struct w_view media = w_view_trim(w_view_sub(type, 0, w_view_find(type, ';')));

	if (media.len == 0 || w_view_ieq(media, W_VIEW("application/json")))
		return true;
	return media.len > 17 && w_view_ieq(w_view_sub(media, 0, 12), W_VIEW("application/")) &&
	    w_view_ieq(w_view_sub(media, media.len - 5, 5), W_VIEW("+json"));
}

static int
parse_object(struct srv_request *req)
{
	struct weir_view body;
	const char *why = "";
	size_t at = 0;
	int rc;

	if (!is_json_type(srv__field(req, W_VIEW("content-type"))))
		return refuse_json(req, 415, w_arena_printf(&req->arena,
		    "the body's media type must be application/json"));
	rc = weir_body(srv__public(req), 0, &body);
	if (rc < 0)
		return rc;
	rc = srv__object_parse(&req->arena, srv__in_view(body), &req->object, &why, &at);
	if (rc == -W_ENOMEM)
		return WEIR_ENOMEM;
	if (rc < 0)
		return refuse_json(req, 400, w_arena_printf(&req->arena,
		    "the body is not the JSON that is wanted: at byte %zu: %s", at, why));
	return WEIR_OK;
}

/* Parsed once; the first error stays. */
static int
object_of(struct srv_request *req)
{
	if (req->object_rc > 0)
		req->object_rc = parse_object(req);
	return req->object_rc;
}

static int
find_member(struct srv_request *req, const char *name, enum srv_json_type type,
    const struct srv_member **ret)
{
	const char *wanted = type == SRV_JSON_TEXT ? "a text" : "a whole number";
	const struct srv_member *member;
	int rc = object_of(req);

	if (rc < 0)
		return rc;
	member = srv__object_find(&req->object, w_view_of(name));
	if (member == NULL)
		return refuse_json(req, 400, w_arena_printf(&req->arena,
		    "member %s is missing: %s is wanted", name, wanted));
	if (member->type != type)
		return refuse_json(req, 400,
		    w_arena_printf(&req->arena, "member %s: %s is wanted", name, wanted));
	*ret = member;
	return WEIR_OK;
}

int
weir_json_text(struct weir_request *pub, const char *name, size_t min, size_t max,
    struct weir_view *ret)
{
	struct srv_request *req = srv__of(pub);
	const struct srv_member *member = NULL;
	int rc = find_member(req, name, SRV_JSON_TEXT, &member);

	if (rc < 0)
		return rc;
	if (member->value.len < min || member->value.len > max)
		return refuse_json(req, 400, w_arena_printf(&req->arena,
		    "member %s: from %zu to %zu bytes are wanted", name, min, max));
	*ret = srv__out_view(member->value);
	return WEIR_OK;
}

int
weir_json_int(struct weir_request *pub, const char *name, int64_t min, int64_t max, int64_t *ret)
{
	struct srv_request *req = srv__of(pub);
	const struct srv_member *member = NULL;
	int64_t value = 0;
	int rc = find_member(req, name, SRV_JSON_NUMBER, &member);

	if (rc < 0)
		return rc;
	if (w_view_i64(member->value, &value) < 0 || value < min || value > max)
		return refuse_json(req, 400, w_arena_printf(&req->arena,
		    "member %s: a whole number from %lld to %lld is wanted", name, (long long)min,
		    (long long)max));
	*ret = value;
	return WEIR_OK;
}

bool
weir_json_has(struct weir_request *pub, const char *name)
{
	struct srv_request *req = srv__of(pub);

	return object_of(req) == WEIR_OK && srv__object_find(&req->object, w_view_of(name)) != NULL;
}
