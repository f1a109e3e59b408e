/*
 * The timer wheel: see wheel.h.
 *
 * 1. An armed timer stands in the slot of its tick, which is never later than its due time.
 * 2. The bit of a slot that holds timers is set; a set bit of an empty slot does no harm.
 */
#include "balancer/wheel.h"

static int64_t
tick_of(w_usec due)
{
	return due > W_NEVER - BAL_WHEEL_TICK ? INT64_MAX : (due + BAL_WHEEL_TICK - 1) / BAL_WHEEL_TICK;
}

void
bal_wheel_init(struct bal_wheel *wheel, w_usec now)
{
	memset(wheel, 0, sizeof(*wheel));
	for (unsigned i = 0; i < BAL_WHEEL_SLOTS; i++)
		w_list_init(&wheel->slots[i]);
	wheel->tick = now / BAL_WHEEL_TICK;
	wheel->next = INT64_MAX;
}

static void
insert(struct bal_wheel *wheel, struct bal_timer *timer)
{
	int64_t tick = W_MAX(tick_of(timer->due), wheel->tick + 1);
	unsigned slot;

	timer->tick = W_MIN(tick, wheel->tick + BAL_WHEEL_SLOTS - 1);
	slot = (unsigned)timer->tick % BAL_WHEEL_SLOTS;
	wheel->used[slot / 64] |= UINT64_C(1) << (slot % 64);
	wheel->next = W_MIN(wheel->next, timer->tick);
	w_list_push(&wheel->slots[slot], &timer->node);
	wheel->count++;
}

void
bal_timer_stop(struct bal_wheel *wheel, struct bal_timer *timer)
{
	if (!bal_timer_armed(timer))
		return;
	w_list_remove(&timer->node);
	wheel->count--;
}

void
bal_timer_set(struct bal_wheel *wheel, struct bal_timer *timer, w_usec due)
{
	if (due == W_NEVER) {
		bal_timer_stop(wheel, timer);
		return;
	}
	timer->due = due;
	if (bal_timer_armed(timer) && timer->tick <= tick_of(due))
		return;
	bal_timer_stop(wheel, timer);
	insert(wheel, timer);
}

static void
run_slot(struct bal_wheel *wheel, struct w_list *slot, w_usec now)
{
	struct w_list todo, *node;

	if (w_list_empty(slot))
		return;
	todo = *slot;
	todo.next->prev = todo.prev->next = &todo;
	w_list_init(slot);

	while ((node = w_list_shift(&todo)) != NULL) {
		struct bal_timer *timer = w_list_entry(node, struct bal_timer, node);

		wheel->count--;
		if (timer->due > now)
			insert(wheel, timer);
		else
			timer->fire(timer);
	}
}

/* The first used slot after tick, in the order in which slots come up. */
static int64_t
find_next(struct bal_wheel *wheel)
{
	if (wheel->count == 0) {
		memset(wheel->used, 0, sizeof(wheel->used));
		return INT64_MAX;
	}
	for (int64_t tick = wheel->tick + 1; tick < wheel->tick + BAL_WHEEL_SLOTS;) {
		unsigned slot = (unsigned)tick % BAL_WHEEL_SLOTS;
		uint64_t word = wheel->used[slot / 64] >> (slot % 64);

		if (word != 0)
			return tick + __builtin_ctzll(word);
		tick += 64 - slot % 64;
	}
	return wheel->tick + BAL_WHEEL_SLOTS;
}

void
bal_wheel_run(struct bal_wheel *wheel, w_usec now)
{
	int64_t target = now / BAL_WHEEL_TICK;

	if (target < wheel->next) {
		wheel->tick = W_MAX(wheel->tick, target);
		return;
	}
	/* Slots that lie more than a round behind are the same slots again. */
	for (int64_t tick = W_MAX(wheel->next, target - BAL_WHEEL_SLOTS + 1); tick <= target; tick++) {
		unsigned slot = (unsigned)tick % BAL_WHEEL_SLOTS;

		wheel->tick = tick;
		wheel->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
		run_slot(wheel, &wheel->slots[slot], now);
	}
	wheel->next = find_next(wheel);
}

w_usec
bal_wheel_next(const struct bal_wheel *wheel)
{
	return wheel->next == INT64_MAX ? W_NEVER : wheel->next * BAL_WHEEL_TICK;
}
