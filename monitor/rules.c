/*
 * Rules and alerts. See rules.h.
 */
#include "monitor/rules.h"

#include <math.h>
#include <stdio.h>

#define RATIO_MIN_RPS 1.0 /* fewer requests a second make no meaningful ratio */

struct mon_rules {
	struct mon_rule *rules;
	unsigned count;
	struct mon_alert **alerts; /* in the order in which they were first needed */
	unsigned alert_count, alert_room;
	struct mon_alert resolved[MON_RESOLVED_MAX];
	uint64_t resolved_count; /* since the start */
	mon_alert_fn *fn;
	void *arg;
};

static const char *const compare_names[MON_COMPARE_COUNT] = { ">", ">=", "<", "<=", "==", "!=" };

const char *
mon_compare_name(enum mon_compare compare)
{
	return compare_names[compare];
}

const char *
mon_phase_name(enum mon_phase phase)
{
	static const char *const names[MON_PHASE_COUNT] = { "inactive", "pending", "firing",
		"resolved" };

	return names[phase];
}

/* ---- values ---- */

static double
ratio(double errors, double requests)
{
	return requests >= RATIO_MIN_RPS ? errors / requests : NAN;
}

#define OF_CLUSTER(name, expression)                                                               \
	static double name##_of_cluster(const struct mon_state *state, w_usec now W_UNUSED)        \
	{                                                                                          \
		const struct mon_cluster *view = mon_state_view(state);                            \
                                                                                                   \
		return expression;                                                                 \
	}
#define OF_NODE(name, expression)                                                                  \
	static double name##_of_node(const struct mon_state *state W_UNUSED,                       \
	    const struct mon_node *node, w_usec now W_UNUSED)                                      \
	{                                                                                          \
		return expression;                                                                 \
	}

OF_CLUSTER(requests, view->requests)
OF_CLUSTER(errors, view->errors)
OF_CLUSTER(ratio, ratio(view->errors, view->requests))
OF_CLUSTER(p50, view->windows[MON_W_1S].p50)
OF_CLUSTER(p90, view->windows[MON_W_1S].p90)
OF_CLUSTER(p99, view->windows[MON_W_1S].p99)
OF_CLUSTER(down, view->nodes - view->up)
OF_NODE(requests, node->figures.requests)
OF_NODE(errors, node->figures.errors)
OF_NODE(ratio, ratio(node->figures.errors, node->figures.requests))
OF_NODE(p50, node->figures.p50)
OF_NODE(p90, node->figures.p90)
OF_NODE(p99, node->figures.p99)
OF_NODE(lag_bytes, node->figures.lag_bytes)
OF_NODE(lag_seconds, node->figures.lag_seconds)
OF_NODE(cpu, node->figures.cpu)
OF_NODE(rss, node->figures.rss)

static double
primary_of_cluster(const struct mon_state *state, w_usec now)
{
	return mon_state_primary_due(state, now) && mon_state_view(state)->primary == NULL;
}

/*
 * Of a degraded state. A cluster in the making is none: it has as long as for its first primary.
 * Not known where no promoter decides.
 */
static double
degraded(const struct mon_state *state, const char *name, bool due)
{
	const struct mon_failover *failover = &mon_state_view(state)->failover;

	return failover->known && due ? strcmp(failover->degraded, name) == 0 : NAN;
}

static double
no_leader_of_cluster(const struct mon_state *state, w_usec now)
{
	return degraded(state, "no-leader", mon_state_leader_due(state, now));
}

#define OF_FAILOVER(id, name)                                                                      \
	static double id##_of_cluster(const struct mon_state *state, w_usec now)                   \
	{                                                                                          \
		return degraded(state, name, mon_state_whole_due(state, now));                     \
	}

OF_FAILOVER(no_quorum, "no-quorum")
OF_FAILOVER(no_spare, "no-spare")
OF_FAILOVER(cohort_differs, "cohort-differs")
OF_FAILOVER(broken_settings, "broken-settings")

static double
paused_of_cluster(const struct mon_state *state, w_usec now W_UNUSED)
{
	const struct mon_failover *failover = &mon_state_view(state)->failover;

	return failover->known ? failover->paused : NAN;
}

/* It is over before anybody could look, so it is told for a while. */
static double
happened_of_cluster(const struct mon_state *state, w_usec now)
{
	w_usec at = mon_state_view(state)->failover.established_at;

	return at != 0 && now - at < MON_FAILOVER_SHOWN;
}

static double
gone_of_node(const struct mon_state *state, const struct mon_node *node, w_usec now)
{
	w_usec grace = W_MAX(mon_state_gone_after(state), MON_NODE_GRACE);

	if (node->reason == MON_R_NEVER_SEEN)
		return now - node->known_since >= grace;
	return node->life == MON_DOWN;
}

/* Who is started again at once is never gone; that it fell is news all the same. */
static double
crashed_of_node(const struct mon_state *state W_UNUSED, const struct mon_node *node, w_usec now)
{
	return node->crashed_at != 0 && now - node->crashed_at < MON_CRASH_SHOWN;
}

static const struct value {
	const char *name;
	double (*of_cluster)(const struct mon_state *state, w_usec now);
	double (*of_node)(const struct mon_state *state, const struct mon_node *node, w_usec now);
} values[] = {
	{ "node_gone", NULL, gone_of_node },
	{ "node_crashed", NULL, crashed_of_node },
	{ "nodes_down", down_of_cluster, NULL },
	{ "no_primary", primary_of_cluster, NULL },
	{ "failover_no_leader", no_leader_of_cluster, NULL },
	{ "failover_no_quorum", no_quorum_of_cluster, NULL },
	{ "failover_no_spare", no_spare_of_cluster, NULL },
	{ "failover_cohort_differs", cohort_differs_of_cluster, NULL },
	{ "failover_broken_settings", broken_settings_of_cluster, NULL },
	{ "failover_paused", paused_of_cluster, NULL },
	{ "failover_happened", happened_of_cluster, NULL },
	{ "lag_bytes", NULL, lag_bytes_of_node },
	{ "lag_seconds", NULL, lag_seconds_of_node },
	{ "requests_per_second", requests_of_cluster, requests_of_node },
	{ "errors_per_second", errors_of_cluster, errors_of_node },
	{ "ratio_5xx", ratio_of_cluster, ratio_of_node },
	{ "p50_seconds", p50_of_cluster, p50_of_node },
	{ "p90_seconds", p90_of_cluster, p90_of_node },
	{ "p99_seconds", p99_of_cluster, p99_of_node },
	{ "cpu_ratio", NULL, cpu_of_node },
	{ "rss_bytes", NULL, rss_of_node },
};

/* A gauge's value, a counter's growth a second, a histogram's 99th percentile in seconds. */
static double
metric_of_node(const struct mon_rule *rule, const struct mon_node *node)
{
	struct w_view name = w_view_of(rule->metric), labels = w_view_of(rule->labels);
	const struct mon_metric *now, *before;
	struct w_hist hist = { 0 };
	double seconds;

	if (node->life == MON_DOWN)
		return NAN;
	now = mon_report_find(node->last, name, labels);
	if (now == NULL)
		return NAN;
	if (now->type == W_GAUGE)
		return now->value;
	before = node->base != NULL ? mon_report_find(node->base, name, labels) : NULL;
	if (before == NULL)
		return NAN;
	if (now->type == W_HISTOGRAM) {
		mon_metric_growth(now, before, &hist);
		return hist.count > 0 ? w_hist_quantile(&hist, 0.99) / W_SEC : NAN;
	}
	seconds = (double)(node->last->arrived - node->base->arrived) / W_SEC;
	return seconds > 0 ? W_MAX(now->value - before->value, 0) / seconds : NAN;
}

static double
value_of(const struct mon_rule *rule, const struct mon_state *state, const struct mon_node *node,
    w_usec now)
{
	if (!rule->per_node)
		return rule->of_cluster(state, now);
	return rule->of_node != NULL ? rule->of_node(state, node, now) : metric_of_node(rule, node);
}

static bool
holds(const struct mon_rule *rule, double value)
{
	double t = rule->threshold;
	const bool answers[MON_COMPARE_COUNT] = { [MON_GT] = value > t,
		[MON_GE] = value >= t,
		[MON_LT] = value < t,
		[MON_LE] = value <= t,
		[MON_EQ] = value == t,
		[MON_NE] = value != t };

	return !isnan(value) && answers[rule->compare];
}

/* ---- making rules ---- */

/* metric:NAME or metric:NAME{labels} */
static int
parse_metric(struct mon_rule *rule, struct w_view text, struct w_fault *fault)
{
	size_t brace = w_view_find(text, '{');
	struct w_view name = w_view_sub(text, 0, brace), labels = W_VIEW("");

	if (brace < text.len && text.ptr[text.len - 1] == '}')
		labels = w_view_sub(text, brace + 1, text.len - brace - 2);
	if (!mon_name_valid(name) || !mon_labels_valid(labels) ||
	    (brace < text.len && text.ptr[text.len - 1] != '}'))
		return w_fail(fault, -W_EINVAL,
		    "alert %s: value '%s': wanted is metric:NAME or metric:NAME{label=\"value\",...}, "
		    "labels as /metrics shows them but for node, role and cluster",
		    rule->name, rule->what);
	rule->per_node = true;
	rule->metric = w_view_dup(name);
	rule->labels = w_view_dup(labels);
	return W_OK;
}

static int
parse_value(struct mon_rule *rule, struct w_fault *fault)
{
	struct w_view text = w_view_of(rule->what);
	bool node = w_view_starts(text, W_VIEW("node:"));

	if (w_view_starts(text, W_VIEW("metric:")))
		return parse_metric(rule, w_view_sub(text, 7, text.len), fault);
	if (node)
		text = w_view_sub(text, 5, text.len);
	for (size_t i = 0; i < W_NELEM(values); i++) {
		if (!w_view_eq(text, w_view_of(values[i].name)))
			continue;
		if (node && values[i].of_node == NULL)
			break;
		rule->per_node = node || values[i].of_cluster == NULL;
		rule->of_cluster = values[i].of_cluster;
		rule->of_node = values[i].of_node;
		return W_OK;
	}
	return w_fail(fault, -W_EINVAL,
	    "alert %s: value '%s' is not known; wanted is one of those in weir-monitor(8), alert values",
	    rule->name, rule->what);
}

struct rule_text {
	const char *name, *what, *compare, *threshold;
	w_usec hold;
	const char *severity;
};

static const struct rule_text defaults[] = {
	{ "node-gone", "node_gone", ">", "0", 0, "critical" },
	{ "node-crashed", "node_crashed", ">", "0", 0, "warning" },
	/* a second, because two agents report a planned switchover up to a second apart */
	{ "no-primary", "no_primary", ">", "0", W_SEC, "critical" },
	/* failovers take less; what lasts longer is no failover */
	{ "failover-no-leader", "failover_no_leader", ">", "0", 3 * W_SEC, "critical" },
	{ "failover-no-quorum", "failover_no_quorum", ">", "0", 3 * W_SEC, "critical" },
	{ "failover-no-spare", "failover_no_spare", ">", "0", 10 * W_SEC, "warning" },
	{ "failover-broken-settings", "failover_broken_settings", ">", "0", 0, "critical" },
	{ "failover-cohort-differs", "failover_cohort_differs", ">", "0", 3 * W_SEC, "warning" },
	{ "failover-happened", "failover_happened", ">", "0", 0, "info" },
	{ "replica-lag", "lag_bytes", ">", "67108864", 5 * W_SEC, "warning" },
	{ "errors-5xx", "ratio_5xx", ">", "0.05", 5 * W_SEC, "critical" },
};

static int
add_rule(struct mon_rules *rules, const struct rule_text *text, struct w_fault *fault)
{
	struct mon_rule *rule = NULL;

	for (unsigned i = 0; i < rules->count && rule == NULL; i++)
		if (strcmp(rules->rules[i].name, text->name) == 0)
			rule = &rules->rules[i];
	if (rule == NULL)
		rule = &rules->rules[rules->count++];
	free(rule->what);
	free(rule->metric);
	free(rule->labels);
	*rule = (struct mon_rule){ .hold = text->hold, .what = w_xstrdup(text->what) };
	snprintf(rule->name, sizeof(rule->name), "%s", text->name);
	snprintf(rule->severity, sizeof(rule->severity), "%s", text->severity);
	/* the cluster file's check saw to both */
	rule->threshold = strtod(text->threshold, NULL);
	for (int i = 0; i < MON_COMPARE_COUNT; i++)
		if (strcmp(text->compare, compare_names[i]) == 0)
			rule->compare = (enum mon_compare)i;
	return parse_value(rule, fault);
}

int
mon_rules_new(const struct w_cluster *cluster, struct mon_rules **ret, struct w_fault *fault)
{
	W_AUTO(mon_rules_free) struct mon_rules *rules = w_xcalloc(1, sizeof(*rules));
	int rc = W_OK;

	rules->rules =
	    w_xcalloc(W_NELEM(defaults) + cluster->alert_count, sizeof(*rules->rules));
	for (size_t i = 0; rc == W_OK && i < W_NELEM(defaults); i++)
		rc = add_rule(rules, &defaults[i], fault);
	for (size_t i = 0; rc == W_OK && i < cluster->alert_count; i++) {
		const struct w_alert *alert = &cluster->alerts[i];
		const struct rule_text text = { alert->name, alert->opt.value, alert->opt.compare,
			alert->opt.threshold, alert->opt.hold, alert->opt.severity };

		rc = add_rule(rules, &text, fault);
	}
	if (rc < 0)
		return rc;
	*ret = w_steal(&rules);
	return W_OK;
}

void
mon_rules_free(struct mon_rules **rules)
{
	struct mon_rules *r = w_steal(rules);

	if (r == NULL)
		return;
	for (unsigned i = 0; i < r->count; i++) {
		free(r->rules[i].what);
		free(r->rules[i].metric);
		free(r->rules[i].labels);
	}
	for (unsigned i = 0; i < r->alert_count; i++)
		free(r->alerts[i]);
	free(r->alerts);
	free(r->rules);
	free(r);
}

void
mon_rules_listen(struct mon_rules *rules, mon_alert_fn *fn, void *arg)
{
	rules->fn = fn;
	rules->arg = arg;
}

/* ---- alerts ---- */

static uint64_t
fingerprint_of(const struct mon_alert *alert)
{
	W_AUTO(w_free) char *text =
	    w_xasprintf("%s\n%s\n%s", alert->cluster, alert->rule, alert->node);

	return w_view_hash(w_view_of(text));
}

static void
add_alert(struct mon_rules *rules, struct mon_alert *alert)
{
	if (rules->alert_count == rules->alert_room) {
		rules->alert_room = W_MAX(16u, rules->alert_room * 2);
		rules->alerts =
		    w_xrealloc(rules->alerts, rules->alert_room * sizeof(*rules->alerts));
	}
	rules->alerts[rules->alert_count++] = alert;
}

static struct mon_alert *
find_alert(const struct mon_rules *rules, const char *rule, const char *node)
{
	for (unsigned i = 0; i < rules->alert_count; i++)
		if (strcmp(rules->alerts[i]->rule, rule) == 0 &&
		    strcmp(rules->alerts[i]->node, node) == 0)
			return rules->alerts[i];
	return NULL;
}

/* What follows from the rule, and changes with a reload. */
static void
dress_alert(struct mon_alert *alert, const struct mon_rule *rule)
{
	snprintf(alert->what, sizeof(alert->what), "%s", rule->what);
	snprintf(alert->severity, sizeof(alert->severity), "%s", rule->severity);
	alert->compare = rule->compare;
	alert->threshold = rule->threshold;
}

static struct mon_alert *
make_alert(struct mon_rules *rules, const struct mon_rule *rule, const struct mon_state *state,
    const struct mon_node *node)
{
	struct mon_alert *alert = w_xcalloc(1, sizeof(*alert));

	snprintf(alert->rule, sizeof(alert->rule), "%s", rule->name);
	snprintf(alert->cluster, sizeof(alert->cluster), "%s", mon_state_cluster(state));
	if (node != NULL) {
		snprintf(alert->node, sizeof(alert->node), "%s", node->name);
		snprintf(alert->role, sizeof(alert->role), "%s", w_role_name(node->role));
	}
	dress_alert(alert, rule);
	alert->fingerprint = fingerprint_of(alert);
	add_alert(rules, alert);
	return alert;
}

/* What a reason is in words. */
static const char *
explain(const char *reason)
{
	static const char *const words[MON_REASON_COUNT] = {
		[MON_R_NEVER_SEEN] = "it never reported",
		[MON_R_STOPPED] = "it was stopped",
		[MON_R_DISCONNECTED] = "its connection broke",
		[MON_R_SILENT] = "it is silent",
	};

	for (int i = MON_R_NEVER_SEEN; i < MON_REASON_COUNT; i++)
		if (strcmp(reason, mon_reason_name((enum mon_reason)i)) == 0)
			return words[i];
	return reason;
}

/* What is 1 while it is so, in words about the cluster; NULL: no such value. */
static const char *
sentence_of(const char *what)
{
	static const char *const words[][2] = {
		{ "no_primary", "no database of cluster %s is primary: writes wait" },
		{ "failover_no_leader", "no database of cluster %s leads: writes wait" },
		{ "failover_no_quorum", "too few standbys of cluster %s acknowledge: commits wait" },
		{ "failover_no_spare",
		    "cluster %s cannot lose one more database without a stop of writes or of failover" },
		{ "failover_cohort_differs",
		    "database agents of cluster %s have different cluster files" },
		{ "failover_broken_settings",
		    "a setting of a PostgreSQL of cluster %s breaks what Weir promises" },
		{ "failover_paused", "failover of cluster %s is paused" },
		{ "failover_happened", "another database of cluster %s leads: a failover" },
	};

	for (size_t i = 0; i < W_NELEM(words); i++)
		if (strcmp(what, words[i][0]) == 0)
			return words[i][1];
	return NULL;
}

/* Put the cluster's name where the sentence says %s. */
static void
say(struct mon_alert *alert, const char *sentence)
{
	int at = (int)(strstr(sentence, "%s") - sentence);

	snprintf(alert->summary, sizeof(alert->summary), "%.*s%s%s", at, sentence, alert->cluster,
	    sentence + at + 2);
}

static void
summarise(struct mon_alert *alert)
{
	const char *sentence = sentence_of(alert->what);

	if (strcmp(alert->what, "node_gone") == 0 && alert->reason != NULL)
		snprintf(alert->summary, sizeof(alert->summary), "%s (%s) is gone: %s", alert->node,
		    alert->role, explain(alert->reason));
	else if (strcmp(alert->what, "node_crashed") == 0)
		snprintf(alert->summary, sizeof(alert->summary),
		    "%s (%s) ended without a word and was started again", alert->node, alert->role);
	else if (sentence != NULL)
		say(alert, sentence);
	else
		snprintf(alert->summary, sizeof(alert->summary), "%s of %s is %g (rule: %s %g)",
		    alert->what, alert->node[0] != '\0' ? alert->node : alert->cluster,
		    alert->value, compare_names[alert->compare], alert->threshold);
}

static void
notify(struct mon_rules *rules, struct mon_alert *alert)
{
	if (rules->fn != NULL)
		rules->fn(rules->arg, alert);
}

static void
resolve(struct mon_rules *rules, struct mon_alert *alert)
{
	alert->phase = MON_RESOLVED;
	alert->ends = w_wall();
	rules->resolved[rules->resolved_count++ % MON_RESOLVED_MAX] = *alert;
	notify(rules, alert);
	alert->phase = MON_INACTIVE;
}

static void
move_alert(struct mon_rules *rules, struct mon_alert *alert, const struct mon_rule *rule,
    w_usec now)
{
	if (!holds(rule, alert->value)) {
		if (alert->phase == MON_FIRING)
			resolve(rules, alert);
		alert->phase = MON_INACTIVE;
		return;
	}
	if (alert->phase == MON_INACTIVE) {
		alert->phase = MON_PENDING;
		alert->since = now;
		alert->starts = w_wall();
		alert->ends = 0;
	}
	summarise(alert);
	if (alert->phase == MON_PENDING && now - alert->since >= rule->hold) {
		alert->phase = MON_FIRING;
		notify(rules, alert);
	}
}

static void
judge_one(struct mon_rules *rules, const struct mon_rule *rule, const struct mon_state *state,
    const struct mon_node *node, w_usec now)
{
	double value = value_of(rule, state, node, now);
	struct mon_alert *alert = find_alert(rules, rule->name, node != NULL ? node->name : "");

	/* Most rules never hold for most nodes: those cost nothing but the look. */
	if (alert == NULL) {
		if (!holds(rule, value))
			return;
		alert = make_alert(rules, rule, state, node);
	}
	alert->value = value;
	if (rule->of_node == gone_of_node && node->life == MON_DOWN)
		alert->reason = mon_reason_name(node->reason);
	move_alert(rules, alert, rule, now);
}

void
mon_rules_judge(struct mon_rules *rules, const struct mon_state *state,
    const struct mon_node *node, w_usec now)
{
	for (unsigned r = 0; r < rules->count; r++) {
		const struct mon_rule *rule = &rules->rules[r];

		if (!rule->per_node) {
			judge_one(rules, rule, state, NULL, now);
			continue;
		}
		for (unsigned i = 0; i < mon_state_count(state); i++) {
			const struct mon_node *each = mon_state_nth(state, i);

			if (node == NULL || node == each)
				judge_one(rules, rule, state, each, now);
		}
	}
}

static const struct mon_rule *
find_rule(const struct mon_rules *rules, const char *name)
{
	for (unsigned i = 0; i < rules->count; i++)
		if (strcmp(rules->rules[i].name, name) == 0)
			return &rules->rules[i];
	return NULL;
}

void
mon_rules_move(struct mon_rules *from, struct mon_rules *to, const struct mon_state *state)
{
	memcpy(to->resolved, from->resolved, sizeof(to->resolved));
	to->resolved_count = from->resolved_count;
	for (unsigned i = 0; i < from->alert_count; i++) {
		struct mon_alert *alert = w_steal(&from->alerts[i]);
		const struct mon_rule *rule = find_rule(to, alert->rule);
		bool there = alert->node[0] == '\0' ||
		             mon_state_find(state, w_view_of(alert->node)) != NULL;

		if (rule != NULL && there && rule->per_node == (alert->node[0] != '\0')) {
			dress_alert(alert, rule);
			add_alert(to, alert);
			continue;
		}
		if (alert->phase == MON_FIRING)
			resolve(to, alert);
		free(alert);
	}
	from->alert_count = 0;
}

/* ---- reading ---- */

unsigned
mon_rules_count(const struct mon_rules *rules)
{
	return rules->count;
}

const struct mon_rule *
mon_rules_nth(const struct mon_rules *rules, unsigned index)
{
	return &rules->rules[index];
}

unsigned
mon_rules_alert_count(const struct mon_rules *rules)
{
	return rules->alert_count;
}

const struct mon_alert *
mon_rules_alert(const struct mon_rules *rules, unsigned index)
{
	return rules->alerts[index];
}

unsigned
mon_rules_in_phase(const struct mon_rules *rules, enum mon_phase phase)
{
	unsigned count = 0;

	for (unsigned i = 0; i < rules->alert_count; i++)
		count += rules->alerts[i]->phase == phase;
	return count;
}

const struct mon_alert *
mon_rules_resolved(const struct mon_rules *rules, unsigned index)
{
	if (index >= MON_RESOLVED_MAX || index >= rules->resolved_count)
		return NULL;
	return &rules->resolved[(rules->resolved_count - 1 - index) % MON_RESOLVED_MAX];
}
