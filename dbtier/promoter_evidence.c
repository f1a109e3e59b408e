/* What statuses and witnesses say: who leads, what speaks against it, who could win. See promoter.h. */
#include "dbtier/promoter_inner.h"

#include <stdio.h>

#define SETTLE_IN W_SEC
/*
 * A replica that has heard nothing of its upstream for longer speaks against it. An idle upstream is asked
 * after half of wal_receiver_timeout (agent_files.c), so it must be more than that.
 */
#define HEARD_MS 700
#define OTHERS_TIMEOUT W_SEC  /* what a switchover waits for those that its target could do without */
#define SILENT (700 * W_MSEC) /* a leader's agent that has said nothing for so long may be lost */

bool
dbt__past(struct dbt_promoter *p, w_usec at)
{
	if (p->now >= at)
		return true;
	p->wake = W_MIN(p->wake, at);
	return false;
}

bool
dbt__fresh(struct dbt_promoter *p, const struct dbt__place *place)
{
	return place->known && place->connected && !dbt__past(p, place->came + DBT__FRESH);
}

int
dbt__place_find(const struct dbt_promoter *p, const char *name)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (strcmp(p->places[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

/* ---- the leader ---- */

/*
 * A node that others follow in a term that nobody leads as far as its own agent has told: it was promoted,
 * and only its agent is not heard. A fresh agent speaks for itself.
 */
static void
presume_leader(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_promise *promise = &p->places[i].status.promise;
		int upstream;

		if (!p->places[i].known || promise->stage != DBT_FOLLOWING ||
		    promise->term <= p->leader_term)
			continue;
		upstream = dbt__place_find(p, promise->upstream);
		if (upstream < 0 || dbt__fresh(p, &p->places[upstream]) ||
		    (p->places[upstream].known &&
			p->places[upstream].status.promise.term > promise->term))
			continue;
		p->leader = upstream;
		p->leader_term = promise->term;
	}
}

static void
find_leader(struct dbt_promoter *p)
{
	int before = p->leader;
	uint32_t term = p->leader_term;

	p->leader = -1;
	p->leader_term = 0;
	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_promise *promise = &p->places[i].status.promise;

		if (!p->places[i].known || promise->stage != DBT_LEADING ||
		    promise->term < p->leader_term)
			continue;
		p->leader = (int)i;
		p->leader_term = promise->term;
	}
	presume_leader(p);
	if (p->leader == before && p->leader_term == term)
		return;
	p->leader_ran = p->resumed_in_vain = false;
	p->ahead = p->ran_since = W_NEVER;
	for (unsigned i = 0; i < DBT__DOUBT_COUNT; i++)
		p->doubts[i] = W_NEVER;
}

/* The leader's status, when its agent is fresh and says itself that it leads. */
static const struct dbt_status *
leader_status(struct dbt_promoter *p)
{
	const struct dbt__place *place;

	if (p->leader < 0)
		return NULL;
	place = &p->places[p->leader];
	if (!dbt__fresh(p, place) || place->status.promise.stage != DBT_LEADING ||
	    place->status.promise.term != p->leader_term)
		return NULL;
	return &place->status;
}

bool
dbt__leader_up(struct dbt_promoter *p)
{
	const struct dbt_status *status = leader_status(p);

	return status != NULL && status->postgres == DBT_PG_UP && !status->recovery;
}

bool
dbt__follows(const struct dbt_promoter *p, const struct dbt__place *place)
{
	const struct dbt_promise *promise = &place->status.promise;

	return place->known && promise->stage == DBT_FOLLOWING && p->leader >= 0 &&
	    promise->term == p->leader_term &&
	    strcmp(promise->upstream, p->places[p->leader].name) == 0;
}

bool
dbt__streams_behind(struct dbt_promoter *p, const struct dbt__place *place, int at)
{
	const struct dbt_status *status = &place->status;

	return dbt__fresh(p, place) && status->promise.stage == DBT_FOLLOWING && at >= 0 &&
	    status->promise.term == p->leader_term && strcmp(status->promise.upstream, p->places[at].name) == 0 &&
	    status->postgres == DBT_PG_UP && status->streaming;
}

bool
dbt__astray(struct dbt_promoter *p, const struct dbt__place *place)
{
	return dbt__leader_up(p) && dbt__fresh(p, place) && place != &p->places[p->leader] &&
	    place->status.promise.term <= p->leader_term && !dbt__follows(p, place);
}

int
dbt__promised_above(const struct dbt_promoter *p, uint32_t term)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (p->places[i].known && p->places[i].status.promise.term > term &&
		    (p->places[i].listed || dbt__counts(p, (int)i)))
			return (int)i;
	}
	return -1;
}

/* ---- who could win ---- */

/* Data of this cluster. Before a leader has shown which that is, any. */
static bool
has_data(const struct dbt_promoter *p, const struct dbt_status *status)
{
	return status->system[0] != '\0' &&
	    (p->system[0] == '\0' || strcmp(status->system, p->system) == 0);
}

/* Its data is being made anew, and is no position to count on. */
static bool
is_remaking(const struct dbt_status *status)
{
	static const char *const works[] = { "cloning", "rewinding", "making" };

	for (unsigned i = 0; i < W_NELEM(works); i++) {
		if (strcmp(status->busy, works[i]) == 0)
			return true;
	}
	return false;
}

static bool
is_busy(const struct dbt_status *status)
{
	return is_remaking(status) || strcmp(status->busy, "starting") == 0;
}

/* A leader counts only when its PostgreSQL answers or has ended: else it may not get that far. */
static bool
could_answer(struct dbt_promoter *p, int at)
{
	const struct dbt_status *status = &p->places[at].status;

	if (!dbt__fresh(p, &p->places[at]) || !has_data(p, status) || is_remaking(status) ||
	    dbt__promise_covered(&status->promise, &p->cohort) != NULL ||
	    status->postgres == DBT_PG_FROZEN)
		return false;
	return at != p->leader || status->postgres != DBT_PG_STARTING;
}

uint32_t
dbt__could_answer_any(struct dbt_promoter *p, int except)
{
	uint32_t who = 0;

	for (unsigned i = 0; i < p->count; i++)
		who |= (int)i != except && could_answer(p, (int)i) ? 1U << i : 0;
	return who;
}

uint32_t
dbt__could_answer(struct dbt_promoter *p, int except)
{
	uint32_t counting = p->sides[0].members | (p->joint ? p->sides[1].members : 0);

	return dbt__could_answer_any(p, except) & counting;
}

bool
dbt__can_without(struct dbt_promoter *p)
{
	return dbt__enough(p, dbt__could_answer(p, p->leader));
}

bool
dbt__can_with(struct dbt_promoter *p)
{
	return dbt__enough(p, dbt__could_answer(p, -1));
}

/* Has it promised this election's term to this promoter, in that stage? */
static bool
has_promised(struct dbt_promoter *p, const struct dbt__place *place, enum dbt_stage stage)
{
	const struct dbt_promise *promise = &place->status.promise;

	return dbt__fresh(p, place) && promise->term == p->term && strcmp(promise->promoter, p->id) == 0 &&
	    promise->stage == stage && has_data(p, &place->status);
}

bool
dbt__fenced(struct dbt_promoter *p, const struct dbt__place *place)
{
	return has_promised(p, place, DBT_FENCED);
}

/*
 * Who was not fenced may have been told to follow somebody else again before it turned, and acknowledges to that
 * one until it streams from the target.
 */
static bool
has_turned(struct dbt_promoter *p, const struct dbt__place *place)
{
	const struct dbt__errand *errand = &p->errand;
	uint32_t self = 1U << (place - p->places);
	bool has_left = (errand->behind & self) == 0 || place->status.streaming;

	return (errand->turned & self) != 0 && has_left && has_promised(p, place, DBT_FOLLOWING) &&
	    strcmp(place->status.promise.upstream, p->places[errand->target].name) == 0;
}

bool
dbt__answered(struct dbt_promoter *p, const struct dbt__place *place)
{
	return (dbt__fenced(p, place) && place->status.settled) || has_turned(p, place);
}

/* The further one in (timeline, lsn); of equal ones the target, then the order of the cluster file. */
static bool
is_further(const struct dbt_promoter *p, int a, int b)
{
	const struct dbt_status *left = &p->places[a].status, *right = &p->places[b].status;

	if (left->timeline != right->timeline)
		return left->timeline > right->timeline;
	if (left->lsn != right->lsn)
		return left->lsn > right->lsn;
	return a == p->errand.target;
}

uint32_t
dbt__answers(struct dbt_promoter *p, int except)
{
	uint32_t who = 0;

	for (unsigned i = 0; i < p->count; i++)
		who |= (int)i != except && dbt__counts(p, (int)i) && dbt__answered(p, &p->places[i]) ?
		    1U << i : 0;
	return who;
}

bool
dbt__others_answered(struct dbt_promoter *p)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt__place *place = &p->places[i];

		missing += (int)i != p->errand.target && (int)i != p->leader && !dbt__answered(p, place) &&
		    dbt__counts(p, (int)i) && dbt__fresh(p, place) && place->status.system[0] != '\0';
	}
	return missing == 0 || dbt__past(p, p->since + OTHERS_TIMEOUT);
}

/* Before a leader has shown what the cluster's data is, all that answer must have the same. */
static bool
systems_agree(struct dbt_promoter *p)
{
	const char *first = NULL;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt__place *place = &p->places[i];

		if (!dbt__answered(p, place))
			continue;
		if (first != NULL && strcmp(first, place->status.system) != 0)
			return false;
		first = place->status.system;
	}
	return true;
}

/* Those of these that the place best has all of: any *needed* of them have all that was acknowledged. */
static uint32_t
not_ahead(const struct dbt_promoter *p, uint32_t who, int best)
{
	const struct dbt_status *to = &p->places[best].status;
	uint32_t left = who;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_status *status = &p->places[i].status;

		if (status->timeline > to->timeline ||
		    (status->timeline == to->timeline && status->lsn > to->lsn))
			left &= ~(1U << i);
	}
	return left;
}

int
dbt__winner(struct dbt_promoter *p)
{
	/* Any *needed* answers have all that was acknowledged, so the one in doubt may be left out. */
	uint32_t who = dbt__answers(p, p->avoid);
	int best = -1;

	if (!dbt__enough(p, who))
		who = dbt__answers(p, -1);
	if (!dbt__enough(p, who) || !systems_agree(p))
		return -1;
	for (unsigned i = 0; i < p->count; i++) {
		if ((who >> i & 1) == 0 || !dbt__may_lead(p, (int)i) || !dbt__fenced(p, &p->places[i]))
			continue;
		if (best < 0 || is_further(p, (int)i, best))
			best = (int)i;
	}
	/* Who is left out by a change may have more. */
	return best >= 0 && dbt__enough(p, not_ahead(p, who, best)) ? best : -1;
}

/* ---- doubts: section 6.1 ---- */

/* Who speaks for the leader, and who against it. */
struct voices {
	unsigned well;     /* replicas and servers that say that it is well */
	unsigned lost;     /* ... that it is not */
	unsigned replicas; /* of these */
	unsigned in_force; /* servers for which it is in force */
	unsigned seeing;   /* servers that see any other database */
	unsigned without;  /* ... and have no primary in force */
};

static void
hear_replica(struct dbt_promoter *p, const struct dbt__place *place, struct voices *ret)
{
	const struct dbt_status *status = &place->status;

	if (place == &p->places[p->leader] || !dbt__fresh(p, place) ||
	    status->postgres != DBT_PG_UP || status->promise.stage == DBT_LEADING)
		return;
	if (status->streaming && status->heard_ms >= 0 && status->heard_ms <= HEARD_MS) {
		ret->well += dbt__follows(p, place);
	} else if (!is_busy(status)) {
		ret->replicas++;
		ret->lost++;
	}
}

static void
hear_witness(struct dbt_promoter *p, const struct dbt_witness *witness, struct voices *ret)
{
	bool none = witness->primary[0] == '\0';

	if (dbt__past(p, witness->came + DBT__REPORT))
		return;
	if (strcmp(witness->primary, p->places[p->leader].name) == 0) {
		ret->well++;
		ret->in_force++;
	}
	if (witness->others == 0)
		return;
	ret->lost += none;
	ret->seeing++;
	ret->without += none;
}

static struct voices
hear(struct dbt_promoter *p)
{
	struct voices voices = { 0 };

	for (unsigned i = 0; i < p->count; i++)
		hear_replica(p, &p->places[i], &voices);
	for (unsigned i = 0; i < p->witness_count; i++)
		hear_witness(p, &p->witnesses[i], &voices);
	return voices;
}

static bool
has_ended(struct dbt_promoter *p, const struct voices *voices W_UNUSED)
{
	const struct dbt_status *status = leader_status(p);

	return status != NULL && status->postgres == DBT_PG_NONE && !is_busy(status) &&
	    strcmp(status->busy, "promoting") != 0;
}

static bool
is_half_frozen(struct dbt_promoter *p, const struct voices *voices W_UNUSED)
{
	const struct dbt_status *status = leader_status(p);

	return status != NULL && status->postgres == DBT_PG_FROZEN;
}

/* A busy machine makes the agent wait, too; whoever freezes is in force for no server any more. */
static bool
is_frozen(struct dbt_promoter *p, const struct voices *voices)
{
	return is_half_frozen(p, voices) && voices->in_force == 0;
}

static bool
is_lost(struct dbt_promoter *p, const struct voices *voices)
{
	const struct dbt__place *leader = &p->places[p->leader];
	bool silent = !dbt__fresh(p, leader) || dbt__past(p, leader->came + SILENT);

	return silent && voices->lost > 0 && voices->well == 0;
}

/* A new leader is not found, nor attached to, in no time. */
static bool
is_settled_in(struct dbt_promoter *p)
{
	return dbt__leader_up(p) && dbt__past(p, p->ran_since + SETTLE_IN);
}

static bool
is_cut_off(struct dbt_promoter *p, const struct voices *voices)
{
	/* Without its quorum it is in force nowhere, and that is another doubt. */
	return is_settled_in(p) && leader_status(p)->attached >= p->acting.quorum &&
	    voices->without > 0 && voices->without == voices->seeing &&
	    voices->in_force == 0 && voices->without + (voices->replicas > 0) >= 2;
}

/* A standby that could lead, and does not stream from the leader. */
static uint32_t
idle_standbys(struct dbt_promoter *p)
{
	uint32_t who = 0;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt__place *place = &p->places[i];

		if ((int)i != p->leader && dbt__fresh(p, place) &&
		    has_data(p, &place->status) && place->status.postgres == DBT_PG_UP &&
		    !place->status.streaming && !is_busy(&place->status))
			who |= 1U << i;
	}
	return who;
}

static bool
lacks_quorum(struct dbt_promoter *p, const struct voices *voices W_UNUSED)
{
	return is_settled_in(p) && leader_status(p)->attached < p->acting.quorum &&
	    dbt__enough(p, idle_standbys(p));
}

static const struct {
	const char *text;
	bool (*holds)(struct dbt_promoter *p, const struct voices *voices);
	w_usec wait;
} doubts[] = {
	/* clang-format off */
	[DBT__ENDED]     = { "its PostgreSQL does not run",                             has_ended,    0 },
	[DBT__FROZEN]    = { "its PostgreSQL does not answer its agent",                is_frozen,    200 * W_MSEC },
	[DBT__HALF_FROZEN] = { "its PostgreSQL answers a server, but not its agent",    is_half_frozen, 2 * W_SEC },
	[DBT__LOST]      = { "its agent is silent, and nobody else reaches it",         is_lost,      250 * W_MSEC },
	[DBT__CUT_OFF]   = { "its agent is there, but no server reaches it",            is_cut_off,   W_SEC },
	[DBT__NO_QUORUM] = { "too few standbys are attached, and others could do better", lacks_quorum, W_SEC },
	/* clang-format on */
};

const char *
dbt__doubt_text(int doubt)
{
	return doubts[doubt].text;
}

bool
dbt__leader_well(struct dbt_promoter *p)
{
	if (p->leader < 0)
		return false;
	return dbt__leader_up(p) ||
	    (!dbt__fresh(p, &p->places[p->leader]) && hear(p).well > 0);
}

int
dbt__doubt_of(struct dbt_promoter *p, bool ripe)
{
	for (unsigned i = 0; i < DBT__DOUBT_COUNT; i++) {
		w_usec wait = doubts[i].wait + p->config.turn * DBT__TURN;

		if (p->doubts[i] != W_NEVER && (!ripe || dbt__past(p, p->doubts[i] + wait)))
			return (int)i;
	}
	return -1;
}

/* ---- looking ---- */

static void
note_since(struct dbt_promoter *p, bool holds, w_usec *since)
{
	if (!holds)
		*since = W_NEVER;
	else if (*since == W_NEVER)
		*since = p->now;
}

static void
note_leader(struct dbt_promoter *p)
{
	const struct dbt_status *status = leader_status(p);

	if (status == NULL)
		return;
	if (status->system[0] != '\0')
		memcpy(p->system, status->system, sizeof(p->system));
	note_since(p, dbt__leader_up(p), &p->ran_since);
	if (dbt__leader_up(p)) {
		p->leader_ran = true;
		p->resumed_in_vain = false;
	}
	note_since(p, status->drained || strcmp(status->busy, "draining") == 0, &p->drained_since);
}

static void
note_ahead(struct dbt_promoter *p)
{
	bool ahead = false;

	for (unsigned i = 0; i < p->count; i++)
		ahead = ahead || (dbt__fresh(p, &p->places[i]) &&
		    p->places[i].status.promise.term > p->leader_term);
	note_since(p, ahead && dbt__leader_up(p), &p->ahead);
}

void
dbt__observe(struct dbt_promoter *p)
{
	struct voices voices;

	find_leader(p);
	dbt__observe_cohort(p);
	for (unsigned i = 0; i < p->count; i++) {
		struct dbt__place *place = &p->places[i];
		bool astray = dbt__astray(p, place);

		place->adopting = place->adopting && astray;
		note_since(p, astray, &place->strayed);
	}
	if (p->leader < 0)
		return;
	note_leader(p);
	note_ahead(p);
	voices = hear(p);
	for (unsigned i = 0; i < DBT__DOUBT_COUNT; i++)
		note_since(p, doubts[i].holds(p, &voices), &p->doubts[i]);
}

/* ---- degraded: section 6.2 ---- */

bool
dbt__spare(struct dbt_promoter *p)
{
	const struct dbt_status *status = leader_status(p);

	/* The leader may go: enough others can answer. A standby may go: a commit has its quorum. */
	return status != NULL && dbt__can_without(p) && status->attached > p->acting.quorum;
}

static bool
any_status(struct dbt_promoter *p, bool (*test)(struct dbt_promoter *p, const struct dbt_status *))
{
	for (unsigned i = 0; i < p->count; i++) {
		if (dbt__fresh(p, &p->places[i]) && test(p, &p->places[i].status))
			return true;
	}
	return false;
}

static bool
is_broken(struct dbt_promoter *p W_UNUSED, const struct dbt_status *status)
{
	return status->broken[0] != '\0';
}

/* The first that holds: what people need to know most. */
const char *
dbt__degraded(struct dbt_promoter *p)
{
	const struct dbt_status *status = leader_status(p);

	if (!dbt__leader_well(p))
		return "no-leader";
	if (status != NULL && status->attached < p->acting.quorum)
		return "no-quorum";
	if (dbt__files_differ(p))
		return "cohort-differs";
	if (any_status(p, is_broken))
		return "broken-settings";
	if (p->paused)
		return "paused";
	return dbt__spare(p) ? NULL : "no-spare";
}
