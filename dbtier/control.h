/*
 * What database agents and promoters say to each other: one JSON object a message.
 *
 * Pure: no I/O. The sockets are those of agent_control.c and of the monitor.
 * Source: docs/protocol/04-failover.md, section 5
 */
#ifndef WEIR_DBTIER_CONTROL_H
#define WEIR_DBTIER_CONTROL_H

#include "common/buf.h"
#include "common/cluster.h"
#include "common/error.h"
#include "dbtier/dbtier.h"

#define DBT_CONTROL_MAX ((size_t)64 << 10) /* bytes of a message */
#define DBT_NAME 64                        /* of a node, NUL included */
#define DBT_PROMOTER 96                    /* NAME/EPOCH, NUL included */
#define DBT_COHORT 2048                    /* names of a cohort and its quorum, NUL included */
#define DBT_TEXT 256                       /* for people */

enum dbt_stage { DBT_EMPTY, DBT_FENCED, DBT_FOLLOWING, DBT_LEADING, DBT_STAGE_COUNT };
const char *dbt_stage_name(enum dbt_stage stage); /* "empty", ... */

/* Who counts in a term; section 8.1. A zeroed one is that of an agent that never agreed to anything. */
struct dbt_cohort {
	char names[DBT_COHORT]; /* "db-1,db-2,db-3/1" */
	char joint[DBT_COHORT]; /* the one before, until the change is known to be established; "": it is final */
	uint32_t edition;       /* changes that led to it */
};

/* The meaning of a cohort's text. */
struct dbt_members {
	unsigned count, quorum;
	char names[DBT_NODES_MAX][DBT_NAME];
};

/* What an agent has agreed to; section 4. A zeroed one is that of an agent that never agreed to anything. */
struct dbt_promise {
	uint32_t term;
	char promoter[DBT_PROMOTER];
	enum dbt_stage stage;
	char upstream[DBT_NAME];
	struct dbt_cohort cohort;
	bool made;
	bool paused;
	int64_t stamp; /* microseconds since 1970 */
};

enum dbt_postgres { DBT_PG_NONE, DBT_PG_STARTING, DBT_PG_UP, DBT_PG_FROZEN, DBT_PG_COUNT };
const char *dbt_postgres_name(enum dbt_postgres postgres); /* "none", ... */

struct dbt_status {
	char node[DBT_NAME];
	int64_t epoch, seq;
	char configured[DBT_COHORT]; /* the cluster file's cohort */
	struct dbt_promise promise;
	int64_t order; /* id */
	char refused[DBT_TEXT], busy[DBT_NAME], trouble[DBT_TEXT], ended[DBT_TEXT], broken[DBT_TEXT]; /* "": null */
	enum dbt_postgres postgres;
	char system[32];
	bool recovery, settled, streaming, drained, marked;
	uint32_t timeline;
	uint64_t lsn;
	int64_t heard_ms; /* -1: never */
	unsigned attached;
};

enum dbt_order_kind {
	DBT_INIT, DBT_PREPARE, DBT_FOLLOW, DBT_PROMOTE, DBT_RESUME, DBT_DRAIN, DBT_UNDRAIN, DBT_PAUSE,
	DBT_ORDER_COUNT
};
const char *dbt_order_name(enum dbt_order_kind kind); /* "init", ... */

struct dbt_order {
	enum dbt_order_kind kind;
	int64_t id;
	uint32_t term;
	char promoter[DBT_PROMOTER];
	struct dbt_cohort cohort;
	char upstream[DBT_NAME];
	uint32_t timeline; /* follow: with lsn, where the upstream was when it was elected; 0: not told */
	uint64_t lsn;
	bool paused;
	int64_t stamp;
};

enum dbt_command_kind { DBT_SWITCHOVER, DBT_CMD_PAUSE, DBT_CMD_RESUME, DBT_COMMAND_COUNT };

struct dbt_command {
	enum dbt_command_kind kind;
	char node[DBT_NAME]; /* "": none named */
	int64_t id;
};

struct dbt_answer {
	int64_t id;
	bool done, failed;
	char text[DBT_TEXT];
};

/* Append a message to out. */
void dbt_status_format(const struct dbt_status *status, struct w_buf *out);
void dbt_order_format(const struct dbt_order *order, struct w_buf *out);
void dbt_command_format(const struct dbt_command *command, struct w_buf *out);
void dbt_answer_format(const struct dbt_answer *answer, struct w_buf *out);

/*
 * Errors   -W_EINVAL no such message: a member is missing, of another type, out of range, or too
 *          long; -W_EJSON; -W_ETOOBIG; -W_EVERSION. *ret is untouched on failure; the fault says what
 */
int dbt_status_parse(struct w_view json, struct dbt_status *ret, struct w_fault *fault);
int dbt_order_parse(struct w_view json, struct dbt_order *ret, struct w_fault *fault);
int dbt_command_parse(struct w_view json, struct dbt_command *ret, struct w_fault *fault);
int dbt_answer_parse(struct w_view json, struct dbt_answer *ret, struct w_fault *fault);
/* The member "type" of a message: "status", "order", "command", "answer"; empty when there is none. */
void dbt_control_type(struct w_view json, char ret[16]);

/* The cohort of a cluster file as messages write it. Errors: -W_ETOOBIG */
int dbt_cohort_format(const struct w_cluster *cluster, char ret[DBT_COHORT]);
/* Errors: -W_EINVAL no cohort, or one whose quorum its nodes could not make; -W_ETOOBIG too many nodes */
int dbt_cohort_parse(const char *text, struct dbt_members *ret);
/* How many of its members must answer in an election; section 6. */
unsigned dbt_members_needed(const struct dbt_members *members);
/* The cohort that the change began from, and without a change the cohort itself. */
const char *dbt_cohort_base(const struct dbt_cohort *cohort);
uint32_t dbt_cohort_base_edition(const struct dbt_cohort *cohort);

#endif
