/*
 * The agent's look at its own PostgreSQL, once a second, on libuv's thread pool, since libpq
 * blocks while it connects.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "dbtier/agent.h"

/* The timeline: that of the WAL written (primary) or received; the control file's lags a promotion. */
static const char probe_sql[] =
    "select not r as primary,"
    " case when r then coalesce((select received_tli from pg_stat_wal_receiver),"
    "   (select timeline_id from pg_control_checkpoint()))"
    " else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,"
    " (case when r then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end - '0/0')::bigint,"
    " coalesce((case when r then pg_last_wal_receive_lsn() end - '0/0')::bigint, 0),"
    " case when r and pg_last_wal_receive_lsn() is distinct from pg_last_wal_replay_lsn()"
    "   then coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()), 0) else 0 end,"
    " (select count(*) from pg_stat_activity where backend_type = 'client backend'),"
    " (select count(*) from pg_stat_replication where state = 'streaming'),"
    " (select count(*) from pg_stat_replication where sync_state in ('quorum', 'sync')),"
    " (select sum(xact_commit + xact_rollback)::bigint from pg_stat_database)"
    " from (select pg_is_in_recovery() as r) as s";

static void
probe_failed(struct dbt_agent *agent, const char *why)
{
	agent->next.up = false;
	snprintf(agent->next.why, sizeof(agent->next.why), "%.*s",
	    (int)sizeof(agent->next.why) - 1, why);
	PQfinish(agent->conn);
	agent->conn = NULL;
}

static void
notice_ignore(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static bool
probe_connect(struct dbt_agent *agent)
{
	struct w_fault fault = { 0 };
	W_AUTO(w_free) char *conninfo =
	    dbt_conninfo(agent->cluster, agent->self, "agent", &fault);

	if (agent->conn != NULL && PQstatus(agent->conn) == CONNECTION_OK)
		return true;
	if (conninfo == NULL) {
		probe_failed(agent, fault.text);
		return false;
	}
	PQfinish(agent->conn);
	agent->conn = PQconnectdb(conninfo);
	if (PQstatus(agent->conn) != CONNECTION_OK) {
		probe_failed(agent, PQerrorMessage(agent->conn));
		return false;
	}
	PQsetNoticeProcessor(agent->conn, notice_ignore, NULL);
	PQclear(PQexec(agent->conn, "set statement_timeout = '2s'"));
	return true;
}

static uint64_t
number(const PGresult *result, int column)
{
	return strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

/* Thread pool: uses only conn and next, which nobody else touches while probing is set. */
static void
probe_work(uv_work_t *work)
{
	struct dbt_agent *agent = w_typed(work->data, DBT_AGENT_MAGIC);
	struct agent_view *view = &agent->next;
	PGresult *result;

	*view = (struct agent_view){ 0 };
	if (!probe_connect(agent))
		return;
	result = PQexec(agent->conn, probe_sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		probe_failed(agent, PQerrorMessage(agent->conn));
		PQclear(result);
		return;
	}
	view->up = true;
	view->primary = PQgetvalue(result, 0, 0)[0] == 't';
	view->timeline = (uint32_t)number(result, 1);
	view->position = number(result, 2);
	view->received = number(result, 3);
	view->lag_seconds = strtod(PQgetvalue(result, 0, 4), NULL);
	view->sessions = (unsigned)number(result, 5);
	view->standbys = (unsigned)number(result, 6);
	view->quorum = (unsigned)number(result, 7);
	view->transactions = number(result, 8);
	PQclear(result);
}

static const char *
view_role(const struct agent_view *view)
{
	return !view->up ? "none" : view->primary ? "primary" : "replica";
}

static void
probe_done(uv_work_t *work, int status)
{
	struct dbt_agent *agent = w_typed(work->data, DBT_AGENT_MAGIC);
	char quoted[256];

	agent->probing = false;
	if (status != 0)
		return;
	if (strcmp(view_role(&agent->view), view_role(&agent->next)) != 0)
		w_log(agent->next.up ? W_INFO : W_WARN, "", "database-role",
		    "from=%s to=%s timeline=%u why=%s", view_role(&agent->view),
		    view_role(&agent->next), agent->next.timeline,
		    w_log_quote(w_view_of(agent->next.why), quoted, sizeof(quoted)));
	agent->view = agent->next;
}

void
dbt__agent_probe(struct dbt_agent *agent)
{
	if (agent->probing)
		return;
	agent->probing = true;
	agent->probe.data = agent;
	if (uv_queue_work(&agent->node->loop.uv, &agent->probe, probe_work, probe_done) < 0)
		agent->probing = false;
}

void
dbt__agent_probe_fini(struct dbt_agent *agent)
{
	PQfinish(agent->conn);
	agent->conn = NULL;
}
