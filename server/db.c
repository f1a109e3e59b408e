/* The database as a handler sees it: statements and transactions of the database tier. */
#include <sodium.h>
#include <stdio.h>

#include "server/request.h"

#define SRV_TX_MAGIC 0x57525458u

/* A statement passes through as it is. */
_Static_assert(sizeof(struct weir_stmt) == sizeof(struct dbt_stmt) &&
    offsetof(struct weir_stmt, name) == offsetof(struct dbt_stmt, name) &&
    offsetof(struct weir_stmt, sql) == offsetof(struct dbt_stmt, sql) &&
    offsetof(struct weir_stmt, params) == offsetof(struct dbt_stmt, params),
    "weir_stmt and dbt_stmt have one layout");
_Static_assert(sizeof(struct weir_view) == sizeof(struct w_view) &&
    offsetof(struct weir_view, ptr) == offsetof(struct w_view, ptr) &&
    offsetof(struct weir_view, len) == offsetof(struct w_view, len),
    "weir_view and w_view have one layout");
_Static_assert((int)WEIR_TX_READ_ONLY == (int)DBT_TX_READ_ONLY &&
    (int)WEIR_TX_REPEATABLE == (int)DBT_TX_REPEATABLE &&
    (int)WEIR_TX_SERIALIZABLE == (int)DBT_TX_SERIALIZABLE, "flags are the same");

struct srv_rows { /* results of this request, freed at its end */
	struct srv_rows *next;
	struct dbt_rows *rows;
};

struct weir_tx {
	uint32_t magic;
	struct w_list node; /* among the request's open ones */
	struct srv_request *req;
	struct dbt_tx *tx;  /* NULL: ended */
	bool lost;          /* its connection went away, so it was rolled back */
	struct dbt_once once;
};

static const struct dbt_stmt *
stmt_of(const struct weir_stmt *stmt)
{
	return (const struct dbt_stmt *)(const void *)stmt;
}

static const struct w_view *
params_of(const struct weir_view *params)
{
	return (const struct w_view *)(const void *)params;
}

static const struct dbt_rows *
rows_of(const struct weir_rows *rows)
{
	return (const struct dbt_rows *)(const void *)rows;
}

/* The tier's errors as a handler knows them. */
static const struct { int err, rc; } errors[] = {
	{ W_ESQL, WEIR_EDB }, { W_ECONFLICT, WEIR_ECONFLICT }, { W_EINVAL, WEIR_EINVAL },
	{ W_ERANGE, WEIR_EINVAL }, { W_ESERIAL, WEIR_ESERIAL }, { W_EDOWN, WEIR_EDOWN },
	{ W_EBUSY, WEIR_EBUSY }, { W_ELOST, WEIR_EDOWN }, { W_EINDOUBT, WEIR_EINDOUBT },
	{ W_ETIMEOUT, WEIR_ETIMEOUT }, { W_ETOOBIG, WEIR_EDB }, { W_ESHUTDOWN, WEIR_EDOWN },
	{ W_ENOMEM, WEIR_ENOMEM }, { W_EMISMATCH, WEIR_EMISMATCH },
};

static int
error_of(struct srv_request *req, int err)
{
	if (err >= 0)
		return WEIR_OK;
	/* the log must say what the client is not told */
	if (req->sql.message[0] == '\0')
		snprintf(req->sql.message, sizeof(req->sql.message), "%s: %s", w_err_name(err),
		    w_err_text(err));
	for (size_t i = 0; i < W_NELEM(errors); i++)
		if (errors[i].err == -err)
			return errors[i].rc;
	return WEIR_EDB;
}

static w_usec
statement_deadline(const struct srv_request *req)
{
	w_usec own = w_now() + srv__options(req->worker)->query_timeout;

	return W_MIN(own, req->deadline);
}

/* Take the result into the request's keeping. */
static int
keep_rows(struct srv_request *req, struct dbt_rows *rows, struct weir_rows **ret)
{
	struct srv_rows *kept = w_arena_take(&req->arena, sizeof(*kept));

	if (kept == NULL) {
		dbt_rows_free(&rows);
		return WEIR_ENOMEM;
	}
	*kept = (struct srv_rows){ req->rows, rows };
	req->rows = kept;
	if (ret != NULL)
		*ret = (struct weir_rows *)(void *)rows;
	return WEIR_OK;
}

/* ---- positions ---- */

/* What a read must see: the request's own writes, else what its client has seen. */
static struct dbt_position
read_after(struct srv_request *req)
{
	if (req->position.lsn > 0)
		return req->position;
	if (!req->after_parsed) {
		req->after_parsed = true;
		if (dbt_position_parse(req->head.position, &req->after) < 0)
			req->after = (struct dbt_position){ 0 };
	}
	return req->after;
}

static void
note_position(struct srv_request *req, struct dbt_position position)
{
	if (position.lsn > 0)
		req->position = position;
}

void
srv__database_fields(struct srv_request *req)
{
	char text[DBT_POSITION_SIZE];
	bool tls = w_view_eq(req->head.scheme, W_VIEW("https"));
	char *position, *cookie;

	if (req->replayed)
		srv__answer_field(req, W_VIEW("weir-replayed"), W_VIEW("true"));
	if (req->position.lsn == 0 || req->position_told)
		return;
	(void)dbt_position_format(req->position, text);
	position = weir_printf(srv__public(req), "%s", text);
	cookie = weir_printf(srv__public(req),
	    "weir-position=%s; Max-Age=%lld; Path=/; HttpOnly; SameSite=Lax%s", text,
	    (long long)(srv__options(req->worker)->position_ttl / W_SEC), tls ? "; Secure" : "");
	if (position == NULL || cookie == NULL)
		return;
	srv__answer_field(req, W_VIEW("weir-position"), w_view_of(position));
	srv__answer_field(req, W_VIEW("set-cookie"), w_view_of(cookie));
	req->position_told = true;
}

/* ---- exactly once ---- */

/* Two requests of one key are the same when this is. The body counts when it was read whole. */
static void
make_fingerprint(const struct srv_request *req, unsigned char to[DBT_FINGERPRINT])
{
	const struct w_view parts[] = { req->head.method, req->head.target, req->body };
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, DBT_FINGERPRINT);
	for (size_t i = 0; i < W_NELEM(parts); i++) {
		uint64_t len = parts[i].len;

		crypto_generichash_update(&state, (const unsigned char *)&len, sizeof(len));
		crypto_generichash_update(&state, (const unsigned char *)parts[i].ptr,
		    parts[i].len);
	}
	crypto_generichash_final(&state, to, DBT_FINGERPRINT);
}

static bool
has_flag(const struct srv_request *req, enum weir_route_flags flag)
{
	return req->match.route != NULL && (req->match.route->flags & flag) != 0;
}

/* The key of the next write. False: it is a plain one. */
static bool
next_once(struct srv_request *req, struct dbt_once *ret)
{
	if (!has_flag(req, WEIR_ONCE) || req->head.idempotency.len == 0)
		return false;
	ret->key = req->head.idempotency;
	ret->nth = req->writes++;
	make_fingerprint(req, ret->fingerprint);
	return true;
}

void
srv__database_settle(struct srv_request *req)
{
	struct w_list *node;

	while ((node = w_list_shift(&req->transactions)) != NULL)
		dbt_tx_rollback(&w_list_entry(node, struct weir_tx, node)->tx);
	if (req->answer.kind != SRV_STREAM)
		srv__database_fields(req);
	for (; req->rows != NULL; req->rows = req->rows->next)
		dbt_rows_free(&req->rows->rows);
}

/* ---- single statements ---- */

struct run_call {
	struct srv_request *req;
	struct weir_tx *tx; /* NULL: on its own */
	struct dbt_query query;
	struct weir_rows **ret;
	weir_rows_fn *each; /* rows in portions */
	void *arg;
	int stopped;        /* what it returned */
	int rc;
};

static int
each_portion(const struct dbt_rows *rows, void *arg)
{
	struct run_call *call = arg;

	call->stopped = call->each(srv__public(call->req),
	    (const struct weir_rows *)(const void *)rows, call->arg);
	return call->stopped < 0 ? -W_ECANCELED : W_OK;
}

static int
run_alone(struct run_call *call, struct dbt_rows **ret)
{
	struct srv_request *req = call->req;
	struct dbt_once once;
	int rc;

	if (req->worker->dbt == NULL)
		return -W_EDOWN;
	if (call->query.intent == DBT_READ)
		call->query.after = read_after(req);
	else if (next_once(req, &once))
		call->query.once = &once;
	call->query.grouped = has_flag(req, WEIR_GROUPED);
	rc = dbt_run(req->worker->dbt, &call->query, ret, &req->sql);
	if (rc == W_OK) {
		note_position(req, dbt_rows_position(*ret));
		req->replayed |= dbt_rows_replayed(*ret);
	}
	return rc;
}

static void
do_run(void *arg)
{
	struct run_call *call = arg;
	struct srv_request *req = call->req;
	struct dbt_rows *rows = NULL;
	w_usec from = w_now();
	int rc;

	memset(&req->sql, 0, sizeof(req->sql));
	rc = call->tx != NULL ? dbt_tx_exec(call->tx->tx, call->query.stmt, call->query.params,
	    &rows, &req->sql) : run_alone(call, &rows);
	req->database += w_now() - from;
	if (call->tx != NULL && rc == -W_ELOST)
		call->tx->lost = true;
	call->rc = rc < 0 ? error_of(req, rc) : keep_rows(req, rows, call->ret);
}

static int
run(struct srv_request *req, enum dbt_intent intent, const struct weir_stmt *stmt,
    const struct weir_view *params, struct weir_rows **ret)
{
	struct run_call call = { .req = req, .ret = ret, .rc = WEIR_EUSAGE };

	if (req->gone)
		return WEIR_EGONE;
	call.query = (struct dbt_query){
		.intent = intent, .stmt = stmt_of(stmt), .params = params_of(params),
		.deadline = statement_deadline(req), .shard = req->shard,
	};
	srv__on_fiber(req, do_run, &call);
	return call.rc;
}

int
weir_db_read(struct weir_request *req, const struct weir_stmt *stmt, const struct weir_view *params,
    struct weir_rows **ret)
{
	return run(srv__of(req), DBT_READ, stmt, params, ret);
}

int
weir_db_write(struct weir_request *req, const struct weir_stmt *stmt,
    const struct weir_view *params, struct weir_rows **ret)
{
	return run(srv__of(req), DBT_WRITE, stmt, params, ret);
}

static void
do_each(void *arg)
{
	struct run_call *call = arg;
	struct srv_request *req = call->req;
	w_usec from = w_now();
	int rc = -W_EDOWN;

	memset(&req->sql, 0, sizeof(req->sql));
	call->query.after = read_after(req);
	call->rc = WEIR_OK;
	if (req->worker->dbt != NULL)
		rc = dbt_each(req->worker->dbt, &call->query, each_portion, call, &req->sql);
	req->database += w_now() - from;
	/* The error of the handler's own function is WEIR_E... already. */
	call->rc = call->stopped < 0 ? call->stopped : error_of(req, rc);
}

int
weir_db_each(struct weir_request *pub, const struct weir_stmt *stmt,
    const struct weir_view *params, weir_rows_fn *each, void *arg)
{
	struct srv_request *req = srv__of(pub);
	struct run_call call = { .req = req, .each = each, .arg = arg, .rc = WEIR_EUSAGE };

	if (req->gone)
		return WEIR_EGONE;
	if (each == NULL)
		return WEIR_EUSAGE;
	call.query = (struct dbt_query){
		.intent = DBT_READ, .stmt = stmt_of(stmt), .params = params_of(params),
		.deadline = statement_deadline(req), .shard = req->shard,
	};
	srv__on_fiber(req, do_each, &call);
	return call.rc;
}

const char *
weir_db_sqlstate(const struct weir_request *req)
{
	return srv__of(req)->sql.sqlstate;
}

const char *
weir_db_message(const struct weir_request *req)
{
	return srv__of(req)->sql.message;
}

/* ---- results ---- */

int
weir_rows_count(const struct weir_rows *rows)
{
	return dbt_rows_count(rows_of(rows));
}

int
weir_rows_columns(const struct weir_rows *rows)
{
	return dbt_rows_columns(rows_of(rows));
}

int64_t
weir_rows_affected(const struct weir_rows *rows)
{
	return dbt_rows_affected(rows_of(rows));
}

struct weir_view
weir_rows_text(const struct weir_rows *rows, int row, int column)
{
	return srv__out_view(dbt_rows_get(rows_of(rows), row, column));
}

const char *
weir_rows_node(const struct weir_rows *rows)
{
	return dbt_rows_node(rows_of(rows));
}

const char *
weir_rows_role(const struct weir_rows *rows)
{
	return dbt_role_name(dbt_rows_role(rows_of(rows)));
}

/* How a column's text becomes JSON, by its type's OID (pg_type.dat). */
enum form { FORM_TEXT, FORM_BOOL, FORM_RAW };

static enum form
form_of(unsigned oid)
{
	static const struct { unsigned oid; enum form form; } forms[] = {
		{ 16, FORM_BOOL }, { 20, FORM_RAW }, { 21, FORM_RAW }, { 23, FORM_RAW },
		{ 26, FORM_RAW }, { 114, FORM_RAW }, { 3802, FORM_RAW },
	};

	for (size_t i = 0; i < W_NELEM(forms); i++)
		if (forms[i].oid == oid)
			return forms[i].form;
	return FORM_TEXT;
}

void
weir_out_row(struct weir_request *pub, const struct weir_rows *public_rows, int row)
{
	struct srv_request *req = srv__of(pub);
	const struct dbt_rows *rows = rows_of(public_rows);

	if (req->answer.kind != SRV_NOTHING)
		return;
	w_json_open(&req->writer, '{');
	for (int i = 0; i < dbt_rows_columns(rows); i++) {
		struct w_view value = dbt_rows_get(rows, row, i);
		enum form form = form_of(dbt_rows_type(rows, i));

		w_json_key(&req->writer, dbt_rows_name(rows, i));
		if (value.ptr == NULL)
			w_json_null(&req->writer);
		else if (form == FORM_RAW)
			w_json_raw(&req->writer, value);
		else if (form == FORM_BOOL)
			w_json_bool(&req->writer, value.len > 0 && value.ptr[0] == 't');
		else
			w_json_view(&req->writer, value);
	}
	w_json_close(&req->writer, '}');
}

/* ---- transactions ---- */

struct begin_call {
	struct srv_request *req;
	unsigned flags;
	struct weir_tx **ret;
	int rc;
};

static void
do_begin(void *arg)
{
	struct begin_call *call = arg;
	struct srv_request *req = call->req;
	struct weir_tx *tx = w_arena_zero(&req->arena, sizeof(*tx));
	struct dbt_begin how = { .flags = call->flags, .deadline = req->deadline };
	w_usec from = w_now();
	int rc = -W_EDOWN;

	call->rc = WEIR_ENOMEM;
	if (tx == NULL)
		return;
	memset(&req->sql, 0, sizeof(req->sql));
	if ((call->flags & WEIR_TX_READ_ONLY) != 0)
		how.after = read_after(req);
	else if (next_once(req, &tx->once))
		how.once = &tx->once;
	if (req->worker->dbt != NULL)
		rc = dbt_tx_begin(req->worker->dbt, &how, &tx->tx, &req->sql);
	req->database += w_now() - from;
	call->rc = error_of(req, rc);
	if (rc < 0)
		return;
	tx->magic = SRV_TX_MAGIC;
	tx->req = req;
	req->replayed |= dbt_tx_replayed(tx->tx);
	w_list_push(&req->transactions, &tx->node);
	*call->ret = tx;
}

int
weir_tx_begin(struct weir_request *pub, unsigned flags, struct weir_tx **ret)
{
	struct begin_call call = { srv__of(pub), flags, ret, WEIR_EUSAGE };

	if (call.req->gone)
		return WEIR_EGONE;
	srv__on_fiber(call.req, do_begin, &call);
	return call.rc;
}

int
weir_tx_exec(struct weir_tx *pub, const struct weir_stmt *stmt, const struct weir_view *params,
    struct weir_rows **ret)
{
	struct weir_tx *tx = w_typed(pub, SRV_TX_MAGIC);
	struct run_call call = { .req = tx->req, .tx = tx, .ret = ret, .rc = WEIR_EUSAGE };

	if (tx->tx == NULL)
		return WEIR_EUSAGE;
	if (tx->req->gone)
		return WEIR_EGONE;
	call.query.stmt = stmt_of(stmt);
	call.query.params = params_of(params);
	srv__on_fiber(tx->req, do_run, &call);
	return call.rc;
}

struct end_call {
	struct weir_tx *tx;
	bool commit;
	int rc;
};

static void
do_end(void *arg)
{
	struct end_call *call = arg;
	struct srv_request *req = call->tx->req;
	struct dbt_position position = { 0 };
	w_usec from = w_now();
	int rc;

	memset(&req->sql, 0, sizeof(req->sql));
	w_list_remove(&call->tx->node);
	rc = call->commit ? dbt_tx_commit(&call->tx->tx, &position, &req->sql)
	    : dbt_tx_rollback(&call->tx->tx);
	note_position(req, position);
	call->tx->tx = NULL;
	call->tx->lost |= call->commit && rc == -W_ELOST;
	req->database += w_now() - from;
	call->rc = error_of(req, rc);
}

static int
end_tx(struct weir_tx *pub, bool commit)
{
	struct end_call call = { w_typed(pub, SRV_TX_MAGIC), commit, WEIR_EUSAGE };

	if (call.tx->tx == NULL)
		return WEIR_EUSAGE;
	srv__on_fiber(call.tx->req, do_end, &call);
	return call.rc;
}

int
weir_tx_commit(struct weir_tx *tx)
{
	return end_tx(tx, true);
}

int
weir_tx_rollback(struct weir_tx *tx)
{
	return end_tx(tx, false);
}

/* ---- a transaction as a function ---- */

#define PAUSE_LEAST W_MSEC
#define PAUSE_MOST (64 * W_MSEC)
#define LOSSES_MOST 4 /* what is run may be what ends its connections */

/* Once. ret_lost: it surely left nothing behind, for its connection was lost before it was committed. */
static int
try_tx(struct weir_request *pub, unsigned flags, weir_tx_fn *fn, void *arg, bool *ret_lost)
{
	struct weir_tx *tx = NULL;
	int rc = weir_tx_begin(pub, flags, &tx);

	*ret_lost = false;
	if (rc < 0)
		return rc;
	rc = fn(tx, arg);
	if (rc == WEIR_OK && tx->tx != NULL)
		rc = weir_tx_commit(tx);
	else if (tx->tx != NULL) /* ended by fn itself, or not */
		weir_tx_rollback(tx);
	*ret_lost = rc == WEIR_EDOWN && tx->lost;
	return rc;
}

/* Is it worth another try? A lost one waits for the next primary in its begin; conflicts keep apart. */
static bool
again(struct weir_request *pub, int rc, bool lost, unsigned tries[2])
{
	unsigned most = (unsigned)srv__options(srv__of(pub)->worker)->tx_retries;
	w_usec pause;

	if (lost)
		return tries[1]++ < LOSSES_MOST && w_now() < srv__of(pub)->deadline;
	if (rc != WEIR_ESERIAL || tries[0] >= most)
		return false;
	pause = W_MIN(PAUSE_LEAST << W_MIN(tries[0], 16U), PAUSE_MOST);
	tries[0]++;
	return weir_sleep(pub, pause / 2 + (int64_t)(w_random() % (uint64_t)pause)) == WEIR_OK;
}

int
weir_tx_run(struct weir_request *pub, unsigned flags, weir_tx_fn *fn, void *arg)
{
	struct srv_request *req = srv__of(pub);
	unsigned writes = req->writes, tries[2] = { 0 };
	bool lost;
	int rc;

	do {
		/* What its writes are called must be the same each time. */
		req->writes = writes;
		rc = try_tx(pub, flags, fn, arg, &lost);
	} while (again(pub, rc, lost, tries));
	return rc;
}
