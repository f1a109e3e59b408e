/*
 * What the files of a node's life share; nobody else includes this.
 */
#ifndef WEIR_COMMON_NODE_INNER_H
#define WEIR_COMMON_NODE_INNER_H

#include "common/node.h"
#include "common/publish.h"
#include "common/watchdog.h"

struct node_args {
	const char *config, *name;
	int log_level; /* enum w_level, or -1: as the cluster file says */
	bool supervised;
};

struct w_node_inner {
	struct node_args args;
	struct w_publisher *publisher;
	struct w_watchdog *dog;
	uv_signal_t signals[3]; /* SIGTERM, SIGINT, SIGHUP */
	uv_poll_t lifeline;	/* standard input, when supervised */
	struct w_timer ready_timer, drain_timer;
	unsigned threads;  /* that were started, in the order of the workers */
	unsigned up, done; /* workers: started; drained */
	unsigned metrics;  /* id of the first of the node's own */
	int status;
	bool prepared;		/* so finish() is owed */
	bool stopping;		/* the loops have been told to stop */
	bool down;		/* nothing runs any more: what the last report says */
	struct w_cluster **old; /* clusters from before a reload; they live on */
	size_t old_count;
};

/* -1: go on with ret; else the exit status: all was said already. */
int w__node_args(int argc, char **argv, const struct w_role_ops *ops, struct node_args *ret);
/* Copy figures that are kept elsewhere into the node's meter. */
void w__node_measure(struct w_node *node);
/* "starting", "up", "draining", "down" */
const char *w__node_state(const struct w_node *node);

/* The node of that name and role. Errors: -W_ENOTFOUND, -W_EINVAL another role. */
int w__node_find_self(const struct w_cluster *cluster, const struct w_role_ops *ops,
    const char *name, const struct w_member **ret, struct w_fault *fault);
/* Signals and timers of the control loop; unhook before the loop ends. */
void w__node_hook(struct w_node *node);
void w__node_unhook(struct w_node *node);
int w__node_start_workers(struct w_node *node, struct w_fault *fault); /* Errors: -W_EIO */
/* Tell all loops, the control thread's included, to stop. Twice is harmless. */
void w__node_stop_loops(struct w_node *node);

#endif
