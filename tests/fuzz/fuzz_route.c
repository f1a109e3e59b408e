/*
 * What the server parses of a request: the target against a router, and a JSON body. The first
 * byte chooses: 't' a target, 'p' a pattern, 'j' a JSON body, others a header field's value.
 */
#include "server/audit.h"
#include "server/json.h"
#include "server/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct srv_router *router;
static struct w_arena arena;

static int
handler(struct weir_request *req)
{
	(void)req;
	return 0;
}

int
LLVMFuzzerInitialize(int *argc W_UNUSED, char ***argv W_UNUSED)
{
	static const char *const patterns[] = { "/", "/messages", "/messages/{id}", "/messages/new",
		"/{any}/x/{y}", "/files/{path*}", "/a/{b}/c/{d}/{e*}" };

	router = srv__router_new();
	for (size_t i = 0; i < W_NELEM(patterns); i++) {
		struct weir_route route = { i % 2 == 0 ? "GET" : "POST", patterns[i], handler, 0 };

		W_ASSERT(srv__router_add(router, "fuzz", &route, NULL) == W_OK);
	}
	w_arena_init(&arena, 1 << 20);
	return 0;
}

/* What handlers are promised: NUL-ended UTF-8 without a NUL. */
static void
check_text(struct w_view text)
{
	W_ASSERT(text.ptr != NULL && text.ptr[text.len] == '\0');
	W_ASSERT(strlen(text.ptr) == text.len);
	W_ASSERT(srv__utf8_valid(text));
}

static void
try_target(struct w_view text)
{
	struct srv_match match = { 0 };
	struct srv_target target;
	const char *why = NULL;

	if (srv__target_parse(&arena, text, &target, &why) < 0)
		return;
	for (unsigned i = 0; i < target.segment_count; i++)
		check_text(target.segments[i]);
	for (unsigned i = 0; i < target.pair_count; i++) {
		check_text(target.pairs[i].name);
		check_text(target.pairs[i].value);
	}
	if (srv__router_find(router, &arena, W_VIEW("GET"), &target, &match) == W_OK)
		for (unsigned i = 0; i < match.route->param_count; i++)
			check_text(match.values[i]);
}

/* A router of its own: what is accepted must be found again. */
static void
try_pattern(struct w_view text)
{
	struct srv_router *other = srv__router_new();
	W_AUTO(w_free) char *pattern = w_view_dup(text);
	struct weir_route route = { "GET", pattern, handler, 0 };
	struct srv_match match = { 0 };
	struct srv_target target;
	const char *why;

	if (srv__router_add(other, "fuzz", &route, NULL) == W_OK) {
		W_ASSERT(srv__router_add(other, "fuzz", &route, NULL) == -W_ECONFLICT);
		if (srv__target_parse(&arena, w_view_of(pattern), &target, &why) == W_OK)
			W_ASSERT(srv__router_find(other, &arena, W_VIEW("GET"), &target, &match) == W_OK);
	}
	srv__router_free(&other);
}

static void
try_json(struct w_view text)
{
	struct srv_object object = { NULL, 0 };
	const char *why = NULL;
	size_t at = 0;
	int rc = srv__object_parse(&arena, text, &object, &why, &at);

	W_ASSERT(at <= text.len);
	for (unsigned i = 0; rc == W_OK && i < object.count; i++) {
		check_text(object.members[i].name);
		if (object.members[i].type == SRV_JSON_TEXT)
			check_text(object.members[i].value);
		W_ASSERT(srv__object_find(&object, object.members[i].name) == &object.members[i]);
	}
}

static void
try_field(struct w_view name, struct w_view value)
{
	const struct lnk_field fields[] = { { W_VIEW("Host"), W_VIEW("h") }, { name, value } };
	struct srv_audit audit;
	const char *why;

	if (srv__audit(W_VIEW("POST"), W_VIEW("HTTP/1.1"), fields, 2, &audit, &why) == W_OK)
		W_ASSERT(audit.length >= -1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "Content-Length", "Transfer-Encoding", "Expect", "X-Request-Id" };
	struct w_view text = { (const char *)data + (size > 0), size - (size > 0) };

	if (size == 0)
		return 0;
	w_arena_reset(&arena);
	if (data[0] == 't')
		try_target(text);
	else if (data[0] == 'p')
		try_pattern(text);
	else if (data[0] == 'j')
		try_json(text);
	else
		try_field(w_view_of(names[data[0] % W_NELEM(names)]), text);
	return 0;
}
