/*
 * The link front: requests of balancers. A stream is one request; its window is the pace.
 *
 *	request -> [data] ... respond -> [send] ... closed
 *
 * 1. The stream's pointer is req->stream; NULL once the stream is gone.
 * 2. Of a whole answer larger than the window the rest goes out as windows open, after the
 *    fiber has ended: the front holds the request until closed.
 * 3. Who sends on when nobody reads gets no more window; once the answer is out, a reset.
 */
#include "server/request.h"

#define DRAIN_MAX ((size_t)1024 * 1024)

/* The stream is gone, or given up: the front's part of the request ends. */
static void
forget(struct srv_request *req, bool lost)
{
	req->stream = NULL;
	srv__request_gone(req, lost);
	srv__request_give(req);
}

static void
reset(struct srv_request *req, int err)
{
	struct lnk_stream *stream = req->stream;

	if (stream == NULL)
		return;
	req->stream = NULL;
	lnk_stream_reset(stream, err);
	forget(req, false);
}

/* The answer is out but the body goes on: nobody will ever read it. */
static void
reset_overrun(struct srv_request *req)
{
	if (req->thrown > DRAIN_MAX)
		reset(req, -W_ECANCELED);
}

/* ---- what the request asks of its front ---- */

/* The rest of a whole answer's body, as far as the window goes. */
static void
pump(struct srv_request *req)
{
	struct srv_answer *answer = &req->answer;
	struct w_view rest = w_view_sub(answer->body, answer->written, answer->body.len);
	size_t sent;

	if (req->stream == NULL || rest.len == 0)
		return;
	sent = lnk_stream_send(req->stream, rest, true);
	answer->written += sent;
	if (sent == rest.len)
		reset_overrun(req);
}

static void
respond(struct srv_request *req)
{
	struct srv_answer *answer = &req->answer;
	bool whole = answer->kind == SRV_WHOLE;
	struct lnk_response response = {
		.status = answer->status,
		.length = whole ? (int64_t)answer->body.len : answer->length,
		.end = answer->no_body || (whole && answer->body.len == 0),
		.started = req->started != 0,
		.queue = answer->queue,
		.handler = answer->handler,
		.database = answer->database,
		.fields = answer->fields,
		.field_count = answer->field_count,
	};

	if (lnk_stream_respond(req->stream, &response) < 0)
		reset(req, -W_EHEADERS);
	else if (whole && !response.end)
		pump(req);
	else if (response.end)
		reset_overrun(req);
}

static int64_t
send_bytes(struct srv_request *req, struct w_view bytes, bool end)
{
	size_t sent;

	if (req->stream == NULL)
		return -W_ELOST;
	/* the header has ended it */
	if (req->answer.no_body)
		return (int64_t)bytes.len;
	sent = lnk_stream_send(req->stream, bytes, end);
	if (end && sent == bytes.len)
		reset_overrun(req);
	return (int64_t)sent;
}

static void
consumed(struct srv_request *req, size_t bytes)
{
	if (req->stream != NULL)
		lnk_stream_consumed(req->stream, bytes);
}

static bool
refuse(struct srv_request *req)
{
	reset(req, -W_EREFUSED);
	return true;
}

static const struct srv_front link_front = {
	.drain = DRAIN_MAX,
	.respond = respond,
	.send = send_bytes,
	.consumed = consumed,
	.cut = reset,
	.refuse = refuse,
};

/* ---- what the link tells, in the order it does ---- */

static void
on_request(struct lnk_stream *stream, const struct lnk_request *head, void *arg)
{
	struct srv_worker *worker = arg;
	struct srv_request *req = srv__request_new(worker, &link_front);

	if (req == NULL) {
		lnk_stream_reset(stream, -W_EREFUSED);
		return;
	}
	req->stream = stream;
	lnk_stream_set_arg(stream, req);
	if (srv__request_head(req, head) < 0)
		srv__request_fail(req, -W_EHEADERS, NULL);
	else
		srv__request_run(req);
}

static void
on_data(struct lnk_stream *stream W_UNUSED, struct w_view bytes, bool end, void *arg)
{
	struct srv_request *req = w_typed(arg, SRV_REQUEST_MAGIC);
	const struct srv_answer *answer = &req->answer;
	bool answered = answer->kind == SRV_WHOLE && answer->written == answer->body.len;

	if (srv__request_data(req, bytes, end) < 0 && (answered || answer->kind == SRV_STREAM))
		reset(req, -W_ECANCELED);
}

static void
on_writable(struct lnk_stream *stream W_UNUSED, void *arg)
{
	struct srv_request *req = w_typed(arg, SRV_REQUEST_MAGIC);

	if (req->answer.kind == SRV_WHOLE)
		pump(req);
	else
		srv__request_wake(req);
}

static void
on_closed(struct lnk_stream *stream W_UNUSED, int err, void *arg)
{
	forget(w_typed(arg, SRV_REQUEST_MAGIC), err != W_OK);
}

const struct lnk_spoke_ops srv__link_ops = {
	.stream = { .data = on_data, .writable = on_writable, .closed = on_closed },
	.request = on_request,
};
