/*
 * One session, without sockets; see peer.h. Source: docs/protocol/01-link.md, sections 6 and 7
 */
#include <stdarg.h>
#include <stdio.h>

#include "link/peer.h"

#define BATCH_IDLE (64 * 1024) /* bytes of memory that an idle peer may keep for its batch */

/* A batch that the socket did not take. */
struct lnk__sealed {
	struct w_list node;
	struct w_buf bytes;
};

/* ---- life ---- */

void
lnk__peer_init(struct lnk_peer *peer, struct lnk__end *end, uint64_t session)
{
	*peer = (struct lnk_peer){.end = end, .session = session, .last = UINT64_MAX};
	w_list_init(&peer->streams);
	w_list_init(&peer->starved);
	w_list_init(&peer->backlog);
	w_list_init(&peer->dirty_node);
	w_list_init(&peer->blocked_node);
	w_list_init(&peer->parted_node);
	w_list_init(&peer->doomed_node);
	peer->heard = peer->said = lnk__now(end);
}

static void
drop_backlog(struct lnk_peer *peer)
{
	struct w_list *node;

	lnk__move(peer->end, LNK__BACKLOG, -(int64_t)peer->backlog_bytes);
	peer->backlog_bytes = 0;
	while ((node = w_list_shift(&peer->backlog)) != NULL) {
		struct lnk__sealed *sealed = w_list_entry(node, struct lnk__sealed, node);

		w_buf_fini(&sealed->bytes);
		free(sealed);
	}
}

void
lnk__peer_fini(struct lnk_peer *peer)
{
	drop_backlog(peer);
	w_list_remove(&peer->dirty_node);
	w_list_remove(&peer->blocked_node);
	w_list_remove(&peer->parted_node);
	w_list_remove(&peer->doomed_node);
	w_buf_fini(&peer->batch);
	lnk__table_fini(&peer->table);
}

bool
lnk__peer_alive(const struct lnk_peer *peer)
{
	return (peer->state == LNK__OPEN || peer->state == LNK__DRAINING) && peer->doom == 0 &&
	       !peer->parted;
}

/* ---- the end of a session ---- */

int
lnk__peer_doom(struct lnk_peer *peer, int err, const char *fmt, ...)
{
	va_list args;

	if (peer->doom != 0)
		return peer->doom;
	va_start(args, fmt);
	vsnprintf(peer->why, sizeof(peer->why), fmt, args);
	va_end(args);
	peer->doom = err;
	if (err == -W_EPROTO || err == -W_EVERSION || err == -W_EDENIED)
		lnk__count(peer->end, LNK__ERRORS, 1);
	w_list_remove(&peer->doomed_node);
	w_list_push(&peer->end->doomed, &peer->doomed_node);
	return err;
}

void
lnk__peer_goaway(struct lnk_peer *peer, bool now, int err, const char *text)
{
	const struct lnk__goaway goaway = {
	    .err = err, .last = peer->opened, .text = w_view_of(text)};

	lnk__put_goaway(
	    lnk__peer_batch(peer, LNK__RECORD_HEADER + 16 + LNK__REASON_MAX), now, &goaway);
}

/* A batch of its own, which nothing waits for any more. */
static void
say_goodbye(struct lnk_peer *peer, int err)
{
	const struct lnk__goaway goaway = {
	    .err = err, .last = peer->opened, .text = w_view_of(peer->why)};

	lnk__peer_send(peer);
	if (peer->parted || peer->backlog_bytes > 0 || peer->session == 0)
		return;
	w_buf_clear(&peer->batch);
	lnk__batch_begin(&peer->batch);
	lnk__put_goaway(&peer->batch, true, &goaway);
	lnk__batch_seal(&peer->batch, peer->session, peer->out_number);
	peer->end->transmit(peer, w_buf_get(&peer->batch));
}

void
lnk__peer_tell_down(struct lnk_peer *peer, int err)
{
	struct lnk__end *end = peer->end;
	void (*down)(struct lnk_peer * peer, int err, void *arg) =
	    end->hub ? end->hub_ops->peer_down : end->spoke_ops->peer_down;

	if (down != NULL)
		down(peer, err, end->arg);
}

void
lnk__peer_down(struct lnk_peer *peer, int err, int stream_err)
{
	struct lnk__end *end = peer->end;
	enum lnk__state was = peer->state;

	say_goodbye(peer, err);
	peer->state = LNK__DOWN;
	w_buf_clear(&peer->batch);
	drop_backlog(peer);
	w_list_remove(&peer->dirty_node);
	w_list_remove(&peer->blocked_node);
	w_list_remove(&peer->parted_node);
	w_list_remove(&peer->doomed_node);
	if (was == LNK__OPEN || was == LNK__DRAINING)
		lnk__move(end, LNK__PEERS, -1);
	/* The balancer was told when the server began to drain. */
	if (was == LNK__OPEN || (was == LNK__DRAINING && !end->hub))
		lnk__peer_tell_down(peer, err);

	while (!w_list_empty(&peer->streams)) {
		struct lnk_stream *stream =
		    w_list_entry(peer->streams.next, struct lnk_stream, node);
		int err = stream->number > peer->last ? -W_EREFUSED : stream_err;

		if (stream->local_end && stream->remote_end)
			err = W_OK;
		if (err < 0)
			lnk__count(end, err == -W_EREFUSED ? LNK__REFUSED : LNK__LOST, 1);
		lnk__stream_close(stream, err);
	}
}

/* ---- sending ---- */

void
lnk__peer_touch(struct lnk_peer *peer)
{
	if (peer->state == LNK__DOWN)
		return;
	w_list_remove(&peer->dirty_node);
	w_list_push(&peer->end->dirty, &peer->dirty_node);
}

static void
keep(struct lnk_peer *peer)
{
	struct lnk__sealed *sealed = w_xcalloc(1, sizeof(*sealed));

	sealed->bytes = peer->batch;
	peer->batch = (struct w_buf){0};
	w_list_push(&peer->backlog, &sealed->node);
	peer->backlog_bytes += sealed->bytes.len;
	lnk__move(peer->end, LNK__BACKLOG, (int64_t)sealed->bytes.len);
	lnk__count(peer->end, LNK__BLOCKED, 1);
	w_list_remove(&peer->blocked_node);
	w_list_push(&peer->end->blocked, &peer->blocked_node);
	if (peer->backlog_bytes > LNK__BACKLOG_MAX)
		lnk__peer_doom(peer, -W_ELOST, "it has not read %zu bytes", peer->backlog_bytes);
}

static int
transmit(struct lnk_peer *peer, struct w_view bytes)
{
	struct lnk__end *end = peer->end;
	int rc = end->transmit(peer, bytes);

	if (rc == W_OK) {
		peer->said = lnk__now(end);
		lnk__count(end, LNK__BATCHES_OUT, 1);
		lnk__count(end, LNK__BYTES_OUT, bytes.len);
	} else if (rc != -W_EAGAIN) {
		peer->parted = true;
		w_list_remove(&peer->parted_node);
		w_list_push(&peer->end->parted, &peer->parted_node);
	}
	return rc;
}

void
lnk__peer_send(struct lnk_peer *peer)
{
	if (peer->batch_records == 0 || peer->doom != 0 || peer->parted)
		return;
	if (w_buf_broken(&peer->batch)) {
		lnk__peer_doom(peer, -W_ENOMEM, "no memory for a batch");
		return;
	}
	lnk__batch_seal(&peer->batch, peer->session, peer->out_number++);
	lnk__count(peer->end, LNK__RECORDS_OUT, peer->batch_records);
	peer->batch_records = 0;
	if (!w_list_empty(&peer->backlog) || transmit(peer, w_buf_get(&peer->batch)) == -W_EAGAIN)
		keep(peer);
	else
		w_buf_clear(&peer->batch);
}

struct w_buf *
lnk__peer_batch(struct lnk_peer *peer, size_t size)
{
	if (peer->batch.len + size > LNK_BATCH_MAX)
		lnk__peer_send(peer);
	if (peer->batch.len == 0)
		lnk__batch_begin(&peer->batch);
	if (peer->batch_records++ == 0)
		lnk__peer_touch(peer);
	return &peer->batch;
}

int
lnk__peer_hello(struct lnk_peer *peer)
{
	struct lnk__end *end = peer->end;
	const struct lnk__greeting hello = {.worker = end->worker,
	    .workers = end->workers,
	    .window = LNK_WINDOW,
	    .epoch = end->epoch,
	    .name = w_view_of(end->name)};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};
	int rc;

	lnk__batch_begin(&batch);
	lnk__put_greeting(&batch, LNK__HELLO, &hello);
	if (w_buf_broken(&batch))
		return -W_ENOMEM;
	lnk__batch_seal(&batch, peer->session, 0);
	peer->out_number = 1;
	rc = end->transmit(peer, w_buf_get(&batch));
	if (rc == W_OK) {
		lnk__count(end, LNK__BATCHES_OUT, 1);
		lnk__count(end, LNK__RECORDS_OUT, 1);
		lnk__count(end, LNK__BYTES_OUT, batch.len);
	}
	return rc;
}

void
lnk__peer_credit(struct lnk_peer *peer)
{
	unsigned share = peer->end->draining ? 0 : peer->share;
	uint64_t open = peer->table.count;
	uint64_t limit = peer->opened + (share > open ? share - open : 0);

	if (limit == peer->limit || !lnk__peer_alive(peer))
		return;
	peer->limit = limit;
	peer->limit_most = W_MAX(peer->limit_most, limit);
	lnk__put_number(lnk__peer_batch(peer, LNK__RECORD_HEADER + 8), LNK__CREDIT, 0, limit);
}

/* Streams that waited for the queue. Callbacks may reset any of them, so the list is emptied. */
static void
wake_starved(struct lnk_peer *peer)
{
	struct w_list todo = peer->starved, *node;

	if (w_list_empty(&peer->starved))
		return;
	todo.next->prev = todo.prev->next = &todo;
	w_list_init(&peer->starved);
	while ((node = w_list_shift(&todo)) != NULL) {
		w_list_push(&peer->starved, node);
		lnk__stream_writable(w_list_entry(node, struct lnk_stream, starved_node));
	}
}

void
lnk__peer_resend(struct lnk_peer *peer)
{
	bool slow = peer->backlog_bytes >= LNK__BACKLOG_SLOW;

	while (!w_list_empty(&peer->backlog) && peer->doom == 0 && !peer->parted) {
		struct lnk__sealed *sealed =
		    w_list_entry(peer->backlog.next, struct lnk__sealed, node);

		if (transmit(peer, w_buf_get(&sealed->bytes)) != W_OK)
			break;
		peer->backlog_bytes -= sealed->bytes.len;
		lnk__move(peer->end, LNK__BACKLOG, -(int64_t)sealed->bytes.len);
		w_list_remove(&sealed->node);
		w_buf_fini(&sealed->bytes);
		free(sealed);
	}
	if (w_list_empty(&peer->backlog) || peer->parted)
		w_list_remove(&peer->blocked_node);
	if (slow && peer->backlog_bytes < LNK__BACKLOG_SLOW)
		wake_starved(peer);
}

/* ---- beats ---- */

void
lnk__peer_beat(struct lnk_peer *peer, bool judge)
{
	w_usec now = w_now();

	if (!lnk__peer_alive(peer))
		return;
	if (!judge)
		peer->heard = now;
	if (peer->batch_records == 0 && peer->batch.cap > BATCH_IDLE &&
	    now - peer->said > LNK__TICK)
		w_buf_fini(&peer->batch);
	if (now - peer->heard > LNK_BEAT * LNK_BEATS_MISSED) {
		lnk__peer_doom(peer, -W_ELOST, "nothing was heard for %lld ms",
		    (long long)((now - peer->heard) / W_MSEC));
		return;
	}
	/* Half a tick early rather than half a tick late. */
	if (now - peer->said >= LNK_BEAT - LNK__TICK / 2)
		lnk__put_number(
		    lnk__peer_batch(peer, LNK__RECORD_HEADER + 8), LNK__PING, 0, (uint64_t)now);
}

/* ---- what is asked of a peer ---- */

const char *
lnk_peer_name(const struct lnk_peer *peer)
{
	return peer->name;
}

unsigned
lnk_peer_worker(const struct lnk_peer *peer)
{
	return peer->worker;
}

unsigned
lnk_peer_credit(const struct lnk_peer *peer)
{
	if (peer->state != LNK__OPEN || !lnk__peer_alive(peer) || peer->limit <= peer->opened)
		return 0;
	return (unsigned)W_MIN(peer->limit - peer->opened, (uint64_t)UINT32_MAX);
}

unsigned
lnk_peer_streams(const struct lnk_peer *peer)
{
	return (unsigned)peer->table.count;
}

void *
lnk_peer_arg(const struct lnk_peer *peer)
{
	return peer->arg;
}

void
lnk_peer_set_arg(struct lnk_peer *peer, void *arg)
{
	peer->arg = arg;
}

int
lnk_hub_open(
    struct lnk_peer *peer, const struct lnk_request *request, void *arg, struct lnk_stream **ret)
{
	struct lnk_stream *stream;
	size_t size;
	int rc;

	W_ASSERT(peer->end->hub);
	if (peer->state != LNK__OPEN || !lnk__peer_alive(peer))
		return -W_EDOWN;
	if (lnk_peer_credit(peer) == 0)
		return -W_EBUSY;
	rc = lnk__request_size(request, &size);
	if (rc < 0)
		return rc;
	stream = lnk__stream_new(peer, ++peer->opened);
	stream->arg = arg;
	stream->local_end = request->end;
	lnk__put_request(lnk__peer_batch(peer, size), stream->number, request, size);
	*ret = stream;
	return W_OK;
}
