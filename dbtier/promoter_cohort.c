/* Who counts: places and cohorts, which of them is in force, and when it may change. See promoter.h. */
#include "dbtier/promoter_inner.h"

#include <stdarg.h>
#include <stdio.h>

#define NOBODY UINT_MAX          /* needed of a cohort that cannot be made out */
#define READY W_SEC              /* for so long a change must have been possible before it begins */
#define DIFFERS (3 * W_SEC)      /* cluster files are not reloaded everywhere at once */
#define BEHIND ((uint64_t)1 << 20) /* bytes that a new member may lack when a change begins */

static bool
has(uint32_t mask, int at)
{
	return at >= 0 && (mask >> at & 1) != 0;
}

/* ---- sides: a cohort's text, and which places are meant ---- */

/* The place of that name; a name that no cluster file has gets one that is never heard of. */
static int
place_named(struct dbt_promoter *p, const char *name)
{
	int at = dbt__place_find(p, name);
	struct dbt__place *place;

	if (at >= 0 || p->count == DBT_NODES_MAX)
		return at;
	place = &p->places[p->count];
	*place = (struct dbt__place){ .outbid = -W_NEVER, .strayed = W_NEVER, .told.kind = DBT_ORDER_COUNT,
		.spread.kind = DBT_ORDER_COUNT };
	snprintf(place->name, sizeof(place->name), "%s", name);
	return (int)p->count++;
}

static void
set_side(struct dbt_promoter *p, struct dbt__side *side, const char *text)
{
	struct dbt_members members;

	if (strcmp(side->text, text) == 0)
		return;
	*side = (struct dbt__side){ .needed = NOBODY };
	snprintf(side->text, sizeof(side->text), "%s", text);
	if (dbt_cohort_parse(text, &members) < 0)
		return;
	for (unsigned i = 0; i < members.count; i++) {
		int at = place_named(p, members.names[i]);

		if (at < 0)
			return;
		side->members |= 1U << at;
	}
	side->count = members.count;
	side->quorum = members.quorum;
	side->needed = dbt_members_needed(&members);
}

static bool
side_enough(const struct dbt__side *side, uint32_t who)
{
	return (unsigned)__builtin_popcount(who & side->members) >= side->needed;
}

bool
dbt__enough(const struct dbt_promoter *p, uint32_t who)
{
	return side_enough(&p->sides[0], who) && (!p->joint || side_enough(&p->sides[1], who));
}

void
dbt__lacking(const struct dbt_promoter *p, uint32_t who, unsigned *ret_have, unsigned *ret_must)
{
	const struct dbt__side *side = &p->sides[p->joint && side_enough(&p->sides[0], who)];

	*ret_have = (unsigned)__builtin_popcount(who & side->members);
	*ret_must = side->needed;
}

bool
dbt__counts(const struct dbt_promoter *p, int at)
{
	return has(p->sides[0].members, at) || (p->joint && has(p->sides[1].members, at));
}

bool
dbt__may_lead(const struct dbt_promoter *p, int at)
{
	return has(p->sides[0].members, at);
}

/* ---- what is in force ---- */

static const struct dbt_promise *
promise_at(const struct dbt_promoter *p, unsigned at)
{
	const struct dbt__place *place = &p->places[at];

	return place->known && place->status.promise.term != 0 && place->status.promise.cohort.names[0] != '\0' ?
	    &place->status.promise : NULL;
}

/* The base of the highest edition. Of edition 0, where cluster files may have differed, the leader's. */
static void
find_base(struct dbt_promoter *p)
{
	const struct dbt_cohort *best = NULL;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_promise *promise = promise_at(p, i);
		bool higher;

		if (promise == NULL)
			continue;
		higher = best == NULL ||
		    dbt_cohort_base_edition(&promise->cohort) > dbt_cohort_base_edition(best);
		if (higher || ((int)i == p->leader &&
		    dbt_cohort_base_edition(&promise->cohort) == dbt_cohort_base_edition(best)))
			best = &promise->cohort;
	}
	snprintf(p->base, sizeof(p->base), "%s", best != NULL ? dbt_cohort_base(best) : p->configured);
	p->base_edition = best != NULL ? dbt_cohort_base_edition(best) : 0;
}

static bool
has_base(const struct dbt_promoter *p, const struct dbt_cohort *cohort)
{
	return dbt_cohort_base_edition(cohort) == p->base_edition &&
	    strcmp(dbt_cohort_base(cohort), p->base) == 0;
}

/* A term that was elected with the base alone: what was tried in lower ones was in vain. */
static uint32_t
elected_alone(const struct dbt_promoter *p)
{
	uint32_t term = 0;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_promise *promise = promise_at(p, i);

		if (promise != NULL && promise->cohort.joint[0] == '\0' && has_base(p, &promise->cohort) &&
		    (promise->stage == DBT_LEADING || promise->stage == DBT_FOLLOWING))
			term = W_MAX(term, promise->term);
	}
	return term;
}

/* A change that it has promised, and that may have been elected by others than those of that term; NULL: none. */
static const struct dbt_promise *
tried_by(const struct dbt_promoter *p, unsigned at, uint32_t alone)
{
	const struct dbt_promise *promise = promise_at(p, at);

	return promise != NULL && promise->cohort.joint[0] != '\0' && promise->term > alone &&
	    has_base(p, &promise->cohort) ? promise : NULL;
}

/* The sides of p->cohort; for the leader that of its own. */
static void
set_sides(struct dbt_promoter *p)
{
	const struct dbt_promise *leads = p->leader >= 0 ? promise_at(p, (unsigned)p->leader) : NULL;

	set_side(p, &p->sides[0], p->cohort.names);
	p->joint = p->cohort.joint[0] != '\0';
	if (p->joint)
		set_side(p, &p->sides[1], p->cohort.joint);
	set_side(p, &p->force, p->base);
	set_side(p, &p->wanted, p->configured);
	set_side(p, &p->acting, leads != NULL ? leads->cohort.names : p->cohort.names);
}

/* From the base to names, or the base alone. */
static void
set_cohort(struct dbt_promoter *p, const char *names, bool joint)
{
	p->cohort = (struct dbt_cohort){ .edition = p->base_edition + joint };
	snprintf(p->cohort.names, sizeof(p->cohort.names), "%s", names);
	if (joint)
		snprintf(p->cohort.joint, sizeof(p->cohort.joint), "%s", p->base);
	set_sides(p);
}

/*
 * Agents may have promised different changes, of which one at most was elected: whoever has promised one
 * refuses the others. Then the one that could be elected now, else the last. False: there is none.
 */
static bool
choose_tried(struct dbt_promoter *p)
{
	const struct dbt_promise *best = NULL;
	uint32_t alone = elected_alone(p);
	bool best_can = false;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_promise *tried = tried_by(p, i, alone);
		bool can;

		if (tried == NULL || (best != NULL && strcmp(best->cohort.names, tried->cohort.names) == 0))
			continue;
		set_cohort(p, tried->cohort.names, true);
		can = dbt__can_with(p);
		if (best != NULL && (best_can > can || (best_can == can && best->term >= tried->term)))
			continue;
		best = tried;
		best_can = can;
	}
	if (best != NULL)
		set_cohort(p, best->cohort.names, true);
	return best != NULL;
}

void
dbt__choose_cohort(struct dbt_promoter *p)
{
	find_base(p);
	p->pending = choose_tried(p);
	if (!p->pending)
		set_cohort(p, p->errand.change ? p->configured : p->base, p->errand.change);
}

const struct dbt_cohort *
dbt__cohort_of_leader(const struct dbt_promoter *p)
{
	const struct dbt_promise *promise = p->leader >= 0 ? promise_at(p, (unsigned)p->leader) : NULL;

	return promise != NULL && promise->term == p->leader_term ? &promise->cohort : &p->cohort;
}

bool
dbt__knows(const struct dbt__place *place, const struct dbt_cohort *cohort)
{
	const struct dbt_cohort *own = &place->status.promise.cohort;

	return own->edition == cohort->edition && strcmp(own->names, cohort->names) == 0 &&
	    (own->joint[0] == '\0' || strcmp(own->joint, cohort->joint) == 0);
}

/* ---- a change ---- */

static bool
files_differ(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->listed; i++) {
		if (dbt__fresh(p, &p->places[i]) &&
		    strcmp(p->places[i].status.configured, p->configured) != 0)
			return true;
	}
	return false;
}

bool
dbt__files_differ(struct dbt_promoter *p)
{
	return p->differs_since != W_NEVER && dbt__past(p, p->differs_since + DIFFERS);
}

W_PRINTF(2, 3)
static bool
waits(struct dbt_promoter *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->change, sizeof(p->change), fmt, ap);
	va_end(ap);
	return true;
}

/* Is there a leader that a change could begin from? */
static bool
leader_waits(struct dbt_promoter *p)
{
	const struct dbt_status *status = p->leader >= 0 ? &p->places[p->leader].status : NULL;

	if (p->leader >= 0 && !p->places[p->leader].listed)
		return waits(p, "%.60s leads and is not in the cluster file: switch over with the one before",
		    p->places[p->leader].name);
	if (!dbt__leader_up(p) || !status->marked || dbt__doubt_of(p, false) >= 0)
		return waits(p, "there is no leader without doubt");
	if (p->pending || status->promise.cohort.joint[0] != '\0')
		return waits(p, "another change is not established yet");
	if (!has_base(p, &status->promise.cohort) || dbt__promised_above(p, p->leader_term) >= 0)
		return waits(p, "an agent has promised a higher term");
	return false;
}

/* Are those there that would begin to count? */
static bool
newcomer_waits(struct dbt_promoter *p)
{
	uint64_t end = p->places[p->leader].status.lsn;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt__place *place = &p->places[i];
		const char *unfit;

		if (!has(p->wanted.members, (int)i) || has(p->force.members, (int)i))
			continue;
		unfit = dbt__standby_unfit(p, (int)i);
		if (unfit != NULL)
			return waits(p, "%.60s %s", place->name, unfit);
		if (place->status.lsn + BEHIND < end)
			return waits(p, "%.60s is still behind", place->name);
	}
	return false;
}

/* Says in p->change why not yet. */
static bool
change_waits(struct dbt_promoter *p)
{
	uint32_t who;

	if (p->paused)
		return waits(p, "the cluster is paused");
	if (files_differ(p))
		return waits(p, "not every agent has the new cluster file");
	if (leader_waits(p) || newcomer_waits(p))
		return true;
	if (p->wanted.needed == NOBODY)
		return waits(p, "more database nodes than %d", DBT_NODES_MAX);
	who = dbt__could_answer_any(p, -1);
	if (!side_enough(&p->force, who))
		return waits(p, "too few of the nodes before are left or there: %d, of %u must be",
		    __builtin_popcount(who & p->force.members), p->force.needed);
	if (!side_enough(&p->wanted, who))
		return waits(p, "too few of its nodes are there");
	return false;
}

void
dbt__observe_cohort(struct dbt_promoter *p)
{
	bool differ = files_differ(p);

	if (differ != (p->differs_since != W_NEVER))
		p->differs_since = differ ? p->now : W_NEVER;
	if (dbt__electing(p))
		set_sides(p);
	else
		dbt__choose_cohort(p);
	p->change[0] = '\0';
	if (!p->config.automatic || strcmp(p->base, p->configured) == 0 || p->base[0] == '\0') {
		p->ready_since = W_NEVER;
	} else if (change_waits(p)) {
		p->ready_since = W_NEVER;
	} else {
		waits(p, "it begins");
		p->ready_since = W_MIN(p->ready_since, p->now);
	}
}

bool
dbt__change_ready(struct dbt_promoter *p)
{
	return p->ready_since != W_NEVER && dbt__past(p, p->ready_since + READY + p->config.turn * DBT__TURN) &&
	    dbt__past(p, p->change_after);
}

bool
dbt__change_fits(const struct dbt_promoter *p, int target)
{
	return p->ready_since != W_NEVER && has(p->wanted.members, target);
}

int
dbt__change_target(struct dbt_promoter *p)
{
	int best = -1;

	for (unsigned i = 0; i < p->count; i++) {
		if ((int)i == p->leader || !has(p->wanted.members, (int)i) ||
		    dbt__standby_unfit(p, (int)i) != NULL)
			continue;
		if (best < 0 || p->places[i].status.lsn > p->places[best].status.lsn)
			best = (int)i;
	}
	return best >= 0 ? best : p->leader;
}

/* ---- the cluster file ---- */

/* What a place of before is now, -1: nothing. */
static int
moved(const struct dbt_promoter *p, const struct dbt__place *old, int at)
{
	return at >= 0 ? dbt__place_find(p, old[at].name) : -1;
}

/* Is the place, which the cluster file does not name any more, still of interest? */
static bool
is_kept(const struct dbt_promoter *p, int at)
{
	return dbt__counts(p, at) || has(p->acting.members, at) || at == p->leader || at == p->found ||
	    at == p->winner || at == p->avoid || at == p->errand.target;
}

/* False: there is no room for one that is of interest. */
static bool
keep_others(struct dbt_promoter *p, const struct dbt__place *old, uint32_t kept)
{
	for (int i = 0; i < DBT_NODES_MAX; i++) {
		if (!has(kept, i) || dbt__place_find(p, old[i].name) >= 0)
			continue;
		if (p->count == DBT_NODES_MAX)
			return false;
		p->places[p->count] = old[i];
		p->places[p->count].connected = p->places[p->count].listed = false;
		p->places[p->count].adopting = false;
		p->count++;
	}
	return true;
}

static void
list_places(struct dbt_promoter *p, const struct w_cluster *cluster, const struct dbt__place *old,
    unsigned old_count)
{
	p->count = p->listed = (unsigned)w_cluster_count(cluster, W_DATABASE);
	for (unsigned i = 0; i < p->count; i++) {
		const struct w_member *member = w_cluster_nth(cluster, W_DATABASE, i);
		struct dbt__place *place = &p->places[i];

		*place = (struct dbt__place){ .outbid = -W_NEVER, .strayed = W_NEVER,
			.told.kind = DBT_ORDER_COUNT, .spread.kind = DBT_ORDER_COUNT };
		for (unsigned o = 0; o < old_count; o++) {
			if (strcmp(old[o].name, member->name) == 0)
				*place = old[o];
		}
		snprintf(place->name, sizeof(place->name), "%s", member->name);
		place->initial = strcmp(member->opt.database.initial, "primary") == 0;
		place->listed = true;
	}
}

bool
dbt__take_cluster(struct dbt_promoter *p, const struct w_cluster *cluster, const char *configured)
{
	W_AUTO(w_free) struct dbt__place *old = w_xcalloc(DBT_NODES_MAX, sizeof(*old));
	int *const places[] = { &p->leader, &p->found, &p->winner, &p->avoid, &p->errand.target };
	unsigned old_count = p->count;
	uint32_t kept = 0;
	bool room;

	memcpy(old, p->places, old_count * sizeof(*old));
	for (unsigned i = 0; i < old_count; i++)
		kept |= is_kept(p, (int)i) ? 1U << i : 0;
	list_places(p, cluster, old, old_count);
	room = keep_others(p, old, kept);
	for (size_t i = 0; i < W_NELEM(places); i++)
		*places[i] = moved(p, old, *places[i]);
	for (unsigned i = 0; i < p->count; i++)
		p->places[i].told.upstream = moved(p, old, p->places[i].told.upstream);
	/* their members are to be looked up anew */
	p->sides[0].text[0] = p->sides[1].text[0] = p->force.text[0] = p->wanted.text[0] = p->acting.text[0] = '\0';
	snprintf(p->configured, sizeof(p->configured), "%s", configured);
	p->ready_since = W_NEVER;
	return room;
}
