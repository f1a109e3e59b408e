/*
 * The one list of errors: name, HTTP status that a client sees, whether the
 * request may be sent again elsewhere, and a sentence for people.
 *
 * Functions return W_OK (0) or a negative error: return -W_EDOWN;
 */
#ifndef WEIR_COMMON_ERROR_H
#define WEIR_COMMON_ERROR_H

/*
 * access(2)'s W_OK is 2 and a macro, from either of these two. Including both here first
 * keeps the name ours whatever a file includes later: their guards see to that.
 */
#include <fcntl.h>
#include <unistd.h>
#undef W_OK

#include "common/base.h"

/* clang-format off */
/*        name       http  retry  text */
#define W_ERRORS(X)                                                                   \
	X(INVAL,     400, false, "malformed input")                                   \
	X(RANGE,     400, false, "value out of range")                                \
	X(FRAMING,   400, false, "ambiguous message framing")                         \
	X(JSON,      400, false, "body is not the JSON that is wanted")               \
	X(DENIED,    403, false, "not allowed")                                       \
	X(NOROUTE,   404, false, "nothing at this address")                           \
	X(NOTFOUND,  404, false, "no such thing")                                     \
	X(METHOD,    405, false, "method not allowed here")                           \
	X(SLOW,      408, false, "the request did not arrive in time")                \
	X(CONFLICT,  409, false, "conflicts with what exists")                        \
	X(LENGTH,    411, false, "length required")                                   \
	X(TOOBIG,    413, false, "too large")                                         \
	X(URILONG,   414, false, "request target too long")                           \
	X(TYPE,      415, false, "media type not supported")                          \
	X(EXPECT,    417, false, "expectation not supported")                         \
	X(MISMATCH,  422, false, "does not match the earlier request of this key")    \
	X(HEADERS,   431, false, "header fields too large")                           \
	X(INTERNAL,  500, false, "internal error")                                    \
	X(NOMEM,     500, false, "memory limit of this request reached")              \
	X(HANDLER,   500, false, "the handler failed")                                \
	X(SQL,       500, false, "the database refused the statement")                \
	X(NOTIMPL,   501, false, "not implemented")                                   \
	X(LOST,      502, true,  "the node that worked on it went away")              \
	X(PROTO,     502, false, "the peer broke the protocol")                       \
	X(BUSY,      503, true,  "no capacity free in time")                          \
	X(DOWN,      503, true,  "no node fit for this")                              \
	X(REFUSED,   503, true,  "refused before it was started")                     \
	X(SHUTDOWN,  503, true,  "shutting down")                                     \
	X(SERIAL,    503, true,  "serialization conflict, try again")                 \
	X(TIMEOUT,   504, false, "deadline passed")                                   \
	X(INDOUBT,   504, false, "the outcome of a commit is unknown")                \
	X(VERSION,   505, false, "HTTP version not supported")                        \
	X(AGAIN,     500, true,  "would block")                                       \
	X(CANCELED,  500, false, "canceled")                                          \
	X(IO,        500, false, "operating system error")
/* clang-format on */

enum w_err {
	W_OK,
#define X(name, http, retry, text) W_E##name,
	W_ERRORS(X)
#undef X
	W_ERR_COUNT
};

/* All take the error as returned (negative) or as listed (positive). Any thread. */
const char *w_err_name(int err); /* "BUSY" */
const char *w_err_text(int err); /* "no capacity free in time" */
int w_err_http(int err);
bool w_err_retry(int err);

/*
 * An error with its story: what was wrong, where, what to do. Filled by the one
 * who knows most; callers pass it up untouched. A NULL fault is allowed.
 */
struct w_fault {
	int err; /* negative, 0 when nothing happened */
	char text[512];
};

/* Fill the fault (when not NULL) and return err. */
int w_fail(struct w_fault *fault, int err, const char *fmt, ...) W_PRINTF(3, 4);

#endif
