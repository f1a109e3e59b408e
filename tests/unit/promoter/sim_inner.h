/*
 * The insides of the simulated cluster.
 *
 *	sim.c       a run: network, promoters, servers, what goes wrong, what is checked at the end
 *	sim_node.c  a database node: its PostgreSQL, its agent, what is checked at each acknowledgement
 */
#ifndef WEIR_TESTS_UNIT_PROMOTER_SIM_INNER_H
#define WEIR_TESTS_UNIT_PROMOTER_SIM_INNER_H

#include "dbtier/promise.h"
#include "dbtier/promoter_inner.h"
#include "sim.h"

#define NODES 5
#define PROMOTERS 2
#define SERVERS 2
#define ENTITIES (NODES + PROMOTERS + SERVERS)
#define LOG 3000
#define MESSAGES 512
#define TICK (10 * W_MSEC)
#define START (1000 * W_SEC)
#define FAULTY (10 * W_SEC)
#define CALM (30 * W_SEC)
#define CALM_CHANGES (90 * W_SEC)

struct entry {
	uint32_t term, value; /* value 0: written by PostgreSQL itself */
};

enum pg { PG_NONE, PG_STARTING, PG_UP };

struct node {
	char name[DBT_NAME];
	/* the agent */
	struct dbt_promise promise, before;
	bool agent_up;
	w_usec agent_back, frozen_until;
	int64_t epoch, seq, order;
	char refused[DBT_TEXT];
	w_usec next_status, promoter_heard;
	bool tell, resume, drained;
	w_usec fence_at, settle_at, remake_until, promote_at;
	char configured[DBT_COHORT];
	w_usec reload; /* 0: it has the cluster file */
	/* PostgreSQL */
	bool data;
	enum pg pg;
	bool primary;
	uint32_t pg_term; /* in which it was started as a primary */
	struct dbt_members pg_names; /* whom its commits wait for */
	w_usec pg_ready, pg_frozen_until, pg_frozen_since, heard;
	int receiver;
	unsigned flushed[NODES];
	unsigned marker; /* position of the marker commit, 0: not written */
	bool marked;
	unsigned acked;
	unsigned len;
	struct entry log[LOG];
};

struct message {
	int from, to; /* entities */
	enum { M_STATUS, M_ORDER, M_GONE } kind;
	union {
		struct dbt_status status;
		struct dbt_order order;
	};
};

struct sim;

struct host {
	struct sim *sim;
	unsigned index;
	struct dbt_promoter *promoter; /* NULL: it is down */
	w_usec back, turn;
	struct w_member members[NODES];
	struct w_cluster cluster; /* as it has read it */
	w_usec reload;            /* 0: it has the cluster file */
};

struct sim {
	const struct sim_config *config;
	struct sim_result *result;
	uint64_t random;
	w_usec now;
	bool faulty;
	/* the cluster file */
	unsigned listed, quorum; /* bits of nodes */
	char cohort[DBT_COHORT];
	struct node nodes[NODES];
	unsigned count;
	struct host hosts[PROMOTERS];
	struct message messages[MESSAGES];
	w_usec due[MESSAGES]; /* 0: free */
	unsigned posted;      /* none behind it is under way */
	unsigned loss; /* percent */
	w_usec delay;
	/* who is cut off from whom, and until when */
	unsigned side;
	w_usec cut_until;
	uint32_t value;
	/* what was acknowledged, by whomever */
	unsigned committed;
	struct entry log[LOG];
	uint32_t acked_term;
	unsigned acks_after;
	uint32_t terms[NODES];
};

/* ---- sim.c ---- */

uint64_t sim_dice(struct sim *sim, uint64_t sides);
w_usec sim_between(struct sim *sim, w_usec low, w_usec high);
void sim_trace(const struct sim *sim, const char *fmt, ...) W_PRINTF(2, 3);
/* A promise is broken: the run is over. */
void sim_wrong(struct sim *sim, const char *fmt, ...) W_PRINTF(2, 3);
int sim_host_entity(const struct host *host);
bool sim_reach(const struct sim *sim, int a, int b);
/* Room for up to two copies of a message, each late by its own time. */
unsigned sim_post(struct sim *sim, int from, int to, struct message *ret[2]);

/* ---- sim_node.c ---- */

/* Does a commit of this primary wait for that node, among others? */
bool sim_is_named(const struct sim *sim, const struct node *node, unsigned other);
bool sim_pg_runs(const struct sim *sim, const struct node *node);
void sim_pg_kill(struct node *node);
void sim_pg_start(struct sim *sim, struct node *node, bool primary);
void sim_append(struct node *node, uint32_t term, uint32_t value);
uint32_t sim_timeline(const struct node *node);
void sim_node_step(struct sim *sim, struct node *node);
void sim_take_order(struct sim *sim, struct node *node, const struct dbt_order *order);

#endif
