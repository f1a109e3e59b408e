/*
 * The answers to programs: JSON, and the exposition format.
 */
#include <math.h>

#include "monitor/inner.h"
#include "monitor/show.h"

#define TYPE_JSON "application/json"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

typedef int answer_fn(struct mon *mon, const struct mon_query *query, struct w_buf *out,
    struct w_fault *fault);

static void
put_int(struct w_json *json, const char *key, int64_t value)
{
	w_json_key(json, key);
	w_json_int(json, value);
}

void
mon_api_snapshot(struct mon *mon, struct w_json *json)
{
	w_json_key(json, "nodes");
	mon_show_nodes(json, mon->state, w_now());
	w_json_key(json, "cluster");
	mon_show_cluster(json, mon->state, mon->rules);
	w_json_key(json, "alerts");
	mon_show_alerts(json, mon->rules);
}

static int
answer_snapshot(struct mon *mon, const struct mon_query *query W_UNUSED, struct w_buf *out,
    struct w_fault *fault W_UNUSED)
{
	struct w_json json;

	w_json_init(&json, out);
	w_json_open(&json, '{');
	put_int(&json, "time", w_wall());
	mon_api_snapshot(mon, &json);
	w_json_close(&json, '}');
	return W_OK;
}

static int
answer_nodes(struct mon *mon, const struct mon_query *query W_UNUSED, struct w_buf *out,
    struct w_fault *fault W_UNUSED)
{
	struct w_json json;

	w_json_init(&json, out);
	w_json_open(&json, '{');
	put_int(&json, "time", w_wall());
	w_json_key(&json, "nodes");
	mon_show_nodes(&json, mon->state, w_now());
	w_json_close(&json, '}');
	return W_OK;
}

static int
answer_cluster(struct mon *mon, const struct mon_query *query W_UNUSED, struct w_buf *out,
    struct w_fault *fault W_UNUSED)
{
	struct w_json json;

	w_json_init(&json, out);
	w_json_open(&json, '{');
	put_int(&json, "time", w_wall());
	w_json_key(&json, "cluster");
	mon_show_cluster(&json, mon->state, mon->rules);
	w_json_close(&json, '}');
	return W_OK;
}

static int
answer_failover(struct mon *mon, const struct mon_query *query W_UNUSED, struct w_buf *out,
    struct w_fault *fault W_UNUSED)
{
	struct w_json json;

	w_json_init(&json, out);
	w_json_open(&json, '{');
	put_int(&json, "time", w_wall());
	mon_failover_show(mon, &json);
	w_json_close(&json, '}');
	return W_OK;
}

static int
answer_alerts(struct mon *mon, const struct mon_query *query W_UNUSED, struct w_buf *out,
    struct w_fault *fault W_UNUSED)
{
	struct w_json json;

	w_json_init(&json, out);
	w_json_open(&json, '{');
	put_int(&json, "time", w_wall());
	w_json_key(&json, "alerts");
	mon_show_alerts(&json, mon->rules);
	w_json_key(&json, "resolved");
	mon_show_resolved(&json, mon->rules);
	w_json_key(&json, "rules");
	mon_show_rules(&json, mon->rules);
	w_json_close(&json, '}');
	return W_OK;
}

/* ---- history ---- */

/* "a,b" to a bit per series; NULL is all. Errors: -W_EINVAL */
static int
parse_series(const char *text, unsigned *ret)
{
	struct w_view left = w_view_of(text), name;
	unsigned bits = 0;

	if (text == NULL) {
		*ret = (1u << MON_SERIES_COUNT) - 1;
		return W_OK;
	}
	while (w_view_split(&left, ',', &name)) {
		int series = mon_series_find(name);

		if (series < 0)
			return -W_EINVAL;
		bits |= 1u << series;
	}
	*ret = bits;
	return bits != 0 ? W_OK : -W_EINVAL;
}

static void
put_series(struct w_json *json, const struct mon_history *history, enum mon_tier tier,
    enum mon_series series)
{
	unsigned count = mon_history_count(history, tier);

	w_json_key(json, mon_series_name(series));
	w_json_open(json, '[');
	for (unsigned i = 0; i < count; i++) {
		double value = mon_history_get(history, tier, series, i);

		/* six digits are what a point holds, and a tenth of the bytes */
		if (isnan(value))
			w_json_null(json);
		else if (value == floor(value))
			w_json_real(json, value);
		else {
			w_json_raw(json, W_VIEW(""));
			w_buf_printf(json->out, "%.6g", value);
		}
	}
	w_json_close(json, ']');
}

static int
find_history(struct mon *mon, const char *node, const struct mon_history **ret,
    struct w_fault *fault)
{
	const struct mon_node *found;

	*ret = mon_state_history(mon->state);
	if (node == NULL || node[0] == '\0')
		return W_OK;
	found = mon_state_find(mon->state, w_view_of(node));
	if (found == NULL)
		return w_fail(fault, -W_EINVAL, "node: no node of the cluster has this name");
	*ret = found->history;
	return W_OK;
}

static int
answer_history(struct mon *mon, const struct mon_query *query, struct w_buf *out,
    struct w_fault *fault)
{
	const struct mon_history *history;
	int tier = query->tier == NULL ? MON_TIER_1S : mon_tier_find(w_view_of(query->tier));
	unsigned series;
	struct w_json json;
	int rc;

	if (tier < 0)
		return w_fail(fault, -W_EINVAL, "tier: wanted is 1s, 10s or 1m");
	if (parse_series(query->series, &series) < 0)
		return w_fail(fault, -W_EINVAL,
		    "series: wanted are some of requests_per_second, errors_per_second, p50, p99, cpu, "
		    "rss, lag_bytes, with commas between");
	rc = find_history(mon, query->node, &history, fault);
	if (rc < 0)
		return rc;
	w_json_init(&json, out);
	w_json_open(&json, '{');
	w_json_key(&json, "node");
	w_json_text(&json, query->node);
	w_json_key(&json, "tier");
	w_json_text(&json, mon_tier_name((enum mon_tier)tier));
	put_int(&json, "step_seconds", mon_tier_seconds((enum mon_tier)tier));
	put_int(&json, "end", mon_history_end(history, (enum mon_tier)tier));
	w_json_key(&json, "series");
	w_json_open(&json, '{');
	for (int i = 0; i < MON_SERIES_COUNT; i++)
		if (series & (1u << i))
			put_series(&json, history, (enum mon_tier)tier, (enum mon_series)i);
	w_json_close(&json, '}');
	w_json_close(&json, '}');
	return W_OK;
}

/* ---- others ---- */

static int
answer_metrics(struct mon *mon, const struct mon_query *query W_UNUSED, struct w_buf *out,
    struct w_fault *fault W_UNUSED)
{
	mon_show_metrics(out, mon->state, mon->rules);
	return W_OK;
}

static int
answer_health(struct mon *mon W_UNUSED, const struct mon_query *query W_UNUSED, struct w_buf *out,
    struct w_fault *fault W_UNUSED)
{
	w_buf_text(out, "{\"status\":\"ok\"}");
	return W_OK;
}

static const struct {
	const char *path;
	answer_fn *answer;
	const char *type;
} routes[] = {
	{ "/api/snapshot", answer_snapshot, TYPE_JSON },
	{ "/api/nodes", answer_nodes, TYPE_JSON },
	{ "/api/cluster", answer_cluster, TYPE_JSON },
	{ "/api/alerts", answer_alerts, TYPE_JSON },
	{ "/api/failover", answer_failover, TYPE_JSON },
	{ "/api/history", answer_history, TYPE_JSON },
	{ "/metrics", answer_metrics, TYPE_METRICS },
	{ "/health", answer_health, TYPE_JSON },
};

int
mon_api_answer(struct mon *mon, const char *path, const struct mon_query *query,
    struct w_buf *out, const char **ret_type, struct w_fault *fault)
{
	for (size_t i = 0; i < W_NELEM(routes); i++) {
		if (strcmp(path, routes[i].path) != 0)
			continue;
		*ret_type = routes[i].type;
		return routes[i].answer(mon, query, out, fault);
	}
	return w_fail(fault, -W_ENOROUTE, "nothing at this address");
}
