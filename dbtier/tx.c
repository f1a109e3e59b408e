/*
 * Transactions: a lane of one's own, from BEGIN to COMMIT or ROLLBACK.
 *
 * 1. The lane may be lost at any time; then tx->lane is NULL, and the server rolls back.
 * 2. The lane goes back to its pool only when the server says that no transaction is open.
 */
#include "dbtier/worker.h"

#define ROLLBACK_TIME W_SEC

struct dbt_tx {
	struct dbt_worker *worker;
	struct dbt__lane *lane; /* NULL: lost */
	enum dbt_intent intent;
	w_usec deadline;
	int failed; /* first error of a statement: PostgreSQL runs nothing more after it */
	struct dbt_sql_error error; /* of it */
};

/* By flags. PostgreSQL's default is read committed. */
static const struct dbt_stmt begins[] = {
	[0] = { "weir_begin", "BEGIN READ WRITE", 0 },
	[DBT_TX_READ_ONLY] = { "weir_begin_ro", "BEGIN READ ONLY", 0 },
	[DBT_TX_REPEATABLE] = { "weir_begin_rr",
	    "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE", 0 },
	[DBT_TX_REPEATABLE | DBT_TX_READ_ONLY] = { "weir_begin_rr_ro",
	    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0 },
	[DBT_TX_SERIALIZABLE] = { "weir_begin_ser",
	    "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE", 0 },
};
static const struct dbt_stmt commit_stmt = { "weir_commit", "COMMIT", 0 };
static const struct dbt_stmt rollback_stmt = { "weir_rollback", "ROLLBACK", 0 };

void
dbt__tx_begun(struct dbt_tx *tx, struct dbt__lane *lane)
{
	tx->lane = lane;
	lane->tx = tx;
}

void
dbt__tx_give(struct dbt_tx *tx, struct dbt__job *job)
{
	job->class = tx->lane->pool->class;
	dbt__lane_give(tx->lane, job);
	dbt__tick_on(tx->worker);
}

void
dbt__tx_lane_lost(struct dbt_tx *tx)
{
	tx->lane = NULL;
}

static struct dbt__job
job_of(struct dbt_tx *tx, const struct dbt_stmt *stmt, struct dbt_sql_error *error)
{
	if (error != NULL)
		*error = (struct dbt_sql_error){ 0 };
	return (struct dbt__job){
		.worker = tx->worker,
		.stmt = stmt,
		.error = error,
		.intent = tx->intent,
		.deadline = tx->deadline,
		.tx = tx,
	};
}

static const struct dbt_stmt *
begin_stmt(unsigned flags)
{
	/* A standby knows no serializable transactions; for a reader a snapshot will do. */
	if ((flags & DBT_TX_SERIALIZABLE) != 0)
		flags = (flags & DBT_TX_READ_ONLY) != 0 ? DBT_TX_READ_ONLY | DBT_TX_REPEATABLE :
		    DBT_TX_SERIALIZABLE;
	return flags < W_NELEM(begins) && begins[flags].sql != NULL ? &begins[flags] : NULL;
}

int
dbt_tx_begin(struct dbt_worker *worker, unsigned flags, w_usec deadline, struct dbt_tx **ret,
    struct dbt_sql_error *error)
{
	const struct dbt_stmt *stmt = begin_stmt(flags);
	struct dbt_tx *tx;
	struct dbt__job job;
	int rc;

	if (stmt == NULL)
		return -W_EINVAL;
	tx = w_xcalloc(1, sizeof(*tx));
	tx->worker = worker;
	tx->intent = (flags & DBT_TX_READ_ONLY) != 0 ? DBT_READ : DBT_WRITE;
	tx->deadline = deadline;
	job = job_of(tx, stmt, error);
	job.begins = true;
	rc = dbt__job_run(&job);
	PQclear(job.result);
	if (rc < 0) {
		free(tx);
		return rc;
	}
	*ret = tx;
	return W_OK;
}

int
dbt_tx_exec(struct dbt_tx *tx, const struct dbt_stmt *stmt, const struct w_view *params,
    struct dbt_rows **ret, struct dbt_sql_error *error)
{
	struct dbt__job job = job_of(tx, stmt, error);
	int rc;

	if (tx->lane == NULL)
		return tx->failed < 0 ? tx->failed : -W_ELOST;
	job.params = params;
	rc = dbt__job_run(&job);
	if (rc < 0) {
		if (tx->failed == W_OK) {
			tx->failed = rc;
			if (error != NULL)
				tx->error = *error;
		}
		return rc;
	}
	*ret = dbt__rows_make(&job);
	return W_OK;
}

static void
end(struct dbt_tx **tx)
{
	struct dbt_tx *old = w_steal(tx);

	if (old->lane != NULL)
		dbt__lane_release(old->lane);
	free(old);
}

int
dbt_tx_commit(struct dbt_tx **tx, struct dbt_sql_error *error)
{
	struct dbt__job job = job_of(*tx, &commit_stmt, error);
	int rc = (*tx)->failed < 0 ? (*tx)->failed : -W_ELOST;

	/* After ROLLBACK TO a savepoint there is something to commit again. */
	if ((*tx)->lane == NULL || PQtransactionStatus((*tx)->lane->conn) != PQTRANS_INTRANS) {
		if (error != NULL)
			*error = (*tx)->error;
		dbt_tx_rollback(tx);
		return rc;
	}
	job.commits = true;
	rc = dbt__job_run(&job);
	/* PostgreSQL answers the COMMIT of a failed transaction with success and this tag. */
	if (rc == W_OK && strcmp(PQcmdStatus(job.result), "ROLLBACK") == 0)
		rc = -W_ESQL;
	PQclear(job.result);
	end(tx);
	return rc;
}

int
dbt_tx_rollback(struct dbt_tx **tx)
{
	struct dbt__job job = job_of(*tx, &rollback_stmt, NULL);
	int rc = W_OK;

	if ((*tx)->lane != NULL) {
		/* There is little to wait for, and a lane that is not clean is closed. */
		job.deadline = (*tx)->worker->loop->now + ROLLBACK_TIME;
		rc = dbt__job_run(&job);
		PQclear(job.result);
	}
	end(tx);
	return rc;
}
