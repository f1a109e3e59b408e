#include "tests/unit/link/app.h"

#include <CUnit/CUnit.h>
#include <stdio.h>

/* The byte at an offset of any body here. */
static char
body_byte(size_t offset)
{
	return (char)(offset * 7 + offset / 251);
}

static size_t
body_fill(char *to, size_t size, size_t offset, size_t body)
{
	size_t len = W_MIN(size, body - offset);

	for (size_t i = 0; i < len; i++)
		to[i] = body_byte(offset + i);
	return len;
}

/* ---- the client ---- */

static void
client_peer_up(struct lnk_peer *peer, void *arg)
{
	struct client *client = arg;

	client->ups++;
	if (client->peer_count < APP_PEERS)
		client->peers[client->peer_count++] = peer;
}

static void
client_peer_down(struct lnk_peer *peer, int err, void *arg)
{
	struct client *client = arg;

	client->downs++;
	client->down_err = err;
	for (unsigned i = 0; i < client->peer_count; i++) {
		if (client->peers[i] == peer) {
			client->peers[i] = client->peers[--client->peer_count];
			return;
		}
	}
	CU_FAIL("peer_down for one that was not up");
}

static void
client_peer_credit(struct lnk_peer *peer, void *arg)
{
	struct client *client = arg;

	CU_ASSERT(lnk_peer_credit(peer) > 0);
	client->credits++;
}

static void
client_response(struct lnk_stream *stream, const struct lnk_response *response, void *arg)
{
	struct call *call = arg;
	struct client *client = call->client;

	CU_ASSERT_PTR_EQUAL(call->stream, stream);
	client->responses++;
	client->status = response->status;
	if (response->field_count > 0)
		snprintf(client->field, sizeof(client->field), "%.*s: %.*s",
		    W_VIEW_ARG(response->fields[0].name), W_VIEW_ARG(response->fields[0].value));
}

static void
client_data(struct lnk_stream *stream, struct w_view bytes, bool end, void *arg)
{
	struct call *call = arg;

	for (size_t i = 0; i < bytes.len; i++)
		call->wrong |= bytes.ptr[i] != body_byte(call->got + i);
	call->got += bytes.len;
	call->end |= end;
	if (call->client->reset_on_data) {
		call->stream = NULL;
		lnk_stream_reset(stream, -W_ECANCELED);
		return;
	}
	if (!call->client->slow)
		lnk_stream_consumed(stream, bytes.len);
}

static void
client_writable(struct lnk_stream *stream W_UNUSED, void *arg)
{
	call_pump(arg);
}

static void
client_closed(struct lnk_stream *stream, int err, void *arg)
{
	struct call *call = arg;
	struct client *client = call->client;

	CU_ASSERT_PTR_EQUAL(call->stream, stream);
	call->stream = NULL;
	client->closed++;
	client->last_err = err;
	client->ok += err == W_OK;
	client->refused += err == -W_EREFUSED;
	client->lost += err == -W_ELOST;
	client->other += err != W_OK && err != -W_EREFUSED && err != -W_ELOST;
	if (client->reopen && err < 0 && client->peer_count > 0)
		call_open(call, client, client->peers[0], "/again", 0);
}

const struct lnk_hub_ops client_ops = {
    .stream = {client_data, client_writable, client_closed},
    .peer_up = client_peer_up,
    .peer_down = client_peer_down,
    .peer_credit = client_peer_credit,
    .response = client_response,
};

int
call_open(struct call *call, struct client *client, struct lnk_peer *peer, const char *target,
    size_t body)
{
	const struct lnk_field fields[] = {{W_VIEW("accept"), W_VIEW("*/*")}};
	const struct lnk_request request = {.method = body > 0 ? W_VIEW("POST") : W_VIEW("GET"),
	    .scheme = W_VIEW("https"),
	    .authority = W_VIEW("example.org"),
	    .target = w_view_of(target),
	    .client = W_VIEW("127.0.0.1:1"),
	    .id = W_VIEW("1"),
	    .timeout = W_SEC,
	    .length = (int64_t)body,
	    .end = body == 0,
	    .fields = fields,
	    .field_count = 1};
	int rc;

	*call = (struct call){.client = client, .body = body};
	rc = lnk_hub_open(peer, &request, call, &call->stream);
	if (rc == W_OK)
		call_pump(call);
	return rc;
}

void
call_pump(struct call *call)
{
	static char bytes[100000]; /* no multiple of anything */

	while (call->sent < call->body) {
		size_t len = body_fill(bytes, sizeof(bytes), call->sent, call->body);
		size_t taken = lnk_stream_send(
		    call->stream, (struct w_view){bytes, len}, call->sent + len == call->body);

		call->sent += taken;
		if (taken < len)
			return;
	}
}

/* ---- the server ---- */

static void
respond(struct lnk_stream *stream, unsigned status, int64_t length, bool end)
{
	const struct lnk_field fields[] = {{W_VIEW("content-type"), W_VIEW("text/plain")}};
	const struct lnk_response response = {.status = status,
	    .length = length,
	    .end = end,
	    .started = true,
	    .fields = fields,
	    .field_count = 1};

	CU_ASSERT_EQUAL(lnk_stream_respond(stream, &response), W_OK);
}

/* Bytes of one body that came and are not sent back yet: their offsets are enough. */
struct echo {
	struct server *server;
	size_t got, sent;
	bool end, done;
};

static void
echo_pump(struct lnk_stream *stream, struct echo *echo)
{
	static char bytes[50000];

	while (!echo->done && (echo->sent < echo->got || echo->end)) {
		size_t len = body_fill(bytes, sizeof(bytes), echo->sent, echo->got);
		bool last = echo->end && echo->sent + len == echo->got;
		size_t taken = lnk_stream_send(stream, (struct w_view){bytes, len}, last);

		echo->sent += taken;
		lnk_stream_consumed(stream, taken);
		if (taken < len)
			return;
		echo->done = last;
	}
}

static void
server_request(struct lnk_stream *stream, const struct lnk_request *request, void *arg)
{
	struct server *server = arg;
	struct echo *echo;

	server->requests++;
	server->most = W_MAX(server->most,
	    server->spoke != NULL ? lnk_spoke_streams(server->spoke) : *server->active);
	snprintf(server->target, sizeof(server->target), "%.*s", W_VIEW_ARG(request->target));
	if (w_view_eq(request->target, W_VIEW("/hold"))) {
		server->held[server->held_count++] = stream;
		return;
	}
	if (request->end) {
		respond(stream, 200, -1, false);
		lnk_stream_send(stream, (struct w_view){NULL, 0}, true);
		return;
	}
	echo = w_xcalloc(1, sizeof(*echo));
	echo->server = server;
	lnk_stream_set_arg(stream, echo);
	if (!server->slow)
		respond(stream, 200, request->length, false);
}

static void
server_data(struct lnk_stream *stream, struct w_view bytes, bool end, void *arg)
{
	struct echo *echo = arg;

	if (lnk_stream_arg(stream) == NULL)
		return;
	for (size_t i = 0; i < bytes.len && !echo->server->unchecked; i++)
		if (bytes.ptr[i] != body_byte(echo->got + i))
			CU_FAIL_FATAL("a byte of the request's body came as another");
	echo->got += bytes.len;
	echo->end = end;
	echo->server->got += bytes.len;
	if (!echo->server->slow)
		echo_pump(stream, echo);
}

static void
server_writable(struct lnk_stream *stream, void *arg)
{
	echo_pump(stream, arg);
}

static void
server_closed(struct lnk_stream *stream, int err, void *arg)
{
	struct server *server = arg;

	if (lnk_stream_arg(stream) != NULL) {
		server = ((struct echo *)arg)->server;
		free(arg);
	}
	server->closed++;
	server->ok += err == W_OK;
	server->last_err = err;
	for (unsigned i = 0; i < server->held_count; i++) {
		if (server->held[i] == stream)
			server->held[i--] = server->held[--server->held_count];
	}
}

static void
server_peer_up(struct lnk_peer *peer W_UNUSED, void *arg)
{
	((struct server *)arg)->ups++;
}

static void
server_peer_down(struct lnk_peer *peer W_UNUSED, int err W_UNUSED, void *arg)
{
	((struct server *)arg)->downs++;
}

const struct lnk_spoke_ops server_ops = {
    .stream = {server_data, server_writable, server_closed},
    .request = server_request,
    .peer_up = server_peer_up,
    .peer_down = server_peer_down,
};

/* The others keep their order: the oldest first. */
void
server_answer_one(struct server *server, unsigned index)
{
	struct lnk_stream *stream = server->held[index];

	server->held_count--;
	memmove(&server->held[index], &server->held[index + 1],
	    (server->held_count - index) * sizeof(server->held[0]));
	respond(stream, 204, 0, true);
}

void
server_answer(struct server *server)
{
	while (server->held_count > 0)
		respond(server->held[--server->held_count], 204, 0, true);
}

/* ---- conditions ---- */

bool
client_is_up(void *arg)
{
	struct client *client = arg;

	return client->peer_count > 0 && lnk_peer_credit(client->peers[0]) > 0;
}

bool
client_is_alone(void *arg)
{
	return ((struct client *)arg)->peer_count == 0;
}

bool
call_is_over(void *arg)
{
	return ((struct call *)arg)->stream == NULL;
}
