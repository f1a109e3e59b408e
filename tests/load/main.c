/*
 * weir-load MODE OPTION... - load with a memory, for the stories: it knows what each of its requests
 * must bring, and tells what came instead.
 *
 *	pairs     write at one balancer, read at once at another: is the write seen?
 *	writers   writes without a break while things die; a history for tests/load/judge
 *	history   writes and reads, with sessions and without; a history for all the judges
 *	fast      GETs at a constant rate, their times counted from when each should have begun
 *	mix       good and failing requests side by side: does each get its own answer?
 *
 * Standard output gets one line of JSON. SIGTERM ends fast, writers and history in order before their time.
 * Exit status: 0 it ran to its end, whatever it found; 1 it could not; 2 wrong usage.
 */
#include <getopt.h>

#include "tests/load/load.h"

static const struct mode {
	const char *name;
	int (*run)(const struct load_options *opt);
	const char *usage;
} modes[] = {
	{ "pairs", load_pairs, "--urls U1,U2 --count N [--clients C] [--cookies yes|no]" },
	{ "writers", load_writers,
	    "--urls U1,U2 --seconds S --log FILE [--clients C] [--keys client|balancer|mixed]\n"
	    "                          [--deadline SECONDS] [--name NAME]" },
	{ "history", load_history,
	    "--urls U1,U2 --seconds S --log FILE [--clients C] [--pause MS]\n"
	    "                          [--deadline SECONDS] [--name NAME] [--marks FIFO]" },
	{ "fast", load_fast, "--urls U --rate R --seconds S [--path PATH]" },
	{ "mix", load_mix,
	    "--urls U --good N --bad M --first ID --rows N [--clients C] [--path PATH]" },
};

enum type { TEXT, NUMBER };

#define FIELD(name, type, max) { #name, type, offsetof(struct load_options, name), max }
static const struct field {
	const char *name;
	enum type type;
	size_t offset;
	uint64_t max;
} fields[] = {
	FIELD(urls, TEXT, 0), FIELD(ca, TEXT, 0), FIELD(log, TEXT, 0), FIELD(name, TEXT, 0),
	FIELD(cookies, TEXT, 0), FIELD(keys, TEXT, 0), FIELD(path, TEXT, 0),
	FIELD(marks, TEXT, 0),
	FIELD(count, NUMBER, 10000000), FIELD(clients, NUMBER, 1000), FIELD(rate, NUMBER, 100000),
	FIELD(seconds, NUMBER, 86400), FIELD(deadline, NUMBER, 600), FIELD(good, NUMBER, 10000000),
	FIELD(bad, NUMBER, 10000000), FIELD(first, NUMBER, INT64_MAX / 2),
	FIELD(rows, NUMBER, 10000000), FIELD(limit, NUMBER, 86400),
	FIELD(pause, NUMBER, 10000),
};

static void
print_usage(FILE *to)
{
	for (size_t i = 0; i < W_NELEM(modes); i++)
		fprintf(to, "%s weir-load %-8s %s\n", i == 0 ? "usage:" : "      ", modes[i].name,
		    modes[i].usage);
	fputs("Each takes --ca FILE, the certificate to trust, and --limit SECONDS, its longest time (600).\n",
	    to);
}

static void
take_number(const struct field *field, const char *text, uint64_t *ret)
{
	char *end = NULL;
	unsigned long long value = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || value > field->max || value < 1)
		load_wrong("--%s wants a number from 1 to %llu, not '%s'", field->name,
		    (unsigned long long)field->max, text);
	*ret = value;
}

static void
take_options(int argc, char **argv, struct load_options *opt)
{
	struct option known[W_NELEM(fields) + 1] = { 0 };
	int at;

	for (size_t i = 0; i < W_NELEM(fields); i++)
		known[i] = (struct option){ fields[i].name, required_argument, NULL, (int)i + 1 };
	while ((at = getopt_long(argc, argv, "", known, NULL)) != -1) {
		const struct field *field = &fields[at - 1];
		void *to;

		if (at == '?' || at == ':') {
			print_usage(stderr);
			exit(2);
		}
		to = (char *)opt + field->offset;
		if (field->type == TEXT)
			*(const char **)to = optarg;
		else
			take_number(field, optarg, to);
	}
	if (optind < argc)
		load_wrong("what is '%s'?", argv[optind]);
	if (opt->urls == NULL)
		load_wrong("--urls is missing");
}

int
main(int argc, char **argv)
{
	struct load_options opt = { .clients = 16, .limit = 600, .deadline = 10, .pause = 5, .name = "load",
		.cookies = "no", .keys = "balancer" };

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		print_usage(stdout);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < W_NELEM(modes); i++) {
		if (strcmp(argv[1], modes[i].name) != 0)
			continue;
		take_options(argc - 1, argv + 1, &opt);
		return modes[i].run(&opt);
	}
	print_usage(stderr);
	return 2;
}
