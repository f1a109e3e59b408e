/* What comes into the promoter, and what its host looks at. See promoter.h. */
#include "dbtier/promoter_inner.h"

#include <inttypes.h>
#include <stdio.h>

#define PAUSE_TIMEOUT (5 * W_SEC)
#define REBORN (10 * W_SEC) /* after such a silence an agent's clock may have been set back */

/* ---- pause: kept by the agents, told by the one with the highest stamp ---- */

static unsigned
keepers(struct dbt_promoter *p, bool *ret_all)
{
	unsigned kept = 0;

	*ret_all = true;
	for (unsigned i = 0; i < p->listed; i++) {
		const struct dbt__place *place = &p->places[i];

		if (place->known && place->status.promise.stamp >= p->stamp)
			kept++;
		else if (dbt__fresh(p, place))
			*ret_all = false;
	}
	return kept;
}

static void
answer_pause(struct dbt_promoter *p)
{
	char text[DBT_TEXT];
	unsigned kept;
	bool all;

	if (p->pausing.id == 0)
		return;
	kept = keepers(p, &all);
	if (all && kept > p->listed / 2) {
		snprintf(text, sizeof(text), "%s: %u of %u agents keep it",
		    p->paused ? "paused" : "resumed", kept, p->listed);
		dbt__answer(p, &p->pausing.id, false, text);
	} else if (dbt__past(p, p->pausing.asked + PAUSE_TIMEOUT)) {
		snprintf(text, sizeof(text),
		    "only %u of %u agents keep it so far; it is said to the others when they are there",
		    kept, p->listed);
		dbt__answer(p, &p->pausing.id, true, text);
	}
}

static void
take_pause(struct dbt_promoter *p, const struct dbt_command *command)
{
	int64_t wall = p->config.epoch + (p->now - p->started);

	dbt__answer(p, &p->pausing.id, true, "another command came after this one");
	p->stamp = W_MAX(wall, p->stamp + 1);
	p->paused = command->kind == DBT_CMD_PAUSE;
	p->pausing = (struct dbt__pausing){ .id = command->id, .asked = p->now };
}

/* ---- every input ends here ---- */

static void
run(struct dbt_promoter *p, w_usec now)
{
	p->now = W_MAX(p->now, now);
	p->wake = p->now + W_SEC;
	dbt__observe(p);
	if (!p->config.automatic)
		return;
	dbt__run_moves(p);
	dbt__run_orders(p);
	answer_pause(p);
}

w_usec
dbt_promoter_turn(struct dbt_promoter *p, w_usec now)
{
	run(p, now);
	return p->wake;
}

/* A status that came late, or twice, tells nothing. */
static bool
is_old(const struct dbt__place *place, const struct dbt_status *status, w_usec now)
{
	const struct dbt_status *last = &place->status;

	if (!place->known)
		return false;
	if (status->epoch != last->epoch)
		return status->epoch < last->epoch && now - place->came < REBORN;
	return status->seq <= last->seq;
}

static void
note_status(struct dbt_promoter *p, struct dbt__place *place, const struct dbt_status *status)
{
	const struct dbt_promise *promise = &status->promise;
	size_t name = strlen(p->self);
	/* what this monitor has raised, in this life or in an earlier one, is nobody else's election */
	bool own = strncmp(promise->promoter, p->self, name) == 0 && promise->promoter[name] == '/';

	if (place->known && promise->term > place->status.promise.term && !own)
		place->outbid = p->now;
	place->status = *status;
	place->known = place->connected = true;
	place->came = p->now;
	p->top = W_MAX(p->top, W_MAX(promise->term, status->timeline));
	if (promise->stamp > p->stamp) {
		p->stamp = promise->stamp;
		p->paused = promise->paused;
	}
}

void
dbt_promoter_status(struct dbt_promoter *p, const struct dbt_status *status, w_usec now)
{
	int at = dbt__place_find(p, status->node);

	if (at < 0 || !p->places[at].listed)
		return;
	p->now = W_MAX(p->now, now);
	if (is_old(&p->places[at], status, p->now))
		return;
	note_status(p, &p->places[at], status);
	run(p, now);
}

void
dbt_promoter_gone(struct dbt_promoter *p, const char *node, w_usec now)
{
	int at = dbt__place_find(p, node);

	if (at < 0)
		return;
	p->places[at].connected = false;
	run(p, now);
}

static struct dbt_witness *
witness_slot(struct dbt_promoter *p, const char *server)
{
	struct dbt_witness *oldest = &p->witnesses[0];

	for (unsigned i = 0; i < p->witness_count; i++) {
		if (strcmp(p->witnesses[i].server, server) == 0)
			return &p->witnesses[i];
		if (p->witnesses[i].came < oldest->came)
			oldest = &p->witnesses[i];
	}
	return p->witness_count < DBT__WITNESSES ? &p->witnesses[p->witness_count++] : oldest;
}

void
dbt_promoter_witness(struct dbt_promoter *p, const struct dbt_witness *witness, w_usec now)
{
	*witness_slot(p, witness->server) = *witness;
	run(p, now);
}

void
dbt_promoter_command(struct dbt_promoter *p, const struct dbt_command *command, w_usec now)
{
	int64_t id = command->id;

	p->now = W_MAX(p->now, now);
	p->wake = p->now + W_SEC;
	dbt__observe(p);
	if (!p->config.automatic)
		dbt__answer(p, &id, true, "failover is external: somebody else decides");
	else if (command->kind == DBT_SWITCHOVER)
		dbt__switchover(p, command);
	else
		take_pause(p, command);
	run(p, now);
}

/* ---- beginning and end ---- */

static int
check_cluster(const struct w_cluster *cluster, char cohort[DBT_COHORT], struct w_fault *fault)
{
	size_t count = w_cluster_count(cluster, W_DATABASE);

	if (count == 0)
		return w_fail(fault, -W_EINVAL, "the cluster file has no databases");
	if (count > DBT_NODES_MAX)
		return w_fail(fault, -W_EINVAL, "the cluster file has %zu databases, at most are %d",
		    count, DBT_NODES_MAX);
	if (dbt_cohort_format(cluster, cohort) < 0)
		return w_fail(fault, -W_EINVAL, "the names of all databases together are too long");
	return W_OK;
}

int
dbt_promoter_new(const struct dbt_promoter_config *config, w_usec now, struct dbt_promoter **ret,
    struct w_fault *fault)
{
	char cohort[DBT_COHORT];
	struct dbt_promoter *p;
	int rc;

	rc = check_cluster(config->cluster, cohort, fault);
	if (rc < 0)
		return rc;
	p = w_xcalloc(1, sizeof(*p));
	p->config = *config;
	snprintf(p->self, sizeof(p->self), "%s", config->self);
	snprintf(p->id, sizeof(p->id), "%s/%" PRId64, p->self, config->epoch);
	p->config.self = p->self;
	p->now = p->started = now;
	p->heal_after = p->change_after = now;
	p->differs_since = W_NEVER;
	p->errand.target = -1;
	p->leader = p->found = p->winner = p->avoid = -1;
	p->random = config->seed;
	/* Ids of different promoters must not look like each other's in a refusal. */
	p->last_id = config->epoch;
	(void)dbt__take_cluster(p, config->cluster, cohort);
	dbt__start_over(p);
	dbt__choose_cohort(p);
	*ret = p;
	return W_OK;
}

void
dbt_promoter_free(struct dbt_promoter **promoter)
{
	free(*promoter);
	*promoter = NULL;
}

int
dbt_promoter_reload(struct dbt_promoter *p, const struct w_cluster *cluster, w_usec now,
    struct w_fault *fault)
{
	char cohort[DBT_COHORT];
	int rc;

	rc = check_cluster(cluster, cohort, fault);
	if (rc < 0)
		return rc;
	p->now = W_MAX(p->now, now);
	if (!dbt__take_cluster(p, cluster, cohort))
		dbt__start_over(p);
	run(p, now);
	return W_OK;
}

/* ---- what it is at ---- */

void
dbt_promoter_look(const struct dbt_promoter *promoter, struct dbt_promoter_view *ret)
{
	/* Looking notes nothing but when to look again, which is put back. */
	struct dbt_promoter *p = (struct dbt_promoter *)(uintptr_t)promoter;
	w_usec wake = p->wake;

	*ret = (struct dbt_promoter_view){
		.state = dbt__state_name(p->state),
		.term = dbt__electing(p) ? p->term : p->leader_term,
		.leader = dbt__leader_well(p) ? p->places[p->leader].name : NULL,
		.paused = p->paused,
		.cohort = p->sides[0].count,
		.needed = p->sides[0].needed,
		.in_force = p->base,
		.configured = p->configured,
		.change = p->change[0] != '\0' ? p->change : NULL,
		.spare = dbt__spare(p),
		.degraded = p->config.automatic ? dbt__degraded(p) : NULL,
		.why = p->why,
		.elections = p->elections,
		.switchovers = p->switchovers,
		.failures = p->failures,
		.last_gap = p->last_gap,
	};
	for (unsigned i = 0; i < p->listed; i++)
		ret->fresh += dbt__fresh(p, &p->places[i]);
	p->wake = wake;
}

const struct dbt_status *
dbt_promoter_agent(const struct dbt_promoter *promoter, const char *node, bool *ret_fresh)
{
	struct dbt_promoter *p = (struct dbt_promoter *)(uintptr_t)promoter;
	int at = dbt__place_find(p, node);
	w_usec wake = p->wake;

	if (at < 0 || !p->places[at].listed || !p->places[at].known)
		return NULL;
	if (ret_fresh != NULL)
		*ret_fresh = dbt__fresh(p, &p->places[at]);
	p->wake = wake;
	return &p->places[at].status;
}
