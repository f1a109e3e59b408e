/*
 * The monitor as a whole: what the files of this room share. Nobody else includes this.
 */
#ifndef WEIR_MONITOR_INNER_H
#define WEIR_MONITOR_INNER_H

#include "monitor/collect.h"
#include "monitor/feed.h"
#include "monitor/metrics.h"
#include "monitor/monitor.h"
#include "monitor/promote.h"
#include "monitor/rules.h"
#include "monitor/state.h"
#include "monitor/webhook.h"

#define MON_MAGIC 0x6d6f6e31

struct mon_http;

struct mon {
	uint32_t magic;
	struct w_node *node;
	const struct w_cluster *cluster; /* as of the last good reload */
	struct mon_state *state;
	struct mon_rules *rules;
	struct mon_collect *collect;
	struct mon_feed *feed;
	struct mon_promote *promote; /* NULL: no address for it */
	w_usec established_at; /* of the last failover; 0: none */
	struct mon_http *http; /* NULL: no address for it */
	struct mon_webhook *webhook;
	const struct w_strings *urls; /* those of webhook; of a cluster that lives on */
	struct w_timer timer; /* the tick */
	w_usec second;        /* when the next second ends */
	w_usec logged;        /* the last line about a bad report */
	uint64_t unlogged;
	unsigned metrics;     /* id of the first of our own */
	struct mon_webhook_counts hooked_before; /* by webhooks of before a reload */
};

/* ---- monitor.c ---- */

void mon_publish_node(struct mon *mon, struct mon_node *node, w_usec now);
void mon_publish_cluster(struct mon *mon);
/* Count a bad message by that metric, and log it, once a second at most. user: NULL is nobody. */
void mon_refuse(struct mon *mon, enum mon_metric_id why, const char *user, const char *text);

/* ---- failover.c: the promoter and the rest of the monitor ---- */

/* Errors: those of mon_promote_open() */
int mon_failover_open(struct mon *mon, struct w_fault *fault);
/* Set the metrics. Where there is no promoter nobody calls it. */
void mon_failover_count(struct mon *mon);
/* Members failover, agents and moves of an object that is open. */
void mon_failover_show(struct mon *mon, struct w_json *json);

/* ---- api.c: what the addresses answer ---- */

struct mon_query {
	const char *series, *tier, *node; /* NULL when not given */
};

/*
 * Write the answer of an address that begins with /api/, or of /metrics and /health.
 * *ret_type is the media type. Errors: -W_ENOROUTE, -W_EINVAL; the fault says what is wanted.
 */
int mon_api_answer(struct mon *mon, const char *path, const struct mon_query *query,
    struct w_buf *out, const char **ret_type, struct w_fault *fault);
/* The picture: members nodes, cluster and alerts of an object that is open. */
void mon_api_snapshot(struct mon *mon, struct w_json *json);

/* ---- http.c ---- */

/* Listen on the member's http address. Errors: -W_EIO, -W_EINVAL */
int mon_http_open(struct mon *mon, struct mon_http **ret, struct w_fault *fault);
void mon_http_close(struct mon_http **http);

/* ---- page.c: files of the page, from memory ---- */

struct mon_page_file {
	const char *path, *type;
	struct w_buf body;
	char etag[24];
};

struct mon_page;

struct mon_page *mon_page_load(void);
void mon_page_free(struct mon_page **page);
/* NULL: no such address, or the file was not there. */
const struct mon_page_file *mon_page_find(const struct mon_page *page, const char *path);

#endif
