/*
 * What comes of a reload, as others tell it: the nodes by their logs, which weir up keeps, the monitors by what
 * servers report and by whom the promoter counts.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/up.h"

#define ASK_TIMEOUT W_SEC
#define LOG_MOST 65536 /* of what was logged since */

/* --- logs --- */

static int
open_log(const struct up_proc *proc)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/logs/%s.log", proc->up->dir, proc->member->name);

	return open(path, O_RDONLY | O_CLOEXEC);
}

int64_t
cli__up_log_end(const struct up_proc *proc)
{
	W_AUTO(w_close) int fd = open_log(proc);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* Events by which a node ends a reload; log lines are text or JSON, and both name them between blanks or quotes. */
static enum up_answer
answer_of(struct w_view line)
{
	static const struct {
		const char *text, *json;
		enum up_answer answer;
	} events[] = {
		{ " reloaded ", "\"reloaded\"", A_RELOADED },
		{ " reload-failed ", "\"reload-failed\"", A_FAILED },
		{ " reload-ignored ", "\"reload-ignored\"", A_IGNORED },
	};

	for (size_t i = 0; i < W_NELEM(events); i++)
		if (memmem(line.ptr, line.len, events[i].text, strlen(events[i].text)) != NULL ||
		    memmem(line.ptr, line.len, events[i].json, strlen(events[i].json)) != NULL)
			return events[i].answer;
	return A_NONE;
}

enum up_answer
cli__up_log_answer(const struct up_proc *proc, char *why, size_t size)
{
	W_AUTO(w_close) int fd = open_log(proc);
	W_AUTO(w_buf_fini) struct w_buf text = { 0 };
	struct w_view left, line;
	ssize_t got;

	if (fd < 0)
		return A_NONE;
	got = pread(fd, w_buf_room(&text, LOG_MOST), LOG_MOST, (off_t)proc->log_at);
	left = (struct w_view){ text.ptr, got > 0 ? (size_t)got : 0 };
	while (w_view_split(&left, '\n', &line)) {
		enum up_answer answer = answer_of(line);
		const char *from = memmem(line.ptr, line.len, "why", 3);

		if (answer == A_NONE)
			continue;
		from = from != NULL ? from : line.ptr;
		snprintf(why, size, "%.*s", (int)(line.ptr + line.len - from), from);
		return answer;
	}
	return A_NONE;
}

/* --- monitors --- */

struct look {
	uv_work_t work;
	struct up *up;
	const struct w_cluster *cluster;
	void (*done)(struct up *up);
	struct up_sight sight;
};

/* The sum of a gauge over the servers, from what Prometheus would read. */
static unsigned
sum_of(struct w_view text, struct w_view name)
{
	struct w_view line;
	unsigned sum = 0;

	while (w_view_split(&text, '\n', &line)) {
		const char *space = memrchr(line.ptr, ' ', line.len);

		if (w_view_starts(line, name) && space != NULL)
			sum += (unsigned)strtoul(space + 1, NULL, 10);
	}
	return sum;
}

static bool
look_at_cohort(struct look *look)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	const char *cohort, *leader;
	json_t *root;

	if (cli_ask_monitors(look->cluster, "/api/failover", ASK_TIMEOUT, &body) < 0)
		return false;
	root = json_loads(body.ptr, 0, NULL);
	cohort = json_string_value(json_object_get(json_object_get(root, "failover"), "in_force"));
	leader = json_string_value(json_object_get(json_object_get(root, "failover"), "leader"));
	snprintf(look->sight.leader, sizeof(look->sight.leader), "%s", leader != NULL ? leader : "");
	snprintf(look->sight.cohort, sizeof(look->sight.cohort), "%s", cohort != NULL ? cohort : "");
	json_decref(root);
	return true;
}

static bool
look_at_lanes(struct look *look)
{
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };

	if (cli_ask_monitors(look->cluster, "/metrics", ASK_TIMEOUT, &body) < 0)
		return false;
	look->sight.lanes = sum_of(w_buf_get(&body), W_VIEW("weir_db_lanes_leaving{"));
	return true;
}

static bool
has_monitor(const struct w_cluster *cluster)
{
	const struct w_member *monitor;

	for (unsigned i = 0; (monitor = w_cluster_nth(cluster, W_MONITOR, i)) != NULL; i++)
		if (monitor->opt.monitor.http[0] != '\0')
			return true;
	return false;
}

static void
on_thread(uv_work_t *work)
{
	struct look *look = w_container_of(work, struct look, work);

	look->sight.told = !has_monitor(look->cluster) ||
	    (look_at_cohort(look) && look_at_lanes(look));
}

static void
on_looked(uv_work_t *work, int status)
{
	struct look *look = w_container_of(work, struct look, work);
	struct up *up = look->up;

	up->reload.looking = false;
	up->reload.looked = w_now();
	up->reload.sight = look->sight;
	if (status < 0)
		up->reload.sight = (struct up_sight){ 0 };
	if (!up->stopping)
		look->done(up);
	free(look);
}

void
cli__up_look(struct up *up, void (*done)(struct up *up))
{
	struct look *look;

	if (up->reload.looking)
		return;
	look = w_xcalloc(1, sizeof(*look));
	look->up = up;
	look->cluster = up->cluster; /* it is not freed while looking is set */
	look->done = done;
	up->reload.looking = uv_queue_work(&up->loop.uv, &look->work, on_thread, on_looked) == 0;
	if (!up->reload.looking)
		free(look);
}
