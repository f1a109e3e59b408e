/*
 * Unit tests of the balancer.
 */
#include "tests/unit/unit.h"

extern CU_SuiteInfo wheel_suites[], sched_suites[], check_suites[], h1_suites[], exchange_suites[];

int
main(void)
{
	static CU_SuiteInfo *const all[] = { wheel_suites, sched_suites, check_suites, h1_suites,
		exchange_suites, NULL };

	return unit_main(all);
}
