/*
 * The life of a node: each test runs one in a child process, with a role of its own making,
 * and follows it by its log.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/log.h"
#include "common/node.h"

#define PATIENCE_MSEC 20000

/* ---- the role ---- */

static struct {
	bool drain_never, drain_later, fail_prepare, fail_worker, end_itself;
} how;
static struct w_timer drain_timers[8];

static int
role_prepare(struct w_node *node W_UNUSED, struct w_fault *fault)
{
	w_log(W_INFO, "", "test-prepare", "n=1");
	if (how.fail_prepare)
		return w_fail(fault, -W_EINVAL, "prepare found %s", "nothing");
	return W_OK;
}

static int
role_start(struct w_worker *worker, struct w_fault *fault)
{
	if (how.fail_worker && worker->index == 1)
		return w_fail(fault, -W_EIO, "worker has no %s", "luck");
	worker->role = worker;
	w_log(W_INFO, "", "test-start", "worker=%u", worker->index);
	return W_OK;
}

static void
drained(void *arg)
{
	struct w_worker *worker = arg;

	w_timer_fini(&drain_timers[worker->index]);
	w_log(W_INFO, "", "test-drained", "worker=%u", worker->index);
	w_worker_done(worker);
	w_worker_done(worker); /* twice is harmless */
}

static void
role_drain(struct w_worker *worker)
{
	struct w_timer *timer = &drain_timers[worker->index];

	w_log(W_INFO, "", "test-drain", "worker=%u", worker->index);
	if (how.drain_never)
		return;
	if (!how.drain_later) {
		drained(worker);
		return;
	}
	*timer = (struct w_timer){.fire = drained, .arg = worker};
	w_timer_start(&worker->loop, timer, 10 * W_MSEC, 0);
}

static void
role_stop(struct w_worker *worker)
{
	w_log(W_INFO, "", "test-stop", "worker=%u same=%d", worker->index, worker->role == worker);
}

static bool
role_ready(struct w_node *node)
{
	static unsigned asked;

	if (how.end_itself)
		w_node_end(node, 7);
	return ++asked >= 2;
}

static int
role_reload(struct w_node *node, struct w_fault *fault W_UNUSED)
{
	w_log(W_INFO, "", "test-reload", "timeout=%lld",
	    (long long)(w_node_self(node)->opt.server.request_timeout / W_SEC));
	for (unsigned i = 0; i < 5; i++)
		w_node_report_now(node);
	return W_OK;
}

static void
role_report(struct w_node *node W_UNUSED, struct w_json *json)
{
	w_json_key(json, "test");
	w_json_int(json, 42);
}

static void
role_finish(struct w_node *node W_UNUSED)
{
	w_log(W_INFO, "", "test-finish", "n=1");
}

static const struct w_role_ops ops = {
    .role = W_SERVER,
    .program = "weir-test",
    .summary = "a node for tests",
    .prepare = role_prepare,
    .worker_start = role_start,
    .ready = role_ready,
    .report = role_report,
    .reload = role_reload,
    .worker_drain = role_drain,
    .worker_stop = role_stop,
    .finish = role_finish,
};

/* ---- the child ---- */

static char folder[64], config[96], heard[262144];
static size_t heard_len;
static unsigned collect_port;
static struct {
	pid_t pid;
	int log, go;
} child;

static void
write_cluster(const char *drain_timeout, const char *request_timeout)
{
	FILE *file = fopen(config, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fprintf(file,
	    "cluster: { name: test, keys: keys, quorum: 0, drain_timeout: %s }\n"
	    "balancers: [ { name: balancer-1, link: \"127.0.0.1:8200\" } ]\n"
	    "servers: [ { name: server-1, http: \"127.0.0.1:8101\", workers: 2, "
	    "request_timeout: %s } ]\n",
	    drain_timeout, request_timeout);
	if (collect_port > 0)
		fprintf(file, "monitors: [ { name: monitor-1, collect: \"127.0.0.1:%u\" } ]\n",
		    collect_port);
	fclose(file);
}

static void
make_folder(void)
{
	W_AUTO(w_free) char *keys = NULL;
	struct w_fault fault = {0};

	snprintf(folder, sizeof(folder), "/tmp/weir-unit-node-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(config, sizeof(config), "%s/cluster.yaml", folder);
	keys = w_xasprintf("%s/keys", folder);
	CU_ASSERT_EQUAL(w_keys_ensure(keys, "server-1", &fault), W_OK);
	CU_ASSERT_EQUAL(w_keys_ensure(keys, "monitor-1", &fault), W_OK);
	memset(&how, 0, sizeof(how));
	collect_port = 0;
	write_cluster("1h", "1s");
}

static void
remove_folder(void)
{
	W_AUTO(w_free) char *command = w_xasprintf("rm -rf %s", folder);

	CU_ASSERT_EQUAL(system(command), 0);
}

static _Noreturn void
be_child(const int pipes[2], const int go[2], char **argv)
{
	char byte;
	int argc = 0;

	close(go[1]);
	if (read(go[0], &byte, 1) != 1)
		_exit(99);
	dup2(pipes[1], STDERR_FILENO);
	dup2(pipes[1], STDOUT_FILENO);
	close(pipes[0]);
	close(pipes[1]);
	while (argv[argc] != NULL)
		argc++;
	exit(w_node_main(argc, argv, &ops));
}

/* Fork while this process has but one thread; the child waits for go(). */
static void
spawn(char **argv)
{
	int pipes[2], start[2];

	CU_ASSERT_FATAL(pipe(pipes) == 0 && pipe(start) == 0);
	fflush(NULL);
	child.pid = fork();
	if (child.pid == 0)
		be_child(pipes, start, argv);
	close(pipes[1]);
	close(start[0]);
	child.log = pipes[0];
	child.go = start[1];
	heard_len = 0;
	heard[0] = '\0';
}

static void
go(void)
{
	CU_ASSERT_EQUAL(write(child.go, "g", 1), 1);
	w_close(&child.go);
}

static void
run_node(void)
{
	static char *argv[] = {"weir-test", "--config", config, "--name", "server-1", NULL};

	spawn(argv);
	go();
}

/* Reads on; false at the end of the log, or when nothing comes for too long. */
static bool
hear_more(void)
{
	struct pollfd in = {.fd = child.log, .events = POLLIN};
	ssize_t got;

	if (poll(&in, 1, PATIENCE_MSEC) <= 0 || heard_len + 1 >= sizeof(heard))
		return false;
	got = read(child.log, heard + heard_len, sizeof(heard) - 1 - heard_len);
	if (got <= 0)
		return false;
	heard_len += (size_t)got;
	heard[heard_len] = '\0';
	return true;
}

static void
wait_for(const char *text)
{
	while (strstr(heard, text) == NULL && hear_more())
		continue;
	if (strstr(heard, text) == NULL) {
		printf("\nnot heard: '%s' in:\n%s", text, heard);
		CU_FAIL("the log does not say what it should");
	}
}

/* Hear the rest; the exit status, or -1. */
static int
wait_for_end(void)
{
	int status = 0;

	while (hear_more())
		continue;
	w_close(&child.log);
	w_close(&child.go);
	alarm(PATIENCE_MSEC / 1000);
	CU_ASSERT_EQUAL(waitpid(child.pid, &status, 0), child.pid);
	alarm(0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 7)
		printf("\nended with %x:\n%s", (unsigned)status, heard);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* All words are in the log, each one's first place behind the one before. */
static bool
in_order(const char *const *words)
{
	const char *last = heard;

	for (; *words != NULL; words++) {
		const char *at = strstr(heard, *words);

		if (at == NULL || at < last) {
			printf("\n'%s' is missing or too early in:\n%s", *words, heard);
			return false;
		}
		last = at;
	}
	return true;
}

/* ---- tests ---- */

static void
life_goes_in_order(void)
{
	static const char *const story[] = {" test-prepare ", " test-start ", " up ",
	    " signal name=SIGTERM", " draining ", " test-drain ", " test-drained ", " test-stop ",
	    " test-finish ", " down ", NULL};

	how.drain_later = true;
	run_node();
	wait_for(" up pid=");
	kill(child.pid, SIGTERM);
	CU_ASSERT_EQUAL(wait_for_end(), 0);
	CU_ASSERT_TRUE(in_order(story));
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "workers=2"));
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "test-drained worker=0"));
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "test-drained worker=1"));
	CU_ASSERT_PTR_NULL(strstr(heard, "same=0"));
	CU_ASSERT_PTR_NULL(strstr(heard, "drain-timeout"));
}

static void
drain_has_a_limit(void)
{
	how.drain_never = true;
	write_cluster("50ms", "1s");
	run_node();
	wait_for(" up ");
	kill(child.pid, SIGINT);
	CU_ASSERT_EQUAL(wait_for_end(), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, " drain-timeout "));
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, " test-stop worker=1"));
}

static void
second_signal_ends_at_once(void)
{
	how.drain_never = true;
	run_node();
	wait_for(" up ");
	kill(child.pid, SIGTERM);
	wait_for(" test-drain ");
	kill(child.pid, SIGTERM);
	CU_ASSERT_EQUAL(wait_for_end(), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "again=true"));
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, " test-finish "));
}

static void
failed_prepare_ends_it(void)
{
	how.fail_prepare = true;
	run_node();
	CU_ASSERT_EQUAL(wait_for_end(), 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "prepare found nothing"));
	CU_ASSERT_PTR_NULL(strstr(heard, "test-start"));
	CU_ASSERT_PTR_NULL(strstr(heard, "test-finish"));
}

static void
failed_worker_ends_it(void)
{
	how.fail_worker = true;
	run_node();
	CU_ASSERT_EQUAL(wait_for_end(), 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "worker has no luck"));
	CU_ASSERT_PTR_NULL(strstr(heard, "test-stop worker=1"));
	CU_ASSERT_PTR_NULL(strstr(heard, " up "));
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "test-finish"));
}

static void
role_ends_the_node(void)
{
	how.end_itself = true;
	run_node();
	CU_ASSERT_EQUAL(wait_for_end(), 7);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, " test-drain "));
}

static void
reload_takes_what_is_good(void)
{
	run_node();
	wait_for(" up ");
	write_cluster("1h", "17s");
	kill(child.pid, SIGHUP);
	wait_for(" reloaded ");
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "test-reload timeout=17"));

	write_cluster("1h", "soon");
	kill(child.pid, SIGHUP);
	wait_for(" reload-failed ");
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "request_timeout"));
	kill(child.pid, SIGTERM);
	CU_ASSERT_EQUAL(wait_for_end(), 0);
}

static int
run_args(const char *a, const char *b, const char *c, const char *d)
{
	char *argv[] = {"weir-test", (char *)a, (char *)b, (char *)c, (char *)d, NULL};

	spawn(argv);
	go();
	return wait_for_end();
}

static void
wrong_usage_is_told(void)
{
	CU_ASSERT_EQUAL(run_args("--help", NULL, NULL, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "--config FILE"));
	CU_ASSERT_EQUAL(run_args("--version", NULL, NULL, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "weir-test "));
	CU_ASSERT_EQUAL(run_args("--print-options", NULL, NULL, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "request_memory"));
	CU_ASSERT_EQUAL(run_args(NULL, NULL, NULL, NULL), 2);
	CU_ASSERT_EQUAL(run_args("--nonsense", NULL, NULL, NULL), 2);
	CU_ASSERT_EQUAL(run_args("--config", config, NULL, NULL), 2);
	CU_ASSERT_EQUAL(run_args("--config", "/nowhere", "--name", "server-1"), 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "/nowhere"));
	CU_ASSERT_EQUAL(run_args("--config", config, "--name", "balancer-1"), 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "servers are: server-1"));
	CU_ASSERT_EQUAL(run_args("--config", config, "--name", "server-9"), 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "server-9"));
}

/* ---- reports ---- */

static struct w_loop loop;
static void *collector;
static char states[512];
static int64_t last_seq;
static unsigned bad_reports;
static unsigned ups;
static int64_t up_times[4];

static bool
report_is_sound(json_t *report)
{
	int64_t seq = json_integer_value(json_object_get(report, "seq"));
	bool ok = json_integer_value(json_object_get(report, "v")) == 1 && seq > last_seq &&
		  strcmp(json_string_value(json_object_get(report, "node")), "server-1") == 0 &&
		  strcmp(json_string_value(json_object_get(report, "role")), "server") == 0 &&
		  json_integer_value(json_object_get(report, "pid")) == child.pid &&
		  json_number_value(json_object_get(report, "interval")) == 1.0 &&
		  json_integer_value(json_object_get(report, "epoch")) > 0 &&
		  json_array_size(json_object_get(report, "metrics")) > 10;

	last_seq = seq;
	return ok;
}

/* After the first a reload, which wants five reports at once. */
static void
on_up(const json_t *report)
{
	if (ups < W_NELEM(up_times))
		up_times[ups] = json_integer_value(json_object_get(report, "time"));
	ups++;
	if (ups == 1)
		kill(child.pid, SIGHUP);
	else if (ups == W_NELEM(up_times))
		kill(child.pid, SIGTERM);
}

static void
on_report(void *arg W_UNUSED)
{
	static char text[1 << 20];
	char topic[16];
	int len;

	while ((len = zmq_recv(collector, topic, sizeof(topic), ZMQ_DONTWAIT)) >= 0) {
		json_t *report;
		const char *state;

		bad_reports += len != 6 || memcmp(topic, "report", 6) != 0;
		len = zmq_recv(collector, text, sizeof(text), 0);
		report = json_loadb(text, (size_t)W_MIN(len, (int)sizeof(text)), 0, NULL);
		if (report == NULL || !report_is_sound(report)) {
			bad_reports++;
			json_decref(report);
			continue;
		}
		state = json_string_value(json_object_get(report, "state"));
		/* after the end the role is asked no more */
		bad_reports += (json_integer_value(json_object_get(report, "test")) == 42) ==
			       (strcmp(state, "down") == 0);
		if (strstr(states, state) == NULL)
			strcat(strcat(states, state), " ");
		if (strcmp(state, "up") == 0)
			on_up(report);
		if (strcmp(state, "down") == 0)
			w_loop_stop(&loop);
		json_decref(report);
	}
}

static void
bind_collector(void *context, const struct w_keys *keys)
{
	char endpoint[128];
	size_t size = sizeof(endpoint);
	struct w_fault fault = {0};

	collector = zmq_socket(context, ZMQ_SUB);
	CU_ASSERT_EQUAL(w_keys_server(keys, collector, W_DOMAIN_COLLECT, &fault), W_OK);
	zmq_setsockopt(collector, ZMQ_SUBSCRIBE, "report", 6);
	CU_ASSERT_FATAL(zmq_bind(collector, "tcp://127.0.0.1:*") == 0);
	zmq_getsockopt(collector, ZMQ_LAST_ENDPOINT, endpoint, &size);
	collect_port = (unsigned)atoi(strrchr(endpoint, ':') + 1);
}

static void
give_up(void *arg W_UNUSED)
{
	CU_FAIL("no report says that the node is down");
	w_loop_stop(&loop);
}

static void
monitor_follows_its_states(void)
{
	static char *argv[] = {"weir-test", "--config", config, "--name", "server-1", NULL};
	W_AUTO(w_free) char *keys_dir = w_xasprintf("%s/keys", folder);
	struct w_timer guard = {.fire = give_up};
	struct w_cluster *cluster = NULL;
	struct w_keys *keys = NULL;
	struct w_zap *zap = NULL;
	struct w_zsock zsock;
	struct w_fault fault = {0};
	void *context;

	spawn(argv);
	context = zmq_ctx_new();
	CU_ASSERT_FATAL(w_loop_init(&loop) == W_OK);
	CU_ASSERT_FATAL(w_keys_load(keys_dir, "monitor-1", &keys, &fault) == W_OK);
	CU_ASSERT_FATAL(w_cluster_load(config, &cluster, &fault) == W_OK);
	CU_ASSERT_FATAL(w_zap_start(context, &loop, cluster, &zap, &fault) == W_OK);
	bind_collector(context, keys);
	write_cluster("1h", "1s");
	CU_ASSERT_EQUAL(w_zsock_add(&loop, &zsock, collector, on_report, NULL), W_OK);
	w_timer_start(&loop, &guard, PATIENCE_MSEC * W_MSEC, 0);
	states[0] = '\0';
	last_seq = bad_reports = ups = 0;
	go();
	w_loop_run(&loop);
	CU_ASSERT_EQUAL(wait_for_end(), 0);
	CU_ASSERT_EQUAL(bad_reports, 0);
	/* "starting" only when the monitor was heard of in time */
	CU_ASSERT_PTR_NOT_NULL(strstr(states, "up draining down "));
	/* One at once, and one for all that came too soon after it. That of each second may come between them. */
	CU_ASSERT(up_times[3] - up_times[1] >= W_REPORT_APART - W_MSEC);
	CU_ASSERT(up_times[2] - up_times[1] < 900 * W_MSEC);

	w_timer_fini(&guard);
	w_zsock_remove(&zsock);
	zmq_close(collector);
	w_zap_stop(&zap);
	w_loop_fini(&loop);
	zmq_ctx_term(context);
	w_keys_free(&keys);
	w_cluster_free(&cluster);
}

static CU_TestInfo life_tests[] = {{"its life goes in order", life_goes_in_order},
    {"a drain has a limit", drain_has_a_limit},
    {"a second signal ends it at once", second_signal_ends_at_once},
    {"a failed prepare ends it with its reason", failed_prepare_ends_it},
    {"a failed worker ends it with its reason", failed_worker_ends_it},
    {"the role can end it with a status", role_ends_the_node},
    {"a reload takes what is good and keeps the old otherwise", reload_takes_what_is_good},
    {"wrong usage is told", wrong_usage_is_told},
    {"the monitor follows its states", monitor_follows_its_states}, CU_TEST_INFO_NULL};
CU_SuiteInfo node_suites[] = {{.pName = "common/node",
				  .pSetUpFunc = make_folder,
				  .pTearDownFunc = remove_folder,
				  .pTests = life_tests},
    CU_SUITE_INFO_NULL};
