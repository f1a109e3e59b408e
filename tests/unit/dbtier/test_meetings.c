/* Rare meetings: what comes in one turn, just before an end, or together with its twin. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "dbtier/topology.h"
#include "dbtier/worker.h"
#include "fixture.h"
#include "suites.h"

#define SOON (w_now() + 10 * W_SEC)

static struct fixture pg;
static struct bench bench;

static const struct dbt_stmt add = { "m_add",
	"INSERT INTO p (who, what) VALUES ($1, $2) RETURNING id", 2 };

static int
run(enum dbt_intent intent, const struct dbt_stmt *stmt, const char *a, const char *b,
    const struct dbt_once *once, struct dbt_rows **ret)
{
	struct w_view params[2] = { w_view_of(a), w_view_of(b) };
	struct dbt_query query = { .intent = intent, .stmt = stmt, .params = params,
		.deadline = SOON, .once = once };

	return dbt_run(bench.worker, &query, ret, NULL);
}

static struct dbt_once
key_of(const char *key)
{
	return (struct dbt_once){ .key = w_view_of(key), .fingerprint = { 1 } };
}

/* The thread is away as soon as all is sent, so that all answers come in one turn. */
static void
be_away(void)
{
	w_fiber_sleep(0);
	usleep(150 * 1000);
}

static void
warm_fiber(void *arg W_UNUSED)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	(void)run(DBT_WRITE, &add, "warm", "x", NULL, &rows);
}

static int
set_up(void)
{
	fixture_start(&pg);
	fixture_sql(&pg, 0, "CREATE TABLE p (id bigserial PRIMARY KEY, who text, what text);"
	    "GRANT ALL ON p, p_id_seq TO weir_rw; GRANT SELECT ON p TO weir_ro;"
	    /* what it is told to refuse it refuses as if PostgreSQL could not do it */
	    "CREATE FUNCTION p_pick(who text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
	    " IF who = 'refused' THEN RAISE feature_not_supported; END IF; RETURN who; END $$;"
	    "CREATE PROCEDURE p_own(who text, what text) LANGUAGE plpgsql AS $$ BEGIN"
	    " INSERT INTO p (who, what) VALUES (who, what); COMMIT; END $$;"
	    /* a slow commit */
	    "CREATE FUNCTION p_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
	    " IF new.who = 'slow' THEN PERFORM pg_sleep(30); END IF; RETURN NULL; END $$;"
	    "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON p DEFERRABLE INITIALLY DEFERRED"
	    " FOR EACH ROW EXECUTE FUNCTION p_slow()");
	bench_start(&bench, &pg, ", write_lanes: 8, max_rows_bytes: 1MiB");
	if (!bench_until(&bench, all_fit, 10 * W_SEC))
		return 1;
	bench_run(&bench, warm_fiber, NULL, 0, 8);
	return 0;
}

static int
tear_down(void)
{
	bench_stop(&bench);
	fixture_stop(&pg);
	return 0;
}

/* ---- a portion and the end ---- */

static const struct dbt_stmt series = { "m_series", "SELECT i FROM generate_series(1, 1000) i", 0 };
static bool lost;

/* A portion has come, and its fiber has not run yet. */
static struct dbt__lane *
lane_with_portion(const struct dbt_worker *worker)
{
	struct w_list *pos;

	for (unsigned i = 0; i < FIXTURE_NODES; i++) {
		w_list_each(pos, &worker->sites[i]->pools[DBT__SLOW].lanes) {
			struct dbt__lane *lane = w_list_entry(pos, struct dbt__lane, node);

			if (lane->count > 0 && dbt__lane_flight(lane, 0)->job->portion_here)
				return lane;
		}
	}
	return NULL;
}

static void
on_portion(uv_check_t *check W_UNUSED)
{
	struct dbt__lane *lane = lane_with_portion(bench.worker);

	if (lane == NULL || lost)
		return;
	lost = true;
	dbt__lane_lose(lane, "the end came with the first portion");
}

static int
count_rows(const struct dbt_rows *rows, void *arg)
{
	int *count = arg;

	*count += dbt_rows_count(rows);
	return W_OK;
}

static void
series_fiber(void *arg W_UNUSED)
{
	struct dbt_query query = { .intent = DBT_READ, .stmt = &series, .deadline = SOON };
	int count = 0;

	CU_ASSERT(dbt_each(bench.worker, &query, count_rows, &count, NULL) == W_OK);
	CU_ASSERT(lost && count == 1000);
}

static void
a_portion_may_come_with_the_end(void)
{
	static uv_check_t check;

	uv_check_init(&bench.loop.uv, &check);
	uv_check_start(&check, on_portion);
	bench_run(&bench, series_fiber, NULL, 0, 1);
	uv_close((uv_handle_t *)&check, NULL);
}

/* ---- a key whose statement loses its form ---- */

#define PICKS 10
static const struct dbt_stmt picks[PICKS] = {
#define PICK { "m_pick", "SELECT p_pick($1)", 1 }
	PICK, PICK, PICK, PICK, PICK, PICK, PICK, PICK, PICK, PICK
#undef PICK
};

static void
pick_fiber(void *arg)
{
	const int *number = arg;
	struct dbt_once old = key_of("picked"), new = key_of("refused");
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	const struct dbt_stmt *stmt = &picks[*number / 3];

	switch (*number % 3) {
	case 0:
		CU_ASSERT(run(DBT_WRITE, stmt, "refused", NULL, &new, &rows) == -W_ESQL);
		break;
	case 1:
		CU_ASSERT_FATAL(run(DBT_WRITE, stmt, "mine", NULL, &old, &rows) == W_OK);
		CU_ASSERT(w_view_eq(dbt_rows_get(rows, 0, 0), W_VIEW("mine")));
		break;
	default:
		be_away();
	}
}

static void
a_lost_form_does_not_hurt_a_replay(void)
{
	int first = 1;

	bench_run(&bench, pick_fiber, &first, 0, 1);
	for (int i = 0; i < PICKS; i++) {
		int numbers[] = { 3 * i, 3 * i + 1, 3 * i + 2 };

		bench_run(&bench, pick_fiber, numbers, sizeof(*numbers), 3);
	}
}

/* ---- a transaction in doubt, and its twin ---- */

static void
doubtful_tx(const char *who, int *ret_rc, char id[16])
{
	struct dbt_once once = key_of("doubtful");
	struct dbt_begin how = { .deadline = SOON, .once = &once };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct w_view params[2] = { w_view_of(who), W_VIEW("x") };
	struct dbt_tx *tx = NULL;

	*ret_rc = dbt_tx_begin(bench.worker, &how, &tx, NULL);
	CU_ASSERT_FATAL(*ret_rc == W_OK);
	CU_ASSERT_FATAL(dbt_tx_exec(tx, &add, params, &rows, NULL) == W_OK);
	(void)w_view_copy(dbt_rows_get(rows, 0, 0), id, 16);
	*ret_rc = dbt_tx_commit(&tx, NULL, NULL);
}

static void
doubtful_fiber(void *arg)
{
	const int *number = arg;
	char id[16] = "", sql[128];
	int rc;

	w_fiber_sleep(*number * 200 * W_MSEC);
	if (*number == 2) {
		fixture_sql(&pg, 0, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		    " WHERE wait_event = 'PgSleep'");
		return;
	}
	doubtful_tx(*number == 0 ? "slow" : "fast", &rc, id);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM p WHERE id = %s", id);
	/* What a commit has confirmed is there. */
	CU_ASSERT((rc == W_OK) == (strcmp(fixture_sql(&pg, 0, sql), "1") == 0));
	CU_ASSERT(rc == (*number == 0 ? -W_ELOST : W_OK));
}

static void
a_twins_commit_is_not_ones_own(void)
{
	int numbers[] = { 0, 1, 2 };

	bench_run(&bench, doubtful_fiber, numbers, sizeof(*numbers), 3);
}

/* ---- a long value ---- */

static const struct dbt_stmt giant = { "m_giant",
	"SELECT repeat('x', 1000000 * $1::int)", 1 };
static const struct dbt_stmt add_giant = { "m_add_giant",
	"INSERT INTO p (who) VALUES ($1) RETURNING repeat('x', 50000000)", 1 };

static size_t
held_in_lanes(const struct dbt_worker *worker)
{
	size_t held = 0;
	struct w_list *pos;

	for (unsigned i = 0; i < FIXTURE_NODES * DBT__CLASSES; i++)
		w_list_each(pos, &worker->sites[i / DBT__CLASSES]->pools[i % DBT__CLASSES].lanes)
			held += w_list_entry(pos, struct dbt__lane, node)->channel.in.cap;
	return held;
}

static size_t most_held;

static void
on_held(uv_check_t *check W_UNUSED)
{
	size_t held = held_in_lanes(bench.worker);

	most_held = W_MAX(most_held, held);
}

static void
giant_fiber(void *arg)
{
	const int *number = arg;
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	int rc = *number == 1 ? run(DBT_WRITE, &add_giant, "giant", NULL, NULL, &rows) :
	    run(DBT_READ, &giant, *number == 0 ? "50" : "1", NULL, NULL, &rows);

	CU_ASSERT(rc == (*number < 2 ? -W_ETOOBIG : W_OK));
}

static void
a_long_value_is_not_held(void)
{
	static uv_check_t check;
	int numbers[20];

	for (int i = 0; i < 20; i++)
		numbers[i] = i;
	uv_check_init(&bench.loop.uv, &check);
	uv_check_start(&check, on_held);
	bench_run(&bench, giant_fiber, numbers, sizeof(*numbers), 2);
	uv_close((uv_handle_t *)&check, NULL);
	bench_run(&bench, giant_fiber, numbers, sizeof(*numbers), 20);
	CU_ASSERT(most_held > 0 && most_held < 8 * 1024 * 1024);
	CU_ASSERT(strcmp(fixture_sql(&pg, 0, "SELECT count(*) FROM p WHERE who = 'giant'"), "2") == 0);
}

/* ---- a reload while lanes are dialed ---- */

static void
reload_fiber(void *arg W_UNUSED)
{
	int64_t failed = bench_value(&bench, DBT_DIALS_FAILED);
	int64_t opened = bench_value(&bench, DBT_OPENED);

	/* its address is a name, which is looked up first */
	(void)dbt__lane_dial(&bench.worker->sites[1]->pools[DBT__SLOW]);
	dbt_worker_reload(bench.worker, bench.worker->options);
	w_fiber_sleep(500 * W_MSEC);
	CU_ASSERT(bench_value(&bench, DBT_DIALS_FAILED) == failed);
	CU_ASSERT(bench_value(&bench, DBT_OPENED) > opened);
}

static void
a_reload_leaves_dials_alone(void)
{
	bench_run(&bench, reload_fiber, NULL, 0, 1);
}

/* ---- a position that nobody tells ---- */

/* It commits by itself, so where the log stands then is asked apart, as a read of the primary. */
static const struct dbt_stmt add_own = { "m_own", "CALL p_own($1, $2)", 2 };

static void
hasty_fiber(void *arg)
{
	const int *number = arg;
	struct w_view params[2] = { W_VIEW("hasty"), W_VIEW("x") };
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = &add_own, .params = params };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	w_usec start;

	w_fiber_sleep(*number * 50 * W_MSEC);
	start = w_now();
	query.deadline = start + (*number == 0 ? 10 * W_SEC : 300 * W_MSEC);
	CU_ASSERT_FATAL(dbt_run(bench.worker, &query, &rows, NULL) == W_OK);
	CU_ASSERT(dbt_rows_position(rows).lsn == DBT_LSN_PRIMARY);
	if (*number > 0)
		CU_ASSERT(w_now() - start < 600 * W_MSEC);
}

static bool
primary_is_trusted(struct bench *b)
{
	return b->worker->write_primary == b->worker->sites[0];
}

static void
a_position_is_not_waited_for_too_long(void)
{
	int numbers[] = { 0, 1, 2 };

	fixture_sql(&pg, 0, "ALTER ROLE weir_ro NOLOGIN");
	fixture_sql(&pg, 0, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	    " WHERE application_name = 'weir-read'");
	bench_run(&bench, warm_fiber, NULL, 0, 1);
	CU_ASSERT(bench_until(&bench, primary_is_trusted, W_SEC));
	bench_run(&bench, hasty_fiber, numbers, sizeof(*numbers), 3);
	fixture_sql(&pg, 0, "ALTER ROLE weir_ro LOGIN");
}

/* ---- an error that a transaction has got over ---- */

static void
mended_tx(int rcs[4], char id[16], bool *ret_replayed)
{
	static const struct dbt_stmt save = { "m_save", "SAVEPOINT a", 0 };
	static const struct dbt_stmt back = { "m_back", "ROLLBACK TO a", 0 };
	static const struct dbt_stmt fail = { "m_fail",
		"INSERT INTO p (id) SELECT min(id) FROM p", 0 };
	static const struct dbt_stmt *const all[] = { &save, &fail, &back, &add };
	struct dbt_once once = key_of("mended");
	struct dbt_begin how = { .deadline = SOON, .once = &once };
	struct w_view params[2] = { W_VIEW("mended"), W_VIEW("x") };
	struct dbt_sql_error error;
	struct dbt_tx *tx = NULL;

	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &how, &tx, NULL) == W_OK);
	*ret_replayed = dbt_tx_replayed(tx);
	for (unsigned i = 0; i < 4; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

		rcs[i] = dbt_tx_exec(tx, all[i], params, &rows, &error);
		if (i == 1)
			CU_ASSERT(strcmp(error.sqlstate, "23505") == 0);
		if (i == 3 && rcs[i] == W_OK)
			(void)w_view_copy(dbt_rows_get(rows, 0, 0), id, 16);
	}
	CU_ASSERT(dbt_tx_commit(&tx, NULL, NULL) == W_OK);
}

static void
mended_fiber(void *arg W_UNUSED)
{
	char ids[2][16] = { "", "" };
	bool replayed;
	int rcs[4];

	for (unsigned i = 0; i < 2; i++) {
		mended_tx(rcs, ids[i], &replayed);
		CU_ASSERT(replayed == (i > 0));
		CU_ASSERT(rcs[0] == W_OK && rcs[1] == -W_ECONFLICT);
		CU_ASSERT(rcs[2] == W_OK && rcs[3] == W_OK);
	}
	CU_ASSERT(ids[0][0] != '\0' && strcmp(ids[0], ids[1]) == 0);
}

static void
errors_are_replayed_too(void)
{
	bench_run(&bench, mended_fiber, NULL, 0, 1);
}

/* ---- reads while there is no primary ---- */

static bool
no_primary(struct bench *b)
{
	return b->worker->write_primary == NULL && b->worker->read_primary == NULL &&
	    b->worker->replica_count == FIXTURE_NODES - 1;
}

/* Half of them want what only the primary has. */
static void
held_fiber(void *arg)
{
	static const struct dbt_stmt read = { "m_read", "SELECT count(*) FROM p", 0 };
	const int *number = arg;
	bool held = *number < 10;
	struct dbt_query query = { .intent = DBT_READ, .stmt = &read,
		.deadline = w_now() + 2 * W_SEC,
		.after = { held, held ? DBT_LSN_PRIMARY : 0 } };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	int rc = dbt_run(bench.worker, &query, &rows, NULL);

	CU_ASSERT(rc == (held ? -W_EDOWN : W_OK));
	if (!held)
		CU_ASSERT(w_now() < query.deadline - W_SEC);
}

static void
held_reads_hold_up_no_others(void)
{
	int numbers[20];

	for (int i = 0; i < 20; i++)
		numbers[i] = i;
	fixture_stop_node(&pg, 0, SIGQUIT);
	CU_ASSERT(bench_until(&bench, no_primary, 5 * W_SEC));
	bench_run(&bench, held_fiber, numbers, sizeof(*numbers), 20);
}

static CU_TestInfo meetings_tests[] = {
	{ "a portion may come together with the end", a_portion_may_come_with_the_end },
	{ "a statement that loses its form does not hurt a replay", a_lost_form_does_not_hurt_a_replay },
	{ "a twin's commit is not one's own", a_twins_commit_is_not_ones_own },
	{ "a long value is not held in memory", a_long_value_is_not_held },
	{ "a reload leaves dials alone", a_reload_leaves_dials_alone },
	{ "a position is not waited for too long", a_position_is_not_waited_for_too_long },
	{ "errors are replayed, too", errors_are_replayed_too },
	{ "held reads hold up no others", held_reads_hold_up_no_others },
	CU_TEST_INFO_NULL
};
CU_SuiteInfo meetings_suites[] = {
	{ .pName = "dbtier/meetings", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	    .pTests = meetings_tests },
	CU_SUITE_INFO_NULL
};
