/*
 * Pieces of SQL. Every wait has a deadline: a frozen PostgreSQL takes connections and statements
 * and says nothing. See agent_sql.h.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "common/buf.h"
#include "dbtier/agent.h"
#include "dbtier/dial.h"

#define LOOK_MOST (500 * W_MSEC) /* an answer that takes longer is none */
#define POLL_EVERY (2 * W_MSEC)
#define SIGNS_MOST (50 * W_MSEC) /* for /proc to show that a fence has begun to hold */
#define NAMED_MOST (300 * W_MSEC)   /* for synchronous_standby_names to be in force */
#define FENCE_MOST (2 * W_SEC)
#define RECEIVE_MOST (500 * W_MSEC)  /* for what a target of a switchover waits for */
#define RECEIVER_MOST (100 * W_MSEC) /* a walreceiver that has not gone by then is terminated */
#define PROMOTE_MOST (5 * W_SEC)
#define MARK_SLICE (50 * W_MSEC)
#define ASK_MOST (1500 * W_MSEC)
#define CHECKPOINT_MOST (60 * W_SEC)
#define LSN_TEXT 32

/* ---- libpq with deadlines ---- */

static void
clear_result(PGresult **result)
{
	PQclear(*result);
	*result = NULL;
}

static void
finish_conn(PGconn **conn)
{
	PQfinish(*conn);
	*conn = NULL;
}

/* The first line of what libpq tells. */
static int
sql_failed(char why[DBT_TEXT], int err, const char *what, const char *text)
{
	snprintf(why, DBT_TEXT, "%s: %.*s", what, (int)W_MIN(strcspn(text, "\n"), (size_t)200), text);
	return err;
}

/* Errors: -W_ETIMEOUT */
static int
wait_for(const PGconn *conn, short events, w_usec deadline)
{
	struct pollfd fd = { .fd = PQsocket(conn), .events = events };
	int rc;

	do {
		w_usec left = W_MAX(deadline - w_now(), 0);

		rc = poll(&fd, 1, (int)((left + W_MSEC - 1) / W_MSEC));
	} while (rc < 0 && errno == EINTR);
	return rc == 0 ? -W_ETIMEOUT : W_OK;
}

static void
on_notice(void *arg, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	/* "canceling wait for synchronous replication": what was written may be here alone */
	if (severity != NULL && strcmp(severity, "WARNING") == 0)
		*(bool *)arg = true;
}

/* Errors: -W_ETIMEOUT, -W_EDOWN */
static int
sql_connect(const char *conninfo, w_usec deadline, PGconn **ret, char why[DBT_TEXT])
{
	W_AUTO(finish_conn) PGconn *conn = PQconnectStart(conninfo);
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (conn != NULL && PQstatus(conn) != CONNECTION_BAD && status != PGRES_POLLING_OK) {
		if (status == PGRES_POLLING_FAILED)
			break;
		if (wait_for(conn, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline) < 0)
			return sql_failed(why, -W_ETIMEOUT, "connecting", "no answer in time");
		status = PQconnectPoll(conn);
	}
	if (status != PGRES_POLLING_OK)
		return sql_failed(why, -W_EDOWN, "connecting", PQerrorMessage(conn));
	*ret = w_steal(&conn);
	return W_OK;
}

/* The next result. *ret NULL: there is none. Errors: -W_ETIMEOUT, -W_ELOST */
static int
sql_next(PGconn *conn, w_usec deadline, PGresult **ret, char why[DBT_TEXT])
{
	while (PQisBusy(conn)) {
		if (wait_for(conn, POLLIN, deadline) < 0)
			return sql_failed(why, -W_ETIMEOUT, "waiting", "no answer in time");
		if (PQconsumeInput(conn) == 0)
			return sql_failed(why, -W_ELOST, "waiting", PQerrorMessage(conn));
	}
	*ret = PQgetResult(conn);
	return W_OK;
}

/* Run a statement; the last result is *ret. Whatever fails closes the connection. */
static int
sql_run(PGconn **conn, const char *sql, w_usec deadline, PGresult **ret, char why[DBT_TEXT])
{
	W_AUTO(clear_result) PGresult *last = NULL;
	PGresult *next = NULL;
	int rc = PQsendQuery(*conn, sql) == 1 ? W_OK :
	    sql_failed(why, -W_ELOST, "sending", PQerrorMessage(*conn));

	while (rc == W_OK && (rc = sql_next(*conn, deadline, &next, why)) == W_OK && next != NULL) {
		PQclear(last);
		last = next;
	}
	if (rc == W_OK && PQresultStatus(last) != PGRES_TUPLES_OK && PQresultStatus(last) != PGRES_COMMAND_OK)
		rc = sql_failed(why, -W_ESQL, "statement", PQerrorMessage(*conn));
	if (rc < 0)
		finish_conn(conn);
	else
		*ret = w_steal(&last);
	return rc;
}

static uint64_t
number(const PGresult *result, int column)
{
	return strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

static bool
truth(const PGresult *result, int column)
{
	return PQgetvalue(result, 0, column)[0] == 't';
}

static uint64_t
parse_lsn(const char *text)
{
	unsigned high = 0, low = 0;

	return sscanf(text, "%X/%X", &high, &low) == 2 ? (uint64_t)high << 32 | low : 0;
}

/* ---- our own connections ---- */

static int
own_conninfo(const struct dbt_agent *agent, const struct w_member *node, bool replication, char **ret,
    char why[DBT_TEXT])
{
	W_AUTO(dbt__login_fini) struct dbt__login login = { 0 };
	W_AUTO(w_free) char *text = NULL;
	struct dbt__params params;
	struct w_fault fault = { 0 };

	if (dbt__login_make(agent->cluster, node, "agent", &login, &fault) < 0)
		return sql_failed(why, -W_EINVAL, "login", fault.text);
	dbt__params_of(&params, &login, login.numeric ? login.host : NULL, "weir-agent", NULL);
	text = dbt__params_text(&params);
	*ret = w_xasprintf("%s%s", text, replication ? " replication=database" : "");
	explicit_bzero(text, strlen(text));
	return W_OK;
}

static void
close_own(struct agent_conns *conns)
{
	finish_conn(&conns->look);
	finish_conn(&conns->work);
	conns->marking = conns->warned = conns->checkpointing = false;
}

static int
open_one(struct dbt_agent *agent, bool replication, PGconn **conn, w_usec deadline, char why[DBT_TEXT])
{
	W_AUTO(w_free) char *conninfo = NULL;
	int rc;

	if (*conn != NULL)
		return W_OK;
	rc = own_conninfo(agent, agent->self, replication, &conninfo, why);
	if (rc < 0)
		return rc;
	rc = sql_connect(conninfo, deadline, conn, why);
	explicit_bzero(conninfo, strlen(conninfo));
	return rc;
}

/* What promotes and marks is opened before it is needed: then there is no time for it. */
static int
open_work(struct dbt_agent *agent, w_usec deadline)
{
	static const char set_up[] = "set statement_timeout = 0; set synchronous_commit = on;"
				     "set default_transaction_read_only = off";
	W_AUTO(clear_result) PGresult *result = NULL;
	struct agent_conns *conns = &agent->conns;
	int rc;

	if (conns->work != NULL)
		return W_OK;
	conns->marking = conns->warned = conns->checkpointing = false;
	rc = open_one(agent, false, &conns->work, deadline, agent->piece.why);
	if (rc < 0)
		return rc;
	PQsetNoticeReceiver(conns->work, on_notice, &conns->warned);
	return sql_run(&conns->work, set_up, deadline, &result, agent->piece.why);
}

/* ---- look ---- */

enum {
	L_RECOVERY, L_RECEIVERS, L_RECEIVER, L_STARTUP, L_WAITS, L_ALONE, L_STREAMING, L_HEARD, L_ATTACHED,
	L_READ_ONLY, L_WRITERS, L_CLOCK, L_NAMES, L_COMMIT, L_FSYNC, L_PAGES, L_COUNT
};

/*
 * $1: since when transactions are read-only, $2: the roles that may write nothing. To plan it costs eight times
 * what running it does, and it is asked in every step of a failover: so it is planned once, and asks the functions
 * below PostgreSQL's views, which join.
 */
static const char look_sql[] =
    "set plan_cache_mode = force_generic_plan;"
    "prepare weir_look(bigint, text[]) as"
    " with a as materialized (select pid, backend_type as kind, wait_event, backend_xid, xact_start, usesysid"
    " from pg_stat_get_activity(null))"
    " select pg_is_in_recovery(),"
    " (select count(*) from a where kind = 'walreceiver'),"
    " coalesce((select min(pid) from a where kind = 'walreceiver'), 0),"
    " coalesce((select min(pid) from a where kind = 'startup'), 0),"
    " exists (select from a where kind = 'startup' and wait_event = 'RecoveryRetrieveRetryInterval'),"
    " current_setting('primary_conninfo') = '',"
    " coalesce((select status = 'streaming' from pg_stat_get_wal_receiver()), false),"
    " coalesce((select extract(epoch from clock_timestamp() - last_msg_receipt_time) * 1000"
    "   from pg_stat_get_wal_receiver()), -1)::bigint,"
    " (select count(*) from pg_stat_get_wal_senders() where state = 'streaming' and sync_state in ('quorum', 'sync')),"
    " current_setting('default_transaction_read_only') = 'on',"
    " (select count(*) from a where kind = 'client backend' and pid <> pg_backend_pid() and (backend_xid is not null"
    "   or wait_event = 'SyncRep' or (extract(epoch from xact_start) * 1000000 <= $1"
    "   and usesysid not in (select oid from pg_roles where rolname = any($2))))),"
    " (extract(epoch from clock_timestamp()) * 1000000)::bigint,"
    " current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),"
    " current_setting('fsync'), current_setting('full_page_writes')";

static void
add_literal(struct w_buf *out, const char *text)
{
	w_buf_char(out, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			w_buf_char(out, '\'');
		w_buf_char(out, *text);
	}
	w_buf_char(out, '\'');
}

static char *
look_text(const struct dbt_agent *agent)
{
	const struct w_cluster_options *opt = &agent->cluster->opt;
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };

	w_buf_printf(&out, "execute weir_look(%lld, array[", (long long)agent->piece.read_only_from);
	add_literal(&out, opt->ro_user);
	w_buf_text(&out, ", ");
	add_literal(&out, opt->agent_user);
	w_buf_text(&out, "])");
	return w_view_dup(w_buf_get(&out));
}

static int
open_look(struct dbt_agent *agent, w_usec deadline)
{
	W_AUTO(clear_result) PGresult *result = NULL;
	struct agent_conns *conns = &agent->conns;
	int rc;

	if (conns->pid != agent->piece.pid)
		close_own(conns);
	conns->pid = agent->piece.pid;
	if (conns->look != NULL)
		return W_OK;
	rc = open_one(agent, true, &conns->look, deadline, agent->piece.why);
	return rc < 0 ? rc : sql_run(&conns->look, look_sql, deadline, &result, agent->piece.why);
}

/* Settings that the promises rest on and that say something else. */
static void
judge_values(const struct dbt_agent *agent, const PGresult *result, struct agent_look *look)
{
	W_AUTO(w_free) char *names = dbt__agent_quorum(agent->piece.cohort);
	const char *commit = PQgetvalue(result, 0, L_COMMIT);
	const struct {
		const char *name, *is, *wanted;
		bool good;
	} rows[] = {
		{ "synchronous_standby_names", PQgetvalue(result, 0, L_NAMES), names,
		    strcmp(PQgetvalue(result, 0, L_NAMES), names) == 0 },
		{ "synchronous_commit", commit, "on", strcmp(commit, "on") == 0 || strcmp(commit, "remote_apply") == 0 },
		{ "fsync", PQgetvalue(result, 0, L_FSYNC), "on", strcmp(PQgetvalue(result, 0, L_FSYNC), "on") == 0 },
		{ "full_page_writes", PQgetvalue(result, 0, L_PAGES), "on",
		    strcmp(PQgetvalue(result, 0, L_PAGES), "on") == 0 },
	};

	for (size_t i = 0; i < W_NELEM(rows) && look->broken[0] == '\0'; i++)
		if (!rows[i].good)
			snprintf(look->broken, sizeof(look->broken), "%s is '%.90s', and must be '%.90s'", rows[i].name,
			    rows[i].is, rows[i].wanted);
}

/* ALTER SYSTEM writes postgresql.auto.conf, which PostgreSQL reads after ours. */
static int
judge_sources(struct dbt_agent *agent, struct agent_look *look, w_usec deadline)
{
	static const char sql[] =
	    "select string_agg(name, ', ') from pg_settings where name in ('synchronous_standby_names',"
	    " 'synchronous_commit', 'fsync', 'full_page_writes', 'primary_conninfo', 'primary_slot_name',"
	    " 'restore_command', 'recovery_min_apply_delay', 'recovery_target_timeline', 'restart_after_crash',"
	    " 'default_transaction_read_only') and source not in ('default', 'session')"
	    " and sourcefile is distinct from current_setting('data_directory') || '/weir.conf'";
	W_AUTO(clear_result) PGresult *result = NULL;
	int rc = sql_run(&agent->conns.look, sql, deadline, &result, agent->piece.why);

	if (rc < 0)
		return rc;
	if (look->broken[0] == '\0' && !PQgetisnull(result, 0, 0))
		snprintf(look->broken, sizeof(look->broken), "%.150s is set elsewhere than in weir.conf (alter system"
		    " reset ... takes that back)", PQgetvalue(result, 0, 0));
	look->judged = true;
	return W_OK;
}

static void
read_look(const struct dbt_agent *agent, const PGresult *result, struct agent_look *look)
{
	W_AUTO(w_free) char *names = dbt__agent_quorum(agent->piece.cohort);

	look->recovery = truth(result, L_RECOVERY);
	look->receivers = (unsigned)number(result, L_RECEIVERS);
	look->receiver = (int)number(result, L_RECEIVER);
	look->startup = (int)number(result, L_STARTUP);
	look->at_end = truth(result, L_WAITS);
	look->alone = truth(result, L_ALONE);
	look->named = strcmp(PQgetvalue(result, 0, L_NAMES), names) == 0;
	look->streaming = truth(result, L_STREAMING);
	look->heard_ms = strtoll(PQgetvalue(result, 0, L_HEARD), NULL, 10);
	look->attached = (unsigned)number(result, L_ATTACHED);
	look->read_only = truth(result, L_READ_ONLY);
	look->writers = (unsigned)number(result, L_WRITERS);
	look->clock = strtoll(PQgetvalue(result, 0, L_CLOCK), NULL, 10);
}

/* Timeline and end of the WAL that it has: what no SQL function tells of a standby. */
static int
identify(PGconn **conn, w_usec deadline, struct agent_look *look, char why[DBT_TEXT])
{
	W_AUTO(clear_result) PGresult *result = NULL;
	int rc = sql_run(conn, "IDENTIFY_SYSTEM", deadline, &result, why);

	if (rc < 0)
		return rc;
	if (PQntuples(result) != 1 || PQnfields(result) < 3)
		return sql_failed(why, -W_EPROTO, "IDENTIFY_SYSTEM", "an answer of another form");
	snprintf(look->system, sizeof(look->system), "%s", PQgetvalue(result, 0, 0));
	look->timeline = (uint32_t)number(result, 1);
	look->lsn = parse_lsn(PQgetvalue(result, 0, 2));
	return W_OK;
}

/* Errors: -W_ETIMEOUT: frozen; others: it does not answer, or refuses. */
static int
look_now(struct dbt_agent *agent, w_usec deadline, struct agent_look *ret)
{
	W_AUTO(clear_result) PGresult *result = NULL;
	W_AUTO(w_free) char *sql = look_text(agent);
	struct agent_look look = { .answered = true };
	char *why = agent->piece.why;
	int rc = open_look(agent, deadline);

	if (rc == W_OK)
		rc = sql_run(&agent->conns.look, sql, deadline, &result, why);
	if (rc == W_OK && (PQntuples(result) != 1 || PQnfields(result) != L_COUNT))
		rc = sql_failed(why, -W_EPROTO, "look", "an answer of another form");
	if (rc == W_OK) {
		read_look(agent, result, &look);
		rc = identify(&agent->conns.look, deadline, &look, why);
	}
	if (rc == W_OK && agent->piece.judge) {
		judge_values(agent, result, &look);
		rc = judge_sources(agent, &look, deadline);
	}
	if (rc < 0)
		look = (struct agent_look){ .late = rc == -W_ETIMEOUT };
	*ret = look;
	return rc;
}

static void
piece_look(struct dbt_agent *agent)
{
	struct agent_piece *piece = &agent->piece;

	piece->rc = look_now(agent, piece->started + LOOK_MOST, &piece->look);
	if (piece->rc < 0)
		close_own(&agent->conns);
	else
		(void)open_work(agent, w_now() + LOOK_MOST);
}

/* ---- fence ---- */

static void
nap(void)
{
	struct timespec pause = { .tv_nsec = POLL_EVERY * 1000 };

	nanosleep(&pause, NULL);
}

/* The target of a switchover takes what the others have before it lets go. */
static void
piece_receive(struct dbt_agent *agent)
{
	struct agent_piece *piece = &agent->piece;
	w_usec until = piece->started + RECEIVE_MOST;
	struct agent_look now = { 0 };

	piece->rc = open_look(agent, until);
	while (piece->rc == W_OK && now.lsn < piece->lsn && w_now() < until) {
		piece->rc = identify(&agent->conns.look, w_now() + LOOK_MOST, &now, piece->why);
		if (now.lsn < piece->lsn)
			nap();
	}
	if (piece->rc == W_OK)
		piece->rc = look_now(agent, w_now() + LOOK_MOST, &piece->look);
	if (piece->rc < 0)
		close_own(&agent->conns);
}

/*
 * Of weir.conf's upstream the startup process learns and nobody else, and the session that looks, since its
 * settings are looked at. The postmaster would tell every session, and all of them read the files at once.
 */
static void
reread(const struct agent_conns *conns, int64_t postmaster, int startup)
{
	int session = conns->look != NULL && conns->pid == postmaster ? PQbackendPID(conns->look) : 0;

	/* what has ended meanwhile may have left its number to anybody */
	if (!dbt__proc_is_child(startup, postmaster) || !dbt__proc_is_child(session, postmaster)) {
		kill((pid_t)postmaster, SIGHUP);
		return;
	}
	kill((pid_t)startup, SIGHUP);
	kill((pid_t)session, SIGHUP);
}

void
dbt__agent_reread(struct dbt_agent *agent)
{
	W_ASSERT(!agent->piece.running);
	if (agent->pm.pid == 0)
		return;
	agent->unread = w_now();
	reread(&agent->conns, agent->pm.pid, agent->look.startup);
}

/* Looks take what those need who are waited for, so the first ones are cheap. */
static void
await_signs(const struct agent_piece *piece)
{
	w_usec until = w_now() + SIGNS_MOST;

	while (w_now() < until && (dbt__proc_pending(piece->startup, SIGHUP) ||
	    (piece->receiver > 1 && dbt__proc_is_child(piece->receiver, piece->pid))))
		nap();
}

/*
 * Whether nothing moves any more. The startup process has seen the new settings when its SIGHUP
 * is no longer pending and it waits, asking nobody. It may have been just about to ask for a walreceiver
 * as the signal came: that one is seen, or the next look finds it waiting for it. So it takes two.
 * Whom its commits will wait for as a primary must be in force, too; where somebody else has set that, it never
 * will be, which is told as broken settings.
 */
static bool
is_still(const struct agent_look *look, const struct agent_look *before)
{
	return look->alone && look->receivers == 0 && look->at_end && before->at_end && before->alone &&
	    before->receivers == 0 && look->timeline == before->timeline && look->lsn == before->lsn &&
	    !dbt__proc_pending(look->startup, SIGHUP);
}

static int
await_still(struct dbt_agent *agent)
{
	struct agent_piece *piece = &agent->piece;
	w_usec began = w_now(), until = began + FENCE_MOST;
	struct agent_look before = { 0 };
	int rc;

	while ((rc = look_now(agent, w_now() + LOOK_MOST, &piece->look)) == W_OK) {
		const struct agent_look *look = &piece->look;

		if (!look->recovery)
			return sql_failed(piece->why, -W_ECONFLICT, "fence", "it is no standby");
		if (is_still(look, &before) && (look->named || w_now() > began + NAMED_MOST))
			return W_OK;
		if (w_now() > until)
			return sql_failed(piece->why, -W_EAGAIN, "fence",
			    look->receivers > 0 ? "its walreceiver does not end" : "it still replays");
		if (look->receiver > 1 && w_now() > began + RECEIVER_MOST)
			kill((pid_t)look->receiver, SIGTERM);
		before = *look;
		nap();
	}
	return rc;
}

static void
piece_fence(struct dbt_agent *agent)
{
	struct agent_piece *piece = &agent->piece;
	const struct agent_conf conf = { .upstream = "", .cohort = piece->cohort };
	struct w_fault fault = { 0 };

	piece->rc = dbt__agent_settings(agent, agent->opt->data, &conf, &fault);
	if (piece->rc < 0) {
		sql_failed(piece->why, piece->rc, "fence", fault.text);
	} else {
		if (piece->whole)
			kill((pid_t)piece->pid, SIGHUP);
		else
			reread(&agent->conns, piece->pid, piece->startup);
		await_signs(piece);
		piece->rc = await_still(agent);
	}
	if (piece->rc == W_OK)
		piece->rc = open_work(agent, w_now() + LOOK_MOST);
	if (piece->rc < 0 && piece->rc != -W_EAGAIN)
		close_own(&agent->conns);
}

/* ---- promote, mark ---- */

static int
await_primary(struct dbt_agent *agent, w_usec deadline)
{
	PGconn **conn = &agent->conns.work;
	int rc = W_OK;

	while (rc == W_OK) {
		W_AUTO(clear_result) PGresult *result = NULL;

		rc = sql_run(conn, "select pg_is_in_recovery()", deadline, &result, agent->piece.why);
		if (rc == W_OK && !truth(result, 0))
			return W_OK;
		if (rc == W_OK && w_now() > deadline)
			return sql_failed(agent->piece.why, -W_ETIMEOUT, "promote", "it is still a standby");
		nap();
	}
	return rc;
}

/* The marker's commit waits on its connection, over many pieces; it is never cancelled. */
static void
send_marker(struct dbt_agent *agent)
{
	struct agent_conns *conns = &agent->conns;
	W_AUTO(w_free) char *sql =
	    w_xasprintf("select pg_logical_emit_message(true, 'weir.term', '%u')", agent->piece.term);

	conns->warned = false;
	conns->marking = PQsendQuery(conns->work, sql) == 1;
}

/* Of what timeline it is now is looked at while the marker is on its way: it counts when that is the term. */
static void
piece_promote(struct dbt_agent *agent)
{
	struct agent_piece *piece = &agent->piece;
	w_usec deadline = piece->started + PROMOTE_MOST;
	W_AUTO(clear_result) PGresult *result = NULL;
	struct w_fault fault = { 0 };

	piece->rc = dbt__timelines_fill(agent->opt->data, piece->term, agent->uid, agent->gid, &fault);
	if (piece->rc < 0) {
		sql_failed(piece->why, piece->rc, "promote", fault.text);
		return;
	}
	piece->rc = open_look(agent, deadline);
	if (piece->rc == W_OK)
		piece->rc = open_work(agent, deadline);
	if (piece->rc == W_OK)
		piece->rc = sql_run(&agent->conns.work, "select pg_promote(false)", deadline, &result, piece->why);
	if (piece->rc == W_OK)
		piece->rc = await_primary(agent, deadline);
	if (piece->rc == W_OK)
		send_marker(agent);
	if (piece->rc == W_OK)
		piece->rc = look_now(agent, deadline, &piece->look);
	if (piece->rc < 0)
		close_own(&agent->conns);
}

/*
 * pg_rewind takes the timeline of the last checkpoint for that of the data, and the one that follows a
 * promotion takes its time: a leader that is lost before its end could not be rewound, only cloned. So one
 * is asked for that does not. Nobody waits for it, and the connection is not used any more.
 */
static void
checkpoint_soon(struct agent_conns *conns)
{
	conns->checkpointing = PQsendQuery(conns->work, "checkpoint") == 1;
}

static void
piece_mark(struct dbt_agent *agent)
{
	struct agent_piece *piece = &agent->piece;
	struct agent_conns *conns = &agent->conns;
	PGresult *result = NULL;
	bool good = false;

	piece->rc = open_look(agent, piece->started + LOOK_MOST);
	if (conns->checkpointing)
		finish_conn(&conns->work);
	if (piece->rc == W_OK)
		piece->rc = open_work(agent, piece->started + LOOK_MOST);
	if (piece->rc == W_OK && !conns->marking)
		send_marker(agent);
	while (piece->rc == W_OK) {
		piece->rc = sql_next(conns->work, w_now() + MARK_SLICE, &result, piece->why);
		if (piece->rc < 0 || result == NULL)
			break;
		good = PQresultStatus(result) == PGRES_TUPLES_OK;
		if (!good)
			sql_failed(piece->why, -W_ESQL, "mark", PQerrorMessage(conns->work));
		PQclear(result);
	}
	if (piece->rc == -W_ETIMEOUT && conns->marking)
		return;
	conns->marking = false;
	if (piece->rc == W_OK && (!good || conns->warned))
		piece->rc = -W_ESQL;
	if (piece->rc < 0)
		finish_conn(&conns->work);
	else
		checkpoint_soon(conns);
}

/* ---- ask, checkpoint ---- */

/* One line of a history file: where a timeline ended. */
static bool
read_history(const char *line, uint32_t *timeline, uint64_t *end)
{
	unsigned number_, high, low;

	if (sscanf(line, "%u %X/%X", &number_, &high, &low) != 3)
		return false;
	*timeline = number_;
	*end = (uint64_t)high << 32 | low;
	return true;
}

enum agent_verdict
dbt__agent_judge(uint32_t own_timeline, uint64_t own_lsn, uint32_t timeline, const char *history)
{
	uint32_t ended;
	uint64_t end;

	if (own_timeline == timeline)
		return VERDICT_TURN;
	for (const char *line = history; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
		line += strspn(line, "\n");
		if (read_history(line, &ended, &end) && ended == own_timeline)
			return own_lsn <= end ? VERDICT_TURN : VERDICT_REWIND;
	}
	return VERDICT_REWIND;
}

static int
open_upstream(struct dbt_agent *agent, w_usec deadline, PGconn **ret)
{
	struct agent_piece *piece = &agent->piece;
	const struct w_member *node = w_cluster_find(agent->cluster, w_view_of(piece->upstream));
	W_AUTO(w_free) char *conninfo = NULL;
	int rc;

	if (node == NULL || node->role != W_DATABASE)
		return sql_failed(piece->why, -W_ENOTFOUND, piece->upstream, "no such database node");
	rc = own_conninfo(agent, node, true, &conninfo, piece->why);
	if (rc < 0)
		return rc;
	rc = sql_connect(conninfo, deadline, ret, piece->why);
	explicit_bzero(conninfo, strlen(conninfo));
	return rc;
}

/* Judge by what the upstream says of itself. */
static int
ask_history(struct dbt_agent *agent, PGconn **conn, const struct agent_look *up, w_usec deadline)
{
	struct agent_piece *piece = &agent->piece;
	W_AUTO(w_free) char *sql = w_xasprintf("TIMELINE_HISTORY %u", up->timeline);
	W_AUTO(clear_result) PGresult *result = NULL;
	int rc;

	if (up->timeline == piece->timeline || up->timeline == 1) {
		piece->verdict = dbt__agent_judge(piece->timeline, piece->lsn, up->timeline, "");
		return W_OK;
	}
	rc = sql_run(conn, sql, deadline, &result, piece->why);
	if (rc == W_OK && (PQntuples(result) != 1 || PQnfields(result) != 2))
		rc = sql_failed(piece->why, -W_EPROTO, "TIMELINE_HISTORY", "an answer of another form");
	if (rc == W_OK)
		piece->verdict = dbt__agent_judge(piece->timeline, piece->lsn, up->timeline,
		    PQgetvalue(result, 0, 1));
	return rc;
}

/* An upstream that is not promoted yet may have less than we do: then it is asked again. */
static void
judge_again(struct agent_piece *piece, const struct agent_look *up, bool recovery)
{
	bool ahead = up->timeline == piece->timeline && piece->lsn > up->lsn;

	if (!ahead && (piece->verdict == VERDICT_TURN || !recovery))
		return;
	piece->verdict = VERDICT_WAIT;
	snprintf(piece->why, sizeof(piece->why), "%s is behind, and no primary of a newer timeline (yet)",
	    piece->upstream);
}

static void
piece_ask(struct dbt_agent *agent)
{
	struct agent_piece *piece = &agent->piece;
	w_usec deadline = piece->started + ASK_MOST;
	W_AUTO(clear_result) PGresult *result = NULL;
	W_AUTO(finish_conn) PGconn *conn = NULL;
	struct agent_look up = { 0 };
	struct w_fault fault = { 0 };

	piece->rc = open_upstream(agent, deadline, &conn);
	if (piece->rc == W_OK)
		piece->rc = sql_run(&conn, "select pg_is_in_recovery()", deadline, &result, piece->why);
	if (piece->rc == W_OK)
		piece->rc = identify(&conn, deadline, &up, piece->why);
	if (piece->rc < 0)
		return;
	if (strcmp(up.system, piece->system) != 0) {
		piece->verdict = VERDICT_CLONE;
		return;
	}
	piece->rc = ask_history(agent, &conn, &up, deadline);
	if (piece->rc < 0)
		return;
	judge_again(piece, &up, truth(result, 0));
	if (piece->verdict != VERDICT_TURN)
		return;
	piece->rc = dbt__timelines_fill(agent->opt->data, piece->term, agent->uid, agent->gid, &fault);
	if (piece->rc < 0)
		sql_failed(piece->why, piece->rc, "timelines", fault.text);
}

/* pg_rewind goes by the control file, which learns of a promotion at the next checkpoint. */
static void
piece_checkpoint(struct dbt_agent *agent)
{
	static const char sql[] = "select timeline_id from pg_control_checkpoint()";
	struct agent_piece *piece = &agent->piece;
	w_usec deadline = piece->started + ASK_MOST;
	W_AUTO(clear_result) PGresult *result = NULL, *done = NULL;
	W_AUTO(finish_conn) PGconn *conn = NULL;
	struct agent_look up = { 0 };

	piece->rc = open_upstream(agent, deadline, &conn);
	if (piece->rc == W_OK)
		piece->rc = identify(&conn, deadline, &up, piece->why);
	if (piece->rc == W_OK)
		piece->rc = sql_run(&conn, sql, deadline, &result, piece->why);
	if (piece->rc == W_OK && number(result, 0) != up.timeline)
		piece->rc = sql_run(&conn, "checkpoint", w_now() + CHECKPOINT_MOST, &done, piece->why);
}

/* ---- the pool ---- */

typedef void piece_fn(struct dbt_agent *agent);

static piece_fn *const pieces[PIECE_COUNT] = {
	[PIECE_LOOK] = piece_look,
	[PIECE_RECEIVE] = piece_receive,
	[PIECE_FENCE] = piece_fence,
	[PIECE_PROMOTE] = piece_promote,
	[PIECE_MARK] = piece_mark,
	[PIECE_ASK] = piece_ask,
	[PIECE_CHECKPOINT] = piece_checkpoint,
};

static void
on_work(uv_work_t *work)
{
	struct dbt_agent *agent = w_typed(work->data, DBT_AGENT_MAGIC);

	pieces[agent->piece.kind](agent);
}

static void
on_done(uv_work_t *work, int status W_UNUSED)
{
	struct dbt_agent *agent = w_typed(work->data, DBT_AGENT_MAGIC);

	w_loop_enter(&agent->node->loop);
	agent->piece.running = false;
	dbt__agent_piece_done(agent);
}

void
dbt__agent_piece_start(struct dbt_agent *agent, enum agent_piece_kind kind)
{
	struct agent_piece *piece = &agent->piece;

	W_ASSERT(!piece->running);
	piece->kind = kind;
	piece->pid = agent->pm.pid;
	piece->term = agent->promise.term;
	snprintf(piece->cohort, sizeof(piece->cohort), "%s", dbt__agent_cohort(agent));
	piece->started = w_now();
	piece->rc = W_OK;
	piece->why[0] = '\0';
	piece->look = (struct agent_look){ 0 };
	piece->verdict = VERDICT_NONE;
	piece->uv.data = agent;
	piece->running = uv_queue_work(&agent->node->loop.uv, &piece->uv, on_work, on_done) == 0;
}

void
dbt__agent_sql_fini(struct dbt_agent *agent)
{
	close_own(&agent->conns);
}
