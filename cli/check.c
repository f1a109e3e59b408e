/* weir check and weir keys. */
#include <stdio.h>

#include "cli/cli.h"
#include "common/keys.h"

int
cli_check(int argc, char **argv)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	struct w_fault fault = { 0 };
	int rc = cli_args(cli_command_find("check"), NULL, 0, &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc != 2)
		return cli_usage("check", "say which file");
	if (w_cluster_load(argv[1], &cluster, &fault) < 0) {
		fprintf(stderr, "%s\n", fault.text);
		return CLI_FAILED;
	}
	printf("%s: good: %zu balancers, %zu servers, %zu databases, %zu monitors, %zu alert rules\n",
	    argv[1], w_cluster_count(cluster, W_BALANCER), w_cluster_count(cluster, W_SERVER),
	    w_cluster_count(cluster, W_DATABASE), w_cluster_count(cluster, W_MONITOR),
	    cluster->alert_count);
	return CLI_DONE;
}

int
cli_keys(int argc, char **argv)
{
	struct w_fault fault = { 0 };
	int rc = cli_args(cli_command_find("keys"), NULL, 0, &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc < 3)
		return cli_usage("keys", "say a folder and at least one name of a node or subscriber");
	if (cli_make_dir(argv[1], 0700, &fault) < 0)
		return cli_fail("keys", "%s", fault.text);
	for (int i = 2; i < argc; i++) {
		if (w_keys_ensure(argv[1], argv[i], &fault) < 0)
			return cli_fail("keys", "%s", fault.text);
		printf("%s/%s.pub\n", argv[1], argv[i]);
	}
	return CLI_DONE;
}
