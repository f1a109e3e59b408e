/*
 * Agents led through their life by a promoter of the test: real PostgreSQL, real CURVE, orders one by one.
 * The agents are processes of their own: this program, begun anew (main.c). A mere fork would have threads that
 * the thread sanitizer has never seen begin.
 */
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "dbtier/agent.h"
#include "fixture.h"
#include "suites.h"

#define NODES 3
#define PROMOTER "monitor-1/1"
#define AGAIN (100 * W_MSEC) /* an order is repeated */

static char folder[64];
static unsigned ports[NODES];
static pid_t agents[NODES];
static struct w_cluster *cluster;
static struct w_keys *keys;
static struct w_loop loop;
static struct w_zap *zap;
static struct w_zsock router;
static void *context, *sock;
static struct w_timer ticks;
static struct dbt_status statuses[NODES];
static struct route {
	char name[64]; /* that the router gave the connection */
	size_t len;
} routes[NODES];
static uint64_t busy_seen[NODES]; /* bits of the words below */
static int64_t last_id;
static unsigned monitor_ports[4];
static struct dbt_cohort ordered; /* that orders carry; without names: the cluster file's */
static const char *const words[] = { "starting", "stopping", "fencing", "promoting", "marking", "draining", "cloning",
	"rewinding", "making" };

/* ---- the world ---- */

static void
put(const char *name, const char *text, mode_t mode)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "w");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0 || chmod(path, mode) < 0) {
		perror(path);
		exit(1);
	}
}

static void
put_cluster(unsigned quorum)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };

	w_buf_printf(&out, "cluster: { name: test, keys: keys, failover: builtin, quorum: %u, rw_password: rw, "
	    "ro_password: ro, agent_password: agent }\n"
	    "monitors: [ { name: monitor-1, http: \"127.0.0.1:%u\", feed: \"127.0.0.1:%u\", collect: \"127.0.0.1:%u\","
	    " control: \"127.0.0.1:%u\" } ]\ndatabases:\n", quorum, monitor_ports[0], monitor_ports[1],
	    monitor_ports[2], monitor_ports[3]);
	for (unsigned i = 0; i < NODES; i++)
		w_buf_printf(&out, " - { name: db-%u, address: \"127.0.0.1:%u\", data: db-%u, initial: %s,"
		    " admin_password: admin, settings: [ \"shared_buffers = 16MB\", \"fsync = off\" ] }\n", i + 1,
		    ports[i], i + 1, i == 0 ? "primary" : "replica");
	w_buf_char(&out, '\0');
	put("cluster.yaml", out.ptr, 0644);
}

static void
start_agent(unsigned node)
{
	W_AUTO(w_free) char *config = w_xasprintf("%s/cluster.yaml", folder);
	W_AUTO(w_free) char *name = w_xasprintf("db-%u", node + 1);
	W_AUTO(w_free) char *log = w_xasprintf("%s/%s.log", folder, name);
	char *argv[] = { (char *)"unit-dbtier", (char *)AGENT_ARGUMENT, (char *)"--config", config,
		(char *)"--name", name, NULL };
	pid_t pid = fork();
	int fd;

	if (pid != 0) {
		agents[node] = pid;
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	execv("/proc/self/exe", argv);
	_exit(127);
}

static void
end_agent(unsigned node, int number)
{
	if (agents[node] == 0)
		return;
	kill(agents[node], number);
	waitpid(agents[node], NULL, 0);
	agents[node] = 0;
}

static void
on_status(const char *json, size_t len, const struct route *route)
{
	struct dbt_status status;
	struct w_fault fault = { 0 };

	if (dbt_status_parse((struct w_view){ json, len }, &status, &fault) < 0) {
		printf("bad status: %s\n", fault.text);
		CU_FAIL("a status that cannot be read");
		return;
	}
	for (unsigned i = 0; i < NODES; i++) {
		if (status.node[3] - '1' != (int)i)
			continue;
		statuses[i] = status;
		routes[i] = *route;
		for (size_t word = 0; word < W_NELEM(words); word++)
			if (strcmp(status.busy, words[word]) == 0)
				busy_seen[i] |= 1u << word;
	}
}

static void
on_readable(void *arg W_UNUSED)
{
	static char json[DBT_CONTROL_MAX];
	struct route route;
	int len;

	while ((len = w_zsock_receive_into(&router, route.name, sizeof(route.name))) >= 0) {
		route.len = (size_t)len;
		if ((len = w_zsock_receive_into(&router, json, sizeof(json))) > 0)
			on_status(json, (size_t)len, &route);
	}
}

static void
on_tick(void *arg W_UNUSED)
{
}

static int
bind_router(void)
{
	const struct w_member *monitor = w_cluster_nth(cluster, W_MONITOR, 0);
	struct w_fault fault = { 0 };
	char endpoint[128];

	context = zmq_ctx_new();
	if (w_zap_start(context, &loop, cluster, &zap, &fault) < 0)
		return 1;
	sock = zmq_socket(context, ZMQ_ROUTER);
	if (w_keys_server(keys, sock, W_DOMAIN_CONTROL, &fault) < 0 ||
	    w_addr_zmq(monitor->opt.monitor.control, 0, endpoint, sizeof(endpoint)) < 0 ||
	    zmq_bind(sock, endpoint) < 0 || w_zsock_add(&loop, &router, sock, on_readable, NULL) < 0)
		return 1;
	ticks.fire = on_tick;
	w_timer_start(&loop, &ticks, W_MSEC, 2 * W_MSEC);
	return 0;
}

static int
set_up(void)
{
	static const char *const secrets[] = { "rw", "ro", "agent", "admin" };
	static const char *const names[] = { "monitor-1", "db-1", "db-2", "db-3" };
	struct w_fault fault = { 0 };
	W_AUTO(w_free) char *path = NULL, *dir = NULL;

	snprintf(folder, sizeof(folder), "/tmp/weir-agent-XXXXXX");
	if (mkdtemp(folder) == NULL || chmod(folder, 0777) < 0)
		return 1;
	path = w_xasprintf("%s/cluster.yaml", folder);
	dir = w_xasprintf("%s/keys", folder);
	mkdir(dir, 0755);
	for (size_t i = 0; i < W_NELEM(secrets); i++)
		put(secrets[i], "secret\n", 0600);
	for (size_t i = 0; i < W_NELEM(names); i++)
		if (w_keys_ensure(dir, names[i], &fault) < 0)
			return 1;
	for (unsigned i = 0; i < NODES; i++)
		ports[i] = fixture_port();
	for (size_t i = 0; i < W_NELEM(monitor_ports); i++)
		monitor_ports[i] = fixture_port();
	put_cluster(1);
	if (w_cluster_load(path, &cluster, &fault) < 0 || w_keys_load(dir, "monitor-1", &keys, &fault) < 0) {
		printf("%s\n", fault.text);
		return 1;
	}
	for (unsigned i = 0; i < NODES; i++)
		start_agent(i);
	return w_loop_init(&loop) < 0 || bind_router() != 0;
}

static int
tear_down(void)
{
	W_AUTO(w_free) char *command = w_xasprintf("rm -rf '%s'", folder);

	for (unsigned i = 0; i < NODES; i++)
		if (agents[i] != 0)
			kill(agents[i], SIGTERM);
	for (unsigned i = 0; i < NODES; i++)
		end_agent(i, SIGTERM);
	w_zsock_remove(&router);
	w_timer_fini(&ticks);
	zmq_close(sock);
	w_zap_stop(&zap);
	w_loop_fini(&loop);
	zmq_ctx_term(context);
	w_keys_free(&keys);
	w_cluster_free(&cluster);
	if (getenv("WEIR_KEEP") != NULL)
		printf("kept: %s\n", folder);
	return getenv("WEIR_KEEP") != NULL ? 0 : system(command);
}

/* ---- orders, and what to wait for ---- */

typedef bool met_fn(const struct dbt_status *status);

static void
show(unsigned node)
{
	const struct dbt_status *s = &statuses[node];

	printf("\n  db-%u: term=%u stage=%s upstream=%s order=%lld refused='%s' busy='%s' trouble='%s' postgres=%s ended='%s' "
	    "recovery=%d settled=%d streaming=%d heard=%lld attached=%u drained=%d marked=%d tl=%u lsn=%llx broken='%s'\n",
	    node + 1, s->promise.term, dbt_stage_name(s->promise.stage), s->promise.upstream, (long long)s->order,
	    s->refused, s->busy, s->trouble, dbt_postgres_name(s->postgres), s->ended, s->recovery, s->settled,
	    s->streaming, (long long)s->heard_ms, s->attached, s->drained, s->marked, s->timeline,
	    (unsigned long long)s->lsn, s->broken);
}

static void
send_order(unsigned node, const struct dbt_order *order)
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct dbt_order full = *order;

	snprintf(full.promoter, sizeof(full.promoter), PROMOTER);
	full.cohort = ordered;
	if (ordered.names[0] == '\0')
		(void)dbt_cohort_format(cluster, full.cohort.names);
	dbt_order_format(&full, &out);
	if (w_zsock_send(&router, (struct w_view){ routes[node].name, routes[node].len }, true) == W_OK)
		w_zsock_send(&router, w_buf_get(&out), false);
}

/* Until a status of the node meets it; with an order, that is repeated. Returns how long it took, -1: too long. */
static w_usec
await(unsigned node, struct dbt_order *order, met_fn *met, w_usec most)
{
	w_usec began = w_now(), next = began;

	if (order != NULL)
		order->id = ++last_id;
	while (!met(&statuses[node]) || (order != NULL && statuses[node].order != order->id)) {
		if (w_now() - began > most) {
			show(node);
			return -1;
		}
		if (order != NULL && w_now() >= next) {
			next = w_now() + AGAIN;
			send_order(node, order);
		}
		uv_run(&loop.uv, UV_RUN_ONCE);
	}
	return w_now() - began;
}

static bool is_told(const struct dbt_status *s) { return s->node[0] != '\0'; }
static bool is_marked(const struct dbt_status *s) { return s->marked && s->postgres == DBT_PG_UP; }
static bool is_streaming(const struct dbt_status *s) { return s->streaming && s->promise.stage == DBT_FOLLOWING; }
static bool is_settled(const struct dbt_status *s) { return s->settled && s->promise.stage == DBT_FENCED; }
static bool is_down(const struct dbt_status *s) { return s->postgres == DBT_PG_NONE && s->ended[0] != '\0'; }
static bool is_frozen(const struct dbt_status *s) { return s->postgres == DBT_PG_FROZEN; }
static bool is_drained(const struct dbt_status *s) { return s->drained; }
static bool is_undrained(const struct dbt_status *s) { return !s->drained; }
static bool is_refused(const struct dbt_status *s) { return s->refused[0] != '\0'; }
static bool is_paused(const struct dbt_status *s) { return s->promise.paused; }
static bool is_attached(const struct dbt_status *s) { return s->attached == 2; }

static w_usec
prepare(unsigned node, uint32_t term)
{
	return await(node, &(struct dbt_order){ .kind = DBT_PREPARE, .term = term }, is_settled, 20 * W_SEC);
}

static w_usec
follow(unsigned node, uint32_t term, const char *upstream)
{
	struct dbt_order order = { .kind = DBT_FOLLOW, .term = term };

	snprintf(order.upstream, sizeof(order.upstream), "%s", upstream);
	return await(node, &order, is_streaming, 30 * W_SEC);
}

/* One that does not wait: the order is on its way, the rest comes later. */
static void
send_follow(unsigned node, uint32_t term, const char *upstream)
{
	struct dbt_order order = { .kind = DBT_FOLLOW, .term = term, .id = ++last_id };

	snprintf(order.upstream, sizeof(order.upstream), "%s", upstream);
	send_order(node, &order);
}

static w_usec
promote(unsigned node, uint32_t term)
{
	return await(node, &(struct dbt_order){ .kind = DBT_PROMOTE, .term = term }, is_marked, 20 * W_SEC);
}

/* First value, or the SQLSTATE; static. */
static const char *
sql(unsigned node, const char *text)
{
	static char value[128];
	W_AUTO(w_free) char *dsn = w_xasprintf("host=127.0.0.1 port=%u user=postgres password=secret dbname=weir "
	    "sslmode=disable gssencmode=disable connect_timeout=5", ports[node]);
	PGconn *conn = PQconnectdb(dsn);
	PGresult *result = PQexec(conn, text);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	snprintf(value, sizeof(value), "%s", state != NULL ? state : PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	PQfinish(conn);
	return value;
}

static pid_t
postmaster(unsigned node)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s/db-%u", folder, node + 1);

	return (pid_t)dbt__proc_postmaster(data);
}

static bool
did(unsigned node, const char *word)
{
	for (size_t i = 0; i < W_NELEM(words); i++)
		if (strcmp(word, words[i]) == 0)
			return (busy_seen[node] >> i & 1) != 0;
	return false;
}

/* ---- the life ---- */

static void
a_cluster_is_made(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		CU_ASSERT_FATAL(await(i, NULL, is_told, 10 * W_SEC) >= 0);
		CU_ASSERT(statuses[i].promise.stage == DBT_EMPTY && statuses[i].promise.term == 0);
	}
	/* db-1 makes its data; its marker waits for a follower, so the followers are told at once */
	send_order(0, &(struct dbt_order){ .kind = DBT_INIT, .term = 1, .id = ++last_id });
	send_follow(1, 1, "db-1");
	send_follow(2, 1, "db-1");
	CU_ASSERT_FATAL(await(0, NULL, is_marked, 60 * W_SEC) >= 0);
	CU_ASSERT_FATAL(follow(1, 1, "db-1") >= 0);
	CU_ASSERT_FATAL(follow(2, 1, "db-1") >= 0);
	CU_ASSERT(did(0, "making") && did(1, "cloning") && did(2, "cloning"));
	CU_ASSERT(await(0, NULL, is_attached, 10 * W_SEC) >= 0);
	CU_ASSERT(statuses[0].timeline == 1 && !statuses[0].recovery && statuses[0].broken[0] == '\0');
	CU_ASSERT(strcmp(sql(0, "create table t (id int); insert into t values (1) returning id"), "1") == 0);
	CU_ASSERT(strcmp(sql(0, "show fsync"), "on") == 0);
	CU_ASSERT(strcmp(sql(0, "show shared_buffers"), "16MB") == 0);
	/* what initdb has set is there, and little else */
	CU_ASSERT(strcmp(sql(0, "show lc_messages"), "C.UTF-8") == 0);
	CU_ASSERT(strcmp(sql(0, "select length(pg_read_file('postgresql.conf')) < 2000"), "t") == 0);
}

static void
a_leader_drains(void)
{
	CU_ASSERT(await(0, &(struct dbt_order){ .kind = DBT_DRAIN, .term = 1 }, is_drained, 5 * W_SEC) >= 0);
	CU_ASSERT(strcmp(sql(0, "insert into t values (9)"), "25006") == 0);
	CU_ASSERT(await(0, &(struct dbt_order){ .kind = DBT_UNDRAIN, .term = 1 }, is_undrained, 5 * W_SEC) >= 0);
	while (strcmp(sql(0, "insert into t values (2) returning id"), "2") != 0)
		usleep(5000);
}

static void
orders_that_do_not_fit_are_refused(void)
{
	uint32_t term = statuses[0].promise.term;

	CU_ASSERT(await(0, &(struct dbt_order){ .kind = DBT_PROMOTE, .term = 9 }, is_refused, 5 * W_SEC) >= 0);
	CU_ASSERT(await(1, &(struct dbt_order){ .kind = DBT_DRAIN, .term = term }, is_refused, 5 * W_SEC) >= 0);
	CU_ASSERT(statuses[0].promise.term == term && statuses[0].promise.stage == DBT_LEADING);
	CU_ASSERT(await(0, &(struct dbt_order){ .kind = DBT_PAUSE, .paused = true, .stamp = 5 }, is_paused, 5 * W_SEC) >= 0);
}

/* Without being asked. */
static bool
becomes(unsigned node, const char *text, const char *value)
{
	w_usec until = w_now() + 5 * W_SEC;

	while (strcmp(sql(node, text), value) != 0) {
		if (w_now() > until)
			return false;
		uv_run(&loop.uv, UV_RUN_ONCE);
	}
	return true;
}

/* The checkpoint that follows a promotion takes minutes. */
static bool
has_checkpoint(unsigned node, const char *timeline)
{
	return becomes(node, "select timeline_id from pg_control_checkpoint()", timeline);
}

/* When its postmaster has read the settings last. */
static double
read_at(unsigned node)
{
	return strtod(sql(node, "select extract(epoch from pg_conf_load_time())"), NULL);
}

/* Those who follow an upstream read of it at once, all the others when the election is over. */
static bool
is_read_by_all(unsigned node, unsigned upstream, double since)
{
	W_AUTO(w_free) char *text = w_xasprintf("select extract(epoch from pg_conf_load_time()) > %f and "
	    "strpos(current_setting('primary_conninfo'), 'port=''%u''') > 0", since, ports[upstream]);

	return becomes(node, text, "t") && strcmp(sql(node, "show wal_recycle"), "off") == 0;
}

/* db-1 writes what nobody else has, then dies; db-2 leads term 4; db-1 has to rewind. */
static void
another_one_leads(void)
{
	w_usec fenced[2], promoted;
	double read = read_at(2);

	fenced[0] = prepare(1, 4);
	fenced[1] = prepare(2, 4);
	CU_ASSERT_FATAL(fenced[0] >= 0 && fenced[1] >= 0);
	CU_ASSERT(fenced[1] > 500 * W_MSEC || read_at(2) == read);
	CU_ASSERT(statuses[1].timeline == 1 && statuses[1].lsn == statuses[2].lsn);
	CU_ASSERT(strcmp(sql(0, "set synchronous_commit = local; insert into t select generate_series(100, 999)"), "") == 0);
	kill(postmaster(0), SIGKILL);
	CU_ASSERT(await(0, NULL, is_down, 2 * W_SEC) >= 0);
	CU_ASSERT(statuses[0].promise.stage == DBT_LEADING);
	send_follow(2, 4, "db-2");
	promoted = promote(1, 4);
	CU_ASSERT_FATAL(promoted >= 0);
	printf("(fenced in %lld and %lld, leads in %lld us) ", (long long)fenced[0], (long long)fenced[1],
	    (long long)promoted);
	CU_ASSERT(statuses[1].timeline == 4 && !statuses[1].recovery);
	CU_ASSERT_FATAL(await(2, NULL, is_streaming, 10 * W_SEC) >= 0);
	CU_ASSERT(strcmp(sql(1, "insert into t values (3) returning (select count(*) from t)"), "2") == 0);
	CU_ASSERT(!did(2, "rewinding"));
	CU_ASSERT(is_read_by_all(2, 1, read));
	CU_ASSERT(has_checkpoint(1, "4"));
}

static void
the_old_leader_rewinds(void)
{
	CU_ASSERT_FATAL(prepare(0, 4) >= 0);
	CU_ASSERT(statuses[0].timeline == 1 && statuses[0].lsn + (16 << 20) > statuses[2].lsn);
	CU_ASSERT_FATAL(follow(0, 4, "db-2") >= 0);
	CU_ASSERT(did(0, "rewinding") && !did(0, "cloning"));
	CU_ASSERT(await(1, NULL, is_attached, 10 * W_SEC) >= 0);
	CU_ASSERT(strcmp(sql(0, "select count(*) from t"), "3") == 0);
}

static void
signal_all(unsigned node, int number)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s/db-%u", folder, node + 1);

	(void)dbt__proc_signal(data, number);
}

/* What is frozen cannot be asked, so it is killed; then db-3 leads. */
static void
a_frozen_leader_is_fenced(void)
{
	w_usec frozen, fenced;

	signal_all(1, SIGSTOP);
	frozen = await(1, NULL, is_frozen, 2 * W_SEC);
	CU_ASSERT(frozen >= 0);
	CU_ASSERT_FATAL(prepare(2, 5) >= 0 && prepare(0, 5) >= 0);
	send_follow(0, 5, "db-3");
	CU_ASSERT_FATAL(promote(2, 5) >= 0);
	fenced = prepare(1, 5);
	printf("(seen in %lld, fenced in %lld us) ", (long long)frozen, (long long)fenced);
	CU_ASSERT_FATAL(fenced >= 0);
	CU_ASSERT_FATAL(follow(1, 5, "db-3") >= 0);
	CU_ASSERT(await(0, NULL, is_streaming, 10 * W_SEC) >= 0);
	CU_ASSERT(await(2, NULL, is_attached, 10 * W_SEC) >= 0);
}

static void
an_agent_that_dies_finds_its_postgres_again(void)
{
	pid_t before = postmaster(2);

	end_agent(2, SIGKILL);
	statuses[2] = (struct dbt_status){ 0 };
	start_agent(2);
	CU_ASSERT_FATAL(await(2, NULL, is_marked, 10 * W_SEC) >= 0);
	CU_ASSERT(postmaster(2) == before && statuses[2].promise.term == 5);
	/* adopted, its end is seen as well; it does not come back by itself, but is resumed */
	kill(before, SIGKILL);
	CU_ASSERT_FATAL(await(2, NULL, is_down, 2 * W_SEC) >= 0);
	CU_ASSERT(statuses[2].promise.stage == DBT_LEADING && statuses[2].timeline == 0);
	CU_ASSERT_FATAL(await(2, &(struct dbt_order){ .kind = DBT_RESUME, .term = 5 }, is_marked, 20 * W_SEC) >= 0);
	CU_ASSERT(statuses[2].timeline == 5);
	CU_ASSERT(await(2, NULL, is_attached, 10 * W_SEC) >= 0);
	CU_ASSERT(strcmp(sql(2, "insert into t values (4) returning (select count(*) from t)"), "3") == 0);
}

static int
receiver_of(unsigned node)
{
	return (int)strtol(sql(node, "select coalesce(min(pid), 0) from pg_stat_activity where backend_type = 'walreceiver'"),
	    NULL, 10);
}

/* The kernel takes connections for a postmaster that is stopped; nobody ever answers them. */
static void
a_stuck_walreceiver_is_ended(void)
{
	pid_t upstream = postmaster(2);
	int stuck = 0, streaming = receiver_of(0);
	w_usec until = w_now() + 15 * W_SEC;

	CU_ASSERT_FATAL(streaming > 1 && kill(upstream, SIGSTOP) == 0);
	kill(streaming, SIGTERM);
	while ((stuck == 0 || stuck == streaming) && w_now() < until)
		stuck = receiver_of(0);
	CU_ASSERT(stuck > 1 && stuck != streaming);
	while (receiver_of(0) == stuck && w_now() < until)
		(void)await(0, NULL, is_streaming, 100 * W_MSEC);
	CU_ASSERT(receiver_of(0) != stuck);
	kill(upstream, SIGCONT);
	CU_ASSERT(await(0, NULL, is_streaming, 10 * W_SEC) >= 0);
}

#define ONE "db-1,db-2,db-3/1"
#define TWO "db-1,db-2,db-3/2"

static bool is_configured(const struct dbt_status *s) { return strcmp(s->configured, TWO) == 0; }
static bool is_final(const struct dbt_status *s) { return s->promise.cohort.joint[0] == '\0'; }

/* From db-3, which leads, to db-1, with two that acknowledge. */
static void
the_cohort_changes(void)
{
	put_cluster(2);
	for (unsigned i = 0; i < NODES; i++) {
		kill(agents[i], SIGHUP);
		CU_ASSERT_FATAL(await(i, NULL, is_configured, 5 * W_SEC) >= 0);
		CU_ASSERT(strcmp(statuses[i].promise.cohort.names, ONE) == 0 && statuses[i].broken[0] == '\0');
	}
	CU_ASSERT(strcmp(sql(2, "show synchronous_standby_names"), "ANY 1 (\"db-1\", \"db-2\", \"db-3\")") == 0);
	ordered = (struct dbt_cohort){ .names = TWO, .joint = ONE, .edition = 1 };
	for (unsigned i = 0; i < NODES; i++)
		CU_ASSERT_FATAL(prepare(i, 6) >= 0);
	/* before it can be promoted */
	CU_ASSERT(strcmp(sql(0, "show synchronous_standby_names"), "ANY 2 (\"db-1\", \"db-2\", \"db-3\")") == 0);
	send_follow(1, 6, "db-1");
	send_follow(2, 6, "db-1");
	CU_ASSERT_FATAL(promote(0, 6) >= 0);
	CU_ASSERT(is_final(&statuses[0]) && statuses[0].promise.cohort.edition == 1);
	CU_ASSERT(statuses[1].promise.cohort.joint[0] != '\0');
	memset(ordered.joint, 0, sizeof(ordered.joint));
	CU_ASSERT(follow(1, 6, "db-1") >= 0 && await(1, NULL, is_final, 5 * W_SEC) >= 0);
	CU_ASSERT(follow(2, 6, "db-1") >= 0 && await(2, NULL, is_final, 5 * W_SEC) >= 0);
	ordered = (struct dbt_cohort){ .names = ONE };
	CU_ASSERT(await(1, &(struct dbt_order){ .kind = DBT_PREPARE, .term = 7 }, is_refused, 5 * W_SEC) >= 0);
	ordered = (struct dbt_cohort){ .names = TWO, .edition = 1 };
	CU_ASSERT(strcmp(sql(0, "insert into t values (5) returning (select count(*) from t)"), "4") == 0);
}

static bool
is_broken(const struct dbt_status *s)
{
	return s->broken[0] != '\0';
}

static void
a_broken_setting_is_told(void)
{
	(void)sql(0, "alter system set synchronous_commit = off");
	(void)sql(0, "select pg_reload_conf()");
	CU_ASSERT(await(0, NULL, is_broken, 5 * W_SEC) >= 0);
	(void)sql(0, "alter system reset synchronous_commit");
	(void)sql(0, "select pg_reload_conf()");
}

static bool is_in_term_7(const struct dbt_status *s) { return s->promise.term == 7 && s->streaming; }

/* db-3 streams from db-2 before that leads, and its walreceiver goes on over the connection that it has. */
static void
a_follower_of_the_next_leader_goes_on(void)
{
	static const char walreceiver[] = "select pid from pg_stat_wal_receiver";
	static const char attached[] = "select string_agg(application_name, ',') from pg_stat_replication "
	    "where sync_state = 'quorum'";
	struct dbt_order order = { .kind = DBT_FOLLOW, .term = 7, .upstream = "db-2" };
	char pid[128];

	CU_ASSERT_FATAL(follow(2, 6, "db-2") >= 0);
	CU_ASSERT(becomes(0, attached, "db-2"));
	/* for an insert would wait for two */
	CU_ASSERT(strcmp(sql(0, "set synchronous_commit = local; insert into t values (6) returning (select count(*) from t)"),
	    "5") == 0);
	CU_ASSERT(becomes(2, "select count(*) from t", "6"));
	snprintf(pid, sizeof(pid), "%s", sql(2, walreceiver));
	CU_ASSERT_FATAL(prepare(1, 7) >= 0);
	order.timeline = statuses[1].timeline;
	order.lsn = statuses[1].lsn;
	CU_ASSERT(await(2, &order, is_in_term_7, 5 * W_SEC) >= 0);
	CU_ASSERT(!statuses[2].settled && strcmp(sql(2, walreceiver), pid) == 0);
	send_order(1, &(struct dbt_order){ .kind = DBT_PROMOTE, .term = 7, .id = ++last_id });
	CU_ASSERT(becomes(1, attached, "db-3"));
	CU_ASSERT(strcmp(sql(1, "select pg_is_in_recovery()"), "f") == 0 && strcmp(sql(2, walreceiver), pid) == 0);
	CU_ASSERT(becomes(2, "select received_tli from pg_stat_wal_receiver", "7"));
}

/* ---- pure ---- */

static void
who_may_follow_as_it_is(void)
{
	static const char history[] = "1\t0/3000000\tno recovery target specified\n\n4\t0/5000000\tno reason\n";

	CU_ASSERT(dbt__agent_judge(7, 0x9000000, 7, history) == VERDICT_TURN);
	CU_ASSERT(dbt__agent_judge(4, 0x5000000, 7, history) == VERDICT_TURN);
	CU_ASSERT(dbt__agent_judge(4, 0x5000001, 7, history) == VERDICT_REWIND);
	CU_ASSERT(dbt__agent_judge(1, 0x2000000, 7, history) == VERDICT_TURN);
	CU_ASSERT(dbt__agent_judge(1, 0x4000000, 7, history) == VERDICT_REWIND);
	CU_ASSERT(dbt__agent_judge(3, 0x1000000, 7, history) == VERDICT_REWIND);
	CU_ASSERT(dbt__agent_judge(9, 0x1000000, 7, history) == VERDICT_REWIND);
	CU_ASSERT(dbt__agent_judge(1, 0x1000000, 7, "") == VERDICT_REWIND);
	CU_ASSERT(dbt__agent_judge(1, 0x1000000, 7, "garbage\n1\t0/\n") == VERDICT_REWIND);
}

static CU_TestInfo tests[] = {
	{ "who may follow as it is", who_may_follow_as_it_is },
	{ "a cluster is made", a_cluster_is_made },
	{ "a leader drains", a_leader_drains },
	{ "orders that do not fit are refused", orders_that_do_not_fit_are_refused },
	{ "another one leads", another_one_leads },
	{ "the old leader rewinds", the_old_leader_rewinds },
	{ "a frozen leader is fenced", a_frozen_leader_is_fenced },
	{ "an agent that dies finds its PostgreSQL again", an_agent_that_dies_finds_its_postgres_again },
	{ "a stuck walreceiver is ended", a_stuck_walreceiver_is_ended },
	{ "the cohort changes", the_cohort_changes },
	{ "a broken setting is told", a_broken_setting_is_told },
	{ "a follower of the next leader goes on", a_follower_of_the_next_leader_goes_on },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo agent_live_suites[] = {
	{ .pName = "dbtier/agent: led through its life", .pInitFunc = set_up, .pCleanupFunc = tear_down, .pTests = tests },
	CU_SUITE_INFO_NULL,
};
