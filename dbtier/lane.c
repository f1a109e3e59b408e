/*
 * A lane: one connection in pipeline mode. See worker.h for its states and rules.
 *
 * What libpq gives back for one unit, in order:
 *
 *	[COMMAND_OK of Parse, NULL,] TUPLES_OK or COMMAND_OK, NULL, PIPELINE_SYNC
 *	or, after an error: FATAL_ERROR, NULL, [PIPELINE_ABORTED, NULL,] PIPELINE_SYNC
 *	or, when the commit at the Sync fails: TUPLES_OK, NULL, FATAL_ERROR, PIPELINE_SYNC
 *
 * Source: libpq, "Pipeline Mode"
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/log.h"
#include "dbtier/sqlstate.h"
#include "dbtier/worker.h"

#define DIAL_TIMEOUT (2 * W_SEC)
#define BACKOFF_LEAST (20 * W_MSEC)
#define BACKOFF_MOST (500 * W_MSEC)
#define COUNT_AFTER 16 /* readable events without a result; then incoming bytes are counted */

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

bool
dbt__lane_idle(const struct dbt__lane *lane)
{
	return lane->state == DBT__OPEN && !lane->taken && lane->count == 0 &&
	    lane->todo_count == 0;
}

static struct dbt__flight *
flight_at(struct dbt__lane *lane, unsigned i)
{
	return &lane->ring[(lane->head + i) & lane->mask];
}

static void
clear_flight(struct dbt__flight *flight)
{
	PQclear(flight->result);
	PQclear(flight->error);
	*flight = (struct dbt__flight){ 0 };
}

static void
set_stuck(struct dbt__lane *lane, bool stuck)
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
	free(lane->prepared);
	free(lane->generation);
	free(lane);
}

/* Everything but its jobs. */
static void
bury(struct dbt__lane *lane)
{
	struct dbt__pool *pool = lane->pool;

	set_stuck(lane, false);
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
	if (lane->conn != NULL)
		PQfinish(w_steal(&lane->conn));
	w_list_remove(&lane->dirty);
	w_list_remove(&lane->node);
	w_list_push(&lane->worker->grave, &lane->node);
	lane->worker->pump = true;
}

/* Last first: each goes to the front of the queue, so their order stays. */
static void
lose_jobs(struct dbt__lane *lane)
{
	while (!w_list_empty(&lane->todo)) {
		struct dbt__job *job = w_list_entry(lane->todo.prev, struct dbt__job, node);

		w_list_remove(&job->node);
		lane->todo_count--;
		dbt__job_lost(job, lane, NULL, false);
	}
	while (lane->count > 0) {
		struct dbt__flight *flight = flight_at(lane, lane->count - 1);

		lane->count--;
		if (flight->job != NULL)
			dbt__job_lost(flight->job, lane, flight, lane->count == 0);
		clear_flight(flight);
		lane->worker->in_flight--;
		dbt__move(lane->worker, DBT_IN_FLIGHT, -1);
	}
}

static void
log_lane(const struct dbt__lane *lane, enum w_level level, const char *event, const char *why)
{
	char object[80], quoted[200];

	snprintf(object, sizeof(object), "db=%s", lane->worker->names[lane->pool->node]);
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
		dbt__suspect(lane->worker->dbt, lane->pool->node);
	}
	bury(lane);
	lose_jobs(lane);
}

/* ---- dialing ---- */

static void on_ready(void *arg, int events);

/*
 * The server keeps quiet about a commit that its standbys have not got, except for a warning.
 * Notices come in order with the results, so this one is about the head.
 */
static void
on_notice(void *arg, const PGresult *notice)
{
	struct dbt__lane *lane = arg;

	if (lane->count > 0 && dbt__is_unreplicated(notice))
		flight_at(lane, 0)->unreplicated = true;
	/* With nothing in flight libpq takes the server's goodbye for a notice. */
	if (lane->count == 0 && dbt__is_goodbye(notice))
		lane->ended = true;
}

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
	dbt__suspect(lane->worker->dbt, pool->node);
	dbt__lane_lose(lane, NULL);
}

/* A session that is read-only before it has been told so is a standby's. */
static bool
is_standby(PGconn *conn)
{
	const char *standby = PQparameterStatus(conn, "in_hot_standby");

	return standby != NULL && strcmp(standby, "on") == 0;
}

static void
on_dialed(void *arg, PGconn *conn, const char *why)
{
	struct dbt__lane *lane = arg;
	struct dbt__pool *pool = lane->pool;

	lane->conn = conn;
	if (conn != NULL && pool->class == DBT__WRITE && is_standby(conn))
		why = "a write lane to a standby";
	else if (conn != NULL && (PQsetnonblocking(conn, 1) < 0 || PQenterPipelineMode(conn) == 0))
		why = "libpq refuses pipeline mode";
	if (conn == NULL || why[0] != '\0') {
		dial_failed(lane, why);
		return;
	}
	PQsetNoticeReceiver(conn, on_notice, lane);
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
	    W_MAX(DBT__WRITE_DEPTH, DBT__SLOW_DEPTH);
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
	w_list_init(&lane->todo);
	w_list_init(&lane->dirty);
	w_list_push(&pool->lanes, &lane->node);
	pool->count++;
	pool->dialing++;
	lane->watch = (struct dbt__watch){ .loop = worker->loop, .ready = on_ready, .arg = lane };
	lane->dial = (struct dbt__dial){
		.loop = worker->loop,
		.login = write ? &worker->rw[pool->node] : &worker->ro[pool->node],
		.application = write ? "weir-write" : "weir-read",
		.options = write ? worker->rw_options : worker->ro_options,
		.timeout = DIAL_TIMEOUT,
		.done = on_dialed,
		.arg = lane,
	};
	dbt__dial_start(&lane->dial);
	return lane;
}

/* ---- sending ---- */

static void
cork(const struct dbt__lane *lane W_UNUSED, int on W_UNUSED)
{
#ifndef HAVE_PQSENDPIPELINESYNC
	/* Fails on a Unix socket, which does no harm. */
	setsockopt(PQsocket(lane->conn), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
#endif
}

static int
send_sync(PGconn *conn)
{
#ifdef HAVE_PQSENDPIPELINESYNC
	return PQsendPipelineSync(conn);
#else
	return PQpipelineSync(conn);
#endif
}

static void
grow_prepared(struct dbt__lane *lane, unsigned size)
{
	size_t more = size - lane->prepared_size;

	lane->prepared = w_xrealloc(lane->prepared, size);
	lane->generation = w_xrealloc(lane->generation, size * sizeof(*lane->generation));
	memset(lane->prepared + lane->prepared_size, 0, more);
	memset(lane->generation + lane->prepared_size, 0, more * sizeof(*lane->generation));
	lane->prepared_size = size;
}

/* Which statements are gone does not matter much: it is rare, and preparing is cheap. */
static void
forget_all(struct dbt__lane *lane)
{
	for (unsigned i = 0; i < lane->prepared_size; i++) {
		lane->generation[i] += lane->prepared[i];
		lane->prepared[i] = 0;
	}
}

/*
 * The server has forgotten a statement, or keeps a stale plan. Statements already on their way
 * may find the same out, so only the first of them makes new names.
 */
void
dbt__lane_forget(struct dbt__lane *lane, const struct dbt__flight *flight)
{
	dbt__count(lane->worker, DBT_REPREPARED);
	if (lane->generation[flight->known] == flight->generation)
		forget_all(lane);
}

/* PostgreSQL cuts names at 63 bytes, and two statements may have one name. */
static bool
send_unit(struct dbt__lane *lane, const struct dbt__job *job, struct dbt__flight *flight)
{
	const struct dbt_stmt *stmt = job->stmt;
	const char *const *values;
	char name[64];

	if (flight->known >= lane->prepared_size)
		grow_prepared(lane, lane->worker->known_size);
	snprintf(name, sizeof(name), "%.40s_%u_%u", stmt->name, flight->known,
	    lane->generation[flight->known]);
	flight->generation = lane->generation[flight->known];
	values = dbt__params_fill(lane->worker, stmt, job->params);
	if (job->unnamed)
		return PQsendQueryParams(lane->conn, stmt->sql, (int)stmt->params, NULL, values,
		    NULL, NULL, 0) != 0 && send_sync(lane->conn) != 0;
	if (lane->prepared[flight->known] == 0) {
		flight->prepares = true;
		if (PQsendPrepare(lane->conn, name, stmt->sql, 0, NULL) == 0)
			return false;
		lane->prepared[flight->known] = 1;
		dbt__count(lane->worker, DBT_PREPARED);
	}
	return PQsendQueryPrepared(lane->conn, name, (int)stmt->params, values, NULL,
	    NULL, 0) != 0 && send_sync(lane->conn) != 0;
}

static bool
send_job(struct dbt__lane *lane, struct dbt__job *job)
{
	struct dbt__flight *flight = flight_at(lane, lane->count);

	*flight = (struct dbt__flight){ .known = dbt__known_index(lane->worker, job->stmt) };
	if (!send_unit(lane, job, flight))
		return false;
	flight->job = job;
	job->flight = flight;
	if (lane->count++ == 0)
		lane->head_since = lane->worker->loop->now;
	lane->worker->in_flight++;
	dbt__move(lane->worker, DBT_IN_FLIGHT, 1);
	return true;
}

void
dbt__lane_give(struct dbt__lane *lane, struct dbt__job *job)
{
	W_ASSERT(lane->state == DBT__OPEN && lane->count + lane->todo_count <= lane->mask);
	job->lane = lane;
	if (job->begins) {
		lane->taken = true;
		lane->pool->taken++;
	}
	w_list_push(&lane->todo, &job->node);
	lane->todo_count++;
	if (w_list_empty(&lane->dirty))
		w_list_push(&lane->worker->dirty, &lane->dirty);
}

void
dbt__lane_release(struct dbt__lane *lane)
{
	lane->tx = NULL;
	if (PQtransactionStatus(lane->conn) != PQTRANS_IDLE || lane->count > 0) {
		dbt__lane_lose(lane, "left inside a transaction");
		return;
	}
	lane->taken = false;
	lane->pool->taken--;
	lane->worker->pump = true;
}

/* ---- receiving ---- */

static void
unit_done(struct dbt__lane *lane)
{
	struct dbt_worker *worker = lane->worker;
	struct dbt__flight flight = *flight_at(lane, 0);
	w_usec now = worker->loop->now;

	dbt__known_cost(worker, flight.known, now - lane->head_since);
	*flight_at(lane, 0) = (struct dbt__flight){ 0 };
	lane->head = (lane->head + 1) & lane->mask;
	lane->count--;
	lane->head_since = lane->idle_since = now;
	set_stuck(lane, false);
	worker->in_flight--;
	dbt__move(worker, DBT_IN_FLIGHT, -1);
	if (worker->queued > 0)
		worker->pump = true;
	if (flight.prepares && flight.known < lane->prepared_size)
		lane->prepared[flight.known] = 0; /* it failed */
	if (flight.job != NULL)
		dbt__job_answer(flight.job, lane, &flight);
	clear_flight(&flight);
}

static void
take_error(struct dbt__lane *lane, struct dbt__flight *flight, PGresult *result)
{
	if (dbt__sqlstate_of(result)[0] == '\0') {
		/* libpq's own words: the connection is gone, on_ready() sees that. */
		PQclear(result);
		return;
	}
	lane->ended |= dbt__is_goodbye(result);
	if (flight->error == NULL)
		flight->error = result;
	else
		PQclear(result);
}

/* Somebody threw prepared statements away. */
static void
note_command(struct dbt__lane *lane, PGresult *result)
{
	const char *tag = PQcmdStatus(result);

	if (strncmp(tag, "DEALLOCATE", 10) == 0 || strncmp(tag, "DISCARD", 7) == 0)
		forget_all(lane);
}

/* False: this lane cannot be understood any more. */
static bool
take_result(struct dbt__lane *lane, PGresult *result)
{
	struct dbt__flight *flight = flight_at(lane, 0);

	lane->polls = 0;
	lane->fed = 0;
	switch (PQresultStatus(result)) {
	case PGRES_PIPELINE_SYNC:
		PQclear(result);
		unit_done(lane);
		return true;
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
		PQclear(flight->result);
		flight->result = flight->prepares ? NULL : result;
		if (flight->prepares)
			PQclear(result);
		else if (PQresultStatus(result) == PGRES_COMMAND_OK)
			note_command(lane, result);
		flight->prepares = false;
		return true;
	case PGRES_PIPELINE_ABORTED:
		PQclear(result);
		return true;
	case PGRES_FATAL_ERROR:
		take_error(lane, flight, result);
		return true;
	default:
		PQclear(result);
		return false;
	}
}

/* All results that are here. False: give the lane up. */
static bool
take_results(struct dbt__lane *lane)
{
	unsigned empty = 0;

	while (lane->state == DBT__OPEN && lane->count > 0 && !PQisBusy(lane->conn)) {
		PGresult *result = PQgetResult(lane->conn);
		bool gone = PQstatus(lane->conn) != CONNECTION_OK;

		if (result == NULL) {
			/* One ends each statement; more mean that libpq waits for nothing. */
			if (++empty > 2)
				return false;
			continue;
		}
		empty = 0;
		if (gone && PQresultStatus(result) == PGRES_FATAL_ERROR &&
		    dbt__sqlstate_of(result)[0] == '\0') {
			PQclear(result);
			return false;
		}
		if (!take_result(lane, result))
			return false;
	}
	return true;
}

void
dbt__lane_hear_out(struct dbt__lane *lane, const char *why)
{
	if (lane->state != DBT__OPEN) {
		dbt__lane_lose(lane, why);
		return;
	}
	(void)PQconsumeInput(lane->conn);
	if (lane->count == 0)
		(void)PQisBusy(lane->conn); /* reads notices and goodbyes */
	(void)take_results(lane);
	dbt__lane_lose(lane, lane->ended ? "the server said goodbye" : why);
}

/* ---- sending what was given ---- */

static void
flush(struct dbt__lane *lane)
{
	int rc = PQflush(lane->conn);

	if (rc < 0) {
		dbt__lane_hear_out(lane, "cannot send");
		return;
	}
	lane->blocked = rc > 0;
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

/* Something has come unasked: a notice, a parameter, a goodbye, or the end. */
static bool
is_still_fine(struct dbt__lane *lane)
{
	if (PQconsumeInput(lane->conn) == 0)
		return false;
	(void)PQisBusy(lane->conn);
	return !lane->ended && PQstatus(lane->conn) == CONNECTION_OK;
}

void
dbt__lane_send(struct dbt__lane *lane)
{
	bool many = lane->todo_count > 1;
	struct w_list *node;

	if (is_over(lane) && !is_still_fine(lane)) {
		dbt__lane_hear_out(lane, "the connection was lost");
		return;
	}
	if (many)
		cork(lane, 1);
	while ((node = w_list_shift(&lane->todo)) != NULL) {
		struct dbt__job *job = w_list_entry(node, struct dbt__job, node);

		lane->todo_count--;
		if (!send_job(lane, job)) {
			/* It has no Sync behind it, so it cannot have had an effect. */
			dbt__job_lost(job, lane, NULL, false);
			dbt__lane_hear_out(lane, "cannot send");
			return;
		}
	}
	if (many)
		cork(lane, 0);
	flush(lane);
}

/* ---- readiness ---- */

/*
 * libpq keeps a result in memory until it is complete and does not tell how much it has. So
 * when one goes on and on, what comes in is counted.
 */
static bool
is_flooded(struct dbt__lane *lane)
{
	int bytes = 0;

	if (lane->count == 0 || ++lane->polls < COUNT_AFTER)
		return false;
	if (ioctl(PQsocket(lane->conn), FIONREAD, &bytes) == 0 && bytes > 0)
		lane->fed += (uint64_t)bytes;
	return lane->pool->class != DBT__WRITE &&
	    lane->fed > lane->worker->options->max_rows_bytes * 2;
}

static void
refuse_flood(struct dbt__lane *lane)
{
	struct dbt__flight *flight = flight_at(lane, 0);

	if (flight->job != NULL) {
		dbt__count(lane->worker, DBT_TOO_BIG);
		dbt__job_finish(flight->job, -W_ETOOBIG);
		flight->job = NULL;
	}
	dbt__lane_lose(lane, "a result over max_rows_bytes");
}

static void
on_ready(void *arg, int events)
{
	struct dbt__lane *lane = arg;
	bool alive;

	if ((events & UV_READABLE) != 0) {
		if (is_flooded(lane)) {
			refuse_flood(lane);
			return;
		}
		alive = PQconsumeInput(lane->conn) == 1;
		if (lane->count == 0)
			(void)PQisBusy(lane->conn); /* reads notices and goodbyes */
		alive = take_results(lane) && alive;
		if (lane->state != DBT__OPEN)
			return;
		if (!alive || lane->ended || PQstatus(lane->conn) != CONNECTION_OK) {
			dbt__lane_hear_out(lane, "the connection was lost");
			return;
		}
		if (lane->count == 0 && !lane->taken &&
		    PQtransactionStatus(lane->conn) != PQTRANS_IDLE) {
			dbt__lane_lose(lane, "a statement left it inside a transaction");
			return;
		}
	}
	if ((events & UV_WRITABLE) != 0)
		flush(lane);
}

/* ---- looking after it ---- */

/* A read goes elsewhere; what comes for it here is dropped. */
static void
move_away(struct dbt__lane *lane, struct dbt__flight *flight)
{
	struct dbt__job *job = flight->job;

	if (job == NULL || job->moved || job->tx != NULL)
		return;
	flight->job = NULL;
	job->moved = true;
	job->avoid = lane->pool->node + 1;
	dbt__count(lane->worker, DBT_MOVED);
	dbt__job_requeue(job);
}

/*
 * The head takes long. Those behind it need not wait. If it is known to be fast, or is not
 * known at all, it may be the node that is slow: it gets a second chance elsewhere too.
 */
static void
get_stuck(struct dbt__lane *lane, w_usec age)
{
	struct dbt__flight *head = flight_at(lane, 0);
	bool moved = head->job != NULL && head->job->moved;

	set_stuck(lane, true);
	for (unsigned i = lane->count - 1; i > 0; i--)
		move_away(lane, flight_at(lane, i));
	if (!moved && lane->worker->known[head->known].cost <= DBT__FAST_COST)
		move_away(lane, head);
	else
		dbt__known_slow(lane->worker, head->known, age);
}

void
dbt__lane_check(struct dbt__lane *lane, w_usec now)
{
	bool write = lane->pool->class == DBT__WRITE;
	w_usec grace = write ? DBT__WRITE_GRACE : DBT__READ_GRACE;
	w_usec age = now - lane->head_since;

	if (lane->state != DBT__OPEN || lane->count == 0 || age < DBT__STUCK)
		return;
	if (flight_at(lane, 0)->job == NULL && age > grace)
		dbt__lane_lose(lane, "nobody waits any more for what it does");
	else if (!write && !lane->stuck)
		get_stuck(lane, age);
}
