/*
 * Deadlines in a binary heap; members know their place, so that removing one costs
 * O(log n) as well. Used by the fibers only.
 */
#ifndef WEIR_COMMON_FIBER_HEAP_H
#define WEIR_COMMON_FIBER_HEAP_H

#include "common/base.h"

struct w_deadline {
	w_usec at;
	unsigned place; /* index in the heap + 1; 0 is "not in it" */
};

/* All-zero is a valid empty heap. */
struct w_deadlines {
	struct w_deadline **items;
	unsigned count, room;
};

void w_deadlines_fini(struct w_deadlines *heap);
void w_deadlines_add(struct w_deadlines *heap, struct w_deadline *item);
/* Harmless for an item that is not in the heap. */
void w_deadlines_remove(struct w_deadlines *heap, struct w_deadline *item);
/* The earliest, or NULL. */
struct w_deadline *w_deadlines_first(const struct w_deadlines *heap);

#endif
