/*
 * weir up: a whole cluster on one machine. Private to cli/.
 *
 *	up.c         arguments, order of things, the end
 *	up_plan.c    the folder: cluster.yaml, keys, certificates, passwords, endpoints.json
 *	up_procs.c   the processes: start, watch, start again, stop
 *	up_reload.c  the cluster file is read again: nodes come and go
 *	up_answers.c what the nodes' logs and the monitors tell about that
 *	up_control.c the socket that status, down, reload, stop-node and start-node talk to
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
	bool leaving;         /* its node is in the cluster file no more */
	bool blocked;         /* of such a database: it was told why it is not stopped yet */
	bool asked;           /* it was sent SIGHUP, and has not said what came of it */
	w_usec asked_at;
	int64_t log_at;       /* where its log ended before that */
};

/* What the monitors tell of removed databases. */
struct up_sight {
	char cohort[1024]; /* the databases that count, "db-1,db-2/1"; empty: that is not told */
	char leader[64];   /* empty: nobody, or that is not told */
	unsigned lanes;    /* servers' connections to removed databases that are still in use */
	bool told;         /* a monitor has answered, or there is none */
};

enum up_reload_phase { R_IDLE, R_ASKED, R_LEAVING };

struct up_reload {
	enum up_reload_phase phase;
	bool again;        /* the file may have changed since it was read */
	w_usec since;      /* of the phase */
	struct w_timer timer;
	bool looking;      /* the monitors are being asked */
	w_usec looked;     /* when they were last */
	struct up_sight sight;
};

struct up {
	uint32_t magic;
	struct up_args args;
	char *dir; /* absolute */
	struct w_cluster *cluster;
	struct w_cluster **old; /* from before a reload, while something points into them */
	size_t old_count;
	struct w_loop loop;
	struct up_proc **procs;
	size_t proc_count;
	struct up_reload reload;
	bool serves;            /* everything has, once */
	int terminal;           /* a descriptor of the one that it was started from, -1: none */
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
/* Make the keys and certificates that the nodes of a cluster file lack. */
int cli__up_plan_nodes(const struct up *up, const struct w_cluster *cluster, struct w_fault *fault);
int cli__up_endpoints(const struct up *up, struct w_fault *fault);

/* --- up_procs.c --- */
/* Whether all programs are there. Errors: -W_EIO. */
int cli__up_procs_check(struct w_fault *fault);
void cli__up_procs_start(struct up *up);
void cli__up_procs_stop(struct up *up); /* in order; ends the loop when all are gone */
struct up_proc *cli__up_proc_find(struct up *up, struct w_view name);
void cli__up_proc_start(struct up_proc *proc);
void cli__up_proc_stop(struct up_proc *proc);
/* A process more for a node, which is not started yet. */
struct up_proc *cli__up_proc_add(struct up *up, const struct w_member *member);
/* Those that are down, and whose nodes are gone, go. */
void cli__up_procs_forget(struct up *up);
void cli__up_procs_fini(struct up *up);

/* --- up_reload.c --- */
/* Read the cluster file again; what comes of it is told to the control socket and to standard output. */
void cli__up_reload(struct up *up);
/* A process has ended. */
void cli__up_reload_changed(struct up *up);
void cli__up_reload_stop(struct up *up);

/* --- up_answers.c --- */
enum up_answer { A_NONE, A_RELOADED, A_FAILED, A_IGNORED };
/* Where the node's log ends now. */
int64_t cli__up_log_end(const struct up_proc *proc);
/* What its log says since then of a reload, and why. */
enum up_answer cli__up_log_answer(const struct up_proc *proc, char *why, size_t size);
/* Ask the monitors, on a thread; done comes on the loop. */
void cli__up_look(struct up *up, void (*done)(struct up *up));

/* --- up_control.c --- */
int cli__up_control_open(struct up *up, struct w_fault *fault);
void cli__up_control_close(struct up *up);
/* A process changed: answer whom waits for that. */
void cli__up_control_changed(struct up *up);
/* A line for those that wait for a reload, and for standard output. */
void cli__up_control_say(struct up *up, const char *fmt, ...) W_PRINTF(2, 3);
void cli__up_control_reloaded(struct up *up); /* that was all */

/* --- up_wait.c --- */
/* Calls up->serving on the loop once everything serves. */
int cli__up_wait_start(struct up *up);
void cli__up_wait_stop(struct up *up);

#endif
