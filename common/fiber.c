/*
 * Fibers: glibc's ucontext makes their stacks, _setjmp and _longjmp switch between them.
 *
 *	         start                    park                     wake, deadline
 *	IDLE ------------> RUNNING ----------------> PARKED -----------------------> READY
 *	  ^                  | ^                                                      |
 *	  +------------------+ +------------------------------------------------------+
 *	        fn returned                         end of turn
 *
 * 1. Only the worker's own stack (the "main" context) resumes fibers, and fibers switch
 *    only back to it. So there are never more than two contexts to think of.
 * 2. A fiber's function loops for ever: run a job, switch back, run the next one. A pooled
 *    fiber is thus ready to go, and a sanitizer's shadow of its stack stays in balance.
 * 3. A stack's pages stay in memory once touched, so looking at some returned stacks now and
 *    then finds the deepest use of all in the end.
 * 4. A switch makes no system call. swapcontext(3) makes one for the signal mask, which is the
 *    same for all fibers of a worker: so it runs only for a stack's first entry.
 */
#undef _FORTIFY_SOURCE /* its longjmp() takes a jump to another stack for a mistake */
#include "common/fiber.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/fiber_heap.h"
#include "common/log.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* The sanitizers know swapcontext(3); a jump they take for one within the stack that is left. */
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
#define FIBER_CONTEXT 1
#endif

#define POOL_MAX 512		 /* idle stacks that are kept */
#define KEEP_TOUCHED (64 * 1024) /* memory that an idle stack may keep, bytes */
#define LOOK_EVERY 64		 /* returned stacks that are looked at: one in so many */
#define ROUNDS 16		 /* times that fibers may wake others within one turn */

enum fiber_state { FIBER_IDLE, FIBER_RUNNING, FIBER_PARKED, FIBER_READY };

/* What the sanitizers know of a stack; empty without them. */
struct shadow {
	void *fake; /* address: the fake stack while switched away */
	const void *bottom;
	size_t size;
	void *context; /* thread: the fiber */
};

/* Where a stack was left. */
struct place {
	ucontext_t context; /* before the first entry; always for sanitizers */
#ifndef FIBER_CONTEXT
	bool entered;
	jmp_buf jump;
#endif
};

struct w_fiber {
	struct w_list node; /* in the pool or in the ready list */
	struct w_fibers *fibers;
	enum fiber_state state;
	bool woken;	/* a wake came while it ran */
	bool timed_out; /* its deadline, not a wake, made it ready */
	struct w_deadline deadline;
	void (*fn)(void *arg);
	void *arg;
	char *map; /* guard page, then the stack */
	struct place place;
	struct shadow shadow;
};

struct w_fibers {
	struct w_loop *loop;
	size_t stack, page;
	unsigned most;
	struct w_list pool, ready;
	struct w_fiber_stats stats;
	struct w_turn turn;
	struct w_deadlines deadlines;
	struct w_timer timer;
	w_usec armed; /* when the timer fires; W_NEVER when it does not */
	unsigned returned;
	struct place main;
	struct shadow shadow; /* of the main stack */
};

static __thread struct w_fiber *self;

/* ---- switching ---- */

/* Before leaving. to_end: the stack that is left will not be used again. */
static void
leave_stack(struct shadow *from W_UNUSED, const struct shadow *to W_UNUSED, bool to_end W_UNUSED)
{
#ifdef FIBER_ASAN
	__sanitizer_start_switch_fiber(to_end ? NULL : &from->fake, to->bottom, to->size);
#endif
#ifdef FIBER_TSAN
	__tsan_switch_to_fiber(to->context, 0);
#endif
}

/* First thing after arriving. came_from, when not NULL, learns of the stack that was left. */
static void
enter_stack(struct shadow *here W_UNUSED, struct shadow *came_from W_UNUSED)
{
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(here->fake, came_from != NULL ? &came_from->bottom : NULL,
	    came_from != NULL ? &came_from->size : NULL);
#endif
}

/*
 * Leave this stack for another; returns when somebody switches back. Neither the signal mask nor
 * the modes of floating point (MXCSR, x87 control word) are saved: a fiber that changes one of
 * them puts it back before it waits.
 */
#ifdef FIBER_CONTEXT
static void
switch_stacks(struct place *from, struct place *to)
{
	swapcontext(&from->context, &to->context);
}
#else
static void
switch_stacks(struct place *from, struct place *to)
{
	from->entered = true;
	if (_setjmp(from->jump) != 0)
		return;
	if (to->entered)
		_longjmp(to->jump, 1);
	setcontext(&to->context);
}
#endif

/* From a fiber back to the worker's stack; returns when the fiber is resumed. */
static void
switch_back(struct w_fiber *fiber, bool to_end)
{
	struct w_fibers *fibers = fiber->fibers;

	leave_stack(&fiber->shadow, &fibers->shadow, to_end);
	switch_stacks(&fiber->place, &fibers->main);
	enter_stack(&fiber->shadow, &fibers->shadow);
}

/* From the worker's stack to a fiber; returns when it parks or its job is done. */
static void
switch_to(struct w_fiber *fiber)
{
	struct w_fibers *fibers = fiber->fibers;

	W_ASSERT(self == NULL);
	fibers->stats.switches++;
	fiber->state = FIBER_RUNNING;
	self = fiber;
#ifdef FIBER_TSAN
	fibers->shadow.context = __tsan_get_current_fiber();
#endif
	leave_stack(&fibers->shadow, &fiber->shadow, false);
	switch_stacks(&fibers->main, &fiber->place);
	enter_stack(&fibers->shadow, NULL);
	self = NULL;
}

/* makecontext(3) passes ints, so the pointer comes in two halves. */
static void
fiber_main(unsigned high, unsigned low)
{
	struct w_fiber *fiber = (void *)(((uintptr_t)high << 32) | low);

	enter_stack(&fiber->shadow, &fiber->fibers->shadow);
	while (fiber->fn != NULL) {
		fiber->fn(fiber->arg);
		fiber->state = FIBER_IDLE;
		switch_back(fiber, false);
	}
	fiber->state = FIBER_IDLE;
	switch_back(fiber, true);
	W_ASSERT(!"a fiber was resumed after its end");
}

/* ---- stacks ---- */

static char *
map_stack(const struct w_fibers *fibers)
{
	size_t size = fibers->page + fibers->stack;
	char *map = mmap(
	    NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	if (mprotect(map + fibers->page, fibers->stack, PROT_READ | PROT_WRITE) == 0)
		return map;
	munmap(map, size);
	return NULL;
}

/* The first entry runs the fiber from the top of its stack. */
static void
make_place(struct place *place, void *stack, size_t size, const struct w_fiber *fiber)
{
	uintptr_t word = (uintptr_t)fiber;

	getcontext(&place->context);
	place->context.uc_stack.ss_sp = stack;
	place->context.uc_stack.ss_size = size;
	place->context.uc_link = NULL;
	makecontext(&place->context, (void (*)(void))fiber_main, 2, (unsigned)(word >> 32),
	    (unsigned)word);
}

static struct w_fiber *
new_fiber(struct w_fibers *fibers)
{
	char *map = map_stack(fibers);
	struct w_fiber *fiber;

	if (map == NULL)
		return NULL;
	fiber = w_xcalloc(1, sizeof(*fiber));
	w_list_init(&fiber->node);
	fiber->fibers = fibers;
	fiber->map = map;
	fiber->shadow.bottom = map + fibers->page;
	fiber->shadow.size = fibers->stack;
#ifdef FIBER_TSAN
	fiber->shadow.context = __tsan_create_fiber(0);
#endif
	make_place(&fiber->place, map + fibers->page, fibers->stack, fiber);
	return fiber;
}

/* Bytes of the stack that are in memory. */
static size_t
touched(const struct w_fibers *fibers, const struct w_fiber *fiber)
{
	unsigned char in_memory[256];
	char *at = fiber->map + fibers->page, *end = at + fibers->stack;

	while (at < end) {
		size_t len = W_MIN((size_t)(end - at), sizeof(in_memory) * fibers->page);

		if (mincore(at, len, in_memory) < 0)
			return 0;
		for (size_t i = 0; i < len / fibers->page; i++, at += fibers->page)
			if ((in_memory[i] & 1) != 0)
				return (size_t)(end - at);
	}
	return 0;
}

static void
look_at_stack(struct w_fibers *fibers, struct w_fiber *fiber)
{
	size_t used = touched(fibers, fiber);

	fibers->stats.high_water = W_MAX(fibers->stats.high_water, used);
	if (used > KEEP_TOUCHED)
		madvise(fiber->map + fibers->page, fibers->stack - KEEP_TOUCHED, MADV_DONTNEED);
}

static void
free_fiber(struct w_fibers *fibers, struct w_fiber *fiber)
{
	look_at_stack(fibers, fiber);
#ifdef FIBER_ASAN
	fiber->fn = NULL; /* lets the sanitizer free what it keeps for the stack */
	switch_to(fiber);
#endif
#ifdef FIBER_TSAN
	__tsan_destroy_fiber(fiber->shadow.context);
#endif
	munmap(fiber->map, fibers->page + fibers->stack);
	free(fiber);
}

static struct w_fiber *
take_fiber(struct w_fibers *fibers)
{
	struct w_list *node = w_list_shift(&fibers->pool);

	if (node == NULL)
		return new_fiber(fibers);
	fibers->stats.pooled--;
	return w_list_entry(node, struct w_fiber, node);
}

static void
give_fiber(struct w_fibers *fibers, struct w_fiber *fiber)
{
	fibers->stats.running--;
	if (fibers->stats.pooled >= POOL_MAX) {
		free_fiber(fibers, fiber);
		return;
	}
	if (fibers->returned++ % LOOK_EVERY == 0)
		look_at_stack(fibers, fiber);
	fibers->stats.pooled++;
	/* in front: the stack that was used last is the one in the processor's caches */
	w_list_push(fibers->pool.next, &fiber->node);
}

/* ---- running ---- */

static void
resume(struct w_fiber *fiber)
{
	switch_to(fiber);
	if (fiber->state == FIBER_IDLE)
		give_fiber(fiber->fibers, fiber);
}

static void
run_ready(void *arg)
{
	struct w_fibers *fibers = arg;

	for (unsigned round = 0; round < ROUNDS && !w_list_empty(&fibers->ready); round++) {
		/* What is woken from here on waits for the next round. */
		struct w_list mark, *node;

		w_list_push(&fibers->ready, &mark);
		while ((node = w_list_shift(&fibers->ready)) != &mark)
			resume(w_list_entry(node, struct w_fiber, node));
	}
	if (!w_list_empty(&fibers->ready))
		w_loop_again(fibers->loop);
}

int
w_fiber_start(struct w_fibers *fibers, void (*fn)(void *arg), void *arg)
{
	struct w_fiber *fiber;

	W_ASSERT(self == NULL && fn != NULL);
	if (fibers->stats.running >= fibers->most)
		return -W_EBUSY;
	fiber = take_fiber(fibers);
	if (fiber == NULL)
		return -W_ENOMEM;

	fibers->stats.running++;
	fibers->stats.started++;
	fiber->fn = fn;
	fiber->arg = arg;
	fiber->woken = fiber->timed_out = false;
	w_loop_enter(fibers->loop);
	/* It may make work for hooks that have run already. */
	w_loop_work(fibers->loop, W_TURN_FIBERS);
	resume(fiber);
	return W_OK;
}

struct w_fiber *
w_fiber_self(void)
{
	return self;
}

static void
make_ready(struct w_fiber *fiber)
{
	struct w_fibers *fibers = fiber->fibers;

	fiber->state = FIBER_READY;
	w_list_push(&fibers->ready, &fiber->node);
	w_loop_work(fibers->loop, W_TURN_FIBERS);
}

void
w_fiber_wake(struct w_fiber *fiber)
{
	switch (fiber->state) {
	case FIBER_IDLE:
		break;
	case FIBER_RUNNING:
		fiber->woken = true;
		break;
	case FIBER_READY:
		fiber->timed_out = false;
		break;
	case FIBER_PARKED:
		w_deadlines_remove(&fiber->fibers->deadlines, &fiber->deadline);
		make_ready(fiber);
		break;
	}
}

void
w_fiber_park(void)
{
	w_fiber_park_until(W_NEVER);
}

/* ---- deadlines ---- */

static void on_timer(void *arg);

/* The timer may fire too early, after its fiber was woken; never too late. */
static void
arm_timer(struct w_fibers *fibers)
{
	const struct w_deadline *first = w_deadlines_first(&fibers->deadlines);

	if (first == NULL || first->at >= fibers->armed)
		return;
	fibers->armed = first->at;
	w_timer_start(fibers->loop, &fibers->timer, first->at - w_now(), 0);
}

static void
on_timer(void *arg)
{
	struct w_fibers *fibers = arg;
	struct w_deadline *first;
	w_usec now = w_now();

	fibers->armed = W_NEVER;
	while ((first = w_deadlines_first(&fibers->deadlines)) != NULL && first->at <= now) {
		struct w_fiber *fiber = w_container_of(first, struct w_fiber, deadline);

		w_deadlines_remove(&fibers->deadlines, first);
		fiber->timed_out = true;
		make_ready(fiber);
	}
	arm_timer(fibers);
}

int
w_fiber_park_until(w_usec deadline)
{
	struct w_fiber *fiber = self;
	bool timed_out;

	W_ASSERT(fiber != NULL);
	if (fiber->woken) {
		fiber->woken = false;
		return W_OK;
	}
	if (deadline != W_NEVER) {
		if (deadline <= w_now())
			return -W_ETIMEOUT;
		fiber->deadline.at = deadline;
		w_deadlines_add(&fiber->fibers->deadlines, &fiber->deadline);
		arm_timer(fiber->fibers);
	}

	fiber->state = FIBER_PARKED;
	switch_back(fiber, false);
	timed_out = fiber->timed_out;
	fiber->timed_out = false;
	return timed_out ? -W_ETIMEOUT : W_OK;
}

void
w_fiber_sleep(w_usec wait)
{
	w_usec deadline = w_now() + wait;

	while (w_fiber_park_until(deadline) == W_OK)
		continue;
}

/* ---- life ---- */

int
w_fibers_new(struct w_loop *loop, size_t stack, unsigned most, struct w_fibers **ret)
{
	struct w_fibers *fibers = w_xcalloc(1, sizeof(*fibers));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
	stack *= 2; /* instrumented frames are bigger */
#endif
	fibers->loop = loop;
	fibers->page = page;
	fibers->stack = (W_MAX(stack, (size_t)KEEP_TOUCHED) + page - 1) / page * page;
	fibers->most = most;
	fibers->armed = W_NEVER;
	fibers->timer.fire = on_timer;
	fibers->timer.arg = fibers;
	w_list_init(&fibers->pool);
	w_list_init(&fibers->ready);
	w_turn_add(loop, &fibers->turn, W_TURN_FIBERS, run_ready, fibers);
	*ret = fibers;
	return W_OK;
}

void
w_fibers_free(struct w_fibers **fibers)
{
	struct w_fibers *f = w_steal(fibers);
	struct w_list *node;

	if (f == NULL)
		return;
	W_ASSERT(self == NULL);
	while ((node = w_list_shift(&f->pool)) != NULL)
		free_fiber(f, w_list_entry(node, struct w_fiber, node));
	w_turn_remove(&f->turn);
	w_timer_fini(&f->timer);
	w_deadlines_fini(&f->deadlines);
	/* A fiber cannot be taken apart from outside: its stack stays, and what it points to. */
	if (f->stats.running > 0)
		w_log(W_WARN, "", "fibers-abandoned", "running=%u", f->stats.running);
	else
		free(f);
}

void
w_fibers_stats(const struct w_fibers *fibers, struct w_fiber_stats *ret)
{
	*ret = fibers->stats;
}
