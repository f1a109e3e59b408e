/*
 * All kinds of statements at once, some of which fail, make the server forget what is prepared, or end
 * connections: each gets its own answer, and what was acknowledged is there.
 *
 * What happens is drawn from a seed, which is printed; STORM_SEED=N draws the same again, though not at the same
 * moments.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dbtier/stats.h"
#include "fixture.h"
#include "suites.h"

#define SOON (w_now() + 10 * W_SEC)
#define FIBERS 48
#define STORM (3 * W_SEC)

static struct fixture pg;
static struct bench bench;

static const struct dbt_stmt add = { "s_add", "INSERT INTO s (who, what) VALUES ($1, $2) RETURNING what", 2 };
static const struct dbt_stmt taken = { "s_taken", "INSERT INTO named VALUES ($1) RETURNING name", 1 };
static const struct dbt_stmt bad = { "s_bad", "SELECT no_such_column", 0 };
static const struct dbt_stmt bad_late = { "s_late", "INSERT INTO s (who, what) SELECT 'bad', 1 / ($1::int)", 1 };
static const struct dbt_stmt forget = { "s_forget", "DEALLOCATE ALL", 0 };
static const struct dbt_stmt find = { "s_find", "SELECT what FROM s WHERE what = $1", 1 };
static const struct dbt_stmt kill_some = { "s_kill", "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid"
	" FROM pg_stat_activity WHERE usename = 'weir_rw' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2) p", 0 };

/* What a kind of statement came to. */
struct tally {
	unsigned done, doubted;
};

struct storm {
	unsigned number, draws, count;
	w_usec until;
	struct tally plain, keyed, tx;
};

static unsigned
draw(struct storm *storm, unsigned below)
{
	return (unsigned)rand_r(&storm->draws) % below;
}

/* Did it go well, or fail in one of the ways that it may? The last one is 0. */
static bool
expect(const char *what, int rc, const struct dbt_sql_error *error, const int *allowed)
{
	for (; *allowed != 0; allowed++)
		if (rc == *allowed)
			return true;
	if (rc == W_OK)
		return true;
	printf("[%s: %s %s %s] ", what, w_err_name(rc), error->sqlstate, error->message);
	CU_FAIL("an answer that is none of those it may have");
	return false;
}

/* Its own row, from wherever it is read. */
static void
find_own(const char *what, struct dbt_position after)
{
	static const int allowed[] = { 0 };
	struct w_view param = w_view_of(what);
	struct dbt_query query = { .intent = DBT_READ, .stmt = &find, .params = &param, .deadline = SOON,
		.after = after };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt_sql_error error;
	int rc = dbt_run(bench.worker, &query, &rows, &error);

	if (expect("read", rc, &error, allowed))
		CU_ASSERT(dbt_rows_count(rows) == 1 && w_view_eq(dbt_rows_get(rows, 0, 0), param));
}

static void
add_row(struct storm *storm, const char *who, const char *what, bool keyed, struct tally *tally)
{
	static const int allowed[] = { -W_EINDOUBT, 0 }, sure[] = { 0 };
	struct w_view params[2] = { w_view_of(who), w_view_of(what) };
	struct dbt_once once = { .key = w_view_of(what), .fingerprint = { 1 } };
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = &add, .params = params, .deadline = SOON,
		.grouped = draw(storm, 4) > 0, .once = keyed ? &once : NULL };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt_sql_error error;
	int rc = dbt_run(bench.worker, &query, &rows, &error);

	if (!expect(who, rc, &error, keyed ? sure : allowed))
		return;
	tally->done += rc == W_OK;
	tally->doubted += rc < 0;
	if (rc < 0)
		return;
	CU_ASSERT(dbt_rows_count(rows) == 1 && w_view_eq(dbt_rows_get(rows, 0, 0), params[1]));
	CU_ASSERT(dbt_rows_position(rows).lsn > 0);
	if (draw(storm, 2) == 0)
		find_own(what, dbt_rows_position(rows));
}

static void
plain(struct storm *storm)
{
	char what[32];

	snprintf(what, sizeof(what), "plain %u %u", storm->number, storm->count);
	add_row(storm, "plain", what, false, &storm->plain);
}

static void
keyed(struct storm *storm)
{
	char what[32];

	snprintf(what, sizeof(what), "keyed %u %u", storm->number, storm->count);
	add_row(storm, "keyed", what, true, &storm->keyed);
}

/* The next fiber does the same, at about the same time. */
static void
twin(struct storm *storm)
{
	struct tally tally = { 0 };
	char what[32];

	snprintf(what, sizeof(what), "twin %u %u", storm->number / 2, storm->count / 4);
	add_row(storm, "twin", what, true, &tally);
}

static void
fail(struct storm *storm, const struct dbt_stmt *stmt, const char *text, const int *allowed)
{
	struct w_view param = w_view_of(text);
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = stmt, .params = &param, .deadline = SOON,
		.grouped = draw(storm, 2) > 0 };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt_sql_error error;
	int rc = dbt_run(bench.worker, &query, &rows, &error);

	CU_ASSERT(expect(stmt->name, rc, &error, allowed) && rc < 0);
}

static void
fails(struct storm *storm)
{
	static const int conflict[] = { -W_ECONFLICT, -W_EINDOUBT, 0 }, sql[] = { -W_ESQL, -W_EINDOUBT, 0 },
	    invalid[] = { -W_EINVAL, -W_EINDOUBT, 0 };

	switch (draw(storm, 3)) {
	case 0:
		fail(storm, &taken, "taken", conflict);
		break;
	case 1:
		fail(storm, &bad, "", sql);
		break;
	default:
		fail(storm, &bad_late, "0", invalid);
	}
}

static void
harms(struct storm *storm)
{
	static const int allowed[] = { -W_EINDOUBT, 0 };
	const struct dbt_stmt *stmt = draw(storm, 3) == 0 ? &kill_some : &forget;
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = stmt, .deadline = SOON,
		.grouped = draw(storm, 2) > 0 };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt_sql_error error;
	int rc = dbt_run(bench.worker, &query, &rows, &error);

	(void)expect(stmt->name, rc, &error, allowed);
}

static void
transaction(struct storm *storm)
{
	static const int allowed[] = { -W_ELOST, -W_ESERIAL, -W_EINDOUBT, 0 }, undone[] = { -W_ELOST,
		-W_ESERIAL, 0 };
	struct dbt_begin how = { .deadline = SOON };
	struct dbt_sql_error error = { 0 };
	struct w_view params[2];
	struct dbt_tx *tx = NULL;
	char what[32];
	int rc = dbt_tx_begin(bench.worker, &how, &tx, &error);

	if (!expect("begin", rc, &error, undone) || rc < 0)
		return;
	for (unsigned i = 0; i < 2; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

		snprintf(what, sizeof(what), "tx %u %u %u", storm->number, storm->count, i);
		params[0] = W_VIEW("tx");
		params[1] = w_view_of(what);
		rc = dbt_tx_exec(tx, &add, params, &rows, &error);
		if (!expect("exec", rc, &error, undone) || rc < 0) {
			dbt_tx_rollback(&tx);
			return;
		}
	}
	rc = dbt_tx_commit(&tx, NULL, &error);
	(void)expect("commit", rc, &error, allowed);
	storm->tx.done += rc == W_OK;
	storm->tx.doubted += rc == -W_EINDOUBT;
}

static void
storm_fiber(void *arg)
{
	static void (*const kinds[])(struct storm *storm) = { plain, plain, plain, keyed, keyed, keyed, twin, twin,
		twin, twin, transaction, fails };
	struct storm *storm = arg;

	while (w_now() < storm->until) {
		if (draw(storm, 100) == 0)
			harms(storm);
		kinds[draw(storm, W_NELEM(kinds))](storm);
		storm->count++;
	}
}

/* ---- the suite ---- */

static int
set_up(void)
{
	fixture_start(&pg);
	fixture_sql(&pg, 0, "CREATE TABLE s (id bigserial PRIMARY KEY, who text, what text);"
	    "CREATE INDEX ON s (what);"
	    "CREATE TABLE named (name text PRIMARY KEY); INSERT INTO named VALUES ('taken');"
	    "ALTER TABLE s OWNER TO weir_rw; GRANT SELECT ON s TO weir_ro; GRANT ALL ON named TO weir_rw");
	bench_start(&bench, &pg, ", write_lanes: 8, write_groups: 2");
	return bench_until(&bench, all_fit, 10 * W_SEC) ? 0 : 1;
}

static int
tear_down(void)
{
	bench_stop(&bench);
	fixture_stop(&pg);
	return 0;
}

static unsigned
rows_of(const char *who, const char *what)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT count(%s) FROM s WHERE who = '%s'", what, who);
	return (unsigned)strtoul(fixture_sql(&pg, 0, sql), NULL, 10);
}

/* All that was acknowledged, once; what was in doubt at most once. */
static void
count_rows(const char *who, const struct tally *tally, unsigned each)
{
	unsigned all = rows_of(who, "*"), different = rows_of(who, "DISTINCT what");

	printf("%s %u + %u: %u, ", who, tally->done, tally->doubted, all);
	CU_ASSERT(all == different);
	CU_ASSERT(all >= tally->done * each && all <= (tally->done + tally->doubted) * each);
}

static void
each_gets_its_own_answer(void)
{
	const char *given = getenv("STORM_SEED");
	struct storm storms[FIBERS], sum = { 0 };
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)w_random();

	printf("(seed %u: ", seed);
	for (unsigned i = 0; i < FIBERS; i++)
		storms[i] = (struct storm){ .number = i, .draws = seed + i, .until = w_now() + STORM };
	bench_run(&bench, storm_fiber, storms, sizeof(*storms), FIBERS);
	for (unsigned i = 0; i < FIBERS; i++) {
		sum.plain.done += storms[i].plain.done;
		sum.plain.doubted += storms[i].plain.doubted;
		sum.keyed.done += storms[i].keyed.done;
		sum.tx.done += storms[i].tx.done;
		sum.tx.doubted += storms[i].tx.doubted;
	}
	count_rows("plain", &sum.plain, 1);
	count_rows("keyed", &sum.keyed, 1);
	count_rows("tx", &sum.tx, 2);
	printf("%u lanes lost) ", (unsigned)bench_value(&bench, DBT_LOST));
	CU_ASSERT(sum.keyed.done > 0 && rows_of("twin", "*") == rows_of("twin", "DISTINCT what"));
	CU_ASSERT(bench_value(&bench, DBT_REPLAYS) > 0 && bench_value(&bench, DBT_LOST) > 0);
}

static CU_TestInfo tests[] = {
	{ "each gets its own answer", each_gets_its_own_answer },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo storm_suites[] = {
	{ "storm", set_up, tear_down, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};
