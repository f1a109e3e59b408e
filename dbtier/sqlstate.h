/* SQLSTATEs: what they mean for the caller. */
#ifndef WEIR_DBTIER_SQLSTATE_H
#define WEIR_DBTIER_SQLSTATE_H

#include <libpq-fe.h>

#include "dbtier/dbtier.h"

/* The error to return for a state of five characters; -W_ESQL for what is not listed. */
int dbt__sqlstate_error(const char *state);
/* The state of a result, "" when it is none of the server's. Never NULL. */
const char *dbt__sqlstate_of(const PGresult *result);
/* Copy state and message; error may be NULL, result too. */
void dbt__sql_error_set(struct dbt_sql_error *error, const PGresult *result);
/* The server ends the connection with this message. */
bool dbt__is_goodbye(const PGresult *result);
/* "cached plan must not change result type", whatever the server's language. */
bool dbt__is_stale_plan(const PGresult *result);
/* An error that a standby gives and the primary may not: so the read runs there once more. */
bool dbt__is_standby_only(const char *state);
/* The warning that a commit was not waited for, whatever the server's language. */
bool dbt__is_unreplicated(const PGresult *notice);

#endif
