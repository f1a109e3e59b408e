/*
 * A binary heap of deadlines, earliest first.
 */
#include "common/fiber_heap.h"

static void
put(struct w_deadlines *heap, unsigned at, struct w_deadline *item)
{
	heap->items[at] = item;
	item->place = at + 1;
}

/* Find the item's place from the hole at upwards, then from there downwards. */
static void
settle(struct w_deadlines *heap, unsigned at, struct w_deadline *item)
{
	while (at > 0 && heap->items[(at - 1) / 2]->at > item->at) {
		put(heap, at, heap->items[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (;;) {
		unsigned child = 2 * at + 1;

		if (child + 1 < heap->count && heap->items[child + 1]->at < heap->items[child]->at)
			child++;
		if (child >= heap->count || heap->items[child]->at >= item->at)
			break;
		put(heap, at, heap->items[child]);
		at = child;
	}
	put(heap, at, item);
}

void
w_deadlines_add(struct w_deadlines *heap, struct w_deadline *item)
{
	W_ASSERT(item->place == 0);
	if (heap->count == heap->room) {
		heap->room = W_MAX(64, heap->room * 2);
		heap->items = w_xrealloc(heap->items, heap->room * sizeof(*heap->items));
	}
	heap->count++;
	settle(heap, heap->count - 1, item);
}

void
w_deadlines_remove(struct w_deadlines *heap, struct w_deadline *item)
{
	unsigned hole;

	if (item->place == 0)
		return;
	hole = item->place - 1;
	item->place = 0;
	heap->count--;
	if (hole < heap->count)
		settle(heap, hole, heap->items[heap->count]);
}

struct w_deadline *
w_deadlines_first(const struct w_deadlines *heap)
{
	return heap->count > 0 ? heap->items[0] : NULL;
}

void
w_deadlines_fini(struct w_deadlines *heap)
{
	free(heap->items);
	memset(heap, 0, sizeof(*heap));
}
