/* The promoter: each move of its table, and thousands of elections in a simulated cluster. */
#include <inttypes.h>
#include <stdio.h>

#include "promoted.h"
#include "sim.h"

/* ---- beginning ---- */

static void
init_when_all_are_empty(void)
{
	start();
	say(0);
	say(1);
	CU_ASSERT(w.ordered == 0);
	say(2);
	CU_ASSERT(is(state(), "bootstrapping"));
	CU_ASSERT(w.ordered == 1 && order(0, DBT_INIT) != NULL && order(0, DBT_INIT)->term == 1);
	leads(0, 1);
	say(0);
	CU_ASSERT(is(w.moves, "init,found,adopt,adopt"));
	CU_ASSERT(order(1, DBT_FOLLOW) != NULL && is(order(1, DBT_FOLLOW)->upstream, "db-1"));
}

static void
no_init_when_one_has_promised(void)
{
	start();
	w.status[2].promise.term = 1;
	pass(W_SEC, ALL);
	CU_ASSERT(w.ordered == 0 && is(state(), "unknown"));
	start();
	snprintf(w.status[2].system, sizeof(w.status[2].system), "7000");
	pass(W_SEC, ALL);
	CU_ASSERT(w.ordered == 0);
	start();
	snprintf(w.status[1].configured, DBT_COHORT, "db-1,db-2/1");
	pass(W_SEC, ALL);
	CU_ASSERT(w.ordered == 0);
}

static void
what_is_well_is_left_alone(void)
{
	struct dbt_promoter_view view;

	start();
	steady();
	pass(20 * W_SEC, ALL);
	CU_ASSERT(w.ordered == 0 && is(w.moves, ""));
	dbt_promoter_look(w.promoter, &view);
	CU_ASSERT(is(view.leader, "db-1") && view.term == 3 && view.spare && view.degraded == NULL);
	CU_ASSERT(view.fresh == 3 && view.cohort == 3 && view.needed == 2);
}

static void
needed_answers(void)
{
	static const struct {
		unsigned nodes, quorum, needed;
	} rows[] = { { 1, 0, 1 }, { 2, 1, 2 }, { 2, 0, 2 }, { 3, 1, 2 }, { 3, 2, 2 }, { 3, 0, 3 } };

	for (unsigned i = 0; i < W_NELEM(rows); i++) {
		start_with((struct start){ .nodes = rows[i].nodes, .quorum = rows[i].quorum });
		CU_ASSERT(w.promoter->sides[0].needed == rows[i].needed);
	}
}

static void
external_does_nothing(void)
{
	struct dbt_command command = { .kind = DBT_SWITCHOVER, .id = 5 };

	start_with((struct start){ .nodes = 3, .quorum = 1, .external = true });
	steady();
	end_leader();
	pass(5 * W_SEC, ALL);
	dbt_promoter_command(w.promoter, &command, w.now);
	CU_ASSERT(w.ordered == 0 && is(w.moves, ""));
	CU_ASSERT(w.answer.failed && w.answer.id == 5);
	CU_ASSERT_PTR_NOT_NULL(dbt_promoter_agent(w.promoter, "db-1", NULL));
}

/* ---- adopting ---- */

static void
who_strayed_is_adopted(void)
{
	static const enum dbt_stage stages[] = { DBT_EMPTY, DBT_FENCED, DBT_FOLLOWING, DBT_LEADING };

	for (unsigned i = 0; i < W_NELEM(stages); i++) {
		start();
		steady();
		w.status[2].promise = (struct dbt_promise){ .term = 2, .stage = stages[i] };
		say(2);
		CU_ASSERT(is(w.moves, "adopt"));
		CU_ASSERT(w.ordered == 1 && order(2, DBT_FOLLOW) != NULL);
		CU_ASSERT(order(2, DBT_FOLLOW)->term == 3);
		CU_ASSERT(is(order(2, DBT_FOLLOW)->upstream, "db-1"));
		follows(2, 0, 3);
		say(2);
		w.ordered = 0;
		pass(W_SEC, ALL);
		CU_ASSERT(w.ordered == 0);
	}
}

static void
orders_are_repeated(void)
{
	int64_t id;

	start();
	steady();
	w.status[2].promise = (struct dbt_promise){ .term = 2, .stage = DBT_FENCED };
	say(2);
	id = order(2, DBT_FOLLOW)->id;
	pass(W_SEC, ALL);
	CU_ASSERT(count_orders(2, DBT_FOLLOW) == 5 && order(2, DBT_FOLLOW)->id == id);
	/* what was refused is not said four times a second */
	w.status[2].order = id;
	snprintf(w.status[2].refused, DBT_TEXT, "no");
	pass(W_SEC, ALL);
	CU_ASSERT(count_orders(2, DBT_FOLLOW) == 6);
}

/* ---- elections ---- */

static void
prepare_goes_out_at_once(void)
{
	start();
	steady();
	w.status[2].timeline = 9; /* whatever it is, a new term is above it */
	say(2);
	end_leader();
	CU_ASSERT(is(w.moves, "suspect,prepare"));
	CU_ASSERT(w.ordered == 3);
	for (unsigned i = 0; i < NODES; i++) {
		CU_ASSERT_FATAL(order(i, DBT_PREPARE) != NULL);
		CU_ASSERT(order(i, DBT_PREPARE)->term == 10);
		CU_ASSERT(is(order(i, DBT_PREPARE)->promoter, "m-1/1000"));
		CU_ASSERT(is(order(i, DBT_PREPARE)->cohort.names, "db-1,db-2,db-3/1"));
	}
}

static void
elect_at_once_and_establish(void)
{
	start();
	steady();
	end_leader();
	fenced(1, 4);
	fenced(2, 4);
	w.status[2].lsn = 101;
	say(1);
	CU_ASSERT(is(state(), "preparing"));
	w.ordered = 0;
	w.now += 20 * W_MSEC;
	say(2);
	CU_ASSERT(is(w.moves, "suspect,prepare,elect") && is(w.last.node, "db-3"));
	CU_ASSERT(w.ordered == 3 && order(2, DBT_PROMOTE) != NULL);
	CU_ASSERT(order(0, DBT_FOLLOW) != NULL && is(order(0, DBT_FOLLOW)->upstream, "db-3"));
	CU_ASSERT(order(1, DBT_FOLLOW) != NULL && order(1, DBT_FOLLOW)->term == 4);
	leads(2, 4);
	w.status[2].marked = false;
	say(2);
	CU_ASSERT(is(state(), "marking"));
	follows(0, 2, 4);
	say(0);
	follows(1, 2, 4);
	say(1);
	w.status[2].marked = true;
	w.now += 20 * W_MSEC;
	say(2);
	CU_ASSERT(is(w.moves, "suspect,prepare,elect,promoted,established"));
	CU_ASSERT(w.last.took == 40 * W_MSEC && w.last.term == 4 && is(w.last.node, "db-3"));
}

static void
the_furthest_wins(void)
{
	static const struct {
		uint32_t timeline[2];
		uint64_t lsn[2];
		unsigned winner; /* db-2 or db-3 */
	} rows[] = {
		{ { 3, 3 }, { 100, 100 }, 1 }, { { 3, 3 }, { 100, 101 }, 2 },
		{ { 3, 3 }, { 101, 100 }, 1 }, { { 2, 3 }, { 900, 100 }, 2 },
		{ { 3, 2 }, { 100, 900 }, 1 },
	};

	for (unsigned i = 0; i < W_NELEM(rows); i++) {
		start();
		steady();
		end_leader();
		for (unsigned n = 1; n < NODES; n++) {
			fenced(n, 4);
			w.status[n].timeline = rows[i].timeline[n - 1];
			w.status[n].lsn = rows[i].lsn[n - 1];
			say(n);
		}
		CU_ASSERT(order(rows[i].winner, DBT_PROMOTE) != NULL);
		CU_ASSERT(order(3 - rows[i].winner, DBT_PROMOTE) == NULL);
	}
}

/* The leader that died counts only when it must, but then as everybody does. */
static void
the_dead_leader_may_win(void)
{
	start();
	steady();
	dbt_promoter_gone(w.promoter, "db-3", w.now);
	w.status[1].promise.term = 5; /* nobody resumes a leader that others have left */
	say(1);
	end_leader();
	CU_ASSERT(is(state(), "preparing"));
	fenced(1, 6);
	say(1);
	fenced(0, 6);
	w.status[0].lsn = 500;
	say(0);
	CU_ASSERT(order(0, DBT_PROMOTE) != NULL && order(1, DBT_PROMOTE) == NULL);
}

static void
spoil_promoter(struct dbt_status *status)
{
	snprintf(status->promise.promoter, DBT_PROMOTER, "m-2/1");
}

static void
spoil_term(struct dbt_status *status)
{
	status->promise.term--;
}

static void
spoil_settled(struct dbt_status *status)
{
	status->settled = false;
}

static void
spoil_stage(struct dbt_status *status)
{
	status->promise.stage = DBT_FOLLOWING;
}

static void
spoil_data(struct dbt_status *status)
{
	status->system[0] = '\0';
	status->promise.stage = DBT_EMPTY;
}

static void
spoil_system(struct dbt_status *status)
{
	snprintf(status->system, sizeof(status->system), "8000");
}

static void
some_answers_do_not_count(void)
{
	static void (*const spoils[])(struct dbt_status *status) = { spoil_promoter, spoil_term,
		spoil_settled, spoil_stage, spoil_data, spoil_system };

	for (unsigned i = 0; i < W_NELEM(spoils); i++) {
		start();
		steady();
		end_leader();
		fenced(1, 4);
		say(1);
		fenced(2, 4);
		spoils[i](&w.status[2]);
		say(2);
		CU_ASSERT(order(1, DBT_PROMOTE) == NULL && order(2, DBT_PROMOTE) == NULL);
	}
}

static void
an_answer_that_is_gone_does_not_count(void)
{
	start();
	steady();
	end_leader();
	fenced(1, 4);
	say(1);
	dbt_promoter_gone(w.promoter, "db-2", w.now);
	fenced(2, 4);
	say(2);
	CU_ASSERT(order(1, DBT_PROMOTE) == NULL && order(2, DBT_PROMOTE) == NULL);
}

static void
outbid_gives_way(void)
{
	start();
	steady();
	end_leader();
	fenced(1, 5);
	snprintf(w.status[1].promise.promoter, DBT_PROMOTER, "m-2/1");
	say(1);
	CU_ASSERT(is(w.moves, "suspect,prepare,give up") && is(state(), "waiting"));
	/* the other one is left alone for a second */
	w.ordered = 0;
	pass(900 * W_MSEC, ALL);
	CU_ASSERT(order(1, DBT_PREPARE) == NULL);
	pass(W_SEC, ALL);
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(1, DBT_PREPARE)->term == 6);
}

static void
too_few_answers_give_up(void)
{
	start();
	steady();
	end_leader();
	fenced(1, 4);
	pass(2900 * W_MSEC, ALL);
	CU_ASSERT(is(state(), "preparing"));
	pass(150 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "suspect,prepare,give up"));
	pass(1100 * W_MSEC, ALL);
	CU_ASSERT(order(2, DBT_PREPARE)->term == 5);
}

static void
a_term_below_its_timeline_is_given_up(void)
{
	start();
	steady();
	end_leader();
	fenced(1, 4);
	fenced(2, 4);
	w.status[2].timeline = 4;
	say(1);
	say(2);
	CU_ASSERT(is(w.moves, "suspect,prepare,give up") && order(2, DBT_PROMOTE) == NULL);
}

/* What was sent may still arrive: nobody else is promoted in that term. */
static void
a_lost_winner_costs_a_term(void)
{
	start();
	steady();
	end_leader();
	fenced(0, 4);
	fenced(1, 4);
	fenced(2, 4);
	say(1);
	say(2);
	CU_ASSERT(order(1, DBT_PROMOTE) != NULL);
	say(0);
	dbt_promoter_gone(w.promoter, "db-2", w.now);
	CU_ASSERT(is(state(), "waiting"));
	pass(2 * W_SEC, 5);
	CU_ASSERT(order(2, DBT_PROMOTE) == NULL);
	CU_ASSERT_FATAL(order(2, DBT_PREPARE) != NULL && order(2, DBT_PREPARE)->term == 5);
	fenced(0, 5);
	fenced(2, 5);
	w.status[2].lsn = 200;
	say(0);
	say(2);
	CU_ASSERT(order(2, DBT_PROMOTE) != NULL && order(2, DBT_PROMOTE)->term == 5);
}

static void
another_leader_in_the_middle(void)
{
	start();
	steady();
	end_leader();
	fenced(1, 4);
	fenced(2, 4);
	say(1);
	say(2);
	leads(2, 5);
	say(2);
	CU_ASSERT(is(w.moves, "suspect,prepare,elect,found,adopt,adopt"));
	CU_ASSERT(order(1, DBT_FOLLOW)->term == 5 && is(order(1, DBT_FOLLOW)->upstream, "db-3"));
}

static void
an_old_leader_comes_back(void)
{
	start();
	steady();
	leads(1, 7);
	follows(2, 1, 7);
	say(2);
	say(1);
	CU_ASSERT(order(0, DBT_FOLLOW) != NULL && is(order(0, DBT_FOLLOW)->upstream, "db-2"));
	CU_ASSERT(order(0, DBT_FOLLOW)->term == 7 && is(state(), "steady"));
}

/* ---- statuses ---- */

static void
old_statuses_are_dropped(void)
{
	struct dbt_status old;

	start();
	steady();
	old = w.status[0];
	old.postgres = DBT_PG_NONE;
	dbt_promoter_status(w.promoter, &old, w.now); /* the same seq */
	old.seq--;
	dbt_promoter_status(w.promoter, &old, w.now);
	old.epoch--;
	old.seq += 100;
	dbt_promoter_status(w.promoter, &old, w.now);
	CU_ASSERT(is(w.moves, ""));
	/* an older one of a status does not make it fresh either */
	pass(2 * W_SEC, 6);
	old = w.status[0];
	dbt_promoter_status(w.promoter, &old, w.now);
	CU_ASSERT(!dbt__fresh(w.promoter, &w.promoter->places[0]));
	/* after ten seconds it is an agent whose clock was set back */
	pass(9 * W_SEC, 6);
	w.status[0].epoch = 0;
	w.status[0].seq = 0;
	say(0);
	CU_ASSERT(dbt__fresh(w.promoter, &w.promoter->places[0]));
}

static void
strangers_are_nobody(void)
{
	struct dbt_status status;

	start();
	steady();
	status = w.status[0];
	snprintf(status.node, DBT_NAME, "db-9");
	status.promise.term = 90;
	status.seq++;
	dbt_promoter_status(w.promoter, &status, w.now);
	dbt_promoter_gone(w.promoter, "db-9", w.now);
	CU_ASSERT(is(w.moves, "") && w.promoter->top == 3);
	CU_ASSERT_PTR_NULL(dbt_promoter_agent(w.promoter, "db-9", NULL));
}

/* ---- resuming ---- */

static void
all_were_down(void)
{
	start();
	leads(0, 3);
	follows(1, 0, 3);
	follows(2, 0, 3);
	not_streaming(1);
	not_streaming(2);
	w.status[0].postgres = DBT_PG_NONE;
	say(1);
	say(2);
	pass(W_SEC, 6);
	CU_ASSERT(w.ordered == 0);
	say(0);
	CU_ASSERT(is(w.moves, "suspect,resume") && order(0, DBT_RESUME)->term == 3);
	w.status[0].postgres = DBT_PG_STARTING;
	say(0);
	w.status[0].postgres = DBT_PG_UP;
	say(0);
	CU_ASSERT(is(w.moves, "suspect,resume,resumed") && count_orders(0, DBT_RESUME) == 1);
}

static void
all_were_down_and_the_leader_stays_away(void)
{
	start();
	follows(1, 0, 3);
	follows(2, 0, 3);
	not_streaming(1);
	not_streaming(2);
	pass(1900 * W_MSEC, 6);
	CU_ASSERT(w.ordered == 0);
	pass(200 * W_MSEC, 6);
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(1, DBT_PREPARE)->term == 4);
}

static void
nobody_leads(void)
{
	start();
	for (unsigned i = 0; i < NODES; i++) {
		follows(i, 0, 3);
		fenced(i, 4);
		snprintf(w.status[i].promise.promoter, DBT_PROMOTER, "m-1/1");
	}
	pass(1900 * W_MSEC, ALL);
	CU_ASSERT(w.ordered == 0);
	pass(200 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "prepare") && order(1, DBT_PREPARE)->term == 5);
}

static void
no_resume_against_a_promise(void)
{
	start();
	leads(0, 3);
	follows(1, 0, 3);
	not_streaming(1);
	w.status[1].promise.term = 4;
	w.status[0].postgres = DBT_PG_NONE;
	pass(300 * W_MSEC, 3);
	CU_ASSERT(order(0, DBT_RESUME) == NULL);
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(1, DBT_PREPARE)->term == 5);
}

static void
resume_when_too_few_could_elect(void)
{
	start();
	steady();
	dbt_promoter_gone(w.promoter, "db-2", w.now);
	dbt_promoter_gone(w.promoter, "db-3", w.now);
	end_leader();
	CU_ASSERT(is(w.moves, "suspect,resume") && order(0, DBT_RESUME) != NULL);
}

static void
one_node_is_resumed(void)
{
	start_with((struct start){ .nodes = 1, .quorum = 0 });
	steady();
	end_leader();
	CU_ASSERT(is(w.moves, "suspect,resume"));
	/* what does not come up as it was is tried by an election */
	pass(3200 * W_MSEC, 1);
	CU_ASSERT(order(0, DBT_PREPARE) != NULL && order(0, DBT_PREPARE)->term == 4);
	fenced(0, 4);
	say(0);
	CU_ASSERT(order(0, DBT_PROMOTE) != NULL);
}

/* ---- healing ---- */

static void
heal_by_switchover(void)
{
	start();
	steady();
	fenced(2, 6);
	w.status[0].attached = 1;
	pass(1900 * W_MSEC, ALL);
	CU_ASSERT(w.ordered == 0);
	pass(200 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "heal") && order(0, DBT_DRAIN) != NULL);
	w.status[0].drained = true;
	say(0);
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(1, DBT_PREPARE)->term == 7);
	CU_ASSERT(order(0, DBT_PREPARE) == NULL);
	fenced(1, 7);
	say(1);
	fenced(2, 7);
	say(2);
	CU_ASSERT(order(0, DBT_PREPARE) != NULL);
	fenced(0, 7);
	w.status[0].drained = false;
	say(0);
	CU_ASSERT(order(0, DBT_PROMOTE) != NULL);
}

static void
heal_without_quorum(void)
{
	start_with((struct start){ .nodes = 2, .quorum = 1 });
	steady();
	fenced(1, 6);
	w.status[0].attached = 0;
	pass(2100 * W_MSEC, 3);
	CU_ASSERT(is(w.moves, "heal") && order(0, DBT_DRAIN) == NULL);
	CU_ASSERT(order(0, DBT_PREPARE) != NULL && order(0, DBT_PREPARE)->term == 7);
}

/* ---- the simulation ---- */

#define RUNS 1500
#define CHANGING_RUNS 600

static const struct {
	unsigned nodes, quorum;
} shapes[] = { { 3, 1 }, { 3, 1 }, { 5, 2 }, { 2, 1 }, { 5, 1 }, { 1, 0 }, { 3, 0 }, { 3, 2 }, { 4, 1 },
	{ 3, 1 } };

static struct sim_config
run_of(uint64_t seed)
{
	return (struct sim_config){ .seed = seed, .nodes = shapes[seed % W_NELEM(shapes)].nodes,
		.quorum = shapes[seed % W_NELEM(shapes)].quorum, .promoters = 1 + (seed / 10) % 2,
		.fresh = (seed / 20) % 4 == 0 };
}

/* From three of five nodes on, or four, or two, the cluster file names others again and again. */
static struct sim_config
changing_run_of(uint64_t seed)
{
	static const unsigned nodes[] = { 3, 3, 4, 2, 5, 3, 1 };
	struct sim_config config = run_of(seed);

	config.nodes = nodes[seed % W_NELEM(nodes)];
	config.quorum = config.nodes > 1 ? 1 : 0;
	config.fresh = seed % 16 == 0;
	config.changes = true;
	return config;
}

static void
nothing_is_lost(void)
{
	struct sim_result result, sum = { 0 };

	for (uint64_t seed = 1; seed <= RUNS; seed++) {
		struct sim_config config = run_of(seed);

		if (!sim_run(&config, &result)) {
			printf("\n      seed %" PRIu64 ", %u nodes, quorum %u: %s\n", seed, config.nodes,
			    config.quorum, result.wrong);
			CU_FAIL("a run went wrong");
		}
		sum.elections += result.elections;
		sum.switchovers += result.switchovers;
		sum.turns += result.turns;
		sum.cascades += result.cascades;
		sum.faults += result.faults;
		sum.acknowledged += result.acknowledged;
		sum.whole = W_MAX(sum.whole, result.whole);
	}
	printf("\n      %d runs: %u faults, %u elections, %u switchovers, %u acknowledgements, "
	       "%u turns, %u cascades, whole again after %.1f s at most ... ", RUNS, sum.faults, sum.elections,
	    sum.switchovers, sum.acknowledged, sum.turns, sum.cascades, (double)sum.whole / 1e6);
	CU_ASSERT(sum.elections > RUNS && sum.switchovers > 0 && sum.turns > 0 && sum.cascades > 0);
	CU_ASSERT(sum.whole < 15 * W_SEC);
}

static void
nothing_is_lost_by_a_change(void)
{
	struct sim_result result, sum = { 0 };

	for (uint64_t seed = 1; seed <= CHANGING_RUNS; seed++) {
		struct sim_config config = changing_run_of(seed);

		if (!sim_run(&config, &result)) {
			printf("\n      seed %" PRIu64 ", %u nodes: %s\n", seed, config.nodes, result.wrong);
			CU_FAIL("a run went wrong");
		}
		sum.changes += result.changes;
		sum.faults += result.faults;
		sum.whole = W_MAX(sum.whole, result.whole);
	}
	printf("\n      %d runs: %u faults, %u changes established, whole again after %.1f s at most ... ",
	    CHANGING_RUNS, sum.faults, sum.changes, (double)sum.whole / 1e6);
	CU_ASSERT(sum.changes > CHANGING_RUNS / 2);
}

/* A promoter that is wrong about the cohort is refused. It may come to nothing, then. */
static void
who_knows_no_better_does_no_harm(void)
{
	struct sim_result result;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct sim_config config = changing_run_of(seed);

		config.mistake = SIM_BY_FILE;
		CU_ASSERT(sim_run(&config, &result) || strstr(result.wrong, "no progress") != NULL);
	}
}

static void
nothing_moves_without_faults(void)
{
	struct sim_result result;

	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct sim_config config = run_of(seed);

		config.quiet = true;
		CU_ASSERT(sim_run(&config, &result) && result.elections == 0);
	}
}

/* A run that goes wrong without mistakes would be found as well, but by the test before. */
static void
mistakes_are_found(void)
{
	for (int mistake = SIM_NONE + 1; mistake < SIM_MISTAKE_COUNT; mistake++) {
		struct sim_result result = { 0 };
		uint64_t seed = 1;

		for (; seed <= 4000; seed++) {
			struct sim_config config = mistake >= SIM_NEW_ALONE ? changing_run_of(seed) :
			    run_of(seed);

			config.mistake = (enum sim_mistake)mistake;
			if (!sim_run(&config, &result) && strstr(result.wrong, "no progress") == NULL)
				break;
		}
		if (seed > 4000)
			printf("\n      mistake %d is not found\n", mistake);
		CU_ASSERT(seed <= 4000);
	}
}

static CU_TestInfo move_tests[] = {
	{ "a cluster is made when all agents are there and empty", init_when_all_are_empty },
	{ "no cluster is made over a promise, data or another cohort", no_init_when_one_has_promised },
	{ "what is well is left alone", what_is_well_is_left_alone },
	{ "needed is a majority, and enough to have all commits", needed_answers },
	{ "external failover is watched only", external_does_nothing },
	{ "who does not follow the leader is told to", who_strayed_is_adopted },
	{ "orders are repeated until they are carried out", orders_are_repeated },
	{ "prepare goes out at once, in a term above all", prepare_goes_out_at_once },
	{ "the winner is promoted at once, and established by its marker", elect_at_once_and_establish },
	{ "the highest timeline wins, then the highest position", the_furthest_wins },
	{ "a leader that died counts when it must", the_dead_leader_may_win },
	{ "some answers do not count", some_answers_do_not_count },
	{ "an answer whose agent is gone does not count", an_answer_that_is_gone_does_not_count },
	{ "an outbid promoter gives way", outbid_gives_way },
	{ "too few answers end an election", too_few_answers_give_up },
	{ "a term that does not exceed the winner's timeline is given up",
	    a_term_below_its_timeline_is_given_up },
	{ "a winner that gets lost costs a term", a_lost_winner_costs_a_term },
	{ "another promoter's leader is followed", another_leader_in_the_middle },
	{ "a leader of an older term is told to follow", an_old_leader_comes_back },
	{ "old statuses are dropped", old_statuses_are_dropped },
	{ "nodes that are not in the cluster file are nobody", strangers_are_nobody },
	{ "after all were down the leader is resumed", all_were_down },
	{ "after all were down, and the leader stays away, another one is elected",
	    all_were_down_and_the_leader_stays_away },
	{ "fenced by an earlier promoter, they elect", nobody_leads },
	{ "a leader that others have left is not resumed", no_resume_against_a_promise },
	{ "a leader is resumed when too few others could elect", resume_when_too_few_could_elect },
	{ "a single node is resumed, and else elected", one_node_is_resumed },
	{ "an agent with a higher promise is healed by a switchover", heal_by_switchover },
	{ "without a quorum it is healed without draining", heal_without_quorum },
	CU_TEST_INFO_NULL
};

static CU_TestInfo sim_tests[] = {
	{ "no acknowledged commit is lost, whatever fails", nothing_is_lost },
	{ "nor when the cohort changes", nothing_is_lost_by_a_change },
	{ "nor by promoters that do not know the cohort", who_knows_no_better_does_no_harm },
	{ "nothing moves where nothing fails", nothing_moves_without_faults },
	{ "mistakes made on purpose are found", mistakes_are_found },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo promoter_suites[] = {
	{ .pName = "dbtier/promoter moves", .pCleanupFunc = promoted_tear_down, .pTests = move_tests },
	{ .pName = "dbtier/promoter simulation", .pTests = sim_tests },
	CU_SUITE_INFO_NULL
};
