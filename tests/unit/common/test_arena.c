/*
 * The arena of one request.
 */
#include <CUnit/CUnit.h>

#include "common/arena.h"

static void
pieces_are_aligned_and_apart(void)
{
	struct w_arena arena;
	char *pieces[200];
	bool good = true;

	w_arena_init(&arena, 0);
	for (size_t i = 0; i < W_NELEM(pieces); i++) {
		pieces[i] = w_arena_take(&arena, i * 13);
		CU_ASSERT_PTR_NOT_NULL_FATAL(pieces[i]);
		memset(pieces[i], (int)i, i * 13);
		good = good && (uintptr_t)pieces[i] % 16 == 0;
	}
	for (size_t i = 0; i < W_NELEM(pieces); i++)
		for (size_t j = 0; j < i * 13; j++)
			good = good && pieces[i][j] == (char)i;
	CU_ASSERT_TRUE(good);
	w_arena_fini(&arena);
	w_arena_fini(&arena);
}

static void
limit_is_an_answer(void)
{
	struct w_arena arena;

	w_arena_init(&arena, 64);
	CU_ASSERT_PTR_NOT_NULL(w_arena_take(&arena, 33));
	CU_ASSERT_EQUAL(arena.used, 48);
	CU_ASSERT_PTR_NULL(w_arena_take(&arena, 17));
	CU_ASSERT_PTR_NULL(w_arena_copy(&arena, W_VIEW("longer than what is left")).ptr);
	CU_ASSERT_PTR_NULL(w_arena_printf(&arena, "%*d", 100, 1));
	CU_ASSERT_PTR_NOT_NULL(w_arena_take(&arena, 16));
	CU_ASSERT_PTR_NULL(w_arena_take(&arena, 0));
	CU_ASSERT_PTR_NULL(w_arena_take(&arena, SIZE_MAX));
	CU_ASSERT_PTR_NULL(w_arena_take(&arena, SIZE_MAX - 8));
	w_arena_reset(&arena);
	CU_ASSERT_EQUAL(arena.used, 0);
	CU_ASSERT_PTR_NOT_NULL(w_arena_take(&arena, 64));
	w_arena_fini(&arena);
}

static void
reset_keeps_the_first_block(void)
{
	struct w_arena arena;
	char *first;

	w_arena_init(&arena, 0);
	first = w_arena_take(&arena, 10);
	CU_ASSERT_PTR_NOT_NULL(w_arena_take(&arena, 100000));
	w_arena_reset(&arena);
	CU_ASSERT_PTR_EQUAL(w_arena_take(&arena, 10), first);
	for (int i = 0; i < 100; i++)
		CU_ASSERT_PTR_NOT_NULL(w_arena_take(&arena, 1000));
	w_arena_reset(&arena);
	w_arena_reset(&arena);
	CU_ASSERT_PTR_NOT_NULL(w_arena_take(&arena, 1));
	w_arena_fini(&arena);
	w_arena_init(&arena, 0);
	w_arena_reset(&arena);
	w_arena_fini(&arena);
}

static void
large_piece_spares_the_block(void)
{
	struct w_arena arena;
	char *a, *b;

	w_arena_init(&arena, 0);
	a = w_arena_take(&arena, 16);
	CU_ASSERT_PTR_NOT_NULL(w_arena_zero(&arena, 1 << 20));
	b = w_arena_take(&arena, 16);
	CU_ASSERT_PTR_EQUAL(b, a + 16);
	w_arena_fini(&arena);
}

static void
texts_are_copied(void)
{
	struct w_arena arena;
	struct w_view copy;
	unsigned char *zero;
	unsigned sum = 0;

	w_arena_init(&arena, 0);
	copy = w_arena_copy(&arena, (struct w_view){ "abcdef", 3 });
	CU_ASSERT_STRING_EQUAL(copy.ptr, "abc");
	CU_ASSERT_EQUAL(copy.len, 3);
	copy = w_arena_copy(&arena, (struct w_view){ NULL, 0 });
	CU_ASSERT_STRING_EQUAL(copy.ptr, "");
	CU_ASSERT_STRING_EQUAL(w_arena_printf(&arena, "%s-%d", "db", 1), "db-1");
	memset(w_arena_take(&arena, 512), 0xff, 512);
	w_arena_reset(&arena);
	zero = w_arena_zero(&arena, 512);
	for (size_t i = 0; i < 512; i++)
		sum += zero[i];
	CU_ASSERT_EQUAL(sum, 0);
	w_arena_fini(&arena);
}

static CU_TestInfo tests[] = {
	{ "pieces are aligned and do not overlap", pieces_are_aligned_and_apart },
	{ "reaching the limit is an answer, not an end", limit_is_an_answer },
	{ "a reset keeps the first block", reset_keeps_the_first_block },
	{ "a large piece spares the rest of the block", large_piece_spares_the_block },
	{ "texts are copied with their NUL", texts_are_copied },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo arena_suites[] = {
	{ .pName = "common/arena", .pTests = tests },
	CU_SUITE_INFO_NULL,
};
