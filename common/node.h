/*
 * The life of a node process: arguments, cluster file, keys, log, metrics, workers,
 * signals, reports to the monitor, drain and end. Every role's main() is one call.
 *
 *	weir-server --config FILE --name NODE [--log-level LEVEL]
 *	weir-server --help | --version | --print-options
 *
 * The control thread (the process's first) owns signals, ZAP, reports and whatever the role
 * starts in prepare(). Workers own everything else.
 *
 * Order of the callbacks:
 *	prepare            control, no worker runs yet: register metrics, load modules, open files.
 *	                   The meters are made after it, the workers' loops are there already
 *	worker_start       each worker's thread, before its loop runs; 0 or an error ends the process
 *	(loops run)        the node is "up" when all workers have started and ready() says so
 *	tick               control, each second, before the report is made
 *	report             control: members to add to the report's JSON object
 *	reload             control, on SIGHUP: the new cluster file has been checked; the file's keys
 *	                   are reloaded by the node itself. RELOAD options take effect from here
 *	worker_drain       each worker's thread, on SIGTERM or SIGINT: stop accepting, finish, then
 *	                   call w_worker_done() (may be at once). After drain_timeout, or a second
 *	                   signal, it goes on anyway. NULL: nothing to wait for
 *	worker_stop        each worker's thread, after its loop ended: free what worker_start made;
 *	                   not called when worker_start failed
 *	finish             control, all workers gone; not called when prepare failed
 *
 * Only program, role, summary are needed; a callback that is NULL is skipped. A role without
 * worker_start has no workers; one with it has as many as its option `workers` says, one where
 * there is no such option. Workers have all signals blocked but SIGURG, which is the watchdog's.
 */
#ifndef WEIR_COMMON_NODE_H
#define WEIR_COMMON_NODE_H

#include <pthread.h>

#include "common/cluster.h"
#include "common/keys.h"
#include "common/loop.h"
#include "common/metrics.h"

enum w_node_state { W_STARTING, W_UP, W_DRAINING };

struct w_node;

struct w_worker {
	struct w_node *node;
	unsigned index;
	struct w_loop loop;
	struct w_meter *meter;
	void *role; /* what the role's worker_start made */
	pthread_t thread;
	bool done;
};

struct w_role_ops {
	enum w_role role;
	bool urgent;         /* when the machine is busy it comes before others, if it is allowed to (CAP_SYS_NICE) */
	const char *program; /* "weir-server" */
	const char *summary; /* one line for --help */
	int (*prepare)(struct w_node *node, struct w_fault *fault);
	int (*worker_start)(struct w_worker *worker, struct w_fault *fault);
	bool (*ready)(struct w_node *node); /* may be NULL: ready when workers run */
	void (*tick)(struct w_node *node);
	void (*report)(struct w_node *node, struct w_json *json);
	int (*reload)(struct w_node *node, struct w_fault *fault);
	void (*worker_drain)(struct w_worker *worker);
	void (*worker_stop)(struct w_worker *worker);
	void (*finish)(struct w_node *node);
};

struct w_node {
	const struct w_role_ops *ops;
	struct w_cluster *cluster; /* as of the last (re)load; old ones live until the process ends */
	const struct w_member *self; /* workers read these two by the functions below */
	struct w_keys *keys;
	void *zmq;             /* the ZeroMQ context; max sockets raised */
	struct w_zap *zap;
	struct w_loop loop;    /* the control thread's */
	struct w_metrics *metrics;
	struct w_meter *meter; /* the control thread's */
	struct w_worker *workers;
	unsigned worker_count; /* 0 for roles without workers */
	enum w_node_state state;
	void *role;            /* what the role's prepare made */
	struct w_node_inner *inner; /* private */
};

/* The cluster and the node's own member as of the last (re)load. Any thread. */
static inline const struct w_cluster *
w_node_cluster(const struct w_node *node)
{
	return __atomic_load_n(&node->cluster, __ATOMIC_ACQUIRE);
}

static inline const struct w_member *
w_node_self(const struct w_node *node)
{
	return __atomic_load_n(&node->self, __ATOMIC_ACQUIRE);
}

/* A child of an urgent role is not urgent. To be called before it has children of its own. */
void w_node_calm(int pid);

/* Exit status: 0 ended as asked, 1 failed, 2 wrong usage. */
int w_node_main(int argc, char **argv, const struct w_role_ops *ops);

/* From the worker's thread: it has nothing left to do. */
void w_worker_done(struct w_worker *worker);
/*
 * Something in the role's report is worth more than a second's wait: send one now, or as soon as the
 * last that was sent in this way is REPORT_APART old. Control thread; w_loop_call() from others.
 */
#define W_REPORT_APART (20 * W_MSEC)
void w_node_report_now(struct w_node *node);
/* From the control thread: end the node as SIGTERM would. status is the exit status. */
void w_node_end(struct w_node *node, int status);

#endif
