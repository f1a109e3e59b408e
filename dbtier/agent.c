#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "dbtier/agent.h"

#define AGENT_STOP_WAIT (30 * W_SEC) /* for a fast shutdown; then an immediate one */
#define AGENT_BACKOFF_FIRST (200 * W_MSEC)
#define AGENT_BACKOFF_MOST (5 * W_SEC)
#define AGENT_BACKOFF_MAKING W_SEC /* a replica waits for its primary to be made */

/* clang-format off */
#define AGENT_METRICS(X)                                                                                   \
	X(M_UP,           GAUGE,   "weir_pg_up", "", "PostgreSQL answers the agent.")                          \
	X(M_PRIMARY,      GAUGE,   "weir_pg_primary", "", "PostgreSQL is not in recovery.")                    \
	X(M_TIMELINE,     GAUGE,   "weir_pg_timeline", "", "Timeline written or received.")                    \
	X(M_POSITION,     GAUGE,   "weir_pg_position_bytes", "", "WAL position: flushed (primary) or replayed (replica).") \
	X(M_RECEIVED,     GAUGE,   "weir_pg_received_bytes", "", "WAL position received by a replica.")        \
	X(M_LAG,          GAUGE,   "weir_pg_replay_lag_seconds", "", "Age of the last replayed transaction, 0 when all is replayed.") \
	X(M_SESSIONS,     GAUGE,   "weir_pg_sessions", "", "Client backends.")                                 \
	X(M_STANDBYS,     GAUGE,   "weir_pg_streaming_standbys", "", "Standbys that stream from here.")        \
	X(M_QUORUM,       GAUGE,   "weir_pg_quorum_standbys", "", "Of these, the ones that commits may wait for.") \
	X(M_TRANSACTIONS, COUNTER, "weir_pg_transactions_total", "", "Transactions, all databases.")           \
	X(M_STARTS,       COUNTER, "weir_pg_starts_total", "", "Times that the agent started PostgreSQL.")
/* clang-format on */

enum agent_metric { AGENT_METRICS(W_METRIC_ENUM) AGENT_METRIC_COUNT };
static const struct w_metric agent_metrics[] = { AGENT_METRICS(W_METRIC_DEF) };

static void agent_go(void *arg);

static void
agent_enter(struct dbt_agent *agent, enum agent_state state)
{
	agent->state = state;
}

/* Try again from the start, later and later. */
static void
agent_retry(struct dbt_agent *agent, const char *what, const char *why)
{
	w_usec wait = AGENT_BACKOFF_FIRST << W_MIN(agent->failures, 5u);
	w_usec most = agent->state == A_MAKING ? AGENT_BACKOFF_MAKING : AGENT_BACKOFF_MOST;
	char quoted[512];

	agent->failures++;
	agent_enter(agent, A_WAITING);
	wait = W_MIN(wait, most);
	w_log(W_WARN, "", what, "why=%s retry_ms=%lld",
	    w_log_quote(w_view_of(why), quoted, sizeof(quoted)), (long long)(wait / W_MSEC));
	w_timer_start(&agent->node->loop, &agent->again, wait, 0);
}

/* --- child programs --- */

typedef void child_done(struct dbt_agent *agent, bool ok, const char *how);

struct child {
	uv_process_t process;
	struct dbt_agent *agent;
	child_done *done;
	char how[200];
	bool ok;
};

static void
child_closed(uv_handle_t *handle)
{
	struct child *child = handle->data;
	struct dbt_agent *agent = w_typed(child->agent, DBT_AGENT_MAGIC);

	agent->children--;
	child->done(agent, child->ok, child->how);
	free(child);
}

static void
child_exit(uv_process_t *process, int64_t status, int signal)
{
	struct child *child = process->data;

	child->ok = status == 0 && signal == 0;
	if (signal != 0)
		snprintf(child->how, sizeof(child->how), "killed by signal %d", signal);
	else
		snprintf(child->how, sizeof(child->how), "exit status %lld", (long long)status);
	uv_close((uv_handle_t *)process, child_closed);
}

/* A pipe that holds input, for a child's standard input; at most what a pipe takes (64 KiB). */
static int
child_input(const char *input)
{
	int pipes[2];
	ssize_t put;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -1;
	put = write(pipes[1], input, strlen(input));
	close(pipes[1]);
	if (put == (ssize_t)strlen(input))
		return pipes[0];
	close(pipes[0]);
	return -1;
}

/* Run a program of PostgreSQL as its user; *ret_pid is optional. */
static int
child_run(struct dbt_agent *agent, char **args, const char *input, child_done *done, int64_t *ret_pid)
{
	W_AUTO(w_free) char *program = w_xasprintf("%s/%s", agent->opt->bin, args[0]);
	W_AUTO(w_close) int fd = input != NULL ? child_input(input) : -1;
	uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE }, { .flags = UV_IGNORE },
		{ .flags = UV_INHERIT_FD, .data.fd = 2 } };
	/* Not our environment: libpq looks into HOME, which that user may not even enter. */
	char *env[] = { "PATH=/usr/bin:/bin", "HOME=/", "LC_ALL=C.UTF-8", "TZ=UTC", NULL };
	uv_process_options_t options = { .exit_cb = child_exit, .file = program, .args = args,
		.env = env, .stdio = stdio, .stdio_count = 3, .cwd = "/" };
	struct child *child = w_xcalloc(1, sizeof(*child));
	int rc;

	args[0] = program; /* PostgreSQL's programs find each other by it */
	if (fd >= 0)
		stdio[0] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = fd };
	if (geteuid() == 0) {
		options.flags = UV_PROCESS_SETUID | UV_PROCESS_SETGID;
		options.uid = agent->uid;
		options.gid = agent->gid;
	}
	child->agent = agent;
	child->done = done;
	child->process.data = child;
	agent->children++;
	rc = uv_spawn(&agent->node->loop.uv, &child->process, &options);
	if (rc == 0) {
		if (ret_pid != NULL)
			*ret_pid = child->process.pid;
		return W_OK;
	}
	/* done() is called in this case too, after the handle is closed. */
	snprintf(child->how, sizeof(child->how), "cannot start %s: %s", program, uv_strerror(rc));
	uv_close((uv_handle_t *)&child->process, child_closed);
	return -W_EIO;
}

/* --- making a data directory: a row of steps, each one child program --- */

typedef int make_step(struct dbt_agent *agent, child_done *done, struct w_fault *fault);

static int
make_initdb(struct dbt_agent *agent, child_done *done, struct w_fault *fault)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	W_AUTO(w_free) char *pw = w_xasprintf("--pwfile=%s.pw", agent->opt->data);
	char *args[] = { "initdb", "-D", data, "--data-checksums", "--auth=scram-sha-256",
		"--username=postgres", pw, "--encoding=UTF8", "--locale=C.UTF-8", NULL };

	(void)fault;
	child_run(agent, args, NULL, done, &agent->maker);
	return W_OK;
}

/* Roles and the database, by a single-user session: no port is open yet, nobody can interfere. */
static int
make_roles(struct dbt_agent *agent, child_done *done, struct w_fault *fault)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	W_AUTO(w_free) char *sql = dbt__agent_bootstrap(agent, fault);
	char *args[] = { "postgres", "--single", "-j", "-D", data, "-c", "exit_on_error=true", "-c",
		"log_min_messages=error", "postgres", NULL };

	if (sql == NULL)
		return -W_EINVAL;
	child_run(agent, args, sql, done, &agent->maker);
	return W_OK;
}

static int
make_backup(struct dbt_agent *agent, child_done *done, struct w_fault *fault)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	W_AUTO(w_free) char *upstream = dbt__agent_upstream(agent, fault);
	char *args[] = { "pg_basebackup", "-D", data, "-d", upstream, "-X", "stream",
		"--checkpoint=fast", "--no-password", NULL };

	if (upstream == NULL)
		return -W_EINVAL;
	child_run(agent, args, NULL, done, &agent->maker);
	return W_OK;
}

static make_step *const make_primary[] = { make_initdb, make_roles, NULL };
static make_step *const make_replica[] = { make_backup, NULL };

static void make_next(struct dbt_agent *agent);

static void
make_done(struct dbt_agent *agent, bool ok, const char *how)
{
	agent->maker = 0;
	if (agent->node->state == W_DRAINING)
		return;
	if (!ok) {
		agent_retry(agent, "making-failed", how);
		return;
	}
	agent->step++;
	make_next(agent);
}

/* All steps are done: settings into the new directory, then it gets its name. */
static void
make_finish(struct dbt_agent *agent)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	W_AUTO(w_free) char *conf = w_xasprintf("%s/postgresql.conf", data);
	struct w_fault fault = { 0 };
	int rc = dbt__agent_include(agent, conf, &fault);

	if (rc == W_OK)
		rc = dbt__agent_write(agent, data, &fault);
	if (rc == W_OK && strcmp(agent->opt->initial, "primary") != 0)
		rc = dbt__agent_standby(agent, data, &fault);
	if (rc == W_OK)
		rc = dbt__agent_commit(agent, &fault);
	if (rc < 0) {
		agent_retry(agent, "making-failed", fault.text);
		return;
	}
	w_log(W_INFO, "", "data-made", "as=%s", agent->opt->initial);
	agent->failures = 0;
	agent_go(agent);
}

static void
make_next(struct dbt_agent *agent)
{
	bool primary = strcmp(agent->opt->initial, "primary") == 0;
	make_step *const *steps = primary ? make_primary : make_replica;
	struct w_fault fault = { 0 };

	if (steps[agent->step] == NULL)
		make_finish(agent);
	else if (steps[agent->step](agent, make_done, &fault) < 0)
		agent_retry(agent, "making-failed", fault.text);
}

static void
make_start(struct dbt_agent *agent)
{
	struct w_fault fault = { 0 };
	int rc = dbt__agent_secrets(agent, &fault);

	if (rc == W_OK)
		rc = dbt__agent_fresh(agent, &fault);
	if (rc < 0) {
		agent_retry(agent, "making-failed", fault.text);
		return;
	}
	agent_enter(agent, A_MAKING);
	agent->step = 0;
	make_next(agent);
}

/* --- running --- */

static void
postgres_gone(struct dbt_agent *agent, bool ok, const char *how)
{
	(void)ok;
	agent->postgres = 0;
	agent->adopted = false;
	agent->view.up = false;
	if (agent->node->state == W_DRAINING)
		return;
	if (w_now() - agent->started > 60 * W_SEC)
		agent->failures = 0;
	agent_retry(agent, "postgres-ended", how);
}

static void
postgres_start(struct dbt_agent *agent)
{
	char *args[] = { "postgres", "-D", (char *)agent->opt->data, NULL };
	struct w_fault fault = { 0 };
	int rc = dbt__agent_secrets(agent, &fault);

	if (rc == W_OK)
		rc = dbt__agent_write(agent, agent->opt->data, &fault);
	if (rc < 0) {
		agent_retry(agent, "postgres-not-started", fault.text);
		return;
	}
	agent_enter(agent, A_RUNNING);
	agent->started = w_now();
	agent->starts++;
	if (child_run(agent, args, NULL, postgres_gone, &agent->postgres) == W_OK)
		w_log(W_INFO, "", "postgres-started", "pid=%lld", (long long)agent->postgres);
}

/* The decision where to go from IDLE: adopt, start, or make. */
static void
agent_go(void *arg)
{
	struct dbt_agent *agent = w_typed(arg, DBT_AGENT_MAGIC);

	if (agent->node->state == W_DRAINING)
		return;
	agent_enter(agent, A_IDLE);
	agent->postgres = dbt__agent_postmaster(agent);
	if (agent->postgres != 0) {
		agent->adopted = true;
		agent->started = w_now();
		agent_enter(agent, A_RUNNING);
		w_log(W_INFO, "", "postgres-adopted", "pid=%lld", (long long)agent->postgres);
	} else if (dbt__agent_has_data(agent)) {
		postgres_start(agent);
	} else {
		make_start(agent);
	}
}

/* --- the role's callbacks, in the order of common/node.h --- */

static int
agent_check(const struct dbt_agent *agent, struct w_fault *fault)
{
	const struct w_database_options *opt = agent->opt;
	W_AUTO(w_free) char *program = w_xasprintf("%s/postgres", opt->bin);

	if (opt->address[0] == '\0')
		return w_fail(fault, -W_EINVAL, "%s: a database node needs the option address",
		    agent->name);
	if (opt->data[0] == '\0')
		return W_OK;
	if (strcmp(opt->initial, "primary") != 0 && strcmp(opt->initial, "replica") != 0)
		return w_fail(fault, -W_EINVAL, "%s: initial is '%s'; it must be primary or replica",
		    agent->name, opt->initial);
	if (access(program, X_OK) < 0)
		return w_fail(fault, -W_EINVAL,
		    "%s: no program %s; install PostgreSQL (Debian: postgresql-15) or set the option bin",
		    agent->name, program);
	return W_OK;
}

static int
agent_prepare(struct w_node *node, struct w_fault *fault)
{
	struct dbt_agent *agent = w_xcalloc(1, sizeof(*agent));
	int rc;

	agent->magic = DBT_AGENT_MAGIC;
	agent->node = node;
	agent->opt = &node->self->opt.database;
	agent->name = node->self->name;
	agent->again.fire = agent_go;
	agent->again.arg = agent;
	node->role = agent;
	rc = agent_check(agent, fault);
	if (rc == W_OK && agent->opt->data[0] != '\0')
		rc = dbt__agent_user(agent, fault);
	if (rc < 0)
		return rc;
	agent->metrics = w_metrics_add(node->metrics, agent_metrics, AGENT_METRIC_COUNT);
	if (agent->opt->data[0] == '\0')
		agent_enter(agent, A_WATCHING);
	else
		w_loop_call(&node->loop, agent_go, agent);
	return W_OK;
}

static bool
agent_ready(struct w_node *node)
{
	struct dbt_agent *agent = w_typed(node->role, DBT_AGENT_MAGIC);

	if (!agent->view.up)
		dbt__agent_probe(agent);
	return agent->view.up;
}

static void
agent_tick(struct w_node *node)
{
	struct dbt_agent *agent = w_typed(node->role, DBT_AGENT_MAGIC);
	const struct agent_view *view = &agent->view;
	const int64_t values[AGENT_METRIC_COUNT] = {
		[M_UP] = view->up,
		[M_PRIMARY] = view->up && view->primary,
		[M_TIMELINE] = view->timeline,
		[M_POSITION] = (int64_t)view->position,
		[M_RECEIVED] = (int64_t)view->received,
		[M_LAG] = (int64_t)(view->lag_seconds * 1e6),
		[M_SESSIONS] = view->sessions,
		[M_STANDBYS] = view->standbys,
		[M_QUORUM] = view->quorum,
		[M_TRANSACTIONS] = (int64_t)view->transactions,
		[M_STARTS] = (int64_t)agent->starts,
	};

	if (agent->adopted && kill((pid_t)agent->postgres, 0) < 0 && errno == ESRCH)
		postgres_gone(agent, false, "the adopted postmaster is gone");
	for (unsigned i = 0; i < AGENT_METRIC_COUNT; i++)
		w_meter_set(node->meter, agent->metrics + i, values[i]);
	dbt__agent_probe(agent);
}

static void
agent_report(struct w_node *node, struct w_json *json)
{
	static const char *const names[] = { "idle", "making", "starting", "running", "waiting",
		"watching" };
	struct dbt_agent *agent = w_typed(node->role, DBT_AGENT_MAGIC);
	const struct agent_view *view = &agent->view;

	w_json_key(json, "agent");
	w_json_text(json, names[agent->state]);
	w_json_key(json, "database");
	w_json_text(json, !view->up ? "none" : view->primary ? "primary" : "replica");
	w_json_key(json, "postgres_pid");
	w_json_int(json, agent->postgres);
	w_json_key(json, "timeline");
	w_json_int(json, view->timeline);
	w_json_key(json, "position");
	w_json_int(json, (int64_t)view->position);
	w_json_key(json, "received");
	w_json_int(json, (int64_t)view->received);
	w_json_key(json, "lag_seconds");
	w_json_real(json, view->lag_seconds);
	w_json_key(json, "sessions");
	w_json_int(json, view->sessions);
	w_json_key(json, "standbys");
	w_json_int(json, view->standbys);
}

/* Whether all that we started, or adopted, has ended and the probe is back. */
static bool
all_ended(struct dbt_agent *agent)
{
	if (agent->adopted && kill((pid_t)agent->postgres, 0) < 0 && errno == ESRCH)
		agent->postgres = 0;
	return agent->children == 0 && agent->postgres == 0 && !agent->probing;
}

/* The control loop has ended; turn it by hand until our children have too. */
static bool
await_end(struct dbt_agent *agent, w_usec wait)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	w_usec deadline = w_now() + wait;

	while (!all_ended(agent)) {
		if (w_now() > deadline)
			return false;
		uv_run(&agent->node->loop.uv, UV_RUN_NOWAIT);
		nanosleep(&pause, NULL);
	}
	return true;
}

static void
signal_children(const struct dbt_agent *agent, int number, const char *mode)
{
	if (agent->maker > 0)
		kill((pid_t)agent->maker, SIGTERM);
	if (agent->postgres > 0) {
		w_log(W_INFO, "", "postgres-stopping", "pid=%lld mode=%s",
		    (long long)agent->postgres, mode);
		kill((pid_t)agent->postgres, number);
	}
}

/* Fast shutdown (SIGINT), then immediate (SIGQUIT): postgres(1), signals. */
static void
agent_finish(struct w_node *node)
{
	struct dbt_agent *agent = node->role;

	if (agent == NULL)
		return;
	w_timer_fini(&agent->again);
	signal_children(agent, SIGINT, "fast");
	if (!await_end(agent, AGENT_STOP_WAIT)) {
		signal_children(agent, SIGQUIT, "immediate");
		await_end(agent, AGENT_STOP_WAIT);
	}
	dbt__agent_probe_fini(agent);
	node->role = NULL;
	free(agent);
}

const struct w_role_ops dbt_agent_role = {
	.role = W_DATABASE,
	.program = "weir-dbnode",
	.summary = "Database agent: makes, runs and watches one PostgreSQL.",
	.prepare = agent_prepare,
	.ready = agent_ready,
	.tick = agent_tick,
	.report = agent_report,
	.finish = agent_finish,
};
