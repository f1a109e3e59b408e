#ifndef WEIR_TESTS_UNIT_DBTIER_SUITES_H
#define WEIR_TESTS_UNIT_DBTIER_SUITES_H

#include "tests/unit/unit.h"

/* The program is a database agent when this is its first argument. */
#define AGENT_ARGUMENT "--agent"

extern CU_SuiteInfo pure_suites[];
extern CU_SuiteInfo control_suites[];
extern CU_SuiteInfo agent_live_suites[];
extern CU_SuiteInfo topology_live_suites[];
extern CU_SuiteInfo reload_suites[];
extern CU_SuiteInfo live_suites[];
extern CU_SuiteInfo promises_suites[];
extern CU_SuiteInfo meetings_suites[];
extern CU_SuiteInfo group_suites[];
extern CU_SuiteInfo storm_suites[];
extern CU_SuiteInfo failover_suites[];

#endif
