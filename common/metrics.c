/*
 * The registry of metrics and the slots of its writers.
 *
 * 1. A meter's slots have one writer. It loads, adds and stores without a lock; readers may
 *    see a value that is one step old, never a torn one.
 * 2. A meter is memory of its own that starts on a cache line and fills its last one.
 * 3. The table is closed when the first meter is made; after that ids and slots are fixed.
 */
#include "common/metrics.h"

#include <stdatomic.h>

#include "common/metrics_inner.h"

#define CACHE_LINE 64

/* Slots of a histogram: its sum, then its buckets. */
#define HIST_SLOTS (1 + W_HIST_BUCKETS)

/* ---- registry ---- */

struct w_metrics *
w_metrics_new(unsigned workers)
{
	struct w_metrics *metrics = w_xcalloc(1, sizeof(*metrics));

	metrics->workers = workers;
	metrics->meters = w_xcalloc(workers + 1, sizeof(struct w_meter *));
	w__metrics_host_add(metrics);
	return metrics;
}

void
w_metrics_free(struct w_metrics **metrics)
{
	struct w_metrics *m = w_steal(metrics);

	if (m == NULL)
		return;
	for (unsigned i = 0; i <= m->workers; i++)
		free(m->meters[i]);
	for (unsigned i = 0; i < m->count; i++) {
		free(m->infos[i].owned);
		free(atomic_load(&m->infos[i].said));
	}
	free(m->meters);
	free(m->infos);
	free(m);
}

static struct metric_info *
add_info(struct w_metrics *metrics, const struct w_metric *metric)
{
	struct metric_info *info;

	W_ASSERT(!metrics->closed);
	if (metrics->count == metrics->room) {
		metrics->room = W_MAX(32, metrics->room * 2);
		metrics->infos =
		    w_xrealloc(metrics->infos, metrics->room * sizeof(*metrics->infos));
	}
	info = &metrics->infos[metrics->count++];
	*info = (struct metric_info){.metric = *metric, .slot = metrics->slots};
	metrics->slots += metric->type == W_HISTOGRAM ? HIST_SLOTS : 1;
	return info;
}

unsigned
w_metrics_add(struct w_metrics *metrics, const struct w_metric *table, unsigned count)
{
	unsigned base = metrics->count;

	for (unsigned i = 0; i < count; i++)
		add_info(metrics, &table[i]);
	return base;
}

/* \ " and newline in a label's value, as the exposition format wants them. */
static char *
format_label(const char *label, const char *value)
{
	struct w_buf buf = {0};

	w_buf_printf(&buf, "%s=\"", label);
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '"')
			w_buf_char(&buf, '\\');
		if (*value == '\n')
			w_buf_text(&buf, "\\n");
		else
			w_buf_char(&buf, *value);
	}
	w_buf_text(&buf, "\"");
	w_buf_char(&buf, '\0');
	W_ASSERT(!w_buf_broken(&buf));
	return buf.ptr;
}

unsigned
w_metrics_add_each(struct w_metrics *metrics, const struct w_metric *metric, const char *label,
    const char *const *values, unsigned count)
{
	unsigned base = metrics->count;

	for (unsigned i = 0; i < count; i++) {
		struct metric_info *info = add_info(metrics, metric);

		/* One piece of memory: labels first, the name and the help behind it. */
		W_AUTO(w_free) char *labels = format_label(label, values[i]);
		size_t llen = strlen(labels) + 1, nlen = strlen(metric->name) + 1;
		size_t hlen = strlen(metric->help) + 1;

		info->owned = w_xcalloc(1, llen + nlen + hlen);
		info->metric.labels = memcpy(info->owned, labels, llen);
		info->metric.name = memcpy(info->owned + llen, metric->name, nlen);
		info->metric.help = memcpy(info->owned + llen + nlen, metric->help, hlen);
	}
	return base;
}

unsigned
w_metrics_add_later(struct w_metrics *metrics, const struct w_metric *metric, unsigned count)
{
	unsigned base = metrics->count;

	for (unsigned i = 0; i < count; i++)
		add_info(metrics, metric)->later = true;
	return base;
}

/* Is this slot's, or can it become so? */
static bool
claim(struct metric_info *info, const char *labels)
{
	char *said = atomic_load_explicit(&info->said, memory_order_acquire), *ours;

	if (said == NULL) {
		ours = w_xstrdup(labels);
		if (atomic_compare_exchange_strong(&info->said, &said, ours))
			return true;
		free(ours);
	}
	return strcmp(said, labels) == 0;
}

unsigned
w_meter_named(struct w_meter *meter, unsigned base, unsigned count, const char *label,
    const char *value)
{
	W_AUTO(w_free) char *labels = format_label(label, value);
	W_AUTO(w_free) char *other = format_label(label, "other");

	for (unsigned i = base; i + 1 < base + count; i++)
		if (claim(&meter->infos[i], labels))
			return i;
	(void)claim(&meter->infos[base + count - 1], other);
	return base + count - 1;
}

static struct w_meter *
new_meter(const struct w_metrics *metrics)
{
	size_t size = sizeof(struct w_meter) + metrics->slots * sizeof(_Atomic(uint64_t));
	struct w_meter *meter;

	size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	meter = aligned_alloc(CACHE_LINE, size);
	W_ASSERT(meter != NULL);
	memset(meter, 0, size);
	meter->infos = metrics->infos;
	meter->count = metrics->count;
	return meter;
}

struct w_meter *
w_metrics_meter(struct w_metrics *metrics, unsigned worker)
{
	W_ASSERT(worker <= metrics->workers);
	if (!metrics->closed) {
		metrics->closed = true;
		for (unsigned i = 0; i <= metrics->workers; i++)
			metrics->meters[i] = new_meter(metrics);
	}
	return metrics->meters[worker];
}

/* ---- writing ---- */

static inline _Atomic(uint64_t) *
slot_of(struct w_meter *meter, unsigned id)
{
	W_ASSERT(id < meter->count);
	return &meter->slots[meter->infos[id].slot];
}

static inline void
slot_add(_Atomic(uint64_t) *slot, uint64_t n)
{
	uint64_t value = atomic_load_explicit(slot, memory_order_relaxed);

	atomic_store_explicit(slot, value + n, memory_order_relaxed);
}

void
w_meter_add(struct w_meter *meter, unsigned id, uint64_t n)
{
	slot_add(slot_of(meter, id), n);
}

void
w_meter_set(struct w_meter *meter, unsigned id, int64_t value)
{
	atomic_store_explicit(slot_of(meter, id), (uint64_t)value, memory_order_relaxed);
}

void
w_meter_move(struct w_meter *meter, unsigned id, int64_t by)
{
	slot_add(slot_of(meter, id), (uint64_t)by);
}

void
w_meter_observe(struct w_meter *meter, unsigned id, w_usec value)
{
	_Atomic(uint64_t) *slot = slot_of(meter, id);
	uint64_t v = value > 0 ? (uint64_t)value : 0;

	W_ASSERT(meter->infos[id].metric.type == W_HISTOGRAM);
	slot_add(slot, v);
	slot_add(slot + 1 + w_hist_bucket(v), 1);
}

/* ---- reading ---- */

static uint64_t
slot_get(const struct w_metrics *metrics, unsigned meter, unsigned slot)
{
	return atomic_load_explicit(&metrics->meters[meter]->slots[slot], memory_order_relaxed);
}

int64_t
w_metrics_value(const struct w_metrics *metrics, unsigned id)
{
	const struct metric_info *info = &metrics->infos[id];
	uint64_t sum = 0;
	int64_t most = 0;

	W_ASSERT(id < metrics->count);
	if (!metrics->closed)
		return 0;
	for (unsigned i = 0; i <= metrics->workers; i++) {
		uint64_t value = slot_get(metrics, i, info->slot);

		sum += value;
		most = W_MAX(most, (int64_t)value);
	}
	return info->metric.type == W_GAUGE_MAX ? most : (int64_t)sum;
}

void
w_metrics_hist(const struct w_metrics *metrics, unsigned id, struct w_hist *ret)
{
	unsigned slot = metrics->infos[id].slot;

	W_ASSERT(id < metrics->count && metrics->infos[id].metric.type == W_HISTOGRAM);
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; metrics->closed && i <= metrics->workers; i++) {
		ret->sum += slot_get(metrics, i, slot);
		for (unsigned b = 0; b < W_HIST_BUCKETS; b++)
			ret->bucket[b] += slot_get(metrics, i, slot + 1 + b);
	}
	for (unsigned b = 0; b < W_HIST_BUCKETS; b++)
		ret->count += ret->bucket[b];
}

uint64_t
w_metric_scale(const char *name)
{
	static const struct {
		struct w_view end;
		uint64_t scale;
	} scales[] = {
	    {W_VIEW("_seconds"), 1000000},
	    {W_VIEW("_seconds_total"), 1000000},
	    {W_VIEW("_ratio"), 1000000},
	    {W_VIEW("_load1"), 1000},
	};

	for (size_t i = 0; i < W_NELEM(scales); i++)
		if (w_view_ends(w_view_of(name), scales[i].end))
			return scales[i].scale;
	return 1;
}
