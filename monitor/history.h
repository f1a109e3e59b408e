/*
 * What was: a few series of the cluster or of one node, in three tiers of bounded memory.
 *
 *	1s    the last 10 minutes     600 points
 *	10s   the last 6 hours      2,160 points
 *	1m    the last 7 days      10,080 points
 *
 * A point of a longer tier is the mean of its seconds (lag: the largest), percentiles come from
 * the merged buckets of that time. 360 KB when full, touched only as far as it is filled.
 */
#ifndef WEIR_MONITOR_HISTORY_H
#define WEIR_MONITOR_HISTORY_H

#include "common/metrics.h"

enum mon_series {
	MON_S_REQUESTS,
	MON_S_ERRORS,
	MON_S_P50,
	MON_S_P99,
	MON_S_CPU,
	MON_S_RSS,
	MON_S_LAG,
	MON_SERIES_COUNT
};

enum mon_tier { MON_TIER_1S, MON_TIER_10S, MON_TIER_1M, MON_TIER_COUNT };

const char *mon_series_name(enum mon_series series); /* "requests_per_second", ... */
const char *mon_tier_name(enum mon_tier tier);       /* "1s", "10s", "1m" */
unsigned mon_tier_seconds(enum mon_tier tier);
/* The number of that name, or -1. */
int mon_series_find(struct w_view name);
int mon_tier_find(struct w_view name);

struct mon_history;

struct mon_history *mon_history_new(void);
void mon_history_free(struct mon_history **history);
/*
 * One second's point. NaN is unknown. hist holds the requests that ended in this second; the
 * percentiles of point are taken as they are for the 1s tier. wall: microseconds since 1970.
 */
void mon_history_push(struct mon_history *history, const double point[MON_SERIES_COUNT],
    const struct w_hist *hist, w_usec wall);
/* Points held, and when the last one ended (0: none yet). */
unsigned mon_history_count(const struct mon_history *history, enum mon_tier tier);
w_usec mon_history_end(const struct mon_history *history, enum mon_tier tier);
/* at: 0 is the oldest held, count - 1 the last. NaN: unknown. */
double mon_history_get(const struct mon_history *history, enum mon_tier tier,
    enum mon_series series, unsigned at);

#endif
