/* weir-monitor: collects, judges and republishes what all nodes of a cluster report. */
#include "monitor/monitor.h"

int
main(int argc, char **argv)
{
	return w_node_main(argc, argv, &mon_role);
}
