/* A run of the simulated cluster. See sim.h. Read from the bottom: sim_run(), a tick, what goes wrong. */
#include <stdarg.h>
#include <stdio.h>

#include "sim_inner.h"

uint64_t
sim_dice(struct sim *sim, uint64_t sides)
{
	sim->random ^= sim->random << 13;
	sim->random ^= sim->random >> 7;
	sim->random ^= sim->random << 17;
	return sim->random % sides;
}

w_usec
sim_between(struct sim *sim, w_usec low, w_usec high)
{
	return low + (w_usec)sim_dice(sim, (uint64_t)(high - low + 1));
}

void
sim_trace(const struct sim *sim, const char *fmt, ...)
{
	va_list ap;

	if (!sim->config->trace)
		return;
	printf("%9.3f ", (double)(sim->now - START) / 1e6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void
sim_wrong(struct sim *sim, const char *fmt, ...)
{
	va_list ap;

	if (sim->result->wrong[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(sim->result->wrong, sizeof(sim->result->wrong), fmt, ap);
	va_end(ap);
	sim_trace(sim, "WRONG: %s", sim->result->wrong);
}

/* ---- the network ---- */

int
sim_host_entity(const struct host *host)
{
	return NODES + (int)host->index;
}

bool
sim_reach(const struct sim *sim, int a, int b)
{
	return sim->now >= sim->cut_until || (sim->side >> a & 1) == (sim->side >> b & 1);
}

static struct message *
post_one(struct sim *sim, int from, int to, w_usec delay)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct message *message = &sim->messages[i];

		if (sim->due[i] != 0)
			continue;
		sim->due[i] = sim->now + delay;
		sim->posted = W_MAX(sim->posted, i + 1);
		message->from = from;
		message->to = to;
		return message;
	}
	return NULL;
}

unsigned
sim_post(struct sim *sim, int from, int to, struct message *ret[2])
{
	unsigned copies = 1, count = 0;

	if (!sim_reach(sim, from, to))
		copies = 0;
	if (sim->faulty && sim_dice(sim, 100) < sim->loss)
		copies = sim_dice(sim, 2) ? 0 : 2;
	sim->result->lost_messages += copies == 0;
	for (unsigned i = 0; i < copies; i++) {
		w_usec delay = sim_between(sim, W_MSEC, sim->faulty ? sim->delay : 5 * W_MSEC);

		if (sim->faulty && sim_dice(sim, 200) == 0)
			delay += sim_between(sim, 0, 4 * W_SEC);
		ret[count] = post_one(sim, from, to, delay);
		count += ret[count] != NULL;
	}
	return count;
}

/* ---- promoters and servers ---- */

static void
on_order(void *arg, const char *name, const struct dbt_order *order)
{
	struct host *host = arg;
	struct sim *sim = host->sim;
	struct message *copies[2];
	unsigned count;
	int to = 0;

	while (strcmp(sim->nodes[to].name, name) != 0)
		to++;
	sim_trace(sim, "  m%u: %s to %s term=%u %s", host->index, dbt_order_name(order->kind), name,
	    (unsigned)order->term, order->upstream);
	count = sim_post(sim, sim_host_entity(host), to, copies);
	while (count-- > 0) {
		copies[count]->kind = M_ORDER;
		copies[count]->order = *order;
	}
}

static void
on_move(void *arg, const struct dbt_move *move)
{
	struct host *host = arg;

	host->sim->result->cascades += strcmp(move->name, "cascade") == 0;
	host->sim->result->turns += strcmp(move->name, "turn") == 0;
	host->sim->result->changes += strcmp(move->name, "established") == 0 && host->promoter->joint;
	sim_trace(host->sim, "m%u: %s -> %s: %s %s term=%u (%s)", host->index, move->from, move->to,
	    move->name, move->node, (unsigned)move->term, move->why);
}

static void
on_answer(void *arg, const struct dbt_answer *answer)
{
	struct host *host = arg;

	sim_trace(host->sim, "m%u: answer: %s", host->index, answer->text);
}

/* Read the cluster file as it is now. */
static void
host_read(struct sim *sim, struct host *host)
{
	unsigned count = 0;

	for (unsigned i = 0; i < sim->count; i++) {
		if ((sim->listed >> i & 1) == 0)
			continue;
		host->members[count] = (struct w_member){ .name = sim->nodes[i].name, .role = W_DATABASE,
			.index = count, .opt.database = { .initial = count == 0 ? "primary" : "replica" } };
		count++;
	}
	host->cluster = (struct w_cluster){ .members = host->members, .member_count = count,
		.opt = { .quorum = sim->quorum } };
	host->reload = 0;
}

/* It takes its cluster file's cohort for the one that a standby has promised. */
static void
host_imagines(const struct host *host, struct dbt_status *status)
{
	if (status->promise.stage == DBT_LEADING)
		return;
	status->promise.cohort = (struct dbt_cohort){ .edition = 0 };
	if (status->promise.term != 0)
		(void)dbt_cohort_format(&host->cluster, status->promise.cohort.names);
}

static void
host_blunder(const struct sim *sim, struct host *host)
{
	if (sim->config->mistake == SIM_ONE_IS_ENOUGH)
		host->promoter->sides[0].needed = 1;
	if (sim->config->mistake == SIM_NEW_ALONE)
		host->promoter->sides[1].needed = 0;
}

static void
host_start(struct sim *sim, struct host *host)
{
	static const char *const names[PROMOTERS] = { "m-0", "m-1" };
	struct dbt_promoter_config config = { .self = names[host->index], .epoch = sim->now + host->index,
		.turn = host->index, .cluster = &host->cluster, .automatic = true,
		.seed = sim_dice(sim, UINT32_MAX), .order = on_order, .move = on_move,
		.answer = on_answer, .arg = host };

	host_read(sim, host);
	W_ASSERT(dbt_promoter_new(&config, sim->now, &host->promoter, NULL) == W_OK);
	host_blunder(sim, host);
	host->turn = sim->now;
}

static void
host_stop(struct sim *sim, struct host *host)
{
	struct dbt_promoter_view view;

	if (host->promoter == NULL)
		return;
	dbt_promoter_look(host->promoter, &view);
	sim->result->elections += (unsigned)view.elections;
	sim->result->switchovers += (unsigned)view.switchovers;
	dbt_promoter_free(&host->promoter);
}

static void
host_step(struct sim *sim, struct host *host)
{
	if (host->promoter == NULL && sim->now >= host->back)
		host_start(sim, host);
	if (host->promoter == NULL)
		return;
	if (host->reload != 0 && sim->now >= host->reload) {
		host_read(sim, host);
		W_ASSERT(dbt_promoter_reload(host->promoter, &host->cluster, sim->now, NULL) == W_OK);
	}
	if (sim->now >= host->turn)
		host->turn = dbt_promoter_turn(host->promoter, sim->now);
	host_blunder(sim, host);
}

/* A server takes for the primary what it reaches on the highest timeline, with its quorum. */
static void
server_step(struct sim *sim, unsigned index)
{
	struct dbt_witness witness = { .came = sim->now };
	int self = NODES + PROMOTERS + (int)index, best = -1;

	for (unsigned i = 0; i < sim->count; i++) {
		const struct node *node = &sim->nodes[i];

		if (!sim_pg_runs(sim, node) || !sim_reach(sim, self, (int)i))
			continue;
		witness.others++;
		if (node->primary &&
		    (best < 0 || sim_timeline(node) > sim_timeline(&sim->nodes[best])))
			best = (int)i;
	}
	if (best >= 0) {
		witness.others--;
		if (sim->nodes[best].marked)
			memcpy(witness.primary, sim->nodes[best].name, sizeof(witness.primary));
	}
	snprintf(witness.server, sizeof(witness.server), "s-%u", index);
	for (unsigned h = 0; h < sim->config->promoters; h++) {
		struct host *host = &sim->hosts[h];

		if (host->promoter != NULL && sim_reach(sim, self, sim_host_entity(host)))
			dbt_promoter_witness(host->promoter, &witness, sim->now);
	}
}

/* ---- what goes wrong ---- */

static void
agent_crash(struct sim *sim, struct node *node, w_usec away)
{
	int self = (int)(node - sim->nodes);
	struct message *copies[2];

	node->agent_up = false;
	node->agent_back = sim->now + away;
	for (unsigned h = 0; h < sim->config->promoters; h++) {
		unsigned count = sim_post(sim, self, sim_host_entity(&sim->hosts[h]), copies);

		while (count-- > 0)
			copies[count]->kind = M_GONE;
	}
}

static void
fault_postgres(struct sim *sim, struct node *node)
{
	sim_trace(sim, "FAULT %s: postgres dies", node->name);
	sim_pg_kill(node);
}

static void
fault_agent(struct sim *sim, struct node *node)
{
	sim_trace(sim, "FAULT %s: agent dies", node->name);
	agent_crash(sim, node, sim_between(sim, 50 * W_MSEC, 1500 * W_MSEC));
}

static void
fault_node(struct sim *sim, struct node *node)
{
	sim_trace(sim, "FAULT %s: all dies", node->name);
	sim_pg_kill(node);
	agent_crash(sim, node, sim_between(sim, 200 * W_MSEC, 4 * W_SEC));
}

static void
fault_freeze_postgres(struct sim *sim, struct node *node)
{
	sim_trace(sim, "FAULT %s: postgres freezes", node->name);
	node->pg_frozen_since = sim->now;
	node->pg_frozen_until = sim->now + sim_between(sim, 100 * W_MSEC, 3 * W_SEC);
}

static void
fault_freeze(struct sim *sim, struct node *node)
{
	sim_trace(sim, "FAULT %s: all freezes", node->name);
	/* Half of them wake up about when others have decided that they are gone. */
	node->frozen_until = sim->now + (sim_dice(sim, 2) ? sim_between(sim, 100 * W_MSEC, 4 * W_SEC) :
	    sim_between(sim, 1300 * W_MSEC, 1600 * W_MSEC));
}

static void
fault_cut(struct sim *sim, struct node *node)
{
	sim->side = sim_dice(sim, 2) ? (unsigned)sim_dice(sim, 1U << ENTITIES) :
	    1U << (unsigned)(node - sim->nodes);
	sim->cut_until = sim->now + sim_between(sim, 100 * W_MSEC, 4 * W_SEC);
	sim_trace(sim, "FAULT cut %x until %.3f", sim->side, (double)(sim->cut_until - START) / 1e6);
}

static void
fault_promoter(struct sim *sim, struct node *node W_UNUSED)
{
	struct host *host = &sim->hosts[sim_dice(sim, sim->config->promoters)];

	sim_trace(sim, "FAULT m%u dies", host->index);
	host_stop(sim, host);
	host->back = sim->now + sim_between(sim, 50 * W_MSEC, 2 * W_SEC);
}

static void
fault_everything(struct sim *sim, struct node *node W_UNUSED)
{
	sim_trace(sim, "FAULT all nodes die");
	for (unsigned i = 0; i < sim->count; i++)
		fault_node(sim, &sim->nodes[i]);
}

static void
fault_network(struct sim *sim, struct node *node W_UNUSED)
{
	sim->loss = (unsigned)sim_dice(sim, 40);
	sim->delay = sim_between(sim, 5 * W_MSEC, 200 * W_MSEC);
	sim_trace(sim, "FAULT network: loss %u, delay %d ms", sim->loss, (int)(sim->delay / W_MSEC));
}

static void
fault_command(struct sim *sim, struct node *node)
{
	struct host *host = &sim->hosts[sim_dice(sim, sim->config->promoters)];
	struct dbt_command command = { .id = sim->now };

	command.kind = sim_dice(sim, 6) ? DBT_SWITCHOVER : sim_dice(sim, 3) ? DBT_CMD_RESUME : DBT_CMD_PAUSE;
	if (sim_dice(sim, 3))
		memcpy(command.node, node->name, sizeof(command.node));
	sim_trace(sim, "COMMAND %d %s", command.kind, command.node);
	if (host->promoter != NULL)
		dbt_promoter_command(host->promoter, &command, sim->now);
}

/* The cluster file is another one, and is read here sooner and there later. */
static void
change_file(struct sim *sim, unsigned listed, unsigned quorum)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };

	sim->listed = listed;
	sim->quorum = W_MIN(quorum, (unsigned)__builtin_popcount(listed) - 1);
	for (unsigned i = 0; i < sim->count; i++) {
		if (listed >> i & 1)
			w_buf_printf(&text, "%s%s", text.len > 0 ? "," : "", sim->nodes[i].name);
	}
	w_buf_printf(&text, "/%u", sim->quorum);
	memset(sim->cohort, 0, sizeof(sim->cohort));
	memcpy(sim->cohort, text.ptr, text.len);
	for (unsigned i = 0; i < sim->count && sim->config->changes; i++) {
		if (listed >> i & 1)
			sim->nodes[i].reload = sim->now + sim_between(sim, W_MSEC, 2 * W_SEC);
	}
	for (unsigned i = 0; i < sim->config->promoters && sim->config->changes; i++)
		sim->hosts[i].reload = sim->now + sim_between(sim, W_MSEC, 2 * W_SEC);
	sim_trace(sim, "FILE %s", sim->cohort);
}

static void
fault_file(struct sim *sim)
{
	unsigned listed = sim->listed, used = 0;

	for (unsigned i = sim_dice(sim, 3) ? 1 : 1 + (unsigned)sim_dice(sim, 3); i > 0; i--)
		listed ^= 1U << sim_dice(sim, sim->count);
	for (unsigned i = 0; i < sim->count; i++)
		used |= sim->nodes[i].promise.term != 0 ? 1U << i : 0;
	/* a file that names only empty nodes is that of another cluster */
	if ((listed & used) != 0)
		change_file(sim, listed, (unsigned)sim_dice(sim, 3));
}

static const struct {
	void (*happens)(struct sim *sim, struct node *node);
	unsigned weight;
} faults[] = {
	{ fault_postgres, 20 }, { fault_agent, 15 }, { fault_node, 15 },
	{ fault_freeze_postgres, 8 }, { fault_freeze, 10 }, { fault_cut, 15 },
	{ fault_promoter, 8 }, { fault_everything, 1 }, { fault_network, 5 }, { fault_command, 10 },
};

/* Half of the time it hits a primary, for that is where it hurts. */
static struct node *
victim(struct sim *sim)
{
	struct node *node = &sim->nodes[sim_dice(sim, sim->count)];

	for (unsigned i = 0; i < sim->count && sim_dice(sim, 2) == 0; i++) {
		if (sim->nodes[i].primary)
			return &sim->nodes[i];
	}
	return node;
}

/* Once there is an election of two cohorts, that is where it hurts. */
static void
fault_changes(struct sim *sim)
{
	static void (*const worst[])(struct sim *sim, struct node *node) = { fault_promoter, fault_cut,
		fault_cut, fault_node, fault_freeze };
	bool joint = false;

	if (sim_dice(sim, 300) == 0)
		fault_file(sim);
	for (unsigned i = 0; i < sim->config->promoters; i++)
		joint = joint || (sim->hosts[i].promoter != NULL && sim->hosts[i].promoter->joint);
	if (joint && sim_dice(sim, 15) == 0) {
		worst[sim_dice(sim, W_NELEM(worst))](sim, victim(sim));
		sim->result->faults++;
	}
}

static void
fault_step(struct sim *sim)
{
	unsigned total = 0, pick;

	if (sim->config->changes && !sim->config->quiet)
		fault_changes(sim);
	if (sim->config->quiet || sim_dice(sim, sim->config->changes ? 120 : 70) != 0)
		return;
	for (unsigned i = 0; i < W_NELEM(faults); i++)
		total += faults[i].weight;
	pick = (unsigned)sim_dice(sim, total);
	for (unsigned i = 0; i < W_NELEM(faults); i++) {
		if (pick < faults[i].weight) {
			faults[i].happens(sim, victim(sim));
			sim->result->faults++;
			return;
		}
		pick -= faults[i].weight;
	}
}

/* ---- a run ---- */

static void
deliver(struct sim *sim, struct message *message, w_usec *due)
{
	struct host *host;
	struct node *node;

	if (message->to < NODES) {
		node = &sim->nodes[message->to];
		if (node->agent_up && sim->now < node->frozen_until) {
			*due = node->frozen_until;
			return;
		}
		if (node->agent_up)
			sim_take_order(sim, node, &message->order);
	} else {
		host = &sim->hosts[message->to - NODES];
		node = &sim->nodes[message->from];
		if (sim->config->mistake >= SIM_COMPLIANT && message->kind == M_STATUS)
			host_imagines(host, &message->status);
		if (host->promoter != NULL && message->kind == M_STATUS)
			dbt_promoter_status(host->promoter, &message->status, sim->now);
		else if (host->promoter != NULL)
			dbt_promoter_gone(host->promoter, node->name, sim->now);
		host->turn = sim->now;
	}
	*due = 0;
}

static void
check_terms(struct sim *sim)
{
	for (unsigned i = 0; i < sim->count; i++) {
		if (sim->nodes[i].promise.term < sim->terms[i] &&
		    sim->config->mistake != SIM_FORGETFUL)
			sim_wrong(sim, "the term of %s went down", sim->nodes[i].name);
		sim->terms[i] = sim->nodes[i].promise.term;
	}
}

static void
tick(struct sim *sim)
{
	sim->now += TICK;
	if (sim->faulty)
		fault_step(sim);
	for (unsigned i = 0; i < sim->posted; i++) {
		if (sim->due[i] != 0 && sim->now >= sim->due[i])
			deliver(sim, &sim->messages[i], &sim->due[i]);
	}
	while (sim->posted > 0 && sim->due[sim->posted - 1] == 0)
		sim->posted--;
	for (unsigned i = 0; i < sim->count; i++)
		sim_node_step(sim, &sim->nodes[i]);
	for (unsigned i = 0; i < sim->config->promoters; i++)
		host_step(sim, &sim->hosts[i]);
	for (unsigned i = 0; i < SERVERS; i++) {
		if ((sim->now / TICK) % 30 == i)
			server_step(sim, i);
	}
	check_terms(sim);
}

static void
set_up(struct sim *sim)
{
	static const char *const names[NODES] = { "db-1", "db-2", "db-3", "db-4", "db-5" };

	sim->count = sim->config->changes ? NODES : sim->config->nodes;
	for (unsigned i = 0; i < sim->count; i++)
		snprintf(sim->nodes[i].name, sizeof(sim->nodes[i].name), "%s", names[i]);
	change_file(sim, (1U << sim->config->nodes) - 1, sim->config->quorum);
	for (unsigned i = 0; i < sim->count; i++) {
		struct node *node = &sim->nodes[i];

		memcpy(node->configured, sim->cohort, sizeof(node->configured));
		node->reload = 0;
		node->agent_up = true;
		node->epoch = sim->now;
		node->receiver = -1;
		if (sim->config->fresh || i >= sim->config->nodes)
			continue;
		node->promise = (struct dbt_promise){ .term = 1,
			.stage = i == 0 ? DBT_LEADING : DBT_FOLLOWING };
		memcpy(node->promise.cohort.names, sim->cohort, sizeof(sim->cohort));
		if (i != 0)
			snprintf(node->promise.upstream, sizeof(node->promise.upstream), "db-1");
		node->before = node->promise;
		node->data = true;
		sim_append(node, 1, 0);
		sim_pg_start(sim, node, i == 0);
	}
	for (unsigned i = 0; i < sim->config->promoters; i++) {
		sim->hosts[i] = (struct host){ .sim = sim, .index = i };
		host_start(sim, &sim->hosts[i]);
	}
}

/* All is mended, and everything that was down comes back soon. */
static void
mend(struct sim *sim)
{
	struct dbt_command resume = { .kind = DBT_CMD_RESUME, .id = sim->now };

	sim_trace(sim, "---- calm ----");
	sim->faulty = false;
	sim->cut_until = 0;
	if (sim->config->changes)
		change_file(sim, (1U << sim->count) - 1, sim->config->quorum);
	for (unsigned i = 0; i < sim->count; i++) {
		struct node *node = &sim->nodes[i];

		if (!node->agent_up)
			node->agent_back = W_MIN(node->agent_back, sim->now + 500 * W_MSEC);
		node->frozen_until = W_MIN(node->frozen_until, sim->now + 500 * W_MSEC);
	}
	for (unsigned i = 0; i < sim->config->promoters; i++) {
		struct host *host = &sim->hosts[i];

		if (host->promoter == NULL)
			host_start(sim, host);
		dbt_promoter_command(host->promoter, &resume, sim->now);
	}
}

/* One leader, a commit since the calm, and everybody streams. */
static bool
is_whole(const struct sim *sim)
{
	const struct node *leader = NULL;

	for (unsigned i = 0; i < sim->count; i++) {
		if (sim->nodes[i].primary && sim->nodes[i].marked && sim_pg_runs(sim, &sim->nodes[i]))
			leader = &sim->nodes[i];
	}
	for (unsigned i = 0; i < sim->count && leader != NULL; i++) {
		const struct node *node = &sim->nodes[i];

		if (node != leader && (node->receiver != (int)(leader - sim->nodes) ||
		    node->promise.term != leader->promise.term))
			return false;
	}
	if (leader != NULL && (strcmp(leader->promise.cohort.names, sim->cohort) != 0 ||
	    leader->promise.cohort.joint[0] != '\0'))
		return false;
	return leader != NULL && sim->acks_after > 0;
}

static void
run_calm(struct sim *sim)
{
	w_usec began = sim->now, most = sim->config->changes ? CALM_CHANGES : CALM;

	mend(sim);
	while (sim->now - began < most && sim->result->wrong[0] == '\0') {
		tick(sim);
		if (sim->acks_after > 0 && sim->result->calm == 0)
			sim->result->calm = sim->now - began;
		if (is_whole(sim)) {
			sim->result->whole = sim->now - began;
			return;
		}
	}
	sim_wrong(sim, "no progress: %s", sim->result->calm == 0 ? "nothing is acknowledged" :
	    "not everybody follows");
}

bool
sim_run(const struct sim_config *config, struct sim_result *result)
{
	struct sim *sim = w_xcalloc(1, sizeof(*sim));
	w_usec until = START + (config->fresh || config->changes ? 2 * FAULTY : FAULTY);

	*result = (struct sim_result){ 0 };
	sim->config = config;
	sim->result = result;
	sim->random = config->seed * 0x9e3779b97f4a7c15U + 1;
	for (unsigned i = 0; i < 8; i++)
		(void)sim_dice(sim, 2);
	sim->now = START;
	sim->faulty = true;
	sim->delay = 10 * W_MSEC;
	set_up(sim);
	while (sim->now < until && result->wrong[0] == '\0')
		tick(sim);
	if (result->wrong[0] == '\0')
		run_calm(sim);
	for (unsigned i = 0; i < config->promoters; i++)
		host_stop(sim, &sim->hosts[i]);
	free(sim);
	return result->wrong[0] == '\0';
}
