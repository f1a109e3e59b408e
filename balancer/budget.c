/*
 * The retry budget: see budget.h. Ten slots of one second form a ring.
 */
#include "balancer/budget.h"

static unsigned
advance(struct bal_budget *budget, w_usec now)
{
	int64_t second = now / W_SEC;
	int64_t from = W_MAX(budget->second + 1, second - BAL_BUDGET_SECONDS + 1);

	for (int64_t s = from; s <= second; s++) {
		unsigned slot = (unsigned)(s % BAL_BUDGET_SECONDS);

		budget->all_requests -= budget->requests[slot];
		budget->all_retries -= budget->retries[slot];
		budget->requests[slot] = budget->retries[slot] = 0;
	}
	budget->second = W_MAX(budget->second, second);
	return (unsigned)(budget->second % BAL_BUDGET_SECONDS);
}

void
bal_budget_request(struct bal_budget *budget, w_usec now)
{
	budget->requests[advance(budget, now)]++;
	budget->all_requests++;
}

void
bal_budget_retry(struct bal_budget *budget, w_usec now)
{
	budget->retries[advance(budget, now)]++;
	budget->all_retries++;
}

bool
bal_budget_take(struct bal_budget *budget, w_usec now, unsigned percent)
{
	uint64_t limit;

	advance(budget, now);
	limit = W_MAX(budget->all_requests * percent / 100, (uint64_t)BAL_BUDGET_LEAST);
	if (percent == 0 || budget->all_retries >= limit)
		return false;
	bal_budget_retry(budget, now);
	return true;
}
