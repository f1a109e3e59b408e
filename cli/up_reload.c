/*
 * weir up reads its cluster file again.
 *
 *	IDLE --the file is good: keys are made, SIGHUP to nodes that stay, new ones started--> ASKED
 *	ASKED --each has said in its log what came of it, or it took too long--> LEAVING
 *	LEAVING --nodes that are gone from the file have stopped, or may not yet--> IDLE
 *
 * 1. A bad file changes nothing.
 * 2. Nodes are stopped in the order of the end: balancers, servers, monitors, databases.
 * 3. A database is stopped when the promoter does not count it any more, and the servers have nothing on their way
 *    there: it may be the one that has what was acknowledged, or the one that leads.
 * 4. In ASKED another reload waits; in LEAVING it begins at once, and who leaves may come back.
 */
#include <signal.h>
#include <stdio.h>

#include "cli/up.h"

#define LOOK_EVERY (50 * W_MSEC)
#define ASK_AGAIN (500 * W_MSEC)   /* a node that is just starting */
#define SIGHT_EVERY (300 * W_MSEC)
#define ANSWER_MOST (10 * W_SEC)   /* for a node's log to say something */
#define REPORTS_AFTER (2500 * W_MSEC) /* servers report each second what they have taken */
#define LANES_MOST (70 * W_SEC)    /* servers give up by themselves before */
#define COHORT_MOST (300 * W_SEC)  /* a promoter may have to wait for a new database to be cloned */

static void
enter(struct up *up, enum up_reload_phase phase)
{
	up->reload.phase = phase;
	up->reload.since = w_now();
}

static w_usec
age(const struct up *up)
{
	return w_now() - up->reload.since;
}

/* Old files are there for the processes of nodes that leave, and for who asks the monitors. */
static void
free_old(struct up *up)
{
	for (size_t i = 0; i < up->proc_count; i++)
		if (up->procs[i]->leaving)
			return;
	while (up->old_count > 0 && !up->reload.looking)
		w_cluster_free(&up->old[--up->old_count]);
}

static void
finish(struct up *up)
{
	w_timer_stop(&up->reload.timer);
	enter(up, R_IDLE);
	free_old(up);
	if (up->reload.again) {
		up->reload.again = false;
		cli__up_reload(up);
		return;
	}
	fflush(stdout);
	cli__up_control_reloaded(up);
}

/* Those who leave go on leaving. */
static void
fail(struct up *up, const char *why)
{
	cli__up_control_say(up, "error: %s", why);
	if (up->reload.phase == R_IDLE)
		finish(up);
}

/* --- those that leave --- */

/* Is it among the names before the slash? */
static bool
counts(const char *cohort, const char *name)
{
	struct w_view names = w_view_sub(w_view_of(cohort), 0, strcspn(cohort, "/")), one;

	while (w_view_split(&names, ',', &one))
		if (w_view_eq(one, w_view_of(name)))
			return true;
	return false;
}

/* Why a database is not stopped yet; NULL: it can be. */
static const char *
hold_of(const struct up *up, const struct up_proc *proc)
{
	const struct up_sight *sight = &up->reload.sight;

	if (age(up) < REPORTS_AFTER || !sight->told)
		return "no monitor has told yet whether it is needed";
	if (strcmp(sight->leader, proc->member->name) == 0)
		return "it leads";
	if (counts(sight->cohort, proc->member->name))
		return "failover still counts it";
	return sight->lanes > 0 && age(up) < LANES_MOST ? "servers still have requests there" : NULL;
}

static bool
is_wanted(const struct up_proc *proc)
{
	return proc->state == P_RUNNING || proc->state == P_WAITING;
}

static void
leave_running(struct up *up, struct up_proc *proc, const char *why)
{
	cli__up_control_say(up, "error: %s goes on running: after %d s %s; weir reload tries again, "
	    "weir stop-node stops it", proc->member->name, (int)(COHORT_MOST / W_SEC), why);
}

/* True: it need not be waited for. */
static bool
stop_database(struct up *up, struct up_proc *proc)
{
	const char *hold = is_wanted(proc) ? hold_of(up, proc) : NULL;

	if (hold == NULL) {
		cli__up_proc_stop(proc);
		return proc->state == P_DOWN;
	}
	if (age(up) >= COHORT_MOST) {
		leave_running(up, proc, hold);
		return true;
	}
	if (!proc->blocked && age(up) >= REPORTS_AFTER) {
		cli__up_control_say(up, "waiting to stop %s: %s", proc->member->name, hold);
		proc->blocked = true;
	}
	return false;
}

/* True: none of this role leaves any more. */
static bool
stop_role(struct up *up, enum w_role role)
{
	bool all = true;

	for (size_t i = 0; i < up->proc_count; i++) {
		struct up_proc *proc = up->procs[i];

		if (!proc->leaving || proc->member->role != role || proc->state == P_DOWN)
			continue;
		if (role == W_DATABASE) {
			all = stop_database(up, proc) && all;
			continue;
		}
		cli__up_proc_stop(proc);
		all = all && proc->state == P_DOWN;
	}
	return all;
}

static void
stop_leaving(struct up *up)
{
	static const enum w_role order[] = { W_BALANCER, W_SERVER, W_MONITOR, W_DATABASE };

	for (size_t i = 0; i < W_NELEM(order); i++)
		if (!stop_role(up, order[i]))
			return;
	cli__up_procs_forget(up);
	finish(up);
}

static void
on_sight(struct up *up)
{
	if (up->reload.phase == R_LEAVING)
		stop_leaving(up);
}

static bool
database_leaves(const struct up *up)
{
	for (size_t i = 0; i < up->proc_count; i++)
		if (up->procs[i]->leaving && up->procs[i]->member->role == W_DATABASE &&
		    is_wanted(up->procs[i]))
			return true;
	return false;
}

void
cli__up_reload_changed(struct up *up)
{
	if (up->reload.phase == R_LEAVING)
		stop_leaving(up);
}

/* --- those that stay --- */

static void
ask_proc(struct up_proc *proc)
{
	proc->log_at = cli__up_log_end(proc);
	proc->asked_at = w_now();
	proc->asked = kill((pid_t)proc->pid, SIGHUP) == 0;
}

/* What has come of it. A process that was started since has read the file then. */
static enum up_answer
answer_of(const struct up_proc *proc, char *why, size_t size)
{
	if (proc->state != P_RUNNING)
		return A_NONE;
	return proc->started > proc->asked_at ? A_RELOADED : cli__up_log_answer(proc, why, size);
}

static void
hear_proc(struct up *up, struct up_proc *proc)
{
	char why[1200] = "it did not answer";
	enum up_answer answer = answer_of(proc, why, sizeof(why));

	if (answer == A_NONE && age(up) < ANSWER_MOST)
		return;
	if (answer == A_IGNORED && age(up) < ANSWER_MOST) {
		if (w_now() - proc->asked_at >= ASK_AGAIN)
			ask_proc(proc);
		return;
	}
	proc->asked = false;
	if (answer == A_RELOADED)
		cli__up_control_say(up, "reloaded: %s", proc->member->name);
	else
		cli__up_control_say(up, "error: %s did not reload: %s", proc->member->name, why);
}

static void
hear_all(struct up *up)
{
	bool all = true;

	for (size_t i = 0; i < up->proc_count; i++) {
		if (up->procs[i]->asked)
			hear_proc(up, up->procs[i]);
		all = all && !up->procs[i]->asked;
	}
	if (!all)
		return;
	enter(up, R_LEAVING);
	stop_leaving(up);
}

static void
on_timer(void *arg)
{
	struct up *up = arg;

	if (up->reload.phase == R_ASKED)
		hear_all(up);
	else if (database_leaves(up) && age(up) >= REPORTS_AFTER &&
	    w_now() - up->reload.looked >= SIGHT_EVERY)
		cli__up_look(up, on_sight);
}

/* --- the file --- */

static void
take_cluster(struct up *up, struct w_cluster *cluster)
{
	up->old = w_xrealloc(up->old, (up->old_count + 1) * sizeof(*up->old));
	up->old[up->old_count++] = up->cluster;
	up->cluster = cluster;
}

static void
follow_proc(struct up *up, struct up_proc *proc)
{
	const struct w_member *member = w_cluster_find(up->cluster, w_view_of(proc->member->name));

	bool back = proc->leaving && member != NULL;

	proc->leaving = member == NULL;
	proc->blocked = false;
	proc->asked = false;
	if (member == NULL)
		return;
	proc->member = member;
	if (back)
		cli__up_proc_start(proc);
	if (proc->state == P_RUNNING)
		ask_proc(proc);
}

static void
start_new(struct up *up)
{
	for (size_t i = 0; i < up->cluster->member_count; i++) {
		const struct w_member *member = &up->cluster->members[i];

		if (cli__up_proc_find(up, w_view_of(member->name)) != NULL)
			continue;
		cli__up_proc_start(cli__up_proc_add(up, member));
		cli__up_control_say(up, "started: %s", member->name);
	}
}

/* A name that another node had until now: its log, its key, its reports would be both's. */
static int
check_names(struct up *up, const struct w_cluster *cluster, struct w_fault *fault)
{
	for (size_t i = 0; i < cluster->member_count; i++) {
		const struct w_member *member = &cluster->members[i];
		const struct up_proc *proc = cli__up_proc_find(up, w_view_of(member->name));

		if (proc != NULL && proc->member->role != member->role)
			return w_fail(fault, -W_EINVAL,
			    "%s: '%s' is a %s, and a %s runs under that name; choose another",
			    cluster->path, member->name, w_role_name(member->role),
			    w_role_name(proc->member->role));
	}
	return W_OK;
}

static int
read_file(struct up *up, struct w_fault *fault)
{
	W_AUTO(w_cluster_free) struct w_cluster *cluster = NULL;
	int rc = w_cluster_load(up->cluster->path, &cluster, fault);

	if (rc == W_OK)
		rc = check_names(up, cluster, fault);
	if (rc == W_OK)
		rc = cli__up_plan_nodes(up, cluster, fault);
	if (rc < 0)
		return rc;
	take_cluster(up, w_steal(&cluster));
	return W_OK;
}

void
cli__up_reload(struct up *up)
{
	struct w_fault fault = { 0 };

	if (up->reload.phase == R_ASKED) {
		up->reload.again = true;
		return;
	}
	if (up->stopping || !up->serves) {
		fail(up, up->stopping ? "the cluster is stopping" :
		    "the cluster is still starting; reload it when it serves");
		return;
	}
	cli__up_wait_stop(up); /* it has ended, and looked at the old file */
	if (read_file(up, &fault) < 0) {
		fail(up, fault.text);
		return;
	}
	for (size_t i = 0; i < up->proc_count; i++)
		follow_proc(up, up->procs[i]);
	start_new(up);
	if (cli__up_endpoints(up, &fault) < 0)
		cli__up_control_say(up, "error: %s", fault.text);
	enter(up, R_ASKED);
	up->reload.sight = (struct up_sight){ 0 };
	up->reload.timer.fire = on_timer;
	up->reload.timer.arg = up;
	w_timer_start(&up->loop, &up->reload.timer, LOOK_EVERY, LOOK_EVERY);
}

void
cli__up_reload_stop(struct up *up)
{
	up->reload.again = false;
	up->reload.phase = R_IDLE;
	w_timer_stop(&up->reload.timer);
}
