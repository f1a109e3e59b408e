/*
 * A timer wheel: thousands of deadlines, each set and moved in constant time.
 *
 * A timer never fires early; it fires up to one tick late. Moving a timer to a later time
 * only notes the time; the wheel moves it when its slot comes up.
 *
 * Threads: a wheel belongs to one worker.
 */
#ifndef WEIR_BALANCER_WHEEL_H
#define WEIR_BALANCER_WHEEL_H

#include "common/base.h"

#define BAL_WHEEL_TICK (8 * W_MSEC)
#define BAL_WHEEL_SLOTS 1024 /* a power of 2; further timers are looked at once per round */

/* All-zero is a valid stopped timer. fire() may set and stop any timer, also its own. */
struct bal_timer {
	struct w_list node;
	w_usec due;
	int64_t tick; /* absolute number of the slot that it stands in */
	void (*fire)(struct bal_timer *timer);
};

struct bal_wheel {
	int64_t tick; /* the last one that was run */
	int64_t next; /* no timer stands in an earlier slot; INT64_MAX when there is none */
	unsigned count;
	uint64_t used[BAL_WHEEL_SLOTS / 64]; /* a bit per slot that may hold timers */
	struct w_list slots[BAL_WHEEL_SLOTS];
};

void bal_wheel_init(struct bal_wheel *wheel, w_usec now);
/* due W_NEVER stops the timer. */
void bal_timer_set(struct bal_wheel *wheel, struct bal_timer *timer, w_usec due);
void bal_timer_stop(struct bal_wheel *wheel, struct bal_timer *timer);
static inline bool
bal_timer_armed(const struct bal_timer *timer)
{
	return timer->node.next != NULL && timer->node.next != &timer->node;
}
/* Fire what is due. Cheap when nothing is. */
void bal_wheel_run(struct bal_wheel *wheel, w_usec now);
/* When bal_wheel_run() should be called next, W_NEVER if no timer is set. */
w_usec bal_wheel_next(const struct bal_wheel *wheel);

#endif
