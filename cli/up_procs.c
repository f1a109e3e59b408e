/*
 * The processes of weir up.
 *
 * States of one
 *	DOWN -> RUNNING -> (dies) WAITING -> RUNNING          wanted
 *	RUNNING -> STOPPING -> DOWN                           stop-node, or the end
 *
 * One whose node is gone from the cluster file goes when it is down.
 *
 * A node reads its standard input and ends when it closes; so nobody is left behind when weir up
 * itself is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/up.h"

#define QUICK_DEATH (10 * W_SEC)
#define BACKOFF_FIRST (100 * W_MSEC)
#define BACKOFF_MOST (5 * W_SEC)
#define KILL_AFTER (20 * W_SEC)          /* beyond the node's own drain_timeout */
#define KILL_AFTER_DATABASE (90 * W_SEC) /* PostgreSQL may need that long */

static const char *const programs[W_ROLE_COUNT] = {
	[W_BALANCER] = "weir-balancer",
	[W_SERVER] = "weir-server",
	[W_DATABASE] = "weir-dbnode",
	[W_MONITOR] = "weir-monitor",
};

int
cli__up_procs_check(struct w_fault *fault)
{
	for (size_t i = 0; i < W_NELEM(programs); i++) {
		W_AUTO(w_free) char *path = cli_find_program(programs[i]);

		if (access(path, X_OK) < 0)
			return w_fail(fault, -W_EIO,
			    "%s is neither beside the weir program nor installed; build or install it",
			    programs[i]);
	}
	return W_OK;
}

static void proc_spawn(struct up_proc *proc);

static void
proc_again(void *arg)
{
	struct up_proc *proc = arg;

	if (proc->wanted && proc->state == P_WAITING)
		proc_spawn(proc);
}

static void
proc_kill(void *arg)
{
	struct up_proc *proc = arg;

	fprintf(stderr, "weir: %s does not stop; killing it (pid %lld)\n", proc->member->name,
	    (long long)proc->pid);
	kill((pid_t)proc->pid, SIGKILL);
}

static void
proc_wait_again(struct up_proc *proc)
{
	w_usec wait = BACKOFF_FIRST << W_MIN(proc->failures, 6u);

	proc->state = P_WAITING;
	w_timer_start(&proc->up->loop, &proc->again, W_MIN(wait, BACKOFF_MOST), 0);
}

static void stop_next(struct up *up);

static void
proc_fini(struct up_proc **proc)
{
	struct up_proc *old = w_steal(proc);

	w_timer_fini(&old->again);
	w_timer_fini(&old->kill);
	w_close(&old->lifeline);
	free(old);
}

void
cli__up_procs_forget(struct up *up)
{
	size_t kept = 0;

	for (size_t i = 0; i < up->proc_count; i++) {
		if (!up->procs[i]->leaving || up->procs[i]->state != P_DOWN) {
			up->procs[kept++] = up->procs[i];
			continue;
		}
		cli__up_control_say(up, "stopped: %s", up->procs[i]->member->name);
		proc_fini(&up->procs[i]);
	}
	up->proc_count = kept;
}

static void
proc_closed(uv_handle_t *handle)
{
	struct up_proc *proc = handle->data;
	struct up *up = proc->up;

	free(handle);
	w_close(&proc->lifeline);
	w_timer_stop(&proc->kill);
	proc->pid = 0;
	if (proc->wanted)
		proc_wait_again(proc);
	else
		proc->state = P_DOWN;
	cli__up_control_changed(up);
	if (up->stopping) {
		stop_next(up);
		return;
	}
	cli__up_procs_forget(up);
	cli__up_reload_changed(up);
}

static void
proc_exit(uv_process_t *handle, int64_t status, int signal)
{
	struct up_proc *proc = handle->data;

	if (proc->wanted) {
		proc->failures = w_now() - proc->started > QUICK_DEATH ? 0 : proc->failures + 1;
		proc->restarts++;
		fprintf(stderr, "weir: %s ended (%s %lld); starting it again, see %s/logs/%s.log\n",
		    proc->member->name, signal != 0 ? "signal" : "exit status",
		    signal != 0 ? (long long)signal : (long long)status, proc->up->dir,
		    proc->member->name);
	}
	uv_close((uv_handle_t *)handle, proc_closed);
}

static int
open_log(const struct up_proc *proc)
{
	W_AUTO(w_free) char *path = w_xasprintf("%s/logs/%s.log", proc->up->dir, proc->member->name);

	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int
spawn_with(struct up_proc *proc, int log, int input)
{
	W_AUTO(w_free) char *program = cli_find_program(programs[proc->member->role]);
	char *args[] = { (char *)programs[proc->member->role], "--config",
		(char *)proc->up->cluster->path, "--name", (char *)proc->member->name, "--supervised",
		NULL };
	uv_stdio_container_t stdio[3] = { { .flags = UV_INHERIT_FD, .data.fd = input },
		{ .flags = UV_INHERIT_FD, .data.fd = log }, { .flags = UV_INHERIT_FD, .data.fd = log } };
	uv_process_options_t options = { .exit_cb = proc_exit, .file = program, .args = args,
		.stdio = stdio, .stdio_count = 3, .flags = UV_PROCESS_DETACHED };
	uv_process_t *handle = w_xcalloc(1, sizeof(*handle));
	int rc;

	handle->data = proc;
	rc = uv_spawn(&proc->up->loop.uv, handle, &options);
	if (rc < 0) {
		fprintf(stderr, "weir: cannot start %s: %s\n", program, uv_strerror(rc));
		uv_close((uv_handle_t *)handle, proc_closed);
		return -W_EIO;
	}
	proc->pid = handle->pid;
	return W_OK;
}

static void
proc_spawn(struct up_proc *proc)
{
	W_AUTO(w_close) int log = open_log(proc);
	int pipes[2] = { -1, -1 };

	if (log < 0 || pipe2(pipes, O_CLOEXEC) < 0) {
		fprintf(stderr, "weir: %s: log or pipe: %s\n", proc->member->name, strerror(errno));
		w_close(&pipes[0]);
		proc->failures++;
		proc_wait_again(proc);
		return;
	}
	proc->lifeline = pipes[1];
	proc->state = P_RUNNING;
	proc->started = w_now();
	if (spawn_with(proc, log, pipes[0]) < 0)
		proc->failures++;
	w_close(&pipes[0]);
}

void
cli__up_proc_start(struct up_proc *proc)
{
	proc->wanted = true;
	proc->failures = 0;
	if (proc->state == P_DOWN)
		proc_spawn(proc);
}

void
cli__up_proc_stop(struct up_proc *proc)
{
	w_usec wait = proc->member->role == W_DATABASE ? KILL_AFTER_DATABASE : KILL_AFTER;

	proc->wanted = false;
	if (proc->state == P_WAITING) {
		w_timer_stop(&proc->again);
		proc->state = P_DOWN;
	}
	if (proc->state != P_RUNNING)
		return;
	proc->state = P_STOPPING;
	kill((pid_t)proc->pid, SIGTERM);
	w_timer_start(&proc->up->loop, &proc->kill,
	    wait + proc->up->cluster->opt.drain_timeout, 0);
}

struct up_proc *
cli__up_proc_find(struct up *up, struct w_view name)
{
	for (size_t i = 0; i < up->proc_count; i++)
		if (w_view_eq(w_view_of(up->procs[i]->member->name), name))
			return up->procs[i];
	return NULL;
}

struct up_proc *
cli__up_proc_add(struct up *up, const struct w_member *member)
{
	struct up_proc *proc = w_xcalloc(1, sizeof(*proc));

	*proc = (struct up_proc){ .up = up, .member = member, .lifeline = -1,
		.again = { .fire = proc_again, .arg = proc },
		.kill = { .fire = proc_kill, .arg = proc } };
	up->procs = w_xrealloc(up->procs, (up->proc_count + 1) * sizeof(struct up_proc *));
	up->procs[up->proc_count++] = proc;
	return proc;
}

void
cli__up_procs_start(struct up *up)
{
	for (size_t i = 0; i < up->cluster->member_count; i++)
		cli__up_proc_start(cli__up_proc_add(up, &up->cluster->members[i]));
}

void
cli__up_procs_fini(struct up *up)
{
	for (size_t i = 0; i < up->proc_count; i++)
		proc_fini(&up->procs[i]);
	free(up->procs);
}

/*
 * --- the end: balancers first, so that no request comes any more; monitors before databases, so that no
 * promoter takes the end of one for a failure and elects another
 */

struct phase {
	enum w_role role;
	bool followers; /* of W_DATABASE: all but the leader */
};

/* The leader before its followers: it waits until they have its last WAL. */
static const struct phase phases[] = {
	{ W_BALANCER, false }, { W_SERVER, false }, { W_MONITOR, false }, { W_DATABASE, false },
	{ W_DATABASE, true },
};

#define LEADER_TIMEOUT W_SEC

/* Who leads, says a monitor as long as there is one; the cluster's first database when none does. */
static void
find_leader(struct up *up)
{
	const struct w_member *first = w_cluster_nth(up->cluster, W_DATABASE, 0);
	W_AUTO(w_buf_fini) struct w_buf body = { 0 };
	json_t *root = NULL;
	struct up_proc *leader = NULL;
	const char *name;

	if (cli_ask_monitors(up->cluster, "/api/cluster", LEADER_TIMEOUT, &body) == W_OK)
		root = json_loads(body.ptr, 0, NULL);
	name = json_string_value(json_object_get(json_object_get(json_object_get(root, "cluster"), "failover"), "leader"));
	if (name != NULL)
		leader = cli__up_proc_find(up, w_view_of(name));
	up->leader = leader != NULL ? leader->member : first;
	json_decref(root);
}

static bool
in_phase(const struct up_proc *proc, const struct phase *phase)
{
	return proc->member->role == phase->role &&
	    (phase->role != W_DATABASE || (proc->member != proc->up->leader) == phase->followers);
}

/* Stop what belongs to the phase; true while something of it still runs. */
static bool
stop_phase(struct up *up, const struct phase *phase)
{
	bool busy = false;

	for (size_t i = 0; i < up->proc_count; i++) {
		if (!in_phase(up->procs[i], phase))
			continue;
		cli__up_proc_stop(up->procs[i]);
		busy = busy || up->procs[i]->state != P_DOWN;
	}
	return busy;
}

static void
stop_next(struct up *up)
{
	while (up->phase < W_NELEM(phases)) {
		if (stop_phase(up, &phases[up->phase]))
			return;
		up->phase++;
	}
	w_loop_stop(&up->loop);
}

void
cli__up_procs_stop(struct up *up)
{
	if (up->stopping)
		return;
	up->stopping = true;
	cli__up_reload_stop(up);
	find_leader(up);
	stop_next(up);
}
