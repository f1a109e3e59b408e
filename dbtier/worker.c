/*
 * A worker's part of the tier: made, kept in step with the topology, looked after, ended.
 *
 * At the end of a turn: the queue is pumped, lanes send, dead lanes are freed.
 */
#include "dbtier/worker.h"

#include <stdio.h>

#define TICK (20 * W_MSEC)
#define SWEEP (5 * W_SEC)
#define IDLE_MOST (60 * W_SEC) /* an idle lane that is not needed for the next burst */
#define KEPT_LANES 2           /* per pool, however long they idle */
#define ROUNDS 4

/* ---- end of turn ---- */

static void
send_dirty(struct dbt_worker *worker)
{
	struct w_list *node;

	while ((node = w_list_shift(&worker->dirty)) != NULL)
		dbt__lane_send(w_list_entry(node, struct dbt__lane, dirty));
}

static void
free_dead(struct dbt_worker *worker)
{
	struct w_list *node;

	while ((node = w_list_shift(&worker->grave)) != NULL)
		dbt__lane_free(w_list_entry(node, struct dbt__lane, node));
}

static void
on_turn(void *arg)
{
	struct dbt_worker *worker = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (worker->pump)
			dbt__pump(worker);
		if (w_list_empty(&worker->dirty))
			break;
		send_dirty(worker);
	}
	if (worker->pump && worker->queued > 0)
		w_loop_again(worker->loop);
	if (!w_list_empty(&worker->grave))
		free_dead(worker);
}

/* ---- topology ---- */

static void
lose_pool(struct dbt__pool *pool, const char *why)
{
	while (!w_list_empty(&pool->lanes))
		dbt__lane_hear_out(w_list_entry(pool->lanes.next, struct dbt__lane, node), why);
}

static void
shun_pool(struct dbt__pool *pool)
{
	struct w_list *pos, *tmp;

	w_list_each_safe(pos, tmp, &pool->lanes)
		dbt__lane_shun(w_list_entry(pos, struct dbt__lane, node));
}

/* Why its lanes are given up, or NULL. */
static const char *
end_of(const struct dbt_topology *topology, const struct dbt_node *node)
{
	if (node->role == DBT_DOWN)
		return "the node is down";
	return node->role == DBT_PRIMARY && node->timeline < topology->floor ?
	    "it has been succeeded" : NULL;
}

static void
follow_node(struct dbt_worker *worker, unsigned i, const struct dbt_topology *topology)
{
	const struct dbt_node *node = &topology->nodes[i];
	struct dbt__pool *pools = worker->pools[i];
	enum dbt_role was = worker->roles[i];
	bool back = was <= DBT_DOWN && node->role >= DBT_PRIMARY;
	bool rises = was != DBT_PRIMARY && node->role == DBT_PRIMARY;
	bool silent = node->doubted && !worker->silent[i];
	const char *end = end_of(topology, node);

	worker->roles[i] = node->role;
	worker->silent[i] = node->doubted;
	for (unsigned class = 0; class < DBT__CLASSES; class++) {
		if (end != NULL)
			lose_pool(&pools[class], end);
		if (back || (rises && class == DBT__WRITE))
			pools[class].retry_at = 0;
		if (silent && class != DBT__WRITE)
			shun_pool(&pools[class]);
	}
	/*
	 * Without its standbys, silent, draining: it is still the primary of what is in flight. And who is
	 * about to be primary, or may be one day, has lanes that wait for that.
	 */
	if (topology->heir != (int)i && (node->role != DBT_REPLICA || was == DBT_PRIMARY))
		lose_pool(&pools[DBT__WRITE], "no longer the primary in force");
}

static bool
is_doubted(const struct dbt_worker *worker, const struct dbt_node *node, unsigned i)
{
	return node->seen < worker->doubted[i];
}

void
dbt__doubt(struct dbt_worker *worker, unsigned node)
{
	/* A replica that crashed may come back with less than it had. */
	worker->replayed[node] = (struct dbt_position){ 0 };
	if (worker->roles[node] != DBT_PRIMARY || worker->stopping)
		return;
	worker->doubted[node] = w_now();
	if (worker->write_primary == (int)node)
		worker->write_primary = -1;
	if (worker->sure_primary == (int)node)
		worker->sure_primary = -1;
	if (worker->read_primary == (int)node)
		worker->read_primary = -1;
}

void
dbt__refused(struct dbt_worker *worker, unsigned node, w_usec pause)
{
	w_usec until = w_now() + pause;

	worker->refusing[node] = W_MAX(worker->refusing[node], until);
	if (worker->write_primary == (int)node)
		worker->write_primary = -1;
	dbt__suspect(worker->dbt, node);
}

static void
follow_primary(struct dbt_worker *worker, const struct dbt_topology *topology)
{
	int primary = topology->primary;
	const struct dbt_node *node = &topology->nodes[W_MAX(primary, 0)];

	if (primary >= 0 && is_doubted(worker, node, (unsigned)primary))
		primary = -1;
	worker->sure_primary = primary;
	if (primary >= 0 && (node->draining || node->seen < worker->refusing[primary]))
		primary = -1;
	worker->write_primary = primary;
}

static void
follow(struct dbt_worker *worker)
{
	const struct dbt_topology *topology = dbt_topology_get(worker->dbt);

	worker->replica_count = 0;
	worker->read_primary = -1;
	follow_primary(worker, topology);
	for (unsigned i = 0; i < worker->nodes; i++) {
		const struct dbt_node *node = &topology->nodes[i];

		if (node->role == DBT_REPLICA && node->fit)
			worker->replicas[worker->replica_count++] = i;
		else if (node->role == DBT_PRIMARY && node->fit && !is_doubted(worker, node, i))
			worker->read_primary = (int)i;
	}
	for (unsigned i = 0; i < worker->nodes; i++)
		follow_node(worker, i, topology);
	dbt__pools_fill(worker);
	dbt__unhold(worker);
}

static void
on_change(uv_async_t *async)
{
	struct dbt_worker *worker = async->data;

	if (worker == NULL)
		return;
	w_loop_enter(worker->loop);
	follow(worker);
}

/* ---- looking after lanes ---- */

static void
each_lane(struct dbt_worker *worker, void (*fn)(struct dbt__lane *lane, w_usec now))
{
	w_usec now = worker->loop->now;
	struct w_list *pos, *tmp;

	for (unsigned i = 0; i < worker->nodes * DBT__CLASSES; i++) {
		struct dbt__pool *pool = &worker->pools[i / DBT__CLASSES][i % DBT__CLASSES];

		w_list_each_safe(pos, tmp, &pool->lanes)
			fn(w_list_entry(pos, struct dbt__lane, node), now);
	}
}

static void
on_tick(void *arg)
{
	struct dbt_worker *worker = arg;

	if (worker->in_flight == 0 && worker->queued == 0) {
		w_timer_stop(&worker->tick);
		worker->ticking = false;
		return;
	}
	each_lane(worker, dbt__lane_check);
	if (worker->write_primary < 0)
		follow_primary(worker, dbt_topology_get(worker->dbt)); /* a pause may be over */
	dbt__unhold(worker); /* a node may be asked again, or dialed */
}

void
dbt__tick_on(struct dbt_worker *worker)
{
	if (worker->ticking)
		return;
	worker->ticking = true;
	w_timer_start(worker->loop, &worker->tick, TICK, TICK);
}

static void
sweep_lane(struct dbt__lane *lane, w_usec now)
{
	unsigned keep = lane->pool->class == DBT__READ ?
	    (unsigned)lane->worker->options->read_lanes : KEPT_LANES;

	if (lane->state != DBT__OPEN)
		return;
	if (dbt__lane_idle(lane) && lane->pool->count > keep && now - lane->idle_since > IDLE_MOST)
		dbt__lane_lose(lane, NULL);
}

static void
on_sweep(void *arg)
{
	struct dbt_worker *worker = arg;

	each_lane(worker, sweep_lane);
	if (!worker->stopping)
		dbt__pools_fill(worker);
}

/* ---- life ---- */

/* Session settings. Sessions keep those that they were opened with. */
static void
make_options(struct dbt_worker *worker)
{
	long long timeout = (long long)(worker->options->query_timeout / W_MSEC);
	long long idle = (long long)(worker->options->tx_idle_timeout / W_MSEC);

	free(worker->ro_options);
	free(worker->rw_options);
	/* A read that nobody waits for ends when the server looks whether the client is there. */
	worker->ro_options = w_xasprintf("-c default_transaction_read_only=on"
	    " -c statement_timeout=%lld -c idle_in_transaction_session_timeout=%lld"
	    " -c client_connection_check_interval=1000", timeout, idle);
	/* statement_timeout ends a statement, never the wait of a commit. */
	worker->rw_options = w_xasprintf("-c synchronous_commit=on -c statement_timeout=%lld"
	    " -c idle_in_transaction_session_timeout=%lld", timeout, idle);
}

void
dbt_worker_reload(struct dbt_worker *worker, const struct w_server_options *options)
{
	worker->options = options;
	make_options(worker);
	dbt__pools_fill(worker);
	worker->pump = true;
}

static int
add_node(struct dbt_worker *worker, unsigned i, struct w_fault *fault)
{
	const struct w_member *member = w_cluster_nth(worker->cluster, W_DATABASE, i);
	int rc;

	worker->names[i] = member->name;
	for (unsigned class = 0; class < DBT__CLASSES; class++) {
		struct dbt__pool *pool = &worker->pools[i][class];

		pool->worker = worker;
		pool->node = i;
		pool->class = class;
		w_list_init(&pool->lanes);
	}
	worker->nodes = i + 1;
	rc = dbt__login_make(worker->cluster, member, "ro", &worker->ro[i], fault);
	if (rc < 0)
		return rc;
	return dbt__login_make(worker->cluster, member, "rw", &worker->rw[i], fault);
}

static void
free_async(uv_handle_t *handle)
{
	free(handle);
}

static int
listen_to_changes(struct dbt_worker *worker, struct w_fault *fault)
{
	uv_async_t *async = w_xcalloc(1, sizeof(*async));

	if (uv_async_init(&worker->loop->uv, async, on_change) < 0) {
		free(async);
		return w_fail(fault, -W_EIO, "database lanes: the loop has no room for a handle");
	}
	async->data = worker;
	worker->listener.async = async;
	w_list_init(&worker->listener.node);
	dbt__listen(worker->dbt, &worker->listener);
	return W_OK;
}

static struct dbt_worker *
make_worker(const struct dbt_worker_config *config)
{
	struct dbt_worker *worker = w_xcalloc(1, sizeof(*worker));

	worker->dbt = config->dbt;
	worker->loop = config->loop;
	worker->cluster = config->cluster;
	worker->options = config->options;
	worker->meter = config->meter;
	worker->metrics = config->metrics;
	worker->read_primary = worker->sure_primary = worker->write_primary = -1;
	worker->trust = dbt__trust(worker->dbt);
	for (unsigned i = 0; i < DBT__CLASSES; i++)
		w_list_init(&worker->queue[i]);
	w_list_init(&worker->held);
	w_list_init(&worker->dirty);
	w_list_init(&worker->grave);
	w_list_init(&worker->positions[0]);
	w_list_init(&worker->positions[1]);
	worker->tick = (struct w_timer){ .fire = on_tick, .arg = worker };
	worker->sweep = (struct w_timer){ .fire = on_sweep, .arg = worker };
	make_options(worker);
	w_turn_add(worker->loop, &worker->turn, W_TURN_DATABASE, on_turn, worker);
	return worker;
}

int
dbt_worker_new(const struct dbt_worker_config *config, struct dbt_worker **ret,
    struct w_fault *fault)
{
	W_AUTO(dbt_worker_free) struct dbt_worker *worker = make_worker(config);
	size_t nodes = W_MIN(w_cluster_count(config->cluster, W_DATABASE), (size_t)DBT_NODES_MAX);
	int rc;

	for (unsigned i = 0; i < nodes; i++) {
		rc = add_node(worker, i, fault);
		if (rc < 0)
			return rc;
	}
	(void)dbt__known_index(worker, &dbt__guard_stmt); /* a unit may bring it along */
	rc = listen_to_changes(worker, fault);
	if (rc < 0)
		return rc;
	w_timer_start(worker->loop, &worker->sweep, SWEEP, SWEEP);
	follow(worker);
	*ret = w_steal(&worker);
	return W_OK;
}

static void
end_queue(struct w_list *queue)
{
	while (!w_list_empty(queue)) {
		struct dbt__job *job = w_list_entry(queue->next, struct dbt__job, node);

		dbt__job_unqueue(job);
		dbt__job_finish(job, -W_ESHUTDOWN);
	}
}

static void
end_jobs(struct dbt_worker *worker)
{
	for (unsigned i = 0; i < worker->nodes * DBT__CLASSES; i++)
		lose_pool(&worker->pools[i / DBT__CLASSES][i % DBT__CLASSES], NULL);
	for (unsigned i = 0; i < DBT__CLASSES; i++)
		end_queue(&worker->queue[i]);
	end_queue(&worker->held);
	dbt__positions_end(worker);
}

void
dbt_worker_free(struct dbt_worker **worker)
{
	struct dbt_worker *old = w_steal(worker);

	if (old == NULL)
		return;
	old->stopping = true;
	if (old->listener.async != NULL) {
		dbt__unlisten(old->dbt, &old->listener);
		old->listener.async->data = NULL;
		uv_close((uv_handle_t *)old->listener.async, free_async);
	}
	end_jobs(old);
	free_dead(old);
	w_turn_remove(&old->turn);
	w_timer_fini(&old->tick);
	w_timer_fini(&old->sweep);
	for (unsigned i = 0; i < old->nodes; i++) {
		dbt__login_fini(&old->ro[i]);
		dbt__login_fini(&old->rw[i]);
	}
	free(old->ro_options);
	free(old->rw_options);
	dbt__known_fini(old);
	free(old);
	dbt__rows_drain();
}
