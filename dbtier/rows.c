/*
 * Results: the values of all rows in one piece of memory, each with a NUL behind it, and a table of
 * where they are. Filled while they come, read by whoever asked.
 */
#include "dbtier/rows.h"

#define SPARES_MAX 64
#define KEPT ((size_t)16 * 1024) /* memory that spare rows keep */

/* Rows come and go with every request, so each thread keeps some. */
static _Thread_local struct dbt_rows *spares;
static _Thread_local unsigned spare_count;

struct dbt_rows *
dbt__rows_take(size_t limit)
{
	struct dbt_rows *rows = spares;

	if (rows != NULL) {
		spares = rows->next;
		spare_count--;
	} else {
		rows = w_xcalloc(1, sizeof(*rows));
	}
	rows->bytes.limit = limit;
	return rows;
}

static void
clear(struct w_buf *buf)
{
	if (buf->cap > KEPT)
		w_buf_fini(buf);
	w_buf_clear(buf);
}

void
dbt_rows_free(struct dbt_rows **rows)
{
	struct dbt_rows *old = w_steal(rows);
	struct w_buf bytes, cells;

	if (old == NULL)
		return;
	dbt__columns_drop(&old->columns);
	clear(&old->bytes);
	clear(&old->cells);
	bytes = old->bytes;
	cells = old->cells;
	*old = (struct dbt_rows){ .bytes = bytes, .cells = cells };
	if (spare_count >= SPARES_MAX) {
		w_buf_fini(&old->bytes);
		w_buf_fini(&old->cells);
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
		w_buf_fini(&rows->bytes);
		w_buf_fini(&rows->cells);
		free(rows);
	}
	spare_count = 0;
}

/* ---- filling ---- */

void
dbt__rows_value(struct dbt_rows *rows, struct w_view value)
{
	struct dbt__cell cell = { (uint32_t)rows->bytes.len,
		value.ptr != NULL ? (uint32_t)value.len : DBT__CELL_NULL };

	w_buf_add(&rows->cells, &cell, sizeof(cell));
	w_buf_view(&rows->bytes, value);
	w_buf_char(&rows->bytes, '\0');
}

int
dbt__rows_add(struct dbt_rows *rows, struct w_view body)
{
	struct w_view value;
	unsigned count;

	if (dbt__row_begin(&body, &count) < 0 || rows->columns == NULL ||
	    count != rows->columns->count)
		return -W_EPROTO;
	for (unsigned i = 0; i < count; i++) {
		if (dbt__row_value(&body, &value) < 0)
			return -W_EPROTO;
		dbt__rows_value(rows, value);
	}
	rows->count++;
	/* The table of cells counts, too: a million NULLs are not for free. */
	if (w_buf_broken(&rows->bytes) || w_buf_broken(&rows->cells) ||
	    rows->bytes.len + rows->cells.len > rows->bytes.limit)
		return -W_ETOOBIG;
	return W_OK;
}

/* "INSERT 0 5", "SELECT 3", "UPDATE 1", "COMMIT". */
void
dbt__rows_tag(struct dbt_rows *rows, struct w_view tag)
{
	size_t end = tag.len;

	tag = w_view_sub(tag, 0, w_view_find(tag, '\0'));
	end = tag.len;
	while (end > 0 && tag.ptr[end - 1] >= '0' && tag.ptr[end - 1] <= '9')
		end--;
	if (w_view_i64(w_view_sub(tag, end, SIZE_MAX), &rows->affected) < 0)
		rows->affected = 0;
	(void)w_view_copy(w_view_sub(tag, 0, W_MIN(tag.len, sizeof(rows->tag) - 1)), rows->tag,
	    sizeof(rows->tag));
}

void
dbt__rows_clear(struct dbt_rows *rows)
{
	w_buf_clear(&rows->bytes);
	w_buf_clear(&rows->cells);
	rows->count = 0;
}

/* ---- reading ---- */

int
dbt_rows_count(const struct dbt_rows *rows)
{
	return (int)rows->count;
}

int
dbt_rows_columns(const struct dbt_rows *rows)
{
	return rows->columns != NULL ? (int)rows->columns->count : 0;
}

static const struct dbt__column *
column_of(const struct dbt_rows *rows, int column)
{
	if (column < 0 || column >= dbt_rows_columns(rows))
		return NULL;
	return &rows->columns->column[column];
}

const char *
dbt_rows_name(const struct dbt_rows *rows, int column)
{
	const struct dbt__column *found = column_of(rows, column);

	return found != NULL ? found->name : NULL;
}

unsigned
dbt_rows_type(const struct dbt_rows *rows, int column)
{
	const struct dbt__column *found = column_of(rows, column);

	return found != NULL ? found->type : 0;
}

struct w_view
dbt_rows_get(const struct dbt_rows *rows, int row, int column)
{
	const struct dbt__cell *cell;

	if (row < 0 || row >= (int)rows->count || column_of(rows, column) == NULL)
		return (struct w_view){ 0 };
	cell = (const struct dbt__cell *)(const void *)rows->cells.ptr +
	    (size_t)row * rows->columns->count + (unsigned)column;
	if (cell->len == DBT__CELL_NULL)
		return (struct w_view){ 0 };
	return (struct w_view){ rows->bytes.ptr + cell->at, cell->len };
}

int64_t
dbt_rows_affected(const struct dbt_rows *rows)
{
	return rows->affected;
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

struct dbt_position
dbt_rows_position(const struct dbt_rows *rows)
{
	return rows->position;
}

bool
dbt_rows_replayed(const struct dbt_rows *rows)
{
	return rows->replayed;
}
