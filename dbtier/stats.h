/* The metrics of the database tier. */
#ifndef WEIR_DBTIER_STATS_H
#define WEIR_DBTIER_STATS_H

#include "common/metrics.h"
#include "dbtier/dbtier.h"

/* clang-format off */
#define DBT_METRICS(X)                                                                            \
	X(DBT_READS_OK, COUNTER, "weir_db_queries_total", "intent=\"read\",outcome=\"ok\"",       \
	    "Statements by intent and outcome.")                                                  \
	X(DBT_READS_FAILED, COUNTER, "weir_db_queries_total", "intent=\"read\",outcome=\"error\"", \
	    "Statements by intent and outcome.")                                                  \
	X(DBT_WRITES_OK, COUNTER, "weir_db_queries_total", "intent=\"write\",outcome=\"ok\"",     \
	    "Statements by intent and outcome.")                                                  \
	X(DBT_WRITES_FAILED, COUNTER, "weir_db_queries_total", "intent=\"write\",outcome=\"error\"", \
	    "Statements by intent and outcome.")                                                  \
	X(DBT_READ_TIME, HISTOGRAM, "weir_db_query_duration_seconds", "intent=\"read\"",          \
	    "Time from the call to its result.")                                                  \
	X(DBT_WRITE_TIME, HISTOGRAM, "weir_db_query_duration_seconds", "intent=\"write\"",        \
	    "Time from the call to its result.")                                                  \
	X(DBT_WAIT_TIME, HISTOGRAM, "weir_db_wait_seconds", "",                                   \
	    "Time that statements waited for a lane, of those that had to.")                      \
	X(DBT_CHOSE_REPLICA, COUNTER, "weir_db_choices_total", "to=\"replica\",reason=\"fit\"",     \
	    "Which kind of node reads were given to, and why.")                                   \
	X(DBT_CHOSE_FRESH, COUNTER, "weir_db_choices_total", "to=\"replica\",reason=\"position_known\"", \
	    "Which kind of node reads were given to, and why.")                                   \
	X(DBT_CHOSE_GUARD, COUNTER, "weir_db_choices_total", "to=\"replica\",reason=\"position_asked\"", \
	    "Which kind of node reads were given to, and why.")                                   \
	X(DBT_CHOSE_POSITION, COUNTER, "weir_db_choices_total", "to=\"primary\",reason=\"position\"", \
	    "Which kind of node reads were given to, and why.")                                   \
	X(DBT_CHOSE_CONFLICT, COUNTER, "weir_db_choices_total", "to=\"primary\",reason=\"replica_failed\"", \
	    "Which kind of node reads were given to, and why.")                                   \
	X(DBT_CHOSE_ALONE, COUNTER, "weir_db_choices_total", "to=\"primary\",reason=\"no_replica\"", \
	    "Which kind of node reads were given to, and why.")                                   \
	X(DBT_EXPIRED, COUNTER, "weir_db_replies_expired_total", "",                              \
	    "Keys of exactly-once writes that were removed after reply_ttl.")                     \
	X(DBT_QUEUED, GAUGE, "weir_db_queue_length", "", "Statements waiting for a lane.")        \
	X(DBT_IN_FLIGHT, GAUGE, "weir_db_in_flight", "", "Statements sent and not answered.")     \
	X(DBT_LANES_READ, GAUGE, "weir_db_lanes", "kind=\"read\"", "Open connections.")           \
	X(DBT_LANES_SLOW, GAUGE, "weir_db_lanes", "kind=\"slow\"", "Open connections.")           \
	X(DBT_LANES_WRITE, GAUGE, "weir_db_lanes", "kind=\"write\"", "Open connections.")         \
	X(DBT_LANES_LEAVING, GAUGE, "weir_db_lanes_leaving", "",                                  \
	    "Of the open connections, those to removed nodes, which end when they have nothing to do.") \
	X(DBT_OPENED, COUNTER, "weir_db_lanes_opened_total", "", "Connections opened.")           \
	X(DBT_LOST, COUNTER, "weir_db_lanes_lost_total", "", "Open connections lost.")            \
	X(DBT_DIALS_FAILED, COUNTER, "weir_db_dials_failed_total", "",                            \
	    "Connections that could not be opened.")                                              \
	X(DBT_RETRIES, COUNTER, "weir_db_retries_total", "",                                      \
	    "Statements run again after a lost connection, a recovery conflict or a demotion.")   \
	X(DBT_MOVED, COUNTER, "weir_db_moved_total", "",                                          \
	    "Reads moved to another lane, since a slow one was ahead of them.")                   \
	X(DBT_PREPARED, COUNTER, "weir_db_prepared_total", "", "Statements prepared.")            \
	X(DBT_REPREPARED, COUNTER, "weir_db_reprepared_total", "",                                \
	    "Statements prepared again, since the connection had forgotten them.")                \
	X(DBT_HELD, COUNTER, "weir_db_held_total", "",                                            \
	    "Statements that had to wait because no node was fit for them.")                      \
	X(DBT_TIMEOUTS, COUNTER, "weir_db_timeouts_total", "", "Statements over their deadline.") \
	X(DBT_IN_DOUBT, COUNTER, "weir_db_in_doubt_total", "", "Writes whose outcome is unknown.") \
	X(DBT_CANCELS, COUNTER, "weir_db_cancels_total", "", "Reads that the server was asked to end.") \
	X(DBT_GUARDS_FAILED, COUNTER, "weir_db_guards_failed_total", "",                          \
	    "Reads that went to the primary, since the replica that was asked was not far enough.") \
	X(DBT_POSITIONS_ASKED, COUNTER, "weir_db_positions_total", "",                            \
	    "Times that the primary was asked where its log stands.")                             \
	X(DBT_POSITIONS_MISSED, COUNTER, "weir_db_positions_missed_total", "",                    \
	    "Times that it gave no answer in time; the client's reads go to the primary then.")   \
	X(DBT_GROUPS, COUNTER, "weir_db_groups_total", "",                                        \
	    "Transactions that writes of several requests shared.")                               \
	X(DBT_GROUPED, COUNTER, "weir_db_grouped_total", "", "Writes in those.")                  \
	X(DBT_GROUPS_FAILED, COUNTER, "weir_db_groups_failed_total", "",                          \
	    "Of those transactions, the ones that were rolled back, and their writes run one by one.") \
	X(DBT_GROUP_WRITES, GAUGE, "weir_db_group_writes", "",                                    \
	    "Writes that such a transaction may have now, all workers together: group_writes each, fewer while they fail.") \
	X(DBT_REPLAYS, COUNTER, "weir_db_replays_total", "",                                      \
	    "Writes that had been done before, answered with what they returned then.")           \
	X(DBT_DOUBTS_RESOLVED, COUNTER, "weir_db_doubts_resolved_total", "",                      \
	    "Exactly-once writes that were in doubt and were sent again with their key.")         \
	X(DBT_REFUSED, COUNTER, "weir_db_refused_total", "", "Statements refused, queue full.")   \
	X(DBT_TOO_BIG, COUNTER, "weir_db_too_big_total", "", "Results over max_rows_bytes.")

/* One per database node, named when the node comes; the last one is for the rest. */
#define DBT_NODE_METRICS(X)                                                                       \
	X(DBT_NODE_QUERIES, COUNTER, "weir_db_node_queries_total", "", "Statements answered, by node.") \
	X(DBT_NODE_ROLE, GAUGE_MAX, "weir_db_node_role", "",                                      \
	    "What this process sees a node as: 0 unknown, 1 down, 2 primary, 3 replica.")         \
	X(DBT_NODE_FIT, GAUGE_MAX, "weir_db_node_fit", "", "1 when the node may serve.")          \
	X(DBT_NODE_GATED, GAUGE_MAX, "weir_db_node_gated", "",                                    \
	    "1 while a primary that came back waits for its standbys to have what it has.")       \
	X(DBT_NODE_LAG, GAUGE_MAX, "weir_db_node_lag_bytes", "",                                  \
	    "Bytes of WAL that a replica has not replayed.")                                      \
	X(DBT_NODE_SILENT, GAUGE_MAX, "weir_db_node_silent_seconds", "",                          \
	    "Whole seconds since a node answered a probe.")
/* clang-format on */

/* One per statement, named when it is seen first; the last one is for the rest. */
#define DBT_STATEMENTS_MAX 128

enum dbt__metric { DBT_METRICS(W_METRIC_ENUM) DBT_METRIC_COUNT };
enum dbt__node_metric { DBT_NODE_METRICS(W_METRIC_ENUM) DBT_NODE_METRIC_COUNT };

/* As many nodes as there may be at once, by their names; one that comes back has its own again. */
#define DBT_NODE_NAMES_MAX (DBT_NODES_MAX + 1)

/* Id of the first of a node metric, and of the statements' metrics, relative to the base from dbt_metrics(). */
static inline unsigned
dbt__node_metric(enum dbt__node_metric metric)
{
	return (unsigned)DBT_METRIC_COUNT + (unsigned)metric * DBT_NODE_NAMES_MAX;
}

static inline unsigned
dbt__statement_metric(void)
{
	return dbt__node_metric(DBT_NODE_METRIC_COUNT);
}

/* Id of a node's metric. Any thread; not for every statement. */
static inline unsigned
dbt__node_named(struct w_meter *meter, unsigned base, enum dbt__node_metric metric, const char *name)
{
	return w_meter_named(meter, base + dbt__node_metric(metric), DBT_NODE_NAMES_MAX, "database",
	    name);
}

#endif
