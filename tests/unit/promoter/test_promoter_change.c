/* Databases are added and removed: docs/protocol/04-failover.md, section 8.1. */
#include <stdio.h>

#include "promoted.h"

#define X "db-1,db-2,db-3/1"
#define Y "db-1,db-2,db-3,db-4/1"

static const struct dbt_cohort x = { .names = X };
static const struct dbt_cohort joint = { .names = Y, .joint = X, .edition = 1 };
static const struct dbt_cohort y = { .names = Y, .edition = 1 };

static bool
is_cohort(const struct dbt_order *order, const struct dbt_cohort *cohort)
{
	return order != NULL && is(order->cohort.names, cohort->names) &&
	    is(order->cohort.joint, cohort->joint) && order->cohort.edition == cohort->edition;
}

static const char *
waits(void)
{
	struct dbt_promoter_view view;

	dbt_promoter_look(w.promoter, &view);
	return view.change != NULL ? view.change : "";
}

/* Three nodes, and db-4 that the cluster file has and that follows already. */
static void
with_a_fourth(void)
{
	start();
	steady();
	reconfigure(15, 1);
	follows(3, 0, 3);
	for (unsigned i = 0; i < 4; i++)
		say(i);
}

/* ... and the change has begun, with db-2, db-3 and db-4 having answered. */
static void
with_answers(void)
{
	with_a_fourth();
	w.status[1].lsn = w.status[2].lsn = 100;
	w.status[3].lsn = 90;
	pass(1100 * W_MSEC, 15);
	w.status[0].drained = true;
	say(0);
	for (unsigned i = 1; i < 4; i++) {
		fenced(i, 4);
		say(i);
	}
}

static void
a_node_is_added(void)
{
	start();
	steady();
	reconfigure(15, 1);
	say(3); /* empty */
	CU_ASSERT(is(w.moves, "adopt") && is_cohort(order(3, DBT_FOLLOW), &x));
	CU_ASSERT(is(waits(), "not every agent has the new cluster file"));
	for (unsigned i = 0; i < 3; i++)
		say(i);
	CU_ASSERT(is(waits(), "db-4 does not follow the leader"));
	follows(3, 0, 3);
	for (unsigned i = 0; i < 4; i++)
		say(i);
	CU_ASSERT(is(waits(), "it begins"));
	w.moves[0] = '\0';
	pass(900 * W_MSEC, 15);
	CU_ASSERT(is(w.moves, ""));
	pass(200 * W_MSEC, 15);
	CU_ASSERT(is(w.moves, "change") && is(w.last.why,
	    "the cluster file has another cohort: from " X " to " Y));
	CU_ASSERT(is_cohort(order(0, DBT_DRAIN), &x) && order(1, DBT_PREPARE) == NULL);
	w.status[0].drained = true;
	say(0);
	for (unsigned i = 2; i < 4; i++) {
		CU_ASSERT(is_cohort(order(i, DBT_PREPARE), &joint) && order(i, DBT_PREPARE)->term == 4);
		fenced(i, 4);
		say(i);
	}
	CU_ASSERT(is_cohort(order(1, DBT_PREPARE), &joint) && order(1, DBT_PREPARE)->lsn == 100);
	CU_ASSERT(order(0, DBT_PREPARE) == NULL);
	fenced(1, 4);
	say(1);
	CU_ASSERT(is_cohort(order(1, DBT_PROMOTE), &joint) && is_cohort(order(3, DBT_FOLLOW), &joint));
}

static void
it_is_final_when_it_is_established(void)
{
	struct dbt_promoter_view view;

	with_answers();
	CU_ASSERT(order(1, DBT_PROMOTE) != NULL);
	w.cohort = joint;
	leads(1, 4);
	w.status[1].marked = false;
	say(1);
	follows(2, 1, 4);
	say(2);
	follows(3, 1, 4);
	say(3);
	CU_ASSERT(is(state(), "marking"));
	/* its agent says it in the same breath */
	w.status[1].marked = true;
	promises(1, &y);
	say(1);
	CU_ASSERT(is(state(), "steady"));
	CU_ASSERT(is_cohort(order(2, DBT_FOLLOW), &y) && is_cohort(order(3, DBT_FOLLOW), &y));
	pass(500 * W_MSEC, 15);
	CU_ASSERT(is_cohort(order(0, DBT_FOLLOW), &y));
	w.cohort = y;
	follows(0, 1, 4);
	follows(2, 1, 4);
	follows(3, 1, 4);
	pass(50 * W_MSEC, 15);
	w.ordered = 0;
	w.moves[0] = '\0';
	pass(15 * W_SEC, 15);
	CU_ASSERT(w.ordered == 0 && is(w.moves, ""));
	dbt_promoter_look(w.promoter, &view);
	CU_ASSERT(view.cohort == 4 && view.needed == 3 && view.change == NULL && is(view.in_force, Y));
	CU_ASSERT(view.degraded == NULL && view.switchovers == 0);
}

/* ---- what it waits for ---- */

static void
wait_paused(void)
{
	w.status[1].promise.paused = true;
	w.status[1].promise.stamp = 5;
}

static void
wait_file(void)
{
	snprintf(w.status[1].configured, DBT_COHORT, X);
}

static void
wait_mark(void)
{
	w.status[0].marked = false;
}

static void
wait_newcomer(void)
{
	not_streaming(3);
}

static void
wait_behind(void)
{
	w.status[0].lsn = w.status[1].lsn = w.status[2].lsn = 200 + (2 << 20);
}

static void
wait_pending(void)
{
	promises(0, &joint);
}

static void
wait_ahead(void)
{
	w.status[2].promise.term = 4;
}

static void
wait_cloning(void)
{
	snprintf(w.status[1].busy, DBT_NAME, "cloning");
	snprintf(w.status[2].busy, DBT_NAME, "cloning");
}

static void
it_waits_with_a_reason(void)
{
	static const struct {
		void (*happens)(void);
		const char *text;
	} rows[] = {
		{ wait_paused, "the cluster is paused" },
		{ wait_file, "not every agent has the new cluster file" },
		{ wait_mark, "there is no leader without doubt" },
		{ wait_newcomer, "db-4 does not stream from the leader" },
		{ wait_behind, "db-4 is still behind" },
		{ wait_pending, "another change is not established yet" },
		{ wait_ahead, "an agent has promised a higher term" },
		{ wait_cloning, "too few of the nodes before are left or there: 1, of 2 must be" },
	};

	for (unsigned i = 0; i < W_NELEM(rows); i++) {
		with_a_fourth();
		w.moves[0] = '\0';
		rows[i].happens();
		pass(1900 * W_MSEC, 15);
		CU_ASSERT(is(waits(), rows[i].text) && is(w.moves, ""));
	}
}

static void
so_many_cannot_go_at_once(void)
{
	start();
	steady();
	reconfigure(1, 0);
	pass(3 * W_SEC, 1);
	CU_ASSERT(is(w.moves, "") && is(waits(), "too few of the nodes before are left or there: 1, of 2 must be"));
	/* nor who leads */
	reconfigure(6, 1);
	pass(W_SEC, 6);
	CU_ASSERT(is(waits(), "db-1 leads and is not in the cluster file: switch over with the one before"));
	CU_ASSERT(is(state(), "steady") && is(w.moves, ""));
}

static void
a_node_is_removed(void)
{
	start();
	steady();
	reconfigure(3, 1);
	w.status[0].attached = 1;
	pass(1100 * W_MSEC, 3);
	CU_ASSERT(is(w.moves, "change") && order(0, DBT_DRAIN) != NULL);
	w.status[0].drained = true;
	say(0);
	CU_ASSERT(order(2, DBT_PREPARE) == NULL && order(1, DBT_PREPARE) != NULL);
	CU_ASSERT(is(order(1, DBT_PREPARE)->cohort.names, "db-1,db-2/1") &&
	    is(order(1, DBT_PREPARE)->cohort.joint, X));
	fenced(1, 4);
	say(1);
	/* two of the three before, and both of the two */
	CU_ASSERT(order(0, DBT_PREPARE) != NULL && order(1, DBT_PROMOTE) == NULL);
	fenced(0, 4);
	w.status[0].drained = false;
	say(0);
	CU_ASSERT(order(1, DBT_PROMOTE) != NULL && order(0, DBT_FOLLOW) != NULL);
}

static void
the_quorum_changes_alone(void)
{
	start();
	steady();
	reconfigure(7, 2);
	pass(1100 * W_MSEC, 7);
	CU_ASSERT(is(w.moves, "change"));
	w.status[0].drained = true;
	say(0);
	CU_ASSERT(is(order(2, DBT_PREPARE)->cohort.names, "db-1,db-2,db-3/2"));
}

/* ---- elections of two cohorts ---- */

/* db-1 is gone for good, and what is left has promised a change that nobody knows to be established. */
static void
left_joint(const struct dbt_cohort *cohort, unsigned mask)
{
	start();
	leads(0, 3);
	for (unsigned i = 1; i < 3; i++)
		follows(i, 0, 3);
	reconfigure(15, 1);
	for (unsigned i = 0; i < 4; i++) {
		if ((mask >> i & 1) == 0)
			continue;
		fenced(i, 5);
		promises(i, cohort);
		snprintf(w.status[i].promise.promoter, DBT_PROMOTER, "m-2/1");
		snprintf(w.status[i].system, sizeof(w.status[i].system), "7000");
		w.status[i].timeline = 3;
		w.status[i].lsn = 100;
	}
}

static void
what_is_pending_goes_on_with_both(void)
{
	left_joint(&joint, 14);
	pass(1900 * W_MSEC, 6);
	/* needed are three of Y */
	CU_ASSERT(order(1, DBT_PREPARE) == NULL);
	pass(3 * W_SEC, 14);
	CU_ASSERT_FATAL(order(1, DBT_PREPARE) != NULL);
	CU_ASSERT(order(1, DBT_PREPARE)->term == 6 && is_cohort(order(1, DBT_PREPARE), &joint));
	fenced(1, 6);
	say(1);
	fenced(3, 6);
	say(3);
	CU_ASSERT(order(1, DBT_PROMOTE) == NULL && order(3, DBT_PROMOTE) == NULL);
	fenced(2, 6);
	say(2);
	CU_ASSERT(order(1, DBT_PROMOTE) != NULL && is_cohort(order(3, DBT_FOLLOW), &joint));
}

/* Whatever the cluster file says. */
static void
what_is_pending_outlives_the_file(void)
{
	left_joint(&joint, 14);
	reconfigure(7, 1);
	pass(5 * W_SEC, 6);
	/* db-4 cannot be heard, and three of Y are needed */
	CU_ASSERT(order(1, DBT_PREPARE) == NULL && w.promoter->count == 4 && w.promoter->listed == 3);
	left_joint(&joint, 15);
	reconfigure(7, 1);
	pass(5 * W_SEC, 7);
	CU_ASSERT(is_cohort(order(1, DBT_PREPARE), &joint) && order(3, DBT_PREPARE) == NULL);
}

/* db-2 and db-3 have promised different changes, and refuse each other's. */
static void
of_two_attempts_the_one_goes_on_that_can(void)
{
	static const struct dbt_cohort other = { .names = "db-1,db-3/0", .joint = X, .edition = 1 };

	left_joint(&joint, 7);
	promises(0, &(struct dbt_cohort){ .names = X });
	promises(2, &other);
	w.status[1].promise.term = 9;
	pass(3 * W_SEC, 7);
	/* three of Y are not there */
	CU_ASSERT(is_cohort(order(0, DBT_PREPARE), &other));
	fenced(0, w.promoter->term);
	say(0);
	fenced(2, w.promoter->term);
	say(2);
	CU_ASSERT(order(0, DBT_PROMOTE) != NULL);
}

static void
what_one_knows_to_be_final_counts_alone(void)
{
	left_joint(&joint, 14);
	promises(3, &y);
	pass(5 * W_SEC, 14);
	CU_ASSERT(is_cohort(order(1, DBT_PREPARE), &y) && is_cohort(order(3, DBT_PREPARE), &y));
}

static void
an_attempt_in_vain_is_forgotten(void)
{
	start();
	leads(0, 6);
	follows(1, 0, 6);
	fenced(2, 5);
	promises(2, &joint);
	reconfigure(15, 1);
	pass(W_SEC, 7);
	/* told to follow, as whoever stayed behind */
	CU_ASSERT(is_cohort(order(2, DBT_FOLLOW), &x) && !w.promoter->pending);
}

static void
who_does_not_count_is_not_elected(void)
{
	static const struct dbt_cohort shrinks = { .names = "db-1,db-2/1", .joint = X, .edition = 1 };

	/* db-3 is to be left out, and has more than the others: without it there is enough */
	left_joint(&shrinks, 7);
	w.status[2].lsn = 200;
	pass(3 * W_SEC, 7);
	CU_ASSERT_FATAL(order(1, DBT_PREPARE) != NULL);
	for (unsigned i = 0; i < 3; i++) {
		fenced(i, w.promoter->term);
		say(i);
	}
	CU_ASSERT(order(2, DBT_PROMOTE) == NULL && order(0, DBT_PROMOTE) != NULL);
}

static void
what_only_those_who_leave_have_is_not_lost(void)
{
	static const struct dbt_cohort moves = { .names = "db-2,db-4/1", .joint = X, .edition = 1 };

	left_joint(&moves, 14);
	w.status[2].lsn = 200;
	pass(3 * W_SEC, 14);
	CU_ASSERT_FATAL(order(1, DBT_PREPARE) != NULL);
	for (unsigned i = 1; i < 4; i++) {
		fenced(i, w.promoter->term);
		say(i);
	}
	/* db-3's answer is needed, and what it has may have been acknowledged with db-1 */
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT(order(i, DBT_PROMOTE) == NULL);
	w.status[3].lsn = 200;
	say(3);
	CU_ASSERT(order(3, DBT_PROMOTE) != NULL);
}

/* ---- in the middle ---- */

static void
a_file_that_changes_again_ends_it(void)
{
	with_a_fourth();
	pass(1100 * W_MSEC, 15);
	CU_ASSERT(is(state(), "draining"));
	reconfigure(7, 1);
	pass(50 * W_MSEC, 7);
	CU_ASSERT(is(state(), "steady") && is(w.last.name, "abort"));
	CU_ASSERT(w.status[0].drained || order(0, DBT_PREPARE) == NULL);
	w.ordered = 0;
	pass(15 * W_SEC, 7);
	CU_ASSERT(is(w.last.name, "abort") && order(0, DBT_DRAIN) == NULL);
}

static void
an_election_goes_on_over_a_reload(void)
{
	with_answers();
	CU_ASSERT(is(state(), "promoting"));
	reconfigure(14, 1); /* all places move */
	CU_ASSERT(is(state(), "promoting"));
	w.cohort = y;
	leads(1, 4);
	say(1);
	CU_ASSERT(is(state(), "steady") && strstr(w.moves, "established") != NULL);
	CU_ASSERT(is(w.promoter->places[w.promoter->leader].name, "db-2"));
}

static void
a_failed_change_is_tried_again_later(void)
{
	with_a_fourth();
	pass(1100 * W_MSEC, 15);
	CU_ASSERT(is(state(), "draining"));
	pass(5 * W_SEC, 15);
	CU_ASSERT(is(state(), "steady") && is(w.last.name, "abort"));
	pass(9 * W_SEC, 15);
	CU_ASSERT(is(w.last.name, "abort"));
	pass(2 * W_SEC, 15);
	CU_ASSERT(is(w.last.name, "change"));
}

static void
too_many_nodes_are_told(void)
{
	W_AUTO(w_buf_fini) struct w_buf many = { 0 };
	struct dbt_cohort crowd = { .edition = 1 };

	start();
	steady();
	for (unsigned i = 0; i < DBT_NODES_MAX; i++)
		w_buf_printf(&many, "%sother-%u", i > 0 ? "," : "", i);
	w_buf_text(&many, "/1");
	memcpy(crowd.names, many.ptr, many.len);
	for (unsigned i = 0; i < 3; i++)
		promises(i, &crowd);
	pass(W_SEC, ALL);
	CU_ASSERT(w.promoter->count == DBT_NODES_MAX && waits()[0] != '\0');
	end_leader();
	pass(5 * W_SEC, ALL);
	CU_ASSERT(order(1, DBT_PREPARE) == NULL);
}

static CU_TestInfo change_tests[] = {
	{ "a node is added", a_node_is_added },
	{ "a node is removed", a_node_is_removed },
	{ "the quorum changes alone", the_quorum_changes_alone },
	{ "it is final when it is established", it_is_final_when_it_is_established },
	{ "it waits, with a reason", it_waits_with_a_reason },
	{ "too many, or the leader, cannot be left out", so_many_cannot_go_at_once },
	{ "another cluster file ends it before a term is chosen", a_file_that_changes_again_ends_it },
	{ "an election goes on over a reload", an_election_goes_on_over_a_reload },
	{ "one that failed is tried again later", a_failed_change_is_tried_again_later },
	CU_TEST_INFO_NULL
};

static CU_TestInfo joint_tests[] = {
	{ "what is pending goes on with both cohorts", what_is_pending_goes_on_with_both },
	{ "what is pending outlives the cluster file", what_is_pending_outlives_the_file },
	{ "of two attempts the one goes on that can", of_two_attempts_the_one_goes_on_that_can },
	{ "what one knows to be final counts alone", what_one_knows_to_be_final_counts_alone },
	{ "an attempt in vain is forgotten", an_attempt_in_vain_is_forgotten },
	{ "who does not count any more is not elected", who_does_not_count_is_not_elected },
	{ "what only those have that leave is not lost", what_only_those_who_leave_have_is_not_lost },
	{ "more nodes than there is room for are told", too_many_nodes_are_told },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo promoter_change_suites[] = {
	{ .pName = "dbtier/promoter change", .pCleanupFunc = promoted_tear_down, .pTests = change_tests },
	{ .pName = "dbtier/promoter joint", .pCleanupFunc = promoted_tear_down, .pTests = joint_tests },
	CU_SUITE_INFO_NULL
};
