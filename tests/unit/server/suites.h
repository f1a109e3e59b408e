/* The suites of this program. */
#ifndef WEIR_TESTS_SERVER_SUITES_H
#define WEIR_TESTS_SERVER_SUITES_H

#include <CUnit/CUnit.h>

extern CU_SuiteInfo parse_suites[], route_suites[], direct_suites[], linked_suites[];

#endif
