/* The promoter: each row of its table of evidence, degraded states, and operators' commands. */
#include <stdio.h>

#include "promoted.h"

/* ---- suspicion: one function for each way to be in doubt ---- */

static void
doubt_ended(void)
{
	w.status[0].postgres = DBT_PG_NONE;
}

static void
doubt_frozen(void)
{
	w.status[0].postgres = DBT_PG_FROZEN;
}

static void
doubt_lost_by_replica(void)
{
	dbt_promoter_gone(w.promoter, "db-1", w.now);
	not_streaming(1);
	not_streaming(2);
}

static void
doubt_lost_unheard(void)
{
	dbt_promoter_gone(w.promoter, "db-1", w.now);
	w.status[1].heard_ms = w.status[2].heard_ms = 701;
}

/* Its connection stands, but nothing comes. */
static void
doubt_lost_silent(void)
{
	not_streaming(1);
	not_streaming(2);
}

static void
doubt_lost_by_server(void)
{
	dbt_promoter_gone(w.promoter, "db-1", w.now);
	w.status[1].postgres = w.status[2].postgres = DBT_PG_STARTING;
	witness("s-1", "", 2);
}

static void
doubt_cut_off(void)
{
	witness("s-1", "", 2);
	witness("s-2", "", 1);
}

static void
doubt_cut_off_by_one(void)
{
	witness("s-1", "", 2);
	not_streaming(2);
}

static void
doubt_no_quorum(void)
{
	w.status[0].attached = 0;
	not_streaming(1);
	not_streaming(2);
}

static void
calm_agent_only(void)
{
	dbt_promoter_gone(w.promoter, "db-1", w.now);
}

static void
calm_lost_but_a_replica_hears(void)
{
	doubt_lost_by_replica();
	follows(2, 0, 3);
	witness("s-1", "", 2);
}

static void
calm_lost_but_a_server_is_served(void)
{
	doubt_lost_by_replica();
	witness("s-1", "db-1", 2);
}

static void
calm_blind_server(void)
{
	doubt_lost_by_server();
	witness("s-1", "", 0);
}

static void
calm_one_server(void)
{
	witness("s-1", "", 2);
}

static void
doubt_half_frozen(void)
{
	doubt_frozen();
	witness("s-1", "db-1", 2);
}

static void
calm_one_server_of_two(void)
{
	doubt_cut_off();
	witness("s-2", "db-1", 1);
}

static void
calm_no_quorum_but_too_few(void)
{
	doubt_no_quorum();
	snprintf(w.status[2].busy, DBT_NAME, "cloning");
}

static const struct {
	const char *name;
	void (*happens)(void);
	w_usec wait; /* W_NEVER: it is no doubt at all */
	bool silent; /* db-1's agent says nothing any more */
} evidence[] = {
	{ "ended", doubt_ended, 0, false },
	{ "frozen", doubt_frozen, 200 * W_MSEC, false },
	{ "frozen, but it serves a server", doubt_half_frozen, 2 * W_SEC, false },
	{ "lost, a replica does not stream", doubt_lost_by_replica, 250 * W_MSEC, true },
	{ "lost, a replica has heard nothing", doubt_lost_unheard, 250 * W_MSEC, true },
	{ "lost, silent for 700 ms", doubt_lost_silent, 950 * W_MSEC, true },
	{ "lost, a server has no primary", doubt_lost_by_server, 250 * W_MSEC, true },
	{ "cut off, two servers", doubt_cut_off, W_SEC, false },
	{ "cut off, a server and a replica", doubt_cut_off_by_one, W_SEC, false },
	{ "no quorum", doubt_no_quorum, W_SEC, false },
	{ "only its agent is silent", calm_agent_only, W_NEVER, true },
	{ "lost, but a replica hears it", calm_lost_but_a_replica_hears, W_NEVER, true },
	{ "lost, but a server is served", calm_lost_but_a_server_is_served, W_NEVER, true },
	{ "lost, but the server is blind", calm_blind_server, W_NEVER, true },
	{ "cut off, one server alone", calm_one_server, W_NEVER, false },
	{ "cut off, but one is served", calm_one_server_of_two, W_NEVER, false },
	{ "no quorum, but too few others", calm_no_quorum_but_too_few, W_NEVER, false },
};

/* Say it all, servers' reports included, without time passing between. */
static void
say_all(unsigned row)
{
	evidence[row].happens();
	for (unsigned i = 0; i < NODES; i++) {
		if (i != 0 || !evidence[row].silent)
			say(i);
	}
}

static void
each_evidence_waits(void)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < W_NELEM(evidence); i++) {
			w_usec wait = evidence[i].wait, step = 10 * W_MSEC, began;

			start_with((struct start){ .nodes = 3, .quorum = 1, .turn = turn });
			steady();
			began = w.now;
			say_all(i);
			while (count_orders(1, DBT_PREPARE) == 0 && w.now - began < 3 * W_SEC) {
				w.now += step;
				say_all(i);
			}
			if (wait == W_NEVER) {
				CU_ASSERT(is(count_orders(1, DBT_PREPARE) == 0 ? "" : evidence[i].name, ""));
				continue;
			}
			wait = wait + turn * 500 * W_MSEC;
			if (wait == 0)
				wait = step; /* at once: the loop counts one step more */
			if (w.now - began != wait && !(evidence[i].wait == 0 && w.now == began))
				printf("\n      %s: waits %d ms\n", evidence[i].name,
				    (int)((w.now - began) / W_MSEC));
			CU_ASSERT(w.now - began == wait || (evidence[i].wait == 0 && w.now == began));
		}
	}
}

static void
doubts_pass(void)
{
	start();
	steady();
	doubt_frozen();
	say(0);
	CU_ASSERT(is(state(), "suspecting"));
	leads(0, 3);
	say(0);
	CU_ASSERT(is(w.moves, "suspect,calm") && w.ordered == 0);
	/* two short doubts are not one long one */
	doubt_frozen();
	pass(150 * W_MSEC, ALL);
	leads(0, 3);
	say(0);
	doubt_frozen();
	pass(150 * W_MSEC, ALL);
	CU_ASSERT(w.ordered == 0);
}

static void
old_reports_are_no_evidence(void)
{
	start();
	steady();
	witness("s-1", "db-1", 2);
	doubt_lost_by_replica();
	pass(1400 * W_MSEC, 6);
	CU_ASSERT(w.ordered == 0);
	pass(500 * W_MSEC, 6);
	CU_ASSERT(count_orders(1, DBT_PREPARE) > 0);
}

static void
nothing_is_prepared_for_nobody(void)
{
	struct dbt_promoter_view view;

	start();
	steady();
	dbt_promoter_gone(w.promoter, "db-1", w.now);
	dbt_promoter_gone(w.promoter, "db-3", w.now);
	not_streaming(1);
	pass(2 * W_SEC, 2);
	CU_ASSERT(is(w.moves, "suspect,stall") && w.ordered == 0);
	dbt_promoter_look(w.promoter, &view);
	CU_ASSERT(is(view.degraded, "no-leader") && view.leader == NULL);
	/* the third one is back */
	not_streaming(2);
	say(2);
	CU_ASSERT(is(w.moves, "suspect,stall,prepare"));
}

/* ---- switchover ---- */

static void
command(enum dbt_command_kind kind, const char *node)
{
	struct dbt_command command = { .kind = kind, .id = 77 };

	snprintf(command.node, DBT_NAME, "%s", node);
	w.answers = 0;
	dbt_promoter_command(w.promoter, &command, w.now);
}

/* Commits need all standbys: none can be put behind another one first. */
static void
none_to_spare(void)
{
	w.status[0].attached = 1;
	say(0);
}

static void
switchover_goes_through(void)
{
	start();
	steady();
	none_to_spare();
	command(DBT_SWITCHOVER, "db-3");
	CU_ASSERT(w.ordered == 1 && order(0, DBT_DRAIN) != NULL && w.answers == 0);
	w.status[0].drained = true;
	w.status[0].lsn = 120;
	say(0);
	CU_ASSERT_FATAL(order(1, DBT_PREPARE) != NULL && order(2, DBT_PREPARE) != NULL);
	CU_ASSERT(order(1, DBT_PREPARE)->lsn == 0 && order(2, DBT_PREPARE)->lsn == 120);
	fenced(2, 4);
	w.status[2].lsn = 120;
	say(2);
	/* it has enough with the leader, but the other one has its time */
	CU_ASSERT(order(0, DBT_PREPARE) == NULL && order(2, DBT_PROMOTE) == NULL);
	fenced(1, 4);
	w.status[1].lsn = 110;
	say(1);
	CU_ASSERT(order(2, DBT_PROMOTE) != NULL && order(1, DBT_FOLLOW) != NULL);
	/* the old leader's end takes nothing from the winner */
	CU_ASSERT(count_orders(0, DBT_FOLLOW) == 0 && count_orders(0, DBT_UNDRAIN) == 0);
	follows(1, 2, 4);
	say(1);
	leads(2, 4);
	w.now += 30 * W_MSEC;
	say(2);
	CU_ASSERT(order(0, DBT_FOLLOW) == NULL);
	pass(500 * W_MSEC, ALL);
	CU_ASSERT(order(0, DBT_FOLLOW) != NULL && count_orders(0, DBT_UNDRAIN) == 0);
	follows(0, 2, 4);
	say(0);
	CU_ASSERT(is(w.moves, "drain,level,elect,established,adopt"));
	CU_ASSERT(w.answers == 1 && w.answer.done && w.answer.id == 77);
	CU_ASSERT(is(w.answer.text, "db-3 leads") && w.progress == 3);
	CU_ASSERT(w.promoter->last_gap == 30 * W_MSEC && w.promoter->switchovers == 1);
}

/* A switchover to db-3, of which db-2 has answered, and db-3 has promised and is on its way. */
static void
on_its_way(uint64_t follower, uint64_t target)
{
	start();
	steady();
	none_to_spare();
	command(DBT_SWITCHOVER, "db-3");
	w.status[0].drained = true;
	w.status[0].lsn = 120;
	say(0);
	fenced(1, 4);
	w.status[1].lsn = follower;
	say(1);
	fenced(2, 4);
	w.status[2].settled = false;
	w.status[2].streaming = true;
	w.status[2].lsn = target;
	say(2);
}

/* The follower has: in the same term, so of the same promoter. */
static void
has_turned(void)
{
	bool streaming = w.status[1].streaming || w.status[1].promise.stage == DBT_FENCED;

	follows(1, 2, 4);
	w.status[1].streaming = streaming;
	snprintf(w.status[1].promise.promoter, DBT_PROMOTER, "%s", w.promoter->id);
	w.status[1].timeline = 3;
	w.status[1].lsn = 120;
	say(1);
}

static void
followers_turn_early(void)
{
	on_its_way(120, 110);
	CU_ASSERT(order(1, DBT_FOLLOW) == NULL);
	w.status[2].lsn = 120;
	say(2);
	CU_ASSERT_FATAL(order(1, DBT_FOLLOW) != NULL);
	CU_ASSERT(order(1, DBT_FOLLOW)->lsn == 120 && order(1, DBT_FOLLOW)->timeline == 3);
	CU_ASSERT(is(order(1, DBT_FOLLOW)->upstream, "db-3") && order(1, DBT_FOLLOW)->term == 4);
	/* its answer counts as before, and it hears of its upstream once */
	has_turned();
	CU_ASSERT(is(state(), "levelling") && order(2, DBT_PROMOTE) == NULL);
	w.status[2].settled = true;
	say(2);
	CU_ASSERT(order(2, DBT_PROMOTE) != NULL && count_orders(1, DBT_FOLLOW) == 1);
	CU_ASSERT(is(w.moves, "drain,level,turn,elect"));
}

/* It is elected, and then it is the target's turn: once. */
static void
who_is_ahead_leads_for_a_while(void)
{
	on_its_way(130, 120);
	w.status[2].settled = true;
	say(2);
	CU_ASSERT(count_orders(1, DBT_FOLLOW) == 0);
	CU_ASSERT(order(1, DBT_PROMOTE) != NULL && is(w.moves, "drain,level,elect"));
	leads(1, 4);
	w.status[1].attached = 1;
	say(1);
	CU_ASSERT(is(state(), "steady") && w.answers == 0 && w.promoter->switchovers == 0);
	follows(0, 1, 4);
	say(0);
	follows(2, 1, 4);
	w.status[2].streaming = false;
	say(2);
	CU_ASSERT(order(1, DBT_DRAIN) == NULL);
	w.status[2].streaming = true;
	say(2);
	CU_ASSERT_FATAL(order(1, DBT_DRAIN) != NULL);
	w.status[1].drained = true;
	say(1);
	fenced(0, 5);
	w.status[0].lsn = 140;
	say(0);
	fenced(2, 5);
	w.status[2].lsn = 130;
	say(2);
	leads(0, 5);
	say(0);
	CU_ASSERT(w.answers == 1 && w.answer.failed && w.answer.id == 77);
	CU_ASSERT(strstr(w.answer.text, "db-1 leads instead") != NULL);
}

/* A target that does not come to follow is not waited for for ever. */
static void
who_was_behind_gets_lost(void)
{
	on_its_way(130, 120);
	w.status[2].settled = true;
	say(2);
	leads(1, 4);
	say(1);
	pass(5100 * W_MSEC, 3);
	CU_ASSERT(w.answers == 1 && w.answer.failed);
	CU_ASSERT(is(w.answer.text, "nothing has changed: db-3 is silent"));
}

/* Not in the term in which it has turned to another one: all are asked anew. */
static void
who_has_turned_is_not_elected(void)
{
	on_its_way(120, 120);
	has_turned();
	pass(2100 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "drain,level,turn,widen"));
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(1, DBT_PREPARE)->term == 5);
	CU_ASSERT(order(2, DBT_PREPARE)->term == 5 && order(0, DBT_PREPARE)->term == 5);
	fenced(0, 5);
	fenced(1, 5);
	w.status[0].drained = false;
	say(0);
	say(1);
	CU_ASSERT(is(state(), "promoting") && order(0, DBT_PROMOTE) != NULL);
}

/* Nor does its being healed take the place of what was asked for. */
static void
who_was_behind_is_not_healed_first(void)
{
	on_its_way(130, 120);
	w.status[2].settled = true;
	say(2);
	leads(1, 4);
	follows(0, 1, 4);
	say(1);
	w.status[2].promise.term = 9;
	pass(5100 * W_MSEC, ALL);
	CU_ASSERT(w.answers == 1 && w.answer.failed && strstr(w.moves, "heal") == NULL);
	CU_ASSERT(is(w.answer.text, "nothing has changed: db-3 does not follow the leader"));
}

/* ---- followers stream from the target first ---- */

static void
cascade(void)
{
	start();
	steady();
	command(DBT_SWITCHOVER, "db-3");
	CU_ASSERT_FATAL(order(1, DBT_FOLLOW) != NULL);
	CU_ASSERT(is(order(1, DBT_FOLLOW)->upstream, "db-3") && order(1, DBT_FOLLOW)->term == 3);
	/* it has to ask whether it may */
	CU_ASSERT(order(1, DBT_FOLLOW)->timeline == 0);
	CU_ASSERT(is(w.moves, "cascade") && w.ordered == 1);
}

static void
follows_the_target(bool streaming)
{
	follows(1, 2, 3);
	w.status[1].streaming = streaming;
	say(1);
}

static void
drained_at(uint64_t lsn)
{
	w.status[0].drained = true;
	w.status[0].lsn = lsn;
	say(0);
}

static void
followers_stream_from_the_target(void)
{
	cascade();
	follows_the_target(false);
	CU_ASSERT(order(0, DBT_DRAIN) == NULL);
	follows_the_target(true);
	CU_ASSERT(order(0, DBT_DRAIN) != NULL && is(w.moves, "cascade,drain"));
	drained_at(120);
	/* it is never fenced: what it gets, the target has */
	CU_ASSERT(order(2, DBT_PREPARE) != NULL && order(1, DBT_PREPARE) == NULL);
	fenced(2, 4);
	w.status[2].settled = false;
	w.status[2].lsn = 120;
	say(2);
	CU_ASSERT_FATAL(order(1, DBT_FOLLOW)->term == 4);
	CU_ASSERT(order(1, DBT_FOLLOW)->lsn == 120 && order(1, DBT_FOLLOW)->timeline == 3);
	w.status[2].settled = true;
	say(2);
	CU_ASSERT(order(2, DBT_PROMOTE) == NULL);
	has_turned();
	CU_ASSERT(order(2, DBT_PROMOTE) != NULL && is(w.moves, "cascade,drain,level,turn,elect"));
	CU_ASSERT(count_orders(1, DBT_PREPARE) == 0);
}

/* It was told to follow the leader again, and acknowledges to that one until it streams from the target. */
static void
who_is_not_fenced_has_to_stream(void)
{
	cascade();
	follows_the_target(true);
	drained_at(120);
	fenced(2, 4);
	w.status[2].lsn = 120;
	say(2);
	w.status[1].streaming = false;
	has_turned();
	CU_ASSERT(order(2, DBT_PROMOTE) == NULL && is(state(), "levelling"));
	w.status[1].streaming = true;
	say(1);
	CU_ASSERT(order(2, DBT_PROMOTE) != NULL);
}

static void
who_does_not_stream_in_time_is_fenced(void)
{
	cascade();
	follows_the_target(false);
	pass(2100 * W_MSEC, ALL);
	CU_ASSERT(order(0, DBT_DRAIN) != NULL && is(w.moves, "cascade,drain"));
	drained_at(120);
	CU_ASSERT(order(2, DBT_PREPARE) != NULL && order(1, DBT_PREPARE) != NULL);
}

/* Behind a target that cannot get ready it is asked for its position as everybody. */
static void
who_streams_from_it_is_asked_when_it_is_late(void)
{
	cascade();
	follows_the_target(true);
	drained_at(120);
	pass(2100 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "cascade,drain,level,widen"));
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(0, DBT_PREPARE) != NULL);
}

static void
a_lost_target_gives_its_followers_back(void)
{
	cascade();
	follows_the_target(true);
	not_streaming(2);
	say(2);
	CU_ASSERT(is(w.moves, "cascade,drain,abort,adopt"));
	CU_ASSERT(is(order(1, DBT_FOLLOW)->upstream, "db-1") && order(1, DBT_FOLLOW)->term == 3);
	CU_ASSERT(w.answers == 1 && w.answer.failed);
}

/* Its leader's end is a failover like any other. */
static void
a_leader_may_end_meanwhile(void)
{
	cascade();
	follows_the_target(false);
	end_leader();
	CU_ASSERT(is(w.moves, "cascade,suspect,prepare") && w.answers == 1 && w.answer.failed);
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(2, DBT_PREPARE) != NULL);
}

/* Another promoter's switchover, which goes on, or has been left. */
static void
others_followers_are_left_alone(void)
{
	start();
	steady();
	follows_the_target(true);
	pass(9 * W_SEC, ALL);
	CU_ASSERT(is(w.moves, ""));
	pass(1100 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "adopt") && is(order(1, DBT_FOLLOW)->upstream, "db-1"));
	steady();
	follows_the_target(true);
	not_streaming(2);
	say(2);
	CU_ASSERT(is(w.moves, "adopt"));
}

static void
switchover_of_two(void)
{
	start_with((struct start){ .nodes = 2, .quorum = 1 });
	steady();
	command(DBT_SWITCHOVER, "");
	w.status[0].drained = true;
	say(0);
	CU_ASSERT(order(1, DBT_PREPARE) != NULL && order(1, DBT_PREPARE)->lsn == 100);
	CU_ASSERT(order(0, DBT_PREPARE) == NULL);
	fenced(1, 4);
	say(1);
	CU_ASSERT(order(0, DBT_PREPARE) != NULL);
	fenced(0, 4);
	say(0);
	CU_ASSERT(order(1, DBT_PROMOTE) != NULL);
}

static void
unfit_silent(void)
{
	dbt_promoter_gone(w.promoter, "db-3", w.now);
}

static void
unfit_not_following(void)
{
	follows(2, 1, 3);
	w.status[2].promise.term = 9;
	say(2);
}

static void
unfit_not_streaming(void)
{
	not_streaming(2);
	say(2);
}

static void
unfit_broken(void)
{
	snprintf(w.status[2].broken, DBT_TEXT, "fsync is off");
	say(2);
}

static void
unfit_no_member(void)
{
	static const struct dbt_cohort without = { .names = "db-1,db-2/1", .edition = 1 };

	for (unsigned i = 0; i < NODES; i++) {
		promises(i, &without);
		say(i);
	}
}

static void
unfit_paused(void)
{
	w.status[1].promise.paused = true;
	w.status[1].promise.stamp = 5;
	say(1);
}

static void
fit(void)
{
}

static void
switchover_refuses(void)
{
	static const struct {
		void (*happens)(void);
		const char *node, *text;
	} rows[] = {
		{ fit, "db-9", "refused: db-9: there is no such database" },
		{ unfit_silent, "db-3", "refused: db-3: is silent" },
		{ unfit_not_following, "db-3", "refused: db-3: does not follow the leader" },
		{ unfit_not_streaming, "db-3", "refused: db-3: does not stream from the leader" },
		{ unfit_broken, "db-3", "refused: db-3: has a setting that breaks the promises" },
		{ unfit_no_member, "db-3", "refused: db-3: is not of the cohort in force" },
		{ unfit_paused, "db-3", "refused: db-3: the cluster is paused" },
		{ end_leader, "db-3", "refused: db-3: there is no leader to take over from" },
	};

	for (unsigned i = 0; i < W_NELEM(rows); i++) {
		start();
		steady();
		rows[i].happens();
		command(DBT_SWITCHOVER, rows[i].node);
		CU_ASSERT(w.answers == 1 && w.answer.failed && is(w.answer.text, rows[i].text));
		CU_ASSERT(order(0, DBT_DRAIN) == NULL);
	}
}

static void
switchover_to_the_leader(void)
{
	start();
	steady();
	command(DBT_SWITCHOVER, "db-1");
	CU_ASSERT(w.answers == 1 && w.answer.done && is(w.answer.text, "db-1 leads already"));
	CU_ASSERT(w.ordered == 0);
}

static void
second_switchover_is_refused(void)
{
	start();
	steady();
	command(DBT_SWITCHOVER, "db-2");
	command(DBT_SWITCHOVER, "db-3");
	CU_ASSERT(w.answers == 1 && w.answer.failed);
	CU_ASSERT(is(w.answer.text, "refused: db-3: another switchover is under way"));
}

static void
slow_drain_is_undone(void)
{
	start();
	steady();
	none_to_spare();
	command(DBT_SWITCHOVER, "db-2");
	snprintf(w.status[0].busy, DBT_NAME, "draining");
	pass(4900 * W_MSEC, ALL);
	CU_ASSERT(w.answers == 0);
	pass(200 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "drain,abort") && w.answers == 1 && w.answer.failed);
	CU_ASSERT(is(w.answer.text,
	    "nothing has changed: writes that were under way did not end in time"));
	CU_ASSERT(order(0, DBT_UNDRAIN) != NULL && w.promoter->top == 3);
	w.status[0].busy[0] = '\0';
	pass(300 * W_MSEC, ALL);
	w.ordered = 0;
	pass(W_SEC, ALL);
	CU_ASSERT(w.ordered == 0);
}

static void
lost_target_is_undone(void)
{
	start();
	steady();
	none_to_spare();
	command(DBT_SWITCHOVER, "db-2");
	not_streaming(1);
	say(1);
	CU_ASSERT(is(w.answer.text, "nothing has changed: db-2 does not stream from the leader"));
	w.status[0].drained = true;
	say(0);
	CU_ASSERT(order(0, DBT_UNDRAIN) != NULL);
}

static void
leader_dies_while_drained(void)
{
	start();
	steady();
	none_to_spare();
	command(DBT_SWITCHOVER, "db-2");
	end_leader();
	CU_ASSERT(w.answers == 1 && w.answer.failed);
	CU_ASSERT(is(w.moves, "drain,suspect,prepare"));
}

static void
late_target_is_given_up(void)
{
	start();
	steady();
	none_to_spare();
	command(DBT_SWITCHOVER, "db-3");
	w.status[0].drained = true;
	say(0);
	fenced(1, 4);
	pass(2100 * W_MSEC, ALL);
	CU_ASSERT(is(w.moves, "drain,level,widen"));
	fenced(0, 4);
	w.status[0].drained = false;
	say(0);
	CU_ASSERT(is(state(), "promoting") && order(0, DBT_PROMOTE) != NULL);
	leads(0, 4);
	say(0);
	CU_ASSERT(w.answers == 1 && w.answer.failed);
}

/* Another promoter's switchover is its own; what it has forgotten is helped after a while. */
static void
a_forgotten_drain_is_undone(void)
{
	start();
	steady();
	w.status[0].drained = true;
	pass(6500 * W_MSEC, ALL);
	CU_ASSERT(w.ordered == 0);
	pass(W_SEC, ALL);
	CU_ASSERT(order(0, DBT_UNDRAIN) != NULL);
}

/* ---- pause ---- */

static void
keep_pause(unsigned at)
{
	w.status[at].promise.paused = w.promoter->paused;
	w.status[at].promise.stamp = w.promoter->stamp;
}

static void
pause_is_kept_and_stops(void)
{
	struct dbt_promoter_view view;

	start();
	steady();
	command(DBT_CMD_PAUSE, "");
	CU_ASSERT(w.ordered == 3 && order(1, DBT_PAUSE)->paused && order(1, DBT_PAUSE)->stamp > 0);
	CU_ASSERT(w.answers == 0);
	for (unsigned i = 0; i < NODES; i++) {
		keep_pause(i);
		say(i);
	}
	CU_ASSERT(w.answers == 1 && w.answer.done && is(w.answer.text, "paused: 3 of 3 agents keep it"));
	dbt_promoter_look(w.promoter, &view);
	CU_ASSERT(view.paused && is(view.degraded, "paused"));
	/* the leader is resumed, nobody is elected */
	end_leader();
	pass(3 * W_SEC, ALL);
	CU_ASSERT(order(1, DBT_PREPARE) == NULL && order(0, DBT_RESUME) != NULL);
	command(DBT_CMD_RESUME, "");
	CU_ASSERT(!w.promoter->paused);
}

static void
the_highest_stamp_is_spread(void)
{
	start();
	steady();
	w.status[1].promise.paused = true;
	w.status[1].promise.stamp = 900;
	say(1);
	CU_ASSERT(w.promoter->paused && order(0, DBT_PAUSE) != NULL && order(2, DBT_PAUSE) != NULL);
	CU_ASSERT(order(0, DBT_PAUSE)->stamp == 900 && order(1, DBT_PAUSE) == NULL);
	w.status[2].promise.paused = false;
	w.status[2].promise.stamp = 800;
	say(2);
	CU_ASSERT(w.promoter->paused);
	w.status[2].promise.stamp = 901;
	say(2);
	CU_ASSERT(!w.promoter->paused);
}

static void
a_pause_that_nobody_keeps_fails(void)
{
	start();
	steady();
	command(DBT_CMD_PAUSE, "");
	pass(4900 * W_MSEC, ALL);
	CU_ASSERT(w.answers == 0);
	pass(200 * W_MSEC, ALL);
	CU_ASSERT(w.answers == 1 && w.answer.failed);
}

/* ---- degraded, reload, printing ---- */

static void
degrade_no_quorum(void)
{
	w.status[0].attached = 0;
}

static void
degrade_no_spare(void)
{
	w.status[0].attached = 1;
}

static void
degrade_cohort(void)
{
	struct dbt_promoter_view view;

	snprintf(w.status[2].configured, DBT_COHORT, "db-3/0");
	pass(2900 * W_MSEC, ALL);
	dbt_promoter_look(w.promoter, &view);
	CU_ASSERT(view.degraded == NULL);
	pass(200 * W_MSEC, ALL);
}

static void
degraded_states(void)
{
	static const struct {
		void (*happens)(void);
		const char *degraded;
	} rows[] = {
		{ degrade_no_quorum, "no-quorum" }, { degrade_no_spare, "no-spare" },
		{ degrade_cohort, "cohort-differs" }, { unfit_broken, "broken-settings" },
		{ unfit_paused, "paused" }, { doubt_ended, "no-leader" },
	};

	for (unsigned i = 0; i < W_NELEM(rows); i++) {
		struct dbt_promoter_view view;

		start();
		steady();
		rows[i].happens();
		say(0);
		dbt_promoter_look(w.promoter, &view);
		CU_ASSERT_FATAL(view.degraded != NULL);
		CU_ASSERT(is(view.degraded, rows[i].degraded));
	}
}

static void
reload_keeps_what_stays(void)
{
	struct dbt_promoter_view view;

	start();
	steady();
	w.cluster.member_count = 2;
	CU_ASSERT(dbt_promoter_reload(w.promoter, &w.cluster, w.now, NULL) == W_OK);
	dbt_promoter_look(w.promoter, &view);
	/* what is in force has not changed */
	CU_ASSERT(view.cohort == 3 && view.needed == 2 && is(view.leader, "db-1") && is(view.state, "steady"));
	CU_ASSERT(is(view.in_force, "db-1,db-2,db-3/1") && is(view.configured, "db-1,db-2/1"));
	CU_ASSERT(is(view.change, "not every agent has the new cluster file") && view.fresh == 2);
	CU_ASSERT_PTR_NULL(dbt_promoter_agent(w.promoter, "db-3", NULL));
	w.cluster.member_count = 0;
	CU_ASSERT(dbt_promoter_reload(w.promoter, &w.cluster, w.now, NULL) == -W_EINVAL);
}

static void
the_table_prints(void)
{
	struct w_buf out = { 0 };
	struct w_view text;

	dbt_promoter_print_moves(&out);
	text = w_buf_get(&out);
	CU_ASSERT(!w_buf_broken(&out) && text.len > 1000);
	w_buf_char(&out, '\0');
	text = w_buf_get(&out);
	for (unsigned i = 0; i < DBT__STATE_COUNT; i++)
		CU_ASSERT(strstr(text.ptr, dbt__state_name((enum dbt__state)i)) != NULL);
	w_buf_fini(&out);
}

static CU_TestInfo doubt_tests[] = {
	{ "each evidence waits its time, and the second promoter longer", each_evidence_waits },
	{ "a doubt that passes moves nothing", doubts_pass },
	{ "an old report is no evidence", old_reports_are_no_evidence },
	{ "nothing is prepared when nobody would win", nothing_is_prepared_for_nobody },
	{ "degraded states are named", degraded_states },
	{ "a reload keeps what is known of those that stay", reload_keeps_what_stays },
	{ "the table of moves prints", the_table_prints },
	CU_TEST_INFO_NULL
};

static CU_TestInfo command_tests[] = {
	{ "a switchover goes through", switchover_goes_through },
	{ "followers stream from the target before the leader is drained", followers_stream_from_the_target },
	{ "who is not fenced has to stream from it", who_is_not_fenced_has_to_stream },
	{ "who does not stream from it in time is fenced", who_does_not_stream_in_time_is_fenced },
	{ "who streams from it is asked when it is late", who_streams_from_it_is_asked_when_it_is_late },
	{ "a lost target gives its followers back", a_lost_target_gives_its_followers_back },
	{ "meanwhile the leader may end", a_leader_may_end_meanwhile },
	{ "another promoter's are left alone", others_followers_are_left_alone },
	{ "followers turn to the target before it is elected", followers_turn_early },
	{ "who is ahead of the target leads for a while", who_is_ahead_leads_for_a_while },
	{ "a target that was behind and gets lost is told", who_was_behind_gets_lost },
	{ "nor is it healed first", who_was_behind_is_not_healed_first },
	{ "who has turned is not elected", who_has_turned_is_not_elected },
	{ "of two nodes the leader answers, too", switchover_of_two },
	{ "a switchover is refused with a reason", switchover_refuses },
	{ "a switchover to the leader is done", switchover_to_the_leader },
	{ "a second switchover is refused", second_switchover_is_refused },
	{ "a drain that takes too long is undone", slow_drain_is_undone },
	{ "a target that gets lost is no target", lost_target_is_undone },
	{ "a leader that dies while it is drained is succeeded", leader_dies_while_drained },
	{ "a target that is late is given up", late_target_is_given_up },
	{ "a drain that its promoter forgot is undone", a_forgotten_drain_is_undone },
	{ "a pause is kept, and stops all but resume", pause_is_kept_and_stops },
	{ "the highest stamp counts and is spread", the_highest_stamp_is_spread },
	{ "a pause that nobody keeps fails", a_pause_that_nobody_keeps_fails },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo promoter_doubt_suites[] = {
	{ .pName = "dbtier/promoter doubts", .pCleanupFunc = promoted_tear_down, .pTests = doubt_tests },
	{ .pName = "dbtier/promoter commands", .pCleanupFunc = promoted_tear_down,
	    .pTests = command_tests },
	CU_SUITE_INFO_NULL
};
