/* weir-server: the application server of a cluster. */
#include "server/server.h"

int
main(int argc, char **argv)
{
	return w_node_main(argc, argv, &srv_role_ops);
}
