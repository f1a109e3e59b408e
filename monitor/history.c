/*
 * Rings of points. See history.h.
 */
#include "monitor/history.h"

#include <math.h>

static const struct {
	const char *name;
	unsigned seconds, size;
} tiers[MON_TIER_COUNT] = {
	[MON_TIER_1S] = { "1s", 1, 600 },
	[MON_TIER_10S] = { "10s", 10, 2160 },
	[MON_TIER_1M] = { "1m", 60, 10080 },
};

static const char *const series_names[MON_SERIES_COUNT] = {
	[MON_S_REQUESTS] = "requests_per_second",
	[MON_S_ERRORS] = "errors_per_second",
	[MON_S_P50] = "p50",
	[MON_S_P99] = "p99",
	[MON_S_CPU] = "cpu",
	[MON_S_RSS] = "rss",
	[MON_S_LAG] = "lag_bytes",
};

struct ring {
	float *points; /* size * MON_SERIES_COUNT, point by point */
	uint64_t written;
	w_usec end;
	/* the point in the making */
	unsigned seconds;
	double sum[MON_SERIES_COUNT];
	unsigned known[MON_SERIES_COUNT];
	struct w_hist hist;
};

struct mon_history {
	struct ring rings[MON_TIER_COUNT];
};

const char *
mon_series_name(enum mon_series series)
{
	return series_names[series];
}

const char *
mon_tier_name(enum mon_tier tier)
{
	return tiers[tier].name;
}

unsigned
mon_tier_seconds(enum mon_tier tier)
{
	return tiers[tier].seconds;
}

int
mon_series_find(struct w_view name)
{
	for (int i = 0; i < MON_SERIES_COUNT; i++)
		if (w_view_eq(name, w_view_of(series_names[i])))
			return i;
	return -1;
}

int
mon_tier_find(struct w_view name)
{
	for (int i = 0; i < MON_TIER_COUNT; i++)
		if (w_view_eq(name, w_view_of(tiers[i].name)))
			return i;
	return -1;
}

struct mon_history *
mon_history_new(void)
{
	struct mon_history *history = w_xcalloc(1, sizeof(*history));

	for (int i = 0; i < MON_TIER_COUNT; i++)
		history->rings[i].points =
		    w_xcalloc((size_t)tiers[i].size * MON_SERIES_COUNT, sizeof(float));
	return history;
}

void
mon_history_free(struct mon_history **history)
{
	struct mon_history *h = w_steal(history);

	if (h == NULL)
		return;
	for (int i = 0; i < MON_TIER_COUNT; i++)
		free(h->rings[i].points);
	free(h);
}

static void
write_point(struct ring *ring, unsigned size, const double *point, w_usec wall)
{
	float *to = &ring->points[ring->written % size * MON_SERIES_COUNT];

	for (int i = 0; i < MON_SERIES_COUNT; i++)
		to[i] = (float)point[i];
	ring->written++;
	ring->end = wall;
}

static void
gather(struct ring *ring, const double *point, const struct w_hist *hist)
{
	for (int i = 0; i < MON_SERIES_COUNT; i++) {
		if (isnan(point[i]))
			continue;
		ring->sum[i] = i == MON_S_LAG ? W_MAX(ring->sum[i], point[i])
		                              : ring->sum[i] + point[i];
		ring->known[i]++;
	}
	w_hist_add(&ring->hist, hist);
	ring->seconds++;
}

static void
close_point(struct ring *ring, unsigned size, w_usec wall)
{
	bool any = ring->hist.count > 0;
	double point[MON_SERIES_COUNT];

	for (int i = 0; i < MON_SERIES_COUNT; i++) {
		point[i] = ring->known[i] == 0 ? NAN : ring->sum[i];
		if (i != MON_S_LAG)
			point[i] /= ring->known[i];
	}
	point[MON_S_P50] = any ? w_hist_quantile(&ring->hist, 0.5) / W_SEC : NAN;
	point[MON_S_P99] = any ? w_hist_quantile(&ring->hist, 0.99) / W_SEC : NAN;
	write_point(ring, size, point, wall);
	memset(ring->sum, 0, sizeof(ring->sum));
	memset(ring->known, 0, sizeof(ring->known));
	memset(&ring->hist, 0, sizeof(ring->hist));
	ring->seconds = 0;
}

void
mon_history_push(struct mon_history *history, const double point[MON_SERIES_COUNT],
    const struct w_hist *hist, w_usec wall)
{
	write_point(&history->rings[MON_TIER_1S], tiers[MON_TIER_1S].size, point, wall);
	for (int i = MON_TIER_1S + 1; i < MON_TIER_COUNT; i++) {
		gather(&history->rings[i], point, hist);
		if (history->rings[i].seconds == tiers[i].seconds)
			close_point(&history->rings[i], tiers[i].size, wall);
	}
}

unsigned
mon_history_count(const struct mon_history *history, enum mon_tier tier)
{
	return (unsigned)W_MIN(history->rings[tier].written, (uint64_t)tiers[tier].size);
}

w_usec
mon_history_end(const struct mon_history *history, enum mon_tier tier)
{
	return history->rings[tier].end;
}

double
mon_history_get(const struct mon_history *history, enum mon_tier tier, enum mon_series series,
    unsigned at)
{
	const struct ring *ring = &history->rings[tier];
	unsigned size = tiers[tier].size;
	uint64_t first = ring->written - mon_history_count(history, tier);

	return (double)ring->points[(first + at) % size * MON_SERIES_COUNT + series];
}
