/* A database node: its PostgreSQL, its agent. See sim.h. Read from the bottom. */
#include <stdio.h>

#include "sim_inner.h"

/* ---- PostgreSQL ---- */

bool
sim_is_named(const struct sim *sim, const struct node *node, unsigned other)
{
	for (unsigned i = 0; i < node->pg_names.count; i++) {
		if (strcmp(node->pg_names.names[i], sim->nodes[other].name) == 0)
			return true;
	}
	return false;
}

bool
sim_pg_runs(const struct sim *sim, const struct node *node)
{
	return node->pg == PG_UP && sim->now >= node->pg_frozen_until &&
	    sim->now >= node->frozen_until;
}

void
sim_pg_kill(struct node *node)
{
	node->pg = PG_NONE;
	node->primary = false;
	node->receiver = -1;
	node->fence_at = node->promote_at = 0;
	node->marker = 0;
	node->marked = node->drained = false;
	node->pg_frozen_until = 0;
	memset(node->flushed, 0, sizeof(node->flushed));
	node->tell = true;
}

void
sim_pg_start(struct sim *sim, struct node *node, bool primary)
{
	node->pg = PG_STARTING;
	node->primary = primary;
	node->pg_term = primary ? node->promise.term : 0;
	(void)dbt_cohort_parse(node->promise.cohort.names, &node->pg_names);
	node->pg_ready = sim->now + sim_between(sim, 20 * W_MSEC, 120 * W_MSEC);
	node->settle_at = 0;
	node->tell = true;
}

void
sim_append(struct node *node, uint32_t term, uint32_t value)
{
	if (node->len < LOG)
		node->log[node->len++] = (struct entry){ term, value };
}

uint32_t
sim_timeline(const struct node *node)
{
	return node->len > 0 ? node->log[node->len - 1].term : 0;
}

static bool
same_at(const struct entry *a, const struct entry *b)
{
	return a->term == b->term && a->value == b->value;
}

/* Is all that the shorter one has in the longer one, too? */
static bool
matches(const struct node *a, const struct node *b)
{
	unsigned len = W_MIN(a->len, b->len);

	return len == 0 || same_at(&a->log[len - 1], &b->log[len - 1]);
}

/* A position is acknowledged: it, and all before it, must last, and nothing older may follow. */
static void
acknowledge(struct sim *sim, struct node *node, unsigned position)
{
	uint32_t term = node->pg_term;

	/* What its standbys had before they were fenced may be told late: the newer leader has it, too. */
	if (term < sim->acked_term && position > sim->committed)
		sim_wrong(sim, "%s acknowledges in term %u after one in term %u", node->name,
		    (unsigned)term, (unsigned)sim->acked_term);
	/* Nobody waits for what an earlier term has written. */
	if (node->log[position - 1].term == term)
		sim->acked_term = W_MAX(sim->acked_term, term);
	for (unsigned i = 0; i < W_MIN(sim->committed, position); i++) {
		if (!same_at(&node->log[i], &sim->log[i])) {
			sim_wrong(sim, "%s in term %u has lost entry %u, which was acknowledged",
			    node->name, (unsigned)term, i);
			return;
		}
	}
	if (position < sim->committed && node->marker == position)
		sim_wrong(sim, "%s in term %u is shorter than what was acknowledged", node->name,
		    (unsigned)term);
	for (unsigned i = sim->committed; i < position; i++)
		sim->log[i] = node->log[i];
	sim->committed = W_MAX(sim->committed, position);
	sim->result->acknowledged++;
	sim->acks_after += !sim->faulty;
}

/* The position that the quorum has flushed. */
static unsigned
quorum_position(const struct sim *sim, const struct node *node)
{
	unsigned best = 0;

	if (node->pg_names.quorum == 0)
		return node->len;
	for (unsigned i = 0; i < sim->count; i++) {
		unsigned at_least = 0;

		if (!sim_is_named(sim, node, i))
			continue;
		for (unsigned j = 0; j < sim->count; j++)
			at_least += sim_is_named(sim, node, j) && node->flushed[j] >= node->flushed[i];
		if (at_least >= node->pg_names.quorum)
			best = W_MAX(best, node->flushed[i]);
	}
	return W_MIN(best, node->len);
}

static void
primary_step(struct sim *sim, struct node *node)
{
	int self = (int)(node - sim->nodes);
	unsigned position;

	if (!node->drained && node->len < LOG - 200 && sim_dice(sim, 3) == 0)
		sim_append(node, sim_timeline(node), ++sim->value);
	position = quorum_position(sim, node);
	if (position > node->acked) {
		acknowledge(sim, node, position);
		node->acked = position;
	}
	if (node->marker != 0 && !node->marked && position >= node->marker)
		node->marked = node->tell = true;
	/* What was sent before a connection ended still counts, but once. */
	for (unsigned i = 0; i < sim->count; i++) {
		if (sim->nodes[i].receiver != self)
			node->flushed[i] = 0;
	}
}

static void
standby_step(struct sim *sim, struct node *node)
{
	int self = (int)(node - sim->nodes);
	struct node *upstream;

	if (node->receiver < 0)
		return;
	upstream = &sim->nodes[node->receiver];
	if (upstream->pg != PG_UP || node->len > upstream->len || !matches(node, upstream)) {
		node->receiver = -1;
		node->tell = true;
		return;
	}
	if (!sim_pg_runs(sim, upstream) || !sim_reach(sim, self, node->receiver))
		return;
	node->heard = sim->now;
	for (uint64_t n = sim_dice(sim, 4); n > 0 && node->len < upstream->len; n--) {
		node->log[node->len] = upstream->log[node->len];
		node->len++;
	}
	upstream->flushed[self] = node->len;
}

static void
pg_step(struct sim *sim, struct node *node)
{
	if (node->pg == PG_STARTING && sim->now >= W_MAX(node->pg_ready, node->frozen_until)) {
		node->pg = PG_UP;
		node->acked = 0;
		node->tell = true;
	}
	if (!sim_pg_runs(sim, node))
		return;
	if (node->primary)
		primary_step(sim, node);
	else
		standby_step(sim, node);
}

/* ---- the agent ---- */

static bool
node_runs(const struct sim *sim, const struct node *node)
{
	return node->agent_up && sim->now >= node->frozen_until;
}

static int
upstream_of(const struct sim *sim, const struct node *node)
{
	for (unsigned i = 0; i < sim->count; i++) {
		if (strcmp(sim->nodes[i].name, node->promise.upstream) == 0)
			return (int)i;
	}
	return -1;
}

static bool
is_settled(const struct sim *sim, const struct node *node)
{
	if (node->promise.stage != DBT_FENCED || !node->data || node->pg != PG_UP || node->primary)
		return false;
	if (sim->config->mistake == SIM_UNSETTLED)
		return true;
	return node->receiver < 0 && sim->now >= node->settle_at;
}

/* Its walreceiver ends some time after it was promised that it would. */
static void
end_receiver(struct sim *sim, struct node *node)
{
	if (node->fence_at == 0)
		node->fence_at = sim->now + sim_between(sim, 0, (sim->faulty ? 250 : 50) * W_MSEC);
	if (sim->now < node->fence_at)
		return;
	node->receiver = -1;
	node->fence_at = 0;
	node->settle_at = sim->now + sim_between(sim, 0, 10 * W_MSEC);
	node->tell = true;
}

static void
step_fenced(struct sim *sim, struct node *node)
{
	if (node->pg == PG_NONE && node->data)
		sim_pg_start(sim, node, false);
	if (node->pg == PG_UP && node->receiver >= 0)
		end_receiver(sim, node);
}

/* Rewinding and cloning: the same here. What was there is of no use until it is done. */
static void
step_remake(struct sim *sim, struct node *node, const struct node *upstream)
{
	if (node->remake_until == 0) {
		sim_pg_kill(node);
		node->data = false;
		node->remake_until = sim->now + sim_between(sim, 30 * W_MSEC, 400 * W_MSEC);
		return;
	}
	if (sim->now < node->remake_until)
		return;
	memcpy(node->log, upstream->log, upstream->len * sizeof(node->log[0]));
	node->len = upstream->len;
	node->data = true;
	node->remake_until = 0;
	node->tell = true;
}

static void
step_following(struct sim *sim, struct node *node)
{
	int self = (int)(node - sim->nodes), at = upstream_of(sim, node);
	const struct node *upstream = at >= 0 ? &sim->nodes[at] : NULL;
	bool there = upstream != NULL && sim_reach(sim, self, at) && sim_pg_runs(sim, upstream) &&
	    upstream->data;

	if (node->pg == PG_UP && node->receiver >= 0 && node->receiver != at) {
		end_receiver(sim, node);
		return;
	}
	/* What it has of a later term than the one it follows in is not thrown away. */
	if (node->data && sim_timeline(node) > node->promise.term)
		there = there && matches(node, upstream) && node->len <= upstream->len;
	if (there && (!node->data || !matches(node, upstream) ||
	    (node->len > upstream->len && upstream->primary))) {
		step_remake(sim, node, upstream);
		return;
	}
	if (node->pg == PG_NONE && node->data)
		sim_pg_start(sim, node, false);
	if (node->pg == PG_UP && node->receiver < 0 && there && node->len <= upstream->len) {
		node->receiver = at;
		node->heard = sim->now;
		node->tell = true;
	}
}

static void
promoted(struct sim *sim, struct node *node)
{
	node->primary = true;
	node->pg_term = node->promise.term;
	(void)dbt_cohort_parse(node->promise.cohort.names, &node->pg_names);
	node->promote_at = 0;
	node->acked = 0;
	sim_append(node, node->promise.term, 0);
	node->tell = true;
	sim_trace(sim, "%s is primary of term %u at %u", node->name, (unsigned)node->pg_term, node->len);
}

static void
step_leading(struct sim *sim, struct node *node)
{
	if (node->pg == PG_NONE && node->resume) {
		/* Only what this term has written may go on as a primary without being promoted. */
		sim_pg_start(sim, node, sim->config->mistake == SIM_SAME_TIMELINE ||
		    sim_timeline(node) == node->promise.term);
		node->resume = false;
	}
	if (!sim_pg_runs(sim, node))
		return;
	if (!node->primary) {
		node->receiver = -1;
		if (node->promote_at == 0)
			node->promote_at = sim->now + sim_between(sim, 5 * W_MSEC, 50 * W_MSEC);
		if (sim->faulty && !sim->config->quiet && sim_dice(sim, 20) == 0) {
			sim_trace(sim, "FAULT %s: postgres dies while it is promoted", node->name);
			sim->result->faults++;
			sim_pg_kill(node);
			return;
		}
		if (sim->now >= node->promote_at)
			promoted(sim, node);
	} else if (node->marker == 0) {
		sim_append(node, sim_timeline(node), 0);
		node->marker = node->len;
	}
	if (node->marked && dbt__promise_settle(&node->promise))
		sim_trace(sim, "%s: %s is established", node->name, node->promise.cohort.names);
	if (node->drained && sim->now - node->promoter_heard > 5 * W_SEC)
		node->drained = false;
}

static void
send_status(struct sim *sim, struct node *node)
{
	int self = (int)(node - sim->nodes);
	struct message *copies[2];
	struct dbt_status status = { .epoch = node->epoch, .promise = node->promise,
		.order = node->order, .recovery = !node->primary, .settled = is_settled(sim, node),
		.streaming = node->receiver >= 0 && (node->promise.stage != DBT_FOLLOWING ||
		    node->receiver == upstream_of(sim, node)), .drained = node->drained, .marked = node->marked,
		.timeline = sim_timeline(node), .lsn = node->len };

	status.seq = ++node->seq;
	memcpy(status.node, node->name, sizeof(status.node));
	memcpy(status.configured, node->configured, sizeof(status.configured));
	memcpy(status.refused, node->refused, sizeof(status.refused));
	snprintf(status.system, sizeof(status.system), "%s", node->data ? "7000" : "");
	status.postgres = node->pg == PG_NONE ? DBT_PG_NONE : node->pg == PG_STARTING ?
	    DBT_PG_STARTING : DBT_PG_UP;
	if (sim->now < node->pg_frozen_until && sim->now - node->pg_frozen_since > 500 * W_MSEC)
		status.postgres = DBT_PG_FROZEN;
	if (node->remake_until != 0)
		snprintf(status.busy, sizeof(status.busy), "rewinding");
	status.heard_ms = node->receiver >= 0 ? (sim->now - node->heard) / W_MSEC : -1;
	for (unsigned i = 0; i < sim->count; i++)
		status.attached += sim->nodes[i].receiver == self && sim_is_named(sim, node, i);
	for (unsigned h = 0; h < sim->config->promoters; h++) {
		unsigned count = sim_post(sim, self, sim_host_entity(&sim->hosts[h]), copies);

		while (count-- > 0) {
			copies[count]->kind = M_STATUS;
			copies[count]->status = status;
		}
	}
	node->tell = false;
	node->next_status = sim->now + 200 * W_MSEC;
}

static void
agent_step(struct sim *sim, struct node *node)
{
	static void (*const steps[])(struct sim *sim, struct node *node) = {
		[DBT_FENCED] = step_fenced, [DBT_FOLLOWING] = step_following,
		[DBT_LEADING] = step_leading };

	if (!node->agent_up && node->agent_back != 0 && sim->now >= node->agent_back) {
		node->agent_up = true;
		node->epoch = sim->now;
		node->seq = 0;
		node->order = 0;
		node->refused[0] = '\0';
		node->tell = true;
		node->resume = false;
		if (sim->config->mistake == SIM_FORGETFUL)
			node->promise = node->before;
	}
	if (!node_runs(sim, node))
		return;
	if (node->reload != 0 && sim->now >= node->reload) {
		memcpy(node->configured, sim->cohort, sizeof(node->configured));
		node->reload = 0;
		node->tell = true;
	}
	/* A primary that was not started as one of this term is stopped. */
	if (node->pg != PG_NONE && node->primary &&
	    (node->promise.stage != DBT_LEADING || node->pg_term != node->promise.term))
		sim_pg_kill(node);
	if (node->promise.stage != DBT_EMPTY)
		steps[node->promise.stage](sim, node);
	if (node->tell || sim->now >= node->next_status)
		send_status(sim, node);
}

static void
carry_out(struct sim *sim, struct node *node, const struct dbt_order *order)
{
	switch (order->kind) {
	case DBT_INIT:
		node->data = true;
		sim_append(node, 1, 0);
		sim_pg_start(sim, node, true);
		break;
	case DBT_PREPARE:
		node->remake_until = 0;
		break;
	case DBT_RESUME:
		node->resume = node->pg == PG_NONE;
		break;
	case DBT_DRAIN:
	case DBT_UNDRAIN:
		node->drained = order->kind == DBT_DRAIN;
		break;
	default:
		break;
	}
}

void
sim_take_order(struct sim *sim, struct node *node, const struct dbt_order *order)
{
	struct dbt__standing standing = { .running = node->pg != PG_NONE,
		.settled = is_settled(sim, node), .has_data = node->data,
		.timeline = node->data ? sim_timeline(node) : 0 };
	struct dbt_promise promise = node->promise;
	char why[DBT_TEXT] = "";

	node->order = order->id;
	node->refused[0] = '\0';
	node->tell = true;
	node->promoter_heard = sim->now;
	if (sim->config->mistake == SIM_COMPLIANT && order->kind == DBT_PREPARE)
		promise.cohort = order->cohort;
	if (dbt__promise_take(&promise, order, &standing, why) < 0) {
		memcpy(node->refused, why, sizeof(why));
		sim_trace(sim, "  %s refuses %s term=%u: %s", node->name, dbt_order_name(order->kind),
		    (unsigned)order->term, why);
		return;
	}
	if (sim->config->mistake == SIM_HASTY)
		(void)dbt__promise_settle(&promise);
	if (promise.term < node->promise.term)
		sim_wrong(sim, "the term of %s goes down", node->name);
	if (memcmp(&promise, &node->promise, sizeof(promise)) != 0)
		node->before = node->promise;
	node->promise = promise;
	carry_out(sim, node, order);
}

void
sim_node_step(struct sim *sim, struct node *node)
{
	agent_step(sim, node);
	pg_step(sim, node);
}
