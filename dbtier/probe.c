/*
 * The prober: one thread that asks every database node every probe_interval what it is, and
 * publishes what follows.
 *
 * One node's probe:
 *
 *	WAITING --timer--> DIALING --connected--> RESTING <--answer-- ASKING
 *	   ^                  | failed              |  timer            |  lost, or no answer
 *	   +------------------+                     +------> ASKING     +--> DIALING at once
 *
 * 1. Each node has its own connection and timers on the prober's loop, so a hung node delays
 *    no other.
 * 2. While no primary takes writes, nodes are asked more often: the sooner a promotion is seen,
 *    or that the standbys of a new primary have caught up, the sooner held writes go on.
 * 3. What is asked because of a suspicion is published even when nothing differs.
 * 4. Where older timelines ended is asked of a new primary after its state is published.
 * 5. A snapshot is written by the prober before it is published and never after. It is used
 *    again when it has been out of date for REUSE_AFTER; its readers have passed by then, through the
 *    lock (dbt__passed), so what they read happened before.
 * 6. Silence is noticed by the beat, which is the clock of what nobody says; so a snapshot is
 *    never much older than VALUES_EVERY while the prober runs. A beat that comes late means that it
 *    did not run, and that silence was its own.
 * 7. A question stays open on the kept connection for as long as probe_timeout, whatever is
 *    doubted meanwhile: the answer that comes late is the end of the doubt.
 *
 * How long a primary that is frozen or cut off goes unnoticed, with the defaults: it is asked at most
 * 100 ms after it was heard last, and doubted (topology.h) 400 ms after that; so at the end of 300 to
 * 400 ms of silence, and a beat. It is down after a second, unless another primary is seen before.
 */
#include "dbtier/probe.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/log.h"
#include "dbtier/dial.h"
#include "dbtier/sqlstate.h"
#include "dbtier/topology.h"

#define REUSE_AFTER (15 * W_SEC)   /* dbtier.h promises 10 */
#define VALUES_EVERY (100 * W_MSEC) /* positions alone are published this often at most */
#define HURRY (20 * W_MSEC)        /* interval while no primary takes writes */
#define RUSH (15 * W_MSEC)         /* in the first seconds of that */
#define HEIR_EVERY (8 * W_MSEC)    /* and of the one that is about to */
#define RUSH_TIME (5 * W_SEC)
#define BEAT (25 * W_MSEC)
#define ASLEEP (300 * W_MSEC)      /* a beat that is this late was not late but away */
#define SLACK (300 * W_MSEC)       /* an answer may take this long before its node is doubted */
#define SUSPECTS_EVERY (5 * W_MSEC) /* questions that suspicions ask, at most; each is published */
#define SESSIONS_EVERY W_SEC       /* counting sessions costs the node more than the rest */
#define BACKOFF_LEAST (50 * W_MSEC)
#define BACKOFF_MOST (400 * W_MSEC)

#define HISTORY_EVERY (3 * W_SEC) /* between two questions for a history that cannot be had */

enum probe_state { PROBE_OFF, PROBE_WAITING, PROBE_DIALING, PROBE_RESTING, PROBE_ASKING };

/* Each on the same connection: the statement is prepared, and asked for ever after. */
enum question { ASK_PREPARE, ASK_STATE, ASK_HISTORY };

struct probe {
	struct dbt *dbt;
	unsigned index;
	enum probe_state state;
	struct dbt__place *place; /* NULL: the slot is empty */
	bool unlisted;            /* it goes when another one is primary */
	struct dbt__dial dial;
	PGconn *conn;
	struct dbt__watch watch;
	struct w_timer timer;
	unsigned failures;
	enum question question;
	w_usec asked, sessions_asked, history_asked;
	bool prepared;
	bool misread; /* its answers are errors: told once */
	bool again;      /* a suspicion came after the last question */
	bool suspicious; /* the question is asked, or will be, because of one */
	_Atomic(bool) suspected;
};

struct snapshot {
	struct w_list node;
	w_usec retired;
	struct dbt_topology topology;
};

struct dbt {
	const struct w_cluster *cluster; /* of the start; what a reload changes is below */
	struct dbt__places places;
	unsigned count; /* slots in use, empty ones between them */
	struct probe probes[DBT_NODES_MAX];
	struct dbt__seen seen[DBT_NODES_MAX];
	_Atomic(int) heir; /* slot of the last that was seen, -1: none yet. The prober's to set */
	struct dbt__rules rules;
	uint32_t floor;
	uint64_t system; /* whose nodes are ours */
	struct dbt__history history; /* of the highest timeline that a primary has shown */
	bool history_told;           /* that it cannot be had */
	w_usec interval;

	_Atomic(struct snapshot *) current;
	struct w_list retired; /* of struct snapshot, oldest first */
	w_usec published;
	w_usec stopped; /* since when no primary takes writes, 0: one does */
	w_usec looked;  /* last time that the prober ran */
	struct w_timer beat;

	pthread_t thread;
	struct w_loop loop;
	struct dbt__gauges gauges;
	pthread_mutex_t lock; /* guards what follows */
	uint64_t lag_limit;   /* as it was read last */
	w_usec lag_limit_time;
	struct w_list listeners;
	void (*on_change)(const struct dbt_topology *topology, void *arg);
	void *on_change_arg;
};

/* ---- snapshots ---- */

const struct dbt_topology *
dbt_topology_get(struct dbt *dbt)
{
	return &atomic_load_explicit(&dbt->current, memory_order_acquire)->topology;
}

void
dbt__passed(struct dbt *dbt)
{
	pthread_mutex_lock(&dbt->lock);
	pthread_mutex_unlock(&dbt->lock);
}

static struct snapshot *
take_snapshot(struct dbt *dbt, w_usec now)
{
	struct snapshot *snapshot;

	if (!w_list_empty(&dbt->retired)) {
		snapshot = w_list_entry(dbt->retired.next, struct snapshot, node);
		if (now - snapshot->retired > REUSE_AFTER) {
			w_list_remove(&snapshot->node);
			dbt__passed(dbt);
			return snapshot;
		}
	}
	snapshot = w_xcalloc(1, sizeof(*snapshot));
	w_list_init(&snapshot->node);
	return snapshot;
}

static void
tell_listeners(struct dbt *dbt, const struct dbt_topology *topology, bool differs)
{
	struct w_list *pos;
	void (*fn)(const struct dbt_topology *, void *);
	void *arg;

	pthread_mutex_lock(&dbt->lock);
	w_list_each(pos, &dbt->listeners)
		uv_async_send(w_list_entry(pos, struct dbt__listener, node)->async);
	fn = dbt->on_change;
	arg = dbt->on_change_arg;
	pthread_mutex_unlock(&dbt->lock);
	if (fn != NULL && differs)
		fn(topology, arg);
}

/* Everybody is asked now, not when its turn would come. */
static void
hurry(struct dbt *dbt)
{
	for (unsigned i = 0; i < dbt->count; i++) {
		if (dbt->probes[i].state == PROBE_RESTING)
			w_timer_start(&dbt->loop, &dbt->probes[i].timer, 0, 0);
	}
}

static bool
takes_writes(const struct dbt_topology *topology)
{
	return topology->primary >= 0 && !topology->nodes[topology->primary].draining;
}

/* The prober runs. Whoever has slept has heard nobody, and that says nothing about them. */
static void
note_look(struct dbt *dbt, w_usec now)
{
	if (dbt->looked > 0 && now - dbt->looked > ASLEEP) {
		dbt->rules.awake = now;
		w_log(W_WARN, "", "prober-slept", "ms=%lld", (long long)((now - dbt->looked) / W_MSEC));
	}
	dbt->looked = now;
}

static void on_places(void *arg);

/* Who is primary, or about to be. Who was, and is in the cluster file no more, may go then. */
static void
note_heir(struct dbt *dbt, int heir)
{
	if (heir < 0 || heir == atomic_load_explicit(&dbt->heir, memory_order_relaxed))
		return;
	atomic_store_explicit(&dbt->heir, heir, memory_order_relaxed);
	for (unsigned i = 0; i < dbt->count; i++) {
		if (!dbt->probes[i].unlisted)
			continue;
		/* not from within one of its probe's callbacks */
		w_loop_call(&dbt->loop, on_places, dbt);
		return;
	}
}

/* Derive, compare, publish when there is news, or somebody waits for what was seen just now. */
static void
publish(struct dbt *dbt, bool awaited)
{
	w_usec now = w_now();
	struct snapshot *old = atomic_load_explicit(&dbt->current, memory_order_relaxed);
	struct snapshot *new = take_snapshot(dbt, now);
	bool differs;

	note_look(dbt, now);
	if (dbt__systems_judge(dbt->seen, dbt->count, &dbt->system))
		dbt->floor = dbt__floor_of(dbt->seen, dbt->count);
	memset(&new->topology, 0, sizeof(new->topology));
	dbt__topology_make(dbt->seen, dbt->count, &dbt->rules, now, &dbt->floor, &new->topology);
	dbt__topology_forks(&new->topology, &dbt->history);
	note_heir(dbt, new->topology.heir);
	differs = dbt__topology_differs(&old->topology, &new->topology);
	if (!differs && !awaited && now - dbt->published < VALUES_EVERY) {
		/* Fresh for the next time: as old as anything can be. */
		new->retired = 0;
		w_list_push(dbt->retired.next, &new->node);
		return;
	}
	new->topology.version = old->topology.version + 1;
	old->retired = now;
	w_list_push(&dbt->retired, &old->node);
	atomic_store_explicit(&dbt->current, new, memory_order_release);
	dbt->published = now;
	if (differs)
		dbt__topology_log(dbt->seen, &old->topology, &new->topology);
	if (differs || awaited)
		tell_listeners(dbt, &new->topology, differs);
	if (takes_writes(&new->topology)) {
		dbt->stopped = 0;
	} else if (dbt->stopped == 0) {
		dbt->stopped = now;
		hurry(dbt);
	}
}

static void
on_beat(void *arg)
{
	publish(arg, false);
}

/* ---- one node ---- */

static void dial_node(struct probe *probe);

static struct dbt__seen *
seen_of(struct probe *probe)
{
	return &probe->dbt->seen[probe->index];
}

static w_usec
interval_now(const struct probe *probe)
{
	const struct dbt *dbt = probe->dbt;
	const struct snapshot *now = atomic_load_explicit(&dbt->current, memory_order_relaxed);

	if (dbt->stopped == 0)
		return dbt->interval;
	if (w_now() - dbt->stopped > RUSH_TIME)
		return W_MIN(dbt->interval, HURRY);
	return W_MIN(dbt->interval, now->topology.heir == (int)probe->index ? HEIR_EVERY : RUSH);
}

static void
hang_up(struct probe *probe)
{
	dbt__watch_stop(&probe->watch);
	dbt__dial_stop(&probe->dial);
	if (probe->conn != NULL)
		PQfinish(w_steal(&probe->conn));
	probe->prepared = false;
	probe->sessions_asked = 0;
}

static void
note_failure(struct probe *probe, const char *why, bool refused)
{
	struct dbt__seen *seen = seen_of(probe);

	snprintf(seen->why, sizeof(seen->why), "%.*s", (int)sizeof(seen->why) - 1, why);
	seen->refused = refused;
	publish(probe->dbt, false);
}

/* The kept connection failed. That alone is no verdict: a new one is tried at once. */
static void
lose(struct probe *probe, const char *why)
{
	hang_up(probe);
	note_failure(probe, why, false);
	dial_node(probe);
}

/*
 * pg_control_checkpoint() and received_tli are behind or ahead for a while after a promotion;
 * the name of the WAL file being written is not, since it comes from the insertion timeline.
 */
static const char probe_sql[] =
    "SELECT r, CASE WHEN r THEN greatest("
    "(SELECT received_tli FROM pg_stat_wal_receiver),"
    "(SELECT timeline_id FROM pg_control_checkpoint()))"
    " ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,"
    " CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END,"
    " CASE WHEN r THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END,"
    " CASE WHEN r THEN (SELECT status = 'streaming' FROM pg_stat_wal_receiver) END,"
    " CASE WHEN r THEN (extract(epoch FROM clock_timestamp() -"
    " pg_last_xact_replay_timestamp()) * 1e6)::bigint END,"
    " CASE WHEN $1::bool THEN (SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend') END,"
    " CASE WHEN NOT r THEN current_setting('synchronous_standby_names') END,"
    /* A role that may not see the states (NULL) cannot know of a missing quorum. */
    " CASE WHEN NOT r THEN (SELECT string_agg(CASE WHEN state IS NULL THEN 'FFFFFFFF/FFFFFFFF'"
    " ELSE coalesce(flush_lsn, '0/0')::text END, ' ') FROM pg_stat_get_wal_senders()"
    " WHERE state IS NULL OR (state = 'streaming' AND sync_state IN ('sync', 'quorum'))) END,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1e6)::bigint,"
    /* The postmaster survives the crash of a backend; its checkpointer does not. */
    " CASE WHEN $1::bool THEN (SELECT (extract(epoch FROM max(backend_start)) * 1e6)::bigint"
    " FROM pg_stat_activity WHERE backend_type = 'checkpointer') END,"
    " NOT r AND current_setting('default_transaction_read_only')::bool,"
    " CASE WHEN $1::bool THEN (SELECT system_identifier FROM pg_control_system()) END"
    " FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) AS recovery";

enum { COL_RECOVERY, COL_TIMELINE, COL_POSITION, COL_RECEIVED, COL_STREAMING, COL_REPLAY_AGE,
	COL_SESSIONS, COL_QUORUM, COL_FLUSHED, COL_STARTED, COL_RECOVERED, COL_DRAINING,
	COL_SYSTEM, COLUMNS };

static struct w_view
field(const PGresult *result, int column)
{
	if (PQgetisnull(result, 0, column))
		return (struct w_view){ 0 };
	return (struct w_view){ PQgetvalue(result, 0, column),
		(size_t)PQgetlength(result, 0, column) };
}

static uint64_t
number(const PGresult *result, int column, uint64_t otherwise)
{
	uint64_t value;

	return w_view_u64(field(result, column), UINT64_MAX, &value) < 0 ? otherwise : value;
}

/* Standbys that may acknowledge, a word for each: what it has flushed. */
static void
read_flushed(struct dbt__seen *seen, struct w_view words)
{
	struct w_view word;

	seen->attached = 0;
	for (; w_view_split(&words, ' ', &word); seen->attached++) {
		if (seen->attached < DBT_NODES_MAX &&
		    dbt__lsn_parse(word, &seen->flushed[seen->attached]) < 0)
			seen->flushed[seen->attached] = 0;
	}
}

/* False: the answer makes no sense. */
static bool
read_answer(struct dbt__seen *seen, const PGresult *result, w_usec asked)
{
	uint64_t position, received = 0;

	if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS)
		return false;
	/* A standby that has replayed nothing yet has no position; so far it is no use. */
	if (dbt__lsn_parse(field(result, COL_POSITION), &position) < 0)
		return false;
	(void)dbt__lsn_parse(field(result, COL_RECEIVED), &received);
	seen->recovery = w_view_eq(field(result, COL_RECOVERY), W_VIEW("t"));
	seen->timeline = (uint32_t)number(result, COL_TIMELINE, 0);
	seen->position = position;
	seen->received = received;
	if (w_view_eq(field(result, COL_STREAMING), W_VIEW("t")))
		seen->streamed = asked;
	seen->replay_age = (w_usec)number(result, COL_REPLAY_AGE, 0);
	seen->sessions = (unsigned)number(result, COL_SESSIONS, seen->sessions);
	seen->quorum = dbt__quorum_parse(field(result, COL_QUORUM));
	read_flushed(seen, field(result, COL_FLUSHED));
	seen->run = (struct dbt__run){ seen->timeline, (int64_t)number(result, COL_STARTED, 0),
		(int64_t)number(result, COL_RECOVERED, 0) };
	seen->draining = w_view_eq(field(result, COL_DRAINING), W_VIEW("t"));
	seen->system = number(result, COL_SYSTEM, seen->system);
	seen->answered = asked;
	seen->heard = w_now();
	seen->refused = false;
	seen->why[0] = '\0';
	return true;
}

static void
answered(struct probe *probe, const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	char text[160], why[200], object[80];

	if (status == PGRES_TUPLES_OK && read_answer(seen_of(probe), result, probe->asked)) {
		probe->misread = false;
		publish(probe->dbt, probe->suspicious);
		probe->suspicious = false;
		return;
	}
	snprintf(text, sizeof(text), "%s", status == PGRES_TUPLES_OK ? "no position yet" :
	    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) != NULL ?
	    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : "connection lost");
	/* A lost connection is told when it makes a difference; what asks for a mend, at once. */
	if (!probe->misread && dbt__sqlstate_of(result)[0] != '\0' && !dbt__is_goodbye(result)) {
		snprintf(object, sizeof(object), "db=%s", seen_of(probe)->name);
		w_log(W_WARN, object, "probe-failed", "why=%s",
		    w_log_quote(w_view_of(text), why, sizeof(why)));
		probe->misread = true;
	}
	note_failure(probe, text, false);
}

static void
rest(struct probe *probe)
{
	w_usec interval = probe->again ? SUSPECTS_EVERY : interval_now(probe);
	w_usec due = probe->asked + interval - w_now();

	probe->state = PROBE_RESTING;
	dbt__watch_set(&probe->watch, PQsocket(probe->conn), UV_READABLE);
	w_timer_start(&probe->dbt->loop, &probe->timer, W_MAX(due, W_MSEC), 0);
}

static bool
lacks_history(const struct probe *probe)
{
	const struct dbt *dbt = probe->dbt;
	const struct dbt__seen *seen = &dbt->seen[probe->index];

	return !seen->refused && !seen->recovery && seen->timeline > 1 &&
	    seen->timeline == dbt->floor && seen->timeline != dbt->history.timeline &&
	    (probe->history_asked == 0 || w_now() - probe->history_asked >= HISTORY_EVERY);
}

static void
told_history(struct probe *probe, const PGresult *result)
{
	struct dbt *dbt = probe->dbt;
	uint32_t timeline = dbt->seen[probe->index].timeline;
	bool there = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
	    !PQgetisnull(result, 0, 0);
	const char *error = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char object[80], why[200];

	if (there && dbt__history_parse(timeline, field(result, 0), &dbt->history) == W_OK) {
		dbt->history_told = false;
		publish(dbt, false);
		return;
	}
	if (dbt->history_told)
		return;
	dbt->history_told = true;
	snprintf(object, sizeof(object), "db=%s", dbt->seen[probe->index].name);
	w_log(W_WARN, object, "history-unknown", "timeline=%u reads_after_older_writes=primary why=%s",
	    timeline, w_log_quote(w_view_of(there ? "not understood" : error != NULL ? error :
	    "no such file"), why, sizeof(why)));
}

/* Take what has come; true when the answer to the question is complete. */
static bool
read_results(struct probe *probe)
{
	PGresult *result;

	while (!PQisBusy(probe->conn)) {
		result = PQgetResult(probe->conn);
		if (result == NULL)
			return true;
		if (probe->question == ASK_HISTORY)
			told_history(probe, result);
		else if (probe->question == ASK_PREPARE &&
		    PQresultStatus(result) == PGRES_COMMAND_OK)
			probe->prepared = true;
		else
			answered(probe, result);
		PQclear(result);
		if (PQstatus(probe->conn) != CONNECTION_OK)
			return false;
	}
	return false;
}

static bool
send_question(struct probe *probe, enum question question)
{
	w_usec now = w_now();
	/* The first question on a connection asks for all: it may have been a crash that cut the last. */
	bool sessions = now - probe->sessions_asked >= SESSIONS_EVERY;
	char timeline[16];
	const char *all[1] = { sessions ? "t" : "f" }, *of[1] = { timeline };
	int rc = 0;

	probe->question = question;
	switch (question) {
	case ASK_PREPARE:
		rc = PQsendPrepare(probe->conn, "weir_probe", probe_sql, 1, NULL);
		break;
	case ASK_STATE:
		rc = PQsendQueryPrepared(probe->conn, "weir_probe", 1, all, NULL, NULL, 0);
		if (sessions)
			probe->sessions_asked = now;
		break;
	case ASK_HISTORY:
		probe->history_asked = now;
		snprintf(timeline, sizeof(timeline), "%u", seen_of(probe)->timeline);
		rc = PQsendQueryParams(probe->conn, "SELECT weir.timeline_history($1::int)", 1, NULL,
		    of, NULL, NULL, 0);
		break;
	}
	if (rc == 0)
		return false;
	rc = PQflush(probe->conn);
	dbt__watch_set(&probe->watch, PQsocket(probe->conn),
	    UV_READABLE | (rc > 0 ? UV_WRITABLE : 0));
	return rc >= 0;
}

/* The answer is complete: what is asked next. A history comes last, so that it delays nothing. */
static bool
ask_on(struct probe *probe)
{
	if (probe->question == ASK_PREPARE && probe->prepared)
		return send_question(probe, ASK_STATE);
	if (probe->question == ASK_STATE && lacks_history(probe))
		return send_question(probe, ASK_HISTORY);
	rest(probe);
	return true;
}

static void
on_readable(void *arg, int events)
{
	struct probe *probe = arg;
	int rest_to_send = 0;
	bool alive = PQconsumeInput(probe->conn) == 1, whole;

	if (probe->state == PROBE_ASKING) {
		whole = read_results(probe);
		if (alive && (events & UV_WRITABLE) != 0)
			rest_to_send = PQflush(probe->conn);
		if (alive && whole)
			alive = ask_on(probe);
		else if (alive && rest_to_send == 0)
			dbt__watch_set(&probe->watch, PQsocket(probe->conn), UV_READABLE);
	}
	if (!alive || rest_to_send < 0 || PQstatus(probe->conn) != CONNECTION_OK)
		lose(probe, "connection lost");
}

static void
ask(struct probe *probe)
{
	const struct dbt *dbt = probe->dbt;

	probe->state = PROBE_ASKING;
	probe->suspicious = probe->suspicious || probe->again;
	probe->again = false;
	probe->asked = w_now();
	w_timer_start(&probe->dbt->loop, &probe->timer, (w_usec)dbt->cluster->opt.probe_timeout, 0);
	if (!send_question(probe, probe->prepared ? ASK_STATE : ASK_PREPARE))
		lose(probe, "connection lost");
}

static void
on_dialed(void *arg, PGconn *conn, const char *why)
{
	struct probe *probe = arg;
	unsigned shift = W_MIN(probe->failures, 8U);
	w_usec wait = W_MIN(BACKOFF_LEAST << shift, BACKOFF_MOST);

	if (conn != NULL) {
		probe->conn = conn;
		probe->failures = 0;
		PQsetnonblocking(conn, 1);
		ask(probe);
		return;
	}
	probe->failures++;
	probe->state = PROBE_WAITING;
	wait += (w_usec)(w_random() % (uint64_t)(wait / 4));
	w_timer_start(&probe->dbt->loop, &probe->timer, wait, 0);
	note_failure(probe, why, true);
}

static void
dial_node(struct probe *probe)
{
	struct dbt *dbt = probe->dbt;

	probe->state = PROBE_DIALING;
	w_timer_stop(&probe->timer);
	probe->dial = (struct dbt__dial){
		.loop = &dbt->loop,
		.login = &probe->place->agent,
		.application = "weir-probe", /* without settings of its own: the node's are asked for */
		.timeout = (w_usec)dbt->cluster->opt.probe_timeout,
		.done = on_dialed,
		.arg = probe,
	};
	dbt__dial_start(&probe->dial);
}

static void
on_probe_timer(void *arg)
{
	struct probe *probe = arg;

	switch (probe->state) {
	case PROBE_OFF:
		break;
	case PROBE_RESTING:
		ask(probe);
		break;
	case PROBE_ASKING:
		lose(probe, "no answer in time");
		break;
	default:
		dial_node(probe);
		break;
	}
}

/* ---- hints from workers ---- */

static void
on_suspect(void *arg)
{
	struct probe *probe = arg;

	atomic_store_explicit(&probe->suspected, false, memory_order_relaxed);
	/* An answer on its way was asked for before; one that is to come will be asked for after. */
	probe->again = true;
	if (probe->state != PROBE_RESTING)
		return;
	if (w_now() - probe->asked >= SUSPECTS_EVERY)
		ask(probe);
	else
		rest(probe);
}

void
dbt__suspect(struct dbt *dbt, unsigned slot)
{
	if (slot >= DBT_NODES_MAX)
		return;
	if (!atomic_exchange_explicit(&dbt->probes[slot].suspected, true, memory_order_relaxed))
		w_loop_call(&dbt->loop, on_suspect, &dbt->probes[slot]);
}

void
dbt__listen(struct dbt *dbt, struct dbt__listener *listener)
{
	pthread_mutex_lock(&dbt->lock);
	w_list_push(&dbt->listeners, &listener->node);
	pthread_mutex_unlock(&dbt->lock);
}

void
dbt__unlisten(struct dbt *dbt, struct dbt__listener *listener)
{
	pthread_mutex_lock(&dbt->lock);
	w_list_remove(&listener->node);
	pthread_mutex_unlock(&dbt->lock);
}

void
dbt_on_change(struct dbt *dbt, void (*fn)(const struct dbt_topology *topology, void *arg),
    void *arg)
{
	pthread_mutex_lock(&dbt->lock);
	dbt->on_change = fn;
	dbt->on_change_arg = arg;
	pthread_mutex_unlock(&dbt->lock);
}

w_usec
dbt__trust(const struct dbt *dbt)
{
	return dbt->rules.doubt + 2 * VALUES_EVERY;
}

/* ---- nodes come and go ---- */

static void
put_off(struct probe *probe)
{
	struct dbt *dbt = probe->dbt;
	int slot = (int)probe->index;

	hang_up(probe);
	w_timer_stop(&probe->timer);
	dbt__place_drop(&probe->place);
	probe->state = PROBE_OFF;
	dbt->seen[probe->index] = (struct dbt__seen){ .gone = true };
	if (atomic_load_explicit(&dbt->heir, memory_order_relaxed) == slot)
		atomic_store_explicit(&dbt->heir, -1, memory_order_relaxed);
}

static void
put_on(struct probe *probe, struct dbt__place *place)
{
	probe->place = place;
	probe->failures = 0;
	probe->misread = probe->again = probe->suspicious = false;
	probe->history_asked = 0;
	probe->dbt->seen[probe->index] = (struct dbt__seen){
		.name = place->name, .generation = place->generation };
	dial_node(probe);
}

/* True: the node that was there is gone. */
static bool
follow_place(struct dbt *dbt, unsigned slot)
{
	struct dbt__place *place = dbt__places_take(&dbt->places, slot);
	struct probe *probe = &dbt->probes[slot];
	bool gone = probe->place != NULL && probe->place != place;

	probe->unlisted = dbt__places_unlisted(&dbt->places, slot);
	if (place == probe->place) {
		dbt__place_drop(&place);
		return false;
	}
	if (gone)
		put_off(probe);
	if (place != NULL)
		put_on(probe, place);
	return gone;
}

static void
follow_places(struct dbt *dbt)
{
	bool gone = false;

	dbt__places_sweep(&dbt->places, atomic_load_explicit(&dbt->heir, memory_order_relaxed));
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		gone = follow_place(dbt, i) || gone;
		if (dbt->probes[i].place != NULL)
			dbt->count = W_MAX(dbt->count, i + 1);
	}
	while (dbt->count > 0 && dbt->probes[dbt->count - 1].place == NULL)
		dbt->count--;
	/* Of a node that was added by mistake, and removed again, nobody need be the successor. */
	if (gone)
		dbt->floor = dbt__floor_of(dbt->seen, dbt->count);
}

static void
on_places(void *arg)
{
	struct dbt *dbt = arg;

	pthread_mutex_lock(&dbt->lock);
	dbt->rules.lag_limit = dbt->lag_limit;
	dbt->rules.lag_limit_time = dbt->lag_limit_time;
	pthread_mutex_unlock(&dbt->lock);
	follow_places(dbt);
	publish(dbt, false);
}

int
dbt_reload(struct dbt *dbt, const struct w_cluster *cluster, struct w_fault *fault)
{
	int heir = atomic_load_explicit(&dbt->heir, memory_order_relaxed);
	int rc = dbt__places_set(&dbt->places, cluster, heir, fault);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&dbt->lock);
	dbt->lag_limit = cluster->opt.lag_limit;
	dbt->lag_limit_time = cluster->opt.lag_limit_time;
	pthread_mutex_unlock(&dbt->lock);
	w_loop_call(&dbt->loop, on_places, dbt);
	return W_OK;
}

struct dbt__place *
dbt__place_of(struct dbt *dbt, unsigned slot, uint32_t generation)
{
	W_AUTO(dbt__place_drop) struct dbt__place *place = dbt__places_take(&dbt->places, slot);

	return place != NULL && place->generation == generation ? w_steal(&place) : NULL;
}

struct dbt__gauges *
dbt__gauges(struct dbt *dbt)
{
	return &dbt->gauges;
}

/* ---- life ---- */

static void *
prober_main(void *arg)
{
	struct dbt *dbt = arg;

	follow_places(dbt);
	dbt->beat = (struct w_timer){ .fire = on_beat, .arg = dbt };
	w_timer_start(&dbt->loop, &dbt->beat, BEAT, BEAT);
	w_loop_run(&dbt->loop);
	w_timer_fini(&dbt->beat);
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		put_off(&dbt->probes[i]);
		w_timer_fini(&dbt->probes[i].timer);
	}
	return NULL;
}

static void
free_dbt(struct dbt *dbt)
{
	struct w_list *node;

	dbt__places_fini(&dbt->places);
	while ((node = w_list_shift(&dbt->retired)) != NULL)
		free(w_list_entry(node, struct snapshot, node));
	free(atomic_load(&dbt->current));
	pthread_mutex_destroy(&dbt->lock);
	free(dbt);
}

static void
init_probes(struct dbt *dbt)
{
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		struct probe *probe = &dbt->probes[i];

		probe->dbt = dbt;
		probe->index = i;
		probe->watch = (struct dbt__watch){
			.loop = &dbt->loop, .ready = on_readable, .arg = probe };
		probe->timer.fire = on_probe_timer;
		probe->timer.arg = probe;
		dbt->seen[i].gone = true;
	}
}

static struct dbt *
new_dbt(const struct w_cluster *cluster)
{
	struct dbt *dbt = w_xcalloc(1, sizeof(*dbt));

	dbt->cluster = cluster;
	dbt->interval = (w_usec)cluster->opt.probe_interval;
	dbt->rules.doubt = dbt->interval + SLACK;
	/* Three probes missed, or one that took as long as it may. */
	dbt->rules.silence = W_MAX(3 * dbt->interval, (w_usec)cluster->opt.probe_timeout - W_MSEC);
	dbt->rules.lag_limit = dbt->lag_limit = cluster->opt.lag_limit;
	dbt->rules.lag_limit_time = dbt->lag_limit_time = cluster->opt.lag_limit_time;
	atomic_init(&dbt->heir, -1);
	w_list_init(&dbt->retired);
	w_list_init(&dbt->listeners);
	pthread_mutex_init(&dbt->lock, NULL);
	dbt__places_init(&dbt->places);
	init_probes(dbt);
	return dbt;
}

/* All are there and unknown. */
static void
publish_first(struct dbt *dbt)
{
	struct snapshot *first = w_xcalloc(1, sizeof(*first));
	struct dbt_topology *topology = &first->topology;

	w_list_init(&first->node);
	topology->version = 1;
	topology->primary = topology->heir = -1;
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		const struct dbt__place *place = dbt->places.slots[i];

		if (place == NULL)
			continue;
		topology->nodes[i].name = place->name;
		topology->nodes[i].generation = place->generation;
		topology->count = i + 1;
	}
	atomic_store(&dbt->current, first);
}

int
dbt_start(const struct w_cluster *cluster, struct dbt **ret, struct w_fault *fault)
{
	struct dbt *dbt = new_dbt(cluster);
	int rc = dbt__places_set(&dbt->places, cluster, -1, fault);

	if (rc < 0) {
		free_dbt(dbt);
		return rc;
	}
	publish_first(dbt);
	if (w_loop_init(&dbt->loop) < 0) {
		free_dbt(dbt);
		return w_fail(fault, -W_EIO, "database prober: cannot make an event loop");
	}
	if (pthread_create(&dbt->thread, NULL, prober_main, dbt) != 0) {
		w_loop_fini(&dbt->loop);
		free_dbt(dbt);
		return w_fail(fault, -W_EIO, "database prober: cannot start a thread");
	}
	*ret = dbt;
	return W_OK;
}

static void
on_stop(void *arg)
{
	w_loop_stop(arg);
}

void
dbt_stop(struct dbt **dbt)
{
	struct dbt *old = w_steal(dbt);

	if (old == NULL)
		return;
	w_loop_call(&old->loop, on_stop, &old->loop);
	pthread_join(old->thread, NULL);
	w_loop_fini(&old->loop);
	free_dbt(old);
}
