/*
 * The router: one trie by segments for the routes of all modules.
 *
 *	1. A literal segment beats {param}, {param} beats {rest*}; decided from left to right.
 *	2. A pattern whose handlers lack the method is passed over for a less specific one that
 *	   has it; when none has, the methods of all that match the path make Allow.
 *	3. {param} takes one segment that is not empty; {rest*} takes one or more, joined by '/';
 *	   an encoded slash in what {rest*} takes is refused.
 *	4. The trailing slash counts: "/a" and "/a/" are two paths.
 *	5. Each node of the trie is looked at once per request at most: depth is position.
 *
 * Threads: built on the control thread before any worker runs; then read only.
 */
#ifndef WEIR_SERVER_ROUTE_H
#define WEIR_SERVER_ROUTE_H

#include "include/weir.h"
#include "server/target.h"

#define SRV_PARAMS_MAX 16
#define SRV_SEGMENTS_MAX 64 /* of a pattern */

struct srv_route {
	unsigned index; /* among all routes, in the order they were added */
	char *name;     /* "GET /messages/{id}" */
	const char *module;
	weir_handler *handler;
	unsigned flags;
	struct w_view method;
	unsigned param_count;
	struct w_view params[SRV_PARAMS_MAX]; /* names, from left to right */
	unsigned places[SRV_PARAMS_MAX];      /* which segment each takes, from 0 */
	bool rest;                            /* the last of them is {rest*} */
};

struct srv_router;

struct srv_router *srv__router_new(void);
void srv__router_free(struct srv_router **router);
/*
 * Add a route of a module; strings are kept by pointer.
 * Errors   -W_EINVAL malformed; -W_ECONFLICT the same method and shape is there: names both modules
 */
int srv__router_add(struct srv_router *router, const char *module, const struct weir_route *route,
    struct w_fault *fault);
unsigned srv__router_count(const struct srv_router *router);
const struct srv_route *srv__router_nth(const struct srv_router *router, unsigned index);

struct srv_match {
	const struct srv_route *route;
	struct w_view values[SRV_PARAMS_MAX]; /* of route->params, decoded, NUL-ended */
	struct w_view allow;                  /* "GET, HEAD, OPTIONS" after -W_EMETHOD */
};

/*
 * Find the route of a method and a parsed target. HEAD finds GET's when there is none of its own.
 * Errors   -W_ENOROUTE; -W_EMETHOD with ret->allow, OPTIONS without a route of its own included;
 *          -W_EINVAL an encoded slash where {rest*} matched; -W_ENOMEM
 */
int srv__router_find(const struct srv_router *router, struct w_arena *arena, struct w_view method,
    const struct srv_target *target, struct srv_match *ret);

#endif
