/*
 * Exchanges: see exchange.h. Order of this file: begin, body out, response in, failures and
 * retries, end.
 */
#include "balancer/exchange.h"

#include "balancer/problem.h"
#include "balancer/text.h"
#include "common/log.h"

#define MAGIC 0x42584348 /* "BXCH" */
#define FREE_KEPT 256
#define REPLAY_KEPT 4096 /* bytes of replay memory kept with a free exchange */

/* Takes the callbacks of streams whose exchange is over. */
static struct bal_exchange gone = { .magic = MAGIC };

/* ---- begin ---- */

struct bal_exchange *
bal_exchange_new(struct bal_edge *edge, const struct bal_front *front, void *owner)
{
	struct bal_exchange *x = edge->free_exchanges;

	if (x != NULL) {
		edge->free_exchanges = x->next;
		edge->free_count--;
	} else {
		x = w_xcalloc(1, sizeof(*x));
		x->magic = MAGIC;
		x->edge = edge;
	}
	x->front = front;
	x->owner = owner;
	x->replayable = true;
	x->replay.limit = bal_opt(edge)->retry_buffer;
	edge->in_flight++;
	bal_gauge(edge, BAL_M_IN_FLIGHT, 1);
	return x;
}

struct lnk_field *
bal_exchange_fields(struct bal_exchange *x, size_t count)
{
	struct lnk_field *fields = x->inline_fields;

	if (count > BAL_FIELDS_INLINE) {
		if (count > x->fields_cap) {
			x->more_fields = w_xrealloc(x->more_fields, count * sizeof(*fields));
			x->fields_cap = count;
		}
		fields = x->more_fields;
	}
	x->req.fields = fields;
	return fields;
}

static void wait_for_credit(struct bal_exchange *x);
static void fail(struct bal_exchange *x, int err);
static void closed(struct bal_exchange *x, int err);

static void
set_timer(struct bal_exchange *x, w_usec due)
{
	bal_timer_set(&x->edge->wheel, &x->timer, due);
}

/* A link call may close the stream before it returns; what to do then waits until after it. */
static void
call_ended(struct bal_exchange *x)
{
	int err = x->closed_err;

	x->calling = false;
	x->closed_err = 0;
	if (err != 0)
		closed(x, err > 0 ? W_OK : err);
}

/* Send kept bytes that the stream has not got yet. False: its window is full. */
static bool
send_replay(struct bal_exchange *x)
{
	struct w_view rest = w_view_sub(w_buf_get(&x->replay), x->replay_sent, SIZE_MAX);
	size_t taken;

	if (rest.len == 0 && !(x->body_end && !x->end_sent))
		return true;
	taken = x->edge->sched.backend->send(x->stream, rest, x->body_end);
	x->replay_sent += taken;
	if (taken < rest.len)
		return false;
	x->end_sent = x->body_end;
	return true;
}

static int
open_at(struct bal_exchange *x, struct bal_peer *peer)
{
	struct bal_edge *edge = x->edge;
	int rc;

	x->req.timeout = W_MAX(x->deadline - bal_now(edge), W_MSEC);
	x->req.attempt = x->tries;
	rc = edge->sched.backend->open(peer->link, &x->req, x, &x->stream);
	if (rc < 0)
		return rc;
	x->tries++;
	x->node = peer->server->hash;
	x->peer_id = peer->id;
	x->slot = peer->slot;
	x->opened = bal_now(edge);
	x->end_sent = x->req.end;
	if (x->tries == 1)
		bal_observe(edge, BAL_M_QUEUE_WAIT, x->opened - x->received);
	set_timer(x, x->deadline);
	if (x->req.end)
		return W_OK;

	x->calling = true;
	if (send_replay(x) && !x->body_end)
		x->front->ready(x);
	call_ended(x);
	return W_OK;
}

/* Find a server now, else wait for one. */
static void
dispatch(struct bal_exchange *x)
{
	struct bal_sched *sched = &x->edge->sched;
	unsigned most = sched->peer_count;
	struct bal_peer *peer;
	int rc = -W_EBUSY;

	if (!x->waiter.again && bal_sched_queued(sched))
		most = 0;
	/* A peer may turn out to be full or going: ask each once. */
	while (most-- > 0 && (peer = bal_sched_pick(sched, &x->waiter.avoid)) != NULL) {
		rc = open_at(x, peer);
		if (rc == W_OK)
			return;
		if (rc != -W_EBUSY && rc != -W_EDOWN)
			break;
	}
	if (rc != -W_EBUSY && rc != -W_EDOWN)
		fail(x, rc);
	else
		wait_for_credit(x);
}

static void
place(struct bal_waiter *waiter, struct bal_peer *peer)
{
	struct bal_exchange *x = w_container_of(waiter, struct bal_exchange, waiter);
	int rc;

	x->waiting = false;
	bal_gauge(x->edge, BAL_M_QUEUED, -1);
	rc = open_at(x, peer);
	if (rc == -W_EBUSY || rc == -W_EDOWN)
		wait_for_credit(x);
	else if (rc < 0)
		fail(x, rc);
}

static int
no_server(const struct bal_exchange *x)
{
	if (x->last_err != 0)
		return x->last_err;
	return x->edge->sched.server_count == 0 ? -W_EDOWN : -W_EBUSY;
}

/*
 * Who comes for the first time finds a bounded queue. Who comes again was let in before, so there
 * are no more of them than there was credit, and what they wait for may just be restarting.
 */
static void
wait_for_credit(struct bal_exchange *x)
{
	struct bal_edge *edge = x->edge;
	w_usec most = x->waiter.again ? x->avoid_until : bal_now(edge) + bal_opt(edge)->queue_timeout;

	if (!x->waiter.again && edge->sched.waiting >= bal_opt(edge)->queue_max) {
		fail(x, no_server(x));
		return;
	}
	x->waiting = true;
	bal_gauge(edge, BAL_M_QUEUED, 1);
	bal_sched_wait(&edge->sched, &x->waiter);
	set_timer(x, W_MIN(x->deadline, most));
}

static void
stop_waiting(struct bal_exchange *x)
{
	if (!x->waiting)
		return;
	x->waiting = false;
	bal_gauge(x->edge, BAL_M_QUEUED, -1);
	bal_sched_leave(&x->edge->sched, &x->waiter);
}

/* Whoever was to be avoided has shown by now whether it lives. */
static void
avoid_nobody(struct bal_exchange *x)
{
	stop_waiting(x);
	x->waiter.avoid = (struct bal_avoid){ .node = 0 };
	x->avoid_until = W_NEVER;
	dispatch(x);
}

static void
on_timer(struct bal_timer *timer)
{
	struct bal_exchange *x = w_container_of(timer, struct bal_exchange, timer);
	bool late = bal_now(x->edge) >= x->deadline;

	if (x->waiting && x->waiter.again && !late) {
		avoid_nobody(x);
	} else if (x->waiting && !late) {
		bal_count(x->edge, BAL_M_SLOW_QUEUE, 1);
		fail(x, no_server(x));
	} else {
		bal_count(x->edge, BAL_M_SLOW_REQUEST, 1);
		fail(x, x->waiting && x->waiter.again && !x->req.doubt ? no_server(x) : -W_ETIMEOUT);
	}
}

static bool
is_safe(struct w_view method)
{
	return w_view_eq(method, W_VIEW("GET")) || w_view_eq(method, W_VIEW("HEAD")) ||
	    w_view_eq(method, W_VIEW("OPTIONS"));
}

void
bal_exchange_start(struct bal_exchange *x)
{
	struct bal_edge *edge = x->edge;
	struct w_view method = x->req.method;

	x->received = bal_now(edge);
	x->deadline = x->received + bal_opt(edge)->request_timeout;
	x->body_end = x->req.end;
	x->safe = is_safe(method);
	x->idempotent =
	    x->safe || w_view_eq(method, W_VIEW("PUT")) || w_view_eq(method, W_VIEW("DELETE"));
	x->timer.fire = on_timer;
	x->waiter.place = place;

	x->req.id = (struct w_view){ x->id, bal_make_id(edge, x->id) };
	if (!bal_trace_valid(x->req.traceparent)) {
		bal_trace_make(x->trace);
		x->req.traceparent = (struct w_view){ x->trace, BAL_TRACE_LEN };
	}
	if (x->req.idempotency.len == 0 && !x->safe)
		x->req.idempotency = (struct w_view){ x->key, bal_make_key(x->req.id, x->key) };
	bal_budget_request(&edge->budget, x->received);
	dispatch(x);
}

/* ---- body out ---- */

/* Keep bytes for another try, as long as there is room. */
static void
keep(struct bal_exchange *x, struct w_view bytes)
{
	if (!x->replayable || bytes.len == 0)
		return;
	if (x->replay.len + bytes.len > bal_opt(x->edge)->retry_buffer) {
		x->replayable = false;
		w_buf_fini(&x->replay);
		x->replay_sent = 0;
		return;
	}
	w_buf_view(&x->replay, bytes);
	x->replay_sent += bytes.len;
}

/* No stream yet: what fits is kept and sent later. */
static size_t
body_waits(struct bal_exchange *x, struct w_view bytes, bool end)
{
	size_t limit = bal_opt(x->edge)->retry_buffer;
	size_t room = x->replay.len < limit ? limit - x->replay.len : 0;
	size_t taken = x->replayable ? W_MIN(room, bytes.len) : 0;

	w_buf_view(&x->replay, w_view_sub(bytes, 0, taken));
	if (taken == bytes.len && end)
		x->body_end = true;
	return taken;
}

static size_t
body_to_stream(struct bal_exchange *x, struct w_view bytes, bool end)
{
	size_t taken;

	if (!send_replay(x))
		return 0;
	taken = x->edge->sched.backend->send(x->stream, bytes, end);
	keep(x, w_view_sub(bytes, 0, taken));
	if (taken == bytes.len && end)
		x->body_end = x->end_sent = true;
	return taken;
}

size_t
bal_exchange_body(struct bal_exchange *x, struct w_view bytes, bool end)
{
	bool nested = x->calling;
	size_t taken;

	if (x->ended || x->body_end)
		return bytes.len;
	if (x->stream == NULL)
		return x->closed_err != 0 ? 0 : body_waits(x, bytes, end);

	x->calling = true;
	taken = body_to_stream(x, bytes, end);
	if (!nested)
		call_ended(x);
	return taken;
}

void
bal_exchange_on_writable(struct lnk_stream *stream, void *arg)
{
	struct bal_exchange *x = w_typed(arg, MAGIC);

	if (x == &gone || x->stream != stream || x->ended)
		return;
	x->calling = true;
	if (send_replay(x) && !x->body_end)
		x->front->ready(x);
	call_ended(x);
}

/* ---- response in ---- */

void
bal_edge_answered(struct bal_edge *edge, unsigned status)
{
	unsigned class = W_MIN(W_MAX(status / 100, 1U), 5U);

	bal_count(edge, (enum bal_metric)(BAL_M_1XX + class - 1), 1);
}

static inline void
board_add(_Atomic(uint64_t) *figure, uint64_t n)
{
	/* The worker is the only writer. */
	atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

/* The front gets the last of the response with the call that follows. */
static void
account(struct bal_exchange *x)
{
	w_usec took = bal_now(x->edge) - x->received;

	x->ended = true;
	bal_timer_stop(&x->edge->wheel, &x->timer);
	bal_edge_answered(x->edge, x->status);
	bal_observe(x->edge, BAL_M_DURATION, took);
	if (x->slot == NULL)
		return;
	board_add(&x->slot->responses, 1);
	board_add(&x->slot->latency, (uint64_t)took);
	if (x->status >= 500)
		board_add(&x->slot->errors, 1);
}

static bool
response_sane(const struct lnk_response *response)
{
	if (response->status < 200 || response->status > 599)
		return false;
	for (size_t i = 0; i < response->field_count; i++)
		if (!bal_text_token(response->fields[i].name) ||
		    !bal_text_value(response->fields[i].value))
			return false;
	return true;
}

void
bal_exchange_on_response(struct lnk_stream *stream, const struct lnk_response *response, void *arg)
{
	struct bal_exchange *x = w_typed(arg, MAGIC);
	w_usec now;

	if (x == &gone || x->stream != stream || x->head_sent)
		return;
	if (!response_sane(response)) {
		fail(x, -W_EPROTO);
		return;
	}
	now = bal_now(x->edge);
	bal_timer_stop(&x->edge->wheel, &x->timer);
	x->head_sent = true;
	x->status = response->status;
	struct bal_head head = {
		.status = response->status,
		.length = response->length,
		.end = response->end,
		.fields = response->fields,
		.field_count = response->field_count,
		.waited = x->opened - x->received,
		.queue = response->queue,
		.handler = response->handler,
		.database = response->database,
	};
	head.link = W_MAX(now - x->opened - response->queue - response->handler, 0);
	if (head.end)
		account(x);
	x->front->head(x, &head);
}

void
bal_exchange_on_data(struct lnk_stream *stream, struct w_view bytes, bool end, void *arg)
{
	struct bal_exchange *x = w_typed(arg, MAGIC);

	if (x == &gone || x->stream != stream || x->ended)
		return;
	if (!x->head_sent) {
		fail(x, -W_EPROTO);
		return;
	}
	x->pending += bytes.len;
	if (end)
		account(x);
	x->front->body(x, bytes, end);
}

void
bal_exchange_flushed(struct bal_exchange *x, size_t left)
{
	size_t done = x->pending - W_MIN(x->pending, left);

	x->pending -= done;
	if (done > 0 && x->stream != NULL && !x->ended)
		x->edge->sched.backend->consumed(x->stream, done);
}

/* ---- failures and retries ---- */

static enum bal_metric
failure_metric(int err)
{
	switch (-err) {
	case W_ELOST:
		return BAL_M_FAILED_LOST;
	case W_EBUSY:
		return BAL_M_FAILED_BUSY;
	case W_EDOWN:
		return BAL_M_FAILED_DOWN;
	case W_ETIMEOUT:
		return BAL_M_FAILED_TIMEOUT;
	default:
		return BAL_M_FAILED_OTHER;
	}
}

static void
log_failure(const struct bal_exchange *x, int err, unsigned status)
{
	char object[BAL_ID_SIZE + 8], method[64], target[160];

	if (!w_log_wants(W_WARN))
		return;
	snprintf(object, sizeof(object), "req=%s", x->id);
	w_log(W_WARN, object, "request-failed", "status=%u cause=%s method=%s target=%s tries=%u ms=%lld",
	    status, w_err_name(err), w_log_quote(x->req.method, method, sizeof(method)),
	    w_log_quote(x->req.target, target, sizeof(target)), x->tries,
	    (long long)((bal_now(x->edge) - x->received) / W_MSEC));
}

static void
drop_stream(struct bal_exchange *x, int err)
{
	struct lnk_stream *stream = w_steal(&x->stream);

	if (stream != NULL)
		x->edge->sched.backend->reset(stream, err);
}

static void
give_problem(struct bal_exchange *x, unsigned status, const char *detail)
{
	struct bal_problem problem;

	bal_problem_make(&problem, status, detail, x->req.id);
	struct bal_head head = {
		.status = status,
		.length = (int64_t)problem.len,
		.made_here = true,
		.fields = problem.fields,
		.field_count = problem.field_count,
		.waited = -1, .link = -1, .queue = -1, .handler = -1, .database = -1,
	};
	x->front->head(x, &head);
	x->front->body(x, (struct w_view){ problem.body, problem.len }, true);
}

/*
 * A lost server may have done what was asked. Then a 503, which invites to ask again, would be a
 * lie, whatever became of later tries.
 */
static const char *
tell_doubt(struct bal_exchange *x, int *err)
{
	if (!x->req.doubt || x->safe)
		return w_err_text(*err);
	if (w_err_http(*err) == 503)
		*err = -W_ELOST;
	bal_count(x->edge, BAL_M_IN_DOUBT, 1);
	return "a server that worked on it was lost, and no other has answered: the outcome is unknown";
}

/* The request fails for good. The exchange may be gone afterwards. */
static void
fail(struct bal_exchange *x, int err)
{
	bool begun = x->head_sent;
	const char *detail = begun ? NULL : tell_doubt(x, &err);
	unsigned status = (unsigned)w_err_http(err);

	stop_waiting(x);
	drop_stream(x, err == -W_ETIMEOUT ? -W_ETIMEOUT : -W_ECANCELED);
	if (status >= 500) {
		bal_count(x->edge, failure_metric(err), 1);
		log_failure(x, err, begun ? x->status : status);
	}
	if (!begun)
		x->status = status;
	x->head_sent = true;
	account(x);
	if (begun)
		x->front->fail(x, err);
	else
		give_problem(x, status, detail);
}

/*
 * The budget holds back what could become a storm. It need not hold back those that a server took
 * with it, for what a dying server has in hand is bounded by its credit; nor the first refusal, for
 * it cost nobody work.
 */
static bool
within_budget(struct bal_exchange *x, int err)
{
	struct bal_edge *edge = x->edge;
	w_usec now = bal_now(edge);

	if (x->lost)
		return true;
	if (err == -W_EREFUSED && x->tries == 1) {
		bal_budget_retry(&edge->budget, now);
		return true;
	}
	if (bal_budget_take(&edge->budget, now, (unsigned)bal_opt(edge)->retry_budget))
		return true;
	bal_count(edge, BAL_M_BUDGET_EMPTY, 1);
	return false;
}

/*
 * May it go to another server? One that is not idempotent, too, when its server is lost: it says
 * DOUBT then, and a server that could do it twice refuses it.
 */
static bool
may_retry(struct bal_exchange *x, int err)
{
	bool again = err == -W_ELOST || err == -W_EREFUSED || (x->idempotent && w_err_retry(err));

	if (!again || x->head_sent || !x->replayable || bal_now(x->edge) >= x->deadline)
		return false;
	if (x->tries >= BAL_TRIES_MAX) {
		bal_count(x->edge, BAL_M_TRIES_USED, 1);
		return false;
	}
	return within_budget(x, err);
}

/*
 * A node that lost one session has probably lost its process, so all that it had until now is
 * avoided until the last of it must have been noticed. Who refused is avoided alone.
 */
static void
retry(struct bal_exchange *x, int err)
{
	struct bal_edge *edge = x->edge;
	bool lost = err == -W_ELOST;

	bal_count(edge, lost ? BAL_M_RETRY_LOST :
	    err == -W_EREFUSED ? BAL_M_RETRY_REFUSED : BAL_M_RETRY_ERROR, 1);
	x->waiter.avoid = (struct bal_avoid){ x->node, lost ? 0 : x->peer_id,
		lost ? edge->sched.last_id : x->peer_id };
	x->waiter.again = true;
	x->avoid_until = bal_now(edge) + BAL_AVOID;
	x->replay_sent = 0;
	x->end_sent = false;
	dispatch(x);
}

/* The stream is gone before the response was complete. */
static void
closed(struct bal_exchange *x, int err)
{
	if (x->ended)
		return;
	if (err == W_OK)
		err = -W_EPROTO;
	else if (err == -W_ECANCELED)
		err = -W_ESHUTDOWN;
	if (err == -W_ELOST && x->slot != NULL)
		board_add(&x->slot->lost, 1);
	x->lost |= err == -W_ELOST;
	x->req.doubt |= err != -W_EREFUSED && w_err_retry(err);
	x->last_err = err;
	if (may_retry(x, err))
		retry(x, err);
	else
		fail(x, err);
}

void
bal_exchange_on_closed(struct lnk_stream *stream, int err, void *arg)
{
	struct bal_exchange *x = w_typed(arg, MAGIC);

	if (x == &gone || x->stream != stream)
		return;
	x->stream = NULL;
	if (x->calling)
		x->closed_err = err == W_OK ? 1 : err;
	else
		closed(x, err);
}

/* ---- end ---- */

/* Ready for the next request. Pooled memory stays, and the big arrays need no wiping. */
static void
wipe(struct bal_exchange *x)
{
	struct w_buf replay = x->replay;

	if (replay.cap > REPLAY_KEPT)
		w_buf_fini(&replay);
	w_buf_clear(&replay);
	x->front = NULL;
	x->owner = NULL;
	memset(&x->req, 0, sizeof(x->req));
	memset(&x->waiter, 0,
	    offsetof(struct bal_exchange, id) - offsetof(struct bal_exchange, waiter));
	x->replay = replay;
}

void
bal_exchange_end(struct bal_exchange **ptr)
{
	struct bal_exchange *x = w_steal(ptr);
	struct bal_edge *edge;

	if (x == NULL)
		return;
	edge = x->edge;
	stop_waiting(x);
	bal_timer_stop(&edge->wheel, &x->timer);
	if (!x->ended && x->received != 0)
		bal_count(edge, BAL_M_GONE, 1);
	if (x->stream != NULL && x->ended && x->end_sent)
		edge->sched.backend->set_arg(w_steal(&x->stream), &gone);
	drop_stream(x, -W_ECANCELED);
	edge->in_flight--;
	bal_gauge(edge, BAL_M_IN_FLIGHT, -1);
	wipe(x);
	if (edge->free_count >= FREE_KEPT) {
		w_buf_fini(&x->replay);
		free(x->more_fields);
		free(x);
		return;
	}
	x->next = edge->free_exchanges;
	edge->free_exchanges = x;
	edge->free_count++;
}

void
bal_exchanges_fini(struct bal_edge *edge)
{
	struct bal_exchange *x;

	while ((x = edge->free_exchanges) != NULL) {
		edge->free_exchanges = x->next;
		w_buf_fini(&x->replay);
		free(x->more_fields);
		free(x);
	}
	edge->free_count = 0;
}
