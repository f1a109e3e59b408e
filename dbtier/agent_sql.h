/*
 * What the agent says to PostgreSQL, its own and its upstream: pieces of work on libuv's thread
 * pool, one at a time, each with a deadline, so that a frozen PostgreSQL holds none for long.
 *
 *	look        what is it: standby, timeline, position, who streams, settings
 *	receive     wait until there is WAL up to a position, or half a second is over
 *	fence       drop the upstream, wait until the position cannot change any more
 *	promote     fill the gap of timelines, promote, send the marker, look
 *	mark        a commit that the quorum acknowledges; for a moment only, so call it again
 *	ask         may we follow the upstream as we are, or must we rewind or clone
 *	checkpoint  at the upstream, when its control file is of an older timeline than its own
 *
 * Threads: between dbt__agent_piece_start() and piece_done(), the piece and the connections are
 * the thread pool's. All else of the agent that a piece reads does not change while it runs.
 */
#ifndef WEIR_DBTIER_AGENT_SQL_H
#define WEIR_DBTIER_AGENT_SQL_H

#include <libpq-fe.h>

#include "common/loop.h"
#include "dbtier/control.h"

enum agent_piece_kind {
	PIECE_LOOK, PIECE_RECEIVE, PIECE_FENCE, PIECE_PROMOTE, PIECE_MARK, PIECE_ASK, PIECE_CHECKPOINT, PIECE_COUNT
};
enum agent_verdict { VERDICT_NONE, VERDICT_WAIT, VERDICT_TURN, VERDICT_REWIND, VERDICT_CLONE };

/* What was seen of our own PostgreSQL. */
struct agent_look {
	bool answered, late; /* late: no answer in time. Neither: it refused, or does not listen yet */
	bool recovery;
	char system[32];
	uint32_t timeline;
	uint64_t lsn;
	unsigned receivers; /* walreceiver processes */
	int receiver;       /* pid of one */
	int startup;        /* pid of the startup process */
	bool at_end;        /* it waits for more WAL than there is, and asks nobody */
	bool alone;         /* primary_conninfo is empty */
	bool named;         /* synchronous_standby_names is the promised cohort's */
	bool streaming;
	int64_t heard_ms;
	unsigned attached;
	bool read_only;
	unsigned writers;   /* transactions that may write */
	int64_t clock;      /* PostgreSQL's, microseconds */
	bool judged;        /* broken was looked at */
	char broken[DBT_TEXT];
};

struct agent_piece {
	uv_work_t uv;
	bool running;
	enum agent_piece_kind kind;
	w_usec started;
	/* in */
	int64_t pid; /* of the postmaster */
	uint32_t term;
	char cohort[DBT_COHORT]; /* promised */
	bool whole;            /* fence: more of weir.conf changes than the upstream */
	int startup, receiver; /* fence: their pids as they were seen last, 0: not known */
	uint64_t lsn;          /* receive: up to here; ask: our own position */
	uint32_t timeline;     /* ask: our own */
	char system[32];       /* ask: our own */
	char upstream[DBT_NAME];
	bool judge;            /* look: at the settings, too */
	int64_t read_only_from; /* look: since when new transactions are read-only, 0: they are not */
	/* out */
	int rc;
	char why[DBT_TEXT];
	struct agent_look look;
	enum agent_verdict verdict;
};

/* Both to our own PostgreSQL, of the postmaster pid. Replication connections take IDENTIFY_SYSTEM. */
struct agent_conns {
	int64_t pid;
	PGconn *look; /* a replication connection */
	PGconn *work; /* an ordinary one */
	bool marking; /* the marker was sent on work */
	bool checkpointing; /* a checkpoint was sent on work */
	bool warned;  /* a commit did not wait as it should have */
};

#endif
