/*
 * A worker of the balancer: its listeners, connections, link and edge.
 *
 * Threads: all of it belongs to the worker's thread, but for node->config (see node.h).
 */
#ifndef WEIR_BALANCER_WORKER_H
#define WEIR_BALANCER_WORKER_H

#include "balancer/edge.h"
#include "common/node.h"

#define BAL_LISTENERS_MAX 8
#define BAL_LINGER_SIZE (64 * 1024)

struct bal_worker;

struct bal_listener {
	uv_poll_t *poll; /* heap, so that closing may finish later; NULL when closed */
	int fd;
	bool tls;
	struct bal_worker *worker;
};

/* What all workers of the process share. */
struct bal_node {
	_Atomic(struct bal_config *) config; /* the latest; older ones are linked behind it */
	unsigned metrics, parse_metrics, link_metrics;
	unsigned worker_count;
	struct bal_board *boards; /* one per worker */
};

struct bal_worker {
	struct bal_edge edge;
	struct w_worker *base;
	struct bal_node *node;
	struct lnk_hub *hub;
	struct bal_listener listeners[BAL_LISTENERS_MAX];
	unsigned listener_count;
	struct w_list connections; /* of struct bal_conn */
	struct w_list dirty;       /* connections to look at at the end of this turn */
	unsigned connection_count, connection_max;
	struct w_turn turn;
	struct w_timer wheel_timer, board_timer, accept_timer;
	w_usec wheel_due; /* when wheel_timer fires */
	int spare_fd;     /* given up for a moment to close what there is no descriptor for */
	bool done;
};

int bal_worker_start(struct w_worker *base, struct bal_node *node, struct w_fault *fault);
void bal_worker_drain(struct bal_worker *worker);
void bal_worker_stop(struct bal_worker **worker);
/* Draining and nothing left: tell the node. */
void bal_worker_check_done(struct bal_worker *worker);

/* Bind and listen on the addresses of the options. Errors: -W_EINVAL, -W_EIO. */
int bal_listen(struct bal_worker *worker, const char *addr, bool tls, struct w_fault *fault);
void bal_listeners_close(struct bal_worker *worker);

#endif
