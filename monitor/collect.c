/*
 * Receiving. See collect.h.
 *
 * Of the connections' events only two matter here, accepted and disconnected; their value is the
 * descriptor. A message tells the descriptor that it came over, so the two can be put together.
 * libzmq tells of a descriptor's end before it can be used again, so events are taken first.
 */
#include "monitor/collect.h"

#include <zmq.h>

#define MESSAGE_MAX ((int64_t)8 << 20) /* what common/publish.c sends at most */
#define TOPIC W_VIEW("report")
#define TURN_MAX 64 /* messages in one turn; HTTP and the feed want theirs */

struct mon_collect {
	struct mon_collect_ops ops;
	void *socket;
	struct w_zsock zsock;
	struct mon_peers peers;
};

/* ---- binding ---- */

int
mon_bind(struct w_node *node, void *socket, const struct mon_door *door, struct w_fault *fault)
{
	char endpoint[320];
	int rc;

	rc = w_keys_server(node->keys, socket, door->domain, fault);
	if (rc < 0)
		return rc;
	rc = w_addr_zmq(door->addr, 0, endpoint, sizeof(endpoint));
	if (rc < 0)
		return w_fail(fault, rc, "'%s' is not HOST:PORT", door->addr);
	/* Before the bind: that is when a listener takes its options. */
	zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &door->most, sizeof(door->most));
	if (zmq_bind(socket, endpoint) < 0)
		return w_fail(fault, -W_EIO,
		    "cannot bind %s: %s; wanted is an address of this host and a port that is free",
		    endpoint, zmq_strerror(zmq_errno()));
	return W_OK;
}

/* ---- connections ---- */

static void
remember_fd(struct mon_peers *peers, int fd)
{
	if (peers->open == peers->room) {
		peers->room = W_MAX(16u, peers->room * 2);
		peers->fds = w_xrealloc(peers->fds, peers->room * sizeof(*peers->fds));
	}
	peers->fds[peers->open++] = fd;
}

static int *
find_fd(const struct mon_peers *peers, int fd)
{
	for (unsigned i = 0; i < peers->open; i++)
		if (peers->fds[i] == fd)
			return &peers->fds[i];
	return NULL;
}

static void
forget_fd(struct mon_peers *peers, int fd)
{
	int *found = find_fd(peers, fd);

	if (found != NULL)
		*found = peers->fds[--peers->open];
}

/* Frame 1: 16 bits event, 32 bits value; frame 2: the endpoint. Source: zmq_socket_monitor(3) */
static bool
take_event(struct mon_peers *peers)
{
	uint16_t event;
	int32_t value;
	char frame[512];
	int len = w_zsock_receive_into(&peers->zsock, frame, sizeof(frame));

	if (len < 0)
		return false;
	w_zsock_receive_into(&peers->zsock, frame + 6, sizeof(frame) - 6);
	if (len != 6)
		return true;
	memcpy(&event, frame, sizeof(event));
	memcpy(&value, frame + 2, sizeof(value));
	if (event == ZMQ_EVENT_ACCEPTED)
		remember_fd(peers, value);
	if (event != ZMQ_EVENT_DISCONNECTED)
		return true;
	forget_fd(peers, value);
	if (peers->disconnected != NULL)
		peers->disconnected(peers->arg, value);
	return true;
}

void
mon_peers_drain(struct mon_peers *peers)
{
	while (take_event(peers))
		continue;
}

bool
mon_peers_stands(struct mon_peers *peers, int fd)
{
	if (fd < 0 || find_fd(peers, fd) != NULL)
		return true;
	/* it may be so young that its beginning has not been taken yet */
	mon_peers_drain(peers);
	return find_fd(peers, fd) != NULL;
}

static void
on_events(void *arg)
{
	mon_peers_drain(arg);
}

int
mon_peers_open(struct mon_peers *peers, struct w_node *node, void *socket, const char *endpoint,
    struct w_fault *fault)
{
	int linger = 0;

	if (zmq_socket_monitor(socket, endpoint, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) < 0)
		return w_fail(fault, -W_EIO, "connections cannot be watched: %s",
		    zmq_strerror(zmq_errno()));
	peers->socket = socket;
	peers->events = zmq_socket(node->zmq, ZMQ_PAIR);
	if (peers->events == NULL ||
	    zmq_setsockopt(peers->events, ZMQ_LINGER, &linger, sizeof(linger)) < 0 ||
	    zmq_connect(peers->events, endpoint) < 0)
		return w_fail(fault, -W_EIO, "connections cannot be watched: %s",
		    zmq_strerror(zmq_errno()));
	if (w_zsock_add(&node->loop, &peers->zsock, peers->events, on_events, peers) < 0)
		return w_fail(fault, -W_EIO, "connections cannot be watched by the loop");
	return W_OK;
}

void
mon_peers_close(struct mon_peers *peers)
{
	w_zsock_remove(&peers->zsock);
	if (peers->socket != NULL)
		zmq_socket_monitor(peers->socket, NULL, 0);
	if (peers->events != NULL)
		zmq_close(peers->events);
	peers->socket = peers->events = NULL;
	w_free(&peers->fds);
	peers->open = peers->room = 0;
}

/* ---- messages ---- */

static void
hand_over(struct mon_collect *collect, zmq_msg_t *topic, zmq_msg_t *body)
{
	const struct w_view name = { zmq_msg_data(topic), zmq_msg_size(topic) };
	struct mon_message message = {
		.json = { zmq_msg_data(body), zmq_msg_size(body) },
		.user = zmq_msg_gets(body, "User-Id"),
		.fd = zmq_msg_get(body, ZMQ_SRCFD),
	};

	if (!w_view_eq(name, TOPIC)) {
		collect->ops.malformed(collect->ops.arg);
		return;
	}
	collect->ops.message(collect->ops.arg, &message);
}

unsigned
mon_receive_two(struct w_zsock *zsock, zmq_msg_t *frames)
{
	zmq_msg_t spare;
	unsigned count = 0;
	bool more = true;

	for (; more; count++) {
		zmq_msg_t *to = count < 2 ? &frames[count] : &spare;

		zmq_msg_init(to);
		/* After the first frame the others are there already: libzmq delivers whole messages. */
		if (w_zsock_receive(zsock, to) < 0) {
			zmq_msg_close(to);
			break;
		}
		more = zmq_msg_more(to) != 0;
		if (to == &spare)
			zmq_msg_close(&spare);
	}
	return count;
}

/* False: there is none. */
static bool
take_message(struct mon_collect *collect)
{
	zmq_msg_t frames[2];
	unsigned count = mon_receive_two(&collect->zsock, frames);

	if (count == 2)
		hand_over(collect, &frames[0], &frames[1]);
	else if (count > 0)
		collect->ops.malformed(collect->ops.arg);
	for (unsigned i = 0; i < W_MIN(count, 2u); i++)
		zmq_msg_close(&frames[i]);
	return count > 0;
}

static void
on_readable(void *arg)
{
	struct mon_collect *collect = arg;

	mon_peers_drain(&collect->peers);
	for (unsigned i = 0; i < TURN_MAX; i++)
		if (!take_message(collect))
			return;
}

/* ---- life ---- */

int
mon_collect_open(struct w_node *node, const struct mon_collect_ops *ops,
    struct mon_collect **ret, struct w_fault *fault)
{
	W_AUTO(mon_collect_close) struct mon_collect *collect = w_xcalloc(1, sizeof(*collect));
	const struct mon_door door = { W_DOMAIN_COLLECT, node->self->opt.monitor.collect,
		MESSAGE_MAX };
	int rc;

	collect->ops = *ops;
	collect->peers.disconnected = ops->disconnected;
	collect->peers.arg = ops->arg;
	collect->socket = zmq_socket(node->zmq, ZMQ_SUB);
	if (collect->socket == NULL ||
	    zmq_setsockopt(collect->socket, ZMQ_SUBSCRIBE, TOPIC.ptr, TOPIC.len) < 0)
		return w_fail(fault, -W_EIO, "no socket for reports: %s", zmq_strerror(zmq_errno()));
	rc = mon_peers_open(&collect->peers, node, collect->socket, "inproc://weir-collect-events",
	    fault);
	if (rc == W_OK)
		rc = mon_bind(node, collect->socket, &door, fault);
	if (rc < 0)
		return rc;
	if (w_zsock_add(&node->loop, &collect->zsock, collect->socket, on_readable, collect) < 0)
		return w_fail(fault, -W_EIO, "the socket for reports cannot be watched");
	*ret = w_steal(&collect);
	return W_OK;
}

void
mon_collect_close(struct mon_collect **collect)
{
	struct mon_collect *c = w_steal(collect);

	if (c == NULL)
		return;
	w_zsock_remove(&c->zsock);
	mon_peers_close(&c->peers);
	if (c->socket != NULL)
		zmq_close(c->socket);
	free(c);
}
