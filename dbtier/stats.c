/* Registering the tier's metrics, and the ones that the control thread keeps. */
#include "dbtier/stats.h"

#include "dbtier/probe.h"

static const struct w_metric metrics_table[] = { DBT_METRICS(W_METRIC_DEF) };
static const struct w_metric node_table[] = { DBT_NODE_METRICS(W_METRIC_DEF) };

static const struct w_metric statement_metric = { W_HISTOGRAM,
	"weir_db_statement_duration_seconds", "", "Time that a node took for a statement, by its name." };

unsigned
dbt_metrics(struct w_metrics *metrics)
{
	unsigned base = w_metrics_add(metrics, metrics_table, DBT_METRIC_COUNT), at;

	for (unsigned i = 0; i < DBT_NODE_METRIC_COUNT; i++) {
		at = w_metrics_add_later(metrics, &node_table[i], DBT_NODE_NAMES_MAX);
		W_ASSERT(at == base + dbt__node_metric(i));
	}
	at = w_metrics_add_later(metrics, &statement_metric, DBT_STATEMENTS_MAX);
	W_ASSERT(at == base + dbt__statement_metric());
	return base;
}

static void
set_gauges(struct w_meter *meter, const unsigned *ids, const struct dbt_node *node)
{
	w_usec silent = node->seen > 0 ? (w_now() - node->seen) / W_SEC : 0;

	w_meter_set(meter, ids[DBT_NODE_ROLE], node->role);
	w_meter_set(meter, ids[DBT_NODE_FIT], node->fit);
	w_meter_set(meter, ids[DBT_NODE_GATED], node->gated);
	w_meter_set(meter, ids[DBT_NODE_LAG], (int64_t)node->lag);
	w_meter_set(meter, ids[DBT_NODE_SILENT], silent);
}

void
dbt_tick(struct dbt *dbt, struct w_meter *meter, unsigned metrics)
{
	const struct dbt_topology *topology = dbt_topology_get(dbt);
	struct dbt__gauges *gauges = dbt__gauges(dbt);
	static const struct dbt_node nobody;

	/* First those that went: one that has another slot now has the same name. */
	for (unsigned i = 0; i < DBT_NODES_MAX; i++) {
		if (gauges->slots[i].generation == topology->nodes[i].generation)
			continue;
		if (gauges->slots[i].generation > 0)
			set_gauges(meter, gauges->slots[i].ids, &nobody);
		gauges->slots[i].generation = 0;
	}
	for (unsigned i = 0; i < topology->count; i++) {
		const struct dbt_node *node = &topology->nodes[i];
		unsigned *ids = gauges->slots[i].ids;

		if (node->name == NULL)
			continue;
		if (gauges->slots[i].generation == 0) {
			gauges->slots[i].generation = node->generation;
			for (unsigned m = 0; m < DBT_NODE_METRIC_COUNT; m++)
				ids[m] = dbt__node_named(meter, metrics, m, node->name);
		}
		set_gauges(meter, ids, node);
	}
	dbt__passed(dbt);
}
