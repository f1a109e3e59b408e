/*
 * Transactions: a lane of one's own, from BEGIN to COMMIT or ROLLBACK.
 *
 * 1. The lane may be lost at any time; then tx->lane is NULL, and the server rolls back.
 * 2. The lane goes back to its pool only when the server says that no transaction is open.
 * 3. With a key (once.c) it first claims the key, which makes a twin wait, and before the COMMIT stores
 *    what its statements returned: for each "#ROWS AFFECTED", then a text for each row; or "!ERROR SQLSTATE"
 *    when it failed and the transaction got over it (a savepoint). When the key is taken there is no
 *    transaction: what was stored is handed out.
 */
#include <stdio.h>

#include "dbtier/worker.h"

#define ROLLBACK_TIME W_SEC

struct dbt_tx {
	struct dbt_worker *worker;
	struct dbt__lane *lane; /* NULL: lost */
	enum dbt_intent intent;
	w_usec deadline;
	int failed; /* first error of a statement: PostgreSQL runs nothing more after it */
	struct dbt_sql_error error; /* of it */

	struct dbt_position after;
	const struct dbt_once *once;
	struct w_buf record;   /* what the statements returned, as an array literal */
	struct dbt_rows *kept; /* what they returned when it was committed before */
	int at;                /* used of it */
};

#define BEGIN { "weir_begin", "BEGIN", 0 }
const struct dbt_stmt dbt__begin_stmt = BEGIN;
const struct dbt_stmt dbt__commit_stmt = { "weir_commit", "COMMIT", 0 };
const struct dbt_stmt dbt__rollback_stmt = { "weir_rollback", "ROLLBACK", 0 };

/*
 * By flags. PostgreSQL's default is read committed. None says READ WRITE: a primary that is drained makes
 * new transactions read-only, and says so before BEGIN is answered.
 */
static const struct dbt_stmt begins[] = {
	[0] = BEGIN,
	[DBT_TX_READ_ONLY] = { "weir_begin_ro", "BEGIN READ ONLY", 0 },
	[DBT_TX_REPEATABLE] = { "weir_begin_rr",
	    "BEGIN ISOLATION LEVEL REPEATABLE READ", 0 },
	[DBT_TX_REPEATABLE | DBT_TX_READ_ONLY] = { "weir_begin_rr_ro",
	    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0 },
	[DBT_TX_SERIALIZABLE] = { "weir_begin_ser",
	    "BEGIN ISOLATION LEVEL SERIALIZABLE", 0 },
};

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

/* ---- keys ---- */

static const struct dbt_stmt claim_stmt = { "weir_reply_claim",
	"INSERT INTO weir.replies (key, nth, fingerprint) VALUES ($1, $2::smallint, $3::bytea)", 3 };
static const struct dbt_stmt store_stmt = { "weir_reply_store",
	"UPDATE weir.replies SET rows = $4::text[] WHERE key = $1 AND nth = $2::smallint"
	" AND fingerprint = $3::bytea", 4 };

static int
claim(struct dbt_tx *tx, struct dbt_sql_error *error)
{
	struct dbt__job job = job_of(tx, &claim_stmt, error);
	struct dbt__once_text text;
	struct w_view params[DBT__ONCE_PARAMS];
	int rc;

	if (tx->lane == NULL)
		return -W_ELOST;
	dbt__once_params(tx->once, &text, params);
	job.params = params;
	rc = dbt__job_run(&job);
	dbt_rows_free(&job.rows);
	return rc;
}

static void
put_escaped(struct w_buf *out, struct w_view text, const char *escape)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			w_buf_text(out, escape);
		w_buf_char(out, text.ptr[i]);
	}
}

static void
record_row(struct w_buf *out, const struct dbt_rows *rows, int row)
{
	w_buf_text(out, ",\"(");
	for (int i = 0; i < dbt_rows_columns(rows); i++) {
		struct w_view value = dbt_rows_get(rows, row, i);

		if (i > 0)
			w_buf_char(out, ',');
		if (value.ptr == NULL)
			continue;
		w_buf_text(out, "\\\"");
		put_escaped(out, value, "\\\\\\"); /* once for the row's text, once for the array's */
		w_buf_text(out, "\\\"");
	}
	w_buf_text(out, ")\"");
}

static void
record(struct dbt_tx *tx, const struct dbt_rows *rows)
{
	w_buf_printf(&tx->record, "%c\"#%d %lld\"", tx->record.len > 0 ? ',' : '{',
	    dbt_rows_count(rows), (long long)dbt_rows_affected(rows));
	for (int i = 0; i < dbt_rows_count(rows); i++)
		record_row(&tx->record, rows, i);
}

static void
record_error(struct dbt_tx *tx, int rc, const struct dbt_sql_error *error)
{
	w_buf_printf(&tx->record, "%c\"!%d %s\"", tx->record.len > 0 ? ',' : '{', -rc,
	    error->sqlstate);
}

/* Did the statement fail then? Its error, or 0. */
static int
replay_error(struct w_view header, struct dbt_sql_error *error)
{
	char text[48];
	int number;

	if (w_view_copy(header, text, sizeof(text)) < 0 ||
	    sscanf(text, "!%d %5s", &number, error->sqlstate) < 1 || number <= 0)
		return 0;
	snprintf(error->message, sizeof(error->message), "it failed the first time");
	return -number;
}

/* The next of the kept results. */
static int
replay(struct dbt_tx *tx, const struct dbt_stmt *stmt, struct dbt_rows **ret,
    struct dbt_sql_error *error)
{
	struct w_view header = dbt_rows_get(tx->kept, tx->at, 1);
	long long affected;
	char text[48];
	int count, rc = replay_error(header, error);

	if (rc < 0) {
		tx->at++;
		return rc;
	}
	if (w_view_copy(header, text, sizeof(text)) < 0 ||
	    sscanf(text, "#%d %lld", &count, &affected) != 2 || count < 0 ||
	    count >= dbt_rows_count(tx->kept) - tx->at) {
		snprintf(error->message, sizeof(error->message),
		    "the replay runs other statements than the first time");
		return -W_ESQL;
	}
	rc = dbt__once_replay(tx->worker, stmt, tx->deadline, tx->kept, tx->at + 1, count, ret);
	if (rc < 0)
		return rc;
	(*ret)->affected = affected;
	tx->at += 1 + count;
	return W_OK;
}

/* ---- begin ---- */

/* Undo, so that the lane is clean; the tx stays. */
static int
undo(struct dbt_tx *tx)
{
	struct dbt__job job = job_of(tx, &dbt__rollback_stmt, NULL);
	int rc = W_OK;

	if (tx->lane == NULL)
		return W_OK;
	/* There is little to wait for, and a lane that is not clean is closed. */
	job.deadline = tx->worker->loop->now + ROLLBACK_TIME;
	rc = dbt__job_run(&job);
	dbt_rows_free(&job.rows);
	if (tx->lane != NULL)
		dbt__lane_release(w_steal(&tx->lane));
	return rc;
}

static int
try_begin(struct dbt_tx *tx, const struct dbt_stmt *stmt, bool again, struct dbt_sql_error *error)
{
	struct dbt__job job = job_of(tx, stmt, error);
	int rc;

	job.begins = true;
	job.after = tx->after;
	rc = dbt__job_run(&job);
	dbt_rows_free(&job.rows);
	if (rc < 0 || tx->intent == DBT_READ || tx->lane == NULL || !tx->lane->read_only)
		return rc;
	/* It has begun, but cannot write. Nothing has come of it yet. */
	dbt__refused(tx->lane->pool->site, again ? DBT__STUCK : 0);
	if (again)
		dbt__lane_lose(tx->lane, "its session is read-only");
	else
		(void)undo(tx);
	return -W_EAGAIN;
}

/* A write waits for a primary that takes it. */
static int
begin(struct dbt_tx *tx, const struct dbt_stmt *stmt, struct dbt_sql_error *error)
{
	bool again = false;
	int rc;

	do {
		rc = try_begin(tx, stmt, again, error);
		again = true;
	} while (rc == -W_EAGAIN && w_now() < tx->deadline);
	return rc == -W_EAGAIN ? -W_EDOWN : rc;
}

static void
free_tx(struct dbt_tx **tx)
{
	struct dbt_tx *old = w_steal(tx);

	if (old == NULL)
		return;
	if (old->lane != NULL)
		dbt__lane_release(old->lane);
	w_buf_fini(&old->record);
	dbt_rows_free(&old->kept);
	free(old);
}

static bool
is_taken(const struct dbt_sql_error *error)
{
	return strcmp(error->sqlstate, "23505") == 0;
}

/* Begin, and claim the key: it is ours, or what is kept under it. */
static int
begin_once(struct dbt_tx *tx, const struct dbt_stmt *stmt, struct dbt_sql_error *error)
{
	int rc;

	do {
		rc = begin(tx, stmt, error);
		if (rc < 0)
			return rc;
		rc = claim(tx, error);
		if (rc == W_OK)
			return W_OK;
		(void)undo(tx);
		if (rc == -W_ECONFLICT && is_taken(error))
			rc = dbt__once_find(tx->worker, tx->once, tx->deadline, &tx->kept);
		/* It may have been removed just now; and a lost claim is none. */
	} while ((rc == -W_ENOTFOUND || rc == -W_ELOST) && w_now() < tx->deadline);
	tx->at = 1;
	if (rc == W_OK)
		*error = (struct dbt_sql_error){ 0 };
	return rc;
}

int
dbt_tx_begin(struct dbt_worker *worker, const struct dbt_begin *how, struct dbt_tx **ret,
    struct dbt_sql_error *error)
{
	const struct dbt_stmt *stmt = begin_stmt(how->flags);
	W_AUTO(free_tx) struct dbt_tx *tx = NULL;
	struct dbt_sql_error own;
	int rc;

	if (stmt == NULL)
		return -W_EINVAL;
	tx = w_xcalloc(1, sizeof(*tx));
	tx->worker = worker;
	tx->intent = (how->flags & DBT_TX_READ_ONLY) != 0 ? DBT_READ : DBT_WRITE;
	tx->deadline = how->deadline;
	tx->after = how->after;
	tx->once = tx->intent == DBT_WRITE ? how->once : NULL;
	tx->record.limit = worker->options->max_rows_bytes;
	error = error != NULL ? error : &own;
	rc = tx->once != NULL ? begin_once(tx, stmt, error) : begin(tx, stmt, error);
	if (rc < 0)
		return rc;
	*ret = w_steal(&tx);
	return W_OK;
}

bool
dbt_tx_replayed(const struct dbt_tx *tx)
{
	return tx->kept != NULL;
}

/* ---- statements ---- */

int
dbt_tx_exec(struct dbt_tx *tx, const struct dbt_stmt *stmt, const struct w_view *params,
    struct dbt_rows **ret, struct dbt_sql_error *error)
{
	struct dbt_sql_error own;
	struct dbt__job job = job_of(tx, stmt, error != NULL ? error : &own);
	int rc;

	error = job.error;
	if (tx->kept != NULL)
		return replay(tx, stmt, ret, error);
	if (tx->lane == NULL)
		return tx->failed < 0 ? tx->failed : -W_ELOST;
	job.params = params;
	rc = dbt__job_run(&job);
	if (rc < 0) {
		if (tx->failed == W_OK) {
			tx->failed = rc;
			tx->error = *error;
		}
		if (tx->once != NULL)
			record_error(tx, rc, error);
		return rc;
	}
	if (tx->once != NULL)
		record(tx, job.rows);
	*ret = job.rows;
	return W_OK;
}

/* ---- the end ---- */

/* What the statements returned, under the key. */
static int
start_store(struct dbt_tx *tx, struct dbt__job *store, struct dbt__once_text *text,
    struct w_view params[DBT__ONCE_PARAMS + 1])
{
	w_buf_text(&tx->record, tx->record.len > 0 ? "}" : "{}");
	if (w_buf_broken(&tx->record))
		return -W_ETOOBIG;
	dbt__once_params(tx->once, text, params);
	params[DBT__ONCE_PARAMS] = w_buf_get(&tx->record);
	store->params = params;
	return dbt__job_start(store);
}

/* All in one round trip. position: where the log stands after it, when that is wanted; may be NULL. */
static int
store_and_commit(struct dbt_tx *tx, struct dbt_position *position, struct dbt_sql_error *error)
{
	struct dbt_sql_error stored_error;
	struct dbt__job store = job_of(tx, &store_stmt, &stored_error);
	struct dbt__job commit = job_of(tx, &dbt__commit_stmt, error);
	struct w_view params[DBT__ONCE_PARAMS + 1];
	struct dbt__once_text text;
	int rc, stored = W_OK;

	if (tx->once != NULL) {
		rc = start_store(tx, &store, &text, params);
		if (rc < 0)
			return rc;
	}
	commit.commits = true;
	commit.positioned = position != NULL;
	(void)dbt__job_start(&commit); /* of a transaction: it cannot fail */
	rc = dbt__job_wait(&commit);
	if (tx->once != NULL)
		stored = dbt__job_wait(&store);
	/* PostgreSQL answers the COMMIT of a failed transaction with success and this tag. */
	if (rc == W_OK && strcmp(commit.rows->tag, "ROLLBACK") == 0) {
		rc = stored < 0 ? stored : -W_ESQL;
		if (stored < 0 && error != NULL)
			*error = stored_error;
	}
	if (rc == W_OK && position != NULL)
		*position = commit.rows->position;
	dbt_rows_free(&store.rows);
	dbt_rows_free(&commit.rows);
	return rc;
}

/* Is what is kept what this transaction returned, and not what a twin did after it was rolled back? */
static bool
is_own(const struct dbt_tx *tx)
{
	struct w_buf text = { 0 };
	bool same;

	for (int i = 1; i < dbt_rows_count(tx->kept); i++) {
		w_buf_text(&text, i > 1 ? ",\"" : "{\"");
		put_escaped(&text, dbt_rows_get(tx->kept, i, 1), "\\");
		w_buf_char(&text, '"');
	}
	w_buf_text(&text, text.len > 0 ? "}" : "{}");
	same = !w_buf_broken(&text) && w_view_eq(w_buf_get(&text), w_buf_get(&tx->record));
	w_buf_fini(&text);
	return same;
}

/* What is kept under the key now. Of another run: this one was rolled back. */
static int
find_own(struct dbt_tx *tx)
{
	int rc = dbt__once_find(tx->worker, tx->once, tx->deadline, &tx->kept);

	return rc == W_OK && !is_own(tx) ? -W_ELOST : rc;
}

/* Was it committed? Whoever can claim the key knows that it was not, and will not be. */
static int
resolve(struct dbt_tx *tx)
{
	struct dbt_sql_error error;
	int rc;

	dbt__count(tx->worker, DBT_DOUBTS_RESOLVED);
	do {
		(void)undo(tx);
		rc = begin(tx, &begins[0], &error);
		if (rc == W_OK)
			rc = claim(tx, &error);
	} while ((rc == -W_ELOST || rc == -W_EINDOUBT) && w_now() < tx->deadline);
	(void)undo(tx);
	if (rc == -W_ECONFLICT && is_taken(&error))
		return find_own(tx);
	return rc == W_OK ? -W_ELOST : -W_EINDOUBT;
}

int
dbt_tx_commit(struct dbt_tx **tx, struct dbt_position *ret, struct dbt_sql_error *error)
{
	W_AUTO(free_tx) struct dbt_tx *old = w_steal(tx);
	struct dbt_worker *worker = old->worker;
	w_usec deadline = old->deadline;
	struct dbt_position position = { 0 };
	bool wants = ret != NULL && old->intent == DBT_WRITE && worker->options->positions;
	int rc = old->failed < 0 ? old->failed : -W_ELOST;

	if (error != NULL)
		*error = old->error;
	/* After ROLLBACK TO a savepoint there is something to commit again. */
	if (old->kept == NULL && (old->lane == NULL || old->lane->status != 'T')) {
		(void)undo(old);
		return rc;
	}
	rc = old->kept != NULL ? W_OK :
	    store_and_commit(old, wants ? &position : NULL, error);
	if (rc == -W_EINDOUBT && old->once != NULL)
		rc = resolve(old);
	if (rc < 0 || !wants)
		return rc;
	*ret = position.lsn > 0 ? position : dbt__position_ask(worker, deadline);
	return W_OK;
}

int
dbt_tx_rollback(struct dbt_tx **tx)
{
	W_AUTO(free_tx) struct dbt_tx *old = w_steal(tx);

	return undo(old);
}
