/* Both ends joined by memory: credit, windows, full queues, and peers that break the rules. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>

#include "tests/unit/link/pair.h"
#include "tests/unit/link/suites.h"

static struct lnk_peer *
server_of(struct pair *pair)
{
	CU_ASSERT_EQUAL_FATAL(pair->client.peer_count, 1);
	return pair->client.peers[0];
}

static int
open_call(struct pair *pair, struct call *call, const char *target, size_t body)
{
	return call_open(call, &pair->client, server_of(pair), target, body);
}

/* A batch of the test's own. */
static struct w_buf *
forge(struct w_buf *batch)
{
	w_buf_clear(batch);
	lnk__batch_begin(batch);
	return batch;
}

static int
inject(struct pair_side *to, struct w_buf *batch)
{
	return pair_inject(to, batch, to->peer.in_number);
}

/* ---- credit ---- */

static void
credit_is_kept(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[5];

	CU_ASSERT_EQUAL(lnk_peer_credit(server_of(pair)), 4);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			CU_ASSERT_EQUAL(open_call(pair, &calls[i], "/hold", 0), W_OK);
		CU_ASSERT_EQUAL(open_call(pair, &calls[4], "/hold", 0), -W_EBUSY);
		pair_run(pair);
		CU_ASSERT_EQUAL(open_call(pair, &calls[4], "/hold", 0), -W_EBUSY);
		CU_ASSERT_EQUAL(pair->server.held_count, 4);
		CU_ASSERT_EQUAL(lnk_peer_streams(server_of(pair)), 4);
		server_answer(&pair->server);
		pair_run(pair);
		CU_ASSERT_EQUAL(lnk_peer_credit(server_of(pair)), 4);
	}
	CU_ASSERT_EQUAL(pair->server.most, 4);
	CU_ASSERT_EQUAL(pair->client.ok, 12);
	CU_ASSERT_EQUAL(pair->client.credits, 4);
	pair_free(&pair);
}

static void
above_capacity_is_refused(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[4];

	pair->spoke.end.capacity = 1; /* as if another balancer had taken the rest */
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(open_call(pair, &calls[i], "/hold", 0), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->server.requests, 1);
	CU_ASSERT_EQUAL(pair->client.refused, 3);
	server_answer(&pair->server);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, 1);
	CU_ASSERT_EQUAL(pair_metric(pair, LNK__REFUSED), 6); /* at both ends */
	pair_free(&pair);
}

static void
credit_can_be_lowered(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[2];

	CU_ASSERT_EQUAL(open_call(pair, &calls[0], "/hold", 0), W_OK);
	pair_run(pair);
	pair->spoke.peer.share = 1;
	lnk__peer_touch(&pair->spoke.peer);
	pair_run(pair);
	CU_ASSERT_EQUAL(lnk_peer_credit(server_of(pair)), 0);
	CU_ASSERT_EQUAL(open_call(pair, &calls[1], "/hold", 0), -W_EBUSY);
	server_answer(&pair->server);
	pair_run(pair);
	CU_ASSERT_EQUAL(lnk_peer_credit(server_of(pair)), 1);
	pair_free(&pair);
}

static void
repetition_is_harmless(void)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	struct pair *pair = pair_new(4);
	struct call call;

	CU_ASSERT_EQUAL(open_call(pair, &call, "/echo", 3 << 20), W_OK);
	forge(&batch);
	for (int i = 0; i < 3; i++)
		lnk__put_number(&batch, LNK__CREDIT, 0, pair->hub.peer.limit);
	for (int i = 0; i < 3; i++)
		lnk__put_number(&batch, LNK__WINDOW, 1, 1000);
	/* The hub's number is not moved on, so the spoke's own next batch is no gap. */
	CU_ASSERT_EQUAL(inject(&pair->hub, &batch), W_OK);
	pair->hub.peer.in_number--;
	CU_ASSERT_EQUAL(lnk_peer_credit(server_of(pair)), 3);
	pair_run(pair);
	CU_ASSERT_EQUAL(call.got, 3 << 20);
	CU_ASSERT_EQUAL(pair->client.ok, 1);
	pair_free(&pair);
}

static void
many_streams_and_old_ones(void)
{
	struct pair *pair = pair_new(100);
	struct call held[40], call;

	for (int i = 0; i < 5000; i++) {
		if (i % 125 == 0)
			CU_ASSERT_EQUAL(open_call(pair, &held[i / 125], "/hold", 0), W_OK);
		CU_ASSERT_EQUAL(open_call(pair, &call, "/fast", 0), W_OK);
		pair_run(pair);
		CU_ASSERT_PTR_NULL_FATAL(call.stream);
	}
	server_answer(&pair->server);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, 5040);
	CU_ASSERT_EQUAL(pair->hub.end.active + pair->spoke.end.active, 0);
	pair_free(&pair);
}

/* Numbers that share a place in the table, and leave it in any order. */
static void
streams_at_random(void)
{
	enum { MOST = 64, ROUNDS = 3000 };
	struct pair *pair = pair_new(MOST);
	static struct call calls[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		unsigned victim;

		CU_ASSERT_EQUAL_FATAL(open_call(pair, &calls[i], "/hold", 0), W_OK);
		pair_run(pair);
		if (pair->server.held_count < MOST && i % 7 != 0)
			continue;
		/* Mostly old ones stay, so that young ones have to step aside. */
		victim = (unsigned)(w_random() % pair->server.held_count);
		server_answer_one(&pair->server, W_MAX(victim, pair->server.held_count / 2));
		pair_run(pair);
	}
	CU_ASSERT_EQUAL(pair->server.requests, ROUNDS);
	for (unsigned i = 0; i < pair->server.held_count; i++)
		CU_ASSERT_PTR_NOT_NULL(
		    lnk__stream_find(&pair->hub.peer, pair->server.held[i]->number));
	server_answer(&pair->server);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, ROUNDS);
	pair_free(&pair);
}

/* ---- windows ---- */

static void
slow_client_stops_server(void)
{
	struct pair *pair = pair_new(4);
	struct call call;

	pair->client.slow = true;
	CU_ASSERT_EQUAL(open_call(pair, &call, "/echo", 1 << 20), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(call.got, LNK_WINDOW);
	pair->client.slow = false;
	lnk_stream_consumed(call.stream, call.got);
	pair_run(pair);
	CU_ASSERT_EQUAL(call.got, 1 << 20);
	CU_ASSERT(call.end && !call.wrong);
	pair_free(&pair);
}

static void
slow_server_stops_client(void)
{
	struct pair *pair = pair_new(4);
	struct call call;

	pair->server.slow = true;
	CU_ASSERT_EQUAL(open_call(pair, &call, "/echo", 1 << 20), W_OK);
	CU_ASSERT_EQUAL(lnk_stream_window(call.stream), 0);
	pair_run(pair);
	CU_ASSERT_EQUAL(call.sent, LNK_WINDOW);
	CU_ASSERT_EQUAL(pair->server.got, LNK_WINDOW);
	pair_free(&pair);
}

/* Send DATA to a server that takes none, whatever the window says; how did the stream end? */
static int
overdo(struct pair *pair, size_t length, size_t pieces, size_t piece, bool end)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	static char zeros[LNK_DATA_MAX];
	static struct call call; /* closed when the pair goes */

	pair->server.slow = pair->server.unchecked = true;
	CU_ASSERT_EQUAL(open_call(pair, &call, "/echo", length), W_OK);
	pair->hub.tail = pair->hub.head; /* the body stays behind */
	w_buf_clear(&pair->hub.peer.batch);
	forge(&batch);
	{
		const struct lnk_request request = {
		    .method = W_VIEW("PUT"), .target = W_VIEW("/echo"), .length = (int64_t)length};
		size_t size;

		CU_ASSERT_EQUAL(lnk__request_size(&request, &size), W_OK);
		lnk__put_request(&batch, 1, &request, size);
	}
	for (size_t i = 0; i < pieces; i++)
		lnk__put_data(&batch, 1, (struct w_view){zeros, piece}, end && i + 1 == pieces);
	CU_ASSERT_EQUAL(inject(&pair->spoke, &batch), W_OK);
	CU_ASSERT_EQUAL(pair->server.closed, 1);
	CU_ASSERT_EQUAL(pair->spoke.peer.state, LNK__OPEN);
	return pair->server.last_err;
}

static void
data_beyond_window(void)
{
	struct pair *pair = pair_new(4);

	CU_ASSERT_EQUAL(overdo(pair, 1 << 20, 5, LNK_DATA_MAX, false), -W_EPROTO);
	CU_ASSERT_EQUAL(pair->server.got, LNK_WINDOW);
	pair_free(&pair);
}

static void
data_that_does_not_add_up(void)
{
	struct pair *pair = pair_new(4);

	CU_ASSERT_EQUAL(overdo(pair, 3, 2, 1, true), -W_EPROTO);
	pair_free(&pair);
	pair = pair_new(4);
	CU_ASSERT_EQUAL(overdo(pair, 3, 2, 2, false), -W_EPROTO);
	pair_free(&pair);
}

/* ---- ends of streams ---- */

static void
reset_inside_data(void)
{
	struct pair *pair = pair_new(4);
	struct call call;

	pair->client.reset_on_data = true;
	CU_ASSERT_EQUAL(open_call(pair, &call, "/echo", 600000), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.closed, 0);
	CU_ASSERT_EQUAL(pair->server.closed, 1);
	CU_ASSERT_EQUAL(pair->server.last_err, -W_ECANCELED);
	CU_ASSERT(pair_metric(pair, LNK__LATE) > 0);
	CU_ASSERT_EQUAL(pair_metric(pair, LNK__ERRORS), 0);
	pair->client.reset_on_data = false;
	CU_ASSERT_EQUAL(open_call(pair, &call, "/echo", 600000), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, 1);
	pair_free(&pair);
}

static void
open_inside_closed(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[4];

	pair->spoke.end.capacity = 1;
	pair->client.reopen = true;
	for (int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(open_call(pair, &calls[i], "/hold", 0), W_OK);
	lnk__end_turn(&pair->hub.end);
	/* The second is refused, and opened again and again while there is credit. */
	pair->spoke.end.capacity = 1;
	for (int i = 0; i < 3; i++) {
		lnk__end_turn(&pair->hub.end);
		lnk__end_turn(&pair->spoke.end);
	}
	pair->spoke.end.capacity = 4;
	pair_run(pair);
	server_answer(&pair->server);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, 2);
	pair_free(&pair);
}

static void
answer_without_the_body(void)
{
	struct pair *pair = pair_new(4);
	struct lnk_response response = {.status = 413, .end = true};
	struct call call;

	pair->server.slow = true;
	CU_ASSERT_EQUAL(open_call(pair, &call, "/echo", 1 << 20), W_OK);
	pair_run(pair);
	{
		struct lnk_stream *stream = lnk__stream_find(&pair->spoke.peer, 1);

		CU_ASSERT_EQUAL(lnk_stream_respond(stream, &response), W_OK);
		free(lnk_stream_arg(stream));
		lnk_stream_reset(stream, W_OK);
	}
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.status, 413);
	CU_ASSERT_EQUAL(pair->client.ok, 1);
	pair_free(&pair);
}

static void
response_too_big(void)
{
	static char big[300000];
	const struct lnk_field field = {W_VIEW("a"), {big, sizeof(big)}};
	struct lnk_response response = {
	    .status = 200, .end = true, .fields = &field, .field_count = 1};
	struct pair *pair = pair_new(4);
	struct call call;

	CU_ASSERT_EQUAL(open_call(pair, &call, "/hold", 0), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(lnk_stream_respond(pair->server.held[0], &response), -W_ETOOBIG);
	server_answer(&pair->server);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.status, 204);
	pair_free(&pair);
}

static void
dirty_field(void)
{
	const struct lnk_field field = {W_VIEW("a"), W_VIEW("b\r\nset-cookie: c")};
	struct lnk_response response = {
	    .status = 200, .end = true, .fields = &field, .field_count = 1};
	struct pair *pair = pair_new(4);
	struct call call;

	CU_ASSERT_EQUAL(open_call(pair, &call, "/hold", 0), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(lnk_stream_respond(pair->server.held[0], &response), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.last_err, -W_EPROTO);
	CU_ASSERT_EQUAL(pair->client.responses, 0);
	CU_ASSERT_EQUAL(open_call(pair, &call, "/fine", 0), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, 1);
	pair_free(&pair);
}

/* ---- full queues, dead connections ---- */

static void
full_queue(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[3];

	pair->hub.full = true;
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(open_call(pair, &calls[i], "/echo", i * 100000), W_OK);
		pair_run(pair);
	}
	CU_ASSERT_EQUAL(pair->server.requests, 0);
	CU_ASSERT(pair_metric(pair, LNK__BACKLOG) > 300000);
	pair->hub.full = false;
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, 3);
	CU_ASSERT_EQUAL(pair_metric(pair, LNK__BACKLOG), 0);
	CU_ASSERT(pair_metric(pair, LNK__BLOCKED) >= 3);
	pair_free(&pair);
}

static void
full_queue_stops_bodies(void)
{
	enum { COUNT = 16 };
	struct pair *pair = pair_new(COUNT);
	struct call calls[COUNT];
	size_t sent = 0;

	pair->hub.full = true;
	for (int i = 0; i < COUNT; i++) {
		CU_ASSERT_EQUAL(open_call(pair, &calls[i], "/echo", LNK_WINDOW), W_OK);
		sent += calls[i].sent;
	}
	CU_ASSERT(sent >= LNK__BACKLOG_SLOW && sent <= LNK__BACKLOG_SLOW + 2 * LNK_BATCH_MAX);
	CU_ASSERT_EQUAL(lnk_stream_window(calls[COUNT - 1].stream), 0);
	pair->hub.full = false;
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, COUNT);
	pair_free(&pair);
}

static void
dead_connection(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[2];

	CU_ASSERT_EQUAL(open_call(pair, &calls[0], "/hold", 0), W_OK);
	pair_run(pair);
	pair->hub.cut = true;
	CU_ASSERT_EQUAL(open_call(pair, &calls[1], "/echo", 500000), W_OK);
	CU_ASSERT_EQUAL(pair->client.closed, 0); /* not from inside a call */
	lnk__end_turn(&pair->hub.end);
	CU_ASSERT_EQUAL(pair->client.lost, 2);
	CU_ASSERT_EQUAL(pair->client.downs, 1);
	CU_ASSERT_EQUAL(pair->client.down_err, -W_ELOST);
	CU_ASSERT_EQUAL(pair_metric(pair, LNK__LOST), 2);
	pair_free(&pair);
}

/* A peer whose queue stays full is lost before its backlog takes all memory. */
static void
endless_backlog(void)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	struct pair *pair = pair_new(4);

	pair->hub.full = true;
	while (!pair->hub.buried) {
		forge(&batch);
		for (int i = 0; i < 10000; i++)
			lnk__put_number(&batch, LNK__PING, 0, 1);
		if (inject(&pair->hub, &batch) < 0)
			break;
		lnk__end_turn(&pair->hub.end);
		CU_ASSERT_FATAL(pair_metric(pair, LNK__BACKLOG) < LNK__BACKLOG_MAX + LNK_BATCH_MAX);
	}
	CU_ASSERT_EQUAL(pair->client.down_err, -W_ELOST);
	CU_ASSERT_EQUAL(pair_metric(pair, LNK__BACKLOG), 0);
	pair_free(&pair);
}

/* ---- goodbyes ---- */

static void
drain(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[3];

	CU_ASSERT_EQUAL(open_call(pair, &calls[0], "/hold", 0), W_OK);
	pair_run(pair);
	pair->spoke.end.draining = true;
	lnk__peer_goaway(&pair->spoke.peer, false, -W_ESHUTDOWN, "draining");
	lnk__end_turn(&pair->spoke.end);
	/* Crosses the GOAWAY on its way: never started, and the hub says so. */
	CU_ASSERT_EQUAL(open_call(pair, &calls[1], "/late", 0), W_OK);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.refused, 1);
	CU_ASSERT_EQUAL(pair->server.requests, 1);
	CU_ASSERT_EQUAL(pair->client.downs, 1);
	CU_ASSERT_EQUAL(pair->client.down_err, -W_ESHUTDOWN);
	CU_ASSERT_EQUAL(
	    call_open(&calls[2], &pair->client, &pair->hub.peer, "/later", 0), -W_EDOWN);
	CU_ASSERT_PTR_NOT_NULL(calls[0].stream);
	server_answer(&pair->server);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.ok, 1);
	CU_ASSERT_EQUAL(pair->client.status, 204);
	CU_ASSERT_EQUAL(pair->spoke.end.active, 0);
	pair_free(&pair);
}

static void
goaway_now(void)
{
	struct pair *pair = pair_new(4);
	struct call call;

	CU_ASSERT_EQUAL(open_call(pair, &call, "/hold", 0), W_OK);
	pair_run(pair);
	lnk__peer_down(&pair->spoke.peer, -W_ESHUTDOWN, -W_ECANCELED);
	CU_ASSERT_EQUAL(pair->server.last_err, -W_ECANCELED);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->client.lost, 1);
	CU_ASSERT_EQUAL(pair->client.down_err, -W_ESHUTDOWN);
	CU_ASSERT_EQUAL(pair_metric(pair, LNK__PEERS_LOST), 0);
	pair_free(&pair);
}

/* ---- peers that break the rules ---- */

static void
lost_batch(void)
{
	struct pair *pair = pair_new(4);
	struct call calls[2];

	CU_ASSERT_EQUAL(open_call(pair, &calls[0], "/hold", 0), W_OK);
	lnk__end_turn(&pair->hub.end);
	w_buf_fini(&pair->hub.queue[pair->hub.head++ % PAIR_QUEUE]);
	CU_ASSERT_EQUAL(open_call(pair, &calls[1], "/hold", 0), W_OK);
	pair_run(pair);
	CU_ASSERT(pair->hub.buried && pair->spoke.buried);
	CU_ASSERT_EQUAL(pair->server.requests, 0);
	/* The server's GOAWAY tells that it has seen neither of them. */
	CU_ASSERT_EQUAL(pair->client.refused, 2);
	CU_ASSERT_EQUAL(pair->client.down_err, -W_EPROTO);
	pair_free(&pair);
}

/* Each on a fresh pair with one request held: the session ends, nothing else happens. */
static void
breaks(void (*make)(struct w_buf *batch), bool at_hub)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	struct pair *pair = pair_new(4);
	struct pair_side *to = at_hub ? &pair->hub : &pair->spoke;
	struct call call;

	CU_ASSERT_EQUAL(open_call(pair, &call, "/hold", 0), W_OK);
	pair_run(pair);
	make(forge(&batch));
	CU_ASSERT_EQUAL(inject(to, &batch), -W_EPROTO);
	CU_ASSERT(to->buried);
	pair_run(pair);
	CU_ASSERT(pair->hub.buried && pair->spoke.buried);
	CU_ASSERT_EQUAL(pair->client.lost, 1);
	CU_ASSERT_EQUAL(pair->server.closed, 1);
	CU_ASSERT(pair_metric(pair, LNK__ERRORS) > 0);
	pair_free(&pair);
}

static void
make_noise(struct w_buf *batch)
{
	w_buf_text(batch, "this is no record, and it is long enough to look like one");
}

static void
make_unknown_stream(struct w_buf *batch)
{
	lnk__put_data(batch, 99, W_VIEW("x"), false);
}

static void
make_stream_zero(struct w_buf *batch)
{
	lnk__put_reset(batch, 0, -W_ECANCELED);
}

static void
make_credit(struct w_buf *batch)
{
	lnk__put_number(batch, LNK__CREDIT, 0, 1000);
}

static void
make_skipped_stream(struct w_buf *batch)
{
	const struct lnk_request request = {
	    .method = W_VIEW("GET"), .target = W_VIEW("/"), .end = true};
	size_t size;

	CU_ASSERT_EQUAL(lnk__request_size(&request, &size), W_OK);
	lnk__put_request(batch, 3, &request, size);
}

static void
make_second_welcome(struct w_buf *batch)
{
	const struct lnk__greeting greeting = {0, 1, 1, 1, W_VIEW("balancer-1")};

	lnk__put_greeting(batch, LNK__WELCOME, &greeting);
}

static void
make_request(struct w_buf *batch)
{
	const struct lnk_request request = {
	    .method = W_VIEW("GET"), .target = W_VIEW("/"), .end = true};
	size_t size;

	CU_ASSERT_EQUAL(lnk__request_size(&request, &size), W_OK);
	lnk__put_request(batch, 2, &request, size);
}

static void
make_short_record(struct w_buf *batch)
{
	lnk__put_number(batch, LNK__PING, 0, 1);
	batch->len -= 1;
}

/* A record of each kind that is one byte too short for what it has to say. */
static void
make_short(struct w_buf *batch, enum lnk__type type, uint64_t stream)
{
	lnk__put_data(batch, stream, W_VIEW("abc"), false);
	batch->ptr[LNK__BATCH_HEADER + 4] = (char)type;
}

#define MAKE_SHORT(name, type, stream)                                                             \
	static void name(struct w_buf *batch)                                                      \
	{                                                                                          \
		make_short(batch, type, stream);                                                   \
	}
MAKE_SHORT(make_short_credit, LNK__CREDIT, 0)
MAKE_SHORT(make_short_request, LNK__REQUEST, 2)
MAKE_SHORT(make_short_response, LNK__RESPONSE, 1)
MAKE_SHORT(make_short_window, LNK__WINDOW, 1)
MAKE_SHORT(make_short_reset, LNK__RESET, 1)
MAKE_SHORT(make_short_ping, LNK__PING, 0)
MAKE_SHORT(make_short_pong, LNK__PONG, 0)
MAKE_SHORT(make_short_goaway, LNK__GOAWAY, 0)

static void
make_long_data(struct w_buf *batch)
{
	static char zeros[LNK_DATA_MAX + 1];

	lnk__put_data(batch, 1, (struct w_view){zeros, sizeof(zeros)}, false);
}

static void
rules(void)
{
	breaks(make_short_credit, true);
	breaks(make_short_request, false);
	breaks(make_short_response, true);
	breaks(make_short_window, true);
	breaks(make_short_window, false);
	breaks(make_short_reset, true);
	breaks(make_short_ping, true);
	breaks(make_short_pong, false);
	breaks(make_short_goaway, true);
	breaks(make_long_data, true);
	breaks(make_noise, true);
	breaks(make_noise, false);
	breaks(make_unknown_stream, true);
	breaks(make_unknown_stream, false);
	breaks(make_stream_zero, true);
	breaks(make_credit, false);
	breaks(make_skipped_stream, false);
	breaks(make_second_welcome, false);
	breaks(make_request, true);
	breaks(make_short_record, true);
}

static void
no_batch_at_all(void)
{
	struct pair *pair = pair_new(4);

	CU_ASSERT_EQUAL(
	    lnk__peer_receive(&pair->hub.peer, "GET / HTTP/1.1\r\n\r\n", 18), -W_EPROTO);
	lnk__end_sweep(&pair->hub.end);
	pair_run(pair);
	CU_ASSERT(pair->spoke.buried);
	pair_free(&pair);
}

static void
other_version(void)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	struct pair *pair = pair_new(4);

	lnk__put_number(forge(&batch), LNK__PING, 0, 1);
	lnk__batch_seal(&batch, pair->hub.peer.session, pair->hub.peer.in_number);
	batch.ptr[4] = 2;
	CU_ASSERT_EQUAL(lnk__peer_receive(&pair->hub.peer, batch.ptr, batch.len), -W_EVERSION);
	lnk__end_sweep(&pair->hub.end);
	pair_run(pair);
	CU_ASSERT_EQUAL(pair->spoke.peer.doom, -W_EVERSION);
	pair_free(&pair);
}

/* Records of later versions, and what may come twice or late, change nothing. */
static void
what_is_ignored(void)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	struct pair *pair = pair_new(4);
	struct call call;

	CU_ASSERT_EQUAL(open_call(pair, &call, "/fast", 0), W_OK);
	pair_run(pair);
	lnk__put_number(forge(&batch), LNK__PROGRESS, 1, 0);
	lnk__put_number(&batch, 77, 5, 0);
	lnk__put_data(&batch, 1, W_VIEW("late"), false);
	lnk__put_number(&batch, LNK__WINDOW, 1, 1 << 30);
	CU_ASSERT_EQUAL(inject(&pair->hub, &batch), W_OK);
	CU_ASSERT_EQUAL(pair_metric(pair, LNK__LATE), 3);
	/* HELLO once more, and a batch of another session. */
	CU_ASSERT_EQUAL(pair_inject(&pair->hub, forge(&batch), 0), W_OK);
	lnk__batch_seal(&batch, 4711, 9);
	CU_ASSERT_EQUAL(lnk__peer_receive(&pair->hub.peer, batch.ptr, batch.len), W_OK);
	lnk__batch_seal(&batch, 4711, 0);
	CU_ASSERT_EQUAL(lnk__peer_receive(&pair->hub.peer, batch.ptr, batch.len), LNK__NEW_SESSION);
	CU_ASSERT_EQUAL(lnk__peer_receive(&pair->spoke.peer, batch.ptr, batch.len), W_OK);
	CU_ASSERT_EQUAL(pair->hub.peer.state, LNK__OPEN);
	CU_ASSERT_EQUAL(pair->client.closed, 1);
	pair_free(&pair);
}

static void
nothing_before_hello(void)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	struct pair *pair = pair_new(4);
	struct lnk_peer stranger;

	lnk__peer_init(&stranger, &pair->hub.end, 0);
	lnk__put_number(forge(&batch), LNK__CREDIT, 0, 5);
	lnk__batch_seal(&batch, 7, 0);
	CU_ASSERT_EQUAL(lnk__peer_receive(&stranger, batch.ptr, batch.len), -W_EPROTO);
	CU_ASSERT_EQUAL(stranger.state, LNK__GREETING);
	w_list_remove(&stranger.doomed_node);
	lnk__peer_fini(&stranger);
	CU_ASSERT_EQUAL(pair->client.ups, 1);
	pair_free(&pair);
}

static void
ping_and_pong(void)
{
	struct pair *pair = pair_new(4);
	struct w_hist hist;

	lnk__put_number(lnk__peer_batch(&pair->hub.peer, 24), LNK__PING, 0, (uint64_t)w_now());
	pair_run(pair);
	w_metrics_hist(pair->metrics, pair->hub.end.metrics + LNK__RTT, &hist);
	CU_ASSERT_EQUAL(hist.count, 1);
	pair_free(&pair);
}

static CU_TestInfo credit_tests[] = {
    {"no more requests than credit, however often", credit_is_kept},
    {"a request above the capacity is refused, not started", above_capacity_is_refused},
    {"credit can be lowered", credit_can_be_lowered},
    {"credit and windows said again do no harm", repetition_is_harmless},
    {"streams that end in any order are found", streams_at_random},
    {"old streams among thousands of new ones are found", many_streams_and_old_ones},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo stream_tests[] = {
    {"a client that does not read stops the server at the window", slow_client_stops_server},
    {"a server that does not read stops the client at the window", slow_server_stops_client},
    {"data beyond the window ends the stream", data_beyond_window},
    {"less or more data than was announced ends the stream", data_that_does_not_add_up},
    {"a stream can be reset from inside data()", reset_inside_data},
    {"a refused request can be opened again from inside closed()", open_inside_closed},
    {"an answer stands though the request's body is not wanted", answer_without_the_body},
    {"a response that is too big can be replaced", response_too_big},
    {"a field that ends a line ends the stream, not the session", dirty_field},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo session_tests[] = {
    {"a full queue delays requests and keeps their order", full_queue},
    {"a full queue stops bodies at 1 MiB", full_queue_stops_bodies},
    {"a peer that never reads is lost at 64 MiB", endless_backlog},
    {"a dead connection ends all streams with LOST", dead_connection},
    {"a server that drains finishes what it has and refuses the rest", drain},
    {"GOAWAY with NOW ends the session in order", goaway_now},
    {"a lost message ends the session", lost_batch},
    {"records against the rules end the session", rules},
    {"a message that is no batch ends the session", no_batch_at_all},
    {"another major version is sent away", other_version},
    {"unknown, repeated and late records are ignored", what_is_ignored},
    {"nothing is accepted before HELLO", nothing_before_hello},
    {"PING is answered, and the time measured", ping_and_pong},
    CU_TEST_INFO_NULL,
};

CU_SuiteInfo session_suites[] = {
    {.pName = "link/credit", .pTests = credit_tests},
    {.pName = "link/stream", .pTests = stream_tests},
    {.pName = "link/session", .pTests = session_tests},
    CU_SUITE_INFO_NULL,
};
