/* Writes that share a transaction: one error, one loss, one lock, and what becomes of the others. */
#include <stdio.h>

#include "dbtier/topology.h"
#include "dbtier/worker.h"
#include "fixture.h"
#include "suites.h"

#define SOON (w_now() + 10 * W_SEC)
#define WRITERS 40

static struct fixture pg;
static struct bench bench;

static const struct dbt_stmt add = { "g_add",
	"INSERT INTO g (who, what) VALUES ($1, $2) RETURNING id, what", 2 };
static const struct dbt_stmt add_named = { "g_named", "INSERT INTO named (name) VALUES ($1)", 1 };
static const struct dbt_stmt add_slow = { "g_slow",
	"INSERT INTO g (who, what) SELECT $1, $2 FROM pg_sleep(0.3) RETURNING id, what", 2 };
/* Longer than a lane is kept for nobody. */
static const struct dbt_stmt add_long = { "g_long",
	"INSERT INTO g (who, what) SELECT $1, $2 FROM pg_sleep(5.5) RETURNING id, what", 2 };
/* Keeps its row's lock for a while. */
static const struct dbt_stmt lock_row = { "g_lock",
	"UPDATE locks SET n = n + 1 WHERE name = $1 RETURNING n, $2 || pg_sleep(0.2)::text", 2 };
static const struct dbt_stmt vacuum = { "g_vacuum", "VACUUM g", 0 };
static const struct dbt_stmt forget = { "g_forget", "DEALLOCATE ALL", 0 };

struct writer {
	const struct dbt_stmt *stmt;
	const char *who;
	char what[16];
	bool keyed, patient;
	int rc;
	bool own;      /* what it got is its own row */
	bool placed;   /* with a position */
	bool replayed;
};

static void
write_fiber(void *arg)
{
	struct writer *writer = arg;
	struct w_view params[2] = { w_view_of(writer->who), w_view_of(writer->what) };
	char key[64];
	struct dbt_once once = { .fingerprint = { 1 } };
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = writer->stmt, .params = params,
		.deadline = SOON, .grouped = true, .once = writer->keyed ? &once : NULL };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	snprintf(key, sizeof(key), "%s-%s", writer->who, writer->what);
	once.key = w_view_of(key);
	writer->rc = dbt_run(bench.worker, &query, &rows, NULL);
	if (writer->rc < 0)
		return;
	writer->own = dbt_rows_count(rows) == 1 &&
	    w_view_eq(dbt_rows_get(rows, 0, 1), params[1]);
	writer->placed = dbt_rows_position(rows).lsn > 0 &&
	    dbt_rows_position(rows).lsn != DBT_LSN_PRIMARY;
	writer->replayed = dbt_rows_replayed(rows);
}

/* All of them start in one turn. */
static void
write_all(struct writer *all, const struct dbt_stmt *stmt, const char *who, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		all[i] = (struct writer){ .stmt = stmt, .who = who };
		snprintf(all[i].what, sizeof(all[i].what), "%u", i);
	}
}

static void
run(struct writer *all, unsigned count)
{
	bench_run(&bench, write_fiber, all, sizeof(*all), count);
}

static const char *
ask(const char *format, const char *who)
{
	char sql[256];

	snprintf(sql, sizeof(sql), format, who);
	return fixture_sql(&pg, 0, sql);
}

static bool
has_rows(const char *who, unsigned count)
{
	char want[32];

	snprintf(want, sizeof(want), "%u %u", count, count);
	return strcmp(ask("SELECT count(*) || ' ' || count(DISTINCT what) FROM g WHERE who = '%s'", who),
	    want) == 0;
}

static unsigned
transactions_of(const char *who)
{
	return (unsigned)strtoul(ask("SELECT count(DISTINCT xmin::text) FROM g WHERE who = '%s'", who),
	    NULL, 10);
}

static int
set_up(void)
{
	struct writer warm[WRITERS];

	fixture_start(&pg);
	fixture_sql(&pg, 0, "CREATE TABLE g (id bigserial PRIMARY KEY, who text, what text);"
	    "CREATE TABLE named (name text PRIMARY KEY); INSERT INTO named VALUES ('taken');"
	    "CREATE TABLE locks (name text PRIMARY KEY, n int); INSERT INTO locks VALUES ('x', 0), ('y', 0);"
	    "ALTER TABLE g OWNER TO weir_rw; GRANT ALL ON named, locks TO weir_rw;"
	    /* one that fails at the commit */
	    "CREATE FUNCTION g_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	    " IF new.what = '7' THEN RAISE unique_violation; END IF;"
	    " IF new.what = '8' AND new.who = 'dozing' THEN PERFORM pg_sleep(0.3); END IF;"
	    " RETURN NULL; END $$;"
	    "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON g DEFERRABLE INITIALLY DEFERRED"
	    " FOR EACH ROW WHEN (new.who IN ('late', 'dozing')) EXECUTE FUNCTION g_late();"
	    /* one that ends its own transaction */
	    "CREATE PROCEDURE g_twice(who text, what text) LANGUAGE plpgsql AS $$ BEGIN"
	    " INSERT INTO g (who, what) VALUES (who, what); COMMIT;"
	    " INSERT INTO g (who, what) VALUES (who, what || '+'); END $$");
	bench_start(&bench, &pg, ", write_lanes: 8, write_groups: 2");
	if (!bench_until(&bench, all_fit, 10 * W_SEC))
		return 1;
	write_all(warm, &add, "warm", WRITERS);
	run(warm, WRITERS);
	return 0;
}

static int
tear_down(void)
{
	bench_stop(&bench);
	fixture_stop(&pg);
	return 0;
}

static void
writes_of_a_turn_share_transactions(void)
{
	int64_t groups = bench_value(&bench, DBT_GROUPS), grouped = bench_value(&bench, DBT_GROUPED);
	struct writer all[3 * DBT__GROUP_MOST];
	unsigned count = W_NELEM(all);

	write_all(all, &add, "together", count);
	run(all, count);
	for (unsigned i = 0; i < count; i++)
		CU_ASSERT(all[i].rc == W_OK && all[i].own && all[i].placed);
	CU_ASSERT(has_rows("together", count));
	CU_ASSERT(transactions_of("together") >= 3 && transactions_of("together") <= 8);
	CU_ASSERT(bench_value(&bench, DBT_GROUPS) - groups >= 3);
	CU_ASSERT(bench_value(&bench, DBT_GROUPED) - grouped <= count);
}

static void
an_error_is_its_own_writes(void)
{
	int64_t failed = bench_value(&bench, DBT_GROUPS_FAILED), lost = bench_value(&bench, DBT_LOST);
	struct writer all[WRITERS];

	write_all(all, &add, "fine", WRITERS);
	all[17].stmt = &add_named;
	all[17].who = "taken";
	run(all, WRITERS);
	for (unsigned i = 0; i < WRITERS; i++)
		CU_ASSERT(i == 17 ? all[i].rc == -W_ECONFLICT : all[i].own && all[i].placed);
	CU_ASSERT(has_rows("fine", WRITERS - 1));
	CU_ASSERT(bench_value(&bench, DBT_GROUPS_FAILED) - failed == 1);
	CU_ASSERT(bench_value(&bench, DBT_LOST) == lost);
}

/* One of ten, on whichever of two lanes it is. */
static bool
is_bad(unsigned i)
{
	return i % 20 == 0 || i % 20 == 11;
}

/* Groups are as large as pays: with those of 20 all writes would be run twice. */
static void
groups_shrink_where_writes_fail(void)
{
	static const unsigned waves = 40;
	int64_t tries = bench_value(&bench, DBT_RETRIES);
	struct writer all[WRITERS];

	for (unsigned wave = 0; wave < waves; wave++) {
		write_all(all, &add, "waves", WRITERS);
		for (unsigned i = 0; i < WRITERS; i++)
			if (is_bad(i)) {
				all[i].stmt = &add_named;
				all[i].who = "taken";
			}
		run(all, WRITERS);
		for (unsigned i = 0; i < WRITERS; i++)
			CU_ASSERT(is_bad(i) ? all[i].rc == -W_ECONFLICT : all[i].own);
	}
	tries = bench_value(&bench, DBT_RETRIES) - tries;
	printf("(%u run again of %u) ", (unsigned)tries, waves * WRITERS);
	CU_ASSERT(tries < waves * WRITERS * 4 / 5);
	CU_ASSERT(bench_value(&bench, DBT_GROUP_WRITES) < DBT__GROUP_MOST / 2);
}

/* And grow again where they do not. */
static void
groups_grow_again(void)
{
	struct writer all[WRITERS];

	for (unsigned wave = 0; wave < DBT__GROUP_MOST; wave++) {
		write_all(all, &add, "grow", WRITERS);
		run(all, WRITERS);
	}
	CU_ASSERT(bench_value(&bench, DBT_GROUP_WRITES) == DBT__GROUP_MOST);
	write_all(all, &add, "grown", WRITERS);
	run(all, WRITERS);
	CU_ASSERT(transactions_of("grown") == 2);
}

static void
an_error_at_the_commit_is_too(void)
{
	struct writer all[WRITERS];

	write_all(all, &add, "late", WRITERS);
	run(all, WRITERS);
	for (unsigned i = 0; i < WRITERS; i++)
		CU_ASSERT(i == 7 ? all[i].rc == -W_ECONFLICT : all[i].own && all[i].placed);
	CU_ASSERT(has_rows("late", WRITERS - 1));
}

static void
write_twins(const char *who)
{
	struct writer all[WRITERS];
	unsigned replayed = 0;

	write_all(all, &add, who, WRITERS);
	for (unsigned i = 0; i < WRITERS; i++) {
		all[i].keyed = true;
		snprintf(all[i].what, sizeof(all[i].what), "%u", i / 2);
	}
	run(all, WRITERS);
	for (unsigned i = 0; i < WRITERS; i++) {
		CU_ASSERT(all[i].rc == W_OK && all[i].own && all[i].placed);
		replayed += all[i].replayed;
	}
	CU_ASSERT(replayed == WRITERS / 2);
	CU_ASSERT(has_rows(who, WRITERS / 2));
}

static void
twins_in_a_group_happen_once(void)
{
	write_twins("twins");
}

/* Where statements are yet to be prepared, some of it behind a group that fails. */
static void
twins_on_new_lanes_happen_once(void)
{
	struct writer warm[WRITERS];
	char who[16];

	for (unsigned round = 0; round < 100; round++) {
		(void)fixture_sql(&pg, 0, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
		    " WHERE usename = 'weir_rw'");
		write_all(warm, &add, "warm", WRITERS);
		run(warm, WRITERS); /* those that found a lane gone may be in doubt */
		dbt__group_most_set(bench.worker, DBT__GROUP_MOST);
		snprintf(who, sizeof(who), "twins %u", round);
		write_twins(who);
	}
}

static void
what_wants_its_own_transaction_has_it(void)
{
	static const struct dbt_stmt twice = { "g_twice", "CALL g_twice($1, $2)", 2 };
	struct writer all[WRITERS];

	for (unsigned round = 0; round < 2; round++) {
		write_all(all, &add, round == 0 ? "own" : "own again", WRITERS);
		all[3].stmt = &vacuum;
		all[5].stmt = &twice;
		all[5].who = round == 0 ? "both" : "both again";
		run(all, WRITERS);
		for (unsigned i = 0; i < WRITERS; i++)
			CU_ASSERT(all[i].rc == W_OK && all[i].placed);
		CU_ASSERT(has_rows(all[0].who, WRITERS - 2));
		CU_ASSERT(has_rows(all[5].who, 2));
	}
}

static void
forgotten_statements_are_prepared_again(void)
{
	struct writer all[WRITERS];

	for (unsigned i = 0; i < 16; i++) {
		write_all(all, &forget, "", 4); /* on some of the lanes, in groups and alone */
		run(all, 4);
		write_all(all, &add, "again", WRITERS);
		run(all, WRITERS);
		for (unsigned k = 0; k < WRITERS; k++)
			CU_ASSERT(all[k].rc == W_OK && all[k].own && all[k].placed);
	}
	CU_ASSERT(strcmp(ask("SELECT count(*) FROM g WHERE who = '%s'", "again"), "640") == 0);
}

/* Nothing that it committed may be done twice. */
static void
a_statement_that_ends_the_group_is_not_grouped_again(void)
{
	static const struct dbt_stmt end = { "g_end", "COMMIT", 0 };
	struct writer all[WRITERS];
	unsigned done = 0;

	write_all(all, &add, "cut", WRITERS);
	all[20].stmt = &end;
	all[30].stmt = &add_named;
	all[30].who = "taken";
	run(all, WRITERS);
	CU_ASSERT(all[20].rc == -W_EINDOUBT && all[30].rc == -W_EINDOUBT);
	for (unsigned i = 0; i < WRITERS; i++)
		done += all[i].rc == W_OK;
	CU_ASSERT(done >= WRITERS / 2);
	CU_ASSERT(strcmp(ask("SELECT count(*) > 0 FROM g WHERE who = '%s' GROUP BY what"
	    " HAVING count(*) > 1", "cut"), "") == 0);
	run(&all[20], 1);
	CU_ASSERT(all[20].rc == W_OK);
}

/* ---- a group that is lost ---- */

static void
lose_writers(void)
{
	/* Whoever is asleep has a group behind it. */
	while (strcmp(fixture_sql(&pg, 0, "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity"
	    " WHERE application_name = 'weir-write' AND wait_event = 'PgSleep'"), "t") != 0)
		w_fiber_sleep(W_MSEC);
}

static void
lossy_fiber(void *arg)
{
	struct writer *writer = arg;

	if (writer->stmt == NULL)
		lose_writers();
	else
		write_fiber(writer);
}

/* It had not come to its COMMIT, and the server said so: all of it is done again. */
static void
a_group_that_is_lost_early_is_done_again(void)
{
	struct writer all[WRITERS];

	write_all(all, &add, "lost", WRITERS);
	all[20].stmt = &add_slow;
	all[WRITERS - 1].stmt = NULL;
	bench_run(&bench, lossy_fiber, all, sizeof(*all), WRITERS);
	for (unsigned i = 0; i < WRITERS - 1; i++)
		CU_ASSERT(all[i].rc == W_OK && all[i].own && all[i].placed);
	CU_ASSERT(has_rows("lost", WRITERS - 1));
}

static void
a_group_that_is_lost_at_its_commit_is_in_doubt(void)
{
	struct writer all[WRITERS];
	unsigned done = 0, doubtful = 0;

	write_all(all, &add, "dozing", WRITERS);
	all[7].who = "lively";
	all[WRITERS - 1].stmt = NULL;
	bench_run(&bench, lossy_fiber, all, sizeof(*all), WRITERS);
	for (unsigned i = 0; i < WRITERS - 1; i++) {
		done += all[i].rc == W_OK;
		doubtful += all[i].rc == -W_EINDOUBT;
	}
	CU_ASSERT(doubtful >= 15 && done + doubtful == WRITERS - 1);
	CU_ASSERT(all[8].rc == -W_EINDOUBT);
	/* The other lane's are there, these are not: it slept before it committed. */
	CU_ASSERT(has_rows("dozing", done - (all[7].rc == W_OK)));
}

static void
a_lost_group_with_keys_is_done_once(void)
{
	struct writer all[WRITERS];

	write_all(all, &add, "kept", WRITERS);
	for (unsigned i = 0; i < WRITERS; i++)
		all[i].keyed = true;
	all[8].who = "dozing";
	all[WRITERS - 1].stmt = NULL;
	bench_run(&bench, lossy_fiber, all, sizeof(*all), WRITERS);
	for (unsigned i = 0; i < WRITERS - 1; i++)
		CU_ASSERT(all[i].rc == W_OK && all[i].own && all[i].placed);
	CU_ASSERT(has_rows("kept", WRITERS - 2));
}

/* One that is over its deadline leaves its group, which goes on, and is waited for by those who still want it. */
static void
impatient_fiber(void *arg)
{
	struct writer *writer = arg;
	struct w_view params[2] = { w_view_of(writer->who), w_view_of(writer->what) };
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = writer->stmt, .params = params,
		.deadline = w_now() + 50 * W_MSEC, .grouped = true };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	if (writer->patient)
		write_fiber(writer);
	else
		writer->rc = dbt_run(bench.worker, &query, &rows, NULL);
}

static void
a_deadline_is_its_own_writes(void)
{
	struct writer all[4]; /* of one lane are the first and the third */

	write_all(all, &add, "late one", 4);
	all[0].stmt = &add_long;
	all[2].patient = true;
	bench_run(&bench, impatient_fiber, all, sizeof(*all), 4);
	CU_ASSERT(all[0].rc == -W_EINDOUBT);
	CU_ASSERT(all[1].rc == W_OK && all[3].rc == W_OK);
	CU_ASSERT(all[2].rc == W_OK && all[2].own);
	CU_ASSERT(has_rows("late one", 4)); /* it was committed with the third */
}

/* Each group has the lock that the other one waits for. */
static void
a_deadlock_of_groups_ends(void)
{
	int64_t failed = bench_value(&bench, DBT_GROUPS_FAILED);
	struct writer all[4]; /* of one lane are the first and the third */

	write_all(all, &lock_row, "x", 4);
	all[1].who = all[2].who = "y";
	run(all, 4);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT(all[i].rc == W_OK && all[i].own && all[i].placed);
	CU_ASSERT(bench_value(&bench, DBT_GROUPS_FAILED) - failed == 1);
	CU_ASSERT(strcmp(ask("SELECT string_agg(n::text, %s ORDER BY name) FROM locks", "' '"), "2 2") == 0);
}

/* ---- how many ---- */

static struct w_server_options options;

static void
a_group_has_no_more_than_it_may(void)
{
	struct writer all[20];

	options = *bench.worker->options;
	options.group_writes = 5;
	dbt_worker_reload(bench.worker, &options);
	for (unsigned wave = 0; wave < options.group_writes; wave++) { /* some of the above have failed */
		write_all(all, &add, "again", W_NELEM(all));
		run(all, W_NELEM(all));
	}
	CU_ASSERT(bench_value(&bench, DBT_GROUP_WRITES) == 5);
	write_all(all, &add, "five", W_NELEM(all));
	run(all, W_NELEM(all));
	for (unsigned i = 0; i < W_NELEM(all); i++)
		CU_ASSERT(all[i].rc == W_OK && all[i].own && all[i].placed);
	CU_ASSERT(strcmp(ask("SELECT max(count) FROM (SELECT count(*) FROM g WHERE who = '%s' GROUP BY xmin::text) t",
	    "five"), "5") == 0);
	CU_ASSERT(bench_value(&bench, DBT_GROUP_WRITES) == 5);
}

static void
zero_groups_are_none(void)
{
	int64_t groups;
	struct writer all[WRITERS];

	options = *bench.worker->options;
	options.write_groups = 0;
	dbt_worker_reload(bench.worker, &options);
	groups = bench_value(&bench, DBT_GROUPS);
	write_all(all, &add, "none", WRITERS);
	run(all, WRITERS);
	for (unsigned i = 0; i < WRITERS; i++)
		CU_ASSERT(all[i].rc == W_OK && all[i].own && all[i].placed);
	CU_ASSERT(transactions_of("none") == WRITERS);
	CU_ASSERT(bench_value(&bench, DBT_GROUPS) == groups);
}

static CU_TestInfo tests[] = {
	{ "writes of a turn share transactions", writes_of_a_turn_share_transactions },
	{ "an error is its own write's", an_error_is_its_own_writes },
	{ "groups shrink where writes fail", groups_shrink_where_writes_fail },
	{ "groups grow again", groups_grow_again },
	{ "an error at the commit is, too", an_error_at_the_commit_is_too },
	{ "twins in a group happen once", twins_in_a_group_happen_once },
	{ "twins on new lanes happen once", twins_on_new_lanes_happen_once },
	{ "what wants its own transaction has it", what_wants_its_own_transaction_has_it },
	{ "forgotten statements are prepared again", forgotten_statements_are_prepared_again },
	{ "a statement that ends the group is not grouped again",
	    a_statement_that_ends_the_group_is_not_grouped_again },
	{ "a group that is lost early is done again", a_group_that_is_lost_early_is_done_again },
	{ "a group that is lost at its commit is in doubt",
	    a_group_that_is_lost_at_its_commit_is_in_doubt },
	{ "a lost group with keys is done once", a_lost_group_with_keys_is_done_once },
	{ "a deadline is its own write's", a_deadline_is_its_own_writes },
	{ "a deadlock of groups ends", a_deadlock_of_groups_ends },
	{ "a group has no more than it may", a_group_has_no_more_than_it_may },
	{ "zero groups are none", zero_groups_are_none },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo group_suites[] = {
	{ "groups", set_up, tear_down, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};
