/* What the tier promises beyond running statements: once, own writes, portions, an end. */
#include <stdio.h>

#include "dbtier/stats.h"
#include "fixture.h"
#include "suites.h"

#define SOON (w_now() + 10 * W_SEC)

static struct fixture pg;
static struct bench bench;

static const struct dbt_stmt add = { "p_add",
	"INSERT INTO p (who, what) VALUES ($1, $2) RETURNING id, who, what", 2 };
static const struct dbt_stmt add_silent = { "p_silent",
	"INSERT INTO p (who, what) VALUES ($1, $2)", 2 };
static const struct dbt_stmt add_named = { "p_named",
	"INSERT INTO named (name) VALUES ($1) RETURNING name", 1 };
static const struct dbt_stmt bump = { "p_bump",
	"INSERT INTO counts AS c (name, n) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE"
	" SET n = c.n + 1 RETURNING n", 1 };
static const struct dbt_stmt tricky = { "p_tricky",
	"INSERT INTO p (who, what) VALUES ($1, $2) RETURNING NULL::text, '', E'a\"b\\\\c,(d)',"
	" ARRAY['x y', NULL]::text[], id > 0", 2 };
static const struct dbt_stmt find = { "p_find", "SELECT what FROM p WHERE who = $1", 1 };
static const struct dbt_stmt many = { "p_many",
	"SELECT i, repeat('x', 50) FROM generate_series(1, $1::int) i", 1 };
static const struct dbt_stmt nap = { "p_nap", "SELECT pg_sleep($1::float8)", 1 };

static const char *
count_of(const char *who)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM p WHERE who = '%s'", who);
	return fixture_sql(&pg, 0, sql);
}

static struct dbt_once
key_of(const char *key, unsigned nth, unsigned char mark)
{
	return (struct dbt_once){ .key = w_view_of(key), .nth = nth, .fingerprint = { mark } };
}

static int
write_once(const struct dbt_stmt *stmt, const char *a, const char *b, const struct dbt_once *once,
    struct dbt_rows **ret)
{
	struct w_view params[2] = { w_view_of(a), w_view_of(b) };
	struct dbt_query query = { .intent = DBT_WRITE, .stmt = stmt, .params = params,
		.deadline = SOON, .once = once };

	return dbt_run(bench.worker, &query, ret, NULL);
}

static int
set_up(void)
{
	fixture_start(&pg);
	fixture_sql(&pg, 0, "CREATE TABLE p (id bigserial PRIMARY KEY, who text, what text);"
	    "CREATE TABLE named (name text PRIMARY KEY);"
	    "CREATE TABLE counts (name text PRIMARY KEY, n bigint);"
	    "GRANT ALL ON p, named, counts, p_id_seq TO weir_rw;"
	    "GRANT SELECT ON p, named, counts TO weir_ro");
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

static void
run_alone(void (*fn)(void *arg))
{
	bench_run(&bench, fn, NULL, 0, 1);
}

/* ---- once ---- */

static void
twice_fiber(void *arg W_UNUSED)
{
	struct dbt_once once = key_of("twice", 0, 1), other = key_of("twice", 0, 2);
	W_AUTO(dbt_rows_free) struct dbt_rows *first = NULL;
	W_AUTO(dbt_rows_free) struct dbt_rows *second = NULL;
	W_AUTO(dbt_rows_free) struct dbt_rows *third = NULL;

	CU_ASSERT_FATAL(write_once(&add, "twice", "x", &once, &first) == W_OK);
	CU_ASSERT(!dbt_rows_replayed(first) && dbt_rows_affected(first) == 1);
	CU_ASSERT_FATAL(write_once(&add, "twice", "x", &once, &second) == W_OK);
	CU_ASSERT(dbt_rows_replayed(second) && dbt_rows_count(second) == 1);
	CU_ASSERT(dbt_rows_columns(second) == 3 && dbt_rows_affected(second) == 1);
	CU_ASSERT(strcmp(dbt_rows_name(second, 1), "who") == 0 && dbt_rows_type(second, 0) == 20);
	for (int i = 0; i < 3; i++)
		CU_ASSERT(w_view_eq(dbt_rows_get(first, 0, i), dbt_rows_get(second, 0, i)));
	CU_ASSERT(write_once(&add, "twice", "y", &other, &third) == -W_EMISMATCH);
	CU_ASSERT(strcmp(count_of("twice"), "1") == 0);
}

static void
a_key_has_one_effect(void)
{
	run_alone(twice_fiber);
}

static void
tricky_fiber(void *arg W_UNUSED)
{
	struct dbt_once once = key_of("tricky", 0, 1);
	W_AUTO(dbt_rows_free) struct dbt_rows *first = NULL;
	W_AUTO(dbt_rows_free) struct dbt_rows *second = NULL;

	CU_ASSERT_FATAL(write_once(&tricky, "tricky", "x", &once, &first) == W_OK);
	CU_ASSERT_FATAL(write_once(&tricky, "tricky", "x", &once, &second) == W_OK);
	CU_ASSERT(dbt_rows_replayed(second) && dbt_rows_get(second, 0, 0).ptr == NULL);
	CU_ASSERT(dbt_rows_get(second, 0, 1).ptr != NULL && dbt_rows_get(second, 0, 1).len == 0);
	CU_ASSERT(w_view_eq(dbt_rows_get(second, 0, 2), W_VIEW("a\"b\\c,(d)")));
	CU_ASSERT(w_view_eq(dbt_rows_get(second, 0, 3), W_VIEW("{\"x y\",NULL}")));
	CU_ASSERT(w_view_eq(dbt_rows_get(second, 0, 4), W_VIEW("t")));
	CU_ASSERT(w_view_eq(dbt_rows_get(first, 0, 2), dbt_rows_get(second, 0, 2)));
}

static void
all_values_come_back(void)
{
	run_alone(tricky_fiber);
}

static void
silent_fiber(void *arg W_UNUSED)
{
	struct dbt_once once = key_of("silent", 0, 1);

	for (int i = 0; i < 3; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

		CU_ASSERT_FATAL(write_once(&add_silent, "silent", "x", &once, &rows) == W_OK);
		CU_ASSERT(dbt_rows_count(rows) == 0 && dbt_rows_affected(rows) == 1);
		CU_ASSERT(dbt_rows_replayed(rows) == (i > 0) || i == 0);
	}
	CU_ASSERT(strcmp(count_of("silent"), "1") == 0);
}

static void
without_returning_it_is_a_transaction(void)
{
	run_alone(silent_fiber);
}

struct twin {
	int rc;
	bool replayed;
	char value[16];
};

static void
twin_fiber(void *arg)
{
	struct twin *twin = arg;
	struct dbt_once once = key_of("twins", 0, 1);
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	twin->rc = write_once(&bump, "twins", NULL, &once, &rows);
	if (twin->rc < 0)
		return;
	twin->replayed = dbt_rows_replayed(rows);
	(void)w_view_copy(dbt_rows_get(rows, 0, 0), twin->value, sizeof(twin->value));
}

static void
twins_get_one_answer(void)
{
	struct twin twins[20];
	unsigned replayed = 0;

	bench_run(&bench, twin_fiber, twins, sizeof(*twins), 20);
	for (unsigned i = 0; i < 20; i++) {
		CU_ASSERT(twins[i].rc == W_OK && strcmp(twins[i].value, "1") == 0);
		replayed += twins[i].replayed;
	}
	CU_ASSERT(replayed == 19);
	CU_ASSERT(strcmp(fixture_sql(&pg, 0, "SELECT n FROM counts WHERE name = 'twins'"), "1") == 0);
}

static void
named_fiber(void *arg W_UNUSED)
{
	struct dbt_once once = key_of("named", 0, 1), other = key_of("named too", 0, 1);
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	CU_ASSERT_FATAL(write_once(&add_named, "Ada", NULL, &once, &rows) == W_OK);
	dbt_rows_free(&rows);
	/* Its own effect is in the way of the second: that is no conflict. */
	CU_ASSERT_FATAL(write_once(&add_named, "Ada", NULL, &once, &rows) == W_OK);
	CU_ASSERT(dbt_rows_replayed(rows) && w_view_eq(dbt_rows_get(rows, 0, 0), W_VIEW("Ada")));
	dbt_rows_free(&rows);
	CU_ASSERT(write_once(&add_named, "Ada", NULL, &other, &rows) == -W_ECONFLICT);
}

static void
only_strangers_conflict(void)
{
	run_alone(named_fiber);
}

/* Two statements under one key: the numbers that they return. */
static int
tx_once(const char *key, bool fail, char values[2][16], bool *ret_replayed)
{
	struct dbt_once once = key_of(key, 0, 1);
	struct dbt_begin how = { .deadline = SOON, .once = &once };
	struct dbt_tx *tx = NULL;
	struct w_view param = w_view_of(key);
	int rc = dbt_tx_begin(bench.worker, &how, &tx, NULL);

	if (rc < 0)
		return rc;
	*ret_replayed = dbt_tx_replayed(tx);
	for (int i = 0; i < 2; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

		rc = dbt_tx_exec(tx, &bump, &param, &rows, NULL);
		if (rc < 0)
			break;
		(void)w_view_copy(dbt_rows_get(rows, 0, 0), values[i], 16);
	}
	if (rc < 0 || fail) {
		dbt_tx_rollback(&tx);
		return rc;
	}
	return dbt_tx_commit(&tx, NULL, NULL);
}

static void
tx_fiber(void *arg W_UNUSED)
{
	char values[2][16];
	bool replayed;

	CU_ASSERT(tx_once("tx", true, values, &replayed) == W_OK && !replayed);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT(tx_once("tx", false, values, &replayed) == W_OK);
		CU_ASSERT(replayed == (i > 0));
		CU_ASSERT(strcmp(values[0], "1") == 0 && strcmp(values[1], "2") == 0);
	}
	CU_ASSERT(strcmp(fixture_sql(&pg, 0, "SELECT n FROM counts WHERE name = 'tx'"), "2") == 0);
}

static void
a_transaction_happens_once(void)
{
	run_alone(tx_fiber);
}

/* ---- once, while connections die ---- */

struct stubborn {
	unsigned number;
	bool kills;
	unsigned ok, other;
};
static unsigned stubborn_left;

static void
stubborn_fiber(void *arg)
{
	struct stubborn *self = arg;
	char key[32], values[2][16];
	bool replayed;

	while (self->kills && stubborn_left > 0) {
		fixture_sql(&pg, 0, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		    " WHERE application_name = 'weir-write' AND random() < 0.5");
		w_fiber_sleep(20 * W_MSEC);
	}
	for (unsigned i = 0; !self->kills && i < 60; i++) {
		struct dbt_once once;
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
		int rc;

		snprintf(key, sizeof(key), "s-%u-%u", self->number, i);
		once = key_of(key, 0, 1);
		rc = i % 3 == 0 ? tx_once(key, false, values, &replayed) :
		    write_once(i % 3 == 1 ? &add : &add_silent, "stubborn", key, &once, &rows);
		/* A transaction that was surely rolled back is its caller's to try again. */
		if (rc == -W_ELOST && i % 3 == 0)
			i--;
		else if (rc == W_OK)
			self->ok++;
		else
			self->other++;
	}
	stubborn_left -= !self->kills;
}

static void
lost_connections_double_nothing(void)
{
	struct stubborn all[9] = { [8] = { .kills = true } };

	stubborn_left = 8;
	for (unsigned i = 0; i < 8; i++)
		all[i].number = i;
	bench_run(&bench, stubborn_fiber, all, sizeof(*all), 9);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT(all[i].ok == 60 && all[i].other == 0);
	CU_ASSERT(strcmp(count_of("stubborn"), "320") == 0);
	CU_ASSERT(strcmp(fixture_sql(&pg, 0, "SELECT count(DISTINCT what) FROM p"
	    " WHERE who = 'stubborn'"), "320") == 0);
	CU_ASSERT(strcmp(fixture_sql(&pg, 0, "SELECT count(*) || ' ' || max(n) FROM counts"
	    " WHERE name LIKE 's-%'"), "160 2") == 0);
	CU_ASSERT(bench_value(&bench, DBT_LOST) > 0);
}

/* ---- own writes ---- */

static void
delay_replicas(const char *delay)
{
	char sql[128];

	for (unsigned i = 1; i < FIXTURE_NODES; i++) {
		snprintf(sql, sizeof(sql), "ALTER SYSTEM SET recovery_min_apply_delay = '%s'", delay);
		fixture_sql(&pg, i, sql);
		fixture_sql(&pg, i, "SELECT pg_reload_conf()");
	}
}

struct own {
	unsigned number;
	bool careless;
	unsigned stale, replica;
};

static void
own_fiber(void *arg)
{
	struct own *own = arg;

	for (unsigned i = 0; i < 10; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
		struct dbt_query query = { .intent = DBT_READ, .stmt = &find, .deadline = SOON };
		char who[32];
		struct w_view param;

		snprintf(who, sizeof(who), "own-%d-%u-%u", own->careless, own->number, i);
		param = w_view_of(who);
		query.params = &param;
		CU_ASSERT_FATAL(write_once(&add, who, "mine", NULL, &rows) == W_OK);
		query.after = dbt_rows_position(rows);
		CU_ASSERT(query.after.timeline == 1 && query.after.lsn > 0);
		if (own->careless)
			query.after = (struct dbt_position){ 0 };
		dbt_rows_free(&rows);
		CU_ASSERT_FATAL(dbt_run(bench.worker, &query, &rows, NULL) == W_OK);
		own->stale += dbt_rows_count(rows) == 0;
		own->replica += dbt_rows_role(rows) == DBT_REPLICA;
	}
}

static struct own
read_own(bool careless)
{
	struct own all[8] = { 0 }, sum = { 0 };

	for (unsigned i = 0; i < 8; i++)
		all[i] = (struct own){ .number = i, .careless = careless };
	bench_run(&bench, own_fiber, all, sizeof(*all), 8);
	for (unsigned i = 0; i < 8; i++) {
		sum.stale += all[i].stale;
		sum.replica += all[i].replica;
	}
	return sum;
}

static void
own_writes_are_read(void)
{
	int64_t asked = bench_value(&bench, DBT_POSITIONS_ASKED);
	struct own sum;

	delay_replicas("300ms");
	sum = read_own(true);
	CU_ASSERT(sum.stale > 40); /* or there is nothing to see */
	sum = read_own(false);
	CU_ASSERT(sum.stale == 0);
	CU_ASSERT(bench_value(&bench, DBT_POSITIONS_MISSED) == 0);
	asked = bench_value(&bench, DBT_POSITIONS_ASKED) - asked;
	CU_ASSERT(asked == 160); /* each behind its COMMIT, none apart */
	delay_replicas("0");
	while (sum.stale == 0 && sum.replica == 0)
		sum = read_own(false);
	CU_ASSERT(sum.stale == 0 && sum.replica > 0);
}

static void
future_fiber(void *arg W_UNUSED)
{
	static const struct dbt_position places[] = { { 1, 0xffff00000000 }, { 7, 5 },
		{ 1, DBT_LSN_PRIMARY } };

	for (unsigned i = 0; i < W_NELEM(places); i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
		struct w_view param = W_VIEW("own");
		struct dbt_query query = { .intent = DBT_READ, .stmt = &find, .params = &param,
			.deadline = SOON, .after = places[i] };

		CU_ASSERT_FATAL(dbt_run(bench.worker, &query, &rows, NULL) == W_OK);
		CU_ASSERT(dbt_rows_role(rows) == DBT_PRIMARY);
	}
}

static void
unreachable_positions_read_on_the_primary(void)
{
	run_alone(future_fiber);
}

/* ---- failures ---- */

struct failing {
	unsigned number;
	int rc;
	bool own;
};

static void
failing_fiber(void *arg)
{
	struct failing *self = arg;
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	char what[16];

	snprintf(what, sizeof(what), "%u", self->number);
	self->rc = self->number % 2 == 0 ? write_once(&add, "fine", what, NULL, &rows) :
	    write_once(&add_named, "taken", NULL, NULL, &rows);
	self->own = self->rc == W_OK && w_view_eq(dbt_rows_get(rows, 0, 2), w_view_of(what)) &&
	    dbt_rows_position(rows).lsn > 0;
}

static bool
nothing_in_flight(struct bench *b)
{
	return bench_value(b, DBT_IN_FLIGHT) == 0;
}

static void
a_failed_write_touches_no_neighbour(void)
{
	struct failing all[100];

	fixture_sql(&pg, 0, "INSERT INTO named VALUES ('taken')");
	for (unsigned i = 0; i < 100; i++)
		all[i] = (struct failing){ .number = i };
	bench_run(&bench, failing_fiber, all, sizeof(*all), 100);
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT(i % 2 == 0 ? all[i].own : all[i].rc == -W_ECONFLICT);
	CU_ASSERT(strcmp(count_of("fine"), "50") == 0);
	CU_ASSERT(bench_until(&bench, nothing_in_flight, W_SEC)); /* the last ROLLBACK, too */
}

static void
vacuum_fiber(void *arg W_UNUSED)
{
	static const struct dbt_stmt vacuum = { "p_vacuum", "VACUUM p", 0 };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	CU_ASSERT(write_once(&vacuum, NULL, NULL, NULL, &rows) == W_OK);
	CU_ASSERT(rows != NULL && dbt_rows_position(rows).lsn > 0);
}

static void
what_runs_in_no_transaction_runs(void)
{
	run_alone(vacuum_fiber);
}

/* ---- portions ---- */

struct portions {
	int64_t next, stop;
	unsigned calls, most, wait;
};

static int
each_row(const struct dbt_rows *rows, void *arg)
{
	struct portions *p = arg;
	int64_t id;

	p->calls++;
	p->most = W_MAX(p->most, (unsigned)dbt_rows_count(rows));
	if (p->wait > 0)
		w_fiber_sleep(p->wait * W_MSEC);
	for (int i = 0; i < dbt_rows_count(rows); i++) {
		if (w_view_i64(dbt_rows_get(rows, i, 0), &id) < 0 || id != p->next++)
			return -W_EPROTO;
	}
	return p->stop > 0 && p->next > p->stop ? -W_ECANCELED : W_OK;
}

static int
run_portions(const char *count, struct portions *p)
{
	struct w_view param = w_view_of(count);
	struct dbt_query query = { .intent = DBT_READ, .stmt = &many, .params = &param,
		.deadline = SOON };

	p->next = 1;
	return dbt_each(bench.worker, &query, each_row, p, NULL);
}

static void
portions_fiber(void *arg W_UNUSED)
{
	int64_t lost = bench_value(&bench, DBT_LOST);
	struct portions all = { 0 }, some = { .stop = 1000 }, none = { 0 }, slow = { .wait = 150 };

	CU_ASSERT(run_portions("20000", &all) == W_OK && all.next == 20001);
	CU_ASSERT(all.calls > 50 && all.most <= 1000);
	CU_ASSERT(run_portions("1000000", &some) == -W_ECANCELED && some.next < 3000);
	CU_ASSERT(run_portions("0", &none) == W_OK && none.calls == 0);
	/* A slow client is no stuck lane. */
	CU_ASSERT(run_portions("1000", &slow) == W_OK && slow.next == 1001);
	CU_ASSERT(run_portions("x", &none) == -W_EINVAL);
	CU_ASSERT(run_portions("5", &none) == W_OK && none.next == 6);
	CU_ASSERT(bench_value(&bench, DBT_LOST) == lost);
}

static void
long_results_come_in_portions(void)
{
	run_alone(portions_fiber);
}

/* ---- the end of a late read ---- */

static void
late_fiber(void *arg W_UNUSED)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct w_view param = W_VIEW("30");
	struct dbt_query query = { .intent = DBT_READ, .stmt = &nap, .params = &param,
		.deadline = w_now() + 300 * W_MSEC };

	CU_ASSERT(dbt_run(bench.worker, &query, &rows, NULL) == -W_ETIMEOUT);
}

static bool
nobody_naps(struct bench *b W_UNUSED)
{
	const char *sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
	bool first = strcmp(fixture_sql(&pg, 1, sql), "0") == 0;

	return first && strcmp(fixture_sql(&pg, 2, sql), "0") == 0;
}

static void
a_late_read_is_canceled(void)
{
	int64_t canceled = bench_value(&bench, DBT_CANCELS);

	run_alone(late_fiber);
	CU_ASSERT(bench_until(&bench, nobody_naps, 2 * W_SEC));
	CU_ASSERT(bench_value(&bench, DBT_CANCELS) > canceled);
}

static CU_TestInfo promises_tests[] = {
	{ "a key has one effect, and one answer", a_key_has_one_effect },
	{ "every kind of value comes back in a replay", all_values_come_back },
	{ "a write that returns nothing happens once, too", without_returning_it_is_a_transaction },
	{ "20 twins at once get one answer", twins_get_one_answer },
	{ "a write is not in conflict with itself", only_strangers_conflict },
	{ "a transaction happens once", a_transaction_happens_once },
	{ "lost connections lose and double nothing", lost_connections_double_nothing },
	{ "own writes are read while replicas lag", own_writes_are_read },
	{ "a position that no replica can have is read on the primary",
	    unreachable_positions_read_on_the_primary },
	{ "a failed write touches no neighbour", a_failed_write_touches_no_neighbour },
	{ "what PostgreSQL runs in no transaction runs", what_runs_in_no_transaction_runs },
	{ "long results come in portions", long_results_come_in_portions },
	{ "a late read is canceled on the server", a_late_read_is_canceled },
	CU_TEST_INFO_NULL
};
CU_SuiteInfo promises_suites[] = {
	{ .pName = "dbtier/promises", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	    .pTests = promises_tests },
	CU_SUITE_INFO_NULL
};
