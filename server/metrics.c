/* The room's metrics. See metrics.h. */
#include "server/metrics.h"

static const struct w_metric table[] = { SRV_METRICS(W_METRIC_DEF) };

static const struct w_metric per_route = { W_COUNTER, "weir_http_route_requests_total", "",
	"Requests answered, by route." };

void
srv__metrics_add(struct w_metrics *metrics, const struct srv_router *router,
    struct srv_metric_ids *ret)
{
	unsigned count = srv__router_count(router);
	const char **names = w_xcalloc(count + 1, sizeof(*names));

	ret->own = w_metrics_add(metrics, table, W_NELEM(table));
	for (unsigned i = 0; i < count; i++)
		names[i] = srv__router_nth(router, i)->name;
	if (count > 0)
		ret->routes = w_metrics_add_each(metrics, &per_route, "route", names, count);
	free(names);
}
