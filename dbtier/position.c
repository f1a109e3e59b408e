/*
 * Positions: where the primary's log stands after a commit.
 *
 * The question is asked once for all writes that ended in a turn. The first fiber that wants to know
 * asks; others that come before the question is sent wait for its answer; those that come later wait
 * for the next one, which one of them asks when the first is answered.
 *
 * 1. A question that was sent after a commit was acknowledged is answered with a point behind it.
 * 2. No answer in time: the position that only the primary has reached. The write is committed.
 */
#include "dbtier/topology.h"
#include "dbtier/worker.h"

#define ANSWER_MOST W_SEC

struct dbt__position_waiter {
	struct w_list node;
	struct w_fiber *fiber;
	struct dbt_position position;
	bool done, leads;
};

enum { NOW, NEXT };

/* The file that is written names the timeline, also just after a promotion. */
static const struct dbt_stmt position_stmt = { "weir_position",
	"SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int,"
	" pg_current_wal_flush_lsn()", 0 };

/* The position of a row of position_stmt. False: it makes no sense. */
static bool
read_position(const struct dbt_rows *rows, struct dbt_position *ret)
{
	uint64_t timeline;

	if (w_view_u64(dbt_rows_get(rows, 0, 0), UINT32_MAX, &timeline) < 0 ||
	    dbt__lsn_parse(dbt_rows_get(rows, 0, 1), &ret->lsn) < 0)
		return false;
	ret->timeline = (uint32_t)timeline;
	return true;
}

/* Writes go to primaries in force alone, so none was committed on a later timeline than the last one's. */
static struct dbt_position
only_primary(const struct dbt_worker *worker)
{
	return (struct dbt_position){ W_MAX(worker->timeline, 1u), DBT_LSN_PRIMARY };
}

static void
answer_all(struct w_list *waiting, struct dbt_position position)
{
	struct w_list *node;

	while ((node = w_list_shift(waiting)) != NULL) {
		struct dbt__position_waiter *waiter =
		    w_list_entry(node, struct dbt__position_waiter, node);

		waiter->position = position;
		waiter->done = true;
		w_fiber_wake(waiter->fiber);
	}
}

/* Those that came too late for this question share the next. */
static void
pass_lead(struct dbt_worker *worker)
{
	struct w_list *node = w_list_shift(&worker->positions[NEXT]);
	struct dbt__position_waiter *leader;

	worker->leading = node != NULL;
	if (node == NULL)
		return;
	leader = w_list_entry(node, struct dbt__position_waiter, node);
	leader->leads = true;
	worker->position_leader = leader;
	w_fiber_wake(leader->fiber);
	while ((node = w_list_shift(&worker->positions[NEXT])) != NULL)
		w_list_push(&worker->positions[NOW], node);
}

static struct dbt_position
ask(struct dbt_worker *worker, w_usec deadline)
{
	struct dbt__job job = {
		.worker = worker,
		.stmt = &position_stmt,
		.intent = DBT_READ,
		.deadline = W_MIN(deadline, w_now() + ANSWER_MOST),
		.only_primary = true,
		.quiet = true,
	};
	struct dbt_position position = only_primary(worker);
	int rc;

	worker->position_leader = NULL;
	worker->asking = &job;
	dbt__count(worker, DBT_POSITIONS_ASKED);
	rc = dbt__job_run(&job);
	if (rc == -W_ESHUTDOWN)
		return position; /* the worker may be gone */
	if (rc < 0 || !read_position(job.rows, &position))
		dbt__count(worker, DBT_POSITIONS_MISSED);
	dbt_rows_free(&job.rows);
	worker->asking = NULL;
	answer_all(&worker->positions[NOW], position);
	pass_lead(worker);
	return position;
}

/* Apart, since the compiler cannot see that the list has forgotten the waiter when its fiber goes on. */
static __attribute__((noinline)) int
wait_for_answer(struct w_list *list, struct dbt__position_waiter *waiter, w_usec deadline)
{
	w_list_push(list, &waiter->node);
	while (!waiter->done && !waiter->leads) {
		if (w_fiber_park_until(deadline) == W_OK || waiter->done || waiter->leads)
			continue;
		w_list_remove(&waiter->node);
		return -W_ETIMEOUT;
	}
	return W_OK;
}

void
dbt__position_get(struct dbt_worker *worker, w_usec deadline, struct dbt_position *ret)
{
	struct dbt__position_waiter waiter = { .fiber = w_fiber_self() };
	const struct dbt__job *asked;
	bool sent;

	if (!worker->options->positions)
		return;
	if (!worker->leading) {
		worker->leading = true;
		*ret = ask(worker, deadline);
		return;
	}
	/* An answer that its asker has not seen yet is as old as any. */
	asked = worker->asking;
	sent = asked != NULL && (asked->flight != NULL || asked->done);
	if (wait_for_answer(&worker->positions[sent ? NEXT : NOW], &waiter, deadline) < 0)
		*ret = only_primary(worker);
	else
		*ret = waiter.leads ? ask(worker, deadline) : waiter.position;
}

void
dbt__positions_end(struct dbt_worker *worker)
{
	struct dbt_position position = only_primary(worker);

	answer_all(&worker->positions[NOW], position);
	answer_all(&worker->positions[NEXT], position);
	if (worker->position_leader == NULL)
		return;
	/* It was told to ask, and has not run yet. */
	worker->position_leader->position = position;
	worker->position_leader->done = true;
	worker->position_leader->leads = false;
}
