/*
 * weir up: a whole cluster on one machine. Private to cli/.
 *
 *	up.c         arguments, order of things, the end
 *	up_plan.c    the folder: cluster.yaml, keys, certificates, passwords, endpoints.json
 *	up_procs.c   the processes: start, watch, start again, stop
 *	up_control.c the socket that status, down, stop-node and start-node talk to
 *	up_wait.c    when does everything really serve
 */
#ifndef WEIR_CLI_UP_H
#define WEIR_CLI_UP_H

#include <pthread.h>
#include <stdatomic.h>

#include "cli/cli.h"
#include "common/loop.h"

#define UP_MAGIC 0x57555021u
#define UP_START_TIMEOUT (120 * W_SEC)

struct up_args {
	const char *dir, *app;
	unsigned port_base, balancers, servers, replicas;
	bool layout_given; /* one of the counts or the port base was there */
};

enum up_proc_state { P_DOWN, P_RUNNING, P_STOPPING, P_WAITING };

struct up_proc {
	struct up *up;
	const struct w_member *member;
	enum up_proc_state state;
	bool wanted;          /* start it again when it dies */
	int64_t pid;
	int lifeline;         /* write end of its standard input: it ends when we do */
	unsigned failures;    /* quick deaths in a row */
	uint64_t restarts;
	w_usec started;
	struct w_timer again; /* backoff */
	struct w_timer kill;  /* SIGKILL when SIGTERM was not heeded */
};

struct up {
	uint32_t magic;
	struct up_args args;
	char *dir; /* absolute */
	struct w_cluster *cluster;
	struct w_loop loop;
	struct up_proc *procs;
	size_t proc_count;
	bool stopping;
	int status;      /* exit status */
	unsigned phase;  /* of stopping */
	const struct w_member *leader; /* the database that is stopped before the others */
	uv_signal_t signals[3];
	uv_pipe_t control;
	bool control_open;
	struct w_list clients;
	struct w_timer give_up;
	pthread_t waiter;
	bool waiter_runs;
	atomic_bool waiter_stop;
	void (*serving)(void *up);
	char waiting_for[256]; /* the waiter's: what it waits for, under lock */
	pthread_mutex_t lock;
	int lock_fd;
};

/* --- up_plan.c --- */
int cli__up_plan(struct up *up, struct w_fault *fault);
int cli__up_endpoints(const struct up *up, struct w_fault *fault);

/* --- up_procs.c --- */
/* Whether all programs are there. Errors: -W_EIO. */
int cli__up_procs_check(struct w_fault *fault);
void cli__up_procs_start(struct up *up);
void cli__up_procs_stop(struct up *up); /* in order; ends the loop when all are gone */
struct up_proc *cli__up_proc_find(struct up *up, struct w_view name);
void cli__up_proc_start(struct up_proc *proc);
void cli__up_proc_stop(struct up_proc *proc);

/* --- up_control.c --- */
int cli__up_control_open(struct up *up, struct w_fault *fault);
void cli__up_control_close(struct up *up);
/* A process changed: answer whom waits for that. */
void cli__up_control_changed(struct up *up);

/* --- up_wait.c --- */
/* Calls up->serving on the loop once everything serves. */
int cli__up_wait_start(struct up *up);
void cli__up_wait_stop(struct up *up);

#endif
