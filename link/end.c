/*
 * What hub and spoke have in common: the turn, the sweep, the tick.
 */
#include "link/peer.h"

unsigned
lnk_metrics(struct w_metrics *metrics)
{
	static const struct w_metric table[] = {LNK_METRICS(W_METRIC_DEF)};

	return w_metrics_add(metrics, table, W_NELEM(table));
}

w_usec
lnk__now(const struct lnk__end *end)
{
	return end->loop != NULL ? end->loop->now : 0;
}

static void
on_turn(void *arg)
{
	lnk__end_turn(arg);
}

void
lnk__end_init(struct lnk__end *end)
{
	w_list_init(&end->dirty);
	w_list_init(&end->blocked);
	w_list_init(&end->parted);
	w_list_init(&end->doomed);
	w_list_init(&end->finished);
	w_list_init(&end->pool);
	w_random_bytes(&end->epoch, sizeof(end->epoch));
	end->retry = (struct w_timer){.fire = on_turn, .arg = end};
	if (end->loop == NULL)
		return;
	end->ticked = w_now();
	w_turn_add(end->loop, &end->turn, W_TURN_LINK, on_turn, end);
}

void
lnk__end_fini(struct lnk__end *end)
{
	struct w_list *node;

	if (end->pool.next == NULL)
		return;
	W_ASSERT(end->active == 0);
	w_turn_remove(&end->turn);
	w_timer_fini(&end->retry);
	while ((node = w_list_shift(&end->pool)) != NULL)
		free(w_list_entry(node, struct lnk_stream, node));
}

static void
close_finished(struct lnk__end *end)
{
	struct w_list *node;

	while ((node = w_list_shift(&end->finished)) != NULL)
		lnk__stream_close(w_list_entry(node, struct lnk_stream, finished_node), W_OK);
}

void
lnk__end_sweep(struct lnk__end *end)
{
	struct w_list *node;

	while ((node = w_list_shift(&end->doomed)) != NULL) {
		struct lnk_peer *peer = w_list_entry(node, struct lnk_peer, doomed_node);

		if (!peer->parted || peer->doom != -W_ESHUTDOWN)
			lnk__count(end, LNK__PEERS_LOST, 1);
		end->bury(peer);
	}
}

static void
send_all(struct lnk__end *end)
{
	struct w_list todo, *node;

	/* Each blocked peer once: those that stay blocked go back to the list. */
	w_list_init(&todo);
	while ((node = w_list_shift(&end->blocked)) != NULL)
		w_list_push(&todo, node);
	while ((node = w_list_shift(&todo)) != NULL) {
		w_list_push(&end->blocked, node);
		lnk__peer_resend(w_list_entry(node, struct lnk_peer, blocked_node));
	}
	while ((node = w_list_shift(&end->dirty)) != NULL) {
		struct lnk_peer *peer = w_list_entry(node, struct lnk_peer, dirty_node);

		if (!end->hub)
			lnk__peer_credit(peer);
		w_list_remove(&peer->dirty_node);
		lnk__peer_send(peer);
	}
}

static void
doom_parted(struct lnk__end *end)
{
	struct w_list *node;

	if (w_list_empty(&end->parted))
		return;
	if (end->drain != NULL)
		end->drain(end);
	while ((node = w_list_shift(&end->parted)) != NULL)
		lnk__peer_doom(w_list_entry(node, struct lnk_peer, parted_node), -W_ELOST,
		    "its connection is gone");
}

void
lnk__end_turn(struct lnk__end *end)
{
	close_finished(end);
	lnk__end_sweep(end);
	send_all(end);
	doom_parted(end);
	lnk__end_sweep(end);
	if (end->loop == NULL)
		return;
	/* What the last sweep's callbacks have said goes in a turn of its own. */
	if (!w_list_empty(&end->dirty) || !w_list_empty(&end->finished))
		w_loop_again(end->loop);
	if (!w_list_empty(&end->blocked))
		w_timer_start(end->loop, &end->retry, LNK__RETRY, 0);
}

bool
lnk__end_tick(struct lnk__end *end)
{
	w_usec now = w_now(), before = end->ticked;

	end->ticked = now;
	return now - before < LNK_BEAT * 2;
}
