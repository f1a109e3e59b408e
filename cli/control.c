/* The other end of up_control.c: status, down, reload, stop-node, start-node. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

#define ANSWER_MAX (1024 * 1024)
#define FETCH_TIMEOUT (2 * W_SEC)
#define START_TIMEOUT (60 * W_SEC)
#define TRY_EVERY_NS (100 * 1000 * 1000)

/* Connect to the weir up of a folder and send a line. Errors: -W_EDOWN. */
static int
open_control(const char *dir, const char *line, int *ret, struct w_fault *fault)
{
	W_AUTO(w_free) char *run = w_xasprintf("%s/run", dir);
	W_AUTO(w_close) int folder = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	W_AUTO(w_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	/* A socket's path is short (unix(7)), a folder's may be long. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/weir.sock", folder);
	if (folder < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return w_fail(fault, -W_EDOWN, "no cluster of weir up runs in %s", dir);
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		return w_fail(fault, -W_EDOWN, "the control socket of %s: %s", dir, strerror(errno));
	*ret = fd;
	fd = -1;
	return W_OK;
}

int
cli_control(const char *dir, const char *line, struct w_buf *ret, struct w_fault *fault)
{
	W_AUTO(w_close) int fd = -1;
	int rc = open_control(dir, line, &fd, fault);
	ssize_t got;

	if (rc < 0)
		return rc;
	while (ret->len < ANSWER_MAX && (got = read(fd, w_buf_room(ret, 4096), 4096)) > 0)
		w_buf_added(ret, (size_t)got);
	w_buf_char(ret, '\0');
	ret->len--;
	if (strncmp(ret->ptr, "error: ", 7) == 0)
		return w_fail(fault, -W_EINVAL, "%.*s", (int)strcspn(ret->ptr + 7, "\n"), ret->ptr + 7);
	return W_OK;
}

/* The folder that the commands of a running weir up talk to. */
static const char *
dir_or_default(const char *dir)
{
	return dir != NULL ? dir : "./weir-data";
}

/* --- what the processes are, and what the monitor knows of them --- */

/* A member of what the monitors answer at a path; NULL: no monitor answers. */
static json_t *
ask_for(const struct w_cluster *cluster, const char *path, const char *member)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	json_t *root, *found;

	if (cli_ask_monitors(cluster, path, FETCH_TIMEOUT, &body) < 0)
		return NULL;
	root = json_loads(body.ptr, 0, NULL);
	found = json_incref(json_object_get(root, member));
	json_decref(root);
	return found;
}

static json_t *
find_named(json_t *nodes, const char *name)
{
	json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node) {
		const char *found = json_string_value(json_object_get(node, "name"));

		if (found != NULL && strcmp(found, name) == 0)
			return node;
	}
	return NULL;
}

/* State by process and report: a report of an earlier process of this name says nothing. */
static const char *
node_state(const char *process, int64_t pid, const json_t *seen)
{
	const char *state = json_string_value(json_object_get(seen, "state"));

	if (process != NULL && strcmp(process, "stopping") == 0)
		return "draining";
	if (process != NULL && strcmp(process, "running") != 0)
		return "down";
	if (state == NULL)
		return process != NULL ? "starting" : "down";
	if (process != NULL && json_integer_value(json_object_get(seen, "pid")) != pid)
		return "starting";
	return process != NULL && strcmp(state, "down") == 0 ? "starting" : state;
}

static json_t *
describe(const struct w_member *member, const json_t *process, const json_t *seen)
{
	static const char *const copied[] = { "postgres_pid", "database", "timeline", "lag_bytes",
		"position", "requests_per_second", "p99" };
	/* of the agent's status to the promoter, which is null when it is not fresh */
	static const char *const of_agent[] = { "stage", "term", "busy", "trouble" };
	const char *process_state = json_string_value(json_object_get(process, "process"));
	int64_t pid = json_integer_value(json_object_get(process != NULL ? process : seen, "pid"));
	const char *state = node_state(process_state, pid, seen);
	json_t *node = json_pack("{s:s, s:s, s:I, s:s}", "name", member->name, "role",
	    w_role_name(member->role), "pid", (json_int_t)pid, "state", state);
	bool alive = strcmp(state, "up") == 0 || strcmp(state, "draining") == 0;

	for (size_t i = 0; i < W_NELEM(copied); i++) {
		json_t *value = json_object_get(seen, copied[i]);

		if (value != NULL && alive)
			json_object_set(node, copied[i], value);
	}
	for (size_t i = 0; i < W_NELEM(of_agent); i++) {
		json_t *value = json_object_get(seen, of_agent[i]);

		if (value != NULL)
			json_object_set(node, of_agent[i], value);
	}
	if (member->role == W_DATABASE && !alive)
		json_object_set_new(node, "database", json_string("none"));
	if (process != NULL)
		json_object_set(node, "restarts", json_object_get(process, "restarts"));
	return node;
}

/* {"nodes":[...],"failover":{...}} of all members; NULL when neither weir up nor a monitor answers. */
static json_t *
status_of(const struct w_cluster *cluster, const char *dir)
{
	W_AUTO(w_buf_fini) struct w_buf answer = { 0 };
	json_t *control = NULL, *seen = ask_for(cluster, "/api/nodes", "nodes");
	json_t *failover = seen != NULL ? ask_for(cluster, "/api/cluster", "cluster") : NULL;
	json_t *nodes = json_array(), *root = NULL;

	if (cli_control(dir, "status\n", &answer, NULL) == W_OK)
		control = json_loads(answer.ptr, 0, NULL);
	for (size_t i = 0; i < cluster->member_count; i++) {
		const struct w_member *member = &cluster->members[i];
		json_t *process = find_named(json_object_get(control, "nodes"), member->name);

		json_array_append_new(nodes,
		    describe(member, process, find_named(seen, member->name)));
	}
	if (control != NULL || seen != NULL)
		root = json_pack("{s:O, s:O?}", "nodes", nodes, "failover",
		    json_object_get(failover, "failover"));
	json_decref(nodes);
	json_decref(failover);
	json_decref(control);
	json_decref(seen);
	return root;
}

static const char *
text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* "failover: steady, db-2 leads term 5; degraded: no-spare; cohort OLD to NEW: what that waits for", and the last move. */
static void
print_failover(const json_t *failover)
{
	const json_t *last = json_object_get(failover, "last");
	const char *leader = text_of(failover, "leader"), *degraded = text_of(failover, "degraded");
	const char *node = text_of(last, "node"), *why = text_of(last, "why");
	long long term = json_integer_value(json_object_get(failover, "term"));
	const json_t *took = json_object_get(last, "took_ms");

	if (!json_is_object(failover))
		return;
	printf("failover: %s, ", text_of(failover, "state"));
	if (leader != NULL)
		printf("%s leads term %lld", leader, term);
	else
		printf("nobody leads");
	if (json_is_true(json_object_get(failover, "paused")))
		printf(", paused");
	if (degraded != NULL && strcmp(degraded, "paused") != 0)
		printf("; degraded: %s", degraded);
	if (text_of(failover, "change") != NULL)
		printf("; cohort %s to %s: %s", text_of(failover, "in_force"), text_of(failover, "configured"),
		    text_of(failover, "change"));
	if (json_is_object(last)) {
		printf("; last: %s", text_of(last, "name"));
		printf("%s%s%s%s", node != NULL ? " " : "", node != NULL ? node : "",
		    why != NULL ? ", " : "", why != NULL ? why : "");
		if (json_is_number(took))
			printf(", took %.0f ms", json_number_value(took));
	}
	putchar('\n');
}

static void
print_database(const json_t *node)
{
	const char *stage = text_of(node, "stage"), *busy = text_of(node, "busy");
	const char *trouble = text_of(node, "trouble");
	json_t *lag = json_object_get(node, "lag_bytes");

	printf(" %s timeline %lld", text_of(node, "database"),
	    (long long)json_integer_value(json_object_get(node, "timeline")));
	if (json_is_number(lag))
		printf(" lag %lld bytes", (long long)json_number_value(lag));
	if (stage != NULL)
		printf(", %s term %lld", stage,
		    (long long)json_integer_value(json_object_get(node, "term")));
	if (busy != NULL)
		printf(", %s", busy);
	if (trouble != NULL)
		printf(", trouble: %s", trouble);
}

static void
print_status(const json_t *root)
{
	json_t *node;
	size_t i;

	print_failover(json_object_get(root, "failover"));
	printf("%-14s %-10s %8s  %-9s %s\n", "NODE", "ROLE", "PID", "STATE", "");
	json_array_foreach(json_object_get(root, "nodes"), i, node) {
		printf("%-14s %-10s %8lld  %-9s", text_of(node, "name"), text_of(node, "role"),
		    (long long)json_integer_value(json_object_get(node, "pid")), text_of(node, "state"));
		if (text_of(node, "database") != NULL)
			print_database(node);
		putchar('\n');
	}
}

int
cli_status(int argc, char **argv)
{
	const char *dir = NULL, *config = NULL;
	bool json = false;
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
		{ "config", CLI_TEXT, &config, 0, 0, "FILE", "Cluster file.", NULL },
		{ "json", CLI_FLAG, &json, 0, 0, NULL, "One JSON object.", NULL },
	};
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	json_t *root;
	int rc = cli_args(cli_command_find("status"), table, W_NELEM(table), &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc != 1)
		return cli_usage("status", "takes no argument '%s'", argv[1]);
	rc = cli_cluster_load("status", dir, config, &cluster);
	if (rc != CLI_DONE)
		return rc;
	root = status_of(cluster, cluster->dir);
	if (root == NULL)
		return cli_fail("status", "nothing runs: no weir up in %s, and no monitor answers",
		    cluster->dir);
	if (json) {
		json_dumpf(root, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_status(root);
	}
	json_decref(root);
	return CLI_DONE;
}

/* --- commands that change something --- */

static int
parse_node(const char *name, int *argc, char **argv, const char **dir)
{
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
	};
	int rc = cli_args(cli_command_find(name), table, W_NELEM(table), argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (*argc != 2)
		return cli_usage(name, "say which node; weir status lists them");
	return CLI_DONE;
}

static int
control_node(const char *command, const char *word, const char *dir, const char *node)
{
	W_AUTO(w_free) char *line = w_xasprintf("%s %s\n", word, node);
	W_AUTO(w_buf_fini) struct w_buf answer = { 0 };
	struct w_fault fault = { 0 };

	if (strpbrk(node, " \n") != NULL || strlen(node) > 100)
		return cli_fail(command, "no node '%s'", node);
	if (cli_control(dir_or_default(dir), line, &answer, &fault) < 0)
		return cli_fail(command, "%s", fault.text);
	return CLI_DONE;
}

int
cli_stop_node(int argc, char **argv)
{
	const char *dir = NULL;
	int rc = parse_node("stop-node", &argc, argv, &dir);

	return rc == CLI_DONE ? control_node("stop-node", "stop", dir, argv[1]) : rc;
}

static bool
node_is_up(const struct w_cluster *cluster, const char *name)
{
	json_t *root = status_of(cluster, cluster->dir);
	json_t *node = find_named(json_object_get(root, "nodes"), name);
	const char *state = json_string_value(json_object_get(node, "state"));
	bool up = state != NULL && strcmp(state, "up") == 0;

	json_decref(root);
	return up;
}

int
cli_start_node(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = TRY_EVERY_NS };
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	const char *dir = NULL;
	w_usec deadline = w_now() + START_TIMEOUT;
	int rc = parse_node("start-node", &argc, argv, &dir);

	if (rc == CLI_DONE)
		rc = cli_cluster_load("start-node", dir, NULL, &cluster);
	if (rc == CLI_DONE)
		rc = control_node("start-node", "start", dir, argv[1]);
	if (rc != CLI_DONE)
		return rc;
	while (!node_is_up(cluster, argv[1])) {
		if (w_now() > deadline)
			return cli_fail("start-node", "%s was started but is not up after %d s; see %s/logs/%s.log",
			    argv[1], (int)(START_TIMEOUT / W_SEC), dir_or_default(dir), argv[1]);
		nanosleep(&pause, NULL); /* another process' state: there is nothing to wait on */
	}
	return CLI_DONE;
}

int
cli_down(int argc, char **argv)
{
	const char *dir = NULL;
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
	};
	W_AUTO(w_buf_fini) struct w_buf answer = { 0 };
	struct w_fault fault = { 0 };
	int rc = cli_args(cli_command_find("down"), table, W_NELEM(table), &argc, argv);

	if (rc != CLI_DONE)
		return rc;
	if (argc != 1)
		return cli_usage("down", "takes no argument '%s'", argv[1]);
	if (cli_control(dir_or_default(dir), "down\n", &answer, &fault) < 0)
		return cli_fail("down", "%s", fault.text);
	return CLI_DONE;
}

static void
close_file(FILE **file)
{
	if (*file != NULL)
		fclose(*file);
}

/* What comes of it, line by line as it comes. */
static int
print_answers(int fd)
{
	W_AUTO(close_file) FILE *file = fdopen(fd, "r");
	char line[4096];
	int rc = CLI_DONE, lines = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		lines++;
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "error: ", 7) == 0) {
			rc = cli_fail("reload", "%s", line + 7);
			continue;
		}
		puts(line);
		fflush(stdout);
	}
	return lines > 0 ? rc : cli_fail("reload", "weir up ended meanwhile");
}

int
cli_reload(int argc, char **argv)
{
	const char *dir = NULL;
	const struct cli_arg table[] = {
		{ "dir", CLI_TEXT, &dir, 0, 0, "DIR", "Folder of weir up (default ./weir-data).", NULL },
	};
	struct w_fault fault = { 0 };
	int rc = cli_args(cli_command_find("reload"), table, W_NELEM(table), &argc, argv), fd = -1;

	if (rc != CLI_DONE)
		return rc;
	if (argc != 1)
		return cli_usage("reload", "takes no argument '%s'", argv[1]);
	if (open_control(dir_or_default(dir), "reload\n", &fd, &fault) < 0)
		return cli_fail("reload", "%s", fault.text);
	return print_answers(fd);
}
