/*
 * A worker of a server with routes of the tests' own, on a thread of its own, without a node:
 * direct HTTP on a free port, and a link when a hub is to be served.
 */
#ifndef WEIR_TESTS_SERVER_STAGE_H
#define WEIR_TESTS_SERVER_STAGE_H

#include <pthread.h>

#include "server/request.h"

struct stage {
	struct srv srv;
	struct srv_worker worker;
	struct w_loop loop;
	struct w_metrics *metrics;
	struct w_server_options options;
	int listener;
	unsigned port;
	unsigned fibers;
	pthread_t thread;
	bool threaded;
};

extern const struct weir_route stage_routes[]; /* routes.c */

/* Defaults; change options and fibers before stage_start(). */
bool stage_init(struct stage *stage);
/* The worker's parts; then stage_run() it, or let its thread do so. */
bool stage_open(struct stage *stage);
bool stage_start(struct stage *stage);
void stage_stop(struct stage *stage);
void stage_close(struct stage *stage); /* what stage_open() made */
void stage_fini(struct stage *stage);
int64_t stage_metric(const struct stage *stage, enum srv_metric metric);

/* An answer read to its end. */
struct reply {
	unsigned status;
	char *text; /* all that came, NUL-ended; caller frees */
	size_t len;
	const char *body;
	size_t body_len;
};

int stage_connect(const struct stage *stage); /* a blocking socket with a time limit */
bool stage_send(int fd, const void *ptr, size_t len);
/* Read until the connection closes. */
struct reply stage_read(int fd);
/* One request on a connection of its own; it must ask to close. */
struct reply stage_ask(const struct stage *stage, const char *request);
/* "GET /path HTTP/1.1" with Host and Connection: close */
struct reply stage_get(const struct stage *stage, const char *path);
void reply_free(struct reply *reply);
bool reply_has(const struct reply *reply, const char *text);

#endif
