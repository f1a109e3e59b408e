/* The prober, as the workers' side of this room sees it. */
#ifndef WEIR_DBTIER_PROBE_H
#define WEIR_DBTIER_PROBE_H

#include "dbtier/dbtier.h"

/*
 * A connection of a worker to this node was lost or refused: look at once. What is seen is
 * published, and listeners are told, even when nothing differs: once the node answers there is a
 * topology whose node was seen after this call. Any thread.
 */
void dbt__suspect(struct dbt *dbt, unsigned node);

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

#endif
