/*
 * Events of a ZeroMQ socket on the loop: connections that stand, connections that broke.
 *
 * A watch reads its own inproc pair. Unlike w_zsock it always reads all there is, so it costs
 * nothing in a turn without events.
 * Source: zmq_socket_monitor(3)
 */
#ifndef WEIR_LINK_MONITOR_H
#define WEIR_LINK_MONITOR_H

#include "common/loop.h"

struct lnk__monitor {
	struct w_loop *loop;
	void *socket; /* that is watched, borrowed */
	void *pair;
	uv_poll_t *poll; /* heap, so that closing may finish later */
	void (*event)(unsigned event, void *arg);
	void *arg;
};

/*
 * Threads  the socket's own
 * Errors   -W_EIO
 */
int lnk__monitor_start(struct lnk__monitor *monitor, void *zmq, void *socket, int events);
/* Before the socket is closed; twice is harmless. All-zero is stopped. Not from event(). */
void lnk__monitor_stop(struct lnk__monitor *monitor);

#endif
