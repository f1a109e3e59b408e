/* The table of subcommands, and those that only hand over to another program. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

#define CLUSTER_ARGS "[--dir DIR | --config FILE]"

/* clang-format off */
const struct cli_command cli_commands[] = {
	{ "up",         cli_up,         "[OPTION...]", "Run a whole cluster on this machine." },
	{ "down",       cli_down,       "[--dir DIR]", "Stop a cluster that weir up started." },
	{ "reload",     cli_reload,     "[--dir DIR]", "Have a cluster of weir up take its edited file." },
	{ "status",     cli_status,     CLUSTER_ARGS " [--json]", "Show the nodes of a cluster." },
	{ "stop-node",  cli_stop_node,  "NODE [--dir DIR]", "Stop one node of weir up and keep it stopped." },
	{ "start-node", cli_start_node, "NODE [--dir DIR]", "Start a stopped node of weir up again." },
	{ "switchover", cli_switchover, "[NODE] " CLUSTER_ARGS " [--json]", "Make another database the primary, in order." },
	{ "pause",      cli_pause,      CLUSTER_ARGS " [--json]", "Pause failover, for maintenance." },
	{ "resume",     cli_resume,     CLUSTER_ARGS " [--json]", "Let failover go on." },
	{ "check",      cli_check,      "FILE", "Check a cluster file." },
	{ "keys",       cli_keys,       "FOLDER NAME...", "Make CURVE keys." },
	{ "schema",     cli_schema,     "apply|status " CLUSTER_ARGS, "Load the SQL schema, or show what is loaded." },
	{ "watch",      cli_watch,      CLUSTER_ARGS " [--json] [TOPIC...]", "Follow the monitor's feed." },
	{ "firewall",   cli_firewall,   "NODE " CLUSTER_ARGS " [--apply]", "Print or load the nftables rules of a node." },
	{ "balancer",   cli_run_role,   "--config FILE --name NODE", "Run a balancer node." },
	{ "server",     cli_run_role,   "--config FILE --name NODE", "Run a server node." },
	{ "database",   cli_run_role,   "--config FILE --name NODE", "Run a database agent." },
	{ "monitor",    cli_run_role,   "--config FILE --name NODE", "Run a monitor node." },
	{ NULL, NULL, NULL, NULL },
};
/* clang-format on */

const struct cli_command *
cli_command_find(const char *name)
{
	for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}

int
cli_run_role(int argc, char **argv)
{
	const char *name = strcmp(argv[0], "database") == 0 ? "dbnode" : argv[0];
	W_AUTO(w_free) char *program = w_xasprintf("weir-%s", name);
	W_AUTO(w_free) char *path = cli_find_program(program);

	(void)argc;
	argv[0] = path;
	execv(path, argv);
	return cli_fail(name, "cannot run %s: %s", path, strerror(errno));
}
