/*
 * When does everything really serve? A thread asks as a user would: the schema is loaded through
 * the primary, the monitor says that every node is up and that every database leads or follows as the
 * promoter wants it, and every server and every balancer answers a request that reads from a database.
 */
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "cli/up.h"
#include "dbtier/dbtier.h"

#define TRY_EVERY_NS (100 * 1000 * 1000)
#define FETCH_TIMEOUT (3 * W_SEC)

static void
waiting_for(struct up *up, const char *fmt, ...) W_PRINTF(2, 3);

static void
waiting_for(struct up *up, const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&up->lock);
	va_start(args, fmt);
	vsnprintf(up->waiting_for, sizeof(up->waiting_for), fmt, args);
	va_end(args);
	pthread_mutex_unlock(&up->lock);
}

static bool
schema_loaded(struct up *up)
{
	W_AUTO(w_free) char *dsn = cli_admin_primary(up->cluster);
	W_AUTO(w_free) char *sql = cli_find_sql();
	struct w_fault fault = { 0 };
	unsigned applied;
	int rc;

	if (sql == NULL) {
		waiting_for(up, "the SQL files, which are not found beside the weir program");
		return false;
	}
	rc = dbt_schema_apply(dsn, sql, &applied, &fault);
	if (rc == -W_ECONFLICT)
		fprintf(stderr, "weir: %s\n", fault.text);
	else if (rc < 0)
		waiting_for(up, "%s", fault.text);
	return rc == W_OK || rc == -W_ECONFLICT;
}

/* A replica that has not replayed the schema yet would answer that there is no such table. */
static bool
schema_on(struct up *up, const struct w_member *node, const char *sql)
{
	W_AUTO(w_free) char *dsn = cli_admin_dsn(up->cluster, node);
	W_AUTO(w_free) struct dbt_schema_file *files = NULL;
	struct w_fault fault = { 0 };
	size_t count = 0;

	if (dbt_schema_status(dsn, sql, &files, &count, &fault) < 0) {
		waiting_for(up, "%s: %s", node->name, fault.text);
		return false;
	}
	for (size_t i = 0; i < count; i++)
		if (!files[i].applied) {
			waiting_for(up, "%s to replay %s", node->name, files[i].name);
			return false;
		}
	return true;
}

static bool
schema_everywhere(struct up *up)
{
	W_AUTO(w_free) char *sql = cli_find_sql();
	const struct w_member *node;

	for (unsigned i = 0; (node = w_cluster_nth(up->cluster, W_DATABASE, i)) != NULL; i++)
		if (!schema_on(up, node, sql))
			return false;
	return true;
}

static bool
node_up(struct up *up, json_t *nodes, const struct w_member *member)
{
	json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node) {
		const char *name = json_string_value(json_object_get(node, "name"));
		const char *state = json_string_value(json_object_get(node, "state"));
		const char *database = json_string_value(json_object_get(node, "database"));

		if (name == NULL || strcmp(name, member->name) != 0)
			continue;
		if (state != NULL && strcmp(state, "up") == 0 &&
		    (member->role != W_DATABASE || (database != NULL && strcmp(database, "none") != 0)))
			return true;
		waiting_for(up, "%s, which is %s", name, state != NULL ? state : "unknown");
		return false;
	}
	waiting_for(up, "%s, which the monitor has not heard of", member->name);
	return false;
}

static json_t *
ask(struct up *up, const char *path)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };

	if (cli_ask_monitors(up->cluster, path, FETCH_TIMEOUT, &body) == W_OK)
		return json_loads(body.ptr, 0, NULL);
	waiting_for(up, "a monitor to answer at %s", path);
	return NULL;
}

static bool
has_monitor(const struct up *up)
{
	const struct w_member *monitor = w_cluster_nth(up->cluster, W_MONITOR, 0);

	return monitor != NULL && monitor->opt.monitor.http[0] != '\0';
}

static bool
nodes_up(struct up *up)
{
	json_t *root;
	bool all;

	if (!has_monitor(up))
		return true;
	root = ask(up, "/api/nodes");
	all = root != NULL;
	for (size_t i = 0; all && i < up->cluster->member_count; i++)
		all = node_up(up, json_object_get(root, "nodes"), &up->cluster->members[i]);
	json_decref(root);
	return all;
}

/* Following is streaming: what has just been cloned may still be reading. */
static bool
agent_settled(struct up *up, const json_t *agent)
{
	const json_t *status = json_object_get(agent, "status");
	const char *stage = json_string_value(json_object_get(status, "stage"));
	const char *busy = json_string_value(json_object_get(status, "busy"));

	if (json_is_true(json_object_get(agent, "fresh")) && stage != NULL && busy == NULL &&
	    (strcmp(stage, "leading") == 0 ||
		(strcmp(stage, "following") == 0 && json_is_true(json_object_get(status, "streaming")))))
		return true;
	waiting_for(up, "%s, which is %s%s%s", json_string_value(json_object_get(agent, "node")),
	    stage != NULL ? stage : "not heard of", busy != NULL ? ", " : "", busy != NULL ? busy : "");
	return false;
}

static bool
databases_settled(struct up *up)
{
	const json_t *failover, *agent;
	json_t *root;
	bool all;
	size_t i;

	if (!has_monitor(up))
		return true;
	root = ask(up, "/api/failover");
	failover = json_object_get(root, "failover");
	/* null: somebody else decides */
	all = json_is_null(failover) || json_is_string(json_object_get(failover, "leader"));
	if (root != NULL && !all)
		waiting_for(up, "a database that leads");
	if (json_is_object(failover))
		json_array_foreach(json_object_get(root, "agents"), i, agent)
			all = all && agent_settled(up, agent);
	json_decref(root);
	return all;
}

static bool
answers(struct up *up, const char *name, const char *url)
{
	W_AUTO(w_free) char *ca = w_xasprintf("%s/ca.pem", up->dir);
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	long status;

	cli_fetch(url, ca, FETCH_TIMEOUT, &body, &status);
	if (status == 200)
		return true;
	waiting_for(up, "%s to answer %s (status %ld)", name, url, status);
	return false;
}

static bool
all_answer(struct up *up)
{
	for (size_t i = 0; i < up->cluster->member_count; i++) {
		const struct w_member *member = &up->cluster->members[i];
		const char *scheme = "http", *addr = "";
		W_AUTO(w_free) char *url = NULL;

		if (member->role == W_SERVER) {
			addr = member->opt.server.http;
		} else if (member->role == W_BALANCER) {
			scheme = member->opt.balancer.https[0] != '\0' ? "https" : "http";
			addr = member->opt.balancer.https[0] != '\0' ? member->opt.balancer.https
								     : member->opt.balancer.http;
		}
		url = w_xasprintf("%s://%s/whoami", scheme, addr);
		if (addr[0] != '\0' && !answers(up, member->name, url))
			return false;
	}
	return true;
}

static bool
wait_until(struct up *up, bool (*holds)(struct up *up))
{
	const struct timespec pause = { .tv_nsec = TRY_EVERY_NS };

	while (!atomic_load(&up->waiter_stop)) {
		if (holds(up))
			return true;
		nanosleep(&pause, NULL); /* another process' state: there is nothing to wait on */
	}
	return false;
}

static void *
wait_main(void *arg)
{
	struct up *up = w_typed(arg, UP_MAGIC);

	if (wait_until(up, schema_loaded) && wait_until(up, schema_everywhere) &&
	    wait_until(up, nodes_up) && wait_until(up, databases_settled) && wait_until(up, all_answer))
		w_loop_call(&up->loop, up->serving, up);
	return NULL;
}

int
cli__up_wait_start(struct up *up)
{
	up->waiter_runs = pthread_create(&up->waiter, NULL, wait_main, up) == 0;
	return up->waiter_runs ? W_OK : -W_EIO;
}

void
cli__up_wait_stop(struct up *up)
{
	if (!up->waiter_runs)
		return;
	atomic_store(&up->waiter_stop, true);
	pthread_join(up->waiter, NULL);
	up->waiter_runs = false;
}
