/*
 * Unit tests of monitor/.
 */
#include "tests/unit/unit.h"

extern CU_SuiteInfo report_suites[], state_suites[], rules_suites[], show_suites[], live_suites[],
    promote_suites[];

int
main(void)
{
	static CU_SuiteInfo *const all[] = { report_suites, state_suites, rules_suites, show_suites,
		live_suites, promote_suites, NULL };

	return unit_main(all);
}
