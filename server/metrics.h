/*
 * The room's metrics. Each worker writes its own slots.
 */
#ifndef WEIR_SERVER_METRICS_H
#define WEIR_SERVER_METRICS_H

#include "common/metrics.h"
#include "server/route.h"

/* clang-format off */
#define SRV_METRICS(X)                                                                              \
	X(SRV_CODE_1XX, COUNTER, "weir_http_requests_total", "code=\"1xx\"", "Requests answered, by class of status.") \
	X(SRV_CODE_2XX, COUNTER, "weir_http_requests_total", "code=\"2xx\"", "Requests answered, by class of status.") \
	X(SRV_CODE_3XX, COUNTER, "weir_http_requests_total", "code=\"3xx\"", "Requests answered, by class of status.") \
	X(SRV_CODE_4XX, COUNTER, "weir_http_requests_total", "code=\"4xx\"", "Requests answered, by class of status.") \
	X(SRV_CODE_5XX, COUNTER, "weir_http_requests_total", "code=\"5xx\"", "Requests answered, by class of status.") \
	X(SRV_DURATION, HISTOGRAM, "weir_http_request_duration_seconds", "", "From a request's arrival to the end of its handler.") \
	X(SRV_HANDLER, HISTOGRAM, "weir_handler_duration_seconds", "", "Time in handlers, waits included.") \
	X(SRV_DATABASE, HISTOGRAM, "weir_request_database_seconds", "", "Time that a request waited for the database, of those that did.") \
	X(SRV_IN_FLIGHT, GAUGE, "weir_requests_in_flight", "", "Requests in service.") \
	X(SRV_REFUSED, COUNTER, "weir_requests_refused_total", "", "Requests refused because all capacity was in use.") \
	X(SRV_DOUBT, COUNTER, "weir_requests_in_doubt_refused_total", "", "Requests that a lost server may have done, and that were not done again.") \
	X(SRV_GONE, COUNTER, "weir_requests_gone_total", "", "Requests whose client or balancer went away before the answer.") \
	X(SRV_CUT, COUNTER, "weir_responses_cut_total", "", "Streamed answers that could not be ended.") \
	X(SRV_CONNECTIONS, GAUGE, "weir_http_connections", "", "Direct HTTP connections open.") \
	X(SRV_BALANCERS, GAUGE, "weir_server_balancers", "", "Balancer workers that this server is linked to.") \
	X(SRV_FIBERS, GAUGE, "weir_fibers_running", "", "Fibers started and not done.") \
	X(SRV_FIBERS_POOLED, GAUGE, "weir_fibers_pooled", "", "Fiber stacks kept for reuse.") \
	X(SRV_STACK, GAUGE_MAX, "weir_fiber_stack_high_water_bytes", "", "Deepest use of a fiber's stack so far.")
/* clang-format on */

enum srv_metric { SRV_METRICS(W_METRIC_ENUM) SRV_METRIC_COUNT };

/* Where the registry put them. */
struct srv_metric_ids {
	unsigned own;    /* + enum srv_metric */
	unsigned routes; /* + route->index: weir_http_route_requests_total */
	unsigned link, database;
};

void srv__metrics_add(struct w_metrics *metrics, const struct srv_router *router,
    struct srv_metric_ids *ret);

#endif
