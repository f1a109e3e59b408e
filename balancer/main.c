/*
 * weir-balancer: see docs/man/weir-balancer.8.
 */
#include "balancer/balancer.h"

int
main(int argc, char **argv)
{
	return w_node_main(argc, argv, &bal_role);
}
