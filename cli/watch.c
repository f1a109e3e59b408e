/*
 * weir watch: a subscriber to the first monitor's feed, for eyes (a line a message) and for
 * programs (the JSON as it came).
 * Source: docs/protocol/02-feed.md
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <zmq.h>

#include "cli/cli.h"
#include "common/keys.h"

#define SILENCE_MSEC 3000

struct watch {
	const char *dir, *config, *key;
	unsigned count; /* messages to show; 0: until stopped */
	bool json;
	struct w_cluster *cluster;
	const struct w_member *monitor;
	struct w_keys *keys;
	void *zmq, *socket;
};

/* ---- lines for people ---- */

static const char *
text_of(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : otherwise;
}

/* The number, or "-" where it is null. Four of these may be used at once. */
static const char *
number_of(const json_t *object, const char *key, double scale, const char *fmt)
{
	static char texts[4][32];
	static unsigned turn;
	const json_t *value = json_object_get(object, key);
	char *to = texts[turn++ % 4];
	double number = json_number_value(value) * scale;

	if (!json_is_number(value))
		return "-";
	/* fmt is one of this file's literals; the compiler cannot see that through the argument */
	if (strcmp(fmt, "%.0f") == 0)
		snprintf(to, sizeof(texts[0]), "%.0f", number);
	else
		snprintf(to, sizeof(texts[0]), "%.1f", number);
	return to;
}

static void
print_time(const json_t *message)
{
	json_int_t wall = json_integer_value(json_object_get(message, "time"));
	time_t seconds = (time_t)(wall / W_SEC);
	struct tm tm;
	char clock[16];

	localtime_r(&seconds, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	printf("%s.%03d ", clock, (int)(wall % W_SEC / W_MSEC));
}

static void
print_node(const json_t *message, const json_t *node)
{
	const char *database = text_of(node, "database", NULL);

	print_time(message);
	printf("%-14s %-8s %-8s", text_of(node, "name", "?"), text_of(node, "role", "?"),
	    text_of(node, "state", "?"));
	if (database == NULL)
		printf(" %8s req/s  p50 %6s ms  p99 %6s ms  %s 5xx/s\n",
		    number_of(node, "requests_per_second", 1, "%.1f"),
		    number_of(node, "p50", 1000, "%.1f"), number_of(node, "p99", 1000, "%.1f"),
		    number_of(node, "errors_per_second", 1, "%.1f"));
	else
		printf(" %8s txn/s  %-7s  timeline %s  lag %s bytes\n",
		    number_of(node, "transactions_per_second", 1, "%.1f"), database,
		    number_of(node, "timeline", 1, "%.0f"), number_of(node, "lag_bytes", 1, "%.0f"));
}

static void
print_cluster(const json_t *message, const json_t *cluster)
{
	const json_t *second = json_object_get(json_object_get(cluster, "windows"), "1s");

	print_time(message);
	printf("%-14s cluster  %lld/%lld up", text_of(cluster, "name", "?"),
	    (long long)json_integer_value(json_object_get(cluster, "nodes_up")),
	    (long long)json_integer_value(json_object_get(cluster, "nodes")));
	printf(" %9s req/s  p50 %6s ms  p99 %6s ms  %s 5xx/s\n",
	    number_of(cluster, "requests_per_second", 1, "%.1f"), number_of(second, "p50", 1000, "%.1f"),
	    number_of(second, "p99", 1000, "%.1f"),
	    number_of(cluster, "errors_per_second", 1, "%.1f"));
}

static void
print_alert(const json_t *message, const json_t *alert)
{
	print_time(message);
	printf("ALERT %s %s %s: %s\n", text_of(alert, "state", "?"), text_of(alert, "severity", "?"),
	    text_of(alert, "name", "?"), text_of(alert, "summary", ""));
}

static void
print_event(const json_t *message, const json_t *event)
{
	const char *from = text_of(event, "from", NULL), *reason = text_of(event, "reason", NULL);

	print_time(message);
	printf("%-14s %s", text_of(event, "node", "?"), text_of(event, "event", "?"));
	if (from != NULL)
		printf(" %s -> %s", from, text_of(event, "to", "?"));
	printf("%s%s\n", reason != NULL ? ", " : "", reason != NULL ? reason : "");
}

static void
print_move(const json_t *message, const json_t *move)
{
	const char *why = text_of(move, "why", NULL);

	print_time(message);
	printf("%-14s failover %s, term %s, %s -> %s", text_of(move, "node", "-"),
	    text_of(move, "name", "?"), number_of(move, "term", 1, "%.0f"), text_of(move, "from", "?"),
	    text_of(move, "to", "?"));
	if (json_is_number(json_object_get(move, "took_ms")))
		printf(", took %s ms", number_of(move, "took_ms", 1, "%.0f"));
	printf("%s%s\n", why != NULL ? ": " : "", why != NULL ? why : "");
}

static void
print_text(const json_t *message)
{
	static const struct {
		const char *member;
		void (*print)(const json_t *message, const json_t *object);
	} kinds[] = { { "node", print_node }, { "nodes", print_node }, { "cluster", print_cluster },
		{ "alert", print_alert }, { "alerts", print_alert }, { "event", print_event },
		{ "move", print_move } };

	for (size_t i = 0; i < W_NELEM(kinds); i++) {
		const json_t *member = json_object_get(message, kinds[i].member), *item;
		size_t at;

		if (json_is_object(member))
			kinds[i].print(message, member);
		json_array_foreach(member, at, item)
			kinds[i].print(message, item);
	}
}

/* ---- the socket ---- */

static int
zmq_failed(const char *what)
{
	return cli_fail("watch", "%s: %s", what, zmq_strerror(zmq_errno()));
}

static int
subscribe(struct watch *watch, int argc, char **argv)
{
	static const char *const eyes[] = { "node.", "alert.", "event", "failover" };
	int rc = 0;

	for (int i = 1; i < argc; i++)
		rc |= zmq_setsockopt(watch->socket, ZMQ_SUBSCRIBE, argv[i], strlen(argv[i]));
	if (argc == 1 && watch->json)
		rc |= zmq_setsockopt(watch->socket, ZMQ_SUBSCRIBE, "", 0);
	for (size_t i = 0; argc == 1 && !watch->json && i < W_NELEM(eyes); i++)
		rc |= zmq_setsockopt(watch->socket, ZMQ_SUBSCRIBE, eyes[i], strlen(eyes[i]));
	return rc == 0 ? CLI_DONE : zmq_failed("cannot subscribe");
}

static int
dial(struct watch *watch)
{
	const char *addr = watch->monitor->opt.monitor.feed;
	struct w_fault fault = { 0 };
	char endpoint[320];

	if (w_keys_load(watch->cluster->opt.keys, watch->key, &watch->keys, &fault) < 0)
		return cli_fail("watch", "%s", fault.text);
	watch->zmq = zmq_ctx_new();
	watch->socket = watch->zmq != NULL ? zmq_socket(watch->zmq, ZMQ_SUB) : NULL;
	if (watch->socket == NULL)
		return zmq_failed("no ZeroMQ socket");
	if (w_keys_client(watch->keys, watch->socket, watch->monitor->name, &fault) < 0)
		return cli_fail("watch", "%s", fault.text);
	if (w_addr_zmq(addr, 0, endpoint, sizeof(endpoint)) < 0 ||
	    zmq_connect(watch->socket, endpoint) < 0)
		return cli_fail("watch", "cannot connect to %s's feed at %s", watch->monitor->name, addr);
	return CLI_DONE;
}

static void
hang_up(struct watch *watch)
{
	if (watch->socket != NULL)
		zmq_close(watch->socket);
	if (watch->zmq != NULL)
		zmq_ctx_term(watch->zmq);
	w_keys_free(&watch->keys);
	w_cluster_free(&watch->cluster);
}

static void
show(const struct watch *watch, zmq_msg_t *body)
{
	json_t *message;

	if (watch->json) {
		printf("%.*s\n", (int)zmq_msg_size(body), (const char *)zmq_msg_data(body));
	} else {
		message = json_loadb(zmq_msg_data(body), zmq_msg_size(body), 0, NULL);
		print_text(message);
		json_decref(message);
	}
	fflush(stdout);
}

/* One message is there: its last frame is the JSON. */
static int
take_message(const struct watch *watch)
{
	zmq_msg_t frame;
	bool more = true;

	while (more) {
		zmq_msg_init(&frame);
		if (zmq_msg_recv(&frame, watch->socket, 0) < 0) {
			zmq_msg_close(&frame);
			return zmq_failed("cannot receive");
		}
		more = zmq_msg_more(&frame) != 0;
		if (!more)
			show(watch, &frame);
		zmq_msg_close(&frame);
	}
	return CLI_DONE;
}

static int
follow(const struct watch *watch)
{
	zmq_pollitem_t item = { .socket = watch->socket, .events = ZMQ_POLLIN };
	bool silent = false;

	for (unsigned shown = 0; watch->count == 0 || shown < watch->count;) {
		int ready = zmq_poll(&item, 1, SILENCE_MSEC);

		if (ready < 0 && zmq_errno() != EINTR)
			return zmq_failed("cannot wait");
		if (ready == 0 && !silent)
			fprintf(stderr,
			    "weir watch: no news from %s (%s) for %d s: does it run, and has it %s.pub "
			    "among its keys? Still trying.\n",
			    watch->monitor->name, watch->monitor->opt.monitor.feed,
			    SILENCE_MSEC / 1000, watch->key);
		silent = ready == 0;
		if (ready <= 0)
			continue;
		if (take_message(watch) != CLI_DONE)
			return CLI_FAILED;
		shown++;
	}
	return CLI_DONE;
}

int
cli_watch(int argc, char **argv)
{
	W_AUTO(hang_up) struct watch watch = { .key = "operator" };
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &watch.dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
		{ "config", CLI_TEXT, &watch.config, 0, 0, "FILE", "Cluster file.", NULL },
		{ "json", CLI_FLAG, &watch.json, 0, 0, NULL, "Print the messages as they come, one a line.", NULL },
		{ "key", CLI_TEXT, &watch.key, 0, 0, "NAME", "Subscribe as NAME, by NAME.key of the keys folder (default operator).", NULL },
		{ "count", CLI_UINT, &watch.count, 1, 1000000000, "N", "End after N messages.", NULL },
	};
	int rc = cli_args(cli_command_find("watch"), table, W_NELEM(table), &argc, argv);

	if (rc == CLI_DONE)
		rc = cli_cluster_load("watch", watch.dir, watch.config, &watch.cluster);
	if (rc != CLI_DONE)
		return rc;
	watch.monitor = w_cluster_nth(watch.cluster, W_MONITOR, 0);
	if (watch.monitor == NULL || watch.monitor->opt.monitor.feed[0] == '\0')
		return cli_fail("watch", "%s names no monitor with a feed", watch.cluster->path);
	rc = dial(&watch);
	if (rc == CLI_DONE)
		rc = subscribe(&watch, argc, argv);
	return rc == CLI_DONE ? follow(&watch) : rc;
}
