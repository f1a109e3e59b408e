/* What each agent has to be told in each state, and how often. See promoter.h. */
#include "dbtier/promoter_inner.h"

#include <stdio.h>

#define REFUSED_REPEAT W_SEC         /* what was refused may be taken later, but hardly at once */
#define FORGOTTEN (7 * W_SEC)        /* a drained leader whose promoter is gone would have helped itself */

static const struct dbt__told nothing = { .kind = DBT_ORDER_COUNT };

const char *
dbt__refusal(const struct dbt__place *place)
{
	bool this = place->told.kind != DBT_ORDER_COUNT && place->status.order == place->told.id;

	return this && place->status.refused[0] != '\0' ? place->status.refused : NULL;
}

/* ---- what it has to be told; nothing when its status shows that it is done ---- */

/* Of the election, or of the leader's term. */
static const struct dbt_cohort *
cohort_of(const struct dbt_promoter *p, uint32_t term)
{
	bool elects = dbt__electing(p) && term == p->term;

	return elects || term != p->leader_term ? &p->cohort : dbt__cohort_of_leader(p);
}

static struct dbt__told
prepare(struct dbt_promoter *p, const struct dbt__place *place, uint64_t lsn)
{
	const struct dbt_promise *promise = &place->status.promise;
	bool counts = dbt__counts(p, (int)(place - p->places));
	bool promised = place->known && promise->term == p->term &&
	    strcmp(promise->promoter, p->id) == 0;

	if (!counts || (promised && (promise->stage == DBT_EMPTY ||
	    (promise->stage == DBT_FENCED && place->status.settled))))
		return nothing;
	return (struct dbt__told){ .kind = DBT_PREPARE, .term = p->term, .upstream = -1, .lsn = lsn };
}

static struct dbt__told
follow(struct dbt_promoter *p, const struct dbt__place *place, uint32_t term, int upstream)
{
	const struct dbt_promise *promise = &place->status.promise;

	if (place->known && promise->stage == DBT_FOLLOWING && promise->term == term &&
	    strcmp(promise->upstream, p->places[upstream].name) == 0 &&
	    dbt__knows(place, cohort_of(p, term)))
		return nothing;
	return (struct dbt__told){ .kind = DBT_FOLLOW, .term = term, .upstream = upstream };
}

static struct dbt__told
leading(uint32_t term, enum dbt_order_kind kind)
{
	return (struct dbt__told){ .kind = kind, .term = term, .upstream = -1 };
}

static struct dbt__told
want_bootstrapping(struct dbt_promoter *p, int at)
{
	return at == p->winner && p->places[at].status.promise.stage == DBT_EMPTY ?
	    leading(p->term, DBT_INIT) : nothing;
}

static struct dbt__told
turn(struct dbt_promoter *p, int at)
{
	struct dbt__told told = follow(p, &p->places[at], p->term, p->errand.target);

	told.timeline = p->errand.timeline;
	told.lsn = p->errand.reached;
	return told;
}

static struct dbt__told
want_cascading(struct dbt_promoter *p, int at)
{
	return (p->errand.behind >> at & 1) != 0 ? follow(p, &p->places[at], p->leader_term, p->errand.target) : nothing;
}

/* All but the leader; that one in the end, when it is the target or there are too few without it. */
static struct dbt__told
want_levelling(struct dbt_promoter *p, int at)
{
	const struct dbt__errand *errand = &p->errand;

	if ((errand->turned >> at & 1) != 0)
		return turn(p, at);
	/* it gets nothing but the target's already, and turns when that has promised */
	if ((errand->behind >> at & 1) != 0)
		return nothing;
	if (at != p->leader)
		return prepare(p, &p->places[at], at == errand->target ? errand->lsn : 0);
	if (dbt__others_answered(p) && (at == errand->target ||
	    (dbt__answered(p, &p->places[errand->target]) && !dbt__enough(p, dbt__answers(p, at)))))
		return prepare(p, &p->places[at], 0);
	return nothing;
}

static struct dbt__told
want_preparing(struct dbt_promoter *p, int at)
{
	return prepare(p, &p->places[at], 0);
}

/* Those that can be the quorum of the winner's first commit, besides the place except. */
static unsigned
could_acknowledge(struct dbt_promoter *p, int except)
{
	unsigned count = 0;

	for (unsigned i = 0; i < p->count; i++)
		count += (int)i != p->winner && (int)i != except && dbt__may_lead(p, (int)i) &&
		    dbt__fresh(p, &p->places[i]) &&
		    p->places[i].status.postgres == DBT_PG_UP && p->places[i].status.recovery;
	return count;
}

/*
 * A drained leader can do no harm, and its end would take time from the winner; so it is adopted when
 * that is established, unless its acknowledgement is needed for it.
 */
static bool
may_wait(struct dbt_promoter *p, int at)
{
	const struct dbt_status *status = &p->places[at].status;

	return status->promise.stage == DBT_LEADING && status->drained && status->postgres == DBT_PG_UP &&
	    could_acknowledge(p, at) >= p->sides[0].quorum;
}

static struct dbt__told
want_promoting(struct dbt_promoter *p, int at)
{
	const struct dbt_promise *promise = &p->places[at].status.promise;
	struct dbt__told told;

	if (at != p->winner && may_wait(p, at))
		return nothing;
	if (at != p->winner) {
		told = follow(p, &p->places[at], p->term, p->winner);
		/* Who is not ahead of it needs not ask it for its history, which it has not yet. */
		told.timeline = p->won_timeline;
		told.lsn = p->won_lsn;
		return told;
	}
	if (promise->term == p->term && promise->stage == DBT_LEADING)
		return nothing;
	return leading(p->term, DBT_PROMOTE);
}

static struct dbt__told
want_draining(struct dbt_promoter *p, int at)
{
	return at == p->leader && !p->places[at].status.drained ?
	    leading(p->leader_term, DBT_DRAIN) : nothing;
}

/* A leader that is drained for no switchover: this promoter's own is over, another's got stuck. */
static bool
to_undrain(struct dbt_promoter *p)
{
	if (p->drained_since == W_NEVER || !dbt__leader_up(p))
		return false;
	return p->drained_in == p->leader_term || dbt__past(p, p->drained_since + FORGOTTEN);
}

static struct dbt__told
want_serving(struct dbt_promoter *p, int at)
{
	if (p->leader < 0)
		return nothing;
	if (at == p->leader)
		return to_undrain(p) ? leading(p->leader_term, DBT_UNDRAIN) : nothing;
	/* who follows already may have to be told that a change is established */
	if (p->places[at].adopting || (dbt__leader_up(p) && dbt__fresh(p, &p->places[at]) &&
	    dbt__follows(p, &p->places[at])))
		return follow(p, &p->places[at], p->leader_term, p->leader);
	return nothing;
}

static struct dbt__told
want_resuming(struct dbt_promoter *p, int at)
{
	return at == p->leader && p->places[at].status.postgres == DBT_PG_NONE ?
	    leading(p->leader_term, DBT_RESUME) : nothing;
}

static struct dbt__told (*const wants[])(struct dbt_promoter *p, int at) = {
	[DBT__UNKNOWN] = want_serving,
	[DBT__BOOTSTRAPPING] = want_bootstrapping,
	[DBT__STEADY] = want_serving,
	[DBT__SUSPECTING] = want_serving,
	[DBT__STALLED] = want_serving,
	[DBT__RESUMING] = want_resuming,
	[DBT__CASCADING] = want_cascading,
	[DBT__DRAINING] = want_draining,
	[DBT__LEVELLING] = want_levelling,
	[DBT__PREPARING] = want_preparing,
	[DBT__PROMOTING] = want_promoting,
	[DBT__MARKING] = want_promoting,
	[DBT__WAITING] = want_serving,
};

static struct dbt__told
want_spread(struct dbt_promoter *p, int at)
{
	struct dbt__told told = nothing;

	if (p->places[at].status.promise.stamp < p->stamp) {
		told.kind = DBT_PAUSE;
		told.term = p->leader_term;
		told.upstream = -1;
		told.stamp = p->stamp;
	}
	return told;
}

/* ---- telling ---- */

static bool
is_same(const struct dbt__told *a, const struct dbt__told *b)
{
	return a->edition == b->edition && a->joint == b->joint && a->kind == b->kind && a->term == b->term && a->upstream == b->upstream &&
	    a->timeline == b->timeline && a->lsn == b->lsn && a->stamp == b->stamp;
}

static void
send_order(struct dbt_promoter *p, int at, struct dbt__told *told)
{
	struct dbt_order order = { .kind = told->kind, .id = told->id, .term = told->term,
		.timeline = told->timeline, .lsn = told->lsn, .paused = p->paused, .stamp = told->stamp };

	told->sent = p->now;
	snprintf(order.promoter, sizeof(order.promoter), "%s", p->id);
	order.cohort = *cohort_of(p, told->term);
	if (told->upstream >= 0)
		snprintf(order.upstream, sizeof(order.upstream), "%s",
		    p->places[told->upstream].name);
	p->config.order(p->config.arg, p->places[at].name, &order);
}

/* At once when it is new, and then again and again. */
static void
tell(struct dbt_promoter *p, int at, struct dbt__told *last, struct dbt__told want)
{
	w_usec repeat = dbt__refusal(&p->places[at]) != NULL ? REFUSED_REPEAT : DBT__REPEAT;

	if (want.kind == DBT_ORDER_COUNT) {
		last->kind = DBT_ORDER_COUNT;
		return;
	}
	want.edition = cohort_of(p, want.term)->edition;
	want.joint = cohort_of(p, want.term)->joint[0] != '\0';
	if (!is_same(last, &want)) {
		*last = want;
		last->id = ++p->last_id;
	} else if (!dbt__past(p, last->sent + repeat)) {
		return;
	}
	send_order(p, at, last);
	(void)dbt__past(p, p->now + DBT__REPEAT);
}

void
dbt__run_orders(struct dbt_promoter *p)
{
	for (unsigned i = 0; i < p->listed; i++) {
		struct dbt__place *place = &p->places[i];

		tell(p, (int)i, &place->told, wants[p->state](p, (int)i));
		tell(p, (int)i, &place->spread, want_spread(p, (int)i));
	}
}
