/*
 * Any bytes as a node's report: parsed, looked through and shown to Prometheus, or refused with a
 * reason.
 */
#include "common/buf.h"
#include "monitor/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the monitor does with a report that it took. */
static void
look_through(const struct mon_report *report)
{
	struct w_hist hist = { 0 };

	W_ASSERT(report->node[0] != '\0' && strlen(report->node) < sizeof(report->node));
	W_ASSERT(report->role < W_ROLE_COUNT && report->life < MON_LIFE_COUNT);
	W_ASSERT(report->count <= MON_METRICS_MAX);
	for (unsigned i = 0; i < report->count; i++) {
		const struct mon_metric *metric = &report->metrics[i];
		unsigned count;

		W_ASSERT(mon_name_valid(metric->name) && mon_labels_valid(metric->labels));
		W_ASSERT(metric->bucket_count <= W_HIST_BUCKETS);
		W_ASSERT(mon_report_find(report, metric->name, metric->labels) == metric);
		W_ASSERT(mon_report_family(report, metric->name, &count) != NULL && count > 0);
		for (unsigned b = 0; b < metric->bucket_count; b++)
			W_ASSERT(metric->buckets[b].index < W_HIST_BUCKETS);
		mon_metric_growth(metric, NULL, &hist);
		mon_metric_growth(metric, metric, &hist);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	W_AUTO(mon_report_free) struct mon_report *report = NULL;
	struct w_fault fault = { 0 };
	int rc;

	rc = mon_report_parse((struct w_view){ (const char *)data, size }, &report, &fault);
	if (rc == W_OK)
		look_through(report);
	else
		W_ASSERT(report == NULL && fault.err == rc && fault.text[0] != '\0');
	return 0;
}
