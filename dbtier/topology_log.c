/* What the log tells of a change. See topology.h. */
#include <stdio.h>

#include "common/log.h"
#include "dbtier/topology.h"

static void
log_node(const struct dbt__seen *seen, const struct dbt_node *was, const struct dbt_node *is)
{
	char object[80], why[160];

	snprintf(object, sizeof(object), "db=%s", is->name);
	if (was->role != is->role) {
		bool told = is->role == DBT_DOWN;

		w_log(told ? W_WARN : W_INFO, object, "role-changed",
		    "from=%s to=%s timeline=%u why=%s", dbt_role_name(was->role),
		    dbt_role_name(is->role), is->timeline,
		    told && seen->why[0] != '\0' ?
		    w_log_quote(w_view_of(seen->why), why, sizeof(why)) :
		    told ? "silent" : "answered");
	} else if (was->doubted != is->doubted) {
		w_log(is->doubted ? W_WARN : W_INFO, object, is->doubted ? "doubted" : "heard",
		    "role=%s silent=%lldms", dbt_role_name(is->role),
		    (long long)((w_now() - seen->heard) / W_MSEC));
	} else if (was->draining != is->draining) {
		w_log(W_INFO, object, is->draining ? "draining" : "drained-no-more", "writes=%s",
		    is->draining ? "held" : "go-on");
	} else if (was->fit != is->fit && is->role == DBT_REPLICA) {
		w_log(is->fit ? W_INFO : W_WARN, object, is->fit ? "fit" : "unfit",
		    "lag_bytes=%llu lag_time=%lldms streaming=%s", (unsigned long long)is->lag,
		    (long long)(is->lag_time / W_MSEC), w_now() - seen->streamed < DBT__STREAM_GRACE ? "yes" : "no");
	}
}

static void
log_place(const char *name, const char *event)
{
	char object[80];

	snprintf(object, sizeof(object), "db=%s", name);
	w_log(W_INFO, object, event, "why=reload");
}

static void
log_gate(const struct dbt__seen *seen)
{
	char object[80];

	snprintf(object, sizeof(object), "db=%s", seen->name);
	w_log(W_WARN, object, "primary-gated",
	    "why=%s writes=held wants=%X/%X flushed_by=%u wanted=%u", seen->gate_why,
	    (unsigned)(seen->gate >> 32), (unsigned)seen->gate, dbt__gate_passed(seen),
	    seen->quorum);
}

/* Of a slot's node, and of the one that was there before. */
static void
log_slot(const struct dbt__seen *seen, const struct dbt_node *was, const struct dbt_node *is,
    unsigned i)
{
	static const struct dbt_node nobody;

	if (was->generation != is->generation) {
		if (was->name != NULL)
			log_place(was->name, "removed");
		if (is->name != NULL)
			log_place(is->name, "added");
		was = &nobody;
	}
	if (is->name == NULL)
		return;
	log_node(&seen[i], was, is);
	if (is->gated && !was->gated)
		log_gate(&seen[i]);
}

/* The generation of the primary in force, 0: none. */
static uint32_t
primary_of(const struct dbt_topology *topology)
{
	return topology->primary >= 0 ? topology->nodes[topology->primary].generation : 0;
}

void
dbt__topology_log(const struct dbt__seen *seen, const struct dbt_topology *was,
    const struct dbt_topology *is)
{
	char object[80] = "";

	for (unsigned i = 0; i < W_MAX(was->count, is->count); i++)
		log_slot(seen, &was->nodes[i], &is->nodes[i], i);
	if (primary_of(was) == primary_of(is))
		return;
	if (is->primary < 0) {
		snprintf(object, sizeof(object), "db=%s", was->nodes[was->primary].name);
		w_log(W_WARN, object, "primary-lost", "writes=held attached=%u wanted=%u",
		    seen[was->primary].attached, seen[was->primary].quorum);
	} else {
		snprintf(object, sizeof(object), "db=%s", is->nodes[is->primary].name);
		w_log(W_INFO, object, "primary-in-force", "timeline=%u attached=%u",
		    is->nodes[is->primary].timeline, seen[is->primary].attached);
	}
}
