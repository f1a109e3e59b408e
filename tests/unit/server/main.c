#include "tests/unit/unit.h"

#include <signal.h>

#include "tests/unit/server/suites.h"

int
main(void)
{
	static CU_SuiteInfo *const all[] = {
		parse_suites, route_suites, direct_suites, linked_suites, NULL };

	signal(SIGPIPE, SIG_IGN);
	return unit_main(all);
}
