/*
 * The server's end: a DEALER to every worker of every balancer, and the division of the capacity.
 *
 *	dialled --connection stands--> HELLO ... WELCOME --> open --lost or GOAWAY--> HELLO ...
 *
 * ZeroMQ dials again by itself; a dial keeps its socket and begins a new session.
 *
 * Capacity (docs/protocol/01-link.md, 6.2): equal shares; when somebody uses up his, those who use
 * less than a quarter of an equal share lend the rest.
 */
#include <stdio.h>
#include <zmq.h>

#include "common/cluster.h"
#include "common/log.h"
#include "link/monitor.h"
#include "link/peer.h"

#define SPOKE_BUDGET 64		   /* messages received from one peer in one turn */
#define SPOKE_WAIT_MAX (8 * W_SEC) /* between HELLOs when something is wrong */
#define SPOKE_STEADY (10 * W_SEC)  /* a session of this age was no mistake */
#define SPOKE_GOODBYE 200	   /* milliseconds that the last messages may take */

struct lnk_spoke {
	struct lnk__end end;
	void *zmq;
	const struct w_keys *keys;
	struct w_list dials;
	struct w_timer tick;
	unsigned ticks;
	bool divide; /* peers came or went: share out anew */
};

/* One worker of one balancer. */
struct dial {
	struct lnk_peer peer;
	struct w_list node;
	const char *balancer;
	const char *address; /* of worker 0 */
	unsigned worker;
	bool unwanted; /* the balancer has fewer workers now: closed at the next tick */
	bool removed;  /* it is in the cluster file no more: closed when its session has ended */
	void *socket;
	struct w_zsock zsock;
	struct lnk__monitor monitor;
	w_usec hello_at;   /* next HELLO */
	w_usec opened_at;  /* WELCOME came */
	unsigned refusals; /* sessions in a row that ended because something is wrong */
};

static struct lnk_spoke *
spoke_of(struct lnk__end *end)
{
	return w_container_of(end, struct lnk_spoke, end);
}

static struct dial *
dial_of(struct lnk_peer *peer)
{
	return w_container_of(peer, struct dial, peer);
}

static bool
is_up(const struct dial *dial)
{
	return dial->peer.state == LNK__OPEN || dial->peer.state == LNK__DRAINING;
}

/* ---- sharing the capacity out ---- */

unsigned
lnk_spoke_peers(const struct lnk_spoke *spoke)
{
	const struct w_list *pos;
	unsigned count = 0;

	w_list_each(pos, &spoke->dials) count += is_up(w_list_entry(pos, const struct dial, node));
	return count;
}

unsigned
lnk_spoke_streams(const struct lnk_spoke *spoke)
{
	return spoke->end.active;
}

static void
give_shares(struct lnk_spoke *spoke, unsigned least, unsigned rest, unsigned takers)
{
	struct w_list *pos;

	w_list_each(pos, &spoke->dials)
	{
		struct lnk_peer *peer = &w_list_entry(pos, struct dial, node)->peer;
		unsigned share = least;

		if (!is_up(dial_of(peer)))
			continue;
		if (peer->peak >= least || takers == 0) {
			share = takers > 0 ? rest / takers : least;
			rest -= W_MIN(rest, share);
			takers -= takers > 0;
		}
		peer->share = W_MAX(share, 1u);
		peer->peak = lnk_peer_streams(peer);
		lnk__peer_touch(peer);
	}
}

/* moving: only when somebody has used up his share, and then idle ones give. */
static void
divide(struct lnk_spoke *spoke, bool moving)
{
	unsigned peers = lnk_spoke_peers(spoke), takers = 0, least, capacity = spoke->end.capacity;
	bool hungry = false;
	struct w_list *pos;

	if (peers == 0)
		return;
	least = W_MAX(capacity / peers / 4, 1u);
	w_list_each(pos, &spoke->dials)
	{
		struct lnk_peer *peer = &w_list_entry(pos, struct dial, node)->peer;

		if (!is_up(dial_of(peer)))
			continue;
		if (!moving)
			peer->peak = least;
		hungry |= peer->peak >= peer->share;
		takers += peer->peak >= least;
	}
	if (!moving || (hungry && takers > 0)) {
		unsigned kept = (peers - takers) * least;

		give_shares(spoke, least, capacity > kept ? capacity - kept : 0, takers);
		return;
	}
	w_list_each(pos, &spoke->dials)
	{
		struct lnk_peer *peer = &w_list_entry(pos, struct dial, node)->peer;

		peer->peak = lnk_peer_streams(peer);
	}
}

static void
divide_if_due(struct lnk_spoke *spoke)
{
	if (spoke->divide)
		divide(spoke, false);
	spoke->divide = false;
}

/* ---- sessions ---- */

static uint64_t
new_session(void)
{
	uint64_t session;

	do {
		w_random_bytes(&session, sizeof(session));
	} while (session == 0);
	return session;
}

static void
say_hello(struct dial *dial)
{
	struct lnk__end *end = dial->peer.end;

	if (dial->peer.state != LNK__GREETING || end->draining)
		return;
	w_zsock_catch_up(&dial->zsock);
	lnk__peer_hello(&dial->peer);
	dial->hello_at = w_now() + LNK_BEAT;
}

static int
spoke_transmit(struct lnk_peer *peer, struct w_view batch)
{
	return w_zsock_send(&dial_of(peer)->zsock, batch, false);
}

static void dial_workers(struct lnk_spoke *spoke, const struct dial *first, unsigned workers);

static int
spoke_admit(struct lnk_peer *peer, const struct lnk__greeting *greeting)
{
	struct lnk_spoke *spoke = spoke_of(peer->end);
	struct dial *dial = dial_of(peer);

	if (!w_view_eq(greeting->name, w_view_of(dial->balancer)) ||
	    greeting->worker != dial->worker)
		return lnk__peer_doom(peer, -W_EPROTO,
		    "worker %u of '%.*s' answered where worker %u of '%s' was dialled: check the "
		    "link addresses of the cluster file",
		    greeting->worker, W_VIEW_ARG(greeting->name), dial->worker, dial->balancer);
	dial->opened_at = w_now();
	spoke->divide = true;
	if (dial->worker == 0)
		dial_workers(spoke, dial, greeting->workers);
	w_log(W_INFO, "", "link-up", "peer=%s worker=%u", dial->balancer, dial->worker);
	return W_OK;
}

/* A hub with which something is wrong is asked less and less often. */
static w_usec
wait_after(struct dial *dial, bool wrong)
{
	w_usec wait = LNK_BEAT;

	if (dial->opened_at != 0 && w_now() - dial->opened_at > SPOKE_STEADY)
		dial->refusals = 0;
	if (!wrong)
		return wait;
	for (unsigned i = 0; i < dial->refusals && wait < SPOKE_WAIT_MAX; i++)
		wait *= 2;
	dial->refusals++;
	return W_MIN(wait, SPOKE_WAIT_MAX);
}

static void
log_down(const struct dial *dial)
{
	const struct lnk_peer *peer = &dial->peer;
	bool orderly = peer->doom == -W_ESHUTDOWN;
	char why[sizeof(peer->why) + 64];

	w_log(orderly ? W_INFO : W_WARN, "", "link-down",
	    "peer=%s worker=%u streams=%u rc=%s why=%s", dial->balancer, dial->worker,
	    lnk_peer_streams(peer), w_err_name(peer->doom),
	    w_log_quote(w_view_of(peer->why), why, sizeof(why)));
}

static void
spoke_bury(struct lnk_peer *peer)
{
	struct lnk_spoke *spoke = spoke_of(peer->end);
	struct dial *dial = dial_of(peer);
	void *arg = peer->arg;
	/* What is wrong between the two will hardly be right in a moment. LOST is not of that kind.
	 */
	bool wrong = peer->doom != -W_ELOST && peer->doom != -W_ESHUTDOWN;

	log_down(dial);
	lnk__peer_down(peer, peer->doom, -W_ELOST);
	lnk__peer_fini(peer);
	lnk__peer_init(peer, &spoke->end, new_session());
	peer->arg = arg;
	dial->hello_at = w_now() + wait_after(dial, wrong);
	dial->opened_at = 0;
	spoke->divide = true;
	divide_if_due(spoke);
}

/* ---- what comes from the socket ---- */

static bool
receive_message(struct dial *dial)
{
	zmq_msg_t msg;
	bool many = false;

	zmq_msg_init(&msg);
	if (w_zsock_receive(&dial->zsock, &msg) < 0) {
		zmq_msg_close(&msg);
		return false;
	}
	while (zmq_msg_more(&msg) && w_zsock_receive(&dial->zsock, &msg) == W_OK)
		many = true;
	/* Of several frames none is looked at: the session misses a batch and says so. */
	if (!many)
		lnk__peer_receive(&dial->peer, zmq_msg_data(&msg), zmq_msg_size(&msg));
	zmq_msg_close(&msg);
	lnk__end_sweep(dial->peer.end);
	return true;
}

static void
on_readable(void *arg)
{
	struct dial *dial = arg;

	for (int i = 0; i < SPOKE_BUDGET; i++)
		if (!receive_message(dial))
			break;
	divide_if_due(spoke_of(dial->peer.end));
}

static void
on_event(unsigned event, void *arg)
{
	struct dial *dial = arg;

	if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
		say_hello(dial);
		return;
	}
	/* What the hub said before comes first. */
	for (int i = 0; i < LNK__HWM; i++)
		if (!receive_message(dial))
			break;
	if (is_up(dial)) {
		dial->peer.parted = true;
		lnk__peer_doom(&dial->peer, -W_ELOST, "the connection broke");
		lnk__end_sweep(dial->peer.end);
	}
}

/* ---- dialling ---- */

static void
hang_up(struct dial *dial)
{
	int linger = SPOKE_GOODBYE;

	w_list_remove(&dial->node);
	lnk__peer_fini(&dial->peer);
	lnk__monitor_stop(&dial->monitor);
	w_zsock_remove(&dial->zsock);
	if (dial->socket != NULL) {
		zmq_setsockopt(dial->socket, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(dial->socket);
	}
	free(dial);
}

static int
set_options(struct dial *dial, struct w_fault *fault)
{
	static const struct {
		int option, value;
	} options[] = {{ZMQ_IMMEDIATE, 1}, {ZMQ_SNDHWM, LNK__HWM}, {ZMQ_RCVHWM, LNK__HWM},
	    {ZMQ_RECONNECT_IVL, 50}, {ZMQ_RECONNECT_IVL_MAX, 1000}};
	int64_t most = LNK__MESSAGE_MAX;
	int rc = zmq_setsockopt(dial->socket, ZMQ_MAXMSGSIZE, &most, sizeof(most));

	for (size_t i = 0; rc == 0 && i < W_NELEM(options); i++)
		rc =
		    zmq_setsockopt(dial->socket, options[i].option, &options[i].value, sizeof(int));
	if (rc < 0)
		return w_fail(fault, -W_EIO, "ZeroMQ refuses an option of the link's socket: %s",
		    zmq_strerror(zmq_errno()));
	return W_OK;
}

static int
connect_dial(struct lnk_spoke *spoke, struct dial *dial, struct w_fault *fault)
{
	char endpoint[300];
	int rc;

	rc = w_addr_zmq(dial->address, dial->worker, endpoint, sizeof(endpoint));
	if (rc < 0)
		return w_fail(fault, rc, "link address '%s' of %s: HOST:PORT is wanted",
		    dial->address, dial->balancer);
	dial->socket = zmq_socket(spoke->zmq, ZMQ_DEALER);
	if (dial->socket == NULL)
		return w_fail(fault, -W_EIO, "no socket for the link to %s: %s", dial->balancer,
		    zmq_strerror(zmq_errno()));
	rc = w_keys_client(spoke->keys, dial->socket, dial->balancer, fault);
	if (rc == W_OK)
		rc = set_options(dial, fault);
	if (rc < 0)
		return rc;
	if (lnk__monitor_start(&dial->monitor, spoke->zmq, dial->socket,
		ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) < 0)
		return w_fail(fault, -W_EIO, "the link's socket cannot be monitored: %s",
		    zmq_strerror(zmq_errno()));
	if (zmq_connect(dial->socket, endpoint) < 0)
		return w_fail(fault, -W_EIO, "the link cannot dial %s at %s: %s", dial->balancer,
		    endpoint, zmq_strerror(zmq_errno()));
	if (w_zsock_add(spoke->end.loop, &dial->zsock, dial->socket, on_readable, dial) < 0)
		return w_fail(fault, -W_EIO, "the link's socket cannot be watched by its loop");
	return W_OK;
}

static int
dial_worker(struct lnk_spoke *spoke, const char *balancer, const char *address, unsigned worker,
    struct w_fault *fault)
{
	struct dial *dial = w_xcalloc(1, sizeof(*dial));
	int rc;

	lnk__peer_init(&dial->peer, &spoke->end, new_session());
	snprintf(dial->peer.name, sizeof(dial->peer.name), "%s", balancer);
	dial->peer.worker = worker;
	dial->balancer = balancer;
	dial->address = address;
	dial->worker = worker;
	dial->monitor =
	    (struct lnk__monitor){.loop = spoke->end.loop, .event = on_event, .arg = dial};
	w_list_push(&spoke->dials, &dial->node);

	rc = connect_dial(spoke, dial, fault);
	if (rc < 0)
		hang_up(dial);
	return rc;
}

/* Worker 0 has told how many there are: dial the new ones, leave the ones that are no more. */
static void
dial_workers(struct lnk_spoke *spoke, const struct dial *first, unsigned workers)
{
	bool have[LNK__WORKERS_MAX] = {false};
	struct w_list *pos;

	w_list_each(pos, &spoke->dials)
	{
		struct dial *dial = w_list_entry(pos, struct dial, node);

		if (dial->balancer != first->balancer)
			continue;
		have[dial->worker] = true;
		dial->unwanted = dial->worker >= workers;
	}
	for (unsigned worker = 0; worker < workers; worker++) {
		struct w_fault fault = {0};
		char why[600];

		if (have[worker] ||
		    dial_worker(spoke, first->balancer, first->address, worker, &fault) == W_OK)
			continue;
		w_log(W_ERROR, "", "link-not-dialled", "peer=%s worker=%u why=%s", first->balancer,
		    worker, w_log_quote(w_view_of(fault.text), why, sizeof(why)));
	}
}

/* ---- reload ---- */

static bool
is_of(const struct dial *dial, const struct w_member *balancer)
{
	return balancer != NULL && balancer->role == W_BALANCER &&
	    strcmp(dial->balancer, balancer->name) == 0 &&
	    strcmp(dial->address, balancer->opt.balancer.link) == 0;
}

static bool
is_dialled(struct lnk_spoke *spoke, const struct w_member *balancer)
{
	struct w_list *pos;

	w_list_each(pos, &spoke->dials)
	{
		if (is_of(w_list_entry(pos, struct dial, node), balancer))
			return true;
	}
	return false;
}

static void
dial_new(struct lnk_spoke *spoke, const struct w_member *balancer)
{
	struct w_fault fault = {0};
	char why[600];

	if (balancer->opt.balancer.link[0] == '\0' || is_dialled(spoke, balancer) ||
	    dial_worker(spoke, balancer->name, balancer->opt.balancer.link, 0, &fault) == W_OK)
		return;
	w_log(W_ERROR, "", "link-not-dialled", "peer=%s worker=0 why=%s", balancer->name,
	    w_log_quote(w_view_of(fault.text), why, sizeof(why)));
}

void
lnk_spoke_reload(struct lnk_spoke *spoke, const struct w_cluster *cluster)
{
	const struct w_member *balancer;
	struct w_list *pos;

	if (spoke->end.draining)
		return;
	w_list_each(pos, &spoke->dials)
	{
		struct dial *dial = w_list_entry(pos, struct dial, node);

		dial->removed =
		    !is_of(dial, w_cluster_find(cluster, w_view_of(dial->balancer)));
	}
	for (unsigned i = 0; (balancer = w_cluster_nth(cluster, W_BALANCER, i)) != NULL; i++)
		dial_new(spoke, balancer);
}

/* ---- time ---- */

static void
on_tick(void *arg)
{
	struct lnk_spoke *spoke = arg;
	bool judge = lnk__end_tick(&spoke->end);
	struct w_list *pos, *tmp;
	w_usec now = w_now();
	int64_t credit = 0;

	w_list_each_safe(pos, tmp, &spoke->dials)
	{
		struct dial *dial = w_list_entry(pos, struct dial, node);

		if ((dial->unwanted || dial->removed) && !is_up(dial)) {
			hang_up(dial);
			continue;
		}
		lnk__peer_beat(&dial->peer, judge);
		if (is_up(dial))
			credit += (int64_t)(dial->peer.limit -
					    W_MIN(dial->peer.limit, dial->peer.opened));
		else if (now >= dial->hello_at)
			say_hello(dial);
	}
	if (spoke->end.meter != NULL)
		w_meter_set(spoke->end.meter, spoke->end.metrics + LNK__CREDITS, credit);
	lnk__end_sweep(&spoke->end);
	if (++spoke->ticks % 2 == 0)
		divide(spoke, true);
}

/* ---- life ---- */

static int
dial_all(struct lnk_spoke *spoke, const struct w_cluster *cluster, struct w_fault *fault)
{
	for (size_t i = 0; i < cluster->member_count; i++) {
		const struct w_member *member = &cluster->members[i];
		int rc;

		if (member->role != W_BALANCER || member->opt.balancer.link == NULL ||
		    member->opt.balancer.link[0] == '\0')
			continue;
		rc = dial_worker(spoke, member->name, member->opt.balancer.link, 0, fault);
		if (rc < 0)
			return rc;
	}
	return W_OK;
}

int
lnk_spoke_new(const struct lnk_spoke_config *config, struct lnk_spoke **ret, struct w_fault *fault)
{
	W_AUTO(lnk_spoke_free) struct lnk_spoke *spoke = w_xcalloc(1, sizeof(*spoke));
	int rc;

	spoke->end = (struct lnk__end){.loop = config->loop,
	    .meter = config->meter,
	    .metrics = config->metrics,
	    .name = config->node,
	    .worker = config->worker,
	    .workers = config->workers,
	    .capacity = config->capacity,
	    .stream_ops = &config->ops->stream,
	    .spoke_ops = config->ops,
	    .arg = config->arg,
	    .transmit = spoke_transmit,
	    .admit = spoke_admit,
	    .bury = spoke_bury};
	lnk__end_init(&spoke->end);
	spoke->zmq = config->zmq;
	spoke->keys = config->keys;
	spoke->tick = (struct w_timer){.fire = on_tick, .arg = spoke};
	w_list_init(&spoke->dials);

	rc = dial_all(spoke, config->cluster, fault);
	if (rc < 0)
		return rc;
	w_timer_start(config->loop, &spoke->tick, LNK__TICK, LNK__TICK);
	*ret = w_steal(&spoke);
	return W_OK;
}

void
lnk_spoke_drain(struct lnk_spoke *spoke)
{
	struct w_list *pos;

	if (spoke->end.draining)
		return;
	spoke->end.draining = true;
	w_list_each(pos, &spoke->dials)
	{
		struct lnk_peer *peer = &w_list_entry(pos, struct dial, node)->peer;

		if (lnk__peer_alive(peer))
			lnk__peer_goaway(peer, false, -W_ESHUTDOWN, "draining");
	}
}

void
lnk_spoke_free(struct lnk_spoke **spoke)
{
	struct lnk_spoke *s = w_steal(spoke);

	if (s == NULL)
		return;
	lnk__end_turn(&s->end);
	while (!w_list_empty(&s->dials)) {
		struct dial *dial = w_list_entry(s->dials.next, struct dial, node);

		snprintf(dial->peer.why, sizeof(dial->peer.why), "the server stops");
		lnk__peer_down(&dial->peer, -W_ESHUTDOWN, -W_ECANCELED);
		hang_up(dial);
	}
	w_timer_fini(&s->tick);
	lnk__end_fini(&s->end);
	free(s);
}
