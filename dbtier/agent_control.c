/*
 * The agent and its promoters: one DEALER for each monitor with a control address.
 *
 *	order --> parse --> does the promise allow it --> promise kept (synced) --> a turn --> status
 *
 * A status leaves every 200 ms, at once when something has changed, and in answer to each order.
 * Nothing here waits: what a promoter does not read is dropped, the next status says it again.
 */
#include <stdio.h>
#include <zmq.h>

#include "common/log.h"
#include "dbtier/agent.h"

#define STATUS_EVERY (200 * W_MSEC)
#define QUEUE_MAX 10      /* statuses kept for a promoter that does not read */
#define LINGER_MSEC 250   /* for the last one */
#define ORDERS_A_TURN 100 /* the loop has other things to do, too */

/* ---- status ---- */

static const char *
text_or_empty(const char *text)
{
	return text != NULL ? text : "";
}

/* Position and so on of a PostgreSQL that answers. */
static void
fill_look(const struct dbt_agent *agent, struct dbt_status *status)
{
	const struct agent_look *look = &agent->look;

	memcpy(status->system, look->system, sizeof(status->system));
	status->recovery = look->recovery;
	status->timeline = look->timeline;
	status->lsn = look->lsn;
	status->settled = agent->promise.stage == DBT_FENCED && agent->fenced;
	/* of whom it is to follow: the last look may be older than that */
	status->streaming = look->streaming && (agent->promise.stage != DBT_FOLLOWING ||
	    strcmp(agent->conf_upstream, agent->promise.upstream) == 0);
	status->heard_ms = look->recovery ? look->heard_ms : -1;
	status->attached = look->attached;
	status->drained = dbt__agent_drained(agent);
	status->marked = agent->promise.stage == DBT_LEADING && agent->marked;
	memcpy(status->broken, look->broken, sizeof(status->broken));
}

static void
fill_status(const struct dbt_agent *agent, struct dbt_status *status)
{
	uint32_t timeline;

	memset(status, 0, sizeof(*status));
	snprintf(status->node, sizeof(status->node), "%s", agent->name);
	snprintf(status->configured, sizeof(status->configured), "%s", agent->configured);
	status->epoch = agent->control.epoch;
	status->promise = agent->promise;
	status->order = agent->control.order;
	snprintf(status->refused, sizeof(status->refused), "%s", agent->control.refused);
	snprintf(status->busy, sizeof(status->busy), "%s", text_or_empty(agent->busy));
	snprintf(status->trouble, sizeof(status->trouble), "%s", agent->trouble);
	status->postgres = dbt__agent_state(agent);
	status->heard_ms = -1;
	if (status->postgres == DBT_PG_NONE)
		snprintf(status->ended, sizeof(status->ended), "%s", agent->pm.ended);
	if (status->postgres == DBT_PG_UP)
		fill_look(agent, status);
	else if (dbt__agent_has_data(agent))
		(void)dbt__agent_control_file(agent, &timeline, status->system, NULL);
}

/* Whether people or promoters would want to know at once; positions move all the time. */
static bool
says_news(const struct dbt_status *now, const struct dbt_status *last)
{
	struct dbt_status a = *now, b = *last;

	a.seq = b.seq = 0;
	a.heard_ms = b.heard_ms = 0;
	if (!a.settled && !b.settled)
		a.lsn = b.lsn = 0;
	return memcmp(&a, &b, sizeof(a)) != 0;
}

void
dbt__agent_tell(struct dbt_agent *agent, bool must)
{
	struct agent_control *control = &agent->control;
	W_AUTO(w_buf_fini) struct w_buf out = { 0 };
	struct dbt_status status;
	w_usec now = w_now();

	fill_status(agent, &status);
	if (!must && now - control->sent < STATUS_EVERY - W_MSEC && !says_news(&status, &control->last))
		return;
	status.seq = ++control->seq;
	control->last = status;
	control->sent = now;
	dbt_status_format(&status, &out);
	for (size_t i = 0; i < control->count && !w_buf_broken(&out); i++)
		(void)w_zsock_send(&control->peers[i].zsock, w_buf_get(&out), false);
}

/* ---- promise ---- */

/* What was begun for another promise is not what this one asks for. */
static void
begin_anew(struct dbt_agent *agent, const struct dbt_promise *before)
{
	const struct dbt_promise *now = &agent->promise;

	/* an upstream that leads a new term may have been rewound before */
	if (now->stage == before->stage && strcmp(now->upstream, before->upstream) == 0 && now->term == before->term)
		return;
	agent->rejoin = VERDICT_NONE;
	agent->ask_after = 0;
	agent->unstreamed = 0;
	agent->first = 0;
	agent->resume = agent->draining = agent->marked = false;
	dbt__agent_trouble(agent, NULL, NULL);
}

const char *
dbt__agent_cohort(const struct dbt_agent *agent)
{
	const char *promised = agent->promise.cohort.names;

	return promised[0] != '\0' ? promised : agent->configured;
}

int
dbt__agent_promise(struct dbt_agent *agent, const struct dbt_promise *promise, struct w_fault *fault)
{
	const struct dbt_promise before = agent->promise;
	int rc = dbt__promise_keep(agent->promise_path, promise, fault);

	if (rc < 0)
		return rc;
	agent->promise = *promise;
	/* PostgreSQL has to know whom a commit would wait for before anything is said of it */
	if (strcmp(promise->cohort.names, before.cohort.names) != 0)
		agent->fenced = false;
	if (memcmp(&promise->cohort, &before.cohort, sizeof(before.cohort)) != 0)
		w_log(W_INFO, "", "cohort", "is=%s edition=%u joint=%s", promise->cohort.names,
		    promise->cohort.edition, promise->cohort.joint[0] != '\0' ? promise->cohort.joint : "none");
	if (promise->term != before.term || promise->stage != before.stage)
		w_log(W_INFO, "", "promised", "term=%u promoter=%s stage=%s upstream=%s", promise->term,
		    promise->promoter, dbt_stage_name(promise->stage),
		    promise->upstream[0] != '\0' ? promise->upstream : "none");
	begin_anew(agent, &before);
	return W_OK;
}

/* ---- orders ---- */

static bool
is_malformed(struct agent_peer *peer, const char *why)
{
	struct agent_control *control = &peer->agent->control;
	char quoted[512];

	control->malformed++;
	if (w_now() - control->complained < W_SEC)
		return true;
	control->complained = w_now();
	w_log(W_WARN, "", "order-malformed", "monitor=%s count=%llu why=%s", peer->monitor,
	    (unsigned long long)control->malformed, w_log_quote(w_view_of(why), quoted, sizeof(quoted)));
	return true;
}

/* "monitor-1/1234" speaks for monitor-1 only. */
static bool
speaks_for(const char *promoter, const char *monitor)
{
	size_t len = strlen(monitor);

	return strncmp(promoter, monitor, len) == 0 && promoter[len] == '/';
}

static bool
may_follow(const struct dbt_agent *agent, const struct dbt_order *order)
{
	return order->kind != DBT_FOLLOW ||
	    (dbt__agent_knows(agent, order->upstream) && strcmp(order->upstream, agent->name) != 0);
}

/* Of its WAL's end: what was seen, else what lies on disk; a history file comes before the WAL of its timeline. */
static uint32_t
own_timeline(const struct dbt_agent *agent)
{
	uint32_t timeline = 0, highest = 0;
	char system[32];

	if (agent->look.answered)
		return agent->look.timeline;
	if (!dbt__agent_has_data(agent) || dbt__agent_is_torn(agent))
		return 0;
	if (agent->seen_timeline != 0)
		return agent->seen_timeline;
	(void)dbt__agent_control_file(agent, &timeline, system, NULL);
	(void)dbt__timelines_highest(agent->opt->data, &highest, NULL);
	return W_MAX(timeline, agent->promise.stage == DBT_LEADING ? W_MIN(highest, agent->promise.term) : 0);
}

static int
take_order(struct dbt_agent *agent, const struct dbt_order *order, char why[DBT_TEXT])
{
	const struct dbt__standing standing = {
		.running = agent->pm.pid != 0,
		.settled = agent->promise.stage == DBT_FENCED && agent->fenced && dbt__agent_state(agent) == DBT_PG_UP,
		.has_data = dbt__agent_has_data(agent) && !dbt__agent_is_torn(agent),
		.timeline = own_timeline(agent),
	};
	struct dbt_promise promise = agent->promise;
	struct w_fault fault = { 0 };
	int rc = W_OK;

	if (agent->lost)
		rc = -W_EIO;
	if (rc < 0)
		snprintf(why, DBT_TEXT, "%.*s", DBT_TEXT - 1, agent->trouble);
	else if (!may_follow(agent, order))
		rc = -W_EDENIED, snprintf(why, DBT_TEXT, "%s cannot be followed from here", order->upstream);
	else if (order->kind == DBT_INIT && strcmp(order->cohort.names, agent->configured) != 0)
		rc = -W_EDENIED, snprintf(why, DBT_TEXT, "the cluster files differ in their databases or their quorum");
	else
		rc = dbt__promise_take(&promise, order, &standing, why);
	if (rc == W_OK && memcmp(&promise, &agent->promise, sizeof(promise)) != 0) {
		rc = dbt__agent_promise(agent, &promise, &fault);
		if (rc < 0)
			snprintf(why, DBT_TEXT, "%.*s", DBT_TEXT - 1, fault.text);
	}
	return rc;
}

/* It has come to follow that one, so what has been added since the last look came from there. */
static bool
gets_all_from(const struct dbt_agent *agent, const char *upstream)
{
	return agent->promise.stage == DBT_FOLLOWING && agent->rejoin == VERDICT_TURN &&
	    strcmp(agent->promise.upstream, upstream) == 0 && strcmp(agent->conf_upstream, upstream) == 0;
}

/* Is what we have a part of what the upstream had when it was elected? To be asked before the promise changes. */
static bool
is_behind(const struct dbt_agent *agent, const struct dbt_order *order)
{
	bool fenced = agent->promise.stage == DBT_FENCED && agent->fenced;

	return order->kind == DBT_FOLLOW && order->timeline != 0 &&
	    (fenced || gets_all_from(agent, order->upstream)) && dbt__agent_state(agent) == DBT_PG_UP &&
	    agent->look.timeline == order->timeline && agent->look.lsn <= order->lsn;
}

/* What an order wants besides the promise. */
static void
carry_out(struct dbt_agent *agent, const struct dbt_order *order, bool behind)
{
	if (behind)
		agent->rejoin = VERDICT_TURN;
	if (order->kind == DBT_PREPARE)
		agent->first = order->lsn;
	if (order->kind == DBT_RESUME)
		agent->resume = true;
	if (order->kind == DBT_DRAIN)
		agent->draining = true;
	if (order->kind == DBT_UNDRAIN)
		agent->draining = false;
}

static void
on_order(struct dbt_agent *agent, const struct dbt_order *order)
{
	struct agent_control *control = &agent->control;
	bool known = strcmp(order->promoter, control->promoter) == 0;
	bool again = known && order->id == control->order && control->refused[0] == '\0';
	bool behind = is_behind(agent, order);
	char why[DBT_TEXT] = "";
	int rc;

	/* overtaken on its way */
	if (known && order->id < control->order)
		return;
	control->heard = w_now();
	rc = take_order(agent, order, why);
	if (rc == W_OK)
		carry_out(agent, order, behind);
	else if (!again)
		w_log(W_WARN, "", "order-refused", "order=%s why=\"%s\"", dbt_order_name(order->kind), why);
	/* one that was taken and comes again may find its work done */
	if (rc == W_OK || !again)
		snprintf(control->refused, sizeof(control->refused), "%s", rc == W_OK ? "" : why);
	snprintf(control->promoter, sizeof(control->promoter), "%s", order->promoter);
	control->order = order->id;
	dbt__agent_turn(agent);
	dbt__agent_tell(agent, true);
}

static bool
on_message(struct agent_peer *peer, struct w_view json)
{
	struct w_fault fault = { 0 };
	struct dbt_order order;
	char type[16];

	dbt_control_type(json, type);
	if (strcmp(type, "order") != 0)
		return is_malformed(peer, "not an order");
	if (dbt_order_parse(json, &order, &fault) < 0)
		return is_malformed(peer, fault.text);
	if (!speaks_for(order.promoter, peer->monitor))
		return is_malformed(peer, "it speaks for another monitor");
	on_order(peer->agent, &order);
	return true;
}

static void
on_readable(void *arg)
{
	struct agent_peer *peer = arg;
	zmq_msg_t msg;

	zmq_msg_init(&msg);
	for (unsigned i = 0; i < ORDERS_A_TURN && w_zsock_receive(&peer->zsock, &msg) == W_OK; i++)
		if (peer->agent->node->state != W_DRAINING)
			on_message(peer, (struct w_view){ zmq_msg_data(&msg), zmq_msg_size(&msg) });
	zmq_msg_close(&msg);
}

/* ---- sockets ---- */

static int
set_options(void *socket, struct w_fault *fault)
{
	const int64_t most = DBT_CONTROL_MAX;
	/* what is said to nobody is not worth keeping */
	const int queue = QUEUE_MAX, immediate = 1;

	if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof(most)) < 0 ||
	    zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof(queue)) < 0 ||
	    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &immediate, sizeof(immediate)) < 0)
		return w_fail(fault, -W_EIO, "ZeroMQ refuses an option: %s", zmq_strerror(zmq_errno()));
	return W_OK;
}

static int
open_peer(struct dbt_agent *agent, const struct w_member *monitor, struct w_fault *fault)
{
	struct agent_peer *peer = &agent->control.peers[agent->control.count];
	struct w_node *node = agent->node;
	char endpoint[320];
	int rc = w_addr_zmq(monitor->opt.monitor.control, 0, endpoint, sizeof(endpoint));

	if (rc < 0)
		return w_fail(fault, rc, "%s: control: '%s' is not HOST:PORT", monitor->name,
		    monitor->opt.monitor.control);
	peer->agent = agent;
	peer->monitor = monitor->name;
	peer->socket = zmq_socket(node->zmq, ZMQ_DEALER);
	if (peer->socket == NULL)
		return w_fail(fault, -W_EIO, "no socket for orders: %s", zmq_strerror(zmq_errno()));
	agent->control.count++;
	rc = w_keys_client(node->keys, peer->socket, monitor->name, fault);
	if (rc == W_OK)
		rc = set_options(peer->socket, fault);
	if (rc < 0)
		return rc;
	if (zmq_connect(peer->socket, endpoint) < 0)
		return w_fail(fault, -W_EIO, "%s: control: cannot connect to %s: %s", monitor->name, endpoint,
		    zmq_strerror(zmq_errno()));
	if (w_zsock_add(&node->loop, &peer->zsock, peer->socket, on_readable, peer) < 0)
		return w_fail(fault, -W_EIO, "the socket for orders cannot be watched");
	return W_OK;
}

int
dbt__agent_control_start(struct dbt_agent *agent, struct w_fault *fault)
{
	const struct w_cluster *cluster = agent->cluster;
	unsigned monitors = (unsigned)w_cluster_count(cluster, W_MONITOR);

	agent->control.epoch = w_wall();
	agent->control.peers = w_xcalloc(monitors + 1, sizeof(*agent->control.peers));
	for (unsigned i = 0; i < monitors; i++) {
		const struct w_member *monitor = w_cluster_nth(cluster, W_MONITOR, i);
		int rc;

		if (monitor->opt.monitor.control[0] == '\0')
			continue;
		rc = open_peer(agent, monitor, fault);
		if (rc < 0)
			return rc;
	}
	return W_OK;
}

void
dbt__agent_control_stop(struct dbt_agent *agent)
{
	struct agent_control *control = &agent->control;
	int linger = LINGER_MSEC;

	/* PostgreSQL has ended: nobody has to find that out by waiting */
	if (control->count > 0)
		dbt__agent_tell(agent, true);
	for (size_t i = 0; i < control->count; i++) {
		w_zsock_remove(&control->peers[i].zsock);
		zmq_setsockopt(control->peers[i].socket, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(control->peers[i].socket);
	}
	free(control->peers);
	control->peers = NULL;
	control->count = 0;
}
