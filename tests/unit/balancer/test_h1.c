/*
 * The HTTP/1 front: framing of responses, keep-alive, pipelining, bodies, deadlines.
 */
#include "common/log.h"
#include "tests/unit/balancer/fake.h"
#include "tests/unit/unit.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static struct fake_client client;

static void
begin(void)
{
	/* Failures are logged; these are wanted. */
	w_log_init("test", W_ERROR, false);
	fake_start();
	fake_peer(0, "a", 0, 100);
	client_open(&client);
}

static void
end(void)
{
	client_close(&client);
	fake_stop();
}

static void
say(const char *text)
{
	CU_ASSERT(client_send(&client, w_view_of(text)) == strlen(text));
}

static bool
heard(const char *text)
{
	return strstr(client_text(&client), text) != NULL;
}

static unsigned
heard_times(const char *text)
{
	unsigned count = 0;

	for (const char *at = client_text(&client); (at = strstr(at, text)) != NULL; at++)
		count++;
	return count;
}

static void
head_only(struct lnk_stream *s, unsigned status, int64_t length, bool ends)
{
	struct lnk_response response = { .status = status, .length = length, .end = ends };

	bal_exchange_on_response(s, &response, s->arg);
}

static void
data(struct lnk_stream *s, const char *text, bool ends)
{
	bal_exchange_on_data(s, w_view_of(text), ends, s->arg);
}

static void
a_known_length_is_announced(void)
{
	begin();
	say(GET("/"));
	fake_respond(fake_nth(0), 200, "hello");
	CU_ASSERT_STRING_EQUAL(client_text(&client),
	    "HTTP/1.1 200 OK\r\ndate: Mon, 23 Nov 2026 10:00:00 GMT\r\ncontent-length: 5\r\n"
	    "x-request-id: 000003b9aca00-t-1\r\n"
	    "server-timing: edge;dur=0.000, link;dur=0.000, queue;dur=0.000, app;dur=0.000, "
	    "db;dur=0.000\r\ncontent-type: text/plain\r\n\r\nhello");
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	end();
}

static void
an_unknown_length_is_chunked(void)
{
	begin();
	say(GET("/"));
	head_only(fake_nth(0), 200, -1, false);
	data(fake_nth(0), "hello, this is long enough", false);
	data(fake_nth(0), "", false);
	data(fake_nth(0), "x", true);
	CU_ASSERT(heard("transfer-encoding: chunked\r\n"));
	CU_ASSERT(!heard("content-length"));
	CU_ASSERT(heard("\r\n\r\n1a\r\nhello, this is long enough\r\n1\r\nx\r\n0\r\n\r\n"));
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	end();
}

static void
http_1_0_gets_no_chunks(void)
{
	begin();
	say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	head_only(fake_nth(0), 200, -1, false);
	data(fake_nth(0), "hello", true);
	CU_ASSERT(heard("connection: close\r\n") && heard("\r\n\r\nhello"));
	CU_ASSERT(!heard("chunked"));
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && !client.h1.abort);
	end();
}

static void
http_1_0_keeps_alive_when_asked(void)
{
	begin();
	say("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
	fake_respond(fake_nth(0), 200, "hello");
	CU_ASSERT(heard("connection: keep-alive\r\n") && client.h1.state == BAL_H1_IDLE);
	say("GET / HTTP/1.0\r\n\r\n");
	fake_respond(fake_nth(0), 200, "hello");
	CU_ASSERT(heard("connection: close\r\n") && client.h1.state == BAL_H1_CLOSE);
	end();
}

static void
head_gets_no_body(void)
{
	begin();
	say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
	fake_respond(fake_nth(0), 200, "hello");
	CU_ASSERT(heard("content-length: 5\r\n") && !heard("hello"));
	say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
	head_only(fake_nth(0), 200, -1, true);
	CU_ASSERT(heard_times("content-length") == 1 && !heard("chunked"));
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	say("HEAD / HTTP/1.1\r\n\r\n");
	CU_ASSERT(heard("HTTP/1.1 400 ") && !heard("detail"));
	end();
}

static void
no_content_has_no_body(void)
{
	begin();
	say(GET("/"));
	head_only(fake_nth(0), 204, 0, true);
	CU_ASSERT(heard("HTTP/1.1 204 No Content\r\n") && !heard("content-length"));
	say(GET("/"));
	head_only(fake_nth(0), 304, -1, true);
	CU_ASSERT(heard("HTTP/1.1 304 Not Modified\r\n") && !heard("content-length"));
	say(GET("/"));
	head_only(fake_nth(0), 200, -1, true);
	CU_ASSERT(heard("content-length: 0\r\n"));
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	end();
}

static void
pipelined_requests_are_answered_in_order(void)
{
	begin();
	say(GET("/1") GET("/2") "POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" GET("/4"));
	CU_ASSERT(fake.opened == 1);
	for (unsigned i = 1; i <= 4; i++) {
		CU_ASSERT(fake.opened == i);
		CU_ASSERT(fake_answer_all() == 1);
	}
	CU_ASSERT(strstr(client_text(&client), "GET /1") < strstr(client.output.ptr, "GET /2"));
	CU_ASSERT(strstr(client.output.ptr, "GET /2") < strstr(client.output.ptr, "POST /3 3"));
	CU_ASSERT(strstr(client.output.ptr, "POST /3") < strstr(client.output.ptr, "GET /4"));
	end();
}

static void
endless_pipelining_is_not_read(void)
{
	static char many[100000];
	size_t len = 0, taken;

	begin();
	while (len < sizeof(many) - 100)
		len += (size_t)sprintf(many + len, GET("/%zu"), len);
	taken = client_send(&client, (struct w_view){ many, len });
	CU_ASSERT(taken <= 2 * BAL_BLOCK);
	CU_ASSERT(!bal_h1_wants_input(&client.h1));
	CU_ASSERT(fake.opened == 1);
	while (taken < len) {
		while (fake_answer_all() > 0)
			continue;
		client_take_output(&client);
		CU_ASSERT_FATAL(bal_h1_wants_input(&client.h1));
		taken += client_send(&client, (struct w_view){ many + taken, len - taken });
	}
	while (fake_answer_all() > 0)
		continue;
	CU_ASSERT(heard_times("HTTP/1.1 200 OK") == fake.opened);
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	end();
}

static void
a_full_window_stops_reading(void)
{
	static char body[200000];

	begin();
	memset(body, 'b', sizeof(body));
	fake.window = 5000;
	say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
	size_t taken = client_send(&client, (struct w_view){ body, sizeof(body) });

	CU_ASSERT(taken < 5000 + 2 * BAL_BLOCK && !bal_h1_wants_input(&client.h1));
	while (taken < sizeof(body)) {
		fake_nth(0)->window += 3000;
		bal_exchange_on_writable(fake_nth(0), fake_nth(0)->arg);
		CU_ASSERT_FATAL(bal_h1_wants_input(&client.h1));
		taken += client_send(&client, (struct w_view){ body + taken, sizeof(body) - taken });
	}
	while (!fake_nth(0)->end) {
		fake_nth(0)->window += 3000;
		bal_exchange_on_writable(fake_nth(0), fake_nth(0)->arg);
	}
	CU_ASSERT(fake_nth(0)->body.len == sizeof(body));
	fake_answer_all();
	CU_ASSERT(heard("POST / 200000"));
	end();
}

static void
a_slow_client_stops_the_server(void)
{
	struct lnk_stream *s;

	begin();
	say(GET("/"));
	s = fake_nth(0);
	head_only(s, 200, 20, false);
	data(s, "0123456789", false);
	CU_ASSERT(s->consumed == 0);
	bal_h1_flushed(&client.h1);
	CU_ASSERT(s->consumed == 0);
	bal_out_drop(&client.h1.out, client.h1.out.bytes - 4);
	bal_h1_flushed(&client.h1);
	CU_ASSERT(s->consumed == 6);
	client_take_output(&client);
	CU_ASSERT(s->consumed == 10);
	data(s, "0123456789", true);
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	end();
}

static void
continue_is_said_when_the_body_is_wanted(void)
{
	begin();
	fake.peers[0].credit = 0;
	say("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	CU_ASSERT(client.h1.out.bytes == 0 && client.output.len == 0);
	fake.peers[0].credit = 1;
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT_STRING_EQUAL(client_text(&client), "HTTP/1.1 100 Continue\r\n\r\n");
	say("abc");
	fake_answer_all();
	CU_ASSERT(heard("POST / 3") && client.h1.state == BAL_H1_IDLE);
	end();
}

static void
no_continue_after_an_early_answer(void)
{
	begin();
	fake.opt.queue_max = 0;
	fake.peers[0].credit = 0;
	say("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	CU_ASSERT(heard("HTTP/1.1 503 ") && !heard("100 Continue") && heard("connection: close"));
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && client.h1.linger);
	end();
}

static void
an_early_answer_skips_a_small_rest(void)
{
	begin();
	say("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
	fake_respond(fake_nth(0), 200, "early");
	CU_ASSERT(client.h1.state == BAL_H1_DRAIN);
	say("def" GET("/2"));
	fake_answer_all();
	CU_ASSERT(heard("early") && heard("GET /2"));
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	end();
}

static void
an_early_answer_closes_before_a_big_rest(void)
{
	begin();
	say("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\nabc");
	fake_respond(fake_nth(0), 200, "early");
	CU_ASSERT(heard("early"));
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && client.h1.linger && !client.h1.abort);
	CU_ASSERT(fake.streams[0].reset);
	end();
}

static void
hop_by_hop_fields_stay_here(void)
{
	struct lnk_field fields[] = { { W_VIEW("connection"), W_VIEW("x-hop") },
		{ W_VIEW("transfer-encoding"), W_VIEW("gzip") },
		{ W_VIEW("content-length"), W_VIEW("99") }, { W_VIEW("x-kept"), W_VIEW("yes") },
		{ W_VIEW("x-empty"), { NULL, 0 } } };
	struct lnk_response response = { .status = 200, .length = 2, .fields = fields,
		.field_count = W_NELEM(fields) };
	const struct lnk_request *req;
	struct w_view names[20];
	size_t count = 0;

	begin();
	say("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n"
	    "X-Forwarded-For: 1.2.3.4\r\nX-Request-Id: mine\r\nAccept: */*\r\nKeep-Alive: 5\r\n"
	    "Upgrade: h2c\r\nCookie: a=b; weir-position=1-2; c=d\r\nIdempotency-Key: k\r\n"
	    "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n");
	req = &client.h1.x->req;
	for (; count < req->field_count; count++)
		names[count] = req->fields[count].name;
	CU_ASSERT(count == 3);
	CU_ASSERT(w_view_eq(names[0], W_VIEW("accept")) && w_view_eq(names[1], W_VIEW("cookie")) &&
	    w_view_eq(names[2], W_VIEW("idempotency-key")));
	CU_ASSERT(w_view_eq(req->position, W_VIEW("1-2")) && w_view_eq(req->idempotency, W_VIEW("k")));
	CU_ASSERT(req->traceparent.len == 55 && req->traceparent.ptr[3] == '4');
	CU_ASSERT(w_view_eq(req->client, W_VIEW("192.0.2.1:1234")));
	bal_exchange_on_response(fake_nth(0), &response, fake_nth(0)->arg);
	data(fake_nth(0), "ok", true);
	CU_ASSERT(heard("x-kept: yes\r\n") && heard("x-empty: \r\n") && !heard("gzip") && !heard("99"));
	CU_ASSERT(heard("connection: close\r\n") && heard("content-length: 2\r\n"));
	end();
}

static void
bad_response_fields_become_502(void)
{
	static const struct lnk_field bad[] = { { W_VIEW("x"), W_VIEW("a\r\nset-cookie: b") },
		{ W_VIEW("x"), W_VIEW("a\nb") }, { W_VIEW("x"), W_VIEW("a\0b") },
		{ W_VIEW("x y"), W_VIEW("a") }, { W_VIEW(""), W_VIEW("a") } };

	for (size_t i = 0; i < W_NELEM(bad); i++) {
		struct lnk_response response = { .status = 200, .length = 0, .end = true,
			.fields = &bad[i], .field_count = 1 };

		begin();
		say(GET("/"));
		bal_exchange_on_response(fake_nth(0), &response, fake_nth(0)->arg);
		CU_ASSERT(heard("HTTP/1.1 502 ") && !heard("set-cookie"));
		CU_ASSERT(heard("application/problem+json") && heard("\"status\":502"));
		end();
	}
}

static void
a_body_of_wrong_length_is_cut(void)
{
	begin();
	say(GET("/"));
	head_only(fake_nth(0), 200, 4, false);
	data(fake_nth(0), "12345", false);
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && client.h1.abort);
	end();
	begin();
	say(GET("/"));
	head_only(fake_nth(0), 200, 4, false);
	data(fake_nth(0), "123", true);
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && client.h1.abort);
	end();
}

static void
deadlines_are_absolute(void)
{
	begin();
	say("GET / HTTP/1.1\r\n");
	w_usec due = client.h1.read_due;

	CU_ASSERT(due == fake.now + 10 * W_SEC);
	fake.now += 5 * W_SEC;
	say("Host: a\r\n");
	CU_ASSERT(client.h1.read_due == due);
	fake.now = due;
	bal_h1_timeout(&client.h1);
	CU_ASSERT(heard("HTTP/1.1 408 ") && client.h1.state == BAL_H1_CLOSE);
	CU_ASSERT(fake_metric(BAL_M_SLOW_HEADER) == 1);
	end();

	begin();
	say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
	CU_ASSERT(client.h1.read_due == fake.now + 600 * W_SEC);
	bal_h1_timeout(&client.h1);
	CU_ASSERT(heard("HTTP/1.1 408 ") && fake.streams[0].reset);
	end();

	begin();
	CU_ASSERT(client.h1.read_due == fake.now + 60 * W_SEC);
	bal_h1_timeout(&client.h1);
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && client.output.len == 0);
	end();
}

static void
a_half_closed_client_still_gets_its_answers(void)
{
	begin();
	say(GET("/1") GET("/2"));
	bal_h1_eof(&client.h1);
	while (fake_answer_all() > 0)
		continue;
	CU_ASSERT(heard("GET /1") && heard("GET /2"));
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && !client.h1.abort);
	end();
}

static void
a_client_that_is_gone_cancels(void)
{
	begin();
	client.h1.tls = true;
	say(GET("/1"));
	bal_h1_eof(&client.h1);
	CU_ASSERT(fake.streams[0].reset && fake.streams[0].reset_err == -W_ECANCELED);
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE && fake_metric(BAL_M_GONE) == 1);
	end();
}

static void
draining_closes_politely(void)
{
	begin();
	say(GET("/1"));
	fake.edge.draining = true;
	bal_h1_drain(&client.h1);
	CU_ASSERT(client.h1.state == BAL_H1_WAIT);
	fake_answer_all();
	CU_ASSERT(heard("connection: close\r\n") && client.h1.state == BAL_H1_CLOSE);
	end();
	begin();
	fake.edge.draining = true;
	bal_h1_drain(&client.h1);
	CU_ASSERT(client.h1.state == BAL_H1_CLOSE);
	end();
}

static void
idle_connections_hold_no_blocks(void)
{
	begin();
	say(GET("/1"));
	fake_answer_all();
	client_take_output(&client);
	bal_h1_trim(&client.h1);
	CU_ASSERT(fake.edge.pool.taken == 0);
	end();
}

static void
hsts_is_sent_over_tls_only(void)
{
	begin();
	client.h1.tls = true;
	say(GET("/1"));
	fake_answer_all();
	CU_ASSERT(heard("strict-transport-security: max-age=63072000\r\n\r\n"));
	end();
}

static CU_TestInfo response_tests[] = {
	{ "a known length is announced", a_known_length_is_announced },
	{ "an unknown length is chunked", an_unknown_length_is_chunked },
	{ "HTTP/1.0 gets no chunks", http_1_0_gets_no_chunks },
	{ "HTTP/1.0 keeps alive only when asked to", http_1_0_keeps_alive_when_asked },
	{ "HEAD gets no body", head_gets_no_body },
	{ "204 and 304 have no body, an empty 200 says so", no_content_has_no_body },
	{ "hop-by-hop and forwarded fields stay here", hop_by_hop_fields_stay_here },
	{ "a response with a malformed field becomes 502", bad_response_fields_become_502 },
	{ "a body of the wrong length is cut off", a_body_of_wrong_length_is_cut },
	{ "HSTS is sent over TLS", hsts_is_sent_over_tls_only },
	CU_TEST_INFO_NULL
};
static CU_TestInfo request_tests[] = {
	{ "pipelined requests are answered in order", pipelined_requests_are_answered_in_order },
	{ "endless pipelining is not read", endless_pipelining_is_not_read },
	{ "a full window stops reading", a_full_window_stops_reading },
	{ "a slow client stops the server", a_slow_client_stops_the_server },
	{ "100 Continue is said when the body is wanted", continue_is_said_when_the_body_is_wanted },
	{ "an early answer says no 100 Continue", no_continue_after_an_early_answer },
	{ "an early answer skips a small rest of the body", an_early_answer_skips_a_small_rest },
	{ "an early answer closes before a big rest", an_early_answer_closes_before_a_big_rest },
	{ "deadlines are absolute", deadlines_are_absolute },
	{ "a half-closed client still gets its answers", a_half_closed_client_still_gets_its_answers },
	{ "a TLS client that is gone cancels its request", a_client_that_is_gone_cancels },
	{ "draining answers, then closes", draining_closes_politely },
	{ "an idle connection holds no blocks", idle_connections_hold_no_blocks },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo h1_suites[] = {
	{ .pName = "balancer/h1 responses", .pTests = response_tests },
	{ .pName = "balancer/h1 requests", .pTests = request_tests },
	CU_SUITE_INFO_NULL
};
