/*
 * Metrics: slots and sums, histograms, the JSON of reports.
 */
#include <CUnit/CUnit.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "common/metrics.h"

/* clang-format off */
#define TEST_METRICS(X) \
	X(T_COUNT, COUNTER,   "t_requests_total", "", "Requests.") \
	X(T_OPEN,  GAUGE,     "t_open", "", "Open things.") \
	X(T_HIGH,  GAUGE_MAX, "t_high", "", "The highest of all.") \
	X(T_WAIT,  HISTOGRAM, "t_wait_seconds", "", "A wait.") \
	X(T_BUSY,  COUNTER,   "t_busy_seconds_total", "code=\"x\"", "Time.")
/* clang-format on */

enum { TEST_METRICS(W_METRIC_ENUM) T_METRICS };
static const struct w_metric table[] = {TEST_METRICS(W_METRIC_DEF)};

/* ---- slots ---- */

static void
workers_are_summed(void)
{
	W_AUTO(w_metrics_free) struct w_metrics *metrics = w_metrics_new(2);
	unsigned base = w_metrics_add(metrics, table, T_METRICS);
	struct w_hist hist;

	for (unsigned i = 0; i <= 2; i++) {
		struct w_meter *meter = w_metrics_meter(metrics, i);

		CU_ASSERT_EQUAL((uintptr_t)meter % 64, 0);
		w_meter_add(meter, base + T_COUNT, 10);
		w_meter_move(meter, base + T_OPEN, 5);
		w_meter_move(meter, base + T_OPEN, -7);
		w_meter_set(meter, base + T_HIGH, 100 + i);
		w_meter_observe(meter, base + T_WAIT, 1000);
	}
	CU_ASSERT_EQUAL(w_metrics_value(metrics, base + T_COUNT), 30);
	CU_ASSERT_EQUAL(w_metrics_value(metrics, base + T_OPEN), -6);
	CU_ASSERT_EQUAL(w_metrics_value(metrics, base + T_HIGH), 102);
	w_metrics_hist(metrics, base + T_WAIT, &hist);
	CU_ASSERT_EQUAL(hist.count, 3);
	CU_ASSERT_EQUAL(hist.sum, 3000);
	CU_ASSERT_EQUAL(hist.bucket[w_hist_bucket(1000)], 3);
}

#define WRITES 100000

static unsigned shared_base;

static void *
write_often(void *arg)
{
	for (unsigned i = 0; i < WRITES; i++) {
		w_meter_add(arg, shared_base + T_COUNT, 1);
		w_meter_observe(arg, shared_base + T_WAIT, i);
	}
	return NULL;
}

static void
reader_and_writers_do_not_meet(void)
{
	W_AUTO(w_metrics_free) struct w_metrics *metrics = w_metrics_new(2);
	pthread_t threads[2];
	int64_t seen = 0;
	bool grows = true;

	shared_base = w_metrics_add(metrics, table, T_METRICS);
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT_FATAL(pthread_create(&threads[i], NULL, write_often,
				    w_metrics_meter(metrics, i)) == 0);
	for (unsigned i = 0; i < 200; i++) {
		int64_t now = w_metrics_value(metrics, shared_base + T_COUNT);

		grows &= now >= seen;
		seen = now;
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT_TRUE(grows);
	CU_ASSERT_EQUAL(w_metrics_value(metrics, shared_base + T_COUNT), 2 * WRITES);
}

static void
name_says_the_scale(void)
{
	CU_ASSERT_EQUAL(w_metric_scale("process_cpu_seconds_total"), 1000000);
	CU_ASSERT_EQUAL(w_metric_scale("weir_wait_seconds"), 1000000);
	CU_ASSERT_EQUAL(w_metric_scale("weir_host_cpu_busy_ratio"), 1000000);
	CU_ASSERT_EQUAL(w_metric_scale("weir_host_load1"), 1000);
	CU_ASSERT_EQUAL(w_metric_scale("weir_requests_total"), 1);
	CU_ASSERT_EQUAL(w_metric_scale(""), 1);
}

/* ---- histograms ---- */

/* The bucket of a value by definition: the first whose upper bound is not below it. */
static unsigned
slow_bucket(uint64_t value)
{
	unsigned i = 0;

	while (i + 1 < W_HIST_BUCKETS && w_hist_upper(i) < (double)value)
		i++;
	return i;
}

static void
buckets_are_those_of_the_definition(void)
{
	unsigned wrong = 0;

	for (uint64_t v = 0; v < 5000; v++)
		wrong += w_hist_bucket(v) != slow_bucket(v);
	for (unsigned i = 0; i < 50000; i++) {
		uint64_t v = w_random() >> (w_random() % 63);

		wrong += w_hist_bucket(v) != slow_bucket(v);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void
bounds_are_inclusive_above(void)
{
	CU_ASSERT_EQUAL(w_hist_bucket(0), 0);
	CU_ASSERT_EQUAL(w_hist_bucket(1), 1);
	CU_ASSERT_EQUAL(w_hist_upper(0), 0.0);
	CU_ASSERT_EQUAL(w_hist_upper(1), 1.0);
	for (unsigned power = 0; power <= 31; power++) {
		uint64_t v = (uint64_t)1 << power;

		CU_ASSERT_EQUAL(w_hist_bucket(v), power * 8 + 1);
		CU_ASSERT_EQUAL(w_hist_upper(power * 8 + 1), (double)v);
		if (power > 4 && power < 31)
			CU_ASSERT_EQUAL(w_hist_bucket(v + 1), power * 8 + 2);
	}
	CU_ASSERT_EQUAL(w_hist_bucket(UINT64_MAX), W_HIST_BUCKETS - 1);
	CU_ASSERT_EQUAL(w_hist_bucket(((uint64_t)1 << 31) + 1), W_HIST_BUCKETS - 1);
}

static void
quantiles_are_near(void)
{
	static struct w_hist hist;

	memset(&hist, 0, sizeof(hist));
	CU_ASSERT_EQUAL(w_hist_quantile(&hist, 0.5), 0.0);
	for (w_usec v = 1; v <= 100000; v++)
		w_hist_observe(&hist, v);
	for (double q = 0.01; q < 1; q += 0.01)
		CU_ASSERT_TRUE(fabs(w_hist_quantile(&hist, q) - q * 100000) < q * 100000 * 0.09);
	CU_ASSERT_TRUE(w_hist_quantile(&hist, 1) >= 100000);
	CU_ASSERT_EQUAL(w_hist_quantile(&hist, 2), w_hist_quantile(&hist, 1));
	w_hist_observe(&hist, -5);
	CU_ASSERT_EQUAL(hist.bucket[0], 1);
}

static void
merging_is_adding(void)
{
	static struct w_hist one, other, both;

	memset(&one, 0, sizeof(one));
	memset(&other, 0, sizeof(other));
	memset(&both, 0, sizeof(both));
	for (unsigned i = 0; i < 1000; i++) {
		w_usec v = (w_usec)(w_random() % 1000000);

		w_hist_observe(i % 2 == 0 ? &one : &other, v);
		w_hist_observe(&both, v);
	}
	w_hist_add(&one, &other);
	CU_ASSERT_EQUAL(memcmp(&one, &both, sizeof(one)), 0);
}

/* ---- JSON ---- */

static json_t *
report_of(const struct w_metrics *metrics)
{
	W_AUTO(w_buf_fini) struct w_buf buf = {0};
	struct w_json json;
	json_t *root;

	w_json_init(&json, &buf);
	w_metrics_json(metrics, &json);
	CU_ASSERT_FALSE_FATAL(w_buf_broken(&buf));
	root = json_loadb(buf.ptr, buf.len, 0, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	return root;
}

/* The metric of that name and, when not NULL, these labels; borrowed. */
static json_t *
find(json_t *root, const char *name, const char *labels)
{
	size_t i;
	json_t *metric;

	json_array_foreach(root, i, metric)
	{
		if (strcmp(json_string_value(json_object_get(metric, "name")), name) == 0 &&
		    (labels == NULL ||
			strcmp(json_string_value(json_object_get(metric, "labels")), labels) == 0))
			return metric;
	}
	return NULL;
}

static void
json_is_as_documented(void)
{
	W_AUTO(w_metrics_free) struct w_metrics *metrics = w_metrics_new(0);
	unsigned base = w_metrics_add(metrics, table, T_METRICS);
	struct w_meter *meter = w_metrics_meter(metrics, 0);
	json_t *root, *metric, *pair;

	w_meter_add(meter, base + T_COUNT, 7);
	w_meter_add(meter, base + T_BUSY, 2500000);
	w_meter_observe(meter, base + T_WAIT, 1);
	w_meter_observe(meter, base + T_WAIT, 1);
	root = report_of(metrics);

	metric = find(root, "t_requests_total", "");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(metric, "type")), "counter");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(metric, "help")), "Requests.");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(metric, "value")), 7);
	metric = find(root, "t_busy_seconds_total", "code=\"x\"");
	CU_ASSERT_EQUAL(json_number_value(json_object_get(metric, "value")), 2.5);
	metric = find(root, "t_high", "");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(metric, "type")), "gauge");
	metric = find(root, "t_wait_seconds", "");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(metric, "type")), "histogram");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(metric, "count")), 2);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(metric, "sum")), 2);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(metric, "buckets")), 1);
	pair = json_array_get(json_object_get(metric, "buckets"), 0);
	CU_ASSERT_EQUAL(json_integer_value(json_array_get(pair, 0)), 1);
	CU_ASSERT_EQUAL(json_integer_value(json_array_get(pair, 1)), 2);
	json_decref(root);
}

static void
labels_are_escaped(void)
{
	W_AUTO(w_metrics_free) struct w_metrics *metrics = w_metrics_new(0);
	const char *values[] = {"db-1", "a\"b\\c\nd"};
	unsigned base = w_metrics_add_each(
	    metrics, &(struct w_metric){W_GAUGE, "t_each", "", "Each."}, "node", values, 2);
	json_t *root;

	w_meter_set(w_metrics_meter(metrics, 0), base + 1, 3);
	root = report_of(metrics);
	CU_ASSERT_PTR_NOT_NULL(find(root, "t_each", "node=\"db-1\""));
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(
			    find(root, "t_each", "node=\"a\\\"b\\\\c\\nd\""), "value")),
	    3);
	json_decref(root);
}

static double
value_of(json_t *root, const char *name)
{
	return json_number_value(json_object_get(find(root, name, NULL), "value"));
}

static void
host_figures_are_sound(void)
{
	W_AUTO(w_metrics_free) struct w_metrics *metrics = w_metrics_new(1);
	json_t *root;

	w_metrics_host(metrics);
	w_metrics_host(metrics);
	root = report_of(metrics);
	CU_ASSERT_TRUE(value_of(root, "process_cpu_seconds_total") > 0);
	CU_ASSERT_TRUE(value_of(root, "process_resident_memory_bytes") > 100000);
	CU_ASSERT_TRUE(value_of(root, "process_open_fds") >= 3);
	CU_ASSERT_TRUE(value_of(root, "process_max_fds") >= value_of(root, "process_open_fds"));
	CU_ASSERT_TRUE(value_of(root, "process_start_time_seconds") > 1.6e9);
	CU_ASSERT_TRUE(value_of(root, "weir_host_cpu_busy_ratio") <= 1);
	CU_ASSERT_TRUE(value_of(root, "weir_host_load1") >= 0);
	CU_ASSERT_TRUE(value_of(root, "weir_host_memory_total_bytes") >=
		       value_of(root, "weir_host_memory_available_bytes"));
	CU_ASSERT_PTR_NOT_NULL(find(root, "weir_log_lines_total", "level=\"warn\""));
	json_decref(root);
}

static CU_TestInfo slot_tests[] = {{"the workers' slots are summed", workers_are_summed},
    {"a reader and writers do not meet", reader_and_writers_do_not_meet},
    {"a name says the scale of its value", name_says_the_scale}, CU_TEST_INFO_NULL};
static CU_TestInfo hist_tests[] = {
    {"buckets are those of the definition", buckets_are_those_of_the_definition},
    {"a bucket holds its upper bound", bounds_are_inclusive_above},
    {"quantiles are within a bucket of the truth", quantiles_are_near},
    {"merging is adding", merging_is_adding}, CU_TEST_INFO_NULL};
static CU_TestInfo json_tests[] = {{"the JSON is as documented", json_is_as_documented},
    {"labels are escaped", labels_are_escaped},
    {"figures of process and host are sound", host_figures_are_sound}, CU_TEST_INFO_NULL};
CU_SuiteInfo metrics_suites[] = {{.pName = "common/metrics slots", .pTests = slot_tests},
    {.pName = "common/metrics histograms", .pTests = hist_tests},
    {.pName = "common/metrics reports", .pTests = json_tests}, CU_SUITE_INFO_NULL};
