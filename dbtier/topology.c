/* From what probes have seen to roles and fitness. See topology.h. */
#include "dbtier/topology.h"

#include <inttypes.h>
#include <stdio.h>

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

int
dbt_position_parse(struct w_view text, struct dbt_position *ret)
{
	size_t dash = w_view_find(text, '-');
	uint64_t timeline, lsn;

	if (dash == text.len || hex_parse(w_view_sub(text, 0, dash), &timeline) < 0 ||
	    dbt__lsn_parse(w_view_sub(text, dash + 1, text.len), &lsn) < 0)
		return -W_EINVAL;
	/* PostgreSQL counts both from 1, and 0 is no position here. */
	if (timeline == 0 || lsn == 0)
		return -W_EINVAL;
	*ret = (struct dbt_position){ (uint32_t)timeline, lsn };
	return W_OK;
}

size_t
dbt_position_format(struct dbt_position position, char to[DBT_POSITION_SIZE])
{
	int len = 0;

	to[0] = '\0';
	if (position.lsn != 0)
		len = snprintf(to, DBT_POSITION_SIZE, "%" PRIX32 "-%" PRIX32 "/%" PRIX32,
		    position.timeline, (uint32_t)(position.lsn >> 32), (uint32_t)position.lsn);
	return (size_t)len;
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

/* ---- whose they are ---- */

static unsigned
votes_for(const struct dbt__seen *seen, unsigned count, uint64_t system)
{
	unsigned votes = 0;

	for (unsigned i = 0; i < count; i++)
		votes += !seen[i].gone && seen[i].system == system;
	return votes;
}

bool
dbt__systems_judge(struct dbt__seen *seen, unsigned count, uint64_t *known)
{
	uint64_t best = *known;
	unsigned most = best != 0 ? votes_for(seen, count, best) : 0;
	bool changed;

	for (unsigned i = 0; i < count; i++) {
		unsigned votes = seen[i].gone || seen[i].system == 0 ? 0 :
		    votes_for(seen, count, seen[i].system);

		if (votes > most) {
			best = seen[i].system;
			most = votes;
		}
	}
	changed = best != *known;
	*known = best;
	for (unsigned i = 0; i < count; i++) {
		seen[i].foreign = seen[i].system != 0 && seen[i].system != best;
		if (seen[i].foreign)
			snprintf(seen[i].why, sizeof(seen[i].why), "it belongs to another cluster");
	}
	return changed;
}

uint32_t
dbt__floor_of(const struct dbt__seen *seen, unsigned count)
{
	uint32_t floor = 0;

	for (unsigned i = 0; i < count; i++)
		if (!seen[i].foreign)
			floor = W_MAX(floor, seen[i].timeline);
	return floor;
}

/* ---- what they are ---- */

static enum dbt_role
role_of(const struct dbt__seen *seen, const struct dbt__rules *rules, w_usec now)
{
	if (seen->refused || seen->foreign)
		return DBT_DOWN;
	if (seen->answered == 0)
		return seen->why[0] != '\0' ? DBT_DOWN : DBT_UNKNOWN;
	if (now - W_MAX(seen->answered, rules->awake) > rules->silence)
		return DBT_DOWN;
	return seen->recovery ? DBT_REPLICA : DBT_PRIMARY;
}

static void
fill_nodes(const struct dbt__seen *seen, const struct dbt__rules *rules, w_usec now,
    struct dbt_topology *ret)
{
	for (unsigned i = 0; i < ret->count; i++) {
		enum dbt_role role = role_of(&seen[i], rules, now);

		if (seen[i].gone) {
			ret->nodes[i] = (struct dbt_node){ 0 };
			continue;
		}
		ret->nodes[i] = (struct dbt_node){
			.name = seen[i].name,
			.generation = seen[i].generation,
			.role = role,
			.doubted = role >= DBT_PRIMARY && rules->doubt > 0 &&
			    now - seen[i].heard > rules->doubt,
			.draining = role == DBT_PRIMARY && seen[i].draining,
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

/* When the replica last had all that was known of then, the last answers of both considered. */
static void
note_level(struct dbt__seen *seen, const struct dbt__seen *primary, bool level)
{
	w_usec when = seen->answered;

	if (primary != NULL)
		when = W_MIN(when, primary->answered);
	if (level)
		seen->level = W_MAX(seen->level, when);
}

static w_usec
lag_time_of(const struct dbt__seen *seen, w_usec now)
{
	w_usec since_level = seen->level > 0 ? now - seen->level : 0;

	if (seen->replay_age <= 0 || seen->level == 0)
		return W_MAX(seen->replay_age, since_level);
	return W_MIN(seen->replay_age, since_level);
}

/* primary: the one in force, or NULL; there is nobody to be behind of then, but of the stream. */
static void
judge_replica(struct dbt_node *node, struct dbt__seen *seen, const struct dbt__seen *primary,
    const struct dbt__rules *rules, w_usec now)
{
	w_usec since_stream = primary != NULL ? now - seen->streamed : 0;
	bool level = seen->position >= seen->received && since_stream < W_SEC &&
	    (primary == NULL || seen->position >= primary->position);

	note_level(seen, primary, level);
	node->lag_time = level ? 0 : lag_time_of(seen, now);
	node->fit = !node->doubted && !seen->led && since_stream <= DBT__STREAM_GRACE &&
	    (rules->lag_limit == 0 || node->lag <= rules->lag_limit) &&
	    (rules->lag_limit_time == 0 || node->lag_time <= rules->lag_limit_time);
}

unsigned
dbt__gate_passed(const struct dbt__seen *seen)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < seen->attached && i < DBT_NODES_MAX; i++)
		passed += seen->flushed[i] >= seen->gate;
	return passed;
}

/* Is this the run that was judged? What is not known of either is no difference. */
static bool
same_run(const struct dbt__run *a, const struct dbt__run *b)
{
	return a->timeline == b->timeline && a->started == b->started &&
	    (a->recovered == 0 || b->recovered == 0 || a->recovered == b->recovered);
}

/* One answer more: close the gate when a run begins, open it when enough standbys have passed. */
static void
judge_gate(struct dbt__seen *seen)
{
	if (seen->recovery) {
		/* When it is promoted, that is another run, whatever the timeline says. */
		seen->judged = (struct dbt__run){ .timeline = seen->timeline, .started = -1 };
		seen->gate = 0;
		return;
	}
	if (!same_run(&seen->run, &seen->judged)) {
		seen->gate_why = seen->judged.timeline == 0 ? "first-seen" :
		    seen->judged.timeline != seen->run.timeline || seen->judged.started < 0 ?
		    "promoted" : "restarted";
		seen->gate = seen->position;
		seen->judged = seen->run;
	}
	if (seen->run.recovered != 0)
		seen->judged.recovered = seen->run.recovered;
	if (dbt__gate_passed(seen) >= seen->quorum)
		seen->gate = 0;
}

static void
note_lead(struct dbt__seen *seen)
{
	if (!seen->recovery)
		seen->led = true;
	else if (seen->streamed >= seen->answered)
		seen->led = false;
}

/* Has the prober slept, and not yet looked at all nodes again? */
static bool
is_waking(const struct dbt__seen *seen, const struct dbt__rules *rules, w_usec now,
    const struct dbt_topology *topology)
{
	if (rules->awake == 0 || now - rules->awake > rules->doubt)
		return false;
	for (unsigned i = 0; i < topology->count; i++)
		if (topology->nodes[i].role >= DBT_PRIMARY && seen[i].answered < rules->awake)
			return true;
	return false;
}

static void
judge_primary(struct dbt_topology *topology, const struct dbt__seen *seen,
    const struct dbt__rules *rules, w_usec now)
{
	int heir = find_primary(topology, topology->floor);
	struct dbt_node *node;

	topology->heir = heir;
	topology->primary = -1;
	if (heir < 0)
		return;
	node = &topology->nodes[heir];
	node->fit = !node->gated && !node->doubted && !is_waking(seen, rules, now, topology);
	if (node->fit && seen[heir].attached >= seen[heir].quorum)
		topology->primary = heir;
}

void
dbt__topology_make(struct dbt__seen *seen, unsigned count, const struct dbt__rules *rules,
    w_usec now, uint32_t *floor, struct dbt_topology *ret)
{
	uint64_t latest;

	ret->count = count;
	ret->fit_replicas = 0;
	fill_nodes(seen, rules, now, ret);
	for (unsigned i = 0; i < count; i++) {
		if (ret->nodes[i].role < DBT_PRIMARY)
			continue;
		judge_gate(&seen[i]);
		note_lead(&seen[i]);
		ret->nodes[i].gated = seen[i].gate > 0;
	}
	*floor = W_MAX(*floor, highest_timeline(ret));
	ret->floor = *floor;

	judge_primary(ret, seen, rules, now);
	latest = ret->heir >= 0 ? ret->nodes[ret->heir].position : latest_position(ret);
	for (unsigned i = 0; i < count; i++) {
		struct dbt_node *node = &ret->nodes[i];

		if (node->role != DBT_REPLICA)
			continue;
		node->lag = latest > node->position ? latest - node->position : 0;
		judge_replica(node, &seen[i], ret->primary >= 0 ? &seen[ret->primary] : NULL, rules, now);
		ret->fit_replicas += node->fit;
	}
}

unsigned
dbt_topology_answering(const struct dbt_topology *topology)
{
	unsigned count = 0;

	for (unsigned i = 0; i < topology->count; i++)
		count += topology->nodes[i].role >= DBT_PRIMARY && !topology->nodes[i].doubted;
	return count;
}

static bool
forks_differ(const struct dbt_topology *a, const struct dbt_topology *b)
{
	if (a->fork_count != b->fork_count)
		return true;
	for (unsigned i = 0; i < a->fork_count; i++) {
		if (a->forks[i].timeline != b->forks[i].timeline || a->forks[i].end != b->forks[i].end)
			return true;
	}
	return false;
}

bool
dbt__topology_differs(const struct dbt_topology *a, const struct dbt_topology *b)
{
	if (a->count != b->count || a->primary != b->primary || a->heir != b->heir ||
	    a->floor != b->floor || forks_differ(a, b))
		return true;
	for (unsigned i = 0; i < a->count; i++) {
		const struct dbt_node *one = &a->nodes[i], *other = &b->nodes[i];

		if (one->generation != other->generation || one->role != other->role || one->fit != other->fit ||
		    one->gated != other->gated || one->doubted != other->doubted ||
		    one->draining != other->draining)
			return true;
	}
	return false;
}

/* ---- positions ---- */

/* Cut the next word off a line; its fields have tabs or spaces between. */
static struct w_view
next_word(struct w_view *line)
{
	size_t len = 0;
	struct w_view word;

	*line = w_view_trim(*line);
	while (len < line->len && line->ptr[len] != ' ' && line->ptr[len] != '\t')
		len++;
	word = w_view_sub(*line, 0, len);
	*line = w_view_sub(*line, len, line->len);
	return word;
}

static int
fork_parse(struct w_view line, struct dbt_fork *ret)
{
	uint64_t timeline, end;

	if (w_view_u64(next_word(&line), UINT32_MAX, &timeline) < 0 || timeline == 0 ||
	    dbt__lsn_parse(next_word(&line), &end) < 0 || end == 0)
		return -W_EINVAL;
	*ret = (struct dbt_fork){ (uint32_t)timeline, end };
	return W_OK;
}

static void
add_newest(struct dbt__history *history, struct dbt_fork fork)
{
	unsigned keep = W_MIN(history->count, DBT_FORKS_MAX - 1U);

	memmove(&history->forks[1], &history->forks[0], keep * sizeof(fork));
	history->forks[0] = fork;
	history->count = keep + 1;
}

int
dbt__history_parse(uint32_t timeline, struct w_view text, struct dbt__history *ret)
{
	struct dbt__history history = { .timeline = timeline };
	struct dbt_fork fork = { 0 };
	uint32_t before = 0;
	struct w_view line;

	while (w_view_split(&text, '\n', &line)) {
		line = w_view_trim(line);
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (fork_parse(line, &fork) < 0 || fork.timeline <= before ||
		    fork.timeline >= timeline)
			return -W_EINVAL;
		before = fork.timeline;
		add_newest(&history, fork);
	}
	*ret = history;
	return W_OK;
}

uint32_t
dbt__topology_timeline(const struct dbt_topology *topology)
{
	return topology->primary >= 0 ? topology->nodes[topology->primary].timeline :
	    highest_timeline(topology);
}

void
dbt__topology_forks(struct dbt_topology *topology, const struct dbt__history *history)
{
	topology->fork_count = 0;
	if (history->timeline == 0 || history->timeline != dbt__topology_timeline(topology))
		return;
	topology->fork_count = history->count;
	memcpy(topology->forks, history->forks, sizeof(topology->forks));
}

uint64_t
dbt__position_needed(const struct dbt_topology *topology, struct dbt_position position)
{
	uint32_t timeline = dbt__topology_timeline(topology);

	if (position.lsn == 0 || position.timeline == timeline)
		return position.lsn;
	for (unsigned i = 0; i < topology->fork_count && position.timeline < timeline; i++) {
		if (topology->forks[i].timeline == position.timeline)
			return W_MIN(position.lsn, topology->forks[i].end);
	}
	return DBT_LSN_PRIMARY;
}

bool
dbt__node_has(const struct dbt_topology *topology, unsigned node, struct dbt_position position)
{
	const struct dbt_node *at;

	if (node >= topology->count)
		return false;
	if ((int)node == topology->primary)
		return true;
	at = &topology->nodes[node];
	if (at->role != DBT_REPLICA || !at->fit)
		return false;
	return position.lsn == 0 || (at->timeline == dbt__topology_timeline(topology) &&
	    at->position >= dbt__position_needed(topology, position));
}
