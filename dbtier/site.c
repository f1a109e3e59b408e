/*
 * The nodes of a worker, which come and go with reloads. See worker.h.
 *
 *	(topology shows it) ---> IN ITS SLOT --(shows it no more)--> LEAVING --(no lane is left)--> gone
 *
 * A slot may have its next node while the last one is leaving.
 */
#include "dbtier/worker.h"

const struct dbt_node *
dbt__site_now(const struct dbt__site *site)
{
	const struct dbt_node *node = &dbt_topology_get(site->worker->dbt)->nodes[site->slot];

	return node->generation == site->place->generation ? node : NULL;
}

void
dbt__site_suspect(const struct dbt__site *site)
{
	if (!site->leaving)
		dbt__suspect(site->worker->dbt, site->slot);
}

/* ---- coming ---- */

static struct dbt__site *
new_site(struct dbt_worker *worker, unsigned slot, struct dbt__place *place)
{
	struct dbt__site *site = w_xcalloc(1, sizeof(*site));

	site->worker = worker;
	site->slot = slot;
	site->place = place;
	site->name = place->name;
	site->metric = dbt__node_named(worker->meter, worker->metrics, DBT_NODE_QUERIES, site->name);
	w_list_init(&site->node);
	for (unsigned class = 0; class < DBT__CLASSES; class++) {
		struct dbt__pool *pool = &site->pools[class];

		pool->worker = worker;
		pool->site = site;
		pool->class = class;
		w_list_init(&pool->lanes);
	}
	return site;
}

void
dbt__sites_follow(struct dbt_worker *worker, const struct dbt_topology *topology)
{
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		uint32_t generation = topology->nodes[i].generation;
		struct dbt__site *site = worker->sites[i];
		struct dbt__place *place;

		if ((site != NULL ? site->place->generation : 0) == generation)
			continue;
		if (site != NULL)
			w_list_push(&worker->leaving, &w_steal(&worker->sites[i])->node);
		place = generation > 0 ? dbt__place_of(worker->dbt, i, generation) : NULL;
		if (place != NULL)
			worker->sites[i] = new_site(worker, i, place);
	}
}

/* ---- leaving ---- */

void
dbt__pool_lose(struct dbt__pool *pool, const char *why)
{
	while (!w_list_empty(&pool->lanes))
		dbt__lane_hear_out(w_list_entry(pool->lanes.next, struct dbt__lane, node), why);
}

static void
lose_site(struct dbt__site *site, const char *why)
{
	for (unsigned class = 0; class < DBT__CLASSES; class++)
		dbt__pool_lose(&site->pools[class], why);
}

static unsigned
lanes_of(const struct dbt__site *site)
{
	unsigned count = 0;

	for (unsigned class = 0; class < DBT__CLASSES; class++)
		count += site->pools[class].count;
	return count;
}

/* Who is dialed, or has nothing to do, need not stay. */
static void
end_idle(struct dbt__site *site)
{
	struct w_list *pos, *tmp;

	for (unsigned class = 0; class < DBT__CLASSES; class++)
		w_list_each_safe(pos, tmp, &site->pools[class].lanes) {
			struct dbt__lane *lane = w_list_entry(pos, struct dbt__lane, node);

			if (lane->state == DBT__DIALING || dbt__lane_idle(lane))
				dbt__lane_lose(lane, NULL);
		}
}

void
dbt__site_leave(struct dbt__site *site)
{
	site->leaving = true;
	site->leave_by = w_now() + DBT__LEAVE_MOST;
	end_idle(site);
}

static void
free_site(struct dbt__site *site)
{
	w_list_remove(&site->node);
	dbt__place_drop(&site->place);
	free(site);
}

void
dbt__sites_see_off(struct dbt_worker *worker)
{
	struct w_list *pos, *tmp;
	unsigned left = 0;

	w_list_each_safe(pos, tmp, &worker->leaving) {
		struct dbt__site *site = w_list_entry(pos, struct dbt__site, node);

		if (w_now() > site->leave_by)
			lose_site(site, "its node was removed, and its time is over");
		end_idle(site);
		left += lanes_of(site);
		if (lanes_of(site) == 0)
			free_site(site);
	}
	w_meter_set(worker->meter, worker->metrics + DBT_LANES_LEAVING, left);
}

/* ---- all of them ---- */

static void
each_of(struct dbt__site *site, void (*fn)(struct dbt__lane *lane, w_usec now))
{
	w_usec now = site->worker->loop->now;
	struct w_list *pos, *tmp;

	for (unsigned class = 0; class < DBT__CLASSES; class++)
		w_list_each_safe(pos, tmp, &site->pools[class].lanes)
			fn(w_list_entry(pos, struct dbt__lane, node), now);
}

void
dbt__each_lane(struct dbt_worker *worker, void (*fn)(struct dbt__lane *lane, w_usec now))
{
	struct w_list *pos;

	for (unsigned i = 0; i < DBT_NODES_MAX; i++)
		if (worker->sites[i] != NULL)
			each_of(worker->sites[i], fn);
	w_list_each(pos, &worker->leaving)
		each_of(w_list_entry(pos, struct dbt__site, node), fn);
}

void
dbt__sites_lose(struct dbt_worker *worker)
{
	struct w_list *pos;

	for (unsigned i = 0; i < DBT_NODES_MAX; i++)
		if (worker->sites[i] != NULL)
			lose_site(worker->sites[i], NULL);
	w_list_each(pos, &worker->leaving)
		lose_site(w_list_entry(pos, struct dbt__site, node), NULL);
}

void
dbt__sites_fini(struct dbt_worker *worker)
{
	for (unsigned i = 0; i < DBT_NODES_MAX; i++)
		if (worker->sites[i] != NULL)
			free_site(w_steal(&worker->sites[i]));
	while (!w_list_empty(&worker->leaving))
		free_site(w_list_entry(worker->leaving.next, struct dbt__site, node));
}
