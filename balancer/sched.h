/*
 * The scheduler of one worker: which server takes the next request, and who waits.
 *
 * Round robin over server nodes that have credit, then over the workers of that node, so a
 * node's share does not depend on how many workers it has. Requests that find no credit wait
 * in a queue, first come first served. Those that were sent before wait in a queue of their own:
 * they are served first, and one that must not go back to who lost it holds up nobody.
 *
 * Threads: a scheduler belongs to one worker.
 */
#ifndef WEIR_BALANCER_SCHED_H
#define WEIR_BALANCER_SCHED_H

#include "link/link.h"

/* The link as the rest of this room sees it; tests put a link of their own here. */
struct bal_backend {
	unsigned (*credit)(const struct lnk_peer *peer);
	unsigned (*streams)(const struct lnk_peer *peer);
	int (*open)(struct lnk_peer *peer, const struct lnk_request *request, void *arg,
	    struct lnk_stream **ret);
	size_t (*send)(struct lnk_stream *stream, struct w_view bytes, bool end);
	void (*consumed)(struct lnk_stream *stream, size_t bytes);
	void (*reset)(struct lnk_stream *stream, int err);
	void (*set_arg)(struct lnk_stream *stream, void *arg);
};

extern const struct bal_backend bal_backend_link;

/* One server worker that is connected to us. */
struct bal_peer {
	struct w_list node; /* in its server's peers */
	struct bal_server *server;
	struct lnk_peer *link;
	uint64_t id; /* never used again */
	unsigned worker;
	struct bal_board_slot *slot; /* figures for the report; NULL when the board is full */
};

/* One server node: at least one peer. */
struct bal_server {
	struct w_list node;
	struct w_list peers;
	char name[64];
	uint64_t hash; /* of its name, never 0 */
};

/* Peers of a node that a request must not go to. All-zero: none. */
struct bal_avoid {
	uint64_t node;        /* hash of its name */
	uint64_t first, last; /* ids */
};

/* A request that waits for credit. */
struct bal_waiter {
	struct w_list node;
	struct bal_avoid avoid;
	bool again; /* it was sent before */
	/* Open at this peer. May put the waiter back. */
	void (*place)(struct bal_waiter *waiter, struct bal_peer *peer);
};

struct bal_sched {
	const struct bal_backend *backend;
	struct w_list servers; /* the next one in turn first */
	struct w_list queue;   /* waiters that come for the first time */
	struct w_list again;   /* those that come again */
	unsigned server_count, peer_count, waiting;
	uint64_t last_id;
	bool pumping;
};

void bal_sched_init(struct bal_sched *sched, const struct bal_backend *backend);
void bal_sched_fini(struct bal_sched *sched);

struct bal_peer *bal_sched_up(struct bal_sched *sched, struct lnk_peer *link, const char *name,
    unsigned worker);
void bal_sched_down(struct bal_sched *sched, struct bal_peer **peer);

/*
 * The peer in turn, or NULL when none has credit. Prefers another node than that of the peers
 * to avoid, and never answers one of these.
 */
struct bal_peer *bal_sched_pick(struct bal_sched *sched, const struct bal_avoid *avoid);

/* True when a new request must queue up behind others. */
static inline bool
bal_sched_queued(const struct bal_sched *sched)
{
	return !w_list_empty(&sched->queue);
}
void bal_sched_wait(struct bal_sched *sched, struct bal_waiter *waiter);
void bal_sched_leave(struct bal_sched *sched, struct bal_waiter *waiter);
/* Credit came: place whoever can be placed. */
void bal_sched_pump(struct bal_sched *sched);

#endif
