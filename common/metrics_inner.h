/*
 * What the files of the metrics share; nobody else includes this.
 */
#ifndef WEIR_COMMON_METRICS_INNER_H
#define WEIR_COMMON_METRICS_INNER_H

#include <stdatomic.h>

#include "common/metrics.h"

struct metric_info {
	struct w_metric metric;
	unsigned slot; /* first slot in every meter */
	char *owned;   /* the strings of metric, when they are copies */
	bool later;    /* its labels are said while it runs */
	_Atomic(char *) said;
};

struct w_meter {
	struct metric_info *infos;
	unsigned count;
	_Atomic(uint64_t) slots[];
};

struct w_metrics {
	struct metric_info *infos;
	unsigned count, room;
	unsigned slots; /* of all metrics so far */
	unsigned workers;
	bool closed;
	struct w_meter **meters;      /* workers + 1 */
	unsigned host_base;	      /* id of the first host figure */
	uint64_t cpu_busy, cpu_total; /* of the host, at the last look; ticks */
	w_usec started;		      /* wall clock */
};

/* Register the process and host figures. */
void w__metrics_host_add(struct w_metrics *metrics);

#endif
