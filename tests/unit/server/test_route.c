/* The router. */
#include "server/module.h"
#include "server/route.h"
#include "tests/unit/server/suites.h"

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>

static struct w_arena arena;
static struct srv_router *router;

static int
handler(struct weir_request *req)
{
	(void)req;
	return 0;
}

static int
add(const char *module, const char *method, const char *pattern, struct w_fault *fault)
{
	struct weir_route route = { method, pattern, handler, 0 };

	return srv__router_add(router, module, &route, fault);
}

static int
set_up(void)
{
	static const char *const routes[][2] = {
		{ "GET", "/" }, { "GET", "/messages" }, { "POST", "/messages" },
		{ "GET", "/messages/{id}" }, { "DELETE", "/messages/{id}" },
		{ "GET", "/messages/new" }, { "PATCH", "/messages/{id}/{part}" },
		{ "GET", "/{any}/x/y" }, { "GET", "/files/{path*}" }, { "GET", "/files/" },
		{ "GET", "/deep/{a}/b/{c}/{rest*}" }, { "HEAD", "/messages/new" },
	};
	int rc = W_OK;

	w_arena_init(&arena, 1 << 20);
	router = srv__router_new();
	for (size_t i = 0; i < W_NELEM(routes); i++)
		rc |= add("m", routes[i][0], routes[i][1], NULL);
	return rc;
}

static int
tear_down(void)
{
	srv__router_free(&router);
	w_arena_fini(&arena);
	return 0;
}

static int
find(const char *method, const char *path, struct srv_match *ret)
{
	struct srv_target target;
	const char *why;

	*ret = (struct srv_match){ 0 };
	CU_ASSERT_EQUAL_FATAL(srv__target_parse(&arena, w_view_of(path), &target, &why), W_OK);
	return srv__router_find(router, &arena, w_view_of(method), &target, ret);
}

static bool
finds(const char *method, const char *path, const char *name)
{
	struct srv_match match;
	int rc = find(method, path, &match);

	if (rc == W_OK && strcmp(match.route->name, name) == 0)
		return true;
	fprintf(stderr, "%s %s: %s\n", method, path, rc == W_OK ? match.route->name : w_err_name(rc));
	return false;
}

static void
the_most_literal_route_wins(void)
{
	CU_ASSERT(finds("GET", "/", "GET /"));
	CU_ASSERT(finds("GET", "/messages/7", "GET /messages/{id}"));
	CU_ASSERT(finds("GET", "/messages/new", "GET /messages/new"));
	CU_ASSERT(finds("GET", "/m%65ssages/new", "GET /messages/new"));
	CU_ASSERT(finds("GET", "/files/", "GET /files/"));
	CU_ASSERT(finds("GET", "/files/a/b", "GET /files/{path*}"));
	/* back from a literal that leads nowhere */
	CU_ASSERT(finds("GET", "/messages/x/y", "GET /{any}/x/y"));
	CU_ASSERT(finds("PATCH", "/messages/x/y", "PATCH /messages/{id}/{part}"));
	/* back from a route that lacks the method */
	CU_ASSERT(finds("DELETE", "/messages/new", "DELETE /messages/{id}"));
}

static void
values_are_those_of_the_braces(void)
{
	struct srv_match match;

	CU_ASSERT_EQUAL_FATAL(find("GET", "/deep/1/b/%C3%A9/x/y%20z/", &match), W_OK);
	CU_ASSERT_STRING_EQUAL(match.values[0].ptr, "1");
	CU_ASSERT_STRING_EQUAL(match.values[1].ptr, "\xc3\xa9");
	CU_ASSERT_STRING_EQUAL(match.values[2].ptr, "x/y z/");
	CU_ASSERT_EQUAL_FATAL(find("GET", "/messages/a%2Fb", &match), W_OK);
	CU_ASSERT_STRING_EQUAL(match.values[0].ptr, "a/b");
	CU_ASSERT_EQUAL(find("GET", "/files/a%2Fb", &match), -W_EINVAL);
}

static void
slashes_count(void)
{
	struct srv_match match;

	CU_ASSERT_EQUAL(find("GET", "/messages/", &match), -W_ENOROUTE);
	CU_ASSERT_EQUAL(find("GET", "//messages", &match), -W_ENOROUTE);
	CU_ASSERT_EQUAL(find("GET", "/files", &match), -W_ENOROUTE);
	CU_ASSERT_EQUAL(find("GET", "/nothing", &match), -W_ENOROUTE);
}

static void
allow_lists_each_method_once(void)
{
	struct srv_match match;

	CU_ASSERT(finds("HEAD", "/messages", "GET /messages"));
	CU_ASSERT(finds("HEAD", "/messages/new", "HEAD /messages/new"));
	CU_ASSERT_EQUAL(find("PUT", "/messages", &match), -W_EMETHOD);
	CU_ASSERT_STRING_EQUAL(match.allow.ptr, "GET, HEAD, POST, OPTIONS");
	CU_ASSERT_EQUAL(find("OPTIONS", "/messages/new", &match), -W_EMETHOD);
	CU_ASSERT_STRING_EQUAL(match.allow.ptr, "GET, HEAD, DELETE, OPTIONS");
	CU_ASSERT_EQUAL(find("get", "/messages", &match), -W_EMETHOD);
}

static void
a_conflict_names_both_modules(void)
{
	struct w_fault fault = { 0 };

	CU_ASSERT_EQUAL(add("other", "GET", "/messages/{name}", &fault), -W_ECONFLICT);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "module other"));
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "module m"));
}

static void
bad_patterns_are_refused(void)
{
	static const char *const bad[] = { "", "a", "/{", "/{}", "/{a", "/a}", "/x{a}", "/{a}x",
		"/{1a}", "/{a-b}", "/{a}/{a}", "/{a*}/b", "/a b", "/a?b", "/a%20", "/{*}" };
	struct w_fault fault;

	for (size_t i = 0; i < W_NELEM(bad); i++) {
		fault.text[0] = '\0';
		CU_ASSERT_EQUAL(add("bad", "GET", bad[i], &fault), -W_EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "module bad"));
	}
	CU_ASSERT_EQUAL(add("bad", "G T", "/ok", &fault), -W_EINVAL);
}

static void
unknown_flags_are_refused(void)
{
	struct weir_route route = { "GET", "/flags", handler, 8 };
	struct w_fault fault = { 0 };

	CU_ASSERT_EQUAL(srv__router_add(router, "new", &route, &fault), -W_EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "module new: route GET /flags: it has a flag"));
	route.flags = WEIR_ONCE | WEIR_BLOCKING | WEIR_GROUPED;
	CU_ASSERT_EQUAL(srv__router_add(router, "new", &route, &fault), W_OK);
}

static void
a_missing_module_is_named(void)
{
	struct srv_module module;
	struct w_fault fault = { 0 };

	CU_ASSERT_EQUAL(srv__module_load("no-such-module", "/", router, &module, &fault), -W_EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "no-such-module.so"));
	CU_ASSERT_EQUAL(srv__module_load("/dev/null", "/", router, &module, &fault), -W_EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, "/dev/null"));
	/* a shared object, but no module */
	CU_ASSERT_EQUAL(srv__module_load("./proc/self/exe", "/", router, &module, &fault), -W_EIO);
}

static CU_TestInfo tests[] = {
	{ "the most literal route wins", the_most_literal_route_wins },
	{ "values are those of the braces", values_are_those_of_the_braces },
	{ "slashes count", slashes_count },
	{ "Allow lists each method once", allow_lists_each_method_once },
	{ "a conflict names both modules", a_conflict_names_both_modules },
	{ "bad patterns are refused", bad_patterns_are_refused },
	{ "unknown flags are refused", unknown_flags_are_refused },
	{ "a missing module is named", a_missing_module_is_named },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo route_suites[] = {
	{ .pName = "server/route", .pInitFunc = set_up, .pCleanupFunc = tear_down,
	  .pTests = tests },
	CU_SUITE_INFO_NULL
};
