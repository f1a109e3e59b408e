/* SQLSTATEs: what they mean for the caller. */
#ifndef WEIR_DBTIER_SQLSTATE_H
#define WEIR_DBTIER_SQLSTATE_H

#include <libpq-fe.h>

#include "dbtier/dbtier.h"
#include "dbtier/wire.h"

/* The error to return for a state of five characters; -W_ESQL for what is not listed. */
int dbt__sqlstate_error(const char *state);
/* What the server said, kept. */
struct dbt__error {
	char sqlstate[6];
	bool goodbye; /* the server ends the connection with this */
	char routine[40];
	char message[256];
};
void dbt__error_keep(const struct dbt__said *said, struct dbt__error *ret);
/* Copy state and message; both may be NULL. */
void dbt__sql_error_set(struct dbt_sql_error *to, const struct dbt__error *error);
/* "cached plan must not change result type", whatever the server's language. */
bool dbt__is_stale_plan(const struct dbt__error *error);

/* Of results of libpq's: the state, "" when it is none of the server's; is it a goodbye? */
const char *dbt__sqlstate_of(const PGresult *result);
bool dbt__is_goodbye(const PGresult *result);

/* The node's disk is full. */
bool dbt__is_no_room(const char *state);
/* An error that a standby gives and the primary may not: so the read runs there once more. */
bool dbt__is_standby_only(const char *state);
/* The warning that a commit was not waited for, whatever the server's language. */
bool dbt__is_unreplicated(const struct dbt__said *notice);

#endif
