/*
 * Streams: their table, their life, and the calls that both ends make on them.
 *
 * Numbers in a table come one after another, so number & mask spreads them evenly, and no peer
 * can choose them so that they collide: the spoke refuses any but the next one.
 */
#include "link/peer.h"

#define TABLE_FIRST 16 /* slots */

/* ---- the table ---- */

static void
table_grow(struct lnk__table *table)
{
	struct lnk__table old = *table;
	size_t slots = old.slots != NULL ? (old.mask + 1) * 2 : TABLE_FIRST;

	table->slots = w_xcalloc(slots, sizeof(struct lnk_stream *));
	table->mask = slots - 1;
	for (size_t i = 0; old.slots != NULL && i <= old.mask; i++) {
		size_t at;

		if (old.slots[i] == NULL)
			continue;
		at = old.slots[i]->number & table->mask;
		while (table->slots[at] != NULL)
			at = (at + 1) & table->mask;
		table->slots[at] = old.slots[i];
	}
	free(old.slots);
}

static void
table_add(struct lnk__table *table, struct lnk_stream *stream)
{
	size_t at;

	if (table->slots == NULL || table->count * 2 > table->mask)
		table_grow(table);
	at = stream->number & table->mask;
	while (table->slots[at] != NULL)
		at = (at + 1) & table->mask;
	table->slots[at] = stream;
	table->count++;
}

static size_t
table_place(const struct lnk__table *table, uint64_t number)
{
	size_t at = number & table->mask;

	while (table->slots[at] != NULL && table->slots[at]->number != number)
		at = (at + 1) & table->mask;
	return at;
}

/* What stands behind the gap moves into it, unless it stands where it belongs already. */
static void
table_remove(struct lnk__table *table, uint64_t number)
{
	size_t gap = table_place(table, number), at = gap;

	if (table->slots[gap] == NULL)
		return;
	for (;;) {
		size_t home;

		at = (at + 1) & table->mask;
		if (table->slots[at] == NULL)
			break;
		home = table->slots[at]->number & table->mask;
		if (((at - home) & table->mask) < ((at - gap) & table->mask))
			continue;
		table->slots[gap] = table->slots[at];
		gap = at;
	}
	table->slots[gap] = NULL;
	table->count--;
}

void
lnk__table_fini(struct lnk__table *table)
{
	free(table->slots);
	*table = (struct lnk__table){0};
}

struct lnk_stream *
lnk__stream_find(const struct lnk_peer *peer, uint64_t number)
{
	return peer->table.count > 0 ? peer->table.slots[table_place(&peer->table, number)] : NULL;
}

/* ---- life ---- */

struct lnk_stream *
lnk__stream_new(struct lnk_peer *peer, uint64_t number)
{
	struct lnk__end *end = peer->end;
	struct w_list *node = w_list_shift(&end->pool);
	struct lnk_stream *stream = node != NULL ? w_list_entry(node, struct lnk_stream, node)
						 : w_xcalloc(1, sizeof(*stream));

	*stream = (struct lnk_stream){.peer = peer,
	    .number = number,
	    .send_limit = peer->first_window,
	    .recv_limit = LNK_WINDOW,
	    .length = -1};
	w_list_push(&peer->streams, &stream->node);
	w_list_init(&stream->finished_node);
	w_list_init(&stream->starved_node);
	table_add(&peer->table, stream);
	end->active++;
	peer->peak = W_MAX(peer->peak, (unsigned)peer->table.count);
	lnk__count(end, LNK__OPENED, 1);
	lnk__move(end, LNK__STREAMS, 1);
	return stream;
}

/* Out of all lists and the table, so that no record and no sweep finds it. */
static void
take_out(struct lnk_stream *stream)
{
	struct lnk_peer *peer = stream->peer;

	stream->gone = true;
	w_list_remove(&stream->node);
	w_list_remove(&stream->finished_node);
	w_list_remove(&stream->starved_node);
	table_remove(&peer->table, stream->number);
	peer->end->active--;
	lnk__move(peer->end, LNK__STREAMS, -1);
	if (!peer->end->hub)
		lnk__peer_touch(peer); /* a place is free: there is credit to give */
}

void
lnk__stream_close(struct lnk_stream *stream, int err)
{
	struct lnk__end *end = stream->peer->end;

	take_out(stream);
	end->stream_ops->closed(stream, err, lnk__stream_context(stream));
	w_list_push(end->pool.next, &stream->node);
}

void
lnk__stream_ended(struct lnk_stream *stream)
{
	if (stream->local_end && stream->remote_end)
		w_list_push(&stream->peer->end->finished, &stream->finished_node);
}

void
lnk__stream_break(struct lnk_stream *stream)
{
	struct lnk_peer *peer = stream->peer;

	lnk__count(peer->end, LNK__ERRORS, 1);
	lnk__count(peer->end, LNK__RESETS, 1);
	lnk__put_reset(lnk__peer_batch(peer, LNK__RECORD_HEADER + 4), stream->number, -W_EPROTO);
	lnk__stream_close(stream, -W_EPROTO);
}

void *
lnk__stream_context(const struct lnk_stream *stream)
{
	return stream->arg != NULL ? stream->arg : stream->peer->end->arg;
}

void
lnk__stream_starved(struct lnk_stream *stream)
{
	w_list_remove(&stream->starved_node);
	w_list_push(&stream->peer->starved, &stream->starved_node);
}

void
lnk__stream_writable(struct lnk_stream *stream)
{
	struct lnk__end *end = stream->peer->end;

	if (w_list_empty(&stream->starved_node) || lnk_stream_window(stream) == 0)
		return;
	w_list_remove(&stream->starved_node);
	if (end->stream_ops->writable != NULL)
		end->stream_ops->writable(stream, lnk__stream_context(stream));
}

/* ---- the calls of link.h ---- */

void
lnk_stream_set_arg(struct lnk_stream *stream, void *arg)
{
	stream->arg = arg;
}

void *
lnk_stream_arg(const struct lnk_stream *stream)
{
	return stream->arg;
}

struct lnk_peer *
lnk_stream_peer(const struct lnk_stream *stream)
{
	return stream->peer;
}

size_t
lnk_stream_window(const struct lnk_stream *stream)
{
	const struct lnk_peer *peer = stream->peer;

	if (stream->local_end || !lnk__peer_alive(peer) || peer->backlog_bytes >= LNK__BACKLOG_SLOW)
		return 0;
	return stream->send_limit - stream->sent;
}

/* One DATA record. Returns how many bytes it took. */
static size_t
send_piece(struct lnk_stream *stream, struct w_view bytes, bool end)
{
	size_t most = W_MIN(lnk_stream_window(stream), (size_t)LNK_DATA_MAX);
	struct w_view piece = w_view_sub(bytes, 0, most);
	bool last = end && piece.len == bytes.len;

	/* Bytes that do not fit into the window wait; an end without bytes needs no window. */
	if (piece.len == 0 && !(last && bytes.len == 0))
		return 0;
	lnk__put_data(lnk__peer_batch(stream->peer, LNK__RECORD_HEADER + piece.len), stream->number,
	    piece, last);
	stream->sent += piece.len;
	stream->local_end = last;
	return piece.len;
}

size_t
lnk_stream_send(struct lnk_stream *stream, struct w_view bytes, bool end)
{
	size_t taken = 0, piece;

	W_ASSERT(stream->peer->end->hub || stream->responded);
	if (stream->gone || stream->local_end || !lnk__peer_alive(stream->peer) ||
	    (bytes.len == 0 && !end))
		return 0;
	do {
		struct w_view left = {bytes.ptr + taken, bytes.len - taken};

		piece = send_piece(stream, left, end);
		taken += piece;
	} while (piece > 0 && taken < bytes.len);

	w_list_remove(&stream->starved_node);
	if (taken < bytes.len)
		lnk__stream_starved(stream);
	if (stream->local_end)
		lnk__stream_ended(stream);
	return taken;
}

void
lnk_stream_consumed(struct lnk_stream *stream, size_t bytes)
{
	uint64_t limit;

	stream->consumed += bytes;
	W_ASSERT(stream->consumed <= stream->received);
	limit = stream->consumed + LNK_WINDOW;
	if (stream->gone || stream->remote_end || limit - stream->recv_limit < LNK_WINDOW / 2 ||
	    !lnk__peer_alive(stream->peer))
		return;
	stream->recv_limit = limit;
	lnk__put_number(lnk__peer_batch(stream->peer, LNK__RECORD_HEADER + 8), LNK__WINDOW,
	    stream->number, limit);
}

void
lnk_stream_reset(struct lnk_stream *stream, int err)
{
	struct lnk_peer *peer = stream->peer;
	bool over = stream->local_end && stream->remote_end;

	if (stream->gone)
		return;
	if (!over && lnk__peer_alive(peer)) {
		lnk__put_reset(lnk__peer_batch(peer, LNK__RECORD_HEADER + 4), stream->number, err);
		lnk__count(peer->end, err == -W_EREFUSED ? LNK__REFUSED : LNK__RESETS, 1);
	}
	take_out(stream);
	w_list_push(peer->end->pool.next, &stream->node);
}

int
lnk_stream_respond(struct lnk_stream *stream, const struct lnk_response *response)
{
	size_t size;
	int rc;

	W_ASSERT(!stream->peer->end->hub && !stream->responded);
	rc = lnk__response_size(response, &size);
	if (rc < 0)
		return rc;
	stream->responded = true;
	if (stream->gone || !lnk__peer_alive(stream->peer))
		return W_OK;
	lnk__put_response(lnk__peer_batch(stream->peer, size), stream->number, response, size);
	if (response->end) {
		stream->local_end = true;
		lnk__stream_ended(stream);
	}
	return W_OK;
}
