/*
 * A node while it runs: workers, signals, drain.
 *
 *	STARTING --all workers started and ready()--> UP
 *	STARTING, UP --SIGTERM, SIGINT, w_node_end()--> DRAINING
 *	DRAINING --all workers done, drain_timeout, second signal--> loops stop
 *	STARTING --a worker failed--> loops stop
 *
 * Workers tell the control thread of their steps by w_loop_call(), so all that is counted
 * here is counted by one thread.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/node_inner.h"

#define READY_EVERY (100 * W_MSEC)

static void
report_now(struct w_node *node)
{
	if (node->inner->publisher != NULL)
		w_publisher_send(node->inner->publisher);
}

void
w_node_report_now(struct w_node *node)
{
	if (node->inner->publisher != NULL)
		w_publisher_hurry(node->inner->publisher);
}

/* ---- stopping ---- */

static void
stop_loop(void *loop)
{
	w_loop_stop(loop);
}

void
w__node_stop_loops(struct w_node *node)
{
	struct w_node_inner *inner = node->inner;

	if (inner->stopping)
		return;
	inner->stopping = true;
	for (unsigned i = 0; i < inner->threads; i++)
		w_loop_call(&node->workers[i].loop, stop_loop, &node->workers[i].loop);
	w_loop_stop(&node->loop);
}

static void
check_done(struct w_node *node)
{
	if (node->state == W_DRAINING && node->inner->done >= node->worker_count)
		w__node_stop_loops(node);
}

static void
on_worker_done(void *arg)
{
	struct w_worker *worker = arg;

	worker->node->inner->done++;
	check_done(worker->node);
}

void
w_worker_done(struct w_worker *worker)
{
	if (worker->done)
		return;
	worker->done = true;
	w_loop_call(&worker->node->loop, on_worker_done, worker);
}

static void
drain_worker(void *arg)
{
	struct w_worker *worker = arg;

	if (worker->node->ops->worker_drain != NULL)
		worker->node->ops->worker_drain(worker);
	else
		w_worker_done(worker);
}

static void
on_drain_timeout(void *arg)
{
	struct w_node *node = arg;

	w_log(W_WARN, "", "drain-timeout", "workers=%u done=%u", node->worker_count,
	    node->inner->done);
	w__node_stop_loops(node);
}

static void
drain(struct w_node *node)
{
	struct w_timer *timer = &node->inner->drain_timer;

	node->state = W_DRAINING;
	w_timer_stop(&node->inner->ready_timer);
	w_log(W_INFO, "", "draining", "timeout=%lldms",
	    (long long)(node->cluster->opt.drain_timeout / W_MSEC));
	report_now(node);
	for (unsigned i = 0; i < node->worker_count; i++)
		w_loop_call(&node->workers[i].loop, drain_worker, &node->workers[i]);
	timer->fire = on_drain_timeout;
	timer->arg = node;
	w_timer_start(&node->loop, timer, node->cluster->opt.drain_timeout, 0);
	check_done(node);
}

void
w_node_end(struct w_node *node, int status)
{
	if (status != 0)
		node->inner->status = status;
	if (node->state != W_DRAINING)
		drain(node);
}

/* ---- starting ---- */

static void
check_up(void *arg)
{
	struct w_node *node = arg;

	if (node->state != W_STARTING || node->inner->up < node->worker_count)
		return;
	if (node->ops->ready != NULL && !node->ops->ready(node))
		return;
	if (node->state != W_STARTING) /* ready() may have ended the node */
		return;
	node->state = W_UP;
	w_timer_stop(&node->inner->ready_timer);
	w_log(W_INFO, "", "up", "pid=%d workers=%u", (int)getpid(), node->worker_count);
	report_now(node);
}

static void
on_worker_up(void *arg)
{
	struct w_worker *worker = arg;

	worker->node->inner->up++;
	check_up(worker->node);
}

struct worker_fault {
	struct w_worker *worker;
	struct w_fault fault;
};

static void
on_worker_failed(void *arg)
{
	struct worker_fault *failed = arg;
	struct w_node *node = failed->worker->node;
	char quoted[1100];

	w_log(W_ERROR, "", "start-failed", "worker=%u why=%s", failed->worker->index,
	    w_log_quote(w_view_of(failed->fault.text), quoted, sizeof(quoted)));
	node->inner->status = 1;
	free(failed);
	w__node_stop_loops(node);
}

static void *
run_worker(void *arg)
{
	struct w_worker *worker = arg;
	struct w_node *node = worker->node;
	struct worker_fault *failed = w_xcalloc(1, sizeof(*failed));
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", worker->index % 1000000);
	pthread_setname_np(pthread_self(), name);
	if (node->ops->worker_start(worker, &failed->fault) < 0) {
		failed->worker = worker;
		w_loop_call(&node->loop, on_worker_failed, failed);
		return NULL;
	}
	free(failed);
	w_watchdog_watch(node->inner->dog, &worker->loop, pthread_self(), name);
	w_loop_call(&node->loop, on_worker_up, worker);
	w_loop_run(&worker->loop);
	if (node->ops->worker_stop != NULL)
		node->ops->worker_stop(worker);
	return NULL;
}

/* Signals are the control thread's, but for the watchdog's and those of our own mistakes. */
static void
block_signals(sigset_t *before)
{
	static const int open[] = {
	    SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF};
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < W_NELEM(open); i++)
		sigdelset(&set, open[i]);
	pthread_sigmask(SIG_SETMASK, &set, before);
}

int
w__node_start_workers(struct w_node *node, struct w_fault *fault)
{
	struct w_node_inner *inner = node->inner;
	sigset_t before;
	int err = 0;

	block_signals(&before);
	while (err == 0 && inner->threads < node->worker_count) {
		struct w_worker *worker = &node->workers[inner->threads];

		err = pthread_create(&worker->thread, NULL, run_worker, worker);
		if (err == 0)
			inner->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != 0)
		return w_fail(
		    fault, -W_EIO, "no thread for worker %u: %s", inner->threads, strerror(err));

	inner->ready_timer.fire = check_up;
	inner->ready_timer.arg = node;
	w_timer_start(&node->loop, &inner->ready_timer, 0, READY_EVERY);
	return W_OK;
}

/* ---- reload ---- */

static void
take_cluster(struct w_node *node, struct w_cluster *cluster, const struct w_member *self)
{
	struct w_node_inner *inner = node->inner;

	/* Workers may still look at the old one, and options point into it. */
	inner->old = w_xrealloc(inner->old, (inner->old_count + 1) * sizeof(*inner->old));
	inner->old[inner->old_count++] = node->cluster;
	__atomic_store_n(&node->cluster, cluster, __ATOMIC_RELEASE);
	__atomic_store_n(&node->self, self, __ATOMIC_RELEASE);
}

static int
reload(struct w_node *node, struct w_fault *fault)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	const struct w_member *self;
	int rc;

	/* The absolute path: the one that was given may have meant another folder. */
	rc = w_cluster_load(node->cluster->path, &cluster, fault);
	if (rc == W_OK)
		rc = w__node_find_self(cluster, node->ops, node->inner->args.name, &self, fault);
	if (rc < 0)
		return rc;
	rc = w_zap_reload(node->zap, cluster, fault);
	if (rc < 0)
		return rc;
	take_cluster(node, w_steal(&cluster), self);
	return node->ops->reload != NULL ? node->ops->reload(node, fault) : W_OK;
}

/* ---- signals ---- */

static void
on_end_signal(uv_signal_t *handle, int number)
{
	struct w_node *node = handle->data;

	w_loop_enter(&node->loop);
	if (node->state != W_DRAINING) {
		w_log(W_INFO, "", "signal", "name=%s", number == SIGINT ? "SIGINT" : "SIGTERM");
		w_node_end(node, 0);
		return;
	}
	w_log(W_WARN, "", "signal", "name=%s again=true workers=%u done=%u",
	    number == SIGINT ? "SIGINT" : "SIGTERM", node->worker_count, node->inner->done);
	w__node_stop_loops(node);
}

static void
on_reload_signal(uv_signal_t *handle, int number W_UNUSED)
{
	struct w_node *node = handle->data;
	struct w_fault fault = {0};
	char quoted[1100];

	w_loop_enter(&node->loop);
	/* Before the node is up there is nothing to reload into, and at the end nothing to gain. */
	if (node->state != W_UP) {
		w_log(W_WARN, "", "reload-ignored", "state=%s", w__node_state(node));
		return;
	}
	if (reload(node, &fault) == W_OK)
		w_log(W_INFO, "", "reloaded", "file=%s", node->cluster->path);
	else
		w_log(W_ERROR, "", "reload-failed", "why=%s",
		    w_log_quote(w_view_of(fault.text), quoted, sizeof(quoted)));
}

/* Whoever started us holds the other end; what comes is thrown away, the end ends us. */
static void
on_lifeline(uv_poll_t *poll, int status, int events W_UNUSED)
{
	struct w_node *node = poll->data;
	char bytes[256];
	ssize_t got = status == 0 ? read(STDIN_FILENO, bytes, sizeof(bytes)) : 0;

	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	w_loop_enter(&node->loop);
	uv_poll_stop(poll);
	w_log(W_INFO, "", "supervisor-gone", "input=closed");
	w_node_end(node, 0);
}

static void
hook_lifeline(struct w_node *node)
{
	uv_poll_t *poll = &node->inner->lifeline;

	if (!node->inner->args.supervised)
		return;
	poll->data = node;
	if (uv_poll_init(&node->loop.uv, poll, STDIN_FILENO) < 0 ||
	    uv_poll_start(poll, UV_READABLE | UV_DISCONNECT, on_lifeline) < 0)
		w_log(W_WARN, "", "not-supervised", "why=\"standard input is no pipe\"");
}

void
w__node_hook(struct w_node *node)
{
	static const struct {
		int number;
		uv_signal_cb run;
	} table[] = {{SIGTERM, on_end_signal}, {SIGINT, on_end_signal}, {SIGHUP, on_reload_signal}};

	for (size_t i = 0; i < W_NELEM(table); i++) {
		uv_signal_t *handle = &node->inner->signals[i];

		uv_signal_init(&node->loop.uv, handle);
		handle->data = node;
		uv_signal_start(handle, table[i].run, table[i].number);
	}
	hook_lifeline(node);
}

void
w__node_unhook(struct w_node *node)
{
	for (size_t i = 0; i < W_NELEM(node->inner->signals); i++)
		uv_close((uv_handle_t *)&node->inner->signals[i], NULL);
	if (uv_handle_get_loop((uv_handle_t *)&node->inner->lifeline) != NULL)
		uv_close((uv_handle_t *)&node->inner->lifeline, NULL);
	/* libuv puts the default back; now that all is ending, nobody needs to end it. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	w_timer_fini(&node->inner->ready_timer);
	w_timer_fini(&node->inner->drain_timer);
}
