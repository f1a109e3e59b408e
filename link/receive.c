/*
 * What comes in: batches, and one function per record. Source: docs/protocol/01-link.md
 */
#include "link/peer.h"

/* ---- receiving: one function per record ---- */

static int
bad(struct lnk_peer *peer, const char *what, const struct lnk__record *record)
{
	return lnk__peer_doom(peer, -W_EPROTO, "%s (record of type %u, stream %llu)", what,
	    record->type, (unsigned long long)record->stream);
}

/*
 * The stream of a record. NULL with *ret_rc = W_OK: it is over already, the record is late.
 * NULL with an error: there never was one.
 */
static struct lnk_stream *
find(struct lnk_peer *peer, const struct lnk__record *record, int *ret_rc)
{
	struct lnk_stream *stream = lnk__stream_find(peer, record->stream);

	*ret_rc = W_OK;
	if (stream != NULL && !(stream->local_end && stream->remote_end))
		return stream;
	if (record->stream == 0 || record->stream > peer->opened)
		*ret_rc = bad(peer, "no such stream", record);
	else
		lnk__count(peer->end, LNK__LATE, 1);
	return NULL;
}

/* HELLO or WELCOME: the session is open when the end admits the peer. */
static int
greet(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk__end *end = peer->end;
	struct lnk__greeting greeting;
	int rc;

	if (peer->state != LNK__GREETING)
		return bad(peer, "a second greeting", record);
	if (lnk__greeting_parse(record->body, &greeting) < 0)
		return bad(peer, "malformed greeting", record);
	w_view_copy(greeting.name, peer->name, sizeof(peer->name));
	peer->worker = greeting.worker;
	peer->epoch = greeting.epoch;
	peer->first_window = greeting.window;
	rc = end->admit != NULL ? end->admit(peer, &greeting) : W_OK;
	if (rc < 0)
		return lnk__peer_doom(peer, rc, "not admitted");
	peer->state = LNK__OPEN;
	lnk__move(end, LNK__PEERS, 1);
	return W_OK;
}

static int
on_hello(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk__end *end = peer->end;
	const struct lnk__greeting welcome = {.worker = end->worker,
	    .workers = end->workers,
	    .window = LNK_WINDOW,
	    .epoch = end->epoch,
	    .name = w_view_of(end->name)};
	int rc = greet(peer, record);

	if (rc < 0)
		return rc;
	/* WELCOME has number 0, so it leaves before anything that the callback may say. */
	lnk__put_greeting(
	    lnk__peer_batch(peer, LNK__RECORD_HEADER + 24 + 63), LNK__WELCOME, &welcome);
	lnk__peer_send(peer);
	if (lnk__peer_alive(peer) && end->hub_ops->peer_up != NULL)
		end->hub_ops->peer_up(peer, end->arg);
	return W_OK;
}

static int
on_welcome(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk__end *end = peer->end;
	int rc = greet(peer, record);

	if (rc < 0)
		return rc;
	lnk__peer_touch(peer);
	if (end->draining)
		lnk__peer_goaway(peer, false, -W_ESHUTDOWN, "draining");
	if (end->spoke_ops->peer_up != NULL)
		end->spoke_ops->peer_up(peer, end->arg);
	return W_OK;
}

static int
on_credit(struct lnk_peer *peer, const struct lnk__record *record)
{
	unsigned before = lnk_peer_credit(peer);

	if (lnk__number_parse(record->body, &peer->limit) < 0)
		return bad(peer, "malformed CREDIT", record);
	if (before == 0 && lnk_peer_credit(peer) > 0 && peer->end->hub_ops->peer_credit != NULL)
		peer->end->hub_ops->peer_credit(peer, peer->end->arg);
	return W_OK;
}

static void
refuse(struct lnk_peer *peer, uint64_t number, int err)
{
	lnk__count(peer->end, err == -W_EREFUSED ? LNK__REFUSED : LNK__ERRORS, 1);
	lnk__put_reset(lnk__peer_batch(peer, LNK__RECORD_HEADER + 4), number, err);
}

static int
on_request(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk__end *end = peer->end;
	struct lnk_request request;
	struct lnk_stream *stream;
	int rc = lnk__request_parse(record, end->fields, &request);

	if (rc == -W_EPROTO)
		return bad(peer, "malformed REQUEST", record);
	if (record->stream != peer->opened + 1)
		return bad(peer, "not the next stream", record);
	peer->opened++;
	lnk__peer_touch(peer);
	if (rc < 0) {
		refuse(peer, record->stream, -W_EPROTO);
		return W_OK;
	}
	if (end->draining || peer->state != LNK__OPEN || end->active >= end->capacity ||
	    record->stream > peer->limit_most) {
		refuse(peer, record->stream, -W_EREFUSED);
		return W_OK;
	}
	stream = lnk__stream_new(peer, record->stream);
	stream->remote_end = request.end;
	stream->length = request.length;
	end->spoke_ops->request(stream, &request, end->arg);
	return W_OK;
}

static int
on_response(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk__end *end = peer->end;
	struct lnk_response response;
	struct lnk_stream *stream;
	int rc;

	stream = find(peer, record, &rc);
	if (stream == NULL)
		return rc;
	rc = lnk__response_parse(record, end->fields, &response);
	if (rc == -W_EPROTO)
		return bad(peer, "malformed RESPONSE", record);
	if (rc < 0 || stream->responded) {
		lnk__stream_break(stream);
		return W_OK;
	}
	stream->responded = true;
	stream->length = response.length;
	if (response.end) {
		stream->remote_end = true;
		lnk__stream_ended(stream);
	}
	end->hub_ops->response(stream, &response, lnk__stream_context(stream));
	return W_OK;
}

/* Do len more bytes, and an end perhaps, fit what was promised? */
static bool
data_fits(const struct lnk_stream *stream, size_t len, bool end)
{
	uint64_t received = stream->received + len;

	if (stream->remote_end || (stream->peer->end->hub && !stream->responded) ||
	    received > stream->recv_limit)
		return false;
	if (stream->length < 0)
		return true;
	return end ? received == (uint64_t)stream->length : received <= (uint64_t)stream->length;
}

static int
on_data(struct lnk_peer *peer, const struct lnk__record *record)
{
	bool end = (record->flags & LNK__END) != 0;
	struct lnk_stream *stream;
	int rc;

	stream = find(peer, record, &rc);
	if (stream == NULL)
		return rc;
	if (record->body.len > LNK_DATA_MAX)
		return bad(peer, "too long DATA", record);
	if (!data_fits(stream, record->body.len, end)) {
		lnk__stream_break(stream);
		return W_OK;
	}
	stream->received += record->body.len;
	if (end) {
		stream->remote_end = true;
		lnk__stream_ended(stream);
	}
	if (end || record->body.len > 0)
		peer->end->stream_ops->data(stream, record->body, end, lnk__stream_context(stream));
	return W_OK;
}

static int
on_window(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk_stream *stream;
	uint64_t offset;
	int rc;

	stream = find(peer, record, &rc);
	if (stream == NULL)
		return rc;
	if (lnk__number_parse(record->body, &offset) < 0)
		return bad(peer, "malformed WINDOW", record);
	if (offset <= stream->send_limit)
		return W_OK;
	if (stream->sent == stream->send_limit)
		lnk__stream_starved(stream);
	stream->send_limit = offset;
	lnk__stream_writable(stream);
	return W_OK;
}

/* Reserved: nobody asks yet whether a handler has begun. */
static int
on_progress(struct lnk_peer *peer, const struct lnk__record *record)
{
	int rc;

	find(peer, record, &rc);
	return rc;
}

static int
on_reset(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk_stream *stream;
	int rc, err;

	stream = find(peer, record, &rc);
	if (stream == NULL)
		return rc;
	if (lnk__reset_parse(record->body, &err) < 0)
		return bad(peer, "malformed RESET", record);
	lnk__count(peer->end, err == -W_EREFUSED ? LNK__REFUSED : LNK__RESETS, 1);
	/* A server may have answered without wanting the whole request: then the answer stands. */
	if (err == W_OK && !stream->remote_end)
		err = -W_ECANCELED;
	lnk__stream_close(stream, err);
	return W_OK;
}

static int
on_ping(struct lnk_peer *peer, const struct lnk__record *record)
{
	uint64_t token;

	if (lnk__number_parse(record->body, &token) < 0)
		return bad(peer, "malformed PING", record);
	lnk__put_number(lnk__peer_batch(peer, LNK__RECORD_HEADER + 8), LNK__PONG, 0, token);
	return W_OK;
}

/* The token was our clock. */
static int
on_pong(struct lnk_peer *peer, const struct lnk__record *record)
{
	uint64_t token, now = (uint64_t)w_now();

	if (lnk__number_parse(record->body, &token) < 0)
		return bad(peer, "malformed PONG", record);
	if (token <= now && now - token < (uint64_t)(60 * W_SEC) && peer->end->meter != NULL)
		w_meter_observe(
		    peer->end->meter, peer->end->metrics + LNK__RTT, (w_usec)(now - token));
	return W_OK;
}

/* Streams that the server never took: they may go elsewhere. */
static void
close_above(struct lnk_peer *peer, uint64_t last)
{
	while (!w_list_empty(&peer->streams)) {
		struct lnk_stream *stream =
		    w_list_entry(peer->streams.prev, struct lnk_stream, node);

		if (stream->number <= last)
			break;
		lnk__count(peer->end, LNK__REFUSED, 1);
		lnk__stream_close(stream, -W_EREFUSED);
	}
}

static int
on_goaway(struct lnk_peer *peer, const struct lnk__record *record)
{
	struct lnk__goaway goaway;

	if (lnk__goaway_parse(record->body, &goaway) < 0)
		return bad(peer, "malformed GOAWAY", record);
	if ((record->flags & LNK__NOW) != 0) {
		peer->parted = true;
		if (peer->end->hub)
			peer->last = goaway.last;
		return lnk__peer_doom(peer, goaway.err < 0 ? goaway.err : -W_ESHUTDOWN,
		    "it said: %.*s", W_VIEW_ARG(goaway.text));
	}
	if (peer->state != LNK__OPEN)
		return W_OK;
	peer->state = LNK__DRAINING;
	if (peer->end->hub) {
		lnk__peer_tell_down(peer, -W_ESHUTDOWN);
		close_above(peer, goaway.last);
	}
	return W_OK;
}

/* ---- receiving: batches ---- */

typedef int record_fn(struct lnk_peer *peer, const struct lnk__record *record);

/* What each end may receive. NULL: only the other end may. */
static const struct {
	record_fn *hub, *spoke;
} by_type[LNK__TYPES] = {
    [LNK__HELLO] = {on_hello, NULL},
    [LNK__WELCOME] = {NULL, on_welcome},
    [LNK__CREDIT] = {on_credit, NULL},
    [LNK__REQUEST] = {NULL, on_request},
    [LNK__DATA] = {on_data, on_data},
    [LNK__WINDOW] = {on_window, on_window},
    [LNK__RESPONSE] = {on_response, NULL},
    [LNK__PROGRESS] = {on_progress, NULL},
    [LNK__RESET] = {on_reset, on_reset},
    [LNK__PING] = {on_ping, on_ping},
    [LNK__PONG] = {on_pong, on_pong},
    [LNK__GOAWAY] = {on_goaway, on_goaway},
};

static int
receive_record(struct lnk_peer *peer, const struct lnk__record *record)
{
	record_fn *fn;

	if (record->type == 0 || record->type >= LNK__TYPES)
		return W_OK; /* of a later version */
	fn = peer->end->hub ? by_type[record->type].hub : by_type[record->type].spoke;
	if (fn == NULL)
		return bad(peer, "not for this end", record);
	if (peer->state == LNK__GREETING && record->type != LNK__HELLO &&
	    record->type != LNK__WELCOME && record->type != LNK__GOAWAY)
		return bad(peer, "nobody has greeted", record);
	return fn(peer, record);
}

static int
receive_records(struct lnk_peer *peer, struct w_view rest)
{
	struct lnk__record record;
	uint64_t count = 0;
	int rc;

	while ((rc = lnk__record_parse(&rest, &record)) > 0) {
		count++;
		rc = receive_record(peer, &record);
		/* A callback may have met a dead connection. */
		if (rc < 0 || peer->doom != 0)
			break;
	}
	lnk__count(peer->end, LNK__RECORDS_IN, count);
	if (rc < 0 && peer->doom == 0)
		lnk__peer_doom(peer, rc, "malformed record");
	return peer->doom;
}

bool
lnk__says_goaway(struct w_view rest)
{
	struct lnk__record record;

	return lnk__record_parse(&rest, &record) > 0 && record.type == LNK__GOAWAY &&
	       (record.flags & LNK__NOW) != 0;
}

int
lnk__peer_receive(struct lnk_peer *peer, const void *bytes, size_t len)
{
	struct lnk__end *end = peer->end;
	struct lnk__batch batch = {0};
	struct w_view rest = {NULL, 0};
	int rc;

	if (peer->doom != 0 || peer->state == LNK__DOWN)
		return peer->doom;
	lnk__count(end, LNK__BATCHES_IN, 1);
	lnk__count(end, LNK__BYTES_IN, len);
	rc = lnk__batch_parse((struct w_view){bytes, len}, &batch, &rest);
	if (rc == -W_EPROTO || batch.session == 0)
		return lnk__peer_doom(peer, -W_EPROTO, "a message that is no batch");
	if (end->hub && peer->session == 0)
		peer->session = batch.session;
	if (batch.session != peer->session) {
		if (end->hub && batch.number == 0)
			return LNK__NEW_SESSION;
		lnk__count(end, LNK__LATE, 1);
		return W_OK;
	}
	if (lnk__says_goaway(rest)) {
		receive_records(peer, rest);
		return peer->doom;
	}
	if (rc < 0)
		return lnk__peer_doom(peer, rc, "it speaks version %u of the link, wanted is %u",
		    batch.major, LNK__MAJOR);
	peer->heard = lnk__now(end);
	if (batch.number == 0 && peer->in_number > 0)
		return W_OK;
	if (batch.number != peer->in_number)
		return lnk__peer_doom(peer, -W_EPROTO, "batch %llu came where %llu was due",
		    (unsigned long long)batch.number, (unsigned long long)peer->in_number);
	peer->in_number++;
	return receive_records(peer, rest);
}
