/*
 * The JSON writer; jansson reads back what it wrote.
 */
#include <CUnit/CUnit.h>
#include <float.h>
#include <jansson.h>
#include <math.h>

#include "common/buf.h"

static void
expect_string(struct w_view text, const char *want)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };
	struct w_json json;

	w_json_init(&json, &buf);
	w_json_view(&json, text);
	CU_ASSERT_TRUE(w_view_eq(w_buf_get(&buf), w_view_of(want)));
}

static void
commas_place_themselves(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };
	struct w_json json;

	w_json_init(&json, &buf);
	w_json_open(&json, '{');
	w_json_key(&json, "a");
	w_json_int(&json, INT64_MIN);
	w_json_key(&json, "b");
	w_json_open(&json, '[');
	w_json_bool(&json, true);
	w_json_bool(&json, false);
	w_json_null(&json);
	w_json_open(&json, '{');
	w_json_close(&json, '}');
	w_json_open(&json, '[');
	w_json_close(&json, ']');
	w_json_raw(&json, W_VIEW("[1,2]"));
	w_json_text(&json, NULL);
	w_json_close(&json, ']');
	w_json_key(&json, "c");
	w_json_text(&json, "d");
	w_json_close(&json, '}');
	CU_ASSERT_TRUE(w_view_eq(w_buf_get(&buf),
	    W_VIEW("{\"a\":-9223372036854775808,\"b\":[true,false,null,{},[],[1,2],null],"
		   "\"c\":\"d\"}")));
}

static void
strings_are_escaped(void)
{
	expect_string(W_VIEW(""), "\"\"");
	expect_string(W_VIEW("plain text that is longer than eight"),
	    "\"plain text that is longer than eight\"");
	expect_string(W_VIEW("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"");
	expect_string(W_VIEW("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\"");
	expect_string((struct w_view){ "\0\x01\x1f\x7f", 4 }, "\"\\u0000\\u0001\\u001f\x7f\"");
	expect_string((struct w_view){ NULL, 0 }, "null");
}

/* Every byte at every place of a word: the fast path may miss none. */
static void
no_byte_slips_through(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };
	char text[20];
	json_t *back;
	bool same = true;
	struct w_json json;

	for (unsigned c = 0; c < 0x80; c++) {
		for (size_t at = 0; at < sizeof(text); at++) {
			memset(text, 'a', sizeof(text));
			text[at] = (char)c;
			w_buf_clear(&buf);
			w_json_init(&json, &buf);
			w_json_view(&json, (struct w_view){ text, sizeof(text) });
			back = json_loadb(buf.ptr, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
			same = same && back != NULL && json_string_length(back) == sizeof(text) &&
			    memcmp(json_string_value(back), text, sizeof(text)) == 0;
			json_decref(back);
		}
	}
	CU_ASSERT_TRUE(same);
}

static void
bad_utf8_is_replaced(void)
{
	expect_string(W_VIEW("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
	    "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	expect_string(W_VIEW("a\xff" "b"), "\"a\xef\xbf\xbd" "b\"");
	expect_string(W_VIEW("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	expect_string(W_VIEW("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	expect_string(W_VIEW("\xf4\x90\x80\x80"),
	    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	expect_string(W_VIEW("x\xe2\x82"), "\"x\xef\xbf\xbd\xef\xbf\xbd\"");
	expect_string(W_VIEW("x\xc3"), "\"x\xef\xbf\xbd\"");
	expect_string(W_VIEW("\xe2\x82\"y"), "\"\xef\xbf\xbd\xef\xbf\xbd\\\"y\"");
}

static void
random_bytes_make_valid_json(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };
	unsigned char text[64];
	struct w_json json;
	json_t *back;
	bool valid = true;

	for (unsigned round = 0; round < 2000; round++) {
		w_random_bytes(text, sizeof(text));
		w_buf_clear(&buf);
		w_json_init(&json, &buf);
		w_json_view(&json, (struct w_view){ (char *)text, w_random() % sizeof(text) });
		back = json_loadb(buf.ptr, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		valid = valid && back != NULL;
		json_decref(back);
	}
	CU_ASSERT_TRUE(valid);
}

static void
reals_read_back(void)
{
	static const double values[] = { 0, 0.1, -1.5, 1e6, 1e15, 1e300, DBL_MIN, DBL_MAX,
		DBL_EPSILON, 1.0 / 3, 123456789.123, -1e-9, 9007199254740993.0 };
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };
	struct w_json json;
	json_t *back;

	for (size_t i = 0; i < W_NELEM(values); i++) {
		w_buf_clear(&buf);
		w_json_init(&json, &buf);
		w_json_real(&json, values[i]);
		back = json_loadb(buf.ptr, buf.len, JSON_DECODE_ANY, NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(back);
		CU_ASSERT_TRUE(json_number_value(back) == values[i]);
		json_decref(back);
	}
	w_buf_clear(&buf);
	w_json_init(&json, &buf);
	w_json_open(&json, '[');
	w_json_real(&json, NAN);
	w_json_real(&json, -INFINITY);
	w_json_real(&json, 0.25);
	w_json_real(&json, 12);
	w_json_close(&json, ']');
	CU_ASSERT_TRUE(w_view_eq(w_buf_get(&buf), W_VIEW("[null,null,0.25,12]")));
}

static void
depth_is_bounded(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };
	struct w_json json;

	w_json_init(&json, &buf);
	for (int i = 0; i < 32; i++)
		w_json_open(&json, '[');
	CU_ASSERT_FALSE(w_buf_broken(&buf));
	w_json_open(&json, '[');
	CU_ASSERT_TRUE(w_buf_broken(&buf));
	w_buf_clear(&buf);
	w_json_init(&json, &buf);
	w_json_close(&json, ']');
	CU_ASSERT_TRUE(w_buf_broken(&buf));
}

static CU_TestInfo tests[] = {
	{ "commas place themselves", commas_place_themselves },
	{ "strings are escaped as RFC 8259 says", strings_are_escaped },
	{ "no byte slips through the fast path", no_byte_slips_through },
	{ "bytes that are not UTF-8 are replaced", bad_utf8_is_replaced },
	{ "random bytes make valid JSON", random_bytes_make_valid_json },
	{ "real numbers read back as they were", reals_read_back },
	{ "depth is bounded both ways", depth_is_bounded },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo json_suites[] = {
	{ .pName = "common/json", .pTests = tests },
	CU_SUITE_INFO_NULL,
};
