/*
 * Which lane a job gets.
 *
 *	read    the lane with the fewest statements in flight, of all fit replicas, in turn
 *	slow    an idle lane, else a new one, else the least loaded, on fit replicas
 *	write   the same on the primary
 *	grouped an idle lane, for a group of this turn, while fewer than write_groups have one; else the smallest
 *	        group that is not sent yet; else it waits, and all that wait share the next lane
 *
 * A read with a position runs where that is known to be replayed, else where a guard asks first, else
 * on the primary in force.
 *
 * No replica fit, or none that lets us in: the primary serves reads, in read-only sessions. It does
 * so only while what is known of it is young: a process that was frozen together with a primary would
 * else read from it after it was succeeded. A write needs no such care, for nobody acknowledges it.
 *
 * To open a connection takes (TLS, SCRAM) some 15 ms of processors, most of it in the worker's thread: longer
 * than a write. When a node has just been promoted, and writes were held for that, it would hold up the first
 * ones: so for a moment they go one behind the other on what there is, and lanes are dialed one by one.
 *
 * Every replica has a write lane that waits for its promotion, since to open one (TLS, SCRAM, a new process)
 * takes longest when a node has just been promoted and all want to. Who is about to be primary and has none gets
 * one for those that are held. More are dialed when it is in force: until then they would only take the
 * processor from what makes it so.
 */
#include "dbtier/topology.h"
#include "dbtier/worker.h"

#define DIALS_AT_ONCE 4

/* What the pools that were looked at have to offer. */
struct offer {
	struct dbt__lane *idle, *least;
	struct dbt__lane *gathering; /* the smallest group that is not sent yet */
	unsigned groups;             /* lanes that have one, and are not stuck */
	struct dbt__pool *roomy; /* may dial */
	bool hope;               /* a lane is there, or coming */
};

static unsigned
most_of(const struct dbt__pool *pool)
{
	const struct w_server_options *options = pool->worker->options;

	switch (pool->class) {
	case DBT__READ:
		return (unsigned)options->read_lanes +
		    W_MIN(pool->stuck, (unsigned)DBT__SPARE_LANES);
	case DBT__SLOW:
		return DBT__SLOW_LANES;
	default:
		return (unsigned)options->write_lanes;
	}
}

static unsigned
depth_of(const struct dbt__pool *pool)
{
	static const unsigned depths[] = {
		[DBT__SLOW] = DBT__SLOW_DEPTH, [DBT__WRITE] = DBT__WRITE_DEPTH };

	return pool->class == DBT__READ ? (unsigned)pool->worker->options->read_depth :
	    depths[pool->class];
}

static bool
may_dial(const struct dbt__pool *pool)
{
	return pool->count < most_of(pool) && (pool->retry_at == 0 || w_now() >= pool->retry_at);
}

static unsigned
load_of(const struct dbt__lane *lane)
{
	return lane->count + lane->todo_count;
}

/* A group that waits for long, for a lock or for standbys, does not keep others from their turn. */
static void
note_group(struct dbt__lane *lane, struct offer *offer)
{
	if (lane->state != DBT__OPEN || lane->stuck || !lane->grouped || load_of(lane) == 0)
		return;
	offer->groups++;
	if (lane->count == 0 && lane->todo_count < lane->worker->group_most &&
	    (offer->gathering == NULL || lane->todo_count < offer->gathering->todo_count))
		offer->gathering = lane;
}

/* May it be given anything? A cancel that is under way hits whatever runs next. */
static bool
is_open(const struct dbt__lane *lane)
{
	return lane->state == DBT__OPEN && !lane->taken && !lane->stuck && !lane->blocked &&
	    !lane->spoilt && lane->cancel == NULL;
}

static void
look_at(struct dbt__pool *pool, struct offer *offer)
{
	unsigned depth = depth_of(pool);
	struct w_list *pos;

	if (may_dial(pool)) {
		offer->hope = true;
		if (offer->roomy == NULL || pool->count < offer->roomy->count)
			offer->roomy = pool;
	}
	w_list_each(pos, &pool->lanes) {
		struct dbt__lane *lane = w_list_entry(pos, struct dbt__lane, node);

		offer->hope = true;
		note_group(lane, offer);
		if (!is_open(lane) || load_of(lane) >= W_MIN(depth, lane->mask + 1))
			continue;
		if (offer->idle == NULL && load_of(lane) == 0)
			offer->idle = lane;
		if (offer->least == NULL || load_of(lane) < load_of(offer->least))
			offer->least = lane;
	}
}

/* Whether a node has replayed what a job wants to see: known, worth asking, or not. */
enum fresh { FRESH_KNOWN, FRESH_ASK, FRESH_NOT };

static enum fresh
fresh_of(const struct dbt_worker *worker, const struct dbt__job *job, const struct dbt__site *site)
{
	const struct dbt_topology *topology = dbt_topology_get(worker->dbt);
	const struct dbt_node *node = &topology->nodes[site->slot];
	uint32_t timeline = dbt__topology_timeline(topology);

	if (job->needed == 0)
		return FRESH_KNOWN;
	/* An LSN of a timeline that was left says nothing, nor does what is known of another node. */
	if (node->generation != site->place->generation || node->timeline != timeline)
		return FRESH_NOT;
	if ((site->replayed.timeline == timeline && site->replayed.lsn >= job->needed) ||
	    dbt__node_has(topology, site->slot, job->after))
		return FRESH_KNOWN;
	return worker->loop->now >= site->guard_after ? FRESH_ASK : FRESH_NOT;
}

static void
look_at_replicas(struct dbt_worker *worker, const struct dbt__job *job, enum fresh fresh,
    struct offer *offer)
{
	unsigned first = worker->rotate++;

	for (unsigned i = 0; i < worker->replica_count; i++) {
		struct dbt__site *site = worker->replicas[(first + i) % worker->replica_count];

		if ((job->avoid != site->slot + 1 || worker->replica_count == 1) &&
		    fresh_of(worker, job, site) == fresh)
			look_at(&site->pools[job->class], offer);
	}
}

bool
dbt__is_trusted(const struct dbt__site *site)
{
	const struct dbt_node *node = dbt__site_now(site);

	if (node != NULL && site->worker->loop->now - node->seen <= site->worker->trust)
		return true;
	dbt__site_suspect(site);
	return false;
}

/*
 * Has its client seen a timeline that we have not? Then there is a primary that we do not know, unless
 * the client makes it up, or has it of another life of the cluster.
 */
static bool
is_ahead(const struct dbt_worker *worker, const struct dbt__job *job, const struct dbt__site *primary)
{
	const struct dbt_node *node = dbt__site_now(primary);

	if (job->after.lsn == 0 || worker->loop->now - job->start >= DBT__AHEAD || node == NULL ||
	    job->after.timeline <= node->timeline)
		return false;
	dbt__site_suspect(primary);
	return true;
}

/* The primary that may run it, NULL: there is none now. */
static struct dbt__site *
primary_for(const struct dbt_worker *worker, const struct dbt__job *job)
{
	struct dbt__site *primary = job->needed > 0 || job->only_primary ? worker->sure_primary :
	    worker->read_primary;

	if (job->intent == DBT_WRITE)
		return worker->write_primary;
	return primary != NULL && !is_ahead(worker, job, primary) && dbt__is_trusted(primary) ?
	    primary : NULL;
}

static struct offer
look(struct dbt_worker *worker, struct dbt__job *job)
{
	struct offer offer = { 0 };
	struct dbt__site *primary;

	job->guard = false;
	if (job->class != DBT__WRITE && !job->only_primary)
		look_at_replicas(worker, job, FRESH_KNOWN, &offer);
	/* No statement may come before a transaction sets its isolation. */
	if (!offer.hope && job->needed > 0 && !job->only_primary && !job->begins) {
		look_at_replicas(worker, job, FRESH_ASK, &offer);
		job->guard = offer.hope;
	}
	primary = offer.hope ? NULL : primary_for(worker, job);
	if (primary != NULL)
		look_at(&primary->pools[job->class], &offer);
	job->hopeless = !offer.hope;
	return offer;
}

/* Why the lane is of the node that it is of. */
static void
count_choice(struct dbt_worker *worker, const struct dbt__job *job, const struct dbt__lane *lane)
{
	bool replica = lane->pool->site->role == DBT_REPLICA;

	if (job->class == DBT__WRITE || job->quiet)
		return;
	if (replica)
		dbt__count(worker, job->guard ? DBT_CHOSE_GUARD :
		    job->needed > 0 ? DBT_CHOSE_FRESH : DBT_CHOSE_REPLICA);
	else
		dbt__count(worker, job->needed > 0 ? DBT_CHOSE_POSITION :
		    job->only_primary ? DBT_CHOSE_CONFLICT : DBT_CHOSE_ALONE);
}

/* Transactions leave a lane for single statements. */
static bool
may_take(const struct dbt__pool *pool)
{
	return most_of(pool) < 2 || pool->taken + 1 < most_of(pool);
}

static bool
is_crowded(const struct dbt_worker *worker, const struct dbt__job *job)
{
	return job->class == DBT__WRITE && worker->loop->now < worker->crowded;
}

/* Groups under way at once: as many more as each has to be smaller. */
static unsigned
groups_most(const struct dbt_worker *worker)
{
	/* The option may have become 0 since the job was queued. */
	return W_MAX((unsigned)worker->options->write_groups, 1u) *
	    ((unsigned)worker->options->group_writes / worker->group_most);
}

/* While as many groups as may be are under way, one more would only take from what they save. */
static bool
is_held_back(const struct dbt__job *job, const struct offer *offer)
{
	return job->grouped && offer->groups >= groups_most(job->worker);
}

static struct dbt__lane *
pick(struct dbt_worker *worker, struct dbt__job *job)
{
	struct offer offer = look(worker, job);

	if (job->grouped && offer.gathering != NULL && (is_held_back(job, &offer) || offer.idle == NULL))
		return offer.gathering;
	if (is_held_back(job, &offer))
		return NULL;
	if (job->class == DBT__READ) {
		if (offer.roomy != NULL)
			dbt__lane_dial(offer.roomy);
		return offer.least;
	}
	if (dbt__job_takes(job))
		return offer.idle != NULL && may_take(offer.idle->pool) ? offer.idle : NULL;
	if (offer.idle != NULL || job->grouped)
		return offer.idle; /* behind a group there is nothing to win: the next one takes it */
	if (is_crowded(worker, job) && offer.roomy != NULL && offer.least != NULL) {
		if (offer.roomy->dialing == 0)
			dbt__lane_dial(offer.roomy);
		return offer.least;
	}
	return offer.roomy == NULL ? offer.least : NULL;
}

struct dbt__lane *
dbt__pick(struct dbt_worker *worker, struct dbt__job *job)
{
	struct dbt__lane *lane = pick(worker, job);

	if (lane != NULL)
		count_choice(worker, job, lane);
	return lane;
}

bool
dbt__any_fit(const struct dbt_worker *worker, const struct dbt__job *job)
{
	if (job->intent == DBT_READ && worker->replica_count > 0 && !job->only_primary)
		return true;
	return primary_for(worker, job) != NULL;
}

/* Connections for those that wait, a few at a time. */
static void
dial_for(struct dbt_worker *worker, struct dbt__job *job, unsigned waiting)
{
	unsigned most = is_crowded(worker, job) ? 1 : W_MIN(waiting, DIALS_AT_ONCE);
	struct offer offer;

	for (unsigned i = 0; i < most; i++) {
		offer = look(worker, job);
		if (offer.roomy == NULL || offer.roomy->dialing >= most || is_held_back(job, &offer))
			return;
		dbt__lane_dial(offer.roomy);
	}
}

static void
hold(struct dbt_worker *worker, struct dbt__job *job)
{
	w_list_remove(&job->node);
	w_list_push(&worker->held, &job->node);
}

void
dbt__unhold(struct dbt_worker *worker)
{
	struct w_list *pos, *tmp;

	w_list_each_safe(pos, tmp, &worker->held) {
		struct dbt__job *job = w_list_entry(pos, struct dbt__job, node);

		if (!dbt__any_fit(worker, job))
			continue;
		w_list_remove(&job->node);
		w_list_push(dbt__job_queue(job), &job->node);
	}
	worker->pump = true;
}

static void
pump_queue(struct dbt_worker *worker, struct w_list *queue)
{
	struct w_list *pos, *tmp;
	struct dbt__job *left = NULL;
	unsigned waiting = 0;

	w_list_each_safe(pos, tmp, queue) {
		struct dbt__job *job = w_list_entry(pos, struct dbt__job, node);
		struct dbt__lane *lane = dbt__pick(worker, job);

		if (lane != NULL) {
			dbt__job_unqueue(job);
			dbt__lane_give(lane, job);
			continue;
		}
		if (job->hopeless) {
			hold(worker, job);
			continue;
		}
		left = job;
		if (++waiting >= DIALS_AT_ONCE)
			break;
	}
	if (left != NULL && left->class != DBT__READ)
		dial_for(worker, left, waiting);
}

void
dbt__pump(struct dbt_worker *worker)
{
	worker->pump = false;
	if (worker->queued == 0)
		return;
	for (unsigned i = 0; i < DBT__CLASSES; i++)
		pump_queue(worker, &worker->queue[i]);
	pump_queue(worker, &worker->grouping);
}

static bool
holds_writes(const struct dbt_worker *worker)
{
	struct w_list *pos;

	w_list_each(pos, &worker->held) {
		if (w_list_entry(pos, struct dbt__job, node)->class == DBT__WRITE)
			return true;
	}
	return false;
}

/* Who is, or is about to be, primary. */
static void
fill_heir(struct dbt_worker *worker)
{
	const struct dbt_topology *topology = dbt_topology_get(worker->dbt);
	struct dbt__site *site;
	struct dbt__pool *pool;

	if (topology->heir < 0 || topology->nodes[topology->heir].doubted)
		return;
	site = worker->sites[topology->heir];
	if (site == NULL || site->place->generation != topology->nodes[topology->heir].generation)
		return; /* that is yet to be followed */
	pool = &site->pools[DBT__WRITE];
	if (pool->count == 0 && may_dial(pool) && holds_writes(worker))
		dbt__lane_dial(pool);
}

void
dbt__pools_fill(struct dbt_worker *worker)
{
	fill_heir(worker);
	for (unsigned i = 0; i < worker->replica_count; i++) {
		struct dbt__pool *pool = &worker->replicas[i]->pools[DBT__READ];

		while (may_dial(pool) && pool->dialing < DIALS_AT_ONCE)
			dbt__lane_dial(pool);
		pool = &worker->replicas[i]->pools[DBT__WRITE];
		if (pool->count == 0 && may_dial(pool))
			dbt__lane_dial(pool);
	}
}
