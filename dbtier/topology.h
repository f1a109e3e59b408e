/*
 * What the nodes are, derived from what probes have seen. Pure functions: no I/O, no clock; the log apart.
 */
#ifndef WEIR_DBTIER_TOPOLOGY_H
#define WEIR_DBTIER_TOPOLOGY_H

#include "dbtier/dbtier.h"

/* One run of a PostgreSQL as primary. Waiting commits become visible when another one begins. */
struct dbt__run {
	uint32_t timeline;
	int64_t started;   /* the postmaster, in its own clock's microseconds; 0: unknown */
	int64_t recovered; /* the last crash recovery that the postmaster survived; 0: unknown */
};

/* What is known of one node: the last answer, and what came after it. */
struct dbt__seen {
	const char *name;
	uint32_t generation; /* of its place */
	bool gone;          /* there is no node in this slot */
	w_usec answered;    /* when what was answered last had been asked, 0: never */
	w_usec heard;       /* when that answer came */
	bool refused;       /* since then nobody listened there, or it let nobody in */
	bool recovery;
	uint32_t timeline;
	uint64_t position, received;
	w_usec streamed;    /* replica: last time that it was streaming, 0: never */
	w_usec replay_age;  /* replica: age of the last transaction replayed, 0: none known */
	w_usec level;       /* replica: last time that it had all there was, 0: never; kept here */
	unsigned sessions;
	unsigned quorum;    /* primary: standbys that a commit waits for */
	unsigned attached;  /* primary: standbys that may acknowledge */
	bool draining;      /* primary: new transactions are read-only */
	uint64_t system;    /* PostgreSQL's system identifier, 0: unknown */
	bool foreign;       /* that of another cluster: it is none of ours; see dbt__systems_judge() */
	bool led;           /* it was a primary, and has not streamed since; kept here */
	uint64_t flushed[DBT_NODES_MAX]; /* of those: what they have flushed */
	struct dbt__run run; /* timeline only for a replica */
	struct dbt__run judged; /* the run that the gate is for; kept here */
	uint64_t gate;      /* what its standbys must have flushed, 0: open; kept here */
	const char *gate_why; /* "restarted", "promoted", "first-seen" */
	char why[96];       /* what the last failure was */
};

struct dbt__rules {
	w_usec doubt;      /* a node that was not heard for this long gets nothing new; 0: it does */
	w_usec silence;    /* and one for this long is down */
	w_usec awake;      /* since when the prober has been looking without a break; 0: always */
	uint64_t lag_limit; /* bytes; 0: none */
	w_usec lag_limit_time; /* 0: none */
};

/* A replica that lost its stream serves reads for this much longer: streams are re-made. */
#define DBT__STREAM_GRACE (3 * W_SEC)

/*
 * Who has another system identifier than most nodes is foreign: an address that leads to somebody else's
 * PostgreSQL, which may well be a primary. Of as many on each side those of *known are ours, which is kept here
 * from call to call. Returns whether it changed.
 */
bool dbt__systems_judge(struct dbt__seen *seen, unsigned count, uint64_t *known);
/* The highest timeline of those that are ours. */
uint32_t dbt__floor_of(const struct dbt__seen *seen, unsigned count);

/* Standbys that have flushed what the gate asks for. */
unsigned dbt__gate_passed(const struct dbt__seen *seen);

/*
 * Fill ret->nodes, primary, heir, floor, fit_replicas from what was seen.
 *
 * A silent node is judged twice, since a busy one is silent, too, and both mistakes cost something:
 *
 *	answers --doubt--> doubted: neither fit nor in force. New work waits or goes elsewhere, reads on
 *	   ^                  |     their way go elsewhere, what only this node can tell of is waited for,
 *	   +---it answers-----+     and whoever decides is told. A false alarm costs nothing but time.
 *	                      |
 *	                   silence--> down: its connections are given up. Writes on their way are in
 *	                            doubt then: those with a key are sent again, others fail.
 *
 * Who is succeeded is given up before its silence ends: at the sight of a higher timeline.
 *
 * 1. The primary in force is the one that is not in recovery on the highest timeline that any
 *    node has shown (floor, kept by the caller), is not doubted, and has as many standbys as its
 *    commits wait for. One that drains is in force: it is alive, and reads on it are good.
 *    A primary that begins another run is gated: it is neither in force nor fit until as many
 *    standbys as its commits wait for have flushed what it had in its first answer. Until then
 *    it may show commits that nobody acknowledged. One that waits for none has no gate.
 * 2. An older primary is shown as primary, never as fit.
 * 3. While no primary is in force, replicas serve reads as they did.
 * 4. A replica's lag in time is at most the age of what it replayed last, and at most the time
 *    since it was level: an idle primary makes the last transaction old, not the replica late.
 * 5. A primary that became a standby serves no reads before it has streamed: it may have commits
 *    that nobody acknowledged, and that will be rewound.
 * 6. Silence is measured while the prober looks. After a break (a process that was frozen) there is
 *    no primary in force before every node has answered, is down, or is doubted: the one
 *    that was may have been succeeded meanwhile.
 */
void dbt__topology_make(struct dbt__seen *seen, unsigned count,
    const struct dbt__rules *rules, w_usec now, uint32_t *floor, struct dbt_topology *ret);
/* Do workers have to know? Roles, fitness, the primary in force or its forks differ. */
bool dbt__topology_differs(const struct dbt_topology *a, const struct dbt_topology *b);

/* Tell the log what differs. seen: what the newer was made of. */
void dbt__topology_log(const struct dbt__seen *seen, const struct dbt_topology *was,
    const struct dbt_topology *is);

/* ---- positions: docs/protocol/03-promises.md, section 1 ---- */

/* Where the older timelines of a timeline's history ended. */
struct dbt__history {
	uint32_t timeline; /* whose; 0: nothing is known */
	unsigned count;
	struct dbt_fork forks[DBT_FORKS_MAX]; /* newest first */
};

/*
 * The text of timeline's history file. Of more forks than there is room for, the newest stay.
 *
 * Errors   -W_EINVAL no history of this timeline; ret is untouched
 * Source   PostgreSQL, readTimeLineHistory(): "1\t0/3000148\tno recovery target specified"
 */
int dbt__history_parse(uint32_t timeline, struct w_view text, struct dbt__history *ret);
/* Fill topology->forks when the history is that of the current timeline. */
void dbt__topology_forks(struct dbt_topology *topology, const struct dbt__history *history);
/* That of the primary in force, else the highest that any node shows; 0: none. */
uint32_t dbt__topology_timeline(const struct dbt_topology *topology);

/*
 * The LSN that a node on the current timeline must have replayed to have all that position
 * stands for: one of an older timeline counts up to that timeline's end, and when the end is
 * not known, or the timeline is newer, DBT_LSN_PRIMARY. 0: nothing is needed.
 */
uint64_t dbt__position_needed(const struct dbt_topology *topology, struct dbt_position position);
/* Is this node known to have it? The primary in force, or a fit replica of its timeline. */
bool dbt__node_has(const struct dbt_topology *topology, unsigned node,
    struct dbt_position position);

/* "16/B374D848" to a number. Errors: -W_EINVAL. */
int dbt__lsn_parse(struct w_view text, uint64_t *ret);
/* Standbys that synchronous_standby_names waits for. */
unsigned dbt__quorum_parse(struct w_view text);

#endif
