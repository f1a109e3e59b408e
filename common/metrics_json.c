/*
 * Metrics as the JSON of a report.
 */
#include "common/metrics_inner.h"

static const char *
type_name(enum w_metric_type type)
{
	static const char *const names[] = {[W_COUNTER] = "counter",
	    [W_GAUGE] = "gauge",
	    [W_GAUGE_MAX] = "gauge",
	    [W_HISTOGRAM] = "histogram"};

	return names[type];
}

static void
write_hist(const struct w_metrics *metrics, unsigned id, struct w_json *json)
{
	struct w_hist hist;

	w_metrics_hist(metrics, id, &hist);
	w_json_key(json, "count");
	w_json_int(json, (int64_t)hist.count);
	w_json_key(json, "sum");
	w_json_int(json, (int64_t)hist.sum);
	w_json_key(json, "buckets");
	w_json_open(json, '[');
	for (unsigned i = 0; i < W_HIST_BUCKETS; i++) {
		if (hist.bucket[i] == 0)
			continue;
		w_json_open(json, '[');
		w_json_int(json, i);
		w_json_int(json, (int64_t)hist.bucket[i]);
		w_json_close(json, ']');
	}
	w_json_close(json, ']');
}

static void
write_value(const struct w_metrics *metrics, unsigned id, struct w_json *json)
{
	int64_t value = w_metrics_value(metrics, id);
	uint64_t scale = w_metric_scale(metrics->infos[id].metric.name);

	w_json_key(json, "value");
	if (scale == 1)
		w_json_int(json, value);
	else
		w_json_real(json, (double)value / (double)scale);
}

/* NULL: it has none yet. */
static const char *
labels_of(const struct metric_info *info)
{
	return info->later ? atomic_load_explicit(&info->said, memory_order_acquire) :
	    info->metric.labels;
}

void
w_metrics_json(const struct w_metrics *metrics, struct w_json *json)
{
	w_json_open(json, '[');
	for (unsigned id = 0; id < metrics->count; id++) {
		const struct w_metric *metric = &metrics->infos[id].metric;
		const char *labels = labels_of(&metrics->infos[id]);

		if (labels == NULL)
			continue;
		w_json_open(json, '{');
		w_json_key(json, "name");
		w_json_text(json, metric->name);
		w_json_key(json, "type");
		w_json_text(json, type_name(metric->type));
		w_json_key(json, "labels");
		w_json_text(json, labels);
		w_json_key(json, "help");
		w_json_text(json, metric->help);
		if (metric->type == W_HISTOGRAM)
			write_hist(metrics, id, json);
		else
			write_value(metrics, id, json);
		w_json_close(json, '}');
	}
	w_json_close(json, ']');
}
