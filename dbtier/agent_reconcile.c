/*
 * What should be, what is, and so the next step: a table. Every event ends in a turn, and a turn takes at
 * most one step; none of them waits.
 */
#include <signal.h>
#include <stdio.h>

#include "common/log.h"
#include "dbtier/agent.h"

#define TURN_EVERY (50 * W_MSEC)
#define LOOK_EVERY (100 * W_MSEC)
#define HURRY (2 * W_MSEC)           /* while writes are held until the last one has ended */
#define JUDGE_EVERY (2 * W_SEC)
#define HALTED_MOST (200 * W_MSEC)   /* a postmaster in state T for so long is frozen */
#define LEFTOVERS_MOST (300 * W_MSEC) /* for the children of a postmaster that was killed */
#define START_BACKOFF_FIRST (200 * W_MSEC)
#define START_BACKOFF_MOST (5 * W_SEC)
#define ASK_EVERY (200 * W_MSEC)
#define UNSTREAMED_MOST (3 * W_SEC)  /* then a follower asks again whether it must rewind */
#define UNHEARD_MOST (5 * W_SEC)     /* then one that is drained takes writes again */
#define CONNECTING_MOST (5 * W_SEC)  /* for a walreceiver, which knows no timeout before it streams */
#define SILENT_MS 2000               /* one that streams would have ended itself by then (agent_files.c) */
#define UNREAD_MOST W_SEC            /* an election is over by then, and what waited for it has been done */

enum agent_seen { SEEN_NOTHING, SEEN_TORN, SEEN_DOWN, SEEN_STARTING, SEEN_FROZEN, SEEN_PRIMARY, SEEN_STANDBY, SEEN_COUNT };

void
dbt__agent_soon(struct dbt_agent *agent, w_usec wait)
{
	if (agent->node->state != W_DRAINING)
		w_timer_start(&agent->node->loop, &agent->again, wait, 0);
}

void
dbt__agent_trouble(struct dbt_agent *agent, const char *what, const char *why)
{
	char text[DBT_TEXT] = "";

	if (what != NULL)
		snprintf(text, sizeof(text), "%s: %.*s", what, (int)W_MIN(strcspn(why, "\n"), (size_t)200), why);
	if (strcmp(text, agent->trouble) == 0)
		return;
	if (text[0] != '\0')
		w_log(W_WARN, "", "trouble", "what=\"%s\"", text);
	memcpy(agent->trouble, text, sizeof(text));
}

void
dbt__agent_forget(struct dbt_agent *agent)
{
	agent->look = (struct agent_look){ 0 };
	agent->up = agent->late = agent->fenced = agent->marked = agent->resume = false;
	agent->read_only_from = 0;
	agent->quiet = 0;
	agent->unstreamed = 0;
	agent->receiver = 0;
	agent->judged = 0;
	agent->unread = 0;
}

enum dbt_postgres
dbt__agent_state(const struct dbt_agent *agent)
{
	if (agent->pm.pid == 0)
		return DBT_PG_NONE;
	if (!agent->up)
		return DBT_PG_STARTING;
	if (agent->late || (agent->pm.halted != 0 && w_now() - agent->pm.halted > HALTED_MOST))
		return DBT_PG_FROZEN;
	return DBT_PG_UP;
}

bool
dbt__agent_drained(const struct dbt_agent *agent)
{
	return agent->draining && agent->quiet >= 2;
}

static enum agent_seen
see(struct dbt_agent *agent)
{
	enum dbt_postgres state = dbt__agent_state(agent);

	if (state == DBT_PG_STARTING)
		return SEEN_STARTING;
	if (state == DBT_PG_FROZEN)
		return SEEN_FROZEN;
	if (state == DBT_PG_UP)
		return agent->look.recovery ? SEEN_STANDBY : SEEN_PRIMARY;
	if (!dbt__agent_has_data(agent))
		return SEEN_NOTHING;
	return dbt__agent_is_torn(agent) ? SEEN_TORN : SEEN_DOWN;
}

/* ---- steps: each returns what it does, NULL: nothing ---- */

typedef const char *step_fn(struct dbt_agent *agent);

static const char *
do_rest(struct dbt_agent *agent W_UNUSED)
{
	return NULL;
}

static const char *
do_lack(struct dbt_agent *agent)
{
	dbt__agent_trouble(agent, "data", "there is no data directory that could be used");
	return NULL;
}

static const char *
do_wait(struct dbt_agent *agent W_UNUSED)
{
	return "starting";
}

/* PostgreSQL that must not be a primary: no delay for its checkpoint, nor for its clients. */
static const char *
do_stop(struct dbt_agent *agent)
{
	dbt__agent_stop(agent, SIGQUIT);
	return "fencing";
}

static const char *
do_kill(struct dbt_agent *agent)
{
	dbt__agent_stop(agent, SIGKILL);
	return "fencing";
}

/* One that starts, and may be a primary when it is up. */
static const char *
do_wait_or_stop(struct dbt_agent *agent)
{
	return agent->pm.as_primary ? do_stop(agent) : do_wait(agent);
}

/* One that is frozen: a standby that follows may wake up again, a primary must not. */
static const char *
do_kill_primary(struct dbt_agent *agent)
{
	return agent->look.recovery ? NULL : do_kill(agent);
}

/* Its shared memory must be free, and whoever does not start shall not be tried in a loop. */
static bool
may_start(struct dbt_agent *agent)
{
	struct agent_postmaster *pm = &agent->pm;
	w_usec since = w_now() - pm->ended_at;
	w_usec backoff = pm->failures == 0 ? 0 : START_BACKOFF_FIRST << W_MIN(pm->failures - 1, 5u);

	if (pm->ended_at != 0 && since < W_MIN(backoff, START_BACKOFF_MOST))
		return false;
	if (dbt__proc_signal(agent->opt->data, since > LEFTOVERS_MOST ? SIGKILL : 0) == 0)
		return true;
	dbt__agent_soon(agent, 5 * W_MSEC);
	return false;
}

static const char *
start(struct dbt_agent *agent, const char *upstream)
{
	struct w_fault fault = { 0 };

	if (dbt__agent_start(agent, upstream, &fault) < 0) {
		agent->pm.failures++;
		agent->pm.ended_at = w_now();
		dbt__agent_trouble(agent, "starting", fault.text);
	}
	return "starting";
}

static const char *
do_start_fenced(struct dbt_agent *agent)
{
	struct w_fault fault = { 0 };

	if (!may_start(agent))
		return "starting";
	if (dbt__agent_standby(agent, agent->opt->data, true, &fault) < 0) {
		dbt__agent_trouble(agent, "starting", fault.text);
		return NULL;
	}
	/* one that the cluster file does not name any more cannot be followed, but an election may still come */
	return start(agent, agent->promise.stage == DBT_FOLLOWING && agent->rejoin == VERDICT_TURN &&
	    dbt__agent_knows(agent, agent->promise.upstream) ? agent->promise.upstream : "");
}

static bool
is_hurried(const struct dbt_agent *agent)
{
	return agent->draining && !dbt__agent_drained(agent) && agent->promise.stage == DBT_LEADING;
}

static bool
look_is_due(const struct dbt_agent *agent)
{
	w_usec every = is_hurried(agent) ? HURRY : LOOK_EVERY;

	return !agent->piece.running && agent->pm.pid != 0 && w_now() - agent->looked >= every;
}

static const char *
piece(struct dbt_agent *agent, enum agent_piece_kind kind, const char *busy)
{
	if (!agent->piece.running)
		dbt__agent_piece_start(agent, kind);
	return busy;
}

static const char *
do_clone(struct dbt_agent *agent)
{
	if (w_now() >= agent->maker.not_before && !agent->piece.running)
		dbt__agent_make(agent, MAKE_CLONE);
	return "cloning";
}

/* Ask X for a checkpoint, then rewind; the piece's end begins it. */
static const char *
do_rewind(struct dbt_agent *agent)
{
	if (w_now() < agent->ask_after || agent->piece.running || !may_start(agent))
		return "rewinding";
	snprintf(agent->piece.upstream, DBT_NAME, "%s", agent->promise.upstream);
	return piece(agent, PIECE_CHECKPOINT, "rewinding");
}

static const char *
do_start_following(struct dbt_agent *agent)
{
	if (agent->rejoin == VERDICT_CLONE)
		return do_clone(agent);
	return agent->rejoin == VERDICT_REWIND ? do_rewind(agent) : do_start_fenced(agent);
}

/* A leader that was not promoted yet starts as what it was, and is promoted then. */
static bool
was_promoted(const struct dbt_agent *agent)
{
	uint32_t timeline = 0;
	char system[32];

	return dbt__agent_control_file(agent, &timeline, system, NULL) == W_OK &&
	    timeline >= agent->promise.term;
}

/* Data that this agent made and that never served may be started without an order; once. */
static const char *
do_start_leading(struct dbt_agent *agent)
{
	struct dbt_promise promise = agent->promise;
	struct w_fault fault = { 0 };

	if (!promise.made && !agent->resume)
		return NULL;
	if (!may_start(agent))
		return "starting";
	promise.made = false;
	if (agent->promise.made && dbt__agent_promise(agent, &promise, &fault) < 0) {
		dbt__agent_trouble(agent, "promise", fault.text);
		return NULL;
	}
	if (!agent->promise.made && !dbt__agent_is_standby(agent) && !was_promoted(agent) &&
	    dbt__agent_standby(agent, agent->opt->data, true, &fault) < 0) {
		dbt__agent_trouble(agent, "starting", fault.text);
		return NULL;
	}
	return start(agent, "");
}

static const char *
do_make(struct dbt_agent *agent)
{
	if (!agent->promise.made)
		return do_lack(agent);
	if (w_now() >= agent->maker.not_before)
		dbt__agent_make(agent, MAKE_PRIMARY);
	return "making";
}

/* Of weir.conf, than the upstream. What an earlier agent wrote may have been anything. */
static bool
changes_more(const struct dbt_agent *agent, bool read_only)
{
	return strcmp(agent->conf_upstream, DBT_UNKNOWN) == 0 || agent->conf_drained != read_only ||
	    strcmp(agent->conf_cohort, dbt__agent_cohort(agent)) != 0;
}

static const char *
do_fence(struct dbt_agent *agent)
{
	if (agent->fenced)
		return NULL;
	if (agent->piece.running)
		return "fencing";
	if (agent->promise.stage == DBT_FENCED && agent->first != 0) {
		agent->piece.lsn = agent->first;
		return piece(agent, PIECE_RECEIVE, "fencing");
	}
	agent->piece.whole = changes_more(agent, false);
	agent->piece.startup = agent->look.startup;
	agent->piece.receiver = agent->look.receiver;
	if (!agent->piece.whole)
		agent->unread = w_now();
	agent->conf_upstream[0] = '\0';
	snprintf(agent->conf_cohort, sizeof(agent->conf_cohort), "%s", dbt__agent_cohort(agent));
	return piece(agent, PIECE_FENCE, "fencing");
}

static const char *
ask(struct dbt_agent *agent, const char *busy)
{
	struct agent_piece *p = &agent->piece;

	if (p->running || w_now() < agent->ask_after)
		return busy;
	agent->ask_after = w_now() + ASK_EVERY;
	p->lsn = agent->look.lsn;
	p->timeline = agent->look.timeline;
	snprintf(p->system, sizeof(p->system), "%s", agent->look.system);
	snprintf(p->upstream, sizeof(p->upstream), "%s", agent->promise.upstream);
	return piece(agent, PIECE_ASK, busy);
}

/* weir.conf and what PostgreSQL knows of it. */
static void
configure(struct dbt_agent *agent, const char *upstream, bool read_only)
{
	const struct agent_conf conf = { upstream, dbt__agent_cohort(agent), read_only };
	bool whole = changes_more(agent, read_only);
	struct w_fault fault = { 0 };

	if (dbt__agent_settings(agent, agent->opt->data, &conf, &fault) < 0) {
		dbt__agent_trouble(agent, "settings", fault.text);
		return;
	}
	snprintf(agent->conf_upstream, sizeof(agent->conf_upstream), "%s", upstream);
	snprintf(agent->conf_cohort, sizeof(agent->conf_cohort), "%s", conf.cohort);
	agent->conf_term = agent->promise.term;
	agent->conf_drained = read_only;
	agent->fenced = false;
	if (whole)
		dbt__agent_reload(agent);
	else
		dbt__agent_reread(agent);
}

/*
 * wal_receiver_timeout holds of a stream. Until there is one, a walreceiver waits for ever for an upstream
 * that takes connections and does not answer, or that is gone without a word; and PostgreSQL calls it
 * streaming as soon as it has connected.
 */
static void
end_stuck_receiver(struct dbt_agent *agent, w_usec now)
{
	bool streams = agent->look.streaming && agent->look.heard_ms <= SILENT_MS;
	int pid = streams ? 0 : agent->look.receiver;

	if (pid != agent->receiver) {
		agent->receiver = pid;
		agent->receiver_since = now;
	}
	if (pid <= 1 || now - agent->receiver_since < CONNECTING_MOST)
		return;
	w_log(W_WARN, "", "walreceiver-stuck", "pid=%d upstream=%s for=%lldms", pid, agent->promise.upstream,
	    (long long)((now - agent->receiver_since) / W_MSEC));
	kill((pid_t)pid, SIGTERM);
	agent->receiver_since = now;
}

/*
 * The postmaster of PostgreSQL 15 keeps a request for a walreceiver that comes while the last one ends, and
 * sleeps over it when it learns of that end just before its select(): until somebody connects, or a minute.
 * SIGUSR1 without a reason makes it look again, and does nothing else (postmaster.c, sigusr1_handler()).
 */
static void
wake_postmaster(const struct dbt_agent *agent)
{
	if (agent->look.receiver == 0 && agent->pm.pid > 1)
		kill((pid_t)agent->pm.pid, SIGUSR1);
}

void
dbt__agent_reconfigure(struct dbt_agent *agent)
{
	struct w_fault fault = { 0 };
	char upstream[DBT_NAME];
	bool fenced = agent->fenced;

	/* what does not run has all written at its start */
	if (agent->pm.pid == 0 || agent->lost)
		return;
	if (dbt__agent_access(agent, agent->opt->data, &fault) < 0)
		dbt__agent_trouble(agent, "access rules", fault.text);
	/* what an earlier agent wrote is written again anyway, and who is not in the file any more is left as it is */
	memcpy(upstream, agent->conf_upstream, sizeof(upstream));
	if (strcmp(upstream, DBT_UNKNOWN) != 0 && (upstream[0] == '\0' || dbt__agent_knows(agent, upstream)))
		configure(agent, upstream, agent->conf_drained);
	dbt__agent_reload(agent);
	agent->fenced = fenced;
}

/* weir.conf of a follower is what its promise wants; it tells the term, too. */
static bool
is_configured(const struct dbt_agent *agent)
{
	return strcmp(agent->conf_upstream, agent->promise.upstream) == 0 &&
	    strcmp(agent->conf_cohort, dbt__agent_cohort(agent)) == 0 && agent->conf_term == agent->promise.term;
}

static const char *
do_follow(struct dbt_agent *agent)
{
	w_usec now = w_now();

	if (agent->rejoin == VERDICT_REWIND || agent->rejoin == VERDICT_CLONE) {
		dbt__agent_stop(agent, SIGINT);
		return "stopping";
	}
	if (agent->rejoin != VERDICT_TURN)
		return agent->fenced ? ask(agent, NULL) : do_fence(agent);
	if (!agent->piece.running && !is_configured(agent)) {
		if (strcmp(agent->conf_upstream, agent->promise.upstream) != 0)
			agent->unstreamed = now;
		configure(agent, agent->promise.upstream, false);
	}
	end_stuck_receiver(agent, now);
	if (agent->look.streaming) {
		agent->unstreamed = 0;
		dbt__agent_trouble(agent, NULL, NULL);
		return NULL;
	}
	if (agent->unstreamed == 0)
		agent->unstreamed = now;
	wake_postmaster(agent);
	return now - agent->unstreamed > UNSTREAMED_MOST ? ask(agent, NULL) : NULL;
}

static const char *
do_promote(struct dbt_agent *agent)
{
	if (agent->piece.running)
		return "promoting";
	/* an adopted one may still have an upstream */
	if (!agent->fenced)
		return do_fence(agent);
	/* its position changes from here on, whoever asks */
	agent->fenced = false;
	return piece(agent, PIECE_PROMOTE, "promoting");
}

static const char *
drain(struct dbt_agent *agent)
{
	bool unheard = w_now() - agent->control.heard > UNHEARD_MOST;

	if (agent->draining && unheard) {
		w_log(W_WARN, "", "undrained", "why=\"no promoter\"");
		agent->draining = false;
	}
	if (agent->draining != agent->conf_drained && !agent->piece.running) {
		agent->read_only_from = 0;
		agent->quiet = 0;
		configure(agent, "", agent->draining);
	}
	return agent->draining && !dbt__agent_drained(agent) ? "draining" : NULL;
}

static const char *
do_lead(struct dbt_agent *agent)
{
	char why[80];

	if (agent->look.timeline != agent->promise.term) {
		snprintf(why, sizeof(why), "it is a primary of timeline %u in term %u", agent->look.timeline,
		    agent->promise.term);
		dbt__agent_trouble(agent, "leading", why);
		return do_stop(agent);
	}
	/* an upstream that a primary does not have cannot come back as a surprise later */
	if (agent->conf_upstream[0] != '\0' && !agent->piece.running)
		configure(agent, "", agent->draining);
	/* over many pieces, so looks come between them */
	if (!agent->marked)
		return look_is_due(agent) ? "marking" : piece(agent, PIECE_MARK, "marking");
	return drain(agent);
}

/* clang-format off */
static step_fn *const steps[DBT_STAGE_COUNT][SEEN_COUNT] = {
	/*                  NOTHING   TORN      DOWN                STARTING         FROZEN           PRIMARY  STANDBY */
	[DBT_EMPTY]     = { do_rest,  do_rest,  do_rest,            do_stop,         do_kill,         do_stop, do_stop },
	[DBT_FENCED]    = { do_lack,  do_lack,  do_start_fenced,    do_wait_or_stop, do_kill,         do_stop, do_fence },
	[DBT_FOLLOWING] = { do_clone, do_clone, do_start_following, do_wait_or_stop, do_kill_primary, do_stop, do_follow },
	[DBT_LEADING]   = { do_make,  do_lack,  do_start_leading,   do_wait,         do_rest,         do_lead, do_promote },
};
/* clang-format on */

/* ---- what comes back from pieces ---- */

/* New transactions are read-only since the first look that said so; two looks without writers are quiet. */
static void
watch_writers(struct dbt_agent *agent, const struct agent_look *look)
{
	bool counts = agent->draining && agent->conf_drained && look->read_only && !look->recovery;

	if (!counts) {
		agent->read_only_from = 0;
		agent->quiet = 0;
	} else if (agent->read_only_from == 0) {
		agent->read_only_from = look->clock;
	} else {
		agent->quiet = look->writers == 0 ? agent->quiet + 1 : 0;
	}
}

static void
take_look(struct dbt_agent *agent)
{
	struct agent_look *look = &agent->piece.look;

	if (!look->answered) {
		agent->late = agent->late || (agent->up && look->late);
		if (!agent->up && agent->piece.rc < 0 && w_now() - agent->pm.started > 5 * W_SEC)
			dbt__agent_trouble(agent, "postgres", agent->piece.why);
		return;
	}
	if (!look->judged)
		memcpy(look->broken, agent->look.broken, sizeof(look->broken));
	if (!agent->up || look->recovery != agent->look.recovery)
		w_log(W_INFO, "", "database-role", "is=%s timeline=%u", look->recovery ? "standby" : "primary",
		    look->timeline);
	if (!agent->up)
		dbt__agent_trouble(agent, NULL, NULL);
	if (look->receivers > 0 || look->lsn != agent->look.lsn || look->timeline != agent->look.timeline)
		agent->fenced = false;
	agent->look = *look;
	agent->seen_timeline = look->timeline;
	agent->up = true;
	agent->late = false;
	watch_writers(agent, look);
}

static void
end_look(struct dbt_agent *agent)
{
	take_look(agent);
}

/* How far it is is told before it is fenced: those that are not ahead may turn to it. */
static void
end_receive(struct dbt_agent *agent)
{
	take_look(agent);
	if (agent->piece.rc < 0)
		return;
	agent->first = 0;
	dbt__agent_tell(agent, true);
}

static void
end_fence(struct dbt_agent *agent)
{
	take_look(agent);
	agent->fenced = agent->piece.rc == W_OK;
	if (agent->fenced)
		dbt__agent_trouble(agent, NULL, NULL);
	else
		dbt__agent_trouble(agent, "fencing", agent->piece.why);
}

static void
end_promote(struct dbt_agent *agent)
{
	take_look(agent);
	agent->looked = w_now(); /* another one can wait until the marker is acknowledged */
	if (agent->piece.rc < 0)
		dbt__agent_trouble(agent, "promoting", agent->piece.why);
	else
		w_log(W_INFO, "", "promoted", "term=%u timeline=%u took_us=%lld", agent->promise.term,
		    agent->look.timeline, (long long)(w_now() - agent->piece.started));
}

/* A commit has its quorum in the new cohort: from now on that one counts alone. */
static void
settle(struct dbt_agent *agent)
{
	struct dbt_promise promise = agent->promise;
	struct w_fault fault = { 0 };

	if (!dbt__promise_settle(&promise) || dbt__agent_promise(agent, &promise, &fault) == W_OK)
		return;
	agent->marked = false;
	dbt__agent_trouble(agent, "promise", fault.text);
}

static void
end_mark(struct dbt_agent *agent)
{
	int rc = agent->piece.rc;

	agent->marked = rc == W_OK && agent->piece.term == agent->promise.term &&
	    agent->promise.stage == DBT_LEADING;
	if (agent->marked)
		settle(agent);
	if (agent->marked)
		dbt__agent_trouble(agent, NULL, NULL);
	else if (rc < 0 && rc != -W_ETIMEOUT)
		dbt__agent_trouble(agent, "marking", agent->piece.why);
}

static void
end_ask(struct dbt_agent *agent)
{
	const struct agent_piece *p = &agent->piece;

	if (agent->promise.stage != DBT_FOLLOWING || strcmp(p->upstream, agent->promise.upstream) != 0)
		return;
	if (p->rc < 0 || p->verdict == VERDICT_WAIT) {
		dbt__agent_trouble(agent, p->upstream, p->why);
		return;
	}
	/* who has begun to stream meanwhile needs nothing */
	if (agent->look.streaming && agent->rejoin == VERDICT_TURN)
		return;
	agent->rejoin = p->verdict;
	agent->unstreamed = w_now();
	if (p->verdict != VERDICT_TURN)
		w_log(W_INFO, "", "rejoining", "upstream=%s by=%s", p->upstream,
		    p->verdict == VERDICT_REWIND ? "rewind" : "clone");
}

static void
end_checkpoint(struct dbt_agent *agent)
{
	const struct agent_piece *p = &agent->piece;

	if (agent->promise.stage != DBT_FOLLOWING || agent->rejoin != VERDICT_REWIND || agent->pm.pid != 0 ||
	    strcmp(p->upstream, agent->promise.upstream) != 0)
		return;
	if (p->rc == W_OK) {
		dbt__agent_make(agent, MAKE_REWIND);
		return;
	}
	agent->ask_after = w_now() + ASK_EVERY;
	dbt__agent_trouble(agent, p->upstream, p->why);
	/* it answers, but does not let us */
	if (p->rc == -W_ESQL)
		agent->rejoin = VERDICT_CLONE;
}

static void (*const ends[PIECE_COUNT])(struct dbt_agent *agent) = {
	[PIECE_LOOK] = end_look,
	[PIECE_RECEIVE] = end_receive,
	[PIECE_FENCE] = end_fence,
	[PIECE_PROMOTE] = end_promote,
	[PIECE_MARK] = end_mark,
	[PIECE_ASK] = end_ask,
	[PIECE_CHECKPOINT] = end_checkpoint,
};

void
dbt__agent_piece_done(struct dbt_agent *agent)
{
	if (agent->node->state == W_DRAINING)
		return;
	/* of a PostgreSQL that is gone: nothing of it is true any more */
	if (agent->piece.pid == agent->pm.pid)
		ends[agent->piece.kind](agent);
	dbt__agent_turn(agent);
}

/* ---- the turn ---- */

static void
look_when_due(struct dbt_agent *agent)
{
	w_usec now = w_now();

	if (!look_is_due(agent))
		return;
	agent->looked = now;
	agent->piece.judge = now - agent->judged > JUDGE_EVERY;
	if (agent->piece.judge)
		agent->judged = now;
	agent->piece.read_only_from = agent->read_only_from;
	dbt__agent_piece_start(agent, PIECE_LOOK);
}

/* Nobody looks at the cluster file of before any more. */
static void
reload_when_idle(struct dbt_agent *agent)
{
	const struct w_node *node = agent->node;

	if (!agent->reload || agent->piece.running || agent->probing)
		return;
	agent->reload = false;
	agent->shown.members = node->cluster->members;
	agent->shown.member_count = node->cluster->member_count;
	agent->own.certificate = node->self->opt.database.certificate;
	agent->own.certificate_key = node->self->opt.database.certificate_key;
	(void)dbt_cohort_format(node->cluster, agent->configured);
	dbt__agent_reconfigure(agent);
}

void
dbt__agent_turn(void *arg)
{
	struct dbt_agent *agent = w_typed(arg, DBT_AGENT_MAGIC);

	if (agent->node->state == W_DRAINING)
		return;
	dbt__agent_soon(agent, is_hurried(agent) ? HURRY : TURN_EVERY);
	dbt__agent_watch(agent);
	reload_when_idle(agent);
	if (agent->unread != 0 && w_now() - agent->unread > UNREAD_MOST)
		dbt__agent_reload(agent);
	if (!agent->lost && agent->maker.recipe == NULL)
		agent->busy = steps[agent->promise.stage][see(agent)](agent);
	look_when_due(agent);
	dbt__agent_tell(agent, false);
}
