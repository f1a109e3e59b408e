/*
 * Positions: where the primary's log stands after a commit.
 *
 * The unit of a write has a transaction of its own and asks behind its COMMIT (lane.c): one round trip,
 * one message of the server, one wakeup of each side. What PostgreSQL lets run in no such transaction (VACUUM, a
 * procedure that commits) is followed by a question of its own.
 *
 * 1. A question that was executed after a commit is answered with a point behind it.
 * 2. No answer in time: the position that only the primary has reached. The write is committed.
 */
#include "dbtier/topology.h"
#include "dbtier/worker.h"

#define ANSWER_MOST W_SEC
#define TIMELINE_DIGITS 8

/* The file that is written names the timeline, also just after a promotion. */
const struct dbt_stmt dbt__position_stmt = { "weir_position",
	"SELECT pg_walfile_name(pg_current_wal_insert_lsn()), pg_current_wal_flush_lsn()", 0 };

static int
read_values(struct w_view file, struct w_view lsn, struct dbt_position *ret)
{
	char timeline[TIMELINE_DIGITS + 1];

	if (file.len < TIMELINE_DIGITS ||
	    w_view_copy(w_view_sub(file, 0, TIMELINE_DIGITS), timeline, sizeof(timeline)) < 0 ||
	    dbt__lsn_parse(lsn, &ret->lsn) < 0)
		return -W_EPROTO;
	ret->timeline = (uint32_t)strtoul(timeline, NULL, 16);
	return ret->timeline > 0 ? W_OK : -W_EPROTO;
}

int
dbt__position_read(struct w_view row, struct dbt_position *ret)
{
	struct w_view file, lsn;
	unsigned count;

	if (dbt__row_begin(&row, &count) < 0 || count != 2 || dbt__row_value(&row, &file) < 0 ||
	    dbt__row_value(&row, &lsn) < 0)
		return -W_EPROTO;
	return read_values(file, lsn, ret);
}

/* Writes go to primaries in force alone, so none was committed on a later timeline than the last one's. */
static struct dbt_position
only_primary(struct dbt_worker *worker)
{
	dbt__count(worker, DBT_POSITIONS_MISSED);
	return (struct dbt_position){ W_MAX(worker->timeline, 1u), DBT_LSN_PRIMARY };
}

struct dbt_position
dbt__position_of(struct dbt_worker *worker, const struct dbt__flight *flight)
{
	return flight->position.lsn > 0 ? flight->position : only_primary(worker);
}

struct dbt_position
dbt__position_ask(struct dbt_worker *worker, w_usec deadline)
{
	struct dbt__job job = {
		.worker = worker,
		.stmt = &dbt__position_stmt,
		.intent = DBT_READ,
		.deadline = W_MIN(deadline, w_now() + ANSWER_MOST),
		.only_primary = true,
		.quiet = true,
	};
	uint32_t timeline = W_MAX(worker->timeline, 1u);
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt_position position;
	int rc;

	dbt__count(worker, DBT_POSITIONS_ASKED);
	rc = dbt__job_run(&job);
	rows = job.rows;
	if (rc == -W_ESHUTDOWN)
		return (struct dbt_position){ timeline, DBT_LSN_PRIMARY }; /* the worker may be gone */
	if (rc < 0 || read_values(dbt_rows_get(rows, 0, 0), dbt_rows_get(rows, 0, 1), &position) < 0)
		return only_primary(worker);
	return position;
}
