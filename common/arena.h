/*
 * Memory that lives as long as one request. Allocation is a pointer bump; all of
 * it goes away at once. An arena has a limit; reaching it is an ordinary error.
 */
#ifndef WEIR_COMMON_ARENA_H
#define WEIR_COMMON_ARENA_H

#include "common/view.h"

struct w_arena_block;

struct w_arena {
	struct w_arena_block *blocks;
	char *at, *end;
	size_t used;  /* bytes handed out, alignment included */
	size_t limit; /* bytes; 0 is no limit */
};

/* Threads: one at a time. limit in bytes. */
void w_arena_init(struct w_arena *arena, size_t limit);
void w_arena_fini(struct w_arena *arena);
/* Forget everything handed out, keep the first block for the next request. */
void w_arena_reset(struct w_arena *arena);
/* 16-byte aligned; NULL when the limit is reached or memory is out. Not zeroed. */
void *w_arena_take(struct w_arena *arena, size_t len);
void *w_arena_zero(struct w_arena *arena, size_t len);
/* NUL-ended copies; the view's ptr is NULL when the limit is reached. */
struct w_view w_arena_copy(struct w_arena *arena, struct w_view text);
char *w_arena_printf(struct w_arena *arena, const char *fmt, ...) W_PRINTF(2, 3);

#endif
