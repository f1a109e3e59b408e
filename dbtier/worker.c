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
#define CROWDED (500 * W_MSEC) /* the moment after a promotion */
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
	if (!w_list_empty(&worker->leaving))
		dbt__sites_see_off(worker);
	if (!w_list_empty(&worker->grave))
		free_dead(worker);
}

/* ---- topology ---- */

static void
shun_pool(struct dbt__pool *pool)
{
	struct w_list *pos, *tmp;

	w_list_each_safe(pos, tmp, &pool->lanes)
		dbt__lane_shun(w_list_entry(pos, struct dbt__lane, node));
}

/*
 * Nobody is to use it any more. A PostgreSQL that loses a connection ends a process, and many at once take
 * the processor from the promotion that is under way: those that have nothing to do end later.
 */
static void
leave_pool(struct dbt__pool *pool, const char *why)
{
	struct w_list *pos, *tmp;

	w_list_each_safe(pos, tmp, &pool->lanes) {
		struct dbt__lane *lane = w_list_entry(pos, struct dbt__lane, node);

		if (dbt__lane_idle(lane))
			dbt__lane_retire(lane);
	}
	dbt__pool_lose(pool, why);
}

static void
on_retire(void *arg)
{
	struct dbt_worker *worker = arg;
	struct w_list *node;

	while ((node = w_list_shift(&worker->retired)) != NULL)
		w_list_push(&worker->grave, node);
	free_dead(worker);
}

static bool
is_succeeded(const struct dbt_topology *topology, const struct dbt_node *node)
{
	return node->role == DBT_PRIMARY && node->timeline < topology->floor;
}

static void
follow_node(struct dbt__site *site, const struct dbt_topology *topology)
{
	const struct dbt_node *node = &topology->nodes[site->slot];
	struct dbt__pool *pools = site->pools;
	enum dbt_role was = site->role;
	bool back = was <= DBT_DOWN && node->role >= DBT_PRIMARY;
	bool rises = was != DBT_PRIMARY && node->role == DBT_PRIMARY;
	bool silent = node->doubted && !site->silent;
	bool down = node->role == DBT_DOWN, succeeded = is_succeeded(topology, node);

	site->role = node->role;
	site->silent = node->doubted;
	for (unsigned class = 0; class < DBT__CLASSES; class++) {
		if (down)
			dbt__pool_lose(&pools[class], "the node is down");
		else if (succeeded)
			leave_pool(&pools[class], "it has been succeeded");
		if (back || (rises && class == DBT__WRITE))
			pools[class].retry_at = 0;
		if (silent && class != DBT__WRITE)
			shun_pool(&pools[class]);
	}
	/*
	 * Without its standbys, silent, draining: it is still the primary of what is in flight. And who is
	 * about to be primary, or may be one day, has lanes that wait for that.
	 */
	if (topology->heir != (int)site->slot &&
	    (node->role != DBT_REPLICA || was == DBT_PRIMARY))
		leave_pool(&pools[DBT__WRITE], "no longer the primary in force");
}

static bool
is_doubted(const struct dbt__site *site, const struct dbt_node *node)
{
	return node->seen < site->doubted;
}

static void
forget_primary(struct dbt_worker *worker, const struct dbt__site *site)
{
	if (worker->write_primary == site)
		worker->write_primary = NULL;
	if (worker->sure_primary == site)
		worker->sure_primary = NULL;
	if (worker->read_primary == site)
		worker->read_primary = NULL;
}

void
dbt__doubt(struct dbt__site *site)
{
	/* A replica that crashed may come back with less than it had. */
	site->replayed = (struct dbt_position){ 0 };
	if (site->role != DBT_PRIMARY || site->worker->stopping)
		return;
	site->doubted = w_now();
	forget_primary(site->worker, site);
}

void
dbt__refused(struct dbt__site *site, w_usec pause)
{
	struct dbt_worker *worker = site->worker;
	w_usec until = w_now() + pause;

	site->refusing = W_MAX(site->refusing, until);
	if (worker->write_primary == site)
		worker->write_primary = NULL;
	dbt__site_suspect(site);
}

/* The node in a slot, if it is the one that we know. */
static struct dbt__site *
site_in(const struct dbt_worker *worker, const struct dbt_topology *topology, int slot)
{
	struct dbt__site *site = slot >= 0 ? worker->sites[slot] : NULL;

	return site != NULL && site->place->generation == topology->nodes[slot].generation ?
	    site : NULL;
}

static void
follow_primary(struct dbt_worker *worker, const struct dbt_topology *topology)
{
	struct dbt__site *primary = site_in(worker, topology, topology->primary);
	const struct dbt_node *node = &topology->nodes[W_MAX(topology->primary, 0)];

	if (primary != NULL && is_doubted(primary, node))
		primary = NULL;
	worker->sure_primary = primary;
	if (primary != NULL && (node->draining || node->seen < primary->refusing))
		primary = NULL;
	worker->write_primary = primary;
	if (primary == NULL || node->timeline <= worker->timeline)
		return;
	if (worker->timeline != 0)
		worker->crowded = w_now() + CROWDED;
	worker->timeline = node->timeline;
}

static void
follow_readers(struct dbt_worker *worker, const struct dbt_topology *topology)
{
	worker->replica_count = 0;
	worker->read_primary = NULL;
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		const struct dbt_node *node = &topology->nodes[i];
		struct dbt__site *site = worker->sites[i];

		if (site == NULL || !node->fit)
			continue;
		if (node->role == DBT_REPLICA)
			worker->replicas[worker->replica_count++] = site;
		else if (node->role == DBT_PRIMARY && !is_doubted(site, node))
			worker->read_primary = site;
	}
}

/* Who may be chosen is settled first: what a lost lane leaves is handed on at once. */
static void
follow(struct dbt_worker *worker)
{
	const struct dbt_topology *topology = dbt_topology_get(worker->dbt);
	struct w_list *pos;

	dbt__sites_follow(worker, topology);
	follow_primary(worker, topology);
	follow_readers(worker, topology);
	for (unsigned i = 0; i < DBT_NODES_MAX; i++)
		if (worker->sites[i] != NULL)
			follow_node(worker->sites[i], topology);
	w_list_each(pos, &worker->leaving) {
		struct dbt__site *site = w_list_entry(pos, struct dbt__site, node);

		if (!site->leaving)
			dbt__site_leave(site);
	}
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
on_tick(void *arg)
{
	struct dbt_worker *worker = arg;

	if (worker->in_flight == 0 && worker->queued == 0) {
		w_timer_stop(&worker->tick);
		worker->ticking = false;
		return;
	}
	dbt__each_lane(worker, dbt__lane_check);
	if (worker->write_primary == NULL)
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

	dbt__passed(worker->dbt);
	dbt__each_lane(worker, sweep_lane);
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
	dbt__group_most_set(worker, worker->group_most);
	dbt__pools_fill(worker);
	worker->pump = true;
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
	worker->options = config->options;
	worker->meter = config->meter;
	worker->metrics = config->metrics;
	w_list_init(&worker->leaving);
	worker->trust = dbt__trust(worker->dbt);
	for (unsigned i = 0; i < DBT__CLASSES; i++)
		w_list_init(&worker->queue[i]);
	w_list_init(&worker->grouping);
	dbt__group_most_set(worker, (unsigned)worker->options->group_writes);
	w_list_init(&worker->held);
	w_list_init(&worker->dirty);
	w_list_init(&worker->grave);
	w_list_init(&worker->retired);
	worker->tick = (struct w_timer){ .fire = on_tick, .arg = worker };
	worker->sweep = (struct w_timer){ .fire = on_sweep, .arg = worker };
	worker->retire = (struct w_timer){ .fire = on_retire, .arg = worker };
	make_options(worker);
	w_turn_add(worker->loop, &worker->turn, W_TURN_DATABASE, on_turn, worker);
	return worker;
}

int
dbt_worker_new(const struct dbt_worker_config *config, struct dbt_worker **ret,
    struct w_fault *fault)
{
	W_AUTO(dbt_worker_free) struct dbt_worker *worker = make_worker(config);
	int rc;

	dbt__known_init(worker);
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
	dbt__sites_lose(worker);
	for (unsigned i = 0; i < DBT__CLASSES; i++)
		end_queue(&worker->queue[i]);
	end_queue(&worker->grouping);
	end_queue(&worker->held);
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
	on_retire(old);
	w_turn_remove(&old->turn);
	w_timer_fini(&old->tick);
	w_timer_fini(&old->sweep);
	w_timer_fini(&old->retire);
	dbt__sites_fini(old);
	free(old->ro_options);
	free(old->rw_options);
	dbt__known_fini(old);
	free(old);
	dbt__rows_drain();
}
