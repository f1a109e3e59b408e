/*
 * The arguments of a node's program.
 */
#include <getopt.h>
#include <stdio.h>

#include "common/log.h"
#include "common/node_inner.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0.1.0"
#endif

enum { EXIT_DONE = 0, EXIT_USAGE = 2, GO_ON = -1 };

static void
print_usage(FILE *to, const struct w_role_ops *ops)
{
	fprintf(to,
	    "usage: %s --config FILE --name NODE [--log-level LEVEL]\n"
	    "       %s --help | --version | --print-options\n",
	    ops->program, ops->program);
}

static int
do_help(const struct w_role_ops *ops)
{
	printf("%s - %s\n\n", ops->program, ops->summary);
	print_usage(stdout, ops);
	printf("\n"
	       "  --config FILE      the cluster file, see weir-cluster(5)\n"
	       "  --name NODE        which %s of the file this one is\n"
	       "  --log-level LEVEL  debug, info, warn or error; otherwise log_level of the file\n"
	       "  --supervised       end when standard input closes, that is, with who started it\n"
	       "  --print-options    the options of a %s in the cluster file, as roff\n"
	       "\n"
	       "SIGTERM and SIGINT end it once its work is done, a second one at once; SIGHUP "
	       "reads the\n"
	       "cluster file and the keys again. Exit status: 0 ended as asked, 1 failed, 2 wrong "
	       "usage.\n",
	    w_role_name(ops->role), w_role_name(ops->role));
	return EXIT_DONE;
}

static int
do_version(const struct w_role_ops *ops)
{
	printf("%s %s\n", ops->program, PACKAGE_VERSION);
	return EXIT_DONE;
}

static int
do_print_options(const struct w_role_ops *ops)
{
	w_options_print(w_role_name(ops->role));
	return EXIT_DONE;
}

static int
usage_error(const struct w_role_ops *ops, const char *what)
{
	fprintf(stderr, "%s: %s\n", ops->program, what);
	print_usage(stderr, ops);
	return EXIT_USAGE;
}

static int
parse_level(const struct w_role_ops *ops, const char *text, int *ret)
{
	static const char *const names[] = {[W_DEBUG] = "debug", "info", "warn", "error"};

	for (size_t i = 0; i < W_NELEM(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (int)i;
			return GO_ON;
		}
	}
	return usage_error(ops, "--log-level is one of debug, info, warn, error");
}

int
w__node_args(int argc, char **argv, const struct w_role_ops *ops, struct node_args *ret)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"name", required_argument, NULL, 'n'},
	    {"log-level", required_argument, NULL, 'l'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {"print-options", no_argument, NULL, 'p'},
	    {"supervised", no_argument, NULL, 's'},
	    {NULL, 0, NULL, 0},
	};
	struct node_args args = {.log_level = -1};
	int opt, status = GO_ON;

	optind = 0; /* glibc: start anew, a process may parse more than once */
	while (status == GO_ON && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			args.config = optarg;
			break;
		case 'n':
			args.name = optarg;
			break;
		case 'l':
			status = parse_level(ops, optarg, &args.log_level);
			break;
		case 'h':
			return do_help(ops);
		case 'V':
			return do_version(ops);
		case 's':
			args.supervised = true;
			break;
		case 'p':
			return do_print_options(ops);
		default: /* getopt said what was wrong */
			print_usage(stderr, ops);
			return EXIT_USAGE;
		}
	}
	if (status != GO_ON)
		return status;
	if (optind < argc)
		return usage_error(ops, "an argument is left over; options start with --");
	if (args.config == NULL)
		return usage_error(ops, "--config FILE is missing: the cluster file");
	if (args.name == NULL)
		return usage_error(ops, "--name NODE is missing: which node of the cluster file");
	*ret = args;
	return GO_ON;
}
