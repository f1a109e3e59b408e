#include "tests/unit/unit.h"

#include "tests/unit/link/suites.h"

int
main(void)
{
	static CU_SuiteInfo *const all[] = {codec_suites, session_suites, wire_suites, NULL};

	return unit_main(all);
}
