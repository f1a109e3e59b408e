/*
 * Making and mending a data directory: recipes, each a row of child programs and what comes after.
 *
 *	primary  initdb, roles, grants               -> DATA.new gets its name
 *	clone    pg_basebackup                       -> DATA.new gets its name, the old one goes
 *	rewind   (DATA.rewinding is put) pg_rewind   -> DATA.rewinding goes
 *
 * A rewind that fails, or that never ended, leaves data that nobody may use: then it is cloned.
 */
#include <signal.h>
#include <stdio.h>

#include "common/log.h"
#include "dbtier/agent.h"

#define MAKE_BACKOFF_FIRST (200 * W_MSEC)
#define MAKE_BACKOFF_MOST W_SEC /* a replica waits for its primary to be made */

typedef int make_step(struct dbt_agent *agent, child_done *done, struct w_fault *fault);
typedef int make_act(struct dbt_agent *agent, struct w_fault *fault);

struct agent_recipe {
	const char *busy;
	make_act *begin;
	make_step *steps[4]; /* up to NULL */
	make_act *finish;
};

/* ---- steps ---- */

/*
 * Small WAL segments make failovers short: a promotion copies the last one, and a standby that turns to the
 * new timeline gets it again from its start.
 */
static int
step_initdb(struct dbt_agent *agent, child_done *done, struct w_fault *fault W_UNUSED)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	W_AUTO(w_free) char *pw = w_xasprintf("--pwfile=%s.pw", agent->opt->data);
	char *args[] = { "initdb", "-D", data, "--data-checksums", "--auth=scram-sha-256",
		"--username=postgres", pw, "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1", NULL };

	dbt__agent_run(agent, args, NULL, done, &agent->maker.pid);
	return W_OK;
}

/* A single-user session: no port is open yet, nobody can interfere. */
static void
run_single(struct dbt_agent *agent, const char *database, const char *sql, child_done *done)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	char *args[] = { "postgres", "--single", "-j", "-D", data, "-c", "exit_on_error=true", "-c",
		"log_min_messages=error", (char *)database, NULL };

	dbt__agent_run(agent, args, sql, done, &agent->maker.pid);
}

static int
step_roles(struct dbt_agent *agent, child_done *done, struct w_fault *fault)
{
	W_AUTO(w_free) char *sql = dbt__agent_bootstrap(agent, fault);

	if (sql == NULL)
		return -W_EINVAL;
	run_single(agent, "postgres", sql, done);
	return W_OK;
}

static int
step_grants(struct dbt_agent *agent, child_done *done, struct w_fault *fault W_UNUSED)
{
	W_AUTO(w_free) char *sql = dbt__agent_grants(agent);

	run_single(agent, agent->cluster->opt.database, sql, done);
	return W_OK;
}

/* Under another name than its own, so that nobody takes it for a standby. */
static int
step_backup(struct dbt_agent *agent, child_done *done, struct w_fault *fault)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	W_AUTO(w_free) char *upstream =
	    dbt__agent_upstream(agent, agent->promise.upstream, "weir-clone", fault);
	char *args[] = { "pg_basebackup", "-D", data, "-d", upstream, "-X", "stream",
		"--checkpoint=fast", "--no-password", NULL };

	if (upstream == NULL)
		return -W_EINVAL;
	dbt__agent_run(agent, args, NULL, done, &agent->maker.pid);
	return W_OK;
}

static int
step_rewind(struct dbt_agent *agent, child_done *done, struct w_fault *fault)
{
	W_AUTO(w_free) char *data = w_xasprintf("--target-pgdata=%s", agent->opt->data);
	W_AUTO(w_free) char *upstream =
	    dbt__agent_upstream(agent, agent->promise.upstream, "weir-rewind", fault);
	W_AUTO(w_free) char *source = w_xasprintf("--source-server=%s", upstream);
	char *args[] = { "pg_rewind", data, source, NULL };

	if (upstream == NULL)
		return -W_EINVAL;
	dbt__agent_run(agent, args, NULL, done, &agent->maker.pid);
	return W_OK;
}

/* ---- before and after ---- */

static int
begin_new(struct dbt_agent *agent, struct w_fault *fault)
{
	int rc = dbt__agent_secrets(agent, fault);

	return rc < 0 ? rc : dbt__agent_fresh(agent, fault);
}

/* Recovery in a single-user session, which pg_rewind does first, refuses to be a standby's. */
static int
begin_rewind(struct dbt_agent *agent, struct w_fault *fault)
{
	int rc = dbt__agent_secrets(agent, fault);

	if (rc == W_OK)
		rc = dbt__agent_write(agent, agent->opt->data, "", fault);
	if (rc == W_OK)
		rc = dbt__agent_set_torn(agent, true, fault);
	return rc < 0 ? rc : dbt__agent_standby(agent, agent->opt->data, false, fault);
}

static bool is_primary(const struct agent_recipe *recipe);

/* An election came while it was being cloned: it is not empty any more. */
static int
keep_fenced(struct dbt_agent *agent, struct w_fault *fault)
{
	struct dbt_promise promise = agent->promise;

	promise.stage = DBT_FENCED;
	return dbt__agent_promise(agent, &promise, fault);
}

static int
finish_new(struct dbt_agent *agent, struct w_fault *fault)
{
	W_AUTO(w_free) char *data = w_xasprintf("%s.new", agent->opt->data);
	W_AUTO(w_free) char *conf = w_xasprintf("%s/postgresql.conf", data);
	bool primary = is_primary(agent->maker.recipe);
	int rc;

	if (primary && agent->promise.stage != DBT_LEADING)
		return w_fail(fault, -W_ECANCELED, "somebody else leads meanwhile");
	rc = primary ? dbt__agent_strip(agent, conf, fault) : W_OK;
	if (rc == W_OK)
		rc = dbt__agent_include(agent, conf, fault);
	if (rc == W_OK)
		rc = dbt__agent_write(agent, data, "", fault);
	if (rc == W_OK && !primary)
		rc = dbt__agent_standby(agent, data, true, fault);
	if (rc == W_OK)
		rc = dbt__agent_commit(agent, fault);
	if (rc == W_OK && agent->promise.stage == DBT_EMPTY)
		rc = keep_fenced(agent, fault);
	return rc < 0 ? rc : dbt__agent_set_torn(agent, false, fault);
}

static int
finish_rewind(struct dbt_agent *agent, struct w_fault *fault)
{
	W_AUTO(w_free) char *conf = w_xasprintf("%s/postgresql.conf", agent->opt->data);
	int rc = dbt__agent_include(agent, conf, fault);

	if (rc == W_OK)
		rc = dbt__agent_standby(agent, agent->opt->data, true, fault);
	return rc < 0 ? rc : dbt__agent_set_torn(agent, false, fault);
}

static const struct agent_recipe recipes[] = {
	[MAKE_PRIMARY] = { "making", begin_new, { step_initdb, step_roles, step_grants }, finish_new },
	[MAKE_CLONE] = { "cloning", begin_new, { step_backup }, finish_new },
	[MAKE_REWIND] = { "rewinding", begin_rewind, { step_rewind }, finish_rewind },
};

static bool
is_primary(const struct agent_recipe *recipe)
{
	return recipe == &recipes[MAKE_PRIMARY];
}

/* ---- running ---- */

static void make_next(struct dbt_agent *agent);

/* Whatever was made, the agent looks at it anew. */
static void
make_end(struct dbt_agent *agent, int rc, const char *why)
{
	struct agent_maker *maker = &agent->maker;
	const struct agent_recipe *recipe = maker->recipe;

	maker->recipe = NULL;
	if (rc == W_OK) {
		w_log(W_INFO, "", "data-made", "by=%s", recipe->busy);
		maker->failures = 0;
		agent->seen_timeline = 0;
		/* what it was made of is still its upstream? */
		if (!is_primary(recipe) && agent->promise.stage == DBT_FOLLOWING &&
		    strcmp(agent->promise.upstream, maker->upstream) == 0)
			agent->rejoin = VERDICT_TURN;
		dbt__agent_trouble(agent, NULL, NULL);
	} else {
		w_usec wait = MAKE_BACKOFF_FIRST << W_MIN(maker->failures, 3u);

		maker->failures++;
		maker->not_before = w_now() + W_MIN(wait, MAKE_BACKOFF_MOST);
		dbt__agent_trouble(agent, recipe->busy, why);
	}
	agent->pm.failures = 0;
	dbt__agent_soon(agent, 0);
}

static void
make_done(struct dbt_agent *agent, bool ok, const char *how)
{
	agent->maker.pid = 0;
	if (agent->node->state == W_DRAINING)
		return;
	if (!ok) {
		make_end(agent, -W_EIO, how);
		return;
	}
	agent->maker.step++;
	make_next(agent);
}

static void
make_next(struct dbt_agent *agent)
{
	struct agent_maker *maker = &agent->maker;
	make_step *step = maker->recipe->steps[maker->step];
	struct w_fault fault = { 0 };
	int rc;

	if (step == NULL) {
		rc = maker->recipe->finish(agent, &fault);
		make_end(agent, rc, fault.text);
		return;
	}
	rc = step(agent, make_done, &fault);
	if (rc < 0)
		make_end(agent, rc, fault.text);
}

void
dbt__agent_make(struct dbt_agent *agent, enum agent_making what)
{
	struct agent_maker *maker = &agent->maker;
	struct w_fault fault = { 0 };
	int rc;

	W_ASSERT(maker->recipe == NULL);
	maker->recipe = &recipes[what];
	maker->step = 0;
	snprintf(maker->upstream, sizeof(maker->upstream), "%s", agent->promise.upstream);
	agent->busy = maker->recipe->busy;
	dbt__agent_tell(agent, false);
	rc = maker->recipe->begin(agent, &fault);
	if (rc < 0)
		make_end(agent, rc, fault.text);
	else
		make_next(agent);
}
