/* Database nodes that are added and removed while reads, writes and transactions go on. */
#include <dirent.h>
#include <stdio.h>

#include "dbtier/stats.h"
#include "dbtier/topology.h"
#include "dbtier/worker.h"
#include "fixture.h"
#include "suites.h"

#define WITHOUT(node) (1u << ((node) - 1))
#define FILES_MAX 1100
#define READERS 24
#define WRITERS 4
#define HOLDERS 4 /* of transactions */

static struct fixture pg;
static struct bench bench;
static struct w_cluster *files[FILES_MAX];
static unsigned file_count;

static const struct dbt_stmt get_body = { "r_get", "SELECT body FROM t WHERE id = 1", 0 };
static const struct dbt_stmt nap = { "r_nap", "SELECT pg_sleep(0.08)", 0 };
static const struct dbt_stmt touch = { "r_touch", "UPDATE t SET body = body WHERE id = $1", 1 };
static const struct dbt_stmt series = { "r_series", "SELECT i FROM generate_series(1, 2000) i", 0 };

/* Old files live on, as a node's do. */
static struct w_cluster *
file(struct fixture_file want)
{
	struct w_cluster *cluster = fixture_cluster(&pg, &want);

	if (file_count == FILES_MAX) {
		fprintf(stderr, "too many cluster files\n");
		exit(1);
	}
	return files[file_count++] = cluster;
}

static void
take(struct w_cluster *cluster)
{
	CU_ASSERT(dbt_reload(bench.dbt, cluster, NULL) == W_OK);
}

static const struct dbt_node *
node_of(const char *name)
{
	const struct dbt_topology *topology = dbt_topology_get(bench.dbt);

	for (unsigned i = 0; i < topology->count; i++)
		if (topology->nodes[i].name != NULL && strcmp(topology->nodes[i].name, name) == 0)
			return &topology->nodes[i];
	return NULL;
}

static bool
all_used(struct bench *b)
{
	return all_fit(b) && b->worker->replica_count == FIXTURE_NODES - 1 &&
	    w_list_empty(&b->worker->leaving);
}

/* What is written here would cancel transactions on a replica that takes its time: that is no loss of ours. */
static void
let_replicas_wait(void)
{
	for (unsigned i = 1; i < FIXTURE_NODES; i++) {
		fixture_sql(&pg, i, "ALTER SYSTEM SET max_standby_streaming_delay = '30s'");
		fixture_sql(&pg, i, "SELECT pg_reload_conf()");
	}
}

static int
set_up(void)
{
	fixture_start(&pg);
	let_replicas_wait();
	bench_start(&bench, &pg, ", read_lanes: 2, write_lanes: 4");
	return !bench_until(&bench, all_used, 10 * W_SEC);
}

static int
tear_down(void)
{
	bench_stop(&bench);
	fixture_stop(&pg);
	while (file_count > 0)
		w_cluster_free(&files[--file_count]);
	return 0;
}

/* ---- a load ---- */

static bool loading;
static unsigned failed, done, on_db3;

static void
note(int rc, const struct dbt_rows *rows)
{
	done++;
	failed += rc < 0;
	if (rc < 0)
		printf("(%s) ", w_err_name(rc));
	on_db3 += rows != NULL && strcmp(dbt_rows_node(rows), "db-3") == 0;
}

static int
run(enum dbt_intent intent, const struct dbt_stmt *stmt, struct dbt_rows **ret)
{
	struct w_view params[1] = { W_VIEW("7") };
	struct dbt_query query = { .intent = intent, .stmt = stmt, .params = params,
		.deadline = w_now() + 5 * W_SEC };

	return dbt_run(bench.worker, &query, ret, NULL);
}

static void
run_one(enum dbt_intent intent, const struct dbt_stmt *stmt)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	int rc = run(intent, stmt, &rows);

	note(rc, rows);
}

static void
hold_transaction(void)
{
	struct dbt_begin how = { .flags = DBT_TX_READ_ONLY, .deadline = w_now() + 5 * W_SEC };
	struct dbt_tx *tx = NULL;
	int rc = dbt_tx_begin(bench.worker, &how, &tx, NULL);

	for (unsigned i = 0; rc == W_OK && i < 3; i++) {
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

		rc = dbt_tx_exec(tx, &get_body, NULL, &rows, NULL);
		w_fiber_sleep(20 * W_MSEC);
	}
	if (tx != NULL)
		rc = rc < 0 ? (dbt_tx_rollback(&tx), rc) : dbt_tx_commit(&tx, NULL, NULL);
	note(rc, NULL);
}

static void
loader(void *arg)
{
	unsigned index = *(unsigned *)arg;

	while (loading) {
		if (index < READERS)
			run_one(DBT_READ, &get_body);
		else if (index < READERS + WRITERS)
			run_one(DBT_WRITE, &touch);
		else
			hold_transaction();
		w_fiber_sleep(W_MSEC);
	}
}

struct job {
	void (*fn)(void);
	unsigned index;
};

static void
job_main(void *arg)
{
	struct job *job = arg;

	if (job->fn == NULL) {
		loader(&job->index);
		return;
	}
	job->fn();
	loading = false;
}

/* Run fn in a fiber beside reads, writes and transactions without a break; none of them fails. */
static void
under_load(void (*fn)(void))
{
	struct job jobs[READERS + WRITERS + HOLDERS + 1];
	unsigned count = W_NELEM(jobs);

	loading = true;
	failed = done = on_db3 = 0;
	for (unsigned i = 0; i < count; i++)
		jobs[i] = (struct job){ i + 1 == count ? fn : NULL, i };
	bench_run(&bench, job_main, jobs, sizeof(*jobs), count);
	printf("(%u done) ", done);
	CU_ASSERT(failed == 0 && done > 100);
}

/* In a fiber. */
static bool
wait_until(bool (*ready)(struct bench *bench), w_usec most)
{
	w_usec until = w_now() + most;

	while (!ready(&bench) && w_now() < until)
		w_fiber_sleep(2 * W_MSEC);
	return ready(&bench);
}

static bool
without_db3(struct bench *b)
{
	return node_of("db-3") == NULL && b->worker->sites[2] == NULL;
}

static bool
seen_off(struct bench *b)
{
	return w_list_empty(&b->worker->leaving) && bench_value(b, DBT_LANES_LEAVING) == 0;
}

static bool
db3_reads(struct bench *b W_UNUSED)
{
	return on_db3 > 0;
}

/* ---- one comes, one goes ---- */

static bool
db3_open(struct bench *b W_UNUSED)
{
	return strcmp(fixture_sql(&pg, 2, "SELECT count(*) > 0 FROM pg_stat_activity WHERE"
	    " application_name LIKE 'weir-%'"), "t") == 0;
}

static void
remove_and_add(void)
{
	struct w_cluster *without = file((struct fixture_file){ .without = WITHOUT(3) });
	w_usec start;

	CU_ASSERT(wait_until(db3_reads, 5 * W_SEC));
	take(without);
	CU_ASSERT(wait_until(without_db3, W_SEC));
	on_db3 = 0;
	CU_ASSERT(wait_until(seen_off, 2 * W_SEC));
	/* what was under way when it went has ended; nothing has been given to it since */
	on_db3 = 0;
	w_fiber_sleep(100 * W_MSEC);
	CU_ASSERT(on_db3 == 0 && !db3_open(&bench));

	start = w_now();
	take(file((struct fixture_file){ .without = 0 }));
	CU_ASSERT(wait_until(db3_reads, 5 * W_SEC));
	printf("(used after %lld ms) ", (long long)((w_now() - start) / W_MSEC));
	CU_ASSERT(w_now() - start < W_SEC);
}

static void
a_node_goes_and_comes_under_load(void)
{
	under_load(remove_and_add);
	CU_ASSERT(bench_until(&bench, all_used, 5 * W_SEC));
}

static void
go_back_and_forth(void)
{
	struct w_cluster *with = file((struct fixture_file){ .without = 0 });
	struct w_cluster *without = file((struct fixture_file){ .without = WITHOUT(3) });

	/* gone again before, while and after its lanes are dialed */
	for (unsigned i = 0; i < 40; i++) {
		take(without);
		w_fiber_sleep((w_usec)(w_random() % 10) * W_MSEC);
		take(with);
		w_fiber_sleep((w_usec)(w_random() % 100) * W_MSEC);
	}
}

static void
reloads_may_come_at_any_time(void)
{
	under_load(go_back_and_forth);
	CU_ASSERT(bench_until(&bench, all_used, 5 * W_SEC));
}

static void
go_without_replicas(void)
{
	take(file((struct fixture_file){ .without = WITHOUT(2) | WITHOUT(3) }));
	w_fiber_sleep(300 * W_MSEC);
	CU_ASSERT(bench.worker->replica_count == 0);
	take(file((struct fixture_file){ .without = 0 }));
	CU_ASSERT(wait_until(all_used, 5 * W_SEC));
}

static void
all_replicas_may_go(void)
{
	under_load(go_without_replicas);
}

/* ---- what is in flight ends ---- */

static int nap_rc, series_rc;
static char nap_node[16];
static unsigned series_rows;

static void
nap_fiber(void)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;

	nap_rc = run(DBT_READ, &nap, &rows);
	snprintf(nap_node, sizeof(nap_node), "%s", rows != NULL ? dbt_rows_node(rows) : "");
}

static int
slow_rows(const struct dbt_rows *rows, void *arg W_UNUSED)
{
	series_rows += (unsigned)dbt_rows_count(rows);
	w_fiber_sleep(50 * W_MSEC);
	return W_OK;
}

static void
series_fiber(void)
{
	struct dbt_query query = { .intent = DBT_READ, .stmt = &series,
		.deadline = w_now() + 5 * W_SEC };

	series_rc = dbt_each(bench.worker, &query, slow_rows, NULL, NULL);
}

static void
remove_soon(void)
{
	w_fiber_sleep(30 * W_MSEC);
	take(file((struct fixture_file){ .without = WITHOUT(3) }));
}

static void
call_job(void *arg)
{
	((struct job *)arg)->fn();
}

static bool
only_db3(struct bench *b)
{
	return b->worker->replica_count == 1 && b->worker->sites[1] == NULL;
}

/* The only replica is removed while it works. */
static void
what_is_in_flight_ends_where_it_is(void)
{
	struct job jobs[] = { { nap_fiber, 0 }, { series_fiber, 0 }, { remove_soon, 0 } };

	take(file((struct fixture_file){ .without = WITHOUT(2) }));
	CU_ASSERT(bench_until(&bench, only_db3, W_SEC));
	series_rows = 0;
	bench_run(&bench, call_job, jobs, sizeof(*jobs), W_NELEM(jobs));
	CU_ASSERT(nap_rc == W_OK && strcmp(nap_node, "db-3") == 0);
	CU_ASSERT(series_rc == W_OK && series_rows == 2000);
	CU_ASSERT(bench_until(&bench, seen_off, 2 * W_SEC));
	take(file((struct fixture_file){ .without = 0 }));
	CU_ASSERT(bench_until(&bench, all_used, 5 * W_SEC));
}

/* ---- what a node is ---- */

static uint32_t generation_before;

static bool
is_another_db3(struct bench *b)
{
	return all_used(b) && node_of("db-3") != NULL &&
	    node_of("db-3")->generation != generation_before;
}

static void
move_db3(void)
{
	generation_before = node_of("db-3")->generation;
	take(file((struct fixture_file){ .moved = 3 }));
	CU_ASSERT(wait_until(is_another_db3, 5 * W_SEC));
	w_fiber_sleep(300 * W_MSEC);
}

static void
another_address_is_another_node(void)
{
	under_load(move_db3);
	generation_before = node_of("db-3")->generation;
	take(file((struct fixture_file){ .moved = 3 }));
	CU_ASSERT(!bench_until(&bench, is_another_db3, 100 * W_MSEC));
	take(file((struct fixture_file){ .without = 0 }));
	CU_ASSERT(bench_until(&bench, is_another_db3, 5 * W_SEC));
}

static void
nothing_changes_by_a_bad_file(void)
{
	uint32_t before[FIXTURE_NODES];
	struct w_fault fault = { 0 };

	for (unsigned i = 0; i < FIXTURE_NODES; i++)
		before[i] = dbt_topology_get(bench.dbt)->nodes[i].generation;
	CU_ASSERT(dbt_reload(bench.dbt, file((struct fixture_file){ .without = FIXTURE_ALL }),
	    &fault) == -W_EINVAL);
	CU_ASSERT(strstr(fault.text, "0 databases, 1 to 32 are wanted") != NULL);
	/* db-2 stays and db-3 would be new, but there is no password for it */
	CU_ASSERT(dbt_reload(bench.dbt, file((struct fixture_file){ .moved = 3,
	    .more = ", ro_password: none.such" }), &fault) == -W_EIO);
	CU_ASSERT(strstr(fault.text, "none.such: cannot read the password file") != NULL);
	CU_ASSERT(bench_until(&bench, all_used, 100 * W_MSEC));
	for (unsigned i = 0; i < FIXTURE_NODES; i++)
		CU_ASSERT(dbt_topology_get(bench.dbt)->nodes[i].generation == before[i]);
}

static int64_t
node_value(enum dbt__node_metric metric, const char *name)
{
	struct w_meter *meter = w_metrics_meter(bench.metrics, 1);

	return w_metrics_value(bench.metrics,
	    dbt__node_named(meter, bench.ids, metric, name));
}

static void
tick(void)
{
	dbt_tick(bench.dbt, w_metrics_meter(bench.metrics, 1), bench.ids);
}

static void
metrics_of_a_removed_node_stand_still(void)
{
	int64_t queries;

	tick();
	CU_ASSERT(node_value(DBT_NODE_ROLE, "db-3") == DBT_REPLICA);
	CU_ASSERT(node_value(DBT_NODE_FIT, "db-3") == 1);
	queries = node_value(DBT_NODE_QUERIES, "db-3");
	CU_ASSERT(queries > 0);
	take(file((struct fixture_file){ .without = WITHOUT(3) }));
	CU_ASSERT(bench_until(&bench, without_db3, W_SEC));
	tick();
	CU_ASSERT(node_value(DBT_NODE_ROLE, "db-3") == 0 && node_value(DBT_NODE_FIT, "db-3") == 0);
	CU_ASSERT(node_value(DBT_NODE_QUERIES, "db-3") == queries);
	CU_ASSERT(node_value(DBT_NODE_ROLE, "db-2") == DBT_REPLICA);
	take(file((struct fixture_file){ .without = 0 }));
	CU_ASSERT(bench_until(&bench, all_used, 5 * W_SEC));
	tick();
	CU_ASSERT(node_value(DBT_NODE_ROLE, "db-3") == DBT_REPLICA);
}

/* ---- somebody else's ---- */

static struct fixture other;

static bool
stranger_is_known(struct bench *b W_UNUSED)
{
	return node_of("stranger") != NULL && node_of("stranger")->timeline > 0;
}

static void
add_a_stranger(void)
{
	uint64_t version;

	take(file((struct fixture_file){ .stranger = other.ports[0] }));
	CU_ASSERT(wait_until(stranger_is_known, 5 * W_SEC));
	CU_ASSERT(node_of("stranger")->role == DBT_DOWN && all_fit(&bench));
	version = dbt_topology_get(bench.dbt)->version;
	w_fiber_sleep(300 * W_MSEC);
	CU_ASSERT(dbt_topology_get(bench.dbt)->version > version);
	CU_ASSERT(node_of("stranger")->role == DBT_DOWN && all_fit(&bench));
	take(file((struct fixture_file){ .without = 0 }));
}

/* It is a primary that is further ahead. */
static void
another_clusters_primary_is_not_used(void)
{
	fixture_start_alone(&other);
	(void)fixture_sql(&other, 0, "SELECT pg_switch_wal()");
	(void)fixture_sql(&other, 0, "CREATE TABLE more AS SELECT generate_series(1, 200000)");
	(void)fixture_sql(&other, 0, "SELECT pg_switch_wal()");
	under_load(add_a_stranger);
	CU_ASSERT(strcmp(fixture_sql(&other, 0, "SELECT count(*) FROM pg_stat_activity WHERE"
	    " application_name IN ('weir-read', 'weir-write')"), "0") == 0);
	fixture_stop(&other);
	CU_ASSERT(bench_until(&bench, all_used, 5 * W_SEC));
}

/* ---- the table ---- */

/* So many databases, and one more. */
static struct w_cluster *
many(unsigned from, unsigned to, const char *more)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/many.yaml", pg.dir);
	struct w_cluster *cluster = NULL;
	struct w_fault fault = { 0 };
	FILE *out = fopen(path, "w");

	fprintf(out, "cluster: { name: test, quorum: 0 }\ndatabases:\n");
	for (unsigned i = from; i <= to; i++)
		fprintf(out, " - { name: db-%u, address: \"127.0.0.1:%u\" }\n", i, i);
	if (more != NULL)
		fprintf(out, " - { name: %s, address: \"127.0.0.2:1\" }\n", more);
	fclose(out);
	if (w_cluster_load(path, &cluster, &fault) < 0)
		fprintf(stderr, "%s\n", fault.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(cluster);
	return files[file_count++] = cluster;
}

static bool
is_in(const struct dbt__places *places, unsigned slot, const char *name, uint32_t generation)
{
	const struct dbt__place *place = places->slots[slot];

	return place != NULL && strcmp(place->name, name) == 0 && place->generation == generation;
}

static void
slots_are_kept_and_used_again(void)
{
	struct dbt__places places;
	struct w_fault fault = { 0 };

	dbt__places_init(&places);
	CU_ASSERT(dbt__places_set(&places, many(1, 3, NULL), -1, NULL) == W_OK);
	CU_ASSERT(is_in(&places, 0, "db-1", 1) && is_in(&places, 2, "db-3", 3));
	/* the file's order does not matter, a free slot is used first */
	CU_ASSERT(dbt__places_set(&places, many(2, 3, "new"), -1, NULL) == W_OK);
	CU_ASSERT(is_in(&places, 0, "new", 4) && is_in(&places, 1, "db-2", 2));
	/* the primary stays, unlisted, until it is swept */
	CU_ASSERT(dbt__places_set(&places, many(3, 4, NULL), 1, NULL) == W_OK);
	CU_ASSERT(is_in(&places, 0, "db-4", 5) && is_in(&places, 1, "db-2", 2));
	CU_ASSERT(dbt__places_unlisted(&places, 1) && !dbt__places_unlisted(&places, 0));
	dbt__places_sweep(&places, 1);
	CU_ASSERT(is_in(&places, 1, "db-2", 2));
	/* and is listed again when it is back */
	CU_ASSERT(dbt__places_set(&places, many(2, 4, NULL), 1, NULL) == W_OK);
	CU_ASSERT(is_in(&places, 1, "db-2", 2) && !dbt__places_unlisted(&places, 1));
	/* but not under another address */
	CU_ASSERT(dbt__places_set(&places, many(3, 4, "db-2"), 1, NULL) == W_OK);
	CU_ASSERT(is_in(&places, 1, "db-2", 6) && !dbt__places_unlisted(&places, 1));
	CU_ASSERT(dbt__places_set(&places, many(1, DBT_NODES_MAX + 1, NULL), -1, &fault) == -W_EINVAL);
	CU_ASSERT(is_in(&places, 1, "db-2", 6));
	dbt__places_fini(&places);
}

static void
a_full_table_gives_way(void)
{
	struct dbt__places places;

	dbt__places_init(&places);
	CU_ASSERT(dbt__places_set(&places, many(1, DBT_NODES_MAX, NULL), -1, NULL) == W_OK);
	CU_ASSERT(dbt__places_set(&places, many(2, DBT_NODES_MAX, NULL), 0, NULL) == W_OK);
	CU_ASSERT(is_in(&places, 0, "db-1", 1) && dbt__places_unlisted(&places, 0));
	CU_ASSERT(dbt__places_set(&places, many(2, DBT_NODES_MAX, "new"), 0, NULL) == W_OK);
	CU_ASSERT(is_in(&places, 0, "new", DBT_NODES_MAX + 1) && !dbt__places_unlisted(&places, 0));
	dbt__places_fini(&places);
}

/* ---- many ---- */

static unsigned
open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static struct w_cluster *turns[4];

static void
turn_often(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		take(turns[i % W_NELEM(turns)]);
		w_fiber_sleep((w_usec)(w_random() % 4) * W_MSEC);
	}
	take(turns[0]);
	CU_ASSERT(wait_until(all_used, 10 * W_SEC));
}

static void
a_thousand_reloads_leave_nothing(void)
{
	unsigned before, after;

	turns[0] = file((struct fixture_file){ .without = 0 });
	turns[1] = file((struct fixture_file){ .without = WITHOUT(3) });
	turns[2] = file((struct fixture_file){ .moved = 3 });
	turns[3] = file((struct fixture_file){ .without = WITHOUT(2) });
	before = open_files();
	under_load(turn_often);
	after = open_files();
	printf("(%u files open, then %u) ", before, after);
	/* lanes that came with the load */
	CU_ASSERT(after <= before + 40);
	CU_ASSERT(bench.worker->sites[0] != NULL && bench.worker->sites[0]->place->generation == 1);
}

/* ---- the primary ---- */

static bool
db2_leads(struct bench *b)
{
	const struct dbt_node *node = node_of("db-2");
	const struct dbt_topology *topology = dbt_topology_get(b->dbt);

	return node != NULL && topology->primary >= 0 &&
	    &topology->nodes[topology->primary] == node && node_of("db-1") == NULL;
}

static bool
db1_stays(struct bench *b)
{
	return dbt_topology_get(b->dbt)->primary == 0 && node_of("db-3") == NULL;
}

static void
succeed(void)
{
	take(file((struct fixture_file){ .without = WITHOUT(1) | WITHOUT(3) }));
	CU_ASSERT(wait_until(db1_stays, W_SEC));
	w_fiber_sleep(200 * W_MSEC);
	CU_ASSERT(node_of("db-1") != NULL && db1_stays(&bench));
	/* one that drains: its writes are held, and go on at the next */
	(void)fixture_sql(&pg, 0, "ALTER SYSTEM SET default_transaction_read_only = on");
	(void)fixture_sql(&pg, 0, "SELECT pg_reload_conf()");
	w_fiber_sleep(300 * W_MSEC);
	(void)fixture_sql(&pg, 1, "SELECT pg_promote()");
	CU_ASSERT(wait_until(db2_leads, 5 * W_SEC));
	CU_ASSERT(wait_until(seen_off, 5 * W_SEC));
}

/* The last of this suite: there is another primary after it. */
static void
the_primary_stays_until_there_is_another(void)
{
	under_load(succeed);
	CU_ASSERT(bench.worker->sites[0] == NULL && bench.worker->write_primary != NULL);
}

static CU_TestInfo tests[] = {
	{ "slots are kept and used again", slots_are_kept_and_used_again },
	{ "a full table gives way", a_full_table_gives_way },
	{ "a node goes and comes under load", a_node_goes_and_comes_under_load },
	{ "reloads may come at any time", reloads_may_come_at_any_time },
	{ "all replicas may go", all_replicas_may_go },
	{ "what is in flight ends where it is", what_is_in_flight_ends_where_it_is },
	{ "another address is another node", another_address_is_another_node },
	{ "nothing changes by a bad file", nothing_changes_by_a_bad_file },
	{ "metrics of a removed node stand still", metrics_of_a_removed_node_stand_still },
	{ "another cluster's primary is not used", another_clusters_primary_is_not_used },
	{ "a thousand reloads leave nothing behind", a_thousand_reloads_leave_nothing },
	{ "the primary stays until there is another", the_primary_stays_until_there_is_another },
	CU_TEST_INFO_NULL
};
CU_SuiteInfo reload_suites[] = {
	{ .pName = "dbtier/reload", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	    .pTests = tests },
	CU_SUITE_INFO_NULL
};
