/*
 * The runner that the unit programs of all rooms share:
 *
 *	int
 *	main(void)
 *	{
 *		static CU_SuiteInfo *const all[] = { pool_suites, route_suites, NULL };
 *
 *		return unit_main(all);
 *	}
 *
 * Each table of suites ends with CU_SUITE_INFO_NULL, the list of tables with NULL.
 */
#ifndef WEIR_TESTS_UNIT_H
#define WEIR_TESTS_UNIT_H

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* While one suite is worked on: only those run whose names have the text of UNIT_SUITES in them. */
static inline void
unit_choose(const CU_SuiteInfo *suites)
{
	const char *wanted = getenv("UNIT_SUITES");

	CU_set_fail_on_inactive(wanted != NULL ? CU_FALSE : CU_TRUE);
	for (; wanted != NULL && suites->pName != NULL; suites++)
		if (strstr(suites->pName, wanted) == NULL)
			CU_set_suite_active(CU_get_suite(suites->pName), CU_FALSE);
}

/* 0 when something ran and all of it passed; 1 for failures, failed set-up, nothing run. */
static inline int
unit_run(CU_SuiteInfo *const *tables)
{
	unsigned ran, failed;

	for (; *tables != NULL; tables++) {
		if (CU_register_suites(*tables) != CUE_SUCCESS) {
			fprintf(stderr, "cannot register suites: %s\n", CU_get_error_msg());
			return 1;
		}
		unit_choose(*tables);
	}
	CU_basic_set_mode(CU_BRM_VERBOSE);
	if (CU_basic_run_tests() != CUE_SUCCESS) {
		fprintf(stderr, "cannot run: %s\n", CU_get_error_msg());
		return 1;
	}
	ran = CU_get_number_of_tests_run();
	/* a suite whose set-up failed runs none of its tests, so it counts by itself */
	failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
	printf("%u tests, %u failed\n", ran, failed);
	return ran == 0 || failed != 0 || CU_get_number_of_failures() != 0;
}

static inline int
unit_main(CU_SuiteInfo *const *tables)
{
	int status;

	if (CU_initialize_registry() != CUE_SUCCESS) {
		fprintf(stderr, "cannot start: %s\n", CU_get_error_msg());
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	status = unit_run(tables);
	CU_cleanup_registry();
	return status;
}

#endif
