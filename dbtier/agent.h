/*
 * The database agent: one process beside one PostgreSQL. It makes the data directory when there
 * is none, writes the settings that the promises rest on, starts PostgreSQL, starts it again when
 * it dies, and reports what it is.
 *
 * States
 *	IDLE -> MAKING (child programs, one after the other) -> STARTING -> RUNNING
 *	any child that fails, and a PostgreSQL that ends: WAITING (backoff) -> IDLE
 *	observing only (no data directory in the cluster file): WATCHING
 *
 * Invariants
 * 1. A data directory appears under its name only when it is complete: it is made beside it and
 *    renamed.
 * 2. A PostgreSQL that outlived an earlier agent is adopted, never started twice.
 * 3. PostgreSQL never runs as root.
 *
 * Threads: all on the control thread; only the probe's statement runs on libuv's thread pool.
 */
#ifndef WEIR_DBTIER_AGENT_H
#define WEIR_DBTIER_AGENT_H

#include <libpq-fe.h>
#include <sys/types.h>

#include "common/node.h"
#include "dbtier/dbtier.h"

#define DBT_AGENT_MAGIC 0x41474e54u
#define DBT_CHILD_ARGS 24

enum agent_state { A_IDLE, A_MAKING, A_STARTING, A_RUNNING, A_WAITING, A_WATCHING };

/* What the last probe of our own PostgreSQL saw. */
struct agent_view {
	bool up, primary;
	uint32_t timeline;
	uint64_t position, received;
	double lag_seconds;
	unsigned sessions, standbys, quorum;
	uint64_t transactions;
	char why[200]; /* when not up */
};

struct dbt_agent {
	uint32_t magic;
	struct w_node *node;
	const struct w_database_options *opt;
	const char *name;

	enum agent_state state;
	unsigned step;       /* of making */
	unsigned failures;   /* in a row, for the backoff */
	w_usec started;      /* of the running PostgreSQL */
	struct w_timer again;

	uid_t uid; /* PostgreSQL's; the same as ours when we are not root */
	gid_t gid;
	unsigned children; /* handles that are not closed yet */
	int64_t maker;    /* pid of the making step that runs */
	int64_t postgres; /* pid of the postmaster, ours or adopted; 0 none */
	bool adopted;     /* not our child: watched by its pid */
	uint64_t starts;

	uv_work_t probe;
	bool probing;
	PGconn *conn; /* of the probe; the thread pool's while probing */
	struct agent_view next, view;
	unsigned metrics;
};

/* --- agent_files.c: what lies on disk --- */

/* Whose PostgreSQL runs under. Errors: -W_EINVAL no such user. */
int dbt__agent_user(struct dbt_agent *agent, struct w_fault *fault);
bool dbt__agent_has_data(const struct dbt_agent *agent);
/* Pid in postmaster.pid when that process lives, else 0. */
int64_t dbt__agent_postmaster(const struct dbt_agent *agent);
/* Make an empty folder DATA.new owned by PostgreSQL's user, removing an older one. */
int dbt__agent_fresh(const struct dbt_agent *agent, struct w_fault *fault);
/* postgresql.conf includes weir.conf, once. */
int dbt__agent_include(const struct dbt_agent *agent, const char *conf, struct w_fault *fault);
/* PostgreSQL will start as a standby from dir. */
int dbt__agent_standby(const struct dbt_agent *agent, const char *dir, struct w_fault *fault);
/* DATA.new becomes DATA. */
int dbt__agent_commit(const struct dbt_agent *agent, struct w_fault *fault);
/* Write settings, access rules, certificate and password file; dir is DATA or DATA.new. */
int dbt__agent_write(const struct dbt_agent *agent, const char *dir, struct w_fault *fault);
/* Password file for initdb (DATA.pw) and for replication (DATA.pgpass). */
int dbt__agent_secrets(const struct dbt_agent *agent, struct w_fault *fault);
/* Statements that give a new primary its database, roles and passwords; caller frees. */
char *dbt__agent_bootstrap(const struct dbt_agent *agent, struct w_fault *fault);
/* Connection string by which a standby finds the primary, whichever node it is; caller frees. */
char *dbt__agent_upstream(const struct dbt_agent *agent, struct w_fault *fault);

/* --- agent_probe.c --- */

void dbt__agent_probe(struct dbt_agent *agent);
void dbt__agent_probe_fini(struct dbt_agent *agent);

#endif
