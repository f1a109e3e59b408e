/*
 * A whole monitor in a process of its own, and everybody who talks to it.
 */
#ifndef WEIR_TESTS_MONITOR_LIVE_H
#define WEIR_TESTS_MONITOR_LIVE_H

#include <sys/types.h>

#include "common/buf.h"
#include "common/keys.h"

#define LIVE_WAIT 10000 /* ms until a thing that should happen has not */

/* Remove the files of a folder. */
void live_clear_folder(const char *path);
/* A port of 127.0.0.1 that nobody has. */
unsigned live_free_port(void);
/* Run monitor-1 of DIR/cluster.yaml. */
pid_t live_start(const char *dir);
/* SIGTERM; the exit status, 128 + signal, or -1. */
int live_stop(pid_t pid);

/* A socket that speaks to monitor-1 as name; both have keys in the folder. */
void *live_connect(void *zmq, int type, const char *keys, const char *name, unsigned port);
/* Wait for a message; its topic and body as text. False: none came in time. */
bool live_receive(void *socket, int wait, struct w_buf *topic, struct w_buf *body);
/* GET a path; the status, 0 when nobody answers. */
long live_get(unsigned port, const char *path, struct w_buf *body);

/* An HTTP server that answers one POST after another. */
int live_listen(unsigned *ret_port);
/* Wait for a POST, answer with a status. False: none came in time. */
bool live_take_post(int fd, int wait, int status, struct w_buf *body);

#endif
