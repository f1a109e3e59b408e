/* The router. See route.h. */
#include "server/route.h"

#include <ctype.h>
#include <stdio.h>

#define ROUTE_FLAGS (WEIR_BLOCKING | WEIR_ONCE | WEIR_GROUPED)

struct node {
	struct w_view text; /* the literal segment that leads here */
	struct node **literals; /* sorted by length, then bytes */
	unsigned literal_count;
	struct node *param, *rest;
	struct srv_route **routes; /* that end here, one per method */
	unsigned route_count;
};

struct srv_router {
	struct node root;
	struct srv_route **routes;
	unsigned count;
};

static void
node_clear(struct node *node)
{
	for (unsigned i = 0; i < node->literal_count; i++) {
		node_clear(node->literals[i]);
		free(node->literals[i]);
	}
	if (node->param != NULL)
		node_clear(node->param);
	if (node->rest != NULL)
		node_clear(node->rest);
	free(node->param);
	free(node->rest);
	free(node->literals);
	free(node->routes);
}

struct srv_router *
srv__router_new(void)
{
	return w_xcalloc(1, sizeof(struct srv_router));
}

void
srv__router_free(struct srv_router **router)
{
	if (*router == NULL)
		return;
	node_clear(&(*router)->root);
	for (unsigned i = 0; i < (*router)->count; i++) {
		free((*router)->routes[i]->name);
		free((*router)->routes[i]);
	}
	free((*router)->routes);
	w_free(router);
}

unsigned
srv__router_count(const struct srv_router *router)
{
	return router->count;
}

const struct srv_route *
srv__router_nth(const struct srv_router *router, unsigned index)
{
	return index < router->count ? router->routes[index] : NULL;
}

/* ---- building ---- */

static int
compare(struct w_view a, struct w_view b)
{
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	return a.len == 0 ? 0 : memcmp(a.ptr, b.ptr, a.len);
}

/* The place of a literal among the children: found there, or to be put there. */
static unsigned
literal_place(const struct node *node, struct w_view text, bool *ret_found)
{
	unsigned low = 0, high = node->literal_count;

	*ret_found = false;
	while (low < high) {
		unsigned mid = (low + high) / 2;
		int order = compare(node->literals[mid]->text, text);

		if (order == 0) {
			*ret_found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct node *
literal_child(struct node *node, struct w_view text)
{
	bool found;
	unsigned at = literal_place(node, text, &found);

	if (found)
		return node->literals[at];
	node->literals = w_xrealloc(node->literals,
	    (node->literal_count + 1) * sizeof(*node->literals));
	memmove(node->literals + at + 1, node->literals + at,
	    (node->literal_count - at) * sizeof(*node->literals));
	node->literals[at] = w_xcalloc(1, sizeof(struct node));
	node->literals[at]->text = text;
	node->literal_count++;
	return node->literals[at];
}

static struct node *
only_child(struct node **slot)
{
	if (*slot == NULL)
		*slot = w_xcalloc(1, sizeof(struct node));
	return *slot;
}

static bool
is_name(struct w_view name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!isalnum((unsigned char)name.ptr[i]) && name.ptr[i] != '_')
			return false;
	return name.len > 0 && !isdigit((unsigned char)name.ptr[0]);
}

/* {name} or {name*} as segment number place: keep the name. Returns what is wrong with it. */
static const char *
add_param(struct srv_route *route, struct w_view segment, unsigned place, bool last)
{
	struct w_view name = w_view_sub(segment, 1, segment.len - 2);

	if (segment.len < 2 || segment.ptr[0] != '{' || segment.ptr[segment.len - 1] != '}')
		return "braces take a whole segment: {name} or {name*}";
	if (name.len > 0 && name.ptr[name.len - 1] == '*') {
		if (!last)
			return "{name*} is the last segment";
		route->rest = true;
		name.len--;
	}
	if (!is_name(name))
		return "a parameter's name is of letters, digits and _, and starts with no digit";
	for (unsigned i = 0; i < route->param_count; i++)
		if (w_view_eq(route->params[i], name))
			return "two parameters have the same name";
	if (route->param_count == SRV_PARAMS_MAX)
		return "too many parameters";
	route->places[route->param_count] = place;
	route->params[route->param_count++] = name;
	return NULL;
}

/* Walk the pattern, making nodes as needed; *ret is the node of its end. */
static const char *
walk_pattern(struct node *node, struct w_view pattern, struct srv_route *route, struct node **ret)
{
	struct w_view rest = w_view_sub(pattern, 1, pattern.len);
	const char *why;

	for (unsigned count = 0;; count++) {
		size_t slash = w_view_find(rest, '/');
		struct w_view segment = w_view_sub(rest, 0, slash);
		bool last = slash == rest.len;

		if (count == SRV_SEGMENTS_MAX)
			return "too many segments";
		if (w_view_find(segment, '{') < segment.len ||
		    w_view_find(segment, '}') < segment.len) {
			why = add_param(route, segment, count, last);
			if (why != NULL)
				return why;
			node = only_child(route->rest ? &node->rest : &node->param);
		} else {
			node = literal_child(node, segment);
		}
		if (last)
			break;
		rest = w_view_sub(rest, slash + 1, rest.len);
	}
	*ret = node;
	return NULL;
}

static struct srv_route *
node_route(const struct node *node, struct w_view method)
{
	for (unsigned i = 0; i < node->route_count; i++)
		if (w_view_eq(node->routes[i]->method, method))
			return node->routes[i];
	return NULL;
}

static const char *
check_route(const struct weir_route *from)
{
	struct w_view pattern = w_view_of(from->pattern);

	if (from->handler == NULL)
		return "it has no handler";
	if ((from->flags & ~(unsigned)ROUTE_FLAGS) != 0)
		return "it has a flag that this server does not know; is the server older than "
		       "the weir.h that the module was built with?";
	if (from->method == NULL || !srv__is_token(w_view_of(from->method)))
		return "its method is no HTTP method";
	if (pattern.len == 0 || pattern.ptr[0] != '/')
		return "a pattern starts with '/'";
	for (size_t i = 0; i < pattern.len; i++)
		if (pattern.ptr[i] <= ' ' || strchr("?#%", pattern.ptr[i]) != NULL)
			return "a pattern is written decoded, without spaces, '?', '#' and '%'";
	return NULL;
}

static void
free_route(struct srv_route **route)
{
	w_free(route);
}

static void
keep_route(struct srv_router *router, struct node *node, struct srv_route *route)
{
	route->index = router->count;
	node->routes = w_xrealloc(node->routes, (node->route_count + 1) * sizeof(*node->routes));
	node->routes[node->route_count++] = route;
	router->routes = w_xrealloc(router->routes, (router->count + 1) * sizeof(*router->routes));
	router->routes[router->count++] = route;
}

int
srv__router_add(struct srv_router *router, const char *module, const struct weir_route *from,
    struct w_fault *fault)
{
	W_AUTO(free_route) struct srv_route *route = w_xcalloc(1, sizeof(*route));
	const char *why = check_route(from);
	const struct srv_route *other;
	struct node *node = NULL;

	route->module = module;
	route->handler = from->handler;
	route->flags = from->flags;
	route->method = w_view_of(from->method);
	if (why == NULL)
		why = walk_pattern(&router->root, w_view_of(from->pattern), route, &node);
	if (why != NULL)
		return w_fail(fault, -W_EINVAL, "module %s: route %s %s: %s", module,
		    from->method != NULL ? from->method : "(none)",
		    from->pattern != NULL ? from->pattern : "(none)", why);
	other = node_route(node, route->method);
	if (other != NULL)
		return w_fail(fault, -W_ECONFLICT,
		    "module %s: route %s %s has the same shape as %s of module %s; change one",
		    module, from->method, from->pattern, other->name, other->module);
	route->name = w_xasprintf("%s %s", from->method, from->pattern);
	keep_route(router, node, w_steal(&route));
	return W_OK;
}

/* ---- finding ---- */

struct search {
	struct w_view method;
	const struct srv_target *target;
	const struct srv_route *found;
	const struct node *others[16]; /* that match the path but lack the method */
	unsigned other_count;
};

static bool
take_node(struct search *search, const struct node *node)
{
	if (node->route_count == 0)
		return false;
	search->found = node_route(node, search->method);
	if (search->found == NULL && w_view_eq(search->method, W_VIEW("HEAD")))
		search->found = node_route(node, W_VIEW("GET"));
	if (search->found == NULL && search->other_count < W_NELEM(search->others))
		search->others[search->other_count++] = node;
	return search->found != NULL;
}

/* Depth is bounded by the trie's, which is bounded by SRV_SEGMENTS_MAX. */
static bool
find_below(struct search *search, const struct node *node, unsigned at)
{
	struct w_view segment;
	unsigned place;
	bool found;

	if (at == search->target->segment_count)
		return take_node(search, node);
	segment = search->target->segments[at];
	place = literal_place(node, segment, &found);
	if (found && find_below(search, node->literals[place], at + 1))
		return true;
	if (node->param != NULL && segment.len > 0 && find_below(search, node->param, at + 1))
		return true;
	return node->rest != NULL && take_node(search, node->rest);
}

static bool
list_has(const struct w_view *list, unsigned count, struct w_view method)
{
	for (unsigned i = 0; i < count; i++)
		if (w_view_eq(list[i], method))
			return true;
	return false;
}

/* "GET, HEAD, POST, OPTIONS": each method once; GET brings HEAD, OPTIONS is always there. */
static struct w_view
allow_of(const struct search *search, struct w_arena *arena)
{
	struct w_view list[32];
	unsigned count = 0;
	const char *text = "OPTIONS";

	for (unsigned i = 0; i < search->other_count; i++) {
		const struct node *node = search->others[i];

		for (unsigned j = 0; j < node->route_count && count + 2 < W_NELEM(list); j++) {
			struct w_view method = node->routes[j]->method;

			if (!list_has(list, count, method) && !w_view_eq(method, W_VIEW("OPTIONS")))
				list[count++] = method;
			if (w_view_eq(method, W_VIEW("GET")) &&
			    !list_has(list, count, W_VIEW("HEAD")))
				list[count++] = W_VIEW("HEAD");
		}
	}
	while (count > 0 && text != NULL) {
		count--;
		text = w_arena_printf(arena, "%.*s, %s", W_VIEW_ARG(list[count]), text);
	}
	return w_view_of(text);
}

/* The segments from at on, joined by '/'. */
static int
join_rest(struct w_arena *arena, const struct srv_target *target, unsigned at, struct w_view *ret)
{
	size_t len = 0;
	char *to, *end;

	for (unsigned i = at; i < target->segment_count; i++) {
		if (w_view_find(target->segments[i], '/') < target->segments[i].len)
			return -W_EINVAL;
		len += target->segments[i].len + 1;
	}
	to = end = w_arena_take(arena, len);
	if (to == NULL)
		return -W_ENOMEM;
	for (unsigned i = at; i < target->segment_count; i++) {
		memcpy(end, target->segments[i].ptr, target->segments[i].len);
		end += target->segments[i].len;
		*end++ = '/';
	}
	*--end = '\0';
	*ret = (struct w_view){ to, (size_t)(end - to) };
	return W_OK;
}

static int
take_values(struct w_arena *arena, const struct srv_target *target, struct srv_match *match)
{
	const struct srv_route *route = match->route;
	unsigned plain = route->param_count - route->rest;

	for (unsigned i = 0; i < plain; i++)
		match->values[i] = target->segments[route->places[i]];
	if (!route->rest)
		return W_OK;
	return join_rest(arena, target, route->places[plain], &match->values[plain]);
}

int
srv__router_find(const struct srv_router *router, struct w_arena *arena, struct w_view method,
    const struct srv_target *target, struct srv_match *ret)
{
	struct search search = { .method = method, .target = target };

	if (target->segment_count > 0)
		find_below(&search, &router->root, 0);
	if (search.found != NULL) {
		ret->route = search.found;
		return take_values(arena, target, ret);
	}
	if (search.other_count == 0)
		return -W_ENOROUTE;
	ret->allow = allow_of(&search, arena);
	return ret->allow.len > 0 ? -W_EMETHOD : -W_ENOMEM;
}
