/*
 * A fuzz driver for compilers without libFuzzer: replays the corpus, then mutates it at random.
 *
 *	fuzz_NAME [-max_total_time=SECONDS] [-seed=N] [-artifact_prefix=PATH] FILE-OR-FOLDER...
 *
 * The options are libFuzzer's (-seconds is another name for -max_total_time; default 3), so that
 * both kinds of target run by the same command. The seed is printed; the same seed and corpus give
 * the same inputs in the same order. An input that kills the target is left in PATHcrash-SEED.
 *
 * 1. Each input lies in an allocation of exactly its size: a sanitizer sees one byte too many.
 * 2. No feedback: what finds more is a good corpus and more seconds.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 16, INPUTS_MAX = 4096, STACK_MAX = 5 };

struct input {
	uint8_t *data;
	size_t size;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may define this one to set itself up once. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static struct input corpus[INPUTS_MAX];
static size_t corpus_count;
static struct input current;
static uint64_t random_state;
static unsigned long runs;
static char crash_path[4096];

/* splitmix64: small, and equal on every machine. */
static uint64_t
next_random(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static size_t
below(size_t limit)
{
	return limit == 0 ? 0 : (size_t)(next_random() % limit);
}

static void *
must(void *p)
{
	if (p == NULL) {
		perror("fuzz driver");
		exit(2);
	}
	return p;
}

static void
corpus_add(const uint8_t *data, size_t size)
{
	struct input *in;

	if (corpus_count == INPUTS_MAX)
		return;
	in = &corpus[corpus_count++];
	in->data = must(malloc(size + 1));
	in->size = size;
	memcpy(in->data, data, size);
}

static void
read_file(const char *path)
{
	static uint8_t bytes[INPUT_MAX];
	FILE *file = must(fopen(path, "rb"));
	size_t size = fread(bytes, 1, sizeof(bytes), file);

	fclose(file);
	corpus_add(bytes, size);
}

/* Files of a folder in the order of their names, so that a seed means the same everywhere. */
static void
read_path(const char *path)
{
	struct dirent **names;
	struct stat st;
	char child[4096];
	int i, count;

	if (stat(path, &st) < 0) {
		perror(path);
		exit(2);
	}
	if (!S_ISDIR(st.st_mode)) {
		read_file(path);
		return;
	}
	count = scandir(path, &names, NULL, alphasort);
	for (i = 0; i < count; i++) {
		snprintf(child, sizeof(child), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			read_path(child);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

static void
run_one(const uint8_t *data, size_t size)
{
	uint8_t *exact = must(malloc(size > 0 ? size : 1));

	memcpy(exact, data, size);
	current = (struct input){ exact, size };
	LLVMFuzzerTestOneInput(exact, size);
	current = (struct input){ NULL, 0 };
	free(exact);
	runs++;
}

static size_t
flip_bit(uint8_t *data, size_t size)
{
	if (size > 0)
		data[below(size)] ^= (uint8_t)(1u << below(8));
	return size;
}

static size_t
set_byte(uint8_t *data, size_t size)
{
	static const uint8_t likely[] = "\0\1\x7f\x80\xff\r\n \t:;,=\"{}[]/%+-09azAZ";

	if (size > 0)
		data[below(size)] = below(2) ? likely[below(sizeof(likely))] : (uint8_t)next_random();
	return size;
}

static size_t
cut(uint8_t *data, size_t size)
{
	size_t at = below(size), len = below(size - at + 1);

	memmove(data + at, data + at + len, size - at - len);
	return size - len;
}

static size_t
truncate_end(uint8_t *data, size_t size)
{
	(void)data;
	return below(size + 1);
}

static size_t
repeat(uint8_t *data, size_t size)
{
	size_t at = below(size), len = below(size - at + 1);

	if (size + len > INPUT_MAX)
		return size;
	memmove(data + at + len, data + at, size - at);
	return size + len;
}

static size_t
insert_noise(uint8_t *data, size_t size)
{
	size_t at = below(size + 1), len = 1 + below(8), i;

	if (size + len > INPUT_MAX)
		return size;
	memmove(data + at + len, data + at, size - at);
	for (i = 0; i < len; i++)
		data[at + i] = (uint8_t)next_random();
	return size + len;
}

/* Lengths and counts: an edge value in either byte order. */
static size_t
set_number(uint8_t *data, size_t size)
{
	static const uint64_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff,
		0x10000, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, UINT64_MAX };
	size_t width = (size_t)1 << below(4), at, i;
	uint64_t value = edges[below(sizeof(edges) / sizeof(edges[0]))];
	int big = (int)below(2);

	if (size < width)
		return size;
	at = below(size - width + 1);
	for (i = 0; i < width; i++)
		data[at + (big ? width - 1 - i : i)] = (uint8_t)(value >> (8 * i));
	return size;
}

static size_t
join(uint8_t *data, size_t size)
{
	const struct input *other = &corpus[below(corpus_count)];
	size_t keep = below(size + 1), from = below(other->size + 1);
	size_t len = other->size - from;

	if (keep + len > INPUT_MAX)
		return size;
	memcpy(data + keep, other->data + from, len);
	return keep + len;
}

static size_t (*const mutations[])(uint8_t *, size_t) = { flip_bit, set_byte, cut, truncate_end,
	repeat, insert_noise, set_number, join };

static void
run_mutant(void)
{
	static uint8_t bytes[INPUT_MAX];
	const struct input *from = &corpus[below(corpus_count)];
	size_t size = from->size, rounds = 1 + below(STACK_MAX);

	memcpy(bytes, from->data, size);
	while (rounds-- > 0)
		size = mutations[below(sizeof(mutations) / sizeof(mutations[0]))](bytes, size);
	run_one(bytes, size);
}

/* Async-signal-safe: the target is already dying when this runs. */
static void
keep_input(int sig)
{
	static const char said[] = "fuzz driver: the input is kept in ";
	int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ssize_t done = -1;

	if (fd >= 0 && current.data != NULL)
		done = write(fd, current.data, current.size);
	if (done >= 0) {
		done = write(2, said, sizeof(said) - 1);
		done = write(2, crash_path, strlen(crash_path));
		done = write(2, "\n", 1);
	}
	signal(sig, SIG_DFL);
	raise(sig);
}

static double
seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The text after -NAME= in arg, or NULL. */
static const char *
option(const char *arg, const char *name)
{
	size_t len = strlen(name);

	if (arg[0] != '-' || strncmp(arg + 1, name, len) != 0 || arg[1 + len] != '=')
		return NULL;
	return arg + 2 + len;
}

struct settings {
	double seconds;
	uint64_t seed;
	const char *prefix;
};

static void
read_arguments(int argc, char **argv, struct settings *ret)
{
	const char *text;
	int i;

	for (i = 1; i < argc; i++) {
		if ((text = option(argv[i], "max_total_time")) != NULL ||
		    (text = option(argv[i], "seconds")) != NULL)
			ret->seconds = strtod(text, NULL);
		else if ((text = option(argv[i], "seed")) != NULL)
			ret->seed = strtoull(text, NULL, 10);
		else if ((text = option(argv[i], "artifact_prefix")) != NULL)
			ret->prefix = text;
		else if (argv[i][0] != '-')
			read_path(argv[i]);
	}
}

static void
catch_deadly_signals(void)
{
	signal(SIGABRT, keep_input);
	signal(SIGALRM, keep_input);
#ifndef __SANITIZE_ADDRESS__
	/* A sanitizer catches these itself, reports, and aborts then. */
	signal(SIGSEGV, keep_input);
	signal(SIGBUS, keep_input);
	signal(SIGFPE, keep_input);
	signal(SIGILL, keep_input);
#endif
}

static void
mutate_for(double seconds)
{
	double end = seconds_now() + seconds;
	size_t i;

	while (seconds_now() < end) {
		/* An input that takes this long is a finding, too. */
		alarm(30);
		for (i = 0; i < 64; i++)
			run_mutant();
	}
	alarm(0);
}

int
main(int argc, char **argv)
{
	struct settings set = { .seconds = 3, .prefix = "" };
	size_t i, given;

	set.seed = (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);
	read_arguments(argc, argv, &set);
	random_state = set.seed;
	printf("seed %llu, %zu inputs, %g s\n", (unsigned long long)set.seed, corpus_count,
	    set.seconds);
	fflush(stdout);
	snprintf(crash_path, sizeof(crash_path), "%scrash-%llu", set.prefix,
	    (unsigned long long)set.seed);
	catch_deadly_signals();

	given = corpus_count;
	for (i = 0; i < given; i++)
		run_one(corpus[i].data, corpus[i].size);
	corpus_add((const uint8_t *)"", 0);
	mutate_for(set.seconds);
	printf("%lu runs\n", runs);
	for (i = 0; i < corpus_count; i++)
		free(corpus[i].data);
	return 0;
}
