#include "tests/unit/monitor/help.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/monitor/live.h"

char help_dir[64];

const char help_yaml[] = "cluster: {name: demo, keys: keys}\n"
			 "servers:\n"
			 "  - {name: server-1}\n"
			 "  - {name: server-2}\n"
			 "databases:\n"
			 "  - {name: db-1, address: \"127.0.0.1:1\"}\n"
			 "  - {name: db-2, address: \"127.0.0.1:2\"}\n"
			 "monitors:\n"
			 "  - {name: monitor-1}\n";

int
help_init(void)
{
	char path[96];

	snprintf(help_dir, sizeof(help_dir), "/tmp/weir-unit-XXXXXX");
	if (mkdtemp(help_dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/keys", help_dir);
	return mkdir(path, 0700) == 0 ? 0 : 1;
}

int
help_fini(void)
{
	W_AUTO(w_free) char *keys = w_xasprintf("%s/keys", help_dir);
	W_AUTO(w_free) char *file = w_xasprintf("%s/cluster.yaml", help_dir);

	live_clear_folder(keys);
	unlink(file);
	return rmdir(keys) == 0 && rmdir(help_dir) == 0 ? 0 : 1;
}

struct w_cluster *
help_cluster(const char *yaml)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/cluster.yaml", help_dir);
	W_AUTO(w_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct w_cluster *cluster = NULL;
	struct w_fault fault = { 0 };

	W_ASSERT(fd >= 0 && write(fd, yaml, strlen(yaml)) == (ssize_t)strlen(yaml));
	if (w_cluster_load(path, &cluster, &fault) < 0)
		fprintf(stderr, "%s\n", fault.text);
	W_ASSERT(cluster != NULL);
	return cluster;
}

char *
help_json(const struct help_report *from)
{
	return w_xasprintf("{\"v\":1,\"node\":\"%s\",\"role\":\"%s\",\"epoch\":%lld,\"seq\":%lld,"
			   "\"time\":%lld,\"pid\":42,\"state\":\"%s\",\"interval\":1,%s"
			   "\"metrics\":[%s]}",
	    from->node, from->role, (long long)(WALL + from->epoch), (long long)from->seq,
	    (long long)(WALL + from->time), from->state != NULL ? from->state : "up",
	    from->members != NULL ? from->members : "", from->metrics != NULL ? from->metrics : "");
}

struct mon_report *
help_report(const struct help_report *from)
{
	W_AUTO(w_free) char *json = help_json(from);
	struct mon_report *report = NULL;
	struct w_fault fault = { 0 };

	if (mon_report_parse(w_view_of(json), &report, &fault) < 0)
		fprintf(stderr, "%s\n%s\n", json, fault.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(report);
	return report;
}

struct mon_node *
help_take(struct mon_state *state, const struct help_report *from, int fd, w_usec now)
{
	struct mon_report *report = help_report(from);
	struct mon_node *node = NULL;

	CU_ASSERT_EQUAL_FATAL(mon_state_take(state, &report, fd, now, &node), W_OK);
	CU_ASSERT_PTR_NULL(report);
	CU_ASSERT_PTR_NOT_NULL_FATAL(node);
	return node;
}
