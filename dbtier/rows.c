/* Results: a view on a PGresult, and where it came from. */
#include <libpq-fe.h>

#include "dbtier/worker.h"

#define SPARES_MAX 64

struct dbt_rows {
	PGresult *result;
	const char *node;
	enum dbt_role role;
	w_usec time;
	struct dbt_rows *next; /* while spare */
};

/* Rows come and go with every request, so each thread keeps some. */
static _Thread_local struct dbt_rows *spares;
static _Thread_local unsigned spare_count;

struct dbt_rows *
dbt__rows_make(const struct dbt__job *job)
{
	struct dbt_rows *rows = spares;

	if (rows != NULL) {
		spares = rows->next;
		spare_count--;
	} else {
		rows = w_xcalloc(1, sizeof(*rows));
	}
	rows->result = job->result;
	rows->node = job->node_name;
	rows->role = job->role;
	rows->time = job->took;
	return rows;
}

void
dbt_rows_free(struct dbt_rows **rows)
{
	struct dbt_rows *old = w_steal(rows);

	if (old == NULL)
		return;
	PQclear(old->result);
	if (spare_count >= SPARES_MAX) {
		free(old);
		return;
	}
	old->next = spares;
	spares = old;
	spare_count++;
}

void
dbt__rows_drain(void)
{
	while (spares != NULL) {
		struct dbt_rows *rows = spares;

		spares = rows->next;
		free(rows);
	}
	spare_count = 0;
}

int
dbt_rows_count(const struct dbt_rows *rows)
{
	return PQntuples(rows->result);
}

int
dbt_rows_columns(const struct dbt_rows *rows)
{
	return PQnfields(rows->result);
}

const char *
dbt_rows_name(const struct dbt_rows *rows, int column)
{
	return PQfname(rows->result, column);
}

unsigned
dbt_rows_type(const struct dbt_rows *rows, int column)
{
	return PQftype(rows->result, column);
}

struct w_view
dbt_rows_get(const struct dbt_rows *rows, int row, int column)
{
	if (row < 0 || row >= PQntuples(rows->result) || column < 0 ||
	    column >= PQnfields(rows->result) || PQgetisnull(rows->result, row, column))
		return (struct w_view){ 0 };
	return (struct w_view){ PQgetvalue(rows->result, row, column),
		(size_t)PQgetlength(rows->result, row, column) };
}

int64_t
dbt_rows_affected(const struct dbt_rows *rows)
{
	int64_t count;

	if (w_view_i64(w_view_of(PQcmdTuples(rows->result)), &count) < 0)
		return 0;
	return count;
}

const char *
dbt_rows_node(const struct dbt_rows *rows)
{
	return rows->node;
}

enum dbt_role
dbt_rows_role(const struct dbt_rows *rows)
{
	return rows->role;
}

w_usec
dbt_rows_time(const struct dbt_rows *rows)
{
	return rows->time;
}
