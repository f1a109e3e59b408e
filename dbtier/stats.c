/* Registering the tier's metrics, and the ones that the control thread keeps. */
#include "dbtier/stats.h"

#include "dbtier/dbtier.h"

static const struct w_metric metrics_table[] = { DBT_METRICS(W_METRIC_DEF) };
static const struct w_metric node_table[] = { DBT_NODE_METRICS(W_METRIC_DEF) };

static const struct w_metric statement_metric = { W_HISTOGRAM,
	"weir_db_statement_duration_seconds", "", "Time that a node took for a statement, by its name." };

unsigned
dbt_metrics(struct w_metrics *metrics, const struct w_cluster *cluster)
{
	unsigned nodes = (unsigned)W_MIN(w_cluster_count(cluster, W_DATABASE), DBT_NODES_MAX);
	const char *names[DBT_NODES_MAX];
	unsigned base, at;

	for (unsigned i = 0; i < nodes; i++)
		names[i] = w_cluster_nth(cluster, W_DATABASE, i)->name;
	base = w_metrics_add(metrics, metrics_table, DBT_METRIC_COUNT);
	for (unsigned i = 0; i < DBT_NODE_METRIC_COUNT; i++) {
		at = w_metrics_add_each(metrics, &node_table[i], "database", names, nodes);

		W_ASSERT(at == base + dbt__node_metric(i, nodes, 0));
	}
	at = w_metrics_add_later(metrics, &statement_metric, DBT_STATEMENTS_MAX);
	W_ASSERT(at == base + dbt__statement_metric(nodes));
	return base;
}

void
dbt_tick(struct dbt *dbt, struct w_meter *meter, unsigned metrics)
{
	const struct dbt_topology *topology = dbt_topology_get(dbt);
	unsigned count = topology->count;
	w_usec now = w_now();

	for (unsigned i = 0; i < count; i++) {
		const struct dbt_node *node = &topology->nodes[i];
		w_usec silent = node->seen > 0 ? (now - node->seen) / W_SEC : 0;

		w_meter_set(meter, metrics + dbt__node_metric(DBT_NODE_ROLE, count, i), node->role);
		w_meter_set(meter, metrics + dbt__node_metric(DBT_NODE_FIT, count, i), node->fit);
		w_meter_set(meter, metrics + dbt__node_metric(DBT_NODE_GATED, count, i), node->gated);
		w_meter_set(meter, metrics + dbt__node_metric(DBT_NODE_LAG, count, i),
		    (int64_t)node->lag);
		w_meter_set(meter, metrics + dbt__node_metric(DBT_NODE_SILENT, count, i), silent);
	}
}
