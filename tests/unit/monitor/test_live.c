/*
 * A monitor as it runs, with real sockets and keys: reports in; feed, HTTP and webhooks out.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/unit/monitor/help.h"
#include "tests/unit/monitor/live.h"

static pid_t monitor;
static void *zmq;
static unsigned http, feed, collect;
static int hook; /* where the webhook posts to */
static char keys[96], others[96];
static int64_t epoch, seq;

static int
make_keys(void)
{
	static const char *const names[] = { "server-1", "server-2", "monitor-1", "operator" };
	W_AUTO(w_free) char *from = w_xasprintf("%s/monitor-1.pub", keys);
	W_AUTO(w_free) char *to = w_xasprintf("%s/monitor-1.pub", others);

	for (size_t i = 0; i < W_NELEM(names); i++)
		if (w_keys_ensure(keys, names[i], NULL) < 0)
			return 1;
	/* a stranger has a pair, and knows the monitor's key; the monitor does not know it */
	return w_keys_ensure(others, "stranger", NULL) == W_OK && link(from, to) == 0 ? 0 : 1;
}

static int
start_all(void)
{
	W_AUTO(w_free) char *yaml = NULL;
	struct w_cluster *cluster;
	unsigned hook_port;

	if (help_init() != 0)
		return 1;
	snprintf(keys, sizeof(keys), "%s/keys", help_dir);
	snprintf(others, sizeof(others), "%s/others", help_dir);
	if (make_keys() != 0)
		return 1;
	http = live_free_port();
	feed = live_free_port();
	collect = live_free_port();
	hook = live_listen(&hook_port);
	yaml = w_xasprintf("cluster: {name: demo, keys: keys}\n"
			   "servers: [{name: server-1}, {name: server-2}]\n"
			   "monitors:\n"
			   "  - name: monitor-1\n"
			   "    http: \"127.0.0.1:%u\"\n"
			   "    feed: \"127.0.0.1:%u\"\n"
			   "    collect: \"127.0.0.1:%u\"\n"
			   "    webhooks: [\"http://127.0.0.1:%u/alerts\"]\n",
	    http, feed, collect, hook_port);
	cluster = help_cluster(yaml);
	w_cluster_free(&cluster);
	epoch = w_wall() - WALL;
	monitor = live_start(help_dir);
	zmq = zmq_ctx_new();
	return 0;
}

static int
stop_all(void)
{
	int status = live_stop(monitor);

	/* a test that failed leaves sockets open, and the end would wait for them */
	if (CU_get_number_of_failures() == 0)
		zmq_ctx_term(zmq);
	close(hook);
	live_clear_folder(others);
	rmdir(others);
	return help_fini() == 0 && status == 0 ? 0 : 1;
}

/* ---- words ---- */

static void
publish(void *socket, const char *node, const char *state)
{
	const struct help_report from = { .node = node, .role = "server", .epoch = epoch,
		.seq = ++seq, .time = w_wall() - WALL, .state = state,
		.metrics = HELP_REQUESTS(10, 0) };
	W_AUTO(w_free) char *json = help_json(&from);

	zmq_send(socket, "report", 6, ZMQ_SNDMORE);
	zmq_send(socket, json, strlen(json), 0);
}

/* A node: XPUB, because that sees the monitor subscribe, so nothing has to be guessed. */
static void *
be_node(const char *name)
{
	void *socket = live_connect(zmq, ZMQ_XPUB, keys, name, collect);
	zmq_pollitem_t item = { .socket = socket, .events = ZMQ_POLLIN };
	char topic[16];

	CU_ASSERT_EQUAL_FATAL(zmq_poll(&item, 1, LIVE_WAIT), 1);
	CU_ASSERT_EQUAL(zmq_recv(socket, topic, sizeof(topic), 0), 7);
	return socket;
}

static void *
follow(const char *name, const char *const *topics)
{
	void *socket = live_connect(zmq, ZMQ_SUB, keys, name, feed);

	for (; *topics != NULL; topics++)
		zmq_setsockopt(socket, ZMQ_SUBSCRIBE, *topics, strlen(*topics));
	return socket;
}

/* Wait for a message of that topic whose text holds all of these words. */
static bool
await(void *socket, const char *topic, const char *const *words, struct w_buf *body)
{
	W_AUTO(w_buf_fini) struct w_buf name = { 0 };
	w_usec until = w_now() + LIVE_WAIT * W_MSEC;

	while (w_now() < until && live_receive(socket, LIVE_WAIT, &name, body)) {
		bool all = strcmp(name.ptr, topic) == 0;

		for (const char *const *word = words; all && *word != NULL; word++)
			all = strstr(body->ptr, *word) != NULL;
		if (all)
			return true;
	}
	return false;
}

#define AWAIT(socket, topic, body, ...)                                                            \
	CU_ASSERT_FATAL(await(socket, topic, (const char *const[]){ __VA_ARGS__, NULL }, body))
#define FOLLOW(name, ...) follow(name, (const char *const[]){ __VA_ARGS__, NULL })

static int64_t
whole(const char *body, const char *key)
{
	json_t *root = json_loads(body, 0, NULL);
	int64_t value = json_integer_value(json_object_get(root, key));

	json_decref(root);
	return value;
}

/* A line of /metrics that begins so: its value, or -1. */
static double
metric(const char *line)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	const char *at;

	CU_ASSERT_EQUAL(live_get(http, "/metrics", &body), 200);
	at = strstr(body.ptr, line);
	return at != NULL ? strtod(at + strlen(line), NULL) : -1;
}

#define OWN "{cluster=\"demo\",node=\"monitor-1\",role=\"monitor\""

/* The monitor tells its own metrics once a second: wait for a value by its own messages. */
static void
await_metric(void *subscriber, const char *line, double least)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };

	for (int i = 0; i < 8 && metric(line) < least; i++)
		AWAIT(subscriber, "node.monitor-1", &body, "");
	CU_ASSERT(metric(line) >= least);
}

/* ---- the tests ---- */

static void
snapshot_then_numbers(void)
{
	W_AUTO(w_buf_fini) struct w_buf topic = { 0 }, body = { 0 };
	void *subscriber = FOLLOW("operator", "snapshot", "node.", "cluster", "event", "alert.");
	void *node = be_node("server-1");
	int64_t last = 0, last_cluster = 0;

	AWAIT(subscriber, "snapshot", &body, "\"nodes\":[", "\"name\":\"server-1\"", "\"cluster\":{",
	    "\"alerts\":[");
	last = whole(body.ptr, "number");
	CU_ASSERT(last > 0);
	publish(node, "server-1", "up");
	for (int clusters = 0; clusters < 3;) {
		CU_ASSERT_FATAL(live_receive(subscriber, LIVE_WAIT, &topic, &body));
		/* all topics but snapshots: no gap between any two, and none within one */
		if (strcmp(topic.ptr, "snapshot") != 0) {
			CU_ASSERT_EQUAL(whole(body.ptr, "number"), last + 1);
		}
		last = whole(body.ptr, "number");
		CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, topic.ptr));
		if (strcmp(topic.ptr, "cluster") != 0)
			continue;
		clusters++;
		CU_ASSERT(last_cluster == 0 || whole(body.ptr, "seq") == last_cluster + 1);
		last_cluster = whole(body.ptr, "seq");
	}
	zmq_close(subscriber);
	zmq_close(node);
}

static void
every_way_out(void)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	void *subscriber = FOLLOW("operator", "node.");
	void *node = be_node("server-2");

	publish(node, "server-2", "up");
	AWAIT(subscriber, "node.server-2", &body, "\"state\":\"up\"", "\"pid\":42");
	CU_ASSERT_EQUAL(live_get(http, "/api/nodes", &body), 200);
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr,
	    "\"name\":\"server-2\",\"role\":\"server\",\"state\":\"up\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"name\":\"monitor-1\""));
	CU_ASSERT_DOUBLE_EQUAL(metric("weir_up{cluster=\"demo\",node=\"server-2\",role=\"server\"} "), 1,
	    1e-9);
	CU_ASSERT_DOUBLE_EQUAL(
	    metric("weir_http_requests_total{cluster=\"demo\",node=\"server-2\",role=\"server\","
		   "code=\"2xx\"} "),
	    10, 1e-9);
	/* a planned stop is a node that is missing, at once */
	publish(node, "server-2", "down");
	AWAIT(subscriber, "node.server-2", &body, "\"state\":\"down\"", "\"reason\":\"stopped\"");
	zmq_close(subscriber);
	zmq_close(node);
}

static void
http_answers(void)
{
	static const struct {
		const char *path, *holds;
		long status;
	} table[] = {
		{ "/health", "ok", 200 },
		{ "/api/cluster", "\"windows\":{\"1s\":", 200 },
		{ "/api/alerts", "\"rules\":[{\"name\":\"node-gone\"", 200 },
		{ "/api/snapshot", "\"nodes\":[", 200 },
		{ "/api/history?series=p50,p99&tier=10s", "\"step_seconds\":10", 200 },
		{ "/api/history?node=server-1", "\"node\":\"server-1\"", 200 },
		{ "/api/history?series=nonsense", "requests_per_second", 400 },
		{ "/api/history?tier=1h", "1s, 10s or 1m", 400 },
		{ "/api/history?node=nobody", "node", 400 },
		{ "/nothing", "nothing at this address", 404 },
		{ "/../../etc/passwd", "nothing", 404 },
	};
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };

	for (size_t i = 0; i < W_NELEM(table); i++) {
		CU_ASSERT_EQUAL(live_get(http, table[i].path, &body), table[i].status);
		CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, table[i].holds));
	}
}

static void
strangers(void)
{
	W_AUTO(w_free) char *from = w_xasprintf("%s/stranger.pub", others);
	W_AUTO(w_free) char *to = w_xasprintf("%s/stranger.pub", keys);
	W_AUTO(w_buf_fini) struct w_buf body = { 0 }, topic = { 0 };
	void *friend = FOLLOW("operator", "node.", "cluster");
	void *stranger = live_connect(zmq, ZMQ_SUB, others, "stranger", feed);
	void *liar = live_connect(zmq, ZMQ_PUB, others, "stranger", collect);
	double refused;
	bool in = false;

	zmq_setsockopt(stranger, ZMQ_SUBSCRIBE, "", 0);
	for (int i = 0; i < 5; i++)
		publish(liar, "server-1", "up");
	await_metric(friend, "weir_zap_refused_total" OWN "} ", 2);
	AWAIT(friend, "cluster", &body, "");
	CU_ASSERT_FALSE(live_receive(stranger, 0, &topic, &body));
	CU_ASSERT_DOUBLE_EQUAL(metric("weir_monitor_reports_total" OWN ",result=\"forged\"} "), 0,
	    1e-9);

	/*
	 * It becomes a subscriber: the feed is open to it, collect is not. A socket that was refused
	 * does not try again, so each try is a new one.
	 */
	CU_ASSERT_EQUAL_FATAL(link(from, to), 0);
	CU_ASSERT_EQUAL_FATAL(kill(monitor, SIGHUP), 0);
	for (int i = 0; i < 5; i++) {
		zmq_close(stranger);
		stranger = live_connect(zmq, ZMQ_SUB, others, "stranger", feed);
		zmq_setsockopt(stranger, ZMQ_SUBSCRIBE, "", 0);
		in = live_receive(stranger, LIVE_WAIT / 5, &topic, &body);
		if (in)
			break;
	}
	CU_ASSERT(in);
	refused = metric("weir_zap_refused_total" OWN "} ");
	zmq_close(liar);
	liar = live_connect(zmq, ZMQ_PUB, others, "stranger", collect);
	await_metric(friend, "weir_zap_refused_total" OWN "} ", refused + 1);
	zmq_close(liar);
	zmq_close(stranger);
	zmq_close(friend);
}

static void
liars_and_garbage(void)
{
	void *friend = FOLLOW("operator", "node.monitor-1");
	void *node = be_node("server-2");

	publish(node, "server-1", "up"); /* in another's name */
	zmq_send(node, "report", 6, ZMQ_SNDMORE);
	zmq_send(node, "{nonsense", 9, 0);
	zmq_send(node, "report", 6, 0); /* one frame */
	zmq_send(node, "reporter", 8, ZMQ_SNDMORE);
	zmq_send(node, "{}", 2, 0);
	await_metric(friend, "weir_monitor_reports_total" OWN ",result=\"forged\"} ", 1);
	await_metric(friend, "weir_monitor_reports_total" OWN ",result=\"garbage\"} ", 3);
	zmq_close(node);
	zmq_close(friend);
}

static void
webhook(void)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	void *friend = FOLLOW("operator", "alert.", "node.", "snapshot");
	void *node = be_node("server-1");
	w_usec killed;

	/* it is there before the one message that it waits for */
	AWAIT(friend, "snapshot", &body, "");
	publish(node, "server-1", "up");
	AWAIT(friend, "node.server-1", &body, "\"state\":\"up\"");
	/* take what earlier tests left */
	while (live_take_post(hook, 300, 200, &body))
		continue;
	killed = w_now();
	zmq_close(node);
	/* the first try fails, the second comes half a second later */
	CU_ASSERT_FATAL(live_take_post(hook, LIVE_WAIT, 500, &body));
	CU_ASSERT(w_now() - killed < 3 * W_SEC);
	CU_ASSERT_FATAL(live_take_post(hook, LIVE_WAIT, 200, &body));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"version\":\"4\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"status\":\"firing\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"alertname\":\"node-gone\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"node\":\"server-1\""));
	AWAIT(friend, "alert.node-gone", &body, "\"node\":\"server-1\"", "\"state\":\"firing\"",
	    "\"reason\":\"disconnected\"");

	node = be_node("server-1");
	publish(node, "server-1", "up");
	AWAIT(friend, "alert.node-gone", &body, "\"node\":\"server-1\"", "\"state\":\"resolved\"");
	CU_ASSERT_FATAL(live_take_post(hook, LIVE_WAIT, 200, &body));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"status\":\"resolved\""));
	await_metric(friend, "weir_monitor_webhook_alerts_total" OWN ",result=\"sent\"} ", 2);
	zmq_close(node);
	zmq_close(friend);
}

static CU_TestInfo tests[] = {
	{ "a subscriber gets a snapshot, then numbers without a gap", snapshot_then_numbers },
	{ "a report is seen in feed, API and metrics", every_way_out },
	{ "HTTP answers what it should, and problems for the rest", http_answers },
	{ "who is not known gets nothing and tells nothing", strangers },
	{ "lies and garbage are counted and change nothing", liars_and_garbage },
	{ "a killed node is at the webhook within 3 s, and again when it is back", webhook },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo live_suites[] = {
	{ .pName = "monitor/live",
	    .pInitFunc = start_all,
	    .pCleanupFunc = stop_all,
	    .pTests = tests },
	CU_SUITE_INFO_NULL,
};
