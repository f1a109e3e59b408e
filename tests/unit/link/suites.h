#ifndef WEIR_TESTS_LINK_SUITES_H
#define WEIR_TESTS_LINK_SUITES_H

#include <CUnit/TestDB.h>

extern CU_SuiteInfo codec_suites[], session_suites[], wire_suites[];

#endif
