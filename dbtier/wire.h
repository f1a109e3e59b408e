/*
 * The bytes of PostgreSQL's extended query protocol, to and from memory. No I/O, no state.
 *
 * libpq opens a connection (TLS, SCRAM, settings); from then on a lane speaks for itself. So the
 * statements of a turn leave as one write, a result is stored once, in the form in which it is
 * read, what it takes is known while it comes, and the columns of a prepared statement are
 * described once.
 *
 * Formatting appends to a buffer; parsing gives views into the input, and believes no length.
 * Source   PostgreSQL 15, "Message Formats"; "Extended Query"
 */
#ifndef WEIR_DBTIER_WIRE_H
#define WEIR_DBTIER_WIRE_H

#include "common/buf.h"
#include "common/error.h"

#define DBT__MESSAGE_HEADER 5
#define DBT__MESSAGE_MAX (1u << 30) /* a longer one is nonsense */
#define DBT__PARAMS_MOST 65535

/* --- to the server --- */

/* name: of the prepared statement, "" for the unnamed one. */
void dbt__put_parse(struct w_buf *out, const char *name, const char *sql);
void dbt__put_describe(struct w_buf *out, const char *name);
/* To the unnamed portal; parameters and results are text. ptr NULL is NULL. */
void dbt__put_bind(struct w_buf *out, const char *name, const struct w_view *params, unsigned count);
void dbt__put_execute(struct w_buf *out, unsigned most_rows); /* 0: all */
void dbt__put_sync(struct w_buf *out);
void dbt__put_flush(struct w_buf *out);

/* --- from the server --- */

struct dbt__message {
	char type;
	struct w_view body;
};
/* Cut the first message from *rest. Returns 1, 0 when it is not all there, or -W_EPROTO. */
int dbt__message_parse(struct w_view *rest, struct dbt__message *ret);
/* Bytes of the first message, header included; 0: too little is there to tell. */
size_t dbt__message_size(struct w_view rest);

/* ErrorResponse, NoticeResponse: the fields that matter, empty where they are missing. */
struct dbt__said {
	struct w_view severity; /* not translated */
	struct w_view sqlstate, message, routine;
};
int dbt__said_parse(struct w_view body, struct dbt__said *ret); /* Errors: -W_EPROTO */

/* RowDescription. Shared by the statements of a lane and the rows that came by them. */
struct dbt__column {
	const char *name;
	unsigned type; /* OID */
};
struct dbt__columns {
	unsigned refs;
	unsigned count;
	struct dbt__column column[];
};
int dbt__columns_parse(struct w_view body, struct dbt__columns **ret); /* Errors: -W_EPROTO */
struct dbt__columns *dbt__columns_hold(struct dbt__columns *columns);  /* NULL stays NULL */
void dbt__columns_drop(struct dbt__columns **columns);

/* DataRow: take the number of values, then each; ptr NULL is NULL. Errors: -W_EPROTO. */
int dbt__row_begin(struct w_view *rest, unsigned *ret_count);
int dbt__row_value(struct w_view *rest, struct w_view *ret);

/* ParameterStatus: two NUL-ended texts. Errors: -W_EPROTO. */
int dbt__setting_parse(struct w_view body, struct w_view *ret_name, struct w_view *ret_value);

#endif
