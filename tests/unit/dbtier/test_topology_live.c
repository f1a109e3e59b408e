/* What the prober makes of a real primary that is restarted, crashes, and is succeeded. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/buf.h"
#include "dbtier/probe.h"
#include "dbtier/topology.h"
#include "fixture.h"
#include "suites.h"

static struct fixture pg;
static struct bench bench;

static const struct dbt_topology *
now(void)
{
	return dbt_topology_get(bench.dbt);
}

static bool
in_force(struct bench *b)
{
	return dbt_topology_get(b->dbt)->primary == 0;
}

static bool
gated(struct bench *b)
{
	return dbt_topology_get(b->dbt)->nodes[0].gated;
}

static int
set_up(void)
{
	fixture_start(&pg);
	bench_start(&bench, &pg, "");
	if (!bench_until(&bench, all_fit, 10 * W_SEC))
		return 1;
	/* from here on, commits wait for one of the two standbys */
	(void)fixture_sql(&pg, 0, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (replica)'");
	(void)fixture_sql(&pg, 0, "SELECT pg_reload_conf()");
	return 0;
}

static int
tear_down(void)
{
	bench_stop(&bench);
	fixture_stop(&pg);
	return 0;
}

/* A loaded machine may delay one answer, not the best of ten. */
static void
a_suspicion_is_answered_at_once(void)
{
	w_usec best = W_NEVER;

	for (unsigned i = 0; i < 10; i++) {
		w_usec start = w_now();

		dbt__suspect(bench.dbt, 1);
		while (now()->nodes[1].seen < start && w_now() - start < 5 * W_SEC)
			usleep(200);
		best = W_MIN(best, w_now() - start);
		usleep(7000);
	}
	printf("(%lld us) ", (long long)best);
	CU_ASSERT(best < 30 * W_MSEC);
}

static bool
two_down(struct bench *b)
{
	const struct dbt_topology *topology = dbt_topology_get(b->dbt);

	return topology->nodes[1].role == DBT_DOWN && topology->nodes[2].role == DBT_DOWN;
}

static void
stop_standbys(void)
{
	fixture_stop_node(&pg, 1, SIGINT);
	fixture_stop_node(&pg, 2, SIGINT);
	CU_ASSERT(bench_until(&bench, two_down, 5 * W_SEC));
	/* a commit that no standby has */
	(void)fixture_sql(&pg, 0, "SET synchronous_commit = local; UPDATE t SET body = body WHERE id = 1");
}

/* The primary is up and answers, but may not serve. The standbys have what it came back with. */
static void
expect_gate(void)
{
	const struct dbt_node *primary;
	uint64_t came_back, got;

	CU_ASSERT(bench_until(&bench, gated, 10 * W_SEC));
	primary = &now()->nodes[0];
	came_back = primary->position;
	CU_ASSERT(primary->role == DBT_PRIMARY && !primary->fit && now()->primary == -1);
	CU_ASSERT(!bench_until(&bench, in_force, 300 * W_MSEC));

	fixture_start_node(&pg, 1);
	CU_ASSERT(bench_until(&bench, in_force, 10 * W_SEC));
	primary = &now()->nodes[0];
	CU_ASSERT(primary->fit && !primary->gated);
	CU_ASSERT(dbt__lsn_parse(w_view_of(fixture_sql(&pg, 1, "SELECT pg_last_wal_receive_lsn()")),
	    &got) == W_OK && got >= came_back);
	fixture_start_node(&pg, 2);
	CU_ASSERT(bench_until(&bench, all_fit, 10 * W_SEC));
}

static void
a_restarted_primary_is_gated(void)
{
	stop_standbys();
	fixture_stop_node(&pg, 0, SIGINT);
	fixture_start_node(&pg, 0);
	expect_gate();
}

/* A killed backend makes PostgreSQL recover without another postmaster. */
static void
a_crashed_primary_is_gated(void)
{
	char pid[32];

	stop_standbys();
	snprintf(pid, sizeof(pid), "%s", fixture_sql(&pg, 0,
	    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"));
	CU_ASSERT_FATAL(atoi(pid) > 1);
	kill(atoi(pid), SIGKILL);
	expect_gate();
}

/* ---- the schema ---- */

static PGconn *
connect_as(const char *role)
{
	char dsn[256];

	snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=%u user=%s dbname=weir sslmode=disable "
	    "gssencmode=disable", pg.ports[0], role);
	return PQconnectdb(dsn);
}

/* The first value, or the SQLSTATE. */
static const char *
value_of(PGconn *conn, const char *sql)
{
	static char value[64];
	PGresult *result = PQexec(conn, sql);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	snprintf(value, sizeof(value), "%s", state != NULL ? state :
	    PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	return value;
}

static void
silent(void *arg W_UNUSED, const char *message W_UNUSED)
{
}

static void
the_schema_loads_twice(void)
{
	static const char *const files[] = { "001-weir.sql", "005-promises.sql" };
	const char *srcdir = getenv("srcdir");
	PGconn *conn = connect_as("postgres");

	PQsetNoticeProcessor(conn, silent, NULL);
	for (unsigned i = 0; i < W_NELEM(files); i++) {
		W_AUTO(w_free) char *path = w_xasprintf("%s/sql/%s", srcdir != NULL ? srcdir : ".",
		    files[i]);
		W_AUTO(w_buf_fini) struct w_buf text = { 0 };
		FILE *file = fopen(path, "r");

		CU_ASSERT_PTR_NOT_NULL_FATAL(file);
		w_buf_added(&text, fread(w_buf_room(&text, 65536), 1, 65535, file));
		fclose(file);
		w_buf_char(&text, '\0');
		CU_ASSERT_STRING_EQUAL(value_of(conn, text.ptr), "");
	}
	PQfinish(conn);
}

static void
old_replies_expire(void)
{
	PGconn *one = connect_as("weir_rw"), *other = connect_as("weir_rw");

	(void)value_of(one, "INSERT INTO weir.replies SELECT 'key ' || i, 0, '', NULL,"
	    " now() - i * interval '1 hour' FROM generate_series(1, 100) i");
	CU_ASSERT_STRING_EQUAL(value_of(one, "SELECT weir.expire_replies('24 hours', 10)"), "10");
	CU_ASSERT_STRING_EQUAL(value_of(one, "SELECT min(created) > now() - interval '91 hours'"
	    " FROM weir.replies"), "t");
	/* one that is replayed just now is left, and waits for nobody */
	(void)value_of(other, "BEGIN");
	(void)value_of(other, "UPDATE weir.replies SET replays = 1 WHERE key = 'key 50'");
	(void)value_of(one, "BEGIN");
	CU_ASSERT_STRING_EQUAL(value_of(one, "SELECT weir.expire_replies('24 hours', 1000)"), "66");
	/* of two at once, one works */
	CU_ASSERT_STRING_EQUAL(value_of(other, "SELECT weir.expire_replies('1 hour', 1000)"), "0");
	(void)value_of(one, "COMMIT");
	(void)value_of(other, "COMMIT");
	CU_ASSERT_STRING_EQUAL(value_of(one, "SELECT count(*) FROM weir.replies"), "24");
	CU_ASSERT_STRING_EQUAL(value_of(one, "SELECT weir.expire_replies('0 hours', 1000)"), "24");
	PQfinish(one);
	PQfinish(other);
}

static void
each_role_may_what_it_needs(void)
{
	static const struct {
		const char *role, *sql, *is;
	} cases[] = {
		{ "weir_rw", "SELECT count(*) FROM weir.replies", "0" },
		{ "weir_rw", "TRUNCATE weir.replies", "42501" },
		{ "weir_rw", "SELECT weir.timeline_history(2)", "42501" },
		{ "weir_ro", "SELECT count(*) FROM weir.replies", "42501" },
		{ "weir_ro", "SELECT weir.expire_replies('1 day', 1)", "42501" },
		{ "weir_agent", "SELECT count(*) FROM weir.replies", "42501" },
		{ "weir_agent", "SELECT weir.expire_replies('1 day', 1)", "42501" },
		{ "weir_agent", "SELECT weir.timeline_history(2) IS NULL", "t" },
		{ "weir_agent", "SELECT weir.timeline_history(-1) IS NULL", "t" },
	};

	for (unsigned i = 0; i < W_NELEM(cases); i++) {
		PGconn *conn = connect_as(cases[i].role);

		CU_ASSERT_STRING_EQUAL(value_of(conn, cases[i].sql), cases[i].is);
		PQfinish(conn);
	}
}

/* ---- promotion ---- */

static bool
succeeded(struct bench *b)
{
	return dbt_topology_get(b->dbt)->primary == 1;
}

static bool
knows_forks(struct bench *b)
{
	return dbt_topology_get(b->dbt)->fork_count > 0;
}

/* The last of this suite: the old primary does not come back. */
static void
forks_are_known_after_a_promotion(void)
{
	const struct dbt_topology *topology;
	uint64_t end = 0;
	char told[64];

	/* not at first: so the switch is seen not to wait for them */
	(void)fixture_sql(&pg, 0,
	    "REVOKE EXECUTE ON FUNCTION weir.timeline_history(integer) FROM weir_agent");
	CU_ASSERT(bench_until(&bench, all_fit, 10 * W_SEC));
	fixture_stop_node(&pg, 0, SIGINT);
	(void)fixture_sql(&pg, 1, "SELECT pg_promote()");
	CU_ASSERT(bench_until(&bench, succeeded, 10 * W_SEC));
	topology = now();
	CU_ASSERT(topology->nodes[1].timeline == 2 && topology->fork_count == 0);
	CU_ASSERT(dbt__position_needed(topology, (struct dbt_position){ 1, 1 }) == DBT_LSN_PRIMARY);

	(void)fixture_sql(&pg, 1,
	    "GRANT EXECUTE ON FUNCTION weir.timeline_history(integer) TO weir_agent");
	CU_ASSERT(bench_until(&bench, knows_forks, 10 * W_SEC));
	topology = now();
	snprintf(told, sizeof(told), "%s", fixture_sql(&pg, 1,
	    "SELECT split_part(pg_read_file('pg_wal/00000002.history'), E'\\t', 2)"));
	CU_ASSERT(dbt__lsn_parse(w_view_of(told), &end) == W_OK);
	CU_ASSERT(topology->primary == 1 && topology->fork_count == 1);
	CU_ASSERT(topology->forks[0].timeline == 1 && topology->forks[0].end == end);
	CU_ASSERT(dbt__position_needed(topology, (struct dbt_position){ 1, end + 1 }) == end);
	CU_ASSERT(dbt__node_has(topology, 1, (struct dbt_position){ 1, DBT_LSN_PRIMARY }));
	CU_ASSERT(!dbt__node_has(topology, 2, (struct dbt_position){ 1, 1 }));
}

static CU_TestInfo tests[] = {
	{ "the schema loads twice", the_schema_loads_twice },
	{ "old replies expire, by one caller", old_replies_expire },
	{ "each role may what it needs", each_role_may_what_it_needs },
	{ "a suspicion is answered at once", a_suspicion_is_answered_at_once },
	{ "a restarted primary waits for its standbys", a_restarted_primary_is_gated },
	{ "a primary that recovers from a crash waits for its standbys",
	    a_crashed_primary_is_gated },
	{ "forks are known after a promotion, which does not wait for them",
	    forks_are_known_after_a_promotion },
	CU_TEST_INFO_NULL
};
CU_SuiteInfo topology_live_suites[] = {
	{ .pName = "dbtier/topology-live", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	    .pTests = tests },
	CU_SUITE_INFO_NULL
};
