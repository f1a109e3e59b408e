/*
 * Which database nodes there are: a table with a slot for each, that a reload changes while prober and
 * workers use it.
 *
 * 1. A node keeps its slot and its place for as long as its name and its address stay. Another address is
 *    another node.
 * 2. A place never changes and is counted: whoever took it drops it. Its generation is its own, so a slot
 *    that was used again is told by it. Topologies (dbtier.h) carry both.
 * 3. A node that is no more in the cluster file leaves the table, but the primary, which is only unlisted:
 *    it leaves when there is another one.
 */
#ifndef WEIR_DBTIER_PLACES_H
#define WEIR_DBTIER_PLACES_H

#include <pthread.h>

#include "dbtier/dbtier.h"
#include "dbtier/dial.h"

struct dbt__place {
	_Atomic(unsigned) users;
	uint32_t generation; /* from 1 */
	const char *name;    /* of the cluster that it came with, which outlives all */
	char *address;
	struct dbt__login agent, ro, rw;
};

struct dbt__places {
	pthread_mutex_t lock; /* guards all */
	struct dbt__place *slots[DBT_NODES_MAX]; /* NULL: free */
	bool unlisted[DBT_NODES_MAX];
	uint32_t generation; /* the last that was given */
};

void dbt__places_init(struct dbt__places *places);
void dbt__places_fini(struct dbt__places *places);

/*
 * Take the databases of a cluster file: all of them or, on failure, none.
 *
 * keep     the slot whose node stays when it is in the file no more; -1: none
 * Errors   -W_EINVAL no or too many databases, an address; -W_EIO a password file
 */
int dbt__places_set(struct dbt__places *places, const struct w_cluster *cluster, int keep,
    struct w_fault *fault);
/* Let go all that are unlisted but the one in the slot keep, -1: that, too. */
void dbt__places_sweep(struct dbt__places *places, int keep);
/* The node of a slot, to be dropped; NULL: there is none. */
struct dbt__place *dbt__places_take(struct dbt__places *places, unsigned slot);
bool dbt__places_unlisted(struct dbt__places *places, unsigned slot);
void dbt__place_drop(struct dbt__place **place);

#endif
