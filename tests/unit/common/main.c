/*
 * Unit tests of common/.
 */
#include "tests/unit/unit.h"

/* A file of tests that is not there leaves its table NULL. */
#define SUITES(name) extern CU_SuiteInfo name[] __attribute__((weak))

SUITES(view_suites);
SUITES(buf_suites);
SUITES(json_suites);
SUITES(arena_suites);
SUITES(log_suites);
SUITES(cluster_suites);
SUITES(loop_suites);
SUITES(fiber_suites);
SUITES(keys_suites);
SUITES(metrics_suites);
SUITES(node_suites);

int
main(void)
{
	static CU_SuiteInfo *const known[] = { view_suites, buf_suites, json_suites, arena_suites,
		log_suites, cluster_suites, loop_suites, fiber_suites, keys_suites, metrics_suites,
		node_suites };
	CU_SuiteInfo *all[sizeof(known) / sizeof(known[0]) + 1];
	size_t count = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] != NULL)
			all[count++] = known[i];
	all[count] = NULL;
	return unit_main(all);
}
