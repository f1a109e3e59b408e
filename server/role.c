/*
 * The role of a server: what the process starts once, and what each worker has.
 *
 * On the way down: the balancers are told, the listener closes, requests in service end by
 * themselves; shortly before the node's patience ends, what is left is cut off.
 */
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "server/listen.h"
#include "server/module.h"
#include "server/request.h"
#include "server/server.h"

#define TICK W_SEC
#define EXPIRE_EVERY (10 * W_SEC) /* and up to as much again, so that servers take turns */
#define DRAIN_LOOK (10 * W_MSEC) /* between two looks at what is still in service */
#define LAST_ROUNDS 200          /* of a loop that ends, a few ms each, for handlers to end */
#define FIRST_PROBE (3 * W_SEC)  /* a node is up without its databases after this */

static const struct w_server_options *
own_options(const struct w_node *node)
{
	return &node->self->opt.server;
}

/* ---- witness ---- */

static void
on_witnessed(void *arg)
{
	w_node_report_now(arg);
}

/* Whoever decides about a failover is told at once. On the prober's thread. */
static void
on_topology(const struct dbt_topology *topology, void *arg)
{
	struct srv *srv = arg;
	uint64_t primary = topology->primary >= 0 ?
	    topology->nodes[topology->primary].generation : 0;
	uint64_t sees = primary << 32 | dbt_topology_answering(topology);

	if (sees == srv->witnessed)
		return;
	srv->witnessed = sees;
	w_loop_call(&srv->node->loop, on_witnessed, srv->node);
}

/* ---- the process ---- */

static int
load_modules(struct srv *srv, const struct w_server_options *options, struct w_fault *fault)
{
	srv->modules = w_xcalloc(options->modules.count + 1, sizeof(*srv->modules));
	for (size_t i = 0; i < options->modules.count; i++) {
		int rc = srv__module_load(options->modules.items[i], srv->node->cluster->dir,
		    srv->router, &srv->modules[i], fault);

		if (rc < 0)
			return rc;
		srv->module_count++;
	}
	return W_OK;
}

static int
open_listeners(struct srv *srv, const struct w_server_options *options, struct w_fault *fault)
{
	unsigned count = srv->node->worker_count, port = 0;
	int rc;

	if (options->http[0] == '\0')
		return W_OK;
	srv->listeners = w_xcalloc(count, sizeof(*srv->listeners));
	rc = srv__listen(options->http, count, srv->listeners, &port, fault);
	if (rc < 0) {
		w_free(&srv->listeners);
		return rc;
	}
	w_log(W_INFO, "", "listening", "http=%s port=%u workers=%u", options->http, port, count);
	return W_OK;
}

static void
free_srv(struct srv *srv)
{
	srv__modules_stop(srv->modules, srv->module_count);
	dbt_stop(&srv->dbt);
	srv__router_free(&srv->router);
	for (unsigned i = 0; srv->listeners != NULL && i < srv->node->worker_count; i++)
		w_close(&srv->listeners[i]);
	free(srv->listeners);
	free(srv->modules);
	free(srv);
}

static int
fill_srv(struct srv *srv, struct w_node *node, struct w_fault *fault)
{
	const struct w_server_options *options = own_options(node);
	int rc;

	rc = load_modules(srv, options, fault);
	if (rc == W_OK && w_cluster_count(node->cluster, W_DATABASE) > 0)
		rc = dbt_start(node->cluster, &srv->dbt, fault);
	if (rc == W_OK)
		rc = open_listeners(srv, options, fault);
	if (rc < 0)
		return rc;
	if (srv->dbt != NULL)
		dbt_on_change(srv->dbt, on_topology, srv);
	srv__metrics_add(node->metrics, srv->router, &srv->ids);
	srv->ids.link = lnk_metrics(node->metrics);
	srv->ids.database = dbt_metrics(node->metrics);
	return W_OK;
}

static int
prepare(struct w_node *node, struct w_fault *fault)
{
	struct srv *srv = w_xcalloc(1, sizeof(*srv));
	int rc;

	srv->node = node;
	srv->name = node->self->name;
	srv->started = w_now();
	srv->router = srv__router_new();
	atomic_init(&srv->options, own_options(node));
	rc = fill_srv(srv, node, fault);
	if (rc < 0) {
		free_srv(srv);
		return rc;
	}
	node->role = srv;
	return W_OK;
}

static void
finish(struct w_node *node)
{
	free_srv(node->role);
	node->role = NULL;
}

/* Up when the databases have been looked at once; one that does not answer holds up nobody. */
static bool
ready(struct w_node *node)
{
	struct srv *srv = node->role;
	const struct dbt_topology *topology;

	if (srv->dbt == NULL || w_now() - srv->started > FIRST_PROBE)
		return true;
	topology = dbt_topology_get(srv->dbt);
	for (unsigned i = 0; i < topology->count; i++)
		if (topology->nodes[i].name != NULL && topology->nodes[i].role == DBT_UNKNOWN)
			return false;
	return true;
}

static void
on_reload(void *arg)
{
	struct w_worker *base = arg;
	struct srv_worker *worker = base->role;

	if (worker->dbt != NULL)
		dbt_worker_reload(worker->dbt, srv__options(worker));
	if (worker->spoke != NULL)
		lnk_spoke_reload(worker->spoke, w_node_cluster(base->node));
}

/* Lanes are there from the start on, or never. */
static int
reload_databases(struct srv *srv, const struct w_cluster *cluster, struct w_fault *fault)
{
	if (srv->dbt != NULL)
		return dbt_reload(srv->dbt, cluster, fault);
	if (w_cluster_count(cluster, W_DATABASE) > 0)
		w_log(W_WARN, "", "databases-not-used", "why=\"it was started without any\" restart=yes");
	return W_OK;
}

static int
reload(struct w_node *node, struct w_fault *fault)
{
	struct srv *srv = node->role;
	int rc = reload_databases(srv, node->cluster, fault);

	if (rc < 0)
		return rc;
	atomic_store_explicit(&srv->options, own_options(node), memory_order_release);
	for (unsigned i = 0; i < node->worker_count; i++)
		w_loop_call(&node->workers[i].loop, on_reload, &node->workers[i]);
	return W_OK;
}

/* ---- reports ---- */

static void
report_database(struct w_json *json, const struct dbt_node *database)
{
	w_json_open(json, '{');
	w_json_key(json, "name");
	w_json_text(json, database->name);
	w_json_key(json, "role");
	w_json_text(json, dbt_role_name(database->role));
	w_json_key(json, "fit");
	w_json_bool(json, database->fit);
	w_json_key(json, "timeline");
	w_json_int(json, database->timeline);
	w_json_key(json, "lag_bytes");
	w_json_int(json, (int64_t)database->lag);
	w_json_key(json, "lag_seconds");
	w_json_real(json, (double)database->lag_time / (double)W_SEC);
	w_json_close(json, '}');
}

static void
tick(struct w_node *node)
{
	struct srv *srv = node->role;

	if (srv->dbt != NULL)
		dbt_tick(srv->dbt, node->meter, srv->ids.database);
}

/* Source: docs/protocol/02-feed.md, section 4 */
static void
report_databases(struct w_json *json, const struct dbt_topology *topology)
{
	w_json_key(json, "databases");
	w_json_open(json, '{');
	w_json_key(json, "primary");
	if (topology->primary >= 0)
		w_json_text(json, topology->nodes[topology->primary].name);
	else
		w_json_null(json);
	w_json_key(json, "answering");
	w_json_int(json, dbt_topology_answering(topology));
	w_json_key(json, "nodes");
	w_json_open(json, '[');
	for (unsigned i = 0; i < topology->count; i++)
		if (topology->nodes[i].name != NULL)
			report_database(json, &topology->nodes[i]);
	w_json_close(json, ']');
	w_json_close(json, '}');
}

static void
report(struct w_node *node, struct w_json *json)
{
	struct srv *srv = node->role;

	if (srv->dbt != NULL)
		report_databases(json, dbt_topology_get(srv->dbt));
	w_json_key(json, "modules");
	w_json_open(json, '[');
	for (unsigned i = 0; i < srv->module_count; i++)
		w_json_text(json, srv->modules[i].module->name);
	w_json_close(json, ']');
}

/* ---- a worker ---- */

static unsigned
share(uint64_t all, unsigned workers)
{
	return (unsigned)((all + workers - 1) / workers);
}

/* Old exactly-once keys go, a batch at a time, so that nobody waits for it. */
static void
expire_fiber(void *arg)
{
	struct srv_worker *worker = arg;

	while (!worker->draining && worker->dbt != NULL &&
	    dbt_expire(worker->dbt, srv__options(worker)->reply_ttl) > 0)
		w_fiber_sleep(100 * W_MSEC);
	worker->expiring = false;
}

static void
expire(struct srv_worker *worker)
{
	w_usec now = worker->loop->now;

	if (worker->dbt == NULL || worker->base->index != 0 || worker->expiring ||
	    worker->draining || now < worker->expire_at)
		return;
	worker->expire_at = now + EXPIRE_EVERY + (w_usec)(w_random() % EXPIRE_EVERY);
	worker->expiring = w_fiber_start(worker->fibers, expire_fiber, worker) == W_OK;
}

static void
on_tick(void *arg)
{
	struct srv_worker *worker = arg;
	unsigned own = worker->srv->ids.own;
	struct w_fiber_stats stats;

	w_fibers_stats(worker->fibers, &stats);
	w_meter_set(worker->meter, own + SRV_FIBERS, stats.running);
	w_meter_set(worker->meter, own + SRV_FIBERS_POOLED, stats.pooled);
	w_meter_set(worker->meter, own + SRV_STACK, (int64_t)stats.high_water);
	w_meter_set(worker->meter, own + SRV_IN_FLIGHT, worker->count);
	if (worker->spoke != NULL)
		w_meter_set(worker->meter, own + SRV_BALANCERS, lnk_spoke_peers(worker->spoke));
	srv__direct_tick(worker);
	expire(worker);
}

static bool
has_link(const struct w_cluster *cluster)
{
	for (unsigned i = 0; i < w_cluster_count(cluster, W_BALANCER); i++)
		if (w_cluster_nth(cluster, W_BALANCER, i)->opt.balancer.link[0] != '\0')
			return true;
	return false;
}

static int
start_link(struct srv_worker *worker, struct w_fault *fault)
{
	struct w_node *node = worker->base->node;
	struct lnk_spoke_config config = {
		.zmq = node->zmq,
		.loop = worker->loop,
		.keys = node->keys,
		.node = node->self->name,
		.worker = worker->base->index,
		.workers = node->worker_count,
		.cluster = node->cluster,
		.capacity = share(own_options(node)->capacity, node->worker_count),
		.meter = worker->meter,
		.metrics = worker->srv->ids.link,
		.ops = &srv__link_ops,
		.arg = worker,
	};

	if (!has_link(node->cluster))
		return W_OK;
	return lnk_spoke_new(&config, &worker->spoke, fault);
}

static int
start_lanes(struct srv_worker *worker, struct w_fault *fault)
{
	struct w_node *node = worker->base->node;
	struct dbt_worker_config config = {
		.dbt = worker->srv->dbt,
		.loop = worker->loop,
		.options = own_options(node),
		.meter = worker->meter,
		.metrics = worker->srv->ids.database,
	};

	return config.dbt != NULL ? dbt_worker_new(&config, &worker->dbt, fault) : W_OK;
}

static int
start_direct(struct srv_worker *worker, struct w_fault *fault)
{
	struct w_node *node = worker->base->node;
	int *listener;

	if (worker->srv->listeners == NULL)
		return W_OK;
	/* from here on the library closes it */
	listener = &worker->srv->listeners[worker->base->index];
	return srv__direct_new(worker, listener,
	    share(own_options(node)->max_connections, node->worker_count), fault);
}

static int
start_parts(struct srv_worker *worker, struct w_fault *fault)
{
	struct w_node *node = worker->base->node;
	const struct w_server_options *options = own_options(node);
	int rc;

	if (w_fibers_new(worker->loop, options->fiber_stack,
	    share(options->capacity, node->worker_count), &worker->fibers) < 0)
		return w_fail(fault, -W_EIO, "no memory for fibers");
	rc = start_lanes(worker, fault);
	if (rc == W_OK)
		rc = start_direct(worker, fault);
	/* last: credit goes out with it */
	if (rc == W_OK)
		rc = start_link(worker, fault);
	return rc;
}

/* ---- a worker's end ---- */

/* A connection that has sent no more than its request line is no reason to stay. */
static bool
in_service(const struct srv_request *req)
{
	return req->fiber != NULL || req->stream != NULL || req->direct.connection != NULL;
}

static bool
has_work(const struct srv_worker *worker)
{
	struct w_list *node;

	w_list_each(node, &worker->requests)
		if (in_service(w_list_entry(node, struct srv_request, node)))
			return true;
	return worker->spoke != NULL && lnk_spoke_streams(worker->spoke) > 0;
}

static void
on_drain_look(void *arg)
{
	struct srv_worker *worker = arg;

	if (has_work(worker))
		return;
	w_timer_stop(&worker->drain);
	w_worker_done(worker->base);
}

/* Handlers find their client gone and their time over. */
static void
cut_off(struct srv_worker *worker)
{
	struct w_list *node;

	w_list_each(node, &worker->requests) {
		struct srv_request *req = w_list_entry(node, struct srv_request, node);

		req->cut = true;
		req->deadline = w_now();
		srv__request_wake(req);
	}
}

static void
on_cut(void *arg)
{
	struct srv_worker *worker = arg;

	if (has_work(worker))
		w_log(W_WARN, "", "requests-cut", "worker=%u requests=%u", worker->base->index,
		    worker->count);
	cut_off(worker);
}

static void
worker_drain(struct w_worker *base)
{
	struct srv_worker *worker = base->role;

	worker->draining = true;
	if (worker->spoke != NULL)
		lnk_spoke_drain(worker->spoke);
	srv__direct_drain(worker);
	worker->drain = (struct w_timer){ .fire = on_drain_look, .arg = worker };
	worker->cut = (struct w_timer){ .fire = on_cut, .arg = worker };
	w_timer_start(worker->loop, &worker->drain, 0, DRAIN_LOOK);
	w_timer_start(worker->loop, &worker->cut,
	    base->node->cluster->opt.drain_timeout * 9 / 10, 0);
}

/* The loop has ended, but handlers that still wait must run to their end. */
static unsigned
run_last(struct srv_worker *worker)
{
	struct w_fiber_stats stats;

	for (unsigned i = 0; i < LAST_ROUNDS; i++) {
		uv_run(&worker->loop->uv, UV_RUN_NOWAIT);
		w_fibers_stats(worker->fibers, &stats);
		if (stats.running == 0)
			break;
		usleep(5000);
	}
	return stats.running;
}

static void
free_worker(struct srv_worker *worker)
{
	unsigned left = 0;

	w_timer_fini(&worker->tick);
	w_timer_fini(&worker->drain);
	w_timer_fini(&worker->cut);
	lnk_spoke_free(&worker->spoke);
	cut_off(worker);
	if (worker->fibers != NULL)
		left = run_last(worker);
	srv__direct_free(worker);
	if (left > 0) {
		/* their stacks, and all that they may still use, stay until the process ends */
		w_log(W_WARN, "", "handlers-left", "count=%u", left);
		return;
	}
	dbt_worker_free(&worker->dbt);
	if (worker->fibers != NULL)
		w_fibers_free(&worker->fibers);
	srv__worker_fini(worker);
	free(worker);
}

static int
worker_start(struct w_worker *base, struct w_fault *fault)
{
	struct srv_worker *worker = w_xcalloc(1, sizeof(*worker));
	int rc;

	worker->srv = base->node->role;
	worker->base = base;
	worker->loop = &base->loop;
	worker->meter = base->meter;
	srv__worker_init(worker);
	rc = start_parts(worker, fault);
	if (rc < 0) {
		free_worker(worker);
		return rc;
	}
	worker->tick = (struct w_timer){ .fire = on_tick, .arg = worker };
	w_timer_start(worker->loop, &worker->tick, TICK, TICK);
	base->role = worker;
	return W_OK;
}

static void
worker_stop(struct w_worker *base)
{
	free_worker(base->role);
	base->role = NULL;
}

const struct w_role_ops srv_role_ops = {
	.role = W_SERVER,
	.program = "weir-server",
	.summary = "Runs the application: C modules behind the balancers and on direct HTTP.",
	.prepare = prepare,
	.worker_start = worker_start,
	.ready = ready,
	.tick = tick,
	.report = report,
	.reload = reload,
	.worker_drain = worker_drain,
	.worker_stop = worker_stop,
	.finish = finish,
};
