/*
 * A monitor whose promoter works, with agents and an operator that are sockets of the test.
 */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "dbtier/control.h"
#include "tests/unit/monitor/help.h"
#include "tests/unit/monitor/live.h"

static pid_t monitor;
static void *zmq;
static unsigned http, feed, collect, control;
static char keys[96];
static int64_t epoch, seq;

static int
start_all(void)
{
	static const char *const names[] = { "db-1", "db-2", "server-1", "monitor-1", "operator" };
	W_AUTO(w_free) char *yaml = NULL;
	struct w_cluster *cluster;

	if (help_init() != 0)
		return 1;
	snprintf(keys, sizeof(keys), "%s/keys", help_dir);
	for (size_t i = 0; i < W_NELEM(names); i++)
		if (w_keys_ensure(keys, names[i], NULL) < 0)
			return 1;
	http = live_free_port();
	feed = live_free_port();
	collect = live_free_port();
	control = live_free_port();
	yaml = w_xasprintf("cluster: {name: demo, keys: keys}\n"
			   "servers: [{name: server-1}]\n"
			   "databases:\n"
			   "  - {name: db-1, address: \"127.0.0.1:1\", data: db-1}\n"
			   "  - {name: db-2, address: \"127.0.0.1:2\", data: db-2}\n"
			   "monitors:\n"
			   "  - name: monitor-1\n"
			   "    http: \"127.0.0.1:%u\"\n"
			   "    feed: \"127.0.0.1:%u\"\n"
			   "    collect: \"127.0.0.1:%u\"\n"
			   "    control: \"127.0.0.1:%u\"\n",
	    http, feed, collect, control);
	cluster = help_cluster(yaml);
	w_cluster_free(&cluster);
	epoch = w_wall();
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
	return help_fini() == 0 && status == 0 ? 0 : 1;
}

/* ---- words ---- */

static void *
dial(const char *name)
{
	return live_connect(zmq, ZMQ_DEALER, keys, name, control);
}

/* A status of db-1, which leads in term 3. */
static struct dbt_status
leader(void)
{
	struct dbt_status status = { .node = "db-1", .epoch = epoch,
		.configured = "db-1,db-2/1", .postgres = DBT_PG_UP, .system = "7000000000000000001",
		.timeline = 3, .lsn = 0x5000000, .heard_ms = -1, .attached = 1, .marked = true,
		.promise = { .term = 3, .promoter = "monitor-1/1", .stage = DBT_LEADING,
			.cohort = { .names = "db-1,db-2/1" } } };

	return status;
}

/* And one of db-2, which was fenced in an earlier term and forgotten there. */
static struct dbt_status
lost_follower(void)
{
	struct dbt_status status = leader();

	snprintf(status.node, sizeof(status.node), "db-2");
	status.timeline = 2;
	status.lsn = 0x4000000;
	status.recovery = status.settled = true;
	status.attached = 0;
	status.marked = false;
	status.promise.term = 2;
	status.promise.stage = DBT_FENCED;
	return status;
}

/* Each time anew: what is not newer than the last one is dropped. */
static void
say(void *socket, const struct dbt_status *status)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct dbt_status said = *status;

	said.seq = ++seq;
	dbt_status_format(&said, &text);
	CU_ASSERT(zmq_send(socket, text.ptr, text.len, 0) >= 0);
}

static void
tell(void *socket, const char *text)
{
	CU_ASSERT(zmq_send(socket, text, strlen(text), 0) >= 0);
}

static bool
hear(void *socket, int wait, struct w_buf *text)
{
	W_AUTO(w_buf_fini) struct w_buf none = { 0 };
	bool heard = live_receive(socket, wait, text, &none);

	return heard;
}

/*
 * Wait until /api/failover holds the words. What an agent said is fresh for a second, which may be over before
 * somebody asks: so it says it again each time, where there is one.
 */
static bool
shows_of(void *agent, const struct dbt_status *status, const char *words)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	w_usec until = w_now() + LIVE_WAIT * W_MSEC;

	while (w_now() < until) {
		if (agent != NULL)
			say(agent, status);
		if (live_get(http, "/api/failover", &body) == 200 && strstr(body.ptr, words) != NULL)
			return true;
		usleep(20000); /* another process' state: there is nothing to wait on */
	}
	fprintf(stderr, "%s\n", body.ptr);
	return false;
}

static bool
shows(const char *words)
{
	return shows_of(NULL, NULL, words);
}

/* A line of /metrics that begins so: wait until its value is there. */
static bool
counts(const char *line, double least)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	w_usec until = w_now() + LIVE_WAIT * W_MSEC;

	while (w_now() < until) {
		const char *at = NULL;

		if (live_get(http, "/metrics", &body) == 200)
			at = strstr(body.ptr, line);
		if (at != NULL && strtod(at + strlen(line), NULL) >= least)
			return true;
		usleep(20000); /* as above */
	}
	return false;
}

#define MESSAGES(result)                                                                           \
	"weir_failover_messages_total{cluster=\"demo\",node=\"monitor-1\",role=\"monitor\","       \
	"result=\"" result "\"} "

static bool
await(void *socket, const char *topic, const char *words)
{
	W_AUTO(w_buf_fini) struct w_buf name = { 0 }, body = { 0 };
	w_usec until = w_now() + LIVE_WAIT * W_MSEC;

	while (w_now() < until && live_receive(socket, LIVE_WAIT, &name, &body))
		if (strcmp(name.ptr, topic) == 0 && strstr(body.ptr, words) != NULL)
			return true;
	return false;
}

/* ---- the tests ---- */

static void
status_in(void)
{
	void *subscriber = live_connect(zmq, ZMQ_SUB, keys, "operator", feed);
	void *agent = dial("db-1");
	struct dbt_status status = leader();
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	w_usec until = w_now() + 30 * W_SEC;

	zmq_setsockopt(subscriber, ZMQ_SUBSCRIBE, "", 0);
	CU_ASSERT(await(subscriber, "snapshot", "\"failover\":{\"state\":\""));
	snprintf(status.trouble, sizeof(status.trouble), "a \"disk\" is full");
	say(agent, &status);
	/* by the feed: the node at once, the cluster at once */
	CU_ASSERT(await(subscriber, "node.db-1",
	    "\"stage\":\"leading\",\"term\":3,\"busy\":null,\"trouble\":\"a \\\"disk\\\" is full\""));
	CU_ASSERT(shows_of(agent, &status, "{\"node\":\"db-1\",\"fresh\":true,\"status\":{"));
	CU_ASSERT(shows("{\"node\":\"db-2\",\"fresh\":false,\"status\":null}"));
	CU_ASSERT(counts(MESSAGES("accepted"), 1));
	/* who leads is known for a second, too */
	do {
		say(agent, &status);
		CU_ASSERT_EQUAL_FATAL(live_get(http, "/api/cluster", &body), 200);
	} while (strstr(body.ptr, "\"leader\":\"db-1\"") == NULL && w_now() < until);
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"leader\":\"db-1\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"cohort\":2,"));
	CU_ASSERT_PTR_NOT_NULL(strstr(body.ptr, "\"in_force\":\"db-1,db-2/1\""));
	zmq_close(agent);
	zmq_close(subscriber);
}

static void
gone_at_once(void)
{
	w_usec took = W_SEC;

	/* A machine that is busy may take that long to answer, but not each time. */
	for (int i = 0; i < 10 && took >= 900 * W_MSEC; i++) {
		void *agent = dial("db-1");
		struct dbt_status status = leader();

		CU_ASSERT_FATAL(shows_of(agent, &status, "{\"node\":\"db-1\",\"fresh\":true,"));
		/* fresh for as long as the connection stands: not for the second that silence is given */
		status = leader();
		say(agent, &status);
		took = w_now();
		zmq_close(agent);
		CU_ASSERT(shows("{\"node\":\"db-1\",\"fresh\":false,"));
		took = w_now() - took;
	}
	CU_ASSERT(took < 900 * W_MSEC);
}

/* Both tell how they are; the one that is lost gets an order, over the connection that it has now. */
static void
order_out(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	void *subscriber = live_connect(zmq, ZMQ_SUB, keys, "operator", feed);
	void *first = dial("db-1"), *before = dial("db-2"), *second;
	struct dbt_status status = lost_follower();
	struct dbt_order order = { 0 };
	struct w_fault fault = { 0 };

	zmq_setsockopt(subscriber, ZMQ_SUBSCRIBE, "", 0);
	CU_ASSERT(await(subscriber, "snapshot", ""));
	say(before, &status);
	zmq_close(before);
	second = dial("db-2");
	for (int i = 0; i < 50 && order.kind != DBT_FOLLOW; i++) {
		status = leader();
		say(first, &status);
		status = lost_follower();
		say(second, &status);
		if (hear(second, 100, &text))
			CU_ASSERT_EQUAL(dbt_order_parse(w_view_of(text.ptr), &order, &fault), W_OK);
	}
	CU_ASSERT_EQUAL(order.kind, DBT_FOLLOW);
	CU_ASSERT_STRING_EQUAL(order.upstream, "db-1");
	CU_ASSERT_EQUAL(order.term, 3);
	/* what the promoter did is on the feed and in the journal */
	CU_ASSERT(await(subscriber, "failover", "\"move\":{\"time\":"));
	CU_ASSERT(shows("\"moves\":[{\"time\":"));
	zmq_close(first);
	zmq_close(second);
	zmq_close(subscriber);
}

/* An agent's clock was set back before it was started again: after 10 s of silence it is believed, and told. */
static void
born_before(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	void *first = dial("db-1"), *before = dial("db-2"), *second;
	struct dbt_status status = lost_follower();
	struct dbt_order order = { 0 };
	struct w_fault fault = { 0 };
	w_usec until = w_now() + 30 * W_SEC;

	CU_ASSERT(shows_of(before, &status, "{\"node\":\"db-2\",\"fresh\":true,"));
	zmq_close(before);
	CU_ASSERT(shows("{\"node\":\"db-2\",\"fresh\":false,"));
	second = dial("db-2");
	while (w_now() < until && order.kind != DBT_FOLLOW) {
		status = leader();
		say(first, &status);
		status = lost_follower();
		status.epoch -= 3600 * W_SEC;
		say(second, &status);
		if (hear(second, 100, &text))
			CU_ASSERT_EQUAL(dbt_order_parse(w_view_of(text.ptr), &order, &fault), W_OK);
	}
	CU_ASSERT_EQUAL(order.kind, DBT_FOLLOW);
	zmq_close(first);
	zmq_close(second);
}

static void
forged_and_garbage(void)
{
	void *agent = dial("db-1");
	struct dbt_status status = lost_follower();

	status.lsn = 0xbad;
	say(agent, &status); /* in another's name */
	tell(agent, "{\"v\":1,\"type\":\"command\",\"command\":\"pause\",\"node\":null,\"id\":1}");
	CU_ASSERT(counts(MESSAGES("forged"), 2));
	tell(agent, "{nonsense");
	tell(agent, "{\"v\":1,\"type\":\"order\"}");
	tell(agent, "{\"v\":1,\"type\":\"status\",\"node\":7}");
	CU_ASSERT(zmq_send(agent, "two", 3, ZMQ_SNDMORE) >= 0);
	tell(agent, "frames");
	CU_ASSERT(counts(MESSAGES("garbage"), 4));
	CU_ASSERT(shows("\"paused\":false"));
	zmq_close(agent);
}

static void
commands(void)
{
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	void *operator = dial("operator");
	void *agent = dial("db-1");
	struct dbt_answer answer;
	struct w_fault fault = { 0 };

	/* a node's own key commands nothing, and is not even answered */
	tell(agent, "{\"v\":1,\"type\":\"command\",\"command\":\"pause\",\"node\":null,\"id\":7}");
	tell(operator, "{\"v\":1,\"type\":\"command\",\"command\":\"pause\",\"node\":null,\"id\":8}");
	CU_ASSERT_FATAL(hear(operator, LIVE_WAIT, &text));
	CU_ASSERT_EQUAL_FATAL(dbt_answer_parse(w_view_of(text.ptr), &answer, &fault), W_OK);
	CU_ASSERT_EQUAL(answer.id, 8);
	CU_ASSERT_FALSE(answer.done || answer.failed);
	CU_ASSERT_STRING_EQUAL(answer.text, "monitor-1 has the command");
	CU_ASSERT_FALSE(hear(agent, 0, &text));
	/* and the operator is no agent */
	tell(operator, "{\"v\":1,\"type\":\"status\"}");
	CU_ASSERT(counts(MESSAGES("garbage"), 5));
	zmq_close(agent);
	zmq_close(operator);
}

static CU_TestInfo tests[] = {
	{ "a status is in the node's figures, the cluster's, and in the API", status_in },
	{ "an agent whose connection broke is not fresh any more, at once", gone_at_once },
	{ "orders reach the connection of an agent's last status; moves are told", order_out },
	{ "who speaks for another, or nonsense, is counted and changes nothing", forged_and_garbage },
	{ "only the operator commands", commands },
	{ "an agent that seems to be born before itself gets its orders all the same", born_before },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo promote_suites[] = {
	{ .pName = "monitor/promote",
	    .pInitFunc = start_all,
	    .pCleanupFunc = stop_all,
	    .pTests = tests },
	CU_SUITE_INFO_NULL,
};
