/*
 * Sending. See feed.h.
 *
 * 1. Numbers are given whether or not somebody listens: a subscriber's gap is a loss of its own.
 * 2. Topics that numbers are kept for come from the cluster file and from this program, never
 *    from a subscriber, so there is a bounded number of them.
 * 3. Snapshots: however many ask, one in SNAPSHOT_GAP.
 */
#include "monitor/feed.h"

#include <stdio.h>
#include <zmq.h>

#include "common/log.h"
#include "monitor/collect.h"

#define SUBSCRIPTION_MAX 1024 /* bytes that a subscriber may send at once */
#define SNAPSHOT_GAP (100 * W_MSEC)
#define MESSAGE_MAX ((size_t)8 << 20)

struct topic {
	char *name;
	uint64_t seq;
};

struct mon_feed {
	struct w_node *node;
	void *socket; /* NULL: there is no feed */
	struct w_zsock zsock;
	struct mon_peers peers;
	void (*snapshot)(void *arg);
	void *arg;
	struct w_timer timer; /* for a snapshot that is owed */
	bool owed;
	w_usec last_snapshot;
	struct topic *topics;
	unsigned topic_count;
	w_usec epoch;
	uint64_t number, sent;
	struct topic *now; /* of the message in the making */
	struct w_buf buf;
	struct w_json json;
};

/* ---- subscriptions ---- */

static void
send_snapshot(void *arg)
{
	struct mon_feed *feed = arg;

	feed->owed = false;
	feed->last_snapshot = w_now();
	feed->snapshot(feed->arg);
}

static void
want_snapshot(struct mon_feed *feed)
{
	w_usec wait = feed->last_snapshot + SNAPSHOT_GAP - w_now();

	if (feed->owed)
		return;
	feed->owed = true;
	feed->timer.fire = send_snapshot;
	feed->timer.arg = feed;
	w_timer_start(&feed->node->loop, &feed->timer, W_MAX(wait, 0), 0);
}

/* 01 and a prefix: that of "snapshot" is the empty one, too. */
static void
on_subscription(void *arg)
{
	struct mon_feed *feed = arg;
	char frame[SUBSCRIPTION_MAX];
	int len;

	while ((len = w_zsock_receive_into(&feed->zsock, frame, sizeof(frame))) >= 0) {
		struct w_view prefix = { frame + 1, (size_t)len - 1 };

		if (len > 0 && (size_t)len <= sizeof(frame) && frame[0] == 1 &&
		    w_view_starts(W_VIEW("snapshot"), prefix))
			want_snapshot(feed);
	}
}

/* ---- messages ---- */

static struct topic *
find_topic(struct mon_feed *feed, const char *name)
{
	for (unsigned i = 0; i < feed->topic_count; i++)
		if (strcmp(feed->topics[i].name, name) == 0)
			return &feed->topics[i];
	feed->topics =
	    w_xrealloc(feed->topics, (feed->topic_count + 1) * sizeof(*feed->topics));
	feed->topics[feed->topic_count] = (struct topic){ .name = w_xstrdup(name) };
	return &feed->topics[feed->topic_count++];
}

static void
put_int(struct w_json *json, const char *key, int64_t value)
{
	w_json_key(json, key);
	w_json_int(json, value);
}

struct w_json *
mon_feed_begin(struct mon_feed *feed, const char *kind, const char *name)
{
	char topic[MON_TOPIC_MAX + 1];
	struct w_json *json = &feed->json;

	if (feed->socket == NULL)
		return NULL;
	W_ASSERT(feed->now == NULL);
	snprintf(topic, sizeof(topic), "%s%s%s", kind, name != NULL ? "." : "",
	    name != NULL ? name : "");
	feed->now = find_topic(feed, topic);
	feed->now->seq++;
	feed->number++;
	w_buf_clear(&feed->buf);
	w_json_init(json, &feed->buf);
	w_json_open(json, '{');
	put_int(json, "v", 1);
	w_json_key(json, "topic");
	w_json_text(json, topic);
	w_json_key(json, "monitor");
	w_json_text(json, feed->node->self->name);
	put_int(json, "epoch", feed->epoch);
	put_int(json, "number", (int64_t)feed->number);
	put_int(json, "seq", (int64_t)feed->now->seq);
	put_int(json, "time", w_wall());
	return json;
}

void
mon_feed_send(struct mon_feed *feed)
{
	const struct topic *topic = feed->now;

	feed->now = NULL;
	w_json_close(&feed->json, '}');
	if (w_buf_broken(&feed->buf)) {
		w_log(W_ERROR, "", "feed-message-lost", "topic=%s limit=%zu", topic->name,
		    MESSAGE_MAX);
		return;
	}
	/* An XPUB neither blocks nor fails for a slow subscriber: it drops for that one. */
	if (w_zsock_send(&feed->zsock, w_view_of(topic->name), true) < 0)
		return;
	if (w_zsock_send(&feed->zsock, w_buf_get(&feed->buf), false) == W_OK)
		feed->sent++;
}

uint64_t
mon_feed_sent(const struct mon_feed *feed)
{
	return feed->sent;
}

unsigned
mon_feed_connections(const struct mon_feed *feed)
{
	return feed->peers.open;
}

/* ---- life ---- */

static int
open_socket(struct mon_feed *feed, struct w_fault *fault)
{
	struct w_node *node = feed->node;
	const struct w_monitor_options *opt = &node->self->opt.monitor;
	const struct mon_door door = { W_DOMAIN_FEED, opt->feed, SUBSCRIPTION_MAX };
	int queue = (int)opt->feed_queue, verbose = 1, rc;

	feed->socket = zmq_socket(node->zmq, ZMQ_XPUB);
	if (feed->socket == NULL ||
	    zmq_setsockopt(feed->socket, ZMQ_SNDHWM, &queue, sizeof(queue)) < 0 ||
	    zmq_setsockopt(feed->socket, ZMQ_XPUB_VERBOSE, &verbose, sizeof(verbose)) < 0)
		return w_fail(fault, -W_EIO, "no socket for the feed: %s",
		    zmq_strerror(zmq_errno()));
	rc = mon_peers_open(&feed->peers, node, feed->socket, "inproc://weir-feed-events", fault);
	if (rc == W_OK)
		rc = mon_bind(node, feed->socket, &door, fault);
	if (rc < 0)
		return rc;
	if (w_zsock_add(&node->loop, &feed->zsock, feed->socket, on_subscription, feed) < 0)
		return w_fail(fault, -W_EIO, "the feed's socket cannot be watched");
	return W_OK;
}

int
mon_feed_open(struct w_node *node, void (*snapshot)(void *arg), void *arg,
    struct mon_feed **ret, struct w_fault *fault)
{
	W_AUTO(mon_feed_close) struct mon_feed *feed = w_xcalloc(1, sizeof(*feed));
	int rc;

	feed->node = node;
	feed->snapshot = snapshot;
	feed->arg = arg;
	feed->epoch = w_wall();
	feed->buf.limit = MESSAGE_MAX;
	if (node->self->opt.monitor.feed[0] != '\0') {
		rc = open_socket(feed, fault);
		if (rc < 0)
			return rc;
	}
	*ret = w_steal(&feed);
	return W_OK;
}

void
mon_feed_close(struct mon_feed **feed)
{
	struct mon_feed *f = w_steal(feed);

	if (f == NULL)
		return;
	w_timer_fini(&f->timer);
	w_zsock_remove(&f->zsock);
	mon_peers_close(&f->peers);
	if (f->socket != NULL)
		zmq_close(f->socket);
	for (unsigned i = 0; i < f->topic_count; i++)
		free(f->topics[i].name);
	free(f->topics);
	w_buf_fini(&f->buf);
	free(f);
}
