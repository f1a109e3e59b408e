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
	X(MON_M_NODES,    GAUGE,   "weir_monitor_nodes", "", "Nodes of the cluster file.")
/* clang-format on */

enum mon_metric_id { MON_METRICS(W_METRIC_ENUM) MON_METRIC_COUNT };

#endif
