/*
 * The role: what happens when a report comes, when a quarter of a second is over, and when a
 * second is.
 *
 *	report    parse, take, judge its node and the cluster, tell the feed
 *	250 ms    who is silent? judge everything
 *	second    history, the feed's cluster message and those of silent nodes
 *
 * All of it on the control thread.
 */
#include <stdio.h>

#include "common/log.h"
#include "monitor/inner.h"
#include "monitor/show.h"

#define TICK (250 * W_MSEC)

static const struct w_metric metrics_table[] = { MON_METRICS(W_METRIC_DEF) };

static void
count(struct mon *mon, enum mon_metric_id id, uint64_t n)
{
	w_meter_add(mon->node->meter, mon->metrics + id, n);
}

/* ---- to the feed ---- */

void
mon_publish_node(struct mon *mon, struct mon_node *node, w_usec now)
{
	struct w_json *json = mon_feed_begin(mon->feed, "node", node->name);

	node->published = now;
	if (json == NULL)
		return;
	w_json_key(json, "node");
	mon_show_node(json, mon->state, node, now);
	mon_feed_send(mon->feed);
}

void
mon_publish_cluster(struct mon *mon)
{
	struct w_json *json = mon_feed_begin(mon->feed, "cluster", NULL);

	if (json == NULL)
		return;
	w_json_key(json, "cluster");
	mon_show_cluster(json, mon->state, mon->rules);
	mon_feed_send(mon->feed);
}

static void
publish_snapshot(void *arg)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);
	struct w_json *json = mon_feed_begin(mon->feed, "snapshot", NULL);

	if (json == NULL)
		return;
	mon_api_snapshot(mon, json);
	mon_feed_send(mon->feed);
}

/* ---- what state and rules tell ---- */

static void
on_event(void *arg, const struct mon_event *event)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);
	struct w_json *json;

	w_log(W_INFO, "", event->event, "node=%s from=%s to=%s reason=%s", event->node->name,
	    event->from != NULL ? event->from : "-", event->to != NULL ? event->to : "-",
	    event->reason != NULL ? event->reason : "-");
	json = mon_feed_begin(mon->feed, "event", NULL);
	if (json == NULL)
		return;
	w_json_key(json, "event");
	mon_show_event(json, event);
	mon_feed_send(mon->feed);
	/* whoever shows nodes learns it from the node's own topic */
	if (strcmp(event->event, "node-state") == 0)
		mon_publish_node(mon, mon_state_find(mon->state, w_view_of(event->node->name)),
		    w_now());
}

static void
on_alert(void *arg, const struct mon_alert *alert)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);
	struct w_json *json;
	char quoted[700];

	w_log(alert->phase == MON_FIRING ? W_WARN : W_INFO, "",
	    alert->phase == MON_FIRING ? "alert-firing" : "alert-resolved",
	    "rule=%s node=%s severity=%s summary=%s", alert->rule,
	    alert->node[0] != '\0' ? alert->node : "-", alert->severity,
	    w_log_quote(w_view_of(alert->summary), quoted, sizeof(quoted)));
	mon_webhook_put(mon->webhook, alert);
	json = mon_feed_begin(mon->feed, "alert", alert->rule);
	if (json == NULL)
		return;
	w_json_key(json, "alert");
	mon_show_alert(json, alert);
	mon_feed_send(mon->feed);
}

/* ---- reports ---- */

void
mon_refuse(struct mon *mon, enum mon_metric_id why, const char *user, const char *text)
{
	static const char *const events[] = { [MON_M_GARBAGE] = "report-garbage",
		[MON_M_UNKNOWN] = "report-of-unknown-node",
		[MON_M_FORGED] = "report-forged",
		[MON_M_BABBLE] = "control-garbage",
		[MON_M_IMPOSTOR] = "control-forged" };
	w_usec now = w_now();
	char quoted[600], name[100];

	count(mon, why, 1);
	if (mon->logged != 0 && now - mon->logged < W_SEC) {
		mon->unlogged++;
		return;
	}
	w_log(W_WARN, "", events[why], "from=%s why=%s unlogged=%llu",
	    w_log_quote(w_view_of(user != NULL ? user : "-"), name, sizeof(name)),
	    w_log_quote(w_view_of(text), quoted, sizeof(quoted)),
	    (unsigned long long)mon->unlogged);
	mon->logged = now;
	mon->unlogged = 0;
}

static void
take_report(struct mon *mon, struct mon_report **report, const struct mon_message *message)
{
	struct mon_node *node = NULL;
	unsigned skipped = (*report)->skipped;
	w_usec now = w_now();
	int rc;

	rc = mon_state_take(mon->state, report, message->fd, now, &node);
	if (rc == -W_EAGAIN) {
		count(mon, MON_M_OLD, 1);
		return;
	}
	if (rc < 0) {
		mon_refuse(mon, MON_M_UNKNOWN, message->user,
		    rc == -W_ENOTFOUND ? "no such node in the cluster file"
		                       : "the cluster file gives this node another role");
		return;
	}
	count(mon, MON_M_ACCEPTED, 1);
	count(mon, MON_M_SKIPPED, skipped);
	mon_rules_judge(mon->rules, mon->state, node, now);
	mon_publish_node(mon, node, now);
	if (mon->promote != NULL && node->role == W_SERVER)
		mon_promote_witness(mon->promote, node->last);
}

static void
on_message(void *arg, const struct mon_message *message)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);
	W_AUTO(mon_report_free) struct mon_report *report = NULL;
	struct w_fault fault = { 0 };

	if (mon_report_parse(message->json, &report, &fault) < 0) {
		mon_refuse(mon, MON_M_GARBAGE, message->user, fault.text);
		return;
	}
	/* Without a name of its key's owner nothing says whose report it is. */
	if (message->user == NULL || strcmp(message->user, report->node) != 0) {
		mon_refuse(mon, MON_M_FORGED, message->user, report->node);
		return;
	}
	take_report(mon, &report, message);
}

static void
on_malformed(void *arg)
{
	mon_refuse(w_typed(arg, MON_MAGIC), MON_M_GARBAGE, NULL, "wanted are two frames");
}

static void
on_disconnected(void *arg, int fd)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);

	mon_state_disconnected(mon->state, fd, w_now());
}

/* ---- time ---- */

static void
end_second(struct mon *mon, w_usec now)
{
	mon_state_second(mon->state, w_wall());
	mon_publish_cluster(mon);
	for (unsigned i = 0; i < mon_state_count(mon->state); i++) {
		struct mon_node *node = mon_state_nth(mon->state, i);

		/* a little more than a second, or reports that come late would be doubled */
		if (now - node->published >= W_SEC + TICK)
			mon_publish_node(mon, node, now);
	}
}

static void
on_tick(void *arg)
{
	struct mon *mon = w_typed(arg, MON_MAGIC);
	w_usec now = w_now();

	mon_state_watch(mon->state, now);
	mon_rules_judge(mon->rules, mon->state, NULL, now);
	if (now < mon->second)
		return;
	end_second(mon, now);
	while (mon->second <= now)
		mon->second += W_SEC;
}

/* ---- the role's callbacks ---- */

static int
start_webhooks(struct mon *mon, struct mon_webhook **ret, struct w_fault *fault)
{
	const struct w_monitor_options *opt = &mon->node->self->opt.monitor;
	W_AUTO(w_free) char *page = w_xasprintf("http://%s/", opt->http);
	int rc;

	if (opt->webhooks.count == 0) {
		mon->urls = &opt->webhooks;
		return W_OK;
	}
	rc = mon_webhook_start(&opt->webhooks, opt->http[0] != '\0' ? page : "", ret, fault);
	if (rc == W_OK)
		mon->urls = &opt->webhooks;
	return rc;
}

static int
open_sockets(struct mon *mon, struct w_fault *fault)
{
	const struct w_monitor_options *opt = &mon->node->self->opt.monitor;
	const struct mon_collect_ops ops = { .message = on_message,
		.malformed = on_malformed,
		.disconnected = on_disconnected,
		.arg = mon };
	int rc;

	rc = mon_feed_open(mon->node, publish_snapshot, mon, &mon->feed, fault);
	if (rc == W_OK && opt->collect[0] != '\0')
		rc = mon_collect_open(mon->node, &ops, &mon->collect, fault);
	if (rc == W_OK && opt->control[0] != '\0')
		rc = mon_failover_open(mon, fault);
	if (rc == W_OK && opt->http[0] != '\0')
		rc = mon_http_open(mon, &mon->http, fault);
	return rc;
}

static void
close_all(struct mon *mon)
{
	w_timer_fini(&mon->timer);
	mon_http_close(&mon->http);
	mon_promote_close(&mon->promote);
	mon_collect_close(&mon->collect);
	mon_webhook_stop(&mon->webhook);
	mon_feed_close(&mon->feed);
	mon_rules_free(&mon->rules);
	mon_state_free(&mon->state);
	free(mon);
}

static int
prepare_mon(struct mon *mon, struct w_fault *fault)
{
	const struct w_monitor_options *opt = &mon->node->self->opt.monitor;
	int rc;

	mon->state = mon_state_new(mon->node->cluster, opt->gone_after, w_now());
	mon_state_listen(mon->state, on_event, mon);
	rc = mon_rules_new(mon->node->cluster, &mon->rules, fault);
	if (rc < 0)
		return rc;
	mon_rules_listen(mon->rules, on_alert, mon);
	rc = start_webhooks(mon, &mon->webhook, fault);
	if (rc == W_OK)
		rc = open_sockets(mon, fault);
	return rc;
}

static int
mon_prepare(struct w_node *node, struct w_fault *fault)
{
	struct mon *mon = w_xcalloc(1, sizeof(*mon));
	int rc;

	mon->magic = MON_MAGIC;
	mon->node = node;
	mon->cluster = node->cluster;
	mon->metrics = w_metrics_add(node->metrics, metrics_table, MON_METRIC_COUNT);
	rc = prepare_mon(mon, fault);
	if (rc < 0) {
		close_all(mon);
		return rc;
	}
	mon->second = w_now() + W_SEC;
	mon->timer.fire = on_tick;
	mon->timer.arg = mon;
	w_timer_start(&node->loop, &mon->timer, TICK, TICK);
	node->role = mon;
	return W_OK;
}

static void
mon_tick(struct w_node *node)
{
	struct mon *mon = w_typed(node->role, MON_MAGIC);
	const struct mon_cluster *view = mon_state_view(mon->state);
	struct mon_webhook_counts hooked;
	const struct mon_webhook_counts *before = &mon->hooked_before;

	mon_webhook_count(mon->webhook, &hooked);
	const struct {
		enum mon_metric_id id;
		uint64_t value;
	} table[] = {
		{ MON_M_SENT, mon_feed_sent(mon->feed) },
		{ MON_M_PEERS, mon_feed_connections(mon->feed) },
		{ MON_M_HOOKED, before->sent + hooked.sent },
		{ MON_M_UNHOOKED, before->failed + hooked.failed },
		{ MON_M_DROPPED, before->dropped + hooked.dropped },
		{ MON_M_FIRING, mon_rules_in_phase(mon->rules, MON_FIRING) },
		{ MON_M_PENDING, mon_rules_in_phase(mon->rules, MON_PENDING) },
		{ MON_M_UP, view->up },
		{ MON_M_NODES, view->nodes },
	};

	for (size_t i = 0; i < W_NELEM(table); i++)
		w_meter_set(node->meter, mon->metrics + table[i].id, (int64_t)table[i].value);
	if (mon->promote != NULL)
		mon_failover_count(mon);
}

static bool
same_strings(const struct w_strings *a, const struct w_strings *b)
{
	for (size_t i = 0; a->count == b->count && i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return a->count == b->count;
}

/* Others only when the list is another one: what waits in the old one's queues is given up. */
static int
reload_webhooks(struct mon *mon, struct w_fault *fault)
{
	struct mon_webhook *webhook = NULL;
	struct mon_webhook_counts hooked;
	int rc;

	if (same_strings(mon->urls, &mon->node->self->opt.monitor.webhooks))
		return W_OK;
	rc = start_webhooks(mon, &webhook, fault);
	if (rc < 0)
		return rc;
	mon_webhook_count(mon->webhook, &hooked);
	mon->hooked_before.sent += hooked.sent;
	mon->hooked_before.failed += hooked.failed;
	mon->hooked_before.dropped += hooked.dropped;
	mon_webhook_stop(&mon->webhook);
	mon->webhook = webhook;
	return W_OK;
}

/* The promoter first: it can be given the old file again, the webhooks' queues cannot come back. */
static int
reload_fallible(struct mon *mon, struct w_fault *fault)
{
	const struct w_cluster *before = mon->cluster;
	int rc = W_OK;

	if (mon->promote != NULL)
		rc = mon_promote_reload(mon->promote, mon->node->cluster, fault);
	if (rc < 0)
		return rc;
	rc = reload_webhooks(mon, fault);
	if (rc < 0 && mon->promote != NULL)
		mon_promote_reload(mon->promote, before, NULL);
	else if (rc == W_OK)
		mon->cluster = mon->node->cluster;
	return rc;
}

/* All that can fail comes first; after it nothing is half reloaded. */
static int
mon_reload(struct w_node *node, struct w_fault *fault)
{
	struct mon *mon = w_typed(node->role, MON_MAGIC);
	W_AUTO(mon_rules_free) struct mon_rules *rules = NULL;
	int rc;

	rc = mon_rules_new(node->cluster, &rules, fault);
	if (rc == W_OK)
		rc = reload_fallible(mon, fault);
	if (rc < 0)
		return rc;

	mon_rules_listen(rules, on_alert, mon);
	mon_state_reload(mon->state, node->cluster, node->self->opt.monitor.gone_after, w_now());
	mon_rules_move(mon->rules, rules, mon->state);
	mon_rules_free(&mon->rules);
	mon->rules = w_steal(&rules);
	return W_OK;
}

static void
mon_finish(struct w_node *node)
{
	close_all(w_typed(node->role, MON_MAGIC));
	node->role = NULL;
}

const struct w_role_ops mon_role = {
	.role = W_MONITOR,
	.urgent = true,
	.program = "weir-monitor",
	.summary = "The monitor of a Weir cluster: reports in; feed, alerts, page and metrics out.",
	.prepare = mon_prepare,
	.tick = mon_tick,
	.reload = mon_reload,
	.finish = mon_finish,
};
