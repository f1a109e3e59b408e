#include "dbtier/dbtier.h"
#include "fixture.h"
#include "suites.h"

int
main(int argc, char **argv)
{
	static CU_SuiteInfo *const all[] = {
		pure_suites,
		control_suites,
		topology_live_suites,
		reload_suites,
		live_suites,
		promises_suites,
		meetings_suites,
		group_suites,
		storm_suites,
		failover_suites,
		agent_live_suites,
		NULL
	};
	static CU_SuiteInfo *const pure[] = {
		pure_suites,
		control_suites,
		NULL
	};
	const char *missing;

	if (argc > 1 && strcmp(argv[1], AGENT_ARGUMENT) == 0)
		return w_node_main(argc - 1, argv + 1, &dbt_agent_role);
	missing = fixture_missing();
	if (missing != NULL)
		printf("SKIP the tests with a database: %s\n", missing);
	return unit_main(missing != NULL ? pure : all);
}
