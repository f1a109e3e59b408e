/*
 * What an HTTP/1.1 request must look like before it is believed. Everything that two parsers
 * might understand differently is refused.
 *
 * 1. bal_h1_scan looks at raw lines as they arrive; its verdict does not depend on how the
 *    bytes were split. It lowers field names in place.
 * 2. bal_h1_judge looks at the parsed request: framing, Host, target form.
 *
 * Source: RFC 9110, RFC 9112
 */
#ifndef WEIR_BALANCER_H1_CHECK_H
#define WEIR_BALANCER_H1_CHECK_H

#include "common/options.h"
#include "link/link.h"

/* clang-format off */
/*        id               status kind                 detail for the client */
#define BAL_H1_ERRORS(X)                                                                               \
	X(BARE_LF,           400, "bare_lf",           "a line ends with LF alone, not with CR LF")     \
	X(BARE_CR,           400, "bare_cr",           "a CR stands alone")                             \
	X(CONTROL,           400, "control",           "a control character in a field value")          \
	X(OBS_FOLD,          400, "obs_fold",          "a folded header line")                          \
	X(FIELD_NAME,        400, "field_name",        "a malformed field name, or no colon")           \
	X(SPACE_COLON,       400, "space_colon",       "white space before the colon of a field")       \
	X(REQUEST_LINE,      400, "request_line",      "a malformed request line")                      \
	X(METHOD,            400, "method",            "a malformed method")                            \
	X(METHOD_UNKNOWN,    501, "method_unknown",    "this method is not known here")                 \
	X(CONNECT,           501, "connect",           "CONNECT is not offered")                        \
	X(TRACE,             405, "trace",             "TRACE is not allowed")                          \
	X(TARGET,            400, "target",            "a malformed request target")                    \
	X(TARGET_LONG,       414, "target_long",       "the request target is too long")                \
	X(VERSION,           505, "version",           "only HTTP/1.1 and HTTP/1.0 are spoken here")    \
	X(HOST_MISSING,      400, "host_missing",      "no Host field")                                 \
	X(HOST_REPEATED,     400, "host_repeated",     "more than one Host field")                      \
	X(HOST_INVALID,      400, "host_invalid",      "a malformed Host field")                        \
	X(HOST_MISMATCH,     400, "host_mismatch",     "Host and the request target name different hosts") \
	X(LENGTH_INVALID,    400, "length_invalid",    "a malformed Content-Length")                    \
	X(LENGTH_REPEATED,   400, "length_repeated",   "more than one Content-Length")                  \
	X(LENGTH_AND_CODING, 400, "length_and_coding", "both Content-Length and Transfer-Encoding")     \
	X(CODING_REPEATED,   400, "coding_repeated",   "more than one Transfer-Encoding")               \
	X(CODING_INVALID,    400, "coding_invalid",    "chunked is not the last transfer coding, once") \
	X(CODING_UNKNOWN,    501, "coding_unknown",    "only the transfer coding chunked is known here") \
	X(CODING_OLD,        400, "coding_old",        "Transfer-Encoding in an HTTP/1.0 request")      \
	X(KEY,               400, "idempotency_key",   "Idempotency-Key is not 1 to 255 visible ASCII characters") \
	X(KEY_REPEATED,      400, "idempotency_key_repeated", "more than one Idempotency-Key")        \
	X(EXPECT,            417, "expect",            "only the expectation 100-continue can be met")  \
	X(HEADER_LARGE,      431, "header_large",      "the header is too large")                       \
	X(FIELDS_MANY,       431, "fields_many",       "too many header fields")                        \
	X(BODY_LARGE,        413, "body_large",        "the request body is too large")                 \
	X(CHUNK,             400, "chunk",             "a malformed chunk")                             \
	X(TRAILER,           400, "trailer",           "a malformed or too large trailer")              \
	X(HEADER_SLOW,       408, "header_slow",       "the header did not arrive in time")             \
	X(BODY_SLOW,         408, "body_slow",         "the body did not arrive in time")               \
	X(CUT,               400, "cut",               "the connection ended inside the request")       \
	X(MEMORY,            503, "memory",            "out of memory")                                 \
	X(PARSER,            400, "parser",            "not HTTP")
/* clang-format on */

enum bal_h1_error {
#define X(id, status, kind, detail) BAL_H1_##id,
	BAL_H1_ERRORS(X)
#undef X
	BAL_H1_ERROR_COUNT,
	BAL_H1_OK,  /* complete and well formed */
	BAL_H1_MORE /* well formed so far */
};

struct bal_h1_error_info {
	unsigned status;
	const char *kind, *detail;
};

const struct bal_h1_error_info *bal_h1_error_info(enum bal_h1_error error);

/* All-zero at the start of a header. */
struct bal_h1_scan {
	uint32_t line;   /* where the current line starts; when OK: the length of the header */
	uint32_t seek;   /* no LF before this */
	uint32_t fields; /* complete field lines */
	bool first_done; /* the request line is complete */
	uint32_t method_len;
	uint32_t target, target_len;
	uint8_t minor;   /* HTTP/1.x */
};

/*
 * data[0..len) is all of the header that has arrived, and maybe more. BAL_H1_OK when the empty
 * line is there, BAL_H1_MORE when it is not, or what is wrong.
 */
enum bal_h1_error bal_h1_scan(struct bal_h1_scan *scan, char *data, size_t len,
    const struct w_balancer_options *opt);

/* One line of a header or trailer without its CR LF; the name is lowered in place. */
enum bal_h1_error bal_h1_field_line(char *line, size_t len);

/* A header, understood. Views point into the header's bytes. */
struct bal_h1_request {
	struct w_view method, url;
	unsigned minor; /* HTTP/1.x */
	struct lnk_field *fields; /* as received; after judging: those to pass on */
	size_t field_count;
	/* Set by judging. */
	struct w_view target, authority;
	struct w_view traceparent, idempotency, position;
	int64_t length; /* 0 none, -1 chunked */
	bool keep_alive, expect;
};

/* BAL_H1_OK, or what is wrong. max_body 0 is no limit. */
enum bal_h1_error bal_h1_judge(struct bal_h1_request *request, uint64_t max_body);

#endif
