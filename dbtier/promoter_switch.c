/* Switchovers: to whom, and what an operator is told. See promoter.h; their course is in the table of moves. */
#include "dbtier/promoter_inner.h"

#include <stdio.h>

/* ---- whom to move to ---- */

const char *
dbt__standby_unfit(struct dbt_promoter *p, int at)
{
	const struct dbt__place *place = &p->places[at];

	if (!dbt__fresh(p, place))
		return "is silent";
	if (!dbt__follows(p, place))
		return "does not follow the leader";
	if (place->status.postgres != DBT_PG_UP)
		return "is not up";
	if (place->status.broken[0] != '\0')
		return "has a setting that breaks the promises";
	return place->status.streaming ? NULL : "does not stream from the leader";
}

const char *
dbt__target_unfit(struct dbt_promoter *p, int target)
{
	if (!dbt__may_lead(p, target))
		return "is not of the cohort in force";
	return dbt__standby_unfit(p, target);
}

int
dbt__furthest_target(struct dbt_promoter *p)
{
	int best = -1;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dbt_status *status = &p->places[i].status;

		if ((int)i == p->leader || dbt__target_unfit(p, (int)i) != NULL)
			continue;
		if (best < 0 || status->lsn > p->places[best].status.lsn)
			best = (int)i;
	}
	return best;
}

uint32_t
dbt__spare_followers(struct dbt_promoter *p)
{
	unsigned attached = p->places[p->leader].status.attached;
	unsigned spare = attached > p->acting.quorum ? attached - p->acting.quorum : 0;
	uint32_t who = 0;

	for (unsigned i = 0; i < p->listed && spare > 0; i++) {
		if ((int)i == p->errand.target || (int)i == p->leader || dbt__target_unfit(p, (int)i) != NULL)
			continue;
		who |= 1U << i;
		spare--;
	}
	return who;
}

/* ---- the command ---- */

void
dbt__answer(struct dbt_promoter *p, int64_t *id, bool failed, const char *text)
{
	struct dbt_answer answer = { .id = *id, .done = !failed, .failed = failed };

	if (*id == 0)
		return;
	*id = 0;
	snprintf(answer.text, sizeof(answer.text), "%s", text);
	if (p->config.answer != NULL)
		p->config.answer(p->config.arg, &answer);
}

/* Why it cannot be; NULL: it can, or *ret_target leads already. */
static const char *
check_switchover(struct dbt_promoter *p, const char *node, int *ret_target)
{
	const char *unfit;

	*ret_target = node[0] != '\0' ? dbt__place_find(p, node) : dbt__furthest_target(p);
	if (p->errand.target >= 0)
		return "another switchover is under way";
	if (p->paused)
		return "the cluster is paused";
	if (node[0] != '\0' && *ret_target < 0)
		return "there is no such database";
	if (p->state != DBT__STEADY || !dbt__leader_up(p))
		return "there is no leader to take over from";
	if (*ret_target == p->leader)
		return NULL;
	if (*ret_target < 0)
		return "no database streams from the leader";
	unfit = dbt__target_unfit(p, *ret_target);
	if (unfit == NULL && !dbt__can_with(p))
		return "too few agents are there for an election";
	return unfit;
}

void
dbt__switchover(struct dbt_promoter *p, const struct dbt_command *command)
{
	char text[DBT_TEXT];
	int64_t id = command->id;
	int target;
	const char *why = check_switchover(p, command->node, &target);

	if (why != NULL) {
		snprintf(text, sizeof(text), "refused: %s%s%s", command->node,
		    command->node[0] != '\0' ? ": " : "", why);
		dbt__answer(p, &id, true, text);
	} else if (target == p->leader) {
		snprintf(text, sizeof(text), "%s leads already", p->places[target].name);
		dbt__answer(p, &id, false, text);
	} else {
		p->errand = (struct dbt__errand){ .target = target, .id = id };
	}
}
