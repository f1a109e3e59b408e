#ifndef WEIR_TESTS_UNIT_PROMOTER_SUITES_H
#define WEIR_TESTS_UNIT_PROMOTER_SUITES_H

#include "tests/unit/unit.h"

extern CU_SuiteInfo promise_suites[];
extern CU_SuiteInfo promoter_suites[];
extern CU_SuiteInfo promoter_doubt_suites[];
extern CU_SuiteInfo promoter_change_suites[];

#endif
