/*
 * Reports: once a second the control thread sends one PUB message to every monitor of the
 * cluster file: a topic frame "report" and a JSON frame.
 *
 *	{"v":1, "node":"server-1", "role":"server", "epoch":<start, us since 1970>, "seq":n,
 *	 "time":<us since 1970>, "pid":n, "state":"starting|up|draining", "interval":1.0,
 *	 ...members of the role's report()..., "metrics":[...]}
 *
 * Values are absolute, so a lost report does no harm. Source: docs/protocol/02-feed.md
 */
#ifndef WEIR_COMMON_PUBLISH_H
#define WEIR_COMMON_PUBLISH_H

#include "common/node.h"

struct w_publisher;

int w_publisher_start(struct w_node *node, struct w_publisher **ret, struct w_fault *fault);
/* Make and send a report now; also called by the publisher's own timer. */
void w_publisher_send(struct w_publisher *publisher);
/* The same, but not twice within W_REPORT_APART: then at the end of it. */
void w_publisher_hurry(struct w_publisher *publisher);
void w_publisher_stop(struct w_publisher **publisher);

#endif
