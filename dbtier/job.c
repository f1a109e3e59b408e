/*
 * A job: one statement that a fiber waits for. Here is decided what an answer or a loss means:
 * done, failed, or run again elsewhere.
 *
 * 1. A read may always be run again.
 * 2. A write is run again only when it surely had no effect: it was never sent, or the server
 *    said goodbye before it came to it, or it failed before it was executed.
 * 3. Otherwise a lost write is in doubt, and never anything else.
 */
#include "dbtier/topology.h"
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
	    worker->loop->now - job->start);
}

void
dbt__job_finish(struct dbt__job *job, int rc)
{
	W_ASSERT(!job->done);
	job->done = true;
	job->rc = rc;
	job->lane = NULL;
	job->flight = NULL;
	if (!job->quiet)
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
	if (dbt__job_takes(job) || job->suspect)
		return DBT__SLOW;
	known = dbt__known_index(worker, job->stmt);
	return worker->known[known].slow ? DBT__SLOW : DBT__READ;
}

static void
enqueue(struct dbt__job *job, bool first)
{
	struct dbt_worker *worker = job->worker;
	bool fit = dbt__any_fit(worker, job);
	struct w_list *queue = fit ? dbt__job_queue(job) : &worker->held;

	if (!fit)
		dbt__count(worker, DBT_HELD);
	job->queued = worker->loop->now;
	w_list_push(first ? queue->next : queue, &job->node);
	worker->queued++;
	dbt__move(worker, DBT_QUEUED, 1);
	dbt__tick_on(worker);
}

/* What the position of the job is on the timeline of now. */
static void
need_position(struct dbt__job *job)
{
	if (job->intent != DBT_READ || job->after.lsn == 0)
		return;
	job->needed = dbt__position_needed(dbt_topology_get(job->worker->dbt), job->after);
	if (job->needed == DBT_LSN_PRIMARY)
		job->only_primary = true;
}

int
dbt__job_submit(struct dbt__job *job)
{
	struct dbt_worker *worker = job->worker;
	struct dbt__lane *lane;

	if (worker->stopping)
		return -W_ESHUTDOWN;
	job->class = class_of(job);
	job->grouped = job->grouped && worker->options->write_groups > 0 &&
	    !worker->known[dbt__known_index(worker, job->stmt)].bare;
	need_position(job);
	if (w_list_empty(dbt__job_queue(job))) {
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
	job->portion_here = false; /* it went with the lane */
	if (worker->stopping) {
		dbt__job_finish(job, -W_ESHUTDOWN);
		return;
	}
	dbt__count(worker, DBT_RETRIES);
	job->class = class_of(job);
	need_position(job);
	enqueue(job, true);
	worker->pump = true;
}

/* ---- answers ---- */

static void
fail_sql(struct dbt__job *job, const struct dbt__error *error)
{
	dbt__sql_error_set(job->error, error);
	dbt__job_finish(job, dbt__sqlstate_error(error->sqlstate));
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

/* The node is not as far as the job needs it, or could not say so: the primary is. */
static void
guard_failed(struct dbt__job *job, struct dbt__lane *lane, const struct dbt__flight *flight)
{
	struct dbt_worker *worker = job->worker;

	dbt__count(worker, DBT_GUARDS_FAILED);
	if (strcmp(flight->error->sqlstate, "22012") != 0)
		dbt__lane_forget(lane, flight); /* it was the guard that the server does not know */
	lane->pool->site->guard_after = worker->loop->now + DBT__GUARD_PAUSE;
	job->only_primary = true;
	dbt__job_requeue(job);
}

void
dbt__job_ungroup(struct dbt__job *job)
{
	job->grouped = false;
	dbt__job_requeue(job);
}

static bool
is_forgotten(const char *state)
{
	return strcmp(state, "26000") == 0;
}

/*
 * Was it refused only for the transaction around it, which was rolled back? That of the unit before it was
 * still open; the lane had forgotten the BEGIN; or the statement wants none, or makes the server forget.
 */
static bool
is_wrong_wrap(struct dbt__job *job, struct dbt__lane *lane, const struct dbt__flight *flight)
{
	const char *state = flight->error->sqlstate;
	enum dbt__step step = dbt__flight_step(flight);

	if (strcmp(state, "25P02") == 0)
		return lane->mending && job->tx == NULL && (!flight->wrapped || step == DBT__BEGIN);
	if (!flight->wrapped)
		return false;
	if (is_forgotten(state) && (step == DBT__BEGIN || step == DBT__COMMIT))
		dbt__lane_forget(lane, flight);
	if (is_forgotten(state) && step == DBT__BEGIN)
		return job->tries++ < DBT__TRIES;
	if (strcmp(state, "25001") != 0 && strcmp(state, "2D000") != 0 &&
	    !(is_forgotten(state) && step == DBT__COMMIT))
		return false;
	job->worker->known[flight->known].bare = true;
	return true;
}

static void
answer_error(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight)
{
	const char *state = flight->error->sqlstate;
	bool in_tx = job->tx != NULL && !job->begins;
	enum dbt_role role = lane->pool->site->role;

	if (dbt__flight_step(flight) == DBT__GUARD) {
		guard_failed(job, lane, flight);
		return;
	}
	if (is_wrong_wrap(job, lane, flight)) {
		dbt__job_requeue(job);
		return;
	}
	if (job->handed) {
		fail_sql(job, flight->error);
		return;
	}
	if (!in_tx && job->intent == DBT_READ && strcmp(state, "57014") == 0 &&
	    (lane->canceled || lane->cancel != NULL) && ++job->tries < DBT__TRIES) {
		/* The cancel was meant for a neighbour. */
		dbt__job_requeue(job);
		return;
	}

	if (is_forgotten(state) || dbt__is_stale_plan(flight->error)) {
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
		/* Made read-only to be drained: it was not executed. */
		bool again = job->refused;

		job->refused = true;
		dbt__refused(lane->pool->site, again ? DBT__STUCK : 0);
		dbt__job_requeue(job);
		/* Somebody may have said so in this session. Writes behind this one would be in doubt if it went. */
		lane->spoilt |= again;
		return;
	}
	if (!in_tx && job->intent == DBT_WRITE && dbt__is_no_room(state)) {
		/* It was rolled back. There may be room soon, or another primary. */
		dbt__refused(lane->pool->site, DBT__NO_ROOM);
		dbt__job_requeue(job);
		return;
	}
	fail_sql(job, flight->error);
}

void
dbt__job_answer(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight)
{
	struct dbt_worker *worker = job->worker;
	const struct dbt__site *site = lane->pool->site;

	if (dbt__job_takes(job) && (flight->error != NULL || job->portion > 0) &&
	    lane->state == DBT__OPEN) {
		/* It takes no lane after all, or needs it no longer. */
		lane->taken = false;
		lane->pool->taken--;
	}
	if (flight->error != NULL && dbt__flight_step(flight) == DBT__POSITION)
		dbt__lane_forget(lane, flight); /* it is committed; the server may have forgotten the question */
	else if (flight->error != NULL) {
		answer_error(job, lane, flight);
		return;
	}
	if (flight->unreplicated) {
		dbt__job_finish(job, -W_EINDOUBT);
		return;
	}
	if (flight->too_big) {
		dbt__job_finish(job, -W_ETOOBIG);
		return;
	}
	job->rows = w_steal(&flight->rows);
	job->rows->node = site->name;
	job->rows->role = site->role;
	job->rows->time = worker->loop->now - job->start;
	if (flight->asked)
		job->rows->position = dbt__position_of(worker, flight);
	if (!job->quiet)
		w_meter_add(worker->meter, site->metric, 1);
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
	return !first || !flight->complete;
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
	if (job->handed)
		return -W_ELOST;
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
		if (dbt__job_takes(job)) {
			lane->taken = false;
			lane->pool->taken--;
		}
		dbt__job_finish(job, -W_ETIMEOUT);
		return;
	}
	job->flight->job = NULL;
	if (dbt__job_alone(job)) {
		/* Nobody can say any more what state it is in. */
		int rc = job->commits && job->intent == DBT_WRITE ? -W_EINDOUBT : -W_ETIMEOUT;

		dbt__job_finish(job, rc);
		dbt__lane_lose(lane, "a transaction over its deadline");
		return;
	}
	/* A write that may be committing is left alone; a read need not go on. */
	if (job->intent == DBT_READ && job->flight == dbt__lane_flight(lane, 0))
		dbt__lane_cancel(lane);
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
	while (!job->done && !job->portion_here) {
		if (w_fiber_park_until(job->deadline) < 0 && !job->done)
			give_up(job);
	}
}

int
dbt__job_start(struct dbt__job *job)
{

	if (!job->describes && has_nul(job->stmt, job->params))
		return -W_EINVAL; /* PostgreSQL's text has no NUL */
	job->fiber = w_fiber_self();
	W_ASSERT(job->fiber != NULL);
	job->start = job->worker->loop->now;
	job->deadline = W_MIN(job->deadline,
	    job->start + (w_usec)job->worker->options->query_timeout);
	w_list_init(&job->node);
	if (job->tx == NULL || job->begins)
		return dbt__job_submit(job);
	dbt__tx_give(job->tx, job);
	return W_OK;
}

int
dbt__job_wait(struct dbt__job *job)
{
	wait_for(job);
	return job->rc;
}

int
dbt__job_run(struct dbt__job *job)
{
	int rc = dbt__job_start(job);

	return rc < 0 ? rc : dbt__job_wait(job);
}

static int
run_once(struct dbt_worker *worker, const struct dbt_query *query, struct dbt_rows **ret,
    struct dbt_sql_error *error)
{
	struct dbt__job job = {
		.worker = worker,
		.stmt = query->stmt,
		.params = query->params,
		.error = error,
		.intent = query->intent,
		.deadline = query->deadline,
		.after = query->after,
		.grouped = query->intent == DBT_WRITE && query->grouped,
		.positioned = query->intent == DBT_WRITE && worker->options->positions,
	};
	int rc = dbt__job_run(&job);

	if (rc == W_OK)
		*ret = job.rows;
	return rc;
}

int
dbt_run(struct dbt_worker *worker, const struct dbt_query *query, struct dbt_rows **ret,
    struct dbt_sql_error *error)
{
	bool once = query->intent == DBT_WRITE && query->once != NULL;
	int rc;

	if (error != NULL)
		*error = (struct dbt_sql_error){ 0 };
	rc = once ? dbt__once_run(worker, query, ret, error) :
	    run_once(worker, query, ret, error);
	if (rc == W_OK && query->intent == DBT_WRITE && worker->options->positions &&
	    (*ret)->position.lsn == 0)
		(*ret)->position = dbt__position_ask(worker, query->deadline);
	return rc;
}

/* ---- in portions ---- */

#define PORTION 256 /* rows */

/* Hand over what is there; go on as long as the caller wants more. */
static int
hand_over(struct dbt__job *job, dbt_rows_fn *each, void *arg)
{
	struct dbt__lane *lane = job->lane;
	int rc = W_OK;

	job->handed = true;
	while (rc == W_OK && !job->done) {
		/* The lane may go while the rows are used. */
		W_AUTO(dbt_rows_free) struct dbt_rows *rows = w_steal(&job->flight->rows);

		rows->node = lane->pool->site->name;
		rows->role = lane->pool->site->role;
		rc = each(rows, arg);
		if (job->done)
			break;
		dbt__rows_clear(rows);
		job->flight->rows = w_steal(&rows);
		job->portion_here = false;
		job->deadline = w_now() + (w_usec)job->worker->options->query_timeout;
		dbt__lane_next(lane, rc == W_OK);
		(void)dbt__job_wait(job);
	}
	return rc;
}

int
dbt_each(struct dbt_worker *worker, const struct dbt_query *query, dbt_rows_fn *each, void *arg,
    struct dbt_sql_error *error)
{
	struct dbt__job job = {
		.worker = worker,
		.stmt = query->stmt,
		.params = query->params,
		.error = error,
		.intent = DBT_READ,
		.deadline = query->deadline,
		.after = query->after,
		.portion = PORTION,
	};
	int rc, stopped;

	if (error != NULL)
		*error = (struct dbt_sql_error){ 0 };
	rc = dbt__job_run(&job);
	stopped = job.portion_here ? hand_over(&job, each, arg) : W_OK;
	rc = job.done ? job.rc : rc;
	if (rc == W_OK && stopped == W_OK && dbt_rows_count(job.rows) > 0)
		stopped = each(job.rows, arg);
	dbt_rows_free(&job.rows);
	return rc < 0 ? rc : stopped;
}
