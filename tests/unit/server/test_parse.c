/* What comes from outside: targets, JSON bodies, header fields. */
#include "server/audit.h"
#include "server/json.h"
#include "server/target.h"
#include "tests/unit/server/suites.h"

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdio.h>

static struct w_arena arena;

static int
open_arena(void)
{
	w_arena_init(&arena, 1 << 20);
	return 0;
}

static int
close_arena(void)
{
	w_arena_fini(&arena);
	return 0;
}

/* ---- targets ---- */

static int
parse(const char *raw, struct srv_target *ret)
{
	const char *why = NULL;
	int rc = srv__target_parse(&arena, w_view_of(raw), ret, &why);

	CU_ASSERT((rc == -W_EINVAL) <= (why != NULL));
	return rc;
}

static bool
segments_are(const char *raw, unsigned count, const char *const *wanted)
{
	struct srv_target target;

	if (parse(raw, &target) < 0 || target.segment_count != count)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!w_view_eq(target.segments[i], w_view_of(wanted[i])))
			return false;
	return true;
}

static void
segments_are_decoded_one_by_one(void)
{
	CU_ASSERT(segments_are("/", 1, (const char *[]){ "" }));
	CU_ASSERT(segments_are("/a", 1, (const char *[]){ "a" }));
	CU_ASSERT(segments_are("/a/", 2, (const char *[]){ "a", "" }));
	CU_ASSERT(segments_are("//a", 2, (const char *[]){ "", "a" }));
	CU_ASSERT(segments_are("/a%2Fb/c", 2, (const char *[]){ "a/b", "c" }));
	CU_ASSERT(segments_are("/%41%c3%a9+", 1, (const char *[]){ "A\xc3\xa9+" }));
	CU_ASSERT(segments_are("http://host:1/x?y", 1, (const char *[]){ "x" }));
	CU_ASSERT(segments_are("HTTPS://h/", 1, (const char *[]){ "" }));
}

static void
bad_targets_are_refused(void)
{
	static const char *const bad[] = { "", "a", "/%", "/%4", "/%4g", "/%00", "/%ff", "/%c3",
		"/%ed%a0%80", "/%c0%af", "/a b", "/a\tb", "/a#b", "/..", "/a/../b", "/%2e%2e/a", "/.",
		"http://", "http:///a", "http://h", "ftp://h/", "/a?%", "/a?x=%00", "/a?x=%ff" };
	struct srv_target target;

	for (size_t i = 0; i < W_NELEM(bad); i++) {
		if (parse(bad[i], &target) != -W_EINVAL)
			fprintf(stderr, "accepted: %s\n", bad[i]);
		CU_ASSERT_EQUAL(parse(bad[i], &target), -W_EINVAL);
	}
}

static void
a_query_is_decoded_as_a_form(void)
{
	struct srv_target target;

	CU_ASSERT_EQUAL_FATAL(parse("/p?a=1&b=x+y%2B&&c&=d&a=2", &target), W_OK);
	CU_ASSERT_EQUAL_FATAL(target.pair_count, 5);
	CU_ASSERT(w_view_eq(target.pairs[1].value, W_VIEW("x y+")));
	CU_ASSERT(w_view_eq(target.pairs[2].name, W_VIEW("c")));
	CU_ASSERT_EQUAL(target.pairs[2].value.len, 0);
	CU_ASSERT_EQUAL(target.pairs[3].name.len, 0);
	CU_ASSERT(w_view_eq(target.path, W_VIEW("/p")));
	CU_ASSERT_EQUAL(parse("/p?", &target), W_OK);
	CU_ASSERT_EQUAL(target.pair_count, 0);
}

static void
too_many_parameters_are_refused(void)
{
	char raw[2 * SRV_QUERY_MAX + 8] = "/?";
	struct srv_target target;

	for (int i = 0; i < SRV_QUERY_MAX; i++)
		memcpy(raw + 2 + 2 * i, "a&", 3);
	CU_ASSERT_EQUAL(parse(raw, &target), -W_EINVAL);
}

static void
the_arena_s_limit_is_an_error(void)
{
	struct w_arena small;
	struct srv_target target;
	const char *why;

	w_arena_init(&small, 8);
	CU_ASSERT_EQUAL(srv__target_parse(&small, W_VIEW("/a/b/c"), &target, &why), -W_ENOMEM);
	w_arena_fini(&small);
}

static CU_TestInfo target_tests[] = {
	{ "segments are decoded one by one", segments_are_decoded_one_by_one },
	{ "bad targets are refused", bad_targets_are_refused },
	{ "a query is decoded as a form", a_query_is_decoded_as_a_form },
	{ "too many parameters are refused", too_many_parameters_are_refused },
	{ "the arena's limit is an error", the_arena_s_limit_is_an_error },
	CU_TEST_INFO_NULL
};

/* ---- JSON ---- */

static int
parse_json(const char *text, struct srv_object *ret)
{
	const char *why = NULL;
	size_t at = 0, len = strlen(text);
	char *exact = malloc(len + 1); /* of exactly its size but for a byte that malloc(0) needs */
	int rc;

	memcpy(exact, text, len);
	rc = srv__object_parse(&arena, (struct w_view){ exact, len }, ret, &why, &at);
	CU_ASSERT(at <= len);
	free(exact);
	return rc;
}

static void
members_are_found(void)
{
	struct srv_object object;
	const struct srv_member *member;
	static const char text[] = " {\"a\":\"x\\n\\u00e9\\ud83d\\ude00\\/\", \"n\" : -12, \"t\":true,"
	    "\"f\":false,\"z\":null,\"o\":{\"a\":[1,{}]},\"l\":[],\"\\u0061b\":\"\"} \r\n";
	const char *why;
	size_t at;

	CU_ASSERT_EQUAL_FATAL(srv__object_parse(&arena, w_view_of(text), &object, &why, &at), W_OK);
	CU_ASSERT_EQUAL(object.count, 8);
	member = srv__object_find(&object, W_VIEW("a"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(member);
	CU_ASSERT_STRING_EQUAL(member->value.ptr, "x\n\xc3\xa9\xf0\x9f\x98\x80/");
	member = srv__object_find(&object, W_VIEW("n"));
	CU_ASSERT(member != NULL && w_view_eq(member->value, W_VIEW("-12")));
	member = srv__object_find(&object, W_VIEW("o"));
	CU_ASSERT(member != NULL && member->type == SRV_JSON_OBJECT);
	CU_ASSERT_PTR_NOT_NULL(srv__object_find(&object, W_VIEW("ab")));
	CU_ASSERT_PTR_NULL(srv__object_find(&object, W_VIEW("x")));
}

static void
malformed_json_is_refused(void)
{
	static const char *const bad[] = { "", " ", "[]", "1", "{", "{}x", "{} {}", "{\"a\"}",
		"{\"a\":}", "{\"a\":1,}", "{,}", "{a:1}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":.5}",
		"{\"a\":1e}", "{\"a\":-}", "{\"a\":+1}", "{\"a\":tru}", "{\"a\":\"\\x\"}",
		"{\"a\":\"\\u12\"}", "{\"a\":\"\\u0000\"}", "{\"a\":\"\\ud800\"}",
		"{\"a\":\"\\ud800\\u0041\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"", "{\"a\":\"\\",
		"{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", "{\"a\":1,\"a\":2}", "{\"a\":[1 2]}",
		"{\"a\":[1,]}", "{\"a\":{\"b\"}}", "{\"a\":nan}", "{\"a\":[}", "\xef\xbb\xbf{}" };
	struct srv_object object;

	for (size_t i = 0; i < W_NELEM(bad); i++) {
		if (parse_json(bad[i], &object) != -W_EJSON)
			fprintf(stderr, "accepted: %s\n", bad[i]);
		CU_ASSERT_EQUAL(parse_json(bad[i], &object), -W_EJSON);
	}
}

static void
nesting_has_a_bound(void)
{
	char text[256];
	struct srv_object object;

	for (unsigned depth = SRV_JSON_DEPTH - 3; depth < SRV_JSON_DEPTH + 3; depth++) {
		snprintf(text, sizeof(text), "{\"a\":%.*s%.*s}", (int)depth,
		    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", (int)depth,
		    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
		CU_ASSERT_EQUAL(parse_json(text, &object), depth < SRV_JSON_DEPTH ? W_OK : -W_EJSON);
	}
}

static CU_TestInfo json_tests[] = {
	{ "members are found and decoded", members_are_found },
	{ "malformed JSON is refused", malformed_json_is_refused },
	{ "nesting has a bound", nesting_has_a_bound },
	CU_TEST_INFO_NULL
};

/* ---- header fields ---- */

#define FIELD(n, v) { { n, sizeof(n) - 1 }, { v, sizeof(v) - 1 } }

static int
audit(const struct lnk_field *fields, size_t count, const char *version, struct srv_audit *ret)
{
	const char *why;

	return srv__audit(W_VIEW("POST"), w_view_of(version), fields, count, ret, &why);
}

static void
good_headers_pass(void)
{
	static const struct lnk_field sized[] = { FIELD("Host", "a"), FIELD("content-length", "12"),
		FIELD("Expect", "100-Continue"), FIELD("X-Request-ID", "abc") };
	static const struct lnk_field chunked[] = { FIELD("Host", "a"),
		FIELD("Transfer-Encoding", "Chunked") };
	struct srv_audit out;

	CU_ASSERT_EQUAL(audit(sized, 4, "HTTP/1.1", &out), W_OK);
	CU_ASSERT_EQUAL(out.length, 12);
	CU_ASSERT(out.expects && w_view_eq(out.id, W_VIEW("abc")));
	CU_ASSERT_EQUAL(out.idempotency.len, 0);
	CU_ASSERT_EQUAL(audit(chunked, 2, "HTTP/1.1", &out), W_OK);
	CU_ASSERT_EQUAL(out.length, -1);
	CU_ASSERT_EQUAL(audit(NULL, 0, "HTTP/1.0", &out), W_OK);
	CU_ASSERT_EQUAL(out.length, 0);
}

/* 1 to 255 visible characters, once, quotes as they are. */
static void
keys_are_checked(void)
{
	static char text[256];
	struct lnk_field fields[] = { FIELD("Host", "a"), FIELD("Idempotency-Key", " \"k~!\" "),
		FIELD("idempotency-key", "k") };
	static const struct w_view bad[] = { { "", 0 }, { "a b", 3 }, { "\xc3\xa9", 2 },
		{ "a\tb", 3 }, { text, 256 } };
	struct srv_audit out;

	CU_ASSERT_EQUAL(audit(fields, 2, "HTTP/1.1", &out), W_OK);
	CU_ASSERT(w_view_eq(out.idempotency, W_VIEW("\"k~!\"")));
	CU_ASSERT_EQUAL(audit(fields, 3, "HTTP/1.1", &out), -W_EINVAL);
	memset(text, 'k', sizeof(text));
	for (size_t i = 0; i < W_NELEM(bad); i++) {
		fields[1].value = bad[i];
		CU_ASSERT_EQUAL(audit(fields, 2, "HTTP/1.1", &out), -W_EINVAL);
	}
	fields[1].value = (struct w_view){ text, 255 };
	CU_ASSERT_EQUAL(audit(fields, 2, "HTTP/1.1", &out), W_OK);
}

static void
positions_come_by_field_or_cookie(void)
{
	static const struct lnk_field cookie[] = { FIELD("Host", "a"),
		FIELD("Cookie", "a=1; weir-position=1-0/5; b=2") };
	static const struct lnk_field both[] = { FIELD("Host", "a"),
		FIELD("cookie", "weir-position=1-0/5"), FIELD("Weir-Position", "1-0/7"),
		FIELD("Cookie", "weir-position=1-0/6") };
	static const struct lnk_field other[] = { FIELD("Host", "a"),
		FIELD("Cookie", "x-weir-position=1-0/5;;weir-position") };
	struct srv_audit out;

	CU_ASSERT_EQUAL(audit(cookie, 2, "HTTP/1.1", &out), W_OK);
	CU_ASSERT(w_view_eq(out.position, W_VIEW("1-0/5")));
	CU_ASSERT_EQUAL(audit(both, 4, "HTTP/1.1", &out), W_OK);
	CU_ASSERT(w_view_eq(out.position, W_VIEW("1-0/7")));
	CU_ASSERT_EQUAL(audit(other, 2, "HTTP/1.1", &out), W_OK);
	CU_ASSERT_EQUAL(out.position.len, 0);
}

static void
ambiguous_headers_are_refused(void)
{
	static const struct { struct lnk_field fields[2]; int err; } bad[] = {
		{ { FIELD("Content-Length", "1"), FIELD("Content-Length", "1") }, W_EFRAMING },
		{ { FIELD("Content-Length", "1"), FIELD("Transfer-Encoding", "chunked") }, W_EFRAMING },
		{ { FIELD("Transfer-Encoding", "gzip, chunked"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("Transfer-Encoding", "identity"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("Content-Length", "+1"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("Content-Length", "1, 1"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("Content-Length", ""), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("Content-Length", "99999999999999999999"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("Content-Length ", "1"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("", "1"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("A", "x\ny"), FIELD("A", "b") }, W_EFRAMING },
		{ { FIELD("Host", "b"), FIELD("A", "b") }, W_EINVAL },
		{ { FIELD("Expect", "200-ok"), FIELD("A", "b") }, W_EEXPECT },
	};
	struct lnk_field fields[3] = { FIELD("Host", "a") };
	struct srv_audit out;

	for (size_t i = 0; i < W_NELEM(bad); i++) {
		memcpy(fields + 1, bad[i].fields, sizeof(bad[i].fields));
		CU_ASSERT_EQUAL(audit(fields, 3, "HTTP/1.1", &out), -bad[i].err);
	}
	CU_ASSERT_EQUAL(audit(NULL, 0, "HTTP/1.1", &out), -W_EINVAL);
	CU_ASSERT_EQUAL(audit(fields, 1, "HTTP/2.0", &out), -W_EVERSION);
}

static CU_TestInfo audit_tests[] = {
	{ "good headers pass", good_headers_pass },
	{ "idempotency keys are checked", keys_are_checked },
	{ "positions come by field or cookie, the field wins", positions_come_by_field_or_cookie },
	{ "ambiguous headers are refused", ambiguous_headers_are_refused },
	CU_TEST_INFO_NULL
};

CU_SuiteInfo parse_suites[] = {
	{ .pName = "server/target", .pInitFunc = open_arena,
	  .pCleanupFunc = close_arena, .pTests = target_tests },
	{ .pName = "server/json", .pInitFunc = open_arena, .pCleanupFunc = close_arena,
	  .pTests = json_tests },
	{ .pName = "server/audit", .pTests = audit_tests },
	CU_SUITE_INFO_NULL
};
