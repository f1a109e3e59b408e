/*
 * A job: one statement that a fiber waits for. Here is decided what an answer or a loss means:
 * done, failed, or run again elsewhere.
 *
 * 1. A read may always be run again.
 * 2. A write is run again only when it surely had no effect: it was never sent, or the server
 *    said goodbye before it came to it, or it failed before it was executed.
 * 3. Otherwise a lost write is in doubt, and never anything else.
 */
#include "dbtier/sqlstate.h"
#include "dbtier/worker.h"

/* ---- done ---- */

static void
count_job(const struct dbt__job *job, int rc)
{
	struct dbt_worker *worker = job->worker;
	bool read = job->intent == DBT_READ;

	if (rc == W_OK)
		dbt__count(worker, read ? DBT_READS_OK : DBT_WRITES_OK);
	else
		dbt__count(worker, read ? DBT_READS_FAILED : DBT_WRITES_FAILED);
	if (rc == -W_ETIMEOUT)
		dbt__count(worker, DBT_TIMEOUTS);
	else if (rc == -W_EINDOUBT)
		dbt__count(worker, DBT_IN_DOUBT);
	w_meter_observe(worker->meter, worker->metrics + (read ? DBT_READ_TIME : DBT_WRITE_TIME),
	    job->took);
}

void
dbt__job_finish(struct dbt__job *job, int rc)
{
	W_ASSERT(!job->done);
	job->done = true;
	job->rc = rc;
	job->lane = NULL;
	job->flight = NULL;
	job->took = job->worker->loop->now - job->start;
	count_job(job, rc);
	w_fiber_wake(job->fiber);
}

void
dbt__job_unqueue(struct dbt__job *job)
{
	struct dbt_worker *worker = job->worker;

	w_list_remove(&job->node);
	w_meter_observe(worker->meter, worker->metrics + DBT_WAIT_TIME,
	    worker->loop->now - job->queued);
	job->queued = 0;
	worker->queued--;
	dbt__move(worker, DBT_QUEUED, -1);
}

/* ---- waiting ---- */

static enum dbt__class
class_of(const struct dbt__job *job)
{
	struct dbt_worker *worker = job->worker;
	unsigned known;

	if (job->intent == DBT_WRITE)
		return DBT__WRITE;
	if (job->begins)
		return DBT__SLOW;
	known = dbt__known_index(worker, job->stmt);
	return worker->known[known].slow ? DBT__SLOW : DBT__READ;
}

static void
enqueue(struct dbt__job *job, bool first)
{
	struct dbt_worker *worker = job->worker;
	struct w_list *queue = &worker->queue[job->class];

	if (!dbt__any_fit(worker, job))
		dbt__count(worker, DBT_HELD);
	job->queued = worker->loop->now;
	w_list_push(first ? queue->next : queue, &job->node);
	worker->queued++;
	dbt__move(worker, DBT_QUEUED, 1);
	dbt__tick_on(worker);
}

int
dbt__job_submit(struct dbt__job *job)
{
	struct dbt_worker *worker = job->worker;
	struct dbt__lane *lane;

	if (worker->stopping)
		return -W_ESHUTDOWN;
	job->class = class_of(job);
	if (w_list_empty(&worker->queue[job->class])) {
		lane = dbt__pick(worker, job);
		if (lane != NULL) {
			dbt__lane_give(lane, job);
			dbt__tick_on(worker);
			return W_OK;
		}
	}
	if (worker->queued >= worker->options->db_queue) {
		dbt__count(worker, DBT_REFUSED);
		return -W_EBUSY;
	}
	enqueue(job, false);
	worker->pump = true;
	return W_OK;
}

void
dbt__job_requeue(struct dbt__job *job)
{
	struct dbt_worker *worker = job->worker;

	job->lane = NULL;
	job->flight = NULL;
	if (worker->stopping) {
		dbt__job_finish(job, -W_ESHUTDOWN);
		return;
	}
	dbt__count(worker, DBT_RETRIES);
	job->class = class_of(job);
	enqueue(job, true);
	worker->pump = true;
}

/* ---- answers ---- */

static void
fail_sql(struct dbt__job *job, const PGresult *error)
{
	dbt__sql_error_set(job->error, error);
	dbt__job_finish(job, dbt__sqlstate_error(dbt__sqlstate_of(error)));
}

static void
run_again(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight)
{
	dbt__lane_forget(lane, flight);
	if (job->tx != NULL && !job->begins) {
		/* It is aborted now; run again from its start it would do. */
		dbt__sql_error_set(job->error, flight->error);
		dbt__job_finish(job, -W_ESERIAL);
		return;
	}
	if (job->unnamed) {
		fail_sql(job, flight->error);
		return;
	}
	/* Once without a name, so that it depends on nobody who prepares it, or fails to. */
	job->unnamed = true;
	dbt__job_requeue(job);
}

static void
answer_error(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight)
{
	const char *state = dbt__sqlstate_of(flight->error);
	bool in_tx = job->tx != NULL && !job->begins;
	enum dbt_role role = job->worker->roles[lane->pool->node];

	if (strcmp(state, "26000") == 0 || dbt__is_stale_plan(flight->error)) {
		run_again(job, lane, flight);
		return;
	}
	if (!in_tx && job->intent == DBT_READ && role == DBT_REPLICA && !job->only_primary &&
	    dbt__is_standby_only(state)) {
		job->only_primary = true;
		dbt__job_requeue(job);
		return;
	}
	if (!in_tx && job->intent == DBT_WRITE && strcmp(state, "25006") == 0) {
		/* Demoted, or made read-only to be drained: it was not executed. */
		lane->pool->retry_at = w_now() + DBT__STUCK;
		dbt__job_requeue(job);
		dbt__lane_lose(lane, "the node takes no writes any more");
		return;
	}
	fail_sql(job, flight->error);
}

void
dbt__job_answer(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight)
{
	struct dbt_worker *worker = job->worker;
	unsigned node = lane->pool->node;

	if (job->begins && flight->error != NULL && lane->state == DBT__OPEN) {
		/* It takes no lane after all. */
		lane->taken = false;
		lane->pool->taken--;
	}
	if (flight->error != NULL) {
		answer_error(job, lane, flight);
		return;
	}
	if (flight->unreplicated) {
		dbt__job_finish(job, -W_EINDOUBT);
		return;
	}
	if (PQresultMemorySize(flight->result) > worker->options->max_rows_bytes) {
		dbt__count(worker, DBT_TOO_BIG);
		dbt__job_finish(job, -W_ETOOBIG);
		return;
	}
	job->result = w_steal(&flight->result);
	job->node_name = worker->names[node];
	job->role = worker->roles[node];
	w_meter_add(worker->meter,
	    worker->metrics + dbt__node_metric(DBT_NODE_QUERIES, worker->nodes, node), 1);
	if (job->begins)
		dbt__tx_begun(job->tx, lane);
	dbt__job_finish(job, W_OK);
}

/* ---- losses ---- */

/*
 * Did the server surely not do it? Its goodbye comes in order with the results: what stands
 * before it in the row was done, what stands behind it was never looked at. The head itself was
 * aborted, unless it had a result already and was on its way to commit.
 */
static bool
surely_not_done(const struct dbt__lane *lane, const struct dbt__flight *flight, bool first)
{
	if (flight == NULL)
		return true;
	if (!lane->ended)
		return false;
	return !first || flight->result == NULL;
}

static int
loss_of(const struct dbt__job *job, bool not_done)
{
	bool write = job->intent == DBT_WRITE;

	/* What was not committed is rolled back with the connection. */
	if (job->tx != NULL && !job->begins)
		return job->commits && write && job->flight != NULL ? -W_EINDOUBT : -W_ELOST;
	if (write && !not_done && !job->begins)
		return -W_EINDOUBT;
	if (job->worker->stopping)
		return -W_ESHUTDOWN;
	return !write && !not_done && job->tries >= DBT__TRIES ? -W_ELOST : W_OK;
}

void
dbt__job_lost(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight, bool first)
{
	bool not_done = surely_not_done(lane, flight, first);
	int rc;

	/* Those behind the head have no part in its end. */
	job->tries += first && !not_done;
	rc = loss_of(job, not_done);
	if (rc == W_OK) {
		dbt__job_requeue(job);
		return;
	}
	if (flight != NULL)
		dbt__sql_error_set(job->error, flight->error);
	dbt__job_finish(job, rc);
}

/* ---- running ---- */

/* Its deadline has passed. */
static void
give_up(struct dbt__job *job)
{
	struct dbt__lane *lane = job->lane;
	bool fit = dbt__any_fit(job->worker, job);

	if (lane == NULL) {
		dbt__job_unqueue(job);
		dbt__job_finish(job, fit ? -W_ETIMEOUT : -W_EDOWN);
		return;
	}
	if (job->flight == NULL) {
		w_list_remove(&job->node);
		lane->todo_count--;
		if (job->begins) {
			lane->taken = false;
			lane->pool->taken--;
		}
		dbt__job_finish(job, -W_ETIMEOUT);
		return;
	}
	job->flight->job = NULL;
	if (job->tx != NULL) {
		/* Nobody can say any more what state it is in. */
		int rc = job->commits && job->intent == DBT_WRITE ? -W_EINDOUBT : -W_ETIMEOUT;

		dbt__job_finish(job, rc);
		dbt__lane_lose(lane, "a transaction over its deadline");
		return;
	}
	dbt__job_finish(job, job->intent == DBT_WRITE ? -W_EINDOUBT : -W_ETIMEOUT);
}

static bool
has_nul(const struct dbt_stmt *stmt, const struct w_view *params)
{
	for (unsigned i = 0; i < stmt->params; i++) {
		if (params[i].len > 0 && memchr(params[i].ptr, '\0', params[i].len) != NULL)
			return true;
	}
	return false;
}

static void
wait_for(struct dbt__job *job)
{
	while (!job->done) {
		if (w_fiber_park_until(job->deadline) < 0 && !job->done)
			give_up(job);
	}
}

int
dbt__job_run(struct dbt__job *job)
{
	int rc;

	if (has_nul(job->stmt, job->params))
		return -W_EINVAL; /* PostgreSQL's text has no NUL */
	job->fiber = w_fiber_self();
	W_ASSERT(job->fiber != NULL);
	job->start = job->worker->loop->now;
	job->deadline = W_MIN(job->deadline,
	    job->start + (w_usec)job->worker->options->query_timeout);
	w_list_init(&job->node);
	if (job->tx != NULL && !job->begins) {
		dbt__tx_give(job->tx, job);
	} else {
		rc = dbt__job_submit(job);
		if (rc < 0)
			return rc;
	}
	wait_for(job);
	return job->rc;
}

int
dbt_run(struct dbt_worker *worker, const struct dbt_query *query, struct dbt_rows **ret,
    struct dbt_sql_error *error)
{
	struct dbt__job job = {
		.worker = worker,
		.stmt = query->stmt,
		.params = query->params,
		.error = error,
		.intent = query->intent,
		.deadline = query->deadline,
	};
	int rc;

	if (error != NULL)
		*error = (struct dbt_sql_error){ 0 };
	rc = dbt__job_run(&job);
	if (rc < 0)
		return rc;
	*ret = dbt__rows_make(&job);
	return W_OK;
}
