/*
 * Writes that happen once: docs/protocol/03-promises.md, section 2.
 *
 * A statement is run in a form that stores its rows under the key, in one round trip. Where PostgreSQL
 * does not take it in that form, it is a transaction of its own (tx.c), which stores them before
 * its commit.
 *
 *	run --ok--> rows
 *	 | in doubt: run again, while there is time
 *	 | error: was it done before? --yes--> rows of then
 *	 |                            --no---> the error
 *	 +-----> no such form: as a transaction
 *
 * Values are kept as PostgreSQL writes a row: (1,"two words",,t). A field that is empty and not
 * quoted is NULL; in quotes, "" is a quote and \\ a backslash.
 * Source   PostgreSQL, "Composite Type Input and Output Syntax"
 */
#include <stdio.h>

#include "dbtier/worker.h"

/* ---- keys ---- */

void
dbt__once_params(const struct dbt_once *once, struct dbt__once_text *text,
    struct w_view ret[DBT__ONCE_PARAMS])
{
	static const char digits[] = "0123456789abcdef";
	char *at = text->fingerprint;

	*at++ = '\\';
	*at++ = 'x';
	for (unsigned i = 0; i < DBT_FINGERPRINT; i++) {
		*at++ = digits[once->fingerprint[i] >> 4];
		*at++ = digits[once->fingerprint[i] & 15];
	}
	*at = '\0';
	snprintf(text->nth, sizeof(text->nth), "%u", once->nth);
	ret[0] = once->key;
	ret[1] = w_view_of(text->nth);
	ret[2] = w_view_of(text->fingerprint);
}

/* ---- what was kept ---- */

/* Touched, so that the answer waits for the standbys like the first one did. */
static const struct dbt_stmt find_stmt = { "weir_reply_find",
	"WITH found AS (UPDATE weir.replies SET replays = replays + 1"
	" WHERE key = $1 AND nth = $2::smallint RETURNING fingerprint = $3::bytea AS same, rows)"
	" SELECT same, NULL FROM found UNION ALL SELECT NULL, unnest(rows) FROM found", 3 };

int
dbt__once_find(struct dbt_worker *worker, const struct dbt_once *once, w_usec deadline,
    struct dbt_rows **ret)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt__once_text text;
	struct w_view params[DBT__ONCE_PARAMS];
	struct dbt__job job;
	int rc;

	dbt__once_params(once, &text, params);
	do {
		job = (struct dbt__job){ .worker = worker, .stmt = &find_stmt, .params = params,
			.intent = DBT_WRITE, .deadline = deadline, .quiet = true };
		rc = dbt__job_run(&job);
		/* Touching it twice does no harm. */
	} while (rc == -W_EINDOUBT && w_now() < deadline);
	rows = job.rows;
	if (rc < 0)
		return rc;
	if (dbt_rows_count(rows) == 0)
		return -W_ENOTFOUND;
	if (!w_view_eq(dbt_rows_get(rows, 0, 0), W_VIEW("t")))
		return -W_EMISMATCH;
	dbt__count(worker, DBT_REPLAYS);
	*ret = w_steal(&rows);
	return W_OK;
}

/* The next field of a row's text, unquoted into a buffer that has room for it. */
static struct w_view
take_field(struct w_view *rest, char *to)
{
	bool quoted = false, any = false;
	size_t i = 0, len = 0;

	for (; i < rest->len; i++) {
		char c = rest->ptr[i];

		if (!quoted && (c == ',' || c == ')'))
			break;
		if (c == '"' && quoted && i + 1 < rest->len && rest->ptr[i + 1] == '"')
			to[len++] = rest->ptr[++i];
		else if (c == '"')
			any = true, quoted = !quoted;
		else if (c == '\\' && i + 1 < rest->len)
			to[len++] = rest->ptr[++i];
		else
			to[len++] = c;
	}
	*rest = w_view_sub(*rest, i + 1, SIZE_MAX);
	return len > 0 || any ? (struct w_view){ to, len } : (struct w_view){ 0 };
}

static int
add_kept(struct dbt_rows *rows, struct w_view text)
{
	char *scratch;

	if (text.len < 2 || text.ptr[0] != '(')
		return -W_EPROTO;
	scratch = malloc(text.len);
	if (scratch == NULL)
		return -W_ENOMEM;
	text = w_view_sub(text, 1, SIZE_MAX);
	for (int i = 0; i < dbt_rows_columns(rows); i++)
		dbt__rows_value(rows, take_field(&text, scratch));
	free(scratch);
	rows->count++;
	return w_buf_broken(&rows->bytes) ? -W_ETOOBIG : W_OK;
}

int
dbt__once_replay(struct dbt_worker *worker, const struct dbt_stmt *stmt, w_usec deadline,
    const struct dbt_rows *kept, int from, int count, struct dbt_rows **ret)
{
	struct dbt__job job = { .worker = worker, .stmt = stmt, .intent = DBT_WRITE,
		.deadline = deadline, .describes = true, .quiet = true };
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	int rc = dbt__job_run(&job);

	/* Nothing is executed, so nothing can be in doubt. */
	while (rc == -W_EINDOUBT && w_now() < deadline) {
		job.done = false;
		rc = dbt__job_run(&job);
	}
	rows = job.rows;
	for (int i = 0; rc == W_OK && i < count; i++)
		rc = add_kept(rows, dbt_rows_get(kept, from + i, 1));
	if (rc < 0)
		return rc;
	rows->affected = count;
	rows->replayed = true;
	*ret = w_steal(&rows);
	return W_OK;
}

/* ---- running ---- */

static int
run_kept(struct dbt_worker *worker, const struct dbt_query *query, const struct dbt_stmt *stmt,
    struct dbt_rows **ret, struct dbt_sql_error *error)
{
	unsigned count = query->stmt->params;
	struct w_view params[count + DBT__ONCE_PARAMS];
	struct dbt__once_text text;
	struct dbt__job job = { .worker = worker, .stmt = stmt, .params = params, .error = error,
		.intent = DBT_WRITE, .deadline = query->deadline,
		.grouped = query->grouped, .positioned = worker->options->positions };
	int rc;

	for (unsigned i = 0; i < count; i++)
		params[i] = query->params[i];
	dbt__once_params(query->once, &text, params + count);
	rc = dbt__job_run(&job);
	if (rc == W_OK)
		*ret = job.rows;
	return rc;
}

/* No RETURNING, a WITH of its own that writes, or no statement that can stand in a WITH. */
static bool
is_no_form(const struct dbt_sql_error *error)
{
	return strcmp(error->sqlstate, "42601") == 0 || strcmp(error->sqlstate, "0A000") == 0;
}

static int
run_as_tx(struct dbt_worker *worker, const struct dbt_query *query, struct dbt_rows **ret,
    struct dbt_sql_error *error)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	struct dbt_tx *tx = NULL;
	struct dbt_begin how = { .deadline = query->deadline, .once = query->once };
	struct dbt_position position = { 0 };
	int rc = dbt_tx_begin(worker, &how, &tx, error);

	if (rc < 0)
		return rc;
	rc = dbt_tx_exec(tx, query->stmt, query->params, &rows, error);
	if (rc < 0) {
		dbt_tx_rollback(&tx);
		return rc;
	}
	rc = dbt_tx_commit(&tx, &position, error);
	if (rc < 0)
		return rc;
	rows->position = position;
	*ret = w_steal(&rows);
	return W_OK;
}

/* It failed: because it had been done before? stmt: its form, which others may have given up since. */
static int
done_before(struct dbt_worker *worker, const struct dbt_query *query,
    const struct dbt_stmt *stmt, int failed, struct dbt_rows **ret)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *kept = NULL;
	int rc = dbt__once_find(worker, query->once, query->deadline, &kept);

	if (rc == -W_ENOTFOUND)
		return failed;
	if (rc < 0)
		return rc;
	return dbt__once_replay(worker, stmt, query->deadline, kept, 1, dbt_rows_count(kept) - 1,
	    ret);
}

int
dbt__once_run(struct dbt_worker *worker, const struct dbt_query *query, struct dbt_rows **ret,
    struct dbt_sql_error *error)
{
	struct dbt_sql_error own;
	const struct dbt_stmt *stmt;
	int rc;

	error = error != NULL ? error : &own;
	do {
		stmt = dbt__known_once(worker, query->stmt);
		*error = (struct dbt_sql_error){ 0 };
		rc = stmt != NULL ? run_kept(worker, query, stmt, ret, error) :
		    run_as_tx(worker, query, ret, error);
		if (rc == -W_ESQL && stmt != NULL && is_no_form(error)) {
			dbt__known_no_once(worker, query->stmt);
			rc = -W_EAGAIN;
		}
		if (rc == -W_EINDOUBT)
			dbt__count(worker, DBT_DOUBTS_RESOLVED);
		/* A lost transaction was rolled back. */
	} while ((rc == -W_EINDOUBT || rc == -W_EAGAIN || rc == -W_ELOST) &&
	    w_now() < query->deadline);
	if (rc < 0 && stmt != NULL && error->sqlstate[0] != '\0')
		return done_before(worker, query, stmt, rc, ret);
	return rc;
}

/* ---- the end of keys ---- */

#define EXPIRE_BATCH 1000

static const struct dbt_stmt expire_stmt = { "weir_reply_expire",
	"SELECT weir.expire_replies($1::interval, $2::int)", 2 };

int
dbt_expire(struct dbt_worker *worker, w_usec keep)
{
	W_AUTO(dbt_rows_free) struct dbt_rows *rows = NULL;
	char text[2][32];
	struct w_view params[2];
	struct dbt__job job = { .worker = worker, .stmt = &expire_stmt, .params = params,
		.intent = DBT_WRITE, .deadline = w_now() + 10 * W_SEC, .quiet = true };
	uint64_t count = 0;
	int rc;

	snprintf(text[0], sizeof(text[0]), "%lld microseconds", (long long)keep);
	snprintf(text[1], sizeof(text[1]), "%d", EXPIRE_BATCH);
	params[0] = w_view_of(text[0]);
	params[1] = w_view_of(text[1]);
	rc = dbt__job_run(&job);
	rows = job.rows;
	if (rc < 0)
		return rc;
	(void)w_view_u64(dbt_rows_get(rows, 0, 0), UINT32_MAX, &count);
	w_meter_add(worker->meter, worker->metrics + DBT_EXPIRED, count);
	return count >= EXPIRE_BATCH;
}
