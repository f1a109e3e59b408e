/* What needs no database: parsing, quoting, mapping, deriving a topology. */
#include <libpq-fe.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#include "dbtier/dial.h"
#include "dbtier/scram.h"
#include "dbtier/sqlstate.h"
#include "dbtier/topology.h"
#include "suites.h"

static void
lsn_parses(void)
{
	uint64_t lsn = 0;

	CU_ASSERT(dbt__lsn_parse(W_VIEW("16/B374D848"), &lsn) == W_OK);
	CU_ASSERT(lsn == 0x16b374d848);
	CU_ASSERT(dbt__lsn_parse(W_VIEW("0/0"), &lsn) == W_OK && lsn == 0);
	CU_ASSERT(dbt__lsn_parse(W_VIEW("FFFFFFFF/ffffffff"), &lsn) == W_OK && lsn == UINT64_MAX);
}

static void
lsn_refuses(void)
{
	static const char *const wrong[] = { "", "/", "1/", "/1", "16B374D848", "1/2/3", "g/1",
		"1/ 2", "123456789/0", "0/123456789", "-1/0" };
	uint64_t lsn = 7;

	for (unsigned i = 0; i < W_NELEM(wrong); i++)
		CU_ASSERT(dbt__lsn_parse(w_view_of(wrong[i]), &lsn) == -W_EINVAL);
	CU_ASSERT(lsn == 7);
}

static void
quorum_parses(void)
{
	static const struct {
		const char *text;
		unsigned k;
	} cases[] = {
		{ "", 0 }, { "  ", 0 }, { "db-2", 1 }, { "db-2, db-3", 1 }, { "*", 1 },
		{ "ANY 2 (a, b, c)", 2 },
		{ "any 1(\"db-1\",\"db-2\")", 1 }, { "FIRST 3 (a,b,c)", 3 },
		{ "2 (a, b)", 2 },
	};

	for (unsigned i = 0; i < W_NELEM(cases); i++)
		CU_ASSERT(dbt__quorum_parse(w_view_of(cases[i].text)) == cases[i].k);
}

static void
states_map(void)
{
	static const struct {
		const char *state;
		int err;
	} cases[] = {
		{ "23505", -W_ECONFLICT }, { "23503", -W_ECONFLICT }, { "22P02", -W_EINVAL },
		{ "40001", -W_ESERIAL }, { "40P01", -W_ESERIAL }, { "57014", -W_ETIMEOUT },
		{ "42601", -W_ESQL }, { "42P01", -W_ESQL }, { "57P01", -W_ELOST }, { "", -W_ESQL },
		{ "40002", -W_ESQL },
	};

	for (unsigned i = 0; i < W_NELEM(cases); i++)
		CU_ASSERT(dbt__sqlstate_error(cases[i].state) == cases[i].err);
}

static void
conninfo_quotes(void)
{
	struct dbt__login login = { .host = (char *)"db.example", .port = (char *)"5433",
		.dbname = (char *)"we'ir", .user = (char *)"a b", .password = (char *)"p'w\\d =x",
		.ca = (char *)"/ca dir/ca.pem" };
	struct dbt__params params;
	PQconninfoOption *options, *at;
	unsigned seen = 0;
	char *text;

	dbt__params_of(&params, &login, "10.0.0.1", "app", "-c a=b");
	text = dbt__params_text(&params);
	options = PQconninfoParse(text, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(options);
	for (at = options; at->keyword != NULL; at++) {
		for (unsigned i = 0; i < params.count; i++) {
			if (strcmp(params.keys[i], at->keyword) != 0)
				continue;
			seen++;
			CU_ASSERT(at->val != NULL && strcmp(at->val, params.values[i]) == 0);
		}
	}
	CU_ASSERT(seen == params.count);
	CU_ASSERT(strstr(text, "sslmode='verify-full'") != NULL);
	PQconninfoFree(options);
	free(text);
}

/* ---- topology ---- */

#define NOW (1000 * W_SEC)

static const struct dbt__rules rules = { .silence = W_SEC, .lag_limit = 1000 };

static struct dbt__seen
primary(uint32_t timeline, uint64_t position)
{
	return (struct dbt__seen){ .name = "p", .answered = NOW, .timeline = timeline,
		.position = position };
}

static struct dbt__seen
replica(uint32_t timeline, uint64_t position)
{
	return (struct dbt__seen){ .name = "r", .answered = NOW, .recovery = true,
		.timeline = timeline, .position = position, .received = position, .streamed = NOW };
}

static void
replicas_within_the_limit_are_fit(void)
{
	struct dbt__seen seen[] = { primary(1, 5000), replica(1, 4000), replica(1, 3999),
		replica(1, 5100) };
	struct dbt_topology topology;
	uint32_t floor = 0;

	dbt__topology_make(seen, 4, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == 0 && topology.fit_replicas == 2);
	CU_ASSERT(topology.nodes[1].fit && topology.nodes[1].lag == 1000);
	CU_ASSERT(!topology.nodes[2].fit && topology.nodes[2].lag == 1001);
	CU_ASSERT(topology.nodes[3].fit && topology.nodes[3].lag == 0);
}

static struct dbt__seen
of_system(struct dbt__seen seen, uint64_t system)
{
	seen.system = system;
	return seen;
}

static void
most_nodes_say_whose_they_are(void)
{
	struct dbt__seen seen[] = { of_system(primary(9, 9000), 7), of_system(primary(1, 5000), 5),
		of_system(replica(1, 5000), 5) };
	struct dbt_topology topology;
	uint64_t known = 0;
	uint32_t floor = 0;

	CU_ASSERT(dbt__systems_judge(seen, 3, &known) && known == 5);
	CU_ASSERT(seen[0].foreign && !seen[1].foreign && !seen[2].foreign);
	dbt__topology_make(seen, 3, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.nodes[0].role == DBT_DOWN && topology.primary == 1 && floor == 1);
	CU_ASSERT(dbt__floor_of(seen, 3) == 1 && topology.fit_replicas == 1);
	/* of as many on each side those that were are */
	seen[2].gone = true;
	CU_ASSERT(!dbt__systems_judge(seen, 3, &known) && seen[0].foreign && !seen[1].foreign);
	/* silence changes nothing, an unknown one is no stranger */
	seen[1].refused = true;
	seen[2] = of_system(replica(1, 5000), 0);
	CU_ASSERT(!dbt__systems_judge(seen, 3, &known) && seen[0].foreign && !seen[2].foreign);
	/* all have been made anew */
	seen[1].system = seen[2].system = 7;
	CU_ASSERT(dbt__systems_judge(seen, 3, &known) && known == 7);
	CU_ASSERT(!seen[0].foreign && dbt__floor_of(seen, 3) == 9);
	/* the first that is heard may be the stranger */
	known = 0;
	seen[0] = of_system(primary(9, 9000), 8);
	seen[1] = seen[2] = of_system(replica(1, 5000), 0);
	CU_ASSERT(dbt__systems_judge(seen, 3, &known) && known == 8);
	seen[1].system = seen[2].system = 5;
	CU_ASSERT(dbt__systems_judge(seen, 3, &known) && known == 5 && seen[0].foreign);
}

static void
no_limit_takes_any(void)
{
	struct dbt__seen seen[] = { primary(1, 500000), replica(1, 1) };
	struct dbt__rules open = { .silence = W_SEC };
	struct dbt_topology topology;
	uint32_t floor = 0;

	dbt__topology_make(seen, 2, &open, NOW, &floor, &topology);
	CU_ASSERT(topology.fit_replicas == 1);
}

static void
a_replica_without_stream_is_unfit(void)
{
	struct dbt__seen seen[] = { primary(1, 5000), replica(1, 5000) };
	struct dbt_topology topology;
	uint32_t floor = 0;

	seen[1].streamed = NOW - DBT__STREAM_GRACE;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.nodes[1].fit);
	seen[1].streamed--;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(!topology.nodes[1].fit && topology.nodes[1].role == DBT_REPLICA);
	/* and serves again when there is nothing better */
	seen[0].refused = true;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == -1 && topology.nodes[1].fit);
}

static void
the_highest_timeline_wins(void)
{
	struct dbt__seen seen[] = { primary(1, 9000), primary(2, 5000), replica(2, 5000) };
	struct dbt_topology topology;
	uint32_t floor = 0;

	dbt__topology_make(seen, 3, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == 1 && !topology.nodes[0].fit && floor == 2);
	CU_ASSERT(topology.nodes[0].role == DBT_PRIMARY);
	/* an old primary is not in force even when it is alone */
	seen[1].refused = true;
	dbt__topology_make(seen, 3, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == -1 && !topology.nodes[0].fit);
}

static void
silence_is_death(void)
{
	struct dbt__seen seen[] = { primary(1, 9000), { .name = "new" },
		{ .name = "bad", .why = "x" } };
	struct dbt_topology topology;
	uint32_t floor = 0;

	seen[0].answered = NOW - W_SEC;
	dbt__topology_make(seen, 3, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.nodes[0].role == DBT_PRIMARY);
	CU_ASSERT(topology.nodes[1].role == DBT_UNKNOWN);
	CU_ASSERT(topology.nodes[2].role == DBT_DOWN);
	seen[0].answered--;
	dbt__topology_make(seen, 3, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.nodes[0].role == DBT_DOWN && topology.primary == -1);
}

static const struct dbt__rules doubting = { .silence = W_SEC, .doubt = 400 * W_MSEC,
	.lag_limit = 1000 };

static void
silence_is_doubted_first(void)
{
	struct dbt__seen seen[] = { primary(1, 9000), replica(1, 9000) };
	struct dbt_topology topology, before;
	uint32_t floor = 0;

	seen[0].heard = seen[1].heard = NOW;
	dbt__topology_make(seen, 2, &doubting, NOW, &floor, &before);
	CU_ASSERT(before.primary == 0 && before.heir == 0 && dbt_topology_answering(&before) == 2);
	seen[0].heard = NOW - doubting.doubt - 1;
	dbt__topology_make(seen, 2, &doubting, NOW, &floor, &topology);
	CU_ASSERT(topology.nodes[0].role == DBT_PRIMARY && topology.nodes[0].doubted);
	CU_ASSERT(topology.primary == -1 && topology.heir == 0 && !topology.nodes[0].fit);
	CU_ASSERT(topology.fit_replicas == 1 && dbt_topology_answering(&topology) == 1);
	CU_ASSERT(dbt__topology_differs(&before, &topology));
	/* the same for a replica */
	seen[0].heard = NOW;
	seen[1].heard = NOW - doubting.doubt - 1;
	dbt__topology_make(seen, 2, &doubting, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == 0 && topology.fit_replicas == 0);
}

/* A prober that was frozen together with a primary, which has a successor meanwhile. */
static void
who_has_slept_looks_first(void)
{
	struct dbt__seen seen[] = { primary(1, 9000), replica(1, 9000), { .refused = true } };
	struct dbt__rules woken = doubting;
	struct dbt_topology topology;
	uint32_t floor = 0;

	woken.awake = NOW + 10 * W_SEC;
	seen[0].heard = seen[1].heard = woken.awake;
	/* an answer to what it had asked before it fell asleep */
	dbt__topology_make(seen, 3, &woken, woken.awake + 1, &floor, &topology);
	CU_ASSERT(topology.nodes[0].role == DBT_PRIMARY && topology.primary == -1);
	CU_ASSERT(!topology.nodes[0].fit);
	/* one after it, but not yet of the other */
	seen[0].answered = woken.awake + 1;
	dbt__topology_make(seen, 3, &woken, woken.awake + 2, &floor, &topology);
	CU_ASSERT(topology.primary == -1);
	/* of both; and who is down is not waited for */
	seen[1] = replica(1, 9000);
	seen[1].answered = seen[1].heard = seen[1].streamed = woken.awake + 1;
	dbt__topology_make(seen, 3, &woken, woken.awake + 3, &floor, &topology);
	CU_ASSERT(topology.primary == 0);
	/* the other was promoted: then it is that */
	seen[1] = primary(2, 9500);
	seen[1].answered = seen[1].heard = woken.awake + 1;
	dbt__topology_make(seen, 3, &woken, woken.awake + 3, &floor, &topology);
	CU_ASSERT(topology.primary == 1 && !topology.nodes[0].fit && topology.floor == 2);
	/* nor is one that is silent still waited for, without end */
	seen[1] = replica(1, 9000);
	floor = 0;
	seen[0].heard = woken.awake + woken.doubt;
	dbt__topology_make(seen, 3, &woken, woken.awake + woken.doubt, &floor, &topology);
	CU_ASSERT(topology.primary == -1);
	dbt__topology_make(seen, 3, &woken, woken.awake + woken.doubt + 1, &floor, &topology);
	CU_ASSERT(topology.primary == 0);
}

/* It came back as a standby, while no primary is in force, with what nobody acknowledged. */
static void
who_has_led_streams_first(void)
{
	struct dbt__seen seen[] = { primary(1, 9000), replica(1, 8900) };
	struct dbt_topology topology;
	uint32_t floor = 0;

	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	seen[0].recovery = true;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == -1 && topology.fit_replicas == 1 && topology.nodes[1].fit);
	seen[0].streamed = NOW;
	seen[0].received = 9000;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.fit_replicas == 2);
}

static void
who_drains_is_in_force(void)
{
	struct dbt__seen seen[] = { primary(1, 9000), replica(1, 9000) };
	struct dbt_topology before, topology;
	uint32_t floor = 0;

	dbt__topology_make(seen, 2, &rules, NOW, &floor, &before);
	seen[0].draining = true;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == 0 && topology.nodes[0].fit && topology.nodes[0].draining);
	CU_ASSERT(dbt__topology_differs(&before, &topology));
}

static void
no_quorum_holds_writes(void)
{
	struct dbt__seen seen[] = { primary(1, 9000), replica(1, 9000) };
	struct dbt_topology topology;
	uint32_t floor = 0;

	seen[0].quorum = 1;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == -1);
	CU_ASSERT(topology.nodes[0].fit); /* reads may fall back to it */
	seen[0].attached = 1;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == 0);
}

/* ---- the gate of a primary that came back ---- */

/* Is the first node in force? In any case all must agree. */
static bool
in_force(struct dbt__seen *seen)
{
	struct dbt_topology topology;
	uint32_t floor = 0;

	dbt__topology_make(seen, 1, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.nodes[0].fit == (topology.primary == 0));
	CU_ASSERT(topology.nodes[0].gated == (topology.primary < 0));
	return topology.primary == 0;
}

/* A primary whose commits wait for two of its three standbys. */
static struct dbt__seen
with_standbys(uint64_t position, uint64_t a, uint64_t b, uint64_t c)
{
	struct dbt__seen seen = primary(1, position);

	seen.quorum = 2;
	seen.attached = 3;
	seen.flushed[0] = a;
	seen.flushed[1] = b;
	seen.flushed[2] = c;
	seen.run = (struct dbt__run){ 1, 77, 78 };
	return seen;
}

static void
an_unknown_primary_waits_for_its_standbys(void)
{
	struct dbt__seen seen = with_standbys(5000, 5000, 4999, 100);

	CU_ASSERT(!in_force(&seen) && seen.gate == 5000);
	CU_ASSERT_STRING_EQUAL(seen.gate_why, "first-seen");
	CU_ASSERT(dbt__gate_passed(&seen) == 1);
	/* it writes on; what counts is what it had in its first answer */
	seen.position = 9000;
	seen.flushed[0] = 5001;
	CU_ASSERT(!in_force(&seen));
	seen.flushed[2] = 5000;
	CU_ASSERT(in_force(&seen));
	/* and once open it stays open */
	seen.flushed[0] = 1;
	seen.flushed[2] = 0;
	CU_ASSERT(in_force(&seen));
}

static void
a_restarted_primary_waits_again(void)
{
	struct dbt__seen seen = with_standbys(5000, 5000, 5000, 5000);

	CU_ASSERT(in_force(&seen));
	seen.position = 6000;
	seen.run.started = 79;
	CU_ASSERT(!in_force(&seen));
	CU_ASSERT_STRING_EQUAL(seen.gate_why, "restarted");
	/* again, before it was open: what it has now counts */
	seen.position = 6100;
	seen.run.started = 80;
	CU_ASSERT(!in_force(&seen) && seen.gate == 6100);
	seen.flushed[0] = 6100;
	seen.flushed[1] = 6100;
	CU_ASSERT(in_force(&seen));
}

static void
a_crash_that_the_postmaster_survives_counts(void)
{
	struct dbt__seen seen = with_standbys(5000, 5000, 5000, 5000);

	seen.run.recovered = 0; /* it may not be seen, or was not asked for */
	CU_ASSERT(in_force(&seen));
	seen.position = 6000;
	seen.run.recovered = 78;
	CU_ASSERT(in_force(&seen));
	seen.run.recovered = 0;
	CU_ASSERT(in_force(&seen));
	seen.run.recovered = 79;
	CU_ASSERT(!in_force(&seen));
	CU_ASSERT_STRING_EQUAL(seen.gate_why, "restarted");
	seen.run.recovered = 0;
	CU_ASSERT(!in_force(&seen));
}

static void
a_promoted_primary_waits(void)
{
	struct dbt__seen seen = with_standbys(5000, 4000, 4000, 4000);
	struct dbt_topology topology;
	uint32_t floor = 0;

	seen.recovery = true;
	dbt__topology_make(&seen, 1, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == -1 && !topology.nodes[0].gated);
	seen.recovery = false;
	CU_ASSERT(!in_force(&seen) && seen.gate == 5000);
	CU_ASSERT_STRING_EQUAL(seen.gate_why, "promoted");
	seen.flushed[1] = seen.flushed[2] = 5000;
	CU_ASSERT(in_force(&seen));
	/* seen as primary on two timelines, with nothing between */
	seen.position = 7000;
	seen.timeline = seen.run.timeline = 2;
	CU_ASSERT(!in_force(&seen));
	CU_ASSERT_STRING_EQUAL(seen.gate_why, "promoted");
}

static void
nobody_to_wait_for_is_no_gate(void)
{
	struct dbt__seen seen = with_standbys(5000, 0, 0, 0);

	seen.quorum = 0;
	CU_ASSERT(in_force(&seen));
	seen.run.started++;
	CU_ASSERT(in_force(&seen));
}

static void
more_standbys_than_nodes_do_no_harm(void)
{
	struct dbt__seen seen = with_standbys(5000, 5000, 0, 0);

	seen.attached = DBT_NODES_MAX + 5;
	CU_ASSERT(!in_force(&seen));
	seen.flushed[DBT_NODES_MAX - 1] = 5000;
	CU_ASSERT(in_force(&seen));
}

static void
a_gated_primary_leaves_reads_to_replicas(void)
{
	struct dbt__seen seen[] = { with_standbys(5000, 4900, 4900, 0), replica(1, 4900) };
	struct dbt_topology topology, open;
	uint32_t floor = 0;

	dbt__topology_make(seen, 2, &rules, NOW, &floor, &topology);
	CU_ASSERT(topology.primary == -1 && topology.fit_replicas == 1);
	CU_ASSERT(topology.nodes[0].role == DBT_PRIMARY && topology.nodes[0].gated);
	seen[0].flushed[0] = seen[0].flushed[1] = 5000;
	dbt__topology_make(seen, 2, &rules, NOW, &floor, &open);
	CU_ASSERT(open.primary == 0 && !open.nodes[0].gated);
	CU_ASSERT(dbt__topology_differs(&topology, &open));
}

/* ---- lag in time ---- */

static const struct dbt__rules timed = { .silence = W_SEC, .lag_limit_time = 5 * W_SEC };

/* The replica as judged now, both nodes having answered just now. */
static struct dbt_node
judged(struct dbt__seen seen[2], w_usec now)
{
	struct dbt_topology topology;
	uint32_t floor = 0;

	seen[0].answered = now;
	seen[1].answered = now;
	seen[1].streamed = now;
	dbt__topology_make(seen, 2, &timed, now, &floor, &topology);
	return topology.nodes[1];
}

static void
a_replica_behind_for_too_long_is_unfit(void)
{
	struct dbt__seen seen[] = { primary(1, 5000), replica(1, 4000) };
	struct dbt_node node;

	/* never level so far: what it replayed last tells */
	seen[1].replay_age = 5 * W_SEC;
	node = judged(seen, NOW);
	CU_ASSERT(node.fit && node.lag_time == 5 * W_SEC);
	seen[1].replay_age++;
	node = judged(seen, NOW);
	CU_ASSERT(!node.fit && node.lag_time == 5 * W_SEC + 1);
	seen[1].position = 5000;
	seen[1].received = 5000;
	node = judged(seen, NOW);
	CU_ASSERT(node.fit && node.lag_time == 0);
}

static void
an_idle_primary_makes_no_replica_late(void)
{
	struct dbt__seen seen[] = { primary(1, 5000), replica(1, 5000) };
	struct dbt_node node;

	seen[1].replay_age = 3600 * W_SEC;
	node = judged(seen, NOW);
	CU_ASSERT(node.fit && node.lag_time == 0);
	/* the first write after an hour has come and is not replayed yet */
	seen[0].position = 6000;
	seen[1].received = 6000;
	node = judged(seen, NOW + 100 * W_MSEC);
	CU_ASSERT(node.fit && node.lag_time == 100 * W_MSEC);
	/* with a delay of half a second, all the time of it */
	node = judged(seen, NOW + 500 * W_MSEC);
	CU_ASSERT(node.fit && node.lag_time == 500 * W_MSEC);
	/* for ever, when replay is stuck */
	seen[1].replay_age = 3606 * W_SEC;
	node = judged(seen, NOW + 6 * W_SEC);
	CU_ASSERT(!node.fit && node.lag_time == 6 * W_SEC);
}

static void
a_delayed_replica_stays_fit_under_load(void)
{
	struct dbt__seen seen[] = { primary(1, 5000), replica(1, 5000) };
	struct dbt_node node;

	for (w_usec at = 0; at < 20 * W_SEC; at += 100 * W_MSEC) {
		seen[0].position += 1000;
		seen[1].received = seen[0].position;
		seen[1].position = seen[0].position - 5000;
		seen[1].replay_age = 500 * W_MSEC;
		node = judged(seen, NOW + at);
		CU_ASSERT(node.fit && node.lag_time <= 500 * W_MSEC);
	}
}

/* Its walreceiver thinks it streams, and all that came it has replayed; but nothing comes. */
static void
a_silent_stream_is_lag(void)
{
	struct dbt__seen seen[] = { primary(1, 5000), replica(1, 5000) };
	struct dbt_node node;

	seen[1].replay_age = W_SEC;
	CU_ASSERT(judged(seen, NOW).fit);
	seen[0].position = 5001;
	seen[1].replay_age = 7 * W_SEC;
	node = judged(seen, NOW + 6 * W_SEC);
	CU_ASSERT(!node.fit && node.lag_time == 6 * W_SEC);
	/* and while nobody is in force it serves what it has */
	seen[0].quorum = 1;
	node = judged(seen, NOW + 7 * W_SEC);
	CU_ASSERT(node.fit && node.lag_time == 0);
}

/* ---- positions ---- */

static void
positions_travel_as_text(void)
{
	static const struct {
		const char *text;
		struct dbt_position position;
	} cases[] = {
		{ "1-0/3000148", { 1, 0x3000148 } },
		{ "A-16/B374D848", { 10, 0x16b374d848 } },
		{ "FFFFFFFF-FFFFFFFF/FFFFFFFF", { UINT32_MAX, DBT_LSN_PRIMARY } },
	};
	struct dbt_position position;
	char text[DBT_POSITION_SIZE];

	for (unsigned i = 0; i < W_NELEM(cases); i++) {
		position = (struct dbt_position){ 0 };
		CU_ASSERT(dbt_position_parse(w_view_of(cases[i].text), &position) == W_OK);
		CU_ASSERT(position.timeline == cases[i].position.timeline);
		CU_ASSERT(position.lsn == cases[i].position.lsn);
		CU_ASSERT(dbt_position_format(position, text) == strlen(cases[i].text));
		CU_ASSERT_STRING_EQUAL(text, cases[i].text);
	}
	CU_ASSERT(dbt_position_parse(W_VIEW("0a-0/1f"), &position) == W_OK);
	CU_ASSERT(position.timeline == 10 && position.lsn == 31);
	CU_ASSERT(dbt_position_format((struct dbt_position){ 1, 0 }, text) == 0 && text[0] == 0);
}

static void
what_is_no_position_is_refused(void)
{
	static const char *const wrong[] = { "", "-", "1", "1-", "1-0", "1-0/", "-0/1", "0/3000148",
		"1-0/1 ", " 1-0/1", "1--0/1", "1-0/1-2", "g-0/1", "123456789-0/1", "1-123456789/1",
		"0-0/1", "1-0/0", "1-0/1/2", "+1-0/1" };
	struct dbt_position position = { 7, 7 };

	for (unsigned i = 0; i < W_NELEM(wrong); i++)
		CU_ASSERT(dbt_position_parse(w_view_of(wrong[i]), &position) == -W_EINVAL);
	CU_ASSERT(dbt_position_parse((struct w_view){ 0 }, &position) == -W_EINVAL);
	CU_ASSERT(position.timeline == 7 && position.lsn == 7);
}

static void
a_history_tells_where_timelines_ended(void)
{
	struct dbt__history history = { 0 };
	struct w_view three = W_VIEW("1\t0/3000148\tno recovery target specified\n\n"
				     "# a comment\n2\t1/A0\tbefore 2000-01-01 00:00:00+00\n");

	CU_ASSERT(dbt__history_parse(3, three, &history) == W_OK);
	CU_ASSERT(history.timeline == 3 && history.count == 2);
	CU_ASSERT(history.forks[0].timeline == 2 && history.forks[0].end == 0x1000000a0);
	CU_ASSERT(history.forks[1].timeline == 1 && history.forks[1].end == 0x3000148);
	/* a timeline that skips one, spaces, no reason, no line feed at the end */
	CU_ASSERT(dbt__history_parse(9, W_VIEW("  4  0/10"), &history) == W_OK);
	CU_ASSERT(history.timeline == 9 && history.count == 1 && history.forks[0].end == 16);
	CU_ASSERT(dbt__history_parse(2, W_VIEW(""), &history) == W_OK && history.count == 0);
}

static void
what_is_no_history_is_refused(void)
{
	static const char *const wrong[] = { "1", "1\t0", "x\t0/1\tr", "0\t0/1\tr", "1\t0/0\tr",
		"3\t0/1\tr", "4\t0/1\tr", "2\t0/1\tr\n1\t0/2\tr", "1\t0/1\tr\n1\t0/2\tr",
		"-1\t0/1", "1 garbage 0/1" };
	struct dbt__history history = { .timeline = 7 };

	for (unsigned i = 0; i < W_NELEM(wrong); i++)
		CU_ASSERT(dbt__history_parse(3, w_view_of(wrong[i]), &history) == -W_EINVAL);
	CU_ASSERT(history.timeline == 7);
}

static void
of_a_long_history_the_newest_stay(void)
{
	struct dbt__history history = { 0 };
	char text[40 * 16] = "";

	for (unsigned i = 1; i <= 40; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u\t0/%X\tr\n", i, i);
	CU_ASSERT(dbt__history_parse(41, w_view_of(text), &history) == W_OK);
	CU_ASSERT(history.count == DBT_FORKS_MAX);
	CU_ASSERT(history.forks[0].timeline == 40 && history.forks[0].end == 40);
	CU_ASSERT(history.forks[DBT_FORKS_MAX - 1].timeline == 40 - DBT_FORKS_MAX + 1);
}

/* A primary on timeline 3, whose older ones ended at 1000 and 2000, and two replicas. */
static struct dbt_topology
forked(void)
{
	return (struct dbt_topology){ .count = 3, .primary = 0, .fork_count = 2,
		.forks = { { 2, 2000 }, { 1, 1000 } },
		.nodes = { { .role = DBT_PRIMARY, .timeline = 3, .position = 5000, .fit = true },
		    { .role = DBT_REPLICA, .timeline = 3, .position = 4000, .fit = true },
		    { .role = DBT_REPLICA, .timeline = 2, .position = 9000, .fit = true } } };
}

static void
an_old_position_ends_at_its_fork(void)
{
	static const struct {
		struct dbt_position position;
		uint64_t needed;
	} cases[] = {
		{ { 0, 0 }, 0 }, { { 9, 0 }, 0 }, { { 3, 4500 }, 4500 }, { { 2, 1500 }, 1500 },
		{ { 2, 2500 }, 2000 }, { { 1, 999 }, 999 }, { { 1, 4500 }, 1000 },
		{ { 1, DBT_LSN_PRIMARY }, 1000 }, { { 3, DBT_LSN_PRIMARY }, DBT_LSN_PRIMARY },
		{ { 4, 1 }, DBT_LSN_PRIMARY },
	};
	struct dbt_topology topology = forked();

	for (unsigned i = 0; i < W_NELEM(cases); i++)
		CU_ASSERT(dbt__position_needed(&topology, cases[i].position) == cases[i].needed);
	/* an end that is not known is none */
	topology.fork_count = 0;
	CU_ASSERT(dbt__position_needed(&topology, (struct dbt_position){ 2, 1 }) ==
	    DBT_LSN_PRIMARY);
}

static void
nodes_have_what_they_replayed(void)
{
	struct dbt_topology topology = forked();

	CU_ASSERT(dbt__node_has(&topology, 1, (struct dbt_position){ 3, 4000 }));
	CU_ASSERT(!dbt__node_has(&topology, 1, (struct dbt_position){ 3, 4001 }));
	CU_ASSERT(dbt__node_has(&topology, 1, (struct dbt_position){ 2, 4001 }));
	CU_ASSERT(!dbt__node_has(&topology, 1, (struct dbt_position){ 4, 1 }));
	CU_ASSERT(dbt__node_has(&topology, 0, (struct dbt_position){ 3, DBT_LSN_PRIMARY }));
	/* one that has not followed yet has nothing but what needs nothing */
	CU_ASSERT(!dbt__node_has(&topology, 2, (struct dbt_position){ 1, 1 }));
	CU_ASSERT(dbt__node_has(&topology, 2, (struct dbt_position){ 0, 0 }));
	topology.nodes[1].fit = false;
	CU_ASSERT(!dbt__node_has(&topology, 1, (struct dbt_position){ 3, 1 }));
	CU_ASSERT(!dbt__node_has(&topology, 3, (struct dbt_position){ 0, 0 }));
}

static void
replicas_answer_while_there_is_no_primary(void)
{
	struct dbt_topology topology = forked();

	topology.primary = -1;
	topology.nodes[0].role = DBT_DOWN;
	topology.nodes[0].fit = false;
	topology.nodes[2].timeline = 3;
	CU_ASSERT(dbt__topology_timeline(&topology) == 3);
	CU_ASSERT(dbt__node_has(&topology, 1, (struct dbt_position){ 3, 4000 }));
	CU_ASSERT(dbt__node_has(&topology, 2, (struct dbt_position){ 1, 1000 }));
	CU_ASSERT(!dbt__node_has(&topology, 1, (struct dbt_position){ 3, DBT_LSN_PRIMARY }));
	CU_ASSERT(!dbt__node_has(&topology, 0, (struct dbt_position){ 3, 1 }));
}

static void
forks_are_those_of_the_primary(void)
{
	struct dbt__history history = { .timeline = 3, .count = 1, .forks = { { 2, 7 } } };
	struct dbt_topology topology = forked(), other;

	dbt__topology_forks(&topology, &history);
	CU_ASSERT(topology.fork_count == 1 && topology.forks[0].end == 7);
	other = topology;
	CU_ASSERT(!dbt__topology_differs(&topology, &other));
	other.forks[0].end = 8;
	CU_ASSERT(dbt__topology_differs(&topology, &other));
	history.timeline = 2;
	dbt__topology_forks(&topology, &history);
	CU_ASSERT(topology.fork_count == 0);
}

/* libpq makes verifiers too, with 4096 rounds and a salt of its own. */
static void
verifier_is_libpqs(void)
{
	PGconn *conn = PQconnectStart("host=127.0.0.1 port=1");
	char *theirs = PQencryptPasswordConn(conn, "correct-horse-battery", "nobody", "scram-sha-256");
	unsigned char salt[DBT__SCRAM_SALT + 2];
	W_AUTO(w_buf_fini) struct w_buf ours = { 0 };

	CU_ASSERT_FATAL(theirs != NULL && strncmp(theirs, "SCRAM-SHA-256$4096:", 19) == 0);
	CU_ASSERT(EVP_DecodeBlock(salt, (const unsigned char *)theirs + 19, 24) == 18);
	CU_ASSERT(dbt__scram_verifier(W_VIEW("correct-horse-battery"), 4096, salt, &ours, NULL) == W_OK);
	CU_ASSERT(w_view_eq(w_buf_get(&ours), w_view_of(theirs)));
	PQfreemem(theirs);
	PQfinish(conn);
}

static void
short_passwords_are_stretched(void)
{
	static const unsigned char salt[DBT__SCRAM_SALT];
	static const struct {
		const char *password;
		unsigned rounds;
		int rc;
	} cases[] = {
		{ "0123456789abcdef0123456789abcdef", 1, W_OK },
		{ "0123456789abcdef0123456789abcde", 1, -W_EINVAL },
		{ "0123456789abcdef0123456789abcde", 4095, -W_EINVAL },
		{ "short", 4096, W_OK },
		{ "short", 10000, W_OK },
		{ "0123456789 abcdef0123456789abcdef", 1, -W_EINVAL },
		{ "0123456789abcdef0123456789abcd\303\251f", 1, -W_EINVAL },
	};

	for (unsigned i = 0; i < W_NELEM(cases); i++) {
		W_AUTO(w_buf_fini) struct w_buf out = { 0 };
		struct w_fault fault = { 0 };

		CU_ASSERT(dbt__scram_verifier(w_view_of(cases[i].password), cases[i].rounds, salt, &out, &fault) ==
		    cases[i].rc);
		CU_ASSERT((out.len > 0) == (cases[i].rc == W_OK));
		CU_ASSERT(strstr(fault.text, cases[i].password) == NULL);
	}
}

static CU_TestInfo parse_tests[] = {
	{ "an LSN becomes a number", lsn_parses },
	{ "what is no LSN is refused", lsn_refuses },
	{ "synchronous_standby_names says how many", quorum_parses },
	{ "SQLSTATEs map to errors", states_map },
	{ "a connection string survives hard characters", conninfo_quotes },
	{ "a password's verifier is the one that libpq makes", verifier_is_libpqs },
	{ "a short password is not kept with few rounds", short_passwords_are_stretched },
	CU_TEST_INFO_NULL
};
static CU_TestInfo topology_tests[] = {
	{ "replicas within the lag limit are fit", replicas_within_the_limit_are_fit },
	{ "most nodes say whose they are", most_nodes_say_whose_they_are },
	{ "a lag limit of 0 is none", no_limit_takes_any },
	{ "a replica without a stream is unfit while there is a primary",
	    a_replica_without_stream_is_unfit },
	{ "of two primaries the higher timeline is in force", the_highest_timeline_wins },
	{ "a silent node is down", silence_is_death },
	{ "before that it is doubted", silence_is_doubted_first },
	{ "a prober that has slept looks before it believes", who_has_slept_looks_first },
	{ "a primary that became a standby streams before it serves", who_has_led_streams_first },
	{ "a primary that drains is in force", who_drains_is_in_force },
	{ "a primary without its quorum takes no writes", no_quorum_holds_writes },
	CU_TEST_INFO_NULL
};
static CU_TestInfo gate_tests[] = {
	{ "a primary that nobody knew waits for its standbys",
	    an_unknown_primary_waits_for_its_standbys },
	{ "a restarted primary waits again", a_restarted_primary_waits_again },
	{ "a crash that the postmaster survives is a restart",
	    a_crash_that_the_postmaster_survives_counts },
	{ "a promoted primary waits", a_promoted_primary_waits },
	{ "nobody to wait for is no gate", nobody_to_wait_for_is_no_gate },
	{ "more standbys than nodes do no harm", more_standbys_than_nodes_do_no_harm },
	{ "a gated primary leaves reads to the replicas",
	    a_gated_primary_leaves_reads_to_replicas },
	CU_TEST_INFO_NULL
};
static CU_TestInfo lag_tests[] = {
	{ "a replica that is behind for too long is unfit",
	    a_replica_behind_for_too_long_is_unfit },
	{ "an idle primary makes no replica late", an_idle_primary_makes_no_replica_late },
	{ "a replica with a delay stays fit under load", a_delayed_replica_stays_fit_under_load },
	{ "a stream on which nothing comes is lag", a_silent_stream_is_lag },
	CU_TEST_INFO_NULL
};
static CU_TestInfo position_tests[] = {
	{ "a position travels as text", positions_travel_as_text },
	{ "what is no position is refused", what_is_no_position_is_refused },
	{ "a history tells where timelines ended", a_history_tells_where_timelines_ended },
	{ "what is no history is refused", what_is_no_history_is_refused },
	{ "of a long history the newest forks stay", of_a_long_history_the_newest_stay },
	{ "a position of an older timeline ends where that ended",
	    an_old_position_ends_at_its_fork },
	{ "a node has what it has replayed of the current timeline",
	    nodes_have_what_they_replayed },
	{ "replicas answer for positions while there is no primary",
	    replicas_answer_while_there_is_no_primary },
	{ "forks are those of the current timeline", forks_are_those_of_the_primary },
	CU_TEST_INFO_NULL
};
CU_SuiteInfo pure_suites[] = {
	{ .pName = "dbtier/parse", .pTests = parse_tests },
	{ .pName = "dbtier/topology", .pTests = topology_tests },
	{ .pName = "dbtier/gate", .pTests = gate_tests },
	{ .pName = "dbtier/lag", .pTests = lag_tests },
	{ .pName = "dbtier/positions", .pTests = position_tests },
	CU_SUITE_INFO_NULL
};
