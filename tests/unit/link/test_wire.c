/* Hub and spoke over TCP and CURVE, with sockets of the tests' own where a peer misbehaves. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>
#include <time.h>
#include <zmq.h>

#include "tests/unit/link/app.h"
#include "tests/unit/link/suites.h"
#include "tests/unit/link/world.h"

static struct world world;
static struct client client;
static struct server server;
static struct lnk_hub *hub;

static int
set_up(void)
{
	return world_open(&world) ? 0 : 1;
}

static int
tear_down(void)
{
	world_close(&world);
	return 0;
}

static void
start(unsigned capacity)
{
	client = (struct client){0};
	server = (struct server){0};
	world_mark(&world);
	world_move(&world);
	hub = world_hub(&world, 0, 0, 1, &client_ops, &client);
	if (capacity > 0)
		server.spoke = world_spoke(&world, capacity, &server_ops, &server);
}

static void
stop(void)
{
	lnk_spoke_free(&server.spoke);
	lnk_hub_free(&hub);
	CU_ASSERT_EQUAL(client.ups, client.downs);
	CU_ASSERT_EQUAL(server.ups, server.downs);
	CU_ASSERT_EQUAL(server.requests, server.closed);
	CU_ASSERT_EQUAL(world_since(&world, LNK__STREAMS), 0);
	CU_ASSERT_EQUAL(world_since(&world, LNK__PEERS), 0);
	CU_ASSERT_EQUAL(world_since(&world, LNK__BACKLOG), 0);
}

static void
request_and_response(void)
{
	struct call call;

	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	CU_ASSERT_STRING_EQUAL(lnk_peer_name(client.peers[0]), "server-1");
	CU_ASSERT_EQUAL(lnk_peer_credit(client.peers[0]), 8);
	CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/a?b=c", 0), W_OK);
	CU_ASSERT_EQUAL(lnk_peer_streams(client.peers[0]), 1);
	CU_ASSERT(world_until(&world, call_is_over, &call));
	CU_ASSERT_EQUAL(client.status, 200);
	CU_ASSERT_STRING_EQUAL(client.field, "content-type: text/plain");
	CU_ASSERT_STRING_EQUAL(server.target, "/a?b=c");
	CU_ASSERT_EQUAL(client.ok, 1);
	CU_ASSERT_EQUAL(client.credits, 1);
	stop();
	CU_ASSERT_EQUAL(server.ok, 1);
}

static void
big_bodies(void)
{
	struct call calls[3];

	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(
		    call_open(&calls[i], &client, client.peers[0], "/echo", 10 << 20), W_OK);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT(world_until(&world, call_is_over, &calls[i]));
		CU_ASSERT_EQUAL(calls[i].got, (size_t)10 << 20);
		CU_ASSERT(calls[i].end && !calls[i].wrong);
	}
	CU_ASSERT_EQUAL(client.ok, 3);
	CU_ASSERT_EQUAL(world_since(&world, LNK__ERRORS), 0);
	stop();
}

/* ---- more than one worker, more than one balancer ---- */

static bool
two_up(void *arg)
{
	return ((struct client *)arg)->peer_count == 2;
}

static bool
welcomed_twice(void *arg)
{
	return ((struct server *)arg)->ups == 2;
}

static void
all_workers_are_dialled(void)
{
	struct lnk_hub *second;

	start(0);
	lnk_hub_free(&hub);
	world_move(&world);
	hub = world_hub(&world, 0, 0, 2, &client_ops, &client);
	second = world_hub(&world, 0, 1, 2, &client_ops, &client);
	server.spoke = world_spoke(&world, 8, &server_ops, &server);
	CU_ASSERT(world_until(&world, two_up, &client));
	CU_ASSERT(world_until(&world, welcomed_twice, &server));
	CU_ASSERT_EQUAL(lnk_spoke_peers(server.spoke), 2);
	lnk_hub_free(&second);
	stop();
}

static bool
has_four(void *arg)
{
	struct client *one = arg;

	return client_is_up(one) && lnk_peer_credit(one->peers[0]) == 4;
}

static bool
has_one(void *arg)
{
	struct client *one = arg;

	return lnk_peer_credit(one->peers[0]) == 1;
}

static bool
has_more(void *arg)
{
	struct client *one = arg;

	return lnk_peer_credit(one->peers[0]) > 0;
}

static bool
seven_ok(void *arg)
{
	return ((struct client *)arg)->ok == 7;
}

static void
shares_move_to_the_busy(void)
{
	struct client other = {0};
	struct lnk_hub *second;
	struct call calls[8];
	int open = 0;

	start(8);
	second = world_hub(&world, 1, 0, 1, &client_ops, &other);
	CU_ASSERT(world_until(&world, has_four, &other));
	CU_ASSERT(world_until(&world, has_four, &client));
	while (open < 7) {
		CU_ASSERT_FATAL(world_until(&world, has_more, &client));
		while (call_open(&calls[open], &client, client.peers[0], "/hold", 0) == W_OK)
			open++;
	}
	CU_ASSERT_EQUAL(open, 7);
	CU_ASSERT_EQUAL(lnk_peer_credit(client.peers[0]), 0);
	CU_ASSERT(world_until(&world, has_one, &other));
	/* The idle one comes back: what it opens is never above the capacity. */
	CU_ASSERT_EQUAL(call_open(&calls[7], &other, other.peers[0], "/hold", 0), W_OK);
	world_for(&world, LNK_BEAT * 2);
	CU_ASSERT_EQUAL(server.held_count, 8);
	CU_ASSERT_EQUAL(server.most, 8);
	server_answer(&server);
	CU_ASSERT(world_until(&world, seven_ok, &client));
	CU_ASSERT(world_until(&world, has_four, &other));
	lnk_hub_free(&second);
	stop();
}

static bool
server_alone(void *arg)
{
	return ((struct server *)arg)->downs > 0;
}

static bool
server_holds(void *arg)
{
	return ((struct server *)arg)->held_count > 0;
}

/* ---- servers that die, hang and come back ---- */

static void
send_batch(void *dealer, struct w_buf *batch, uint64_t session, uint64_t number)
{
	lnk__batch_seal(batch, session, number);
	CU_ASSERT(zmq_send(dealer, batch->ptr, batch->len, ZMQ_DONTWAIT) >= 0);
	w_buf_clear(batch);
	lnk__batch_begin(batch);
}

static bool
can_send(void *dealer)
{
	int events = 0;
	size_t size = sizeof(events);

	zmq_getsockopt(dealer, ZMQ_EVENTS, &events, &size);
	return (events & ZMQ_POLLOUT) != 0;
}

static bool
can_receive(void *dealer)
{
	int events = 0;
	size_t size = sizeof(events);

	zmq_getsockopt(dealer, ZMQ_EVENTS, &events, &size);
	return (events & ZMQ_POLLIN) != 0;
}

/* The loop does not watch the test's own sockets: look again and again, a little apart. */
static bool
wait_for(bool (*condition)(void *dealer), void *dealer)
{
	w_usec until = w_now() + WORLD_LIMIT;

	while (!condition(dealer) && w_now() < until)
		world_for(&world, W_MSEC);
	return condition(dealer);
}

/* A server of the test's own: says HELLO and gives credit 5. */
static void *
bare_server(const struct w_keys *keys, const char *name, uint64_t session)
{
	const struct lnk__greeting hello = {
	    .workers = 1, .window = 1000, .epoch = session, .name = w_view_of(name)};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	void *dealer = world_dealer(&world, keys);

	CU_ASSERT_FATAL(wait_for(can_send, dealer));
	lnk__batch_begin(&batch);
	lnk__put_greeting(&batch, LNK__HELLO, &hello);
	send_batch(dealer, &batch, session, 0);
	lnk__put_number(&batch, LNK__CREDIT, 0, 5);
	send_batch(dealer, &batch, session, 1);
	return dealer;
}

/* What GOAWAY says that comes to the bare server next; other batches are passed over. */
static int
next_goaway(void *dealer)
{
	static char bytes[LNK__MESSAGE_MAX];

	while (wait_for(can_receive, dealer)) {
		int len = zmq_recv(dealer, bytes, sizeof(bytes), ZMQ_DONTWAIT);
		struct lnk__goaway goaway;
		struct lnk__record record;
		struct lnk__batch batch;
		struct w_view rest;

		if (len < 0 ||
		    lnk__batch_parse((struct w_view){bytes, (size_t)len}, &batch, &rest) < 0)
			continue;
		if (lnk__record_parse(&rest, &record) == 1 && record.type == LNK__GOAWAY &&
		    lnk__goaway_parse(record.body, &goaway) == W_OK)
			return goaway.err;
	}
	return W_OK;
}

/* From the death of a server with a request in work to closed(). */
static w_usec
time_to_notice(uint64_t session)
{
	struct call call;
	w_usec died;
	void *dealer;

	dealer = bare_server(world.server[0], "server-1", session);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/", 0), W_OK);
	world_for(&world, W_MSEC);
	died = w_now();
	zmq_close(dealer); /* no goodbye: as far as TCP can tell, a kill -9 */
	CU_ASSERT(world_until(&world, client_is_alone, &client));
	CU_ASSERT_EQUAL(client.down_err, -W_ELOST);
	return w_now() - died;
}

/*
 * By the socket's event and the probes that follow it: the next PING of a beat would come 180 ms
 * after the last word at the earliest. A busy machine may need a few tries to show it.
 */
static void
server_dies(void)
{
	w_usec best = W_NEVER;
	unsigned tries = 0;

	start(0);
	while (best > LNK_BEAT / 2 && tries < 5)
		best = W_MIN(best, time_to_notice(100 + tries++));
	CU_ASSERT(best < LNK_BEAT / 2);
	CU_ASSERT_EQUAL(client.lost, tries);
	stop();
}

/* Its last words are not lost, though the connection breaks behind them. */
static void
server_answers_and_dies(void)
{
	const struct lnk_response response = {.status = 204, .end = true};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	const unsigned rounds = 20;
	size_t size;

	start(0);
	CU_ASSERT_EQUAL(lnk__response_size(&response, &size), W_OK);
	for (unsigned i = 0; i < rounds; i++) {
		struct call call;
		int linger = 1000;
		void *dealer = bare_server(world.server[0], "server-1", 200 + i);

		CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
		CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/", 0), W_OK);
		CU_ASSERT(wait_for(can_receive, dealer));
		w_buf_clear(&batch);
		lnk__batch_begin(&batch);
		lnk__put_response(&batch, 1, &response, size);
		send_batch(dealer, &batch, 200 + i, 2);
		zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(dealer);
		/* The hub is kept away until all has happened behind its back. */
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
		CU_ASSERT(world_until(&world, client_is_alone, &client));
	}
	CU_ASSERT_EQUAL(client.ok, rounds);
	CU_ASSERT_EQUAL(client.lost, 0);
	stop();
}

static void
server_hangs(void)
{
	struct call call;
	void *dealer;

	start(0);
	dealer = bare_server(world.server[0], "server-1", 12);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/", 0), W_OK);
	CU_ASSERT(world_until(&world, client_is_alone, &client));
	CU_ASSERT_EQUAL(client.lost, 1);
	CU_ASSERT_EQUAL(next_goaway(dealer), -W_ELOST);
	zmq_close(dealer);
	stop();
}

static bool
is_lost(void *arg)
{
	return ((struct client *)arg)->lost > 0;
}

static void
server_restarts(void)
{
	struct call call;
	void *old, *new;

	start(0);
	old = bare_server(world.server[0], "server-1", 13);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/", 0), W_OK);
	new = bare_server(world.server[0], "server-1", 14);
	CU_ASSERT(world_until(&world, is_lost, &client));
	CU_ASSERT(world_until(&world, client_is_up, &client));
	CU_ASSERT_EQUAL(client.peer_count, 1);
	CU_ASSERT_EQUAL(client.ups, 2);
	zmq_close(old);
	zmq_close(new);
	stop();
}

static bool
up_twice(void *arg)
{
	return ((struct client *)arg)->ups == 2;
}

/* The same connection, another session: the spoke gave up the first one by itself. */
static void
session_restarts(void)
{
	const struct lnk__greeting hello = {
	    .workers = 1, .window = 1000, .name = W_VIEW("server-1")};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	void *dealer;

	start(0);
	dealer = bare_server(world.server[0], "server-1", 15);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	lnk__batch_begin(&batch);
	lnk__put_greeting(&batch, LNK__HELLO, &hello);
	send_batch(dealer, &batch, 16, 0);
	lnk__put_number(&batch, LNK__CREDIT, 0, 1);
	send_batch(dealer, &batch, 16, 1);
	CU_ASSERT(world_until(&world, up_twice, &client));
	CU_ASSERT(world_until(&world, has_one, &client));
	CU_ASSERT_EQUAL(client.downs, 1);
	/* What the first session says now is late. */
	send_batch(dealer, &batch, 15, 2);
	zmq_close(dealer);
	CU_ASSERT(world_until(&world, client_is_alone, &client));
	CU_ASSERT_EQUAL(world_since(&world, LNK__LATE), 1);
	stop();
}

/* ---- balancers that die, and the wrong ones ---- */

struct bare_hub {
	void *router;
	char id[255];
	size_t id_len;
	uint64_t session;
};

static void
hub_send(struct bare_hub *bare, struct w_buf *batch, uint64_t number)
{
	lnk__batch_seal(batch, bare->session, number);
	CU_ASSERT(zmq_send(bare->router, bare->id, bare->id_len, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0);
	CU_ASSERT(zmq_send(bare->router, batch->ptr, batch->len, ZMQ_DONTWAIT) >= 0);
	w_buf_clear(batch);
	lnk__batch_begin(batch);
}

/* A balancer of the test's own: waits for HELLO, says WELCOME as name. */
static void
bare_balancer(struct bare_hub *bare, const char *name)
{
	const struct lnk__greeting welcome = {
	    .workers = 1, .window = 1000, .epoch = 1, .name = w_view_of(name)};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	char endpoint[64], bytes[1000];
	struct lnk__batch head;
	struct w_view rest;
	int len;

	*bare = (struct bare_hub){.router = zmq_socket(world.zmq, ZMQ_ROUTER)};
	snprintf(endpoint, sizeof(endpoint), "tcp://%s", world.address[0]);
	CU_ASSERT_EQUAL(w_keys_server(world.balancer[0], bare->router, W_DOMAIN_LINK, NULL), W_OK);
	CU_ASSERT_EQUAL_FATAL(zmq_bind(bare->router, endpoint), 0);
	server.spoke = world_spoke(&world, 8, &server_ops, &server);
	CU_ASSERT_FATAL(wait_for(can_receive, bare->router));
	bare->id_len = (size_t)zmq_recv(bare->router, bare->id, sizeof(bare->id), ZMQ_DONTWAIT);
	len = zmq_recv(bare->router, bytes, sizeof(bytes), ZMQ_DONTWAIT);
	CU_ASSERT_FATAL(len > 0);
	CU_ASSERT_EQUAL(lnk__batch_parse((struct w_view){bytes, (size_t)len}, &head, &rest), W_OK);
	bare->session = head.session;
	lnk__batch_begin(&batch);
	lnk__put_greeting(&batch, LNK__WELCOME, &welcome);
	hub_send(bare, &batch, 0);
}

static bool
server_is_up(void *arg)
{
	return ((struct server *)arg)->ups > 0;
}

static void
balancer_dies(void)
{
	const struct lnk_request request = {
	    .method = W_VIEW("GET"), .target = W_VIEW("/hold"), .end = true};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	struct bare_hub bare;
	size_t size;

	start(0);
	lnk_hub_free(&hub);
	world_move(&world);
	bare_balancer(&bare, "balancer-1");
	CU_ASSERT(world_until(&world, server_is_up, &server));
	lnk__batch_begin(&batch);
	CU_ASSERT_EQUAL(lnk__request_size(&request, &size), W_OK);
	lnk__put_request(&batch, 1, &request, size);
	/* Credit was given in the turn of the WELCOME. */
	world_for(&world, 10 * W_MSEC);
	hub_send(&bare, &batch, 1);
	CU_ASSERT(world_until(&world, server_holds, &server));
	zmq_close(bare.router);
	CU_ASSERT(world_until(&world, server_alone, &server));
	CU_ASSERT_EQUAL(server.last_err, -W_ELOST);
	stop();
}

static bool
complained(void *arg W_UNUSED)
{
	return world_since(&world, LNK__ERRORS) > 0;
}

static void
wrong_balancer(void)
{
	struct bare_hub bare;

	start(0);
	lnk_hub_free(&hub);
	world_move(&world);
	bare_balancer(&bare, "balancer-2");
	CU_ASSERT(world_until(&world, complained, NULL));
	CU_ASSERT_EQUAL(server.ups, 0);
	zmq_close(bare.router);
	stop();
}

/* ---- strangers ---- */

static void
unknown_session(void)
{
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	void *dealer;

	start(0);
	dealer = world_dealer(&world, world.server[0]);
	CU_ASSERT_FATAL(wait_for(can_send, dealer));
	lnk__batch_begin(&batch);
	lnk__put_number(&batch, LNK__PING, 0, 1);
	send_batch(dealer, &batch, 77, 5);
	CU_ASSERT_EQUAL(next_goaway(dealer), -W_ELOST);
	CU_ASSERT_EQUAL(client.ups, 0);
	zmq_close(dealer);
	stop();
}

static void
another_ones_name(void)
{
	void *dealer;

	start(0);
	dealer = bare_server(world.server[1], "server-1", 17);
	CU_ASSERT_EQUAL(next_goaway(dealer), -W_EDENIED);
	CU_ASSERT_EQUAL(client.ups, 0);
	zmq_close(dealer);
	stop();
}

static bool
refused_twice(void *arg)
{
	return w_zap_refused(world.zap) >= *(uint64_t *)arg + 2;
}

static void
keys_not_admitted(void)
{
	struct w_keys stranger = {.dir = world.dir, .name = "server-1"};
	uint64_t before;
	void *unknown, *balancer;

	start(0);
	before = w_zap_refused(world.zap);
	CU_ASSERT_EQUAL(w_keys_make(stranger.public_key, stranger.secret_key), W_OK);
	unknown = world_dealer(&world, &stranger);
	balancer = world_dealer(&world, world.balancer[1]);
	CU_ASSERT(world_until(&world, refused_twice, &before));
	world_for(&world, 100 * W_MSEC);
	CU_ASSERT_FALSE(can_send(unknown));
	CU_ASSERT_FALSE(can_send(balancer));
	CU_ASSERT_EQUAL(client.ups, 0);
	zmq_close(unknown);
	zmq_close(balancer);
	stop();
}

static void
garbage(void)
{
	static char noise[100000];
	struct call call;
	void *dealer;

	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	dealer = bare_server(world.server[1], "server-2", 18);
	CU_ASSERT_FATAL(world_until(&world, two_up, &client));
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)w_random();
	zmq_send(dealer, noise, sizeof(noise), ZMQ_DONTWAIT);
	zmq_send(dealer, "", 0, ZMQ_DONTWAIT);
	zmq_send(dealer, noise, 24, ZMQ_SNDMORE | ZMQ_DONTWAIT);
	zmq_send(dealer, noise, 24, ZMQ_DONTWAIT);
	CU_ASSERT_EQUAL(next_goaway(dealer), -W_EPROTO);
	/* Our neighbour has not noticed. */
	CU_ASSERT_EQUAL(client.peer_count, 1);
	CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/", 0), W_OK);
	CU_ASSERT(world_until(&world, call_is_over, &call));
	CU_ASSERT_EQUAL(client.ok, 1);
	zmq_close(dealer);
	stop();
}

/* ---- ends and pauses ---- */

static void
balancer_stops(void)
{
	struct call call;

	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/hold", 0), W_OK);
	CU_ASSERT(world_until(&world, server_holds, &server));
	lnk_hub_free(&hub);
	CU_ASSERT_EQUAL(client.last_err, -W_ECANCELED);
	CU_ASSERT(world_until(&world, server_alone, &server));
	CU_ASSERT_EQUAL(server.last_err, -W_ELOST);
	CU_ASSERT_EQUAL(lnk_spoke_streams(server.spoke), 0);
	CU_ASSERT_EQUAL(lnk_spoke_peers(server.spoke), 0);
	stop();
}

static bool
drained(void *arg)
{
	return lnk_spoke_streams(((struct server *)arg)->spoke) == 0;
}

static void
server_drains(void)
{
	struct call call;

	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	CU_ASSERT_EQUAL(call_open(&call, &client, client.peers[0], "/hold", 0), W_OK);
	CU_ASSERT(world_until(&world, server_holds, &server));
	lnk_spoke_drain(server.spoke);
	CU_ASSERT(world_until(&world, client_is_alone, &client));
	CU_ASSERT_EQUAL(client.down_err, -W_ESHUTDOWN);
	CU_ASSERT_EQUAL(client.closed, 0);
	server_answer(&server);
	CU_ASSERT(world_until(&world, drained, &server));
	lnk_spoke_free(&server.spoke); /* the last answer goes out all the same */
	CU_ASSERT(world_until(&world, call_is_over, &call));
	CU_ASSERT_EQUAL(client.ok, 1);
	CU_ASSERT_EQUAL(client.status, 204);
	stop();
}

/* libzmq lets go of the port a little later. */
static struct lnk_hub *
hub_again(unsigned index, struct client *to)
{
	struct lnk_hub *again = NULL;

	for (int tries = 0; again == NULL && tries < 100; tries++) {
		world_for(&world, 10 * W_MSEC);
		again = world_hub_try(&world, index, &client_ops, to);
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(again);
	return again;
}

static void
balancer_comes_back(void)
{
	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	lnk_hub_free(&hub);
	CU_ASSERT(world_until(&world, server_alone, &server));
	hub = hub_again(0, &client);
	CU_ASSERT(world_until(&world, client_is_up, &client));
	CU_ASSERT_EQUAL(server.ups, 2);
	stop();
}

static bool
beaten(void *arg)
{
	struct w_hist hist;

	w_metrics_hist(world.metrics, world.base + LNK__RTT, &hist);
	return hist.count > *(uint64_t *)arg + 8;
}

static void
idle_link_stays(void)
{
	struct w_hist hist;

	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	w_metrics_hist(world.metrics, world.base + LNK__RTT, &hist);
	CU_ASSERT(world_until(&world, beaten, &hist.count));
	CU_ASSERT_EQUAL(client.downs + server.downs, 0);
	stop();
}

/* A process that was stopped finds the others silent, because it did not listen. */
static void
own_pause_is_no_loss(void)
{
	struct timespec pause = {.tv_sec = 1};

	start(8);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));
	nanosleep(&pause, NULL);
	world_for(&world, LNK_BEAT * 2);
	CU_ASSERT_EQUAL(client.downs + server.downs, 0);
	stop();
}

/* ---- balancers come and go ---- */

static bool
welcomed_once(void *arg)
{
	return ((struct server *)arg)->ups - ((struct server *)arg)->downs == 1;
}

static bool
welcomed_twice_again(void *arg)
{
	return ((struct server *)arg)->ups == 3;
}

static void
balancers_come_and_go(void)
{
	struct w_member members[] = {world.members[0], world.members[2], world.members[3]};
	struct w_cluster both = world.cluster, first = world.cluster;
	struct client other = {0};
	struct lnk_hub *second;
	struct call call;

	first.members = members;
	first.member_count = W_NELEM(members);
	start(0);
	second = world_hub(&world, 1, 0, 1, &client_ops, &other);
	world.cluster = first;
	server.spoke = world_spoke(&world, 8, &server_ops, &server);
	world.cluster = both;
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &client));

	lnk_spoke_reload(server.spoke, &both);
	CU_ASSERT_FATAL(world_until(&world, client_is_up, &other));
	lnk_spoke_reload(server.spoke, &both);
	CU_ASSERT_EQUAL(server.ups, 2);

	/* gone from the file: what there is goes on until it ends */
	lnk_spoke_reload(server.spoke, &first);
	world_for(&world, LNK_BEAT);
	CU_ASSERT_EQUAL(call_open(&call, &other, other.peers[0], "/a", 0), W_OK);
	CU_ASSERT(world_until(&world, call_is_over, &call));
	lnk_hub_free(&second);
	CU_ASSERT(world_until(&world, welcomed_once, &server));
	world_for(&world, LNK_BEAT);
	second = hub_again(1, &other);
	world_for(&world, LNK_BEAT * 2);
	CU_ASSERT_EQUAL(server.ups, 2);
	lnk_spoke_reload(server.spoke, &both);
	CU_ASSERT(world_until(&world, welcomed_twice_again, &server));
	lnk_hub_free(&second);
	stop();
}

static CU_TestInfo wire_tests[] = {
    {"a request and its response", request_and_response},
    {"10 MiB there and back, thrice at once", big_bodies},
    {"all workers of a balancer are dialled", all_workers_are_dialled},
    {"shares move to the busy balancer, the capacity holds", shares_move_to_the_busy},
    {"a server that dies is lost at once", server_dies},
    {"a server that answers and dies has answered", server_answers_and_dies},
    {"a server that hangs is lost after three beats", server_hangs},
    {"a server that restarts ends its old session", server_restarts},
    {"a session begun anew on the same connection ends the old one", session_restarts},
    {"a balancer that dies is lost", balancer_dies},
    {"a balancer that is not the one that was dialled is left", wrong_balancer},
    {"a batch of an unknown session is sent away", unknown_session},
    {"a server cannot take another's name", another_ones_name},
    {"unknown keys and those of other roles stay out", keys_not_admitted},
    {"garbage ends its sender's session and nobody else's", garbage},
    {"a balancer that stops says so", balancer_stops},
    {"a server that drains finishes its requests", server_drains},
    {"a server finds a balancer that comes back", balancer_comes_back},
    {"balancers come and go by a reload", balancers_come_and_go},
    {"an idle link stays up", idle_link_stays},
    {"an own pause is not taken for the others' death", own_pause_is_no_loss},
    CU_TEST_INFO_NULL,
};

CU_SuiteInfo wire_suites[] = {
    {.pName = "link/wire", .pInitFunc = set_up, .pCleanupFunc = tear_down, .pTests = wire_tests},
    CU_SUITE_INFO_NULL,
};
