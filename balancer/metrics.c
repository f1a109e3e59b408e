/*
 * Registration of the balancer's metrics: the lists are in metrics.h and h1_check.h.
 */
#include "balancer/metrics.h"
#include "balancer/h1_check.h"

static const struct w_metric table[] = { BAL_METRICS(W_METRIC_DEF) };

unsigned
bal_metrics_add(struct w_metrics *metrics, unsigned *ret_parse)
{
	static const struct w_metric parse = { W_COUNTER, "weir_http_parse_errors_total", "",
		"Requests refused by the parser, by reason." };
	const char *kinds[BAL_H1_ERROR_COUNT];
	unsigned base = w_metrics_add(metrics, table, W_NELEM(table));

	for (unsigned i = 0; i < BAL_H1_ERROR_COUNT; i++)
		kinds[i] = bal_h1_error_info((enum bal_h1_error)i)->kind;
	*ret_parse = w_metrics_add_each(metrics, &parse, "kind", kinds, BAL_H1_ERROR_COUNT);
	return base;
}
