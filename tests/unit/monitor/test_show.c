/*
 * The exposition format, letter by letter; and JSON as a parser reads it.
 */
#include <jansson.h>
#include <stdio.h>

#include "monitor/show.h"
#include "tests/unit/monitor/help.h"

static struct w_cluster *cluster;
static struct mon_state *state;
static struct mon_rules *rules;

static void
begin(const char *yaml)
{
	cluster = help_cluster(yaml);
	state = mon_state_new(cluster, 2 * W_SEC, T0);
	CU_ASSERT_EQUAL_FATAL(mon_rules_new(cluster, &rules, NULL), W_OK);
}

static void
end(void)
{
	mon_rules_free(&rules);
	mon_state_free(&state);
	w_cluster_free(&cluster);
}

static const char two[] = "cluster: {name: 'de\"mo\\', keys: keys}\n"
			  "servers: [{name: server-1}, {name: server-2}]\n"
			  "monitors: [{name: monitor-1}]\n";

#define ID "cluster=\"de\\\"mo\\\\\",node=\"server-"

static const char golden_head[] =
    "# HELP weir_up Whether the node reports and is up.\n"
    "# TYPE weir_up gauge\n"
    "weir_up{" ID "1\",role=\"server\"} 1\n"
    "weir_up{" ID "2\",role=\"server\"} 1\n"
    "weir_up{cluster=\"de\\\"mo\\\\\",node=\"monitor-1\",role=\"monitor\"} 0\n"
    "# HELP weir_alert_firing Alerts that fire now.\n"
    "# TYPE weir_alert_firing gauge\n"
    "# HELP weir_a_ratio A back\\\\slash and a line\\nbreak.\n"
    "# TYPE weir_a_ratio gauge\n"
    "weir_a_ratio{" ID "2\",role=\"server\"} 0.125\n"
    "# HELP weir_b_total Help.\n"
    "# TYPE weir_b_total counter\n"
    "weir_b_total{" ID "1\",role=\"server\",x=\"1\"} 4\n"
    "weir_b_total{" ID "1\",role=\"server\",x=\"2\"} 1e+20\n"
    "weir_b_total{" ID "2\",role=\"server\",x=\"1\"} 5\n"
    "# HELP weir_h_seconds Times.\n"
    "# TYPE weir_h_seconds histogram\n"
    "weir_h_seconds_bucket{" ID "1\",role=\"server\",le=\"6.4e-05\"} 2\n"
    "weir_h_seconds_bucket{" ID "1\",role=\"server\",le=\"0.000128\"} 3\n";

static const char golden_tail[] =
    "weir_h_seconds_bucket{" ID "1\",role=\"server\",le=\"67.108864\"} 3\n"
    "weir_h_seconds_bucket{" ID "1\",role=\"server\",le=\"+Inf\"} 4\n"
    "weir_h_seconds_sum{" ID "1\",role=\"server\"} 100.000212\n"
    "weir_h_seconds_count{" ID "1\",role=\"server\"} 4\n";

static void
exposition(void)
{
	const struct help_report one = { .node = "server-1", .role = "server", .seq = 1,
		.metrics = "{\"name\":\"weir_h_seconds\",\"type\":\"histogram\",\"labels\":\"\","
			   "\"help\":\"Times.\",\"count\":4,\"sum\":100000212,"
			   "\"buckets\":[[0,1],[49,1],[57,1],[249,1]]},"
		    HELP_COUNTER("weir_b_total", "x=\\\"2\\\"", 1e20) "," HELP_COUNTER(
			"weir_b_total", "x=\\\"1\\\"", 4) };
	/* another type for the same name loses */
	const struct help_report other = { .node = "server-2", .role = "server", .seq = 1,
		.metrics = HELP_COUNTER("weir_b_total", "x=\\\"1\\\"", 5) ","
			   HELP_COUNTER("weir_h_seconds", "", 5) ","
			   HELP_COUNTER("weir_up", "", 5) ","
			   "{\"name\":\"weir_a_ratio\",\"type\":\"gauge\",\"labels\":\"\",\"value\":0.125,"
			   "\"help\":\"A back\\\\slash and a line\\nbreak.\"}" };
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };

	begin(two);
	help_take(state, &one, 1, T0);
	help_take(state, &other, 2, T0);
	mon_show_metrics(&out, state, rules);
	w_buf_char(&out, '\0');
	CU_ASSERT_NSTRING_EQUAL(out.ptr, golden_head, strlen(golden_head));
	CU_ASSERT_FATAL(out.len > strlen(golden_tail));
	CU_ASSERT_STRING_EQUAL(out.ptr + strlen(out.ptr) - strlen(golden_tail), golden_tail);

	/* who is down says nothing */
	mon_state_watch(state, T0 + 3 * W_SEC);
	w_buf_clear(&out);
	mon_show_metrics(&out, state, rules);
	w_buf_char(&out, '\0');
	CU_ASSERT_PTR_NULL(strstr(out.ptr, "weir_b_total"));
	end();
}

static json_t *
shown(void (*show)(struct w_json *json))
{
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;
	json_t *root;

	w_json_init(&json, &out);
	show(&json);
	CU_ASSERT_FALSE_FATAL(w_buf_broken(&out));
	root = json_loadb(out.ptr, out.len, 0, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	return root;
}

static void
show_database(struct w_json *json)
{
	mon_show_node(json, state, mon_state_find(state, W_VIEW("db-1")), T0 + 1500 * W_MSEC);
}

static const char *
text(json_t *root, const char *key)
{
	const char *value = json_string_value(json_object_get(root, key));

	return value != NULL ? value : "";
}

static void
nodes(void)
{
	const struct help_report from = { .node = "db-1", .role = "database", .seq = 1,
		.members = "\"database\":\"primary\",\"postgres_pid\":77,\"timeline\":4,"
			   "\"position\":123," };
	json_t *root;

	begin(help_yaml);
	root = shown(show_database);
	CU_ASSERT_STRING_EQUAL(text(root, "state"), "down");
	CU_ASSERT_STRING_EQUAL(text(root, "reason"), "never-seen");
	CU_ASSERT_STRING_EQUAL(text(root, "database"), "none");
	CU_ASSERT(json_is_null(json_object_get(root, "pid")));
	json_decref(root);

	help_take(state, &from, 1, T0);
	root = shown(show_database);
	CU_ASSERT_STRING_EQUAL(text(root, "name"), "db-1");
	CU_ASSERT_STRING_EQUAL(text(root, "role"), "database");
	CU_ASSERT_STRING_EQUAL(text(root, "state"), "up");
	CU_ASSERT(json_is_null(json_object_get(root, "reason")));
	CU_ASSERT_STRING_EQUAL(text(root, "database"), "primary");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "pid")), 42);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "postgres_pid")), 77);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "timeline")), 4);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "lag_bytes")), 0);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "seen_ms")), 1500);
	CU_ASSERT(json_is_null(json_object_get(root, "requests_per_second")));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "seen_by")), 0);
	json_decref(root);
	end();
}

#define SEES(fit, gated)                                                                           \
	HELP_GAUGE("weir_db_node_fit", "database=\\\"db-1\\\"", fit)                               \
	"," HELP_GAUGE("weir_db_node_fit", "database=\\\"db-2\\\"", 0)                             \
	"," HELP_GAUGE("weir_db_node_gated", "database=\\\"db-1\\\"", gated)

static void
seen_by_servers(void)
{
	static const struct help_report from[] = {
		{ .node = "server-1", .role = "server", .seq = 1, .metrics = SEES(1, 0) },
		{ .node = "server-2", .role = "server", .seq = 1, .metrics = SEES(0, 1) },
		{ .node = "server-2", .role = "server", .seq = 2, .state = "down", .metrics = SEES(0, 1) },
	};
	json_t *root;

	begin(help_yaml);
	help_take(state, &from[0], 1, T0);
	help_take(state, &from[1], 2, T0);
	root = shown(show_database);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "seen_by")), 2);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "fit_for")), 1);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "gated_by")), 1);
	json_decref(root);

	/* a server that is down sees nothing */
	help_take(state, &from[2], 2, T0);
	root = shown(show_database);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "seen_by")), 1);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "fit_for")), 1);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "gated_by")), 0);
	json_decref(root);
	end();
}

static void
show_alert(struct w_json *json)
{
	mon_show_webhook_alert(json, mon_rules_alert(rules, 0));
}

static void
webhook_alert(void)
{
	json_t *root, *labels;

	begin(help_yaml);
	mon_rules_judge(rules, state, NULL, T0 + MON_NODE_GRACE);
	root = shown(show_alert);
	labels = json_object_get(root, "labels");
	CU_ASSERT_STRING_EQUAL(text(root, "status"), "firing");
	CU_ASSERT_STRING_EQUAL(text(labels, "alertname"), "node-gone");
	CU_ASSERT_STRING_EQUAL(text(labels, "node"), "server-1");
	CU_ASSERT_STRING_EQUAL(text(labels, "severity"), "critical");
	CU_ASSERT_STRING_EQUAL(text(labels, "cluster"), "demo");
	CU_ASSERT_STRING_EQUAL(text(labels, "reason"), "never-seen");
	CU_ASSERT_STRING_EQUAL(text(json_object_get(root, "annotations"), "summary"),
	    "server-1 (server) is gone: it never reported");
	CU_ASSERT_EQUAL(strlen(text(root, "startsAt")), strlen("2026-11-23T10:00:00.123Z"));
	CU_ASSERT_STRING_EQUAL(text(root, "endsAt"), "0001-01-01T00:00:00Z");
	CU_ASSERT_EQUAL(strlen(text(root, "fingerprint")), 16);
	json_decref(root);
	end();
}

/* Letter by letter: these are what the feed's document promises. */
static void
failover(void)
{
	struct mon_failover f = { .known = true, .state = "steady", .leader = "db-2",
		.why = "db-2 has \"it\"", .term = 6, .spare = true, .fresh = 3, .cohort = 3, .needed = 2,
		.in_force = "db-1,db-2/1", .configured = "db-1,db-2,db-3/1", .change = "it begins",
		.elections = 1, .switchovers = 2, .failures = 4, .last_gap = 171300, .moves = 9,
		.last = { .time = WALL, .move = { .name = "established", .from = "electing",
				.to = "steady", .term = 6, .node = "db-2", .took = 171300 } } };
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct w_json json;

	w_json_init(&json, &out);
	mon_show_failover(&json, &f);
	w_buf_char(&out, '\0');
	CU_ASSERT_STRING_EQUAL(out.ptr,
	    "{\"state\":\"steady\",\"term\":6,\"leader\":\"db-2\",\"paused\":false,\"spare\":true,"
	    "\"degraded\":null,\"why\":\"db-2 has \\\"it\\\"\",\"fresh\":3,\"cohort\":3,\"needed\":2,"
	    "\"in_force\":\"db-1,db-2/1\",\"configured\":\"db-1,db-2,db-3/1\",\"change\":\"it begins\","
	    "\"elections\":1,\"switchovers\":2,\"failures\":4,\"last_gap_ms\":171.3,\"moves\":9,"
	    "\"last\":{\"time\":1795341600000000,\"name\":\"established\",\"from\":\"electing\","
	    "\"to\":\"steady\",\"term\":6,\"node\":\"db-2\",\"why\":null,\"took_ms\":171.3}}");

	/* nothing is known where no promoter works, and no move was made by a young one */
	w_buf_clear(&out);
	f.known = false;
	w_json_init(&json, &out);
	mon_show_failover(&json, &f);
	w_buf_char(&out, '\0');
	CU_ASSERT_STRING_EQUAL(out.ptr, "null");
	w_buf_clear(&out);
	f = (struct mon_failover){ .known = true, .state = "looking" };
	w_json_init(&json, &out);
	mon_show_failover(&json, &f);
	w_buf_char(&out, '\0');
	CU_ASSERT_PTR_NOT_NULL(strstr(out.ptr, "\"leader\":null,"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out.ptr, "\"last_gap_ms\":null,\"moves\":0,\"last\":null}"));
}

static CU_TestInfo tests[] = {
	{ "the exposition is what Prometheus wants, families in one piece", exposition },
	{ "a node's JSON knows what is not known", nodes },
	{ "a database is fit for those servers that say so", seen_by_servers },
	{ "what the promoter is at, and its moves, are as the feed promises", failover },
	{ "an alert for a webhook is Alertmanager's", webhook_alert },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo show_suites[] = {
	{ .pName = "monitor/show",
	    .pInitFunc = help_init,
	    .pCleanupFunc = help_fini,
	    .pTests = tests },
	CU_SUITE_INFO_NULL,
};
