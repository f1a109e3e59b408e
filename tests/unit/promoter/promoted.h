/*
 * A promoter under test, the agents' statuses as they will be said next, and what the promoter has done.
 * One world at a time: w.
 */
#ifndef WEIR_TESTS_UNIT_PROMOTER_PROMOTED_H
#define WEIR_TESTS_UNIT_PROMOTER_PROMOTED_H

#include "dbtier/promoter_inner.h"
#include "suites.h"

#define NODES 3
#define PLACES 5 /* what a change may bring in */
#define ORDERS 128
#define ALL 7U /* agents: bits of a mask */

struct world {
	struct w_member members[PLACES];
	struct w_cluster cluster;
	struct dbt_cohort cohort; /* that leads() and follows() have promised */
	struct dbt_promoter *promoter;
	struct dbt_status status[PLACES];
	w_usec now;
	struct {
		int to;
		struct dbt_order order;
	} orders[ORDERS];
	unsigned ordered;
	char moves[2048]; /* names, with commas between */
	struct dbt_move last;
	struct dbt_answer answer;
	unsigned answers, progress; /* the last ones of commands, and those before */
};
extern struct world w;

struct start {
	unsigned nodes, quorum, turn;
	bool external;
};
void start_with(struct start how);
void start(void); /* three nodes, quorum 1 */
/* db-1 leads term 3, the others follow; long enough for everybody to have found it. */
void steady(void);
int promoted_tear_down(void);

/* The cluster file has other databases now, bits of names, and every agent and the promoter have read it. */
void reconfigure(unsigned mask, unsigned quorum);
/* What an agent has promised of cohorts. */
void promises(unsigned at, const struct dbt_cohort *cohort);

void say(unsigned at);
/* Time passes; who is given in the mask goes on saying what it said. */
void pass(w_usec wait, unsigned mask);
void witness(const char *server, const char *primary, unsigned others);

/* Change what an agent will say. */
void leads(unsigned at, uint32_t term);
void follows(unsigned at, unsigned upstream, uint32_t term);
void fenced(unsigned at, uint32_t term); /* as an order of this promoter wants it */
void not_streaming(unsigned at);
void end_leader(void); /* and say it */

const char *state(void);
/* Prints what differs. */
bool is(const char *a, const char *b);
/* The last order to a node of that kind, NULL: there was none. */
const struct dbt_order *order(unsigned to, enum dbt_order_kind kind);
unsigned count_orders(unsigned to, enum dbt_order_kind kind);

#endif
