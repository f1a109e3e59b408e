/*
 * Rules: when alerts wait, fire and are resolved.
 */
#include <stdio.h>

#include "tests/unit/monitor/help.h"

static struct w_cluster *cluster;
static struct mon_state *state;
static struct mon_rules *rules;
static char told[1024]; /* the alerts so far */

static void
on_alert(void *arg W_UNUSED, const struct mon_alert *alert)
{
	size_t len = strlen(told);

	snprintf(told + len, sizeof(told) - len, "%s %s %s;", alert->rule,
	    alert->node[0] != '\0' ? alert->node : "-", mon_phase_name(alert->phase));
}

static void
begin(const char *alerts)
{
	W_AUTO(w_free) char *yaml = w_xasprintf("%s%s", help_yaml, alerts);
	struct w_fault fault = { 0 };

	cluster = help_cluster(yaml);
	state = mon_state_new(cluster, 2 * W_SEC, T0);
	if (mon_rules_new(cluster, &rules, &fault) < 0)
		fprintf(stderr, "%s\n", fault.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rules);
	mon_rules_listen(rules, on_alert, NULL);
	told[0] = '\0';
}

static void
end(void)
{
	mon_rules_free(&rules);
	mon_state_free(&state);
	w_cluster_free(&cluster);
}

/* Everything reports at a time, so that nobody is gone; the server has these metrics. */
static void
all_report(int seq, w_usec at, const char *metrics)
{
	const struct help_report all[] = {
		{ .node = "server-1", .role = "server", .metrics = metrics },
		{ .node = "server-2", .role = "server" },
		{ .node = "db-1", .role = "database",
		    .members = "\"database\":\"primary\",\"timeline\":1,\"position\":100000000," },
		{ .node = "db-2", .role = "database",
		    .members = "\"database\":\"replica\",\"timeline\":1,\"position\":100000000," },
		{ .node = "monitor-1", .role = "monitor" },
	};

	for (size_t i = 0; i < W_NELEM(all); i++) {
		struct help_report from = all[i];

		from.seq = seq;
		from.time = at;
		help_take(state, &from, 10 + (int)i, T0 + at);
	}
	mon_rules_judge(rules, state, NULL, T0 + at);
}

static void
nothing_fires(void)
{
	begin("");
	all_report(1, 0, NULL);
	all_report(2, W_SEC, NULL);
	CU_ASSERT_STRING_EQUAL(told, "");
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_PENDING), 0);
	CU_ASSERT_EQUAL(mon_rules_count(rules), 11);
	end();
}

static void
hold(void)
{
	begin("alerts: [{name: hot, value: \"metric:heat\", threshold: 50, hold: 2s}]\n");
	all_report(1, 0, "{\"name\":\"heat\",\"type\":\"gauge\",\"value\":51}");
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_PENDING), 1);
	/* it ends in time */
	all_report(2, W_SEC, "{\"name\":\"heat\",\"type\":\"gauge\",\"value\":50}");
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_PENDING), 0);
	all_report(3, 2 * W_SEC, "{\"name\":\"heat\",\"type\":\"gauge\",\"value\":60}");
	all_report(4, 3 * W_SEC, "{\"name\":\"heat\",\"type\":\"gauge\",\"value\":60}");
	CU_ASSERT_STRING_EQUAL(told, "");
	mon_rules_judge(rules, state, NULL, T0 + 4 * W_SEC);
	CU_ASSERT_STRING_EQUAL(told, "hot server-1 firing;");
	/* once is enough */
	mon_rules_judge(rules, state, NULL, T0 + 4 * W_SEC + 1);
	CU_ASSERT_STRING_EQUAL(told, "hot server-1 firing;");
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_FIRING), 1);
	/* the value goes away altogether */
	all_report(5, 5 * W_SEC, NULL);
	CU_ASSERT_STRING_EQUAL(told, "hot server-1 firing;hot server-1 resolved;");
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_FIRING), 0);
	CU_ASSERT_STRING_EQUAL(mon_rules_resolved(rules, 0)->rule, "hot");
	CU_ASSERT(mon_rules_resolved(rules, 0)->ends >= mon_rules_resolved(rules, 0)->starts);
	CU_ASSERT_PTR_NULL(mon_rules_resolved(rules, 1));
	end();
}

static void
node_gone(void)
{
	begin("");
	all_report(1, 0, NULL);
	mon_state_disconnected(state, 10, T0 + 100 * W_MSEC);
	mon_state_watch(state, T0 + 600 * W_MSEC);
	mon_rules_judge(rules, state, NULL, T0 + 600 * W_MSEC);
	CU_ASSERT_STRING_EQUAL(told, "node-gone server-1 firing;");
	CU_ASSERT_STRING_EQUAL(mon_rules_alert(rules, 0)->reason, "disconnected");
	CU_ASSERT_STRING_EQUAL(mon_rules_alert(rules, 0)->summary,
	    "server-1 (server) is gone: its connection broke");
	CU_ASSERT_STRING_EQUAL(mon_rules_alert(rules, 0)->severity, "critical");
	all_report(2, W_SEC, NULL);
	CU_ASSERT_STRING_EQUAL(told, "node-gone server-1 firing;node-gone server-1 resolved;");
	end();
}

static void
node_crashed(void)
{
	struct help_report from = { .node = "server-1", .role = "server", .seq = 1,
		.epoch = W_SEC, .time = W_SEC + 100 * W_MSEC };

	begin("");
	all_report(1, 0, NULL);
	/* a supervisor was quicker than any silence */
	mon_state_disconnected(state, 10, T0 + W_SEC);
	help_take(state, &from, 20, T0 + W_SEC + 100 * W_MSEC);
	mon_rules_judge(rules, state, NULL, T0 + W_SEC + 100 * W_MSEC);
	CU_ASSERT_STRING_EQUAL(told, "node-crashed server-1 firing;");
	CU_ASSERT_STRING_EQUAL(mon_rules_alert(rules, 0)->summary,
	    "server-1 (server) ended without a word and was started again");

	/* in order: it says so, and the alert is that it is gone */
	told[0] = '\0';
	from.seq = 2;
	from.state = "down";
	help_take(state, &from, 20, T0 + 2 * W_SEC);
	mon_rules_judge(rules, state, mon_state_nth(state, 0), T0 + 2 * W_SEC);
	from = (struct help_report){ .node = "server-1", .role = "server", .seq = 1,
		.epoch = 3 * W_SEC, .time = 3 * W_SEC };
	help_take(state, &from, 21, T0 + 3 * W_SEC);
	mon_rules_judge(rules, state, mon_state_nth(state, 0), T0 + 3 * W_SEC);
	CU_ASSERT_STRING_EQUAL(told,
	    "node-gone server-1 firing;node-gone server-1 resolved;");
	mon_rules_judge(rules, state, mon_state_nth(state, 0),
	    T0 + W_SEC + 100 * W_MSEC + MON_CRASH_SHOWN);
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "node-crashed server-1 resolved;"));
	end();
}

static void
never_seen(void)
{
	begin("");
	mon_rules_judge(rules, state, NULL, T0 + MON_NODE_GRACE - 1);
	CU_ASSERT_STRING_EQUAL(told, "");
	mon_rules_judge(rules, state, NULL, T0 + MON_NODE_GRACE);
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_FIRING), 5);
	/* a cluster that begins has its first primary later than its nodes */
	CU_ASSERT_PTR_NULL(strstr(told, "no-primary"));
	mon_rules_judge(rules, state, NULL, T0 + MON_PRIMARY_GRACE);
	mon_rules_judge(rules, state, NULL, T0 + MON_PRIMARY_GRACE + W_SEC);
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "no-primary - firing"));
	end();
}

static void
no_primary(void)
{
	struct help_report from = { .node = "db-1", .role = "database", .seq = 2,
		.members = "\"database\":\"none\"," };

	begin("");
	all_report(1, 0, NULL);
	help_take(state, &from, 12, T0 + 1);
	mon_rules_judge(rules, state, mon_state_find(state, W_VIEW("db-1")), T0 + 1);
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_PENDING), 1);
	mon_rules_judge(rules, state, NULL, T0 + 1 + W_SEC);
	CU_ASSERT_STRING_EQUAL(told, "no-primary - firing;");
	all_report(3, 1500 * W_MSEC, NULL);
	CU_ASSERT_STRING_EQUAL(told, "no-primary - firing;no-primary - resolved;");
	end();
}

static void
failover(void)
{
	struct mon_failover f = { .known = true, .degraded = "no-leader" };

	begin("");
	all_report(1, 0, NULL);
	/* a cluster in the making */
	mon_state_set_failover(state, &f);
	mon_rules_judge(rules, state, NULL, T0 + W_SEC);
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_PENDING), 0);

	/* it has a leader, and its followers are being cloned */
	snprintf(f.leader, sizeof(f.leader), "db-1");
	snprintf(f.degraded, sizeof(f.degraded), "no-quorum");
	mon_state_set_failover(state, &f);
	mon_rules_judge(rules, state, NULL, T0 + W_SEC);
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_PENDING), 0);
	f.degraded[0] = '\0';
	mon_state_set_failover(state, &f);

	snprintf(f.degraded, sizeof(f.degraded), "no-spare");
	mon_state_set_failover(state, &f);
	for (int i = 2; i <= 12; i++)
		all_report(i, i * W_SEC, NULL);
	CU_ASSERT_STRING_EQUAL(told, "failover-no-spare - firing;");
	CU_ASSERT_STRING_EQUAL(mon_rules_alert(rules, 0)->severity, "warning");
	CU_ASSERT_STRING_EQUAL(mon_rules_alert(rules, 0)->summary,
	    "cluster demo cannot lose one more database without a stop of writes or of failover");

	told[0] = '\0';
	f.degraded[0] = '\0';
	f.established_at = T0 + 12 * W_SEC;
	mon_state_set_failover(state, &f);
	all_report(13, 13 * W_SEC, NULL);
	CU_ASSERT_STRING_EQUAL(told, "failover-no-spare - resolved;failover-happened - firing;");
	/* no promoter, nothing to say */
	told[0] = '\0';
	f = (struct mon_failover){ .degraded = "no-leader" };
	mon_state_set_failover(state, &f);
	all_report(14, 14 * W_SEC, NULL);
	CU_ASSERT_STRING_EQUAL(told, "failover-happened - resolved;");
	end();
}

static void
ratio(void)
{
	begin("alerts: [{name: errors-5xx, value: ratio_5xx, threshold: 0.05, severity: info}]\n");
	all_report(1, 0, HELP_REQUESTS(0, 0));
	/* one in a second of which half failed: too few to judge */
	all_report(2, 2 * W_SEC, HELP_REQUESTS(0, 1));
	CU_ASSERT_STRING_EQUAL(told, "");
	all_report(3, 3 * W_SEC, HELP_REQUESTS(94, 7));
	CU_ASSERT_STRING_EQUAL(told, "errors-5xx - firing;");
	CU_ASSERT_STRING_EQUAL(mon_rules_alert(rules, 0)->severity, "info");
	CU_ASSERT_EQUAL(mon_rules_count(rules), 11);
	all_report(4, 4 * W_SEC, HELP_REQUESTS(194, 12));
	CU_ASSERT_STRING_EQUAL(told, "errors-5xx - firing;errors-5xx - resolved;");
	end();
}

static void
lag(void)
{
	struct help_report from = { .node = "db-2", .role = "database",
		.members = "\"database\":\"replica\",\"timeline\":1,\"position\":30000000," };

	begin("");
	for (int seq = 1; seq <= 7; seq++) {
		all_report(2 * seq, seq * W_SEC, NULL);
		from.seq = 2 * seq + 1;
		from.time = seq * W_SEC;
		help_take(state, &from, 13, T0 + seq * W_SEC);
		/* the report that said otherwise was judged a moment ago, too: */
		if (seq > 1)
			continue;
		mon_rules_judge(rules, state, NULL, T0 + seq * W_SEC);
		CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_PENDING), 1);
	}
	mon_rules_judge(rules, state, NULL, T0 + 8 * W_SEC);
	CU_ASSERT_STRING_EQUAL(told, "");
	mon_rules_judge(rules, state, NULL, T0 + 13 * W_SEC);
	CU_ASSERT_STRING_EQUAL(told, "replica-lag db-2 firing;");
	CU_ASSERT_DOUBLE_EQUAL(mon_rules_alert(rules, 0)->value, 70000000, 1);
	end();
}

static void
values(void)
{
	begin("alerts:\n"
	      "  - {name: a, value: \"node:requests_per_second\", threshold: 5}\n"
	      "  - {name: b, value: requests_per_second, compare: \">=\", threshold: 10}\n"
	      "  - {name: c, value: 'metric:weir_http_requests_total{code=\"5xx\"}', "
	      "compare: \"==\", threshold: 2}\n"
	      "  - {name: d, value: nodes_down, compare: \"!=\", threshold: 0}\n"
	      "  - {name: e, value: cpu_ratio, compare: \"<\", threshold: 0.1}\n");
	all_report(1, 0, HELP_REQUESTS(0, 0));
	all_report(2, W_SEC, HELP_REQUESTS(8, 2));
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "a server-1 firing;"));
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "b - firing;"));
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "c server-1 firing;"));
	CU_ASSERT_PTR_NULL(strstr(told, "d -"));
	CU_ASSERT_PTR_NOT_NULL(strstr(told, "e server-2 firing;"));
	end();
}

static void
refuse(const char *value)
{
	W_AUTO(w_free) char *yaml =
	    w_xasprintf("%salerts: [{name: x, value: '%s'}]\n", help_yaml, value);
	W_AUTO(w_cluster_free) struct w_cluster *bad = help_cluster(yaml);
	struct mon_rules *none = NULL;
	struct w_fault fault = { 0 };

	CU_ASSERT_EQUAL(mon_rules_new(bad, &none, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NULL(none);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "alert x"));
}

static void
unknown_values(void)
{
	refuse("nonsense");
	refuse("node:no_primary");
	refuse("metric:");
	refuse("metric:a{");
	refuse("metric:a{b}");
	refuse("metric:a{node=\"b\"}");
}

static void
reload(void)
{
	static const char one[] = "alerts: [{name: hot, value: \"metric:heat\", threshold: 50},"
				  " {name: cold, value: \"metric:heat\", threshold: 10}]\n";
	static const char two[] = "alerts: [{name: hot, value: \"metric:heat\", threshold: 55}]\n";
	W_AUTO(w_free) char *yaml = w_xasprintf("%s%s", help_yaml, two);
	W_AUTO(w_cluster_free) struct w_cluster *next = NULL;
	struct mon_rules *other = NULL;
	uint64_t fingerprint;

	begin(one);
	all_report(1, 0, "{\"name\":\"heat\",\"type\":\"gauge\",\"value\":60}");
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_FIRING), 2);
	fingerprint = mon_rules_alert(rules, 0)->fingerprint;
	told[0] = '\0';
	next = help_cluster(yaml);
	CU_ASSERT_EQUAL_FATAL(mon_rules_new(next, &other, NULL), W_OK);
	mon_rules_listen(other, on_alert, NULL);
	mon_rules_move(rules, other, state);
	mon_rules_free(&rules);
	rules = other;
	mon_rules_judge(rules, state, NULL, T0 + 1);
	/* the one that is still a rule goes on without a word */
	CU_ASSERT_STRING_EQUAL(told, "cold server-1 resolved;");
	CU_ASSERT_EQUAL(mon_rules_in_phase(rules, MON_FIRING), 1);
	CU_ASSERT_EQUAL(mon_rules_alert(rules, 0)->fingerprint, fingerprint);
	CU_ASSERT_DOUBLE_EQUAL(mon_rules_alert(rules, 0)->threshold, 55, 1e-9);
	end();
}

static CU_TestInfo tests[] = {
	{ "a cluster that is well has no alerts", nothing_fires },
	{ "an alert waits for its hold, fires once, is resolved once", hold },
	{ "a node whose connection broke fires with its reason", node_gone },
	{ "a node that fell and was started at once is told, one that was stopped is not", node_crashed },
	{ "who was never seen is given time at first", never_seen },
	{ "no primary fires after a second", no_primary },
	{ "degraded states and failovers fire, but not of a cluster in the making", failover },
	{ "few requests have no error ratio; a rule of the file replaces a default", ratio },
	{ "a replica's lag fires when it stays", lag },
	{ "values are the cluster's, a node's or a metric's", values },
	{ "values that nobody knows are refused by name", unknown_values },
	{ "a reload keeps the alerts of rules that stay", reload },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo rules_suites[] = {
	{ .pName = "monitor/rules",
	    .pInitFunc = help_init,
	    .pCleanupFunc = help_fini,
	    .pTests = tests },
	CU_SUITE_INFO_NULL,
};
