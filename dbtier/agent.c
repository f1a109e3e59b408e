/*
 * The process of the database agent: the postmaster, child programs, the role's callbacks. What is
 * done with PostgreSQL, and why, is in agent_reconcile.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "dbtier/agent.h"

#define AGENT_STOP_WAIT (30 * W_SEC) /* for a fast shutdown when the agent ends; then an immediate one */
#define STOP_FAST (5 * W_SEC)        /* for one that is to be rewound or cloned */
#define STOP_IMMEDIATE W_SEC
#define STEADY (60 * W_SEC) /* who ran for so long has not failed at the start */

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

/* ---- child programs ---- */

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

	w_loop_enter(&child->agent->node->loop);
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

void
dbt__agent_run(struct dbt_agent *agent, char **args, const char *input, child_done *done, int64_t *ret_pid)
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
		w_node_calm(child->process.pid);
		if (ret_pid != NULL)
			*ret_pid = child->process.pid;
		return;
	}
	snprintf(child->how, sizeof(child->how), "cannot start %s: %s", program, uv_strerror(rc));
	uv_close((uv_handle_t *)&child->process, child_closed);
}

/* ---- the postmaster ---- */

static void
postgres_gone(struct dbt_agent *agent, bool ok, const char *how)
{
	struct agent_postmaster *pm = &agent->pm;
	bool wanted = pm->stopping != 0;

	(void)ok;
	pm->failures = wanted || w_now() - pm->started > STEADY ? 0 : pm->failures + 1;
	snprintf(pm->ended, sizeof(pm->ended), "%s%s", how, wanted ? ", as its agent asked" : "");
	w_log(wanted ? W_INFO : W_WARN, "", "postgres-ended", "pid=%lld why=\"%s\"", (long long)pm->pid,
	    pm->ended);
	pm->pid = 0;
	pm->adopted = false;
	pm->stopping = 0;
	pm->halted = 0;
	pm->ended_at = w_now();
	dbt__agent_forget(agent);
	if (pm->failures > 1)
		dbt__agent_trouble(agent, "PostgreSQL ends again and again, see its log", how);
	if (agent->node->state != W_DRAINING)
		dbt__agent_turn(agent);
}

int
dbt__agent_start(struct dbt_agent *agent, const char *upstream, struct w_fault *fault)
{
	struct agent_postmaster *pm = &agent->pm;
	char *args[] = { "postgres", "-D", (char *)agent->opt->data, NULL };
	int rc = dbt__agent_secrets(agent, fault);

	if (rc == W_OK)
		rc = dbt__agent_write(agent, agent->opt->data, upstream, fault);
	if (rc == W_OK)
		rc = dbt__timelines_tidy(agent->opt->data, agent->uid, agent->gid, fault);
	if (rc < 0)
		return rc;
	dbt__agent_unlock(agent);
	snprintf(agent->conf_upstream, sizeof(agent->conf_upstream), "%s", upstream);
	snprintf(agent->conf_cohort, sizeof(agent->conf_cohort), "%s", dbt__agent_cohort(agent));
	agent->conf_term = agent->promise.term;
	agent->conf_drained = false;
	pm->as_primary = !dbt__agent_is_standby(agent);
	pm->started = w_now();
	pm->starts++;
	dbt__agent_run(agent, args, NULL, postgres_gone, &pm->pid);
	w_log(W_INFO, "", "postgres-started", "pid=%lld as=%s upstream=%s", (long long)pm->pid,
	    pm->as_primary ? "primary" : "standby", upstream[0] != '\0' ? upstream : "none");
	return W_OK;
}

void
dbt__agent_stop(struct dbt_agent *agent, int number)
{
	/* each is harder than the one before */
	static const int order[] = { 0, SIGINT, SIGQUIT, SIGKILL };
	struct agent_postmaster *pm = &agent->pm;
	size_t before = 0, now = 0;

	for (size_t i = 0; i < W_NELEM(order); i++) {
		before = order[i] == pm->stopping ? i : before;
		now = order[i] == number ? i : now;
	}
	if (pm->pid == 0 || now <= before)
		return;
	w_log(W_INFO, "", "postgres-stopping", "pid=%lld signal=%d", (long long)pm->pid, number);
	pm->stopping = number;
	pm->stop_since = w_now();
	/* Its children would go on for a moment without it, or, halted, for ever. */
	if (number == SIGKILL)
		dbt__proc_signal(agent->opt->data, SIGKILL);
	kill((pid_t)pm->pid, number);
}

void
dbt__agent_reload(struct dbt_agent *agent)
{
	agent->unread = 0;
	if (agent->pm.pid != 0)
		kill((pid_t)agent->pm.pid, SIGHUP);
}

/* Of one that is not our child nobody tells us. */
static void
watch_adopted(struct dbt_agent *agent)
{
	char state = dbt__proc_state(agent->pm.pid);

	if (agent->pm.adopted && (state == 0 || state == 'Z'))
		postgres_gone(agent, false, "the adopted postmaster is gone");
}

void
dbt__agent_watch(struct dbt_agent *agent)
{
	struct agent_postmaster *pm = &agent->pm;
	char state;

	watch_adopted(agent);
	if (pm->pid == 0)
		return;
	state = dbt__proc_state(pm->pid);
	if (state != 'T' && state != 't')
		pm->halted = 0;
	else if (pm->halted == 0)
		pm->halted = w_now();
	if (pm->stopping == 0 && dbt__proc_is_stopping(agent->opt->data)) {
		/* In a smart shutdown it serves whom it has and nobody else, standbys included, for who knows how long. */
		w_log(W_WARN, "", "postgres-told-to-stop", "by=\"somebody else\"");
		dbt__agent_stop(agent, SIGINT);
	}
	if (pm->stopping == SIGINT && w_now() - pm->stop_since > STOP_FAST)
		dbt__agent_stop(agent, SIGQUIT);
	if (pm->stopping == SIGQUIT && w_now() - pm->stop_since > STOP_IMMEDIATE)
		dbt__agent_stop(agent, SIGKILL);
}

/* ---- the role's callbacks, in the order of common/node.h ---- */

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

/* What the data are when no promise lies beside them: a standby is fenced, a primary leads. */
static int
take_over(struct dbt_agent *agent, struct w_fault *fault)
{
	struct dbt_promise promise = { 0 };
	uint32_t timeline = 1, highest = 1;
	char system[32];
	int rc = dbt__agent_control_file(agent, &timeline, system, fault);

	if (rc == W_OK)
		rc = dbt__timelines_highest(agent->opt->data, &highest, fault);
	if (rc < 0)
		return rc;
	promise.term = W_MAX(timeline, highest);
	snprintf(promise.promoter, sizeof(promise.promoter), "none/0");
	promise.stage = dbt__agent_is_standby(agent) ? DBT_FENCED : DBT_LEADING;
	snprintf(promise.cohort.names, sizeof(promise.cohort.names), "%s", agent->configured);
	w_log(W_INFO, "", "data-taken-over", "term=%u stage=%s", promise.term, dbt_stage_name(promise.stage));
	return dbt__agent_promise(agent, &promise, fault);
}

static void
adopt(struct dbt_agent *agent)
{
	struct agent_postmaster *pm = &agent->pm;

	pm->pid = dbt__proc_postmaster(agent->opt->data);
	if (pm->pid == 0)
		return;
	pm->adopted = true;
	pm->as_primary = !dbt__agent_is_standby(agent);
	pm->started = w_now();
	w_log(W_INFO, "", "postgres-adopted", "pid=%lld", (long long)pm->pid);
}

/* A promise of a version that had the cohort from the cluster file. */
static int
complete(struct dbt_agent *agent, struct w_fault *fault)
{
	struct dbt_promise promise = agent->promise;

	if (promise.term == 0 || promise.cohort.names[0] != '\0')
		return W_OK;
	snprintf(promise.cohort.names, sizeof(promise.cohort.names), "%s", agent->configured);
	return dbt__agent_promise(agent, &promise, fault);
}

/* The promise, or what stands for it. Errors make an agent that does nothing but say so. */
static void
recall(struct dbt_agent *agent)
{
	struct w_fault fault = { 0 };
	int rc = dbt__promise_load(agent->promise_path, &agent->promise, &fault);

	if (rc == -W_ENOTFOUND)
		rc = dbt__agent_has_data(agent) ? take_over(agent, &fault) : W_OK;
	else if (rc == W_OK)
		rc = complete(agent, &fault);
	if (rc < 0) {
		agent->lost = true;
		dbt__agent_trouble(agent, "promise", fault.text);
	}
	/* who has turned to its upstream has nothing that did not come from there */
	if (agent->promise.stage == DBT_FOLLOWING && dbt__agent_has_turned(agent))
		agent->rejoin = VERDICT_TURN;
}

static int
configured_of(const struct w_cluster *cluster, char ret[DBT_COHORT], struct w_fault *fault)
{
	struct dbt_members members;
	int rc = dbt_cohort_format(cluster, ret);

	if (rc == W_OK)
		rc = dbt_cohort_parse(ret, &members);
	return rc == W_OK ? rc : w_fail(fault, rc, "the cluster file has too many databases");
}

static int
start_managing(struct dbt_agent *agent, struct w_fault *fault)
{
	int rc = dbt__agent_user(agent, fault);

	if (rc == W_OK)
		rc = configured_of(agent->cluster, agent->configured, fault);
	if (rc < 0)
		return rc;
	agent->promise_path = w_xasprintf("%s.promise", agent->opt->data);
	snprintf(agent->conf_upstream, sizeof(agent->conf_upstream), DBT_UNKNOWN);
	agent->again.fire = dbt__agent_turn;
	agent->again.arg = agent;
	recall(agent);
	adopt(agent);
	rc = dbt__agent_control_start(agent, fault);
	if (rc == W_OK)
		dbt__agent_soon(agent, 0);
	return rc;
}

static int
agent_prepare(struct w_node *node, struct w_fault *fault)
{
	struct dbt_agent *agent = w_xcalloc(1, sizeof(*agent));
	int rc;

	agent->magic = DBT_AGENT_MAGIC;
	agent->node = node;
	agent->shown = *node->cluster;
	agent->cluster = &agent->shown;
	agent->self = node->self;
	agent->own = node->self->opt.database;
	agent->opt = &agent->own;
	agent->name = node->self->name;
	agent->observes = agent->opt->data[0] == '\0';
	node->role = agent;
	rc = agent_check(agent, fault);
	if (rc == W_OK && !agent->observes)
		rc = start_managing(agent, fault);
	if (rc < 0)
		return rc;
	agent->metrics = w_metrics_add(node->metrics, agent_metrics, AGENT_METRIC_COUNT);
	return W_OK;
}

/* The checks that may fail; the rest waits until nobody on the thread pool looks at the one before. */
static int
agent_reload(struct w_node *node, struct w_fault *fault)
{
	struct dbt_agent *agent = w_typed(node->role, DBT_AGENT_MAGIC);
	char configured[DBT_COHORT];
	int rc = configured_of(node->cluster, configured, fault);

	if (rc < 0)
		return rc;
	agent->reload = true;
	if (!agent->observes)
		dbt__agent_turn(agent);
	return W_OK;
}

static bool
agent_ready(struct w_node *node)
{
	struct dbt_agent *agent = w_typed(node->role, DBT_AGENT_MAGIC);

	if (!agent->observes)
		return agent->up;
	if (!agent->view.up)
		dbt__agent_probe(agent);
	return agent->view.up;
}

/* The probe's figures are a second old; what the agent looks at itself is newer. */
static struct agent_view
view_now(const struct dbt_agent *agent)
{
	struct agent_view view = agent->view;

	if (agent->observes)
		return view;
	view.up = dbt__agent_state(agent) == DBT_PG_UP;
	view.primary = view.up && !agent->look.recovery;
	if (view.up) {
		view.timeline = agent->look.timeline;
		view.received = agent->look.recovery ? W_MAX(view.received, agent->look.lsn) : 0;
		view.position = view.primary ? agent->look.lsn : view.position;
	}
	return view;
}

static void
agent_tick(struct w_node *node)
{
	struct dbt_agent *agent = w_typed(node->role, DBT_AGENT_MAGIC);
	const struct agent_view view = view_now(agent);
	const int64_t values[AGENT_METRIC_COUNT] = {
		[M_UP] = view.up,
		[M_PRIMARY] = view.up && view.primary,
		[M_TIMELINE] = view.timeline,
		[M_POSITION] = (int64_t)view.position,
		[M_RECEIVED] = (int64_t)view.received,
		[M_LAG] = (int64_t)(view.lag_seconds * 1e6),
		[M_SESSIONS] = view.sessions,
		[M_STANDBYS] = view.standbys,
		[M_QUORUM] = view.quorum,
		[M_TRANSACTIONS] = (int64_t)view.transactions,
		[M_STARTS] = (int64_t)agent->pm.starts,
	};

	for (unsigned i = 0; i < AGENT_METRIC_COUNT; i++)
		w_meter_set(node->meter, agent->metrics + i, values[i]);
	if (agent->observes || agent->up)
		dbt__agent_probe(agent);
}

static void
put_int(struct w_json *json, const char *key, int64_t value)
{
	w_json_key(json, key);
	w_json_int(json, value);
}

static void
put_text(struct w_json *json, const char *key, const char *value)
{
	w_json_key(json, key);
	w_json_text(json, value);
}

static void
agent_report(struct w_node *node, struct w_json *json)
{
	struct dbt_agent *agent = w_typed(node->role, DBT_AGENT_MAGIC);
	const struct agent_view view = view_now(agent);

	put_text(json, "agent", agent->observes ? "watching" :
	    agent->busy != NULL ? agent->busy : dbt_stage_name(agent->promise.stage));
	put_text(json, "database", !view.up ? "none" : view.primary ? "primary" : "replica");
	put_int(json, "postgres_pid", agent->pm.pid);
	put_int(json, "timeline", view.timeline);
	put_int(json, "position", (int64_t)view.position);
	put_int(json, "received", (int64_t)view.received);
	w_json_key(json, "lag_seconds");
	w_json_real(json, view.lag_seconds);
	put_int(json, "sessions", view.sessions);
	put_int(json, "standbys", view.standbys);
}

/* Whether all that we started, or adopted, has ended and the thread pool is back. */
static bool
all_ended(struct dbt_agent *agent)
{
	watch_adopted(agent);
	return agent->children == 0 && agent->pm.pid == 0 && !agent->probing && !agent->piece.running;
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

/* Fast shutdown (SIGINT), then immediate (SIGQUIT): postgres(1), signals. Then none of its choice. */
static void
agent_finish(struct w_node *node)
{
	static const int harder[] = { SIGINT, SIGQUIT, SIGKILL };
	struct dbt_agent *agent = node->role;

	if (agent == NULL)
		return;
	w_timer_fini(&agent->again);
	/* what is frozen hears the last one only */
	for (size_t i = dbt__agent_state(agent) == DBT_PG_FROZEN ? 2 : 0; i < W_NELEM(harder); i++) {
		if (agent->maker.pid > 0)
			kill((pid_t)agent->maker.pid, SIGTERM);
		dbt__agent_stop(agent, harder[i]);
		if (await_end(agent, AGENT_STOP_WAIT))
			break;
	}
	dbt__agent_control_stop(agent);
	dbt__agent_probe_fini(agent);
	dbt__agent_sql_fini(agent);
	node->role = NULL;
	free(agent->promise_path);
	free(agent);
}

const struct w_role_ops dbt_agent_role = {
	.role = W_DATABASE,
	.urgent = true,
	.program = "weir-dbnode",
	.summary = "Database agent: makes, runs and watches one PostgreSQL.",
	.prepare = agent_prepare,
	.ready = agent_ready,
	.reload = agent_reload,
	.tick = agent_tick,
	.report = agent_report,
	.finish = agent_finish,
};
