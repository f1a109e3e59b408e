/*
 * A lane: one connection that many statements share. See worker.h for its states and rules; what the
 * server says is understood in lane_in.c.
 *
 * One unit, and what comes back for it in order:
 *
 *	[Parse Describe]* of what is not prepared
 *	[Bind Execute]* Sync
 *
 *	[ParseComplete, ParameterDescription, RowDescription or NoData]* of what was not prepared
 *	[BindComplete, DataRow*, CommandComplete]*
 *	ReadyForQuery; or, at any place, ErrorResponse, ReadyForQuery
 *
 * What is bound and executed, step by step:
 *
 *	the statement
 *	a guard, the statement                      of a read that needs a position
 *	BEGIN, the statement, COMMIT, the position  of a write
 *	BEGIN, a statement each, COMMIT, the position  of grouped writes
 *	COMMIT, the position                        of a transaction (tx.c)
 *
 * An error leaves out what follows it. A write's leaves its transaction open, too: a ROLLBACK ends that,
 * and what was sent behind the write before it was known is refused and run again.
 *
 * A job that takes its rows in portions sends Flush in place of Sync, then Execute and Flush for each
 * further portion, and Sync at the end.
 * Source   PostgreSQL, "Extended Query", "Pipelining"
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/log.h"
#include "dbtier/worker.h"

#define DIAL_TIMEOUT (2 * W_SEC)
#define BACKOFF_LEAST (20 * W_MSEC)
#define BACKOFF_MOST (500 * W_MSEC)
#define CANCELS_MOST 2 /* requests under way at once: each takes a thread, and a node may be frozen */

static const enum dbt__metric lane_gauges[] = {
	[DBT__READ] = DBT_LANES_READ,
	[DBT__SLOW] = DBT_LANES_SLOW,
	[DBT__WRITE] = DBT_LANES_WRITE,
};
static const char *const class_names[] = {
	[DBT__READ] = "read",
	[DBT__SLOW] = "slow",
	[DBT__WRITE] = "write",
};

/*
 * A cancel request under way. PQcancel() blocks, so it has a thread. When it returns, the server
 * has been told: the signal hits what runs then, or nothing. Whoever is hit by mistake is run
 * again (job.c).
 */
struct dbt__cancel {
	uv_work_t uv;
	struct dbt__lane *lane; /* NULL: gone meanwhile */
	PGcancel *request;
};
static _Thread_local unsigned canceling;

bool
dbt__lane_idle(const struct dbt__lane *lane)
{
	return lane->state == DBT__OPEN && !lane->taken && lane->count == 0 &&
	    lane->todo_count == 0;
}

struct dbt__flight *
dbt__lane_flight(struct dbt__lane *lane, unsigned i)
{
	return &lane->ring[(lane->head + i) & lane->mask];
}

unsigned
dbt__lane_unit(struct dbt__lane *lane)
{
	unsigned len = 1;

	while (dbt__lane_flight(lane, len - 1)->more)
		len++;
	return len;
}

void
dbt__flight_clear(struct dbt__flight *flight)
{
	dbt_rows_free(&flight->rows);
	dbt__columns_drop(&flight->columns);
	free(flight->error);
	*flight = (struct dbt__flight){ 0 };
}

void
dbt__lane_set_stuck(struct dbt__lane *lane, bool stuck)
{
	if (lane->stuck == stuck)
		return;
	lane->stuck = stuck;
	lane->pool->stuck += stuck ? 1 : -1;
}

/* ---- the end of a lane ---- */

void
dbt__lane_free(struct dbt__lane *lane)
{
	W_ASSERT(lane->count == 0 && lane->todo_count == 0);
	free(lane->ring);
	free(lane->options);
	for (unsigned i = 0; i < lane->prepared_size; i++)
		dbt__columns_drop(&lane->columns[i]);
	free(lane->columns);
	free(lane->prepared);
	PQfinish(lane->conn);
	free(lane);
}

/* Everything but its jobs and its connection. */
static void
bury(struct dbt__lane *lane, struct w_list *where)
{
	struct dbt__pool *pool = lane->pool;

	dbt__lane_set_stuck(lane, false);
	if (lane->state == DBT__OPEN)
		dbt__move(lane->worker, lane_gauges[pool->class], -1);
	else
		pool->dialing--;
	pool->count--;
	pool->taken -= lane->taken;
	if (lane->tx != NULL)
		dbt__tx_lane_lost(lane->tx);
	lane->tx = NULL;
	lane->state = DBT__DEAD;
	dbt__dial_stop(&lane->dial);
	dbt__watch_stop(&lane->watch);
	if (lane->cancel != NULL)
		w_steal(&lane->cancel)->lane = NULL;
	dbt__channel_fini(&lane->channel);
	w_list_remove(&lane->dirty);
	w_list_remove(&lane->node);
	w_list_push(where, &lane->node);
	lane->worker->pump = true;
}

/* The COMMIT of a group comes behind its last statement. */
static void
mark_committing(struct dbt__lane *lane, unsigned unit)
{
	for (unsigned i = 0; i < unit; i++)
		dbt__lane_flight(lane, i)->complete = dbt__lane_flight(lane, unit - 1)->complete;
}

/* Last first: each goes to the front of the queue, so their order stays. */
static void
lose_jobs(struct dbt__lane *lane)
{
	unsigned unit = lane->count > 0 ? dbt__lane_unit(lane) : 0;

	mark_committing(lane, unit);
	while (!w_list_empty(&lane->todo)) {
		struct dbt__job *job = w_list_entry(lane->todo.prev, struct dbt__job, node);

		w_list_remove(&job->node);
		lane->todo_count--;
		dbt__job_lost(job, lane, NULL, false);
	}
	while (lane->count > 0) {
		struct dbt__flight *flight = dbt__lane_flight(lane, lane->count - 1);

		lane->count--;
		if (flight->job != NULL)
			dbt__job_lost(flight->job, lane, flight, lane->count < unit);
		dbt__flight_clear(flight);
		lane->worker->in_flight--;
		dbt__move(lane->worker, DBT_IN_FLIGHT, -1);
	}
}

static void
log_lane(const struct dbt__lane *lane, enum w_level level, const char *event, const char *why)
{
	char object[80], quoted[200];

	snprintf(object, sizeof(object), "db=%s", lane->pool->site->name);
	w_log(level, object, event, "lane=%s in_flight=%u why=%s", class_names[lane->pool->class],
	    lane->count, w_log_quote(w_view_of(why), quoted, sizeof(quoted)));
}

void
dbt__lane_lose(struct dbt__lane *lane, const char *why)
{
	if (lane->state == DBT__DEAD)
		return;
	if (why != NULL && lane->state == DBT__OPEN && !lane->worker->stopping) {
		dbt__count(lane->worker, DBT_LOST);
		log_lane(lane, lane->count > 0 ? W_INFO : W_DEBUG, "lane-lost", why);
		dbt__site_suspect(lane->pool->site);
	}
	bury(lane, &lane->worker->grave);
	if (lane->conn != NULL)
		PQfinish(w_steal(&lane->conn));
	lose_jobs(lane);
}

bool
dbt__lane_awaited(struct dbt__lane *lane)
{
	for (unsigned i = 0; i < lane->count; i++)
		if (dbt__lane_flight(lane, i)->job != NULL)
			return true;
	return false;
}

void
dbt__lane_retire(struct dbt__lane *lane)
{
	W_ASSERT(dbt__lane_idle(lane));
	bury(lane, &lane->worker->retired);
	w_timer_start(lane->worker->loop, &lane->worker->retire, DBT__RETIRE, 0);
}

/* ---- dialing ---- */

static void on_ready(void *arg, int events);

static void
dial_failed(struct dbt__lane *lane, const char *why)
{
	struct dbt__pool *pool = lane->pool;
	w_usec wait = W_MIN(BACKOFF_LEAST << W_MIN(pool->failures, 8U), BACKOFF_MOST);

	dbt__count(lane->worker, DBT_DIALS_FAILED);
	if (pool->failures == 0)
		log_lane(lane, W_WARN, "lane-refused", why);
	/* Several that were dialed together fail together; that counts as once. */
	pool->failures += w_now() >= pool->retry_at;
	pool->retry_at = w_now() + wait + (w_usec)(w_random() % (uint64_t)(wait / 2));
	dbt__site_suspect(pool->site);
	dbt__lane_lose(lane, NULL);
}

/* A setting that the server reports. */
static bool
is_on(PGconn *conn, const char *setting)
{
	const char *value = PQparameterStatus(conn, setting);

	return value != NULL && strcmp(value, "on") == 0;
}

static void
on_dialed(void *arg, PGconn *conn, const char *why)
{
	struct dbt__lane *lane = arg;
	struct dbt__pool *pool = lane->pool;

	lane->conn = conn;
	if (conn != NULL && pool->class == DBT__WRITE && is_on(conn, "in_hot_standby") &&
	    pool->site->role == DBT_PRIMARY)
		why = "a write lane to a standby";
	else if (conn != NULL && (PQsetnonblocking(conn, 1) < 0 ||
	    dbt__channel_open(&lane->channel, conn) < 0))
		why = "libpq's TLS is none of OpenSSL's";
	if (conn == NULL || why[0] != '\0') {
		dial_failed(lane, why);
		return;
	}
	lane->status = 'I';
	lane->read_only = is_on(conn, "default_transaction_read_only");
	pool->dialing--;
	pool->failures = 0;
	pool->retry_at = 0;
	lane->state = DBT__OPEN;
	lane->idle_since = lane->worker->loop->now;
	dbt__watch_set(&lane->watch, PQsocket(conn), UV_READABLE);
	dbt__count(lane->worker, DBT_OPENED);
	dbt__move(lane->worker, lane_gauges[pool->class], 1);
	lane->worker->pump = true;
}

static unsigned
ring_size(const struct dbt_worker *worker, enum dbt__class class)
{
	unsigned depth = class == DBT__READ ? (unsigned)worker->options->read_depth :
	    class == DBT__WRITE ? DBT__GROUP_MOST : DBT__SLOW_DEPTH;
	unsigned size = 4;

	while (size < depth)
		size *= 2;
	return size;
}

struct dbt__lane *
dbt__lane_dial(struct dbt__pool *pool)
{
	struct dbt_worker *worker = pool->worker;
	struct dbt__lane *lane = w_xcalloc(1, sizeof(*lane));
	unsigned size = ring_size(worker, pool->class);
	bool write = pool->class == DBT__WRITE;

	lane->worker = worker;
	lane->pool = pool;
	lane->ring = w_xcalloc(size, sizeof(*lane->ring));
	lane->mask = size - 1;
	lane->options = w_xasprintf("%s", write ? worker->rw_options : worker->ro_options);
	w_list_init(&lane->todo);
	w_list_init(&lane->dirty);
	w_list_push(&pool->lanes, &lane->node);
	pool->count++;
	pool->dialing++;
	lane->watch = (struct dbt__watch){ .loop = worker->loop, .ready = on_ready, .arg = lane };
	lane->dial = (struct dbt__dial){
		.loop = worker->loop,
		.login = write ? &pool->site->place->rw : &pool->site->place->ro,
		.application = write ? "weir-write" : "weir-read",
		.options = lane->options,
		.timeout = DIAL_TIMEOUT,
		.done = on_dialed,
		.arg = lane,
	};
	dbt__dial_start(&lane->dial);
	return lane;
}

/* ---- sending ---- */

static void
grow_prepared(struct dbt__lane *lane, unsigned size)
{
	size_t more = size - lane->prepared_size;

	lane->prepared = w_xrealloc(lane->prepared, size);
	lane->columns = w_xrealloc(lane->columns, size * sizeof(*lane->columns));
	memset(lane->prepared + lane->prepared_size, 0, more);
	memset(lane->columns + lane->prepared_size, 0, more * sizeof(*lane->columns));
	lane->prepared_size = size;
}

/* Which statements are gone does not matter much: it is rare, and preparing is cheap. */
void
dbt__lane_forget_all(struct dbt__lane *lane)
{
	lane->generation++;
	memset(lane->prepared, 0, lane->prepared_size);
}

/*
 * The server has forgotten a statement, or keeps a stale plan. Statements already on their way
 * may find the same out, so only the first of them makes new names.
 */
void
dbt__lane_forget(struct dbt__lane *lane, const struct dbt__flight *flight)
{
	dbt__count(lane->worker, DBT_REPREPARED);
	if (lane->generation == flight->generation)
		dbt__lane_forget_all(lane);
}

/* A statement's name on the lane. Most are of the first generation, whose names are made once. */
static const char *
name_of(const struct dbt__lane *lane, unsigned known, char to[DBT__NAME_SIZE])
{
	const struct dbt__known *statement = &lane->worker->known[known];

	if (lane->generation == 0)
		return statement->name;
	dbt__known_name(statement->stmt, known, lane->generation, to);
	return to;
}

/* Prepare it unless that was done. Its name, for which there may be need of room. */
static const char *
put_prepared(struct dbt__lane *lane, struct dbt__flight *flight, unsigned known,
    char room[DBT__NAME_SIZE])
{
	struct w_buf *out = &lane->channel.out;
	const char *name = name_of(lane, known, room);

	if (lane->prepared[known] != 0)
		return name;
	dbt__put_parse(out, name, lane->worker->known[known].sql);
	dbt__put_describe(out, name);
	lane->prepared[known] = 1;
	flight->parses[flight->parse_count++] = known;
	dbt__count(lane->worker, DBT_PREPARED);
	return name;
}

/* A statement that fails when the node has not replayed a position, so that what follows is skipped. */
const struct dbt_stmt dbt__guard_stmt = { "weir_guard",
	"SELECT 1 / coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)::int,"
	" pg_last_wal_replay_lsn()", 1 };

static void
put_guard(struct dbt__lane *lane, struct dbt__flight *flight, const char *name, uint64_t position)
{
	char text[DBT_POSITION_SIZE];
	struct w_view param = { text, 0 };

	param.len = (size_t)snprintf(text, sizeof(text), "%X/%X", (unsigned)(position >> 32),
	    (unsigned)position);
	dbt__put_bind(&lane->channel.out, name, &param, 1);
	dbt__put_execute(&lane->channel.out, 0);
	flight->steps |= 1u << DBT__GUARD;
}

/* Statements of the steps but the job's own. */
static const struct dbt_stmt *const brought[DBT__STEPS] = {
	[DBT__GUARD] = &dbt__guard_stmt,
	[DBT__BEGIN] = &dbt__begin_stmt,
	[DBT__COMMIT] = &dbt__commit_stmt,
	[DBT__POSITION] = &dbt__position_stmt,
};

static bool
brings(const struct dbt__job *job, const struct dbt__flight *flight, enum dbt__step step)
{
	switch (step) {
	case DBT__GUARD:
		return job->guard;
	case DBT__BEGIN:
		return flight->wrapped && !flight->follows;
	case DBT__COMMIT:
		return flight->wrapped && !flight->more;
	case DBT__POSITION:
		return flight->asked && !flight->more;
	default:
		return false;
	}
}

/* names: by step; NULL: the unit does without it. */
static void
put_step(struct dbt__lane *lane, struct dbt__flight *flight, enum dbt__step step,
    const char *const *names)
{
	if (names[step] == NULL)
		return;
	dbt__put_bind(&lane->channel.out, names[step], NULL, 0);
	dbt__put_execute(&lane->channel.out, 0);
	flight->steps |= 1u << step;
}

/*
 * Of a unit, or of a group's one statement of many. All that is not prepared is prepared first: when a step
 * fails, what follows it is skipped.
 */
static void
put_flight(struct dbt__lane *lane, const struct dbt__job *job, struct dbt__flight *flight)
{
	const struct dbt_stmt *stmt = job->stmt;
	struct w_buf *out = &lane->channel.out;
	char rooms[DBT__STEPS][DBT__NAME_SIZE];
	const char *names[DBT__STEPS] = { [DBT__STATEMENT] = "" };

	flight->generation = lane->generation;
	flight->describes = flight->known;
	for (unsigned i = 0; i < DBT__STEPS; i++)
		if (brings(job, flight, i))
			names[i] = put_prepared(lane, flight,
			    dbt__known_index(lane->worker, brought[i]), rooms[i]);
	if (job->unnamed) {
		dbt__put_parse(out, "", stmt->sql);
		dbt__put_describe(out, "");
	} else {
		names[DBT__STATEMENT] = put_prepared(lane, flight, flight->known,
		    rooms[DBT__STATEMENT]);
		/* What was prepared by one before it may have failed there. */
		if (job->describes && flight->parse_count == 0)
			dbt__put_describe(out, names[DBT__STATEMENT]);
	}
	if (names[DBT__GUARD] != NULL)
		put_guard(lane, flight, names[DBT__GUARD], job->needed);
	put_step(lane, flight, DBT__BEGIN, names);
	if (!job->describes) {
		dbt__put_bind(out, names[DBT__STATEMENT], job->params, stmt->params);
		dbt__put_execute(out, job->portion);
		flight->steps |= 1u << DBT__STATEMENT;
	}
	put_step(lane, flight, DBT__COMMIT, names);
	put_step(lane, flight, DBT__POSITION, names);
	flight->portions = job->portion > 0;
	if (flight->portions)
		dbt__put_flush(out);
	else if (!flight->more)
		dbt__put_sync(out);
}

/* After its COMMIT a unit can say where the log stands. */
static void
wrap(const struct dbt__lane *lane, const struct dbt__job *job, struct dbt__flight *flight)
{
	bool alone = !flight->follows && !flight->more;

	flight->wrapped = !alone || (job->positioned && job->tx == NULL &&
	    !lane->worker->known[flight->known].bare);
	flight->asked = job->positioned && (flight->wrapped || job->tx != NULL);
	if (flight->asked && !flight->more)
		dbt__count(lane->worker, DBT_POSITIONS_ASKED);
}

/* job: what to send; the caller says whose the answer is. follows, more: in its group, after and before others. */
static struct dbt__flight *
send_flight(struct dbt__lane *lane, const struct dbt__job *job, bool follows, bool more)
{
	struct dbt__flight *flight = dbt__lane_flight(lane, lane->count);

	*flight = (struct dbt__flight){ .known = dbt__known_index(lane->worker, job->stmt),
		.follows = follows, .more = more };
	if (lane->worker->known_size > lane->prepared_size)
		grow_prepared(lane, lane->worker->known_size);
	wrap(lane, job, flight);
	put_flight(lane, job, flight);
	if (lane->count++ == 0)
		lane->head_since = lane->worker->loop->now;
	lane->worker->in_flight++;
	dbt__move(lane->worker, DBT_IN_FLIGHT, 1);
	return flight;
}

static struct dbt__job *
first_to_do(const struct dbt__lane *lane)
{
	return w_list_empty(&lane->todo) ? NULL :
	    w_list_entry(lane->todo.next, struct dbt__job, node);
}

static void
send_todo(struct dbt__lane *lane)
{
	const struct dbt__job *next;
	struct dbt__job *job;
	bool follows = false, more;

	while ((job = first_to_do(lane)) != NULL) {
		w_list_remove(&job->node);
		lane->todo_count--;
		next = first_to_do(lane);
		more = job->grouped && next != NULL && next->grouped;
		job->flight = send_flight(lane, job, follows, more);
		job->flight->job = job;
		if (more && !follows)
			dbt__count(lane->worker, DBT_GROUPS);
		if (more || follows)
			dbt__count(lane->worker, DBT_GROUPED);
		follows = more;
	}
}

void
dbt__lane_mend(struct dbt__lane *lane)
{
	static const struct dbt__job rollback = { .stmt = &dbt__rollback_stmt };

	if (lane->mending)
		return;
	lane->mending = true;
	(void)send_flight(lane, &rollback, false, false);
	dbt__lane_dirty(lane);
	w_loop_again(lane->worker->loop);
}

void
dbt__lane_dirty(struct dbt__lane *lane)
{
	if (w_list_empty(&lane->dirty))
		w_list_push(&lane->worker->dirty, &lane->dirty);
}

void
dbt__lane_next(struct dbt__lane *lane, bool more)
{
	struct dbt__flight *flight = dbt__lane_flight(lane, 0);

	W_ASSERT(lane->state == DBT__OPEN && lane->count == 1);
	dbt__rows_clear(flight->rows);
	lane->head_since = lane->worker->loop->now;
	if (more) {
		dbt__put_execute(&lane->channel.out, flight->job->portion);
		dbt__put_flush(&lane->channel.out);
	} else {
		dbt__put_sync(&lane->channel.out);
	}
	dbt__lane_dirty(lane);
	w_loop_again(lane->worker->loop);
}

void
dbt__lane_give(struct dbt__lane *lane, struct dbt__job *job)
{
	W_ASSERT(lane->state == DBT__OPEN && lane->count + lane->todo_count <= lane->mask);
	job->lane = lane;
	if (lane->count + lane->todo_count == 0)
		lane->grouped = job->grouped;
	if (dbt__job_takes(job)) {
		lane->taken = true;
		lane->pool->taken++;
	}
	w_list_push(&lane->todo, &job->node);
	lane->todo_count++;
	dbt__lane_dirty(lane);
}

void
dbt__lane_release(struct dbt__lane *lane)
{
	lane->tx = NULL;
	if (lane->status != 'I' || lane->count > 0) {
		dbt__lane_lose(lane, "left inside a transaction");
		return;
	}
	lane->taken = false;
	lane->pool->taken--;
	lane->worker->pump = true;
}

/* ---- last words ---- */

void
dbt__lane_hear_out(struct dbt__lane *lane, const char *why)
{
	if (lane->state != DBT__OPEN) {
		dbt__lane_lose(lane, why);
		return;
	}
	/* First: what is read may lose the lane, and have the node looked at. */
	dbt__doubt(lane->pool->site);
	(void)dbt__channel_read(&lane->channel);
	(void)dbt__lane_take(lane);
	dbt__lane_lose(lane, lane->ended ? "the server said goodbye" : why);
}

/* ---- sending what was given ---- */

static void
flush(struct dbt__lane *lane)
{
	int rc = dbt__channel_write(&lane->channel);

	if (rc < 0) {
		dbt__lane_hear_out(lane, "cannot send");
		return;
	}
	lane->blocked = rc == 0;
	dbt__watch_set(&lane->watch, PQsocket(lane->conn),
	    UV_READABLE | (lane->blocked ? UV_WRITABLE : 0));
}

/*
 * Has the peer hung up on an idle lane? What is not sent is not in doubt, so for a write the
 * question is worth a system call.
 */
static bool
is_over(const struct dbt__lane *lane)
{
	char byte;
	ssize_t got;

	if (lane->pool->class != DBT__WRITE || lane->count > 0)
		return false;
	got = recv(PQsocket(lane->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void drain(struct dbt__lane *lane);

void
dbt__lane_send(struct dbt__lane *lane)
{
	/* What has come unasked is a notice, a setting, a goodbye, or the end. */
	if (lane->hungry || is_over(lane))
		drain(lane);
	if (lane->state != DBT__OPEN)
		return;
	send_todo(lane);
	flush(lane);
}

/* ---- readiness ---- */

static void
drain(struct dbt__lane *lane)
{
	int rc = dbt__channel_read(&lane->channel);
	bool sane = dbt__lane_take(lane);

	if (lane->state != DBT__OPEN)
		return;
	if (rc < 0 || lane->ended || !sane) {
		dbt__lane_hear_out(lane, sane ? "the connection was lost" :
		    "the server's messages make no sense");
		return;
	}
	if (lane->count == 0 && !lane->taken && lane->status != 'I') {
		dbt__lane_lose(lane, "a statement left it inside a transaction");
		return;
	}
	lane->hungry = rc > 0;
	if (lane->hungry) {
		dbt__lane_dirty(lane);
		w_loop_again(lane->worker->loop);
	}
}

static void
on_ready(void *arg, int events)
{
	struct dbt__lane *lane = arg;

	if ((events & UV_READABLE) != 0)
		drain(lane);
	if (lane->state == DBT__OPEN && (events & UV_WRITABLE) != 0)
		flush(lane);
}

/* ---- canceling ---- */

static void
on_thread(uv_work_t *uv)
{
	struct dbt__cancel *cancel = uv->data;
	char why[128];

	(void)PQcancel(cancel->request, why, sizeof(why));
}

static void
on_canceled(uv_work_t *uv, int status W_UNUSED)
{
	struct dbt__cancel *cancel = uv->data;

	canceling--;
	if (cancel->lane != NULL) {
		w_loop_enter(cancel->lane->worker->loop);
		cancel->lane->cancel = NULL;
		cancel->lane->canceled = cancel->lane->count > 0;
	}
	PQfreeCancel(cancel->request);
	free(cancel);
}

void
dbt__lane_cancel(struct dbt__lane *lane)
{
	struct dbt_worker *worker = lane->worker;
	struct dbt__cancel *cancel;

	W_ASSERT(lane->pool->class != DBT__WRITE);
	if (lane->state != DBT__OPEN || lane->cancel != NULL || canceling >= CANCELS_MOST)
		return;
	cancel = w_xcalloc(1, sizeof(*cancel));
	*cancel = (struct dbt__cancel){ .lane = lane,
		.request = PQgetCancel(lane->conn), .uv.data = cancel };
	if (cancel->request == NULL ||
	    uv_queue_work(&worker->loop->uv, &cancel->uv, on_thread, on_canceled) < 0) {
		PQfreeCancel(cancel->request);
		free(cancel);
		return;
	}
	lane->cancel = cancel;
	canceling++;
	dbt__count(worker, DBT_CANCELS);
}

/* ---- looking after it ---- */

/* A read goes elsewhere; what comes for it here is dropped. */
static void
move_away(struct dbt__lane *lane, struct dbt__flight *flight)
{
	struct dbt__job *job = flight->job;

	if (job == NULL || job->moved || dbt__job_alone(job))
		return;
	flight->job = NULL;
	job->moved = true;
	job->avoid = lane->pool->site->slot + 1;
	dbt__count(lane->worker, DBT_MOVED);
	dbt__job_requeue(job);
}

/*
 * The head takes long. Those behind it need not wait. If it is known to be fast, or is not known
 * at all, it may be the node that is slow: it gets a second chance elsewhere, too, but on a slow lane,
 * where it holds up nobody.
 */
static void
get_stuck(struct dbt__lane *lane, w_usec age)
{
	struct dbt__flight *head = dbt__lane_flight(lane, 0);
	w_usec cost = lane->worker->known[head->known].cost;

	dbt__lane_set_stuck(lane, true);
	for (unsigned i = lane->count - 1; i > 0; i--)
		move_away(lane, dbt__lane_flight(lane, i));
	if (cost == 0 || cost > DBT__FAST_COST)
		dbt__known_slow(lane->worker, head->known, age);
	if (cost > DBT__FAST_COST || head->job == NULL)
		return;
	head->job->suspect = true;
	move_away(lane, head);
}

void
dbt__lane_shun(struct dbt__lane *lane)
{
	for (unsigned i = lane->count; i-- > 0;) {
		struct dbt__flight *flight = dbt__lane_flight(lane, i);

		if (flight->job == NULL)
			continue;
		/* Once more, if it must be: what it got away to is silent now. */
		flight->job->moved = !dbt__any_fit(lane->worker, flight->job);
		move_away(lane, flight);
	}
}

/* Does nobody wait for the unit that the server works on? */
static bool
is_given_up(struct dbt__lane *lane)
{
	unsigned unit = dbt__lane_unit(lane);

	for (unsigned i = 0; i < unit; i++)
		if (dbt__lane_flight(lane, i)->job != NULL)
			return false;
	return true;
}

void
dbt__lane_check(struct dbt__lane *lane, w_usec now)
{
	bool write = lane->pool->class == DBT__WRITE;
	w_usec grace = write ? DBT__WRITE_GRACE : DBT__READ_GRACE;
	w_usec age = now - lane->head_since;
	const struct dbt__flight *head;
	bool given_up;

	if (lane->state != DBT__OPEN || lane->count == 0 || age < DBT__STUCK)
		return;
	head = dbt__lane_flight(lane, 0);
	if (head->job != NULL && head->job->portion_here)
		return; /* it waits for us */
	given_up = age > grace && is_given_up(lane);
	if (given_up && (write || age > 2 * grace))
		dbt__lane_lose(lane, "nobody waits any more for what it does");
	else if (write) /* what is not sent is not in doubt */
		dbt__lane_set_stuck(lane, true);
	else if (given_up && !lane->canceled)
		dbt__lane_cancel(lane);
	else if (!lane->stuck)
		get_stuck(lane, age);
}
