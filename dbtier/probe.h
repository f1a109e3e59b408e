/* The prober, as the workers' side of this room sees it. */
#ifndef WEIR_DBTIER_PROBE_H
#define WEIR_DBTIER_PROBE_H

#include "dbtier/dbtier.h"
#include "dbtier/places.h"
#include "dbtier/stats.h"

/* The node that a topology shows in a slot, to be dropped; NULL: it is gone again. Any thread. */
struct dbt__place *dbt__place_of(struct dbt *dbt, unsigned slot, uint32_t generation);

/*
 * A connection of a worker to this node was lost or refused: look at once. What is seen is
 * published, and listeners are told, even when nothing differs: once the node answers there is a
 * topology whose node was seen after this call. Any thread.
 */
void dbt__suspect(struct dbt *dbt, unsigned slot);

/*
 * What a probe has told of a primary holds for so long: a primary that was frozen then cannot have been
 * succeeded yet (04-failover.md, 6.1: nobody suspects it sooner). Any thread.
 */
w_usec dbt__trust(const struct dbt *dbt);

/* Somebody who is woken at every change of roles or fitness, and after every suspicion. */
struct dbt__listener {
	struct w_list node;
	uv_async_t *async;
};
/* Threads: the one that owns async's loop. After dbt__unlisten no more wakes come. */
void dbt__listen(struct dbt *dbt, struct dbt__listener *listener);
void dbt__unlisten(struct dbt *dbt, struct dbt__listener *listener);

/*
 * The calling thread has done with every topology that it got before. Whoever gets some says so each few seconds:
 * REUSE_AFTER is time, which is nothing that the memory model knows. Any thread.
 */
void dbt__passed(struct dbt *dbt);

/* The nodes whose gauges were set last, for dbt_tick(). Threads: its. */
struct dbt__gauges {
	struct {
		uint32_t generation; /* 0: none */
		unsigned ids[DBT_NODE_METRIC_COUNT];
	} slots[DBT_NODES_MAX];
};
struct dbt__gauges *dbt__gauges(struct dbt *dbt);

#endif
