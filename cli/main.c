#include <stdio.h>

#include "cli/cli.h"

static void
print_help(FILE *to)
{
	fprintf(to, "Usage: weir COMMAND [OPTION...]\n\nCommands:\n");
	for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
		fprintf(to, "  %-12s %s\n", command->name, command->summary);
	fprintf(to, "\nweir COMMAND --help tells more; so does weir(1).\n");
}

int
main(int argc, char **argv)
{
	const struct cli_command *command;

	if (argc < 2) {
		print_help(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return CLI_DONE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("weir 0.1.0\n");
		return CLI_DONE;
	}
	command = cli_command_find(argv[1]);
	if (command == NULL) {
		fprintf(stderr, "weir: no command '%s'; weir --help lists them\n", argv[1]);
		return CLI_USAGE;
	}
	return command->run(argc - 1, argv + 1);
}
