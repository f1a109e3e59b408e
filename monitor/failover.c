/*
 * The promoter as the rest of the monitor has it: what it is at goes into the state, so that feed,
 * rules, page and metrics tell of it as of all else; what it does goes to the log and the feed at once.
 *
 * The journal is in memory, in the log and on the feed. There is no file: a monitor keeps nothing on
 * disk, and what must not be forgotten is in the agents' promises.
 */
#include "common/log.h"
#include "monitor/inner.h"
#include "monitor/show.h"

/* ---- what the promoter tells ---- */

static void
on_told(void *arg, enum mon_told how, const char *user, const char *text)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);

	if (how == MON_TOLD_GOOD)
		w_meter_add(mon->node->meter, mon->metrics + MON_M_TOLD, 1);
	else
		mon_refuse(mon, how == MON_TOLD_GARBAGE ? MON_M_BABBLE : MON_M_IMPOSTOR, user, text);
}

static void
log_move(const struct dbt_move *move)
{
	W_AUTO(w_free) char *event = w_xasprintf("failover-%s", move->name);
	char quoted[2 * DBT_TEXT];

	w_log(W_INFO, "", event, "from=%s to=%s term=%u node=%s took_ms=%.1f why=%s", move->from,
	    move->to, move->term, move->node[0] != '\0' ? move->node : "-",
	    (double)move->took / W_MSEC, w_log_quote(w_view_of(move->why), quoted, sizeof(quoted)));
}

static void
on_moved(void *arg, const struct mon_moved *moved)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);
	struct w_json *json = mon_feed_begin(mon->feed, "failover", NULL);

	log_move(&moved->move);
	if (strcmp(moved->move.name, "established") == 0 && moved->move.took > 0)
		mon->established_at = w_now();
	if (json == NULL)
		return;
	w_json_key(json, "move");
	mon_show_move(json, moved);
	mon_feed_send(mon->feed);
}

/* A database whose agent says something else now is told at once. */
static void
look_at_agents(struct mon *mon)
{
	for (unsigned i = 0; i < mon_state_count(mon->state); i++) {
		struct mon_node *node = mon_state_nth(mon->state, i);
		struct mon_agent agent;

		if (node->role != W_DATABASE)
			continue;
		mon_promote_agent(mon->promote, node->name, &agent);
		if (agent.fresh == node->agent.fresh && agent.stage == node->agent.stage &&
		    agent.term == node->agent.term && strcmp(agent.busy, node->agent.busy) == 0 &&
		    strcmp(agent.trouble, node->agent.trouble) == 0)
			continue;
		node->agent = agent;
		mon_publish_node(mon, node, w_now());
	}
}

static bool
same(const struct mon_failover *a, const struct mon_failover *b)
{
	return a->moves == b->moves && a->term == b->term && a->paused == b->paused &&
	       a->spare == b->spare && strcmp(a->state, b->state) == 0 &&
	       strcmp(a->leader, b->leader) == 0 && strcmp(a->degraded, b->degraded) == 0 &&
	       strcmp(a->in_force, b->in_force) == 0 && strcmp(a->configured, b->configured) == 0 &&
	       strcmp(a->change, b->change) == 0;
}

static void
on_looked(void *arg)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);
	struct mon_failover before, now;

	if (mon->promote == NULL)
		return;
	before = mon_state_view(mon->state)->failover;
	mon_promote_look(mon->promote, &now);
	now.established_at = mon->established_at;
	mon_state_set_failover(mon->state, &now);
	look_at_agents(mon);
	if (same(&before, &now))
		return;
	mon_publish_cluster(mon);
	mon_rules_judge(mon->rules, mon->state, NULL, w_now());
}

/* ---- what others ask ---- */

void
mon_failover_count(struct mon *mon)
{
	const struct mon_failover *f = &mon_state_view(mon->state)->failover;
	const struct {
		enum mon_metric_id id;
		uint64_t value;
	} table[] = {
		{ MON_M_ORDERS, mon_promote_sent(mon->promote, false) },
		{ MON_M_UNSENT, mon_promote_sent(mon->promote, true) },
		{ MON_M_TERM, f->term },
		{ MON_M_LEADS, f->leader[0] != '\0' },
		{ MON_M_PAUSED, f->paused },
		{ MON_M_SPARE, f->spare },
		{ MON_M_FRESH, f->fresh },
		{ MON_M_COHORT, f->cohort },
		{ MON_M_NEEDED, f->needed },
		{ MON_M_NOLEADER, strcmp(f->degraded, "no-leader") == 0 },
		{ MON_M_NOQUORUM, strcmp(f->degraded, "no-quorum") == 0 },
		{ MON_M_NOSPARE, strcmp(f->degraded, "no-spare") == 0 },
		{ MON_M_DIFFERS, strcmp(f->degraded, "cohort-differs") == 0 },
		{ MON_M_BROKEN, strcmp(f->degraded, "broken-settings") == 0 },
		{ MON_M_ELECTED, f->elections },
		{ MON_M_SWITCHED, f->switchovers },
		{ MON_M_FAILED, f->failures },
		{ MON_M_GAP, (uint64_t)f->last_gap },
	};

	for (size_t i = 0; i < W_NELEM(table); i++)
		w_meter_set(mon->node->meter, mon->metrics + table[i].id, (int64_t)table[i].value);
}

static void
put_agent(struct mon *mon, struct w_json *json, const struct mon_node *node)
{
	const struct dbt_status *status = mon_promote_status(mon->promote, node->name);
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };

	w_json_open(json, '{');
	w_json_key(json, "node");
	w_json_text(json, node->name);
	w_json_key(json, "fresh");
	w_json_bool(json, node->agent.fresh);
	w_json_key(json, "status");
	if (status != NULL) {
		dbt_status_format(status, &text);
		w_json_raw(json, w_buf_get(&text));
	} else {
		w_json_null(json);
	}
	w_json_close(json, '}');
}

void
mon_failover_show(struct mon *mon, struct w_json *json)
{
	const struct mon_moved *moved;

	w_json_key(json, "failover");
	mon_show_failover(json, &mon_state_view(mon->state)->failover);
	w_json_key(json, "agents");
	w_json_open(json, '[');
	for (unsigned i = 0; mon->promote != NULL && i < mon_state_count(mon->state); i++) {
		const struct mon_node *node = mon_state_nth(mon->state, i);

		if (node->role == W_DATABASE)
			put_agent(mon, json, node);
	}
	w_json_close(json, ']');
	w_json_key(json, "moves");
	w_json_open(json, '[');
	for (unsigned i = 0; mon->promote != NULL &&
	                     (moved = mon_promote_nth(mon->promote, i)) != NULL; i++)
		mon_show_move(json, moved);
	w_json_close(json, ']');
}

int
mon_failover_open(struct mon *mon, struct w_fault *fault)
{
	const struct mon_promote_ops ops = { .told = on_told, .moved = on_moved,
		.looked = on_looked, .arg = mon };

	return mon_promote_open(mon->node, &ops, &mon->promote, fault);
}
