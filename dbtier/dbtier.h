/*
 * The database tier: which PostgreSQL nodes there are and what they are, and statements run on
 * the right one. The only door of this room.
 *
 * A process has one dbt: a prober thread watches every database node of the cluster file and
 * publishes an immutable topology behind one atomic pointer. A worker has one dbt_worker: lanes
 * (pipelined connections, all statements prepared) on the worker's own loop. Statements come from
 * fibers, which park until their result is there. A reload adds nodes and removes them.
 *
 * What a caller may rely on: every dbt_run() ends, with a result or an error, by its deadline;
 * an error on one statement never reaches a neighbour; a lost connection fails only what was in
 * flight on it, and reads among that are run again on another node by the tier itself.
 */
#ifndef WEIR_DBTIER_DBTIER_H
#define WEIR_DBTIER_DBTIER_H

#include "common/cluster.h"
#include "common/error.h"
#include "common/fiber.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/node.h"
#include "common/view.h"

/* --- topology --- */

enum dbt_role { DBT_UNKNOWN, DBT_DOWN, DBT_PRIMARY, DBT_REPLICA };

#define DBT_NODES_MAX 32

struct dbt_node {
	const char *name;    /* of the cluster file; NULL: the slot is empty, and so is all below */
	uint32_t generation; /* another one: the slot is another node's now */
	enum dbt_role role;
	uint32_t timeline;
	uint64_t position;   /* primary: flushed; replica: replayed. An LSN as a number */
	uint64_t received;   /* replica: received */
	uint64_t lag;        /* replica: bytes behind the primary as last seen */
	w_usec lag_time;     /* replica: age of what it has replayed, 0 when level */
	w_usec seen;         /* last successful probe, w_now() based */
	bool fit;            /* may serve: primary in force, or replica within the lag limits */
	bool gated;          /* primary: its standbys have not all that it came back with */
	bool doubted;        /* it has been silent for a while: it gets nothing new */
	bool draining;       /* primary: new transactions are read-only */
	unsigned sessions;   /* client backends */
};

/*
 * A point in the write-ahead log. lsn 0: none; DBT_LSN_PRIMARY: only the primary has reached it.
 * Source   docs/protocol/03-promises.md, section 1
 */
struct dbt_position {
	uint32_t timeline;
	uint64_t lsn;
};
#define DBT_LSN_PRIMARY UINT64_MAX
#define DBT_POSITION_SIZE 32 /* bytes of its text, NUL included */

int dbt_position_parse(struct w_view text, struct dbt_position *ret); /* Errors: -W_EINVAL */
/* The text; its length. */
size_t dbt_position_format(struct dbt_position position, char to[DBT_POSITION_SIZE]);

/* Where a timeline ended, and the next one began. */
struct dbt_fork {
	uint32_t timeline;
	uint64_t end;
};
#define DBT_FORKS_MAX 16

/* Immutable. A new one is published at every change; old ones live at least until every worker
 * has taken the newer (dbt_topology_get is wait-free). A node keeps its slot for as long as it is there. */
struct dbt_topology {
	uint64_t version;
	unsigned count;      /* slots, some of which may be empty */
	int primary;         /* index of the primary in force, -1: none known */
	int heir;            /* who is or may soon be that: it is primary, and of no older timeline */
	uint32_t floor;      /* the highest timeline that any node has ever shown */
	unsigned fit_replicas;
	unsigned fork_count; /* the latest forks of the primary's history, newest first */
	struct dbt_fork forks[DBT_FORKS_MAX];
	struct dbt_node nodes[DBT_NODES_MAX];
};

struct dbt;

/* Nodes that answer the prober now. */
unsigned dbt_topology_answering(const struct dbt_topology *topology);

/*
 * Start the prober.
 * Owner    the cluster stays the caller's, and outlives the dbt, all workers and all rows
 * Threads  control; the prober is a thread of its own, since libpq's connect may block
 * Errors   -W_EINVAL no or too many databases, an address; -W_EIO unreadable password file, no thread
 */
int dbt_start(const struct w_cluster *cluster, struct dbt **ret, struct w_fault *fault);
void dbt_stop(struct dbt **dbt);
/*
 * Take a cluster file that was read again: its databases, and its RELOAD options. A new node is probed, and
 * used when it is fit. One that is gone gets nothing new; what is in flight there ends, then its connections
 * are closed. The primary stays until another one is in force. A node with another address is another node.
 *
 * Owner    the cluster must live on as dbt_start()'s does
 * Threads  the one of dbt_start()
 * Errors   as dbt_start(); nothing has changed then
 */
int dbt_reload(struct dbt *dbt, const struct w_cluster *cluster, struct w_fault *fault);
/* Any thread; valid until the caller's next call of it or 10 s later. Never NULL. */
const struct dbt_topology *dbt_topology_get(struct dbt *dbt);
/* Call fn(arg) on the prober's thread at every change. Before dbt_start's workers only; one. */
void dbt_on_change(struct dbt *dbt, void (*fn)(const struct dbt_topology *topology, void *arg), void *arg);
const char *dbt_role_name(enum dbt_role role); /* "unknown", "down", "primary", "replica" */
/* A connection string for a role of the cluster file: "rw", "ro" or "agent"; caller frees.
 * Values are quoted. The password is in it: never log it. */
char *dbt_conninfo(const struct w_cluster *cluster, const struct w_member *node, const char *role,
    struct w_fault *fault);

/* --- metrics --- */
/* Those by node come when it does. Of one that was removed counters stand still, and gauges are 0. */
unsigned dbt_metrics(struct w_metrics *metrics);
/* Set what is seen of the nodes. metrics: from dbt_metrics(). Threads: the meter's; each second. */
void dbt_tick(struct dbt *dbt, struct w_meter *control, unsigned metrics);

/* --- lanes --- */

struct dbt_worker;

struct dbt_worker_config {
	struct dbt *dbt;
	struct w_loop *loop;
	const struct w_server_options *options;
	struct w_meter *meter;
	unsigned metrics; /* from dbt_metrics() */
};

int dbt_worker_new(const struct dbt_worker_config *config, struct dbt_worker **ret, struct w_fault *fault);
/* Take RELOAD options read again; they are kept by pointer, as those of the config are. */
void dbt_worker_reload(struct dbt_worker *worker, const struct w_server_options *options);
/* Fails what waits or runs with -W_ESHUTDOWN, writes in flight with -W_EINDOUBT; closes connections. */
void dbt_worker_free(struct dbt_worker **worker);

enum dbt_intent { DBT_READ, DBT_WRITE };

/* A statement, known to the process under its name; kept by pointer, so static. */
struct dbt_stmt {
	const char *name; /* [a-z0-9_]{1,63} */
	const char *sql;
	unsigned params;
};

/* A request's key, for writes that happen once. docs/protocol/03-promises.md, section 2. */
#define DBT_FINGERPRINT 16
struct dbt_once {
	struct w_view key;
	unsigned nth; /* write of the request */
	unsigned char fingerprint[DBT_FINGERPRINT];
};

struct dbt_query {
	enum dbt_intent intent;
	const struct dbt_stmt *stmt;
	const struct w_view *params; /* stmt->params of them, text format; ptr NULL is NULL */
	w_usec deadline;             /* w_now() based */
	struct w_view shard;         /* shard key; empty. One shard is all there is */
	struct dbt_position after;   /* a read: of a node that has replayed this */
	const struct dbt_once *once; /* a write: NULL is a plain one */
	bool grouped;                /* a write: it may share its transaction. docs/protocol/03-promises.md, section 4 */
};

struct dbt_rows;

/* What PostgreSQL said of a statement that failed; empty strings otherwise. */
struct dbt_sql_error {
	char sqlstate[6];
	char message[256];
};

/*
 * Run one statement and wait for its result. From a fiber of the worker.
 *
 * Owner    the caller owns *ret until dbt_rows_free(); not set on failure
 * Errors   -W_ESQL the statement failed: sqlstate and message in the fault and dbt_sqlstate()
 *          -W_ECONFLICT unique, foreign key or exclusion violation (23xxx); -W_EINVAL 22xxx
 *          -W_ESERIAL 40001/40P01; -W_EDOWN no node fit; -W_EBUSY queue full; -W_ELOST the
 *          connection of a write went away before it was sent or committed for sure not;
 *          -W_EINDOUBT a write whose connection went away after it was sent; -W_ETIMEOUT;
 *          -W_ETOOBIG result over max_rows_bytes; -W_ESHUTDOWN
 *          -W_EMISMATCH the key of once was used for another request
 */
int dbt_run(struct dbt_worker *worker, const struct dbt_query *query, struct dbt_rows **ret,
    struct dbt_sql_error *error);

int dbt_rows_count(const struct dbt_rows *rows);
int dbt_rows_columns(const struct dbt_rows *rows);
const char *dbt_rows_name(const struct dbt_rows *rows, int column);
unsigned dbt_rows_type(const struct dbt_rows *rows, int column); /* type OID */
struct w_view dbt_rows_get(const struct dbt_rows *rows, int row, int column); /* ptr NULL: NULL */
int64_t dbt_rows_affected(const struct dbt_rows *rows);
const char *dbt_rows_node(const struct dbt_rows *rows);
enum dbt_role dbt_rows_role(const struct dbt_rows *rows);
w_usec dbt_rows_time(const struct dbt_rows *rows); /* from dbt_run to the result */
/* A write's: where the log stood after its commit. */
struct dbt_position dbt_rows_position(const struct dbt_rows *rows);
bool dbt_rows_replayed(const struct dbt_rows *rows); /* they are those of an earlier run */
void dbt_rows_free(struct dbt_rows **rows);

/*
 * Run a read on a connection of its own and hand over its rows in portions, as long as each()
 * returns W_OK; the next portion is fetched then. The rows are valid during the call.
 * Errors as dbt_run(), and what each() returned.
 */
typedef int dbt_rows_fn(const struct dbt_rows *rows, void *arg);
int dbt_each(struct dbt_worker *worker, const struct dbt_query *query, dbt_rows_fn *each, void *arg,
    struct dbt_sql_error *error);

/* --- transactions: a borrowed connection --- */

enum dbt_tx_flags { DBT_TX_READ_ONLY = 1, DBT_TX_REPEATABLE = 2, DBT_TX_SERIALIZABLE = 4 };
struct dbt_tx;

struct dbt_begin {
	unsigned flags;
	w_usec deadline;             /* of all of it */
	const struct dbt_once *once; /* NULL: a plain one; kept by pointer until the end */
	struct dbt_position after;   /* read-only: of a node that is known to have replayed this */
};

/*
 * Errors as dbt_run(). The transaction must end with commit or rollback. -W_ESERIAL: run it
 * again from its start (a conflict, or a table that was changed under a prepared statement).
 *
 * With a key the results of its statements are kept under it. When it was committed before, its
 * statements are not run: dbt_tx_exec() returns the results of then, in their order, and
 * dbt_tx_replayed() is true.
 */
int dbt_tx_begin(struct dbt_worker *worker, const struct dbt_begin *how, struct dbt_tx **ret,
    struct dbt_sql_error *error);
int dbt_tx_exec(struct dbt_tx *tx, const struct dbt_stmt *stmt, const struct w_view *params,
    struct dbt_rows **ret, struct dbt_sql_error *error);
bool dbt_tx_replayed(const struct dbt_tx *tx);
/*
 * Both free the tx and set *tx NULL, whatever they return. -W_EINDOUBT: the commit's outcome is
 * unknown; of one with a key it is found out, and -W_ELOST means that it was not committed.
 * ret: where the log stands after it; may be NULL.
 */
int dbt_tx_commit(struct dbt_tx **tx, struct dbt_position *ret, struct dbt_sql_error *error);
int dbt_tx_rollback(struct dbt_tx **tx);

/*
 * Remove a batch of exactly-once keys that are older than keep; of many callers one works. From a
 * fiber. Returns 1 when there may be more, 0 when not. Errors as dbt_run().
 */
int dbt_expire(struct dbt_worker *worker, w_usec keep);

/* --- schema: the plain SQL files of sql/ --- */

struct dbt_schema_file {
	char name[128];  /* "001-weir.sql" */
	bool applied;
	bool changed;    /* applied, but the file is not the one that was applied */
};
/*
 * The SQL files of a folder in order, with what the database knows of them (table
 * weir.schema_version; sha256 of the file). conninfo is an owner's.
 * Errors -W_EIO folder or file; -W_EDOWN no connection; -W_ESQL with file and message
 */
int dbt_schema_status(const char *conninfo, const char *dir, struct dbt_schema_file **ret,
    size_t *ret_count, struct w_fault *fault);
/* Apply what is missing, each file in a transaction of its own. Twice is harmless. */
int dbt_schema_apply(const char *conninfo, const char *dir, unsigned *ret_applied, struct w_fault *fault);

/* --- the database agent: the program weir-dbnode is this role --- */

extern const struct w_role_ops dbt_agent_role;

#endif
