/*
 * What all connections and requests of one worker share: limits, clock, pools, timers,
 * scheduler, metrics. It needs neither sockets nor a loop, so that tests drive it directly.
 *
 * Threads: an edge belongs to one worker; config is an immutable snapshot.
 */
#ifndef WEIR_BALANCER_EDGE_H
#define WEIR_BALANCER_EDGE_H

#include <stdatomic.h>

#include "balancer/budget.h"
#include "balancer/metrics.h"
#include "balancer/pool.h"
#include "balancer/sched.h"
#include "balancer/wheel.h"
#include "common/cluster.h"

#define BAL_BOARD_SLOTS 256

/* Figures of one peer, written by its worker and read by the control thread. */
struct bal_board_slot {
	char name[64];
	unsigned worker;
	_Atomic(bool) up;
	_Atomic(uint32_t) credit, streams;
	_Atomic(uint64_t) responses, errors, lost, latency; /* errors: 5xx; latency: sum, us */
};

struct bal_board {
	_Atomic(unsigned) count; /* slots below are named for good */
	struct bal_board_slot slots[BAL_BOARD_SLOTS];
};

struct bal_tls;

/* What a reload replaces. Lives until the node ends. */
struct bal_config {
	struct bal_config *older;
	const struct w_balancer_options *opt;
	struct bal_tls *tls; /* NULL without https */
};

struct bal_exchange;

struct bal_edge {
	const struct bal_config *config; /* as of this turn */
	const w_usec *clock;             /* start of this turn */
	struct w_meter *meter;
	unsigned metrics, parse_metrics;
	struct bal_pool pool;
	struct bal_wheel wheel;
	struct bal_sched sched;
	struct bal_budget budget;
	struct bal_exchange *free_exchanges;
	unsigned free_count;
	unsigned in_flight;
	struct bal_board *board; /* may be NULL */
	bool draining;
	w_usec id_wall; /* what makes the loop's clock the time of day */
	char id_prefix[80];
	size_t id_prefix_len;
	uint64_t id_count;
	int64_t date_second;
	w_usec date_due;
	char date[32]; /* "Mon, 23 Nov 2026 10:00:00 GMT" */
};

/* The node's name becomes part of request ids. */
void bal_edge_init(struct bal_edge *edge, const struct bal_backend *backend, const w_usec *clock,
    const char *node);
void bal_edge_fini(struct bal_edge *edge); /* all exchanges have ended */

static inline w_usec
bal_now(const struct bal_edge *edge)
{
	return *edge->clock;
}

static inline const struct w_balancer_options *
bal_opt(const struct bal_edge *edge)
{
	return edge->config->opt;
}

static inline void
bal_count(struct bal_edge *edge, enum bal_metric metric, uint64_t n)
{
	w_meter_add(edge->meter, edge->metrics + metric, n);
}

static inline void
bal_gauge(struct bal_edge *edge, enum bal_metric metric, int64_t by)
{
	w_meter_move(edge->meter, edge->metrics + metric, by);
}

static inline void
bal_observe(struct bal_edge *edge, enum bal_metric metric, w_usec value)
{
	w_meter_observe(edge->meter, edge->metrics + metric, value);
}

/* The value of a Date field, made anew once a second. */
const char *bal_date(struct bal_edge *edge);
/*
 * A fresh request id into to; returns its length, at most 96 with the NUL. Unique among all
 * balancers and their restarts: TIME-RUN-NODE-COUNT, where TIME is in microseconds (13 hexadecimal
 * digits), so that ids sort by time, and RUN is drawn by each worker when it starts.
 */
#define BAL_ID_SIZE 96
size_t bal_make_id(struct bal_edge *edge, char to[BAL_ID_SIZE]);
/*
 * The idempotency key of a request whose client gave none: its id with a space in it. A client's
 * key holds no space, so nobody can name that of another's request, though ids can be guessed.
 */
size_t bal_make_key(struct w_view id, char to[BAL_ID_SIZE]);

/* Peers come and go: keeps scheduler and board together. */
struct bal_peer *bal_edge_peer_up(struct bal_edge *edge, struct lnk_peer *link, const char *name,
    unsigned worker);
void bal_edge_peer_down(struct bal_edge *edge, struct bal_peer **peer);
/* Write credit and streams of all peers to the board. */
void bal_edge_board(struct bal_edge *edge);

#endif
