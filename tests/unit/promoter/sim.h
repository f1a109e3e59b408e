/*
 * A cluster of database nodes and promoters that exists only here: agents with promises, PostgreSQLs that are
 * logs of entries, a network that loses, repeats, delays and reorders, and clients that note what was
 * acknowledged. Deterministic: a seed is a run.
 */
#ifndef WEIR_TESTS_UNIT_PROMOTER_SIM_H
#define WEIR_TESTS_UNIT_PROMOTER_SIM_H

#include "dbtier/promoter.h"

/* Mistakes that a run must find when they are made on purpose. */
enum sim_mistake {
	SIM_NONE,
	SIM_UNSETTLED,     /* an agent says settled while its walreceiver still runs */
	SIM_FORGETFUL,     /* an agent that starts again has lost its last promise */
	SIM_ONE_IS_ENOUGH, /* the promoter needs one answer */
	SIM_SAME_TIMELINE, /* a leader that was never promoted is resumed on the timeline of another one */
	/* of these only runs with changes of the cohort tell */
	SIM_NEW_ALONE,     /* an election of a change asks the new cohort only */
	SIM_HASTY,         /* an agent takes a change for established as soon as it has promised it */
	SIM_COMPLIANT,     /* promoters hear of cohorts from leaders only, else go by their cluster file; and agents obey */
	SIM_MISTAKE_COUNT,
	SIM_BY_FILE = SIM_MISTAKE_COUNT /* only the first half of that: agents refuse, and nothing is lost */
};

struct sim_config {
	uint64_t seed;
	unsigned nodes, quorum, promoters;
	enum sim_mistake mistake;
	bool changes; /* of the cohort: there are nodes to be added, and the cluster file changes */
	bool fresh;  /* begin with empty data directories */
	bool quiet;  /* no faults at all */
	bool trace;  /* print what happens */
};

struct sim_result {
	char wrong[256];  /* what was violated; "": nothing */
	unsigned faults, changes, elections, switchovers, turns, cascades, acknowledged, lost_messages;
	w_usec calm;      /* from the end of the faults to the first commit acknowledged after it */
	w_usec whole;     /* ... until all nodes followed */
};

/* False: something was violated; result->wrong says what. */
bool sim_run(const struct sim_config *config, struct sim_result *result);

#endif
