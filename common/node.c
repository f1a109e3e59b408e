/*
 * The life of a node, from its arguments to its exit status. This file holds the way up and
 * the way down; node_run.c holds what happens in between.
 */
#include "common/node.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "common/log.h"
#include "common/node_inner.h"

#define STALL_LIMIT (50 * W_MSEC)
#define URGENT (-10)           /* nice value of urgent roles */
#define SOCKETS_MAX 16384     /* ZeroMQ sockets in the process */
#define JOIN_WAIT (5 * W_SEC) /* for a worker whose loop was told to stop */
#define TERM_WAIT (2 * W_SEC) /* for ZeroMQ to send what is left */

/* clang-format off */
#define NODE_METRICS(X) \
	X(NODE_STALLS,   COUNTER, "weir_loop_stalls_total", "", "Turns of an event loop that took longer than 50 ms.") \
	X(NODE_TURNS,    COUNTER, "weir_loop_turns_total", "", "Turns of the workers' event loops.") \
	X(NODE_ADMITTED, COUNTER, "weir_zap_accepted_total", "", "CURVE clients admitted.") \
	X(NODE_REFUSED,  COUNTER, "weir_zap_refused_total", "", "CURVE clients refused.") \
	X(NODE_WORKERS,  GAUGE,   "weir_workers", "", "Worker threads.")
/* clang-format on */

enum { NODE_METRICS(W_METRIC_ENUM) NODE_METRIC_COUNT };
static const struct w_metric metrics_table[] = {NODE_METRICS(W_METRIC_DEF)};

void
w__node_measure(struct w_node *node)
{
	unsigned base = node->inner->metrics;
	uint64_t turns = 0;

	for (unsigned i = 0; i < node->worker_count; i++)
		turns +=
		    atomic_load_explicit(&node->workers[i].loop.turns_run, memory_order_relaxed);
	w_meter_set(node->meter, base + NODE_TURNS, (int64_t)turns);
	if (node->inner->dog != NULL)
		w_meter_set(
		    node->meter, base + NODE_STALLS, (int64_t)w_watchdog_stalls(node->inner->dog));
	w_meter_set(node->meter, base + NODE_ADMITTED, (int64_t)w_zap_accepted(node->zap));
	w_meter_set(node->meter, base + NODE_REFUSED, (int64_t)w_zap_refused(node->zap));
	w_meter_set(node->meter, base + NODE_WORKERS, node->worker_count);
	w_metrics_host(node->metrics);
}

const char *
w__node_state(const struct w_node *node)
{
	static const char *const names[] = {
	    [W_STARTING] = "starting", [W_UP] = "up", [W_DRAINING] = "draining"};

	return node->inner->down ? "down" : names[node->state];
}

/* ---- the way up ---- */

static void
list_members(const struct w_cluster *cluster, enum w_role role, struct w_buf *out)
{
	for (unsigned i = 0; i < w_cluster_count(cluster, role); i++)
		w_buf_printf(out, "%s%s", i > 0 ? ", " : "", w_cluster_nth(cluster, role, i)->name);
	if (out->len == 0)
		w_buf_text(out, "none");
	w_buf_char(out, '\0');
}

int
w__node_find_self(const struct w_cluster *cluster, const struct w_role_ops *ops, const char *name,
    const struct w_member **ret, struct w_fault *fault)
{
	const struct w_member *self = w_cluster_find(cluster, w_view_of(name));
	W_AUTO(w_buf_fini) struct w_buf names = {0};

	if (self != NULL && self->role == ops->role) {
		*ret = self;
		return W_OK;
	}
	list_members(cluster, ops->role, &names);
	if (self == NULL)
		return w_fail(fault, -W_ENOTFOUND, "%s: no node is called '%s'; %ss are: %s",
		    cluster->path, name, w_role_name(ops->role), names.ptr);
	return w_fail(fault, -W_EINVAL, "%s: '%s' is a %s, not a %s; %ss are: %s", cluster->path,
	    name, w_role_name(self->role), w_role_name(ops->role), w_role_name(ops->role),
	    names.ptr);
}

static void
start_log(const struct w_node *node)
{
	static const char *const levels[] = {
	    [W_DEBUG] = "debug", [W_INFO] = "info", [W_WARN] = "warn", [W_ERROR] = "error"};
	enum w_level least = W_INFO;

	for (size_t i = 0; i < W_NELEM(levels); i++)
		if (strcmp(node->cluster->opt.log_level, levels[i]) == 0)
			least = (enum w_level)i;
	if (node->inner->args.log_level >= 0)
		least = (enum w_level)node->inner->args.log_level;
	w_log_init(node->self->name, least, strcmp(node->cluster->opt.log_format, "json") == 0);
}

static unsigned
core_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return W_MAX(1u, (unsigned)CPU_COUNT(&set));
}

static unsigned
count_workers(const struct w_node *node)
{
	uint64_t wanted = 1;

	if (node->ops->worker_start == NULL)
		return 0;
	if (node->self->role == W_BALANCER)
		wanted = node->self->opt.balancer.workers;
	else if (node->self->role == W_SERVER)
		wanted = node->self->opt.server.workers;
	return wanted > 0 ? (unsigned)wanted : core_count();
}

/* Descriptors as many as the system lets us have; a connection needs one. */
static void
raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == files.rlim_max)
		return;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		w_log(W_WARN, "", "limit-not-raised", "limit=nofile why=\"%s\"", strerror(errno));
}

static int
open_zmq(struct w_node *node, struct w_fault *fault)
{
	node->zmq = zmq_ctx_new();
	if (node->zmq == NULL)
		return w_fail(
		    fault, -W_EIO, "ZeroMQ does not start: %s", zmq_strerror(zmq_errno()));
	zmq_ctx_set(node->zmq, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
	zmq_ctx_set(node->zmq, ZMQ_IO_THREADS, 1);
	if (!zmq_has("curve"))
		return w_fail(
		    fault, -W_EIO, "this libzmq is built without CURVE, which Weir needs");
	return W_OK;
}

static int
make_workers(struct w_node *node, struct w_fault *fault)
{
	unsigned wanted = count_workers(node);

	node->workers = w_xcalloc(wanted + 1, sizeof(*node->workers));
	for (; node->worker_count < wanted; node->worker_count++) {
		struct w_worker *worker = &node->workers[node->worker_count];

		worker->node = node;
		worker->index = node->worker_count;
		if (w_loop_init(&worker->loop) < 0)
			return w_fail(fault, -W_EIO, "no event loop for worker %u: %s",
			    worker->index, strerror(errno));
	}
	return W_OK;
}

static void
make_meters(struct w_node *node)
{
	for (unsigned i = 0; i < node->worker_count; i++)
		node->workers[i].meter = w_metrics_meter(node->metrics, i);
	node->meter = w_metrics_meter(node->metrics, node->worker_count);
}

static int
prepare(struct w_node *node, struct w_fault *fault)
{
	struct w_node_inner *inner = node->inner;
	int rc;

	node->metrics = w_metrics_new(node->worker_count);
	inner->metrics = w_metrics_add(node->metrics, metrics_table, NODE_METRIC_COUNT);
	rc = node->ops->prepare != NULL ? node->ops->prepare(node, fault) : W_OK;
	if (rc < 0)
		return rc;
	inner->prepared = true;
	make_meters(node);
	rc = w_publisher_start(node, &inner->publisher, fault);
	if (rc < 0)
		return rc;
	if (w_watchdog_start(STALL_LIMIT, &inner->dog) < 0)
		return w_fail(fault, -W_EIO, "no thread for the watchdog: %s", strerror(errno));
	w_watchdog_watch(inner->dog, &node->loop, pthread_self(), "control");
	return W_OK;
}

static int
set_up(struct w_node *node, struct w_fault *fault)
{
	int rc;

	raise_limits();
	rc = w_keys_load(node->cluster->opt.keys, node->self->name, &node->keys, fault);
	if (rc == W_OK)
		rc = open_zmq(node, fault);
	/* ZAP before any bind: without it libzmq would let everybody in. */
	if (rc == W_OK)
		rc = w_zap_start(node->zmq, &node->loop, node->cluster, &node->zap, fault);
	if (rc == W_OK)
		rc = make_workers(node, fault);
	if (rc == W_OK)
		rc = prepare(node, fault);
	return rc;
}

/* ---- the way down ---- */

static struct timespec
wall_after(w_usec wait)
{
	w_usec at = w_wall() + wait;

	return (struct timespec){at / W_SEC, (at % W_SEC) * 1000};
}

/* A worker that does not come back would keep the process for ever: leave without it. */
static void
join_workers(struct w_node *node)
{
	struct timespec until = wall_after(JOIN_WAIT);

	for (unsigned i = 0; i < node->inner->threads; i++) {
		struct w_worker *worker = &node->workers[i];

		w_watchdog_forget(node->inner->dog, &worker->loop);
		if (pthread_timedjoin_np(worker->thread, NULL, &until) == 0)
			continue;
		w_log(W_ERROR, "", "worker-stuck", "worker=%u waited=%llds exit=at-once", i,
		    (long long)(JOIN_WAIT / W_SEC));
		_exit(1);
	}
}

static void *
term_zmq(void *context)
{
	zmq_ctx_term(context);
	return NULL;
}

/* Waits for sockets' last messages; a socket that was left open would make it wait for ever. */
static void
close_zmq(struct w_node *node)
{
	struct timespec until = wall_after(TERM_WAIT);
	pthread_t thread;

	if (node->zmq == NULL || pthread_create(&thread, NULL, term_zmq, node->zmq) != 0)
		return;
	if (pthread_timedjoin_np(thread, NULL, &until) == 0)
		return;
	w_log(W_WARN, "", "sockets-left-open", "exit=at-once");
	_exit(node->inner->status);
}

static void
tear_down(struct w_node *node)
{
	struct w_node_inner *inner = node->inner;

	join_workers(node);
	if (inner->dog != NULL)
		w_watchdog_forget(inner->dog, &node->loop);
	if (inner->prepared && node->ops->finish != NULL)
		node->ops->finish(node);
	inner->down = true;
	if (inner->publisher != NULL)
		w_publisher_send(inner->publisher);
	w_publisher_stop(&inner->publisher);
	w_watchdog_stop(&inner->dog);
	for (unsigned i = 0; i < node->worker_count; i++)
		w_loop_fini(&node->workers[i].loop);
	w_zap_stop(&node->zap);
	w__node_unhook(node);
	w_loop_fini(&node->loop);
	close_zmq(node);
}

static void
free_node(struct w_node *node)
{
	struct w_node_inner *inner = node->inner;

	w_metrics_free(&node->metrics);
	w_keys_free(&node->keys);
	for (size_t i = 0; i < inner->old_count; i++)
		w_cluster_free(&inner->old[i]);
	w_cluster_free(&node->cluster);
	free(inner->old);
	free(node->workers);
	free(inner);
	free(node);
}

/* ---- the whole life ---- */

static int
start_failed(const struct w_fault *fault)
{
	char quoted[1100];

	w_log(W_ERROR, "", "start-failed", "why=%s",
	    w_log_quote(w_view_of(fault->text), quoted, sizeof(quoted)));
	return 1;
}

static int
live(struct w_node *node)
{
	struct w_fault fault = {0};
	bool ok;

	if (w_loop_init(&node->loop) < 0) {
		w_log(W_ERROR, "", "start-failed", "why=\"no event loop: %s\"", strerror(errno));
		return 1;
	}
	w__node_hook(node);
	ok = set_up(node, &fault) == W_OK && w__node_start_workers(node, &fault) == W_OK;
	if (ok)
		w_loop_run(&node->loop);
	else
		node->inner->status = start_failed(&fault);
	w__node_stop_loops(node);
	tear_down(node);
	w_log(W_INFO, "", "down", "pid=%d status=%d", (int)getpid(), node->inner->status);
	return node->inner->status;
}

/* Until the log knows how to write, faults go to people. */
static int
load(struct w_node *node)
{
	const struct node_args *args = &node->inner->args;
	struct w_fault fault = {0};
	int rc;

	rc = w_cluster_load(args->config, &node->cluster, &fault);
	if (rc == W_OK)
		rc = w__node_find_self(node->cluster, node->ops, args->name, &node->self, &fault);
	if (rc == W_OK)
		return 0;
	fprintf(stderr, "%s: %s\n", node->ops->program, fault.text);
	return 1;
}

/* ---- priority ---- */

/* This thread's, and that of all that it starts. It is a help, so it is no error that it is not allowed. */
static void
hurry(const struct w_node *node)
{
	if (node->ops->urgent && setpriority(PRIO_PROCESS, 0, URGENT) < 0)
		w_log(W_DEBUG, "", "not-urgent", "why=\"%s\"", strerror(errno));
}

void
w_node_calm(int pid)
{
	if (getpriority(PRIO_PROCESS, (id_t)pid) == URGENT && setpriority(PRIO_PROCESS, (id_t)pid, 0) < 0)
		w_log(W_WARN, "", "child-urgent", "pid=%d why=\"%s\"", pid, strerror(errno));
}

int
w_node_main(int argc, char **argv, const struct w_role_ops *ops)
{
	struct node_args args;
	struct w_node *node;
	int status = w__node_args(argc, argv, ops, &args);

	if (status >= 0)
		return status;
	node = w_xcalloc(1, sizeof(*node));
	node->ops = ops;
	node->inner = w_xcalloc(1, sizeof(*node->inner));
	node->inner->args = args;

	status = load(node);
	if (status == 0) {
		start_log(node);
		signal(SIGPIPE, SIG_IGN);
		hurry(node);
		status = live(node);
	}
	free_node(node);
	return status;
}
