/*
 * A worker's life: see worker.h.
 *
 *	turn: events -> link callbacks -> [W_TURN_LINK: batches go] -> [W_TURN_CLIENTS: settle]
 */
#include "balancer/worker.h"

#include <fcntl.h>
#include <unistd.h>

#include "balancer/conn.h"
#include "balancer/exchange.h"
#include "common/log.h"

/* ---- the link's calls ---- */

static void
on_peer_up(struct lnk_peer *link, void *arg)
{
	struct bal_worker *worker = arg;
	struct bal_peer *peer =
	    bal_edge_peer_up(&worker->edge, link, lnk_peer_name(link), lnk_peer_worker(link));

	lnk_peer_set_arg(link, peer);
	bal_sched_pump(&worker->edge.sched);
}

static void
on_peer_down(struct lnk_peer *link, int err W_UNUSED, void *arg)
{
	struct bal_worker *worker = arg;
	struct bal_peer *peer = lnk_peer_arg(link);

	lnk_peer_set_arg(link, NULL);
	bal_edge_peer_down(&worker->edge, &peer);
}

static void
on_peer_credit(struct lnk_peer *link W_UNUSED, void *arg)
{
	struct bal_worker *worker = arg;

	bal_sched_pump(&worker->edge.sched);
}

static const struct lnk_hub_ops hub_ops = {
	.stream = {
		.data = bal_exchange_on_data,
		.writable = bal_exchange_on_writable,
		.closed = bal_exchange_on_closed,
	},
	.peer_up = on_peer_up,
	.peer_down = on_peer_down,
	.peer_credit = on_peer_credit,
	.response = bal_exchange_on_response,
};

/* ---- turns and timers ---- */

static void
on_wheel(void *arg)
{
	struct bal_worker *worker = arg;

	worker->wheel_due = W_NEVER;
	bal_wheel_run(&worker->edge.wheel, w_loop_enter(&worker->base->loop));
}

static void
set_wheel_timer(struct bal_worker *worker)
{
	w_usec due = bal_wheel_next(&worker->edge.wheel);

	if (due >= worker->wheel_due)
		return;
	worker->wheel_due = due;
	w_timer_start(&worker->base->loop, &worker->wheel_timer,
	    W_MAX(due - bal_now(&worker->edge), 0), 0);
}

static void
settle_all(struct bal_worker *worker)
{
	struct w_list *node;

	while ((node = w_list_shift(&worker->dirty)) != NULL)
		bal_conn_settle(w_list_entry(node, struct bal_conn, dirty));
}

static void
on_turn(void *arg)
{
	struct bal_worker *worker = arg;

	worker->edge.config = atomic_load_explicit(&worker->node->config, memory_order_acquire);
	bal_wheel_run(&worker->edge.wheel, bal_now(&worker->edge));
	settle_all(worker);
	set_wheel_timer(worker);
}

static void
on_board(void *arg)
{
	struct bal_worker *worker = arg;

	bal_edge_board(&worker->edge);
}

/* ---- life ---- */

static int
start_link(struct bal_worker *worker, struct w_fault *fault)
{
	struct w_worker *base = worker->base;
	struct lnk_hub_config config = {
		.zmq = base->node->zmq,
		.loop = &base->loop,
		.keys = base->node->keys,
		.address = bal_opt(&worker->edge)->link,
		.worker = base->index,
		.workers = worker->node->worker_count,
		.meter = base->meter,
		.metrics = worker->node->link_metrics,
		.ops = &hub_ops,
		.arg = worker,
	};

	return lnk_hub_new(&config, &worker->hub, fault);
}

static int
start_listeners(struct bal_worker *worker, struct w_fault *fault)
{
	const struct w_balancer_options *opt = bal_opt(&worker->edge);
	int rc = W_OK;

	if (opt->https[0] != '\0')
		rc = bal_listen(worker, opt->https, true, fault);
	if (rc == W_OK && opt->http[0] != '\0')
		rc = bal_listen(worker, opt->http, false, fault);
	return rc;
}

static void
init_worker(struct bal_worker *worker, struct w_worker *base, struct bal_node *node)
{
	struct bal_edge *edge = &worker->edge;

	worker->base = base;
	worker->node = node;
	worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	worker->wheel_due = W_NEVER;
	w_list_init(&worker->connections);
	w_list_init(&worker->dirty);
	base->loop.now = w_now();
	bal_edge_init(edge, &bal_backend_link, &base->loop.now, base->node->self->name);
	edge->config = atomic_load_explicit(&node->config, memory_order_acquire);
	edge->meter = base->meter;
	edge->metrics = node->metrics;
	edge->parse_metrics = node->parse_metrics;
	edge->board = &node->boards[base->index];
	worker->connection_max = (unsigned)((bal_opt(edge)->max_connections + node->worker_count - 1) /
	    node->worker_count);
	w_turn_add(&base->loop, &worker->turn, W_TURN_CLIENTS, on_turn, worker);
	worker->wheel_timer.fire = on_wheel;
	worker->wheel_timer.arg = worker;
	worker->board_timer.fire = on_board;
	worker->board_timer.arg = worker;
	w_timer_start(&base->loop, &worker->board_timer, W_SEC, W_SEC);
}

int
bal_worker_start(struct w_worker *base, struct bal_node *node, struct w_fault *fault)
{
	struct bal_worker *worker = w_xcalloc(1, sizeof(*worker));
	int rc;

	init_worker(worker, base, node);
	/* worker_stop undoes a start that failed half-way, too. */
	base->role = worker;
	rc = start_link(worker, fault);
	if (rc == W_OK)
		rc = start_listeners(worker, fault);
	return rc;
}

void
bal_worker_check_done(struct bal_worker *worker)
{
	if (!worker->edge.draining || worker->connection_count > 0 || worker->done)
		return;
	worker->done = true;
	w_worker_done(worker->base);
}

void
bal_worker_drain(struct bal_worker *worker)
{
	struct w_list *pos, *tmp;

	worker->edge.draining = true;
	bal_listeners_close(worker);
	w_list_each_safe(pos, tmp, &worker->connections)
		bal_conn_drain(w_list_entry(pos, struct bal_conn, node));
	bal_worker_check_done(worker);
}

void
bal_worker_stop(struct bal_worker **ptr)
{
	struct bal_worker *worker = w_steal(ptr);

	if (worker == NULL)
		return;
	worker->done = true;
	bal_listeners_close(worker);
	while (!w_list_empty(&worker->connections))
		bal_conn_destroy(w_list_entry(worker->connections.next, struct bal_conn, node));
	lnk_hub_free(&worker->hub);
	w_turn_remove(&worker->turn);
	w_timer_fini(&worker->wheel_timer);
	w_timer_fini(&worker->board_timer);
	bal_edge_fini(&worker->edge);
	w_close(&worker->spare_fd);
	/* Closed connections are freed by libuv, from their own memory; the worker's is not used. */
	free(worker);
}
