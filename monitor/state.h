/*
 * What the monitor knows: every node of the cluster file, and the cluster as a whole.
 *
 *	            report            report              report "up"
 *	never-seen --------> starting -------> up <------------------------ down
 *	                        |              |  report "draining" --> draining
 *	                        +--------------+--- final report -----> down, stopped
 *	                        +--------------+--- connection broke -> down, disconnected
 *	                        +--------------+--- gone_after -------> down, silent
 *
 * 1. Only change_life() writes a node's life; each change is told as an event.
 * 2. Figures that are not known are NaN, those of a node that is down always.
 * 3. Time comes in as an argument, so that tests are masters of it. now is monotonic.
 *
 * Threads: control.
 */
#ifndef WEIR_MONITOR_STATE_H
#define WEIR_MONITOR_STATE_H

#include "dbtier/promoter.h"
#include "monitor/history.h"
#include "monitor/report.h"

/*
 * After the start of the monitor: what a node that was never seen is given at least before it
 * counts as gone, and what a cluster is given to have its first primary.
 */
#define MON_NODE_GRACE (10 * W_SEC)
#define MON_PRIMARY_GRACE (20 * W_SEC)
/* For how long a node counts as crashed after it came back. */
#define MON_CRASH_SHOWN (30 * W_SEC)
/* And a failover as news. */
#define MON_FAILOVER_SHOWN (30 * W_SEC)

enum mon_reason {
	MON_R_NONE,
	MON_R_NEVER_SEEN,
	MON_R_STOPPED,
	MON_R_DISCONNECTED,
	MON_R_SILENT,
	MON_REASON_COUNT
};

/* "never-seen", ...; NULL for MON_R_NONE */
const char *mon_reason_name(enum mon_reason reason);

/* Rates are per second, times in seconds. */
struct mon_figures {
	double requests, errors, transactions;
	double p50, p90, p99; /* of the last interval */
	double cpu, rss, in_flight;
	double lag_bytes, lag_seconds;
	double requests_total, errors_total, cpu_total; /* since the process started */
};

/* What a database's agent told the promoter last. */
struct mon_agent {
	bool known; /* it told something */
	bool fresh;
	enum dbt_stage stage;
	uint32_t term;
	char busy[DBT_NAME], trouble[DBT_TEXT]; /* "": nothing */
};

/* A move of the promoter, and when it was: microseconds since 1970. */
struct mon_moved {
	int64_t time;
	struct dbt_move move;
};

/* What the promoter is at: its view, with texts of our own. */
struct mon_failover {
	bool known; /* false: there is no promoter here, or it decides nothing */
	char state[32], leader[DBT_NAME], degraded[64], why[DBT_TEXT]; /* "": none */
	uint32_t term;
	bool paused, spare;
	unsigned fresh, cohort, needed;
	char in_force[DBT_COHORT], configured[DBT_COHORT]; /* cohorts */
	char change[DBT_TEXT];  /* what one waits for; "": none is to come */
	uint64_t elections, switchovers, failures;
	w_usec last_gap;        /* 0: none */
	uint64_t moves;         /* since the start */
	struct mon_moved last;  /* the last of them */
	w_usec established_at;  /* monotonic; 0: no failover yet */
};

struct mon_node {
	char name[64];
	enum w_role role;
	enum mon_life life;
	enum mon_reason reason; /* MON_R_NONE unless life is MON_DOWN */
	struct mon_report *last; /* NULL: never seen */
	struct mon_report *base; /* what last is compared with; may be NULL */
	w_usec known_since; /* the monitor started, or the node was added */
	w_usec lost_at;     /* when the connection of the last report broke; 0: it stands */
	int fd;             /* of that connection, -1: unknown */
	w_usec crashed_at;  /* a new process came, and the one before it never said that it ends; 0 */
	w_usec published;   /* for the feed */
	struct mon_figures figures;
	struct w_hist recent;  /* durations of the requests of the last interval */
	struct w_hist pending; /* and of those not yet in history and windows */
	double pending_requests, pending_errors;
	/* where PostgreSQL was at the last two reports */
	struct {
		w_usec at;
		int64_t position;
	} track[2];
	struct mon_agent agent;
	struct mon_history *history;
};

enum mon_window { MON_W_1S, MON_W_10S, MON_W_1M, MON_WINDOW_COUNT };

struct mon_window_view {
	double requests, errors; /* how many */
	double p50, p90, p99;    /* NaN without requests */
};

struct mon_cluster {
	unsigned nodes, up;
	const struct mon_node *primary; /* NULL: none */
	double requests, errors, ratio; /* ratio: NaN without requests */
	double cpu, rss, lag_bytes;
	struct mon_window_view windows[MON_WINDOW_COUNT];
	struct mon_failover failover;
};

struct mon_event {
	const char *event; /* "node-state", ... see docs/protocol/02-feed.md, section 5.4 */
	const struct mon_node *node;
	const char *from, *to, *reason; /* may be NULL */
};

struct mon_state;

typedef void mon_event_fn(void *arg, const struct mon_event *event);

struct mon_state *mon_state_new(const struct w_cluster *cluster, w_usec gone_after, w_usec now);
void mon_state_free(struct mon_state **state);
void mon_state_listen(struct mon_state *state, mon_event_fn *fn, void *arg);
/* Another cluster file: nodes that stay keep all that is known of them; pointers to others die. */
void mon_state_reload(struct mon_state *state, const struct w_cluster *cluster, w_usec gone_after,
    w_usec now);

const char *mon_state_cluster(const struct mon_state *state); /* the cluster's name */
unsigned mon_state_count(const struct mon_state *state);
/* In the order of the cluster file. */
struct mon_node *mon_state_nth(const struct mon_state *state, unsigned index);
struct mon_node *mon_state_find(const struct mon_state *state, struct w_view name); /* or NULL */
w_usec mon_state_gone_after(const struct mon_state *state);
void mon_state_set_failover(struct mon_state *state, const struct mon_failover *failover);
/* There are databases, and one of them should be primary by now, whether or not one is. */
bool mon_state_primary_due(const struct mon_state *state, w_usec now);
/* The same of a leader: the promoter knows of it before its database has reported as primary. */
bool mon_state_leader_due(const struct mon_state *state, w_usec now);
/* The same of a cluster that is not degraded: followers are cloned when there is a leader. */
bool mon_state_whole_due(const struct mon_state *state, w_usec now);

/*
 * A report came over the connection fd (-1: unknown). *report is taken over when it is good.
 * Errors: -W_ENOTFOUND no such node, -W_EINVAL the node has another role, -W_EAGAIN an old one.
 */
int mon_state_take(struct mon_state *state, struct mon_report **report, int fd, w_usec now,
    struct mon_node **ret);
void mon_state_disconnected(struct mon_state *state, int fd, w_usec now);
/* Who is silent for too long? */
void mon_state_watch(struct mon_state *state, w_usec now);
/* The end of a second: windows, history. wall: microseconds since 1970. */
void mon_state_second(struct mon_state *state, w_usec wall);
/* Figures that several nodes' reports make together. Called by all of the above. */
void mon_state_refresh(struct mon_state *state);

/* As of the last of these calls. */
const struct mon_cluster *mon_state_view(const struct mon_state *state);
const struct mon_history *mon_state_history(const struct mon_state *state);

#endif
