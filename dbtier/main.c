#include "dbtier/dbtier.h"

int
main(int argc, char **argv)
{
	return w_node_main(argc, argv, &dbt_agent_role);
}
