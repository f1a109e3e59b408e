/*
 * The insides of the promoter.
 *
 *	promoter.c           what comes in, what the hosts look at
 *	promoter_cohort.c    who counts: places and cohorts, which is in force, when it may change
 *	promoter_evidence.c  what statuses and witnesses say: who leads, what speaks against it, who could win
 *	promoter_moves.c     the table of moves, the events that it is made of, and what each move does
 *	promoter_switch.c    switchovers: to whom, and what an operator is told
 *	promoter_orders.c    what each agent has to be told in each state, and how often
 *
 * Each input ends in dbt__promoter_run(): look, move as long as a row of the table applies, tell the agents.
 * Events and orders are derived from the statuses each time, so a lost message costs time and nothing else.
 */
#ifndef WEIR_DBTIER_PROMOTER_INNER_H
#define WEIR_DBTIER_PROMOTER_INNER_H

#include "dbtier/promise.h"
#include "dbtier/promoter.h"

#define DBT__FRESH W_SEC               /* a status counts for so long */
#define DBT__REPORT (1500 * W_MSEC)    /* a server's report does */
#define DBT__REPEAT (250 * W_MSEC)     /* an order is said again */
#define DBT__TURN (500 * W_MSEC)       /* each promoter waits so much longer than the one before it */
#define DBT__COLD (2 * W_SEC)          /* how long a promoter that has seen no leader waits for one */
#define DBT__ELECTION (3 * W_SEC)
#define DBT__WITNESSES 64

enum dbt__state {
	DBT__UNKNOWN,
	DBT__BOOTSTRAPPING,
	DBT__STEADY,
	DBT__SUSPECTING,
	DBT__STALLED,
	DBT__RESUMING,
	DBT__CASCADING,
	DBT__DRAINING,
	DBT__LEVELLING,
	DBT__PREPARING,
	DBT__PROMOTING,
	DBT__MARKING,
	DBT__WAITING,
	DBT__STATE_COUNT
};

/* What speaks against the leader: section 6.1. */
enum dbt__doubt {
	DBT__ENDED,
	DBT__FROZEN,
	DBT__HALF_FROZEN,
	DBT__LOST,
	DBT__CUT_OFF,
	DBT__NO_QUORUM,
	DBT__DOUBT_COUNT
};

/* What an agent was told last. kind is DBT_ORDER_COUNT when there is nothing to tell it. */
struct dbt__told {
	enum dbt_order_kind kind;
	int64_t id;
	uint32_t term;
	int upstream;
	uint32_t timeline;
	uint64_t lsn;
	int64_t stamp;
	uint32_t edition;
	bool joint;
	w_usec sent;
};

/* One database node. */
struct dbt__place {
	char name[DBT_NAME];
	bool listed;    /* in the cluster file; who is not is never heard of */
	bool initial;   /* what is empty becomes primary here */
	bool known;     /* a status has come since the start */
	bool connected;
	bool adopting;  /* it is being told to follow the leader */
	w_usec came;    /* its last status */
	w_usec outbid;  /* when another promoter has raised its term last */
	w_usec strayed; /* since when it should follow the leader, and does not; W_NEVER: it does */
	struct dbt_status status;
	struct dbt__told told, spread; /* an order of a move; a pause */
};

/* One cohort of an election. */
struct dbt__side {
	char text[DBT_COHORT];
	uint32_t members; /* bits: places */
	unsigned count, quorum, needed;
};

/* A switchover, a heal or a change of the cohort under way. target is -1 when there is none. */
struct dbt__errand {
	int target;
	bool heal;
	bool change;
	bool late;      /* the target did not get ready: any other one will do */
	bool again;     /* another one was ahead of the target, and leads for now */
	uint64_t lsn;   /* how far the target is to receive */
	uint32_t behind; /* bits: places that stream from the target, or are to, while its leader still leads */
	uint32_t turned; /* bits: places that have answered, and were told to follow the target before it is elected */
	uint32_t timeline; /* with reached: what the target had then, which none of them was ahead of */
	uint64_t reached;
	int64_t id;     /* of the command; 0: nobody waits for an answer */
};

struct dbt__pausing {
	int64_t id;     /* 0: nobody waits for an answer */
	w_usec asked;
};

struct dbt_promoter {
	struct dbt_promoter_config config; /* self and cluster are not used after new() */
	char self[DBT_NAME], id[DBT_PROMOTER];
	struct dbt__place places[DBT_NODES_MAX];
	unsigned count, listed; /* those of the cluster file come first */
	char configured[DBT_COHORT]; /* the cluster file's cohort */
	char base[DBT_COHORT];       /* the one in force */
	uint32_t base_edition;
	bool pending;                /* somebody has promised a change from it */
	struct dbt_cohort cohort;    /* of the election, or of one that began now */
	struct dbt__side sides[2];   /* of it: its own, the joint one */
	bool joint;                  /* there are two */
	struct dbt__side force;      /* the base */
	struct dbt__side wanted;     /* the configured one */
	struct dbt__side acting;     /* the leader's own */
	w_usec differs_since;        /* cluster files differ; W_NEVER: they do not */
	w_usec ready_since, change_after;
	char change[DBT_TEXT];       /* what a change waits for; "": nothing is to change */
	struct dbt_witness witnesses[DBT__WITNESSES];
	unsigned witness_count;

	enum dbt__state state;
	w_usec now, wake, started;
	w_usec since;      /* in this state */
	w_usec patience;   /* until then nothing is prepared unless a leader was seen */
	w_usec backoff;    /* end of waiting */
	w_usec heal_after;
	w_usec ahead;      /* since when an agent has promised more than the leader; W_NEVER: none has */
	uint32_t top;      /* the highest term or timeline that anybody has shown, or that was used here */
	uint32_t term;     /* of the election */
	char system[32];   /* of the cluster's data */

	int leader;        /* -1: none */
	uint32_t leader_term;
	int found;         /* the leader that was told of last */
	uint32_t found_term;
	bool leader_ran;   /* its PostgreSQL has been seen as primary of this term */
	w_usec ran_since;  /* it has been without a break; W_NEVER: it is not */
	bool resumed_in_vain;
	w_usec doubts[DBT__DOUBT_COUNT]; /* since when; W_NEVER: it does not hold */
	int avoid;         /* whose answer counts only when the others' are not enough; -1: nobody's */
	int winner;
	uint32_t won_timeline; /* with won_lsn: where the winner was when it was elected */
	uint64_t won_lsn;
	w_usec began;      /* the doubt or the command that the election goes back to */

	struct dbt__errand errand;
	struct dbt__pausing pausing;
	uint32_t cascaded_in;   /* the term in which this promoter has put followers behind another one */
	uint32_t drained_in;    /* the term in which this promoter has drained its leader */
	w_usec drained_since;   /* W_NEVER: it is not drained */
	bool paused;
	int64_t stamp;

	int64_t last_id;
	uint64_t random;
	uint64_t elections, switchovers, failures;
	w_usec last_gap;
	char why[DBT_TEXT], detail[DBT_TEXT];
	int about;         /* the place that a move is about; -1: the leader, if any */
};

/* ---- promoter_evidence.c. They look at p->now and note in p->wake when they want to look again ---- */

/* Is it that late? If not, look again then. */
bool dbt__past(struct dbt_promoter *p, w_usec at);
bool dbt__fresh(struct dbt_promoter *p, const struct dbt__place *place);
int dbt__place_find(const struct dbt_promoter *p, const char *name);
/* Who leads, what speaks against it and since when, what is paused: everything below rests on this. */
void dbt__observe(struct dbt_promoter *p);

/* The leader serves, as far as anybody can tell. */
bool dbt__leader_well(struct dbt_promoter *p);
/* Its agent says that its PostgreSQL is a running primary. */
bool dbt__leader_up(struct dbt_promoter *p);
/* The first doubt that holds, -1: none. ripe: that has held for its time. */
int dbt__doubt_of(struct dbt_promoter *p, bool ripe);
const char *dbt__doubt_text(int doubt);

/*
 * Who of the election's cohorts could answer a prepare with a position, but for the place except, as bits of
 * places. any: whether they count or not.
 */
uint32_t dbt__could_answer(struct dbt_promoter *p, int except);
uint32_t dbt__could_answer_any(struct dbt_promoter *p, int except);
/* Would an election have a winner: without the leader, and with it if need be? */
bool dbt__can_without(struct dbt_promoter *p);
bool dbt__can_with(struct dbt_promoter *p);
/*
 * Has it promised this election's term, and will its position not change? Or did it not change any more, until
 * it turned to the target, or does it stream from there: what it has got there since, the target has.
 */
bool dbt__answered(struct dbt_promoter *p, const struct dbt__place *place);
/* Have all but the target and the leader answered that can, or had their time? */
bool dbt__others_answered(struct dbt_promoter *p);
/* Is it fenced in this election's term, by this promoter's order? It may still be on its way. */
bool dbt__fenced(struct dbt_promoter *p, const struct dbt__place *place);
/* The winner, or -1 as long as there are not enough answers. */
int dbt__winner(struct dbt_promoter *p);
/* Who has answered, but for the place except. */
uint32_t dbt__answers(struct dbt_promoter *p, int except);
bool dbt__follows(const struct dbt_promoter *p, const struct dbt__place *place);
/* In the leader's term it is to follow that one, which is no leader, and streams from there. */
bool dbt__streams_behind(struct dbt_promoter *p, const struct dbt__place *place, int at);
/* Should it be told to follow the leader? */
bool dbt__astray(struct dbt_promoter *p, const struct dbt__place *place);
/* Somebody has promised more than term, known to be alive or not. -1: nobody has. */
int dbt__promised_above(const struct dbt_promoter *p, uint32_t term);
/* Section 6.2. */
const char *dbt__degraded(struct dbt_promoter *p);
bool dbt__spare(struct dbt_promoter *p);

/* ---- promoter_cohort.c ---- */

/* False: there was no room for all places that are needed. */
bool dbt__take_cluster(struct dbt_promoter *p, const struct w_cluster *cluster, const char *configured);
/* What is in force, and whether it may change. */
void dbt__observe_cohort(struct dbt_promoter *p);
/* The cohort of an election that begins now. */
void dbt__choose_cohort(struct dbt_promoter *p);
/* Are these enough for an election? */
bool dbt__enough(const struct dbt_promoter *p, uint32_t who);
/* How many of these count, and how many must, in the cohort that lacks most. */
void dbt__lacking(const struct dbt_promoter *p, uint32_t who, unsigned *ret_have, unsigned *ret_must);
/* Does its answer count; may it be elected? */
bool dbt__counts(const struct dbt_promoter *p, int at);
bool dbt__may_lead(const struct dbt_promoter *p, int at);
/* What the leader's term has for a cohort. */
const struct dbt_cohort *dbt__cohort_of_leader(const struct dbt_promoter *p);
/* Has it promised that one, or the same one as final? */
bool dbt__knows(const struct dbt__place *place, const struct dbt_cohort *cohort);
bool dbt__files_differ(struct dbt_promoter *p);
/* A change has been possible for its time; and is still, with that target. */
bool dbt__change_ready(struct dbt_promoter *p);
bool dbt__change_fits(const struct dbt_promoter *p, int target);
int dbt__change_target(struct dbt_promoter *p);

/* ---- promoter_moves.c ---- */

const char *dbt__state_name(enum dbt__state state);
void dbt__run_moves(struct dbt_promoter *p);
/* A term has been chosen, and its election is under way. */
bool dbt__electing(const struct dbt_promoter *p);
/* What was under way is left. */
void dbt__start_over(struct dbt_promoter *p);

/* ---- promoter_switch.c ---- */

/* NULL: it may become the leader. */
const char *dbt__target_unfit(struct dbt_promoter *p, int target);
/* NULL: it follows the leader, and all is well with it. */
const char *dbt__standby_unfit(struct dbt_promoter *p, int at);
/* Of those that may become the leader the one with most WAL; -1: nobody may. */
int dbt__furthest_target(struct dbt_promoter *p);
/*
 * Followers that commits can do without, as bits of places: they may stream from the target of a switchover
 * before the leader is drained, and so need no new connection when it is promoted.
 */
uint32_t dbt__spare_followers(struct dbt_promoter *p);
void dbt__switchover(struct dbt_promoter *p, const struct dbt_command *command);
/* Tell who gave the command *id how it ended, and forget it. 0: nobody waits. */
void dbt__answer(struct dbt_promoter *p, int64_t *id, bool failed, const char *text);

/* ---- promoter_orders.c ---- */

void dbt__run_orders(struct dbt_promoter *p);
/* Why it has refused the order that it was told last; NULL: it has not. */
const char *dbt__refusal(const struct dbt__place *place);

#endif
