/*
 * The balancer's end: one ROUTER, bound, and a session for every server worker that said HELLO.
 *
 * 1. A peer is found by its routing id, which libzmq makes anew for every connection.
 * 2. A broken connection is noticed by the socket's event, which does not say whose it was: so
 *    everybody is sent a PING, and the send to the dead one fails (ROUTER_MANDATORY). The event may
 *    come before libzmq has taken the routing id out, hence a few rounds.
 * 3. Peers are buried only by lnk__end_sweep().
 */
#include <stdio.h>
#include <zmq.h>

#include "common/log.h"
#include "link/monitor.h"
#include "link/peer.h"

#define HUB_BUCKETS 256
#define HUB_PEERS_MAX 4096
#define HUB_BUDGET 64 /* messages received in one turn */
#define HUB_PROBES 3
#define HUB_PROBE_GAP (2 * W_MSEC) /* grows tenfold */
#define HUB_GOODBYE 200		   /* milliseconds that the last messages may take */

struct lnk_hub {
	struct lnk__end end;
	void *socket;
	struct w_zsock zsock;
	struct lnk__monitor monitor;
	struct w_timer tick, probe;
	unsigned probes; /* rounds still to come */
	struct w_list peers;
	struct w_list buckets[HUB_BUCKETS];
	unsigned peer_count;
	struct w_view user; /* ZAP user id of the message that is being handled */
};

struct hub_peer {
	struct lnk_peer peer;
	struct w_list node, bucket_node;
	uint8_t id_len;
	char id[255]; /* routing id */
};

static struct lnk_hub *
hub_of(struct lnk__end *end)
{
	return w_container_of(end, struct lnk_hub, end);
}

static struct hub_peer *
hub_peer_of(struct lnk_peer *peer)
{
	return w_container_of(peer, struct hub_peer, peer);
}

/* ---- peers by routing id ---- */

static struct w_list *
bucket_of(struct lnk_hub *hub, struct w_view id)
{
	return &hub->buckets[w_view_hash(id) % HUB_BUCKETS];
}

static struct hub_peer *
find_peer(struct lnk_hub *hub, struct w_view id)
{
	struct w_list *bucket = bucket_of(hub, id), *pos;

	w_list_each(pos, bucket)
	{
		struct hub_peer *peer = w_list_entry(pos, struct hub_peer, bucket_node);

		if (w_view_eq(id, (struct w_view){peer->id, peer->id_len}))
			return peer;
	}
	return NULL;
}

static struct hub_peer *
add_peer(struct lnk_hub *hub, struct w_view id)
{
	struct hub_peer *peer;

	if (hub->peer_count >= HUB_PEERS_MAX || id.len == 0 || id.len > sizeof(peer->id))
		return NULL;
	peer = w_xcalloc(1, sizeof(*peer));
	lnk__peer_init(&peer->peer, &hub->end, 0);
	peer->id_len = (uint8_t)id.len;
	memcpy(peer->id, id.ptr, id.len);
	w_list_push(&hub->peers, &peer->node);
	w_list_push(bucket_of(hub, id), &peer->bucket_node);
	hub->peer_count++;
	return peer;
}

static void
remove_peer(struct lnk_hub *hub, struct hub_peer *peer)
{
	w_list_remove(&peer->node);
	w_list_remove(&peer->bucket_node);
	hub->peer_count--;
	lnk__peer_fini(&peer->peer);
	free(peer);
}

/* ---- what the session asks of us ---- */

static int
send_to(struct lnk_hub *hub, struct w_view id, struct w_view batch)
{
	int rc = w_zsock_send(&hub->zsock, id, true);

	if (rc < 0)
		return rc;
	/* With the routing id taken, the queue has room: only a connection that dies now refuses.
	 */
	return w_zsock_send(&hub->zsock, batch, false) < 0 ? -W_ELOST : W_OK;
}

static int
hub_transmit(struct lnk_peer *peer, struct w_view batch)
{
	struct hub_peer *to = hub_peer_of(peer);

	return send_to(hub_of(peer->end), (struct w_view){to->id, to->id_len}, batch);
}

/* The same worker of the same node has another session: it began anew, whatever became of that. */
static void
end_older(struct lnk_hub *hub, const struct lnk_peer *peer)
{
	struct w_list *pos;

	w_list_each(pos, &hub->peers)
	{
		struct lnk_peer *other = &w_list_entry(pos, struct hub_peer, node)->peer;

		if (other != peer && other->worker == peer->worker &&
		    strcmp(other->name, peer->name) == 0)
			lnk__peer_doom(other, -W_ELOST, "it began a new session");
	}
	/* Its streams end before the new session is announced. Nobody of the old one is on the
	 * stack. */
	lnk__end_sweep(&hub->end);
}

static int
hub_admit(struct lnk_peer *peer, const struct lnk__greeting *greeting)
{
	struct lnk_hub *hub = hub_of(peer->end);

	if (!w_view_eq(greeting->name, hub->user))
		return lnk__peer_doom(peer, -W_EDENIED, "its key belongs to '%.*s', not to '%.*s'",
		    W_VIEW_ARG(hub->user), W_VIEW_ARG(greeting->name));
	end_older(hub, peer);
	w_log(W_INFO, "", "link-up", "peer=%s worker=%u", peer->name, peer->worker);
	return W_OK;
}

static void
hub_bury(struct lnk_peer *peer)
{
	struct lnk_hub *hub = hub_of(peer->end);
	bool orderly = peer->doom == -W_ESHUTDOWN;
	char why[sizeof(peer->why) + 64];

	w_log(orderly ? W_INFO : W_WARN, "", "link-down",
	    "peer=%s worker=%u streams=%u rc=%s why=%s", peer->name[0] != '\0' ? peer->name : "-",
	    peer->worker, lnk_peer_streams(peer), w_err_name(peer->doom),
	    w_log_quote(w_view_of(peer->why), why, sizeof(why)));
	lnk__peer_down(peer, peer->doom, -W_ELOST);
	remove_peer(hub, hub_peer_of(peer));
}

/* ---- receiving ---- */

/* Somebody who has no session here: tell, so that a spoke begins a new one. */
static void
reject(struct lnk_hub *hub, struct w_view id, uint64_t session, int err, const char *text)
{
	const struct lnk__goaway goaway = {.err = err, .text = w_view_of(text)};
	W_AUTO(w_buf_fini) struct w_buf batch = {0};

	lnk__batch_begin(&batch);
	lnk__put_goaway(&batch, true, &goaway);
	if (w_buf_broken(&batch))
		return;
	lnk__batch_seal(&batch, session, 0);
	send_to(hub, id, w_buf_get(&batch));
}

/* A message of nobody we know. NULL when it does not begin a session. */
static struct hub_peer *
meet(struct lnk_hub *hub, struct w_view id, struct w_view bytes)
{
	struct hub_peer *peer = NULL;
	struct lnk__batch batch;
	struct w_view rest;

	if (lnk__batch_parse(bytes, &batch, &rest) == -W_EPROTO) {
		lnk__count(&hub->end, LNK__ERRORS, 1);
		return NULL;
	}
	if (lnk__says_goaway(rest))
		return NULL;
	if (batch.number != 0) {
		lnk__count(&hub->end, LNK__LATE, 1);
		reject(hub, id, batch.session, -W_ELOST, "no such session here");
		return NULL;
	}
	peer = add_peer(hub, id);
	if (peer == NULL)
		reject(hub, id, batch.session, -W_EBUSY, "too many sessions here");
	return peer;
}

static void
receive_batch(struct lnk_hub *hub, struct w_view id, struct w_view bytes)
{
	struct hub_peer *peer = find_peer(hub, id);
	int rc = LNK__NEW_SESSION;

	if (peer != NULL)
		rc = lnk__peer_receive(&peer->peer, bytes.ptr, bytes.len);
	if (rc == LNK__NEW_SESSION) {
		if (peer != NULL)
			lnk__peer_doom(&peer->peer, -W_ELOST, "it began a new session");
		lnk__end_sweep(&hub->end);
		peer = meet(hub, id, bytes);
		if (peer != NULL)
			lnk__peer_receive(&peer->peer, bytes.ptr, bytes.len);
	}
	if (peer != NULL && peer->peer.state == LNK__GREETING)
		lnk__peer_doom(&peer->peer, -W_EPROTO, "it did not say HELLO");
	lnk__end_sweep(&hub->end);
}

static struct w_view
view_of_msg(zmq_msg_t *msg)
{
	return (struct w_view){zmq_msg_data(msg), zmq_msg_size(msg)};
}

/* False when there is none. */
static bool
receive_message(struct lnk_hub *hub)
{
	zmq_msg_t id, msg;
	bool many = false;

	zmq_msg_init(&id);
	zmq_msg_init(&msg);
	if (w_zsock_receive(&hub->zsock, &id) < 0) {
		zmq_msg_close(&id);
		return false;
	}
	if (zmq_msg_more(&id) && w_zsock_receive(&hub->zsock, &msg) == W_OK) {
		hub->user = w_view_of(zmq_msg_gets(&msg, "User-Id"));
		while (zmq_msg_more(&msg) && w_zsock_receive(&hub->zsock, &msg) == W_OK)
			many = true;
		/* Of several frames none is looked at: the session misses a batch and says so. */
		if (!many)
			receive_batch(hub, view_of_msg(&id), view_of_msg(&msg));
	}
	zmq_msg_close(&msg);
	zmq_msg_close(&id);
	return true;
}

static void
on_readable(void *arg)
{
	struct lnk_hub *hub = arg;

	for (int i = 0; i < HUB_BUDGET; i++)
		if (!receive_message(hub))
			break;
}

/* Bounded by what the socket can hold; peers may go on talking meanwhile. */
static void
hub_drain(struct lnk__end *end)
{
	struct lnk_hub *hub = hub_of(end);

	for (int i = 0; i < LNK__HWM; i++)
		if (!receive_message(hub))
			break;
}

/* ---- time and broken connections ---- */

static void
on_tick(void *arg)
{
	struct lnk_hub *hub = arg;
	bool judge = lnk__end_tick(&hub->end);
	int64_t credit = 0;
	struct w_list *pos;

	w_list_each(pos, &hub->peers)
	{
		struct lnk_peer *peer = &w_list_entry(pos, struct hub_peer, node)->peer;

		lnk__peer_beat(peer, judge);
		credit += lnk_peer_credit(peer);
	}
	if (hub->end.meter != NULL)
		w_meter_set(hub->end.meter, hub->end.metrics + LNK__CREDITS, credit);
	lnk__end_sweep(&hub->end);
}

static void
on_probe(void *arg)
{
	struct lnk_hub *hub = arg;
	struct w_list *pos;

	w_zsock_catch_up(&hub->zsock);
	w_list_each(pos, &hub->peers)
	{
		struct lnk_peer *peer = &w_list_entry(pos, struct hub_peer, node)->peer;

		if (!lnk__peer_alive(peer))
			continue;
		lnk__put_number(
		    lnk__peer_batch(peer, LNK__RECORD_HEADER + 8), LNK__PING, 0, (uint64_t)w_now());
		lnk__peer_send(peer);
	}
	lnk__end_sweep(&hub->end);

	if (hub->probes > 0) {
		w_usec gap = hub->probes == HUB_PROBES ? HUB_PROBE_GAP : HUB_PROBE_GAP * 10;

		hub->probes--;
		w_timer_start(hub->end.loop, &hub->probe, gap, 0);
	}
}

/* However many connections break, there is one round of probes per gap. */
static void
on_event(unsigned event W_UNUSED, void *arg)
{
	struct lnk_hub *hub = arg;
	bool idle = hub->probes == 0;

	hub->probes = HUB_PROBES;
	if (idle)
		on_probe(hub);
}

/* ---- life ---- */

static int
set_options(struct lnk_hub *hub, struct w_fault *fault)
{
	static const struct {
		int option, value;
	} options[] = {{ZMQ_ROUTER_MANDATORY, 1}, {ZMQ_ROUTER_HANDOVER, 0}, {ZMQ_SNDHWM, LNK__HWM},
	    {ZMQ_RCVHWM, LNK__HWM}, {ZMQ_BACKLOG, 1024}};
	int64_t most = LNK__MESSAGE_MAX;
	int rc = zmq_setsockopt(hub->socket, ZMQ_MAXMSGSIZE, &most, sizeof(most));

	for (size_t i = 0; rc == 0 && i < W_NELEM(options); i++)
		rc = zmq_setsockopt(hub->socket, options[i].option, &options[i].value, sizeof(int));
	if (rc < 0)
		return w_fail(fault, -W_EIO, "ZeroMQ refuses an option of the link's socket: %s",
		    zmq_strerror(zmq_errno()));
	return W_OK;
}

static int
open_socket(struct lnk_hub *hub, const struct lnk_hub_config *config, struct w_fault *fault)
{
	char endpoint[300];
	int rc;

	rc = w_addr_zmq(config->address, config->worker, endpoint, sizeof(endpoint));
	if (rc < 0)
		return w_fail(fault, rc,
		    "link address '%s' of worker %u: HOST:PORT is wanted, with a port free for "
		    "every worker",
		    config->address, config->worker);
	hub->socket = zmq_socket(config->zmq, ZMQ_ROUTER);
	if (hub->socket == NULL)
		return w_fail(
		    fault, -W_EIO, "no socket for the link: %s", zmq_strerror(zmq_errno()));
	rc = w_keys_server(config->keys, hub->socket, W_DOMAIN_LINK, fault);
	if (rc == W_OK)
		rc = set_options(hub, fault);
	if (rc < 0)
		return rc;
	if (lnk__monitor_start(&hub->monitor, config->zmq, hub->socket, ZMQ_EVENT_DISCONNECTED) < 0)
		return w_fail(fault, -W_EIO, "the link's socket cannot be monitored: %s",
		    zmq_strerror(zmq_errno()));
	if (zmq_bind(hub->socket, endpoint) < 0)
		return w_fail(fault, -W_EIO,
		    "the link cannot listen on %s: %s; every node and worker needs a port of its "
		    "own",
		    endpoint, zmq_strerror(zmq_errno()));
	if (w_zsock_add(config->loop, &hub->zsock, hub->socket, on_readable, hub) < 0)
		return w_fail(fault, -W_EIO, "the link's socket cannot be watched by its loop");
	return W_OK;
}

int
lnk_hub_new(const struct lnk_hub_config *config, struct lnk_hub **ret, struct w_fault *fault)
{
	W_AUTO(lnk_hub_free) struct lnk_hub *hub = w_xcalloc(1, sizeof(*hub));
	int rc;

	hub->end = (struct lnk__end){.hub = true,
	    .loop = config->loop,
	    .meter = config->meter,
	    .metrics = config->metrics,
	    .name = config->keys->name,
	    .worker = config->worker,
	    .workers = config->workers,
	    .stream_ops = &config->ops->stream,
	    .hub_ops = config->ops,
	    .arg = config->arg,
	    .transmit = hub_transmit,
	    .admit = hub_admit,
	    .bury = hub_bury,
	    .drain = hub_drain};
	lnk__end_init(&hub->end);
	w_list_init(&hub->peers);
	for (size_t i = 0; i < HUB_BUCKETS; i++)
		w_list_init(&hub->buckets[i]);
	hub->monitor = (struct lnk__monitor){.loop = config->loop, .event = on_event, .arg = hub};
	hub->tick = (struct w_timer){.fire = on_tick, .arg = hub};
	hub->probe = (struct w_timer){.fire = on_probe, .arg = hub};

	rc = open_socket(hub, config, fault);
	if (rc < 0)
		return rc;
	w_timer_start(config->loop, &hub->tick, LNK__TICK, LNK__TICK);
	*ret = w_steal(&hub);
	return W_OK;
}

void
lnk_hub_free(struct lnk_hub **hub)
{
	struct lnk_hub *h = w_steal(hub);
	int linger = HUB_GOODBYE;

	if (h == NULL)
		return;
	if (h->socket != NULL)
		lnk__end_turn(&h->end);
	while (!w_list_empty(&h->peers)) {
		struct hub_peer *peer = w_list_entry(h->peers.next, struct hub_peer, node);

		snprintf(peer->peer.why, sizeof(peer->peer.why), "the balancer stops");
		lnk__peer_down(&peer->peer, -W_ESHUTDOWN, -W_ECANCELED);
		remove_peer(h, peer);
	}
	w_timer_fini(&h->tick);
	w_timer_fini(&h->probe);
	lnk__monitor_stop(&h->monitor);
	w_zsock_remove(&h->zsock);
	if (h->socket != NULL) {
		zmq_setsockopt(h->socket, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(h->socket);
	}
	lnk__end_fini(&h->end);
	free(h);
}
