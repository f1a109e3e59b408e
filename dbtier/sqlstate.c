/*
 * SQLSTATEs to errors.
 * Source: PostgreSQL, appendix A
 */
#include "dbtier/sqlstate.h"

#include <stdio.h>

/* The first prefix that fits counts. */
static const struct {
	const char *prefix;
	int err;
} states[] = {
	{ "08", W_ELOST },      /* connection exceptions, of foreign servers too */
	{ "22", W_EINVAL },     /* data exceptions */
	{ "23", W_ECONFLICT },  /* constraint violations */
	{ "40001", W_ESERIAL }, /* serialization failure */
	{ "40P01", W_ESERIAL }, /* deadlock detected */
	{ "53300", W_EBUSY },   /* too many connections */
	{ "55P03", W_EBUSY },   /* lock not available */
	{ "57014", W_ETIMEOUT }, /* query canceled: statement_timeout */
	{ "57P01", W_ELOST },   /* admin shutdown */
	{ "57P02", W_ELOST },   /* crash shutdown */
	{ "57P03", W_EDOWN },   /* cannot connect now */
	{ "57P05", W_ELOST },   /* idle session timeout */
};

int
dbt__sqlstate_error(const char *state)
{
	for (unsigned i = 0; i < W_NELEM(states); i++) {
		if (strncmp(state, states[i].prefix, strlen(states[i].prefix)) == 0)
			return -states[i].err;
	}
	return -W_ESQL;
}

static const char *
field(const PGresult *result, int code)
{
	const char *text = result != NULL ? PQresultErrorField(result, code) : NULL;

	return text != NULL ? text : "";
}

const char *
dbt__sqlstate_of(const PGresult *result)
{
	return field(result, PG_DIAG_SQLSTATE);
}

bool
dbt__is_goodbye(const PGresult *result)
{
	return strcmp(field(result, PG_DIAG_SEVERITY_NONLOCALIZED), "FATAL") == 0;
}

/* As much of it as there is room for. */
static void
keep(struct w_view text, char *to, size_t size)
{
	(void)w_view_copy(w_view_sub(text, 0, size - 1), to, size);
}

void
dbt__error_keep(const struct dbt__said *said, struct dbt__error *ret)
{
	ret->goodbye = w_view_eq(said->severity, W_VIEW("FATAL")) ||
	    w_view_eq(said->severity, W_VIEW("PANIC"));
	keep(said->sqlstate, ret->sqlstate, sizeof(ret->sqlstate));
	keep(said->routine, ret->routine, sizeof(ret->routine));
	keep(said->message, ret->message, sizeof(ret->message));
}

void
dbt__sql_error_set(struct dbt_sql_error *to, const struct dbt__error *error)
{
	if (to == NULL || error == NULL)
		return;
	memcpy(to->sqlstate, error->sqlstate, sizeof(to->sqlstate));
	memcpy(to->message, error->message, sizeof(to->message));
}

bool
dbt__is_stale_plan(const struct dbt__error *error)
{
	return strcmp(error->sqlstate, "0A000") == 0 &&
	    strcmp(error->routine, "RevalidateCachedQuery") == 0;
}

bool
dbt__is_no_room(const char *state)
{
	return strcmp(state, "53100") == 0;
}

bool
dbt__is_standby_only(const char *state)
{
	static const char *const prefixes[] = {
		"40",    /* conflict with recovery */
		"42P01", /* no such table, column, function, schema: it may not have replayed */
		"42703", /* their making yet */
		"42883",
		"3F000",
	};

	for (unsigned i = 0; i < W_NELEM(prefixes); i++)
		if (strncmp(state, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

bool
dbt__is_unreplicated(const struct dbt__said *notice)
{
	return w_view_eq(notice->routine, W_VIEW("SyncRepWaitForLSN"));
}
