/*
 * The request target: path segments and query, percent-decoded once and checked.
 *
 * Segments are what stands between slashes, decoded one by one, so an encoded slash stays
 * inside its segment. "/" has one empty segment, "/a/" has "a" and an empty one.
 * Source: RFC 3986 sections 2.1 and 3.3; RFC 9112 section 3.2; WHATWG URL, form-urlencoded
 */
#ifndef WEIR_SERVER_TARGET_H
#define WEIR_SERVER_TARGET_H

#include "common/arena.h"
#include "common/error.h"

#define SRV_QUERY_MAX 256 /* parameters in a query */

struct srv_pair {
	struct w_view name, value; /* decoded, NUL-ended */
};

struct srv_target {
	struct w_view path;  /* as received: "/messages/7"; "*" for OPTIONS of the server itself */
	struct w_view query; /* as received, without "?"; ptr NULL: none */
	struct w_view authority; /* of an absolute target, else empty */
	struct w_view *segments;
	unsigned segment_count;
	struct srv_pair *pairs;
	unsigned pair_count;
};

/*
 * Parse a target. Views point into raw and the arena.
 *
 * Errors   -W_EINVAL malformed, with a reason in *ret_why (static text); -W_ENOMEM
 */
int srv__target_parse(struct w_arena *arena, struct w_view raw, struct srv_target *ret,
    const char **ret_why);

/*
 * Decode %XX (and '+' as a space when plus is set) into a NUL-ended copy.
 * Errors   -W_EINVAL bad escape, an escaped NUL, not UTF-8; -W_ENOMEM
 */
int srv__percent_decode(struct w_arena *arena, struct w_view text, bool plus, struct w_view *ret);

/* Whether text is well-formed UTF-8 (RFC 3629: shortest form, no surrogates). */
bool srv__utf8_valid(struct w_view text);
/* Whether text is a token of RFC 9110: names of methods and fields. */
bool srv__is_token(struct w_view text);

#endif
