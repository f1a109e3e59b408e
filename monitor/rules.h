/*
 * Alert rules: what must not be, and since when it is.
 *
 *	inactive --condition holds--> pending --it held for `hold`--> firing --it ends--> resolved
 *	              ^                  |                                                    |
 *	              +--it ends---------+                                 (inactive) <-------+
 *
 * A rule with hold 0 fires at once. A value that is not known does not hold. There is one alert
 * per rule, or one per rule and node, as the rule's value says.
 * Source: docs/man/weir-monitor.8, alert values
 *
 * Threads: control.
 */
#ifndef WEIR_MONITOR_RULES_H
#define WEIR_MONITOR_RULES_H

#include "monitor/state.h"

enum mon_compare { MON_GT, MON_GE, MON_LT, MON_LE, MON_EQ, MON_NE, MON_COMPARE_COUNT };

enum mon_phase { MON_INACTIVE, MON_PENDING, MON_FIRING, MON_RESOLVED, MON_PHASE_COUNT };

const char *mon_phase_name(enum mon_phase phase);
const char *mon_compare_name(enum mon_compare compare); /* ">" */

struct mon_rule {
	char name[64];
	char *what; /* "lag_bytes", "node:ratio_5xx", "metric:NAME{labels}" */
	enum mon_compare compare;
	double threshold;
	w_usec hold;
	char severity[16];
	bool per_node;
	/* How the value is had: one of the first two, or the metric. */
	double (*of_cluster)(const struct mon_state *state, w_usec now);
	double (*of_node)(const struct mon_state *state, const struct mon_node *node, w_usec now);
	char *metric, *labels;
};

/* One alert. What outlives it copies it: all is in here. */
struct mon_alert {
	char rule[64], node[64], role[16], severity[16]; /* node, role: "" for the cluster's */
	char what[256];
	char cluster[128];
	enum mon_compare compare;
	double threshold, value; /* value: NaN when it is not known any more */
	const char *reason;      /* for node_gone; else NULL */
	char summary[640];
	enum mon_phase phase;
	w_usec since;            /* monotonic: the condition holds since */
	w_usec starts, ends;     /* microseconds since 1970; ends 0 while it holds */
	uint64_t fingerprint;
};

struct mon_rules;

/* An alert fires or is resolved. */
typedef void mon_alert_fn(void *arg, const struct mon_alert *alert);

/*
 * The default rules and those of the cluster file; one of the file replaces the default one of
 * its name. Errors: -W_EINVAL a value that is not known; the fault says which.
 */
int mon_rules_new(const struct w_cluster *cluster, struct mon_rules **ret, struct w_fault *fault);
void mon_rules_free(struct mon_rules **rules);
void mon_rules_listen(struct mon_rules *rules, mon_alert_fn *fn, void *arg);
/* Alerts of rules and nodes that are in both go on in to; the others are resolved. */
void mon_rules_move(struct mon_rules *from, struct mon_rules *to, const struct mon_state *state);

/* Judge all nodes, or (node not NULL) one node and the cluster. */
void mon_rules_judge(struct mon_rules *rules, const struct mon_state *state,
    const struct mon_node *node, w_usec now);

unsigned mon_rules_count(const struct mon_rules *rules);
const struct mon_rule *mon_rules_nth(const struct mon_rules *rules, unsigned index);
/* All alerts, inactive ones too; the caller looks at the phase. */
unsigned mon_rules_alert_count(const struct mon_rules *rules);
const struct mon_alert *mon_rules_alert(const struct mon_rules *rules, unsigned index);
unsigned mon_rules_in_phase(const struct mon_rules *rules, enum mon_phase phase);
/* The last resolved ones, newest first; NULL when there are no more. At most MON_RESOLVED_MAX. */
#define MON_RESOLVED_MAX 50
const struct mon_alert *mon_rules_resolved(const struct mon_rules *rules, unsigned index);

#endif
