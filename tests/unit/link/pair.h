/*
 * Hub and spoke joined by memory instead of ZeroMQ: nothing happens but by pair_run(), and
 * messages can be lost, held back, or made by the test.
 */
#ifndef WEIR_TESTS_LINK_PAIR_H
#define WEIR_TESTS_LINK_PAIR_H

#include "link/peer.h"
#include "tests/unit/link/app.h"

#define PAIR_QUEUE 4096

struct pair_side {
	struct lnk__end end;
	struct lnk_peer peer;		/* the other side, as seen by this one */
	struct w_buf queue[PAIR_QUEUE]; /* on their way to the other side */
	unsigned head, tail;
	bool full; /* the queue takes nothing: EAGAIN */
	bool cut;  /* nobody there: LOST */
	bool buried;
};

struct pair {
	struct pair_side hub, spoke;
	struct client client;
	struct server server;
	struct w_metrics *metrics;
};

struct pair *pair_new(unsigned capacity);
void pair_free(struct pair **pair);
/* Deliver and run turns until nothing moves any more. */
void pair_run(struct pair *pair);
/* One message to a side, made of records that the test has put after lnk__batch_begin(). */
int pair_inject(struct pair_side *to, struct w_buf *batch, uint64_t number);
int64_t pair_metric(const struct pair *pair, enum lnk__metric id); /* both sides together */

#endif
