/*
 * The life of a request: a row of steps, each of which names the next. See request.h.
 *
 *	target -> route -> doubt -> start -(fiber)-> handle -> settle -> reply -> end
 *	   \________\________\________\_________________________________/
 *	                    an error found on the way
 */
#include "server/request.h"

#include <stdio.h>

#include "common/log.h"

enum step {
	STEP_TARGET, STEP_ROUTE, STEP_DOUBT, STEP_START, STEP_HANDLE, STEP_SETTLE, STEP_REPLY, STEP_END
};
enum next { NEXT_GO, NEXT_DONE };

static void run_steps(struct srv_request *req);

static void
count(struct srv_request *req, enum srv_metric metric)
{
	w_meter_add(req->worker->meter, req->worker->srv->ids.own + metric, 1);
}

static void
observe(struct srv_request *req, enum srv_metric metric, w_usec value)
{
	w_meter_observe(req->worker->meter, req->worker->srv->ids.own + metric, value);
}

/* ---- memory ---- */

void
srv__worker_init(struct srv_worker *worker)
{
	w_list_init(&worker->requests);
	w_list_init(&worker->idle);
}

static void
request_free(struct srv_request *req)
{
	w_arena_fini(&req->arena);
	w_buf_fini(&req->in);
	w_buf_fini(&req->out);
	w_buf_fini(&req->direct.stream);
	req->magic = 0;
	free(req);
}

void
srv__worker_fini(struct srv_worker *worker)
{
	struct w_list *node;

	while ((node = w_list_shift(&worker->idle)) != NULL)
		request_free(w_list_entry(node, struct srv_request, node));
	worker->idle_count = 0;
}

/* A buffer for the next request: empty, and not the giant that the last one made. */
static struct w_buf
used_buf(struct w_buf *buf, size_t limit)
{
	if (buf->cap > 16384)
		w_buf_fini(buf);
	else
		w_buf_clear(buf);
	buf->limit = limit;
	return *buf;
}

/* All-zero but for the memory that it keeps. */
static void
request_clear(struct srv_request *req, size_t limit)
{
	struct w_arena arena = req->arena;
	struct w_buf in = used_buf(&req->in, 0), out = used_buf(&req->out, limit);
	struct w_buf stream = used_buf(&req->direct.stream, 0);

	memset(req, 0, sizeof(*req));
	req->arena = arena;
	req->arena.limit = limit;
	req->in = in;
	req->out = out;
	req->direct.stream = stream;
}

static struct srv_request *
request_take(struct srv_worker *worker)
{
	struct w_list *node = w_list_shift(&worker->idle);
	struct srv_request *req;

	if (node != NULL) {
		worker->idle_count--;
		return w_list_entry(node, struct srv_request, node);
	}
	req = calloc(1, sizeof(*req));
	if (req != NULL)
		w_arena_init(&req->arena, 0);
	return req;
}

struct srv_request *
srv__request_new(struct srv_worker *worker, const struct srv_front *front)
{
	struct srv_request *req = request_take(worker);

	if (req == NULL)
		return NULL;
	request_clear(req, srv__options(worker)->request_memory);
	req->magic = SRV_REQUEST_MAGIC;
	req->holders = 1;
	req->worker = worker;
	req->front = front;
	req->arrived = worker->loop->now;
	req->deadline = req->arrived + srv__options(worker)->request_timeout;
	req->object_rc = 1;
	req->step = STEP_TARGET;
	w_list_init(&req->transactions);
	w_list_init(&req->direct.ready);
	w_json_init(&req->writer, &req->out);
	w_list_push(&worker->requests, &req->node);
	worker->count++;
	return req;
}

void
srv__request_give(struct srv_request *req)
{
	struct srv_worker *worker = req->worker;

	W_ASSERT(req->holders > 0);
	if (--req->holders > 0)
		return;
	w_list_remove(&req->node);
	w_list_remove(&req->direct.ready);
	worker->count--;
	w_arena_reset(&req->arena);
	if (worker->idle_count >= SRV_IDLE_MAX) {
		request_free(req);
		return;
	}
	worker->idle_count++;
	w_list_push(&worker->idle, &req->node);
}

/* ---- what came ---- */

static bool
copy_to(struct w_arena *arena, struct w_view *text)
{
	*text = text->len > 0 ? w_arena_copy(arena, *text) : (struct w_view){ "", 0 };
	return text->ptr != NULL;
}

static int
copy_fields(struct srv_request *req, const struct lnk_request *head)
{
	struct lnk_field *fields;

	if (head->field_count == 0)
		return W_OK;
	fields = w_arena_take(&req->arena, head->field_count * sizeof(*fields));
	if (fields == NULL)
		return -W_ENOMEM;
	for (size_t i = 0; i < head->field_count; i++) {
		fields[i] = head->fields[i];
		if (!copy_to(&req->arena, &fields[i].name) ||
		    !copy_to(&req->arena, &fields[i].value))
			return -W_ENOMEM;
	}
	req->head.fields = fields;
	return W_OK;
}

int
srv__request_head(struct srv_request *req, const struct lnk_request *head)
{
	struct w_view *texts[] = { &req->head.method, &req->head.scheme, &req->head.authority,
		&req->head.target, &req->head.client, &req->head.id, &req->head.traceparent,
		&req->head.position, &req->head.idempotency };

	req->head = *head;
	req->head.fields = NULL;
	for (size_t i = 0; i < W_NELEM(texts); i++)
		if (!copy_to(&req->arena, texts[i]))
			*texts[i] = (struct w_view){ "", 0 }, req->head.field_count = 0;
	if (copy_fields(req, head) < 0 || req->head.target.len != head->target.len) {
		req->head.fields = NULL;
		req->head.field_count = 0;
		return -W_ENOMEM;
	}
	if (head->timeout > 0)
		req->deadline = req->arrived + W_MIN(head->timeout, W_NEVER / 4);
	req->in_end = head->end;
	return W_OK;
}

size_t
srv__request_buffered(const struct srv_request *req)
{
	return req->in.len - req->in_at;
}

int
srv__request_data(struct srv_request *req, struct w_view bytes, bool end)
{
	req->in_end |= end;
	if (req->in_unread) {
		req->thrown += bytes.len;
		if (req->front == NULL)
			return W_OK;
		if (req->thrown > req->front->drain)
			return -W_ETOOBIG;
		if (bytes.len > 0)
			req->front->consumed(req, bytes.len);
		return W_OK;
	}
	if (req->in_at == req->in.len) {
		w_buf_clear(&req->in);
		req->in_at = 0;
	}
	w_buf_view(&req->in, bytes);
	srv__request_wake(req);
	return W_OK;
}

void
srv__request_wake(struct srv_request *req)
{
	if (req->fiber != NULL)
		w_fiber_wake(req->fiber);
}

void
srv__request_gone(struct srv_request *req, bool lost)
{
	if (req->gone)
		return;
	req->gone = true;
	req->front = NULL;
	if (lost)
		count(req, SRV_GONE);
	srv__request_wake(req);
}

/* ---- errors found by the server itself ---- */

static enum next
go(struct srv_request *req, enum step step)
{
	req->step = step;
	return NEXT_GO;
}

static enum next
fail(struct srv_request *req, int err, const char *detail)
{
	srv__problem(req, (unsigned)w_err_http(err), detail != NULL ? detail : w_err_text(err));
	return go(req, STEP_REPLY);
}

void
srv__request_fail(struct srv_request *req, int err, const char *detail)
{
	req->holders++;
	fail(req, err, detail);
	run_steps(req);
	srv__request_give(req);
}

/* ---- steps ---- */

static enum next
do_target(struct srv_request *req)
{
	const char *why = NULL;
	int rc;

	req->answer.no_body = w_view_eq(req->head.method, W_VIEW("HEAD"));
	rc = srv__target_parse(&req->arena, req->head.target, &req->target, &why);
	if (rc < 0)
		return fail(req, rc, rc == -W_EINVAL ? why : NULL);
	return go(req, STEP_ROUTE);
}

/* OPTIONS without a handler of its own, and methods that nobody handles there. */
static enum next
tell_methods(struct srv_request *req, struct w_view allow)
{
	srv__answer_field(req, W_VIEW("allow"), allow);
	if (!w_view_eq(req->head.method, W_VIEW("OPTIONS")))
		return fail(req, -W_EMETHOD, NULL);
	req->answer.kind = SRV_WHOLE;
	req->answer.status = 204;
	return go(req, STEP_REPLY);
}

static enum next
do_route(struct srv_request *req)
{
	static const char server_wide[] = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
	int rc;

	if (req->target.segment_count == 0) {
		if (!w_view_eq(req->head.method, W_VIEW("OPTIONS")))
			return fail(req, -W_EINVAL, "the target * is for OPTIONS only");
		return tell_methods(req, w_view_of(server_wide));
	}
	rc = srv__router_find(req->worker->srv->router, &req->arena, req->head.method,
	    &req->target, &req->match);
	if (rc == -W_EMETHOD)
		return tell_methods(req, req->match.allow);
	if (rc == -W_EINVAL)
		return fail(req, rc, "an encoded slash is not accepted in this part of the path");
	if (rc < 0)
		return fail(req, rc, NULL);
	return go(req, STEP_DOUBT);
}

/* Source: RFC 9110, 9.2.2 */
static bool
is_idempotent(struct w_view method)
{
	static const char *const names[] = { "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE" };

	for (size_t i = 0; i < W_NELEM(names); i++)
		if (w_view_eq(method, w_view_of(names[i])))
			return true;
	return false;
}

/*
 * A request that may have begun at a server that was lost is done again only when twice is the same
 * as once. Source: docs/protocol/03-promises.md, 2
 */
static enum next
do_doubt(struct srv_request *req)
{
	bool once = (req->match.route->flags & WEIR_ONCE) != 0 && req->head.idempotency.len > 0;

	if (!req->head.doubt || once || is_idempotent(req->head.method))
		return go(req, STEP_START);
	count(req, SRV_DOUBT);
	return fail(req, -W_ELOST, "the server that worked on this request was lost, and may have "
	    "done it; it is not done again, for this endpoint is not exactly-once");
}

/* The fiber's first function: the rest of the steps, on a stack of their own. */
static void
on_fiber(void *arg)
{
	struct srv_request *req = w_typed(arg, SRV_REQUEST_MAGIC);

	req->fiber = w_fiber_self();
	req->step = STEP_HANDLE;
	run_steps(req);
	req->fiber = NULL;
	srv__request_give(req);
}

static enum next
do_start(struct srv_request *req)
{
	struct srv_worker *worker = req->worker;

	req->holders++;
	if (w_fiber_start(worker->fibers, on_fiber, req) == W_OK)
		return NEXT_DONE;
	/* no fiber, no second holder */
	req->holders--;
	count(req, SRV_REFUSED);
	if (req->front->refuse(req))
		return NEXT_DONE;
	return fail(req, -W_EBUSY, NULL);
}

static enum next
do_handle(struct srv_request *req)
{
	const struct srv_route *route = req->match.route;

	req->started = w_now();
	if ((route->flags & WEIR_BLOCKING) != 0)
		req->rc = srv__run_blocking(req);
	else
		req->rc = route->handler(srv__public(req));
	return go(req, STEP_SETTLE);
}

/* One line for each request that failed on our side; what the client sees tells less. */
static void
log_failure(struct srv_request *req)
{
	char object[160], message[sizeof(req->sql.message) + 64];

	/* who was turned away for lack of capacity is counted, not logged */
	if (req->answer.status < 500 || req->gone ||
	    (req->started == 0 && req->answer.status == 503))
		return;
	snprintf(object, sizeof(object), "req=%.*s", W_VIEW_ARG(req->head.id));
	w_log_quote(w_view_of(req->sql.message), message, sizeof(message));
	w_log(W_WARN, object, "failed", "route=\"%s\" status=%u rc=%d%s%s%s%s",
	    req->match.route != NULL ? req->match.route->name : "", req->answer.status, req->rc,
	    req->sql.sqlstate[0] != '\0' ? " sqlstate=" : "", req->sql.sqlstate,
	    req->sql.message[0] != '\0' ? " message=" : "",
	    req->sql.message[0] != '\0' ? message : "");
}

static void
settle_answer(struct srv_request *req)
{
	struct srv_answer *answer = &req->answer;
	unsigned status;
	const char *text;

	if (req->rc == WEIR_OK) {
		if (answer->kind == SRV_NOTHING) {
			answer->kind = SRV_WHOLE;
			answer->status = 204;
		}
		return;
	}
	/* a problem that the handler told itself says more than its error */
	if (answer->kind == SRV_STREAM || (answer->kind == SRV_WHOLE && answer->status >= 400))
		return;
	srv__problem_of(req->rc, &status, &text);
	if (req->problem_detail != NULL) {
		status = req->problem_status;
		text = req->problem_detail;
	}
	/* a 503 invites to ask again, but the server that was lost may have done it */
	if (status == 503 && req->head.doubt && !is_idempotent(req->head.method))
		srv__problem_of(WEIR_EINDOUBT, &status, &text);
	srv__problem(req, status, text);
}

static enum next
do_settle(struct srv_request *req)
{
	w_usec now;

	srv__database_settle(req);
	settle_answer(req);
	now = w_now();
	req->answer.queue = req->started - req->arrived;
	req->answer.handler = now - req->started;
	req->answer.database = req->database;
	observe(req, SRV_HANDLER, req->answer.handler);
	if (req->database > 0)
		observe(req, SRV_DATABASE, req->database);
	return go(req, STEP_REPLY);
}

/* End a streamed answer, or show that it is not whole. */
static void
end_stream(struct srv_request *req)
{
	struct srv_answer *answer = &req->answer;
	bool whole = req->rc == WEIR_OK &&
	    (answer->no_body || answer->length < 0 || answer->written == (uint64_t)answer->length);

	if (req->gone)
		return;
	if (whole && req->front->send(req, (struct w_view){ NULL, 0 }, true) >= 0)
		return;
	count(req, SRV_CUT);
	req->cut = true;
	req->front->cut(req, -W_EHANDLER);
}

/* Nobody reads the body from here on; what came of it so far goes. */
static void
throw_rest(struct srv_request *req)
{
	size_t left = srv__request_buffered(req);

	req->in_unread = true;
	req->in_at = 0;
	w_buf_clear(&req->in);
	req->thrown += left;
	if (left > 0 && req->front != NULL)
		req->front->consumed(req, left);
}

static enum next
do_reply(struct srv_request *req)
{
	log_failure(req);
	throw_rest(req);
	if (!req->gone && req->answer.kind == SRV_STREAM)
		end_stream(req);
	else if (!req->gone)
		req->front->respond(req);
	if (req->front != NULL && !req->in_end && req->front->unread != NULL)
		req->front->unread(req);
	return go(req, STEP_END);
}

static enum next
do_end(struct srv_request *req)
{
	const struct srv_route *route = req->match.route;
	unsigned class = req->answer.status / 100;

	if (class >= 1 && class <= 5)
		count(req, (enum srv_metric)(SRV_CODE_1XX + class - 1));
	if (route != NULL)
		w_meter_add(req->worker->meter, req->worker->srv->ids.routes + route->index, 1);
	observe(req, SRV_DURATION, w_now() - req->arrived);
	return NEXT_DONE;
}

static const struct { enum next (*run)(struct srv_request *req); const char *name; } steps[] = {
	[STEP_TARGET] = { do_target, "target" },
	[STEP_ROUTE] = { do_route, "route" },
	[STEP_DOUBT] = { do_doubt, "doubt" },
	[STEP_START] = { do_start, "start" },
	[STEP_HANDLE] = { do_handle, "handle" },
	[STEP_SETTLE] = { do_settle, "settle" },
	[STEP_REPLY] = { do_reply, "reply" },
	[STEP_END] = { do_end, "end" },
};

static void
run_steps(struct srv_request *req)
{
	while (steps[req->step].run(req) == NEXT_GO)
		continue;
}

void
srv__request_run(struct srv_request *req)
{
	/* a front may forget the request in any call that the steps make */
	req->holders++;
	run_steps(req);
	srv__request_give(req);
}
