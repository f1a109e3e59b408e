/*
 * What the tests of the monitor share: a cluster in a folder of its own, reports as text.
 */
#ifndef WEIR_TESTS_MONITOR_HELP_H
#define WEIR_TESTS_MONITOR_HELP_H

#include <CUnit/CUnit.h>

#include "monitor/rules.h"
#include "monitor/state.h"

#define T0 ((w_usec)1000 * W_SEC)                /* a monotonic time to begin with */
#define WALL ((int64_t)1795341600 * W_SEC)       /* and a wall clock */

/* A folder under /tmp, with keys/ in it; gone with help_fini(). 0 done. */
int help_init(void);
int help_fini(void);
extern char help_dir[64];

/* Write cluster.yaml and load it; the test fails when it is not good. */
struct w_cluster *help_cluster(const char *yaml);
/* As it is written: the servers server-1, server-2, databases db-1, db-2, the monitor. */
extern const char help_yaml[];

struct help_report {
	const char *node, *role;
	int64_t epoch, seq, time; /* microseconds since WALL; epoch 0 stands for WALL */
	const char *state;        /* NULL: up */
	const char *members;      /* of a database: "\"database\":\"primary\"," or NULL */
	const char *metrics;      /* what stands between the brackets, or NULL */
};

/* JSON; the caller frees. */
char *help_json(const struct help_report *from);
/* Parse it; the test fails when it is refused. */
struct mon_report *help_report(const struct help_report *from);
/* Parse and take, as if it had come at now over fd; returns the node. */
struct mon_node *help_take(struct mon_state *state, const struct help_report *from, int fd,
    w_usec now);

#define HELP_METRIC(type, name, labels, value)                                                     \
	"{\"name\":\"" name "\",\"type\":\"" type "\",\"labels\":\"" labels                         \
	"\",\"help\":\"Help.\",\"value\":" #value "}"
#define HELP_COUNTER(name, labels, value) HELP_METRIC("counter", name, labels, value)
#define HELP_GAUGE(name, labels, value) HELP_METRIC("gauge", name, labels, value)
#define HELP_REQUESTS(ok, bad)                                                                     \
	HELP_COUNTER("weir_http_requests_total", "code=\\\"2xx\\\"", ok)                           \
	"," HELP_COUNTER("weir_http_requests_total", "code=\\\"5xx\\\"", bad)

#endif
