/*
 * Where the promoter works: the socket that database agents and operators dial, the promoter behind
 * it, and the journal of what it did.
 *
 *	agents     --status-->  [ROUTER] --> promoter --order--> [ROUTER] --> the agent
 *	operator   --command--> [ROUTER] --> promoter --answer-> [ROUTER] --> who asked
 *	reports of servers ----------------> promoter --move---> journal, log, feed
 *
 * 1. A message counts for whom its key belongs to, and for nobody else: a status for its node, a
 *    command for the operator.
 * 2. What came over a connection that is gone counts for nothing.
 * 3. Nothing waits: what an agent's queue does not take is lost, and repeated by the promoter.
 *
 * Threads: control. Source: docs/protocol/04-failover.md, sections 5 and 6
 */
#ifndef WEIR_MONITOR_PROMOTE_H
#define WEIR_MONITOR_PROMOTE_H

#include "common/node.h"
#include "dbtier/promoter.h"
#include "monitor/state.h"

#define MON_MOVES_MAX 200 /* of the journal */

enum mon_told { MON_TOLD_GOOD, MON_TOLD_GARBAGE, MON_TOLD_FORGED };

struct mon_promote_ops {
	/* A message came. user: of whose key it is, or NULL; text: what is wrong with it. */
	void (*told)(void *arg, enum mon_told how, const char *user, const char *text);
	void (*moved)(void *arg, const struct mon_moved *moved);
	/* The promoter may be at something else now. */
	void (*looked)(void *arg);
	void *arg;
};

struct mon_promote;

/* Bind `control` of the node's member. Errors: -W_EIO, -W_EINVAL; the fault says what is wrong. */
int mon_promote_open(struct w_node *node, const struct mon_promote_ops *ops,
    struct mon_promote **ret, struct w_fault *fault);
void mon_promote_close(struct mon_promote **promote);
/* Another cluster file. Errors: -W_EINVAL, and the one before stays in force. */
int mon_promote_reload(struct mon_promote *promote, const struct w_cluster *cluster,
    struct w_fault *fault);

/* A server's report says what it sees. */
void mon_promote_witness(struct mon_promote *promote, const struct mon_report *report);

/* All but established_at. */
void mon_promote_look(const struct mon_promote *promote, struct mon_failover *ret);
void mon_promote_agent(const struct mon_promote *promote, const char *node, struct mon_agent *ret);
/* The last status of an agent, NULL: none yet. */
const struct dbt_status *mon_promote_status(const struct mon_promote *promote, const char *node);
/* The journal, newest first; NULL when there are no more. At most MON_MOVES_MAX. */
const struct mon_moved *mon_promote_nth(const struct mon_promote *promote, unsigned index);
uint64_t mon_promote_sent(const struct mon_promote *promote, bool unsent); /* orders */

#endif
