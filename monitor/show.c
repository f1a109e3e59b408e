/*
 * JSON of nodes, cluster, alerts and events. See show.h.
 */
#include "monitor/show.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

static void
put_text(struct w_json *json, const char *key, const char *text)
{
	w_json_key(json, key);
	w_json_text(json, text);
}

static void
put_int(struct w_json *json, const char *key, int64_t value)
{
	w_json_key(json, key);
	w_json_int(json, value);
}

/* NaN becomes null. */
static void
put_real(struct w_json *json, const char *key, double value)
{
	w_json_key(json, key);
	w_json_real(json, value);
}

static void
put_known(struct w_json *json, const char *key, bool known, int64_t value)
{
	w_json_key(json, key);
	if (known)
		w_json_int(json, value);
	else
		w_json_null(json);
}

static const char *
or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

/* ---- nodes ---- */

/*
 * How many servers see a database, and of these, for how many it is fit, and how many wait for its
 * standbys: each judges by itself.
 */
static void
put_views(struct w_json *json, const struct mon_state *state, const struct mon_node *database)
{
	char labels[96];
	unsigned seen = 0, fit = 0, gated = 0;

	snprintf(labels, sizeof(labels), "database=\"%s\"", database->name);
	for (unsigned i = 0; i < mon_state_count(state); i++) {
		const struct mon_node *node = mon_state_nth(state, i);
		const struct mon_metric *metric;

		if (node->role != W_SERVER || node->life == MON_DOWN)
			continue;
		metric = mon_report_find(node->last, W_VIEW("weir_db_node_fit"), w_view_of(labels));
		seen += metric != NULL;
		fit += metric != NULL && metric->value > 0;
		metric = mon_report_find(node->last, W_VIEW("weir_db_node_gated"), w_view_of(labels));
		gated += metric != NULL && metric->value > 0;
	}
	put_int(json, "seen_by", seen);
	put_int(json, "fit_for", fit);
	put_int(json, "gated_by", gated);
}

static void
put_database(struct w_json *json, const struct mon_node *node)
{
	static const struct mon_db none = { .kind = MON_DB_NONE };
	bool known = node->life != MON_DOWN;
	const struct mon_db *db = known ? &node->last->db : &none;

	put_text(json, "database", mon_database_name(db->kind));
	known = known && db->kind != MON_DB_NONE;
	put_known(json, "postgres_pid", db->postgres_pid > 0, db->postgres_pid);
	put_known(json, "timeline", known, db->timeline);
	put_known(json, "position", known, db->position);
	put_known(json, "received", known, db->received);
	put_real(json, "lag_bytes", node->figures.lag_bytes < 0 ? 0 : floor(node->figures.lag_bytes));
	put_real(json, "lag_seconds", node->figures.lag_seconds);
	put_known(json, "sessions", known, db->sessions);
	put_known(json, "standbys", known, db->standbys);
	put_real(json, "transactions_per_second", node->figures.transactions);
}

/* Null while its agent is not heard of. */
static void
put_agent(struct w_json *json, const struct mon_agent *agent)
{
	put_text(json, "stage", agent->fresh ? dbt_stage_name(agent->stage) : NULL);
	put_known(json, "term", agent->fresh, agent->term);
	put_text(json, "busy", agent->fresh ? or_null(agent->busy) : NULL);
	put_text(json, "trouble", agent->fresh ? or_null(agent->trouble) : NULL);
}

static void
put_totals(struct w_json *json, const struct mon_figures *figures)
{
	w_json_key(json, "totals");
	w_json_open(json, '{');
	put_real(json, "requests", figures->requests_total);
	put_real(json, "errors", figures->errors_total);
	put_real(json, "cpu_seconds", figures->cpu_total);
	w_json_close(json, '}');
}

void
mon_show_node(struct w_json *json, const struct mon_state *state, const struct mon_node *node,
    w_usec now)
{
	const struct mon_figures *figures = &node->figures;
	const struct mon_report *last = node->last;

	w_json_open(json, '{');
	put_text(json, "name", node->name);
	put_text(json, "role", w_role_name(node->role));
	put_text(json, "state", mon_life_name(node->life));
	put_text(json, "reason", mon_reason_name(node->reason));
	put_known(json, "pid", last != NULL, last != NULL ? last->pid : 0);
	put_known(json, "epoch", last != NULL, last != NULL ? last->epoch : 0);
	put_known(json, "seen_ms", last != NULL,
	    last != NULL ? W_MAX(now - last->arrived, 0) / W_MSEC : 0);
	put_real(json, "requests_per_second", figures->requests);
	put_real(json, "errors_per_second", figures->errors);
	put_real(json, "in_flight", figures->in_flight);
	put_real(json, "p50", figures->p50);
	put_real(json, "p90", figures->p90);
	put_real(json, "p99", figures->p99);
	put_real(json, "cpu", figures->cpu);
	put_real(json, "rss", figures->rss);
	put_totals(json, figures);
	if (node->role == W_DATABASE) {
		put_database(json, node);
		put_agent(json, &node->agent);
		put_views(json, state, node);
	}
	w_json_close(json, '}');
}

void
mon_show_nodes(struct w_json *json, const struct mon_state *state, w_usec now)
{
	w_json_open(json, '[');
	for (unsigned i = 0; i < mon_state_count(state); i++)
		mon_show_node(json, state, mon_state_nth(state, i), now);
	w_json_close(json, ']');
}

/* ---- failover ---- */

static void
put_bool(struct w_json *json, const char *key, bool value)
{
	w_json_key(json, key);
	w_json_bool(json, value);
}

/* 0 is not known. */
static void
put_msec(struct w_json *json, const char *key, w_usec time)
{
	put_real(json, key, time > 0 ? (double)time / W_MSEC : NAN);
}

void
mon_show_move(struct w_json *json, const struct mon_moved *moved)
{
	const struct dbt_move *move = &moved->move;

	w_json_open(json, '{');
	put_int(json, "time", moved->time);
	put_text(json, "name", move->name);
	put_text(json, "from", move->from);
	put_text(json, "to", move->to);
	put_int(json, "term", move->term);
	put_text(json, "node", or_null(move->node));
	put_text(json, "why", or_null(move->why));
	put_msec(json, "took_ms", move->took);
	w_json_close(json, '}');
}

void
mon_show_failover(struct w_json *json, const struct mon_failover *failover)
{
	if (!failover->known) {
		w_json_null(json);
		return;
	}
	w_json_open(json, '{');
	put_text(json, "state", failover->state);
	put_int(json, "term", failover->term);
	put_text(json, "leader", or_null(failover->leader));
	put_bool(json, "paused", failover->paused);
	put_bool(json, "spare", failover->spare);
	put_text(json, "degraded", or_null(failover->degraded));
	put_text(json, "why", or_null(failover->why));
	put_int(json, "fresh", failover->fresh);
	put_int(json, "cohort", failover->cohort);
	put_int(json, "needed", failover->needed);
	put_text(json, "in_force", failover->in_force);
	put_text(json, "configured", failover->configured);
	put_text(json, "change", or_null(failover->change));
	put_int(json, "elections", (int64_t)failover->elections);
	put_int(json, "switchovers", (int64_t)failover->switchovers);
	put_int(json, "failures", (int64_t)failover->failures);
	put_msec(json, "last_gap_ms", failover->last_gap);
	put_int(json, "moves", (int64_t)failover->moves);
	w_json_key(json, "last");
	if (failover->moves > 0)
		mon_show_move(json, &failover->last);
	else
		w_json_null(json);
	w_json_close(json, '}');
}

/* ---- the cluster ---- */

static void
put_window(struct w_json *json, const char *key, const struct mon_window_view *window)
{
	w_json_key(json, key);
	w_json_open(json, '{');
	put_real(json, "requests", window->requests);
	put_real(json, "errors", window->errors);
	put_real(json, "p50", window->p50);
	put_real(json, "p90", window->p90);
	put_real(json, "p99", window->p99);
	w_json_close(json, '}');
}

void
mon_show_cluster(struct w_json *json, const struct mon_state *state, const struct mon_rules *rules)
{
	static const char *const windows[MON_WINDOW_COUNT] = { "1s", "10s", "1m" };
	const struct mon_cluster *view = mon_state_view(state);

	w_json_open(json, '{');
	put_text(json, "name", mon_state_cluster(state));
	put_int(json, "nodes", view->nodes);
	put_int(json, "nodes_up", view->up);
	put_text(json, "primary", view->primary != NULL ? view->primary->name : NULL);
	put_real(json, "requests_per_second", view->requests);
	put_real(json, "errors_per_second", view->errors);
	put_real(json, "ratio_5xx", isnan(view->ratio) ? 0 : view->ratio);
	w_json_key(json, "windows");
	w_json_open(json, '{');
	for (int i = 0; i < MON_WINDOW_COUNT; i++)
		put_window(json, windows[i], &view->windows[i]);
	w_json_close(json, '}');
	put_real(json, "cpu", view->cpu);
	put_real(json, "rss", view->rss);
	put_real(json, "lag_bytes", floor(view->lag_bytes));
	put_int(json, "alerts_firing", mon_rules_in_phase(rules, MON_FIRING));
	put_int(json, "alerts_pending", mon_rules_in_phase(rules, MON_PENDING));
	w_json_key(json, "failover");
	mon_show_failover(json, &view->failover);
	w_json_close(json, '}');
}

/* ---- alerts ---- */

static void
put_fingerprint(struct w_json *json, const struct mon_alert *alert)
{
	char text[20];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)alert->fingerprint);
	put_text(json, "fingerprint", text);
}

void
mon_show_alert(struct w_json *json, const struct mon_alert *alert)
{
	w_json_open(json, '{');
	put_text(json, "name", alert->rule);
	put_text(json, "node", or_null(alert->node));
	put_text(json, "role", or_null(alert->role));
	put_text(json, "severity", alert->severity);
	put_text(json, "state", mon_phase_name(alert->phase));
	put_text(json, "what", alert->what);
	put_real(json, "value", alert->value);
	put_text(json, "compare", mon_compare_name(alert->compare));
	put_real(json, "threshold", alert->threshold);
	put_text(json, "reason", alert->reason);
	put_text(json, "summary", alert->summary);
	put_int(json, "starts", alert->starts);
	put_known(json, "ends", alert->ends != 0, alert->ends);
	put_fingerprint(json, alert);
	w_json_close(json, '}');
}

void
mon_show_alerts(struct w_json *json, const struct mon_rules *rules)
{
	w_json_open(json, '[');
	for (unsigned i = 0; i < mon_rules_alert_count(rules); i++) {
		const struct mon_alert *alert = mon_rules_alert(rules, i);

		if (alert->phase == MON_PENDING || alert->phase == MON_FIRING)
			mon_show_alert(json, alert);
	}
	w_json_close(json, ']');
}

void
mon_show_resolved(struct w_json *json, const struct mon_rules *rules)
{
	const struct mon_alert *alert;

	w_json_open(json, '[');
	for (unsigned i = 0; (alert = mon_rules_resolved(rules, i)) != NULL; i++)
		mon_show_alert(json, alert);
	w_json_close(json, ']');
}

void
mon_show_rules(struct w_json *json, const struct mon_rules *rules)
{
	w_json_open(json, '[');
	for (unsigned i = 0; i < mon_rules_count(rules); i++) {
		const struct mon_rule *rule = mon_rules_nth(rules, i);

		w_json_open(json, '{');
		put_text(json, "name", rule->name);
		put_text(json, "value", rule->what);
		put_text(json, "compare", mon_compare_name(rule->compare));
		put_real(json, "threshold", rule->threshold);
		put_real(json, "hold_seconds", (double)rule->hold / W_SEC);
		put_text(json, "severity", rule->severity);
		put_text(json, "scope", rule->per_node ? "node" : "cluster");
		w_json_close(json, '}');
	}
	w_json_close(json, ']');
}

/* RFC 3339 with milliseconds; the year 1 stands for "not yet", as Alertmanager has it. */
static void
put_time(struct w_json *json, const char *key, w_usec wall)
{
	time_t seconds = (time_t)(wall / W_SEC);
	struct tm tm;
	char day[32], text[48];

	if (wall == 0) {
		put_text(json, key, "0001-01-01T00:00:00Z");
		return;
	}
	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(wall % W_SEC / W_MSEC));
	put_text(json, key, text);
}

void
mon_show_webhook_alert(struct w_json *json, const struct mon_alert *alert)
{
	w_json_open(json, '{');
	put_text(json, "status", alert->phase == MON_FIRING ? "firing" : "resolved");
	w_json_key(json, "labels");
	w_json_open(json, '{');
	put_text(json, "alertname", alert->rule);
	put_text(json, "cluster", alert->cluster);
	put_text(json, "severity", alert->severity);
	if (alert->node[0] != '\0') {
		put_text(json, "node", alert->node);
		put_text(json, "role", alert->role);
	}
	if (alert->reason != NULL)
		put_text(json, "reason", alert->reason);
	w_json_close(json, '}');
	w_json_key(json, "annotations");
	w_json_open(json, '{');
	put_text(json, "summary", alert->summary);
	w_json_close(json, '}');
	put_time(json, "startsAt", alert->starts);
	put_time(json, "endsAt", alert->ends);
	put_fingerprint(json, alert);
	w_json_close(json, '}');
}

/* ---- events ---- */

void
mon_show_event(struct w_json *json, const struct mon_event *event)
{
	w_json_open(json, '{');
	put_text(json, "event", event->event);
	put_text(json, "node", event->node->name);
	put_text(json, "role", w_role_name(event->node->role));
	put_text(json, "from", event->from);
	put_text(json, "to", event->to);
	put_text(json, "reason", event->reason);
	w_json_close(json, '}');
}
