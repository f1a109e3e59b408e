/*
 * A small world for tests of the link: keys, a cluster of two balancers and two servers, a ZAP
 * handler and one loop that runs it all. Folders are private, ports come from the kernel.
 */
#ifndef WEIR_TESTS_LINK_WORLD_H
#define WEIR_TESTS_LINK_WORLD_H

#include "common/cluster.h"
#include "link/link.h"
#include "link/peer.h"

#define WORLD_LIMIT (20 * W_SEC) /* longest wait for anything: far above what it takes */

struct world {
	char dir[64];
	void *zmq;
	struct w_loop loop;
	struct w_zap *zap;
	struct w_cluster cluster;
	struct w_member members[4]; /* balancer-1, balancer-2, server-1, server-2 */
	char address[2][32];
	struct w_keys *balancer[2], *server[2];
	struct w_metrics *metrics;
	struct w_meter *meter;
	unsigned base;
	int64_t marks[LNK__METRIC_COUNT]; /* see world_since() */
};

/* False when something could not be had; standard error says what. */
bool world_open(struct world *world);
void world_close(struct world *world);
/* New link addresses: libzmq closes sockets behind our back, so old ones may be taken still. */
void world_move(struct world *world);
/* Run the loop until condition(arg); false when WORLD_LIMIT passed before. */
bool world_until(struct world *world, bool (*condition)(void *arg), void *arg);
/* Run the loop for a while: only to show that something does not happen. */
void world_for(struct world *world, w_usec time);
/* A hub of balancer index (0 or 1), worker of workers; NULL when it cannot be. */
struct lnk_hub *world_hub(struct world *world, unsigned index, unsigned worker, unsigned workers,
    const struct lnk_hub_ops *ops, void *arg);
/* The only worker's hub; NULL without complaint when the port is taken. */
struct lnk_hub *world_hub_try(
    struct world *world, unsigned index, const struct lnk_hub_ops *ops, void *arg);
/* A spoke of server-1. */
struct lnk_spoke *world_spoke(
    struct world *world, unsigned capacity, const struct lnk_spoke_ops *ops, void *arg);
/* A bare socket of the test's own that speaks to balancer-1's worker 0 with these keys. */
void *world_dealer(struct world *world, const struct w_keys *keys);
/* A metric's growth since world_mark(). */
void world_mark(struct world *world);
int64_t world_since(const struct world *world, enum lnk__metric id);

#endif
