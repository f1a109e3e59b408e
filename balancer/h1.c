/*
 * The HTTP/1 front: see h1.h. Order of this file: input and buffers, steps of a request, the
 * exchange's calls, what the connection calls.
 */
#include "balancer/h1.h"

#include "balancer/problem.h"
#include "balancer/text.h"

enum next { NEXT_GO, NEXT_PARK };

static void run(struct bal_h1 *h1);
static const struct bal_front front;

/* ---- input ---- */

static size_t
unread(const struct bal_h1 *h1)
{
	return h1->in != NULL ? h1->in->len - h1->in->pos : 0;
}

static char *
unread_at(const struct bal_h1 *h1)
{
	return h1->in->data + h1->in->pos;
}

/* Bytes before this one are the header of the request in flight. */
static uint32_t
floor_of(const struct bal_h1 *h1)
{
	return h1->x != NULL && h1->held == NULL ? h1->base : 0;
}

static void
compact(struct bal_h1 *h1)
{
	struct bal_block *in = h1->in;
	uint32_t floor = floor_of(h1), len = in->len - in->pos;

	if (in->pos == floor)
		return;
	memmove(in->data + floor, in->data + in->pos, len);
	in->pos = floor;
	in->len = floor + len;
}

/* A header that outgrows a block moves into a bigger one. */
static bool
grow(struct bal_h1 *h1)
{
	size_t most = bal_opt(h1->edge)->max_header + 1, cap = h1->in->cap;
	struct bal_block *bigger;

	if (h1->state != BAL_H1_HEADER || cap >= most)
		return false;
	bigger = bal_block_take(&h1->edge->pool, W_MIN(cap * 4, most));
	if (bigger == NULL)
		return false;
	bigger->len = (uint32_t)unread(h1);
	memcpy(bigger->data, unread_at(h1), bigger->len);
	bal_block_give(&h1->edge->pool, &h1->in);
	h1->in = bigger;
	return true;
}

size_t
bal_h1_room(struct bal_h1 *h1, char **ret)
{
	if (h1->state == BAL_H1_CLOSE)
		return 0;
	if (h1->in == NULL) {
		h1->in = bal_block_take(&h1->edge->pool, BAL_BLOCK);
		if (h1->in == NULL)
			return 0;
	}
	if (h1->in->cap - h1->in->len < BAL_BLOCK / 8 || unread(h1) == 0)
		compact(h1);
	if (h1->in->len == h1->in->cap && !grow(h1))
		return 0;
	*ret = h1->in->data + h1->in->len;
	return h1->in->cap - h1->in->len;
}

bool
bal_h1_wants_input(const struct bal_h1 *h1)
{
	if (h1->state == BAL_H1_CLOSE || h1->eof)
		return false;
	if (h1->in == NULL || h1->in->len < h1->in->cap || h1->in->pos > floor_of(h1))
		return true;
	return h1->state == BAL_H1_HEADER && h1->in->cap <= bal_opt(h1->edge)->max_header;
}

/* ---- refusing ---- */

static void
close_after_flush(struct bal_h1 *h1, bool linger)
{
	h1->state = BAL_H1_CLOSE;
	h1->linger = linger;
	h1->read_due = W_NEVER;
	h1->wake(h1);
}

static void
give_up(struct bal_h1 *h1)
{
	h1->abort = true;
	close_after_flush(h1, false);
}

static void
release_held(struct bal_h1 *h1)
{
	bal_block_give(&h1->edge->pool, &h1->held);
	h1->base = 0;
}

/* The id of the request in hand, or a new one when it has none yet. */
static size_t
take_id(struct bal_h1 *h1, char to[BAL_ID_SIZE])
{
	if (h1->x == NULL || h1->x->req.id.len == 0)
		return bal_make_id(h1->edge, to);
	memcpy(to, h1->x->req.id.ptr, h1->x->req.id.len);
	return h1->x->req.id.len;
}

/* The request is wrong: answer, unless an answer has begun, and close. */
static void
refuse(struct bal_h1 *h1, enum bal_h1_error error)
{
	const struct bal_h1_error_info *info = bal_h1_error_info(error);
	struct bal_problem problem;
	char text[BAL_ID_SIZE];
	struct w_view id = { text, 0 };
	bool unanswered = h1->x != NULL;

	w_meter_add(h1->edge->meter, h1->edge->parse_metrics + error, 1);
	id.len = take_id(h1, text);
	bal_exchange_end(&h1->x);
	release_held(h1);
	h1->keep_alive = false;
	if (h1->head_sent) {
		if (unanswered)
			give_up(h1);
		else
			close_after_flush(h1, true);
		return;
	}
	if (h1->state == BAL_H1_HEADER)
		h1->head_only = h1->scan.method_len == 4 && memcmp(unread_at(h1), "HEAD", 4) == 0;
	bal_problem_make(&problem, info->status, info->detail, id);
	struct bal_head head = {
		.status = info->status,
		.length = (int64_t)problem.len,
		.made_here = true,
		.fields = problem.fields,
		.field_count = problem.field_count,
		.waited = -1, .link = -1, .queue = -1, .handler = -1, .database = -1,
	};
	bal_h1_write_head(h1, &head, id);
	bal_h1_write_body(h1, (struct w_view){ problem.body, problem.len }, true);
	bal_edge_answered(h1->edge, info->status);
	close_after_flush(h1, true);
}

static enum next
refused(struct bal_h1 *h1, enum bal_h1_error error)
{
	refuse(h1, error);
	return NEXT_PARK;
}

/* ---- steps ---- */

static enum next
do_idle(struct bal_h1 *h1)
{
	size_t len = unread(h1);

	if (h1->edge->draining && len == 0) {
		close_after_flush(h1, false);
		return NEXT_PARK;
	}
	/* RFC 9112 2.2: an empty line before a request is ignored. One is. */
	if (len >= 2 && h1->scan.seek == 0 && memcmp(unread_at(h1), "\r\n", 2) == 0) {
		h1->in->pos += 2;
		h1->scan.seek = 1;
		return NEXT_GO;
	}
	if (len == 0 || (len == 1 && h1->scan.seek == 0 && *unread_at(h1) == '\r' && !h1->eof)) {
		if (!h1->eof)
			return NEXT_PARK;
		close_after_flush(h1, false);
		return NEXT_PARK;
	}
	memset(&h1->scan, 0, sizeof(h1->scan));
	h1->minor = 1;
	h1->head_only = h1->head_sent = h1->no_body = h1->expect = false;
	h1->keep_alive = true;
	h1->state = BAL_H1_HEADER;
	h1->read_due = bal_now(h1->edge) + bal_opt(h1->edge)->header_timeout;
	return NEXT_GO;
}

static void
fill_in(struct bal_h1 *h1, const struct bal_h1_request *request)
{
	struct lnk_request *req = &h1->x->req;

	req->method = request->method;
	req->scheme = h1->tls ? W_VIEW("https") : W_VIEW("http");
	req->authority = request->authority;
	req->target = request->target;
	req->client = w_view_of(h1->client);
	req->traceparent = request->traceparent;
	req->position = request->position;
	req->idempotency = request->idempotency;
	req->length = request->length;
	req->end = request->length == 0;
	req->fields = request->fields;
	req->field_count = request->field_count;

	h1->left = request->length;
	memset(&h1->chunks, 0, sizeof(h1->chunks));
	h1->body_size = 0;
	h1->minor = (uint8_t)request->minor;
	h1->head_only = w_view_eq(request->method, W_VIEW("HEAD"));
	h1->keep_alive = request->keep_alive;
	h1->expect = request->expect && !req->end;
}

/* The header stays where it is; what follows moves on if too little room is left behind it. */
static enum bal_h1_error
keep_header(struct bal_h1 *h1)
{
	struct bal_block *next;

	h1->in->pos += h1->scan.line;
	h1->base = h1->in->pos;
	if (h1->base <= h1->in->cap / 2)
		return BAL_H1_OK;
	next = bal_block_take(&h1->edge->pool, W_MAX(unread(h1), (size_t)BAL_BLOCK));
	if (next == NULL)
		return BAL_H1_MEMORY;
	next->len = (uint32_t)unread(h1);
	memcpy(next->data, unread_at(h1), next->len);
	h1->held = h1->in;
	h1->in = next;
	return BAL_H1_OK;
}

static enum next
do_header(struct bal_h1 *h1)
{
	const struct w_balancer_options *opt = bal_opt(h1->edge);
	struct bal_h1_request request;
	enum bal_h1_error error = bal_h1_scan(&h1->scan, unread_at(h1), unread(h1), opt);

	if (error == BAL_H1_MORE)
		return h1->eof ? refused(h1, BAL_H1_CUT) : NEXT_PARK;
	if (error != BAL_H1_OK)
		return refused(h1, error);
	h1->x = bal_exchange_new(h1->edge, &front, h1);
	error = bal_h1_parse(&h1->scan, unread_at(h1),
	    bal_exchange_fields(h1->x, h1->scan.fields), &request);
	if (error == BAL_H1_OK)
		error = bal_h1_judge(&request, opt->max_body);
	if (error == BAL_H1_OK)
		error = keep_header(h1);
	if (error != BAL_H1_OK)
		return refused(h1, error);

	fill_in(h1, &request);
	h1->scan.seek = 0;
	h1->state = h1->left == 0 ? BAL_H1_WAIT : BAL_H1_BODY;
	h1->read_due = h1->left == 0 ? W_NEVER : bal_now(h1->edge) + opt->body_timeout;
	bal_exchange_start(h1->x);
	return NEXT_GO;
}

/* Give body bytes to the exchange, or to nobody when it is answered already. */
static size_t
give_body(struct bal_h1 *h1, struct w_view bytes, bool end)
{
	size_t taken = bytes.len;

	h1->poked = false;
	if (h1->state == BAL_H1_DRAIN) {
		taken = (size_t)W_MIN((uint64_t)bytes.len, h1->drain_left);
		h1->drain_left -= taken;
	} else {
		taken = bal_exchange_body(h1->x, bytes, end);
	}
	h1->in->pos += (uint32_t)taken;
	h1->body_size += taken;
	return taken;
}

static enum next
body_done(struct bal_h1 *h1)
{
	h1->left = 0;
	h1->expect = false;
	h1->read_due = W_NEVER;
	/* The exchange may have been answered meanwhile, and be gone. */
	if (h1->state == BAL_H1_BODY || h1->state == BAL_H1_DRAIN)
		h1->state = BAL_H1_WAIT;
	return NEXT_GO;
}

/* No more can be given now: more input, or the exchange, goes on. */
static enum next
body_parks(struct bal_h1 *h1, bool starved)
{
	if (h1->state == BAL_H1_DRAIN && h1->drain_left == 0)
		close_after_flush(h1, true);
	else if (starved && h1->eof)
		refuse(h1, BAL_H1_CUT);
	return NEXT_PARK;
}

static enum next
do_sized_body(struct bal_h1 *h1)
{
	size_t len = (size_t)W_MIN((uint64_t)unread(h1), (uint64_t)h1->left), taken;
	enum bal_h1_state state = h1->state;

	if (len == 0)
		return body_parks(h1, true);
	taken = give_body(h1, (struct w_view){ unread_at(h1), len }, (int64_t)len == h1->left);
	h1->left -= (int64_t)taken;
	if (h1->left == 0)
		return body_done(h1);
	/* Answered, or taken over by another server, inside that call: another step now. */
	if (h1->state != state || h1->poked)
		return NEXT_GO;
	return body_parks(h1, taken == len);
}

static enum next
do_chunked_body(struct bal_h1 *h1)
{
	const struct w_balancer_options *opt = bal_opt(h1->edge);
	enum bal_h1_state state = h1->state;
	enum bal_h1_error error = BAL_H1_MORE;
	size_t used, len, taken;

	if (unread(h1) == 0)
		return body_parks(h1, true);
	error = bal_chunks_next(&h1->chunks, unread_at(h1), unread(h1), opt->max_header, &used);
	h1->in->pos += (uint32_t)used;
	if (error != BAL_H1_OK && error != BAL_H1_MORE)
		return refused(h1, error);
	if (error == BAL_H1_OK) {
		give_body(h1, (struct w_view){ "", 0 }, true);
		return body_done(h1);
	}
	len = (size_t)W_MIN((uint64_t)unread(h1), h1->chunks.left);
	if (h1->chunks.state != BAL_CHUNK_DATA || len == 0)
		return body_parks(h1, true);
	if (opt->max_body != 0 && h1->body_size + h1->chunks.left > opt->max_body)
		return refused(h1, BAL_H1_BODY_LARGE);
	taken = give_body(h1, (struct w_view){ unread_at(h1), len }, false);
	bal_chunks_took(&h1->chunks, taken);
	return taken == len || h1->state != state || h1->poked ? NEXT_GO : body_parks(h1, false);
}

static enum next
do_body(struct bal_h1 *h1)
{
	return h1->left < 0 ? do_chunked_body(h1) : do_sized_body(h1);
}

static enum next
do_wait(struct bal_h1 *h1)
{
	if (h1->x != NULL)
		return NEXT_PARK;
	if (!h1->keep_alive) {
		/* Bytes that nobody will read would make the system reset the connection. */
		close_after_flush(h1, unread(h1) > 0);
		return NEXT_PARK;
	}
	h1->state = BAL_H1_IDLE;
	h1->read_due = bal_now(h1->edge) + bal_opt(h1->edge)->idle_timeout;
	return NEXT_GO;
}

static enum next
do_close(struct bal_h1 *h1 W_UNUSED)
{
	return NEXT_PARK;
}

static enum next (*const steps[])(struct bal_h1 *) = {
	[BAL_H1_IDLE] = do_idle,
	[BAL_H1_HEADER] = do_header,
	[BAL_H1_BODY] = do_body,
	[BAL_H1_WAIT] = do_wait,
	[BAL_H1_DRAIN] = do_body,
	[BAL_H1_CLOSE] = do_close,
};

static void
run(struct bal_h1 *h1)
{
	if (h1->running)
		return;
	h1->running = true;
	while (steps[h1->state](h1) == NEXT_GO)
		continue;
	h1->running = false;
	h1->wake(h1);
}

/* ---- the exchange's calls ---- */

/* The response ends with its head, while the body still comes: can the rest be skipped? */
static bool
rest_is_small(const struct bal_h1 *h1)
{
	return h1->state != BAL_H1_BODY ||
	    (!h1->expect && h1->left >= 0 && h1->left <= (int64_t)unread(h1));
}

static void
response_done(struct bal_h1 *h1)
{
	bal_exchange_end(&h1->x);
	release_held(h1);
	if (h1->state == BAL_H1_BODY) {
		if (h1->keep_alive && !h1->expect && h1->left <= BAL_DRAIN_MAX) {
			h1->drain_left = BAL_DRAIN_MAX;
			h1->state = BAL_H1_DRAIN;
		} else {
			close_after_flush(h1, true);
		}
	}
	run(h1);
}

static void
on_head(struct bal_exchange *x, const struct bal_head *head)
{
	struct bal_h1 *h1 = x->owner;

	if (h1->edge->draining || (h1->eof && unread(h1) == 0) ||
	    ((head->end || head->made_here) && !rest_is_small(h1)))
		h1->keep_alive = false;
	bal_h1_write_head(h1, head, x->req.id);
	h1->head_sent = true;
	h1->wake(h1);
	if (head->end)
		response_done(h1);
}

static void
break_off(struct bal_h1 *h1)
{
	bal_exchange_end(&h1->x);
	release_held(h1);
	give_up(h1);
}

static void
on_body(struct bal_exchange *x, struct w_view bytes, bool end)
{
	struct bal_h1 *h1 = x->owner;

	if (!h1->no_body && h1->res_left >= 0) {
		if ((int64_t)bytes.len > h1->res_left ||
		    (end && (int64_t)bytes.len != h1->res_left)) {
			break_off(h1);
			return;
		}
		h1->res_left -= (int64_t)bytes.len;
	}
	bal_h1_write_body(h1, bytes, end);
	h1->wake(h1);
	if (end)
		response_done(h1);
}

static void
on_fail(struct bal_exchange *x, int err W_UNUSED)
{
	break_off(x->owner);
}

static void
on_ready(struct bal_exchange *x)
{
	struct bal_h1 *h1 = x->owner;

	h1->poked = true;
	if (h1->expect && !h1->head_sent) {
		h1->expect = false;
		if (unread(h1) == 0) {
			bal_out_add(&h1->out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
			h1->wake(h1);
		}
	}
	run(h1);
}

static const struct bal_front front = {
	.head = on_head,
	.body = on_body,
	.fail = on_fail,
	.ready = on_ready,
};

/* ---- the connection's calls ---- */

void
bal_h1_init(struct bal_h1 *h1, struct bal_edge *edge)
{
	h1->edge = edge;
	h1->out.pool = &edge->pool;
	h1->state = BAL_H1_IDLE;
	h1->read_due = bal_now(edge) + bal_opt(edge)->idle_timeout;
}

void
bal_h1_fini(struct bal_h1 *h1)
{
	h1->running = true; /* no more steps */
	bal_exchange_end(&h1->x);
	release_held(h1);
	bal_block_give(&h1->edge->pool, &h1->in);
	bal_out_clear(&h1->out);
	h1->state = BAL_H1_CLOSE;
}

void
bal_h1_added(struct bal_h1 *h1, size_t len)
{
	h1->in->len += (uint32_t)len;
	run(h1);
}

void
bal_h1_eof(struct bal_h1 *h1)
{
	h1->eof = true;
	/* Over TLS nobody closes one direction only: who says goodbye does not wait for more. */
	if (h1->tls && h1->x != NULL)
		break_off(h1);
	else
		run(h1);
}

void
bal_h1_timeout(struct bal_h1 *h1)
{
	h1->read_due = W_NEVER;
	switch (h1->state) {
	case BAL_H1_HEADER:
		bal_count(h1->edge, BAL_M_SLOW_HEADER, 1);
		refuse(h1, BAL_H1_HEADER_SLOW);
		break;
	case BAL_H1_BODY:
		bal_count(h1->edge, BAL_M_SLOW_BODY, 1);
		refuse(h1, BAL_H1_BODY_SLOW);
		break;
	case BAL_H1_IDLE:
		bal_count(h1->edge, BAL_M_SLOW_IDLE, 1);
		close_after_flush(h1, false);
		break;
	default:
		close_after_flush(h1, false);
	}
}

void
bal_h1_flushed(struct bal_h1 *h1)
{
	if (h1->x != NULL)
		bal_exchange_flushed(h1->x, h1->out.bytes);
}

void
bal_h1_drain(struct bal_h1 *h1)
{
	if (h1->state == BAL_H1_IDLE)
		run(h1);
}

void
bal_h1_trim(struct bal_h1 *h1)
{
	if (h1->x == NULL && unread(h1) == 0)
		bal_block_give(&h1->edge->pool, &h1->in);
}
