/*
 * The monitor's own metrics. They travel like everybody's: in a report to itself.
 */
#ifndef WEIR_MONITOR_METRICS_H
#define WEIR_MONITOR_METRICS_H

#include "common/metrics.h"

/* clang-format off */
#define MON_METRICS(X)                                                                              \
	X(MON_M_ACCEPTED, COUNTER, "weir_monitor_reports_total", "result=\"accepted\"", "Reports received.") \
	X(MON_M_GARBAGE,  COUNTER, "weir_monitor_reports_total", "result=\"garbage\"", "Reports received.") \
	X(MON_M_UNKNOWN,  COUNTER, "weir_monitor_reports_total", "result=\"unknown\"", "Reports received.") \
	X(MON_M_FORGED,   COUNTER, "weir_monitor_reports_total", "result=\"forged\"", "Reports received.") \
	X(MON_M_OLD,      COUNTER, "weir_monitor_reports_total", "result=\"old\"", "Reports received.") \
	X(MON_M_SKIPPED,  COUNTER, "weir_monitor_metrics_skipped_total", "", "Metrics of reports that were malformed, repeated or too many.") \
	X(MON_M_SENT,     COUNTER, "weir_monitor_feed_messages_total", "", "Messages sent to the feed.") \
	X(MON_M_PEERS,    GAUGE,   "weir_monitor_feed_connections", "", "Connections to the feed.") \
	X(MON_M_HTTP,     COUNTER, "weir_monitor_http_requests_total", "", "HTTP requests answered by the monitor.") \
	X(MON_M_HOOKED,   COUNTER, "weir_monitor_webhook_alerts_total", "result=\"sent\"", "Alerts for webhooks, counted per URL.") \
	X(MON_M_UNHOOKED, COUNTER, "weir_monitor_webhook_alerts_total", "result=\"failed\"", "Alerts for webhooks, counted per URL.") \
	X(MON_M_DROPPED,  COUNTER, "weir_monitor_webhook_alerts_total", "result=\"dropped\"", "Alerts for webhooks, counted per URL.") \
	X(MON_M_FIRING,   GAUGE,   "weir_monitor_alerts", "state=\"firing\"", "Alerts now.") \
	X(MON_M_PENDING,  GAUGE,   "weir_monitor_alerts", "state=\"pending\"", "Alerts now.") \
	X(MON_M_UP,       GAUGE,   "weir_monitor_nodes_up", "", "Nodes of the cluster file that are up.") \
	X(MON_M_NODES,    GAUGE,   "weir_monitor_nodes", "", "Nodes of the cluster file.") \
	X(MON_M_TOLD,     COUNTER, "weir_failover_messages_total", "result=\"accepted\"", "Messages of database agents and operators.") \
	X(MON_M_BABBLE,   COUNTER, "weir_failover_messages_total", "result=\"garbage\"", "Messages of database agents and operators.") \
	X(MON_M_IMPOSTOR, COUNTER, "weir_failover_messages_total", "result=\"forged\"", "Messages of database agents and operators.") \
	X(MON_M_ORDERS,   COUNTER, "weir_failover_orders_total", "result=\"sent\"", "Orders of the promoter to database agents.") \
	X(MON_M_UNSENT,   COUNTER, "weir_failover_orders_total", "result=\"unsent\"", "Orders of the promoter to database agents.") \
	X(MON_M_TERM,     GAUGE,   "weir_failover_term", "", "Term of the leader, or of the election.") \
	X(MON_M_LEADS,    GAUGE,   "weir_failover_has_leader", "", "Whether a database leads.") \
	X(MON_M_PAUSED,   GAUGE,   "weir_failover_paused", "", "Whether failover is paused.") \
	X(MON_M_SPARE,    GAUGE,   "weir_failover_spare", "", "Whether one more database may be lost.") \
	X(MON_M_FRESH,    GAUGE,   "weir_failover_agents_fresh", "", "Database agents heard of within a second.") \
	X(MON_M_COHORT,   GAUGE,   "weir_failover_agents", "", "Database agents of the cluster file.") \
	X(MON_M_NEEDED,   GAUGE,   "weir_failover_agents_needed", "", "Database agents that an election needs.") \
	X(MON_M_NOLEADER, GAUGE,   "weir_failover_degraded", "state=\"no-leader\"", "Degraded states.") \
	X(MON_M_NOQUORUM, GAUGE,   "weir_failover_degraded", "state=\"no-quorum\"", "Degraded states.") \
	X(MON_M_NOSPARE,  GAUGE,   "weir_failover_degraded", "state=\"no-spare\"", "Degraded states.") \
	X(MON_M_DIFFERS,  GAUGE,   "weir_failover_degraded", "state=\"cohort-differs\"", "Degraded states.") \
	X(MON_M_BROKEN,   GAUGE,   "weir_failover_degraded", "state=\"broken-settings\"", "Degraded states.") \
	X(MON_M_ELECTED,  COUNTER, "weir_failover_elections_total", "", "Elections that ended with a leader.") \
	X(MON_M_SWITCHED, COUNTER, "weir_failover_switchovers_total", "", "Switchovers that were done.") \
	X(MON_M_FAILED,   COUNTER, "weir_failover_failures_total", "", "Elections and switchovers that were given up.") \
	X(MON_M_GAP,      GAUGE,   "weir_failover_last_gap_seconds", "", "From the suspicion, or the wish for a switchover, to the new leader's first acknowledged commit; of the last one.")
/* clang-format on */

enum mon_metric_id { MON_METRICS(W_METRIC_ENUM) MON_METRIC_COUNT };

#endif
