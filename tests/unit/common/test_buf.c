/*
 * The buffer with a limit.
 */
#include <CUnit/CUnit.h>

#include "common/buf.h"

static void
zero_is_empty(void)
{
	struct w_buf buf = { 0 };

	CU_ASSERT_EQUAL(w_buf_get(&buf).len, 0);
	w_buf_drop(&buf, 0);
	w_buf_add(&buf, NULL, 0);
	CU_ASSERT_PTR_NOT_NULL(w_buf_room(&buf, 0));
	w_buf_fini(&buf);
	w_buf_fini(&buf);
}

static void
appends_add_up(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };

	w_buf_text(&buf, "a");
	w_buf_char(&buf, 'b');
	w_buf_view(&buf, W_VIEW("cd"));
	w_buf_u64(&buf, 0);
	w_buf_u64(&buf, UINT64_MAX);
	w_buf_printf(&buf, "-%d-", 42);
	CU_ASSERT_TRUE(w_view_eq(w_buf_get(&buf), W_VIEW("abcd018446744073709551615-42-")));
	w_buf_drop(&buf, 4);
	CU_ASSERT_TRUE(w_view_eq(w_buf_get(&buf), W_VIEW("018446744073709551615-42-")));
	w_buf_drop(&buf, buf.len);
	CU_ASSERT_EQUAL(buf.len, 0);
}

static void
growth_keeps_bytes(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };
	bool same = true;

	for (unsigned i = 0; i < 100000; i++)
		w_buf_char(&buf, (char)(i * 7));
	for (unsigned i = 0; i < 100000; i++)
		same = same && buf.ptr[i] == (char)(i * 7);
	CU_ASSERT_TRUE(same);
	CU_ASSERT_FALSE(w_buf_broken(&buf));
}

static void
limit_is_exact(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { .limit = 10 };

	w_buf_text(&buf, "01234");
	w_buf_printf(&buf, "%s", "56789");
	CU_ASSERT_FALSE(w_buf_broken(&buf));
	CU_ASSERT_TRUE(w_view_eq(w_buf_get(&buf), W_VIEW("0123456789")));
	w_buf_char(&buf, 'x');
	CU_ASSERT_TRUE(w_buf_broken(&buf));
	CU_ASSERT_EQUAL(buf.len, 10);
	CU_ASSERT_PTR_NULL(w_buf_room(&buf, 0));
	w_buf_clear(&buf);
	CU_ASSERT_FALSE(w_buf_broken(&buf));
	w_buf_printf(&buf, "%s", "01234567890");
	CU_ASSERT_TRUE(w_buf_broken(&buf));
	CU_ASSERT_EQUAL(buf.len, 0);
}

static void
broken_stays_broken(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { .limit = 4 };

	w_buf_text(&buf, "too long");
	w_buf_char(&buf, 'a');
	w_buf_u64(&buf, 1);
	w_buf_printf(&buf, "x");
	w_buf_added(&buf, 1);
	CU_ASSERT_EQUAL(buf.len, 0);
	buf.limit = 0;
	w_buf_clear(&buf);
	w_buf_char(&buf, 'a');
	CU_ASSERT_PTR_NULL(w_buf_room(&buf, SIZE_MAX));
	CU_ASSERT_TRUE(w_buf_broken(&buf));
}

static void
printf_takes_long_texts(void)
{
	W_AUTO(w_buf_fini) struct w_buf buf = { 0 };

	w_buf_printf(&buf, "%*d", 255, 1);
	w_buf_printf(&buf, "%*d", 256, 1);
	w_buf_printf(&buf, "%*d", 5000, 1);
	CU_ASSERT_EQUAL(buf.len, 255 + 256 + 5000);
}

static CU_TestInfo tests[] = {
	{ "all-zero is a valid empty buffer", zero_is_empty },
	{ "appends add up", appends_add_up },
	{ "growing keeps every byte", growth_keeps_bytes },
	{ "the limit is exact, for printf too", limit_is_exact },
	{ "a broken buffer takes nothing until it is cleared", broken_stays_broken },
	{ "printf takes texts longer than its first try", printf_takes_long_texts },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo buf_suites[] = {
	{ .pName = "common/buf", .pTests = tests },
	CU_SUITE_INFO_NULL,
};
