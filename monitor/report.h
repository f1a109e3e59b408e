/*
 * A node's report, from its JSON to something one can compute with.
 *
 * Bytes come from outside: whatever they are, the answer is a report that keeps the bounds
 * below, or an error.
 * Source: docs/protocol/02-feed.md, section 4
 */
#ifndef WEIR_MONITOR_REPORT_H
#define WEIR_MONITOR_REPORT_H

#include "common/arena.h"
#include "common/cluster.h"
#include "common/error.h"
#include "common/metrics.h"

#define MON_REPORT_MAX ((size_t)1 << 20) /* bytes of JSON */
#define MON_METRICS_MAX 4096             /* in a report; further ones are skipped */
#define MON_NAME_MAX 200
#define MON_LABELS_MAX 1024
#define MON_HELP_MAX 1024

enum mon_life { MON_STARTING, MON_UP, MON_DRAINING, MON_DOWN, MON_LIFE_COUNT };
enum mon_database { MON_DB_NONE, MON_DB_PRIMARY, MON_DB_REPLICA, MON_DB_COUNT };

const char *mon_life_name(enum mon_life life);             /* "starting", ... */
const char *mon_database_name(enum mon_database database); /* "none", ... */

struct mon_bucket {
	unsigned index; /* < W_HIST_BUCKETS; ascending, each once */
	uint64_t count;
};

struct mon_metric {
	enum w_metric_type type; /* never W_GAUGE_MAX */
	struct w_view name, labels, help; /* NUL-ended; labels are well-formed */
	double value;
	uint64_t count, sum; /* histogram; count is that of the buckets, sum in microseconds */
	struct mon_bucket *buckets;
	unsigned bucket_count;
};

/* What a database agent tells. */
struct mon_db {
	enum mon_database kind;
	int64_t postgres_pid, timeline, position, received, sessions, standbys;
	double lag_seconds;
};

/* What a server tells of the databases. */
struct mon_sight {
	bool there;       /* it told */
	char primary[64]; /* the one in force for it; "": none */
	unsigned others;  /* databases that answer it, the one that leads not counted */
};

struct mon_report {
	struct w_arena arena; /* all that the pointers point to */
	w_usec arrived;       /* monotonic; set by who received it */
	char node[64];
	enum w_role role;
	int64_t epoch, seq, time, pid;
	enum mon_life life;
	struct mon_db db;
	struct mon_sight sight;
	struct mon_metric *metrics; /* sorted by name, then labels; no two alike */
	unsigned count;
	unsigned skipped; /* metrics that were not understood or too many */
};

/*
 * Owner    the caller owns *ret until mon_report_free()
 * Errors   -W_ETOOBIG, -W_EJSON no JSON object, -W_EINVAL a member is missing or wrong,
 *          -W_EVERSION; the fault says which
 */
int mon_report_parse(struct w_view json, struct mon_report **ret, struct w_fault *fault);
void mon_report_free(struct mon_report **report);

/* All metrics of a name: the first, and how many; NULL and 0 when there are none. */
const struct mon_metric *mon_report_family(const struct mon_report *report, struct w_view name,
    unsigned *ret_count);
/* One metric; NULL when it is not there. */
const struct mon_metric *mon_report_find(const struct mon_report *report, struct w_view name,
    struct w_view labels);
/* The sum of a family's values; 0 without one. */
double mon_report_sum(const struct mon_report *report, struct w_view name);

/*
 * Growth of a histogram from before (NULL: from nothing) to now (NULL: there is none), added
 * to *to. A bucket that shrank did not grow.
 */
void mon_metric_growth(const struct mon_metric *now, const struct mon_metric *before,
    struct w_hist *to);

/* Whether text is a list of labels as the exposition format has it, without reserved names. */
bool mon_labels_valid(struct w_view text);
bool mon_name_valid(struct w_view name);

#endif
