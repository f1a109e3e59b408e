/*
 * Reports: what is taken of them, and what is not.
 */
#include <stdio.h>

#include "tests/unit/monitor/help.h"

static int
parse(const char *text)
{
	struct mon_report *report = NULL;
	struct w_fault fault = { 0 };
	int rc = mon_report_parse(w_view_of(text), &report, &fault);

	CU_ASSERT((rc == W_OK) == (report != NULL));
	CU_ASSERT(rc == W_OK || fault.text[0] != '\0');
	mon_report_free(&report);
	return rc;
}

static void
whole_report(void)
{
	const struct help_report from = { .node = "db-1", .role = "database", .seq = 7,
		.time = 9 * W_SEC,
		.members = "\"database\":\"replica\",\"postgres_pid\":99,\"timeline\":3,"
			   "\"position\":5000,\"received\":6000,\"lag_seconds\":0.25,\"sessions\":4,"
			   "\"standbys\":1,\"later\":{\"x\":[1]},",
		.metrics = HELP_COUNTER("weir_b_total", "", 2) "," HELP_COUNTER("weir_a_total",
		    "x=\\\"2\\\"", 3) "," HELP_COUNTER("weir_a_total", "x=\\\"1\\\"", 4.5) };
	W_AUTO(mon_report_free) struct mon_report *report = help_report(&from);
	unsigned count;

	CU_ASSERT_STRING_EQUAL(report->node, "db-1");
	CU_ASSERT_EQUAL(report->role, W_DATABASE);
	CU_ASSERT_EQUAL(report->life, MON_UP);
	CU_ASSERT_EQUAL(report->epoch, WALL);
	CU_ASSERT_EQUAL(report->seq, 7);
	CU_ASSERT_EQUAL(report->pid, 42);
	CU_ASSERT_EQUAL(report->db.kind, MON_DB_REPLICA);
	CU_ASSERT_EQUAL(report->db.postgres_pid, 99);
	CU_ASSERT_EQUAL(report->db.position, 5000);
	CU_ASSERT_DOUBLE_EQUAL(report->db.lag_seconds, 0.25, 1e-9);
	CU_ASSERT_EQUAL(report->count, 3);
	CU_ASSERT_EQUAL(report->skipped, 0);

	CU_ASSERT_PTR_NOT_NULL(mon_report_family(report, W_VIEW("weir_a_total"), &count));
	CU_ASSERT_EQUAL(count, 2);
	CU_ASSERT_DOUBLE_EQUAL(mon_report_sum(report, W_VIEW("weir_a_total")), 7.5, 1e-9);
	CU_ASSERT_PTR_NOT_NULL(mon_report_find(report, W_VIEW("weir_a_total"), W_VIEW("x=\"1\"")));
	CU_ASSERT_PTR_NULL(mon_report_find(report, W_VIEW("weir_a_total"), W_VIEW("x=\"3\"")));
	CU_ASSERT_PTR_NULL(mon_report_family(report, W_VIEW("weir_c_total"), &count));
	CU_ASSERT_EQUAL(count, 0);
}

static void
sights(void)
{
	static const struct {
		const char *members, *role, *primary;
		unsigned others;
		bool there;
	} table[] = {
		{ "\"databases\":{\"primary\":\"db-1\",\"answering\":3},", "server", "db-1", 2, true },
		{ "\"databases\":{\"primary\":\"db-1\",\"answering\":0},", "server", "db-1", 0, true },
		{ "\"databases\":{\"primary\":null,\"answering\":2},", "server", "", 2, true },
		/* a primary that answers and is not in force is no other database */
		{ "\"databases\":{\"primary\":null,\"answering\":2,\"nodes\":[{\"role\":\"primary\"},"
		  "{\"role\":\"replica\"},{\"role\":\"down\"},7]},", "server", "", 1, true },
		/* a replica that is silent is not down yet, and does not answer */
		{ "\"databases\":{\"primary\":null,\"answering\":1,\"nodes\":[{\"role\":\"down\"},"
		  "{\"role\":\"replica\"},{\"role\":\"replica\"}]},", "server", "", 1, true },
		{ "\"databases\":{\"primary\":null,\"answering\":0,\"later\":1},", "server", "", 0, true },
		{ "", "server", "", 0, false },
		{ "\"databases\":null,", "server", "", 0, false },
		{ "\"databases\":[1],", "server", "", 0, false },
		{ "\"databases\":{\"answering\":2},", "server", "", 0, false },
		{ "\"databases\":{\"primary\":null},", "server", "", 0, false },
		{ "\"databases\":{\"primary\":\"\",\"answering\":2},", "server", "", 0, false },
		{ "\"databases\":{\"primary\":7,\"answering\":2},", "server", "", 0, false },
		{ "\"databases\":{\"primary\":\"db-1\",\"answering\":-1},", "server", "", 0, false },
		{ "\"databases\":{\"primary\":\"db-1\",\"answering\":1.5},", "server", "", 0, false },
		/* who is no server is no witness */
		{ "\"databases\":{\"primary\":\"db-1\",\"answering\":2},", "balancer", "", 0, false },
	};

	for (size_t i = 0; i < W_NELEM(table); i++) {
		const struct help_report from = { .node = "server-1", .role = table[i].role, .seq = 1,
			.members = table[i].members };
		W_AUTO(mon_report_free) struct mon_report *report = help_report(&from);

		CU_ASSERT_EQUAL(report->sight.there, table[i].there);
		CU_ASSERT_EQUAL(report->sight.others, table[i].others);
		CU_ASSERT_STRING_EQUAL(report->sight.primary, table[i].primary);
	}
}

static void
garbage(void)
{
	static const char *const bad[] = { "", "{", "null", "[]", "7", "\"x\"", "{}",
		"{\"v\":2,\"node\":\"a\",\"role\":\"server\",\"epoch\":1,\"time\":1,\"state\":\"up\","
		"\"metrics\":[]}",
		"{\"v\":1,\"node\":\"\",\"role\":\"server\",\"epoch\":1,\"time\":1,\"state\":\"up\","
		"\"metrics\":[]}",
		"{\"v\":1,\"node\":\"a\",\"role\":\"king\",\"epoch\":1,\"time\":1,\"state\":\"up\","
		"\"metrics\":[]}",
		"{\"v\":1,\"node\":\"a\",\"role\":\"server\",\"epoch\":1,\"time\":1,\"state\":\"ill\","
		"\"metrics\":[]}",
		"{\"v\":1,\"node\":\"a\",\"role\":\"server\",\"epoch\":0,\"time\":1,\"state\":\"up\","
		"\"metrics\":[]}",
		"{\"v\":1,\"node\":\"a\",\"role\":\"server\",\"epoch\":1,\"time\":1,\"state\":\"up\","
		"\"metrics\":{}}",
		"{\"v\":1,\"node\":\"a\",\"role\":\"server\",\"epoch\":1,\"time\":1,\"state\":\"up\"}" };

	for (size_t i = 0; i < W_NELEM(bad); i++)
		CU_ASSERT(parse(bad[i]) < 0);
	CU_ASSERT_EQUAL(parse("{\"v\":1,\"node\":\"a\",\"role\":\"server\",\"epoch\":1,\"time\":1,"
			      "\"state\":\"up\",\"metrics\":[]}"),
	    W_OK);
}

static void
too_big(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct mon_report *report = NULL;

	for (size_t i = 0; i <= MON_REPORT_MAX; i++)
		w_buf_char(&text, ' ');
	CU_ASSERT_EQUAL(mon_report_parse(w_buf_get(&text), &report, NULL), -W_ETOOBIG);

	/* deep nesting within the size */
	w_buf_clear(&text);
	for (size_t i = 0; i < MON_REPORT_MAX; i++)
		w_buf_char(&text, '[');
	CU_ASSERT_EQUAL(mon_report_parse(w_buf_get(&text), &report, NULL), -W_EJSON);
	CU_ASSERT_PTR_NULL(report);
}

static void
bad_metrics_are_skipped(void)
{
	const struct help_report from = { .node = "a", .role = "server",
		.metrics = HELP_COUNTER("ok_total", "", 1)
		    "," HELP_COUNTER("ok_total", "", 2)              /* twice */
		    "," HELP_COUNTER("bad name", "", 1)              /* no name */
		    "," HELP_COUNTER("x_total", "a=1", 1)            /* no label */
		    "," HELP_COUNTER("x_total", "node=\\\"b\\\"", 1) /* reserved */
		    "," HELP_COUNTER("x_total", "a=\\\"\\n\\\"} 1\\n", 1) /* a line break */
		    ",{\"name\":\"y\",\"type\":\"summary\",\"labels\":\"\",\"value\":1}"
		    ",{\"name\":\"y\",\"type\":\"gauge\",\"labels\":\"\"}"
		    ",{\"name\":\"h\",\"type\":\"histogram\",\"buckets\":[[250,1]]}"
		    ",{\"name\":\"h\",\"type\":\"histogram\",\"buckets\":[[3,1],[3,1]]}"
		    ",{\"name\":\"h\",\"type\":\"histogram\",\"buckets\":[[3,-1]]}"
		    ",7,null,[]" };
	W_AUTO(mon_report_free) struct mon_report *report = help_report(&from);

	CU_ASSERT_EQUAL(report->count, 1);
	CU_ASSERT_EQUAL(report->skipped, 13);
}

static void
too_many_metrics(void)
{
	W_AUTO(w_buf_fini) struct w_buf metrics = { 0 };
	struct help_report from = { .node = "a", .role = "server" };
	struct mon_report *report;

	for (int i = 0; i < MON_METRICS_MAX + 100; i++)
		w_buf_printf(&metrics, "%s{\"name\":\"m%d\",\"type\":\"gauge\",\"value\":%d}",
		    i > 0 ? "," : "", i, i);
	w_buf_char(&metrics, '\0');
	from.metrics = metrics.ptr;
	report = help_report(&from);
	CU_ASSERT_EQUAL(report->count, MON_METRICS_MAX);
	CU_ASSERT_EQUAL(report->skipped, 100);
	mon_report_free(&report);
}

static void
labels(void)
{
	static const char *const good[] = { "", "a=\"\"", "a=\"b\",c=\"d\"", "a=\"\\\"\\\\\\n\"",
		"a=\"x,y=z}\"" };
	static const char *const bad[] = { "a", "a=", "a=b", "a=\"b", "a=\"b\",", ",a=\"b\"",
		"a=\"b\"c=\"d\"", "1a=\"b\"", "a=\"\\t\"", "a=\"b\\\"", "le=\"1\"", "cluster=\"x\"",
		"__name__=\"x\"", "a=\"b\"} 1\nc{d=\"e\"" };

	for (size_t i = 0; i < W_NELEM(good); i++)
		CU_ASSERT(mon_labels_valid(w_view_of(good[i])));
	for (size_t i = 0; i < W_NELEM(bad); i++)
		CU_ASSERT(!mon_labels_valid(w_view_of(bad[i])));
}

static void
histograms_grow(void)
{
	const struct help_report first = { .node = "a", .role = "server",
		.metrics = "{\"name\":\"h\",\"type\":\"histogram\",\"labels\":\"\",\"count\":3,"
			   "\"sum\":30,\"buckets\":[[10,1],[20,2]]}" };
	const struct help_report second = { .node = "a", .role = "server",
		.metrics = "{\"name\":\"h\",\"type\":\"histogram\",\"labels\":\"\",\"count\":9,"
			   "\"sum\":100,\"buckets\":[[5,1],[10,1],[20,5],[30,2]]}" };
	W_AUTO(mon_report_free) struct mon_report *before = help_report(&first);
	W_AUTO(mon_report_free) struct mon_report *now = help_report(&second);
	struct w_hist hist = { 0 };

	mon_metric_growth(&now->metrics[0], &before->metrics[0], &hist);
	CU_ASSERT_EQUAL(hist.count, 6);
	CU_ASSERT_EQUAL(hist.sum, 70);
	CU_ASSERT_EQUAL(hist.bucket[5], 1);
	CU_ASSERT_EQUAL(hist.bucket[10], 0);
	CU_ASSERT_EQUAL(hist.bucket[20], 3);
	CU_ASSERT_EQUAL(hist.bucket[30], 2);

	/* from nothing, and backwards */
	memset(&hist, 0, sizeof(hist));
	mon_metric_growth(&before->metrics[0], NULL, &hist);
	CU_ASSERT_EQUAL(hist.count, 3);
	memset(&hist, 0, sizeof(hist));
	mon_metric_growth(&before->metrics[0], &now->metrics[0], &hist);
	CU_ASSERT_EQUAL(hist.count, 0);
	mon_metric_growth(NULL, NULL, &hist);
	CU_ASSERT_EQUAL(hist.count, 0);
}

static CU_TestInfo tests[] = {
	{ "a whole report is understood, unknown members are not", whole_report },
	{ "what is no report is refused with a reason", garbage },
	{ "what a server sees of the databases is taken, or nothing", sights },
	{ "size and depth are bounded", too_big },
	{ "a bad metric is skipped and hides nothing else", bad_metrics_are_skipped },
	{ "metrics beyond the limit are skipped and counted", too_many_metrics },
	{ "labels are those of the exposition format", labels },
	{ "histograms grow by buckets", histograms_grow },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo report_suites[] = {
	{ .pName = "monitor/report", .pTests = tests },
	CU_SUITE_INFO_NULL,
};
