/* From what probes have seen to roles and fitness. See topology.h. */
#include "dbtier/topology.h"

const char *
dbt_role_name(enum dbt_role role)
{
	static const char *const names[] = {
		[DBT_UNKNOWN] = "unknown",
		[DBT_DOWN] = "down",
		[DBT_PRIMARY] = "primary",
		[DBT_REPLICA] = "replica",
	};

	return (unsigned)role < W_NELEM(names) ? names[role] : "unknown";
}

static int
hex_parse(struct w_view text, uint64_t *ret)
{
	uint64_t value = 0;

	if (text.len == 0 || text.len > 8)
		return -W_EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (unsigned)((c | 0x20) - 'a') + 10;
		else
			return -W_EINVAL;
		value = value << 4 | digit;
	}
	*ret = value;
	return W_OK;
}

int
dbt__lsn_parse(struct w_view text, uint64_t *ret)
{
	size_t slash = w_view_find(text, '/');
	uint64_t high, low;

	if (slash == text.len || hex_parse(w_view_sub(text, 0, slash), &high) < 0 ||
	    hex_parse(w_view_sub(text, slash + 1, text.len), &low) < 0)
		return -W_EINVAL;
	*ret = high << 32 | low;
	return W_OK;
}

/*
 * "ANY k (...)", "FIRST k (...)", "k (...)", or a list of names, which means FIRST 1.
 * Source: PostgreSQL, synchronous_standby_names
 */
unsigned
dbt__quorum_parse(struct w_view text)
{
	struct w_view head = w_view_trim(text);
	size_t paren = w_view_find(head, '(');
	uint64_t k;

	if (head.len == 0)
		return 0;
	if (paren == head.len)
		return 1;
	head = w_view_trim(w_view_sub(head, 0, paren));
	while (head.len > 0 && (head.ptr[0] < '0' || head.ptr[0] > '9'))
		head = w_view_sub(head, 1, head.len);
	return w_view_u64(head, 1000, &k) < 0 ? 1 : (unsigned)k;
}

static enum dbt_role
role_of(const struct dbt__seen *seen, const struct dbt__rules *rules, w_usec now)
{
	if (seen->refused)
		return DBT_DOWN;
	if (seen->answered == 0)
		return seen->why[0] != '\0' ? DBT_DOWN : DBT_UNKNOWN;
	if (now - seen->answered > rules->silence)
		return DBT_DOWN;
	return seen->recovery ? DBT_REPLICA : DBT_PRIMARY;
}

static void
fill_nodes(const struct dbt__seen *seen, const struct dbt__rules *rules, w_usec now,
    struct dbt_topology *ret)
{
	for (unsigned i = 0; i < ret->count; i++) {
		ret->nodes[i] = (struct dbt_node){
			.name = seen[i].name,
			.role = role_of(&seen[i], rules, now),
			.timeline = seen[i].timeline,
			.position = seen[i].position,
			.received = seen[i].received,
			.seen = seen[i].answered,
			.sessions = seen[i].sessions,
		};
	}
}

static uint32_t
highest_timeline(const struct dbt_topology *topology)
{
	uint32_t highest = 0;

	for (unsigned i = 0; i < topology->count; i++) {
		if (topology->nodes[i].role >= DBT_PRIMARY)
			highest = W_MAX(highest, topology->nodes[i].timeline);
	}
	return highest;
}

/* Of two on one timeline, which only a fault brings about, the one further ahead. */
static int
find_primary(const struct dbt_topology *topology, uint32_t floor)
{
	int best = -1;

	for (unsigned i = 0; i < topology->count; i++) {
		const struct dbt_node *node = &topology->nodes[i];

		if (node->role != DBT_PRIMARY || node->timeline < floor)
			continue;
		if (best < 0 || node->position > topology->nodes[best].position)
			best = (int)i;
	}
	return best;
}

static uint64_t
latest_position(const struct dbt_topology *topology)
{
	uint64_t latest = 0;

	for (unsigned i = 0; i < topology->count; i++)
		latest = W_MAX(latest, topology->nodes[i].position);
	return latest;
}

static void
judge_replica(struct dbt_node *node, const struct dbt__seen *seen, const struct dbt__rules *rules,
    w_usec since_stream)
{
	bool level = node->position >= node->received && since_stream < W_SEC;

	/* An idle primary makes the last transaction old, not the replica late. */
	node->lag_time = level ? 0 : seen->replay_age;
	node->fit = since_stream <= DBT__STREAM_GRACE &&
	    (rules->lag_limit == 0 || node->lag <= rules->lag_limit);
}

void
dbt__topology_make(const struct dbt__seen *seen, unsigned count, const struct dbt__rules *rules,
    w_usec now, uint32_t *floor, struct dbt_topology *ret)
{
	uint64_t latest;
	int primary;

	ret->count = count;
	ret->primary = -1;
	ret->fit_replicas = 0;
	fill_nodes(seen, rules, now, ret);
	*floor = W_MAX(*floor, highest_timeline(ret));

	primary = find_primary(ret, *floor);
	if (primary >= 0) {
		ret->nodes[primary].fit = true;
		if (seen[primary].attached >= seen[primary].quorum)
			ret->primary = primary;
	}
	latest = primary >= 0 ? ret->nodes[primary].position : latest_position(ret);
	for (unsigned i = 0; i < count; i++) {
		struct dbt_node *node = &ret->nodes[i];

		if (node->role != DBT_REPLICA)
			continue;
		node->lag = latest > node->position ? latest - node->position : 0;
		judge_replica(node, &seen[i], rules, ret->primary < 0 ? 0 : now - seen[i].streamed);
		ret->fit_replicas += node->fit;
	}
}

bool
dbt__topology_differs(const struct dbt_topology *a, const struct dbt_topology *b)
{
	if (a->count != b->count || a->primary != b->primary)
		return true;
	for (unsigned i = 0; i < a->count; i++) {
		if (a->nodes[i].role != b->nodes[i].role || a->nodes[i].fit != b->nodes[i].fit)
			return true;
	}
	return false;
}
