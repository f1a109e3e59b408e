/*
 * The scheduler: see sched.h. Lists are rings: who was chosen goes to the end.
 */
#include "balancer/sched.h"

const struct bal_backend bal_backend_link = {
	.credit = lnk_peer_credit,
	.streams = lnk_peer_streams,
	.open = lnk_hub_open,
	.send = lnk_stream_send,
	.consumed = lnk_stream_consumed,
	.reset = lnk_stream_reset,
	.set_arg = lnk_stream_set_arg,
};

void
bal_sched_init(struct bal_sched *sched, const struct bal_backend *backend)
{
	memset(sched, 0, sizeof(*sched));
	sched->backend = backend;
	w_list_init(&sched->servers);
	w_list_init(&sched->queue);
	w_list_init(&sched->again);
}

static struct bal_server *
find_server(struct bal_sched *sched, const char *name)
{
	struct w_list *pos;

	w_list_each(pos, &sched->servers) {
		struct bal_server *server = w_list_entry(pos, struct bal_server, node);

		if (strcmp(server->name, name) == 0)
			return server;
	}
	return NULL;
}

static struct bal_server *
add_server(struct bal_sched *sched, const char *name)
{
	struct bal_server *server = w_xcalloc(1, sizeof(*server));

	w_view_copy(w_view_sub(w_view_of(name), 0, sizeof(server->name) - 1), server->name,
	    sizeof(server->name));
	server->hash = w_view_hash(w_view_of(server->name)) | 1;
	w_list_init(&server->peers);
	w_list_push(&sched->servers, &server->node);
	sched->server_count++;
	return server;
}

struct bal_peer *
bal_sched_up(struct bal_sched *sched, struct lnk_peer *link, const char *name, unsigned worker)
{
	struct bal_server *server = find_server(sched, name);
	struct bal_peer *peer = w_xcalloc(1, sizeof(*peer));

	if (server == NULL)
		server = add_server(sched, name);
	peer->server = server;
	peer->link = link;
	peer->worker = worker;
	peer->id = ++sched->last_id;
	w_list_push(&server->peers, &peer->node);
	sched->peer_count++;
	return peer;
}

void
bal_sched_down(struct bal_sched *sched, struct bal_peer **ptr)
{
	struct bal_peer *peer = w_steal(ptr);
	struct bal_server *server;

	if (peer == NULL)
		return;
	server = peer->server;
	w_list_remove(&peer->node);
	sched->peer_count--;
	free(peer);
	if (!w_list_empty(&server->peers))
		return;
	w_list_remove(&server->node);
	sched->server_count--;
	free(server);
}

void
bal_sched_fini(struct bal_sched *sched)
{
	while (!w_list_empty(&sched->servers)) {
		struct bal_server *server =
		    w_list_entry(sched->servers.next, struct bal_server, node);
		struct bal_peer *peer = w_list_entry(server->peers.next, struct bal_peer, node);

		bal_sched_down(sched, &peer);
	}
}

static struct bal_peer *
pick_peer(struct bal_sched *sched, struct bal_server *server, const struct bal_avoid *avoid)
{
	bool careful = server->hash == avoid->node;
	struct w_list *pos;

	w_list_each(pos, &server->peers) {
		struct bal_peer *peer = w_list_entry(pos, struct bal_peer, node);

		if (careful && peer->id >= avoid->first && peer->id <= avoid->last)
			continue;
		if (sched->backend->credit(peer->link) == 0)
			continue;
		w_list_remove(&peer->node);
		w_list_push(&server->peers, &peer->node);
		return peer;
	}
	return NULL;
}

/* strict: leave out the node of the peers to avoid, not only these. */
static struct bal_peer *
pick_server(struct bal_sched *sched, const struct bal_avoid *avoid, bool strict)
{
	struct w_list *pos;

	w_list_each(pos, &sched->servers) {
		struct bal_server *server = w_list_entry(pos, struct bal_server, node);
		struct bal_peer *peer;

		if (strict && server->hash == avoid->node)
			continue;
		peer = pick_peer(sched, server, avoid);
		if (peer == NULL)
			continue;
		w_list_remove(&server->node);
		w_list_push(&sched->servers, &server->node);
		return peer;
	}
	return NULL;
}

struct bal_peer *
bal_sched_pick(struct bal_sched *sched, const struct bal_avoid *avoid)
{
	struct bal_peer *peer = NULL;

	if (avoid->node != 0)
		peer = pick_server(sched, avoid, true);
	return peer != NULL ? peer : pick_server(sched, avoid, false);
}

void
bal_sched_wait(struct bal_sched *sched, struct bal_waiter *waiter)
{
	w_list_push(waiter->again ? &sched->again : &sched->queue, &waiter->node);
	sched->waiting++;
}

void
bal_sched_leave(struct bal_sched *sched, struct bal_waiter *waiter)
{
	if (waiter->node.next == NULL || w_list_empty(&waiter->node))
		return;
	w_list_remove(&waiter->node);
	sched->waiting--;
}

static void
pump_list(struct bal_sched *sched, struct w_list *list)
{
	struct w_list todo = *list, *node;

	if (w_list_empty(list))
		return;
	todo.next->prev = todo.prev->next = &todo;
	w_list_init(list);

	while (!w_list_empty(&todo)) {
		struct bal_waiter *waiter = w_list_entry(todo.next, struct bal_waiter, node);
		struct bal_peer *peer = bal_sched_pick(sched, &waiter->avoid);

		if (peer != NULL) {
			bal_sched_leave(sched, waiter);
			waiter->place(waiter, peer);
		} else if (waiter->avoid.node == 0) {
			break;
		} else {
			node = w_list_shift(&todo);
			w_list_push(list, node);
		}
	}
	/* Those left over came before those that were put back meanwhile. */
	while (!w_list_empty(&todo)) {
		node = todo.prev;
		w_list_remove(node);
		w_list_push(list->next, node);
	}
}

void
bal_sched_pump(struct bal_sched *sched)
{
	if (sched->pumping)
		return;
	sched->pumping = true;
	pump_list(sched, &sched->again);
	pump_list(sched, &sched->queue);
	sched->pumping = false;
}
