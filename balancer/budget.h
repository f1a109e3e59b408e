/*
 * The retry budget: how many requests may be sent again, as a share of the requests of the
 * last ten seconds. It keeps a failing cluster from being buried under its own retries.
 *
 * Threads: a budget belongs to one worker.
 */
#ifndef WEIR_BALANCER_BUDGET_H
#define WEIR_BALANCER_BUDGET_H

#include "common/base.h"

#define BAL_BUDGET_SECONDS 10
#define BAL_BUDGET_LEAST 3 /* retries in ten seconds that are always allowed */

struct bal_budget {
	int64_t second; /* that the current slot stands for */
	uint32_t requests[BAL_BUDGET_SECONDS], retries[BAL_BUDGET_SECONDS];
	uint64_t all_requests, all_retries; /* sums of the slots */
};

void bal_budget_request(struct bal_budget *budget, w_usec now);
/* A retry that is allowed whatever the budget says; it counts. */
void bal_budget_retry(struct bal_budget *budget, w_usec now);
/* Take a retry from the budget; false: it is exhausted. percent 0 allows none. */
bool bal_budget_take(struct bal_budget *budget, w_usec now, unsigned percent);

#endif
