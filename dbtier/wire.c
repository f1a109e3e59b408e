/* PostgreSQL's messages to and from memory. See wire.h. */
#include "dbtier/wire.h"

#include <arpa/inet.h>

/* ---- formatting ---- */

static void
put_u16(struct w_buf *out, unsigned value)
{
	uint16_t bytes = htons((uint16_t)value);

	w_buf_add(out, &bytes, sizeof(bytes));
}

static void
put_u32(struct w_buf *out, uint32_t value)
{
	uint32_t bytes = htonl(value);

	w_buf_add(out, &bytes, sizeof(bytes));
}

static void
put_cstring(struct w_buf *out, const char *text)
{
	w_buf_add(out, text, strlen(text) + 1);
}

/* The length counts itself, but not the type. */
static void
put_header(struct w_buf *out, char type, size_t body)
{
	w_buf_char(out, type);
	put_u32(out, (uint32_t)(body + 4));
}

void
dbt__put_parse(struct w_buf *out, const char *name, const char *sql)
{
	put_header(out, 'P', strlen(name) + 1 + strlen(sql) + 1 + 2);
	put_cstring(out, name);
	put_cstring(out, sql);
	put_u16(out, 0); /* the server finds the types */
}

void
dbt__put_describe(struct w_buf *out, const char *name)
{
	put_header(out, 'D', 1 + strlen(name) + 1);
	w_buf_char(out, 'S');
	put_cstring(out, name);
}

void
dbt__put_bind(struct w_buf *out, const char *name, const struct w_view *params, unsigned count)
{
	size_t body = 1 + strlen(name) + 1 + 2 + 2 + 2;

	for (unsigned i = 0; i < count; i++)
		body += 4 + (params[i].ptr != NULL ? params[i].len : 0);
	put_header(out, 'B', body);
	w_buf_char(out, '\0'); /* the unnamed portal */
	put_cstring(out, name);
	put_u16(out, 0); /* all parameters are text */
	put_u16(out, count);
	for (unsigned i = 0; i < count; i++) {
		put_u32(out, params[i].ptr != NULL ? (uint32_t)params[i].len : UINT32_MAX);
		if (params[i].ptr != NULL)
			w_buf_view(out, params[i]);
	}
	put_u16(out, 0); /* and so are all columns */
}

void
dbt__put_execute(struct w_buf *out, unsigned most_rows)
{
	put_header(out, 'E', 1 + 4);
	w_buf_char(out, '\0');
	put_u32(out, most_rows);
}

void
dbt__put_sync(struct w_buf *out)
{
	put_header(out, 'S', 0);
}

void
dbt__put_flush(struct w_buf *out)
{
	put_header(out, 'H', 0);
}

/* ---- parsing ---- */

static int
take_u16(struct w_view *rest, unsigned *ret)
{
	uint16_t bytes;

	if (rest->len < sizeof(bytes))
		return -W_EPROTO;
	memcpy(&bytes, rest->ptr, sizeof(bytes));
	*ret = ntohs(bytes);
	*rest = w_view_sub(*rest, sizeof(bytes), SIZE_MAX);
	return W_OK;
}

static int
take_u32(struct w_view *rest, uint32_t *ret)
{
	uint32_t bytes;

	if (rest->len < sizeof(bytes))
		return -W_EPROTO;
	memcpy(&bytes, rest->ptr, sizeof(bytes));
	*ret = ntohl(bytes);
	*rest = w_view_sub(*rest, sizeof(bytes), SIZE_MAX);
	return W_OK;
}

static int
take_cstring(struct w_view *rest, struct w_view *ret)
{
	size_t len = w_view_find(*rest, '\0');

	if (len == rest->len)
		return -W_EPROTO;
	*ret = w_view_sub(*rest, 0, len);
	*rest = w_view_sub(*rest, len + 1, SIZE_MAX);
	return W_OK;
}

int
dbt__message_parse(struct w_view *rest, struct dbt__message *ret)
{
	struct w_view at;
	uint32_t len = 0;

	if (rest->len < DBT__MESSAGE_HEADER)
		return 0;
	at = w_view_sub(*rest, 1, SIZE_MAX);
	(void)take_u32(&at, &len);
	if (len < 4 || len > DBT__MESSAGE_MAX)
		return -W_EPROTO;
	if (at.len < len - 4)
		return 0;
	ret->type = rest->ptr[0];
	ret->body = w_view_sub(at, 0, len - 4);
	*rest = w_view_sub(at, len - 4, SIZE_MAX);
	return 1;
}

size_t
dbt__message_size(struct w_view rest)
{
	struct w_view at = w_view_sub(rest, 1, SIZE_MAX);
	uint32_t len = 0;

	return take_u32(&at, &len) < 0 ? 0 : (size_t)len + 1;
}

int
dbt__said_parse(struct w_view body, struct dbt__said *ret)
{
	struct dbt__said said = { 0 };
	struct w_view value;
	char code;

	while (body.len > 0 && body.ptr[0] != '\0') {
		code = body.ptr[0];
		body = w_view_sub(body, 1, SIZE_MAX);
		if (take_cstring(&body, &value) < 0)
			return -W_EPROTO;
		switch (code) {
		case 'V': said.severity = value; break;
		case 'C': said.sqlstate = value; break;
		case 'M': said.message = value; break;
		case 'R': said.routine = value; break;
		default: break;
		}
	}
	*ret = said;
	return W_OK;
}

/* Name, table's OID, its column, type's OID, size, modifier, format. */
static int
take_column(struct w_view *rest, struct w_view *ret_name, unsigned *ret_type)
{
	uint32_t type, ignored;
	unsigned small;

	if (take_cstring(rest, ret_name) < 0 || take_u32(rest, &ignored) < 0 ||
	    take_u16(rest, &small) < 0 || take_u32(rest, &type) < 0 ||
	    take_u16(rest, &small) < 0 || take_u32(rest, &ignored) < 0 ||
	    take_u16(rest, &small) < 0)
		return -W_EPROTO;
	*ret_type = type;
	return W_OK;
}

int
dbt__columns_parse(struct w_view body, struct dbt__columns **ret)
{
	struct dbt__columns *columns;
	struct w_view name;
	unsigned count;
	char *names;

	if (take_u16(&body, &count) < 0)
		return -W_EPROTO;
	/* All names together are shorter than the message. */
	columns = w_xcalloc(1, sizeof(*columns) + count * sizeof(columns->column[0]) + body.len + 1);
	names = (char *)&columns->column[count];
	columns->refs = 1;
	columns->count = count;
	for (unsigned i = 0; i < count; i++) {
		if (take_column(&body, &name, &columns->column[i].type) < 0) {
			free(columns);
			return -W_EPROTO;
		}
		columns->column[i].name = names;
		memcpy(names, name.ptr, name.len);
		names += name.len + 1;
	}
	*ret = columns;
	return W_OK;
}

struct dbt__columns *
dbt__columns_hold(struct dbt__columns *columns)
{
	if (columns != NULL)
		columns->refs++;
	return columns;
}

void
dbt__columns_drop(struct dbt__columns **columns)
{
	struct dbt__columns *old = w_steal(columns);

	if (old != NULL && --old->refs == 0)
		free(old);
}

int
dbt__row_begin(struct w_view *rest, unsigned *ret_count)
{
	return take_u16(rest, ret_count);
}

int
dbt__row_value(struct w_view *rest, struct w_view *ret)
{
	uint32_t len;

	if (take_u32(rest, &len) < 0)
		return -W_EPROTO;
	if (len == UINT32_MAX) {
		*ret = (struct w_view){ 0 };
		return W_OK;
	}
	if (rest->len < len)
		return -W_EPROTO;
	*ret = w_view_sub(*rest, 0, len);
	*rest = w_view_sub(*rest, len, SIZE_MAX);
	return W_OK;
}

int
dbt__setting_parse(struct w_view body, struct w_view *ret_name, struct w_view *ret_value)
{
	struct w_view name, value;

	if (take_cstring(&body, &name) < 0 || take_cstring(&body, &value) < 0)
		return -W_EPROTO;
	*ret_name = name;
	*ret_value = value;
	return W_OK;
}
