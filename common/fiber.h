/*
 * Fibers: functions with a stack of their own that park where blocking code would
 * block. A fiber never moves to another thread.
 *
 * States:  running -> parked -> ready -> running ... -> done (stack back to the pool)
 *
 * A stack is mmap'ed with a guard page below, pooled, and touched only as far as it
 * is used. Sanitizers are told of every switch.
 * Source: makecontext(3), swapcontext(3); sanitizer/common_interface_defs.h
 */
#ifndef WEIR_COMMON_FIBER_H
#define WEIR_COMMON_FIBER_H

#include "common/error.h"
#include "common/loop.h"

struct w_fiber;
struct w_fibers; /* the pool of one worker */

struct w_fiber_stats {
	unsigned running;  /* started and not done */
	unsigned pooled;   /* idle stacks */
	size_t high_water; /* deepest stack use seen so far, bytes */
	uint64_t started, switches;
};

/* stack in bytes; most: fibers at once. Threads: the worker's, for all calls below. */
int w_fibers_new(struct w_loop *loop, size_t stack, unsigned most, struct w_fibers **ret);
/*
 * All fibers should be done. Those that are not (a drain that ran out of time) are logged,
 * never run again and leaked with their stacks: only for a process that ends.
 */
void w_fibers_free(struct w_fibers **fibers);
void w_fibers_stats(const struct w_fibers *fibers, struct w_fiber_stats *ret);

/*
 * Start fn(arg) and run it at once, until it parks or ends. One that never waits costs
 * no wake-up. May not be called from inside a fiber.
 *
 * Errors   -W_EBUSY as many as allowed are running; -W_ENOMEM no stack to be had
 */
int w_fiber_start(struct w_fibers *fibers, void (*fn)(void *arg), void *arg);

/* The running fiber; NULL outside of one. */
struct w_fiber *w_fiber_self(void);

/*
 * Wait until w_fiber_wake(). A wake that comes before the park makes the park return at
 * once; wakes do not add up. So callers loop over their condition:
 *	while (!done) w_fiber_park();
 */
void w_fiber_park(void);
/* As above; -W_ETIMEOUT when deadline (w_now() based) passes first, else W_OK. */
int w_fiber_park_until(w_usec deadline);
/* Make a fiber ready; it runs at the end of this turn. Harmless for a running or ready one. */
void w_fiber_wake(struct w_fiber *fiber);
/* Park until the time is over. */
void w_fiber_sleep(w_usec wait);

#endif
