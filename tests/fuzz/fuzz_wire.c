/* What a PostgreSQL server sends on a lane: messages, and what is in them. */
#include "dbtier/rows.h"
#include "dbtier/sqlstate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS_MOST 4096 /* bytes; over it rows are refused */

static void
try_said(struct w_view body)
{
	struct dbt__error error = { 0 };
	struct dbt__said said;

	if (dbt__said_parse(body, &said) < 0)
		return;
	dbt__error_keep(&said, &error);
	W_ASSERT(strlen(error.sqlstate) < sizeof(error.sqlstate));
	(void)dbt__is_stale_plan(&error);
	(void)dbt__is_unreplicated(&said);
}

static void
try_columns(struct w_view body, struct dbt_rows **rows)
{
	struct dbt__columns *columns = NULL;

	if (dbt__columns_parse(body, &columns) < 0)
		return;
	dbt_rows_free(rows);
	*rows = dbt__rows_take(ROWS_MOST);
	(*rows)->columns = columns;
	for (int i = 0; i < dbt_rows_columns(*rows); i++)
		W_ASSERT(dbt_rows_name(*rows, i) != NULL);
}

/* Every value that was taken can be read to its end. */
static void
try_row(struct w_view body, struct dbt_rows *rows)
{
	int row = dbt_rows_count(rows);

	if (dbt__rows_add(rows, body) < 0) {
		dbt__rows_clear(rows);
		return;
	}
	for (int i = 0; i < dbt_rows_columns(rows); i++) {
		struct w_view value = dbt_rows_get(rows, row, i);

		W_ASSERT(value.ptr == NULL || value.ptr[value.len] == '\0');
	}
}

static void
try_message(const struct dbt__message *message, struct dbt_rows **rows)
{
	struct w_view name, value;

	switch (message->type) {
	case 'E':
	case 'N':
		try_said(message->body);
		break;
	case 'T':
		try_columns(message->body, rows);
		break;
	case 'D':
		try_row(message->body, *rows);
		break;
	case 'C':
		dbt__rows_tag(*rows, message->body);
		break;
	case 'S':
		(void)dbt__setting_parse(message->body, &name, &value);
		break;
	default:
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct w_view rest = { (const char *)data, size };
	struct dbt_rows *rows = dbt__rows_take(ROWS_MOST);
	struct dbt__message message;

	while (dbt__message_parse(&rest, &message) > 0)
		try_message(&message, &rows);
	dbt_rows_free(&rows);
	dbt__rows_drain();
	return 0;
}
