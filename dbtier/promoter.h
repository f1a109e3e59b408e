/*
 * The promoter: decides which database node leads, and tells the agents. A library: the monitor hosts it,
 * carries its messages and shows what it does.
 *
 * Pure: no I/O, no clock, no randomness of its own; whoever hosts it brings messages and time in, and
 * takes orders out. So tests drive a thousand elections a second, with every loss that there is.
 *
 *	statuses, witnesses, commands, time --> [promoter] --> orders, moves, answers
 *
 * Invariants
 * 1. It keeps nothing that a restart could lose: what it must not forget is in the agents' promises.
 * 2. A term that it has sent a promote in is never used again for another node.
 * 3. It decides on fresh statuses only.
 * 4. Every change of its state is a row of the table of moves, and is told with its reason.
 *
 * Threads: one at a time. Source: docs/protocol/04-failover.md, section 6
 */
#ifndef WEIR_DBTIER_PROMOTER_H
#define WEIR_DBTIER_PROMOTER_H

#include "dbtier/control.h"

struct dbt_promoter;

/* What a server tells of the databases. */
struct dbt_witness {
	char server[DBT_NAME];
	w_usec came;                /* when the report came, w_now() based */
	char primary[DBT_NAME];     /* in force for it; "": none */
	unsigned others;            /* database nodes that answer it, the leader not counted */
};

/* One thing that happened: for the journal, the feed, the log and weir status. */
struct dbt_move {
	const char *name;  /* "suspect", "prepare", "elect", "established", ... : static */
	const char *from, *to; /* states of the promoter: static */
	uint32_t term;
	char node[DBT_NAME]; /* whom it is about; "": nobody */
	char why[DBT_TEXT];
	w_usec took;         /* established: since the suspicion, or since the switchover was asked for; else 0 */
};

struct dbt_promoter_config {
	const char *self;        /* name of the monitor */
	int64_t epoch;           /* microseconds since 1970 when its process started */
	unsigned turn;           /* which monitor of the cluster file it is, from 0 */
	const struct w_cluster *cluster;
	bool automatic;          /* failover: builtin; else it does nothing at all */
	uint64_t seed;           /* of its backoff */

	/* Called from within the functions below. */
	void (*order)(void *arg, const char *node, const struct dbt_order *order);
	void (*move)(void *arg, const struct dbt_move *move);
	void (*answer)(void *arg, const struct dbt_answer *answer);
	void *arg;
};

/* Errors: -W_EINVAL cluster without databases, or too many. */
int dbt_promoter_new(const struct dbt_promoter_config *config, w_usec now, struct dbt_promoter **ret, struct w_fault *fault);
void dbt_promoter_free(struct dbt_promoter **promoter);
/* Another cluster file; what is under way goes on. */
int dbt_promoter_reload(struct dbt_promoter *promoter, const struct w_cluster *cluster, w_usec now, struct w_fault *fault);

/* Inputs. Each may lead to decisions at once. */
void dbt_promoter_status(struct dbt_promoter *promoter, const struct dbt_status *status, w_usec now);
/* The agent's connection broke: nothing of it is fresh any more. */
void dbt_promoter_gone(struct dbt_promoter *promoter, const char *node, w_usec now);
void dbt_promoter_witness(struct dbt_promoter *promoter, const struct dbt_witness *witness, w_usec now);
void dbt_promoter_command(struct dbt_promoter *promoter, const struct dbt_command *command, w_usec now);
/* Time has passed. To be called at the time that it returned last, or earlier. */
w_usec dbt_promoter_turn(struct dbt_promoter *promoter, w_usec now);

/* What it is at, for weir status, the feed and metrics. Valid until the next call. */
struct dbt_promoter_view {
	const char *state;     /* of the table of moves */
	uint32_t term;         /* of the leader, or of the election */
	const char *leader;    /* NULL: none */
	bool paused;
	unsigned fresh, cohort, needed; /* agents */
	const char *in_force, *configured; /* cohorts: the one that counts, the cluster file's */
	const char *change;    /* what the change from one to the other waits for; NULL: there is none */
	bool spare;            /* one more node may be lost */
	const char *degraded;  /* section 6.2; NULL: nothing */
	const char *why;       /* of the last move */
	uint64_t elections, switchovers, failures; /* since the start */
	w_usec last_gap;       /* of the last established, 0: none */
};
void dbt_promoter_look(const struct dbt_promoter *promoter, struct dbt_promoter_view *ret);
/* The last status of an agent, NULL: none yet. fresh: may be NULL. */
const struct dbt_status *dbt_promoter_agent(const struct dbt_promoter *promoter, const char *node, bool *ret_fresh);

/* Print the table of moves as text: for the manual, and for a test that compares it with the model's. */
void dbt_promoter_print_moves(struct w_buf *out);

#endif
