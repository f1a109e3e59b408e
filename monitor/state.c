/*
 * Nodes and the cluster. See state.h.
 */
#include "monitor/state.h"

#include <math.h>
#include <stdio.h>

#define COMPARE_MIN (500 * W_MSEC) /* reports closer together say nothing about a rate */
#define CLOCK_TRUST W_SEC          /* what a node's clock may differ from ours in an interval */
#define WINDOW_SLOTS 60            /* seconds */

#define M_REQUESTS W_VIEW("weir_http_requests_total")
#define M_ERRORS W_VIEW("code=\"5xx\"")
#define M_DURATION W_VIEW("weir_http_request_duration_seconds")
#define M_CPU W_VIEW("process_cpu_seconds_total")
#define M_RSS W_VIEW("process_resident_memory_bytes")
#define M_TRANSACTIONS W_VIEW("weir_pg_transactions_total")

struct slot {
	struct w_hist hist;
	double requests, errors;
};

struct mon_state {
	char cluster[128];
	enum w_role entrance; /* where requests come in: W_BALANCER, or W_SERVER without one */
	w_usec gone_after, started;
	bool had_primary, had_leader, was_whole; /* since the start */
	struct mon_node **nodes;
	unsigned count;
	mon_event_fn *fn;
	void *arg;
	struct slot slots[WINDOW_SLOTS];
	uint64_t seconds; /* slots written */
	struct mon_cluster view;
	struct mon_history *history;
};

const char *
mon_reason_name(enum mon_reason reason)
{
	static const char *const names[MON_REASON_COUNT] = { NULL, "never-seen", "stopped",
		"disconnected", "silent" };

	return names[reason];
}

/* ---- nodes ---- */

static void
forget_figures(struct mon_node *node)
{
	double *figures = (double *)&node->figures;

	for (size_t i = 0; i < sizeof(node->figures) / sizeof(*figures); i++)
		figures[i] = NAN;
	memset(&node->recent, 0, sizeof(node->recent));
}

static struct mon_node *
new_node(const struct w_member *member, w_usec now)
{
	struct mon_node *node = w_xcalloc(1, sizeof(*node));

	snprintf(node->name, sizeof(node->name), "%s", member->name);
	node->role = member->role;
	node->life = MON_DOWN;
	node->reason = MON_R_NEVER_SEEN;
	node->known_since = now;
	node->fd = -1;
	node->history = mon_history_new();
	forget_figures(node);
	return node;
}

static void
free_node(struct mon_node *node)
{
	if (node == NULL)
		return;
	mon_report_free(&node->last);
	mon_report_free(&node->base);
	mon_history_free(&node->history);
	free(node);
}

static void
tell(struct mon_state *state, const struct mon_event *event)
{
	if (state->fn != NULL)
		state->fn(state->arg, event);
}

static void
change_life(struct mon_state *state, struct mon_node *node, enum mon_life life,
    enum mon_reason reason)
{
	struct mon_event event = { "node-state", node, mon_life_name(node->life),
		mon_life_name(life), mon_reason_name(reason) };

	if (node->life == life && node->reason == reason)
		return;
	node->life = life;
	node->reason = reason;
	if (life == MON_DOWN) {
		forget_figures(node);
		mon_report_free(&node->base);
		node->fd = -1;
		node->lost_at = 0;
	}
	tell(state, &event);
}

/* ---- life ---- */

static void
take_cluster(struct mon_state *state, const struct w_cluster *cluster, w_usec gone_after)
{
	snprintf(state->cluster, sizeof(state->cluster), "%s", cluster->opt.name);
	state->entrance = w_cluster_count(cluster, W_BALANCER) > 0 ? W_BALANCER : W_SERVER;
	state->gone_after = gone_after;
}

struct mon_state *
mon_state_new(const struct w_cluster *cluster, w_usec gone_after, w_usec now)
{
	struct mon_state *state = w_xcalloc(1, sizeof(*state));

	take_cluster(state, cluster, gone_after);
	state->started = now;
	state->history = mon_history_new();
	state->nodes = w_xcalloc(cluster->member_count + 1, sizeof(*state->nodes));
	for (size_t i = 0; i < cluster->member_count; i++)
		state->nodes[state->count++] = new_node(&cluster->members[i], now);
	mon_state_refresh(state);
	return state;
}

void
mon_state_free(struct mon_state **state)
{
	struct mon_state *s = w_steal(state);

	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->count; i++)
		free_node(s->nodes[i]);
	mon_history_free(&s->history);
	free(s->nodes);
	free(s);
}

void
mon_state_listen(struct mon_state *state, mon_event_fn *fn, void *arg)
{
	state->fn = fn;
	state->arg = arg;
}

/* The node of that name and role, taken out of its place; NULL when there is none. */
static struct mon_node *
steal_node(struct mon_node **nodes, unsigned count, const struct w_member *member)
{
	for (unsigned i = 0; i < count; i++)
		if (nodes[i] != NULL && nodes[i]->role == member->role &&
		    strcmp(nodes[i]->name, member->name) == 0)
			return w_steal(&nodes[i]);
	return NULL;
}

void
mon_state_reload(struct mon_state *state, const struct w_cluster *cluster, w_usec gone_after,
    w_usec now)
{
	W_AUTO(w_free) struct mon_node **old = state->nodes;
	unsigned old_count = state->count;

	take_cluster(state, cluster, gone_after);
	state->nodes = w_xcalloc(cluster->member_count + 1, sizeof(*state->nodes));
	state->count = (unsigned)cluster->member_count;
	for (unsigned i = 0; i < state->count; i++) {
		const struct w_member *member = &cluster->members[i];

		state->nodes[i] = steal_node(old, old_count, member);
		if (state->nodes[i] != NULL)
			continue;
		state->nodes[i] = new_node(member, now);
		tell(state, &(struct mon_event){ "node-added", state->nodes[i], NULL, NULL, NULL });
	}
	for (unsigned i = 0; i < old_count; i++) {
		if (old[i] != NULL)
			tell(state, &(struct mon_event){ "node-removed", old[i], NULL, NULL, NULL });
		free_node(old[i]);
	}
	mon_state_refresh(state);
}

/* ---- reading ---- */

const char *
mon_state_cluster(const struct mon_state *state)
{
	return state->cluster;
}

unsigned
mon_state_count(const struct mon_state *state)
{
	return state->count;
}

struct mon_node *
mon_state_nth(const struct mon_state *state, unsigned index)
{
	return state->nodes[index];
}

struct mon_node *
mon_state_find(const struct mon_state *state, struct w_view name)
{
	for (unsigned i = 0; i < state->count; i++)
		if (w_view_eq(name, w_view_of(state->nodes[i]->name)))
			return state->nodes[i];
	return NULL;
}

w_usec
mon_state_gone_after(const struct mon_state *state)
{
	return state->gone_after;
}

void
mon_state_set_failover(struct mon_state *state, const struct mon_failover *failover)
{
	state->view.failover = *failover;
	state->had_leader |= failover->leader[0] != '\0';
	state->was_whole |= failover->leader[0] != '\0' && failover->degraded[0] == '\0';
}

/* There are databases, and the one that is waited for has been there, or has had its time. */
static bool
due(const struct mon_state *state, bool had, w_usec now)
{
	for (unsigned i = 0; i < state->count; i++)
		if (state->nodes[i]->role == W_DATABASE)
			return had || now - state->started >= MON_PRIMARY_GRACE;
	return false;
}

bool
mon_state_primary_due(const struct mon_state *state, w_usec now)
{
	return due(state, state->had_primary, now);
}

bool
mon_state_leader_due(const struct mon_state *state, w_usec now)
{
	return due(state, state->had_leader, now);
}

bool
mon_state_whole_due(const struct mon_state *state, w_usec now)
{
	return due(state, state->was_whole, now);
}

const struct mon_cluster *
mon_state_view(const struct mon_state *state)
{
	return &state->view;
}

const struct mon_history *
mon_state_history(const struct mon_state *state)
{
	return state->history;
}

/* ---- figures of one node ---- */

/* Seconds between two reports of a process; before NULL: since it started. 0: not known. */
static double
elapsed(const struct mon_report *now, const struct mon_report *before)
{
	w_usec by_node, by_us;

	if (before == NULL) {
		by_node = now->time - now->epoch;
		return by_node > 0 && by_node < 60 * W_SEC ? (double)by_node / W_SEC : 0;
	}
	by_node = now->time - before->time;
	by_us = now->arrived - before->arrived;
	if (by_node <= 0 || by_node > by_us + CLOCK_TRUST || by_node < by_us - CLOCK_TRUST)
		by_node = by_us;
	return by_node > 0 ? (double)by_node / W_SEC : 0;
}

static double
growth(const struct mon_report *now, const struct mon_report *before, struct w_view name)
{
	double grown = mon_report_sum(now, name);

	if (before != NULL)
		grown -= mon_report_sum(before, name);
	return W_MAX(grown, 0);
}

static double
value_of(const struct mon_report *report, struct w_view name, struct w_view labels)
{
	const struct mon_metric *metric =
	    report != NULL ? mon_report_find(report, name, labels) : NULL;

	return metric != NULL ? metric->value : 0;
}

static double
error_growth(const struct mon_report *now, const struct mon_report *before)
{
	double grown = value_of(now, M_REQUESTS, M_ERRORS) - value_of(before, M_REQUESTS, M_ERRORS);

	return W_MAX(grown, 0);
}

static void
duration_growth(const struct mon_report *now, const struct mon_report *before, struct w_hist *to)
{
	const struct mon_metric *old = before != NULL
	                                   ? mon_report_find(before, M_DURATION, W_VIEW(""))
	                                   : NULL;

	mon_metric_growth(mon_report_find(now, M_DURATION, W_VIEW("")), old, to);
}

static double
quantile(const struct w_hist *hist, double q)
{
	return hist->count > 0 ? w_hist_quantile(hist, q) / W_SEC : NAN;
}

/* What a report says by itself. */
static void
note_totals(struct mon_node *node)
{
	const struct mon_report *now = node->last;
	struct mon_figures *figures = &node->figures;
	unsigned in_flight, requests;
	const struct mon_metric *metric =
	    mon_report_family(now, W_VIEW("weir_http_requests_in_flight"), &in_flight);

	if (metric == NULL)
		metric = mon_report_family(now, W_VIEW("weir_requests_in_flight"), &in_flight);
	figures->in_flight = metric != NULL ? metric->value : NAN;
	figures->rss = value_of(now, M_RSS, W_VIEW(""));
	figures->cpu_total = value_of(now, M_CPU, W_VIEW(""));
	if (mon_report_family(now, M_REQUESTS, &requests) != NULL) {
		figures->requests_total = mon_report_sum(now, M_REQUESTS);
		figures->errors_total = value_of(now, M_REQUESTS, M_ERRORS);
	}
	if (node->role == W_DATABASE && now->db.kind == MON_DB_REPLICA)
		figures->lag_seconds = now->db.lag_seconds;
}

/* What it says compared with an earlier one; before NULL: with the start of the process. */
static void
note_rates(struct mon_node *node, const struct mon_report *before)
{
	const struct mon_report *now = node->last;
	struct mon_figures *figures = &node->figures;
	double seconds = elapsed(now, before);

	if (seconds == 0)
		return;
	duration_growth(now, before, &node->recent);
	if (!isnan(figures->requests_total)) {
		figures->requests = growth(now, before, M_REQUESTS) / seconds;
		figures->errors = error_growth(now, before) / seconds;
	}
	if (node->role == W_DATABASE)
		figures->transactions = growth(now, before, M_TRANSACTIONS) / seconds;
	figures->cpu = growth(now, before, M_CPU) / seconds;
	figures->p50 = quantile(&node->recent, 0.5);
	figures->p90 = quantile(&node->recent, 0.9);
	figures->p99 = quantile(&node->recent, 0.99);
}

/* ---- a report ---- */

static void
note_pending(struct mon_node *node, const struct mon_report *now, const struct mon_report *before)
{
	duration_growth(now, before, &node->pending);
	node->pending_requests += growth(now, before, M_REQUESTS);
	node->pending_errors += error_growth(now, before);
}

static void
note_position(struct mon_node *node, const struct mon_report *report)
{
	node->track[0] = node->track[1];
	node->track[1].at = report->arrived;
	node->track[1].position = report->db.position;
}

static void
tell_changes(struct mon_state *state, struct mon_node *node, const struct mon_report *before)
{
	const struct mon_report *now = node->last;

	if (before != NULL && before->epoch != now->epoch)
		tell(state, &(struct mon_event){ "node-restarted", node, NULL, NULL,
		                before->life == MON_DOWN ? "stopped" : "crashed" });
	if (node->role == W_DATABASE && before != NULL && before->db.kind != now->db.kind)
		tell(state, &(struct mon_event){ "database-role", node,
		                mon_database_name(before->db.kind), mon_database_name(now->db.kind),
		                NULL });
}

/* Which of the reports before this one it is compared with. Frees the other, or both. */
static void
choose_base(struct mon_node *node, struct mon_report *report)
{
	W_AUTO(mon_report_free) struct mon_report *last = w_steal(&node->last);

	if (last == NULL || last->epoch != report->epoch) {
		mon_report_free(&node->base);
	} else if (report->arrived - last->arrived >= COMPARE_MIN) {
		mon_report_free(&node->base);
		node->base = w_steal(&last);
	}
}

static void
install(struct mon_state *state, struct mon_node *node, struct mon_report *report, int fd)
{
	struct mon_report *before = node->last;
	bool restarted = before != NULL && before->epoch != report->epoch;
	struct mon_report shell = { 0 };

	if (before != NULL) {
		note_pending(node, report, restarted ? NULL : before);
		shell = (struct mon_report){ .epoch = before->epoch, .life = before->life,
			.db = before->db };
		if (restarted && before->life != MON_DOWN)
			node->crashed_at = report->arrived;
	}
	choose_base(node, report);
	node->last = report;
	node->lost_at = 0;
	node->fd = fd;
	note_position(node, report);
	forget_figures(node);
	if (report->life != MON_DOWN) {
		note_totals(node);
		if (restarted || node->base != NULL)
			note_rates(node, restarted ? NULL : node->base);
	}
	tell_changes(state, node, before != NULL ? &shell : NULL);
	change_life(state, node, report->life,
	    report->life == MON_DOWN ? MON_R_STOPPED : MON_R_NONE);
}

int
mon_state_take(struct mon_state *state, struct mon_report **report, int fd, w_usec now,
    struct mon_node **ret)
{
	struct mon_node *node = mon_state_find(state, w_view_of((*report)->node));

	if (node == NULL)
		return -W_ENOTFOUND;
	if (node->role != (*report)->role)
		return -W_EINVAL;
	if (node->last != NULL && node->last->epoch == (*report)->epoch &&
	    node->last->seq >= (*report)->seq)
		return -W_EAGAIN;
	(*report)->arrived = now;
	/* A descriptor that another node had belongs to this one now: the other's is closed. */
	for (unsigned i = 0; fd >= 0 && i < state->count; i++)
		if (state->nodes[i] != node && state->nodes[i]->fd == fd)
			mon_state_disconnected(state, fd, now);
	install(state, node, w_steal(report), fd);
	mon_state_refresh(state);
	*ret = node;
	return W_OK;
}

/* ---- silence ---- */

void
mon_state_disconnected(struct mon_state *state, int fd, w_usec now)
{
	for (unsigned i = 0; i < state->count; i++) {
		struct mon_node *node = state->nodes[i];

		if (node->fd != fd)
			continue;
		node->fd = -1;
		node->lost_at = now;
	}
}

static void
watch_node(struct mon_state *state, struct mon_node *node, w_usec now)
{
	if (node->life == MON_DOWN)
		return;
	if (now - node->last->arrived >= state->gone_after)
		change_life(state, node, MON_DOWN, MON_R_SILENT);
	else if (node->lost_at != 0 && now - node->lost_at >= state->gone_after / 4)
		change_life(state, node, MON_DOWN, MON_R_DISCONNECTED);
}

void
mon_state_watch(struct mon_state *state, w_usec now)
{
	for (unsigned i = 0; i < state->count; i++)
		watch_node(state, state->nodes[i], now);
	mon_state_refresh(state);
}

/* ---- the cluster ---- */

static const struct mon_node *
find_primary(const struct mon_state *state)
{
	const struct mon_node *best = NULL;

	for (unsigned i = 0; i < state->count; i++) {
		const struct mon_node *node = state->nodes[i];

		if (node->role != W_DATABASE || node->life == MON_DOWN ||
		    node->last->db.kind != MON_DB_PRIMARY)
			continue;
		if (best == NULL || node->last->db.timeline > best->last->db.timeline)
			best = node;
	}
	return best;
}

/* Where a node's PostgreSQL was at a time: between its last two reports on a straight line. */
static double
position_at(const struct mon_node *node, w_usec at)
{
	double from = (double)node->track[0].position, to = (double)node->track[1].position;
	double span = (double)(node->track[1].at - node->track[0].at);

	if (node->track[0].at == 0 || at >= node->track[1].at || span <= 0 || to < from)
		return to;
	if (at <= node->track[0].at)
		return from;
	return from + (to - from) * ((double)(at - node->track[0].at) / span);
}

static void
refresh_lag(struct mon_state *state)
{
	const struct mon_node *primary = state->view.primary;

	state->view.lag_bytes = NAN;
	for (unsigned i = 0; i < state->count; i++) {
		struct mon_node *node = state->nodes[i];
		double lag = NAN;

		if (node->role != W_DATABASE || node->life == MON_DOWN)
			continue;
		if (node == primary)
			lag = 0;
		else if (primary != NULL && node->last->db.kind == MON_DB_REPLICA)
			lag = position_at(primary, node->last->arrived) -
			      (double)node->last->db.position;
		node->figures.lag_bytes = isnan(lag) ? NAN : W_MAX(lag, 0);
		if (node != primary && !isnan(lag))
			state->view.lag_bytes = fmax(state->view.lag_bytes, node->figures.lag_bytes);
	}
}

static double
or_zero(double value)
{
	return isnan(value) ? 0 : value;
}

static void
view_window(struct mon_window_view *view, const struct w_hist *hist)
{
	view->p50 = quantile(hist, 0.5);
	view->p90 = quantile(hist, 0.9);
	view->p99 = quantile(hist, 0.99);
}

void
mon_state_refresh(struct mon_state *state)
{
	struct mon_cluster *view = &state->view;
	struct w_hist recent = { 0 };

	view->nodes = state->count;
	view->up = 0;
	view->requests = view->errors = view->cpu = view->rss = 0;
	view->primary = find_primary(state);
	state->had_primary |= view->primary != NULL;
	for (unsigned i = 0; i < state->count; i++) {
		const struct mon_node *node = state->nodes[i];

		view->up += node->life == MON_UP;
		view->cpu += or_zero(node->figures.cpu);
		view->rss += or_zero(node->figures.rss);
		if (node->role != state->entrance)
			continue;
		view->requests += or_zero(node->figures.requests);
		view->errors += or_zero(node->figures.errors);
		w_hist_add(&recent, &node->recent);
	}
	view->ratio = view->requests > 0 ? view->errors / view->requests : NAN;
	view->windows[MON_W_1S].requests = view->requests;
	view->windows[MON_W_1S].errors = view->errors;
	view_window(&view->windows[MON_W_1S], &recent);
	refresh_lag(state);
}

/* ---- the end of a second ---- */

static void
view_slots(struct mon_state *state, enum mon_window window, unsigned seconds)
{
	struct mon_window_view *view = &state->view.windows[window];
	unsigned count = (unsigned)W_MIN(state->seconds, (uint64_t)seconds);
	struct w_hist hist = { 0 };

	view->requests = view->errors = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct slot *slot = &state->slots[(state->seconds - 1 - i) % WINDOW_SLOTS];

		w_hist_add(&hist, &slot->hist);
		view->requests += slot->requests;
		view->errors += slot->errors;
	}
	view_window(view, &hist);
}

static void
push_node(struct mon_node *node, w_usec wall)
{
	const struct mon_figures *f = &node->figures;
	const double point[MON_SERIES_COUNT] = {
		[MON_S_REQUESTS] = f->requests,
		[MON_S_ERRORS] = f->errors,
		[MON_S_P50] = f->p50,
		[MON_S_P99] = f->p99,
		[MON_S_CPU] = f->cpu,
		[MON_S_RSS] = f->rss,
		[MON_S_LAG] = f->lag_bytes,
	};

	mon_history_push(node->history, point, &node->pending, wall);
	memset(&node->pending, 0, sizeof(node->pending));
	node->pending_requests = node->pending_errors = 0;
}

static void
push_cluster(struct mon_state *state, const struct w_hist *hist, w_usec wall)
{
	const struct mon_cluster *view = &state->view;
	const double point[MON_SERIES_COUNT] = {
		[MON_S_REQUESTS] = view->requests,
		[MON_S_ERRORS] = view->errors,
		[MON_S_P50] = view->windows[MON_W_1S].p50,
		[MON_S_P99] = view->windows[MON_W_1S].p99,
		[MON_S_CPU] = view->cpu,
		[MON_S_RSS] = view->rss,
		[MON_S_LAG] = view->lag_bytes,
	};

	mon_history_push(state->history, point, hist, wall);
}

void
mon_state_second(struct mon_state *state, w_usec wall)
{
	struct slot *slot = &state->slots[state->seconds % WINDOW_SLOTS];

	mon_state_refresh(state);
	memset(slot, 0, sizeof(*slot));
	for (unsigned i = 0; i < state->count; i++) {
		struct mon_node *node = state->nodes[i];

		if (node->role == state->entrance) {
			w_hist_add(&slot->hist, &node->pending);
			slot->requests += node->pending_requests;
			slot->errors += node->pending_errors;
		}
		push_node(node, wall);
	}
	state->seconds++;
	view_slots(state, MON_W_10S, 10);
	view_slots(state, MON_W_1M, 60);
	push_cluster(state, &slot->hist, wall);
}
