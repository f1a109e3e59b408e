/*
 * The feed: an XPUB socket, numbered messages.
 *
 *	struct w_json *json = mon_feed_begin(feed, "event", NULL);
 *	w_json_key(json, "event"); ...
 *	mon_feed_send(feed);
 *
 * Threads: control. Source: docs/protocol/02-feed.md, sections 5 and 6
 */
#ifndef WEIR_MONITOR_FEED_H
#define WEIR_MONITOR_FEED_H

#include "common/node.h"

#define MON_TOPIC_MAX 200

struct mon_feed;

/*
 * Bind `feed` of the node's member; without one the feed is there and sends nothing.
 * snapshot(arg) is called when one is wanted: it makes and sends it. Errors: -W_EIO
 */
int mon_feed_open(struct w_node *node, void (*snapshot)(void *arg), void *arg,
    struct mon_feed **ret, struct w_fault *fault);
void mon_feed_close(struct mon_feed **feed);

/*
 * Begin a message: topic is kind, or "kind.name". The envelope is written, the object is open for
 * further members. NULL: nobody could get it, there is nothing to do.
 */
struct w_json *mon_feed_begin(struct mon_feed *feed, const char *kind, const char *name);
void mon_feed_send(struct mon_feed *feed);

uint64_t mon_feed_sent(const struct mon_feed *feed);
unsigned mon_feed_connections(const struct mon_feed *feed);

#endif
