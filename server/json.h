/*
 * A JSON body as one object: checked whole, in one pass and without a tree. Members of the
 * object itself are kept as views; what lies deeper is only checked.
 * Source: RFC 8259. Refused besides malformed text: duplicate names, nesting over
 * SRV_JSON_DEPTH, more than SRV_JSON_MEMBERS members, an escaped NUL, lone surrogates.
 */
#ifndef WEIR_SERVER_JSON_H
#define WEIR_SERVER_JSON_H

#include "common/arena.h"
#include "common/error.h"

#define SRV_JSON_DEPTH 32
#define SRV_JSON_MEMBERS 256

enum srv_json_type {
	SRV_JSON_TEXT, SRV_JSON_NUMBER, SRV_JSON_TRUE, SRV_JSON_FALSE, SRV_JSON_NULL,
	SRV_JSON_OBJECT, SRV_JSON_ARRAY,
};

struct srv_member {
	struct w_view name;  /* decoded, NUL-ended */
	struct w_view value; /* text: decoded, NUL-ended; others as written */
	enum srv_json_type type;
};

struct srv_object {
	struct srv_member *members;
	unsigned count;
};

/*
 * Parse text, which must be one object. Numbers' views point into text, all else into the arena.
 * Errors   -W_EJSON with *ret_why (static text) and *ret_at, the byte where it went wrong;
 *          -W_ENOMEM the arena's limit
 */
int srv__object_parse(struct w_arena *arena, struct w_view text, struct srv_object *ret,
    const char **ret_why, size_t *ret_at);
/* NULL when there is no such member. */
const struct srv_member *srv__object_find(const struct srv_object *object, struct w_view name);

#endif
