/* Statements, failures and transactions on a real primary with two replicas. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "dbtier/stats.h"
#include "dbtier/worker.h"
#include "fixture.h"
#include "suites.h"

#define SOON (w_now() + 5 * W_SEC)

/* The first members of a struct call. */
#define READ(stmt_, ...) .intent = DBT_READ, .stmt = &(stmt_), .params = { __VA_ARGS__ }
#define WRITE(stmt_, ...) .intent = DBT_WRITE, .stmt = &(stmt_), .params = { __VA_ARGS__ }

static struct fixture pg;
static struct bench bench;

static const struct dbt_stmt get_body = { "get_body", "SELECT id, body FROM t WHERE id = $1", 1 };
static const struct dbt_stmt put_body = { "put_body",
	"INSERT INTO t VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = $2"
	" RETURNING id, body", 2 };
static const struct dbt_stmt add_row = { "add_row", "INSERT INTO t VALUES ($1, $2)", 2 };
static const struct dbt_stmt sleep_stmt = { "nap", "SELECT pg_sleep($1::float8)", 1 };
static const struct dbt_stmt whoami = { "whoami",
	"SELECT pg_backend_pid(), pg_is_in_recovery(),"
	" current_setting('transaction_read_only')", 0 };
static const struct dbt_stmt divide = { "divide", "SELECT 1 / $1::int", 1 };
static const struct dbt_stmt broken = { "broken", "SELECT nonsense FROM nowhere", 0 };
static const struct dbt_stmt nulls = { "nulls", "SELECT $1::text, ''::text, $2::int", 2 };
static const struct dbt_stmt big = { "big",
	"SELECT repeat('x', 1000) FROM generate_series(1, $1::int)", 1 };
static const struct dbt_stmt sneak = { "sneak", "DELETE FROM t WHERE id = 1 AND false", 0 };
static const struct dbt_stmt discard = { "discard", "DISCARD ALL", 0 };
static const struct dbt_stmt hidden_discard = { "hidden_discard",
	"DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$", 0 };

static int
run_as(enum dbt_intent intent, const struct dbt_stmt *stmt, const struct w_view *params,
    w_usec deadline, struct dbt_rows **ret, struct dbt_sql_error *error)
{
	struct dbt_query query = { .intent = intent, .stmt = stmt, .params = params,
		.deadline = deadline };

	return dbt_run(bench.worker, &query, ret, error);
}

/* A statement with parameters as text; its first value, or "" on failure. */
struct call {
	enum dbt_intent intent;
	const struct dbt_stmt *stmt;
	const char *params[2];
	w_usec within;
	unsigned after; /* ms to wait first */
	int rc;
	char value[64], node[16], state[6];
	enum dbt_role role;
	w_usec took;
};

static void
call_fiber(void *arg)
{
	struct call *call = arg;
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct w_view params[2] = { w_view_of(call->params[0]), w_view_of(call->params[1]) };
	struct dbt_sql_error error;
	w_usec start;

	if (call->after > 0)
		w_fiber_sleep(call->after * W_MSEC);
	start = w_now();
	call->rc = run_as(call->intent, call->stmt, params,
	    start + (call->within > 0 ? call->within : 5 * W_SEC), &rows, &error);
	call->took = w_now() - start;
	snprintf(call->state, sizeof(call->state), "%s", error.sqlstate);
	if (call->rc < 0)
		return;
	if (dbt_rows_count(rows) > 0 && dbt_rows_columns(rows) > 0)
		(void)w_view_copy(dbt_rows_get(rows, 0, dbt_rows_columns(rows) - 1), call->value,
		    sizeof(call->value));
	snprintf(call->node, sizeof(call->node), "%s", dbt_rows_node(rows));
	call->role = dbt_rows_role(rows);
}

static void
run_calls(struct call *calls, unsigned count)
{
	bench_run(&bench, call_fiber, calls, sizeof(*calls), count);
}

static struct call
run_call(struct call call)
{
	run_calls(&call, 1);
	return call;
}

static bool
all_open(struct bench *b)
{
	return all_fit(b) && bench_value(b, DBT_LANES_READ) == FIXTURE_NODES - 1;
}

static int
set_up(void)
{
	fixture_start(&pg);
	bench_start(&bench, &pg,
	    ", max_rows_bytes: 64KiB, read_lanes: 1, write_lanes: 4, db_queue: 400");
	return !bench_until(&bench, all_open, 10 * W_SEC);
}

static int
tear_down(void)
{
	bench_stop(&bench);
	fixture_stop(&pg);
	return 0;
}

/* ---- results ---- */

static void
reads_go_to_both_replicas(void)
{
	struct call calls[20];
	unsigned db2 = 0, db3 = 0;

	for (unsigned i = 0; i < 20; i++)
		calls[i] = (struct call){ READ(get_body, "7"), .after = i };
	run_calls(calls, 20);
	for (unsigned i = 0; i < 20; i++) {
		CU_ASSERT(calls[i].rc == W_OK && strcmp(calls[i].value, "body 7") == 0);
		CU_ASSERT(calls[i].role == DBT_REPLICA);
		db2 += strcmp(calls[i].node, "db-2") == 0;
		db3 += strcmp(calls[i].node, "db-3") == 0;
	}
	CU_ASSERT(db2 >= 5 && db3 >= 5 && db2 + db3 == 20);
}

static void
writes_go_to_the_primary(void)
{
	struct call call = run_call((struct call){ WRITE(put_body, "5000", "new") });

	CU_ASSERT(call.rc == W_OK && strcmp(call.value, "new") == 0);
	CU_ASSERT(strcmp(call.node, "db-1") == 0 && call.role == DBT_PRIMARY);
}

static void
a_read_cannot_write(void)
{
	struct call call = run_call((struct call){ READ(sneak, NULL) });

	CU_ASSERT(call.rc == -W_ESQL && strcmp(call.state, "25006") == 0);
}

static void
values_fiber(void *arg W_UNUSED)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct w_view params[2] = { { 0 }, W_VIEW("-7") };
	struct w_view nul = { "a\0b", 3 };

	CU_ASSERT_FATAL(run_as(DBT_READ, &nulls, params, SOON, &rows, NULL) == W_OK);
	CU_ASSERT(dbt_rows_count(rows) == 1 && dbt_rows_columns(rows) == 3);
	CU_ASSERT(dbt_rows_get(rows, 0, 0).ptr == NULL);
	CU_ASSERT(dbt_rows_get(rows, 0, 1).ptr != NULL && dbt_rows_get(rows, 0, 1).len == 0);
	CU_ASSERT(w_view_eq(dbt_rows_get(rows, 0, 2), W_VIEW("-7")));
	CU_ASSERT(dbt_rows_type(rows, 2) == 23 && dbt_rows_type(rows, 0) == 25);
	CU_ASSERT(dbt_rows_get(rows, 1, 0).ptr == NULL && dbt_rows_get(rows, 0, 9).ptr == NULL);
	CU_ASSERT(strcmp(dbt_rows_name(rows, 0), "text") == 0);
	params[0] = nul;
	dbt_rows_free(&rows);
	CU_ASSERT(run_as(DBT_READ, &nulls, params, SOON, &rows, NULL) == -W_EINVAL);
	CU_ASSERT_PTR_NULL(rows);
}

static void
nulls_and_types_come_through(void)
{
	bench_run(&bench, values_fiber, NULL, 0, 1);
}

static void
large_results_are_refused(void)
{
	struct call calls[] = {
		{ READ(big, "30") }, { READ(big, "100") },
		{ READ(big, "500000") }, { READ(get_body, "3") },
	};

	run_calls(calls, W_NELEM(calls));
	CU_ASSERT(calls[0].rc == W_OK);
	CU_ASSERT(calls[1].rc == -W_ETOOBIG);
	CU_ASSERT(calls[2].rc == -W_ETOOBIG);
	CU_ASSERT(calls[3].rc == W_OK && strcmp(calls[3].value, "body 3") == 0);
}

/* ---- errors ---- */

static void
an_error_hits_its_own_statement_only(void)
{
	struct call calls[60];

	for (unsigned i = 0; i < 60; i++) {
		calls[i] = i % 3 == 0 ? (struct call){ READ(get_body, "9") } :
		    i % 3 == 1 ? (struct call){ READ(divide, "0") } :
		    (struct call){ READ(broken, NULL) };
	}
	run_calls(calls, 60);
	for (unsigned i = 0; i < 60; i++) {
		if (i % 3 == 0)
			CU_ASSERT(calls[i].rc == W_OK && strcmp(calls[i].value, "body 9") == 0);
		if (i % 3 == 1)
			CU_ASSERT(calls[i].rc == -W_EINVAL && strcmp(calls[i].state, "22012") == 0);
		if (i % 3 == 2)
			CU_ASSERT(calls[i].rc == -W_ESQL && strcmp(calls[i].state, "42P01") == 0);
	}
}

static void
a_duplicate_is_a_conflict(void)
{
	struct call call = run_call((struct call){ WRITE(add_row, "1", "again") });

	CU_ASSERT(call.rc == -W_ECONFLICT && strcmp(call.state, "23505") == 0);
}

static void
a_slow_read_times_out_alone(void)
{
	struct call calls[50] = { { READ(sleep_stmt, "3"), .within = 400 * W_MSEC } };
	w_usec worst = 0;

	for (unsigned i = 1; i < 50; i++)
		calls[i] = (struct call){ READ(get_body, "4"), .after = i * 10 };
	run_calls(calls, 50);
	CU_ASSERT(calls[0].rc == -W_ETIMEOUT);
	CU_ASSERT(calls[0].took >= 390 * W_MSEC && calls[0].took < 900 * W_MSEC);
	for (unsigned i = 1; i < 50; i++) {
		CU_ASSERT(calls[i].rc == W_OK && strcmp(calls[i].value, "body 4") == 0);
		worst = W_MAX(worst, calls[i].took);
	}
	CU_ASSERT(worst < 400 * W_MSEC);
}

static void
slow_reads_learn_their_place(void)
{
	struct call calls[12];

	/* By now the statement is known to be slow: it holds up nobody. */
	for (unsigned i = 0; i < 12; i++)
		calls[i] = i < 4 ? (struct call){ READ(sleep_stmt, "0.2") } :
		    (struct call){ READ(get_body, "4"), .after = 20 + i };
	run_calls(calls, 12);
	for (unsigned i = 0; i < 12; i++) {
		CU_ASSERT(calls[i].rc == W_OK);
		CU_ASSERT(i < 4 || calls[i].took < 90 * W_MSEC);
	}
}

static void
a_write_over_its_deadline_is_in_doubt(void)
{
	struct call call = run_call(
	    (struct call){ WRITE(sleep_stmt, "1"), .within = 200 * W_MSEC });

	CU_ASSERT(call.rc == -W_EINDOUBT);
	CU_ASSERT(call.took >= 190 * W_MSEC && call.took < 700 * W_MSEC);
}

static void
a_full_queue_refuses(void)
{
	static struct call calls[500];
	unsigned ok = 0, busy = 0;

	for (unsigned i = 0; i < 500; i++)
		calls[i] = (struct call){ WRITE(put_body, "6000", "x") };
	run_calls(calls, 500);
	for (unsigned i = 0; i < 500; i++) {
		ok += calls[i].rc == W_OK;
		busy += calls[i].rc == -W_EBUSY;
	}
	CU_ASSERT(ok + busy == 500 && ok >= 400 && busy > 0);
}

/* ---- many ---- */

struct reader {
	unsigned seed, wrong;
};

static void
reader_fiber(void *arg)
{
	struct reader *reader = arg;

	for (unsigned i = 0; i < 50; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
		char id[16], body[32];
		struct w_view param;

		snprintf(id, sizeof(id), "%u", 1 + (reader->seed * 50 + i) % 1000);
		snprintf(body, sizeof(body), "body %s", id);
		param = w_view_of(id);
		if (run_as(DBT_READ, &get_body, &param, w_now() + 20 * W_SEC, &rows, NULL) < 0 ||
		    dbt_rows_count(rows) != 1 ||
		    !w_view_eq(dbt_rows_get(rows, 0, 1), w_view_of(body)))
			reader->wrong++;
	}
}

static bool
nothing_left(struct bench *b)
{
	return bench_value(b, DBT_IN_FLIGHT) == 0 && bench_value(b, DBT_QUEUED) == 0;
}

static void
ten_thousand_reads_are_right(void)
{
	static struct reader readers[200];
	unsigned wrong = 0;

	for (unsigned i = 0; i < 200; i++)
		readers[i] = (struct reader){ .seed = i };
	bench_run(&bench, reader_fiber, readers, sizeof(*readers), 200);
	for (unsigned i = 0; i < 200; i++)
		wrong += readers[i].wrong;
	CU_ASSERT(wrong == 0);
	/* The write of before may still be at its nap, where it holds up nobody. */
	CU_ASSERT(bench_until(&bench, nothing_left, 2 * W_SEC));
}

/* ---- prepared statements ---- */

#define FORGET_ROUNDS 7

/* Each lane that has prepared it in the first round is made to forget it in one of the others. */
static void
forget_and_run(const struct dbt_stmt *forget)
{
	struct call calls[2 * (FORGET_ROUNDS - 1)];

	for (unsigned round = 0; round < FORGET_ROUNDS; round++) {
		for (unsigned i = 0; i < W_NELEM(calls); i++)
			calls[i] = (struct call){ WRITE(put_body, "5001", "p") };
		if (round > 0)
			calls[2 * round - 2].stmt = calls[2 * round - 1].stmt = forget;
		run_calls(calls, W_NELEM(calls));
		for (unsigned i = 0; i < W_NELEM(calls); i++)
			CU_ASSERT(calls[i].rc == W_OK);
	}
}

static void
forgotten_statements_are_prepared_again(void)
{
	int64_t before = bench_value(&bench, DBT_REPREPARED);

	forget_and_run(&hidden_discard);
	CU_ASSERT(bench_value(&bench, DBT_REPREPARED) > before);
	forget_and_run(&discard);
}

static void
a_changed_table_is_no_error(void)
{
	static const struct dbt_stmt all = { "all_of_u", "SELECT * FROM u", 0 };
	struct call call;

	fixture_sql(&pg, 0, "CREATE TABLE u (a int);"
	    " INSERT INTO u VALUES (1); GRANT ALL ON u TO weir_rw");
	call = run_call((struct call){ WRITE(all, NULL) });
	CU_ASSERT(call.rc == W_OK && strcmp(call.value, "1") == 0);
	fixture_sql(&pg, 0, "ALTER TABLE u ADD COLUMN b text DEFAULT 'two'");
	call = run_call((struct call){ WRITE(all, NULL) });
	CU_ASSERT(call.rc == W_OK && strcmp(call.value, "two") == 0);
}

/* ---- lost nodes ---- */

static void
a_killed_backend_costs_no_read(void)
{
	static struct reader readers[100];
	unsigned wrong = 0;
	struct call pid = run_call((struct call){ READ(whoami, NULL) });

	CU_ASSERT(pid.rc == W_OK);
	kill(atoi(fixture_sql(&pg, 1, "SELECT pid FROM pg_stat_activity"
	    " WHERE application_name = 'weir-read' LIMIT 1")), SIGKILL);
	for (unsigned i = 0; i < 100; i++)
		readers[i] = (struct reader){ .seed = i };
	bench_run(&bench, reader_fiber, readers, sizeof(*readers), 100);
	for (unsigned i = 0; i < 100; i++)
		wrong += readers[i].wrong;
	CU_ASSERT(wrong == 0);
	CU_ASSERT(bench_until(&bench, all_fit, 10 * W_SEC));
}

static bool
no_replicas(struct bench *b)
{
	return dbt_topology_get(b->dbt)->fit_replicas == 0;
}

static bool
nobody_dials(struct bench *b)
{
	for (unsigned i = 0; i < FIXTURE_NODES; i++)
		for (unsigned class = 0; class < DBT__CLASSES; class++)
			if (b->worker->sites[i]->pools[class].dialing > 0)
				return false;
	return true;
}

static void
without_replicas_the_primary_reads(void)
{
	struct call calls[20];
	w_usec start;

	/* a stop in order waits for those that authenticate, and who stops here does not answer them */
	CU_ASSERT_FATAL(bench_until(&bench, all_fit, 10 * W_SEC));
	CU_ASSERT_FATAL(bench_until(&bench, nobody_dials, 10 * W_SEC));
	fixture_stop_node(&pg, 1, SIGINT);
	fixture_stop_node(&pg, 2, SIGQUIT);
	for (unsigned i = 0; i < 20; i++)
		calls[i] = (struct call){ READ(get_body, "8"), .after = i * 5 };
	run_calls(calls, 20);
	for (unsigned i = 0; i < 20; i++)
		CU_ASSERT(calls[i].rc == W_OK && strcmp(calls[i].node, "db-1") == 0);
	CU_ASSERT(bench_until(&bench, no_replicas, 2 * W_SEC));
	CU_ASSERT(run_call((struct call){ READ(sneak, NULL) }).rc == -W_ESQL);

	fixture_start_node(&pg, 1);
	fixture_start_node(&pg, 2);
	start = w_now();
	CU_ASSERT(bench_until(&bench, all_fit, 5 * W_SEC));
	CU_ASSERT(w_now() - start < 2 * W_SEC);
	/* The topology knows a replica before a lane to it stands; until then the primary serves. */
	do {
		calls[0] = run_call((struct call){ READ(get_body, "8") });
		CU_ASSERT(calls[0].rc == W_OK);
	} while (calls[0].role != DBT_REPLICA && w_now() - start < 3 * W_SEC);
	CU_ASSERT(calls[0].role == DBT_REPLICA);
}

struct writer {
	unsigned first, count;
	unsigned ok, in_doubt, other;
};

static void
writer_fiber(void *arg)
{
	struct writer *writer = arg;

	for (unsigned i = 0; i < writer->count; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
		char id[16];
		struct w_view params[2] = { { 0 }, W_VIEW("w") };
		int rc;

		snprintf(id, sizeof(id), "%u", writer->first + i);
		params[0] = w_view_of(id);
		rc = run_as(DBT_WRITE, &add_row, params, w_now() + 10 * W_SEC, &rows, NULL);
		writer->ok += rc == W_OK;
		writer->in_doubt += rc == -W_EINDOUBT;
		writer->other += rc != W_OK && rc != -W_EINDOUBT;
		w_fiber_sleep(2 * W_MSEC);
	}
}

struct mixed {
	int signal; /* restart the primary with it; 0: write */
	struct writer writer;
};

static void
restart_fiber(void *arg)
{
	struct mixed *mixed = arg;

	if (mixed->signal == 0) {
		writer_fiber(&mixed->writer);
		return;
	}
	w_fiber_sleep(20 * W_MSEC);
	kill(pg.pids[0], mixed->signal);
	while (!fixture_is_gone(&pg, 0))
		w_fiber_sleep(5 * W_MSEC);
	fixture_spawn_node(&pg, 0);
}

static void
writes_through_a_restart(int signal, unsigned first, unsigned in_doubt_most)
{
	struct mixed all[5] = { [4] = { .signal = signal } };
	unsigned ok = 0, in_doubt = 0, rows;
	char sql[128];

	for (unsigned i = 0; i < 4; i++)
		all[i].writer = (struct writer){ .first = first + i * 1000, .count = 200 };
	bench_run(&bench, restart_fiber, all, sizeof(*all), 5);
	for (unsigned i = 0; i < 4; i++) {
		ok += all[i].writer.ok;
		in_doubt += all[i].writer.in_doubt;
		CU_ASSERT(all[i].writer.other == 0);
	}
	CU_ASSERT(bench_until(&bench, all_fit, 10 * W_SEC));
	CU_ASSERT(ok + in_doubt == 800 && in_doubt <= in_doubt_most);
	printf("(%u in doubt) ", in_doubt);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM t WHERE id >= %u AND id < %u", first,
	    first + 4000);
	rows = (unsigned)atoi(fixture_sql(&pg, 0, sql));
	CU_ASSERT(rows >= ok && rows <= ok + in_doubt);
}

static void
writes_wait_for_a_restarted_primary(void)
{
	writes_through_a_restart(SIGINT, 10000, 4);
}

static void
a_crash_leaves_at_most_what_was_in_flight_in_doubt(void)
{
	writes_through_a_restart(SIGQUIT, 20000, 16);
}

static bool
no_primary(struct bench *b)
{
	return dbt_topology_get(b->dbt)->primary < 0;
}

static void
without_a_primary_writes_wait_until_their_deadline(void)
{
	struct call call;

	fixture_stop_node(&pg, 0, SIGINT);
	CU_ASSERT(bench_until(&bench, no_primary, 3 * W_SEC));
	call = run_call((struct call){ WRITE(put_body, "1", "x"), .within = 300 * W_MSEC });
	CU_ASSERT(call.rc == -W_EDOWN);
	CU_ASSERT(call.took >= 290 * W_MSEC && call.took < W_SEC);
	if (call.rc != -W_EDOWN)
		printf("rc=%s %s\n", w_err_name(call.rc), call.state);
	call = run_call((struct call){ READ(get_body, "2") });
	CU_ASSERT(call.rc == W_OK && call.role == DBT_REPLICA);
	fixture_start_node(&pg, 0);
	CU_ASSERT(bench_until(&bench, all_fit, 10 * W_SEC));
}

static bool
second_serves(struct bench *b)
{
	return all_fit(b) && strcmp(fixture_sql(&pg, 1, "SELECT count(*) > 0 FROM pg_stat_activity"
	    " WHERE application_name = 'weir-read'"), "t") == 0;
}

/* The postmaster, and all backends that serve us. */
static unsigned
pids_of_second(pid_t pids[32])
{
	char list[256], *at = list, *end;
	unsigned count = 0;

	snprintf(list, sizeof(list), "%s", fixture_sql(&pg, 1, "SELECT string_agg(pid::text, ' ')"
	    " FROM pg_stat_activity WHERE application_name LIKE 'weir-%'"));
	pids[count++] = pg.pids[1];
	for (long pid; count < 32 && (pid = strtol(at, &end, 10)) > 1; at = end)
		pids[count++] = (pid_t)pid;
	return count;
}

static void
a_frozen_replica_is_left(void)
{
	struct call calls[60];
	pid_t pids[32];
	unsigned count;

	CU_ASSERT_FATAL(bench_until(&bench, second_serves, 10 * W_SEC));
	count = pids_of_second(pids);
	CU_ASSERT(count > 2);
	for (unsigned i = 0; i < count; i++)
		kill(pids[i], SIGSTOP);
	for (unsigned i = 0; i < 60; i++)
		calls[i] = (struct call){ READ(get_body, "8"), .after = i * 30 };
	run_calls(calls, 60);
	for (unsigned i = 0; i < 60; i++) {
		CU_ASSERT(calls[i].rc == W_OK && strcmp(calls[i].node, "db-3") == 0);
		CU_ASSERT(calls[i].took < 500 * W_MSEC);
	}
	for (unsigned i = count; i-- > 0;)
		kill(pids[i], SIGCONT);
	CU_ASSERT(bench_until(&bench, all_fit, 10 * W_SEC));
}

static int
tx_get(struct dbt_tx *tx, const struct dbt_stmt *stmt, const char *a, const char *b, char *value)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct w_view params[2] = { w_view_of(a), w_view_of(b) };
	int rc = dbt_tx_exec(tx, stmt, params, &rows, NULL);

	if (rc == W_OK && value != NULL)
		rc = w_view_copy(dbt_rows_get(rows, 0, dbt_rows_columns(rows) - 1), value, 64);
	return rc;
}

static void
conflict_fiber(void *arg)
{
	if (((struct call *)arg)->stmt != NULL) {
		call_fiber(arg);
		return;
	}
	w_fiber_sleep(50 * W_MSEC);
	fixture_sql(&pg, 0, "TRUNCATE v");
}

static void
a_recovery_conflict_is_run_on_the_primary(void)
{
	static const struct dbt_stmt scan = { "scan",
		"SELECT (SELECT count(*) FROM v), pg_sleep(0.8)::text || 'done'", 0 };
	struct call calls[2] = { { READ(scan, NULL) } };

	fixture_sql(&pg, 0, "CREATE TABLE v (a int);"
	    " INSERT INTO v VALUES (1); GRANT ALL ON v TO weir_ro");
	/* once before, so that it is known to be slow and stays where it is */
	CU_ASSERT(run_call((struct call){ READ(scan, NULL), .after = 100 }).rc == W_OK);
	bench_run(&bench, conflict_fiber, calls, sizeof(*calls), 2);
	CU_ASSERT(calls[0].rc == W_OK && strcmp(calls[0].value, "done") == 0);
	CU_ASSERT(calls[0].role == DBT_PRIMARY);
}

static void
set_standbys(const char *names)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "ALTER SYSTEM SET synchronous_standby_names = '%s'", names);
	fixture_sql(&pg, 0, sql);
	fixture_sql(&pg, 0, "SELECT pg_reload_conf()");
}

static void
without_a_quorum_writes_are_held(void)
{
	struct call call;

	set_standbys("ANY 1 (nobody)");
	CU_ASSERT(bench_until(&bench, no_primary, 3 * W_SEC));
	call = run_call((struct call){ WRITE(put_body, "1", "body 1"), .within = 300 * W_MSEC });
	CU_ASSERT(call.rc == -W_EDOWN);
	set_standbys("ANY 1 (*)");
	call = run_call((struct call){ WRITE(put_body, "1", "body 1") });
	CU_ASSERT(call.rc == W_OK);
	set_standbys("");
	CU_ASSERT(bench_until(&bench, all_fit, 3 * W_SEC));
}

struct canceled {
	bool cancels;
	int rc;
};

static void
canceled_fiber(void *arg)
{
	struct canceled *canceled = arg;
	struct dbt_tx *tx = NULL;
	char value[64];

	if (canceled->cancels) {
		while (strcmp(fixture_sql(&pg, 0, "SELECT count(pg_cancel_backend(pid)) FROM"
		    " pg_stat_activity WHERE wait_event = 'SyncRep'"), "0") == 0)
			w_fiber_sleep(10 * W_MSEC);
		return;
	}
	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &(struct dbt_begin){ .deadline = SOON }, &tx, NULL) == W_OK);
	CU_ASSERT(tx_get(tx, &put_body, "9000", "doubt", value) == W_OK);
	set_standbys("ANY 1 (nobody)");
	w_fiber_sleep(100 * W_MSEC);
	canceled->rc = dbt_tx_commit(&tx, NULL, NULL);
}

static void
a_commit_that_was_not_waited_for_is_in_doubt(void)
{
	struct canceled both[2] = { { .cancels = false }, { .cancels = true } };

	bench_run(&bench, canceled_fiber, both, sizeof(*both), 2);
	CU_ASSERT(both[0].rc == -W_EINDOUBT);
	set_standbys("");
	CU_ASSERT(bench_until(&bench, all_fit, 3 * W_SEC));
}

/* ---- transactions ---- */

static void
tx_fiber(void *arg W_UNUSED)
{
	struct dbt_tx *tx = NULL;
	struct dbt_sql_error error;
	char value[64] = "";

	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &(struct dbt_begin){ .deadline = SOON }, &tx, &error) == W_OK);
	CU_ASSERT(tx_get(tx, &put_body, "7000", "committed", value) == W_OK);
	CU_ASSERT(dbt_tx_commit(&tx, NULL, &error) == W_OK && tx == NULL);

	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &(struct dbt_begin){ .deadline = SOON }, &tx, &error) == W_OK);
	CU_ASSERT(tx_get(tx, &put_body, "7000", "rolled back", value) == W_OK);
	CU_ASSERT(tx_get(tx, &get_body, "7000", NULL, value) == W_OK);
	CU_ASSERT(strcmp(value, "rolled back") == 0);
	CU_ASSERT(dbt_tx_rollback(&tx) == W_OK && tx == NULL);

	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &(struct dbt_begin){ .deadline = SOON }, &tx, &error) == W_OK);
	CU_ASSERT(tx_get(tx, &get_body, "7000", NULL, value) == W_OK);
	CU_ASSERT(strcmp(value, "committed") == 0);
	CU_ASSERT(tx_get(tx, &add_row, "7000", "twice", NULL) == -W_ECONFLICT);
	CU_ASSERT(tx_get(tx, &get_body, "7000", NULL, value) == -W_ESQL);
	CU_ASSERT(dbt_tx_commit(&tx, NULL, &error) == -W_ECONFLICT && tx == NULL);
}

static void
transactions_commit_and_roll_back(void)
{
	int64_t lost = bench_value(&bench, DBT_LOST);

	bench_run(&bench, tx_fiber, NULL, 0, 1);
	CU_ASSERT(bench_value(&bench, DBT_LOST) == lost); /* lanes came back clean */
}

static void
read_only_fiber(void *arg W_UNUSED)
{
	struct dbt_tx *tx = NULL;
	char value[64] = "";

	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &(struct dbt_begin){
	    .flags = DBT_TX_READ_ONLY | DBT_TX_REPEATABLE, .deadline = SOON }, &tx,
	    NULL) == W_OK);
	CU_ASSERT(tx_get(tx, &whoami, NULL, NULL, value) == W_OK && strcmp(value, "on") == 0);
	CU_ASSERT(tx_get(tx, &sneak, NULL, NULL, NULL) == -W_ESQL);
	CU_ASSERT(dbt_tx_rollback(&tx) == W_OK);
	CU_ASSERT(dbt_tx_begin(bench.worker, &(struct dbt_begin){ .flags = 64 }, &tx, NULL) == -W_EINVAL);
}

static void
read_only_transactions_read(void)
{
	bench_run(&bench, read_only_fiber, NULL, 0, 1);
}

static void
serial_fiber(void *arg)
{
	int *rc = arg;
	struct dbt_tx *tx = NULL;
	char value[64];

	*rc = dbt_tx_begin(bench.worker, &(struct dbt_begin){
	    .flags = DBT_TX_SERIALIZABLE, .deadline = SOON }, &tx, NULL);
	if (*rc < 0)
		return;
	(void)tx_get(tx, &get_body, "7000", NULL, value);
	w_fiber_sleep(100 * W_MSEC);
	(void)tx_get(tx, &put_body, "7000", "serial", value);
	*rc = dbt_tx_commit(&tx, NULL, NULL);
}

static void
one_of_two_serializable_fails(void)
{
	int rcs[2];

	bench_run(&bench, serial_fiber, rcs, sizeof(*rcs), 2);
	CU_ASSERT((rcs[0] == W_OK && rcs[1] == -W_ESERIAL) ||
	    (rcs[1] == W_OK && rcs[0] == -W_ESERIAL));
}

static void
late_tx_fiber(void *arg W_UNUSED)
{
	struct dbt_tx *tx = NULL;
	char value[64];

	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &(struct dbt_begin){
	    .deadline = w_now() + 300 * W_MSEC }, &tx, NULL) == W_OK);
	CU_ASSERT(tx_get(tx, &put_body, "7001", "late", value) == W_OK);
	CU_ASSERT(tx_get(tx, &sleep_stmt, "2", NULL, value) == -W_ETIMEOUT);
	CU_ASSERT(tx_get(tx, &get_body, "7001", NULL, value) < 0);
	CU_ASSERT(dbt_tx_commit(&tx, NULL, NULL) == -W_ETIMEOUT && tx == NULL);
}

static void
a_late_transaction_is_rolled_back(void)
{
	struct call call;

	bench_run(&bench, late_tx_fiber, NULL, 0, 1);
	call = run_call((struct call){ WRITE(get_body, "7001"), .within = 4 * W_SEC });
	CU_ASSERT(call.rc == W_OK && call.value[0] == '\0');
}

static void
idle_tx_fiber(void *arg W_UNUSED)
{
	struct dbt_tx *tx = NULL;

	CU_ASSERT_FATAL(dbt_tx_begin(bench.worker, &(struct dbt_begin){ .deadline = SOON }, &tx, NULL) == W_OK);
	fixture_sql(&pg, 0, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	    " WHERE application_name = 'weir-write'");
	w_fiber_sleep(50 * W_MSEC);
	CU_ASSERT(tx_get(tx, &whoami, NULL, NULL, NULL) == -W_ELOST);
	CU_ASSERT(dbt_tx_commit(&tx, NULL, NULL) == -W_ELOST && tx == NULL);
}

static void
a_transaction_survives_no_lost_connection(void)
{
	bench_run(&bench, idle_tx_fiber, NULL, 0, 1);
	CU_ASSERT(run_call((struct call){ WRITE(put_body, "1", "body 1") }).rc == W_OK);
}

/* ---- promotion and the end ---- */

static bool
second_leads(struct bench *b)
{
	return dbt_topology_get(b->dbt)->primary == 1;
}

static bool
first_is_lost(struct bench *b)
{
	return dbt_topology_get(b->dbt)->primary != 0;
}

static void
a_promotion_is_followed(void)
{
	struct call calls[2] = {
		{ WRITE(put_body, "8000", "after"), .within = 8 * W_SEC },
		{ READ(get_body, "5"), .within = 8 * W_SEC },
	};

	fixture_stop_node(&pg, 0, SIGKILL);
	/* What is sent on a connection that is dead, and not known to be, is in doubt, and rightly so. */
	CU_ASSERT(bench_until(&bench, first_is_lost, 5 * W_SEC));
	fixture_sql(&pg, 1, "SELECT pg_promote(false)");
	run_calls(calls, 2);
	CU_ASSERT(calls[0].rc == W_OK && strcmp(calls[0].node, "db-2") == 0);
	CU_ASSERT(calls[1].rc == W_OK);
	CU_ASSERT(second_leads(&bench) && dbt_topology_get(bench.dbt)->nodes[1].timeline == 2);

	/* the old primary comes back as it was: seen, but not in force */
	fixture_start_node(&pg, 0);
	CU_ASSERT(!bench_until(&bench, all_fit, 500 * W_MSEC));
	CU_ASSERT(second_leads(&bench));
	calls[0] = run_call((struct call){ WRITE(put_body, "8001", "after") });
	CU_ASSERT(calls[0].rc == W_OK && strcmp(calls[0].node, "db-2") == 0);
}

static void
last_fiber(void *arg)
{
	struct call *call = arg;

	if (call->stmt != NULL) {
		call_fiber(call);
		return;
	}
	w_fiber_sleep(50 * W_MSEC);
	dbt_worker_free(&bench.worker);
}

static void
the_end_answers_everybody(void)
{
	struct call calls[30] = { 0 };

	for (unsigned i = 0; i < 29; i++)
		calls[i] = (struct call){ .intent = i % 2 == 0 ? DBT_READ : DBT_WRITE,
			.stmt = &sleep_stmt, .params = { "2" } };
	bench_run(&bench, last_fiber, calls, sizeof(*calls), 30);
	for (unsigned i = 0; i < 29; i++)
		CU_ASSERT(calls[i].rc == -W_ESHUTDOWN ||
		    (i % 2 == 1 && calls[i].rc == -W_EINDOUBT));
}

static CU_TestInfo live_tests[] = {
	{ "reads go to both replicas", reads_go_to_both_replicas },
	{ "writes go to the primary", writes_go_to_the_primary },
	{ "a read session cannot write", a_read_cannot_write },
	{ "NULL, empty text and types come through", nulls_and_types_come_through },
	{ "a result over max_rows_bytes is refused", large_results_are_refused },
	{ "an error hits its own statement only", an_error_hits_its_own_statement_only },
	{ "a duplicate is a conflict", a_duplicate_is_a_conflict },
	{ "a slow read times out and its neighbours do not", a_slow_read_times_out_alone },
	{ "a statement known as slow holds up nobody", slow_reads_learn_their_place },
	{ "a write over its deadline is in doubt", a_write_over_its_deadline_is_in_doubt },
	{ "a full queue refuses", a_full_queue_refuses },
	{ "10,000 reads by 200 fibers are right", ten_thousand_reads_are_right },
	{ "transactions commit and roll back", transactions_commit_and_roll_back },
	{ "read-only transactions read", read_only_transactions_read },
	{ "one of two conflicting serializable transactions fails", one_of_two_serializable_fails },
	{ "a late transaction is rolled back", a_late_transaction_is_rolled_back },
	{ "forgotten statements are prepared again", forgotten_statements_are_prepared_again },
	{ "a changed table is no error", a_changed_table_is_no_error },
	{ "a transaction does not survive its connection",
	    a_transaction_survives_no_lost_connection },
	{ "a killed backend costs no read", a_killed_backend_costs_no_read },
	{ "without replicas the primary serves reads", without_replicas_the_primary_reads },
	{ "a frozen replica is left", a_frozen_replica_is_left },
	{ "writes wait for a restarted primary", writes_wait_for_a_restarted_primary },
	{ "a crash leaves in doubt what was in flight, no more",
	    a_crash_leaves_at_most_what_was_in_flight_in_doubt },
	{ "without a primary a write waits until its deadline",
	    without_a_primary_writes_wait_until_their_deadline },
	{ "a recovery conflict is run on the primary", a_recovery_conflict_is_run_on_the_primary },
	{ "without a quorum writes are held", without_a_quorum_writes_are_held },
	{ "a commit that the server did not wait for is in doubt",
	    a_commit_that_was_not_waited_for_is_in_doubt },
	{ "a promotion is followed", a_promotion_is_followed },
	{ "the end answers everybody", the_end_answers_everybody },
	CU_TEST_INFO_NULL
};
CU_SuiteInfo live_suites[] = {
	{ .pName = "dbtier/live", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	    .pTests = live_tests },
	CU_SUITE_INFO_NULL
};
