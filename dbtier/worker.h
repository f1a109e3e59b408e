/*
 * The inside of a dbt_worker: jobs, lanes, pools.
 *
 * A job is one statement that a fiber waits for; it lives on the fiber's stack:
 *
 *	QUEUED (worker->queue) <--- rerun --- IN FLIGHT (lane->ring) ---> DONE
 *	   |                                    ^
 *	   +---> ASSIGNED (lane->todo) ---------+ end of turn
 *
 * A lane is one connection in pipeline mode:
 *
 *	DIALING ---> OPEN ---> DEAD (freed at the end of the turn)
 *	   +--------------------^
 *
 * 1. Lanes send only at the end of a turn, so that all statements of a turn go out together.
 * 2. The flights of a lane outlive their jobs: a job that gave up leaves its flight behind, and
 *    the answer is dropped when it comes.
 * 3. Each statement is a unit of its own: [Parse] Bind Execute Sync. PostgreSQL commits at the
 *    Sync, or before it, so a result is nobody's before its Sync has been answered. Grouped writes
 *    that are sent together are one unit, with a flight each.
 * 4. A job is answered in job.c only; everything else hands it there or queues it again.
 *
 * Threads: the worker's, for everything here.
 */
#ifndef WEIR_DBTIER_WORKER_H
#define WEIR_DBTIER_WORKER_H

#include <limits.h>

#include "dbtier/channel.h"
#include "dbtier/dial.h"
#include "dbtier/probe.h"
#include "dbtier/rows.h"
#include "dbtier/sqlstate.h"
#include "dbtier/stats.h"

/* Reads share lanes deeply; slow reads and writes want a connection each. */
enum dbt__class { DBT__READ, DBT__SLOW, DBT__WRITE, DBT__CLASSES };

#define DBT__SLOW_LANES 4           /* connections for slow reads, per node */
#define DBT__SPARE_LANES 2          /* further read lanes while others are stuck */
#define DBT__SLOW_DEPTH 2           /* statements in flight on a slow lane */
#define DBT__WRITE_DEPTH 4          /* and on a write lane, when there can be no more lanes */
#define DBT__SLOW_COST (10 * W_MSEC) /* a statement that takes longer on average is slow */
#define DBT__FAST_COST (5 * W_MSEC)  /* and is fast again below this */
#define DBT__GROUP_MOST 64          /* what group_writes may be: as many flights does a write lane have */
#define DBT__STUCK (100 * W_MSEC)   /* a lane whose head takes longer takes no new work */
#define DBT__NO_ROOM (500 * W_MSEC) /* between two looks whether a full disk still is */
#define DBT__READ_GRACE (250 * W_MSEC) /* for a read that nobody waits for; then the lane ends */
#define DBT__WRITE_GRACE (5 * W_SEC)   /* and for a write */
#define DBT__GUARD_PAUSE (20 * W_MSEC) /* a node that was not far enough is not asked for so long */
#define DBT__AHEAD (2 * W_SEC) /* a position of a timeline that nobody knows is waited for so long */
#define DBT__RETIRE W_SEC /* the connection of an idle lane to a node that is left stays open for so long */
#define DBT__LEAVE_MOST (60 * W_SEC) /* what a removed node still does must be done by then */
#define DBT__NAME_SIZE 64 /* PostgreSQL cuts names at 63 bytes */
#define DBT__UNNAMED UINT_MAX
#define DBT__TRIES 5                /* runs of a read: all nodes may lose it in turn; a write that surely was not run goes on */

struct dbt__lane;
struct dbt__flight;

struct dbt__job {
	struct w_list node;
	struct dbt_worker *worker;
	struct w_fiber *fiber;
	const struct dbt_stmt *stmt;
	const struct w_view *params;
	struct dbt_sql_error *error; /* may be NULL */
	enum dbt_intent intent;
	enum dbt__class class;
	w_usec start, deadline;
	w_usec queued;         /* since when it waits in the queue, 0: it does not */
	struct dbt__lane *lane; /* assigned or in flight there */
	struct dbt__flight *flight;
	struct dbt_tx *tx;     /* belongs to a transaction */
	bool begins;           /* wants a lane for itself: the first statement of tx */
	bool commits;          /* the last one */
	bool only_primary;     /* a replica could not run it */
	bool moved;            /* got away from a stuck lane once */
	bool suspect;          /* it may be slow */
	unsigned avoid;        /* that lane's slot + 1, 0: none */
	bool unnamed;          /* what was prepared under its name is gone */
	bool refused;          /* the primary took no writes when it came */
	unsigned portion;      /* rows that it takes at a time, on a lane of its own; 0: all */
	bool portion_here;     /* the flight's rows are one of them */
	bool handed;           /* some have been used: it cannot start again */
	struct dbt_position after; /* a read: only of a node that has replayed this */
	uint64_t needed;       /* the same as an LSN of the primary's timeline, 0: anything will do */
	bool guard;            /* its node is asked first */
	bool hopeless;         /* there is no lane for it, nor will one be dialed */
	bool describes;        /* only the columns are wanted, nothing is executed */
	bool quiet;            /* the tier's own: counts as nobody's statement */
	bool grouped;          /* a write: it may share its transaction */
	bool positioned;       /* a write, or the end of a transaction: where the log stands then is wanted */
	unsigned tries;

	bool done;
	int rc;
	struct dbt_rows *rows;
};

/* What a unit may consist of, in this order. */
enum dbt__step {
	DBT__GUARD,     /* has the node replayed what the statement is to see? */
	DBT__BEGIN,     /* a transaction, so that it is committed before the unit ends */
	DBT__STATEMENT,
	DBT__COMMIT,
	DBT__POSITION,  /* where does the log stand? */
	DBT__STEPS
};
#define DBT__PARSES_MOST 4 /* statements that a unit may have to prepare */

/* What is expected of the server for one unit. */
struct dbt__flight {
	struct dbt__job *job; /* NULL: it gave up */
	unsigned known;       /* index of the statement */
	uint32_t generation;  /* of the lane's names, when it was sent */
	unsigned parses[DBT__PARSES_MOST]; /* statements that it prepares, by index */
	uint8_t parse_count, parsed;
	unsigned describes;   /* which statement the next description is of; DBT__UNNAMED */
	uint8_t steps;        /* that are still to be answered, a bit each */
	bool follows, more;   /* the unit began before this flight, and goes on in the next one: of a group */
	bool wrapped;         /* the unit begins and ends a transaction */
	bool asked;           /* where the log stands */
	bool portions;        /* rows come in portions, the Sync is still to be sent */
	bool complete;        /* the statement was executed */
	bool unreplicated;    /* the server said that it did not wait for its standbys */
	bool too_big;
	struct dbt__columns *columns; /* of an unnamed statement */
	struct dbt_position position;
	struct dbt_rows *rows;
	struct dbt__error *error;
};

/* What is answered next. DBT__STEPS: nothing more but the end. */
static inline enum dbt__step
dbt__flight_step(const struct dbt__flight *flight)
{
	return flight->steps == 0 ? DBT__STEPS : (enum dbt__step)__builtin_ctz(flight->steps);
}

enum dbt__lane_state { DBT__DIALING, DBT__OPEN, DBT__DEAD };

struct dbt__pool;

struct dbt__lane {
	struct w_list node;  /* in its pool, or in worker->grave or retired */
	struct w_list dirty; /* in worker->dirty */
	struct dbt_worker *worker;
	struct dbt__pool *pool;
	enum dbt__lane_state state;
	struct dbt__dial dial;
	char *options; /* of its session; those of the worker may change while it is dialed */
	PGconn *conn;
	struct dbt__channel channel;
	struct dbt__watch watch;

	struct w_list todo;
	unsigned todo_count;
	struct dbt__flight *ring;
	unsigned head, count, mask;
	unsigned at; /* of the unit at the head, which flight is answered now */

	/* By statement. */
	uint8_t *prepared;    /* 1: the server knows it, or soon will */
	struct dbt__columns **columns; /* of what it returns */
	unsigned prepared_size;
	uint32_t generation; /* part of their names there; another one when the server has forgotten any */

	struct dbt_tx *tx; /* whose it is */
	bool taken;        /* by a transaction, from its BEGIN on */
	bool stuck;        /* its head takes long: no new work */
	bool blocked;      /* the peer does not take more bytes now */
	bool ended;        /* the server said goodbye */
	bool spoilt;       /* its session is read-only: nothing new, and it goes when nobody waits for it */
	w_usec head_since; /* since when the head is what the server works on */
	w_usec idle_since;
	char status;       /* of ReadyForQuery: I, T or E */
	bool mending;      /* a ROLLBACK is on its way, for a unit whose own transaction failed */
	bool grouped;      /* what it was given since it was idle is grouped */
	bool hungry;       /* bytes are here that no readiness tells of */
	struct dbt__cancel *cancel; /* under way */
	bool canceled;     /* a cancel was sent since the lane was last idle */
	bool read_only;    /* the server said that its new transactions are */
};

struct dbt__site;

/* The lanes of one class to one node. */
struct dbt__pool {
	struct dbt_worker *worker;
	struct dbt__site *site;
	enum dbt__class class;
	struct w_list lanes;
	unsigned count, dialing, taken, stuck;
	unsigned failures;
	w_usec retry_at; /* no dialing before */
};

/*
 * A node as the worker has it, from when a topology shows it first. It leaves when a topology shows it no
 * more: it has no slot then, is never chosen, and its lanes end one by one as they become idle.
 */
struct dbt__site {
	struct w_list node; /* in worker->leaving */
	struct dbt_worker *worker;
	unsigned slot;
	struct dbt__place *place;
	const char *name;
	unsigned metric; /* statements that it answered */
	struct dbt__pool pools[DBT__CLASSES];

	/* Of the topology last taken. */
	enum dbt_role role;
	bool silent;      /* it was doubted */
	bool leaving;

	w_usec leave_by;
	w_usec doubted;   /* the primary is not used before a probe of after this */
	w_usec refusing;  /* and for no writes before one of after this */
	struct dbt_position replayed; /* what a guard saw it to have replayed */
	w_usec guard_after; /* no guards there before */
};

/* A statement that was seen. */
struct dbt__known {
	const struct dbt_stmt *stmt;
	const char *sql;
	char name[DBT__NAME_SIZE]; /* on a lane, as long as it is not forgotten there */
	struct dbt_stmt *once; /* the form that keeps its rows, when it was wanted */
	bool no_once;
	bool bare; /* PostgreSQL takes it in no transaction but one that it begins and ends itself */
	unsigned metric;
	w_usec cost; /* moving average of the server's time */
	bool slow;
};

struct dbt_worker {
	struct dbt *dbt;
	struct w_loop *loop;
	const struct w_server_options *options;
	struct w_meter *meter;
	unsigned metrics;

	char *ro_options, *rw_options;
	struct dbt__site *sites[DBT_NODES_MAX]; /* by the topology's slots; NULL: none */
	struct w_list leaving;

	/* Of the topology last taken. */
	struct dbt__site *replicas[DBT_NODES_MAX]; /* fit ones */
	unsigned replica_count;
	struct dbt__site *read_primary;  /* serves reads while no replica does; NULL: none */
	struct dbt__site *sure_primary;  /* in force: whatever was committed is there; NULL: none */
	struct dbt__site *write_primary; /* the same, and takes writes; NULL: none */
	uint32_t timeline; /* of the last one */
	w_usec trust; /* what the topology says of a primary is good for so long */
	unsigned rotate;

	struct w_list queue[DBT__CLASSES];
	struct w_list grouping; /* grouped writes, while as many groups as may be are under way */
	unsigned group_most; /* writes in a group now; see dbt__group_most_set */
	struct w_list held; /* jobs that no node can take now: they hold up no others */
	w_usec crowded; /* until then writes share the lanes that there are */
	unsigned queued, in_flight;
	bool pump;           /* something changed for those in the queue */
	struct w_list dirty; /* lanes with todo */
	struct w_list grave;
	struct w_list retired; /* lanes without a pool, whose connections end when retire fires */
	struct w_turn turn;
	struct w_timer tick, sweep, retire;
	bool ticking, stopping;
	struct dbt__listener listener;

	struct dbt__known *known;
	unsigned known_count, known_size;
	uint32_t *known_hash; /* index + 1, open addressing, known_size * 2 */

};

static inline void
dbt__count(struct dbt_worker *worker, enum dbt__metric metric)
{
	w_meter_add(worker->meter, worker->metrics + metric, 1);
}

static inline void
dbt__move(struct dbt_worker *worker, enum dbt__metric metric, int by)
{
	w_meter_move(worker->meter, worker->metrics + metric, by);
}

/* How many writes a group may have from here on: 1 to group_writes, whatever is asked for. */
static inline void
dbt__group_most_set(struct dbt_worker *worker, unsigned most)
{
	most = W_MIN(W_MAX(most, 1u), (unsigned)worker->options->group_writes);
	dbt__move(worker, DBT_GROUP_WRITES, (int)most - (int)worker->group_most);
	worker->group_most = most;
}

/* --- job.c --- */

/* Does it want a lane of its own, and the lane back in a known state? */
static inline bool
dbt__job_alone(const struct dbt__job *job)
{
	return job->tx != NULL || job->portion > 0;
}

/* Does it take a lane out of the pool? */
static inline bool
dbt__job_takes(const struct dbt__job *job)
{
	return job->begins || job->portion > 0;
}

/* Run a job from its fiber to its end, or to its first portion; its rc. */
int dbt__job_run(struct dbt__job *job);
/* The two halves of it. After the first has failed there is nothing to wait for. */
int dbt__job_start(struct dbt__job *job);
int dbt__job_wait(struct dbt__job *job);
/* Queue it, or hand it to a lane. Errors: -W_EBUSY. */
int dbt__job_submit(struct dbt__job *job);
void dbt__job_finish(struct dbt__job *job, int rc);
/* Where it waits, when a node is fit for it. */
static inline struct w_list *
dbt__job_queue(const struct dbt__job *job)
{
	return job->grouped ? &job->worker->grouping : &job->worker->queue[job->class];
}

/* Its unit is complete; takes what it needs out of the flight. */
void dbt__job_answer(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight);
/* Its group was rolled back, maybe for another's error: it is run again by itself. */
void dbt__job_ungroup(struct dbt__job *job);
/* Its lane was lost. first: it was of the unit that the server worked on. */
void dbt__job_lost(struct dbt__job *job, struct dbt__lane *lane, struct dbt__flight *flight,
    bool first);
void dbt__job_unqueue(struct dbt__job *job);
/* Run it again: to the front of the queue. */
void dbt__job_requeue(struct dbt__job *job);

/* --- lane.c --- */

struct dbt__lane *dbt__lane_dial(struct dbt__pool *pool);
/* Hand it a job, to be sent at the end of the turn. */
void dbt__lane_give(struct dbt__lane *lane, struct dbt__job *job);
/* Send what was given. */
void dbt__lane_send(struct dbt__lane *lane);
/* End it; its jobs are run again elsewhere or fail. why: for the log, NULL for a quiet end. */
void dbt__lane_lose(struct dbt__lane *lane, const char *why);
/* The lane is idle: it is given up now, its connection DBT__RETIRE later. */
void dbt__lane_retire(struct dbt__lane *lane);
/* The same after reading what has come: it may say what was done and what was not. */
void dbt__lane_hear_out(struct dbt__lane *lane, const char *why);
/* The server does not know, or should not know any more, the statement of this flight. */
void dbt__lane_forget(struct dbt__lane *lane, const struct dbt__flight *flight);
/* Its node is silent: reads on it that may run elsewhere do. */
void dbt__lane_shun(struct dbt__lane *lane);
/* Give back what a transaction had taken. */
void dbt__lane_release(struct dbt__lane *lane);
/* Look for a head that takes too long. */
void dbt__lane_check(struct dbt__lane *lane, w_usec now);
bool dbt__lane_idle(const struct dbt__lane *lane);
/* Does somebody wait for what it has sent? A write would be in doubt if it went. */
bool dbt__lane_awaited(struct dbt__lane *lane);
void dbt__lane_free(struct dbt__lane *lane);
/* Ask the server to end what it works on, which must be a read. */
void dbt__lane_cancel(struct dbt__lane *lane);
/* Of a job that takes its rows in portions: the next one, or end it. */
void dbt__lane_next(struct dbt__lane *lane, bool more);

/* For lane_in.c: the i-th flight, the oldest first. */
struct dbt__flight *dbt__lane_flight(struct dbt__lane *lane, unsigned i);
/* Flights of the unit at the head, of which there must be one. */
unsigned dbt__lane_unit(struct dbt__lane *lane);
void dbt__flight_clear(struct dbt__flight *flight);
void dbt__lane_set_stuck(struct dbt__lane *lane, bool stuck);
void dbt__lane_forget_all(struct dbt__lane *lane);

void dbt__lane_dirty(struct dbt__lane *lane); /* it has something to send */

/* A unit has left its own transaction open: end that. */
void dbt__lane_mend(struct dbt__lane *lane);

extern const struct dbt_stmt dbt__guard_stmt;

/* --- lane_in.c --- */

/* All that has come is understood and answered. False: give the lane up. */
bool dbt__lane_take(struct dbt__lane *lane);

/* --- pool.c --- */

/* A lane with room for the job, or NULL; may start to dial one. */
struct dbt__lane *dbt__pick(struct dbt_worker *worker, struct dbt__job *job);
/* Is there any node that this job may run on? */
bool dbt__any_fit(const struct dbt_worker *worker, const struct dbt__job *job);
/* Hand queued jobs to lanes. */
void dbt__pump(struct dbt_worker *worker);
/* Things have changed: those that were held queue again, where there is a node for them. */
void dbt__unhold(struct dbt_worker *worker);
/* Dial the read lanes that should be there, and write lanes for those that are held. */
void dbt__pools_fill(struct dbt_worker *worker);
/* Is what is known of this node, the primary, young enough to read from it? Else it is looked at. */
bool dbt__is_trusted(const struct dbt__site *site);

/* --- stmts.c --- */

unsigned dbt__known_index(struct dbt_worker *worker, const struct dbt_stmt *stmt);
/* Learn what a run of it took. */
void dbt__known_cost(struct dbt_worker *worker, unsigned index, w_usec cost);
/* It has taken this long already, and is not done. */
void dbt__known_slow(struct dbt_worker *worker, unsigned index, w_usec cost);
/* Two statements may have one name, so its place and its generation on a lane are part of it. */
void dbt__known_name(const struct dbt_stmt *stmt, unsigned index, unsigned generation,
    char to[DBT__NAME_SIZE]);
void dbt__known_fini(struct dbt_worker *worker);
/* A statement in the form that keeps its rows under a key; three parameters more. */
const struct dbt_stmt *dbt__known_once(struct dbt_worker *worker, const struct dbt_stmt *stmt);
/* PostgreSQL takes it in no such form; then dbt__known_once() is NULL. */
void dbt__known_no_once(struct dbt_worker *worker, const struct dbt_stmt *stmt);
/* The statements that any unit may bring along are known from the start. */
void dbt__known_init(struct dbt_worker *worker);

/* --- position.c --- */

extern const struct dbt_stmt dbt__position_stmt;
/* A row of it. Errors: -W_EPROTO it makes no sense. */
int dbt__position_read(struct w_view row, struct dbt_position *ret);
/*
 * What a flight that is done has told of where the log stands. Never fails: see
 * docs/protocol/03-promises.md, 1.
 */
struct dbt_position dbt__position_of(struct dbt_worker *worker, const struct dbt__flight *flight);
/* Ask for it apart, after a commit whose unit could not. */
struct dbt_position dbt__position_ask(struct dbt_worker *worker, w_usec deadline);

/* --- once.c --- */

int dbt__once_run(struct dbt_worker *worker, const struct dbt_query *query, struct dbt_rows **ret,
    struct dbt_sql_error *error);
/*
 * The rows kept under a key: one text each, in their order.
 * Errors   -W_ENOTFOUND none; -W_EMISMATCH of another request; as dbt_run()
 */
int dbt__once_find(struct dbt_worker *worker, const struct dbt_once *once, w_usec deadline,
    struct dbt_rows **ret);
/* Rows of a statement from the texts [from, from + count) of what was kept. Errors as dbt_run(). */
int dbt__once_replay(struct dbt_worker *worker, const struct dbt_stmt *stmt, w_usec deadline,
    const struct dbt_rows *kept, int from, int count, struct dbt_rows **ret);
/* The three parameters of a key, in memory of *text. */
#define DBT__ONCE_PARAMS 3
struct dbt__once_text {
	char nth[12], fingerprint[2 + 2 * DBT_FINGERPRINT + 1];
};
void dbt__once_params(const struct dbt_once *once, struct dbt__once_text *text,
    struct w_view ret[DBT__ONCE_PARAMS]);

/* --- site.c --- */

/* What the topology of now says of it; NULL: it is there no more. */
const struct dbt_node *dbt__site_now(const struct dbt__site *site);
/* Have the prober look at it. */
void dbt__site_suspect(const struct dbt__site *site);
/*
 * Make the sites those of the topology. Those that it does not show are moved to worker->leaving, with all
 * their lanes: dbt__site_leave() is owed to them, once nothing leads there any more.
 */
void dbt__sites_follow(struct dbt_worker *worker, const struct dbt_topology *topology);
/* Its lanes take nothing new from now on. */
void dbt__site_leave(struct dbt__site *site);
/* End the idle lanes of those that leave, and those that are left. At the end of a turn. */
void dbt__sites_see_off(struct dbt_worker *worker);
/* End all lanes of a node, or of a pool. why: as dbt__lane_lose()'s. */
void dbt__pool_lose(struct dbt__pool *pool, const char *why);
/* Of all nodes, those that leave included. fn may end the lane. */
void dbt__each_lane(struct dbt_worker *worker, void (*fn)(struct dbt__lane *lane, w_usec now));
/* End all lanes, and forget all nodes, at the worker's end. */
void dbt__sites_lose(struct dbt_worker *worker);
void dbt__sites_fini(struct dbt_worker *worker);

/* --- worker.c --- */

/*
 * A connection went away. A replica may come back with less than it had; a primary may have crashed and
 * come back, and show commits that nobody acknowledged. The prober knows; until it has looked, the node is not in force for us.
 */
void dbt__doubt(struct dbt__site *site);
/*
 * The primary takes no writes: it was made read-only, to be drained, or its disk is full. Writes are held until a probe of
 * after this says that it, or another one, takes them. pause: not sooner
 * than after this; for what a probe does not see, or a write that can never be would be tried without a break.
 */
void dbt__refused(struct dbt__site *site, w_usec pause);
/* Make sure that the tick runs while there is something to look after. */
void dbt__tick_on(struct dbt_worker *worker);

/* --- tx.c --- */

/* Hand a job to the lane of its transaction. */
void dbt__tx_give(struct dbt_tx *tx, struct dbt__job *job);
void dbt__tx_begun(struct dbt_tx *tx, struct dbt__lane *lane);
void dbt__tx_lane_lost(struct dbt_tx *tx);

extern const struct dbt_stmt dbt__begin_stmt, dbt__commit_stmt, dbt__rollback_stmt;

#endif
