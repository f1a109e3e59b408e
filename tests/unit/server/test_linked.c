/*
 * The link front: a hub of a balancer and a server's worker on one loop, CURVE and ZAP included.
 */

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "common/keys.h"
#include "server/listen.h"
#include "tests/unit/server/routes.h"
#include "tests/unit/server/stage.h"
#include "tests/unit/server/suites.h"

#define LIMIT (20 * W_SEC)

static struct stage stage;
static char dir[64];
static char address[32];
static void *zmq;
static struct w_cluster cluster;
static struct w_member members[2];
static struct w_keys *balancer_keys, *server_keys;
static struct w_zap *zap;
static struct lnk_hub *hub;
static struct lnk_peer *peer;

/* One request, as the balancer sees it. */
struct call {
	struct lnk_stream *stream;
	unsigned status;
	int64_t length;
	char type[64], retry_after[16], text[512];
	bool doubt;
	const char *key; /* idempotency */
	size_t got;
	unsigned sum;
	bool end, closed, hold; /* hold: give no window back */
	size_t held;
	int err;
	struct w_view rest;     /* of the body, not sent yet */
	bool sent;
};

/* ---- the hub's callbacks ---- */

static void
on_peer_up(struct lnk_peer *up, void *arg W_UNUSED)
{
	peer = up;
}

static void
on_peer_down(struct lnk_peer *down, int err W_UNUSED, void *arg W_UNUSED)
{
	if (peer == down)
		peer = NULL;
}

static void
on_peer_credit(struct lnk_peer *some W_UNUSED, void *arg W_UNUSED)
{
}

static void
on_response(struct lnk_stream *stream W_UNUSED, const struct lnk_response *response, void *arg)
{
	struct call *call = arg;

	call->status = response->status;
	call->length = response->length;
	call->end |= response->end;
	for (size_t i = 0; i < response->field_count; i++) {
		const struct lnk_field *field = &response->fields[i];

		if (w_view_eq(field->name, W_VIEW("content-type")))
			w_view_copy(field->value, call->type, sizeof(call->type));
		if (w_view_eq(field->name, W_VIEW("retry-after")))
			w_view_copy(field->value, call->retry_after, sizeof(call->retry_after));
	}
}

static void
on_data(struct lnk_stream *stream, struct w_view bytes, bool end, void *arg)
{
	struct call *call = arg;

	if (call->got == 0)
		w_view_copy(w_view_sub(bytes, 0, sizeof(call->text) - 1), call->text,
		    sizeof(call->text));
	call->got += bytes.len;
	for (size_t i = 0; i < bytes.len; i++)
		call->sum += (unsigned char)bytes.ptr[i];
	call->end |= end;
	if (call->hold)
		call->held += bytes.len;
	else
		lnk_stream_consumed(stream, bytes.len);
}

static void
send_rest(struct call *call)
{
	size_t sent;

	if (call->stream == NULL || call->sent)
		return;
	sent = lnk_stream_send(call->stream, call->rest, true);
	call->sent = sent == call->rest.len;
	call->rest = w_view_sub(call->rest, sent, call->rest.len);
}

static void
on_writable(struct lnk_stream *stream W_UNUSED, void *arg)
{
	send_rest(arg);
}

static void
on_closed(struct lnk_stream *stream W_UNUSED, int err, void *arg)
{
	struct call *call = arg;

	call->stream = NULL;
	call->closed = true;
	call->err = err;
}

static const struct lnk_hub_ops hub_ops = {
	.stream = { .data = on_data, .writable = on_writable, .closed = on_closed },
	.peer_up = on_peer_up,
	.peer_down = on_peer_down,
	.peer_credit = on_peer_credit,
	.response = on_response,
};

/* ---- running the loop until something is so ---- */

struct wait {
	bool (*condition)(void *arg);
	void *arg;
	bool met;
};

static void
look(void *arg)
{
	struct wait *wait = arg;

	wait->met |= wait->condition(wait->arg);
	if (wait->met)
		w_loop_stop(&stage.loop);
}

static void
too_late(void *arg W_UNUSED)
{
	w_loop_stop(&stage.loop);
}

static bool
until(bool (*condition)(void *arg), void *arg)
{
	struct wait wait = { condition, arg, false };
	struct w_timer timer = { .fire = too_late };
	struct w_turn turn;

	w_turn_add(&stage.loop, &turn, W_TURN_CLIENTS, look, &wait);
	w_timer_start(&stage.loop, &timer, LIMIT, 0);
	w_loop_again(&stage.loop);
	w_loop_run(&stage.loop);
	w_timer_fini(&timer);
	w_turn_remove(&turn);
	return wait.met;
}

static bool
has_credit(void *arg W_UNUSED)
{
	return peer != NULL && lnk_peer_credit(peer) > 0;
}

static bool
is_closed(void *arg)
{
	return ((struct call *)arg)->closed;
}

/* ---- set-up ---- */

static int
make_keys(struct w_fault *fault)
{
	int rc = w_keys_ensure(dir, "balancer-1", fault);

	if (rc == W_OK)
		rc = w_keys_ensure(dir, "server-1", fault);
	if (rc == W_OK)
		rc = w_keys_load(dir, "balancer-1", &balancer_keys, fault);
	return rc == W_OK ? w_keys_load(dir, "server-1", &server_keys, fault) : rc;
}

static void
make_cluster(void)
{
	W_AUTO(w_close) int fd = -1;
	unsigned port = 0;

	srv__listen("127.0.0.1:0", 1, &fd, &port, NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	members[0] = (struct w_member){ .name = "balancer-1", .role = W_BALANCER };
	members[0].opt.balancer.link = address;
	members[1] = (struct w_member){ .name = "server-1", .role = W_SERVER };
	cluster = (struct w_cluster){ .dir = dir, .members = members, .member_count = 2 };
	cluster.opt.keys = dir;
}

static int
open_hub(struct w_fault *fault)
{
	const struct lnk_hub_config config = { .zmq = zmq, .loop = &stage.loop,
		.keys = balancer_keys, .address = address, .workers = 1,
		.meter = stage.worker.meter, .metrics = stage.srv.ids.link, .ops = &hub_ops };

	return lnk_hub_new(&config, &hub, fault);
}

static int
open_spoke(struct w_fault *fault)
{
	const struct lnk_spoke_config config = { .zmq = zmq, .loop = &stage.loop,
		.keys = server_keys, .node = "server-1", .workers = 1, .cluster = &cluster,
		.capacity = 32, .meter = stage.worker.meter, .metrics = stage.srv.ids.link,
		.ops = &srv__link_ops, .arg = &stage.worker };

	return lnk_spoke_new(&config, &stage.worker.spoke, fault);
}

static int
set_up(void)
{
	struct w_fault fault = { 0 };
	int rc;

	snprintf(dir, sizeof(dir), "/tmp/weir-server-XXXXXX");
	if (mkdtemp(dir) == NULL || !stage_init(&stage))
		return 1;
	stage.fibers = 16;
	make_cluster();
	zmq = zmq_ctx_new();
	rc = make_keys(&fault);
	if (rc == W_OK)
		rc = w_zap_start(zmq, &stage.loop, &cluster, &zap, &fault);
	if (rc == W_OK)
		rc = open_hub(&fault);
	if (rc == W_OK && !stage_open(&stage))
		rc = -W_EIO;
	if (rc == W_OK)
		rc = open_spoke(&fault);
	if (rc < 0)
		fprintf(stderr, "set-up: %s\n", fault.text);
	return rc < 0 || !until(has_credit, NULL);
}

static int
tear_down(void)
{
	static const char *const files[] = { "balancer-1.pub", "balancer-1.key", "server-1.pub",
		"server-1.key" };
	char path[128];

	lnk_spoke_free(&stage.worker.spoke);
	lnk_hub_free(&hub);
	stage_close(&stage);
	w_zap_stop(&zap);
	stage_fini(&stage);
	zmq_ctx_term(zmq);
	w_keys_free(&balancer_keys);
	w_keys_free(&server_keys);
	for (size_t i = 0; i < W_NELEM(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	return rmdir(dir);
}

/* ---- calls ---- */

static bool
open_call(struct call *call, const char *method, const char *target, struct w_view body)
{
	static const struct lnk_field fields[] = { { { "content-type", 12 }, { "a/b", 3 } } };
	const struct lnk_request request = {
		.method = w_view_of(method), .scheme = W_VIEW("https"), .authority = W_VIEW("h"),
		.target = w_view_of(target), .client = W_VIEW("192.0.2.1:1"), .id = W_VIEW("id-1"),
		.timeout = 5 * W_SEC, .length = (int64_t)body.len, .end = body.len == 0,
		.doubt = call->doubt, .idempotency = w_view_of(call->key),
		.fields = fields, .field_count = 1,
	};

	call->rest = body;
	call->sent = body.len == 0;
	if (!until(has_credit, NULL) || lnk_hub_open(peer, &request, call, &call->stream) < 0)
		return false;
	send_rest(call);
	return true;
}

static struct call
ask(const char *method, const char *target, struct w_view body)
{
	struct call call = { 0 };

	CU_ASSERT_FATAL(open_call(&call, method, target, body));
	CU_ASSERT(until(is_closed, &call));
	return call;
}

static void
requests_are_answered(void)
{
	struct call call = ask("GET", "/hello/x", (struct w_view){ NULL, 0 });

	CU_ASSERT_EQUAL(call.status, 200);
	CU_ASSERT_EQUAL(call.err, W_OK);
	CU_ASSERT_EQUAL(call.got, 7);
	CU_ASSERT_STRING_EQUAL(call.type, "text/plain; charset=utf-8");
	call = ask("GET", "/nope", (struct w_view){ NULL, 0 });
	CU_ASSERT_EQUAL(call.status, 404);
	CU_ASSERT_STRING_EQUAL(call.type, "application/problem+json");
	call = ask("GET", "/nothing", (struct w_view){ NULL, 0 });
	CU_ASSERT(call.status == 204 && call.got == 0 && call.end);
	call = ask("HEAD", "/hello/x", (struct w_view){ NULL, 0 });
	CU_ASSERT(call.status == 200 && call.got == 0 && call.length == 7);
	call = ask("HEAD", "/bytes/5000?sized", (struct w_view){ NULL, 0 });
	CU_ASSERT(call.status == 200 && call.got == 0 && call.length == 5000);
	call = ask("GET", "/sleep/3", (struct w_view){ NULL, 0 });
	CU_ASSERT_EQUAL(call.status, 200);
}

static void
bodies_stream_both_ways_at_once(void)
{
	size_t len = 10 << 20;
	W_AUTO(w_free) char *body = w_xcalloc(1, len);
	struct call call;

	memset(body, 3, len);
	call = ask("POST", "/echo", (struct w_view){ body, len });
	CU_ASSERT_EQUAL(call.status, 200);
	CU_ASSERT_EQUAL(call.got, len);
	CU_ASSERT_EQUAL(call.sum, 3 * len);
	CU_ASSERT_EQUAL(call.err, W_OK);
	call = ask("GET", "/bytes/5000000", (struct w_view){ NULL, 0 });
	CU_ASSERT_EQUAL(call.got, 5000000);
}

static void
an_unread_body_ends_with_the_answer(void)
{
	size_t len = 10 << 20;
	W_AUTO(w_free) char *body = w_xcalloc(1, len);
	struct call call = ask("POST", "/unread", (struct w_view){ body, 300000 });

	CU_ASSERT(call.status == 204 && call.err == W_OK);
	call = ask("POST", "/unread", (struct w_view){ body, len });
	CU_ASSERT_EQUAL(call.status, 204);
	CU_ASSERT(call.err < 0);
}

static void
a_broken_stream_is_reset(void)
{
	struct call call = ask("GET", "/broken/1", (struct w_view){ NULL, 0 });

	CU_ASSERT_EQUAL(call.status, 200);
	CU_ASSERT(call.err < 0);
}

static bool
is_full(void *arg)
{
	return ((struct call *)arg)->held >= LNK_WINDOW;
}

static bool
has_ended(void *arg)
{
	return atomic_load(&routes_ended) > *(int *)arg;
}

static void
a_slow_reader_stops_the_handler_and_a_reset_ends_it(void)
{
	struct call call = { .hold = true };
	int before = atomic_load(&routes_ended);

	CU_ASSERT_FATAL(open_call(&call, "GET", "/bytes/10000000", (struct w_view){ NULL, 0 }));
	CU_ASSERT(until(is_full, &call));
	CU_ASSERT_EQUAL(atomic_load(&routes_ended), before);
	CU_ASSERT_EQUAL(call.held, LNK_WINDOW);
	CU_ASSERT_PTR_NOT_NULL_FATAL(call.stream);
	lnk_stream_reset(call.stream, -W_ECANCELED);
	CU_ASSERT(until(has_ended, &before));
	CU_ASSERT_EQUAL(atomic_load(&routes_last_error), WEIR_EGONE);
}

static bool
all_closed(void *arg)
{
	const struct call *calls = arg;

	for (int i = 0; i < 32; i++)
		if (!calls[i].closed)
			return false;
	return true;
}

/* 32 credits, 16 fibers: who finds none is refused unstarted, so a balancer may try elsewhere. */
static void
who_finds_no_fiber_is_refused_unstarted(void)
{
	struct call calls[32] = { 0 };
	unsigned refused = 0, answered = 0;

	for (size_t i = 0; i < W_NELEM(calls); i++)
		CU_ASSERT(open_call(&calls[i], "GET", "/sleep/200", (struct w_view){ NULL, 0 }));
	CU_ASSERT(until(all_closed, calls));
	for (size_t i = 0; i < W_NELEM(calls); i++) {
		refused += calls[i].err == -W_EREFUSED;
		answered += calls[i].status == 200;
	}
	CU_ASSERT_EQUAL(refused, 16);
	CU_ASSERT_EQUAL(answered, 16);
}

static struct call
ask_in_doubt(const char *method, const char *target, const char *key)
{
	struct call call = { .doubt = true, .key = key };

	CU_ASSERT_FATAL(open_call(&call, method, target, (struct w_view){ NULL, 0 }));
	CU_ASSERT(until(is_closed, &call));
	return call;
}

static void
what_was_in_doubt_is_not_done_twice(void)
{
	struct call call = ask_in_doubt("POST", "/plain", "k");

	CU_ASSERT(call.status == 502 && call.err == W_OK && call.retry_after[0] == '\0');
	CU_ASSERT_STRING_EQUAL(call.type, "application/problem+json");
	CU_ASSERT_PTR_NOT_NULL(strstr(call.text, "was lost"));
	CU_ASSERT_PTR_NOT_NULL(strstr(call.text, "not exactly-once"));
	CU_ASSERT_EQUAL(stage_metric(&stage, SRV_DOUBT), 1);
	/* exactly-once needs a key */
	CU_ASSERT_EQUAL(ask_in_doubt("POST", "/once", "").status, 502);
	CU_ASSERT_EQUAL(stage_metric(&stage, SRV_DOUBT), 2);
}

static void
what_may_be_repeated_is_done_in_doubt(void)
{
	CU_ASSERT_EQUAL(ask_in_doubt("POST", "/once", "k").status, 204);
	CU_ASSERT_EQUAL(ask_in_doubt("PUT", "/plain", "").status, 204);
	CU_ASSERT_EQUAL(ask_in_doubt("DELETE", "/plain", "").status, 204);
	CU_ASSERT_EQUAL(ask_in_doubt("GET", "/hello/x", "").status, 200);
	CU_ASSERT_EQUAL(ask_in_doubt("HEAD", "/hello/x", "").status, 200);
	CU_ASSERT_EQUAL(ask_in_doubt("OPTIONS", "/plain", "").status, 204);
	CU_ASSERT_EQUAL(ask_in_doubt("POST", "/nope", "").status, 404);
}

static void
a_failure_in_doubt_does_not_invite_to_ask_again(void)
{
	struct call call = ask("POST", "/down", (struct w_view){ NULL, 0 });

	CU_ASSERT(call.status == 503 && strcmp(call.retry_after, "1") == 0);
	call = ask_in_doubt("POST", "/down", "k");
	CU_ASSERT(call.status == 504 && call.retry_after[0] == '\0');
	CU_ASSERT_PTR_NOT_NULL(strstr(call.text, "unknown"));
	call = ask_in_doubt("PUT", "/down", "k");
	CU_ASSERT(call.status == 503 && strcmp(call.retry_after, "1") == 0);
}

static CU_TestInfo tests[] = {
	{ "requests are answered", requests_are_answered },
	{ "bodies stream both ways at once", bodies_stream_both_ways_at_once },
	{ "an unread body ends with the answer", an_unread_body_ends_with_the_answer },
	{ "a broken stream is reset", a_broken_stream_is_reset },
	{ "a slow reader stops the handler, a reset ends it",
	  a_slow_reader_stops_the_handler_and_a_reset_ends_it },
	{ "what was in doubt is not done twice", what_was_in_doubt_is_not_done_twice },
	{ "what may be repeated is done in doubt", what_may_be_repeated_is_done_in_doubt },
	{ "a failure in doubt does not invite to ask again",
	  a_failure_in_doubt_does_not_invite_to_ask_again },
	{ "who finds no fiber is refused unstarted", who_finds_no_fiber_is_refused_unstarted },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo linked_suites[] = {
	{ .pName = "server/linked", .pInitFunc = set_up, .pCleanupFunc = tear_down, .pTests = tests },
	CU_SUITE_INFO_NULL
};
