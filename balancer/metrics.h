/*
 * The balancer's metrics. Names that begin with weir_http_ are those of the server role, too.
 */
#ifndef WEIR_BALANCER_METRICS_H
#define WEIR_BALANCER_METRICS_H

#include "common/metrics.h"

/* clang-format off */
#define BAL_METRICS(X)                                                                                  \
	X(BAL_M_1XX, COUNTER, "weir_http_requests_total", "code=\"1xx\"", "Requests answered, by class of status code.") \
	X(BAL_M_2XX, COUNTER, "weir_http_requests_total", "code=\"2xx\"", "Requests answered, by class of status code.") \
	X(BAL_M_3XX, COUNTER, "weir_http_requests_total", "code=\"3xx\"", "Requests answered, by class of status code.") \
	X(BAL_M_4XX, COUNTER, "weir_http_requests_total", "code=\"4xx\"", "Requests answered, by class of status code.") \
	X(BAL_M_5XX, COUNTER, "weir_http_requests_total", "code=\"5xx\"", "Requests answered, by class of status code.") \
	X(BAL_M_DURATION, HISTOGRAM, "weir_http_request_duration_seconds", "", "From the end of a request's header to the end of its response.") \
	X(BAL_M_IN_FLIGHT, GAUGE, "weir_http_requests_in_flight", "", "Requests that have begun and are not answered.") \
	X(BAL_M_OPEN_CLEAR, GAUGE, "weir_http_connections", "scheme=\"http\"", "Client connections open.") \
	X(BAL_M_OPEN_TLS, GAUGE, "weir_http_connections", "scheme=\"https\"", "Client connections open.") \
	X(BAL_M_ACCEPTED_CLEAR, COUNTER, "weir_http_connections_accepted_total", "scheme=\"http\"", "Client connections accepted.") \
	X(BAL_M_ACCEPTED_TLS, COUNTER, "weir_http_connections_accepted_total", "scheme=\"https\"", "Client connections accepted.") \
	X(BAL_M_REFUSED_LIMIT, COUNTER, "weir_http_connections_refused_total", "reason=\"limit\"", "Client connections closed at once.") \
	X(BAL_M_REFUSED_FILES, COUNTER, "weir_http_connections_refused_total", "reason=\"descriptors\"", "Client connections closed at once.") \
	X(BAL_M_IN, COUNTER, "weir_http_received_bytes_total", "", "Bytes of HTTP received from clients.") \
	X(BAL_M_OUT, COUNTER, "weir_http_sent_bytes_total", "", "Bytes of HTTP sent to clients.") \
	X(BAL_M_TLS_FULL, COUNTER, "weir_tls_handshakes_total", "result=\"full\"", "TLS handshakes ended.") \
	X(BAL_M_TLS_RESUMED, COUNTER, "weir_tls_handshakes_total", "result=\"resumed\"", "TLS handshakes ended.") \
	X(BAL_M_TLS_FAILED, COUNTER, "weir_tls_handshakes_total", "result=\"failed\"", "TLS handshakes ended.") \
	X(BAL_M_SLOW_HANDSHAKE, COUNTER, "weir_http_timeouts_total", "kind=\"handshake\"", "Deadlines that passed.") \
	X(BAL_M_SLOW_HEADER, COUNTER, "weir_http_timeouts_total", "kind=\"header\"", "Deadlines that passed.") \
	X(BAL_M_SLOW_BODY, COUNTER, "weir_http_timeouts_total", "kind=\"body\"", "Deadlines that passed.") \
	X(BAL_M_SLOW_IDLE, COUNTER, "weir_http_timeouts_total", "kind=\"idle\"", "Deadlines that passed.") \
	X(BAL_M_SLOW_WRITE, COUNTER, "weir_http_timeouts_total", "kind=\"write\"", "Deadlines that passed.") \
	X(BAL_M_SLOW_QUEUE, COUNTER, "weir_http_timeouts_total", "kind=\"queue\"", "Deadlines that passed.") \
	X(BAL_M_SLOW_REQUEST, COUNTER, "weir_http_timeouts_total", "kind=\"request\"", "Deadlines that passed.") \
	X(BAL_M_GONE, COUNTER, "weir_http_requests_abandoned_total", "", "Requests whose client went away before the answer was complete.") \
	X(BAL_M_QUEUE_WAIT, HISTOGRAM, "weir_balancer_queue_wait_seconds", "", "Time that requests waited for a server with credit.") \
	X(BAL_M_QUEUED, GAUGE, "weir_balancer_queued_requests", "", "Requests that wait for a server with credit.") \
	X(BAL_M_RETRY_LOST, COUNTER, "weir_balancer_retries_total", "reason=\"lost\"", "Requests sent again to another server.") \
	X(BAL_M_RETRY_REFUSED, COUNTER, "weir_balancer_retries_total", "reason=\"refused\"", "Requests sent again to another server.") \
	X(BAL_M_RETRY_ERROR, COUNTER, "weir_balancer_retries_total", "reason=\"error\"", "Requests sent again to another server.") \
	X(BAL_M_TRIES_USED, COUNTER, "weir_balancer_retry_limit_total", "", "Requests not sent again because they had been sent too often.") \
	X(BAL_M_IN_DOUBT, COUNTER, "weir_balancer_in_doubt_total", "", "Requests failed though a lost server may have done what they asked for.") \
	X(BAL_M_BUDGET_EMPTY, COUNTER, "weir_balancer_retry_budget_exhausted_total", "", "Requests not sent again because the retry budget was used up.") \
	X(BAL_M_FAILED_LOST, COUNTER, "weir_balancer_failures_total", "cause=\"lost\"", "Requests that the balancer itself had to fail.") \
	X(BAL_M_FAILED_BUSY, COUNTER, "weir_balancer_failures_total", "cause=\"busy\"", "Requests that the balancer itself had to fail.") \
	X(BAL_M_FAILED_DOWN, COUNTER, "weir_balancer_failures_total", "cause=\"down\"", "Requests that the balancer itself had to fail.") \
	X(BAL_M_FAILED_TIMEOUT, COUNTER, "weir_balancer_failures_total", "cause=\"timeout\"", "Requests that the balancer itself had to fail.") \
	X(BAL_M_FAILED_OTHER, COUNTER, "weir_balancer_failures_total", "cause=\"other\"", "Requests that the balancer itself had to fail.") \
	X(BAL_M_SERVERS, GAUGE_MAX, "weir_balancer_servers", "", "Server nodes connected to a worker, the most of all workers.")
/* clang-format on */

enum bal_metric { BAL_METRICS(W_METRIC_ENUM) BAL_METRIC_COUNT };

/* Register the list and a counter per kind of parse error; *ret_parse is the base of the latter. */
unsigned bal_metrics_add(struct w_metrics *metrics, unsigned *ret_parse);

#endif
