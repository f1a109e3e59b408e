/* The table of database nodes. See places.h. */
#include "dbtier/places.h"

#include <stdatomic.h>

void
dbt__places_init(struct dbt__places *places)
{
	*places = (struct dbt__places){ 0 };
	pthread_mutex_init(&places->lock, NULL);
}

void
dbt__places_fini(struct dbt__places *places)
{
	for (unsigned i = 0; i < DBT_NODES_MAX; i++)
		dbt__place_drop(&places->slots[i]);
	pthread_mutex_destroy(&places->lock);
}

void
dbt__place_drop(struct dbt__place **place)
{
	struct dbt__place *old = w_steal(place);

	if (old == NULL || atomic_fetch_sub_explicit(&old->users, 1, memory_order_acq_rel) > 1)
		return;
	dbt__login_fini(&old->agent);
	dbt__login_fini(&old->ro);
	dbt__login_fini(&old->rw);
	free(old->address);
	free(old);
}

static int
make_place(const struct w_cluster *cluster, const struct w_member *member,
    struct dbt__place **ret, struct w_fault *fault)
{
	W_AUTO(dbt__place_drop) struct dbt__place *place = w_xcalloc(1, sizeof(*place));
	int rc;

	atomic_init(&place->users, 1);
	place->name = member->name;
	place->address = w_xstrdup(member->opt.database.address);
	rc = dbt__login_make(cluster, member, "agent", &place->agent, fault);
	if (rc == W_OK)
		rc = dbt__login_make(cluster, member, "ro", &place->ro, fault);
	if (rc == W_OK)
		rc = dbt__login_make(cluster, member, "rw", &place->rw, fault);
	if (rc == W_OK)
		*ret = w_steal(&place);
	return rc;
}

/* What a cluster file makes of the table. */
struct plan {
	struct dbt__place *slots[DBT_NODES_MAX];
	bool stays[DBT_NODES_MAX]; /* it is the table's */
	bool unlisted[DBT_NODES_MAX];
};

static bool
is_member(const struct dbt__place *place, const struct w_member *member)
{
	return place != NULL && strcmp(place->name, member->name) == 0 &&
	    strcmp(place->address, member->opt.database.address) == 0;
}

/* The slot of a node that is there already, or -1. */
static int
slot_of(const struct dbt__places *places, const struct w_member *member)
{
	for (int i = 0; i < DBT_NODES_MAX; i++)
		if (is_member(places->slots[i], member))
			return i;
	return -1;
}

static void
plan_stay(const struct dbt__places *places, const struct w_cluster *cluster, struct plan *plan)
{
	const struct w_member *member;

	for (unsigned i = 0; (member = w_cluster_nth(cluster, W_DATABASE, i)) != NULL; i++) {
		int slot = slot_of(places, member);

		if (slot < 0)
			continue;
		plan->slots[slot] = places->slots[slot];
		plan->stays[slot] = true;
	}
}

/* The primary, unless the file names it with another address. */
static void
plan_keep(const struct dbt__places *places, const struct w_cluster *cluster, int keep,
    struct plan *plan)
{
	const struct w_member *member;

	if (keep < 0 || places->slots[keep] == NULL || plan->slots[keep] != NULL)
		return;
	member = w_cluster_find(cluster, w_view_of(places->slots[keep]->name));
	if (member != NULL && member->role == W_DATABASE)
		return;
	plan->slots[keep] = places->slots[keep];
	plan->stays[keep] = plan->unlisted[keep] = true;
}

/* The first free slot; there are as many as nodes, so who takes the last one may be one that only waits to go. */
static unsigned
plan_slot(struct plan *plan)
{
	unsigned slot = 0, waiting = 0;

	while (slot < DBT_NODES_MAX && plan->slots[slot] != NULL) {
		waiting = plan->unlisted[slot] ? slot : waiting;
		slot++;
	}
	slot = slot < DBT_NODES_MAX ? slot : waiting;
	plan->stays[slot] = plan->unlisted[slot] = false;
	return slot;
}

static int
plan_new(const struct dbt__places *places, const struct w_cluster *cluster, struct plan *plan,
    struct w_fault *fault)
{
	const struct w_member *member;
	int rc;

	for (unsigned i = 0; (member = w_cluster_nth(cluster, W_DATABASE, i)) != NULL; i++) {
		struct dbt__place *place = NULL;

		if (slot_of(places, member) >= 0)
			continue;
		rc = make_place(cluster, member, &place, fault);
		if (rc < 0)
			return rc;
		plan->slots[plan_slot(plan)] = place;
	}
	return W_OK;
}

static void
plan_drop(struct plan *plan)
{
	for (unsigned i = 0; i < DBT_NODES_MAX; i++)
		if (!plan->stays[i])
			dbt__place_drop(&plan->slots[i]);
}

static void
plan_apply(struct dbt__places *places, const struct plan *plan)
{
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		places->unlisted[i] = plan->unlisted[i];
		if (plan->stays[i])
			continue;
		dbt__place_drop(&places->slots[i]);
		places->slots[i] = plan->slots[i];
		if (places->slots[i] != NULL)
			places->slots[i]->generation = ++places->generation;
	}
}

static int
set_locked(struct dbt__places *places, const struct w_cluster *cluster, int keep,
    struct w_fault *fault)
{
	struct plan plan = { 0 };
	int rc;

	plan_stay(places, cluster, &plan);
	plan_keep(places, cluster, keep, &plan);
	rc = plan_new(places, cluster, &plan, fault);
	if (rc < 0)
		plan_drop(&plan);
	else
		plan_apply(places, &plan);
	return rc;
}

int
dbt__places_set(struct dbt__places *places, const struct w_cluster *cluster, int keep,
    struct w_fault *fault)
{
	size_t count = w_cluster_count(cluster, W_DATABASE);
	int rc;

	if (count == 0 || count > DBT_NODES_MAX)
		return w_fail(fault, -W_EINVAL, "%s: %zu databases, 1 to %d are wanted",
		    cluster->path, count, DBT_NODES_MAX);
	pthread_mutex_lock(&places->lock);
	rc = set_locked(places, cluster, keep, fault);
	pthread_mutex_unlock(&places->lock);
	return rc;
}

void
dbt__places_sweep(struct dbt__places *places, int keep)
{
	pthread_mutex_lock(&places->lock);
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		if (!places->unlisted[i] || (int)i == keep)
			continue;
		places->unlisted[i] = false;
		dbt__place_drop(&places->slots[i]);
	}
	pthread_mutex_unlock(&places->lock);
}

struct dbt__place *
dbt__places_take(struct dbt__places *places, unsigned slot)
{
	struct dbt__place *place;

	pthread_mutex_lock(&places->lock);
	place = places->slots[slot];
	if (place != NULL)
		atomic_fetch_add_explicit(&place->users, 1, memory_order_relaxed);
	pthread_mutex_unlock(&places->lock);
	return place;
}

bool
dbt__places_unlisted(struct dbt__places *places, unsigned slot)
{
	bool unlisted;

	pthread_mutex_lock(&places->lock);
	unlisted = places->unlisted[slot];
	pthread_mutex_unlock(&places->lock);
	return unlisted;
}
