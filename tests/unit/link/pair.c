#include "tests/unit/link/pair.h"

#define PAIR_SESSION 42

static int
pair_transmit(struct lnk_peer *peer, struct w_view batch)
{
	struct pair_side *side = w_container_of(peer, struct pair_side, peer);

	if (side->cut)
		return -W_ELOST;
	if (side->full || side->tail - side->head == PAIR_QUEUE)
		return -W_EAGAIN;
	w_buf_view(&side->queue[side->tail++ % PAIR_QUEUE], batch);
	return W_OK;
}

static void
pair_bury(struct lnk_peer *peer)
{
	struct pair_side *side = w_container_of(peer, struct pair_side, peer);

	lnk__peer_down(peer, peer->doom, -W_ELOST);
	side->buried = true;
}

static void
open_side(struct pair *pair, struct pair_side *side, bool hub, uint64_t session)
{
	side->end = (struct lnk__end){.hub = hub,
	    .meter = w_metrics_meter(pair->metrics, 0),
	    .name = hub ? "balancer-1" : "server-1",
	    .workers = 1,
	    .stream_ops = hub ? &client_ops.stream : &server_ops.stream,
	    .hub_ops = hub ? &client_ops : NULL,
	    .spoke_ops = hub ? NULL : &server_ops,
	    .arg = hub ? (void *)&pair->client : (void *)&pair->server,
	    .transmit = pair_transmit,
	    .bury = pair_bury};
	lnk__end_init(&side->end);
	lnk__peer_init(&side->peer, &side->end, session);
}

struct pair *
pair_new(unsigned capacity)
{
	struct pair *pair = w_xcalloc(1, sizeof(*pair));
	unsigned base;

	pair->metrics = w_metrics_new(1);
	base = lnk_metrics(pair->metrics);
	open_side(pair, &pair->hub, true, 0);
	open_side(pair, &pair->spoke, false, PAIR_SESSION);
	pair->hub.end.metrics = pair->spoke.end.metrics = base;
	pair->spoke.end.capacity = pair->spoke.peer.share = capacity;
	/* lnk_spoke_streams() wants a spoke; streams are counted by the pair instead. */
	pair->server.active = &pair->spoke.end.active;
	lnk__peer_hello(&pair->spoke.peer);
	pair_run(pair);
	return pair;
}

static void
close_side(struct pair_side *side)
{
	if (side->peer.state != LNK__DOWN)
		lnk__peer_down(&side->peer, -W_ESHUTDOWN, -W_ECANCELED);
	lnk__peer_fini(&side->peer);
	lnk__end_fini(&side->end);
	for (unsigned i = 0; i < PAIR_QUEUE; i++)
		w_buf_fini(&side->queue[i]);
}

void
pair_free(struct pair **pair)
{
	struct pair *p = w_steal(pair);

	close_side(&p->hub);
	close_side(&p->spoke);
	w_metrics_free(&p->metrics);
	free(p);
}

static bool
deliver(struct pair_side *from, struct pair_side *to)
{
	struct w_buf *message = &from->queue[from->head % PAIR_QUEUE];
	struct w_buf exact = {0};

	if (from->head == from->tail)
		return false;
	from->head++;
	/* A copy of exactly its size, so that sanitizers see a byte too many. */
	exact.ptr = w_xcalloc(1, message->len + (message->len == 0));
	memcpy(exact.ptr, message->ptr, message->len);
	exact.len = message->len;
	w_buf_fini(message);
	if (!to->buried)
		lnk__peer_receive(&to->peer, exact.ptr, exact.len);
	lnk__end_sweep(&to->end);
	free(exact.ptr);
	return true;
}

static bool
turn(struct pair_side *side)
{
	unsigned before = side->tail;

	lnk__end_turn(&side->end);
	return side->tail != before || !w_list_empty(&side->end.dirty) ||
	       !w_list_empty(&side->end.finished);
}

void
pair_run(struct pair *pair)
{
	bool moved = true;

	while (moved) {
		moved = deliver(&pair->hub, &pair->spoke);
		moved |= deliver(&pair->spoke, &pair->hub);
		moved |= turn(&pair->hub);
		moved |= turn(&pair->spoke);
	}
}

int
pair_inject(struct pair_side *to, struct w_buf *batch, uint64_t number)
{
	int rc;

	lnk__batch_seal(batch, PAIR_SESSION, number);
	rc = lnk__peer_receive(&to->peer, batch->ptr, batch->len);
	lnk__end_sweep(&to->end);
	return rc;
}

int64_t
pair_metric(const struct pair *pair, enum lnk__metric id)
{
	return w_metrics_value(pair->metrics, pair->hub.end.metrics + id);
}
