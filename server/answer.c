/*
 * Answers: what weir_text() and its like leave in the request, problems, streamed bodies, and
 * JSON written without trees.
 */
#include <stdarg.h>
#include <stdio.h>

#include "server/request.h"

/* ---- words ---- */

static const struct { unsigned status; const char *phrase; } phrases[] = {
	{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
	{ 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" },
	{ 304, "Not Modified" }, { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
	{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" },
	{ 404, "Not Found" }, { 405, "Method Not Allowed" }, { 406, "Not Acceptable" },
	{ 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
	{ 411, "Length Required" }, { 412, "Precondition Failed" },
	{ 413, "Content Too Large" }, { 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" }, { 417, "Expectation Failed" },
	{ 422, "Unprocessable Content" }, { 428, "Precondition Required" },
	{ 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
	{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
};

const char *
srv__phrase(unsigned status)
{
	for (size_t i = 0; i < W_NELEM(phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return status < 500 ? "Error" : "Server Error";
}

/* What a client reads of an error that a handler returned; never SQL, never a name of ours. */
static const struct { int rc; unsigned status; const char *text; } errors[] = {
	{ WEIR_EINVAL, 400, "malformed input" },
	{ WEIR_ENOTFOUND, 404, "no such thing" },
	{ WEIR_ECONFLICT, 409, "conflicts with what exists" },
	{ WEIR_ETOOBIG, 413, "too large" },
	{ WEIR_ENOMEM, 500, "memory limit of this request reached" },
	{ WEIR_EDB, 500, "the database refused the statement" },
	{ WEIR_EDOWN, 503, "no database node is fit for this now" },
	{ WEIR_EBUSY, 503, "no capacity free in time" },
	{ WEIR_ETIMEOUT, 504, "the request's deadline passed" },
	{ WEIR_EINDOUBT, 504, "the outcome of a commit is unknown" },
	{ WEIR_EGONE, 500, "the client went away" },
	{ WEIR_EUSAGE, 500, "the handler failed" },
	{ WEIR_ESERIAL, 503, "serialization conflict, try again" },
	{ WEIR_EMISMATCH, 422, "the Idempotency-Key was used for another request" },
};

void
srv__problem_of(int rc, unsigned *ret_status, const char **ret_text)
{
	*ret_status = 500;
	*ret_text = "the handler failed";
	for (size_t i = 0; i < W_NELEM(errors); i++) {
		if (errors[i].rc == rc) {
			*ret_status = errors[i].status;
			*ret_text = errors[i].text;
		}
	}
}

/* ---- header fields ---- */

int
srv__answer_field(struct srv_request *req, struct w_view name, struct w_view value)
{
	struct srv_answer *answer = &req->answer;

	if (answer->field_count == SRV_FIELDS_MAX)
		return -W_ENOMEM;
	answer->fields[answer->field_count++] = (struct lnk_field){ name, value };
	return W_OK;
}

static bool
is_value(const char *value)
{
	for (; *value != '\0'; value++)
		if ((*value > 0 && *value < ' ' && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

/* Fields that frame the message or belong to the connection are the front's. */
static bool
is_framing(struct w_view name)
{
	static const char *const names[] = { "connection", "content-length", "date", "keep-alive",
		"server-timing", "te", "trailer", "transfer-encoding", "upgrade", "x-request-id" };

	for (size_t i = 0; i < W_NELEM(names); i++)
		if (w_view_eq(name, w_view_of(names[i])))
			return true;
	return false;
}

int
weir_set_header(struct weir_request *pub, const char *name, const char *value)
{
	struct srv_request *req = srv__of(pub);
	struct w_view key, text;
	char *lower;

	if (req->answer.kind != SRV_NOTHING)
		return WEIR_EUSAGE;
	if (name == NULL || value == NULL || !srv__is_token(w_view_of(name)) || !is_value(value))
		return WEIR_EINVAL;
	key = w_arena_copy(&req->arena, w_view_of(name));
	text = w_arena_copy(&req->arena, w_view_of(value));
	if (key.ptr == NULL || text.ptr == NULL)
		return WEIR_ENOMEM;
	lower = (char *)(uintptr_t)key.ptr;
	for (size_t i = 0; i < key.len; i++)
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] | 0x20);
	if (is_framing(key))
		return WEIR_EINVAL;
	/* room for what the server itself adds */
	if (req->answer.field_count >= SRV_FIELDS_MAX - 4)
		return WEIR_ENOMEM;
	srv__answer_field(req, key, text);
	return WEIR_OK;
}

static bool
has_field(const struct srv_answer *answer, struct w_view name)
{
	for (unsigned i = 0; i < answer->field_count; i++)
		if (w_view_eq(answer->fields[i].name, name))
			return true;
	return false;
}

static size_t
put_duration(char *to, size_t size, const char *name, w_usec time)
{
	uint64_t usec = time > 0 ? (uint64_t)time : 0;
	int len = snprintf(to, size, "%s;dur=%llu.%03u", name, (unsigned long long)(usec / 1000),
	    (unsigned)(usec % 1000));

	return len > 0 ? W_MIN((size_t)len, size - 1) : 0;
}

size_t
srv__server_timing(const struct srv_answer *answer, char *to, size_t size)
{
	size_t len = put_duration(to, size, "queue", answer->queue);

	len += put_duration(to + len, size - len, ", app", answer->handler);
	len += put_duration(to + len, size - len, ", db", answer->database);
	return len;
}

/* ---- problems ---- */

static void
write_problem(struct srv_request *req, unsigned status, const char *detail)
{
	struct w_json json;

	w_buf_clear(&req->out);
	w_json_init(&json, &req->out);
	w_json_open(&json, '{');
	w_json_key(&json, "type");
	w_json_text(&json, "about:blank");
	w_json_key(&json, "title");
	w_json_text(&json, srv__phrase(status));
	w_json_key(&json, "status");
	w_json_int(&json, status);
	w_json_key(&json, "detail");
	w_json_text(&json, detail);
	w_json_key(&json, "instance");
	w_json_view(&json, req->head.id);
	w_json_close(&json, '}');
}

/* Of the fields that a failed handler set, only Allow still tells the truth. */
static void
keep_allow(struct srv_answer *answer)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < answer->field_count; i++)
		if (w_view_eq(answer->fields[i].name, W_VIEW("allow")))
			answer->fields[kept++] = answer->fields[i];
	answer->field_count = kept;
}

void
srv__problem(struct srv_request *req, unsigned status, const char *detail)
{
	struct srv_answer *answer = &req->answer;

	if (status < 400 || status > 599)
		status = 500;
	write_problem(req, status, detail);
	keep_allow(answer);
	answer->kind = SRV_WHOLE;
	answer->status = status;
	answer->body = w_buf_broken(&req->out) ? W_VIEW("{\"type\":\"about:blank\"}")
	    : w_buf_get(&req->out);
	srv__answer_field(req, W_VIEW("content-type"), W_VIEW("application/problem+json"));
	if (status == 503)
		srv__answer_field(req, W_VIEW("retry-after"), W_VIEW("1"));
}

int
weir_problem(struct weir_request *pub, unsigned status, const char *detail, ...)
{
	struct srv_request *req = srv__of(pub);
	char text[1024];
	va_list args;

	if (req->answer.kind != SRV_NOTHING || status < 400 || status > 599)
		return WEIR_EUSAGE;
	va_start(args, detail);
	vsnprintf(text, sizeof(text), detail, args);
	va_end(args);
	srv__problem(req, status, text);
	return WEIR_OK;
}

/* ---- whole answers ---- */

static int
set_type(struct srv_request *req, const char *type)
{
	struct w_view copy;

	if (type == NULL || has_field(&req->answer, W_VIEW("content-type")))
		return WEIR_OK;
	if (!is_value(type))
		return WEIR_EINVAL;
	copy = w_arena_copy(&req->arena, w_view_of(type));
	if (copy.ptr == NULL)
		return WEIR_ENOMEM;
	srv__answer_field(req, W_VIEW("content-type"), copy);
	return WEIR_OK;
}

/* The body's memory lives as long as the request. */
static int
answer_whole(struct srv_request *req, unsigned status, const char *type, struct w_view body)
{
	int rc;

	if (req->answer.kind != SRV_NOTHING || status < 200 || status > 599)
		return WEIR_EUSAGE;
	rc = set_type(req, type);
	if (rc < 0)
		return rc;
	req->answer.kind = SRV_WHOLE;
	req->answer.status = status;
	req->answer.body = body;
	if (status == 204 || status == 304) {
		req->answer.no_body = true;
		req->answer.body.len = 0;
	}
	return WEIR_OK;
}

int
weir_answer(struct weir_request *pub, unsigned status, const char *type, struct weir_view body,
    bool is_static)
{
	struct srv_request *req = srv__of(pub);
	struct w_view text = srv__in_view(body);

	if (req->answer.kind != SRV_NOTHING)
		return WEIR_EUSAGE;
	if (!is_static && text.len > 0) {
		text = w_arena_copy(&req->arena, text);
		if (text.ptr == NULL)
			return WEIR_ENOMEM;
	}
	return answer_whole(req, status, type, text);
}

int
weir_text(struct weir_request *pub, unsigned status, const char *text)
{
	struct weir_view body = { text, text != NULL ? strlen(text) : 0 };

	return weir_answer(pub, status, "text/plain; charset=utf-8", body, false);
}

/* ---- streamed answers ---- */

struct begin_call {
	struct srv_request *req;
	unsigned status;
	const char *type;
	int64_t length;
	int rc;
};

static void
do_begin(void *arg)
{
	struct begin_call *call = arg;
	struct srv_request *req = call->req;

	call->rc = WEIR_EUSAGE;
	if (req->answer.kind != SRV_NOTHING || call->status < 200 || call->status > 599)
		return;
	call->rc = WEIR_EGONE;
	if (req->gone)
		return;
	call->rc = set_type(req, call->type);
	if (call->rc < 0)
		return;
	srv__database_fields(req);
	req->answer.kind = SRV_STREAM;
	req->answer.status = call->status;
	req->answer.length = call->length < 0 ? -1 : call->length;
	req->answer.no_body |= call->status == 204 || call->status == 304;
	req->answer.queue = req->started - req->arrived;
	req->answer.handler = w_now() - req->started;
	req->answer.database = req->database;
	req->front->respond(req);
}

int
weir_begin(struct weir_request *pub, unsigned status, const char *type, int64_t length)
{
	struct begin_call call = { srv__of(pub), status, type, length, WEIR_EUSAGE };

	srv__on_fiber(call.req, do_begin, &call);
	return call.rc;
}

struct write_call {
	struct srv_request *req;
	struct w_view bytes;
	int rc;
};

static int
write_error(const struct srv_request *req, int64_t sent)
{
	if (req->gone)
		return WEIR_EGONE;
	if (sent < 0)
		return sent == -W_ETOOBIG ? WEIR_ETOOBIG : WEIR_EGONE;
	return WEIR_OK;
}

static void
do_write(void *arg)
{
	struct write_call *call = arg;
	struct srv_request *req = call->req;
	int64_t sent;

	while (call->bytes.len > 0) {
		call->rc = WEIR_EGONE;
		if (req->gone)
			return;
		sent = req->front->send(req, call->bytes, false);
		call->rc = write_error(req, sent);
		if (call->rc < 0)
			return;
		req->answer.written += (uint64_t)sent;
		call->bytes = w_view_sub(call->bytes, (size_t)sent, call->bytes.len);
		if (call->bytes.len == 0)
			return;
		if (w_fiber_park_until(srv__body_deadline(req)) < 0) {
			call->rc = WEIR_ETIMEOUT;
			return;
		}
	}
}

int
weir_write(struct weir_request *pub, const void *ptr, size_t len)
{
	struct srv_request *req = srv__of(pub);
	struct write_call call = { req, { ptr, len }, WEIR_OK };
	const struct srv_answer *answer = &req->answer;

	if (answer->kind != SRV_STREAM)
		return WEIR_EUSAGE;
	if (answer->length >= 0 && len > (uint64_t)answer->length - answer->written)
		return WEIR_EUSAGE;
	if (answer->no_body) {
		req->answer.written += len;
		return req->gone ? WEIR_EGONE : WEIR_OK;
	}
	srv__on_fiber(req, do_write, &call);
	return call.rc;
}

/* ---- JSON without trees ---- */

void
weir_out_open(struct weir_request *pub, char bracket)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind == SRV_NOTHING)
		w_json_open(&req->writer, bracket);
}

void
weir_out_close(struct weir_request *pub, char bracket)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind == SRV_NOTHING)
		w_json_close(&req->writer, bracket);
}

void
weir_out_key(struct weir_request *pub, const char *key)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind == SRV_NOTHING)
		w_json_key(&req->writer, key);
}

void
weir_out_text(struct weir_request *pub, struct weir_view text)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind == SRV_NOTHING)
		w_json_view(&req->writer, srv__in_view(text));
}

void
weir_out_int(struct weir_request *pub, int64_t value)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind == SRV_NOTHING)
		w_json_int(&req->writer, value);
}

void
weir_out_bool(struct weir_request *pub, bool value)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind == SRV_NOTHING)
		w_json_bool(&req->writer, value);
}

void
weir_out_null(struct weir_request *pub)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind == SRV_NOTHING)
		w_json_null(&req->writer);
}

int
weir_out_send(struct weir_request *pub, unsigned status)
{
	struct srv_request *req = srv__of(pub);

	if (req->answer.kind != SRV_NOTHING || req->writer.depth != 0)
		return WEIR_EUSAGE;
	if (w_buf_broken(&req->out))
		return WEIR_ENOMEM;
	return answer_whole(req, status, "application/json", w_buf_get(&req->out));
}
