/*
 * PostgreSQL for tests: a primary and replicas of its own in a temporary folder, on free
 * loopback ports, with the schema of sql/, and a cluster file that describes them. All of it
 * ends with the process.
 */
#ifndef WEIR_TESTS_UNIT_DBTIER_FIXTURE_H
#define WEIR_TESTS_UNIT_DBTIER_FIXTURE_H

#include <libpq-fe.h>
#include <sys/types.h>

#include "common/fiber.h"
#include "dbtier/dbtier.h"

#define FIXTURE_NODES 3

struct fixture {
	char dir[64];
	unsigned ports[FIXTURE_NODES];
	pid_t pids[FIXTURE_NODES];
	struct w_cluster *cluster;
};

/* Why there can be no PostgreSQL here, or NULL. */
const char *fixture_missing(void);
/* A port that was free a moment ago. */
unsigned fixture_port(void);
/* Exits with a message when it cannot: a broken fixture is no failed test. */
void fixture_start(struct fixture *fixture);
void fixture_start_alone(struct fixture *fixture); /* the primary, no replica */
void fixture_stop(struct fixture *fixture);

/* Waits until it answers; spawn does not. Threads: the main one, whose end ends PostgreSQL. */
void fixture_start_node(struct fixture *fixture, unsigned node);
void fixture_spawn_node(struct fixture *fixture, unsigned node);
bool fixture_is_gone(struct fixture *fixture, unsigned node);
/* SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one. Waits until it is gone. */
void fixture_stop_node(struct fixture *fixture, unsigned node, int signal);
/* Stop the node and all its processes, so that it is silent but there; or let them go on. */
void fixture_freeze_node(struct fixture *fixture, unsigned node, bool freeze);
/* Run SQL as the superuser and return the first value (static buffer, "" when none). */
const char *fixture_sql(struct fixture *fixture, unsigned node, const char *sql);

/* A cluster file of the fixture's nodes, loaded; the caller frees it. */
#define FIXTURE_ALL ((1u << FIXTURE_NODES) - 1)
struct fixture_file {
	unsigned without;  /* bits of nodes that are not in it */
	unsigned stranger; /* port of one more, 0: none */
	unsigned moved;    /* a node + 1 that has another address, 0: none */
	const char *extra; /* ", ..." for the server; NULL: nothing */
	const char *more;  /* the same for the cluster */
};
struct w_cluster *fixture_cluster(const struct fixture *fixture, const struct fixture_file *want);

/* A worker of the tier with its loop and fibers, on the calling thread. */
struct bench {
	struct fixture *fixture;
	struct w_cluster *cluster;
	struct w_metrics *metrics;
	unsigned ids;
	struct dbt *dbt;
	struct w_loop loop;
	struct w_fibers *fibers;
	struct dbt_worker *worker;
	unsigned left; /* fibers that have not ended */
	bool running;  /* the loop runs */
};

/* extra: lines for the server's section of the cluster file. */
void bench_start(struct bench *bench, struct fixture *fixture, const char *extra);
void bench_stop(struct bench *bench);
/* Start count fibers, fn(arg + i * size), and run the loop until all have ended. */
void bench_run(struct bench *bench, void (*fn)(void *arg), void *arg, size_t size, unsigned count);
/* Run the loop until ready(bench) is true; false when that takes longer than most. */
bool bench_until(struct bench *bench, bool (*ready)(struct bench *bench), w_usec most);
bool all_fit(struct bench *bench); /* a primary in force and all replicas fit */
int64_t bench_value(struct bench *bench, unsigned metric);

#endif
