/* Results from the inside. See rows.c. */
#ifndef WEIR_DBTIER_ROWS_H
#define WEIR_DBTIER_ROWS_H

#include "dbtier/dbtier.h"
#include "dbtier/wire.h"

#define DBT__CELL_NULL UINT32_MAX

struct dbt__cell {
	uint32_t at, len;
};

struct dbt_rows {
	struct dbt__columns *columns; /* NULL: the statement returns no rows */
	struct w_buf bytes, cells;
	unsigned count;
	char tag[32]; /* the command's */
	int64_t affected;
	const char *node;
	enum dbt_role role;
	w_usec time;
	struct dbt_position position;
	bool replayed;
	struct dbt_rows *next; /* while spare */
};

/* Empty ones, to be freed with dbt_rows_free(). limit: bytes that they may hold. */
struct dbt_rows *dbt__rows_take(size_t limit);
/* Add a DataRow of the columns. Errors: -W_EPROTO; -W_ETOOBIG over the limit. */
int dbt__rows_add(struct dbt_rows *rows, struct w_view body);
/* Add one value; after the last of a row count it in rows->count. */
void dbt__rows_value(struct dbt_rows *rows, struct w_view value);
void dbt__rows_tag(struct dbt_rows *rows, struct w_view tag);
void dbt__rows_clear(struct dbt_rows *rows); /* no rows any more; columns stay */
void dbt__rows_drain(void); /* this thread's spare ones */

#endif
