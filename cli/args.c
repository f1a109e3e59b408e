#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"
#include "common/view.h"

static void
say(const char *command, const char *fmt, va_list args)
{
	fprintf(stderr, "weir %s: ", command);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

int
cli_fail(const char *command, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(command, fmt, args);
	va_end(args);
	return CLI_FAILED;
}

int
cli_usage(const char *command, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(command, fmt, args);
	va_end(args);
	fprintf(stderr, "weir %s --help tells more\n", command);
	return CLI_USAGE;
}

static void
print_help(const struct cli_command *command, const struct cli_arg *table, size_t count)
{
	printf("Usage: weir %s %s\n%s\n\n", command->name, command->arguments, command->summary);
	for (size_t i = 0; i < count; i++) {
		W_AUTO(w_free) char *left = w_xasprintf("--%s%s%s", table[i].name,
		    table[i].value != NULL ? " " : "", table[i].value != NULL ? table[i].value : "");

		printf("  %-20s %s\n", left, table[i].text);
	}
	printf("  %-20s %s\n", "--help", "Print this.");
}

static const struct cli_arg *
find_arg(const struct cli_arg *table, size_t count, struct w_view name)
{
	for (size_t i = 0; i < count; i++)
		if (w_view_eq(w_view_of(table[i].name), name))
			return &table[i];
	return NULL;
}

static int
take_value(const struct cli_command *command, const struct cli_arg *arg, const char *value)
{
	uint64_t number;

	if (arg->type == CLI_TEXT) {
		*(const char **)arg->ret = value;
	} else if (w_view_u64(w_view_of(value), arg->max, &number) < 0 || number < arg->min) {
		return cli_usage(command->name, "--%s '%s' is not a number from %u to %u", arg->name,
		    value, arg->min, arg->max);
	} else {
		*(unsigned *)arg->ret = (unsigned)number;
	}
	if (arg->given != NULL)
		*arg->given = true;
	return CLI_DONE;
}

/* One --name or --name=value at argv[*at]; *at moves over a separate value. */
static int
take_option(const struct cli_command *command, const struct cli_arg *arg, char **argv, int *at,
    int argc, const char *equals)
{
	if (arg->type == CLI_FLAG) {
		if (equals != NULL)
			return cli_usage(command->name, "--%s takes no value", arg->name);
		*(bool *)arg->ret = true;
		return CLI_DONE;
	}
	if (equals == NULL && *at + 1 >= argc)
		return cli_usage(command->name, "--%s needs a value: %s", arg->name, arg->value);
	return take_value(command, arg, equals != NULL ? equals + 1 : argv[++*at]);
}

int
cli_args(const struct cli_command *command, const struct cli_arg *table, size_t count, int *argc,
    char **argv)
{
	int rest = 1;

	for (int i = 1; i < *argc; i++) {
		const struct cli_arg *arg;
		struct w_view name;
		const char *equals;
		int rc;

		if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0') {
			argv[rest++] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--help") == 0) {
			print_help(command, table, count);
			exit(CLI_DONE);
		}
		equals = strchr(argv[i], '=');
		name = w_view_of(argv[i] + 2);
		if (equals != NULL)
			name.len = (size_t)(equals - argv[i]) - 2;
		arg = find_arg(table, count, name);
		if (arg == NULL)
			return cli_usage(command->name, "no option '%s'", argv[i]);
		rc = take_option(command, arg, argv, &i, *argc, equals);
		if (rc != CLI_DONE)
			return rc;
	}
	*argc = rest;
	return CLI_DONE;
}
