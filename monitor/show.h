/*
 * What the monitor knows as JSON and as text: one writer for the feed, HTTP and webhooks, so that
 * all of them say the same.
 * Source: docs/protocol/02-feed.md, section 5
 */
#ifndef WEIR_MONITOR_SHOW_H
#define WEIR_MONITOR_SHOW_H

#include "common/buf.h"
#include "monitor/rules.h"

/* Each writes one object as a value. */
void mon_show_node(struct w_json *json, const struct mon_state *state, const struct mon_node *node,
    w_usec now);
void mon_show_cluster(struct w_json *json, const struct mon_state *state,
    const struct mon_rules *rules);
void mon_show_alert(struct w_json *json, const struct mon_alert *alert);
void mon_show_event(struct w_json *json, const struct mon_event *event);
/* Null where no promoter works. */
void mon_show_failover(struct w_json *json, const struct mon_failover *failover);
void mon_show_move(struct w_json *json, const struct mon_moved *moved);

/* Each writes a list as a value: of all nodes; of alerts that are pending or firing. */
void mon_show_nodes(struct w_json *json, const struct mon_state *state, w_usec now);
void mon_show_alerts(struct w_json *json, const struct mon_rules *rules);
/* Those resolved of late, and the rules. */
void mon_show_resolved(struct w_json *json, const struct mon_rules *rules);
void mon_show_rules(struct w_json *json, const struct mon_rules *rules);

/* One alert as Alertmanager's webhook shows it (an element of "alerts"). */
void mon_show_webhook_alert(struct w_json *json, const struct mon_alert *alert);

/* Everything in the exposition format 0.0.4. */
void mon_show_metrics(struct w_buf *out, const struct mon_state *state,
    const struct mon_rules *rules);

#endif
