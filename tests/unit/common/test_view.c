/*
 * Views, and the small things of base.h and error.h.
 */
#include <CUnit/CUnit.h>

#include "common/error.h"
#include "common/view.h"

static void
views_compare(void)
{
	struct w_view none = { NULL, 0 };

	CU_ASSERT_TRUE(w_view_eq(W_VIEW("abc"), w_view_of("abc")));
	CU_ASSERT_FALSE(w_view_eq(W_VIEW("abc"), W_VIEW("abd")));
	CU_ASSERT_FALSE(w_view_eq(W_VIEW("abc"), W_VIEW("ab")));
	CU_ASSERT_TRUE(w_view_eq(none, W_VIEW("")));
	CU_ASSERT_PTR_NULL(w_view_of(NULL).ptr);
	CU_ASSERT_TRUE(w_view_ieq(W_VIEW("Content-Length"), W_VIEW("content-lENGTH")));
	CU_ASSERT_FALSE(w_view_ieq(W_VIEW("a["), W_VIEW("A{")));
	CU_ASSERT_FALSE(w_view_ieq(W_VIEW("@"), W_VIEW("`")));
	CU_ASSERT_TRUE(w_view_starts(W_VIEW("/messages/7"), W_VIEW("/messages/")));
	CU_ASSERT_FALSE(w_view_starts(W_VIEW("/m"), W_VIEW("/messages/")));
	CU_ASSERT_TRUE(w_view_starts(none, none));
	CU_ASSERT_TRUE(w_view_ends(W_VIEW("a.sql"), W_VIEW(".sql")));
	CU_ASSERT_FALSE(w_view_ends(W_VIEW("sql"), W_VIEW(".sql")));
}

static void
sub_is_clamped(void)
{
	CU_ASSERT_TRUE(w_view_eq(w_view_sub(W_VIEW("abcdef"), 2, 3), W_VIEW("cde")));
	CU_ASSERT_TRUE(w_view_eq(w_view_sub(W_VIEW("abcdef"), 4, SIZE_MAX), W_VIEW("ef")));
	CU_ASSERT_EQUAL(w_view_sub(W_VIEW("abc"), 9, 9).len, 0);
	CU_ASSERT_EQUAL(w_view_sub((struct w_view){ NULL, 0 }, 1, 1).len, 0);
}

static void
trim_takes_ows_only(void)
{
	CU_ASSERT_TRUE(w_view_eq(w_view_trim(W_VIEW(" \t a b\t ")), W_VIEW("a b")));
	CU_ASSERT_TRUE(w_view_eq(w_view_trim(W_VIEW("\na\r")), W_VIEW("\na\r")));
	CU_ASSERT_EQUAL(w_view_trim(W_VIEW("   ")).len, 0);
	CU_ASSERT_EQUAL(w_view_trim((struct w_view){ NULL, 0 }).len, 0);
}

static void
split_gives_every_part(void)
{
	static const char *const parts[] = { "a", "", "b", "" };
	struct w_view text = W_VIEW("a,,b,"), part;
	size_t count = 0;

	while (w_view_split(&text, ',', &part)) {
		CU_ASSERT_FATAL(count < W_NELEM(parts));
		CU_ASSERT_TRUE(w_view_eq(part, w_view_of(parts[count])));
		count++;
	}
	CU_ASSERT_EQUAL(count, W_NELEM(parts));
	CU_ASSERT_FALSE(w_view_split(&text, ',', &part));
	text = W_VIEW("");
	CU_ASSERT_TRUE(w_view_split(&text, ',', &part));
	CU_ASSERT_FALSE(w_view_split(&text, ',', &part));
	CU_ASSERT_EQUAL(w_view_find(W_VIEW("a:b"), ':'), 1);
	CU_ASSERT_EQUAL(w_view_find(W_VIEW("ab"), ':'), 2);
}

static void
numbers_are_strict(void)
{
	static const struct {
		const char *text;
		uint64_t max;
		int rc;
		uint64_t value;
	} table[] = {
		{ "0", 10, 0, 0 },
		{ "007", 10, 0, 7 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -W_ERANGE, 1 },
		{ "99999999999999999999999", UINT64_MAX, -W_ERANGE, 1 },
		{ "99999999999999999999999x", UINT64_MAX, -W_EINVAL, 1 },
		{ "11", 10, -W_ERANGE, 1 },
		{ "", 10, -W_EINVAL, 1 },
		{ "+1", 10, -W_EINVAL, 1 },
		{ "-1", 10, -W_EINVAL, 1 },
		{ " 1", 10, -W_EINVAL, 1 },
		{ "1 ", 10, -W_EINVAL, 1 },
		{ "0x1", 10, -W_EINVAL, 1 },
	};
	uint64_t value;

	for (size_t i = 0; i < W_NELEM(table); i++) {
		value = 1;
		CU_ASSERT_EQUAL(w_view_u64(w_view_of(table[i].text), table[i].max, &value),
		    table[i].rc);
		CU_ASSERT_EQUAL(value, table[i].value);
	}
	CU_ASSERT_EQUAL(w_view_u64((struct w_view){ NULL, 0 }, 1, &value), -W_EINVAL);
}

static void
signed_numbers_reach_both_ends(void)
{
	int64_t value = 5;

	CU_ASSERT_EQUAL(w_view_i64(W_VIEW("-9223372036854775808"), &value), 0);
	CU_ASSERT_EQUAL(value, INT64_MIN);
	CU_ASSERT_EQUAL(w_view_i64(W_VIEW("9223372036854775807"), &value), 0);
	CU_ASSERT_EQUAL(value, INT64_MAX);
	CU_ASSERT_EQUAL(w_view_i64(W_VIEW("9223372036854775808"), &value), -W_ERANGE);
	CU_ASSERT_EQUAL(w_view_i64(W_VIEW("-9223372036854775809"), &value), -W_ERANGE);
	CU_ASSERT_EQUAL(w_view_i64(W_VIEW("-"), &value), -W_EINVAL);
	CU_ASSERT_EQUAL(w_view_i64(W_VIEW("--1"), &value), -W_EINVAL);
	CU_ASSERT_EQUAL(value, INT64_MAX);
}

static void
copies_end_with_nul(void)
{
	W_AUTO(w_free) char *dup = w_view_dup((struct w_view){ "abcdef", 3 });
	char to[4];

	CU_ASSERT_STRING_EQUAL(dup, "abc");
	CU_ASSERT_EQUAL(w_view_copy(W_VIEW("abc"), to, sizeof(to)), 0);
	CU_ASSERT_STRING_EQUAL(to, "abc");
	CU_ASSERT_EQUAL(w_view_copy(W_VIEW("abcd"), to, sizeof(to)), -W_ERANGE);
	CU_ASSERT_EQUAL(w_view_copy((struct w_view){ NULL, 0 }, to, sizeof(to)), 0);
	CU_ASSERT_STRING_EQUAL(to, "");
}

static void
hash_sees_every_byte(void)
{
	char text[32] = "abcdefghijklmnopqrstuvwxyz01234";
	uint64_t before;

	for (size_t len = 1; len < sizeof(text); len++) {
		before = w_view_hash((struct w_view){ text, len });
		CU_ASSERT_EQUAL(before, w_view_hash((struct w_view){ text, len }));
		text[len - 1] ^= 1;
		CU_ASSERT_NOT_EQUAL(before, w_view_hash((struct w_view){ text, len }));
		text[len - 1] ^= 1;
	}
	CU_ASSERT_NOT_EQUAL(w_view_hash(W_VIEW("")), w_view_hash((struct w_view){ "\0", 1 }));
}

static void
errors_know_themselves(void)
{
	struct w_fault fault = { 0 };

	CU_ASSERT_STRING_EQUAL(w_err_name(-W_EBUSY), "BUSY");
	CU_ASSERT_STRING_EQUAL(w_err_name(W_EBUSY), "BUSY");
	CU_ASSERT_STRING_EQUAL(w_err_name(W_OK), "OK");
	CU_ASSERT_EQUAL(w_err_http(-W_ETIMEOUT), 504);
	CU_ASSERT_TRUE(w_err_retry(-W_ELOST));
	CU_ASSERT_FALSE(w_err_retry(-W_EINDOUBT));
	CU_ASSERT_STRING_EQUAL(w_err_name(W_ERR_COUNT), "UNKNOWN");
	CU_ASSERT_STRING_EQUAL(w_err_name(INT32_MIN), "UNKNOWN");
	CU_ASSERT_EQUAL(w_err_http(-9999), 500);
	CU_ASSERT_EQUAL(w_fail(&fault, -W_EDOWN, "node=%s", "db-1"), -W_EDOWN);
	CU_ASSERT_EQUAL(fault.err, -W_EDOWN);
	CU_ASSERT_STRING_EQUAL(fault.text, "node=db-1");
	CU_ASSERT_EQUAL(w_fail(NULL, -W_EDOWN, "x"), -W_EDOWN);
}

static void
base_helpers_work(void)
{
	struct w_list head = W_LIST_INIT(head), a, b, *at;
	w_usec before = w_now();
	char *text = w_xstrdup("x");
	int fd = -1;

	CU_ASSERT_TRUE(w_now() >= before);
	CU_ASSERT_TRUE(w_wall() > (w_usec)1500000000 * W_SEC);
	CU_ASSERT_NOT_EQUAL(w_random(), w_random());
	w_free(&text);
	CU_ASSERT_PTR_NULL(text);
	w_close(&fd);
	w_list_init(&a);
	w_list_push(&head, &a);
	w_list_push(&head, &b);
	w_list_remove(&a);
	w_list_remove(&a);
	at = w_list_shift(&head);
	CU_ASSERT_PTR_EQUAL(at, &b);
	CU_ASSERT_TRUE(w_list_empty(&head));
}

static CU_TestInfo tests[] = {
	{ "views compare with and without case", views_compare },
	{ "a part of a view never leaves it", sub_is_clamped },
	{ "trimming takes spaces and tabs only", trim_takes_ows_only },
	{ "splitting gives every part, empty ones too", split_gives_every_part },
	{ "a number is digits and nothing else", numbers_are_strict },
	{ "signed numbers reach both ends", signed_numbers_reach_both_ends },
	{ "copies end with NUL", copies_end_with_nul },
	{ "the hash sees every byte", hash_sees_every_byte },
	{ "errors know their name, status and retry", errors_know_themselves },
	{ "time, random numbers, lists and cleanup work", base_helpers_work },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo view_suites[] = {
	{ .pName = "common/view", .pTests = tests },
	CU_SUITE_INFO_NULL,
};
