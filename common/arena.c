/*
 * The arena: a chain of blocks, newest first.
 *
 *	1. at..end is the free rest of the newest bump block.
 *	2. A piece larger than a quarter block gets a block of its own, so that the rest of
 *	   the bump block is not lost.
 *	3. One bump block outlives a reset.
 *	4. Between pieces lies memory that the address sanitizer knows to be forbidden.
 */
#include <stdarg.h>
#include <stdio.h>

#include "common/arena.h"

#define ARENA_ALIGN 16
#define ARENA_BLOCK ((size_t)4096 - 64) /* payload of a bump block: a page with its heads */

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define forbid(ptr, len) ASAN_POISON_MEMORY_REGION(ptr, len)
#define permit(ptr, len) ASAN_UNPOISON_MEMORY_REGION(ptr, len)
#else
#define forbid(ptr, len) ((void)(ptr), (void)(len))
#define permit(ptr, len) ((void)(ptr), (void)(len))
#endif

struct w_arena_block {
	struct w_arena_block *next;
	size_t size;
	_Alignas(ARENA_ALIGN) char data[];
};

void
w_arena_init(struct w_arena *arena, size_t limit)
{
	*arena = (struct w_arena){ .limit = limit };
}

static void
block_free(struct w_arena_block *block)
{
	permit(block->data, block->size);
	free(block);
}

void
w_arena_fini(struct w_arena *arena)
{
	struct w_arena_block *block;

	while ((block = arena->blocks) != NULL) {
		arena->blocks = block->next;
		block_free(block);
	}
	arena->at = arena->end = NULL;
	arena->used = 0;
}

void
w_arena_reset(struct w_arena *arena)
{
	struct w_arena_block *block, *keep = NULL;

	while ((block = arena->blocks) != NULL) {
		arena->blocks = block->next;
		if (block->size == ARENA_BLOCK && keep == NULL)
			keep = block;
		else
			block_free(block);
	}
	arena->used = 0;
	arena->blocks = keep;
	arena->at = arena->end = NULL;
	if (keep == NULL)
		return;
	keep->next = NULL;
	arena->at = keep->data;
	arena->end = keep->data + keep->size;
	forbid(keep->data, keep->size);
}

static struct w_arena_block *
block_new(struct w_arena *arena, size_t size)
{
	struct w_arena_block *block = malloc(sizeof(*block) + size);

	if (block == NULL)
		return NULL;
	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

/* The slow road: a block of its own for a large piece, a fresh bump block for a small one. */
static char *
take_slow(struct w_arena *arena, size_t len)
{
	bool large = len > ARENA_BLOCK / 4;
	struct w_arena_block *block = block_new(arena, large ? len : ARENA_BLOCK);

	if (block == NULL)
		return NULL;
	if (large)
		return block->data;
	forbid(block->data, block->size);
	arena->at = block->data + len;
	arena->end = block->data + block->size;
	return block->data;
}

void *
w_arena_take(struct w_arena *arena, size_t len)
{
	size_t want;
	char *piece;

	if (len > SIZE_MAX / 2)
		return NULL;
	want = (W_MAX(len, (size_t)1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (arena->limit != 0 && want > arena->limit - arena->used)
		return NULL;
	if (arena->at != NULL && want <= (size_t)(arena->end - arena->at)) {
		piece = arena->at;
		arena->at += want;
	} else {
		piece = take_slow(arena, want);
		if (piece == NULL)
			return NULL;
	}
	arena->used += want;
	permit(piece, len);
	return piece;
}

void *
w_arena_zero(struct w_arena *arena, size_t len)
{
	void *piece = w_arena_take(arena, len);

	if (piece != NULL && len > 0)
		memset(piece, 0, len);
	return piece;
}

struct w_view
w_arena_copy(struct w_arena *arena, struct w_view text)
{
	char *copy = w_arena_take(arena, text.len + 1);

	if (copy == NULL)
		return (struct w_view){ NULL, 0 };
	if (text.len > 0)
		memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	return (struct w_view){ copy, text.len };
}

char *
w_arena_printf(struct w_arena *arena, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		return NULL;
	text = w_arena_take(arena, (size_t)len + 1);
	if (text == NULL)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(text, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return text;
}
