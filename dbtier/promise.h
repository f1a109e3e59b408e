/*
 * An agent's promise: what it has agreed to, what an order means to it, and the file that keeps it.
 *
 * Invariants
 * 1. The term never goes down.
 * 2. dbt__promise_take() changes nothing when it refuses.
 * 3. What was kept is on disk, folder included, when dbt__promise_keep() returns W_OK.
 *
 * Source: docs/protocol/04-failover.md, sections 4 and 5.2
 */
#ifndef WEIR_DBTIER_PROMISE_H
#define WEIR_DBTIER_PROMISE_H

#include <sys/types.h>

#include "dbtier/control.h"

/* What the agent knows of its PostgreSQL that decides about an order. */
struct dbt__standing {
	bool running;  /* PostgreSQL runs, in whatever state */
	bool settled;  /* fenced, and its position will not change */
	bool has_data;
	uint32_t timeline; /* of the end of its WAL, which may be higher than the promised term; 0: no data */
};

/*
 * May this order be carried out? Then *promise becomes what has to be kept first. Pure.
 *
 * Errors   -W_EDENIED refused; why says so in a sentence
 */
int dbt__promise_take(struct dbt_promise *promise, const struct dbt_order *order,
    const struct dbt__standing *standing, char why[DBT_TEXT]);

/*
 * Who has promised this: may it be part of an election with that cohort? NULL: it may, else why not.
 * Section 8.1.
 */
const char *dbt__promise_covered(const struct dbt_promise *promise, const struct dbt_cohort *by);
/* The leader's marker was acknowledged: its cohort is final. False: it was before. */
bool dbt__promise_settle(struct dbt_promise *promise);

/*
 * The text of the file, and back; a file of an older version has no cohort. Errors: -W_EINVAL; the fault
 * names the line.
 */
void dbt__promise_format(const struct dbt_promise *promise, struct w_buf *out);
int dbt__promise_parse(struct w_view text, struct dbt_promise *ret, struct w_fault *fault);

/*
 * Errors   load: -W_ENOTFOUND there is no file, which is no error of the agent's; -W_EINVAL, -W_EIO
 *          keep: -W_EIO, and then nothing may be done that rests on it
 */
int dbt__promise_load(const char *path, struct dbt_promise *ret, struct w_fault *fault);
int dbt__promise_keep(const char *path, const struct dbt_promise *promise, struct w_fault *fault);

/* All of text. Errors: -W_EIO, errno says why. */
int dbt__write_all(int fd, struct w_view text);
/* A rename is for good when the folder of path is synced. Errors: -W_EIO, errno says why. */
int dbt__sync_folder(const char *path);

/* ---- timelines: section 3 ---- */

/*
 * Make a reserved history file for each timeline below term that has none, in DATA/pg_wal, owned by uid and gid.
 * Errors: -W_EIO
 */
int dbt__timelines_fill(const char *data, uint32_t term, uid_t uid, gid_t gid, struct w_fault *fault);
/* The highest timeline that has a real history file; 1 when none has. Errors: -W_EIO */
int dbt__timelines_highest(const char *data, uint32_t *ret, struct w_fault *fault);
/* Remove reserved files above the highest real one; fill gaps below it. Before PostgreSQL starts. */
int dbt__timelines_tidy(const char *data, uid_t uid, gid_t gid, struct w_fault *fault);

#endif
