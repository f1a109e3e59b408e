/*
 * Reports to the monitors.
 *
 * The sockets are XPUB rather than PUB: to the monitor that is the same, but here one sees
 * a monitor subscribe, and can tell it at once what it would otherwise learn up to a
 * second later. One socket per monitor, because each has a key of its own.
 */
#include "common/publish.h"

#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "common/log.h"
#include "common/node_inner.h"

#define INTERVAL W_SEC
#define REPORT_MAX ((size_t)1 << 20) /* bytes; the monitor takes no bigger one */
#define QUEUE_MAX 10		     /* reports kept for a monitor that does not read */
#define LINGER_MSEC 250		     /* for the last report */

struct outlet {
	struct w_publisher *publisher;
	void *socket;
	struct w_zsock zsock;
};

struct w_publisher {
	struct w_node *node;
	struct w_timer timer;
	w_usec next; /* when the next report is due */
	struct w_timer late; /* for those that must not wait so long */
	w_usec hurried;	     /* when the last of them was sent */
	bool waits;	     /* one more is to be sent */
	w_usec epoch;
	uint64_t seq;
	struct outlet *outlets;
	size_t count;
	struct w_buf buf;
};

/* ---- making ---- */

static void
put_int(struct w_json *json, const char *key, int64_t value)
{
	w_json_key(json, key);
	w_json_int(json, value);
}

static void
put_text(struct w_json *json, const char *key, const char *text)
{
	w_json_key(json, key);
	w_json_text(json, text);
}

static void
make_report(struct w_publisher *publisher)
{
	struct w_node *node = publisher->node;
	struct w_json json;

	w_buf_clear(&publisher->buf);
	w_json_init(&json, &publisher->buf);
	w_json_open(&json, '{');
	put_int(&json, "v", 1);
	put_text(&json, "node", node->self->name);
	put_text(&json, "role", w_role_name(node->ops->role));
	put_int(&json, "epoch", publisher->epoch);
	put_int(&json, "seq", (int64_t)++publisher->seq);
	put_int(&json, "time", w_wall());
	put_int(&json, "pid", getpid());
	put_text(&json, "state", w__node_state(node));
	w_json_key(&json, "interval");
	w_json_real(&json, (double)INTERVAL / W_SEC);
	/* After the end there is no role left to ask. */
	if (node->ops->report != NULL && !node->inner->down)
		node->ops->report(node, &json);
	w_json_key(&json, "metrics");
	w_metrics_json(node->metrics, &json);
	w_json_close(&json, '}');
}

void
w_publisher_send(struct w_publisher *publisher)
{
	struct w_buf *buf = &publisher->buf;

	w__node_measure(publisher->node);
	if (publisher->count == 0)
		return;
	make_report(publisher);
	if (w_buf_broken(buf)) {
		w_log(W_ERROR, "", "report-too-big", "limit=%zu", REPORT_MAX);
		return;
	}
	for (size_t i = 0; i < publisher->count; i++) {
		struct w_zsock *zsock = &publisher->outlets[i].zsock;

		/* Neither blocks, nor fails where there is no subscriber or a full queue. */
		if (w_zsock_send(zsock, W_VIEW("report"), true) == W_OK)
			w_zsock_send(zsock, w_buf_get(buf), false);
	}
}

static void
on_timer(void *arg)
{
	struct w_publisher *publisher = arg;
	struct w_node *node = publisher->node;
	w_usec now = w_now();

	if (node->ops->tick != NULL)
		node->ops->tick(node);
	w_publisher_send(publisher);
	/* From the start on in steps, so that lateness does not add up. */
	while (publisher->next <= now)
		publisher->next += INTERVAL;
	w_timer_start(&node->loop, &publisher->timer, publisher->next - now, 0);
}

static void
on_late(void *arg)
{
	struct w_publisher *publisher = arg;

	publisher->waits = false;
	w_publisher_send(publisher);
	publisher->hurried = w_now(); /* to make one takes its time */
}

void
w_publisher_hurry(struct w_publisher *publisher)
{
	w_usec wait = publisher->hurried + W_REPORT_APART - w_now();

	if (publisher->waits)
		return;
	if (wait <= 0) {
		on_late(publisher);
		return;
	}
	publisher->waits = true;
	w_timer_start(&publisher->node->loop, &publisher->late, wait, 0);
}

/* ---- sockets ---- */

/* A monitor subscribed: it shall not wait for the next second. */
static void
on_subscription(void *arg)
{
	struct outlet *outlet = arg;
	bool came = false;
	char text[64];

	for (int len; (len = w_zsock_receive_into(&outlet->zsock, text, sizeof(text))) >= 0;)
		came |= len > 0 && text[0] == 1;
	if (came)
		w_publisher_send(outlet->publisher);
}

static int
set_int(void *socket, int option, int value, struct w_fault *fault)
{
	if (zmq_setsockopt(socket, option, &value, sizeof(value)) < 0)
		return w_fail(fault, -W_EIO, "ZeroMQ refuses the socket option %d: %s", option,
		    zmq_strerror(zmq_errno()));
	return W_OK;
}

static int
open_outlet(struct w_publisher *publisher, const struct w_member *monitor, struct w_fault *fault)
{
	struct w_node *node = publisher->node;
	struct outlet *outlet = &publisher->outlets[publisher->count];
	char endpoint[320];
	int rc;

	rc = w_addr_zmq(monitor->opt.monitor.collect, 0, endpoint, sizeof(endpoint));
	if (rc < 0)
		return w_fail(fault, rc, "%s: collect: '%s' is not HOST:PORT", monitor->name,
		    monitor->opt.monitor.collect);
	outlet->socket = zmq_socket(node->zmq, ZMQ_XPUB);
	if (outlet->socket == NULL)
		return w_fail(
		    fault, -W_EIO, "no socket for reports: %s", zmq_strerror(zmq_errno()));
	outlet->publisher = publisher;
	publisher->count++;

	rc = w_keys_client(node->keys, outlet->socket, monitor->name, fault);
	if (rc == W_OK)
		rc = set_int(outlet->socket, ZMQ_SNDHWM, QUEUE_MAX, fault);
	if (rc < 0)
		return rc;
	if (zmq_connect(outlet->socket, endpoint) < 0)
		return w_fail(fault, -W_EIO, "%s: collect: cannot connect to %s: %s", monitor->name,
		    endpoint, zmq_strerror(zmq_errno()));
	if (w_zsock_add(&node->loop, &outlet->zsock, outlet->socket, on_subscription, outlet) < 0)
		return w_fail(fault, -W_EIO, "the socket for reports cannot be watched");
	return W_OK;
}

int
w_publisher_start(struct w_node *node, struct w_publisher **ret, struct w_fault *fault)
{
	W_AUTO(w_publisher_stop) struct w_publisher *publisher = w_xcalloc(1, sizeof(*publisher));
	unsigned monitors = (unsigned)w_cluster_count(node->cluster, W_MONITOR);

	publisher->node = node;
	publisher->epoch = w_wall();
	publisher->buf.limit = REPORT_MAX;
	publisher->outlets = w_xcalloc(monitors + 1, sizeof(*publisher->outlets));
	for (unsigned i = 0; i < monitors; i++) {
		const struct w_member *monitor = w_cluster_nth(node->cluster, W_MONITOR, i);
		int rc;

		if (monitor->opt.monitor.collect[0] == '\0')
			continue;
		rc = open_outlet(publisher, monitor, fault);
		if (rc < 0)
			return rc;
	}
	publisher->timer.fire = on_timer;
	publisher->timer.arg = publisher;
	publisher->late = (struct w_timer){ .fire = on_late, .arg = publisher };
	publisher->next = w_now() + INTERVAL;
	w_timer_start(&node->loop, &publisher->timer, INTERVAL, 0);
	*ret = w_steal(&publisher);
	return W_OK;
}

void
w_publisher_stop(struct w_publisher **publisher)
{
	struct w_publisher *p = w_steal(publisher);
	int linger = LINGER_MSEC;

	if (p == NULL)
		return;
	w_timer_fini(&p->timer);
	w_timer_fini(&p->late);
	for (size_t i = 0; i < p->count; i++) {
		w_zsock_remove(&p->outlets[i].zsock);
		zmq_setsockopt(p->outlets[i].socket, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(p->outlets[i].socket);
	}
	w_buf_fini(&p->buf);
	free(p->outlets);
	free(p);
}
