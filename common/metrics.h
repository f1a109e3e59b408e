/*
 * Metrics: counters, gauges and histograms. Each worker writes slots of its own, on
 * cache lines of its own, with plain relaxed stores; the control thread sums them.
 *
 * A room's list:
 *	#define LNK_METRICS(X) \
 *		X(LNK_RECORDS_IN, COUNTER, "weir_link_records_received_total", "", "Records received.")
 * makes an enum and a table (W_METRIC_ENUM, W_METRIC_DEF); w_metrics_add() gives its base id.
 *
 * Histograms are those of Prometheus' native histograms with schema 3, counted in
 * microseconds: bucket 0 holds 0, bucket i + 1 holds (2^((i-1)/8), 2^(i/8)]. They merge by
 * addition. Times are recorded in microseconds and shown in seconds.
 *
 * Values are whole numbers. So that fractions can be had, the end of a name says the scale
 * that a value is stored in (w_metric_scale): _seconds and _seconds_total in microseconds,
 * _ratio in millionths, _load1 in thousandths. Reports carry the value in the name's unit.
 * Source: Prometheus native histograms specification; exposition format 0.0.4
 */
#ifndef WEIR_COMMON_METRICS_H
#define WEIR_COMMON_METRICS_H

#include "common/buf.h"

enum w_metric_type {
	W_COUNTER,   /* summed over workers; only grows */
	W_GAUGE,     /* summed over workers */
	W_GAUGE_MAX, /* the largest of the workers */
	W_HISTOGRAM, /* microseconds; the name ends in _seconds */
};

struct w_metric {
	enum w_metric_type type;
	const char *name;   /* Prometheus name, with unit and _total as Prometheus wants them */
	const char *labels; /* constant labels: "code=\"2xx\"" or "" */
	const char *help;
};

/* What a stored value is divided by when it is shown: 1 for most names. */
uint64_t w_metric_scale(const char *name);

#define W_METRIC_ENUM(id, type, name, labels, help) id,
#define W_METRIC_DEF(id, type, name, labels, help) { W_##type, name, labels, help },

/* Buckets: 0, then up to 2^31 us (36 minutes) in steps of 2^(1/8); larger values go last. */
#define W_HIST_BUCKETS 250

struct w_hist { /* one summed histogram; also what merges */
	uint64_t count; /* that of all buckets */
	uint64_t sum;   /* microseconds */
	uint64_t bucket[W_HIST_BUCKETS];
};

struct w_metrics; /* the registry of a process */
struct w_meter;   /* the slots of one worker, or of the control thread */

struct w_metrics *w_metrics_new(unsigned workers);
void w_metrics_free(struct w_metrics **metrics);

/*
 * Add count metrics; their ids are base, base + 1, ... The strings are kept by pointer when
 * labels are constant. Only before the first w_metrics_meter(). Threads: control.
 */
unsigned w_metrics_add(struct w_metrics *metrics, const struct w_metric *table, unsigned count);
/* One metric per value: NAME{label="value"}; ids base .. base + count - 1. Strings are copied. */
unsigned w_metrics_add_each(struct w_metrics *metrics, const struct w_metric *metric,
    const char *label, const char *const *values, unsigned count);

/*
 * Metrics whose values of a label are not known yet: up to count of them, for w_meter_named(). The
 * last one is for "other". One that has no value is not shown.
 */
unsigned w_metrics_add_later(struct w_metrics *metrics, const struct w_metric *metric,
    unsigned count);

/* worker < workers, or worker == workers for the control thread. The table is closed from now on. */
struct w_meter *w_metrics_meter(struct w_metrics *metrics, unsigned worker);

/* Threads: only the meter's own. No lock, no atomic read-modify-write. */
/* The id of NAME{label="value"} among those added later; claims one at the first call. Any thread. */
unsigned w_meter_named(struct w_meter *meter, unsigned base, unsigned count, const char *label,
    const char *value);
void w_meter_add(struct w_meter *meter, unsigned id, uint64_t n);  /* counter */
void w_meter_set(struct w_meter *meter, unsigned id, int64_t value); /* gauge; also a counter kept elsewhere */
void w_meter_move(struct w_meter *meter, unsigned id, int64_t by); /* gauge up or down */
void w_meter_observe(struct w_meter *meter, unsigned id, w_usec value); /* histogram */

/* Sums. Threads: control. */
int64_t w_metrics_value(const struct w_metrics *metrics, unsigned id);
void w_metrics_hist(const struct w_metrics *metrics, unsigned id, struct w_hist *ret);

void w_hist_add(struct w_hist *to, const struct w_hist *from);
void w_hist_observe(struct w_hist *hist, w_usec value);
unsigned w_hist_bucket(uint64_t value);    /* index for a value */
double w_hist_upper(unsigned bucket);      /* upper bound, inclusive, microseconds */
/* q in 0..1; microseconds, interpolated within the bucket; 0 when empty. */
double w_hist_quantile(const struct w_hist *hist, double q);

/*
 * The "metrics" member of a report (docs/protocol/02-feed.md):
 *	[{"name":..,"type":"counter","labels":"..","help":"..","value":n},
 *	 {"name":..,"type":"histogram",..,"count":n,"sum":us,"buckets":[[index,n],...]}]
 * Both kinds of gauge are "gauge". A value is in the unit of the metric's name, a histogram's
 * sum in microseconds; buckets that are empty are left out, the index is that of w_hist.
 */
void w_metrics_json(const struct w_metrics *metrics, struct w_json *json);

/* Process and host figures, in every report: registered by w_metrics_new(), set by this. */
void w_metrics_host(struct w_metrics *metrics);

#endif
