/*
 * Weir for application authors. A module is a shared object with handlers in C, written as if
 * blocking: each request has a fiber of its own, and calls that wait (database, body, sleep)
 * let other requests run.
 *
 *	static int
 *	hello(struct weir_request *req)
 *	{
 *		return weir_text(req, 200, "hello");
 *	}
 *
 *	static const struct weir_route routes[] = {
 *		{ "GET", "/hello/{name}", hello, 0 },
 *		{ 0 },
 *	};
 *
 *	WEIR_MODULE("hello", routes, NULL, NULL);
 *
 * Memory: all text handed out by these functions lives as long as the request and is never
 * freed by the handler. Text is a view: a pointer and a length; it is also NUL-ended where
 * said.
 *
 * Errors: functions return 0 (WEIR_OK) or a negative WEIR_E...; a handler may return the
 * error as it is, and the client gets a problem+json body (RFC 9457) with its status.
 *
 * Threads: a handler runs on one worker thread and never moves. It must not block by itself
 * (no sleep(), no blocking I/O) and must not hold a mutex while calling anything here.
 */
#ifndef WEIR_H
#define WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_ABI 1

struct weir_view {
	const char *ptr;
	size_t len;
};

struct weir_request;
struct weir_rows;
struct weir_tx;

/* Answers 0, a negative WEIR_E..., or nothing else. No answer and 0 is an empty 204. */
typedef int weir_handler(struct weir_request *req);

enum weir_route_flags {
	WEIR_BLOCKING = 1, /* runs on a thread of the blocking pool, not as a fiber */
	/*
	 * Its database writes happen once per request key, however often the request is sent, and the
	 * answer is the same each time: the handler is run again with the rows of the first time. So what
	 * it does must follow from the request and the rows alone. See docs/protocol/03-promises.md.
	 */
	WEIR_ONCE = 2,
	/*
	 * Its single writes (weir_db_write) may share a transaction with those of other requests that come
	 * at the same time: one COMMIT and one wait for the standbys for all of them. For statements that
	 * hardly ever wait for locks: inserts, above all. See docs/protocol/03-promises.md, section 4.
	 */
	WEIR_GROUPED = 4,
};

struct weir_route {
	const char *method;  /* "GET" (answers HEAD too), "POST", ... */
	const char *pattern; /* "/messages/{id}"; {name} matches one segment, {name*} the rest */
	weir_handler *handler;
	unsigned flags;
};

struct weir_module {
	unsigned abi;
	const char *name;
	const struct weir_route *routes; /* ends with an all-zero row */
	int (*start)(void); /* may be NULL; once per process, before any request; non-zero refuses */
	void (*stop)(void); /* may be NULL */
};

#define WEIR_MODULE(name_, routes_, start_, stop_)                                                 \
	const struct weir_module weir_module = { WEIR_ABI, name_, routes_, start_, stop_ }

enum weir_error {
	WEIR_OK = 0,
	WEIR_EINVAL = -1,    /* malformed input: 400 */
	WEIR_ENOTFOUND = -2, /* 404 */
	WEIR_ECONFLICT = -3, /* 409; also unique and foreign key violations */
	WEIR_ETOOBIG = -4,   /* 413 */
	WEIR_ENOMEM = -5,    /* the request's memory limit: 500 */
	WEIR_EDB = -6,       /* the database refused the statement: 500; see weir_db_sqlstate() */
	WEIR_EDOWN = -7,     /* no database node fit for it: 503 */
	WEIR_EBUSY = -8,     /* no lane free in time: 503 */
	WEIR_ETIMEOUT = -9,  /* the deadline passed: 504 */
	WEIR_EINDOUBT = -10, /* the outcome of a commit is unknown: 504 */
	WEIR_EGONE = -11,    /* the client or its balancer went away; the answer goes nowhere */
	WEIR_EUSAGE = -12,   /* a mistake of the handler, e.g. answered twice: 500 */
	WEIR_ESERIAL = -13,  /* serialization conflict or deadlock: 503 */
	WEIR_EMISMATCH = -14, /* the key was used for another request: 422 */
};

/* --- the request --- */

struct weir_view weir_method(const struct weir_request *req);
struct weir_view weir_path(const struct weir_request *req);   /* decoded is each parameter, not this */
struct weir_view weir_request_id(const struct weir_request *req);
struct weir_view weir_client(const struct weir_request *req); /* address:port */
const char *weir_node(const struct weir_request *req);        /* the server node's name */
/* A {name} of the route's pattern, percent-decoded, NUL-ended. ptr NULL: no such parameter. */
struct weir_view weir_param(struct weir_request *req, const char *name);
/* A query parameter, percent-decoded, NUL-ended. ptr NULL: absent. The first of several. */
struct weir_view weir_query(struct weir_request *req, const char *name);
/* A header field's value, name in any case. ptr NULL: absent. */
struct weir_view weir_header(struct weir_request *req, const char *name);
/*
 * Integer forms, range-checked: WEIR_OK and *ret; absent leaves *ret as it is (the default);
 * else a 400 problem that names the parameter is prepared, and WEIR_EINVAL returned.
 */
int weir_param_int(struct weir_request *req, const char *name, int64_t min, int64_t max, int64_t *ret);
int weir_query_int(struct weir_request *req, const char *name, int64_t min, int64_t max, int64_t *ret);
/* Microseconds left until the request's deadline; 0 when passed. */
int64_t weir_time_left(const struct weir_request *req);

/* --- the body --- */

/* Declared length, 0 none, -1 unknown. */
int64_t weir_body_length(const struct weir_request *req);
/*
 * Wait for body bytes: up to size of them. Returns the number, 0 at the end, or an error.
 */
int64_t weir_read(struct weir_request *req, void *to, size_t size);
/* The whole body, at most max bytes (0: the server's max_json). NUL-ended. WEIR_ETOOBIG. */
int weir_body(struct weir_request *req, size_t max, struct weir_view *ret);

/*
 * The body as one JSON object: parsed once, at the first call. Errors name the member in a
 * prepared 400 (malformed, wrong type, missing), 413 or 415 problem. Text is NUL-ended UTF-8 and
 * holds no NUL. min and max count bytes.
 */
int weir_json_text(struct weir_request *req, const char *member, size_t min, size_t max,
    struct weir_view *ret);
int weir_json_int(struct weir_request *req, const char *member, int64_t min, int64_t max, int64_t *ret);
bool weir_json_has(struct weir_request *req, const char *member);

/* --- the answer: exactly once per request --- */

/* Before the answer. Names are lower-cased; values with CR, LF or NUL are refused: WEIR_EINVAL. */
int weir_set_header(struct weir_request *req, const char *name, const char *value);
int weir_text(struct weir_request *req, unsigned status, const char *text);
/* ptr is copied unless it lives as long as the process (is_static). */
int weir_answer(struct weir_request *req, unsigned status, const char *type, struct weir_view body,
    bool is_static);
/* A problem+json body: title is the status' phrase, detail is for people (printf). Returns WEIR_OK. */
int weir_problem(struct weir_request *req, unsigned status, const char *detail, ...)
    __attribute__((format(printf, 3, 4)));
/* Streaming: begin (length -1: unknown), then weir_write() any number of times, then return. */
int weir_begin(struct weir_request *req, unsigned status, const char *type, int64_t length);
/* Waits while the client is slow. WEIR_EGONE when it left. */
int weir_write(struct weir_request *req, const void *ptr, size_t len);

/*
 * JSON answers without trees; commas and escapes are placed for you:
 *	weir_out_open(req, '{'); weir_out_key(req, "id"); weir_out_int(req, 7);
 *	weir_out_close(req, '}'); return weir_out_send(req, 200);
 */
void weir_out_open(struct weir_request *req, char bracket);
void weir_out_close(struct weir_request *req, char bracket);
void weir_out_key(struct weir_request *req, const char *key);
void weir_out_text(struct weir_request *req, struct weir_view text); /* ptr NULL: null */
void weir_out_int(struct weir_request *req, int64_t value);
void weir_out_bool(struct weir_request *req, bool value);
void weir_out_null(struct weir_request *req);
/* Row row of rows as an object; int and bool columns as such, json columns as they are, others as text. */
void weir_out_row(struct weir_request *req, const struct weir_rows *rows, int row);
int weir_out_send(struct weir_request *req, unsigned status);

/* --- the database --- */

/*
 * A statement: prepared on every connection by its name. Make them static const; name is unique
 * in the process (module and purpose: "guestbook_find"). Parameters are $1..$n, given as text.
 */
struct weir_stmt {
	const char *name;
	const char *sql;
	unsigned params;
};

/* A read runs on a replica in a read-only session; a write on the primary. ptr NULL is SQL NULL. */
int weir_db_read(struct weir_request *req, const struct weir_stmt *stmt,
    const struct weir_view *params, struct weir_rows **ret);
int weir_db_write(struct weir_request *req, const struct weir_stmt *stmt,
    const struct weir_view *params, struct weir_rows **ret);

/*
 * Run a read whose result may be long: each(rows, arg) is called with some rows at a time, the next
 * ones are fetched when it has returned, so memory is bounded and a slow client slows the database
 * down. On a connection of its own. each() answers WEIR_OK, or an error that ends it.
 */
typedef int weir_rows_fn(struct weir_request *req, const struct weir_rows *rows, void *arg);
int weir_db_each(struct weir_request *req, const struct weir_stmt *stmt,
    const struct weir_view *params, weir_rows_fn *each, void *arg);

/*
 * The shard that the statements and transactions from here on belong to; the key lives as long as
 * the request. One shard is all there is in this version, so any key is as good as another.
 */
void weir_shard(struct weir_request *req, struct weir_view key);

int weir_rows_count(const struct weir_rows *rows);
int weir_rows_columns(const struct weir_rows *rows);
int64_t weir_rows_affected(const struct weir_rows *rows);
struct weir_view weir_rows_text(const struct weir_rows *rows, int row, int column); /* ptr NULL: null */
/* Name of the node that answered, and "primary" or "replica". */
const char *weir_rows_node(const struct weir_rows *rows);
const char *weir_rows_role(const struct weir_rows *rows);
/* After WEIR_EDB or WEIR_ECONFLICT: SQLSTATE and message of the last statement of this request. */
const char *weir_db_sqlstate(const struct weir_request *req);
const char *weir_db_message(const struct weir_request *req);

/*
 * A transaction on a connection of its own, on the primary unless read_only. Rolled back when the
 * handler returns without commit. After an error only rollback is possible.
 */
enum weir_tx_flags { WEIR_TX_READ_ONLY = 1, WEIR_TX_REPEATABLE = 2, WEIR_TX_SERIALIZABLE = 4 };
int weir_tx_begin(struct weir_request *req, unsigned flags, struct weir_tx **ret);
int weir_tx_exec(struct weir_tx *tx, const struct weir_stmt *stmt, const struct weir_view *params,
    struct weir_rows **ret);
int weir_tx_commit(struct weir_tx *tx);
int weir_tx_rollback(struct weir_tx *tx);
/*
 * A transaction as a function: begin, fn(tx, arg), commit when it answers WEIR_OK, else roll back.
 * After a serialization conflict or a deadlock all of it is run again, a few times with growing
 * pauses, and when its connection is lost before the commit (a failover), too; so fn must leave nothing
 * behind but what it did in tx. Then WEIR_ESERIAL, or WEIR_EDOWN.
 */
typedef int weir_tx_fn(struct weir_tx *tx, void *arg);
int weir_tx_run(struct weir_request *req, unsigned flags, weir_tx_fn *fn, void *arg);

/* --- time and threads --- */

int weir_sleep(struct weir_request *req, int64_t microseconds); /* WEIR_ETIMEOUT: past the deadline */
/* Run fn(arg) on the blocking thread pool and wait for it. */
int weir_offload(struct weir_request *req, void (*fn)(void *arg), void *arg);
/* Request memory: freed with the request; NULL at the limit. */
void *weir_alloc(struct weir_request *req, size_t len);
char *weir_printf(struct weir_request *req, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A log line with the request's id. */
void weir_log(struct weir_request *req, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif

#endif
