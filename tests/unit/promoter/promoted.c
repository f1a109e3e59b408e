/* See promoted.h. */
#include "promoted.h"

#include <stdio.h>

struct world w;
static const char *const names[PLACES] = { "db-1", "db-2", "db-3", "db-4", "db-5" };

static void
on_order(void *arg W_UNUSED, const char *node, const struct dbt_order *order)
{
	for (int i = 0; i < PLACES && w.ordered < ORDERS; i++) {
		if (strcmp(node, names[i]) != 0)
			continue;
		w.orders[w.ordered].to = i;
		w.orders[w.ordered++].order = *order;
	}
}

static void
on_move(void *arg W_UNUSED, const struct dbt_move *move)
{
	size_t len = strlen(w.moves);

	w.last = *move;
	snprintf(w.moves + len, sizeof(w.moves) - len, "%s%s", len > 0 ? "," : "", move->name);
}

static void
on_answer(void *arg W_UNUSED, const struct dbt_answer *answer)
{
	if (!answer->done && !answer->failed) {
		w.progress++;
		return;
	}
	w.answer = *answer;
	w.answers++;
}

void
start_with(struct start how)
{
	struct dbt_promoter_config config = { .self = "m-1", .epoch = 1000, .turn = how.turn,
		.cluster = &w.cluster, .automatic = !how.external, .seed = 1, .order = on_order,
		.move = on_move, .answer = on_answer };

	dbt_promoter_free(&w.promoter);
	memset(&w, 0, sizeof(w));
	w.now = 100 * W_SEC;
	for (unsigned i = 0; i < how.nodes; i++)
		w.members[i] = (struct w_member){ .name = names[i], .role = W_DATABASE, .index = i,
			.opt.database = { .initial = i == 0 ? "primary" : "replica" } };
	w.cluster = (struct w_cluster){ .members = w.members, .member_count = how.nodes,
		.opt = { .quorum = how.quorum } };
	CU_ASSERT(dbt_cohort_format(&w.cluster, w.cohort.names) == W_OK);
	CU_ASSERT_FATAL(dbt_promoter_new(&config, w.now, &w.promoter, NULL) == W_OK);
	for (unsigned i = 0; i < PLACES; i++) {
		w.status[i] = (struct dbt_status){ .epoch = 1, .heard_ms = -1 };
		snprintf(w.status[i].node, DBT_NAME, "%s", names[i]);
		CU_ASSERT(dbt_cohort_format(&w.cluster, w.status[i].configured) == W_OK);
	}
}

void
start(void)
{
	start_with((struct start){ .nodes = NODES, .quorum = 1 });
}

void
reconfigure(unsigned mask, unsigned quorum)
{
	w.cluster.member_count = 0;
	for (unsigned i = 0; i < PLACES; i++) {
		if ((mask >> i & 1) == 0)
			continue;
		w.members[w.cluster.member_count] = (struct w_member){ .name = names[i], .role = W_DATABASE,
			.index = (unsigned)w.cluster.member_count,
			.opt.database = { .initial = i == 0 ? "primary" : "replica" } };
		w.cluster.member_count++;
	}
	w.cluster.opt.quorum = quorum;
	CU_ASSERT_FATAL(dbt_promoter_reload(w.promoter, &w.cluster, w.now, NULL) == W_OK);
	for (unsigned i = 0; i < PLACES; i++)
		CU_ASSERT(dbt_cohort_format(&w.cluster, w.status[i].configured) == W_OK);
}

void
promises(unsigned at, const struct dbt_cohort *cohort)
{
	w.status[at].promise.cohort = *cohort;
}

int
promoted_tear_down(void)
{
	dbt_promoter_free(&w.promoter);
	return 0;
}

void
say(unsigned at)
{
	w.status[at].seq++;
	dbt_promoter_status(w.promoter, &w.status[at], w.now);
}

void
pass(w_usec wait, unsigned mask)
{
	w_usec until = w.now + wait;

	while (w.now < until) {
		w.now += W_MIN(50 * W_MSEC, until - w.now);
		for (unsigned i = 0; i < PLACES; i++) {
			if (mask >> i & 1)
				say(i);
		}
		(void)dbt_promoter_turn(w.promoter, w.now);
	}
}

void
leads(unsigned at, uint32_t term)
{
	struct dbt_status *status = &w.status[at];

	status->promise = (struct dbt_promise){ .term = term, .stage = DBT_LEADING, .cohort = w.cohort };
	snprintf(status->promise.promoter, DBT_PROMOTER, "m-1/1000");
	snprintf(status->system, sizeof(status->system), "7000");
	status->postgres = DBT_PG_UP;
	status->recovery = status->settled = status->streaming = false;
	status->timeline = term;
	status->lsn = 100;
	status->attached = w.promoter->listed - 1;
	status->marked = true;
}

void
follows(unsigned at, unsigned upstream, uint32_t term)
{
	struct dbt_status *status = &w.status[at];

	status->promise = (struct dbt_promise){ .term = term, .stage = DBT_FOLLOWING, .cohort = w.cohort };
	snprintf(status->promise.promoter, DBT_PROMOTER, "m-1/1000");
	snprintf(status->promise.upstream, DBT_NAME, "%s", names[upstream]);
	snprintf(status->system, sizeof(status->system), "7000");
	status->postgres = DBT_PG_UP;
	status->recovery = status->streaming = true;
	status->settled = status->marked = false;
	status->heard_ms = 10;
	status->timeline = term;
	status->lsn = 100;
}

void
fenced(unsigned at, uint32_t term)
{
	struct dbt_status *status = &w.status[at];

	status->promise = (struct dbt_promise){ .term = term, .stage = DBT_FENCED,
		.cohort = w.promoter->cohort };
	snprintf(status->promise.promoter, DBT_PROMOTER, "%s", w.promoter->id);
	status->postgres = DBT_PG_UP;
	status->recovery = status->settled = true;
	status->streaming = status->marked = false;
	status->heard_ms = -1;
}

void
not_streaming(unsigned at)
{
	w.status[at].streaming = false;
	w.status[at].heard_ms = -1;
}

void
witness(const char *server, const char *primary, unsigned others)
{
	struct dbt_witness witness = { .came = w.now, .others = others };

	snprintf(witness.server, DBT_NAME, "%s", server);
	snprintf(witness.primary, DBT_NAME, "%s", primary);
	dbt_promoter_witness(w.promoter, &witness, w.now);
}

void
steady(void)
{
	leads(0, 3);
	for (unsigned i = 1; i < w.promoter->listed; i++)
		follows(i, 0, 3);
	pass(2 * W_SEC, ALL);
	w.moves[0] = '\0';
	w.ordered = 0;
}

const char *
state(void)
{
	struct dbt_promoter_view view;

	dbt_promoter_look(w.promoter, &view);
	return view.state;
}

bool
is(const char *a, const char *b)
{
	if (strcmp(a, b) != 0)
		printf("\n      is \"%s\", wanted is \"%s\"\n", a, b);
	return strcmp(a, b) == 0;
}

const struct dbt_order *
order(unsigned to, enum dbt_order_kind kind)
{
	for (unsigned i = w.ordered; i-- > 0;) {
		if (w.orders[i].to == (int)to && w.orders[i].order.kind == kind)
			return &w.orders[i].order;
	}
	return NULL;
}

unsigned
count_orders(unsigned to, enum dbt_order_kind kind)
{
	unsigned count = 0;

	for (unsigned i = 0; i < w.ordered; i++)
		count += w.orders[i].to == (int)to && w.orders[i].order.kind == kind;
	return count;
}

void
end_leader(void)
{
	w.status[0].postgres = DBT_PG_NONE;
	snprintf(w.status[0].ended, DBT_TEXT, "killed by signal 9");
	say(0);
}

