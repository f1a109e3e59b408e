/* The table of moves: events, what each move does, and the table itself. See promoter.h. */
#include "dbtier/promoter_inner.h"

#include <stdarg.h>
#include <stdio.h>

#define INIT_TIMEOUT (30 * W_SEC)
#define RESUME_TIMEOUT (3 * W_SEC)
#define CASCADE_TIMEOUT (2 * W_SEC) /* for followers to stream from a switchover's target */
#define CASCADED (10 * W_SEC)      /* how long that is left as it is, for another promoter's switchover may go on */
#define DRAIN_TIMEOUT (5 * W_SEC)
#define TARGET_TIMEOUT (2 * W_SEC) /* then any other one will do */
#define SETTLING (400 * W_MSEC)    /* how long a drained leader is left alone after a switchover */
#define FIT_TIMEOUT (5 * W_SEC)    /* for a target to follow who was elected in its place */
#define AHEAD (2 * W_SEC)
#define HEAL_AGAIN (10 * W_SEC)
#define COLD_RESUME W_SEC          /* how long too few agents keep a leader from being resumed at the start */
#define OTHERS_ELECTION W_SEC      /* how long another promoter's prepare is left alone */
#define MOVES_AT_ONCE 16

W_PRINTF(2, 3)
static void
detail(struct dbt_promoter *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->detail, sizeof(p->detail), fmt, ap);
	va_end(ap);
}

static struct dbt__place *
place_at(struct dbt_promoter *p, int at)
{
	return at >= 0 ? &p->places[at] : NULL;
}

/* ---- events, in the order of a cluster's life. Each looks, and says a detail if it has one ---- */

static bool
ev_untouched(struct dbt_promoter *p)
{
	bool initial = false;

	for (unsigned i = 0; i < p->listed; i++) {
		const struct dbt_status *status = &p->places[i].status;

		if (!dbt__fresh(p, &p->places[i]) || status->promise.stage != DBT_EMPTY ||
		    status->promise.term != 0 || status->promise.promoter[0] != '\0' ||
		    status->system[0] != '\0' || strcmp(status->configured, p->configured) != 0)
			return false;
		initial = initial || p->places[i].initial;
	}
	/* the cluster's data are elsewhere, where only another cluster file tells of them */
	return initial && !p->paused && p->system[0] == '\0';
}

static bool
ev_well(struct dbt_promoter *p)
{
	return dbt__leader_well(p) && dbt__doubt_of(p, false) < 0;
}

/* Another leader than the one told of last, or the same one in another term. */
static bool
ev_another(struct dbt_promoter *p)
{
	return dbt__leader_well(p) && (p->leader != p->found || p->leader_term != p->found_term);
}

static bool
ev_none(struct dbt_promoter *p)
{
	return p->leader < 0;
}

static bool
ev_doubt(struct dbt_promoter *p)
{
	int doubt = dbt__doubt_of(p, false);

	if (doubt >= 0)
		detail(p, "%s", dbt__doubt_text(doubt));
	return doubt >= 0;
}

/* ... for its time: a leader that is new is not found in no time by everybody. */
static bool
ev_doubted(struct dbt_promoter *p)
{
	int doubt = dbt__doubt_of(p, true);

	if (doubt >= 0)
		detail(p, "%s", dbt__doubt_text(doubt));
	return doubt >= 0;
}

static bool
ev_calm(struct dbt_promoter *p)
{
	return p->leader >= 0 && dbt__doubt_of(p, false) < 0;
}

static bool
ev_resumable(struct dbt_promoter *p)
{
	bool able = dbt__can_without(p);

	if (p->leader < 0 || p->doubts[DBT__ENDED] == W_NEVER ||
	    p->places[p->leader].status.system[0] == '\0' ||
	    dbt__promised_above(p, p->leader_term) >= 0)
		return false;
	/* Who has just begun knows of no higher promise, but only because it has heard nobody yet. */
	if (!dbt__can_with(p) && !dbt__past(p, p->started + COLD_RESUME))
		return false;
	if (p->resumed_in_vain && !p->paused && dbt__can_with(p))
		return false;
	detail(p, "%s", p->paused ? "nothing else is done while paused" :
	    !able ? "too few others could elect one of theirs" : "it is there after all was down");
	return p->paused || !able || !p->leader_ran;
}

/* Another promoter has just raised somebody's term beyond the leader's. Two that meet shall not meet again. */
static bool
others_election(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (p->places[i].outbid != -W_NEVER &&
		    p->places[i].status.promise.term > p->leader_term &&
		    !dbt__past(p, p->places[i].outbid + OTHERS_ELECTION + p->config.turn * DBT__TURN))
			return true;
	}
	return false;
}

/* A leader that was not seen yet, or only presumed, may be late, as others were. */
static bool
is_early(struct dbt_promoter *p)
{
	return (p->leader < 0 || !p->places[p->leader].known) &&
	    !dbt__past(p, p->patience + p->config.turn * DBT__TURN);
}

static bool
ev_ripe(struct dbt_promoter *p)
{
	int doubt = dbt__doubt_of(p, true);

	if (doubt < 0 || p->paused || others_election(p))
		return false;
	if (is_early(p))
		return false;
	detail(p, "%s", dbt__doubt_text(doubt));
	return doubt == DBT__ENDED ? dbt__can_with(p) : dbt__can_without(p);
}

static bool
ev_leaderless(struct dbt_promoter *p)
{
	return p->leader < 0 && !p->paused && !is_early(p) && !others_election(p) &&
	    dbt__can_with(p);
}

static bool
ev_hopeless(struct dbt_promoter *p)
{
	unsigned have, must;

	if (is_early(p) || (p->leader >= 0 && dbt__doubt_of(p, true) < 0))
		return false;
	if (p->paused)
		detail(p, "paused");
	dbt__lacking(p, dbt__could_answer(p, p->leader), &have, &must);
	if (!p->paused)
		detail(p, "%u agents could answer with a position, %u must", have, must);
	return true;
}

/* A drained leader does no harm, and to stop and start it takes much of a machine: the writes that were held go first. */
static bool
can_wait(struct dbt_promoter *p, const struct dbt_status *status)
{
	return status->promise.stage == DBT_LEADING && status->drained && !dbt__past(p, p->since + SETTLING);
}

/* It streams from a follower that another promoter is about to make the leader. */
static bool
is_cascaded(struct dbt_promoter *p, const struct dbt__place *place)
{
	int at = dbt__place_find(p, place->status.promise.upstream);

	return p->cascaded_in != p->leader_term && at >= 0 && dbt__standby_unfit(p, at) == NULL &&
	    place->status.promise.stage == DBT_FOLLOWING && place->status.promise.term == p->leader_term &&
	    !dbt__past(p, place->strayed + CASCADED);
}

static bool
ev_astray(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct dbt__place *place = &p->places[i];

		if (place->adopting || !dbt__astray(p, place) || can_wait(p, &place->status) || is_cascaded(p, place))
			continue;
		p->about = (int)i;
		detail(p, "it was %s in term %u", dbt_stage_name(place->status.promise.stage),
		    (unsigned)place->status.promise.term);
		return true;
	}
	return false;
}

static bool
ev_ahead(struct dbt_promoter *p)
{
	int above = dbt__promised_above(p, p->leader_term);

	/* a switchover that is to be done again comes first: somebody waits for it */
	if (p->ahead == W_NEVER || above < 0 || p->paused || p->errand.target >= 0 || others_election(p) ||
	    !dbt__past(p, p->ahead + AHEAD + p->config.turn * DBT__TURN) ||
	    !dbt__past(p, p->heal_after) || !dbt__can_with(p))
		return false;
	detail(p, "%s has promised term %u", p->places[above].name,
	    (unsigned)p->places[above].status.promise.term);
	return true;
}

/* Without a quorum no commit comes to its end, so draining would not either. */
static bool
ev_ahead_stuck(struct dbt_promoter *p)
{
	return ev_ahead(p) && p->places[p->leader].status.attached < p->acting.quorum;
}

static bool
ev_cascaded(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->listed; i++) {
		const struct dbt__place *place = &p->places[i];

		if ((p->errand.behind >> i & 1) != 0 && dbt__fresh(p, place) &&
		    !dbt__streams_behind(p, place, p->errand.target))
			return false;
	}
	return true;
}

static bool
ev_cascade_late(struct dbt_promoter *p)
{
	return dbt__past(p, p->since + CASCADE_TIMEOUT);
}

static bool
ev_drained(struct dbt_promoter *p)
{
	return dbt__leader_up(p) && p->leader_term == p->drained_in &&
	    p->places[p->leader].status.drained;
}

static bool
ev_drain_late(struct dbt_promoter *p)
{
	return dbt__past(p, p->since + DRAIN_TIMEOUT);
}

static bool
ev_target_lost(struct dbt_promoter *p)
{
	const struct dbt__errand *errand = &p->errand;
	const char *why = errand->target == p->leader ? NULL : errand->change ?
	    dbt__standby_unfit(p, errand->target) : dbt__target_unfit(p, errand->target);

	if (errand->change && !dbt__change_fits(p, errand->target))
		why = "cannot be had any more: a node got lost, or the cluster file has changed again";
	if (why != NULL)
		detail(p, "%s %s", p->places[p->errand.target].name, why);
	return why != NULL;
}

static bool
ev_not_leading(struct dbt_promoter *p)
{
	uint32_t term = p->state == DBT__CASCADING ? p->cascaded_in : p->drained_in;

	return p->leader < 0 || p->leader_term != term;
}

/* Those whose WAL the target has: they need not wait for its election to connect to it. */
static uint32_t
not_ahead_of_target(struct dbt_promoter *p)
{
	const struct dbt__errand *errand = &p->errand;
	const struct dbt_status *to = &p->places[errand->target].status;
	uint64_t reached = errand->turned != 0 ? errand->reached : to->lsn;
	uint32_t who = 0;

	for (unsigned i = 0; i < p->listed; i++) {
		const struct dbt_status *status = &p->places[i].status;

		if ((int)i == errand->target || (int)i == p->leader || !dbt__may_lead(p, (int)i) ||
		    (!dbt__answered(p, &p->places[i]) && (errand->behind >> i & 1) == 0))
			continue;
		if (status->timeline == to->timeline && status->lsn <= reached)
			who |= 1U << i;
	}
	return who & ~errand->turned;
}

/* Who is ahead of it turns when it is elected, or leads itself. */
static bool
ev_turnable(struct dbt_promoter *p)
{
	const struct dbt__errand *errand = &p->errand;

	return !errand->change && errand->target != p->leader && dbt__fenced(p, &p->places[errand->target]) &&
	    p->places[errand->target].status.recovery && not_ahead_of_target(p) != 0;
}

static bool
ev_target_late(struct dbt_promoter *p)
{
	return dbt__past(p, p->since + TARGET_TIMEOUT);
}

static bool
ev_outbid(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_promise *promise = &p->places[i].status.promise;

		if (!p->places[i].known || promise->term < p->term ||
		    (promise->term == p->term && strcmp(promise->promoter, p->id) == 0))
			continue;
		p->about = (int)i;
		detail(p, "term %u of %s", (unsigned)promise->term, promise->promoter);
		return true;
	}
	return false;
}

static bool
ev_enough(struct dbt_promoter *p)
{
	int winner = dbt__winner(p);

	if (winner < 0 || (p->state == DBT__LEVELLING &&
	    (!dbt__answered(p, &p->places[p->errand.target]) || !dbt__others_answered(p))))
		return false;
	p->about = winner;
	detail(p, "of %d answers", __builtin_popcount(dbt__answers(p, -1)));
	return true;
}

/* Somebody has gone on behind another leader since the term was chosen: a promotion needs a higher one. */
static bool
ev_overtaken(struct dbt_promoter *p)
{
	int winner = dbt__winner(p);

	if (winner < 0 || p->places[winner].status.timeline < p->term)
		return false;
	p->about = winner;
	detail(p, "timeline %u", (unsigned)p->places[winner].status.timeline);
	return true;
}

static bool
ev_late(struct dbt_promoter *p)
{
	unsigned answers, needed;

	if (!dbt__past(p, p->since + DBT__ELECTION))
		return false;
	dbt__lacking(p, dbt__answers(p, -1), &answers, &needed);
	detail(p, "%u answers of %u that are needed", answers, needed);
	return true;
}

static bool
ev_taken(struct dbt_promoter *p)
{
	const struct dbt_promise *promise = &p->places[p->winner].status.promise;

	return promise->stage == DBT_LEADING && promise->term == p->term;
}

static bool
ev_marked(struct dbt_promoter *p)
{
	return ev_taken(p) && p->leader == p->winner && dbt__leader_up(p) &&
	    p->places[p->winner].status.marked;
}

static bool
ev_superseded(struct dbt_promoter *p)
{
	return p->leader_term > p->term && dbt__leader_well(p);
}

static bool
ev_winner_out(struct dbt_promoter *p)
{
	const struct dbt__place *winner = &p->places[p->winner];
	uint32_t term = winner->status.promise.term;

	if (term > p->term)
		detail(p, "it has promised term %u", (unsigned)term);
	else
		detail(p, "it is silent");
	return term > p->term || !dbt__fresh(p, winner);
}

static bool
ev_promote_late(struct dbt_promoter *p)
{
	const char *refused = dbt__refusal(&p->places[p->winner]);

	detail(p, "%s", refused != NULL ? refused : "it has not taken it");
	return dbt__past(p, p->since + DBT__ELECTION);
}

static bool
ev_init_late(struct dbt_promoter *p)
{
	return dbt__past(p, p->since + INIT_TIMEOUT);
}

static bool
ev_resume_late(struct dbt_promoter *p)
{
	return dbt__past(p, p->since + RESUME_TIMEOUT) || p->leader < 0;
}

static bool
ev_rested(struct dbt_promoter *p)
{
	return dbt__past(p, p->backoff);
}

static bool
ev_asked(struct dbt_promoter *p)
{
	const struct dbt__errand *errand = &p->errand;

	if (errand->again && dbt__target_unfit(p, errand->target) != NULL && !dbt__past(p, p->since + FIT_TIMEOUT))
		return false;
	return errand->target >= 0 && !errand->heal;
}

/* Asked for, and there are followers that can stream from the target first. */
static bool
ev_cascadable(struct dbt_promoter *p)
{
	return ev_asked(p) && p->errand.target != p->leader && dbt__spare_followers(p) != 0;
}

static bool
ev_change(struct dbt_promoter *p)
{
	if (p->errand.target >= 0 || p->paused || others_election(p) || !dbt__change_ready(p))
		return false;
	detail(p, "from %.100s to %.100s", p->base, p->configured);
	return true;
}

/* ---- what moves do ---- */

static void
new_term(struct dbt_promoter *p)
{
	p->term = ++p->top;
	p->winner = -1;
	p->avoid = -1;
	dbt__choose_cohort(p);
}

/* What was asked for is over; text is told to who asked for it. */
W_PRINTF(3, 4)
static void
drop_errand(struct dbt_promoter *p, bool failed, const char *fmt, ...)
{
	char text[DBT_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dbt__answer(p, &p->errand.id, failed, text);
	p->errand = (struct dbt__errand){ .target = -1 };
}

static void
act_init(struct dbt_promoter *p)
{
	p->term = 1;
	p->top = W_MAX(p->top, 1U);
	p->winner = 0;
	while (!p->places[p->winner].initial)
		p->winner++;
	p->about = p->winner;
}

static void
note_found(struct dbt_promoter *p)
{
	p->found = p->leader;
	p->found_term = p->leader_term;
	p->began = 0;
}

static void
act_found(struct dbt_promoter *p)
{
	if (p->errand.target >= 0)
		drop_errand(p, true, "%s leads now", p->places[p->leader].name);
	note_found(p);
}

static void
act_nothing(struct dbt_promoter *p W_UNUSED)
{
}

static void
act_lose(struct dbt_promoter *p)
{
	drop_errand(p, true, "%s", "the winner does not lead any more");
}

static void
act_suspect(struct dbt_promoter *p)
{
	if (p->began == 0)
		p->began = p->doubts[dbt__doubt_of(p, false)];
	drop_errand(p, true, "the leader is in doubt: %s", p->detail);
}

static void
act_prepare(struct dbt_promoter *p)
{
	new_term(p);
	p->avoid = p->leader;
	if (p->began == 0)
		p->began = p->now;
}

static void
act_elect(struct dbt_promoter *p)
{
	p->winner = dbt__winner(p);
	p->won_timeline = p->places[p->winner].status.timeline;
	p->won_lsn = p->places[p->winner].status.lsn;
	p->elections++;
}

static void
act_established(struct dbt_promoter *p)
{
	const struct dbt__errand *errand = &p->errand;
	bool there = errand->target < 0 || errand->target == p->winner;

	p->last_gap = p->now - p->began;
	p->switchovers += errand->target == p->winner && !errand->heal && !errand->change;
	if (!there && !errand->heal && !errand->change && !errand->late && !errand->again)
		/* All are fenced at once, and the leader's PostgreSQL writes by itself: now it is their turn. */
		p->errand = (struct dbt__errand){ .target = errand->target, .id = errand->id, .again = true };
	else if (!there)
		drop_errand(p, true, "%s leads instead: it was ahead, or the target did not get ready in time",
		    p->places[p->winner].name);
	else
		drop_errand(p, false, "%s leads", p->places[p->winner].name);
	note_found(p);
}

/* Between 200 ms and 1 s, so that two that met do not meet again. */
static void
act_give_up(struct dbt_promoter *p)
{
	p->random = p->random * 6364136223846793005U + 1442695040888963407U;
	p->backoff = p->now + 200 * W_MSEC + (w_usec)((p->random >> 33) % (uint64_t)(800 * W_MSEC));
	p->patience = p->backoff;
	p->heal_after = p->backoff;
	if (p->errand.change)
		p->change_after = p->now + HEAL_AGAIN;
	p->failures++;
	drop_errand(p, true, "gave up: %s", p->detail);
}

static void
act_resumed_in_vain(struct dbt_promoter *p)
{
	p->resumed_in_vain = true;
}

static void
act_adopt(struct dbt_promoter *p)
{
	p->places[p->about].adopting = true;
}

static void
act_cascade(struct dbt_promoter *p)
{
	p->cascaded_in = p->leader_term;
	p->errand.behind = dbt__spare_followers(p);
	p->about = p->errand.target;
}

/* Those that do not stream from the target now are fenced as others are. */
static void
act_drain(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->listed; i++) {
		if (!dbt__streams_behind(p, &p->places[i], p->errand.target))
			p->errand.behind &= ~(1U << i);
	}
	p->drained_in = p->leader_term;
	p->began = p->now;
	p->about = p->errand.target;
}

/* Who leads goes on, unless a pending change leaves it out. */
static int
heal_target(struct dbt_promoter *p)
{
	int target = dbt__may_lead(p, p->leader) ? p->leader : dbt__furthest_target(p);

	return target >= 0 ? target : p->leader;
}

static void
act_heal(struct dbt_promoter *p)
{
	p->errand = (struct dbt__errand){ .target = heal_target(p), .heal = true };
	act_drain(p);
}

static void
act_change(struct dbt_promoter *p)
{
	p->errand = (struct dbt__errand){ .target = dbt__change_target(p), .change = true };
	act_drain(p);
}

static void
act_heal_stuck(struct dbt_promoter *p)
{
	p->errand = (struct dbt__errand){ .target = heal_target(p), .heal = true };
	p->began = p->now;
	p->about = p->errand.target;
	new_term(p);
}

/* The leader is drained, so what it has now has all commits that there will be of its term. */
static void
act_level(struct dbt_promoter *p)
{
	struct dbt__errand *errand = &p->errand;

	new_term(p);
	p->about = errand->target;
	errand->lsn = errand->target != p->leader ? p->places[p->leader].status.lsn : 0;
}

static void
act_turn(struct dbt_promoter *p)
{
	struct dbt__errand *errand = &p->errand;
	const struct dbt__place *target = &p->places[errand->target];

	p->about = errand->target;
	if (errand->turned == 0) {
		errand->timeline = target->status.timeline;
		errand->reached = target->status.lsn;
	}
	errand->turned |= not_ahead_of_target(p);
}

/* Who has turned to the target is fenced again in a new term only. */
static void
act_widen(struct dbt_promoter *p)
{
	p->about = p->errand.target;
	p->errand.late = true;
	p->errand.behind = 0;
	if (p->errand.turned == 0)
		return;
	p->errand.turned = 0;
	new_term(p);
}

static void
act_abort(struct dbt_promoter *p)
{
	p->heal_after = p->change_after = p->now + HEAL_AGAIN;
	p->began = 0;
	drop_errand(p, true, "nothing has changed: %s",
	    p->detail[0] != '\0' ? p->detail : "writes that were under way did not end in time");
}

/* ---- the table ---- */

/* clang-format off */
#define EVENTS(X)      \
	X(untouched)   \
	X(well)        \
	X(another)     \
	X(none)        \
	X(doubt)       \
	X(doubted)     \
	X(calm)        \
	X(resumable)   \
	X(ripe)        \
	X(leaderless)  \
	X(hopeless)    \
	X(astray)      \
	X(asked)       \
	X(change)      \
	X(ahead)       \
	X(ahead_stuck) \
	X(cascadable)  \
	X(cascaded)    \
	X(cascade_late) \
	X(drained)     \
	X(drain_late)  \
	X(target_lost) \
	X(not_leading) \
	X(turnable)    \
	X(target_late) \
	X(outbid)      \
	X(overtaken)   \
	X(enough)      \
	X(late)        \
	X(taken)       \
	X(marked)      \
	X(superseded)  \
	X(winner_out)  \
	X(promote_late) \
	X(init_late)   \
	X(resume_late) \
	X(rested)

enum event {
#define X(name) EV_##name,
	EVENTS(X)
#undef X
};

static const struct {
	const char *name;
	bool (*holds)(struct dbt_promoter *p);
} events[] = {
#define X(name) { #name, ev_##name },
	EVENTS(X)
#undef X
};

static const char *const states[] = {
	[DBT__UNKNOWN] = "unknown",
	[DBT__BOOTSTRAPPING] = "bootstrapping",
	[DBT__STEADY] = "steady",
	[DBT__SUSPECTING] = "suspecting",
	[DBT__STALLED] = "stalled",
	[DBT__RESUMING] = "resuming",
	[DBT__CASCADING] = "cascading",
	[DBT__DRAINING] = "draining",
	[DBT__LEVELLING] = "levelling",
	[DBT__PREPARING] = "preparing",
	[DBT__PROMOTING] = "promoting",
	[DBT__MARKING] = "marking",
	[DBT__WAITING] = "waiting",
};

#define UNKNOWN       DBT__UNKNOWN
#define BOOTSTRAPPING DBT__BOOTSTRAPPING
#define STEADY        DBT__STEADY
#define SUSPECTING    DBT__SUSPECTING
#define STALLED       DBT__STALLED
#define RESUMING      DBT__RESUMING
#define CASCADING     DBT__CASCADING
#define DRAINING      DBT__DRAINING
#define LEVELLING     DBT__LEVELLING
#define PREPARING     DBT__PREPARING
#define PROMOTING     DBT__PROMOTING
#define MARKING       DBT__MARKING
#define WAITING       DBT__WAITING

/* In each state the first row whose event holds is taken. */
static const struct move {
	enum dbt__state from;
	enum event on;
	enum dbt__state to;
	const char *name;
	void (*act)(struct dbt_promoter *p);
	const char *why;
} moves[] = {
	{ UNKNOWN,       EV_untouched,    BOOTSTRAPPING, "init",        act_init,            "every agent is there, and none has ever held data" },
	{ UNKNOWN,       EV_well,         STEADY,        "found",       act_found,           "it leads" },
	{ UNKNOWN,       EV_resumable,    RESUMING,      "resume",      act_nothing,         "the leader does not run" },
	{ UNKNOWN,       EV_doubt,        SUSPECTING,    "suspect",     act_suspect,         "the leader is in doubt" },
	{ UNKNOWN,       EV_leaderless,   PREPARING,     "prepare",     act_prepare,         "nobody leads" },
	{ UNKNOWN,       EV_hopeless,     STALLED,       "stall",       act_nothing,         "nobody leads, and nobody would win" },

	{ BOOTSTRAPPING, EV_well,         STEADY,        "found",       act_found,           "the new cluster has its first leader" },
	{ BOOTSTRAPPING, EV_resumable,    RESUMING,      "resume",      act_nothing,         "the first leader does not run" },
	{ BOOTSTRAPPING, EV_init_late,    UNKNOWN,       "give up",     act_give_up,         "the agent has made no data directory in time" },

	{ STEADY,        EV_none,         UNKNOWN,       "lose",        act_nothing,         "the leader does not lead any more" },
	{ STEADY,        EV_another,      STEADY,        "found",       act_found,           "it leads" },
	{ STEADY,        EV_doubt,        SUSPECTING,    "suspect",     act_suspect,         "the leader is in doubt" },
	{ STEADY,        EV_astray,       STEADY,        "adopt",       act_adopt,           "it does not follow the leader" },
	{ STEADY,        EV_cascadable,   CASCADING,     "cascade",     act_cascade,         "an operator asked for a switchover, and followers can stream from its target" },
	{ STEADY,        EV_asked,        DRAINING,      "drain",       act_drain,           "an operator asked for a switchover" },
	{ STEADY,        EV_change,       DRAINING,      "change",      act_change,          "the cluster file has another cohort" },
	{ STEADY,        EV_ahead_stuck,  PREPARING,     "heal",        act_heal_stuck,      "somebody cannot follow, and no commit has its quorum" },
	{ STEADY,        EV_ahead,        DRAINING,      "heal",        act_heal,            "somebody cannot follow" },

	{ SUSPECTING,    EV_none,         UNKNOWN,       "lose",        act_nothing,         "the leader does not lead any more" },
	{ SUSPECTING,    EV_calm,         STEADY,        "calm",        act_found,           "nothing speaks against the leader any more" },
	{ SUSPECTING,    EV_resumable,    RESUMING,      "resume",      act_nothing,         "the leader does not run" },
	{ SUSPECTING,    EV_ripe,         PREPARING,     "prepare",     act_prepare,         "the leader has been in doubt for long enough" },
	{ SUSPECTING,    EV_hopeless,     STALLED,       "stall",       act_nothing,         "the leader is in doubt, and nobody would win" },
	{ SUSPECTING,    EV_astray,       SUSPECTING,    "adopt",       act_adopt,           "it does not follow the leader" },

	{ STALLED,       EV_untouched,    BOOTSTRAPPING, "init",        act_init,            "every agent is there, and none has ever held data" },
	{ STALLED,       EV_well,         STEADY,        "found",       act_found,           "it leads" },
	{ STALLED,       EV_resumable,    RESUMING,      "resume",      act_nothing,         "the leader does not run" },
	{ STALLED,       EV_ripe,         PREPARING,     "prepare",     act_prepare,         "enough agents are there now" },
	{ STALLED,       EV_leaderless,   PREPARING,     "prepare",     act_prepare,         "nobody leads, and enough agents are there now" },
	{ STALLED,       EV_ahead_stuck,  PREPARING,     "heal",        act_heal_stuck,      "somebody cannot follow, and no commit has its quorum" },
	{ STALLED,       EV_astray,       STALLED,       "adopt",       act_adopt,           "it does not follow the leader" },

	{ RESUMING,      EV_well,         STEADY,        "resumed",     act_found,           "the leader runs again" },
	{ RESUMING,      EV_resume_late,  UNKNOWN,       "give up",     act_resumed_in_vain, "the leader did not come up in time" },

	{ CASCADING,     EV_not_leading,  UNKNOWN,       "abort",       act_abort,           "another node leads" },
	{ CASCADING,     EV_doubt,        SUSPECTING,    "suspect",     act_suspect,         "the leader is in doubt" },
	{ CASCADING,     EV_target_lost,  STEADY,        "abort",       act_abort,           "the target got lost" },
	{ CASCADING,     EV_cascaded,     DRAINING,      "drain",       act_drain,           "followers stream from the target" },
	{ CASCADING,     EV_cascade_late, DRAINING,      "drain",       act_drain,           "followers do not stream from the target in time" },

	{ DRAINING,      EV_not_leading,  UNKNOWN,       "abort",       act_abort,           "another node leads" },
	{ DRAINING,      EV_doubt,        SUSPECTING,    "suspect",     act_suspect,         "the leader is in doubt" },
	{ DRAINING,      EV_target_lost,  STEADY,        "abort",       act_abort,           "the target got lost" },
	{ DRAINING,      EV_drained,      LEVELLING,     "level",       act_level,           "the leader takes no more writes" },
	{ DRAINING,      EV_drain_late,   STEADY,        "abort",       act_abort,           "draining took too long" },

	{ LEVELLING,     EV_outbid,       WAITING,       "give up",     act_give_up,         "another promoter was faster" },
	{ LEVELLING,     EV_overtaken,    WAITING,       "give up",     act_give_up,         "the winner is on a timeline that the term does not exceed" },
	{ LEVELLING,     EV_enough,       PROMOTING,     "elect",       act_elect,           "nobody is further ahead" },
	{ LEVELLING,     EV_turnable,     LEVELLING,     "turn",        act_turn,            "the target has all that the others have" },
	{ LEVELLING,     EV_target_late,  PREPARING,     "widen",       act_widen,           "the target did not get ready, any other one will do" },

	{ PREPARING,     EV_outbid,       WAITING,       "give up",     act_give_up,         "another promoter was faster" },
	{ PREPARING,     EV_overtaken,    WAITING,       "give up",     act_give_up,         "the winner is on a timeline that the term does not exceed" },
	{ PREPARING,     EV_enough,       PROMOTING,     "elect",       act_elect,           "nobody is further ahead" },
	{ PREPARING,     EV_late,         WAITING,       "give up",     act_give_up,         "too few answers in time" },

	{ PROMOTING,     EV_superseded,   STEADY,        "found",       act_found,           "it leads in a higher term" },
	{ PROMOTING,     EV_marked,       STEADY,        "established", act_established,     "a commit of its term has its quorum" },
	{ PROMOTING,     EV_taken,        MARKING,       "promoted",    act_nothing,         "it has taken the promotion" },
	{ PROMOTING,     EV_winner_out,   WAITING,       "give up",     act_give_up,         "the winner got lost" },
	{ PROMOTING,     EV_promote_late, WAITING,       "give up",     act_give_up,         "the winner was not promoted in time" },

	{ MARKING,       EV_superseded,   STEADY,        "found",       act_found,           "it leads in a higher term" },
	{ MARKING,       EV_marked,       STEADY,        "established", act_established,     "a commit of its term has its quorum" },
	{ MARKING,       EV_none,         UNKNOWN,       "lose",        act_lose,            "the winner does not lead any more" },
	{ MARKING,       EV_doubted,       SUSPECTING,    "suspect",     act_suspect,         "the winner is in doubt" },

	{ WAITING,       EV_rested,       UNKNOWN,       "look again",  act_nothing,         "the time to give way is over" },
};
/* clang-format on */

const char *
dbt__state_name(enum dbt__state state)
{
	return states[state];
}

bool
dbt__electing(const struct dbt_promoter *p)
{
	return p->state >= DBT__LEVELLING && p->state <= DBT__MARKING;
}

/* Who waits for a switchover sees how far it is. */
static void
tell_progress(struct dbt_promoter *p)
{
	struct dbt_answer answer = { .id = p->errand.id };

	if (p->errand.id == 0 || p->config.answer == NULL)
		return;
	snprintf(answer.text, sizeof(answer.text), "%s: %.200s", states[p->state], p->why);
	p->config.answer(p->config.arg, &answer);
}

/* The one place where the state is written, but for its beginning. */
static void
make_move(struct dbt_promoter *p, const struct move *row)
{
	struct dbt_move move = { .name = row->name, .from = states[row->from],
		.to = states[row->to] };
	const struct dbt__place *about;
	bool established = row->act == act_established;

	if (p->about < 0)
		p->about = row->from >= DBT__PROMOTING && row->from <= DBT__MARKING ? p->winner :
		    p->leader;
	row->act(p);
	if (row->from != row->to)
		p->since = p->now;
	p->state = row->to;
	snprintf(p->why, sizeof(p->why), "%s%s%.150s", row->why, p->detail[0] != '\0' ? ": " : "",
	    p->detail);
	about = place_at(p, p->about);
	move.term = row->to >= DBT__LEVELLING && row->to <= DBT__MARKING ? p->term : p->leader_term;
	move.took = established ? p->last_gap : 0;
	snprintf(move.node, sizeof(move.node), "%s", about != NULL ? about->name : "");
	memcpy(move.why, p->why, sizeof(move.why));
	if (p->config.move != NULL)
		p->config.move(p->config.arg, &move);
	tell_progress(p);
}

static const struct move *
find_move(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < W_NELEM(moves); i++) {
		if (moves[i].from != p->state)
			continue;
		p->detail[0] = '\0';
		p->about = -1;
		if (events[moves[i].on].holds(p))
			return &moves[i];
	}
	return NULL;
}

void
dbt__run_moves(struct dbt_promoter *p)
{
	const struct move *row;

	for (unsigned i = 0; i < MOVES_AT_ONCE; i++) {
		row = find_move(p);
		if (row == NULL)
			return;
		make_move(p, row);
	}
	/* What is left waits for the next turn, which comes at once. */
	p->wake = p->now;
}

void
dbt_promoter_print_moves(struct w_buf *out)
{
	w_buf_printf(out, "%-13s  %-12s  %-13s  %-11s  %s\n", "from", "on", "to", "move", "why");
	for (unsigned i = 0; i < W_NELEM(moves); i++)
		w_buf_printf(out, "%-13s  %-12s  %-13s  %-11s  %s\n", states[moves[i].from],
		    events[moves[i].on].name, states[moves[i].to], moves[i].name, moves[i].why);
}

void
dbt__start_over(struct dbt_promoter *p)
{
	if (p->errand.target >= 0)
		drop_errand(p, true, "%s", "the cluster file has changed");
	p->state = DBT__UNKNOWN;
	p->since = p->now;
	p->patience = p->now + DBT__COLD;
	p->ahead = p->ran_since = p->drained_since = p->ready_since = W_NEVER;
	p->leader = p->found = p->avoid = p->winner = -1;
	p->leader_term = p->found_term = 0;
	p->began = 0;
	p->errand = (struct dbt__errand){ .target = -1 };
	for (unsigned i = 0; i < DBT__DOUBT_COUNT; i++)
		p->doubts[i] = W_NEVER;
	for (unsigned i = 0; i < p->count; i++) {
		p->places[i].adopting = false;
		p->places[i].told.kind = p->places[i].spread.kind = DBT_ORDER_COUNT;
	}
}
