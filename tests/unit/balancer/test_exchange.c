/*
 * Exchanges: queueing, losses and retries, deadlines.
 */
#include "common/log.h"
#include "tests/unit/balancer/fake.h"
#include "tests/unit/unit.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST3 "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
#define PUT3 "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"

#define CLIENTS 100

static struct fake_client client, clients[CLIENTS];

static void
begin(unsigned servers)
{
	static const char *const names[] = { "a", "b", "c", "d" };

	/* Failures are logged; these are wanted. */
	w_log_init("test", W_ERROR, false);
	fake_start();
	for (unsigned i = 0; i < servers; i++)
		fake_peer(i, names[i], 0, 1000);
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
	client_send(&client, w_view_of(text));
}

static bool
heard(const char *text)
{
	return strstr(client_text(&client), text) != NULL;
}

/* The whole peer goes: peer_down, and closed for each of its streams. */
static void
kill_peer(unsigned index)
{
	struct lnk_peer *peer = &fake.peers[index];

	peer->credit = 0;
	bal_edge_peer_down(&fake.edge, &peer->sched);
	for (unsigned i = 0; i < FAKE_STREAMS; i++) {
		struct lnk_stream *s = &fake.streams[i];

		if (s->open && s->peer == peer) {
			fake_gone(s);
			bal_exchange_on_closed(s, -W_ELOST, s->arg);
		}
	}
}

static void
requests_wait_for_credit(void)
{
	begin(1);
	fake.peers[0].credit = 0;
	say(GET("/"));
	CU_ASSERT(fake.opened == 0 && fake_metric(BAL_M_QUEUED) == 1);
	fake.peers[0].credit = 1;
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(fake.opened == 1 && fake_metric(BAL_M_QUEUED) == 0);
	fake_answer_all();
	CU_ASSERT(heard("HTTP/1.1 200 "));
	end();
}

static void
a_restart_of_the_only_server_is_bridged(void)
{
	begin(0);
	say(GET("/"));
	fake_advance(4 * W_SEC);
	CU_ASSERT(client.output.len == 0);
	fake_peer(0, "a", 0, 1);
	bal_sched_pump(&fake.edge.sched);
	fake_answer_all();
	CU_ASSERT(heard("HTTP/1.1 200 "));
	end();
}

static void
waiting_too_long_is_503(void)
{
	begin(1);
	fake.peers[0].credit = 0;
	say(GET("/"));
	fake_advance(4 * W_SEC);
	CU_ASSERT(!heard("503"));
	fake_advance(W_SEC + 20 * W_MSEC);
	CU_ASSERT(heard("HTTP/1.1 503 ") && heard("retry-after: 1\r\n"));
	CU_ASSERT(heard("application/problem+json") && heard("\"instance\":\"000003b9aca00-t-1\""));
	CU_ASSERT(fake_metric(BAL_M_SLOW_QUEUE) == 1 && fake_metric(BAL_M_FAILED_BUSY) == 1);
	CU_ASSERT(client.h1.state == BAL_H1_IDLE);
	end();
}

static void
a_full_queue_is_503_at_once(void)
{
	struct fake_client other;

	begin(0);
	fake.opt.queue_max = 1;
	say(GET("/"));
	client_open(&other);
	client_send(&other, w_view_of(GET("/")));
	CU_ASSERT(strstr(client_text(&other), "HTTP/1.1 503 ") != NULL);
	CU_ASSERT(fake_metric(BAL_M_FAILED_DOWN) == 1);
	client_close(&other);
	end();
}

static void
the_deadline_is_504(void)
{
	begin(1);
	say(GET("/"));
	fake_advance(29 * W_SEC);
	CU_ASSERT(!heard("504"));
	fake_advance(W_SEC + 20 * W_MSEC);
	CU_ASSERT(heard("HTTP/1.1 504 ") && fake.streams[0].reset_err == -W_ETIMEOUT);
	CU_ASSERT(fake_metric(BAL_M_SLOW_REQUEST) == 1);
	end();
}

static void
a_lost_get_goes_elsewhere(void)
{
	begin(2);
	say(GET("/"));
	kill_peer(0);
	CU_ASSERT(fake.opened == 2 && fake_nth(0)->peer == &fake.peers[1]);
	CU_ASSERT(fake_nth(0)->attempt == 1);
	fake_answer_all();
	CU_ASSERT(heard("HTTP/1.1 200 ") && fake_metric(BAL_M_RETRY_LOST) == 1);
	end();
}

static void
a_lost_put_goes_elsewhere_with_its_body(void)
{
	begin(2);
	say(PUT3);
	kill_peer(0);
	CU_ASSERT(fake_nth(0)->end && w_view_eq(w_buf_get(&fake_nth(0)->body), W_VIEW("abc")));
	fake_answer_all();
	CU_ASSERT(heard("PUT / 3"));
	end();
}

static void
a_put_lost_half_way_streams_on(void)
{
	begin(2);
	say("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
	kill_peer(0);
	CU_ASSERT(!fake_nth(0)->end && w_view_eq(w_buf_get(&fake_nth(0)->body), W_VIEW("abc")));
	say("def");
	CU_ASSERT(fake_nth(0)->end && w_view_eq(w_buf_get(&fake_nth(0)->body), W_VIEW("abcdef")));
	fake_answer_all();
	CU_ASSERT(heard("PUT / 6"));
	end();
}

static void
a_body_too_long_to_keep_is_sent_once(void)
{
	begin(2);
	fake.opt.retry_buffer = 2;
	say(PUT3);
	kill_peer(0);
	CU_ASSERT(fake.opened == 1 && heard("HTTP/1.1 502 ") && heard("the outcome is unknown"));
	end();
}

static void
a_lost_post_goes_elsewhere_in_doubt(void)
{
	char key[100];

	begin(2);
	say(POST3);
	CU_ASSERT(!fake_nth(0)->doubt && fake_nth(0)->attempt == 0);
	memcpy(key, fake_nth(0)->key, sizeof(key));
	kill_peer(0);
	CU_ASSERT(fake.opened == 2 && fake_nth(0)->peer == &fake.peers[1]);
	CU_ASSERT(fake_nth(0)->doubt && fake_nth(0)->attempt == 1);
	CU_ASSERT(key[0] != '\0' && strcmp(fake_nth(0)->key, key) == 0);
	fake_answer_all();
	CU_ASSERT(heard("POST / 3") && fake_metric(BAL_M_RETRY_LOST) == 1);
	end();
}

static void
doubt_outlives_a_refusal(void)
{
	begin(3);
	say(POST3);
	kill_peer((unsigned)(fake_nth(0)->peer - fake.peers));
	fake_close(fake_nth(0), -W_EREFUSED);
	CU_ASSERT(fake.opened == 3 && fake_nth(0)->doubt && fake_nth(0)->attempt == 2);
	fake_answer_all();
	CU_ASSERT(heard("POST / 3"));
	end();
}

static void
a_lost_write_waits_for_a_server_until_its_deadline(void)
{
	begin(1);
	say(POST3);
	kill_peer(0);
	fake_advance(29 * W_SEC);
	CU_ASSERT(fake.opened == 1 && !heard("HTTP") && fake_metric(BAL_M_QUEUED) == 1);
	fake_peer(1, "a", 0, 10);
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(fake.opened == 2 && fake_nth(0)->doubt);
	fake_answer_all();
	CU_ASSERT(heard("POST / 3"));
	end();
}

static void
a_full_queue_does_not_turn_away_who_was_in(void)
{
	begin(1);
	fake.opt.queue_max = 0;
	say(POST3);
	kill_peer(0);
	CU_ASSERT(!heard("HTTP") && fake_metric(BAL_M_QUEUED) == 1);
	fake_peer(1, "a", 0, 10);
	bal_sched_pump(&fake.edge.sched);
	fake_answer_all();
	CU_ASSERT(heard("POST / 3"));
	end();
}

static void
no_server_before_the_deadline_leaves_doubt(void)
{
	begin(1);
	say(POST3);
	kill_peer(0);
	fake_advance(30 * W_SEC + 20 * W_MSEC);
	CU_ASSERT(heard("HTTP/1.1 504 ") && heard("the outcome is unknown") && !heard("retry-after"));
	CU_ASSERT(fake_metric(BAL_M_IN_DOUBT) == 1 && fake_metric(BAL_M_SLOW_REQUEST) == 1);
	end();
}

static void
a_get_is_never_in_doubt(void)
{
	begin(1);
	say(GET("/"));
	kill_peer(0);
	fake_advance(30 * W_SEC + 20 * W_MSEC);
	CU_ASSERT(heard("HTTP/1.1 504 ") && !heard("unknown") && fake_metric(BAL_M_IN_DOUBT) == 0);
	end();
}

/* A process of two workers dies: its other link stands a moment longer. */
static void
a_lost_node_is_avoided_as_a_whole(void)
{
	begin(0);
	fake_peer(0, "a", 0, 10);
	fake_peer(1, "a", 1, 10);
	say(POST3);
	kill_peer((unsigned)(fake_nth(0)->peer - fake.peers));
	CU_ASSERT(fake.opened == 1 && !heard("HTTP"));
	fake_advance(BAL_AVOID / 2);
	CU_ASSERT(fake.opened == 1);
	fake_advance(BAL_AVOID / 2 + 20 * W_MSEC);
	CU_ASSERT(fake.opened == 2);
	fake_answer_all();
	CU_ASSERT(heard("POST / 3"));
	end();
}

static void
a_refused_request_comes_back_to_the_only_server(void)
{
	begin(1);
	say(GET("/"));
	fake_close(fake_nth(0), -W_EREFUSED);
	CU_ASSERT(fake.opened == 1 && !heard("HTTP"));
	fake_advance(BAL_AVOID + 20 * W_MSEC);
	CU_ASSERT(fake.opened == 2 && !fake_nth(0)->doubt);
	fake_answer_all();
	CU_ASSERT(heard("HTTP/1.1 200 "));
	end();
}

static void
a_refused_post_goes_elsewhere(void)
{
	begin(2);
	say(POST3);
	fake_close(fake_nth(0), -W_EREFUSED);
	CU_ASSERT(fake.opened == 2 && fake_nth(0)->peer == &fake.peers[1]);
	fake_answer_all();
	CU_ASSERT(heard("POST / 3") && fake_metric(BAL_M_RETRY_REFUSED) == 1);
	end();
}

static void
nothing_is_retried_once_the_answer_has_begun(void)
{
	struct lnk_response response = { .status = 200, .length = 10 };

	begin(2);
	say(GET("/"));
	bal_exchange_on_response(fake_nth(0), &response, fake_nth(0)->arg);
	kill_peer(0);
	CU_ASSERT(fake.opened == 1 && client.h1.abort && client.h1.state == BAL_H1_CLOSE);
	end();
}

/* It may be what kills them. */
static void
a_request_is_not_tried_for_ever(void)
{
	unsigned peer = 1;

	begin(1);
	say(POST3);
	while (fake_nth(0) != NULL && peer < FAKE_PEERS) {
		kill_peer((unsigned)(fake_nth(0)->peer - fake.peers));
		fake_peer(peer++, "a", 0, 10);
		bal_sched_pump(&fake.edge.sched);
	}
	CU_ASSERT(fake.opened == BAL_TRIES_MAX && heard("HTTP/1.1 502 "));
	CU_ASSERT(heard("the outcome is unknown") && fake_metric(BAL_M_TRIES_USED) == 1);
	end();
}

static void
a_lost_request_waits_for_another_server(void)
{
	begin(1);
	say(GET("/"));
	fake_close(fake_nth(0), -W_EREFUSED);
	CU_ASSERT(fake.opened == 1 && !heard("HTTP"));
	fake_peer(1, "a", 0, 10);
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(fake.opened == 2);
	fake_answer_all();
	CU_ASSERT(heard("HTTP/1.1 200 "));
	end();
}

/* Few requests in the last ten seconds, and half of them in flight on the server that dies. */
static void
all_gets_of_a_dying_server_are_saved(void)
{
	unsigned good = 0;

	begin(2);
	for (unsigned i = 0; i < CLIENTS; i++) {
		client_open(&clients[i]);
		client_send(&clients[i], w_view_of(GET("/")));
	}
	CU_ASSERT(fake.peers[0].streams == CLIENTS / 2);
	kill_peer(0);
	fake_answer_all();
	for (unsigned i = 0; i < CLIENTS; i++) {
		good += strstr(client_text(&clients[i]), "HTTP/1.1 200 ") != NULL;
		client_close(&clients[i]);
	}
	CU_ASSERT(good == CLIENTS);
	CU_ASSERT(fake_metric(BAL_M_RETRY_LOST) == CLIENTS / 2);
	CU_ASSERT(fake_metric(BAL_M_2XX) == CLIENTS);
	end();
}

/* All that has time left survives the loss of one server after another. */
static void
writes_outlive_many_losses(void)
{
	unsigned good = 0;

	begin(2);
	for (unsigned i = 0; i < CLIENTS; i++) {
		client_open(&clients[i]);
		client_send(&clients[i], w_view_of(POST3));
	}
	for (unsigned i = 0; i < 6; i++) {
		unsigned victim = i % 2;

		kill_peer(victim);
		fake_advance(100 * W_MSEC);
		fake_peer(victim, victim == 0 ? "a" : "b", 0, 1000);
		bal_sched_pump(&fake.edge.sched);
	}
	fake_answer_all();
	for (unsigned i = 0; i < CLIENTS; i++) {
		good += strstr(client_text(&clients[i]), "HTTP/1.1 200 ") != NULL;
		client_close(&clients[i]);
	}
	CU_ASSERT(good == CLIENTS && fake_metric(BAL_M_BUDGET_EMPTY) == 0);
	end();
}

static void
further_refusals_are_charged_to_the_budget(void)
{
	unsigned good = 0, bad = 0;

	begin(3);
	for (unsigned i = 0; i < CLIENTS; i++) {
		client_open(&clients[i]);
		client_send(&clients[i], w_view_of(GET("/")));
	}
	for (unsigned i = 0; i < 2; i++)
		for (unsigned j = 0; j < FAKE_STREAMS; j++) {
			struct lnk_stream *s = &fake.streams[j];

			if (s->open && s->attempt == i)
				fake_close(s, -W_EREFUSED);
		}
	fake_answer_all();
	for (unsigned i = 0; i < CLIENTS; i++) {
		good += strstr(client_text(&clients[i]), "HTTP/1.1 200 ") != NULL;
		bad += strstr(client_text(&clients[i]), "HTTP/1.1 503 ") != NULL;
		client_close(&clients[i]);
	}
	CU_ASSERT(good + bad == CLIENTS && bad > 0);
	CU_ASSERT(fake_metric(BAL_M_BUDGET_EMPTY) == bad && fake_metric(BAL_M_IN_DOUBT) == 0);
	end();
}

static void
peers_that_refuse_to_open_are_passed_over(void)
{
	begin(2);
	fake.peers[0].refuses = true;
	say(GET("/"));
	CU_ASSERT(fake.opened == 1 && fake_nth(0)->peer == &fake.peers[1]);
	fake_answer_all();
	CU_ASSERT(heard("HTTP/1.1 200 "));
	end();
}

static void
a_client_that_leaves_the_queue_leaves_no_trace(void)
{
	begin(0);
	say(GET("/"));
	bal_h1_fini(&client.h1);
	CU_ASSERT(fake.edge.sched.waiting == 0 && fake_metric(BAL_M_QUEUED) == 0);
	CU_ASSERT(fake_metric(BAL_M_IN_FLIGHT) == 0 && fake.edge.wheel.count == 0);
	end();
}

static void
a_body_that_waits_is_kept(void)
{
	begin(1);
	fake.peers[0].credit = 0;
	say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
	fake.peers[0].credit = 1;
	bal_sched_pump(&fake.edge.sched);
	CU_ASSERT(fake_nth(0)->end && w_view_eq(w_buf_get(&fake_nth(0)->body), W_VIEW("abcde")));
	fake_answer_all();
	CU_ASSERT(heard("POST / 5"));
	end();
}

static void
unsafe_requests_get_a_key(void)
{
	begin(1);
	say("POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: 0\r\n\r\n");
	CU_ASSERT_STRING_EQUAL(fake_nth(0)->id, "000003b9aca00-t-1");
	CU_ASSERT_STRING_EQUAL(fake_nth(0)->key, "000003b9aca00 t-1");
	fake_answer_all();
	say(GET("/"));
	CU_ASSERT_STRING_EQUAL(fake_nth(0)->key, "");
	fake_answer_all();
	say("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: \"k 1\"\r\n\r\n");
	CU_ASSERT(heard("HTTP/1.1 400 ") && heard("Idempotency-Key"));
	end();
}

static void
a_clients_key_is_taken_as_it_is(void)
{
	begin(1);
	say("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: \"k1\"\r\nContent-Length: 0\r\n\r\n");
	CU_ASSERT_STRING_EQUAL(fake_nth(0)->key, "\"k1\"");
	fake_answer_all();
	end();
}

/* Ids of two balancers, and of one that starts again, differ, and sort by time. */
static void
ids_are_unique_and_sort_by_time(void)
{
	struct bal_edge *edge = w_xcalloc(1, sizeof(*edge));
	char last[BAL_ID_SIZE] = "", id[BAL_ID_SIZE], other[BAL_ID_SIZE];
	w_usec now = 5;

	for (unsigned i = 0; i < 40; i++) {
		if (i % 10 == 0)
			bal_edge_init(edge, &fake_backend, &now, "a-name-that-is-longer-than-what-is-kept");
		CU_ASSERT(bal_make_id(edge, id) == strlen(id) && strlen(id) < BAL_ID_SIZE);
		now += 3;
		CU_ASSERT(strcmp(last, id) < 0 || i % 10 == 0);
		memcpy(last, id, sizeof(last));
	}
	bal_edge_init(edge, &fake_backend, &now, "a");
	edge->id_wall = 0;
	bal_make_id(edge, id);
	bal_edge_init(edge, &fake_backend, &now, "a");
	edge->id_wall = 0;
	bal_make_id(edge, other);
	CU_ASSERT(strlen(id) == strlen(other) && strcmp(id, other) != 0);
	free(edge);
}

static CU_TestInfo queue_tests[] = {
	{ "requests wait for credit", requests_wait_for_credit },
	{ "a restart of the only server is bridged", a_restart_of_the_only_server_is_bridged },
	{ "waiting too long is 503 with Retry-After", waiting_too_long_is_503 },
	{ "a full queue is 503 at once", a_full_queue_is_503_at_once },
	{ "the deadline is 504", the_deadline_is_504 },
	{ "a body that waits is kept", a_body_that_waits_is_kept },
	{ "a client that leaves the queue leaves no trace",
	    a_client_that_leaves_the_queue_leaves_no_trace },
	CU_TEST_INFO_NULL
};
static CU_TestInfo retry_tests[] = {
	{ "a lost GET goes elsewhere", a_lost_get_goes_elsewhere },
	{ "a lost PUT goes elsewhere with its body", a_lost_put_goes_elsewhere_with_its_body },
	{ "a PUT lost half-way streams on elsewhere", a_put_lost_half_way_streams_on },
	{ "a body too long to keep is sent once", a_body_too_long_to_keep_is_sent_once },
	{ "a lost POST goes elsewhere in doubt", a_lost_post_goes_elsewhere_in_doubt },
	{ "doubt outlives a refusal", doubt_outlives_a_refusal },
	{ "a lost write waits for a server until its deadline",
	    a_lost_write_waits_for_a_server_until_its_deadline },
	{ "a full queue does not turn away who was in", a_full_queue_does_not_turn_away_who_was_in },
	{ "no server before the deadline leaves doubt", no_server_before_the_deadline_leaves_doubt },
	{ "a GET is never in doubt", a_get_is_never_in_doubt },
	{ "a lost node is avoided as a whole for a moment", a_lost_node_is_avoided_as_a_whole },
	{ "a refused request comes back to the only server",
	    a_refused_request_comes_back_to_the_only_server },
	{ "a refused POST goes elsewhere", a_refused_post_goes_elsewhere },
	{ "nothing is sent again once the answer has begun",
	    nothing_is_retried_once_the_answer_has_begun },
	{ "a request is not tried for ever", a_request_is_not_tried_for_ever },
	{ "a refused request waits for another server", a_lost_request_waits_for_another_server },
	{ "all GETs of a dying server are saved", all_gets_of_a_dying_server_are_saved },
	{ "writes outlive many losses", writes_outlive_many_losses },
	{ "further refusals are charged to the budget", further_refusals_are_charged_to_the_budget },
	{ "peers that refuse to open are passed over", peers_that_refuse_to_open_are_passed_over },
	{ "unsafe requests get an idempotency key", unsafe_requests_get_a_key },
	{ "a client's key is taken as it is", a_clients_key_is_taken_as_it_is },
	{ "request ids are unique and sort by time", ids_are_unique_and_sort_by_time },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo exchange_suites[] = {
	{ .pName = "balancer/queue", .pTests = queue_tests },
	{ .pName = "balancer/retry", .pTests = retry_tests },
	CU_SUITE_INFO_NULL
};
