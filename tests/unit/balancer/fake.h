/*
 * A link of ours, for tests: peers and streams without sockets, and an edge on top of it.
 * Streams keep what they got; tests (or fake_answer) play the server.
 */
#ifndef WEIR_TESTS_BALANCER_FAKE_H
#define WEIR_TESTS_BALANCER_FAKE_H

#include <stdio.h>

#include "balancer/h1.h"

#define FAKE_STREAMS 256
#define FAKE_PEERS 16

struct lnk_peer {
	struct bal_peer *sched;
	unsigned credit, streams;
	bool refuses; /* has credit, but open says -W_EDOWN */
};

struct lnk_stream {
	struct lnk_peer *peer;
	void *arg;
	bool open, end, answered, reset;
	int reset_err;
	size_t window, consumed;
	unsigned attempt;
	bool doubt;
	struct w_buf body;
	char method[40], target[256], id[100], key[100];
};

struct fake {
	struct bal_edge edge;
	struct bal_config config;
	struct w_balancer_options opt;
	struct w_metrics *metrics;
	w_usec now;
	struct lnk_peer peers[FAKE_PEERS];
	struct lnk_stream streams[FAKE_STREAMS];
	unsigned opened, opens;
	size_t window; /* of new streams */
};

static struct fake fake;

static inline unsigned
fake_credit(const struct lnk_peer *peer)
{
	return peer->credit;
}

static inline unsigned
fake_streams(const struct lnk_peer *peer)
{
	return peer->streams;
}

static inline struct lnk_stream *
fake_slot(void)
{
	for (unsigned i = 0; i < FAKE_STREAMS; i++)
		if (!fake.streams[i].open)
			return &fake.streams[i];
	return NULL;
}

static inline int
fake_open(struct lnk_peer *peer, const struct lnk_request *request, void *arg,
    struct lnk_stream **ret)
{
	struct lnk_stream *s = fake_slot();

	fake.opens++;
	if (peer->refuses)
		return -W_EDOWN;
	if (peer->credit == 0 || s == NULL)
		return -W_EBUSY;
	w_buf_fini(&s->body);
	*s = (struct lnk_stream){ .peer = peer, .arg = arg, .open = true, .end = request->end,
		.window = fake.window, .attempt = request->attempt, .doubt = request->doubt };
	snprintf(s->method, sizeof(s->method), "%.*s", W_VIEW_ARG(request->method));
	snprintf(s->target, sizeof(s->target), "%.*s", W_VIEW_ARG(request->target));
	snprintf(s->id, sizeof(s->id), "%.*s", W_VIEW_ARG(request->id));
	snprintf(s->key, sizeof(s->key), "%.*s", W_VIEW_ARG(request->idempotency));
	peer->credit--;
	peer->streams++;
	fake.opened++;
	*ret = s;
	return W_OK;
}

static inline size_t
fake_send(struct lnk_stream *s, struct w_view bytes, bool end)
{
	size_t taken = W_MIN(bytes.len, s->window);

	W_ASSERT(s->open && !s->end);
	w_buf_add(&s->body, bytes.ptr, taken);
	s->window -= taken;
	if (taken == bytes.len && end)
		s->end = true;
	return taken;
}

static inline void
fake_consumed(struct lnk_stream *s, size_t bytes)
{
	W_ASSERT(s->open);
	s->consumed += bytes;
}

static inline void
fake_gone(struct lnk_stream *s)
{
	W_ASSERT(s->open);
	s->open = false;
	s->peer->streams--;
}

static inline void
fake_reset(struct lnk_stream *s, int err)
{
	fake_gone(s);
	s->reset = true;
	s->reset_err = err;
	s->peer->credit++;
}

/* The exchange lets go of a stream that has ended both ways. */
static inline void
fake_set_arg(struct lnk_stream *s, void *arg)
{
	s->arg = arg;
	fake_gone(s);
	s->peer->credit++;
}

static const struct bal_backend fake_backend = { fake_credit, fake_streams, fake_open, fake_send,
	fake_consumed, fake_reset, fake_set_arg };

/* Options as their table has them, but for what a test wants otherwise. */
static inline void
fake_options(void)
{
	fake.opt = (struct w_balancer_options){ .header_timeout = 10 * W_SEC,
		.body_timeout = 600 * W_SEC, .idle_timeout = 60 * W_SEC, .write_timeout = 60 * W_SEC,
		.request_timeout = 30 * W_SEC, .max_header = 16384, .max_fields = 100,
		.max_target = 8192, .queue_max = 1024, .queue_timeout = 5 * W_SEC,
		.retry_budget = 20, .retry_buffer = 65536 };
}

static inline void
fake_start(void)
{
	memset(&fake, 0, sizeof(fake));
	fake_options();
	fake.now = 1000 * W_SEC;
	fake.window = 256 * 1024;
	fake.config.opt = &fake.opt;
	fake.metrics = w_metrics_new(1);
	bal_edge_init(&fake.edge, &fake_backend, &fake.now, "test");
	fake.edge.metrics = bal_metrics_add(fake.metrics, &fake.edge.parse_metrics);
	fake.edge.meter = w_metrics_meter(fake.metrics, 0);
	fake.edge.config = &fake.config;
	/* The same input gives the same output. */
	fake.edge.id_wall = 0;
	strcpy(fake.edge.id_prefix, "-t-");
	fake.edge.id_prefix_len = 3;
	strcpy(fake.edge.date, "Mon, 23 Nov 2026 10:00:00 GMT");
	fake.edge.date_due = W_NEVER;
}

static inline struct lnk_peer *
fake_peer(unsigned index, const char *name, unsigned worker, unsigned credit)
{
	struct lnk_peer *peer = &fake.peers[index];

	*peer = (struct lnk_peer){ .credit = credit };
	peer->sched = bal_edge_peer_up(&fake.edge, peer, name, worker);
	return peer;
}

static inline void
fake_stop(void)
{
	bal_edge_fini(&fake.edge);
	W_ASSERT(fake.edge.in_flight == 0);
	W_ASSERT(fake.edge.pool.taken == 0);
	for (unsigned i = 0; i < FAKE_STREAMS; i++)
		w_buf_fini(&fake.streams[i].body);
	w_metrics_free(&fake.metrics);
}

static inline int64_t
fake_metric(enum bal_metric metric)
{
	return w_metrics_value(fake.metrics, fake.edge.metrics + metric);
}

static inline void
fake_advance(w_usec by)
{
	fake.now += by;
	bal_wheel_run(&fake.edge.wheel, fake.now);
}

/* ---- the server's side ---- */

/* An open stream by number, in the order of slots; NULL when there are fewer. */
static inline struct lnk_stream *
fake_nth(unsigned n)
{
	for (unsigned i = 0; i < FAKE_STREAMS; i++)
		if (fake.streams[i].open && n-- == 0)
			return &fake.streams[i];
	return NULL;
}

static inline void
fake_close(struct lnk_stream *s, int err)
{
	fake_gone(s);
	s->peer->credit++;
	bal_exchange_on_closed(s, err, s->arg);
}

/* Answer whole and close. text NULL: no body. */
static inline void
fake_respond(struct lnk_stream *s, unsigned status, const char *text)
{
	struct lnk_field field = { W_VIEW("content-type"), W_VIEW("text/plain") };
	struct lnk_response response = { .status = status, .length = 0, .end = text == NULL,
		.fields = &field, .field_count = 1 };

	if (text != NULL)
		response.length = (int64_t)strlen(text);
	s->answered = true;
	bal_exchange_on_response(s, &response, s->arg);
	if (text != NULL && s->open)
		bal_exchange_on_data(s, w_view_of(text), true, s->arg);
	bal_sched_pump(&fake.edge.sched);
}

/* Answer every complete request with what came in. Returns how many. */
static inline unsigned
fake_answer_all(void)
{
	char text[400];
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_STREAMS; i++) {
		struct lnk_stream *s = &fake.streams[i];

		if (!s->open || !s->end || s->answered)
			continue;
		snprintf(text, sizeof(text), "%s %s %zu %llx\n", s->method, s->target, s->body.len,
		    (unsigned long long)w_view_hash(w_buf_get(&s->body)));
		fake_respond(s, 200, text);
		count++;
	}
	return count;
}

/* ---- a client's connection without a socket ---- */

struct fake_client {
	struct bal_h1 h1;
	struct w_buf output;
};

static inline void
fake_wake(struct bal_h1 *h1)
{
	(void)h1;
}

static inline void
client_open(struct fake_client *client)
{
	memset(client, 0, sizeof(*client));
	client->h1.wake = fake_wake;
	client->h1.client = "192.0.2.1:1234";
	bal_h1_init(&client->h1, &fake.edge);
}

static inline void
client_take_output(struct fake_client *client)
{
	struct w_view first;

	while ((first = bal_out_first(&client->h1.out)).len > 0) {
		w_buf_view(&client->output, first);
		bal_out_drop(&client->h1.out, first.len);
	}
	bal_h1_flushed(&client->h1);
}

/* Feed what is wanted; returns how many bytes were taken. */
static inline size_t
client_send(struct fake_client *client, struct w_view bytes)
{
	size_t done = 0, part;
	char *to;

	while (done < bytes.len && bal_h1_wants_input(&client->h1)) {
		part = W_MIN(bal_h1_room(&client->h1, &to), bytes.len - done);
		if (part == 0)
			break;
		memcpy(to, bytes.ptr + done, part);
		done += part;
		bal_h1_added(&client->h1, part);
	}
	client_take_output(client);
	return done;
}

/* The answers so far, NUL-ended. */
static inline const char *
client_text(struct fake_client *client)
{
	client_take_output(client);
	w_buf_char(&client->output, '\0');
	client->output.len--;
	return client->output.ptr;
}

static inline void
client_close(struct fake_client *client)
{
	bal_h1_fini(&client->h1);
	w_buf_fini(&client->output);
}

#endif
