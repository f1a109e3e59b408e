/*
 * The socket, the promoter and the journal. See promote.h.
 *
 * Frames are the routing id, which libzmq puts before what a DEALER sends, and the message. An agent
 * that dials again has another routing id; orders go to the one that its last status came from.
 */
#include "monitor/promote.h"

#include <stdio.h>
#include <zmq.h>

#include "monitor/collect.h"

#define TURN_MAX 64                /* messages in one turn; the rest of the monitor wants its own */
#define WAIT_MOST (250 * W_MSEC)   /* a promoter that wants nothing is asked all the same */
#define ASKED_MAX 16               /* commands whose end is not told yet */
#define OPERATOR "operator"

struct route {
	char id[255]; /* as long as libzmq makes them */
	size_t len;   /* 0: nobody */
};

struct agent {
	char name[DBT_NAME];
	struct route route;
	int fd; /* of the connection, -1: none, or not known */
	int64_t epoch, seq;
};

/* Who asked for what, to be told how it goes. */
struct asked {
	int64_t id;
	struct route route;
};

struct mon_promote {
	struct w_node *node;
	struct mon_promote_ops ops;
	bool automatic;
	void *socket;
	struct w_zsock zsock;
	struct mon_peers peers;
	struct dbt_promoter *promoter;
	struct w_timer timer;
	struct agent *agents; /* the databases of the cluster file, in its order */
	unsigned agent_count;
	struct asked asked[ASKED_MAX];
	unsigned asked_next;
	struct mon_moved moves[MON_MOVES_MAX];
	uint64_t moved, sent, unsent;
	struct w_buf out;
};

/* ---- messages out ---- */

static bool
send_to(struct mon_promote *promote, const struct route *route)
{
	const struct w_view id = { route->id, route->len };

	/* Mandatory: the first frame fails when that peer is gone or takes no more. */
	return route->len > 0 && !w_buf_broken(&promote->out) &&
	       w_zsock_send(&promote->zsock, id, true) == W_OK &&
	       w_zsock_send(&promote->zsock, w_buf_get(&promote->out), false) == W_OK;
}

static struct agent *
find_agent(const struct mon_promote *promote, const char *name)
{
	for (unsigned i = 0; i < promote->agent_count; i++)
		if (strcmp(promote->agents[i].name, name) == 0)
			return &promote->agents[i];
	return NULL;
}

static void
on_order(void *arg, const char *node, const struct dbt_order *order)
{
	struct mon_promote *promote = arg;
	const struct agent *agent = find_agent(promote, node);

	w_buf_clear(&promote->out);
	dbt_order_format(order, &promote->out);
	if (agent != NULL && send_to(promote, &agent->route))
		promote->sent++;
	else
		promote->unsent++;
}

static struct asked *
find_asked(struct mon_promote *promote, int64_t id)
{
	for (unsigned i = 0; i < ASKED_MAX; i++)
		if (promote->asked[i].route.len > 0 && promote->asked[i].id == id)
			return &promote->asked[i];
	return NULL;
}

static void
on_answer(void *arg, const struct dbt_answer *answer)
{
	struct mon_promote *promote = arg;
	struct asked *asked = find_asked(promote, answer->id);

	if (asked == NULL)
		return;
	w_buf_clear(&promote->out);
	dbt_answer_format(answer, &promote->out);
	send_to(promote, &asked->route);
	if (answer->done || answer->failed)
		asked->route.len = 0;
}

static void
on_move(void *arg, const struct dbt_move *move)
{
	struct mon_promote *promote = arg;
	struct mon_moved *moved = &promote->moves[promote->moved++ % MON_MOVES_MAX];

	*moved = (struct mon_moved){ .time = w_wall(), .move = *move };
	promote->ops.moved(promote->ops.arg, moved);
}

/* ---- time ---- */

/* After all that goes in: what it says is due now may be another time than it was. */
static void
turn(struct mon_promote *promote)
{
	w_usec now = w_now(), wait;

	wait = dbt_promoter_turn(promote->promoter, now) - now;
	w_timer_start(&promote->node->loop, &promote->timer,
	    W_MIN(W_MAX(wait, W_MSEC), WAIT_MOST), 0);
	promote->ops.looked(promote->ops.arg);
}

/* ---- messages in ---- */

static struct route
route_of(zmq_msg_t *frame)
{
	struct route route = { .len = W_MIN(zmq_msg_size(frame), sizeof(route.id)) };

	memcpy(route.id, zmq_msg_data(frame), route.len);
	return route;
}

static bool
refuse(struct mon_promote *promote, enum mon_told how, const char *user, const char *text)
{
	promote->ops.told(promote->ops.arg, how, user, text);
	return false;
}

struct told {
	struct w_view json;
	const char *user;
	int fd;
	struct route route;
};

/* Whether the promoter got something. */
static bool
take_status(struct mon_promote *promote, const struct told *told)
{
	struct w_fault fault = { 0 };
	struct dbt_status status;
	struct agent *agent;

	if (dbt_status_parse(told->json, &status, &fault) < 0)
		return refuse(promote, MON_TOLD_GARBAGE, told->user, fault.text);
	agent = find_agent(promote, status.node);
	if (strcmp(told->user, status.node) != 0 || strcmp(told->user, OPERATOR) == 0)
		return refuse(promote, MON_TOLD_FORGED, told->user, status.node);
	refuse(promote, MON_TOLD_GOOD, told->user, "");
	/* one that the cluster file does not name any more, and whose connection is older */
	if (agent == NULL)
		return false;
	/* without a way to it any is good: its clock may have been set back before it was born again */
	if (agent->route.len == 0 || status.epoch > agent->epoch ||
	    (status.epoch == agent->epoch && status.seq > agent->seq)) {
		agent->epoch = status.epoch;
		agent->seq = status.seq;
		agent->route = told->route;
		agent->fd = told->fd;
	}
	dbt_promoter_status(promote->promoter, &status, w_now());
	return true;
}

/* At once, so that who asked knows whether to ask another monitor. */
static void
acknowledge(struct mon_promote *promote, int64_t id)
{
	struct dbt_answer answer = { .id = id, .failed = !promote->automatic };

	snprintf(answer.text, sizeof(answer.text),
	    promote->automatic ? "%s has the command"
	                       : "%s: Weir does not decide here which database leads (failover: external, "
	                         "or databases without a data folder)",
	    promote->node->self->name);
	on_answer(promote, &answer);
}

static bool
take_command(struct mon_promote *promote, const struct told *told)
{
	struct w_fault fault = { 0 };
	struct dbt_command command;
	struct asked *asked;

	if (dbt_command_parse(told->json, &command, &fault) < 0)
		return refuse(promote, MON_TOLD_GARBAGE, told->user, fault.text);
	/* a node may have that name, too, and then its key is the node's */
	if (strcmp(told->user, OPERATOR) != 0 || find_agent(promote, told->user) != NULL)
		return refuse(promote, MON_TOLD_FORGED, told->user, "a command of one who is no operator");
	refuse(promote, MON_TOLD_GOOD, told->user, "");
	asked = find_asked(promote, command.id);
	if (asked == NULL)
		asked = &promote->asked[promote->asked_next++ % ASKED_MAX];
	*asked = (struct asked){ command.id, told->route };
	acknowledge(promote, command.id);
	if (!promote->automatic)
		return false;
	dbt_promoter_command(promote->promoter, &command, w_now());
	return true;
}

static bool
take(struct mon_promote *promote, zmq_msg_t *id, zmq_msg_t *body)
{
	const struct told told = {
		.json = { zmq_msg_data(body), zmq_msg_size(body) },
		.user = zmq_msg_gets(body, "User-Id"),
		.fd = zmq_msg_get(body, ZMQ_SRCFD),
		.route = route_of(id),
	};
	char type[16];

	if (told.user == NULL)
		return refuse(promote, MON_TOLD_FORGED, NULL, "nobody's key");
	if (!mon_peers_stands(&promote->peers, told.fd))
		return false;
	dbt_control_type(told.json, type);
	if (strcmp(type, "status") == 0)
		return take_status(promote, &told);
	if (strcmp(type, "command") == 0)
		return take_command(promote, &told);
	return refuse(promote, MON_TOLD_GARBAGE, told.user, "type: wanted is status or command");
}

/* How many messages there were. */
static unsigned
take_messages(struct mon_promote *promote, bool *ret_news)
{
	unsigned taken = 0;

	mon_peers_drain(&promote->peers);
	for (; taken < TURN_MAX; taken++) {
		zmq_msg_t frames[2];
		unsigned count = mon_receive_two(&promote->zsock, frames);

		if (count == 2)
			*ret_news |= take(promote, &frames[0], &frames[1]);
		else if (count > 0)
			refuse(promote, MON_TOLD_GARBAGE, NULL, "wanted is one frame");
		for (unsigned i = 0; i < W_MIN(count, 2u); i++)
			zmq_msg_close(&frames[i]);
		if (count == 0)
			break;
	}
	return taken;
}

static void
on_readable(void *arg)
{
	struct mon_promote *promote = arg;
	bool news = false;

	take_messages(promote, &news);
	if (news)
		turn(promote);
}

/* Who was stopped for a while judges by what has come meanwhile, not by how old the last is. */
static void
on_timer(void *arg)
{
	struct mon_promote *promote = arg;
	bool news = false;

	take_messages(promote, &news);
	turn(promote);
}

static void
on_disconnected(void *arg, int fd)
{
	struct mon_promote *promote = arg;

	for (unsigned i = 0; i < promote->agent_count; i++) {
		struct agent *agent = &promote->agents[i];

		if (agent->fd != fd)
			continue;
		agent->fd = -1;
		agent->route.len = 0;
		dbt_promoter_gone(promote->promoter, agent->name, w_now());
		/* not from here: a drain of events may be in the middle of a message */
		w_timer_start(&promote->node->loop, &promote->timer, 0, 0);
	}
}

void
mon_promote_witness(struct mon_promote *promote, const struct mon_report *report)
{
	struct dbt_witness witness = { .came = w_now(), .others = report->sight.others };

	/* one that starts or ends has reasons of its own to see no primary */
	if (!report->sight.there || report->life != MON_UP)
		return;
	snprintf(witness.server, sizeof(witness.server), "%s", report->node);
	snprintf(witness.primary, sizeof(witness.primary), "%s", report->sight.primary);
	dbt_promoter_witness(promote->promoter, &witness, witness.came);
	turn(promote);
}

/* ---- reading ---- */

static void
copy_text(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text != NULL ? text : "");
}

void
mon_promote_look(const struct mon_promote *promote, struct mon_failover *ret)
{
	struct dbt_promoter_view view = { 0 };

	*ret = (struct mon_failover){ .known = promote->automatic };
	if (!promote->automatic)
		return;
	dbt_promoter_look(promote->promoter, &view);
	copy_text(ret->state, sizeof(ret->state), view.state);
	copy_text(ret->leader, sizeof(ret->leader), view.leader);
	copy_text(ret->degraded, sizeof(ret->degraded), view.degraded);
	copy_text(ret->why, sizeof(ret->why), view.why);
	ret->term = view.term;
	ret->paused = view.paused;
	ret->spare = view.spare;
	ret->fresh = view.fresh;
	ret->cohort = view.cohort;
	ret->needed = view.needed;
	copy_text(ret->in_force, sizeof(ret->in_force), view.in_force);
	copy_text(ret->configured, sizeof(ret->configured), view.configured);
	copy_text(ret->change, sizeof(ret->change), view.change);
	ret->elections = view.elections;
	ret->switchovers = view.switchovers;
	ret->failures = view.failures;
	ret->last_gap = view.last_gap;
	ret->moves = promote->moved;
	if (promote->moved > 0)
		ret->last = *mon_promote_nth(promote, 0);
}

const struct dbt_status *
mon_promote_status(const struct mon_promote *promote, const char *node)
{
	return dbt_promoter_agent(promote->promoter, node, NULL);
}

void
mon_promote_agent(const struct mon_promote *promote, const char *node, struct mon_agent *ret)
{
	bool fresh = false;
	const struct dbt_status *status = dbt_promoter_agent(promote->promoter, node, &fresh);

	*ret = (struct mon_agent){ .known = status != NULL };
	if (status == NULL)
		return;
	ret->fresh = fresh;
	ret->stage = status->promise.stage;
	ret->term = status->promise.term;
	copy_text(ret->busy, sizeof(ret->busy), status->busy);
	copy_text(ret->trouble, sizeof(ret->trouble), status->trouble);
}

const struct mon_moved *
mon_promote_nth(const struct mon_promote *promote, unsigned index)
{
	if (index >= MON_MOVES_MAX || index >= promote->moved)
		return NULL;
	return &promote->moves[(promote->moved - 1 - index) % MON_MOVES_MAX];
}

uint64_t
mon_promote_sent(const struct mon_promote *promote, bool unsent)
{
	return unsent ? promote->unsent : promote->sent;
}

/* ---- life ---- */

/* The agents of a cluster file; those that stay keep their connection. */
static void
take_cluster(struct mon_promote *promote, const struct w_cluster *cluster)
{
	unsigned count = (unsigned)w_cluster_count(cluster, W_DATABASE);
	struct agent *agents = w_xcalloc(count + 1, sizeof(*agents));

	for (unsigned i = 0; i < count; i++) {
		const char *name = w_cluster_nth(cluster, W_DATABASE, i)->name;
		const struct agent *before = find_agent(promote, name);

		agents[i] = before != NULL ? *before : (struct agent){ .fd = -1 };
		copy_text(agents[i].name, sizeof(agents[i].name), name);
	}
	free(promote->agents);
	promote->agents = agents;
	promote->agent_count = count;
}

int
mon_promote_reload(struct mon_promote *promote, const struct w_cluster *cluster,
    struct w_fault *fault)
{
	int rc = dbt_promoter_reload(promote->promoter, cluster, w_now(), fault);

	if (rc < 0)
		return rc;
	take_cluster(promote, cluster);
	turn(promote);
	return W_OK;
}

/* Of the monitors that have a promoter, which one this is. */
static unsigned
turn_of(const struct w_node *node)
{
	unsigned before = 0;

	for (unsigned i = 0; i < node->self->index; i++)
		before += w_cluster_nth(node->cluster, W_MONITOR, i)->opt.monitor.control[0] != '\0';
	return before;
}

/* Agents without a data folder observe and take no orders. */
static bool
decides(const struct w_cluster *cluster)
{
	const struct w_member *first = w_cluster_nth(cluster, W_DATABASE, 0);

	return strcmp(cluster->opt.failover, "builtin") == 0 && first != NULL &&
	       first->opt.database.data[0] != '\0';
}

static int
open_promoter(struct mon_promote *promote, struct w_fault *fault)
{
	const struct w_node *node = promote->node;
	struct dbt_promoter_config config = { .self = node->self->name,
		.epoch = w_wall(),
		.turn = turn_of(node),
		.cluster = node->cluster,
		.automatic = promote->automatic,
		.order = on_order,
		.move = on_move,
		.answer = on_answer,
		.arg = promote };

	w_random_bytes(&config.seed, sizeof(config.seed));
	return dbt_promoter_new(&config, w_now(), &promote->promoter, fault);
}

static int
open_socket(struct mon_promote *promote, struct w_fault *fault)
{
	struct w_node *node = promote->node;
	const struct mon_door door = { W_DOMAIN_CONTROL, node->self->opt.monitor.control,
		DBT_CONTROL_MAX };
	int mandatory = 1, rc;

	promote->peers.disconnected = on_disconnected;
	promote->peers.arg = promote;
	promote->socket = zmq_socket(node->zmq, ZMQ_ROUTER);
	if (promote->socket == NULL || zmq_setsockopt(promote->socket, ZMQ_ROUTER_MANDATORY,
	                                   &mandatory, sizeof(mandatory)) < 0)
		return w_fail(fault, -W_EIO, "no socket for database agents: %s",
		    zmq_strerror(zmq_errno()));
	rc = mon_peers_open(&promote->peers, node, promote->socket, "inproc://weir-control-events",
	    fault);
	if (rc == W_OK)
		rc = mon_bind(node, promote->socket, &door, fault);
	if (rc < 0)
		return rc;
	if (w_zsock_add(&node->loop, &promote->zsock, promote->socket, on_readable, promote) < 0)
		return w_fail(fault, -W_EIO, "the socket for database agents cannot be watched");
	return W_OK;
}

int
mon_promote_open(struct w_node *node, const struct mon_promote_ops *ops, struct mon_promote **ret,
    struct w_fault *fault)
{
	W_AUTO(mon_promote_close) struct mon_promote *promote = w_xcalloc(1, sizeof(*promote));
	int rc;

	promote->node = node;
	promote->ops = *ops;
	promote->automatic = decides(node->cluster);
	promote->out.limit = DBT_CONTROL_MAX;
	promote->timer.fire = on_timer;
	promote->timer.arg = promote;
	take_cluster(promote, node->cluster);
	rc = open_promoter(promote, fault);
	if (rc == W_OK)
		rc = open_socket(promote, fault);
	if (rc < 0)
		return rc;
	w_timer_start(&node->loop, &promote->timer, 0, 0);
	*ret = w_steal(&promote);
	return W_OK;
}

void
mon_promote_close(struct mon_promote **promote)
{
	struct mon_promote *p = w_steal(promote);

	if (p == NULL)
		return;
	w_timer_fini(&p->timer);
	w_zsock_remove(&p->zsock);
	mon_peers_close(&p->peers);
	if (p->socket != NULL)
		zmq_close(p->socket);
	dbt_promoter_free(&p->promoter);
	w_buf_fini(&p->out);
	free(p->agents);
	free(p);
}
