#include "fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dbtier/probe.h"

#define BIN "/usr/lib/postgresql/15/bin/"
#define START_MOST (30 * W_SEC)

/* ---- processes ---- */

static void
die(const char *what, const char *detail)
{
	fprintf(stderr, "fixture: %s: %s\n", what, detail);
	exit(1);
}

static const struct passwd *
owner(void)
{
	const struct passwd *user = getpwnam("postgres");

	return user != NULL ? user : getpwnam("nobody");
}

/* PostgreSQL refuses to run as root. */
static void
become_owner(void)
{
	const struct passwd *user;

	if (geteuid() != 0)
		return;
	user = owner();
	if (user == NULL || setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 ||
	    setuid(user->pw_uid) < 0)
		_exit(126);
}

static pid_t
spawn(const struct fixture *fixture, char *const argv[])
{
	char log[128];
	pid_t parent = getpid(), pid;
	int fd;

	snprintf(log, sizeof(log), "%s/log", fixture->dir);
	pid = fork();
	if (pid != 0)
		return pid;
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	become_owner();
	/* Nothing outlives the tests, however they end. */
	prctl(PR_SET_PDEATHSIG, SIGQUIT);
	if (getppid() != parent || chdir("/") < 0)
		_exit(126);
	execv(argv[0], argv);
	_exit(127);
}

static void
run(const struct fixture *fixture, char *const argv[])
{
	pid_t pid = spawn(fixture, argv);
	int status = 0;

	if (waitpid(pid, &status, 0) < 0 || status != 0)
		die(argv[0], "failed, see the log in the fixture's folder");
}

unsigned
fixture_port(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		die("free port", strerror(errno));
	close(fd);
	return ntohs(addr.sin_port);
}

/* ---- PostgreSQL ---- */

const char *
fixture_missing(void)
{
	if (access(BIN "postgres", X_OK) < 0 || access(BIN "initdb", X_OK) < 0)
		return "no PostgreSQL 15 in " BIN;
	return geteuid() == 0 && owner() == NULL ? "no user to run PostgreSQL as" : NULL;
}

static void
dsn_of(const struct fixture *fixture, unsigned node, char *to, size_t size)
{
	snprintf(to, size, "host=127.0.0.1 port=%u user=postgres dbname=postgres sslmode=disable "
	    "gssencmode=disable", fixture->ports[node]);
}

static void
append_conf(const struct fixture *fixture, unsigned node)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/db-%u/postgresql.auto.conf", fixture->dir, node + 1);
	file = fopen(path, "a");
	if (file == NULL)
		die(path, strerror(errno));
	fprintf(file, "port=%u\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\n"
	    "fsync=off\nfull_page_writes=off\nshared_buffers=16MB\nmax_connections=100\n"
	    "max_wal_senders=8\nhot_standby=on\nwal_retrieve_retry_interval=100ms\n"
	    "restart_after_crash=on\nautovacuum=off\nmax_standby_streaming_delay=200ms\n",
	    fixture->ports[node]);
	fclose(file);
}

static PGconn *
connect_to(const struct fixture *fixture, unsigned node, const char *dbname)
{
	char dsn[256];
	PGconn *conn;

	dsn_of(fixture, node, dsn, sizeof(dsn));
	snprintf(dsn + strlen(dsn), sizeof(dsn) - strlen(dsn), " dbname=%s", dbname);
	conn = PQconnectdb(dsn);
	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	PQfinish(conn);
	return NULL;
}

static const char *
sql_in(struct fixture *fixture, unsigned node, const char *dbname, const char *sql)
{
	static char value[256];
	PGconn *conn = connect_to(fixture, node, dbname);
	PGresult *result;

	if (conn == NULL)
		die("cannot connect for", sql);
	result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		die(sql, PQerrorMessage(conn));
	snprintf(value, sizeof(value), "%s",
	    PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	PQfinish(conn);
	return value;
}

const char *
fixture_sql(struct fixture *fixture, unsigned node, const char *sql)
{
	return sql_in(fixture, node, "weir", sql);
}

void
fixture_spawn_node(struct fixture *fixture, unsigned node)
{
	char data[128];
	char *argv[] = { (char *)BIN "postgres", (char *)"-D", data, NULL };

	snprintf(data, sizeof(data), "%s/db-%u", fixture->dir, node + 1);
	fixture->pids[node] = spawn(fixture, argv);
}

void
fixture_start_node(struct fixture *fixture, unsigned node)
{
	w_usec until = w_now() + START_MOST;
	PGconn *conn;

	fixture_spawn_node(fixture, node);
	while ((conn = connect_to(fixture, node, "postgres")) == NULL) {
		if (w_now() > until)
			die(fixture->dir, "PostgreSQL does not start, see the log there");
		usleep(10000);
	}
	PQfinish(conn);
}

bool
fixture_is_gone(struct fixture *fixture, unsigned node)
{
	if (fixture->pids[node] == 0 || waitpid(fixture->pids[node], NULL, WNOHANG) == 0)
		return fixture->pids[node] == 0;
	fixture->pids[node] = 0;
	return true;
}

void
fixture_stop_node(struct fixture *fixture, unsigned node, int signal)
{
	if (fixture->pids[node] == 0)
		return;
	kill(fixture->pids[node], signal);
	waitpid(fixture->pids[node], NULL, 0);
	fixture->pids[node] = 0;
}

/* All of them are the postmaster's children. Those that it starts meanwhile there are none of: it is first. */
void
fixture_freeze_node(struct fixture *fixture, unsigned node, bool freeze)
{
	int signal = freeze ? SIGSTOP : SIGCONT;
	char path[64];
	FILE *file;
	long pid;

	if (freeze)
		kill(fixture->pids[node], signal);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)fixture->pids[node],
	    (int)fixture->pids[node]);
	file = fopen(path, "r");
	if (file == NULL)
		die(path, strerror(errno));
	while (fscanf(file, "%ld", &pid) == 1)
		kill((pid_t)pid, signal);
	fclose(file);
	kill(fixture->pids[node], signal);
}

/* The roles and tables of the tier, from the files that users load. */
static void
load_schema(const struct fixture *fixture)
{
	const char *srcdir = getenv("srcdir");
	W_AUTO(w_free) char *dir = w_xasprintf("%s/sql", srcdir != NULL ? srcdir : ".");
	struct w_fault fault = { 0 };
	unsigned applied = 0;
	char dsn[256];

	dsn_of(fixture, 0, dsn, sizeof(dsn));
	snprintf(dsn + strlen(dsn), sizeof(dsn) - strlen(dsn), " dbname=weir");
	if (dbt_schema_apply(dsn, dir, &applied, &fault) < 0)
		die("the schema, run this in the source tree or set srcdir", fault.text);
}

static void
make_primary(struct fixture *fixture)
{
	char data[128];
	char *argv[] = { (char *)BIN "initdb", (char *)"-D", data, (char *)"-U", (char *)"postgres",
		(char *)"-A", (char *)"trust", (char *)"-N", (char *)"-E", (char *)"UTF8",
		(char *)"--locale=C", NULL };

	snprintf(data, sizeof(data), "%s/db-1", fixture->dir);
	run(fixture, argv);
	append_conf(fixture, 0);
	fixture_start_node(fixture, 0);
	sql_in(fixture, 0, "postgres", "CREATE DATABASE weir");
	load_schema(fixture);
	fixture_sql(fixture, 0, "CREATE TABLE t (id int PRIMARY KEY, body text);"
	    "GRANT ALL ON t TO weir_rw; GRANT SELECT ON t TO weir_ro;"
	    "GRANT CREATE ON SCHEMA public TO weir_rw;"
	    "INSERT INTO t SELECT i, 'body ' || i FROM generate_series(1, 1000) i");
}

static void
make_replica(struct fixture *fixture, unsigned node)
{
	char data[128], dsn[256];
	char *argv[] = { (char *)BIN "pg_basebackup", (char *)"-D", data, (char *)"-d", dsn,
		(char *)"-R", (char *)"-N", (char *)"-c", (char *)"fast", (char *)"-X",
		(char *)"stream", NULL };

	snprintf(data, sizeof(data), "%s/db-%u", fixture->dir, node + 1);
	dsn_of(fixture, 0, dsn, sizeof(dsn));
	strncat(dsn, " application_name=replica", sizeof(dsn) - strlen(dsn) - 1);
	run(fixture, argv);
	append_conf(fixture, node);
	fixture_start_node(fixture, node);
}

void
fixture_start_alone(struct fixture *fixture)
{
	const char *tmp = getenv("TMPDIR");
	const struct passwd *user = owner();

	memset(fixture, 0, sizeof(*fixture));
	snprintf(fixture->dir, sizeof(fixture->dir), "%.40s/weir-dbt-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(fixture->dir) == NULL)
		die(fixture->dir, strerror(errno));
	if (geteuid() == 0 && chown(fixture->dir, user->pw_uid, user->pw_gid) < 0)
		die(fixture->dir, strerror(errno));
	for (unsigned i = 0; i < FIXTURE_NODES; i++)
		fixture->ports[i] = fixture_port();
	make_primary(fixture);
}

void
fixture_start(struct fixture *fixture)
{
	fixture_start_alone(fixture);
	for (unsigned i = 1; i < FIXTURE_NODES; i++)
		make_replica(fixture, i);
}

void
fixture_stop(struct fixture *fixture)
{
	char command[128];

	for (unsigned i = FIXTURE_NODES; i-- > 0;)
		fixture_stop_node(fixture, i, SIGQUIT);
	snprintf(command, sizeof(command), "rm -rf '%s'", fixture->dir);
	if (fixture->dir[0] != '\0' && system(command) != 0)
		fprintf(stderr, "fixture: %s: not removed\n", fixture->dir);
}

/* ---- bench ---- */

/* db-2 is found by name. */
static const char *
host_of(const struct fixture_file *file, unsigned node)
{
	bool by_name = node == 1;

	return by_name != (file->moved == node + 1) ? "localhost" : "127.0.0.1";
}

struct w_cluster *
fixture_cluster(const struct fixture *fixture, const struct fixture_file *want)
{
	struct w_cluster *cluster = NULL;
	struct w_fault fault = { 0 };
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/cluster.yaml", fixture->dir);
	file = fopen(path, "w");
	if (file == NULL)
		die(path, strerror(errno));
	fprintf(file, "cluster: { name: test, probe_interval: 50ms, probe_timeout: 1s, quorum: 0%s }\n"
	    "balancers: [ { name: balancer-1, http: \"127.0.0.1:1\", link: \"127.0.0.1:2\" } ]\n"
	    "servers: [ { name: server-1, http: \"127.0.0.1:3\"%s } ]\n"
	    "monitors: [ { name: monitor-1, http: \"127.0.0.1:4\", feed: \"127.0.0.1:5\","
	    " collect: \"127.0.0.1:6\" } ]\n",
	    want->more != NULL ? want->more : "", want->extra != NULL ? want->extra : "");
	if (want->without != FIXTURE_ALL)
		fprintf(file, "databases:\n");
	for (unsigned i = 0; i < FIXTURE_NODES; i++)
		if ((want->without & 1u << i) == 0)
			fprintf(file, " - { name: db-%u, address: \"%s:%u\" }\n", i + 1,
			    host_of(want, i), fixture->ports[i]);
	if (want->stranger > 0)
		fprintf(file, " - { name: stranger, address: \"127.0.0.1:%u\" }\n", want->stranger);
	fclose(file);
	if (w_cluster_load(path, &cluster, &fault) < 0)
		die("cluster file", fault.text);
	return cluster;
}

void
bench_start(struct bench *bench, struct fixture *fixture, const char *extra)
{
	struct w_fault fault = { 0 };
	struct dbt_worker_config config;

	memset(bench, 0, sizeof(*bench));
	bench->fixture = fixture;
	bench->cluster = fixture_cluster(fixture, &(struct fixture_file){ .extra = extra });
	bench->metrics = w_metrics_new(1);
	bench->ids = dbt_metrics(bench->metrics);
	if (dbt_start(bench->cluster, &bench->dbt, &fault) < 0 || w_loop_init(&bench->loop) < 0)
		die("dbt_start", fault.text);
	if (w_fibers_new(&bench->loop, 256 * 1024, 1000, &bench->fibers) < 0)
		die("fibers", "cannot make them");
	config = (struct dbt_worker_config){
		.dbt = bench->dbt,
		.loop = &bench->loop,
		.options = &w_cluster_nth(bench->cluster, W_SERVER, 0)->opt.server,
		.meter = w_metrics_meter(bench->metrics, 0),
		.metrics = bench->ids,
	};
	if (dbt_worker_new(&config, &bench->worker, &fault) < 0)
		die("dbt_worker_new", fault.text);
}

void
bench_stop(struct bench *bench)
{
	dbt_worker_free(&bench->worker);
	w_fibers_free(&bench->fibers);
	w_loop_fini(&bench->loop);
	dbt_stop(&bench->dbt);
	w_metrics_free(&bench->metrics);
	w_cluster_free(&bench->cluster);
}

struct task {
	struct bench *bench;
	void (*fn)(void *arg);
	void *arg;
};

static void
task_main(void *arg)
{
	struct task *task = arg;

	task->fn(task->arg);
	if (--task->bench->left == 0 && task->bench->running)
		w_loop_stop(&task->bench->loop);
}

void
bench_run(struct bench *bench, void (*fn)(void *arg), void *arg, size_t size, unsigned count)
{
	struct task *tasks = w_xcalloc(count, sizeof(*tasks));

	bench->left = count;
	for (unsigned i = 0; i < count; i++) {
		tasks[i] = (struct task){ bench, fn, (char *)arg + i * size };
		if (w_fiber_start(bench->fibers, task_main, &tasks[i]) < 0)
			die("fiber", "cannot start");
	}
	bench->running = true;
	if (bench->left > 0)
		w_loop_run(&bench->loop);
	bench->running = false;
	dbt__passed(bench->dbt); /* the loop, which would say so, stands still until the next run */
	free(tasks);
}

struct wait {
	struct bench *bench;
	bool (*ready)(struct bench *bench);
	w_usec until;
	bool met;
};

static void
wait_fiber(void *arg)
{
	struct wait *wait = arg;

	while (!(wait->met = wait->ready(wait->bench)) && w_now() < wait->until)
		w_fiber_sleep(5 * W_MSEC);
}

bool
bench_until(struct bench *bench, bool (*ready)(struct bench *bench), w_usec most)
{
	struct wait wait = { bench, ready, w_now() + most, false };

	bench_run(bench, wait_fiber, &wait, 0, 1);
	return wait.met;
}

bool
all_fit(struct bench *bench)
{
	const struct dbt_topology *topology = dbt_topology_get(bench->dbt);

	return topology->primary == 0 && topology->fit_replicas == FIXTURE_NODES - 1;
}

int64_t
bench_value(struct bench *bench, unsigned metric)
{
	return w_metrics_value(bench->metrics, bench->ids + metric);
}
