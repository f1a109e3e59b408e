/*
 * Nodes: rates, restarts, silence; the cluster: merging, lag, windows, history.
 */
#include <math.h>
#include <stdio.h>

#include "tests/unit/monitor/help.h"

static struct w_cluster *cluster;
static struct mon_state *state;
static char told[512]; /* the events so far */

static void
on_event(void *arg W_UNUSED, const struct mon_event *event)
{
	size_t len = strlen(told);

	snprintf(told + len, sizeof(told) - len, "%s %s %s>%s %s;", event->event,
	    event->node->name, event->from != NULL ? event->from : "-",
	    event->to != NULL ? event->to : "-", event->reason != NULL ? event->reason : "-");
}

static void
begin(void)
{
	cluster = help_cluster(help_yaml);
	state = mon_state_new(cluster, 2 * W_SEC, T0);
	mon_state_listen(state, on_event, NULL);
	told[0] = '\0';
}

static void
end(void)
{
	mon_state_free(&state);
	w_cluster_free(&cluster);
}

static struct mon_node *
server(int seq, w_usec at, const char *metrics)
{
	const struct help_report from = { .node = "server-1", .role = "server", .seq = seq,
		.time = at, .metrics = metrics };

	return help_take(state, &from, 7, T0 + at);
}

static void
rates(void)
{
	struct mon_node *node;

	begin();
	node = server(1, 1 * W_SEC, HELP_REQUESTS(100, 0));
	CU_ASSERT(isnan(node->figures.requests));
	CU_ASSERT_DOUBLE_EQUAL(node->figures.requests_total, 100, 1e-9);
	/* one report was lost: two seconds */
	node = server(3, 3 * W_SEC, HELP_REQUESTS(150, 10));
	CU_ASSERT_DOUBLE_EQUAL(node->figures.requests, 30, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(node->figures.errors, 5, 1e-9);
	/* one comes early, and is compared with the one before the last */
	node = server(4, 3 * W_SEC + 100 * W_MSEC, HELP_REQUESTS(155, 10));
	CU_ASSERT_DOUBLE_EQUAL(node->figures.requests, 65 / 2.1, 1e-6);
	node = server(5, 4 * W_SEC, HELP_REQUESTS(245, 10));
	CU_ASSERT_DOUBLE_EQUAL(node->figures.requests, 90 / 0.9, 1e-6);
	end();
}

static void
clock_steps(void)
{
	struct help_report from = { .node = "server-1", .role = "server", .seq = 1,
		.metrics = HELP_REQUESTS(100, 0) };
	struct mon_node *node;

	begin();
	help_take(state, &from, 7, T0);
	from.seq = 2;
	from.time = 3600 * W_SEC; /* its clock was set */
	from.metrics = HELP_REQUESTS(200, 0);
	node = help_take(state, &from, 7, T0 + W_SEC);
	CU_ASSERT_DOUBLE_EQUAL(node->figures.requests, 100, 1e-6);
	end();
}

static void
restart(void)
{
	struct help_report from = { .node = "server-1", .role = "server", .seq = 1000,
		.time = W_SEC, .metrics = HELP_REQUESTS(5000, 0) };
	struct mon_node *node;

	begin();
	help_take(state, &from, 7, T0 + W_SEC);
	/* killed; another process half a second old says 20 */
	from = (struct help_report){ .node = "server-1", .role = "server", .seq = 1,
		.epoch = 2 * W_SEC, .time = 2 * W_SEC + 500 * W_MSEC,
		.metrics = HELP_REQUESTS(20, 0) };
	node = help_take(state, &from, 8, T0 + 2 * W_SEC + 500 * W_MSEC);
	CU_ASSERT_DOUBLE_EQUAL(node->figures.requests, 40, 1e-6);
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "node-restarted server-1"));
	/* its requests count in the windows: 20, not 0 and not -4980 */
	mon_state_second(state, WALL);
	CU_ASSERT_DOUBLE_EQUAL(mon_state_view(state)->windows[MON_W_10S].requests, 20, 1e-6);
	end();
}

static void
old_reports(void)
{
	struct mon_report *report;
	struct mon_node *node;
	struct help_report from = { .node = "server-1", .role = "server", .seq = 5 };

	begin();
	help_take(state, &from, 7, T0);
	from.seq = 4;
	report = help_report(&from);
	CU_ASSERT_EQUAL(mon_state_take(state, &report, 7, T0, &node), -W_EAGAIN);
	mon_report_free(&report);
	from = (struct help_report){ .node = "server-9", .role = "server", .seq = 1 };
	report = help_report(&from);
	CU_ASSERT_EQUAL(mon_state_take(state, &report, 7, T0, &node), -W_ENOTFOUND);
	mon_report_free(&report);
	from = (struct help_report){ .node = "server-1", .role = "balancer", .seq = 6 };
	report = help_report(&from);
	CU_ASSERT_EQUAL(mon_state_take(state, &report, 7, T0, &node), -W_EINVAL);
	mon_report_free(&report);
	end();
}

static void
silence(void)
{
	struct mon_node *node;

	begin();
	node = server(1, 0, HELP_REQUESTS(0, 0));
	mon_state_watch(state, T0 + 1999 * W_MSEC);
	CU_ASSERT_EQUAL(node->life, MON_UP);
	mon_state_watch(state, T0 + 2000 * W_MSEC);
	CU_ASSERT_EQUAL(node->life, MON_DOWN);
	CU_ASSERT_EQUAL(node->reason, MON_R_SILENT);
	CU_ASSERT(isnan(node->figures.rss));
	/* it was only hung */
	server(2, 10 * W_SEC, HELP_REQUESTS(0, 0));
	CU_ASSERT_EQUAL(node->life, MON_UP);
	CU_ASSERT_STRING_EQUAL(told, "node-state server-1 down>up -;"
				     "node-state server-1 up>down silent;"
				     "node-state server-1 down>up -;");
	end();
}

static void
broken_connection(void)
{
	struct mon_node *node;

	begin();
	node = server(1, 0, HELP_REQUESTS(0, 0));
	mon_state_disconnected(state, 6, T0 + 10 * W_MSEC); /* another's */
	mon_state_disconnected(state, 7, T0 + 100 * W_MSEC);
	mon_state_watch(state, T0 + 500 * W_MSEC);
	CU_ASSERT_EQUAL(node->life, MON_UP);
	/* it comes back in time */
	server(2, 550 * W_MSEC, HELP_REQUESTS(0, 0));
	mon_state_watch(state, T0 + 900 * W_MSEC);
	CU_ASSERT_EQUAL(node->life, MON_UP);
	/* and now it does not: a quarter of gone_after */
	mon_state_disconnected(state, 7, T0 + W_SEC);
	mon_state_watch(state, T0 + 1500 * W_MSEC);
	CU_ASSERT_EQUAL(node->life, MON_DOWN);
	CU_ASSERT_EQUAL(node->reason, MON_R_DISCONNECTED);
	end();
}

static void
descriptor_used_again(void)
{
	const struct help_report other = { .node = "server-2", .role = "server", .seq = 1 };
	struct mon_node *node;

	begin();
	node = server(1, 0, HELP_REQUESTS(0, 0));
	help_take(state, &other, 7, T0 + 100 * W_MSEC);
	mon_state_watch(state, T0 + 700 * W_MSEC);
	CU_ASSERT_EQUAL(node->reason, MON_R_DISCONNECTED);
	CU_ASSERT_EQUAL(mon_state_nth(state, 1)->life, MON_UP);
	end();
}

static void
stopped(void)
{
	struct help_report from = { .node = "server-1", .role = "server", .seq = 2,
		.state = "down" };
	struct mon_node *node;

	begin();
	server(1, 0, NULL);
	node = help_take(state, &from, 7, T0 + 10);
	CU_ASSERT_EQUAL(node->life, MON_DOWN);
	CU_ASSERT_EQUAL(node->reason, MON_R_STOPPED);
	/* the end of its connection and its silence are no news */
	mon_state_disconnected(state, 7, T0 + 20);
	mon_state_watch(state, T0 + 10 * W_SEC);
	CU_ASSERT_EQUAL(node->reason, MON_R_STOPPED);
	end();
}

#define DURATIONS(count, bucket)                                                                   \
	"{\"name\":\"weir_http_request_duration_seconds\",\"type\":\"histogram\",\"labels\":\"\"," \
	"\"count\":" #count ",\"sum\":0,\"buckets\":[[" #bucket "," #count "]]}"

static void
merging(void)
{
	struct help_report from = { .node = "server-1", .role = "server", .seq = 1 };
	const struct mon_cluster *view;

	begin();
	/* 95 requests in bucket 81 (about 1 ms) on one node, 5 in 161 (about 1 s) on the other */
	for (int seq = 1; seq <= 2; seq++) {
		from = (struct help_report){ .node = "server-1", .role = "server", .seq = seq,
			.time = seq * W_SEC };
		from.metrics = seq == 1 ? DURATIONS(0, 81) "," HELP_REQUESTS(0, 0)
		                        : DURATIONS(95, 81) "," HELP_REQUESTS(95, 0);
		help_take(state, &from, 7, T0 + seq * W_SEC);
		from.node = "server-2";
		from.metrics = seq == 1 ? DURATIONS(0, 161) "," HELP_REQUESTS(0, 0)
		                        : DURATIONS(5, 161) "," HELP_REQUESTS(0, 5);
		help_take(state, &from, 8, T0 + seq * W_SEC);
	}
	view = mon_state_view(state);
	CU_ASSERT_DOUBLE_EQUAL(view->requests, 100, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(view->errors, 5, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(view->ratio, 0.05, 1e-9);
	/* the mean of the two nodes' medians would be half a second */
	CU_ASSERT(view->windows[MON_W_1S].p50 > 0.0009 && view->windows[MON_W_1S].p50 < 0.0011);
	CU_ASSERT(view->windows[MON_W_1S].p99 > 0.9 && view->windows[MON_W_1S].p99 < 1.1);

	/* the windows keep it for as long as they are */
	mon_state_second(state, WALL);
	for (int i = 0; i < 9; i++)
		mon_state_second(state, WALL);
	CU_ASSERT_DOUBLE_EQUAL(view->windows[MON_W_10S].requests, 100, 1e-6);
	mon_state_second(state, WALL);
	CU_ASSERT_DOUBLE_EQUAL(view->windows[MON_W_10S].requests, 0, 1e-6);
	CU_ASSERT(isnan(view->windows[MON_W_10S].p50));
	CU_ASSERT_DOUBLE_EQUAL(view->windows[MON_W_1M].requests, 100, 1e-6);
	CU_ASSERT(view->windows[MON_W_1M].p99 > 0.9);
	end();
}

static struct mon_node *
database(const char *name, int seq, w_usec at, const char *members)
{
	const struct help_report from = { .node = name, .role = "database", .seq = seq,
		.time = at, .members = members };

	return help_take(state, &from, -1, T0 + at);
}

static void
lag(void)
{
	struct mon_node *replica;

	begin();
	database("db-2", 1, 0, "\"database\":\"replica\",\"timeline\":1,\"position\":1000,");
	replica = mon_state_find(state, W_VIEW("db-2"));
	CU_ASSERT(isnan(replica->figures.lag_bytes));
	CU_ASSERT_PTR_NULL(mon_state_view(state)->primary);

	database("db-1", 1, W_SEC, "\"database\":\"primary\",\"timeline\":1,\"position\":10000,");
	CU_ASSERT_STRING_EQUAL(mon_state_view(state)->primary->name, "db-1");
	CU_ASSERT_DOUBLE_EQUAL(mon_state_nth(state, 2)->figures.lag_bytes, 0, 1e-9);
	/*
	 * The primary goes from 10000 to 20000 in a second; the replica was at 14000 in the middle,
	 * where the primary was at 15000.
	 */
	database("db-2", 2, 1500 * W_MSEC,
	    "\"database\":\"replica\",\"timeline\":1,\"position\":14000,");
	database("db-1", 2, 2 * W_SEC,
	    "\"database\":\"primary\",\"timeline\":1,\"position\":20000,");
	CU_ASSERT_DOUBLE_EQUAL(replica->figures.lag_bytes, 1000, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(mon_state_view(state)->lag_bytes, 1000, 1e-6);

	/* two say primary: the one with the higher timeline is it */
	database("db-2", 3, 3 * W_SEC,
	    "\"database\":\"primary\",\"timeline\":2,\"position\":20000,");
	CU_ASSERT_STRING_EQUAL(mon_state_view(state)->primary->name, "db-2");
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "database-role db-2 replica>primary"));
	end();
}

static void
reload(void)
{
	static const char other[] = "cluster: {name: demo, keys: keys}\n"
				    "servers: [{name: server-1}, {name: server-3}]\n"
				    "monitors: [{name: monitor-1}]\n";
	W_AUTO(w_cluster_free) struct w_cluster *next = NULL;
	struct mon_node *node;

	begin();
	node = server(1, 0, HELP_REQUESTS(1, 0));
	next = help_cluster(other);
	told[0] = '\0';
	mon_state_reload(state, next, 3 * W_SEC, T0 + W_SEC);
	CU_ASSERT_EQUAL(mon_state_count(state), 3);
	CU_ASSERT_PTR_EQUAL(mon_state_nth(state, 0), node);
	CU_ASSERT_EQUAL(node->life, MON_UP);
	CU_ASSERT_PTR_NULL(mon_state_find(state, W_VIEW("server-2")));
	CU_ASSERT_EQUAL(mon_state_gone_after(state), 3 * W_SEC);
	CU_ASSERT_STRING_EQUAL(told, "node-added server-3 ->- -;node-removed server-2 ->- -;"
				     "node-removed db-1 ->- -;node-removed db-2 ->- -;");
	end();
}

static void
tiers(void)
{
	struct mon_history *history = mon_history_new();
	struct w_hist hist = { 0 };
	double point[MON_SERIES_COUNT];

	for (int i = 0; i < MON_SERIES_COUNT; i++)
		point[i] = NAN;
	for (int second = 0; second < 620; second++) {
		memset(&hist, 0, sizeof(hist));
		/* one slow second in ten */
		for (int i = 0; i < 100; i++)
			w_hist_observe(&hist, second % 10 == 9 ? W_SEC : W_MSEC);
		point[MON_S_REQUESTS] = second;
		point[MON_S_LAG] = second % 10;
		point[MON_S_P99] = 0.001;
		mon_history_push(history, point, &hist, WALL + second);
	}
	CU_ASSERT_EQUAL(mon_history_count(history, MON_TIER_1S), 600);
	CU_ASSERT_DOUBLE_EQUAL(mon_history_get(history, MON_TIER_1S, MON_S_REQUESTS, 0), 20, 1e-6);
	CU_ASSERT_DOUBLE_EQUAL(mon_history_get(history, MON_TIER_1S, MON_S_REQUESTS, 599), 619,
	    1e-6);
	CU_ASSERT(isnan(mon_history_get(history, MON_TIER_1S, MON_S_CPU, 0)));
	CU_ASSERT_EQUAL(mon_history_count(history, MON_TIER_10S), 62);
	CU_ASSERT_DOUBLE_EQUAL(mon_history_get(history, MON_TIER_10S, MON_S_REQUESTS, 0), 4.5,
	    1e-6);
	CU_ASSERT_DOUBLE_EQUAL(mon_history_get(history, MON_TIER_10S, MON_S_LAG, 0), 9, 1e-6);
	/* of the merged buckets, not of the seconds' percentiles */
	CU_ASSERT(mon_history_get(history, MON_TIER_10S, MON_S_P99, 0) > 0.9);
	CU_ASSERT(mon_history_get(history, MON_TIER_10S, MON_S_P50, 0) < 0.0011);
	CU_ASSERT_EQUAL(mon_history_count(history, MON_TIER_1M), 10);
	CU_ASSERT_EQUAL(mon_history_end(history, MON_TIER_1M), WALL + 599);
	CU_ASSERT(isnan(mon_history_get(history, MON_TIER_1M, MON_S_CPU, 9)));
	mon_history_free(&history);
}

static CU_TestInfo tests[] = {
	{ "a rate is growth by real time, lost and early reports included", rates },
	{ "a node whose clock was set has the same rate", clock_steps },
	{ "after a restart counters begin at 0", restart },
	{ "old, unknown and misplaced reports are refused", old_reports },
	{ "a silent node is gone, and comes back", silence },
	{ "a broken connection tells sooner than silence", broken_connection },
	{ "a descriptor used again is the end of its first owner", descriptor_used_again },
	{ "a stopped node is gone at once", stopped },
	{ "percentiles of the cluster come from merged buckets", merging },
	{ "lag is measured against the primary of the same moment", lag },
	{ "a reload keeps what is known of the nodes that stay", reload },
	{ "history has three tiers", tiers },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo state_suites[] = {
	{ .pName = "monitor/state",
	    .pInitFunc = help_init,
	    .pCleanupFunc = help_fini,
	    .pTests = tests },
	CU_SUITE_INFO_NULL,
};
