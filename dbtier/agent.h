/*
 * The database agent: one process beside one PostgreSQL. What should be stands in its durable
 * promise, which the promoter's orders change; the agent brings its PostgreSQL there, step by step,
 * and tells what is.
 *
 *	agent.c            the role's callbacks; the postmaster's process
 *	agent_control.c    statuses to the promoters, orders from them
 *	agent_reconcile.c  promise and what is seen -> the next step: a table
 *	agent_sql.c        what is said to PostgreSQL, on the thread pool
 *	agent_make.c       initdb, pg_basebackup, pg_rewind: rows of child programs
 *	agent_files.c      what lies on disk
 *	agent_proc.c       processes, as /proc shows them
 *	agent_probe.c      figures for the report, once a second
 *
 * Invariants
 * 1. The promise is on disk before anything that it stands for is done or told.
 * 2. A data directory appears under its name only when it is complete: it is made beside it and
 *    renamed. One that a rewind has not finished has a file DATA.rewinding beside it and is not used.
 * 3. A PostgreSQL that outlived an earlier agent is adopted, never started twice.
 * 4. PostgreSQL becomes primary only by promote, or by resume in the term that it leads.
 * 5. PostgreSQL gets an upstream only when that one's history holds all of our own. A walreceiver says
 *    that it has flushed what was replayed here, of whatever timeline: the commits that this position
 *    seems to hold would count as acknowledged, and nobody would have them.
 * 6. PostgreSQL never runs as root.
 *
 * Without a data directory in the cluster file the agent only observes.
 *
 * Threads: all on the control thread, but for pieces of SQL and the probe's statement, which are
 * on libuv's thread pool.
 * Source: docs/protocol/04-failover.md
 */
#ifndef WEIR_DBTIER_AGENT_H
#define WEIR_DBTIER_AGENT_H

#include <libpq-fe.h>
#include <sys/types.h>

#include "common/node.h"
#include "dbtier/agent_sql.h"
#include "dbtier/dbtier.h"
#include "dbtier/promise.h"

#define DBT_AGENT_MAGIC 0x41474e54u
#define DBT_UNKNOWN "?" /* upstream in weir.conf of a PostgreSQL that an earlier agent started */

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

/* The process. */
struct agent_postmaster {
	int64_t pid;     /* 0: none */
	bool adopted;    /* not our child: watched by its pid */
	bool as_primary; /* it was started without standby.signal */
	w_usec started, ended_at;
	w_usec halted;   /* since when it is in state T; 0: it is not */
	int stopping;    /* the signal that it got last to make it end, 0: none */
	w_usec stop_since;
	char ended[DBT_TEXT]; /* how the last one ended */
	unsigned failures;    /* ends in a row, soon after the start */
	uint64_t starts;
};

struct agent_recipe;

/* Child programs that make or mend the data directory. */
struct agent_maker {
	const struct agent_recipe *recipe; /* NULL: none runs */
	unsigned step;
	char upstream[DBT_NAME]; /* what it is made of */
	int64_t pid;
	unsigned failures;
	w_usec not_before;
};

/* One promoter's place. */
struct agent_peer {
	struct dbt_agent *agent;
	const char *monitor;
	void *socket;
	struct w_zsock zsock;
};

struct agent_control {
	struct agent_peer *peers;
	size_t count;
	int64_t epoch, seq;
	char promoter[DBT_PROMOTER]; /* of the last order */
	int64_t order;               /* its id */
	char refused[DBT_TEXT];
	w_usec heard;                /* the last order of anybody */
	w_usec sent, complained;
	struct dbt_status last;      /* what was told last */
	uint64_t malformed;
};

struct dbt_agent {
	uint32_t magic;
	struct w_node *node;
	/* as of the last reload, but for what needs a restart: options of the cluster, and most of its own */
	const struct w_cluster *cluster;
	const struct w_member *self;           /* as the agent started */
	const struct w_database_options *opt;
	struct w_cluster shown;
	struct w_database_options own;
	bool reload; /* another one waits until the thread pool is back */
	const char *name;
	bool observes; /* there is no data directory of ours */
	uid_t uid;     /* PostgreSQL's; the same as ours when we are not root */
	gid_t gid;
	unsigned children; /* handles that are not closed yet */

	/* what should be */
	struct dbt_promise promise;
	char *promise_path;
	bool lost; /* the promise cannot be read: nothing is done */
	char configured[DBT_COHORT]; /* the cluster file's cohort */
	uint64_t first;     /* prepare: receive up to here first */
	bool resume;        /* a leader may be started again */
	bool draining;

	/* what is */
	struct agent_postmaster pm;
	struct agent_look look;
	uint32_t seen_timeline; /* of the last look at these data, 0: none */
	bool up, late;      /* it has answered since it started; it did not the last time */
	w_usec looked, judged; /* when the last look at it, and at its settings, began */
	bool fenced;        /* settled at look */
	bool marked;
	char conf_upstream[DBT_NAME]; /* what weir.conf says */
	char conf_cohort[DBT_COHORT]; /* "": not known */
	uint32_t conf_term; /* of the promise that it was written for */
	bool conf_drained;
	w_usec unread;      /* since when only those who follow it have read weir.conf, not all of PostgreSQL; 0: all have */
	int64_t read_only_from;
	unsigned quiet;     /* looks in a row that saw no writer while draining */
	w_usec unstreamed;  /* since when a follower does not stream; 0: it does */
	int receiver;       /* pid of a walreceiver that does not stream, and since when; 0: none */
	w_usec receiver_since;

	/* what is being done */
	enum agent_verdict rejoin; /* how to come to follow: NONE is not known yet, TURN is done */
	w_usec ask_after;
	const char *busy;   /* NULL: nothing */
	char trouble[DBT_TEXT];
	struct w_timer again;
	struct agent_piece piece;
	struct agent_conns conns;
	struct agent_maker maker;
	struct agent_control control;

	uv_work_t probe;
	bool probing;
	PGconn *conn; /* of the probe; the thread pool's while probing */
	struct agent_view next, view;
	unsigned metrics;
};

/* --- agent.c: processes --- */

typedef void child_done(struct dbt_agent *agent, bool ok, const char *how);
/*
 * Run a program of PostgreSQL as its user; input is for its standard input, or NULL; *ret_pid is optional.
 * done() is called later in any case, also when it cannot be started.
 */
void dbt__agent_run(struct dbt_agent *agent, char **args, const char *input, child_done *done, int64_t *ret_pid);
/* Start PostgreSQL on the data directory as it lies there. Errors: -W_EIO, -W_EINVAL */
int dbt__agent_start(struct dbt_agent *agent, const char *upstream, struct w_fault *fault);
/* SIGINT fast, SIGQUIT immediate, SIGKILL all its processes; what does not end gets the next one after a while. */
void dbt__agent_stop(struct dbt_agent *agent, int signal);
/* All its processes read weir.conf again. */
void dbt__agent_reload(struct dbt_agent *agent);
/* Escalate a stop; notice that an adopted one is gone. */
void dbt__agent_watch(struct dbt_agent *agent);

/* --- agent_control.c --- */

int dbt__agent_control_start(struct dbt_agent *agent, struct w_fault *fault);
void dbt__agent_control_stop(struct dbt_agent *agent);
/* Send a status when something changed, when one is due, or when it must be. */
void dbt__agent_tell(struct dbt_agent *agent, bool must);
/* The cohort that is promised, and before anything is, the cluster file's. */
const char *dbt__agent_cohort(const struct dbt_agent *agent);
/* A promise that was changed. Errors: -W_EIO; then *promise is not the agent's. */
int dbt__agent_promise(struct dbt_agent *agent, const struct dbt_promise *promise, struct w_fault *fault);

/* --- agent_reconcile.c --- */

/* The next step, if one is due; then a status. To be called whenever anything has changed. */
void dbt__agent_turn(void *arg);
/* A turn after wait. */
void dbt__agent_soon(struct dbt_agent *agent, w_usec wait);
/* What hinders; NULL: nothing does. */
void dbt__agent_trouble(struct dbt_agent *agent, const char *what, const char *why);
/* Another cluster file: tell PostgreSQL what of it is its. The thread pool is idle. */
void dbt__agent_reconfigure(struct dbt_agent *agent);
/* Forget what was known of a PostgreSQL that runs no more. */
void dbt__agent_forget(struct dbt_agent *agent);
/* The loop is back from a piece. */
void dbt__agent_piece_done(struct dbt_agent *agent);
enum dbt_postgres dbt__agent_state(const struct dbt_agent *agent);
bool dbt__agent_drained(const struct dbt_agent *agent);

/* --- agent_sql.c --- */

/* Inputs are in agent->piece. */
void dbt__agent_piece_start(struct dbt_agent *agent, enum agent_piece_kind kind);
/* Those who follow an upstream read weir.conf again; the others may do that later. No piece runs. */
void dbt__agent_reread(struct dbt_agent *agent);
void dbt__agent_sql_fini(struct dbt_agent *agent);
/* May we follow? history: TIMELINE_HISTORY of the upstream's timeline, NUL-ended; "" of timeline 1. Pure. */
enum agent_verdict dbt__agent_judge(uint32_t own_timeline, uint64_t own_lsn, uint32_t timeline,
    const char *history);

/* --- agent_make.c --- */

enum agent_making { MAKE_PRIMARY, MAKE_CLONE, MAKE_REWIND };
void dbt__agent_make(struct dbt_agent *agent, enum agent_making what);

/* --- agent_files.c: what lies on disk --- */

/* Whose PostgreSQL runs under. Errors: -W_EINVAL no such user. */
int dbt__agent_user(struct dbt_agent *agent, struct w_fault *fault);
bool dbt__agent_has_data(const struct dbt_agent *agent);
/* Its data were left half rewound. */
bool dbt__agent_is_torn(const struct dbt_agent *agent);
int dbt__agent_set_torn(const struct dbt_agent *agent, bool torn, struct w_fault *fault);
/* Make an empty folder DATA.new owned by PostgreSQL's user, removing an older one. */
int dbt__agent_fresh(const struct dbt_agent *agent, struct w_fault *fault);
/* postgresql.conf without comments: each process of PostgreSQL reads all of it at each reload. */
int dbt__agent_strip(const struct dbt_agent *agent, const char *conf, struct w_fault *fault);
/* postgresql.conf includes weir.conf, once. */
int dbt__agent_include(const struct dbt_agent *agent, const char *conf, struct w_fault *fault);
/* PostgreSQL will start as a standby from dir, or not. */
int dbt__agent_standby(const struct dbt_agent *agent, const char *dir, bool standby, struct w_fault *fault);
bool dbt__agent_is_standby(const struct dbt_agent *agent);
/* DATA.new becomes DATA, what was there goes. */
int dbt__agent_commit(const struct dbt_agent *agent, struct w_fault *fault);
/* A lock file that nobody holds. */
void dbt__agent_unlock(const struct dbt_agent *agent);
/* What of weir.conf changes: follow upstream ("": nobody), wait for a quorum of cohort, take writes or not. */
struct agent_conf {
	const char *upstream, *cohort;
	bool read_only;
};
/* Threads: any one at a time. */
int dbt__agent_settings(const struct dbt_agent *agent, const char *dir, const struct agent_conf *conf,
    struct w_fault *fault);
/* It was settled, in this term, that the data may follow the promised upstream as they are. */
bool dbt__agent_has_turned(const struct dbt_agent *agent);
/* The settings, access rules, certificate; dir is DATA or DATA.new. */
int dbt__agent_write(const struct dbt_agent *agent, const char *dir, const char *upstream, struct w_fault *fault);
/* Of these, access rules and certificate. */
int dbt__agent_access(const struct dbt_agent *agent, const char *dir, struct w_fault *fault);
/* Is there a database of that name to follow? */
bool dbt__agent_knows(const struct dbt_agent *agent, const char *upstream);
/* Password file for initdb (DATA.pw) and for replication (DATA.pgpass). */
int dbt__agent_secrets(const struct dbt_agent *agent, struct w_fault *fault);
/* Statements that give a new primary its database, roles and passwords; caller frees. */
char *dbt__agent_bootstrap(const struct dbt_agent *agent, struct w_fault *fault);
/* Statements for its database: what the agents' role may do; caller frees. */
char *dbt__agent_grants(const struct dbt_agent *agent);
/* What synchronous_standby_names must be for that cohort; caller frees. */
char *dbt__agent_quorum(const char *cohort);
/* Connection string for PostgreSQL's own programs, of another node; caller frees. */
char *dbt__agent_upstream(const struct dbt_agent *agent, const char *upstream, const char *application,
    struct w_fault *fault);
/* Timeline and system identifier of data where nothing runs. Errors: -W_EIO, -W_EINVAL not of a version that we know. */
int dbt__agent_control_file(const struct dbt_agent *agent, uint32_t *ret_timeline, char ret_system[32],
    struct w_fault *fault);

/* --- agent_proc.c --- */

/* Pid of the postmaster of this data directory, 0: none lives. */
int64_t dbt__proc_postmaster(const char *data);
/* Its postmaster has been told to stop, as postmaster.pid says. */
bool dbt__proc_is_stopping(const char *data);
/* State letter of /proc/PID/stat, 0: no such process. */
char dbt__proc_state(int64_t pid);
bool dbt__proc_is_child(int64_t pid, int64_t parent);
/* A signal that was sent and not handled yet. */
bool dbt__proc_pending(int64_t pid, int signal);
/* PostgreSQL's processes that work in this data directory; each gets the signal, 0: only count. */
unsigned dbt__proc_signal(const char *data, int signal);

/* --- agent_probe.c --- */

void dbt__agent_probe(struct dbt_agent *agent);
void dbt__agent_probe_fini(struct dbt_agent *agent);

#endif
