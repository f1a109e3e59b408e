#include "suites.h"

int
main(void)
{
	static CU_SuiteInfo *const all[] = {
		promise_suites,
		promoter_suites,
		promoter_doubt_suites,
		promoter_change_suites,
		NULL
	};

	return unit_main(all);
}
