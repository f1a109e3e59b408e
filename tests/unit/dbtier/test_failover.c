/* A primary that drains, that is silent for a while, and that freezes and is succeeded. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "dbtier/topology.h"
#include "dbtier/worker.h"
#include "fixture.h"
#include "suites.h"

static struct fixture pg;
static struct bench bench;

static const struct dbt_stmt add = { "f_add",
	"INSERT INTO f (who) VALUES ($1) RETURNING id", 1 };
/* Its commit comes after a while, so that it is on its way when something happens. */
static const struct dbt_stmt add_slowly = { "f_add_slowly",
	"INSERT INTO f (who) SELECT $1 FROM pg_sleep(0.15) RETURNING id", 1 };
static const struct dbt_stmt count = { "f_count", "SELECT count(*) FROM f", 0 };

enum kind { PLAIN, SLOW, KEYED, TX, KEYED_TX, READ };

struct call {
	enum kind kind;
	w_usec after;        /* it waits first */
	w_usec within;       /* its deadline, 5 s when 0 */
	void (*event)(void); /* instead of a statement */
	int rc;
	w_usec took;
	unsigned node; /* that has answered: 1 ... */
	struct dbt_position seen; /* a read's */
};

static int
run(struct call *call, w_usec deadline, const char *who)
{
	bool read = call->kind == READ;
	struct w_view param = w_view_of(who);
	struct dbt_once once = { .key = w_view_of(who), .fingerprint = { 1 } };
	struct dbt_query query = { .intent = read ? DBT_READ : DBT_WRITE,
		.stmt = read ? &count : call->kind == PLAIN ? &add : &add_slowly,
		.params = &param, .deadline = deadline,
		.once = call->kind == KEYED ? &once : NULL, .after = call->seen };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	int rc = dbt_run(bench.worker, &query, &rows, NULL);

	if (rc == W_OK)
		call->node = (unsigned)(dbt_rows_node(rows)[3] - '0');
	return rc;
}

static int
run_tx(struct call *call, w_usec deadline, const char *who)
{
	struct w_view param = w_view_of(who);
	struct dbt_once once = { .key = w_view_of(who), .fingerprint = { 1 } };
	struct dbt_begin how = { .deadline = deadline, .once = call->kind == TX ? NULL : &once };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt_tx *tx = NULL;
	int rc = dbt_tx_begin(bench.worker, &how, &tx, NULL);

	if (rc < 0)
		return rc;
	rc = dbt_tx_exec(tx, &add_slowly, &param, &rows, NULL);
	if (rc == W_OK)
		return dbt_tx_commit(&tx, NULL, NULL);
	dbt_tx_rollback(&tx);
	return rc;
}

static void
call_fiber(void *arg)
{
	static unsigned number;
	struct call *call = arg;
	w_usec start, deadline;
	char who[32];

	w_fiber_sleep(call->after);
	if (call->event != NULL) {
		call->event();
		return;
	}
	snprintf(who, sizeof(who), "call-%u", number++);
	start = w_now();
	deadline = start + (call->within > 0 ? call->within : 5 * W_SEC);
	call->rc = call->kind == TX || call->kind == KEYED_TX ? run_tx(call, deadline, who) :
	    run(call, deadline, who);
	call->took = w_now() - start;
}

static void
run_calls(struct call *calls, unsigned many)
{
	bench_run(&bench, call_fiber, calls, sizeof(*calls), many);
}

static const struct dbt_topology *
now(void)
{
	return dbt_topology_get(bench.dbt);
}

static int
set_up(void)
{
	fixture_start(&pg);
	fixture_sql(&pg, 0, "CREATE TABLE f (id bigserial PRIMARY KEY, who text);"
	    "GRANT ALL ON f, f_id_seq TO weir_rw; GRANT SELECT ON f TO weir_ro");
	for (unsigned i = 0; i < FIXTURE_NODES; i++) {
		fixture_sql(&pg, i, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (replica)'");
		fixture_sql(&pg, i, "SELECT pg_reload_conf()");
	}
	bench_start(&bench, &pg, ", write_lanes: 8");
	return !bench_until(&bench, all_fit, 10 * W_SEC);
}

static int
tear_down(void)
{
	bench_stop(&bench);
	fixture_stop(&pg);
	return 0;
}

/* ---- drain ---- */

static void
drain(void)
{
	fixture_sql(&pg, 0, "ALTER SYSTEM SET default_transaction_read_only = on");
	fixture_sql(&pg, 0, "SELECT pg_reload_conf()");
}

static void
undrain(void)
{
	PGconn *conn;
	char dsn[128];

	snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=%u user=postgres dbname=weir sslmode=disable",
	    pg.ports[0]);
	conn = PQconnectdb(dsn);
	PQclear(PQexec(conn, "ALTER SYSTEM RESET default_transaction_read_only"));
	PQclear(PQexec(conn, "SELECT pg_reload_conf()"));
	PQfinish(conn);
}

static int64_t lost_before, retries_before, open_before;

static void
on_undrain(void)
{
	CU_ASSERT(now()->primary == 0 && now()->nodes[0].draining && bench.worker->write_primary == NULL);
	CU_ASSERT(bench.worker->sure_primary == bench.worker->sites[0]);
	undrain();
}

static void
a_drain_holds_writes(void)
{
	enum { CALLS = 62 };
	struct call calls[CALLS];

	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = (struct call){ .kind = (enum kind)(i % 5), .after = i * 10 * W_MSEC };
	calls[5] = (struct call){ .after = 200 * W_MSEC, .event = drain };
	calls[6] = (struct call){ .after = 800 * W_MSEC, .event = on_undrain };
	run_calls((struct call[]){ { .kind = PLAIN }, { .kind = TX } }, 2);
	lost_before = bench_value(&bench, DBT_LOST);
	retries_before = bench_value(&bench, DBT_RETRIES);
	run_calls(calls, CALLS);
	for (unsigned i = 0; i < CALLS; i++)
		CU_ASSERT(calls[i].rc == W_OK);
	/* held, and not tried again and again */
	CU_ASSERT(bench_value(&bench, DBT_LOST) - lost_before <= 8);
	CU_ASSERT(bench_value(&bench, DBT_RETRIES) - retries_before < 40);
	CU_ASSERT(!now()->nodes[0].draining && bench.worker->write_primary == bench.worker->sites[0]);
}

static const struct dbt_stmt spoil = { "f_spoil", "SET default_transaction_read_only = on", 0 };

static void
spoil_fiber(void *arg W_UNUSED)
{
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = &spoil, .deadline = w_now() + W_SEC };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	CU_ASSERT(dbt_run(bench.worker, &query, &rows, NULL) == W_OK);
}

/* A session that a statement has made read-only is no drain. */
static void
a_read_only_session_is_left(void)
{
	struct call calls[8] = { { .kind = TX }, { .kind = PLAIN }, { .kind = KEYED },
		{ .kind = KEYED_TX }, { .kind = PLAIN }, { .kind = TX }, { .kind = PLAIN },
		{ .kind = PLAIN } };

	bench_run(&bench, spoil_fiber, NULL, 0, 8);
	run_calls(calls, 8);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT(calls[i].rc == W_OK && calls[i].took < 3 * W_SEC);
}

/* Nor are those in doubt that were sent behind one that was refused. */
static void
a_read_only_session_harms_no_neighbour(void)
{
	enum { CALLS = 32 };
	struct call calls[CALLS];

	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = (struct call){ .kind = PLAIN };
	bench_run(&bench, spoil_fiber, NULL, 0, 8);
	run_calls(calls, CALLS);
	for (unsigned i = 0; i < CALLS; i++)
		CU_ASSERT(calls[i].rc == W_OK);
}

/* ---- silence that ends ---- */

static w_usec frozen, doubted;

static void
freeze(void)
{
	frozen = w_now();
	doubted = 0;
	fixture_freeze_node(&pg, 0, true);
}

static void
thaw(void)
{
	fixture_freeze_node(&pg, 0, false);
}

/* Watches for the moment of doubt. */
static void
watch(void)
{
	while (!now()->nodes[0].doubted && w_now() - frozen < 2 * W_SEC)
		w_fiber_sleep(W_MSEC);
	doubted = w_now();
}

static void
a_false_alarm_fails_nothing(void)
{
	struct call calls[40];

	CU_ASSERT_FATAL(bench_until(&bench, all_fit, 10 * W_SEC));
	/* a lane whose read has gone elsewhere may end */
	open_before = bench_value(&bench, DBT_LANES_WRITE);
	for (unsigned i = 0; i < 40; i++)
		calls[i] = (struct call){ .kind = (enum kind)(i % 6), .after = i * 15 * W_MSEC };
	calls[7] = (struct call){ .after = 100 * W_MSEC, .event = freeze };
	calls[8] = (struct call){ .after = 101 * W_MSEC, .event = watch };
	calls[9] = (struct call){ .after = 750 * W_MSEC, .event = thaw };
	run_calls(calls, 40);
	for (unsigned i = 0; i < 40; i++)
		CU_ASSERT(calls[i].rc == W_OK);
	printf("(doubted after %lld ms) ", (long long)((doubted - frozen) / W_MSEC));
	CU_ASSERT(doubted - frozen < 600 * W_MSEC);
	CU_ASSERT(bench_value(&bench, DBT_LANES_WRITE) >= open_before);
	CU_ASSERT(bench_until(&bench, all_fit, 5 * W_SEC));
}

/* ---- what is known is too old ---- */

static void
an_old_view_is_not_read_from(void)
{
	struct call calls[2] = { { .kind = READ, .within = 300 * W_MSEC }, { .kind = PLAIN } };
	unsigned replicas = bench.worker->replica_count;

	bench.worker->trust = -1;
	bench.worker->replica_count = 0;
	CU_ASSERT(!dbt__is_trusted(bench.worker->sites[0]));
	bench.worker->replica_count = replicas;
	/* with a standby there is no need for it */
	run_calls(calls, 2);
	CU_ASSERT(calls[0].rc == W_OK && calls[0].node > 1 && calls[1].rc == W_OK);
	bench.worker->trust = dbt__trust(bench.dbt);
	CU_ASSERT(dbt__is_trusted(bench.worker->sites[0]));
}

static void
an_unknown_timeline_is_waited_for(void)
{
	struct call calls[2] = { { .kind = READ, .seen = { 9, 1 } }, { .kind = READ, .seen = { 1, 1 } } };

	run_calls(calls, 2);
	CU_ASSERT(calls[0].rc == W_OK && calls[0].node == 1);
	CU_ASSERT(calls[0].took >= DBT__AHEAD && calls[0].took < DBT__AHEAD + W_SEC);
	CU_ASSERT(calls[1].rc == W_OK && calls[1].node > 1 && calls[1].took < W_SEC);
}

/* ---- a frozen primary, and its successor ---- */

static w_usec promoted;

static void
promote(void)
{
	char sql[256];

	fixture_sql(&pg, 1, "SELECT pg_promote(false)");
	snprintf(sql, sizeof(sql), "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=%u"
	    " user=postgres application_name=replica sslmode=disable'", pg.ports[1]);
	fixture_sql(&pg, 2, sql);
	fixture_sql(&pg, 2, "SELECT pg_reload_conf()");
	promoted = w_now();
}

/*
 * Reads and writes with a key just happen. Others that were on their way are in doubt; a transaction that was
 * rolled back is its caller's to run again.
 */
static bool
is_excused(const struct call *call)
{
	bool late = call->after >= 600 * W_MSEC;

	if (call->kind == READ)
		return call->rc == W_OK && call->node > 1 && call->took < 600 * W_MSEC;
	if (call->rc == W_OK)
		return true;
	if (call->kind == TX || call->kind == KEYED_TX)
		return !late && (call->rc == -W_ELOST || (call->rc == -W_EINDOUBT && call->kind == TX));
	return !late && call->rc == -W_EINDOUBT && call->kind != KEYED;
}

/* What was on its way, and what comes while there is nobody. */
static void
a_frozen_primary_is_succeeded(void)
{
	enum { CALLS = 48 };
	struct call calls[CALLS];
	w_usec slowest = 0;

	CU_ASSERT_FATAL(bench_until(&bench, all_fit, 10 * W_SEC));
	/* it waits for that */
	CU_ASSERT(bench.worker->sites[1]->pools[DBT__WRITE].count == 1);
	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = (struct call){ .kind = (enum kind)(i % 6),
			.after = i < 24 ? 50 * W_MSEC : (w_usec)i * 20 * W_MSEC };
	calls[0] = (struct call){ .after = 100 * W_MSEC, .event = freeze };
	calls[6] = (struct call){ .after = 101 * W_MSEC, .event = watch };
	calls[12] = (struct call){ .after = 700 * W_MSEC, .event = promote };
	run_calls(calls, CALLS);

	for (unsigned i = 0; i < CALLS; i++) {
		CU_ASSERT(calls[i].event != NULL || is_excused(&calls[i]));
		slowest = W_MAX(slowest, calls[i].took);
	}
	printf("(doubted after %lld ms, slowest %lld ms) ", (long long)((doubted - frozen) / W_MSEC),
	    (long long)(slowest / W_MSEC));
	CU_ASSERT(doubted - frozen < 600 * W_MSEC);
	CU_ASSERT(slowest < 3 * W_SEC && now()->primary == 1);
}

static bool
is_back(struct bench *b)
{
	return dbt_topology_get(b->dbt)->nodes[0].role == DBT_PRIMARY;
}

/* It believes that it is primary, and answers whoever asks it. */
static void
the_old_primary_serves_nobody(void)
{
	const struct dbt_worker *worker = bench.worker;
	struct call calls[40];

	for (unsigned class = 0; class < DBT__CLASSES; class++)
		CU_ASSERT(worker->sites[0]->pools[class].count == 0);
	for (unsigned i = 0; i < 40; i++)
		calls[i] = (struct call){ .kind = i % 2 == 0 ? READ : PLAIN,
			.after = i * 25 * W_MSEC };
	calls[0] = (struct call){ .event = thaw };
	run_calls(calls, 40);
	for (unsigned i = 1; i < 40; i++)
		CU_ASSERT(calls[i].rc == W_OK && calls[i].node > 1);
	CU_ASSERT(bench_until(&bench, is_back, 5 * W_SEC));
	CU_ASSERT(now()->primary == 1 && !now()->nodes[0].fit && now()->floor == 2);
	for (unsigned class = 0; class < DBT__CLASSES; class++)
		CU_ASSERT(worker->sites[0]->pools[class].count == 0);
}

/* ---- what a node that is left keeps for a while ---- */

static struct dbt__pool *
waiting_pool(struct bench *b)
{
	return &b->worker->sites[1]->pools[DBT__WRITE];
}

static bool
has_its_lane(struct bench *b)
{
	struct dbt__pool *pool = waiting_pool(b);

	return pool->count == 1 &&
	    dbt__lane_idle(w_list_entry(pool->lanes.next, struct dbt__lane, node));
}

static bool
has_no_session(struct bench *b W_UNUSED)
{
	return strcmp(fixture_sql(&pg, 1, "SELECT count(*) FROM pg_stat_activity"
	    " WHERE application_name = 'weir-write'"), "0") == 0;
}

static void
an_idle_lane_is_left_at_once_and_ends_later(void)
{
	struct dbt__pool *pool = waiting_pool(&bench);
	w_usec began;

	CU_ASSERT_FATAL(bench_until(&bench, has_its_lane, 10 * W_SEC));
	began = w_now();
	dbt__lane_retire(w_list_entry(pool->lanes.next, struct dbt__lane, node));
	CU_ASSERT(pool->count == 0 && w_list_empty(&pool->lanes) && !has_no_session(&bench));
	CU_ASSERT(bench_until(&bench, has_no_session, 10 * W_SEC));
	CU_ASSERT(w_now() - began >= DBT__RETIRE && w_list_empty(&bench.worker->retired));
	dbt__pools_fill(bench.worker);
	CU_ASSERT(bench_until(&bench, has_its_lane, 10 * W_SEC));
}

static CU_TestInfo failover_tests[] = {
	{ "an idle lane is left at once, and ends later", an_idle_lane_is_left_at_once_and_ends_later },
	{ "a drain holds writes, and fails none", a_drain_holds_writes },
	{ "a read-only session is left", a_read_only_session_is_left },
	{ "it harms no neighbour", a_read_only_session_harms_no_neighbour },
	{ "a false alarm fails nothing", a_false_alarm_fails_nothing },
	{ "an old view of the primary is not read from", an_old_view_is_not_read_from },
	{ "an unknown timeline is waited for", an_unknown_timeline_is_waited_for },
	{ "a frozen primary is succeeded", a_frozen_primary_is_succeeded },
	{ "the old primary serves nobody", the_old_primary_serves_nobody },
	CU_TEST_INFO_NULL
};
CU_SuiteInfo failover_suites[] = {
	{ .pName = "dbtier/failover", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	    .pTests = failover_tests },
	CU_SUITE_INFO_NULL
};
